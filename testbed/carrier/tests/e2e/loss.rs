//! Natural speech of a phone over a bad network, as the engine records it: losses are concealed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use carrier::baresip::{Baresip, Setup, wav};
use control_api_types::{CallId, Codec, HangupReason, Record, RecordOptions};
use media_core::rtp::Packet;
use netem::Impairments;
use serde_json::json;

use crate::lab::Lab;
use crate::pesq::{SPEECH, score};
use crate::relay::{Passed, Relay};

/// Debian `pocketsphinx-testdata`: a reader, 16 kHz.
const CLIPS: [&str; 3] = [
    SPEECH,
    "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0890.wav",
    "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0920.wav",
];
const RATE: u32 = 16_000;
/// Silence before, between and after them: it begins to be recorded in the first.
const PAUSE: Duration = Duration::from_secs(2);
/// What the engine says that its address is.
const PUBLIC: &str = "127.0.0.2";
/// The phone's number, which is whom the engine calls.
const NUMBER: &str = "+628761234";

/// 5 % random loss with 20 ms of jitter.
const NETWORK: Impairments =
    Impairments { loss: 0.05, jitter: Duration::from_millis(20), ..Impairments::NONE };

#[tokio::test(flavor = "multi_thread")]
async fn a_law_with_losses_is_recorded_better_than_with_holes() {
    check(Codec::Pcma, media_core::Codec::Pcma, "PCMA/8000/1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wideband_with_losses_is_recorded_better_than_with_holes() {
    check(Codec::G722, media_core::Codec::G722, "G722/16000/1").await;
}

/// `format` is how the phone calls the codec.
async fn check(codec: Codec, coded: media_core::Codec, format: &str) {
    let pause = vec![0; PAUSE.as_secs() as usize * RATE as usize];
    let mut speech = pause.clone();
    for clip in CLIPS {
        let mut reader = hound::WavReader::open(clip)
            .unwrap_or_else(|error| panic!("{clip}: {error}: `apt-get install pocketsphinx-testdata`"));
        assert_eq!(reader.spec().sample_rate, RATE);
        speech.extend(reader.samples::<i16>().map(Result::unwrap));
        speech.extend(&pause);
    }
    // Were it to end before the call, the phone would stop sending.
    let says = wav(RATE, &[&speech[..], &vec![0; 10 * RATE as usize]].concat()).unwrap();
    let setup = Setup { says, rate: RATE, ..Setup::saying(440).unwrap() }.listening().unwrap();
    let at = setup.listen;
    let mut phone = Baresip::with(setup).await.unwrap_or_else(|error| panic!("{error}"));
    let account = format!("<sip:{NUMBER}@{at}>;regint=0;answermode=manual;audio_codecs={format}");
    phone.tell("uanew", &account).await.unwrap_or_else(|error| panic!("{error}"));

    let mut lab = Lab::calling_with(at, &format!("public_ip = \"{PUBLIC}\"\n")).await;
    let call = lab.place(json!({})).await;
    phone.until("CALL_INCOMING").await.unwrap_or_else(|error| panic!("{error}"));
    let port = media_port(&lab, &call).await;
    let [public, engine] = [PUBLIC, "127.0.0.1"].map(|ip| (ip.parse::<std::net::IpAddr>().unwrap(), port));
    let relay = Relay::start(public.into(), engine.into(), 1, NETWORK).await;
    phone.tell("accept", "").await.unwrap_or_else(|error| panic!("{error}"));
    lab.reached(&call, "call.answered").await;
    let recording = Record::start(RecordOptions::default());
    let recording = lab.engine.client().record(&call, &recording).await.unwrap();
    tokio::time::sleep(Duration::from_secs(speech.len() as u64 / u64::from(RATE))).await;
    lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    let story = lab.story(&call).await;
    let passed = relay.stop().await;

    assert_eq!(story.cdr.codec, Some(codec));
    let lost = passed.iter().filter(|packet| packet.lost).count() as u64;
    let media = story.cdr.media.unwrap();
    // Losses at the very end nobody can know of.
    assert!(media.packets_lost.abs_diff(lost) <= 2, "{lost} of {} were lost: {media:?}", passed.len());
    let folder =
        std::env::temp_dir().join(format!("carillon-test-loss-{}-{}", codec.as_str(), std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |what: &str, sound: Vec<u8>| -> PathBuf {
        let path = folder.join(format!("{what}.wav"));
        std::fs::write(&path, sound).unwrap();
        path
    };
    let rate = coded.sample_rate();
    let files = [
        file("heard", lab.engine.client().recording_audio(&recording).await.unwrap()),
        file("holes", wav(rate, &decoded(coded, passed.iter().filter(|packet| !packet.lost))).unwrap()),
        file("whole", wav(rate, &decoded(coded, passed.iter())).unwrap()),
    ];
    let [mut heard, mut holes, mut whole] = [0.0; 3];
    for clip in CLIPS {
        let scores = score(Path::new(clip), &files);
        heard += scores[0] / CLIPS.len() as f64;
        holes += scores[1] / CLIPS.len() as f64;
        whole += scores[2] / CLIPS.len() as f64;
    }
    eprintln!(
        "{}: PESQ {heard:.2} as recorded, {holes:.2} with holes, {whole:.2} without loss; {lost} of {} lost",
        codec.as_str(),
        passed.len()
    );
    assert!(heard >= holes + 0.3, "{}: {heard} as recorded, {holes} with holes", codec.as_str());
    std::fs::remove_dir_all(&folder).unwrap();
    phone.quit().await.unwrap();
    lab.stop().await;
}

/// The port in the engine's offer.
async fn media_port(lab: &Lab, call: &CallId) -> u16 {
    let trace = lab.engine.client().trace(call).await.unwrap();
    let (_, rest) = trace.messages[0].raw.split_once("m=audio ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// What these packets say, each at its time, with zeros where there is none.
fn decoded<'a>(codec: media_core::Codec, packets: impl Iterator<Item = &'a Passed>) -> Vec<i16> {
    let mut decoder = media_core::Decoder::new(codec);
    let mut heard: Vec<i16> = Vec::new();
    let mut first = None;
    for Passed { packet, .. } in packets {
        let packet = Packet::parse(packet).unwrap();
        let first = *first.get_or_insert(packet.header.timestamp);
        let ticks = packet.header.timestamp.distance_from(first);
        let at = usize::try_from(ticks).unwrap() * codec.sample_rate() as usize / codec.clock_rate() as usize;
        let mut frame = vec![0; codec.sample_rate() as usize / 10];
        let samples = decoder.decode(packet.payload, &mut frame);
        heard.resize(heard.len().max(at + samples), 0);
        heard[at..at + samples].copy_from_slice(&frame[..samples]);
    }
    heard
}
