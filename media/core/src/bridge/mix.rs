//! The sound of a conference: everyone hears the others, in the codec of his own.
//!
//! All sound is brought to the highest sample rate in the conference, added up in 32 bits, and brought to each member's rate
//! and codec. Who hears one other alone gets his sound as it is: two members of different codecs are transcoded.

use crate::bridge::MemberSet;
use crate::bridge::limit::Limiter;
use crate::{Codec, Encoder, Ptime, Resampler};

/// How a leg talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// Both ways.
    pub codec: Codec,
    /// Of the packets that it sends.
    pub ptime: Ptime,
}

/// Mixes. Its memory is fixed when it is made. In each period, first [`Mixer::begin`], then [`Mixer::put`] for everyone who
/// is to be heard, then [`Mixer::mix`] and, when that says so, [`Mixer::encode`] for everyone who is to hear.
#[derive(Debug)]
pub struct Mixer {
    rate: u32,
    period: Ptime,
    channels: Vec<Option<Channel>>,
    /// Who was put in this period.
    heard: MemberSet,
    /// All of them together.
    total: Box<[i32]>,
    /// What the member whose turn it is hears.
    sum: Box<[i32]>,
    mixed: Box<[i16]>,
}

/// A member's way in and out.
#[derive(Debug)]
struct Channel {
    stream: Stream,
    up: Resampler,
    /// What he said in this period, at the mixer's rate.
    sound: Box<[i16]>,
    limiter: Limiter,
    down: Resampler,
    /// What he has not got yet, at his rate; `pending` samples of it.
    out: Box<[i16]>,
    pending: usize,
    encoder: Encoder,
}

impl Mixer {
    /// A mixer for the members that talk like this; `None` is one who is not there. Places beyond
    /// [`MemberSet::CAPACITY`] are not heard.
    pub fn new(members: &[Option<Stream>]) -> Self {
        let streams = || members.iter().flatten();
        let rate = streams().map(|stream| stream.codec.sample_rate()).max().unwrap_or(8_000);
        let period = period(streams().map(|stream| stream.ptime));
        let samples = samples(rate, period);
        Self {
            rate,
            period,
            channels: members.iter().map(|stream| Channel::new((*stream)?, rate, period)).collect(),
            heard: MemberSet::EMPTY,
            total: vec![0; samples].into(),
            sum: vec![0; samples].into(),
            mixed: vec![0; samples].into(),
        }
    }

    /// How often it mixes.
    pub fn period(&self) -> Ptime {
        self.period
    }

    /// Goes on with the channel of a member that `before` had at `from` and this one has at `to`, if it is of the same kind.
    pub fn inherit(&mut self, to: usize, before: &mut Self, from: usize) {
        let (rate, period) = (self.rate, self.period);
        let (Some(ours), Some(theirs)) = (self.channels.get_mut(to), before.channels.get_mut(from)) else {
            return;
        };
        let stream = |channel: &Option<Channel>| channel.as_ref().map(|channel| channel.stream);
        if (before.rate, before.period) == (rate, period) && stream(ours) == stream(theirs) {
            std::mem::swap(ours, theirs);
        }
    }

    /// A period begins.
    pub fn begin(&mut self) {
        self.heard = MemberSet::EMPTY;
        self.total.fill(0);
    }

    /// What the member at `place` says in this period, at its codec's sample rate.
    pub fn put(&mut self, place: usize, sound: &[i16]) {
        let Some(Some(channel)) = self.channels.get_mut(place) else { return };
        let count = channel.up.process(sound, &mut channel.sound);
        channel.sound[count..].fill(0);
        self.heard = self.heard.with(place);
        add(&mut self.total, &channel.sound);
    }

    /// Mixes what the member at `place` hears, who `hears` these. Tells whether that makes a packet of his.
    pub fn mix(&mut self, place: usize, hears: MemberSet) -> bool {
        let Self { rate, period, channels, heard, total, sum, mixed } = self;
        let wanted = hears.and(*heard).without(place);
        let rest = heard.minus(wanted);
        let sound = |place: usize| Some(&channels.get(place)?.as_ref()?.sound);
        match (wanted.iter().next(), wanted.len()) {
            (None, _) => mixed.fill(0),
            (Some(one), 1) => match sound(one) {
                Some(sound) => mixed.copy_from_slice(sound),
                None => mixed.fill(0),
            },
            (Some(_), _) => {
                // Whichever is less work; the sums are the same to the bit.
                if wanted.len() < rest.len() {
                    sum.fill(0);
                    wanted.iter().filter_map(sound).for_each(|sound| add(sum, sound));
                } else {
                    sum.copy_from_slice(total);
                    rest.iter().filter_map(sound).for_each(|sound| subtract(sum, sound));
                }
            }
        }
        let Some(Some(channel)) = channels.get_mut(place) else { return false };
        if wanted.len() > 1 {
            channel.limiter.limit(sum, mixed, *rate as usize / 1000);
        }
        channel.keep(mixed, *period)
    }

    /// The peer of the member at `place` is expected to lose so many packets of the hundred ([`crate::Leg::expected_loss`]).
    pub fn expect_loss(&mut self, place: usize, percent: u8) {
        if let Some(Some(channel)) = self.channels.get_mut(place) {
            channel.encoder.expect_loss(percent);
        }
    }

    /// Encodes the packet that the member at `place` has coming to the front of `payload`; returns how many octets that is.
    pub fn encode(&mut self, place: usize, payload: &mut [u8]) -> usize {
        let Some(Some(channel)) = self.channels.get_mut(place) else { return 0 };
        let packet = channel.packet();
        if channel.pending < packet {
            return 0;
        }
        let octets = channel.encoder.encode(&channel.out[..packet], payload);
        channel.shift(packet);
        octets
    }
}

impl Channel {
    fn new(stream: Stream, rate: u32, period: Ptime) -> Option<Self> {
        let ours = stream.codec.sample_rate();
        Some(Self {
            stream,
            up: Resampler::new(ours, rate)?,
            sound: vec![0; samples(rate, period)].into(),
            limiter: Limiter::default(),
            down: Resampler::new(rate, ours)?,
            out: vec![0; samples(ours, stream.ptime) + samples(ours, period)].into(),
            pending: 0,
            encoder: Encoder::new(stream.codec),
        })
    }

    /// Samples of a packet.
    fn packet(&self) -> usize {
        samples(self.stream.codec.sample_rate(), self.stream.ptime)
    }

    /// Keeps a period's sound; tells whether there is a packet of it.
    fn keep(&mut self, mixed: &[i16], period: Ptime) -> bool {
        // A packet that nobody took, for a prompt had the line.
        if self.pending >= self.packet() {
            self.shift(self.packet());
        }
        debug_assert!(self.pending + samples(self.stream.codec.sample_rate(), period) <= self.out.len());
        self.pending += self.down.process(mixed, &mut self.out[self.pending..]);
        self.pending >= self.packet()
    }

    fn shift(&mut self, samples: usize) {
        self.out.copy_within(samples..self.pending, 0);
        self.pending -= samples;
    }
}

fn add(sum: &mut [i32], sound: &[i16]) {
    for (sum, sample) in sum.iter_mut().zip(sound) {
        *sum += i32::from(*sample);
    }
}

fn subtract(sum: &mut [i32], sound: &[i16]) {
    for (sum, sample) in sum.iter_mut().zip(sound) {
        *sum -= i32::from(*sample);
    }
}

fn samples(rate: u32, time: Ptime) -> usize {
    rate as usize / 1000 * usize::from(time.ms())
}

/// The longest time that divides all packet times, so that everyone's packets are evenly spaced; where it would be too short,
/// the shortest packet time, and the packets of the others come when they are full.
fn period(ptimes: impl Iterator<Item = Ptime> + Clone) -> Ptime {
    let divisor = ptimes.clone().map(Ptime::ms).reduce(divisor).and_then(Ptime::new);
    divisor.or(ptimes.min()).unwrap_or_default()
}

fn divisor(a: u8, b: u8) -> u8 {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(codec: Codec, ms: u8) -> Option<Stream> {
        Some(Stream { codec, ptime: Ptime::new(ms).unwrap() })
    }

    /// All but `own` of `n`.
    fn others(n: usize, own: usize) -> MemberSet {
        (0..n).filter(|place| *place != own).collect()
    }

    fn tone(rate: u32, hz: f64, loud: f64, from: usize, count: usize) -> Vec<i16> {
        let at = |n: usize| (n as f64 * hz / f64::from(rate) * std::f64::consts::TAU).sin() * loud;
        (from..from + count).map(|n| at(n) as i16).collect()
    }

    /// How much of `hz` is in `sound`, as an amplitude.
    fn level(sound: &[i16], rate: u32, hz: f64) -> f64 {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in sound.iter().enumerate() {
            let angle = n as f64 * hz / f64::from(rate) * std::f64::consts::TAU;
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        2.0 * re.hypot(im) / sound.len() as f64
    }

    /// Each member says a tone of its own; what each hears, decoded, and the sizes of the packets by period.
    fn conference(
        members: &[Option<Stream>],
        tones: &[(f64, f64)],
        hears: impl Fn(usize) -> MemberSet,
    ) -> (Vec<Vec<i16>>, Vec<Vec<usize>>) {
        let mut mixer = Mixer::new(members);
        let mut heard = vec![Vec::new(); members.len()];
        let mut sizes = vec![Vec::new(); members.len()];
        let mut decoders: Vec<_> =
            members.iter().map(|member| member.map(|member| crate::Decoder::new(member.codec))).collect();
        for round in 0..1_000 / usize::from(mixer.period().ms()) {
            mixer.begin();
            for (place, (member, (hz, loud))) in members.iter().zip(tones).enumerate() {
                let Some(member) = member else { continue };
                let (rate, count) =
                    (member.codec.sample_rate(), samples(member.codec.sample_rate(), mixer.period()));
                mixer.put(place, &tone(rate, *hz, *loud, round * count, count));
            }
            for place in 0..members.len() {
                let Some(decoder) = &mut decoders[place] else { continue };
                if mixer.mix(place, hears(place)) {
                    let (mut payload, mut pcm) = ([0; 1_000], [0; 4_000]);
                    let octets = mixer.encode(place, &mut payload);
                    let count = decoder.decode(&payload[..octets], &mut pcm);
                    heard[place].extend_from_slice(&pcm[..count]);
                    sizes[place].push(octets);
                } else {
                    sizes[place].push(0);
                }
            }
        }
        (heard, sizes)
    }

    #[test]
    fn everyone_hears_the_others_and_not_himself_whatever_the_rates() {
        let members = [
            stream(Codec::Pcma, 20),
            stream(Codec::G722, 20),
            None,
            stream(Codec::Pcmu, 20),
            stream(Codec::G722, 20),
        ];
        let tones = [(400.0, 3e3), (900.0, 3e3), (0.0, 0.0), (1_300.0, 3e3), (2_100.0, 3e3)];
        let (heard, _) = conference(&members, &tones, |place| others(5, place));
        for (place, member) in members.iter().enumerate() {
            let Some(member) = member else { continue };
            let rate = member.codec.sample_rate();
            let sound = &heard[place][rate as usize / 2..];
            assert_eq!(heard[place].len(), rate as usize, "a second of it");
            for (other, (hz, loud)) in tones.iter().enumerate().filter(|(other, _)| *other != 2) {
                let level = level(sound, rate, *hz);
                if other == place {
                    assert!(level < 60.0, "{place} hears himself: {level}");
                } else {
                    assert!((level / loud - 1.0).abs() < 0.1, "{place} hears {other} at {level}");
                }
            }
        }
    }

    #[test]
    fn who_hears_one_alone_hears_his_samples() {
        // Within a law the way through samples loses nothing.
        let members = [stream(Codec::Pcmu, 20), stream(Codec::Pcmu, 20)];
        let (heard, _) = conference(&members, &[(700.0, 20e3), (1_100.0, 20e3)], |place| others(2, place));
        let said = tone(8_000, 1_100.0, 20e3, 0, 8_000);
        let through = |sample: &i16| crate::g711::decode_ulaw(crate::g711::encode_ulaw(*sample));
        assert_eq!(heard[0], said.iter().map(through).collect::<Vec<_>>());
    }

    #[test]
    fn whisper_listen_and_mute_are_who_hears_whom() {
        // The customer 0 and the agent 1 talk, the supervisor 2 whispers to the agent, 3 listens.
        let members = [stream(Codec::Pcma, 20); 4];
        let hears = [vec![1], vec![0, 2], vec![0, 1], vec![0, 1, 2]];
        let tones = [(400.0, 3e3), (900.0, 3e3), (1_300.0, 3e3), (2_100.0, 3e3)];
        let (heard, _) = conference(&members, &tones, |place| hears[place].iter().copied().collect());
        for (place, hears) in hears.iter().enumerate() {
            for (other, (hz, _)) in tones.iter().enumerate() {
                let level = level(&heard[place][4_000..], 8_000, *hz);
                assert_eq!(level > 2_500.0, hears.contains(&other), "{place} hears {other} at {level}");
                assert!(!(60.0..=2_500.0).contains(&level), "{place} hears {other} at {level}");
            }
        }
    }

    #[test]
    fn packet_times_that_differ() {
        for (ms, period) in [([20, 30], 10), ([20, 40], 20), ([60, 60], 60), ([20, 33], 20)] {
            let members = [stream(Codec::Pcma, ms[0]), stream(Codec::G722, ms[1])];
            assert_eq!(Mixer::new(&members).period().ms(), period);
            let (heard, sizes) =
                conference(&members, &[(400.0, 3e3), (900.0, 3e3)], |place| others(2, place));
            for place in 0..2 {
                let packets: Vec<usize> = sizes[place].iter().copied().filter(|size| *size > 0).collect();
                assert!(packets.iter().all(|size| *size == usize::from(ms[place]) * 8), "{ms:?}");
                let most = 1_000 / usize::from(ms[place]);
                assert!((most - 2..=most).contains(&packets.len()), "{ms:?}: {}", packets.len());
            }
            assert!(level(&heard[0][4_000..], 8_000, 900.0) > 2_700.0, "{ms:?}");
        }
    }

    #[test]
    fn many_loud_ones_are_turned_down_and_not_cut_off() {
        let members = [stream(Codec::Pcma, 20); 9];
        let tones: Vec<(f64, f64)> = (0..9).map(|n| (300.0 + 310.0 * f64::from(n), 25e3)).collect();
        let (heard, _) = conference(&members, &tones, |place| others(9, place));
        let sound = &heard[0][4_000..];
        let levels: Vec<f64> = tones[1..].iter().map(|(hz, _)| level(sound, 8_000, *hz)).collect();
        let (least, most) =
            (levels.iter().copied().fold(f64::MAX, f64::min), levels.iter().copied().fold(0.0, f64::max));
        assert!(least > 2_500.0 && most / least < 1.3, "{levels:?}");
        // What was not said is distortion: cutting off would put a tenth of all there.
        let strange = level(sound, 8_000, 300.0 + 155.0).max(level(sound, 8_000, 3_500.0));
        assert!(strange < 200.0, "{strange}");
    }

    #[test]
    fn a_channel_goes_on_in_the_next_mixer() {
        let members = [stream(Codec::G722, 20), stream(Codec::Pcma, 20)];
        let (mut before, mut whole) = (Mixer::new(&members), Mixer::new(&members));
        let mut after = Mixer::new(&[members[1], None, members[0]]);
        let mut payload = [[0; 320]; 2];
        for round in 0..20 {
            let (wide, narrow) =
                (tone(16_000, 440.0, 9e3, round * 320, 320), tone(8_000, 700.0, 9e3, round * 160, 160));
            whole.begin();
            whole.put(0, &wide);
            whole.put(1, &narrow);
            assert!(whole.mix(0, others(2, 0)));
            let octets = whole.encode(0, &mut payload[0]);
            if round == 10 {
                after.inherit(2, &mut before, 0);
                after.inherit(0, &mut before, 1);
                after.inherit(1, &mut before, 7);
            }
            let (mixer, wide_at, narrow_at) =
                if round < 10 { (&mut before, 0, 1) } else { (&mut after, 2, 0) };
            mixer.begin();
            mixer.put(wide_at, &wide);
            mixer.put(narrow_at, &narrow);
            assert!(mixer.mix(wide_at, others(3, wide_at)));
            assert_eq!(mixer.encode(wide_at, &mut payload[1]), octets);
            assert_eq!(payload[0], payload[1], "round {round}");
        }
    }

    #[test]
    fn places_that_are_not_there_say_and_hear_nothing() {
        let mut mixer = Mixer::new(&[None, stream(Codec::Pcma, 20)]);
        mixer.begin();
        mixer.put(0, &[1; 160]);
        mixer.put(9, &[1; 160]);
        // Longer and shorter than a period.
        mixer.put(1, &[9_000; 500]);
        assert!(!mixer.mix(0, others(2, 0)) && !mixer.mix(70, others(2, 0)));
        assert_eq!((mixer.encode(0, &mut [0; 160]), mixer.encode(70, &mut [0; 160])), (0, 0));
        assert!(mixer.mix(1, MemberSet::EMPTY.with(1)), "himself he does not hear");
        let mut payload = [0; 160];
        assert_eq!(mixer.encode(1, &mut payload), 160);
        assert_eq!(payload, [0xD5; 160]);
        assert_eq!(mixer.encode(1, &mut payload), 0, "once only");
    }
}
