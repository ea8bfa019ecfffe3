//! The speech of the far end: when it begins, how long it goes on, where it pauses.

/// Milliseconds of a hop.
const HOP_MS: u32 = 10;
/// Sound that is no tone counts as speech once there is this much of it in one run: less is a click, or the edges of a
/// tone.
const SPEECH_MS: u32 = 80;
/// A run that is over and had less of it is speech all the same if it was this long.
const WORD_MS: u32 = 100;
/// Silence this long ends a run; stops within words ("hello, Peter") are shorter.
const RUN_GAP_MS: u32 = 100;
/// What is this much weaker than the loudest of a greeting (-20 dB) is no part of it: a room, other people, music.
const BEHIND: f32 = 0.01;
/// What never was louder than noise by this much (4 dB) was noise.
const NOISE: f32 = 2.5;
/// And where something this much louder follows (15 dB), what came before was that, and the greeting begins only now.
const LOUDER: f32 = 31.6;

/// What the far end has said.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    /// First and last moment of it, in ms.
    span: Option<(u32, u32)>,
    /// Its runs.
    bursts: u16,
    /// How much of it was sound.
    voiced_ms: u32,
    run: Option<Run>,
    /// The mean square of its loudest 30 ms.
    loudest: f32,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    start_ms: u32,
    last_ms: u32,
    sound_ms: u32,
    /// It is counted in the greeting.
    speech: bool,
}

/// What a hop holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop {
    Silence,
    /// A tone that is well established.
    Tone,
    /// What may be a tone or a vowel.
    Tonal,
    Sound,
}

impl Greeting {
    /// Takes a hop, the mean square of the 30 ms that end with it, and that of the noise.
    pub(super) fn hop(&mut self, now_ms: u32, hop: Hop, power: f32, noise: f32) {
        let hop = self.beside_the_rest(hop, power, noise);
        if let Some(run) = self.run.filter(|run| now_ms - run.last_ms >= RUN_GAP_MS) {
            // A short word may be little more than one vowel, and a vowel may look like a tone; a tone would have lasted.
            if !run.speech && run.last_ms - run.start_ms >= WORD_MS {
                self.begin(run);
            }
            self.run = None;
        }
        match (hop, &mut self.run) {
            (Hop::Silence, _) => {}
            // Whatever the run was so far, its edge belongs to the tone.
            (Hop::Tone, Some(run)) if !run.speech => self.run = None,
            (Hop::Tone, _) => {}
            (Hop::Tonal | Hop::Sound, None) => {
                let sound_ms = if hop == Hop::Sound { HOP_MS } else { 0 };
                let start_ms = now_ms.saturating_sub(HOP_MS);
                self.run = Some(Run { start_ms, last_ms: now_ms, sound_ms, speech: false });
            }
            (Hop::Tonal | Hop::Sound, Some(run)) => {
                run.last_ms = now_ms;
                if hop == Hop::Sound {
                    run.sound_ms += HOP_MS;
                }
                if run.speech {
                    self.voiced_ms += HOP_MS;
                    self.span = self.span.map(|(start, _)| (start, now_ms));
                } else if run.sound_ms >= SPEECH_MS {
                    run.speech = true;
                    let run = *run;
                    self.begin(run);
                }
            }
        }
    }

    /// What the hop is beside what has been heard so far.
    fn beside_the_rest(&mut self, hop: Hop, power: f32, noise: f32) -> Hop {
        // It was all noise, as turns out by now.
        if self.loudest < NOISE * noise {
            *self = Self::default();
        }
        match hop {
            Hop::Silence | Hop::Tone => hop,
            Hop::Tonal | Hop::Sound if power < BEHIND * self.loudest => Hop::Silence,
            Hop::Tonal | Hop::Sound => {
                if power > LOUDER * self.loudest {
                    *self = Self::default();
                }
                self.loudest = self.loudest.max(power);
                hop
            }
        }
    }

    /// What `run` holds so far is speech.
    fn begin(&mut self, run: Run) {
        self.bursts = self.bursts.saturating_add(1);
        self.voiced_ms += run.last_ms - run.start_ms;
        let start = self.span.map_or(run.start_ms, |(start, _)| start);
        self.span = Some((start, run.last_ms));
    }

    /// Whether it goes on without a pause.
    pub(super) fn is_speaking(&self) -> bool {
        self.run.is_some_and(|run| run.speech)
    }

    /// When it began.
    pub(super) fn start_ms(&self) -> Option<u32> {
        self.span.map(|(start, _)| start)
    }

    /// From its beginning to its last sound.
    pub(super) fn ms(&self) -> u32 {
        self.span.map_or(0, |(start, end)| end - start)
    }

    /// How long it has been silent since, if it has begun.
    pub(super) fn pause_ms(&self, now_ms: u32) -> Option<u32> {
        self.span.map(|(_, end)| now_ms - end)
    }

    /// How much of it was sound.
    pub(super) fn voiced_ms(&self) -> u32 {
        self.voiced_ms
    }

    pub(super) fn bursts(&self) -> u16 {
        self.bursts
    }
}
