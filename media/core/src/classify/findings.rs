//! What an analyser reports.

/// Who or what answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answerer {
    /// A person who waits for the caller to speak.
    Human,
    /// An answering machine, a voice mailbox, an announcement.
    Machine,
    /// A fax machine.
    Fax,
    /// It cannot be told in time.
    Unknown,
}

/// What a verdict rests on, and what was heard before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// A greeting of a few words, then a pause.
    ShortGreeting,
    /// A greeting that goes on.
    LongGreeting,
    /// A beep.
    Beep,
    /// The calling tone of a fax (ITU-T T.30, 4.3.3.3: 1100 Hz, 0.5 s on, 3 s off).
    Cng,
    /// The answering tone of a fax or modem (T.30, 4.3.3.2: 2100 Hz).
    Ced,
    /// Special information tones.
    Sit(Sit),
    /// Busy tone.
    Busy,
    /// Congestion (fast busy, reorder) tone.
    Congestion,
    /// Ringback tone.
    Ringback,
    /// Dial tone.
    DialTone,
    /// Speech before the answer: an announcement of the network, or the music or words of a personal ringback.
    Announcement,
    /// Nothing at all.
    Silence,
    /// The time limit, with something heard that nothing fits.
    TimeLimit,
}

/// Which special information tones (ITU-T E.180, 9: three rising tones of 330 ms). The variants that tell why are those
/// of North America, by frequency and length of the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sit {
    /// The number was changed or is out of service.
    Intercept,
    /// No such number.
    Vacant,
    /// Misdialled or failed in the network.
    Reorder,
    /// All circuits busy.
    NoCircuit,
    /// Anything else, by its own code.
    Ineffective,
    /// The tones of E.180 without any code.
    Uncoded,
}

/// Who answered, when that was clear and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Who answered.
    pub answerer: Answerer,
    /// Milliseconds from the answer to the verdict.
    pub ms: u32,
    /// What it rests on.
    pub evidence: Evidence,
    /// Milliseconds from the answer to the first speech, if there was any.
    pub initial_silence_ms: Option<u32>,
    /// Milliseconds from the first speech to the last so far.
    pub greeting_ms: u32,
    /// Stretches of speech between pauses of 100 ms or more.
    pub bursts: u16,
}

/// Something found; each kind at most once for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Heard before the answer, once for each kind of evidence.
    Early {
        /// What was heard.
        evidence: Evidence,
        /// Milliseconds from the start of the analysis until it was clear.
        ms: u32,
    },
    /// Who answered.
    Verdict(Verdict),
    /// The beep after a machine's greeting is over: the recording runs.
    Beep {
        /// Milliseconds from the answer to the end of the beep.
        ms: u32,
        /// How long it was.
        duration_ms: u16,
        /// Its frequency in Hz; of two, the lower.
        hz: u16,
    },
}

impl Answerer {
    /// The word of the control API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Machine => "machine",
            Self::Fax => "fax",
            Self::Unknown => "unknown",
        }
    }
}

impl Evidence {
    /// The word of the control API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ShortGreeting => "short-greeting",
            Self::LongGreeting => "long-greeting",
            Self::Beep => "beep",
            Self::Cng => "cng",
            Self::Ced => "ced",
            Self::Sit(Sit::Intercept) => "sit-intercept",
            Self::Sit(Sit::Vacant) => "sit-vacant",
            Self::Sit(Sit::Reorder) => "sit-reorder",
            Self::Sit(Sit::NoCircuit) => "sit-no-circuit",
            Self::Sit(Sit::Ineffective) => "sit-ineffective",
            Self::Sit(Sit::Uncoded) => "sit",
            Self::Busy => "busy",
            Self::Congestion => "congestion",
            Self::Ringback => "ringback",
            Self::DialTone => "dial-tone",
            Self::Announcement => "announcement",
            Self::Silence => "silence",
            Self::TimeLimit => "time-limit",
        }
    }
}
