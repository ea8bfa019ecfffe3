//! What a leg hears, as samples: a jitter buffer whose delay follows the network, a decoder, and concealment of what is lost.
//!
//! Packets are pushed as they come and sound is pulled at the pace of the leg, one packet time at each tick. In between there
//! are the encoded packets in the order of their numbers (`store`), a measure of how long they must wait (`delay`), and the
//! decoded sound that waits with the last that was heard (`line`). The delay is changed in periods of the voice, which
//! nobody hears (`stretch`). Where a packet is missing the sound goes on in its period and fades (`conceal`) into the noise
//! of the background (`noise`). A codec that tells its packets twice, or knows by itself how they go on, is asked first.
//!
//! Everything is measured against the *fastest* packet of late: a packet that is decoded when the fastest of its time would
//! have waited for `d` is said to have the slack `d`. Slack is kept between the target, which is what all but a few
//! packets of the hundred need, and a little more. Nobody's clock has to be known for that, nor where a talkspurt begins.

mod conceal;
mod delay;
mod line;
mod noise;
mod pitch;
mod store;
mod stretch;
mod voice;

use std::time::{Duration, Instant};

use crate::rtp::Header;
use crate::{Codec, MediaTime, SeqNo, Ssrc};
use conceal::{Concealer, MAX_PERIOD_MS, PAST_MS};
use delay::{Delays, Micros};
use line::Line;
use noise::Noise;
use store::{Entry, Sort, Store, Stored};
use voice::Voice;

/// A packet whose transit differs by more than this from the fastest has another clock behind it: a peer whose timestamps
/// stood still in a pause, or jumped. No buffer bears so much, so nothing is lost by starting anew.
const ANOTHER_CLOCK: Micros = 1_000_000;

/// What slack may exceed the target by: a packet time, by which it moves anyway when the peer's differs from ours, and more
/// than the longest period, so that shortening cannot call for lengthening.
const EXCESS: Micros = 20_000;

/// What slack may fall short by: less than anyone changes a delay for.
const SHORTFALL: Micros = 5_000;

/// Milliseconds of sound in a packet at most. RFC 3551, 4.2 asks receivers to take 200.
const MAX_PACKET_MS: usize = 200;

/// Milliseconds pulled at once at most: [`crate::Ptime::MAX`].
const MAX_FRAME_MS: usize = 60;

/// Over how much sound that was made up goes over into sound that came, at most.
const MAX_OVERLAP_MS: usize = 10;

/// How long a codec makes up itself what is lost; what is longer fades into the noise of the background.
const CODEC_CONCEALS_MS: usize = 100;

/// Packets looked at in one pull at most: more than the store holds, so only a defect reaches it.
const MAX_STEPS: usize = 160;

/// RFC 3550, A.1: the largest gap forward that is loss and the largest step back that is reordering; beyond them the
/// numbering is another.
const MAX_DROPOUT: i16 = 3000;
const MAX_MISORDER: i16 = -100;

/// How far a stream's timestamps may go: eight months at 48 kHz. Who jumps so far begins anew, and nothing here overflows.
const FARTHEST: i64 = 1 << 40;

/// What an ear is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarConfig {
    /// What the packets are encoded in.
    pub codec: Codec,
    /// How long the fastest packet waits at least.
    pub min_delay: Duration,
    /// How long it waits at most, whatever the jitter.
    pub max_delay: Duration,
}

impl EarConfig {
    /// 20 ms: a packet time, below which the ticks of the two ends decide what is late.
    pub const MIN_DELAY: Duration = Duration::from_millis(20);
    /// 200 ms: more is worse to talk over than gaps are (ITU-T G.114).
    pub const MAX_DELAY: Duration = Duration::from_millis(200);

    /// An ear for `codec` with the usual bounds.
    pub fn new(codec: Codec) -> Self {
        Self { codec, min_delay: Self::MIN_DELAY, max_delay: Self::MAX_DELAY }
    }
}

/// What an ear has gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EarStats {
    /// How long the fastest packet now waits before it is heard.
    pub delay_ms: u32,
    /// The same, as a mean of all sound that came.
    pub mean_delay_ms: u32,
    /// How long it should, by the jitter.
    pub target_ms: u32,
    /// Sound pulled.
    pub heard_ms: u32,
    /// Of that, sound made up because packets were lost or late.
    pub concealed_ms: u32,
    /// Of that, noise in the pauses of a peer that does not send in them.
    pub noise_ms: u32,
    /// Sound put in to lengthen the delay.
    pub stretched_ms: u32,
    /// Sound taken out to shorten the delay.
    pub compressed_ms: u32,
    /// Packets that came when their time was over.
    pub late: u32,
    /// Packets thrown away because there were too many, or because another stream had begun.
    pub discarded: u32,
}

impl EarStats {
    /// These, and what ears before this one have gone through.
    pub(crate) fn after(self, before: Option<Self>) -> Self {
        let before = before.unwrap_or_default();
        Self {
            delay_ms: self.delay_ms,
            mean_delay_ms: mean(self.mean_delay_ms, self.heard_ms, before.mean_delay_ms, before.heard_ms),
            target_ms: self.target_ms,
            heard_ms: before.heard_ms + self.heard_ms,
            concealed_ms: before.concealed_ms + self.concealed_ms,
            noise_ms: before.noise_ms + self.noise_ms,
            stretched_ms: before.stretched_ms + self.stretched_ms,
            compressed_ms: before.compressed_ms + self.compressed_ms,
            late: before.late + self.late,
            discarded: before.discarded + self.discarded,
        }
    }
}

/// The mean of two means, weighed.
fn mean(a: u32, weight_a: u32, b: u32, weight_b: u32) -> u32 {
    let whole = (u64::from(weight_a) + u64::from(weight_b)).max(1);
    let sum = u64::from(a) * u64::from(weight_a) + u64::from(b) * u64::from(weight_b);
    u32::try_from(sum / whole).unwrap_or(u32::MAX)
}

/// Turns the packets of one peer into an even stream of samples. Its memory is fixed when it is made; neither
/// [`Ear::push`] nor [`Ear::pull`] allocates.
#[derive(Debug)]
pub struct Ear {
    config: EarConfig,
    /// What the peer may send: the codec of `config` first.
    voices: Vec<Voice>,
    /// Which of them is heard.
    voice: usize,
    /// When time began.
    origin: Option<Instant>,
    source: Option<Source>,
    /// The packet that would confirm that another source or numbering has begun.
    candidate: Option<Candidate>,
    store: Store,
    delays: Delays,
    line: Line,
    filling: Filling,
    concealer: Concealer,
    noise: Noise,
    /// Where made-up sound is joined with sound that came.
    ahead: Box<[i16]>,
    /// Of the last packet decoded.
    slack: Option<Micros>,
    delay: Micros,
    counts: Counts,
}

/// A packet of another stream: its source, its number, and which of the voices it is in.
type Candidate = (Ssrc, SeqNo, usize);

/// One stream.
#[derive(Debug)]
struct Source {
    ssrc: Ssrc,
    newest: SeqNo,
    /// A timestamp, and where it lies on a scale that does not wrap.
    anchor: (MediaTime, i64),
    played: Option<Played>,
}

/// Up to where a stream was decoded.
#[derive(Debug, Clone, Copy)]
struct Played {
    seq: SeqNo,
    /// Bit `n`: packet `seq - n` was there.
    window: u64,
    /// Where the sound of the packet ends, on the scale of [`Source::anchor`].
    end: i64,
}

/// What is at the end of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    /// Sound that came.
    No,
    /// Sound in the place of what is missing.
    Lost,
    /// The same, of the decoder's own making: what it decodes next goes on from there.
    Bridged,
    /// What goes over into noise, for the peer is silent.
    Pause,
}

/// In samples.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    heard: u64,
    concealed: u64,
    noise: u64,
    stretched: u64,
    compressed: u64,
    late: u64,
    discarded: u64,
    /// The delay in each of so many pulls, added up.
    delays: Micros,
    measured: i64,
    /// Made up since the last packet decoded.
    filled: i64,
}

impl Ear {
    /// An ear that has heard nothing.
    pub fn new(config: EarConfig) -> Self {
        let EarConfig { codec, min_delay, max_delay } = config;
        let rate = codec.sample_rate();
        let per_ms = rate as usize / 1000;
        let micros = |delay: Duration| Micros::try_from(delay.as_micros()).unwrap_or(Micros::MAX);
        let (min, max) = (micros(min_delay), micros(max_delay.max(min_delay)));
        let room = MAX_FRAME_MS + MAX_PACKET_MS + 2 * MAX_PERIOD_MS + MAX_OVERLAP_MS;
        Self {
            config,
            voices: Voice::new(codec, rate).into_iter().collect(),
            voice: 0,
            origin: None,
            source: None,
            candidate: None,
            store: Store::new(octets(max_delay.max(min_delay), codec)),
            delays: Delays::new(min, max, EXCESS),
            line: Line::new(PAST_MS * per_ms, room * per_ms),
            filling: Filling::Pause,
            concealer: Concealer::new(rate),
            noise: Noise::new(),
            ahead: vec![0; (MAX_PERIOD_MS + MAX_OVERLAP_MS) * per_ms].into(),
            slack: None,
            delay: 0,
            counts: Counts::default(),
        }
    }

    /// What it decodes.
    pub fn codec(&self) -> Codec {
        self.config.codec
    }

    /// Goes over to another codec after a further offer and answer. Unlike everything else here this allocates.
    pub fn retune(&mut self, codec: Codec) {
        if codec != self.config.codec {
            let stats = self.counts;
            let (old, new) = (self.config.codec.sample_rate(), codec.sample_rate());
            let scale = |samples: u64| samples * u64::from(new) / u64::from(old);
            *self = Self::new(EarConfig { codec, ..self.config });
            self.counts = Counts {
                heard: scale(stats.heard),
                concealed: scale(stats.concealed),
                noise: scale(stats.noise),
                stretched: scale(stats.stretched),
                compressed: scale(stats.compressed),
                filled: 0,
                ..stats
            };
        }
    }

    /// The peer may send these, too: RFC 3264, 5.1 has us take whatever both sides list. What is heard stays at the sample
    /// rate of [`Ear::codec`]. This allocates for those that the ear does not know yet.
    pub fn expect(&mut self, codecs: impl IntoIterator<Item = Codec>) {
        for codec in codecs {
            if self.voices.iter().any(|voice| voice.codec == codec) {
                continue;
            }
            self.voices.extend(Voice::new(codec, self.config.codec.sample_rate()));
            let octets = octets(self.config.max_delay, codec);
            if octets > self.store.capacity() {
                self.drop_stored();
                self.store = Store::new(octets);
            }
        }
    }

    /// Takes a packet of sound in [`Ear::codec`].
    pub fn push(&mut self, now: Instant, header: &Header, payload: &[u8]) {
        self.take(now, header, Sort::Audio, Some(0), payload);
    }

    /// Takes a packet of sound in `codec`; in one that is not expected it is only not missed.
    pub fn push_in(&mut self, codec: Codec, now: Instant, header: &Header, payload: &[u8]) {
        match self.voices.iter().position(|voice| voice.codec == codec) {
            Some(voice) => self.take(now, header, Sort::Audio, Some(voice), payload),
            None => self.pass_over(now, header),
        }
    }

    /// Takes a packet that describes comfort noise (RFC 3389).
    pub fn push_noise(&mut self, now: Instant, header: &Header, payload: &[u8]) {
        self.take(now, header, Sort::Noise, None, payload);
    }

    /// Takes note of a packet that is no sound (a telephone event), so that it is not missed.
    pub fn pass_over(&mut self, now: Instant, header: &Header) {
        self.take(now, header, Sort::Other, None, &[]);
    }

    /// Writes the next sound, as much as `frame` is long, at [`Codec::sample_rate`] of the codec. Called once every packet time.
    pub fn pull(&mut self, now: Instant, frame: &mut [i16]) {
        let now = self.micros(now);
        let most = self.samples(MAX_FRAME_MS);
        for frame in frame.chunks_mut(most) {
            self.prepare(now, frame.len());
            // A pause has no delay; the one before it stands.
            if self.filling == Filling::No
                && let Some(played) = self.source.as_ref().and_then(|source| source.played)
            {
                let end = self.micros_of(played.end);
                let waiting = self.line.waiting() as Micros * 1_000_000 / self.rate();
                self.delay = (now - end + waiting - self.delays.fastest()).max(0);
                self.counts.delays = self.counts.delays.saturating_add(self.delay);
                self.counts.measured += 1;
            }
            self.line.deliver(frame);
            self.counts.heard += frame.len() as u64;
        }
    }

    /// What it has gone through.
    pub fn stats(&self) -> EarStats {
        let whole = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let ms = |samples: u64| whole(samples * 1000 / u64::from(self.config.codec.sample_rate()));
        let delay = |micros: Micros| u32::try_from(micros / 1000).unwrap_or_default();
        EarStats {
            delay_ms: delay(self.delay),
            mean_delay_ms: delay(self.counts.delays / self.counts.measured.max(1)),
            target_ms: delay(self.delays.target()),
            heard_ms: ms(self.counts.heard),
            concealed_ms: ms(self.counts.concealed),
            noise_ms: ms(self.counts.noise),
            stretched_ms: ms(self.counts.stretched),
            compressed_ms: ms(self.counts.compressed),
            late: whole(self.counts.late),
            discarded: whole(self.counts.discarded),
        }
    }

    fn take(&mut self, now: Instant, header: &Header, sort: Sort, voice: Option<usize>, payload: &[u8]) {
        let now = self.micros(now);
        if payload.len() > self.store.capacity() / 2 || !self.follows(header, sort, voice) {
            self.counts.discarded += u64::from(sort == Sort::Audio);
            return;
        }
        let codec = self.heard();
        let Some(source) = &mut self.source else { return };
        let transit = match sort {
            Sort::Audio => Some(now - micros_of(source.position(header.timestamp), codec)),
            // A description comes when its sender likes, an event with the time of its beginning.
            Sort::Noise | Sort::Other => None,
        };
        if let Some(played) = &mut source.played
            && header.seq.distance_from(played.seq) <= 0
        {
            if played.is_new(header.seq) {
                self.counts.late += u64::from(sort != Sort::Other);
                if let Some(transit) = transit {
                    self.delays.observe(now, transit);
                }
            }
            return;
        }
        if let Some(transit) = transit
            && self.delays.is_known()
            && (transit - self.delays.fastest()).abs() > ANOTHER_CLOCK
        {
            source.played = None;
            self.drop_stored();
            self.delays.restart();
        }
        let stored = loop {
            match self.store.insert(sort, header.seq, header.timestamp, payload) {
                Stored::Full if self.store.len() > 0 => {
                    // The oldest has waited for longer than anyone shall.
                    self.store.pop_front();
                    self.counts.discarded += 1;
                }
                stored @ (Stored::Kept | Stored::Duplicate | Stored::Full) => break stored,
            }
        };
        if let (Stored::Kept, Some(transit)) = (stored, transit) {
            self.delays.observe(now, transit);
        }
    }

    /// Whether a packet belongs to the stream that is heard. Another stream, or another codec, is believed at its second
    /// packet in sequence, if nothing comes of this one between the two.
    fn follows(&mut self, header: &Header, sort: Sort, voice: Option<usize>) -> bool {
        let Header { ssrc, seq, timestamp, .. } = *header;
        if let Some(source) = &mut self.source {
            let ahead = seq.distance_from(source.newest);
            let position = source.position(timestamp);
            let same = source.ssrc == ssrc && voice.is_none_or(|voice| voice == self.voice);
            if same && (MAX_MISORDER..MAX_DROPOUT).contains(&ahead) && position.abs() < FARTHEST {
                if ahead > 0 {
                    source.newest = seq;
                    source.anchor = (timestamp, position);
                }
                self.candidate = None;
                return true;
            }
            // Keys may have a source of their own beside the sound.
            let Some(voice) = voice else { return false };
            let candidate = self.candidate.replace((ssrc, seq.next(), voice));
            if candidate != Some((ssrc, seq, voice)) {
                return false;
            }
            self.drop_stored();
            self.delays.restart();
        } else if sort == Sort::Other {
            return false;
        }
        self.candidate = None;
        self.voice = voice.unwrap_or(self.voice);
        self.voices[self.voice].begin();
        self.source = Some(Source { ssrc, newest: seq, anchor: (timestamp, 0), played: None });
        true
    }

    fn drop_stored(&mut self) {
        self.counts.discarded += self.store.len() as u64;
        self.store.clear();
    }

    /// Sees to it that at least `count` samples wait.
    fn prepare(&mut self, now: Micros, count: usize) {
        for _ in 0..MAX_STEPS {
            while self.line.waiting() < count {
                let before = (self.line.waiting(), self.store.len());
                self.produce(now, count - self.line.waiting());
                if before == (self.line.waiting(), self.store.len()) {
                    debug_assert!(false, "every step makes sound or takes a packet");
                    return;
                }
            }
            if !self.adjust(now) {
                return;
            }
        }
    }

    /// One step: takes a packet from the store, or fills in at most `need` samples.
    fn produce(&mut self, now: Micros, need: usize) {
        let Some(entry) = self.store.front() else {
            let why = if self.filling == Filling::Pause { Filling::Pause } else { Filling::Lost };
            return self.fill(why, need);
        };
        if entry.sort == Sort::Other {
            return self.pass(entry);
        }
        let Some(source) = &self.source else { return self.fill(Filling::Pause, need) };
        let at = source.position(entry.timestamp);
        let slack = now - self.micros_of(at) - self.delays.fastest();
        let wait = (self.delays.target() - slack).max(0);
        let missing = source.played.map(|played| {
            let gap = (at - played.end) * self.rate() / i64::from(self.heard().clock_rate());
            (gap - self.counts.filled, entry.seq != played.seq.next())
        });
        let silent = match self.filling {
            Filling::No | Filling::Bridged => false,
            Filling::Lost | Filling::Pause => self.concealer.faded(),
        };
        let (why, most) = match missing {
            // A beginning, or the end of a pause: as soon as the slack is right.
            _ if silent => (self.filling, self.samples_in(wait)),
            None => (Filling::Lost, self.samples_in(wait)),
            Some((1.., _)) if slack > self.delays.max() => (Filling::No, 0),
            Some((missing @ 1.., true)) => {
                if self.bridge(entry, at, missing) {
                    return;
                }
                (Filling::Lost, missing)
            }
            // Nothing is lost, so the peer was silent.
            Some((1.., false)) => (Filling::Pause, self.samples_in(wait)),
            Some((..=0, _)) => (Filling::No, 0),
        };
        match usize::try_from(most) {
            Ok(most @ 1..) => self.fill(why, need.min(most)),
            Ok(0) | Err(_) => self.play(entry, at, slack, missing.is_some_and(|(missing, _)| missing == 0)),
        }
    }

    /// Takes the packet at the front.
    fn play(&mut self, entry: Entry, at: i64, slack: Micros, aligned: bool) {
        if entry.sort == Sort::Noise {
            self.noise.describe(self.store.payload(entry));
            self.played(entry, at);
            self.begin_filling();
            self.filling = Filling::Pause;
            return;
        }
        if slack > self.delays.max() && self.store.len() > 1 {
            // Far behind, after a burst: what comes next is nearer.
            self.counts.discarded += 1;
            // Its end, if that is known: what was thrown away is no pause of the peer's.
            let next = self.store.second().filter(|next| next.seq == entry.seq.next());
            let end = next.and_then(|next| Some(self.source.as_ref()?.position(next.timestamp)));
            self.played(entry, end.unwrap_or(at));
            self.begin_filling();
            return;
        }
        self.tell_decoder(entry, at);
        let payload = self.store.payload(entry);
        let count = self.voices[self.voice].decode(payload, self.line.free()).min(self.line.room());
        self.line.grow(count);
        self.played(entry, at + count as i64 * i64::from(self.heard().clock_rate()) / self.rate());
        if count == 0 {
            return;
        }
        self.noise.learn(&self.line.all()[self.line.all().len() - count..]);
        match self.filling {
            Filling::No | Filling::Bridged => {}
            Filling::Lost | Filling::Pause => self.join(count, aligned),
        }
        self.filling = Filling::No;
        self.slack = Some(slack);
    }

    /// Before the packet at the front is decoded: if the one before it is lost and it says what that was, its sound is wanted
    /// the next time, and the decoder wants it even now that something else was heard in its place.
    fn tell_decoder(&mut self, entry: Entry, at: i64) {
        let Some(played) = self.source.as_ref().and_then(|source| source.played) else { return };
        let packets = i64::from(entry.seq.distance_from(played.seq)) - 1;
        let payload = self.store.payload(entry);
        if packets < 1 || !self.voices[self.voice].tells_twice(payload) {
            return;
        }
        let packet = (at - played.end) / packets;
        self.delays.reserve(self.micros_of(packet));
        let samples = packet * self.rate() / i64::from(self.heard().clock_rate());
        let unheard = usize::try_from(samples).ok().and_then(|samples| self.ahead.get_mut(..samples));
        if let (Filling::Lost, Some(unheard)) = (self.filling, unheard) {
            self.voices[self.voice].recover(payload, unheard);
        }
    }

    /// Takes a packet at the front that has no sound.
    fn pass(&mut self, entry: Entry) {
        let played = self.source.as_ref().and_then(|source| source.played);
        match played {
            Some(played) => {
                let filled = self.counts.filled;
                self.played(entry, played.end);
                self.counts.filled = filled;
            }
            None => self.store.pop_front(),
        }
    }

    /// The packet at the front is done with, up to `end`.
    fn played(&mut self, entry: Entry, end: i64) {
        self.store.pop_front();
        if let Some(source) = &mut self.source {
            let window = source.played.map_or(0, |played| {
                let ahead = u32::from(entry.seq.0.wrapping_sub(played.seq.0));
                played.window.checked_shl(ahead).unwrap_or(0)
            });
            source.played = Some(Played { seq: entry.seq, window: window | 1, end });
        }
        self.counts.filled = 0;
    }

    /// Has the decoder make up the next of the packets that are missing before `entry`, which lies at `at`: the last of them
    /// from what `entry` says of it (RFC 6716, 2.1.7). `false` if the decoder cannot, or if there is something else in the
    /// gap already. `missing` samples of the gap are not filled yet.
    fn bridge(&mut self, entry: Entry, at: i64, missing: i64) -> bool {
        let longest = self.samples(CODEC_CONCEALS_MS) as i64;
        let Some(played) = self.source.as_ref().and_then(|source| source.played) else { return false };
        if !matches!(self.filling, Filling::No | Filling::Bridged) {
            return false;
        }
        let packets = i64::from(entry.seq.distance_from(played.seq)) - 1;
        let gap = (at - played.end) * self.rate() / i64::from(self.heard().clock_rate());
        if packets < 1 || gap % packets != 0 || gap / packets > longest {
            return false;
        }
        let packet = gap / packets;
        // The last is known, however long the others took.
        let is_last = missing <= packet;
        if !is_last && self.counts.filled + packet > longest {
            return false;
        }
        let free = self.line.free();
        let Some(out) = usize::try_from(packet).ok().and_then(|packet| free.get_mut(..packet)) else {
            return false;
        };
        let count = match is_last {
            true => self.voices[self.voice].recover(self.store.payload(entry), out),
            false => self.voices[self.voice].conceal(out),
        };
        if count == 0 {
            return false;
        }
        self.line.grow(count);
        self.filling = Filling::Bridged;
        self.counts.filled += count as i64;
        self.counts.concealed += count as u64;
        true
    }

    /// Makes up `count` samples.
    fn fill(&mut self, why: Filling, count: usize) {
        self.begin_filling();
        self.filling = why;
        let free = self.line.free();
        let count = count.min(free.len());
        let noise = self.concealer.faded() || why == Filling::Pause;
        self.concealer.fill(&mut free[..count], &mut self.noise);
        self.line.grow(count);
        self.counts.filled += count as i64;
        let counter = if noise { &mut self.counts.noise } else { &mut self.counts.concealed };
        *counter += count as u64;
    }

    fn begin_filling(&mut self) {
        match self.filling {
            Filling::No | Filling::Bridged => {
                self.concealer.begin(self.line.all());
                self.filling = Filling::Lost;
            }
            Filling::Lost | Filling::Pause => {}
        }
    }

    /// Joins the last `count` samples, which came, with what was made up before them: after as much of its period as lets
    /// the two be most alike.
    fn join(&mut self, count: usize, aligned: bool) {
        let per_ms = self.samples(1);
        // Appendix I: "the length of the overlap is increased by 4 ms for each 10 ms of erasure".
        let overlap = (4 * per_ms + self.concealer.made() * 2 / 5).min(MAX_OVERLAP_MS * per_ms).min(count);
        let shifts = if aligned || self.concealer.faded() { 0 } else { self.concealer.period() };
        let reach = (overlap + shifts).min(self.ahead.len());
        let ahead = &mut self.ahead[..reach];
        self.concealer.fill(ahead, &mut self.noise);
        let at = self.line.all().len() - count;
        let came = &self.line.all()[at..at + overlap];
        let mut best = (0, f32::NEG_INFINITY);
        for shift in 0..=shifts.min(reach - overlap) {
            let likeness = pitch::likeness(came, &ahead[shift..shift + overlap]);
            if likeness > best.1 {
                best = (shift, likeness);
            }
        }
        let (shift, _) = best;
        for (n, (came, made)) in
            self.line.all_mut()[at..].iter_mut().zip(&ahead[shift..shift + overlap]).enumerate()
        {
            let weight = (n + 1) as f32 / (overlap + 1) as f32;
            let (came_f, made) = (f32::from(*came), f32::from(*made));
            *came = (made + (came_f - made) * weight) as i16;
        }
        if self.line.insert(at, &ahead[..shift]) {
            self.counts.stretched += shift as u64;
        }
    }

    /// Lengthens or shortens what waits by one period if the slack calls for it; whether more must be made ready.
    fn adjust(&mut self, now: Micros) -> bool {
        if self.filling != Filling::No {
            return false;
        }
        let Some(slack) = self.slack.take() else { return false };
        let over = slack - self.delays.target();
        let rate = self.config.codec.sample_rate();
        if over > EXCESS {
            if self.line.waiting() < 2 * self.samples(MAX_PERIOD_MS) && self.next_follows() {
                self.produce(now, 0);
                self.slack = None;
            }
            let taken = stretch::shorten(&mut self.line, rate, self.noise.level(), over > 3 * EXCESS);
            self.counts.compressed += taken as u64;
            taken > 0
        } else if over < -SHORTFALL {
            let put = stretch::lengthen(&mut self.line, rate, self.noise.level());
            self.counts.stretched += put as u64;
            false
        } else {
            false
        }
    }

    /// Whether the packet at the front goes on where the last one ended.
    fn next_follows(&self) -> bool {
        let (Some(entry), Some(source)) = (self.store.front(), &self.source) else { return false };
        entry.sort == Sort::Audio
            && source.played.is_some_and(|played| {
                entry.seq == played.seq.next() && source.position(entry.timestamp) == played.end
            })
    }

    /// Microseconds since time began.
    fn micros(&mut self, now: Instant) -> Micros {
        let origin = *self.origin.get_or_insert(now);
        Micros::try_from(now.saturating_duration_since(origin).as_micros()).unwrap_or(Micros::MAX / 4)
    }

    fn micros_of(&self, position: i64) -> Micros {
        micros_of(position, self.heard())
    }

    /// The codec that the peer speaks.
    fn heard(&self) -> Codec {
        self.voices.get(self.voice).map_or(self.config.codec, |voice| voice.codec)
    }

    fn rate(&self) -> i64 {
        i64::from(self.config.codec.sample_rate())
    }

    fn samples(&self, ms: usize) -> usize {
        self.config.codec.sample_rate() as usize / 1000 * ms
    }

    fn samples_in(&self, micros: Micros) -> i64 {
        micros * self.rate() / 1_000_000
    }
}

impl Source {
    /// Where a timestamp lies on the scale that does not wrap.
    fn position(&self, timestamp: MediaTime) -> i64 {
        self.anchor.1 + i64::from(timestamp.distance_from(self.anchor.0))
    }
}

impl Played {
    /// Whether a packet before the last played is not there yet; it is from now on.
    fn is_new(&mut self, seq: SeqNo) -> bool {
        match 1_u64.checked_shl(u32::from(self.seq.0.wrapping_sub(seq.0))) {
            Some(bit) => {
                let new = self.window & bit == 0;
                self.window |= bit;
                new
            }
            None => true,
        }
    }
}

/// What the longest delay holds, twice: the network may deliver as much again at once.
fn octets(max_delay: Duration, codec: Codec) -> usize {
    let held_ms = usize::try_from(max_delay.as_millis()).unwrap_or(usize::MAX).clamp(MAX_PACKET_MS, 1_000);
    2 * held_ms * codec.received_octets_per_ms()
}

fn micros_of(position: i64, codec: Codec) -> Micros {
    position * 1_000_000 / i64::from(codec.clock_rate())
}
