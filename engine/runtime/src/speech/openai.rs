//! Servers that make speech as OpenAI's does: `POST {base}/audio/speech`.

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;

use super::OpenaiConfig;
use crate::http::Client;

/// Largest answer: a quarter of an hour at 24 kHz would be 43 MB of WAV, and no text is that long.
const MAX_SOUND: usize = 32 << 20;

#[derive(Debug)]
pub(super) struct Openai {
    client: Client,
}

/// The request, with what every server of this kind knows.
#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a str,
    voice: &'a str,
    response_format: &'static str,
    speed: f64,
}

impl Openai {
    /// The client is to follow no redirects: the key is for this server alone.
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// A sound file of `text`, at so many per cent of the usual speed.
    pub(super) async fn speak(&self, server: &OpenaiConfig, rate: u32, text: &str) -> Result<Bytes, String> {
        let OpenaiConfig { base, model, voice, key } = server;
        let url = format!("{}/audio/speech", base.trim_end_matches('/'));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| "its key has characters that no header may have")?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let speed = (f64::from(rate) / 100.0).clamp(0.25, 4.0);
        let request = Request { model, input: text, voice, response_format: "wav", speed };
        let body = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
        let reply = self.client.exchange(&url, headers, body, MAX_SOUND).await;
        let sound = reply.map_err(|failure| format!("the speech server: {failure}"))?.body;
        sound.map(Bytes::from).ok_or_else(|| "the speech server has nothing new".to_owned())
    }
}
