//! Who answers, over real sockets: SIPp signals, the test speaks and listens at the port that SIPp names, and `carillon` tells
//! an answering machine from a person, a fax and the tones of the network, and leaves its message after the beep.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use carrier::baresip;
use carrier::sipp::Scenario;
use control_api_types::{AmdEvidence, AmdResult, CallId, EventData};
use media_core::rtp::{HEADER_LEN, Header, Packet};
use media_core::{Codec, Decoder, Encoder, MediaTime, SeqNo, Ssrc};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::lab::{Lab, Story};
use crate::sipp::{passed, start};

/// Samples of a packet time of 20 ms.
const FRAME: usize = 160;
/// Debian `asterisk-core-sounds-en-wav`: a person, recorded.
const VOICE: &str = "/usr/share/asterisk/sounds/en_US_f_Allison";
/// What the call says to people, and to machines.
const OFFER_HZ: u32 = 600;
const MESSAGE_HZ: u32 = 1_500;
const BEEP_HZ: f64 = 1_000.0;
const BEEP_MS: usize = 400;

/// The far end's media.
struct Far {
    addr: SocketAddr,
    say: mpsc::Sender<Vec<i16>>,
    stop: oneshot::Sender<()>,
    talk: JoinHandle<Talk>,
}

/// What was said, frame by frame and but for silence, and what was heard.
#[derive(Default)]
struct Talk {
    said: Vec<Instant>,
    heard: Vec<(Instant, Vec<i16>)>,
}

impl Far {
    /// It is silent until it is told where the engine listens and what to say.
    async fn new() -> (Self, oneshot::Sender<SocketAddr>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let ((say, sounds), (stop, stopped), (engine, known)) =
            (mpsc::channel(4), oneshot::channel(), oneshot::channel());
        let talk = tokio::spawn(talk(socket, known, sounds, stopped));
        (Self { addr, say, stop, talk }, engine)
    }

    async fn say(&self, sound: Vec<i16>) {
        self.say.send(sound).await.expect("it speaks until it is stopped");
    }

    async fn stop(self) -> Talk {
        self.stop.send(()).expect("it speaks until it is stopped");
        self.talk.await.unwrap()
    }
}

async fn talk(
    socket: UdpSocket,
    engine: oneshot::Receiver<SocketAddr>,
    mut sounds: mpsc::Receiver<Vec<i16>>,
    mut stopped: oneshot::Receiver<()>,
) -> Talk {
    let engine = engine.await.unwrap();
    let mut talk = Talk::default();
    let (mut encoder, mut decoder) = (Encoder::new(Codec::Pcma), Decoder::new(Codec::Pcma));
    let mut header =
        Header { marker: true, pt: 8, seq: SeqNo(1), timestamp: MediaTime(0), ssrc: Ssrc(0xA3D) };
    let mut saying = Vec::new().into_iter();
    let mut packet = [0; HEADER_LEN + FRAME];
    let mut datagram = [0; 2_048];
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            _ = &mut stopped => return talk,
            received = socket.recv_from(&mut datagram) => {
                let (octets, _) = received.unwrap();
                let Some(packet) = Packet::parse(&datagram[..octets]).filter(|packet| packet.header.pt == 8) else {
                    continue;
                };
                let mut sound = vec![0; FRAME];
                assert_eq!(decoder.decode(packet.payload, &mut sound), FRAME);
                talk.heard.push((Instant::now(), sound));
            }
            _ = ticks.tick() => {
                let mut frame: Vec<i16> = saying.by_ref().take(FRAME).collect();
                if frame.is_empty() && let Ok(next) = sounds.try_recv() {
                    saying = next.into_iter();
                    frame = saying.by_ref().take(FRAME).collect();
                }
                if frame.iter().any(|sample| *sample != 0) {
                    talk.said.push(Instant::now());
                }
                frame.resize(FRAME, 0);
                packet[..HEADER_LEN].copy_from_slice(&header.to_bytes());
                encoder.encode(&frame, &mut packet[HEADER_LEN..]);
                socket.send_to(&packet, engine).await.unwrap();
                header = Header {
                    marker: false,
                    seq: header.seq.next(),
                    timestamp: header.timestamp.plus(FRAME as u32),
                    ..header
                };
            }
        }
    }
}

fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * 8]
}

fn tone(hz: &[f64], ms: usize) -> Vec<i16> {
    let sample = |n: usize| -> f64 {
        let turn = std::f64::consts::TAU * n as f64 / 8_000.0;
        hz.iter().map(|hz| (turn * hz).sin() * 6_000.0).sum()
    };
    (0..ms * 8).map(|n| sample(n) as i16).collect()
}

/// One of the voice's prompts.
fn voice(name: &str) -> Vec<i16> {
    let path = format!("{VOICE}/{name}.wav");
    let mut reader = hound::WavReader::open(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}: `apt-get install asterisk-core-sounds-en-wav`"));
    assert_eq!(reader.spec().sample_rate, 8_000);
    reader.samples::<i16>().map(Result::unwrap).collect()
}

/// An engine whose only trunk is this SIPp, and the call it places.
async fn placed(at: SocketAddr, more: Value) -> (Lab, CallId) {
    let lab = Lab::calling(at).await;
    for (name, hz) in [("offer", OFFER_HZ), ("message", MESSAGE_HZ)] {
        lab.engine.client().upload_prompt(name, baresip::tone(hz, 1.0).unwrap()).await.unwrap();
    }
    let play = |prompt: &str| json!({"verb": "play", "prompt": prompt, "next": "bye"});
    let flow = json!({"start": "who", "steps": {
        "who": {"verb": "amd", "wait_for_beep_ms": 20_000,
                "on": {"human": "offer", "machine": "message"}, "next": "bye"},
        "offer": play("offer"),
        "message": play("message"),
        "bye": {"verb": "hangup"},
    }});
    let mut create = json!({"flow": flow});
    create.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let call = lab.place(create).await;
    (lab, call)
}

/// Where the engine hears, by its offer.
async fn ear(lab: &Lab, call: &CallId) -> SocketAddr {
    let trace = lab.engine.client().trace(call).await.unwrap();
    let (_, rest) = trace.messages[0].raw.split_once("m=audio ").unwrap();
    SocketAddr::from(([127, 0, 0, 1], rest.split(' ').next().unwrap().parse().unwrap()))
}

/// A call that is answered with these sounds: its story, what was told of who answered, and what was said and heard.
async fn answered_with(sound: Vec<i16>) -> (Story, Verdict, Talk) {
    let (far, engine) = Far::new().await;
    let scenario = Scenario::new("callee/answer_elsewhere").key("rtp_port", &far.addr.port().to_string());
    let customer = start(scenario).await;
    let (mut lab, call) = placed(customer.addr(), json!({})).await;
    lab.reached(&call, "call.answered").await;
    engine.send(ear(&lab, &call).await).unwrap();
    far.say(sound).await;
    let story = lab.story(&call).await;
    passed(customer).await;
    lab.stop().await;
    let verdict = Verdict::of(&story);
    (story, verdict, far.stop().await)
}

/// `call.amd`.
#[derive(Debug)]
struct Verdict {
    result: AmdResult,
    evidence: AmdEvidence,
    ms: u32,
    initial_silence_ms: Option<u32>,
    greeting_ms: u32,
}

impl Verdict {
    fn of(story: &Story) -> Self {
        let told = story.events.iter().find_map(|event| {
            let EventData::CallAmd { result, ms, evidence, initial_silence_ms, greeting_ms } = event.data
            else {
                return None;
            };
            Some(Self { result, evidence, ms, initial_silence_ms, greeting_ms })
        });
        told.unwrap_or_else(|| panic!("nobody told who answered: {:?}", story.kinds()))
    }

    /// It is this, and the call's record says the same.
    fn is(&self, story: &Story, result: AmdResult, evidence: AmdEvidence) {
        assert_eq!((self.result, self.evidence), (result, evidence), "{self:?}");
        let amd = story.cdr.amd.as_ref().unwrap();
        assert_eq!((amd.result, amd.evidence, amd.ms), (Some(result), Some(evidence), Some(self.ms)));
    }
}

impl Talk {
    /// When the first of this tone was heard, and how many packets of it in all.
    fn heard(&self, hz: u32) -> (Option<Instant>, usize) {
        let share = |sound: &[i16]| {
            let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
            for (n, sample) in sound.iter().enumerate() {
                let (sin, cos) = (std::f64::consts::TAU * f64::from(hz) * n as f64 / 8_000.0).sin_cos();
                let sample = f64::from(*sample);
                (re, im, power) = (re + sample * cos, im + sample * sin, power + sample * sample);
            }
            // Anything but silence.
            if power < 1e6 { 0.0 } else { 2.0 * (re * re + im * im) / sound.len() as f64 / power }
        };
        let mut of_tone = self.heard.iter().filter(|(_, sound)| share(sound) > 0.9).map(|(at, _)| *at);
        let first = of_tone.next();
        (first, usize::from(first.is_some()) + of_tone.count())
    }

    /// All of this prompt of a second was heard, but for its edges, and nothing of the other.
    fn heard_only(&self, hz: u32, other: u32) {
        let (heard, not) = (self.heard(hz).1, self.heard(other).1);
        assert!((47..=52).contains(&heard) && not == 0, "{heard} packets of {hz} Hz, {not} of {other} Hz");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_gets_its_message_after_the_beep() {
    let greeting = [voice("vm-isunavail"), silence(150), voice("vm-intro")].concat();
    let beep = tone(&[BEEP_HZ], BEEP_MS);
    let sound = [silence(500), greeting, silence(400), beep, silence(500)].concat();
    let (story, verdict, talk) = answered_with(sound).await;
    verdict.is(&story, AmdResult::Machine, AmdEvidence::LongGreeting);
    // As soon as the greeting is as long as people's are not; a pause between words may go by before that is seen.
    let since = verdict.ms - verdict.initial_silence_ms.unwrap();
    assert!(verdict.greeting_ms >= 3_500 && since - verdict.greeting_ms <= 30, "{verdict:?}");
    assert!(verdict.greeting_ms < 4_300, "{verdict:?}");
    let beep = story.events.iter().find_map(|event| {
        let EventData::CallAmdBeep { ms, duration_ms, hz } = event.data else { return None };
        Some((ms, duration_ms, hz))
    });
    let (ms, duration_ms, hz) = beep.unwrap_or_else(|| panic!("no beep: {:?}", story.kinds()));
    assert!(hz.abs_diff(BEEP_HZ as u32) <= 3 && duration_ms.abs_diff(BEEP_MS as u32) <= 30, "{beep:?}");
    assert_eq!(story.cdr.amd.as_ref().unwrap().beep_ms, Some(ms));
    // The beep was the last that was said.
    talk.heard_only(MESSAGE_HZ, OFFER_HZ);
    let (said, heard) = (*talk.said.last().unwrap(), talk.heard(MESSAGE_HZ).0.unwrap());
    assert!(heard > said, "the message began {:?} before the beep was over", said - heard);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_gets_the_offer() {
    let (story, verdict, talk) =
        answered_with([silence(400), voice("auth-thankyou"), silence(4_000)].concat()).await;
    verdict.is(&story, AmdResult::Human, AmdEvidence::ShortGreeting);
    let pause = verdict.ms - verdict.initial_silence_ms.unwrap() - verdict.greeting_ms;
    let pauses = if verdict.greeting_ms >= 850 { 1_350..=1_380 } else { 850..=880 };
    assert!(pauses.contains(&pause), "{verdict:?}");
    talk.heard_only(OFFER_HZ, MESSAGE_HZ);
    assert!(!story.kinds().contains(&"call.amd.beep"));
}

/// Neither prompt is for whoever says this.
async fn neither(sound: Vec<i16>, result: AmdResult, evidence: AmdEvidence) {
    let (story, verdict, talk) = answered_with(sound).await;
    verdict.is(&story, result, evidence);
    assert_eq!((talk.heard(OFFER_HZ).1, talk.heard(MESSAGE_HZ).1), (0, 0), "{evidence:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fax_and_a_busy_tone_get_nothing() {
    let calling = [tone(&[1_100.0], 500), silence(3_000)].concat();
    neither([silence(500), calling.clone(), calling].concat(), AmdResult::Fax, AmdEvidence::Cng).await;
    neither([silence(300), tone(&[2_100.0], 3_000)].concat(), AmdResult::Fax, AmdEvidence::Ced).await;
    let busy = [tone(&[480.0, 620.0], 500), silence(500)].concat();
    neither(busy.repeat(8), AmdResult::Unknown, AmdEvidence::Busy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn special_information_tones_are_a_machine_that_never_beeps() {
    let vacant = [(985.2, 380), (1_370.6, 276), (1_776.7, 380)].map(|(hz, ms)| tone(&[hz], ms)).concat();
    let announced = [silence(300), vacant, silence(300), voice("vm-isunavail"), silence(1_000)].concat();
    let (story, verdict, talk) = answered_with(announced).await;
    verdict.is(&story, AmdResult::Machine, AmdEvidence::SitVacant);
    assert!(!story.kinds().contains(&"call.amd.beep"));
    // After the wait for a beep the message is played all the same.
    talk.heard_only(MESSAGE_HZ, OFFER_HZ);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rings_before_the_answer_is_told_and_is_no_part_of_it() {
    let (far, engine) = Far::new().await;
    let scenario =
        Scenario::new("callee/early_media_elsewhere").key("rtp_port", &far.addr.port().to_string());
    let customer = start(scenario).await;
    let (mut lab, call) =
        placed(customer.addr(), json!({"early_media": "connect", "amd": {"pause_ms": 900}})).await;
    lab.reached(&call, "call.early_media").await;
    engine.send(ear(&lab, &call).await).unwrap();
    far.say([silence(200), tone(&[425.0], 1_000), silence(1_500)].concat()).await;
    lab.reached(&call, "call.answered").await;
    far.say([silence(400), voice("auth-thankyou"), silence(4_000)].concat()).await;
    let story = lab.story(&call).await;
    passed(customer).await;
    lab.stop().await;
    let verdict = Verdict::of(&story);
    verdict.is(&story, AmdResult::Human, AmdEvidence::ShortGreeting);
    assert_eq!(story.cdr.amd.as_ref().unwrap().early_media, [AmdEvidence::Ringback]);
    far.stop().await.heard_only(OFFER_HZ, MESSAGE_HZ);
}
