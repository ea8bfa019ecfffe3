//! The languages that have readings.

/// A language that has readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// English, with American dates.
    English,
    /// Indonesian.
    Indonesian,
    /// Vietnamese.
    Vietnamese,
    /// Mandarin Chinese, in simplified characters.
    Chinese,
}

impl Language {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::English, Self::Indonesian, Self::Vietnamese, Self::Chinese];

    /// The language of a tag (BCP 47): its first subtag counts, so `en-GB` is English.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Self> {
        Some(match primary(&tag.to_ascii_lowercase()) {
            "en" => Self::English,
            "id" => Self::Indonesian,
            "vi" => Self::Vietnamese,
            "zh" => Self::Chinese,
            _ => return None,
        })
    }
}

/// The first subtag of a tag in small letters it is compared by. ISO 639-3 has a code of its own for Mandarin, which
/// BCP 47 writes `zh` (RFC 5646 section 4.1.2).
pub(crate) fn primary(tag: &str) -> &str {
    let end = tag.find(['-', '_']).unwrap_or(tag.len());
    match &tag[..end] {
        "cmn" => "zh",
        subtag => subtag,
    }
}
