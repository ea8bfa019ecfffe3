//! Speech is not keys.

use std::path::{Path, PathBuf};

use super::{Law, keys};

/// Debian's packages asterisk-core-sounds-{en,es,fr,it,ru}-wav: prompts by five speakers, 8 kHz.
const SPEECH: &str = "/usr/share/asterisk/sounds";

/// 16-bit samples of a mono wave file of 8 kHz.
fn samples(path: &Path) -> Vec<i16> {
    let bytes = std::fs::read(path).unwrap();
    let data = bytes.windows(4).position(|four| four == b"data").unwrap() + 8;
    assert_eq!(&bytes[22..28], [1, 0, 0x40, 0x1F, 0, 0], "{}: mono, 8 kHz", path.display());
    bytes[data..].as_chunks().0.iter().map(|two| i16::from_le_bytes(*two)).collect()
}

fn files(under: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

#[test]
fn two_hours_of_speech_at_three_levels_are_not_one_key() {
    let mut speech = Vec::new();
    files(Path::new(SPEECH), "wav", &mut speech);
    speech.sort();
    let mut heard = Vec::new();
    let mut seconds = 0.0;
    for path in &speech {
        let samples = samples(path);
        seconds += samples.len() as f64 / 8000.0;
        for gain_db in [-6.0, 0.0, 6.0] {
            let gain = 10_f64.powf(gain_db / 20.0);
            let louder: Vec<f64> = samples.iter().map(|sample| f64::from(*sample) * gain).collect();
            for law in Law::BOTH {
                let keys = keys(&law.pass(&louder));
                if !keys.is_empty() {
                    heard.push(format!("{} {gain_db:+} dB {law:?}: {keys:?}", path.display()));
                }
            }
        }
    }
    println!("{:.1} minutes", seconds / 60.0);
    assert!(heard.is_empty(), "{}", heard.join("\n"));
    assert!(seconds > 2.0 * 3600.0, "{seconds} s of speech: install the asterisk-core-sounds packages");
}
