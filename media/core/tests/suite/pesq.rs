//! How much better concealed speech is heard than speech with holes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use media_core::{Codec, Decoder, Encoder, MemberSet, Mixer, Ptime, Stream};
use netem::{Impairments, Link};

use crate::hearing::Listening;

/// Debian `pocketsphinx-testdata`: a reader, 16 kHz.
const SPEECH: &str = "/usr/share/pocketsphinx/test/data/librivox";
const CLIPS: [&str; 3] = ["0870", "0890", "0920"];
/// In a few seconds it matters much which packets are lost.
const SEEDS: std::ops::Range<u64> = 0..2;

/// 5 % random loss with 20 ms of jitter.
const NETWORK: Impairments =
    Impairments { loss: 0.05, jitter: Duration::from_millis(20), ..Impairments::NONE };

#[test]
fn speech_with_losses_is_heard_better_than_with_holes() {
    let folder = std::env::temp_dir().join(format!("carillon-test-ear-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // PESQ knows no other rates than theirs.
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
        let (mut sums, mut count) = ([0.0; 4], 0.0);
        for (clip, seed) in CLIPS.into_iter().flat_map(|clip| SEEDS.map(move |seed| (clip, seed))) {
            let original = PathBuf::from(format!("{SPEECH}/sense_and_sensibility_01_austen_64kb-{clip}.wav"));
            let mut sound = speech(&original, codec.sample_rate());
            sound.extend(vec![0; codec.sample_rate() as usize / 2]);
            let sounds = [
                heard(codec, seed, &sound, NETWORK, 0),
                with_holes(codec, seed, &sound),
                heard(codec, seed, &sound, Impairments::NONE, 0),
                heard(codec, seed, &sound, NETWORK, 5),
            ];
            let files: Vec<PathBuf> = sounds
                .iter()
                .enumerate()
                .map(|(n, sound)| {
                    let file = folder.join(format!("{}-{clip}-{seed}-{n}.wav", codec.name()));
                    std::fs::write(&file, wav(codec.sample_rate(), sound)).unwrap();
                    file
                })
                .collect();
            sums.iter_mut().zip(score(&original, &files)).for_each(|(sum, score)| *sum += score);
            count += 1.0;
        }
        let [concealed, holes, whole, protected] = sums.map(|sum| sum / count);
        eprintln!(
            "{}: PESQ {concealed:.2} with the ear, {protected:.2} with it and a peer that expects losses, \
             {holes:.2} with holes, {whole:.2} without loss",
            codec.name()
        );
        assert!(concealed >= holes + 0.3, "{codec:?}: {concealed} {holes}");
        if codec == Codec::Opus {
            assert!(protected >= concealed + 0.1, "{protected} with FEC, {concealed} without");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_law_transcoded_to_opus_is_heard_as_well_as_the_two_codecs_allow() {
    let folder = std::env::temp_dir().join(format!("carillon-test-transcoded-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut differences = Vec::new();
    for clip in CLIPS {
        let original = PathBuf::from(format!("{SPEECH}/sense_and_sensibility_01_austen_64kb-{clip}.wav"));
        let (sent, received) = (folder.join("sent.wav"), folder.join("received.wav"));
        let output = python("pesq_narrow.py").args([&original, &sent]).output().unwrap();
        assert!(output.status.success(), "pesq_narrow.py: {}", String::from_utf8_lossy(&output.stderr));
        let mut sound = samples(&sent);
        sound.extend([0; 8_000]);
        std::fs::write(&received, wav(16_000, &transcoded(&sound))).unwrap();
        let output = python("pesq_check.py")
            .args([&original, &received])
            .args(["--codec", "opus", "--via", "PCMA", "--within", "5"])
            .output()
            .unwrap();
        let [said, complaints] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        eprint!("{clip}: {said}");
        assert!(output.status.success(), "{clip}: {said}{complaints}");
        let difference = said.split_whitespace().skip_while(|word| *word != "difference").nth(1);
        differences.push(difference.unwrap().parse::<f64>().unwrap());
    }
    // What one text scores depends on where in it the ear shortens its delay by a period.
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    assert!(mean >= -0.1, "{mean:.3} in the mean of {differences:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What a phone of Opus hears of one of A-law: network, ear, mixer, encoder, and the phone's decoder.
fn transcoded(sound: &[i16]) -> Vec<i16> {
    let [narrow, wide] = [Codec::Pcma, Codec::Opus];
    let streams = [narrow, wide].map(|codec| Some(Stream { codec, ptime: Ptime::DEFAULT }));
    let (mut mixer, mut decoder) = (Mixer::new(&streams), Decoder::new(wide));
    let (mut payload, mut frame) = ([0; 640], [0; 960]);
    let mut all = Vec::new();
    for heard in heard(narrow, 0, sound, Impairments::NONE, 0).chunks_exact(160) {
        mixer.begin();
        mixer.put(0, heard);
        assert!(mixer.mix(1, MemberSet::EMPTY.with(0)));
        let octets = mixer.encode(1, &mut payload);
        let count = decoder.decode(&payload[..octets], &mut frame);
        all.extend_from_slice(&frame[..count]);
    }
    all
}

fn heard(codec: Codec, seed: u64, sound: &[i16], network: Impairments, expected_loss: u8) -> Vec<i16> {
    let mut listening = Listening::new(codec, seed, network);
    listening.expect_loss(expected_loss);
    listening.speak(sound);
    listening.heard
}

/// The same losses, with zeros in their place and nothing late.
fn with_holes(codec: Codec, seed: u64, sound: &[i16]) -> Vec<i16> {
    let (mut encoder, mut decoder) = (Encoder::new(codec), Decoder::new(codec));
    let mut link = Link::new(seed, NETWORK);
    let frame = codec.sample_rate() as usize / 50;
    let start = crate::rig::epoch();
    let mut heard = vec![0; sound.len()];
    for (n, sound) in sound.chunks_exact(frame).enumerate() {
        let mut payload = vec![0; 1_500];
        let octets = encoder.encode(sound, &mut payload);
        payload.truncate(octets);
        link.send(start + Duration::from_millis(20) * n as u32, (n, payload));
    }
    while let Some((n, payload)) = link.poll_timeout().and_then(|due| link.recv(due)) {
        decoder.decode(&payload, &mut heard[n * frame..][..frame]);
    }
    heard
}

/// The samples of a 16 kHz file, at `rate`.
fn speech(path: &Path, rate: u32) -> Vec<i16> {
    let samples = samples(path);
    match rate {
        16_000 => samples,
        // A plain half-band filter: both sides of the comparison hear the same.
        _ => samples
            .windows(7)
            .step_by(2)
            .map(|x| {
                let x: Vec<i32> = x.iter().map(|sample| i32::from(*sample)).collect();
                ((-(x[0] + x[6]) + 9 * (x[2] + x[4]) + 16 * x[3]) / 32) as i16
            })
            .collect(),
    }
}

fn samples(path: &Path) -> Vec<i16> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| {
        panic!("{}: {error}: `apt-get install pocketsphinx-testdata`", path.display())
    });
    bytes[44..].as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect()
}

fn wav(rate: u32, sound: &[i16]) -> Vec<u8> {
    let octets = sound.len() as u32 * 2;
    let mut file = Vec::new();
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + octets).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(rate * 2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&octets.to_le_bytes());
    file.extend(sound.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// A program of `testbed/pesq` in its own Python environment.
fn python(program: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed/pesq");
    let setup = Command::new(folder.join("setup.sh")).output().unwrap();
    assert!(setup.status.success(), "setup.sh: {}", String::from_utf8_lossy(&setup.stderr));
    let python = String::from_utf8(setup.stdout).unwrap();
    let mut command = Command::new(python.trim());
    command.arg("-B").arg(folder.join(program));
    command
}

fn score(original: &Path, heard: &[PathBuf]) -> Vec<f64> {
    let output = python("pesq_score.py").arg(original).args(heard).output().unwrap();
    assert!(output.status.success(), "pesq_score.py: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().unwrap()).collect()
}
