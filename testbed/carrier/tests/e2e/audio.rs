//! What is played, as it is heard at the far end: every format, tones, playlists, and audio of web servers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use carrier::{Answers, Behaviour, Carrier, CarrierConfig, CodecName, Subscriber};
use control_api_types::event::PlayEnd;
use control_api_types::{EventData, HangupReason, Play};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::lab::{Lab, Story};

/// Files of 1.25 s of 1 kHz, by other people's encoders.
const FORMATS: [(&str, &[u8]); 6] = [
    ("vorbis", include_bytes!("../../../../media/prompts/tests/data/vorbis-44100-stereo.ogg")),
    ("opus", include_bytes!("../../../../media/prompts/tests/data/opus-48000-mono.opus")),
    ("opus-stereo", include_bytes!("../../../../media/prompts/tests/data/opus-44100-stereo.opus")),
    ("flac", include_bytes!("../../../../media/prompts/tests/data/flac-44100-opposite.flac")),
    ("flac-24", include_bytes!("../../../../media/prompts/tests/data/flac-96000-24bit.flac")),
    ("flac-in-ogg", include_bytes!("../../../../media/prompts/tests/data/flac-16000.oga")),
];

struct Stage {
    lab: Lab,
    carrier: Carrier,
    folder: PathBuf,
}

impl Stage {
    async fn new(name: &str) -> Stage {
        let folder = std::env::temp_dir().join(format!("carillon-test-audio-{name}-{}", std::process::id()));
        let carrier = Carrier::start(CarrierConfig {
            codecs: vec![CodecName(media_core::Codec::Pcma)],
            customers: vec![Subscriber::new("*", Behaviour::Answers(Answers::default()))],
            record: Some(folder.clone()),
            ..CarrierConfig::default()
        })
        .await
        .unwrap();
        let lab = Lab::calling_with(
            carrier.addr(),
            "[http]\nallow_private = [\"127.0.0.1\"]\nallow_plain = true\n",
        )
        .await;
        Stage { lab, carrier, folder }
    }

    /// A call that plays these one after the other and hangs up: what it told, and what was heard at 8 kHz.
    async fn plays(&mut self, plays: &[Value]) -> (Story, Vec<i16>) {
        let mut steps = serde_json::Map::new();
        for (n, play) in plays.iter().enumerate() {
            let mut step = play.clone();
            step["verb"] = json!("play");
            step["next"] = json!(if n + 1 < plays.len() { format!("s{}", n + 1) } else { "bye".to_owned() });
            steps.insert(format!("s{n}"), step);
        }
        steps.insert("bye".into(), json!({"verb": "hangup"}));
        let call = self.lab.place(json!({"flow": {"start": "s0", "steps": steps}})).await;
        let story = self.lab.story(&call).await;
        self.carrier.wait_for(|progress| progress.ended == 1).await.unwrap();
        let report = self.carrier.calls().await.unwrap().remove(0);
        let stream = report.heard.unwrap();
        assert_eq!(
            (stream.lost, stream.duplicates, stream.breaks, stream.invalid),
            (0, 0, 0, 0),
            "{stream:?}"
        );
        let mut reader = hound::WavReader::open(report.recording.unwrap()).unwrap();
        let heard = reader.samples::<i16>().map(|sample| sample.unwrap()).collect();
        (story, heard)
    }

    async fn stop(self) {
        self.lab.stop().await;
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// How each play ended, and how much of it was played.
fn ends(story: &Story) -> Vec<(PlayEnd, u64, String)> {
    let end = |data: &EventData| {
        let EventData::CallPlayEnded { reason, played_ms, error, .. } = data else { return None };
        Some((*reason, *played_ms, error.clone().unwrap_or_default()))
    };
    story.events.iter().filter_map(|event| end(&event.data)).collect()
}

fn completed(played_ms: u64) -> (PlayEnd, u64, String) {
    (PlayEnd::Completed, played_ms, String::new())
}

/// The share of a frequency in the power, and the level of all in dB of full scale.
fn analyse(heard: &[i16], hz: f64) -> (f64, f64) {
    let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
    for (n, sample) in heard.iter().enumerate() {
        let (sin, cos) = (std::f64::consts::TAU * hz * n as f64 / 8_000.0).sin_cos();
        let sample = f64::from(*sample) / 32_768.0;
        re += sample * cos;
        im += sample * sin;
        power += sample * sample;
    }
    let n = heard.len() as f64;
    (2.0 * (re * re + im * im) / n / power.max(1e-12), 10.0 * (power / n).max(1e-12).log10())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_is_heard_and_a_playlist_has_no_gap() {
    let mut stage = Stage::new("formats").await;
    let mut sounds = Vec::new();
    for (name, file) in FORMATS {
        let prompt = stage.lab.engine.client().upload_prompt(name, file.to_vec()).await.unwrap();
        assert_eq!(prompt.duration_ms, 1_250, "{name}");
        sounds.push(json!({"prompt": name}));
    }
    let (story, heard) = stage.plays(&[json!({"playlist": sounds})]).await;
    assert_eq!(ends(&story), [completed(6 * 1_250)]);
    let start = heard.iter().position(|sample| sample.unsigned_abs() > 1_000).unwrap();
    for (n, (name, _)) in FORMATS.iter().enumerate() {
        // The middle second of each; prompts are brought to -20 dB.
        let at = start + n * 10_000 + 1_000;
        let (share, level) = analyse(&heard[at..at + 8_000], 1_000.0);
        assert!(share > 0.97 && (level + 20.0).abs() < 1.5, "{name}: {share:.3} of it at {level:.1} dB");
    }
    // Nowhere in between is there as much as four samples of silence.
    let inside = &heard[start..start + 6 * 10_000 - 400];
    assert!(inside.windows(8).all(|window| window.iter().any(|sample| sample.unsigned_abs() > 300)));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tones_loops_offsets_and_volumes_are_heard_and_counted() {
    let mut stage = Stage::new("tones").await;
    stage.lab.engine.client().upload_prompt("kilo", FORMATS[3].1.to_vec()).await.unwrap();
    let list = json!([{"prompt": "kilo"}, {"tone": "busy", "country": "id"}]);
    let (story, heard) = stage
        .plays(&[
            json!({"playlist": list, "loop": 2, "offset_ms": 250}),
            json!({"prompt": "kilo", "volume_db": -12}),
        ])
        .await;
    assert_eq!(ends(&story), [completed(2 * 2_250 - 250), completed(1_250)]);
    let start = heard.iter().position(|sample| sample.unsigned_abs() > 1_000).unwrap();
    let part = |from_ms: usize, ms: usize| &heard[start + from_ms * 8..start + (from_ms + ms) * 8];
    // A second of the prompt, half a second of tone, half of silence, and all of it again with the whole prompt.
    for (from, hz) in [(100, 1_000.0), (1_100, 425.0), (2_100, 1_000.0), (3_350, 425.0)] {
        let (share, _) = analyse(part(from, 320), hz);
        assert!(share > 0.97, "{hz} Hz at {from} ms: {share:.3}");
    }
    // -10 dBm0 are 16 dB below full scale, as sines are reckoned here.
    let (_, tone) = analyse(part(1_100, 320), 425.0);
    assert!((tone + 16.15).abs() < 0.5, "{tone}");
    for silence in [1_550, 3_800] {
        assert!(part(silence, 400).iter().all(|sample| sample.unsigned_abs() <= 8), "at {silence} ms");
    }
    // The softer prompt may have to be made first; it is the last thing that is heard.
    let end = heard.iter().rposition(|sample| sample.unsigned_abs() > 300).unwrap();
    let (share, level) = analyse(&heard[end - 8_000..end - 800], 1_000.0);
    assert!(share > 0.97 && (level + 32.0).abs() < 1.5, "{share:.3} of it at {level:.1} dB");
    stage.stop().await;
}

/// A web server: what lies at `/kilo.flac`, and what goes wrong elsewhere.
async fn web() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                let read = stream.read(&mut request).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&request[..read]).into_owned();
                let (status, headers, body) = match head.split(' ').nth(1).unwrap_or_default() {
                    "/kilo.flac" => ("200 OK", "Cache-Control: max-age=60", FORMATS[3].1),
                    "/slow.flac" => {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        ("200 OK", "Cache-Control: no-store", FORMATS[3].1)
                    }
                    "/page" => ("200 OK", "Content-Type: audio/flac", &b"<!doctype html><p>Sign in"[..]),
                    "/inside" => ("302 Found", "Location: http://10.0.0.1/kilo.flac", &b""[..]),
                    "/huge" => {
                        let head = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
                        let _ = stream.write_all(head.as_bytes()).await;
                        return;
                    }
                    "/never" => {
                        let _ = stream.read(&mut request).await;
                        return;
                    }
                    _ => ("404 Not Found", "X: y", &b""[..]),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(body).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_played_and_what_is_wrong_with_them_does_not_stop_the_flow() {
    let mut stage = Stage::new("urls").await;
    let web = web().await;
    let play = |path: &str| json!({"url": format!("http://{web}/{path}")});
    let paths = ["missing", "page", "huge", "inside", "kilo.flac", "slow.flac", "kilo.flac"];
    let (story, heard) = stage.plays(&paths.map(play)).await;
    let ends = ends(&story);
    for (end, why) in ends.iter().zip([
        "HTTP status 404",
        "an HTML page",
        "larger than 33554432",
        "not of the public internet",
    ]) {
        assert!((end.0, end.1) == (PlayEnd::Error, 0) && end.2.contains(why), "{end:?}");
    }
    assert_eq!(ends[4..], [completed(1_250), completed(1_250), completed(1_250)]);
    let loud =
        heard.chunks(80).filter(|chunk| chunk.iter().any(|sample| sample.unsigned_abs() > 1_000)).count();
    assert!((372..=378).contains(&loud), "{loud} hundredths of a second");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_a_url_can_be_hung_up_and_told_to_play_something_else() {
    let mut stage = Stage::new("waits").await;
    let web = web().await;
    stage.lab.engine.client().upload_prompt("kilo", FORMATS[3].1.to_vec()).await.unwrap();
    let call = stage.lab.place(json!({})).await;
    stage.lab.reached(&call, "call.answered").await;
    let never = Play::from_json(&json!({"url": format!("http://{web}/never")})).unwrap();
    let refused = Play::from_json(&json!({"url": "http://192.168.1.1/a.mp3"})).unwrap();
    let client = stage.lab.engine.client();
    let refusal = client.play(&call, &refused).await.unwrap_err().to_string();
    assert!(refusal.contains("/url"), "{refusal}");
    client.play(&call, &never).await.unwrap();
    client.play(&call, &never).await.unwrap();
    client.stop_play(&call).await.unwrap();
    client.play(&call, &Play::once("kilo")).await.unwrap();
    stage.lab.reached(&call, "call.play.started").await;
    stage.lab.engine.client().play(&call, &never).await.unwrap();
    // What played ends before the file is there.
    stage.lab.reached_again(&call, "call.play.ended", 3).await;
    let client = stage.lab.engine.client();
    client.hangup(&call, HangupReason::Normal).await.unwrap();
    let story = stage.lab.story(&call).await;
    let reasons: Vec<_> = ends(&story).into_iter().map(|(reason, ..)| reason).collect();
    use PlayEnd::{Hangup, Stopped};
    assert_eq!(reasons, [Stopped, Stopped, Stopped, Hangup]);
    stage.stop().await;
}
