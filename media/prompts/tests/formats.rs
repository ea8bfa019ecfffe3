//! FLAC and Ogg as other people's encoders write them; `data/make.sh` tells how they were made.
#![expect(clippy::unwrap_used, reason = "test")]

mod support;

use std::time::Duration;

use media_core::record::ogg;
use media_prompts::{Error, Limits, NARROW, WIDE, decode, prepare};
use support::{decoded, distortion, refused, tone};

/// Name, content, sample rate and channels as told of the source, and the most distortion in dB.
const FILES: &[(&str, &[u8], u32, usize, f64)] = &[
    ("vorbis", include_bytes!("data/vorbis-44100-stereo.ogg"), 44_100, 2, -30.0),
    ("vorbis, 8 kHz", include_bytes!("data/vorbis-8000-mono.ogg"), 8_000, 1, -30.0),
    ("opus", include_bytes!("data/opus-48000-mono.opus"), 48_000, 1, -25.0),
    ("opus, stereo", include_bytes!("data/opus-44100-stereo.opus"), 48_000, 2, -25.0),
    ("opus, 60 ms", include_bytes!("data/opus-16000-60ms.opus"), 48_000, 1, -15.0),
    ("flac", include_bytes!("data/flac-44100-opposite.flac"), 44_100, 2, -60.0),
    ("flac, 24 bit", include_bytes!("data/flac-96000-24bit.flac"), 96_000, 1, -60.0),
    ("flac in ogg", include_bytes!("data/flac-16000.oga"), 16_000, 1, -60.0),
];

fn file(name: &str) -> &'static [u8] {
    FILES.iter().find(|(this, ..)| *this == name).unwrap().1
}

#[test]
fn every_format_keeps_level_frequency_and_length() {
    for (name, bytes, rate, channels, floor) in FILES {
        let speech = decoded(bytes);
        assert_eq!((speech.source_rate(), speech.source_channels()), (*rate, *channels), "{name}");
        assert_eq!(speech.samples().len(), 10_000, "{name}: 1.25 s to the sample");
        let distortion = distortion(&speech, 1_000.0, 0.4);
        assert!(distortion < *floor, "{name}: {distortion:.1} dB");
    }
}

#[test]
fn every_format_becomes_a_prompt() {
    for (name, bytes, ..) in FILES {
        let prepared = prepare(bytes, &Limits::default(), &media_core::Codec::ALL).unwrap();
        assert_eq!(prepared.duration, Duration::from_millis(1_250), "{name}");
    }
}

#[test]
fn what_breaks_off_is_told_from_what_is_whole() {
    for (name, bytes, ..) in FILES {
        for share in [0.02, 0.3, 0.6, 0.99] {
            let cut = &bytes[..(bytes.len() as f64 * share) as usize];
            let error = decode(cut, &Limits::default(), [NARROW]).expect_err(name);
            if let Error::Truncated { announced, found, .. } = error {
                assert_eq!(announced, Duration::from_millis(1_250), "{name}");
                assert!(found < announced);
            } else {
                assert!(matches!(error, Error::Damaged { .. } | Error::NoAudio { .. }), "{name}: {error}");
            }
        }
    }
}

#[test]
fn refusals_name_reason_and_mend() {
    let opus = file("opus");
    let chained = [opus, file("vorbis")].concat();
    let mut wrong = opus.to_vec();
    wrong[1_000] ^= 1;
    let table: Vec<(Vec<u8>, &str)> = vec![
        (chained, "the Ogg file is damaged: it holds several streams (export a single audio stream)"),
        (
            opus[..opus.len() - 1].to_vec(),
            "the Ogg file is damaged: it breaks off within a page (upload the whole file)",
        ),
        (wrong, "the Ogg/Opus file is damaged: page CRC mismatch"),
        (
            include_bytes!("data/opus-surround.opus").to_vec(),
            "audio of 6 channels in this layout is not supported (send mono or stereo; \
             up to 8 channels are mixed down where their layout does not matter)",
        ),
        (b"fLaC".to_vec(), "the FLAC file holds no audio"),
    ];
    for (bytes, message) in table {
        assert_eq!(refused(&bytes).to_string(), message);
    }
}

#[test]
fn the_limit_of_length_holds_before_all_is_decoded() {
    for (name, bytes, ..) in FILES {
        let limits = Limits { max_bytes: bytes.len(), max_duration: Duration::from_millis(500) };
        let refused = decode(bytes, &limits, [WIDE]).expect_err(name);
        assert_eq!(refused, Error::TooLong { max_duration: limits.max_duration }, "{name}");
        let limits = Limits { max_bytes: bytes.len() - 1, ..Limits::default() };
        assert!(matches!(decode(bytes, &limits, [WIDE]), Err(Error::TooLarge { .. })), "{name}");
    }
}

/// An Ogg/Opus file of packets of 120 ms in two octets each: an hour in 60 kB.
fn long_silence(packets: usize, granule: impl Fn(usize) -> u64) -> Vec<u8> {
    let (mut pages, mut file) = (ogg::Pages::new(1), Vec::new());
    for header in [ogg::opus_head(1, 0, 48_000), ogg::opus_tags("")] {
        pages.push(&header, 0, &mut file);
        pages.flush(&mut file);
    }
    for n in 0..packets {
        // Code 3 with six frames of 20 ms of no octets at all, which the decoder conceals.
        pages.push(&[0x78 | 3, 6], granule(n + 1), &mut file);
    }
    pages.finish(granule(packets), &mut file);
    file
}

#[test]
fn a_small_file_of_endless_audio_is_cut_short() {
    let limits = Limits { max_duration: Duration::from_secs(60), ..Limits::default() };
    let too_long = Err(Error::TooLong { max_duration: limits.max_duration });
    let hour = long_silence(30_000, |n| n as u64 * 5_760);
    assert!(hour.len() < 200_000, "{}", hour.len());
    assert_eq!(decode(&hour, &limits, [NARROW]), too_long);
    // Nor does it help to announce less than there is, so that all of it is cut away again.
    let unheard = long_silence(30_000, |n| n as u64);
    assert_eq!(decode(&unheard, &limits, [NARROW]), too_long);
}

#[test]
fn damaged_files_give_errors_not_panics() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut taken, mut refused) = (0, 0);
    for (_, bytes, ..) in FILES {
        for turn in 0..150 {
            let mut bytes = bytes.to_vec();
            for _ in 0..1 + random(8) {
                let reach = if random(2) == 0 { bytes.len().min(200) } else { bytes.len() };
                let at = random(reach);
                bytes[at] = random(256) as u8;
            }
            if random(2) == 0 {
                bytes.truncate(bytes.len() - random(bytes.len() / 4));
            }
            if turn % 2 == 0 {
                mend_checksums(&mut bytes);
            }
            match decode(&bytes, &Limits::default(), [NARROW, WIDE]) {
                Ok(_) => taken += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(taken > 50 && refused > 200, "{taken} taken, {refused} refused");
}

/// Makes the checksums of Ogg pages right (RFC 3533 section 6), so that damage reaches the decoders behind them.
fn mend_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while bytes.get(at..).is_some_and(|rest| rest.starts_with(b"OggS") && rest.len() > 27) {
        let segments = usize::from(bytes[at + 26]);
        let Some(table) = bytes.get(at + 27..at + 27 + segments) else { return };
        let length = 27 + segments + table.iter().map(|lacing| usize::from(*lacing)).sum::<usize>();
        let end = (at + length).min(bytes.len());
        let page = &mut bytes[at..end];
        page[22..26].fill(0);
        let crc = page.iter().fold(0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
                crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
            })
        });
        page[22..26].copy_from_slice(&crc.to_le_bytes());
        at = end;
    }
}

#[test]
fn tones_survive_whatever_the_encoder_did() {
    // The measure itself: what it calls clean and what not.
    let clean = tone(8_000, 1_000.0, 0.4, 1.25);
    assert_eq!(clean.len(), 10_000);
    assert!(
        distortion(&decoded(file("flac in ogg")), 1_000.0, 0.2) > -10.0,
        "another level is heard as such"
    );
}
