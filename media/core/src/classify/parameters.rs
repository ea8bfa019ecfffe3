//! The numbers that the decisions hang on.

/// What an [`Analyser`](super::Analyser) decides by. Every default was chosen on the development part of the corpus of
/// `testbed/classify`, never on its held-out part; `docs/classification.md` has the figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Nothing said for so many milliseconds after the answer makes the verdict `unknown`; what has begun by then is heard
    /// out. Ringback heard after the answer (a forwarded call) stops this clock. 1000 to 30000.
    pub limit_ms: u32,
    /// A greeting at least this long without a pause of [`Parameters::pause_ms`] is a machine's. 1000 to 10000.
    pub machine_greeting_ms: u32,
    /// A pause at least this long after a greeting that was shorter means that somebody waits for an answer: a human.
    /// 200 to 3000.
    pub pause_ms: u32,
    /// The same after a greeting of at least [`Parameters::sentence_ms`], where a pause may lie between two sentences of
    /// one announcement. 200 to 3000.
    pub sentence_pause_ms: u32,
    /// How long a greeting is a word or two and no sentence. 200 to 3000.
    pub sentence_ms: u32,
    /// How far above the noise floor, in dB, sound must rise to be counted as speech. 3 to 30.
    pub above_floor_db: f32,
    /// Sound below this level is silence, in dB relative to a sine at full scale. -70 to -20.
    pub silence_db: f32,
    /// The shortest tone that is a beep. 60 to 1000.
    pub beep_min_ms: u32,
    /// The longest. 200 to 10000.
    pub beep_max_ms: u32,
    /// For how long a beep is waited for after the verdict. 1000 to 120000.
    pub beep_wait_ms: u32,
}

impl Parameters {
    /// See each member.
    pub const DEFAULT: Self = Self {
        limit_ms: 4000,
        machine_greeting_ms: 3500,
        pause_ms: 850,
        sentence_pause_ms: 1350,
        sentence_ms: 850,
        above_floor_db: 9.0,
        silence_db: -46.0,
        beep_min_ms: 100,
        beep_max_ms: 3000,
        beep_wait_ms: 60_000,
    };
}

impl Default for Parameters {
    fn default() -> Self {
        Self::DEFAULT
    }
}
