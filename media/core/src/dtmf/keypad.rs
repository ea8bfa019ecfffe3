//! One keypad, though its keys may be told of in several ways at once.

use std::time::{Duration, Instant};

use crate::Digit;

/// How keys travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// RTP events (RFC 4733).
    Events,
    /// Tones in the audio.
    Tones,
    /// SIP INFO.
    Info,
}

/// Within this time, two methods that tell of the same key tell of the same stroke: longer than a jitter buffer holds tones
/// back and than an INFO is retransmitted once, and no longer, because people press keys twice.
const SAME_STROKE: Duration = Duration::from_secs(1);

/// Strokes remembered: more than can be pressed in [`SAME_STROKE`] (Q.24 knows 93 ms from one to the next at least).
const STROKES: usize = 16;

/// Which strokes count.
///
/// Gateways send a key as an event and leave its tone in the audio, phones send events and INFO for the same key. Each
/// stroke counts when the first method tells of it; of the others, each may tell of it once more without being believed.
/// With events agreed and in time the first is the event; a method that is the only one is always believed.
#[derive(Debug, Default)]
pub(crate) struct Keypad {
    /// The oldest first.
    strokes: [Option<Stroke>; STROKES],
}

#[derive(Debug, Clone, Copy)]
struct Stroke {
    digit: Digit,
    /// Who told of it first: the one that counts.
    first: Method,
    /// Who has told of it.
    told: Methods,
    /// Who says that it is down.
    down: Methods,
    /// When it was told of last.
    at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Methods(u8);

impl Methods {
    const NONE: Self = Self(0);

    fn with(self, method: Method) -> Self {
        Self(self.0 | 1 << method as u8)
    }

    fn without(self, method: Method) -> Self {
        Self(self.0 & !(1 << method as u8))
    }

    fn contains(self, method: Method) -> bool {
        self.with(method) == self
    }
}

impl Keypad {
    /// `method` says that the key is down: whether that is news.
    pub(crate) fn down(&mut self, now: Instant, digit: Digit, method: Method) -> bool {
        let twin = self.strokes.iter_mut().flatten().find(|stroke| {
            let lasts =
                stroke.down != Methods::NONE || now.saturating_duration_since(stroke.at) < SAME_STROKE;
            stroke.digit == digit && !stroke.told.contains(method) && lasts
        });
        if let Some(twin) = twin {
            twin.told = twin.told.with(method);
            twin.down = twin.down.with(method);
            twin.at = now;
            return false;
        }
        self.strokes.rotate_left(1);
        let told = Methods::NONE.with(method);
        self.strokes[STROKES - 1] = Some(Stroke { digit, first: method, told, down: told, at: now });
        true
    }

    /// `method` says that the key is up again: whether this is the method that counts.
    pub(crate) fn up(&mut self, now: Instant, digit: Digit, method: Method) -> bool {
        let held = |stroke: &&mut Stroke| stroke.digit == digit && stroke.down.contains(method);
        let Some(stroke) = self.strokes.iter_mut().flatten().find(held) else { return false };
        stroke.down = stroke.down.without(method);
        stroke.at = now;
        stroke.first == method
    }

    /// `method`, which does not tell when keys are released, says that one was pressed: whether that is news.
    pub(crate) fn pressed(&mut self, now: Instant, digit: Digit, method: Method) -> bool {
        let news = self.down(now, digit, method);
        self.up(now, digit, method);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Method::{Events, Info, Tones};

    /// Strokes of `1` as `(method, down at, up at)`; which of them count, as indices.
    fn counted(strokes: &[(Method, u64, u64)]) -> Vec<usize> {
        let start = crate::epoch();
        let mut steps: Vec<(u64, bool, usize)> = Vec::new();
        for (n, (_, down, up)) in strokes.iter().enumerate() {
            steps.extend([(*down, false, n), (*up, true, n)]);
        }
        steps.sort();
        let mut keypad = Keypad::default();
        let mut counted = Vec::new();
        for (ms, is_up, n) in steps {
            let (now, method) = (start + Duration::from_millis(ms), strokes[n].0);
            if !is_up {
                keypad.down(now, Digit::D1, method);
            } else if keypad.up(now, Digit::D1, method) {
                counted.push(n);
            }
        }
        counted
    }

    #[test]
    fn one_method_alone_is_always_believed() {
        for method in [Events, Tones, Info] {
            assert_eq!(counted(&[(method, 0, 50), (method, 93, 143), (method, 186, 236)]), [0, 1, 2]);
        }
    }

    #[test]
    fn a_stroke_that_comes_in_several_ways_counts_once() {
        assert_eq!(counted(&[(Events, 0, 100), (Tones, 60, 160), (Info, 150, 150)]), [0]);
        assert_eq!(counted(&[(Tones, 0, 100), (Events, 50, 150), (Info, 10, 10)]), [0]);
        assert_eq!(counted(&[(Info, 0, 0), (Events, 300, 400)]), [0]);
        // Held for long; INFO tells at the end.
        assert_eq!(counted(&[(Events, 0, 5_000), (Tones, 60, 5_060), (Info, 5_400, 5_400)]), [0]);
    }

    #[test]
    fn the_same_key_again_counts_again_whatever_overtakes() {
        let twice = [(Events, 0, 100), (Tones, 70, 160), (Events, 200, 300), (Tones, 270, 360)];
        assert_eq!(counted(&twice), [0, 2]);
        // The tones of both come after both events.
        let late = [(Events, 0, 60), (Events, 100, 160), (Tones, 170, 230), (Tones, 270, 330)];
        assert_eq!(counted(&late), [0, 1]);
        // One of the tones was not heard.
        assert_eq!(counted(&[(Events, 0, 100), (Events, 200, 300), (Tones, 270, 360)]), [0, 1]);
        // A second later it is another stroke, by whomever.
        assert_eq!(counted(&[(Events, 0, 100), (Info, 1_100, 1_100)]), [0, 1]);
        assert_eq!(counted(&[(Events, 0, 100), (Info, 1_090, 1_090)]), [0]);
    }

    #[test]
    fn other_keys_have_nothing_to_do_with_it() {
        let now = crate::epoch();
        let mut keypad = Keypad::default();
        assert!(keypad.down(now, Digit::D1, Events));
        assert!(keypad.pressed(now, Digit::D2, Info));
        assert!(!keypad.pressed(now, Digit::D1, Info));
        assert!(!keypad.up(now, Digit::D3, Events), "never went down");
        assert!(keypad.up(now, Digit::D1, Events));
    }

    #[test]
    fn more_strokes_than_are_remembered_are_believed() {
        let now = crate::epoch();
        let mut keypad = Keypad::default();
        assert_eq!((0..100).filter(|_| keypad.pressed(now, Digit::D1, Info)).count(), 100);
        assert_eq!((0..100).filter(|_| keypad.pressed(now, Digit::D1, Events)).count(), 100 - STROKES);
    }
}
