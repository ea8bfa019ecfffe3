//! What is played on a call: prompts, spoken texts, tones, audio from the web, and lists of these.

use crate::{
    Fault, PlayId, Say,
    call::words,
    fault::{self, Faults, Fields},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Most sounds in one playlist.
pub const MAX_PLAYLIST: usize = 64;
/// Longest URL, in bytes.
const MAX_URL: usize = 2048;

/// Plays something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Play {
    /// What.
    #[serde(flatten)]
    pub source: Source,
    /// How often it is played in all, a playlist as a whole; 0: until stopped. One playing of a tone is one round of its
    /// cadence, and a second of one without.
    #[serde(rename = "loop")]
    #[schema(required = false, default = 1, maximum = 10_000)]
    pub plays: u32,
    /// Where the first playing starts, counted through a playlist.
    #[schema(required = false, default = 0, maximum = 86_400_000)]
    pub offset_ms: u32,
    /// Louder or softer than it is, in dB. Peaks are held below the overload point.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false, default = 0, minimum = -40, maximum = 20)]
    pub volume_db: i8,
    /// Whether a digit of the far side stops it. Inside a `gather`, that verb's own `barge_in` counts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false, default = false)]
    pub barge_in: bool,
}

fn is_zero(volume_db: &i8) -> bool {
    *volume_db == 0
}

/// What is played: one sound, or several in order without a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Source {
    /// Several.
    Playlist {
        /// The sounds, 1 to 64.
        #[schema(min_items = 1, max_items = 64)]
        playlist: Vec<Sound>,
    },
    /// One.
    Sound(Sound),
}

/// One thing that can be heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Sound {
    /// An uploaded prompt.
    Prompt {
        /// Its id or name.
        #[schema(min_length = 1, max_length = 64)]
        prompt: String,
    },
    /// A text, said by a synthesiser.
    Say {
        /// What and how.
        say: Say,
    },
    /// A file on a web server.
    Url {
        /// Where it lies: `https://`, or `http://` where the configuration allows it.
        #[schema(min_length = 1, max_length = 2048)]
        url: String,
    },
    /// A tone of the telephone network.
    Tone {
        /// Which.
        tone: Tone,
        /// As it sounds in this country (ISO 3166-1, two small letters); without it as ITU-T E.180 recommends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(pattern = "^[a-z]{2}$")]
        country: Option<String>,
    },
}

words! {
    /// Tones of the telephone network.
    Tone {
        /// Ready to dial.
        Dial = "dial",
        /// The far end rings.
        Ringback = "ringback",
        /// The far end is busy.
        Busy = "busy",
        /// The network has no way to the far end.
        Congestion = "congestion",
        /// Special information: three rising tones before an announcement.
        SpecialInformation = "sit",
        /// Speak now.
        Beep = "beep",
    }
}

impl Play {
    /// Plays `source` once from its start, as loud as it is.
    pub fn of(source: impl Into<Source>) -> Self {
        Self { source: source.into(), plays: 1, offset_ms: 0, volume_db: 0, barge_in: false }
    }

    /// Plays a prompt once from its start.
    pub fn once(prompt: impl Into<String>) -> Self {
        Self::of(Sound::Prompt { prompt: prompt.into() })
    }

    /// Reads a request body.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Fault>> {
        fault::read(body, Self::read)
    }

    pub(crate) fn read(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Self> {
        let mut fields = Fields::new(value, pointer, faults);
        let play = Self::read_fields(&mut fields);
        fields.finish();
        play
    }

    pub(crate) fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let source = Source::read_fields(fields);
        // 10,000 plays and 24 hours are beyond any use; they keep `plays × duration` far from overflow.
        let plays = fields.u32_in("loop", 0..=10_000).unwrap_or(1);
        let offset_ms = fields.u32_in("offset_ms", 0..=86_400_000).unwrap_or(0);
        let volume_db = fields.i8_in("volume_db", -40..=20).unwrap_or(0);
        let barge_in = fields.bool("barge_in").unwrap_or(false);
        Some(Self { source: source?, plays, offset_ms, volume_db, barge_in })
    }
}

impl From<Sound> for Source {
    fn from(sound: Sound) -> Self {
        Self::Sound(sound)
    }
}

impl Source {
    /// The sounds in order; at least one.
    #[must_use]
    pub fn sounds(&self) -> &[Sound] {
        match self {
            Self::Playlist { playlist } => playlist,
            Self::Sound(sound) => std::slice::from_ref(sound),
        }
    }

    /// Every sound with the pointer of its object, where this one's is `pointer`.
    pub fn sounds_at(&self, pointer: &str) -> impl Iterator<Item = (String, &Sound)> {
        let in_list = matches!(self, Self::Playlist { .. });
        self.sounds().iter().enumerate().map(move |(n, sound)| {
            let at = if in_list { format!("{pointer}/playlist/{n}") } else { pointer.to_owned() };
            (at, sound)
        })
    }

    /// The same with each sound replaced.
    #[must_use]
    pub fn map(&self, replace: impl FnMut(&Sound) -> Sound) -> Self {
        let mut replace = replace;
        match self {
            Self::Playlist { playlist } => {
                Self::Playlist { playlist: playlist.iter().map(replace).collect() }
            }
            Self::Sound(sound) => Self::Sound(replace(sound)),
        }
    }

    fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        if !fields.has("playlist") {
            return Sound::read_fields(fields, &["playlist"]).map(Self::Sound);
        }
        for other in Sound::MEMBERS {
            if fields.has(other) {
                fields.value(other);
                fields.fault(other, "cannot stand beside playlist: put it into the list");
            }
        }
        fields.nested("playlist", read_playlist).map(|playlist| Self::Playlist { playlist })
    }
}

fn read_playlist(value: &Value, pointer: &str, faults: &mut Faults) -> Option<Vec<Sound>> {
    let read = |item: &Value, at: &str, faults: &mut Faults| {
        let mut fields = Fields::new(item, at, faults);
        let sound = Sound::read_fields(&mut fields, &[]);
        fields.finish();
        sound
    };
    fault::list(value, pointer, 1..=MAX_PLAYLIST, "sounds", read, faults)
}

impl Sound {
    /// The members of which one is there.
    const MEMBERS: [&str; 4] = ["prompt", "url", "say", "tone"];

    /// `beside`: other members that would do in its place.
    fn read_fields(fields: &mut Fields<'_>, beside: &[&'static str]) -> Option<Self> {
        let there: Vec<_> = Self::MEMBERS.into_iter().filter(|name| fields.has(name)).collect();
        // Whatever is wrong, these are known here.
        let prompt = fields.str("prompt", 1..=64).map(str::to_owned);
        let url = fields.str("url", 1..=MAX_URL).map(str::to_owned);
        let say = fields.nested("say", Say::read);
        let tone = fields.word("tone", Tone::ALL);
        for name in beside {
            fields.value(name);
        }
        let country = if there == ["tone"] { fields.str("country", 2..=2).map(str::to_owned) } else { None };
        if country.as_ref().is_some_and(|code| !code.bytes().all(|b| b.is_ascii_lowercase())) {
            fields.fault("country", "is a code of ISO 3166-1 in two small letters, such as \"id\"");
        }
        if let Some(url) = &url {
            check_url(url).unwrap_or_else(|wrong| fields.fault("url", wrong));
        }
        match there[..] {
            [_] => {}
            [first, second, ..] => {
                fields.fault(second, format_args!("cannot stand beside {first}: a playlist plays several"));
                return None;
            }
            [] => {
                let names = Self::MEMBERS.iter().chain(beside).copied().collect::<Vec<_>>().join(", ");
                fields.fault("prompt", format_args!("is required, or another of: {names}"));
                return None;
            }
        }
        match (prompt, url, say, tone) {
            (Some(prompt), ..) => Some(Self::Prompt { prompt }),
            (_, Some(url), ..) => Some(Self::Url { url }),
            (_, _, Some(say), _) => Some(Self::Say { say }),
            (.., Some(tone)) => Some(Self::Tone { tone, country }),
            (None, None, None, None) => None,
        }
    }
}

/// Whether a text may be a URL; braces stand for variables that come later.
fn check_url(url: &str) -> Result<(), &'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        None if url.starts_with('{') => Ok(()),
        None => Err("must begin with https:// or http://"),
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) => Err("names no host"),
        Some(_) if url.bytes().any(|b| b <= b' ' || b == 0x7f) => Err("must not hold spaces: write %20"),
        Some(_) => Ok(()),
    }
}

/// The answer to a play request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PlayStarted {
    /// Names this playing in `call.play.started` and `call.play.ended`.
    pub play_id: PlayId,
}
