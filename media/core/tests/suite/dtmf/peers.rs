//! Tones that others make, and ours as others hear them: SoX (which has its own sines) and multimon-ng (which has its
//! own detector), and the recordings that come with SIPp.

use std::process::{Command, Stdio};

use media_core::{Codec, Digit, Ear, EarConfig, MediaEvent};

use super::{Chance, Law, Signal, digits};
use crate::rig::{Rig, addr};

fn run(program: &str, arguments: &[&str], input: Option<&[i16]>) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
    let file = std::env::temp_dir().join(format!(
        "dtmf-{:?}-{}.raw",
        std::thread::current().id(),
        std::process::id()
    ));
    if let Some(pcm) = input {
        let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(&file, bytes).unwrap();
        command.arg(&file);
    }
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error} (scripts/packages.sh)"));
    if input.is_some() {
        std::fs::remove_file(&file).unwrap();
    }
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

/// 8 kHz as 22.05 kHz, each sample joined to the next by a straight line: good enough for tones below 1.7 kHz.
pub(crate) fn stretched(pcm: &[i16]) -> Vec<i16> {
    (0..pcm.len() * 441 / 160 - 3)
        .map(|n| {
            let at = n as f64 * 160.0 / 441.0;
            let (before, part) = (at as usize, at.fract());
            (f64::from(pcm[before]) * (1.0 - part) + f64::from(pcm[before + 1]) * part) as i16
        })
        .collect()
}

/// What multimon-ng hears in audio of 22.05 kHz.
pub(crate) fn multimon(pcm_22k: &[i16]) -> String {
    let heard = run("multimon-ng", &["-q", "-a", "DTMF", "-t", "raw"], Some(pcm_22k));
    String::from_utf8(heard)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("DTMF: "))
        .map(|key| key.trim().replace('E', "*").replace('F', "#"))
        .collect()
}

#[test]
fn keys_that_sox_makes_are_heard() {
    for digit in Digit::ALL {
        let (low, high) = digit.tones();
        let (low, high) = (low.to_string(), high.to_string());
        let form = ["-R", "-n", "-r", "8000", "-c", "1", "-b", "16", "-e", "signed", "-t", "raw", "-"];
        let tones = ["synth", "0.08", "sine", &low, "synth", "0.08", "sine", "mix", &high];
        let rest = ["gain", "-6", "pad", "0.1", "0.1"];
        let made = run("sox", &[&form[..], &tones, &rest].concat(), None);
        let pcm: Vec<i16> = made.as_chunks().0.iter().map(|two| i16::from_le_bytes(*two)).collect();
        assert_eq!(digits(&pcm), digit.to_string());
    }
}

#[test]
fn what_is_heard_here_is_what_multimon_hears() {
    let mut chance = Chance::new(77);
    let keys: Vec<Digit> = (0..200).map(|_| Digit::ALL[(chance.unit() * 16.0) as usize]).collect();
    let mut audio = vec![0.0; 8 * (200 * 160 + 400)];
    for (n, digit) in keys.iter().enumerate() {
        let at = 100.0 + n as f64 * 160.0;
        Signal::new(*digit).ms(80.0).add_to(&mut audio, at, Law::A, chance.phases());
    }
    let pcm = Law::A.pass(&audio);
    let wanted: String = keys.iter().map(|digit| digit.as_char()).collect();
    assert_eq!(digits(&pcm), wanted);
    assert_eq!(multimon(&stretched(&pcm)), wanted);
}

/// The payload types and the keys of RTP in a pcap file of Ethernet frames, as a leg hears them.
fn replayed(name: &str) -> (Vec<u8>, String) {
    let path = format!("/usr/share/sip-tester/{name}.pcap");
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error} (scripts/packages.sh)"));
    let (mut rig, mut at, mut types) = (Rig::new(), 24, Vec::new());
    rig.leg.hear_keys(Box::default(), Box::new(Ear::new(EarConfig::new(Codec::Pcma))));
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let begin = (word(at), word(at + 4));
    while at < file.len() {
        let time = f64::from(word(at) - begin.0) + (f64::from(word(at + 4)) - f64::from(begin.1)) / 1e6;
        let frame = &file[at + 16..at + 16 + word(at + 8) as usize];
        at += 16 + frame.len();
        while rig.now.duration_since(rig.start).as_secs_f64() < time {
            rig.tick(1);
        }
        let ip = &frame[14..];
        let rtp = &ip[usize::from(ip[0] & 15) * 4 + 8..];
        types.push(rtp[1] & 0x7F);
        rig.hear(addr("192.0.2.1:4000"), rtp);
    }
    rig.tick(100);
    let digit = |event| {
        let MediaEvent::Digit { digit, .. } = event else { return None };
        Some(digit.as_char())
    };
    types.dedup();
    (types, rig.events().into_iter().filter_map(digit).collect())
}

#[test]
fn the_recordings_of_sipp_give_their_keys_and_speech_gives_none() {
    for key in "0123456789".chars() {
        assert_eq!(replayed(&format!("dtmf_2833_{key}")), (vec![101], key.to_string()));
    }
    assert_eq!(replayed("dtmf_2833_star"), (vec![101], "*".into()));
    assert_eq!(replayed("dtmf_2833_pound"), (vec![101], "#".into()));
    assert_eq!(replayed("g711a"), (vec![8], String::new()));
}
