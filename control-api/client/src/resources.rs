//! The requests about what is not a call: bridges, trunks, limits, prompts' audio, flows, webhooks.

use crate::{Client, ClientError, client::accept};
use control_api_types::{
    Bridge, Call, CallId, Codec, CreateBridge, CreateWebhook, JoinBridge, Limits, LimitsPatch, Mute,
    Reloaded, Trunk, TrunkSettings, Webhook, flow::Flow,
};
use reqwest::Method;

/// # Bridges
impl Client {
    /// Makes a bridge of these calls, or of those that come later. With an id of your own this may be repeated.
    pub async fn create_bridge(&self, bridge: &CreateBridge) -> Result<Bridge, ClientError> {
        self.send(self.request(Method::POST, &["v1", "bridges"])?.json(bridge)).await
    }

    /// Takes a parked call into a bridge, or gives it another role there.
    pub async fn join_bridge(&self, id: &str, join: &JoinBridge) -> Result<Bridge, ClientError> {
        self.send(self.request(Method::POST, &["v1", "bridges", id, "calls"])?.json(join)).await
    }

    /// A bridge.
    pub async fn show_bridge(&self, id: &str) -> Result<Bridge, ClientError> {
        self.get(&["v1", "bridges", id]).await
    }

    /// Every bridge, by id.
    pub async fn bridges(&self) -> Result<Vec<Bridge>, ClientError> {
        self.all(&["v1", "bridges"]).await
    }

    /// Ends a bridge; its calls go on as each has agreed.
    pub async fn delete_bridge(&self, id: &str) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &["v1", "bridges", id])?).await
    }

    /// Mutes a call in its bridge.
    pub async fn mute(&self, id: &CallId, mute: &Mute) -> Result<Call, ClientError> {
        self.act(id, &["mute"], Some(mute)).await
    }

    /// Ends that.
    pub async fn unmute(&self, id: &CallId, mute: &Mute) -> Result<Call, ClientError> {
        self.act(id, &["unmute"], Some(mute)).await
    }
}

/// # Trunks and the node
impl Client {
    /// Makes a trunk, with its password.
    pub async fn create_trunk(&self, trunk: &TrunkSettings) -> Result<Trunk, ClientError> {
        self.send(self.request(Method::POST, &["v1", "trunks"])?.json(&trunk.to_json_with_password())).await
    }

    /// Makes a trunk or changes it, with its password.
    pub async fn put_trunk(&self, trunk: &TrunkSettings) -> Result<Trunk, ClientError> {
        self.send(
            self.request(Method::PUT, &["v1", "trunks", &trunk.name])?.json(&trunk.to_json_with_password()),
        )
        .await
    }

    /// Forgets a trunk.
    pub async fn delete_trunk(&self, name: &str) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &["v1", "trunks", name])?).await
    }

    /// Lets a trunk take calls, or no new ones.
    pub async fn enable_trunk(&self, name: &str, on: bool) -> Result<Trunk, ClientError> {
        let action = if on { "enable" } else { "disable" };
        self.send(self.request(Method::POST, &["v1", "trunks", name, action])?).await
    }

    /// Changes limits until the configuration is read again.
    pub async fn set_limits(&self, patch: &LimitsPatch) -> Result<Limits, ClientError> {
        self.send(self.request(Method::PATCH, &["v1", "limits"])?.json(patch)).await
    }

    /// Has the configuration file read again.
    pub async fn reload(&self) -> Result<Reloaded, ClientError> {
        self.send(self.request(Method::POST, &["v1", "reload"])?).await
    }
}

/// # Flows, prompts, traces
impl Client {
    /// A stored flow. Its steps come as they were stored: [`Flow`] is not read back.
    pub async fn flow(&self, name: &str) -> Result<serde_json::Value, ClientError> {
        self.get(&["v1", "flows", name]).await
    }

    /// Checks a flow without storing it.
    pub async fn validate_flow(&self, flow: &Flow) -> Result<(), ClientError> {
        self.done(self.request(Method::POST, &["v1", "flows", "validate"])?.json(flow)).await
    }

    /// What a caller of this codec hears of a prompt, as a WAV file; without a codec the file as it was uploaded.
    pub async fn prompt_audio(&self, id_or_name: &str, codec: Option<Codec>) -> Result<Vec<u8>, ClientError> {
        let codec = codec.map_or("original", Codec::as_str);
        let request = self.request(Method::GET, &["v1", "prompts", id_or_name, "audio"])?;
        let response = accept(request.query(&[("codec", codec)]).send().await?).await?;
        Ok(response.bytes().await?.to_vec())
    }

    /// The SIP messages of a call as a capture file.
    pub async fn trace_pcap(&self, id: &CallId) -> Result<Vec<u8>, ClientError> {
        let request = self.request(Method::GET, &["v1", "calls", id.as_str(), "trace.pcap"])?;
        Ok(accept(request.send().await?).await?.bytes().await?.to_vec())
    }
}

/// # Webhooks
impl Client {
    /// Posts events to a web server. Keep the secret of the answer: it is not shown again.
    pub async fn create_webhook(&self, webhook: &CreateWebhook) -> Result<Webhook, ClientError> {
        self.send(self.request(Method::POST, &["v1", "webhooks"])?.json(webhook)).await
    }

    /// Every webhook, and how its deliveries go.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, ClientError> {
        self.all(&["v1", "webhooks"]).await
    }

    /// One webhook.
    pub async fn webhook(&self, id: &str) -> Result<Webhook, ClientError> {
        self.get(&["v1", "webhooks", id]).await
    }

    /// Forgets a webhook and what waits for it.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &["v1", "webhooks", id])?).await
    }
}
