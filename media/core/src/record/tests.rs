use std::io::Cursor;

use opus_pure::{OggOpusReader, OpusDecoder, Trim};

use super::*;
use crate::{Encoder, g711};

fn recording(format: Format, sides: Sides) -> Recording {
    Recording { format, sides, max: Duration::from_secs(3600), silence: None }
}

fn tone(hz: f64, rate: u32, from: usize, samples: usize) -> Vec<i16> {
    let turn = std::f64::consts::TAU * hz / f64::from(rate);
    (from..from + samples).map(|n| ((n as f64 * turn).sin() * 8_000.0) as i16).collect()
}

/// How much of a tone is in the samples: its amplitude.
fn amplitude(samples: impl Iterator<Item = i16> + Clone, hz: f64, rate: u32) -> f64 {
    let turn = std::f64::consts::TAU * hz / f64::from(rate);
    let (re, im) = samples.clone().enumerate().fold((0.0, 0.0), |(re, im), (n, sample)| {
        let angle = turn * n as f64;
        (re + f64::from(sample) * angle.cos(), im + f64::from(sample) * angle.sin())
    });
    2.0 * f64::hypot(re, im) / samples.count() as f64
}

/// Records packet times of 20 ms: 400 Hz is heard, 1000 Hz is sent.
fn record(recorder: &mut Recorder, codec: Codec, packets: std::ops::Range<usize>) -> Option<Full> {
    let rate = codec.sample_rate();
    let samples = rate as usize / 50;
    let mut encoder = Encoder::new(codec);
    packets.into_iter().find_map(|n| {
        let heard = tone(400.0, rate, n * samples, samples);
        let mut payload = [0; 1500];
        let octets = encoder.encode(&tone(1_000.0, rate, n * samples, samples), &mut payload);
        let sent = Sent::Payload(&payload[..octets]);
        recorder.record(Duration::ZERO, &Moment { codec, ptime: Ptime::DEFAULT, heard: &heard, sent })
    })
}

fn wav_file(mut recorder: Recorder) -> (wav::Format, Vec<i16>) {
    recorder.finish();
    let mut file = std::mem::take(recorder.output());
    file[..wav::HEADER_LEN].copy_from_slice(&recorder.header().unwrap());
    let format = wav::Format::read(&file).unwrap();
    assert_eq!(format.whole(file.len() as u64), file.len() as u64);
    let samples = file[wav::HEADER_LEN..].as_chunks().0.iter().map(|octets| i16::from_le_bytes(*octets));
    (format, samples.collect())
}

/// What a reader that is not ours makes of the file: channels, and samples in turns at 48 kHz.
fn opus_samples(file: &[u8]) -> (usize, Vec<i16>) {
    let mut reader = OggOpusReader::new(Cursor::new(file)).unwrap();
    let head = reader.head().clone();
    let channels = head.channel_count as usize;
    assert_eq!((head.stream_count, head.coupled_count), (channels as u8, 0));
    let mut decoders: Vec<_> = (0..channels).map(|_| OpusDecoder::new(48_000, 1).unwrap()).collect();
    let mut trim = Trim::new(&head, 48_000, channels).unwrap();
    let mut all = Vec::new();
    while let Some(packet) = reader.read_packet().unwrap() {
        let mut pcm = vec![0.0f32; 960 * channels];
        let mut rest = packet.data.clone();
        for (channel, decoder) in decoders.iter_mut().enumerate() {
            let mut of_channel = [0.0f32; 960];
            let own = if channel + 1 < channels { take_delimited(&mut rest) } else { rest.clone() };
            assert_eq!(decoder.decode(&own, 960, &mut of_channel).unwrap(), 960);
            for (to, sample) in pcm.iter_mut().skip(channel).step_by(channels).zip(of_channel) {
                *to = sample;
            }
        }
        all.extend(trim.keep(&packet, &pcm).iter().map(|sample| (sample * 32_768.0) as i16));
    }
    (channels, all)
}

/// The first packet of several in one (RFC 6716, B), with code 0.
fn take_delimited(packets: &mut Vec<u8>) -> Vec<u8> {
    let toc = packets[0];
    assert_eq!(toc & 3, 0);
    let (at, length) = match packets[1] {
        long @ 252.. => (3, usize::from(packets[2]) * 4 + usize::from(long)),
        short => (2, usize::from(short)),
    };
    let frame = packets[at..at + length].to_vec();
    packets.drain(..at + length);
    [vec![toc], frame].concat()
}

#[test]
fn both_sides_of_a_wav_file_are_what_was_heard_and_sent() {
    for codec in Codec::ALL {
        let mut recorder = Recorder::new(recording(Format::Wav, Sides::Apart));
        assert_eq!(record(&mut recorder, codec, 0..100), None);
        assert_eq!(recorder.duration(), Duration::from_secs(2), "{codec:?}");
        let (format, samples) = wav_file(recorder);
        let rate = codec.sample_rate();
        assert_eq!(format, wav::Format { rate, channels: 2 });
        assert_eq!(samples.len(), 2 * 2 * rate as usize);
        let channel = |n: usize| samples.iter().skip(n).step_by(2).copied().skip(rate as usize / 10);
        for (side, there, elsewhere) in [(0, 400.0, 1_000.0), (1, 1_000.0, 400.0)] {
            // Opus keeps what is heard, not the waveform.
            let (least, most) = if codec == Codec::Opus { (6_500.0, 300.0) } else { (7_500.0, 50.0) };
            let (own, other) =
                (amplitude(channel(side), there, rate), amplitude(channel(side), elsewhere, rate));
            assert!(own > least && other < most, "{codec:?} {side}: {own} {other}");
        }
    }
}

#[test]
fn one_channel_has_both_and_does_not_overflow() {
    let mut recorder = Recorder::new(recording(Format::Wav, Sides::Mixed));
    assert_eq!(record(&mut recorder, Codec::Pcma, 0..50), None);
    let (format, samples) = wav_file(recorder);
    assert_eq!((format.channels, samples.len()), (1, 8_000));
    for hz in [400.0, 1_000.0] {
        assert!(amplitude(samples.iter().copied(), hz, 8_000) > 7_500.0);
    }
    let mut recorder = Recorder::new(recording(Format::Wav, Sides::Mixed));
    let loud = Moment {
        codec: Codec::Pcmu,
        ptime: Ptime::DEFAULT,
        heard: &[30_000; 160],
        sent: Sent::Payload(&[0x80; 160]),
    };
    assert!(g711::decode_ulaw(0x80) > 30_000);
    for _ in 0..3 {
        recorder.record(Duration::ZERO, &loud);
    }
    assert_eq!(wav_file(recorder).1[240..], [i16::MAX; 240]);
}

#[test]
fn what_is_sent_waits_as_long_as_what_is_heard_has() {
    let mut recorder = Recorder::new(recording(Format::Wav, Sides::Apart));
    let codec = Codec::Pcmu;
    let mut put =
        |sent| recorder.record(Duration::ZERO, &Moment { codec, ptime: Ptime::DEFAULT, heard: &[], sent });
    // 40 ms of its own, then what it sends on, then its own again.
    for _ in 0..2 {
        put(Sent::Payload(&[0x80; 160]));
    }
    for _ in 0..2 {
        put(Sent::Sound(&[7; 160]));
    }
    for _ in 0..2 {
        put(Sent::Payload(&[0x80; 160]));
    }
    let (_, samples) = wav_file(recorder);
    let sent: Vec<i16> = samples.iter().skip(1).step_by(2).copied().collect();
    let own = g711::decode_ulaw(0x80);
    let expected = [(0, 240), (own, 80), (own + 7, 240), (7, 80), (0, 240), (own, 80)];
    let expected: Vec<i16> = expected.iter().flat_map(|(sample, count)| vec![*sample; *count]).collect();
    assert_eq!(sent, expected);
}

#[test]
fn what_is_missing_is_silence_in_its_place() {
    let mut recorder = Recorder::new(recording(Format::Wav, Sides::Apart));
    let moment =
        Moment { codec: Codec::Pcmu, ptime: Ptime::DEFAULT, heard: &[1_000; 100], sent: Sent::Payload(&[]) };
    recorder.record(Duration::ZERO, &moment);
    recorder.record(Duration::from_millis(500), &moment);
    assert_eq!(recorder.duration(), Duration::from_millis(540));
    let (_, samples) = wav_file(recorder);
    let heard: Vec<i16> = samples.iter().copied().step_by(2).collect();
    let full = |range: std::ops::Range<usize>| heard[range].iter().all(|sample| *sample == 1_000);
    assert!(full(0..100) && full(4_160..4_260));
    assert!(heard[100..4_160].iter().chain(&heard[4_260..]).all(|sample| *sample == 0));
    assert!(samples.iter().skip(1).step_by(2).all(|sample| *sample == 0));
}

#[test]
fn another_codec_keeps_the_rate_of_the_file() {
    let mut recorder = Recorder::new(recording(Format::Wav, Sides::Apart));
    record(&mut recorder, Codec::Pcma, 0..50);
    record(&mut recorder, Codec::G722, 50..100);
    record(&mut recorder, Codec::Pcma, 100..150);
    assert_eq!(recorder.duration(), Duration::from_secs(3));
    let (format, samples) = wav_file(recorder);
    assert_eq!(format.rate, 8_000);
    for (side, hz) in [(0, 400.0), (1, 1_000.0)] {
        for second in 0..3 {
            let part = samples.iter().skip(second * 16_000 + side).step_by(2).copied().take(8_000).skip(800);
            assert!(amplitude(part, hz, 8_000) > 7_500.0, "second {second} of side {side}");
        }
    }
}

#[test]
fn it_is_over_at_its_longest_to_the_sample() {
    let max = Duration::from_millis(1_010);
    let mut recorder = Recorder::new(Recording { max, ..recording(Format::Wav, Sides::Mixed) });
    assert_eq!(record(&mut recorder, Codec::Pcmu, 0..50), None);
    assert_eq!(record(&mut recorder, Codec::Pcmu, 50..100), Some(Full::MaxLength));
    assert_eq!(recorder.duration(), max);
    assert_eq!(wav_file(recorder).1.len(), 8_080);
    // A gap can bring it to its end, too.
    let mut recorder = Recorder::new(Recording { max, ..recording(Format::Wav, Sides::Mixed) });
    let moment = Moment { codec: Codec::Pcmu, ptime: Ptime::DEFAULT, heard: &[], sent: Sent::Payload(&[]) };
    assert_eq!(recorder.record(Duration::from_secs(100_000), &moment), Some(Full::MaxLength));
    assert_eq!(recorder.duration(), max);
}

#[test]
fn it_is_over_when_nobody_has_spoken_for_long_enough() {
    let silence = Some(Duration::from_secs(1));
    let mut recorder = Recorder::new(Recording { silence, ..recording(Format::Wav, Sides::Mixed) });
    let mut hear = |loudness: i16, packets: usize| {
        let heard: Vec<i16> = (0..160).map(|n| if n % 2 == 0 { loudness } else { -loudness }).collect();
        // What we send ourselves does not count.
        let moment = Moment {
            codec: Codec::Pcmu,
            ptime: Ptime::DEFAULT,
            heard: &heard,
            sent: Sent::Payload(&[0x80; 160]),
        };
        (0..packets).find_map(|n| recorder.record(Duration::ZERO, &moment).map(|why| (n, why)))
    };
    assert_eq!(hear(100, 49), None);
    assert_eq!(hear(300, 1), None);
    assert_eq!(hear(100, 100), Some((49, Full::Silence)));
}

#[test]
fn an_opus_file_has_both_sides_and_its_exact_length() {
    for (codec, sides) in [
        (Codec::Pcma, Sides::Apart),
        (Codec::Pcmu, Sides::Mixed),
        (Codec::G722, Sides::Apart),
        (Codec::G722, Sides::Mixed),
    ] {
        let mut recorder = Recorder::new(recording(Format::Opus, sides));
        for second in 0..3 {
            record(&mut recorder, codec, second * 50..(second + 1) * 50);
            recorder.flush();
        }
        record(&mut recorder, codec, 150..151);
        recorder.finish();
        assert_eq!(recorder.header(), None);
        let (channels, samples) = opus_samples(recorder.output());
        assert_eq!(channels, usize::from(sides.channels()));
        assert_eq!(samples.len() / channels, 48_000 * 302 / 100, "{codec:?} {sides:?}");
        let channel = |n: usize| samples.iter().skip(n).step_by(channels).copied().skip(4_800).take(96_000);
        for (side, there, elsewhere) in [(0, 400.0, 1_000.0), (channels - 1, 1_000.0, 400.0)] {
            let (there, elsewhere) =
                (amplitude(channel(side), there, 48_000), amplitude(channel(side), elsewhere, 48_000));
            assert!(there > 6_000.0, "{codec:?} {sides:?} {side}: {there}");
            assert!(channels == 1 || elsewhere < there / 100.0, "{codec:?} {side}: {there} {elsewhere}");
        }
    }
}

#[test]
fn a_recording_without_a_packet_is_a_file_all_the_same() {
    let (format, samples) = wav_file(Recorder::new(recording(Format::Wav, Sides::Mixed)));
    assert_eq!((format.rate, samples.len()), (8_000, 0));
    let mut recorder = Recorder::new(recording(Format::Opus, Sides::Mixed));
    recorder.finish();
    assert_eq!(opus_samples(recorder.output()), (1, vec![]));
}

/// What a shell does with a file that its writer has left behind.
fn mend(format: Format, file: &[u8]) -> Option<(Vec<u8>, Mended)> {
    let mut mender = Mender::new(format);
    let mended = loop {
        let (at, len) = mender.wants();
        let rest = file.get(at as usize..).unwrap_or_default();
        if let Some(answer) = mender.read(&rest[..len.min(rest.len())], file.len() as u64) {
            break answer?;
        }
    };
    let mut file = file[..mended.len as usize].to_vec();
    if let Some((at, patch)) = &mended.patch {
        file[*at as usize..*at as usize + patch.len()].copy_from_slice(patch);
    }
    Some((file, mended))
}

#[test]
fn a_wav_file_cut_anywhere_is_mended() {
    let mut recorder = Recorder::new(recording(Format::Wav, Sides::Apart));
    record(&mut recorder, Codec::Pcmu, 0..10);
    let file = std::mem::take(recorder.output());
    for len in 0..file.len() {
        let mended = mend(Format::Wav, &file[..len]);
        assert_eq!(mended.is_some(), len >= wav::HEADER_LEN, "{len}");
        let Some((mended, facts)) = mended else { continue };
        let frames = (len - wav::HEADER_LEN) / 4;
        assert_eq!(mended.len(), wav::HEADER_LEN + frames * 4);
        assert_eq!(mended[..44], wav::header(8_000, 2, frames as u32 * 4));
        assert_eq!(facts.duration, Duration::from_micros(frames as u64 * 125));
    }
}

#[test]
fn an_opus_file_cut_anywhere_is_mended() {
    let mut recorder = Recorder::new(recording(Format::Opus, Sides::Apart));
    let mut whole_at = Vec::new();
    for second in 0..4 {
        record(&mut recorder, Codec::Pcmu, second * 50..(second + 1) * 50);
        recorder.flush();
        whole_at.push(recorder.output().len());
    }
    let unfinished = recorder.output().len();
    let cuts = (0..unfinished).step_by(97).chain(whole_at.clone());
    for len in cuts {
        let Some((file, facts)) = mend(Format::Opus, &recorder.output()[..len]) else {
            assert!(len < 50, "the first page is there at {len}");
            continue;
        };
        let seconds = whole_at.iter().filter(|at| **at <= len).count();
        assert_eq!((facts.rate, facts.channels), (8_000, 2));
        // The encoder's delay is skipped, so a second of packets is a little less of audio.
        let expected = Duration::from_micros((seconds as u64 * 1_000_000).saturating_sub(6_500));
        assert_eq!(facts.duration, expected, "cut at {len}");
        if seconds > 0 {
            let (channels, samples) = opus_samples(&file);
            assert_eq!(channels, 2);
            assert_eq!(samples.len() / 2, expected.as_micros() as usize * 48 / 1_000);
        }
    }
    recorder.finish();
    let file = recorder.output().clone();
    let (same, facts) = mend(Format::Opus, &file).unwrap();
    assert_eq!((same, facts.patch, facts.duration), (file, None, Duration::from_secs(4)));
}

#[test]
fn rubbish_is_not_mended() {
    for format in [Format::Wav, Format::Opus] {
        assert_eq!(mend(format, &[]), None);
        assert_eq!(mend(format, &[0x4F; 70_000]), None);
    }
}
