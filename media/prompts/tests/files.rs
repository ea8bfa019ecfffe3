//! Whole files through `decode` and `prepare`: every WAV sample format, our own MP3, and what people upload
//! by mistake.
#![expect(clippy::unwrap_used, reason = "test")]

mod support;

use std::f64::consts::TAU;
use std::io::Cursor;
use std::time::Duration;

use hound::{SampleFormat, WavSpec, WavWriter};
use media_core::{Codec, g722};
use media_prompts::level::{CEILING_DBOV, TARGET_DBOV, active_level};
use media_prompts::{Error, Limits, NARROW, Sha256, WIDE, decode, encode, normalise, prepare};
use support::{decoded, distortion, refused, tone};

const WELCOME: &[u8] = include_bytes!("../../../testbed/prompts/welcome.mp3");
const THANKS: &[u8] = include_bytes!("../../../testbed/prompts/thanks.mp3");

/// A WAV file with the same samples in every channel, each multiplied by the channel's factor.
fn wav(rate: u32, bits: u16, format: SampleFormat, channels: &[f64], samples: &[f64]) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let spec = WavSpec {
        channels: channels.len() as u16,
        sample_rate: rate,
        bits_per_sample: bits,
        sample_format: format,
    };
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    let scale = 2f64.powi(i32::from(bits) - 1);
    for sample in samples {
        for factor in channels {
            let sample = sample * factor;
            match format {
                SampleFormat::Float => writer.write_sample(sample as f32).unwrap(),
                SampleFormat::Int => {
                    writer.write_sample((sample * scale).round().clamp(-scale, scale - 1.0) as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
    file.into_inner()
}

fn wav16(rate: u32, channels: &[f64], samples: &[f64]) -> Vec<u8> {
    wav(rate, 16, SampleFormat::Int, channels, samples)
}

/// A WAV file with coded samples, as hound does not write it.
fn coded_wav(tag: u16, rate: u32, bits: u16, payload: &[u8]) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0".to_vec();
    file.extend(tag.to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(bits) / 8).to_le_bytes());
    file.extend((bits / 8).max(1).to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(0u16.to_le_bytes());
    file.extend(b"data");
    file.extend((payload.len() as u32).to_le_bytes());
    file.extend(payload);
    let length = file.len() as u32 - 8;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    file
}

#[test]
fn every_sample_format_and_rate_keeps_level_and_frequency() {
    use SampleFormat::{Float, Int};
    for rate in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000] {
        let samples = tone(rate, 1_000.0, 0.4, 0.5);
        for (bits, format, floor) in
            [(8, Int, -35.0), (16, Int, -60.0), (24, Int, -60.0), (32, Int, -60.0), (32, Float, -60.0)]
        {
            for channels in [&[1.0][..], &[1.0, 1.0], &[1.5, 0.5], &[2.0, 0.0]] {
                let speech = decoded(&wav(rate, bits, format, channels, &samples));
                assert_eq!(speech.source_rate(), rate);
                assert_eq!(speech.source_channels(), channels.len());
                let distortion = distortion(&speech, 1_000.0, 0.4);
                assert!(
                    distortion < floor,
                    "{rate} Hz {bits} bit {format:?} {channels:?}: {distortion:.1} dB"
                );
            }
        }
    }
}

#[test]
fn opposite_channels_do_not_cancel_out() {
    let samples = tone(16_000, 1_000.0, 0.4, 0.5);
    let speech = decoded(&wav16(16_000, &[1.0, -1.0], &samples));
    assert!(distortion(&speech, 1_000.0, 0.4) < -60.0);
}

#[test]
fn a_tone_above_the_band_vanishes() {
    for rate in [16_000, 22_050, 44_100, 48_000] {
        let speech = decoded(&wav16(rate, &[1.0], &tone(rate, 6_000.0, 0.5, 1.0)));
        let middle = &speech.samples()[800..7_200];
        let power = middle.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / middle.len() as f64;
        let level = 10.0 * (power / 0.125).max(1e-12).log10();
        assert!(level < -80.0, "{rate}: {level:.1} dB");
    }
}

#[test]
fn eight_kilohertz_passes_bit_for_bit() {
    let mut seed = 1u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from((seed >> 16) as i16 / 4) / 32_768.0
    };
    let samples: Vec<f64> = (0..16_000).map(|_| noise()).collect();
    let pcm: Vec<i16> = samples.iter().map(|s| (s * 32_768.0) as i16).collect();
    let speech = decoded(&wav16(8_000, &[1.0], &samples));
    assert_eq!(speech.pcm16().collect::<Vec<_>>(), pcm);
}

#[test]
fn g711_in_a_wav_file_comes_back_as_the_same_octets() {
    let samples = decoded(&wav16(8_000, &[1.0], &tone(8_000, 400.0, 0.3, 0.2)));
    for (tag, codec) in [(6, Codec::Pcma), (7, Codec::Pcmu)] {
        let octets = encode(&samples, codec).payload().to_vec();
        let speech = decoded(&coded_wav(tag, 8_000, 8, &octets));
        assert_eq!(encode(&speech, codec).payload(), octets);
    }
}

#[test]
fn our_mp3_keeps_its_length_to_the_sample() {
    // 131,828 and 45,417 samples of 22,050 Hz went into the encoder, which announces its delay and padding.
    for (file, samples) in [(WELCOME, 131_828u64), (THANKS, 45_417)] {
        let speech = decoded(file);
        assert_eq!(speech.samples().len() as u64, (samples * 8_000).div_ceil(22_050));
        assert_eq!((speech.source_rate(), speech.source_channels()), (22_050, 1));
    }
}

#[test]
fn our_mp3_becomes_a_prompt_at_the_target_level() {
    let speech = normalise(decoded(WELCOME));
    let level = active_level(&speech).unwrap();
    assert!((level - TARGET_DBOV).abs() < 0.5, "{level}");
    let ceiling = 10f32.powf(CEILING_DBOV / 20.0);
    assert!(speech.samples().iter().all(|sample| sample.abs() <= ceiling));

    let prepared = prepare(WELCOME, &Limits::default(), &Codec::ALL).unwrap();
    assert_eq!(prepared.prompt.duration(), prepared.duration);
    assert_eq!(prepared.sha256, Sha256::of(WELCOME));
    for codec in Codec::ALL {
        let payload = prepared.prompt.encoded(codec).unwrap().payload();
        let most = if codec == Codec::Opus { 320 } else { 1 };
        let excess = payload.len() * 8 / codec.octets_per_ms() - speech.samples().len();
        assert!(excess < most, "{codec:?}: {excess} eighths of a millisecond too long");
    }
}

#[test]
fn a_wideband_prompt_keeps_what_lies_above_telephony() {
    // Both tones are within G.722's band of 50 Hz to 7 kHz, and only one within that of G.711.
    let tones = |hz: [f64; 2]| {
        let [one, other] = hz.map(|hz| tone(44_100, hz, 0.2, 1.0));
        one.iter().zip(other).map(|(a, b)| a + b).collect::<Vec<_>>()
    };
    for hz in [[1_000.0, 6_500.0], [300.0, 5_000.0]] {
        let prepared = prepare(&wav16(44_100, &[1.0], &tones(hz)), &Limits::default(), &Codec::ALL).unwrap();
        let codes = prepared.prompt.encoded(Codec::G722).unwrap().payload();
        assert_eq!(codes.len(), 8_000);
        let mut samples = vec![0; codes.len() * 2];
        g722::Decoder::new().decode(codes, &mut samples);
        let heard = &samples[1_600..];
        let power: f64 = heard.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        let share = |hz: f64| {
            let (mut re, mut im) = (0.0, 0.0);
            for (n, sample) in heard.iter().enumerate() {
                let phase = TAU * hz * n as f64 / 16_000.0;
                re += f64::from(*sample) * phase.cos();
                im += f64::from(*sample) * phase.sin();
            }
            (re * re + im * im) * 2.0 / heard.len() as f64 / power
        };
        let [low, high] = hz.map(share);
        // The higher band has two bits: its noise lies some 10 dB below the tone.
        assert!((0.4..0.6).contains(&low) && (0.4..0.6).contains(&high) && low + high > 0.95, "{low} {high}");
    }
}

#[test]
fn an_odd_number_of_samples_is_encoded_whole() {
    let [speech] =
        decode(&wav16(16_000, &[1.0], &tone(16_000, 400.0, 0.3, 0.1)[..1_599]), &Limits::default(), [WIDE])
            .unwrap();
    assert_eq!(speech.samples().len(), 1_599);
    assert_eq!(encode(&speech, Codec::G722).payload().len(), 800);
}

#[test]
fn files_joined_together_are_played_whole() {
    let joined = [WELCOME, THANKS].concat();
    let (first, second, both) = (decoded(WELCOME), decoded(THANKS), decoded(&joined));
    let parts = first.duration() + second.duration();
    assert!(both.duration() >= parts, "{:?} of {parts:?}", both.duration());
    assert!(both.duration() < parts + Duration::from_millis(300), "{:?} of {parts:?}", both.duration());
}

#[test]
fn an_mp3_without_its_tag_frame_is_not_cut() {
    // The tag is the first frame; the second begins with the next sync word.
    let tag = WELCOME.windows(4).position(|bytes| bytes == b"Xing").unwrap();
    let second = tag + WELCOME[tag..].windows(2).position(|bytes| bytes == b"\xff\xf3").unwrap();
    let speech = decoded(&WELCOME[second..]);
    assert!(speech.duration() >= decoded(WELCOME).duration());
}

#[test]
fn rubbish_before_the_first_frame_is_skipped() {
    let file = [&[0; 100][..], WELCOME].concat();
    assert!(decoded(&file).duration() >= Duration::from_secs(5));
}

#[test]
fn truncated_files_say_how_much_is_there() {
    let error = refused(&WELCOME[..WELCOME.len() / 2]);
    let Error::Truncated { container: "MP3", announced, found } = error else { panic!("{error:?}") };
    assert_eq!(announced.as_millis(), 5_978);
    assert!(found > Duration::from_millis(2_000) && found < Duration::from_millis(4_000), "{found:?}");
    let file = wav16(8_000, &[1.0], &tone(8_000, 400.0, 0.3, 2.0));
    let error = refused(&file[..file.len() - 16_000]);
    assert_eq!(
        error,
        Error::Truncated {
            container: "WAV",
            announced: Duration::from_secs(2),
            found: Duration::from_secs(1)
        }
    );
    assert_eq!(error.to_string(), "the WAV file is truncated: 1000 ms of the announced 2000 ms are there");
}

#[test]
fn a_wav_file_from_a_pipe_is_read_to_its_end() {
    let mut file = wav16(8_000, &[1.0], &tone(8_000, 400.0, 0.3, 1.0));
    let data = file.windows(4).position(|chunk| chunk == b"data").unwrap();
    for length in [0xffff_ffffu32, 0x7fff_f000] {
        file[4..8].copy_from_slice(&0xffff_ffffu32.to_le_bytes());
        file[data + 4..data + 8].copy_from_slice(&length.to_le_bytes());
        assert_eq!(decoded(&file).samples().len(), 8_000);
    }
}

#[test]
fn what_is_no_prompt_says_what_it_is() {
    let table: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "the file is empty (0 bytes)"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(),
            "this is not audio: it looks like a PNG image (send MP3, WAV, FLAC, or Ogg with Vorbis or Opus)",
        ),
        (
            b"<html><body>404 Not Found".to_vec(),
            "this is not audio: it looks like an HTML page (send MP3, WAV, FLAC, or Ogg with Vorbis or Opus)",
        ),
        (
            b"\0\0\0\x20ftypM4A ".to_vec(),
            "MP4/M4A audio is not supported (send MP3, WAV, FLAC, or Ogg with Vorbis or Opus)",
        ),
        (b"OggS\0\x02".to_vec(), "the Ogg file is damaged: what it carries is unknown"),
        (b"ID3\x04\0\0\0\0\0\x04abcd".to_vec(), "the MP3 file holds an ID3 tag and no audio"),
        ([b"ID3\x04\0\0\0\0\0\x04abcd", &[0x55; 4_000][..]].concat(), "the MP3 file holds no audio"),
        (b"\xff\xfb\x90\x64".to_vec(), "the MP3 file holds no audio"),
        (
            (0..4_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x7f).collect(),
            "this is not audio: it looks like unknown binary data (send MP3, WAV, FLAC, or Ogg with Vorbis or Opus)",
        ),
        (
            coded_wav(0x31, 8_000, 8, &[0; 65]),
            "the WAV file holds GSM 6.10 (format tag 0x0031); \
             linear PCM, float, A-law and \u{b5}-law are supported",
        ),
        (coded_wav(7, 8_000, 8, b""), "the WAV file holds no audio"),
        (
            coded_wav(1, 1_000, 16, &[0; 64]),
            "a sample rate of 1000 Hz is not supported (4000 to 192000 Hz are)",
        ),
        (b"RIFF\x04\0\0\0WAVE".to_vec(), "the WAV file is damaged: it has no data chunk"),
    ];
    for (file, message) in table {
        assert_eq!(refused(&file).to_string(), message);
    }
}

#[test]
fn limits_hold() {
    let file = wav16(8_000, &[1.0], &tone(8_000, 400.0, 0.3, 2.0));
    let limits = Limits { max_bytes: 1_000, max_duration: Duration::from_secs(1) };
    assert_eq!(
        decode(&file, &limits, [NARROW]),
        Err(Error::TooLarge { bytes: file.len(), max_bytes: 1_000 })
    );
    let limits = Limits { max_bytes: file.len(), max_duration: Duration::from_secs(1) };
    assert_eq!(decode(&file, &limits, [WIDE]), Err(Error::TooLong { max_duration: Duration::from_secs(1) }));
    let limits = Limits { max_bytes: file.len(), max_duration: Duration::from_secs(2) };
    assert!(decode(&file, &limits, [NARROW]).is_ok());
}

#[test]
fn damaged_files_give_errors_not_panics() {
    let files = [
        THANKS.to_vec(),
        wav16(44_100, &[1.0, 1.0], &tone(44_100, 400.0, 0.3, 0.05)),
        wav(8_000, 32, SampleFormat::Float, &[1.0], &tone(8_000, 400.0, 0.3, 0.1)),
        coded_wav(6, 8_000, 8, &[0x55; 400]),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for file in files {
        for _ in 0..150 {
            let mut file = file.clone();
            // Headers are where damage hurts most.
            for _ in 0..1 + random(8) {
                let reach = if random(2) == 0 { file.len().min(80) } else { file.len() };
                let at = random(reach);
                file[at] = random(256) as u8;
            }
            file.truncate(file.len() - random(file.len() / 4));
            for speech in decode(&file, &Limits::default(), [NARROW, WIDE]).into_iter().flatten() {
                let ceiling = 10f32.powf(CEILING_DBOV / 20.0);
                assert!(normalise(speech).samples().iter().all(|sample| sample.abs() <= ceiling));
            }
        }
    }
}
