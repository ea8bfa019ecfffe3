//! Opus (RFC 6716) as telephony needs it: whatever a peer sends is decoded to 16 kHz mono, and 16 kHz mono is sent, in
//! packets of 20 ms at 24 kbit/s.
//!
//! 16 kHz is what speech is judged at. The frame of a fullband encoder costs twice as much, a bridge mixes three samples for
//! one, and at this bitrate the band above 8 kHz is paid for by the one below; two peers that both speak Opus hear each
//! other unchanged, for their packets pass through a bridge as they are.
//!
//! The arithmetic is libopus's (`docs/adr/0008`). Its memory is one block a coder, taken when that is made; what it needs for
//! a packet lies on the stack.

use std::fmt;

use bytemuck::{cast_slice, cast_slice_mut};
use opusic_c::{Application, Bandwidth, Bitrate, Channels, InbandFec, SampleRate, Signal};

/// Samples per second of what is decoded and encoded.
pub(crate) const SAMPLE_RATE: u32 = 16_000;

/// Bits per second of what is sent.
pub(crate) const BITRATE: u32 = 24_000;

/// Bits per second of what is sent to a peer that loses packets: from here on libopus protects sound that is as good as before,
/// whatever the loss. At 24 kbit/s it does not below a loss of 9 %.
const PROTECTED_BITRATE: u32 = 32_000;

/// Bits per second that our descriptions allow a peer on average: far more than wideband speech needs.
pub(crate) const MAX_BITRATE: u32 = 64_000;

/// Milliseconds in a packet that we send.
pub(crate) const FRAME_MS: u8 = 20;

/// Octets of a packet at a constant bitrate.
pub(crate) const FRAME_OCTETS: usize = BITRATE as usize / 8 * FRAME_MS as usize / 1000;

/// Samples of a packet that we send.
const FRAME: usize = SAMPLE_RATE as usize / 1000 * FRAME_MS as usize;

/// The shortest frame: 2.5 ms.
const SHORTEST: usize = SAMPLE_RATE as usize / 400;

/// RFC 6716, 2.1.4: 120 ms are the longest packet.
const LONGEST: usize = SAMPLE_RATE as usize / 1000 * 120;

/// A packet of silence: what the encoder makes of it at a constant bitrate, over and over: a wideband SILK frame of seven
/// octets, and padding (RFC 6716, 3.2.5).
pub(crate) const SILENCE: [u8; FRAME_OCTETS] = {
    let mut packet = [0; FRAME_OCTETS];
    let begin = [0x4B, 0x41, 0x32, 0x06, 0xE3, 0x79, 0xC8, 0xC9, 0x57, 0xC0];
    let mut at = 0;
    while at < begin.len() {
        packet[at] = begin[at];
        at += 1;
    }
    packet
};

/// How a stream is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Once, to be played by many legs: every packet is [`FRAME_OCTETS`] long, so that a prompt is cut where its packets
    /// end. RFC 6562, 3 asks for as much: from the lengths of encrypted packets one could tell which announcement is played.
    Prompt,
    /// In a call, as it comes.
    Live,
}

/// Opus to linear.
pub(crate) struct Decoder(opusic_c::Decoder);

/// Linear to Opus.
pub(crate) struct Encoder {
    coder: opusic_c::Encoder,
    effort: Effort,
    lookahead: usize,
    /// Packets of the hundred that the peer is expected to lose.
    loss: u8,
}

impl Decoder {
    /// One that has heard nothing.
    pub(crate) fn new() -> Self {
        let decoder = opusic_c::Decoder::new(Channels::Mono, SampleRate::Hz16000);
        Self(
            decoder
                .unwrap_or_else(|error| unreachable!("16 kHz mono is what Opus knows: {}", error.message())),
        )
    }

    /// Decodes a packet to the front of `samples` and returns how many that were: none if it is damaged or longer than
    /// `samples`. A peer that sends nothing in pauses (DTX) says so in packets of one or two octets, which are decoded to
    /// noise.
    pub(crate) fn decode(&mut self, packet: &[u8], samples: &mut [i16]) -> usize {
        // To libopus no packet is a lost one.
        if packet.is_empty() || samples.is_empty() {
            return 0;
        }
        self.0.decode_to_slice(packet, cast_slice_mut(samples), false).unwrap_or(0)
    }

    /// Makes up what was lost, as long as `samples`, down to whole steps of 2.5 ms, and returns how many that were.
    pub(crate) fn conceal(&mut self, samples: &mut [i16]) -> usize {
        let count = whole_steps(samples.len());
        if count == 0 {
            return 0;
        }
        self.0.decode_to_slice(&[], cast_slice_mut(&mut samples[..count]), false).unwrap_or(0)
    }

    /// Decodes what `next` says about the packet before it, which was lost and as long as `samples` (in-band FEC), and
    /// returns how many samples that were; conceals if it says nothing. `next` itself is decoded after this.
    pub(crate) fn recover(&mut self, next: &[u8], samples: &mut [i16]) -> usize {
        let count = whole_steps(samples.len());
        if count == 0 || next.is_empty() {
            return self.conceal(samples);
        }
        self.0.decode_to_slice(next, cast_slice_mut(&mut samples[..count]), true).unwrap_or(0)
    }
}

/// RFC 6716, 2.1.4: "any duration that is a multiple of 2.5 ms" can be concealed.
fn whole_steps(samples: usize) -> usize {
    samples.min(LONGEST) / SHORTEST * SHORTEST
}

/// Whether a packet tells what the one before it said (in-band FEC). Those with several frames of unlike lengths, which no
/// speech is sent in, are taken for ones that do not.
pub(crate) fn tells_twice(packet: &[u8]) -> bool {
    let Some((toc, frames)) = packet.split_first() else { return false };
    // RFC 6716, 3.1: configurations 0 to 15 have a layer of SILK, of one SILK frame up to 20 ms, and of two or three.
    let config = toc >> 3;
    let silk_frames = match (config, config & 3) {
        (16.., _) => return false,
        (12..16, _) | (_, 0 | 1) => 1,
        (_, more) => u32::from(more),
    };
    // RFC 6716, 4.2.3: after a bit for each SILK frame that says whether there is a voice in it comes the one for LBRR. RFC 6716,
    // 3.2.2 and 3.2.3: with codes 0 and 1 the first frame follows at once.
    toc & 3 <= 1 && frames.first().is_some_and(|bits| bits >> (7 - silk_frames) & 1 == 1)
}

impl Encoder {
    pub(crate) fn new(effort: Effort) -> Self {
        Self::set_up(effort).unwrap_or_else(|error| {
            unreachable!("settings for 16 kHz mono that Opus knows: {}", error.message())
        })
    }

    fn set_up(effort: Effort) -> Result<Self, opusic_c::ErrorCode> {
        // Not `Voip`, which takes away what is below 60 to 100 Hz as a microphone's rumble: 0.03 of wideband PESQ. Prompts have
        // none, and what is transcoded has been through a telephone.
        let mut coder = opusic_c::Encoder::new(Channels::Mono, SampleRate::Hz16000, Application::Audio)?;
        coder.set_bitrate(Bitrate::Value(BITRATE))?;
        coder.set_max_bandwidth(Bandwidth::Wide)?;
        // The layer for speech alone: it is the one that can be told twice, and no mode is changed in between.
        coder.set_signal(Signal::Voice)?;
        // Wideband PESQ of read speech: 4.40 at 9, 4.37 at 5, 4.31 at 3, at 158, 93 and 71 µs a frame.
        let (complexity, constant_rate) = match effort {
            Effort::Prompt => (9, true),
            Effort::Live => (5, false),
        };
        coder.set_complexity(complexity)?;
        coder.set_vbr(!constant_rate)?;
        let lookahead = coder.get_look_ahead()? as usize;
        Ok(Self { coder, effort, lookahead, loss: 0 })
    }

    /// Encodes one packet of 20 ms to the front of `packet` and returns its length, which is no more than there is room
    /// for; 0 if `samples` are not 20 ms.
    pub(crate) fn encode(&mut self, samples: &[i16], packet: &mut [u8]) -> usize {
        if samples.len() != FRAME || packet.is_empty() {
            return 0;
        }
        let room = match self.effort {
            Effort::Prompt => packet.len().min(FRAME_OCTETS),
            Effort::Live => packet.len(),
        };
        self.coder.encode_to_slice(cast_slice(samples), &mut packet[..room]).unwrap_or(0)
    }

    /// Samples that the packets so far do not hold yet.
    pub(crate) fn lookahead(&self) -> usize {
        self.lookahead
    }

    /// How many packets of the hundred the peer says it loses: from then on a copy of each goes with the next (in-band
    /// FEC), as far as the bitrate bears it.
    pub(crate) fn expect_loss(&mut self, percent: u8) {
        let percent = percent.min(100);
        if percent == self.loss {
            return;
        }
        let (fec, bitrate) = match percent {
            0 => (InbandFec::Off, BITRATE),
            _ => (InbandFec::Mode1, PROTECTED_BITRATE),
        };
        let set = self
            .coder
            .set_inband_fec(fec)
            .and_then(|()| self.coder.set_packet_loss(percent))
            .and_then(|()| self.coder.set_bitrate(Bitrate::Value(bitrate)));
        debug_assert!(set.is_ok(), "a share of the hundred is what Opus knows");
        self.loss = percent;
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("opus::Decoder")
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opus::Encoder({:?}, {} % loss)", self.effort, self.loss)
    }
}

#[cfg(test)]
mod tests {
    // Peers that nobody here wrote.
    use opus_pure::{Application, OpusEncoder};
    use proptest::prelude::*;

    use super::*;

    /// A voice: syllables of a low tone with overtones.
    fn voice(ms: usize, rate: usize) -> Vec<i16> {
        let sample = |n: usize| {
            let t = n as f64 / rate as f64;
            let voice: f64 = (1..20)
                .map(|k| (f64::from(k) * 130.0 * t * std::f64::consts::TAU).sin() / f64::from(k))
                .sum();
            (voice * (t * 4.0 * std::f64::consts::PI).sin().abs() * 5_000.0) as i16
        };
        (0..ms * rate / 1000).map(sample).collect()
    }

    fn packets(effort: Effort, samples: &[i16]) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(effort);
        let mut packet = [0; 400];
        samples
            .chunks_exact(FRAME)
            .map(|frame| {
                let len = encoder.encode(frame, &mut packet);
                packet[..len].to_vec()
            })
            .collect()
    }

    fn loudest(samples: &[i16]) -> u16 {
        samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap()
    }

    fn power(samples: &[i16]) -> f64 {
        samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    /// How far `heard` is from `said`, in dB of it.
    fn noise(said: &[i16], heard: &[i16]) -> f64 {
        let error: f64 =
            said.iter().zip(heard).map(|(a, b)| f64::from(i32::from(*a) - i32::from(*b)).powi(2)).sum();
        10.0 * (error / said.len() as f64 / power(said)).log10()
    }

    #[test]
    fn prompts_have_packets_of_one_length_and_live_ones_keep_the_bitrate() {
        let prompt = packets(Effort::Prompt, &voice(2_000, 16_000));
        assert!(prompt.iter().all(|packet| packet.len() == FRAME_OCTETS));
        let live: usize = packets(Effort::Live, &voice(2_000, 16_000)).iter().map(Vec::len).sum();
        assert!((2_000..7_000).contains(&live), "{live} octets in two seconds of 24 kbit/s");
    }

    #[test]
    fn repeated_silence_quietens_a_decoder() {
        for effort in [Effort::Prompt, Effort::Live] {
            let mut decoder = Decoder::new();
            let mut heard = [0; FRAME];
            for packet in packets(effort, &voice(990, 16_000)) {
                assert_eq!(decoder.decode(&packet, &mut heard), FRAME);
            }
            let silence: Vec<i16> = (0..50)
                .flat_map(|_| {
                    assert_eq!(decoder.decode(&SILENCE, &mut heard), FRAME);
                    heard
                })
                .collect();
            assert!(loudest(&silence[FRAME * 5..]) <= 12, "{effort:?}: {}", loudest(&silence[FRAME * 5..]));
        }
    }

    #[test]
    fn every_rate_stereo_and_packet_time_is_decoded() {
        for rate in [8_000, 16_000, 48_000] {
            for channels in [1, 2] {
                for ms in [10, 20, 40, 60, 120] {
                    let mono = voice(1_200, rate);
                    let samples: Vec<i16> = mono.iter().flat_map(|sample| vec![*sample; channels]).collect();
                    let mut encoder = OpusEncoder::new(rate as i32, channels, Application::Audio).unwrap();
                    encoder.bitrate_bps = 64_000;
                    let mut decoder = Decoder::new();
                    let (mut packet, mut heard) = ([0; 1_500], [0; LONGEST]);
                    let mut all = Vec::new();
                    for frame in samples.chunks_exact(rate / 1000 * ms * channels) {
                        let len = encoder.encode_s16(frame, rate / 1000 * ms, &mut packet).unwrap();
                        let count = decoder.decode(&packet[..len], &mut heard);
                        assert_eq!(count, 16 * ms, "{rate} Hz, {channels} channels, {ms} ms");
                        all.extend_from_slice(&heard[..count]);
                    }
                    let (said, heard) = (power(&mono), power(&all));
                    assert!((0.8..1.25).contains(&(heard / said)), "{rate} Hz, {channels} channels, {ms} ms");
                }
            }
        }
    }

    #[test]
    fn a_lost_packet_is_recovered_from_the_next_better_than_made_up() {
        let mut encoder = Encoder::new(Effort::Live);
        encoder.expect_loss(20);
        let mut packet = [0; 400];
        let samples = voice(2_000, 16_000);
        let packets: Vec<Vec<u8>> = samples
            .chunks_exact(FRAME)
            .map(|frame| {
                let len = encoder.encode(frame, &mut packet);
                packet[..len].to_vec()
            })
            .collect();
        let run = |lost: fn(&mut Decoder, &[u8], &mut [i16]) -> usize| {
            let mut decoder = Decoder::new();
            let mut all = Vec::new();
            for (n, packet) in packets.iter().enumerate() {
                let mut heard = [0; FRAME];
                let count = match packets.get(n + 1) {
                    Some(next) if n % 8 == 5 => lost(&mut decoder, next, &mut heard),
                    Some(_) | None => decoder.decode(packet, &mut heard),
                };
                assert_eq!(count, FRAME);
                all.extend_from_slice(&heard);
            }
            all
        };
        let mut decoder = Decoder::new();
        let whole: Vec<i16> = packets
            .iter()
            .flat_map(|packet| {
                let mut heard = [0; FRAME];
                decoder.decode(packet, &mut heard);
                heard
            })
            .collect();
        let recovered = noise(&whole, &run(|decoder, next, heard| decoder.recover(next, heard)));
        let made_up = noise(&whole, &run(|decoder, _, heard| decoder.conceal(heard)));
        assert!(recovered < made_up - 3.0, "recovered {recovered:.1} dB, made up {made_up:.1} dB");
    }

    #[test]
    fn what_is_told_twice_is_known_by_its_packets() {
        for percent in [0, 1, 5, 20] {
            let mut encoder = Encoder::new(Effort::Live);
            encoder.expect_loss(percent);
            let mut packet = [0; 400];
            let twice = voice(2_000, 16_000).chunks_exact(FRAME).fold(0, |twice, frame| {
                let len = encoder.encode(frame, &mut packet);
                twice + usize::from(tells_twice(&packet[..len]))
            });
            // But the first, and what is too quiet to be worth it.
            let expected = if percent == 0 { 0..=0 } else { 70..=99 };
            assert!(expected.contains(&twice), "{percent} %: {twice} of 100");
        }
        assert!(!tells_twice(&[]) && !tells_twice(&[0x48]) && !tells_twice(&SILENCE));
    }

    #[test]
    fn pauses_of_a_peer_that_does_not_send_in_them_are_decoded() {
        let mut encoder = OpusEncoder::new(16_000, 1, Application::Voip).unwrap();
        (encoder.bitrate_bps, encoder.use_dtx) = (24_000, true);
        let mut decoder = Decoder::new();
        let (mut packet, mut heard) = ([0; 1_500], [0; FRAME]);
        let mut shortest = usize::MAX;
        let mut samples = voice(1_000, 16_000);
        samples.resize(16_000 * 3, 0);
        for frame in samples.chunks_exact(FRAME) {
            let len = encoder.encode_s16(frame, FRAME, &mut packet).unwrap();
            shortest = shortest.min(len);
            assert_eq!(decoder.decode(&packet[..len], &mut heard), FRAME);
        }
        assert!(shortest <= 2, "{shortest}: the encoder does pause");
        assert!(loudest(&heard) < 100, "{}", loudest(&heard));
    }

    #[test]
    fn what_is_no_packet_makes_no_sound_and_no_trouble() {
        let mut decoder = Decoder::new();
        let mut heard = [0; FRAME];
        assert_eq!(decoder.decode(&[], &mut heard), 0);
        assert_eq!(decoder.decode(&[0x4B, 0x41, 200, 1], &mut heard), 0, "more padding than packet");
        assert_eq!(decoder.decode(&SILENCE, &mut heard[..100]), 0, "no room");
        assert_eq!(decoder.conceal(&mut heard[..39]), 0);
        assert_eq!(decoder.conceal(&mut heard[..100]), 80);
        assert_eq!(decoder.recover(&[], &mut heard), FRAME);
        assert_eq!(decoder.decode(&SILENCE, &mut heard), FRAME);
        assert_eq!(Encoder::new(Effort::Live).encode(&[0; 160], &mut [0; 100]), 0);
    }

    proptest! {
        #[test]
        fn any_octets_are_borne(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20)) {
            let mut decoder = Decoder::new();
            let mut heard = [0; LONGEST];
            for packet in &packets {
                prop_assert!(decoder.decode(packet, &mut heard) <= LONGEST);
                prop_assert!(decoder.recover(packet, &mut heard[..FRAME]) <= FRAME);
            }
            prop_assert_eq!(decoder.decode(&SILENCE, &mut heard), FRAME);
        }
    }
}
