//! Keys that the peer tells of by INFO: `application/dtmf-relay`, lines of which one is the signal, and
//! `application/dtmf`, which is the signal alone. No standard has them; RFC 6086 section 2 (legacy INFO usage) knows
//! of their use, and this reads what gateways and softswitches send.

use media_core::Digit;

/// What is written where a peer leaves the duration out.
const USUAL_DURATION_MS: u16 = 100;

/// Longest body: both lines with room to spare.
const MAX_LEN: usize = 128;

const PLAIN: &str = "application/dtmf";

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keypress {
    pub(crate) digit: Digit,
    pub(crate) duration_ms: u16,
}

impl Keypress {
    /// The media type that tells of a key and its duration: what is sent.
    pub(crate) const RELAY: &str = "application/dtmf-relay";

    /// The media types that tell of keys.
    pub(crate) const TYPES: [&str; 2] = [Self::RELAY, PLAIN];

    /// Reads a body; `None` for what is no key: a hook flash, rubbish.
    pub(crate) fn read(content_type: &str, body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_LEN)?;
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case(PLAIN) {
            return Some(Self { digit: signal(text.trim())?, duration_ms: USUAL_DURATION_MS });
        }
        if !media_type.eq_ignore_ascii_case(Self::RELAY) {
            return None;
        }
        let (mut digit, mut duration) = (None, None);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once('=')?;
            let value = value.trim();
            let before = match name.trim() {
                name if name.eq_ignore_ascii_case("signal") => digit.replace(signal(value)?).is_some(),
                name if name.eq_ignore_ascii_case("duration") => {
                    duration.replace(value.parse().ok()?).is_some()
                }
                _ => false,
            };
            if before {
                return None;
            }
        }
        Some(Self { digit: digit?, duration_ms: duration.unwrap_or(USUAL_DURATION_MS) })
    }
}

/// A key by its character or, from 10 on, by its event code of RFC 4733.
fn signal(text: &str) -> Option<Digit> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(key), None) => Digit::from_char(key),
        (Some('1'), Some('0'..='5')) if text.len() == 2 => text.parse().ok().and_then(Digit::from_event_code),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    use super::*;

    #[track_caller]
    fn check(content_type: &str, body: &str, expected: Option<(char, u16)>) {
        let read = Keypress::read(content_type, body.as_bytes());
        assert_eq!(
            read.map(|key| (key.digit.as_char(), key.duration_ms)),
            expected,
            "{content_type} {body:?}"
        );
    }

    #[test]
    fn keys_are_read_as_peers_write_them() {
        for (body, key) in [
            ("Signal=5\r\nDuration=160\r\n", ('5', 160)),
            ("Signal= 5\r\nDuration= 160", ('5', 160)),
            ("signal=*\nduration=250\n\n", ('*', 250)),
            ("Duration=40\r\nSignal=d\r\n", ('D', 40)),
            ("Signal=11\r\n", ('#', 100)),
            ("Signal=0\r\nVolume=10\r\n", ('0', 100)),
        ] {
            check("application/dtmf-relay", body, Some(key));
            check("Application/DTMF-Relay; charset=us-ascii", body, Some(key));
        }
        for (body, key) in [("5", '5'), ("#\r\n", '#'), (" 10 ", '*'), ("15", 'D')] {
            check("application/dtmf", body, Some((key, 100)));
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for body in [
            "",
            "5",
            "Signal",
            "Signal=",
            "Signal=16\r\nDuration=160",
            "Signal=!\r\n",
            "Signal=E",
            "Signal=55",
            "Signal=+5",
            "Signal=1\u{665}",
            "Duration=160",
            "Signal=5\r\nDuration=",
            "Signal=5\r\nDuration=-1",
            "Signal=5\r\nDuration=99999",
            "Signal=5\r\nSignal=6",
            "Signal=5\r\nDuration=1\r\nDuration=1",
            "<nothing/>",
        ] {
            check("application/dtmf-relay", body, None);
        }
        for body in ["", "55", "16", "Signal=5", "\u{0}", "9\r\n9"] {
            check("application/dtmf", body, None);
        }
        check("text/plain", "5", None);
        check("", "5", None);
        check("application/dtmf-relay", &format!("Signal=5{}", " ".repeat(MAX_LEN)), None);
        assert_eq!(Keypress::read("application/dtmf", &[0xff]), None);
    }

    /// Letters of what is right, thrown together: whatever is read is a key that was written.
    #[test]
    fn rubbish_is_refused_or_means_what_it_says() {
        let words = ["Signal", "Duration", "=", "\r\n", "\n", " ", "5", "#", "160", "\u{0}", "é", "!"];
        let mut random = ChaCha20Rng::from_seed([7; 32]);
        let mut keys = 0;
        for _ in 0..50_000 {
            let count = random.next_u32() % 9;
            let body: String = (0..count).map(|_| words[random.next_u32() as usize % words.len()]).collect();
            for content_type in Keypress::TYPES {
                if let Some(key) = Keypress::read(content_type, body.as_bytes()) {
                    keys += 1;
                    assert!(body.contains(key.digit.as_char()), "{body:?}");
                }
            }
        }
        assert!(keys > 100, "{keys}: the words do make keys");
    }
}
