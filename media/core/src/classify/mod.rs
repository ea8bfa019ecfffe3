//! Who or what answered, from its sound alone: human, answering machine, fax; and the tones of the network.
//!
//! [`Analyser`] takes 8 kHz PCM in chunks of any length. Every 10 ms ("hop") it measures the power, compares it with a
//! noise floor of its own, and looks for one or two tones in the last 32 ms. Tones that stay become tones of call progress
//! by their cadence; what is loud and no tone is speech. Until [`Analyser::answered`] all of it is only evidence; from then on:
//!
//! - a greeting that pauses is a *human*'s, one that goes on is a *machine*'s ([`Parameters`]);
//! - fax tones before any speech make it a *fax*, special information tones or a beep a *machine*;
//! - busy, congestion and dial tones, silence and the time limit leave it *unknown*;
//! - after a machine's verdict, or an unknown one, the beep is waited for: one or two steady tones of 350 to 2200 Hz,
//!   then silence. A tone that can be ringback or busy is a beep only if it is shorter than any of theirs, and
//!   stays alone.
//!
//! Nothing is learnt or adapted but the noise floor, so that a verdict can be explained by the numbers in its event.

mod cadence;
mod classifier;
mod findings;
mod greeting;
mod level;
mod parameters;
mod spectrum;
mod tone;

pub use classifier::Classifier;
pub use findings::{Answerer, Evidence, Finding, Sit, Verdict};
pub use parameters::Parameters;

use cadence::Cadence;
use greeting::{Greeting, Hop};
use level::{HOP, Level};
use spectrum::WINDOW;
use tone::{Tone, Tracker};

/// Kinds of evidence, so that each can be reported once without an allocation; more than there are.
const KINDS: usize = 20;
/// An announcement before the answer is at least this much speech: shorter is a click or a word of the line.
const ANNOUNCEMENT_MS: u32 = 1000;
/// A tone of call progress this long is a burst of ringback until it turns out another tone.
const RINGBACK_MS: u32 = 320;
/// After ringback the answer may be this far: the longest pause of a ringback cadence is 5 s.
const RINGBACK_PAUSE_MS: u32 = 6000;
/// However long it rings after the answer, the verdict falls.
const RINGBACK_LIMIT_MS: u32 = 45_000;
/// Beeps, one or two tones, lie within these Hz.
const BEEP_HZ: std::ops::RangeInclusive<f32> = 340.0..=2210.0;
/// How steady a beep is, as standard deviations of its frequencies and its level: a vowel drifts more, and a lost packet in
/// half a second of tone makes less of it.
const BEEP_DRIFT_HZ: f32 = 3.0;
const BEEP_DRIFT_DB: f32 = 3.5;
/// A vowel may be steadier than that for a moment, so what is shorter than this must be steadier.
const SHORT_BEEP_MS: u32 = 250;
const SHORT_BEEP_DRIFT_HZ: f32 = 1.0;
const SHORT_BEEP_DRIFT_DB: f32 = 1.5;
/// No vowel is longer: from this length on a tone is none of the voice before it, and a beep before any greeting may be a
/// verdict.
const LONGER_THAN_VOWELS_MS: u32 = 300;
/// Where nobody speaks, a tone this long is no voice's beginning.
const TONE_MS: u32 = 100;
/// A tone whose last 10 ms are this much weaker than its last 32 ms is over.
const FADED: f32 = 0.1;
/// The silence that ends a beep; the next of the special information tones follows within 60 ms.
const BEEP_SILENCE_MS: u32 = 120;
/// After so long a beep has faded away, echo and all,
const BEEP_FADES_MS: u32 = 60;
/// and what is left is this part of its power at most (-10 dB): a room may be behind it, but nobody speaks.
const BEEP_OVER: f32 = 0.1;
/// A beep at the frequencies of call progress is shorter than a burst of ringback, and nothing follows for longer than
/// the pause of a busy tone.
const PROGRESS_BEEP_MS: u32 = 300;
const PROGRESS_SILENCE_MS: u32 = 850;

/// Listens to the far end of one call.
#[derive(Debug)]
pub struct Analyser {
    parameters: Parameters,
    phase: Phase,
    /// Milliseconds analysed, and of these how many before the answer.
    now_ms: u32,
    answered_ms: u32,
    /// The last 32 ms without their direct current; the last `filled` samples belong to the hop being filled.
    window: [f32; WINDOW],
    filled: usize,
    /// The sample before and what became of it.
    blocker: (f32, f32),
    level: Level,
    heard: Heard,
    early: [Option<Evidence>; KINDS],
    found: Found,
}

/// What has been made of the sound so far; the answer begins it anew.
#[derive(Debug, Default)]
struct Heard {
    tones: Tracker,
    cadence: Cadence,
    greeting: Greeting,
    /// The last tone that may turn out a beep when it stays silent.
    beep: Option<Tone>,
    /// When a ringback burst was heard last.
    rang_ms: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not answered: what is heard is evidence.
    Early,
    Answered,
    /// The verdict allows for a beep.
    AwaitsBeep {
        since_ms: u32,
    },
    Done,
}

/// Findings that wait to be taken. Each kind is found at most once, so there is always room.
#[derive(Debug, Default)]
struct Found {
    slots: [Option<Finding>; KINDS + 2],
    taken: usize,
    len: usize,
}

impl Analyser {
    /// An analyser of a call that is not answered yet.
    pub fn new(parameters: Parameters) -> Self {
        Self {
            phase: Phase::Early,
            now_ms: 0,
            answered_ms: 0,
            window: [0.0; WINDOW],
            filled: 0,
            blocker: (0.0, 0.0),
            level: Level::new(&parameters),
            heard: Heard::default(),
            early: [None; KINDS],
            found: Found::default(),
            parameters,
        }
    }

    /// The call is answered: what comes from here on is the answerer's.
    pub fn answered(&mut self) {
        if self.phase == Phase::Early {
            self.phase = Phase::Answered;
            self.answered_ms = self.now_ms;
            self.heard = Heard::default();
        }
    }

    /// Takes the next samples, 16-bit linear at 8 kHz.
    pub fn push(&mut self, pcm: &[i16]) {
        for sample in pcm {
            if self.phase == Phase::Done {
                return;
            }
            // A zero at 0 Hz, a pole at 200 Hz: hum and rumble are loud and nobody's speech.
            let sample = f32::from(*sample);
            let (before, out) = self.blocker;
            let out = sample - before + 0.855 * out;
            self.blocker = (sample, out);
            self.window[WINDOW - HOP + self.filled] = out;
            self.filled += 1;
            if self.filled == HOP {
                self.filled = 0;
                self.now_ms += 10;
                self.hop();
                self.window.copy_within(HOP.., 0);
            }
        }
    }

    /// The next finding, in order, until `None`.
    pub fn poll(&mut self) -> Option<Finding> {
        self.found.take()
    }

    /// Whether nothing further can be found: the owner may let go of it.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    fn hop(&mut self) {
        let hop = &self.window[WINDOW - HOP..];
        let power = hop.iter().map(|sample| sample * sample).sum::<f32>() / HOP as f32;
        let sound = self.level.hop(power);
        let whole = self.window.iter().map(|sample| sample * sample).sum::<f32>() / WINDOW as f32;
        let tones = if sound && power > FADED * whole {
            spectrum::tones(&self.window, self.level.floor())
        } else {
            None
        };
        let over = self.heard.tones.hop(self.now_ms, tones, power);
        let sounding = self.heard.tones.sounding();
        let tonal = tones.is_some();
        // A steady tone tells nothing of the noise, and a vowel is not loud for as long as the floor looks back.
        if !(tonal && sounding.is_some()) {
            self.level.learn();
        }
        let no_voice = if self.heard.greeting.is_speaking() { LONGER_THAN_VOWELS_MS } else { TONE_MS };
        let established =
            sounding.filter(|tone| tone.ms() >= no_voice && (tone.is_call_progress() || is_steady(tone)));
        self.heard.greeting.hop(
            self.now_ms,
            match (sound, tonal, established) {
                (false, _, _) => Hop::Silence,
                (true, _, Some(_)) => Hop::Tone,
                (true, true, None) => Hop::Tonal,
                (true, false, None) => Hop::Sound,
            },
            self.level.mean(),
            self.level.floor(),
        );

        let mut evidence = None;
        if let Some(tone) = over {
            evidence = self.heard.cadence.ended(tone);
            self.heard.beep = self.heard.cadence.last();
        }
        let evidence = evidence.or_else(|| self.heard.cadence.poll(self.now_ms, sounding));
        match self.phase {
            Phase::Early => self.early(evidence),
            Phase::Answered => self.judge(evidence, sounding),
            Phase::AwaitsBeep { since_ms } => self.await_beep(since_ms, sounding),
            Phase::Done => {}
        }
    }

    /// Notes what is heard before the answer.
    fn early(&mut self, evidence: Option<Evidence>) {
        let announced = self.heard.greeting.voiced_ms() >= ANNOUNCEMENT_MS;
        for evidence in evidence.into_iter().chain(announced.then_some(Evidence::Announcement)) {
            let Some(free) = self.early.iter_mut().find(|known| known.is_none_or(|known| known == evidence))
            else {
                return;
            };
            if free.is_none() {
                *free = Some(evidence);
                self.found.push(Finding::Early { evidence, ms: self.now_ms });
            }
        }
    }

    /// Looks for a verdict.
    fn judge(&mut self, evidence: Option<Evidence>, sounding: Option<Tone>) {
        let Parameters { limit_ms, machine_greeting_ms, sentence_pause_ms, pause_ms, .. } = self.parameters;
        let greeted = self.heard.greeting.start_ms().is_some();
        match evidence {
            Some(evidence @ (Evidence::Cng | Evidence::Ced)) if !greeted => {
                return self.decide(Answerer::Fax, evidence);
            }
            Some(evidence @ Evidence::Sit(_)) => return self.decide(Answerer::Machine, evidence),
            Some(evidence @ (Evidence::Busy | Evidence::Congestion | Evidence::DialTone)) => {
                return self.decide(Answerer::Unknown, evidence);
            }
            _ => {}
        }
        if sounding.is_some_and(|tone| tone.is_call_progress() && tone.ms() >= RINGBACK_MS) {
            self.heard.rang_ms = Some(self.now_ms);
        }
        if self.beeped(sounding).is_some_and(|tone| tone.ms() >= LONGER_THAN_VOWELS_MS) {
            return self.decide(Answerer::Machine, Evidence::Beep);
        }
        let length = self.heard.greeting.ms();
        if length >= machine_greeting_ms {
            return self.decide(Answerer::Machine, Evidence::LongGreeting);
        }
        if sounding.is_none()
            && self.heard.greeting.pause_ms(self.now_ms).is_some_and(|pause| pause >= self.pause(length))
        {
            return self.decide(Answerer::Human, Evidence::ShortGreeting);
        }
        let limit = self
            .heard
            .rang_ms
            .map_or(self.answered_ms + limit_ms, |rang| rang + RINGBACK_PAUSE_MS.max(limit_ms));
        // Ringback that never ends is none.
        let limit = limit.min(self.answered_ms + RINGBACK_LIMIT_MS.max(limit_ms));
        match self.heard.greeting.start_ms() {
            // Whatever its pauses, one of the rules above has judged it by then, unless tones go on in it.
            Some(start) => {
                if self.now_ms >= limit.max(start + machine_greeting_ms + pause_ms.max(sentence_pause_ms)) {
                    self.decide(Answerer::Unknown, Evidence::TimeLimit);
                }
            }
            None if self.now_ms < limit => {}
            None if self.heard.rang_ms.is_some() => self.decide(Answerer::Unknown, Evidence::Ringback),
            None => self.decide(Answerer::Unknown, Evidence::Silence),
        }
    }

    /// The pause that ends a greeting of `length` ms.
    fn pause(&self, length: u32) -> u32 {
        let Parameters { pause_ms, sentence_pause_ms, sentence_ms, .. } = self.parameters;
        if length >= sentence_ms { sentence_pause_ms } else { pause_ms }
    }

    fn decide(&mut self, answerer: Answerer, evidence: Evidence) {
        self.found.push(Finding::Verdict(Verdict {
            answerer,
            ms: self.now_ms - self.answered_ms,
            evidence,
            initial_silence_ms: self
                .heard
                .greeting
                .start_ms()
                .map(|start| start.saturating_sub(self.answered_ms)),
            greeting_ms: self.heard.greeting.ms(),
            bursts: self.heard.greeting.bursts(),
        }));
        self.phase = match (answerer, evidence) {
            (Answerer::Human | Answerer::Fax, _) => Phase::Done,
            (_, Evidence::Beep) => {
                self.report_beep();
                Phase::Done
            }
            (Answerer::Machine | Answerer::Unknown, _) => {
                // A tone that led to the verdict is no beep.
                self.heard.beep = None;
                Phase::AwaitsBeep { since_ms: self.now_ms }
            }
        };
    }

    fn await_beep(&mut self, since_ms: u32, sounding: Option<Tone>) {
        if self.beeped(sounding).is_some() {
            self.report_beep();
            self.phase = Phase::Done;
        } else if self.now_ms - since_ms >= self.parameters.beep_wait_ms {
            self.phase = Phase::Done;
        }
    }

    /// The last tone, if it was a beep and the silence after it is long enough by now.
    fn beeped(&mut self, sounding: Option<Tone>) -> Option<Tone> {
        let tone = self.heard.beep?;
        if !self.is_beep(&tone) {
            self.heard.beep = None;
            return None;
        }
        let silence = self.now_ms.saturating_sub(tone.end_ms);
        let goes_on = silence > BEEP_FADES_MS && self.level.mean() > BEEP_OVER * tone.power;
        if sounding.is_some() || goes_on {
            self.heard.beep = None;
            return None;
        }
        let enough = if tone.is_call_progress() { PROGRESS_SILENCE_MS } else { BEEP_SILENCE_MS };
        (silence >= enough).then_some(tone)
    }

    fn is_beep(&self, tone: &Tone) -> bool {
        let Parameters { beep_min_ms, beep_max_ms, .. } = self.parameters;
        let longest = if tone.is_call_progress() { PROGRESS_BEEP_MS } else { beep_max_ms };
        BEEP_HZ.contains(&tone.low)
            && tone.high.is_none_or(|high| BEEP_HZ.contains(&high))
            && (beep_min_ms..=longest).contains(&(tone.ms() + 10))
            && is_steady(tone)
            && (!tone.is_call_progress() || self.heard.cadence.last_is_alone())
    }

    fn report_beep(&mut self) {
        if let Some(tone) = self.heard.beep.take() {
            self.found.push(Finding::Beep {
                ms: tone.end_ms.saturating_sub(self.answered_ms),
                duration_ms: tone.ms().min(u32::from(u16::MAX)) as u16,
                hz: tone.low as u16,
            });
        }
    }
}

fn is_steady(tone: &Tone) -> bool {
    let short = tone.ms() < SHORT_BEEP_MS;
    let (hz, db) =
        if short { (SHORT_BEEP_DRIFT_HZ, SHORT_BEEP_DRIFT_DB) } else { (BEEP_DRIFT_HZ, BEEP_DRIFT_DB) };
    tone.drift_hz <= hz && tone.drift_high_hz <= hz && tone.drift_db <= db
}

impl Found {
    fn push(&mut self, finding: Finding) {
        if let Some(slot) = self.slots.get_mut(self.len) {
            *slot = Some(finding);
            self.len += 1;
        }
    }

    fn take(&mut self) -> Option<Finding> {
        let finding = self.slots.get_mut(self.taken)?.take()?;
        self.taken += 1;
        Some(finding)
    }
}

#[cfg(test)]
mod tests;
