//! The people behind the numbers: what a customer does with a call, as a state machine without clock or socket.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media_core::{Digit, Digits};
use serde::Deserialize;
use serde::de::Error as _;

/// What the customer behind a number does when called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Behaviour {
    /// Rings, answers and acts.
    Answers(Answers),
    /// 486, Q.850 17.
    Busy,
    /// 603, Q.850 21.
    Rejects,
    /// Rings until the caller gives up.
    NeverAnswers,
    /// 480, Q.850 20.
    SwitchedOff,
    /// 404, Q.850 1.
    InvalidNumber,
    /// 503, Q.850 34: no line free.
    Congested,
    /// Any other refusal.
    Refuses(Refusal),
    /// Not even a 100: the carrier drops the INVITE.
    NoResponse,
}

/// A customer who answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answers {
    /// From 180 to 200; with `early_media`, from 183 to 200.
    pub ring_ms: u32,
    /// Whether sound comes before the answer: a 183 with SDP, and RTP.
    pub early_media: bool,
    /// What the customer does once the call is up, in order; then he stays until the caller hangs up.
    pub then: Vec<Act>,
}

impl Default for Answers {
    fn default() -> Self {
        Self { ring_ms: 100, early_media: false, then: Vec::new() }
    }
}

/// One thing an answering customer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// Does nothing for so long.
    WaitMs(u32),
    /// Listens until so much sound that is not silence was heard.
    HearMs(u32),
    /// Presses keys, sent as RFC 4733 events.
    Press(#[serde(deserialize_with = "keys")] Digits),
    /// The carrier repeats its session description in a re-INVITE, as some do to see whether the caller is still there;
    /// the customer goes on when the caller has agreed.
    Reinvite,
    /// Hangs up.
    HangUp,
}

fn keys<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Digits, D::Error> {
    let text = String::deserialize(from)?;
    let mut digits = Digits::new();
    for c in text.chars() {
        let digit =
            Digit::from_char(c).ok_or_else(|| D::Error::custom(format_args!("{c:?} is no telephone key")))?;
        if !digits.push(digit) {
            return Err(D::Error::custom(format_args!("more than {} keys", Digits::CAPACITY)));
        }
    }
    Ok(digits)
}

/// A final response that is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// 300 to 699.
    pub status: u16,
    /// A Reason header (RFC 3326) with this Q.850 cause.
    #[serde(default)]
    pub q850: Option<u8>,
    /// A Retry-After header.
    #[serde(default)]
    pub retry_after_s: Option<u32>,
    /// How long it rings before; 0 does not ring.
    #[serde(default)]
    pub after_ms: u32,
}

impl Refusal {
    const fn new(status: u16, q850: u8) -> Self {
        Self { status, q850: Some(q850), retry_after_s: None, after_ms: 0 }
    }
}

/// What a customer wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Move {
    /// 180.
    Ring,
    /// 183 with SDP, and sound.
    EarlyMedia,
    /// 200.
    Answer,
    /// A final response.
    Refuse(Refusal),
    /// RFC 4733 events; [`Customer::handle_pressed`] when they are sent.
    Press(Digits),
    /// A re-INVITE; [`Customer::handle_agreed`] when it is answered.
    Reinvite,
    /// BYE.
    HangUp,
}

/// One customer in one call.
///
/// Drain [`Customer::poll_move`] after every `handle_`.
#[derive(Debug)]
pub(crate) struct Customer {
    state: State,
    script: VecDeque<Act>,
    moves: VecDeque<Move>,
}

#[derive(Debug)]
enum State {
    /// Until `at`, then `then`.
    Ringing { at: Instant, then: Move },
    /// Until the caller gives up.
    RingingForEver,
    /// The answer is sent, the ACK not here.
    Answered,
    /// Nothing until then.
    Waiting { until: Instant },
    /// Nothing until so much is heard, in milliseconds since the call began.
    Hearing { until_ms: u64 },
    /// The line sends the keys.
    Pressing,
    /// A re-INVITE waits for its answer.
    Reinviting,
    /// The script is done; or the call is refused or hung up.
    Idle,
}

impl Customer {
    /// The customer's telephone rings, or does not. `Behaviour::NoResponse` is not for customers: it does nothing.
    pub(crate) fn new(now: Instant, behaviour: &Behaviour) -> Self {
        let mut customer = Self { state: State::Idle, script: VecDeque::new(), moves: VecDeque::new() };
        match behaviour {
            Behaviour::Answers(answers) => {
                customer.moves.push_back(if answers.early_media { Move::EarlyMedia } else { Move::Ring });
                customer.script = answers.then.iter().copied().collect();
                customer.state = State::Ringing { at: now + ms(answers.ring_ms), then: Move::Answer };
            }
            Behaviour::Busy => customer.refuse(now, Refusal::new(486, 17)),
            Behaviour::Rejects => customer.refuse(now, Refusal::new(603, 21)),
            Behaviour::SwitchedOff => customer.refuse(now, Refusal::new(480, 20)),
            Behaviour::InvalidNumber => customer.refuse(now, Refusal::new(404, 1)),
            Behaviour::Congested => customer.refuse(now, Refusal::new(503, 34)),
            Behaviour::Refuses(refusal) => customer.refuse(now, *refusal),
            Behaviour::NeverAnswers => {
                customer.moves.push_back(Move::Ring);
                customer.state = State::RingingForEver;
            }
            Behaviour::NoResponse => {}
        }
        customer
    }

    fn refuse(&mut self, now: Instant, refusal: Refusal) {
        if refusal.after_ms == 0 {
            self.moves.push_back(Move::Refuse(refusal));
        } else {
            self.moves.push_back(Move::Ring);
            self.state = State::Ringing { at: now + ms(refusal.after_ms), then: Move::Refuse(refusal) };
        }
    }

    /// The caller has acknowledged the answer; `heard_ms` is what was heard so far.
    pub(crate) fn handle_confirmed(&mut self, now: Instant, heard_ms: u64) {
        if let State::Answered = self.state {
            self.act(now, heard_ms);
        }
    }

    /// So much sound was heard since the call began.
    pub(crate) fn handle_heard(&mut self, now: Instant, heard_ms: u64) {
        if let State::Hearing { until_ms } = self.state
            && heard_ms >= until_ms
        {
            self.act(now, heard_ms);
        }
    }

    /// The keys of [`Move::Press`] are sent.
    pub(crate) fn handle_pressed(&mut self, now: Instant, heard_ms: u64) {
        if let State::Pressing = self.state {
            self.act(now, heard_ms);
        }
    }

    /// The caller has agreed to the re-INVITE.
    pub(crate) fn handle_agreed(&mut self, now: Instant, heard_ms: u64) {
        if let State::Reinviting = self.state {
            self.act(now, heard_ms);
        }
    }

    /// Answers at once if the telephone rings.
    pub(crate) fn pick_up(&mut self) {
        match self.state {
            State::Ringing { .. } | State::RingingForEver => {
                self.state = State::Answered;
                self.moves.push_back(Move::Answer);
            }
            State::Answered
            | State::Waiting { .. }
            | State::Hearing { .. }
            | State::Pressing
            | State::Reinviting
            | State::Idle => {}
        }
    }

    /// The time of [`Customer::poll_timeout`] has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant, heard_ms: u64) {
        match &self.state {
            State::Ringing { at, then } if *at <= now => {
                let then = then.clone();
                self.state = if then == Move::Answer { State::Answered } else { State::Idle };
                self.moves.push_back(then);
            }
            State::Waiting { until } if *until <= now => self.act(now, heard_ms),
            State::Ringing { .. }
            | State::Waiting { .. }
            | State::RingingForEver
            | State::Answered
            | State::Hearing { .. }
            | State::Pressing
            | State::Reinviting
            | State::Idle => {}
        }
    }

    /// When [`Customer::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Ringing { at, .. } => Some(at),
            State::Waiting { until } => Some(until),
            State::RingingForEver
            | State::Answered
            | State::Hearing { .. }
            | State::Pressing
            | State::Reinviting
            | State::Idle => None,
        }
    }

    /// What the customer does next, until `None`.
    pub(crate) fn poll_move(&mut self) -> Option<Move> {
        self.moves.pop_front()
    }

    fn act(&mut self, now: Instant, heard_ms: u64) {
        self.state = match self.script.pop_front() {
            Some(Act::WaitMs(wait)) => State::Waiting { until: now + ms(wait) },
            Some(Act::HearMs(more)) => State::Hearing { until_ms: heard_ms + u64::from(more) },
            Some(Act::Press(keys)) => {
                self.moves.push_back(Move::Press(keys));
                State::Pressing
            }
            Some(Act::Reinvite) => {
                self.moves.push_back(Move::Reinvite);
                State::Reinviting
            }
            Some(Act::HangUp) => {
                self.moves.push_back(Move::HangUp);
                State::Idle
            }
            None => State::Idle,
        };
    }
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Behaviour {
        #[derive(Deserialize)]
        struct Line {
            does: Behaviour,
        }
        toml::from_str::<Line>(toml).unwrap().does
    }

    fn moves(customer: &mut Customer) -> Vec<Move> {
        std::iter::from_fn(|| customer.poll_move()).collect()
    }

    fn digits(text: &str) -> Digits {
        text.chars().filter_map(Digit::from_char).collect()
    }

    #[test]
    fn an_answering_customer_follows_the_script() {
        let behaviour = parse(
            r#"does = { answers = { ring_ms = 200, then = [{ hear_ms = 300 }, { press = "1#" }, "reinvite", { wait_ms = 50 }, "hang_up"] } }"#,
        );
        let start = Instant::now();
        let mut customer = Customer::new(start, &behaviour);
        assert_eq!(moves(&mut customer), [Move::Ring]);
        let answered = start + ms(200);
        assert_eq!(customer.poll_timeout(), Some(answered));
        customer.handle_timeout(start, 0);
        assert_eq!(moves(&mut customer), [], "too early");
        customer.handle_timeout(answered, 0);
        assert_eq!(moves(&mut customer), [Move::Answer]);
        customer.handle_heard(answered, 1000);
        assert_eq!(moves(&mut customer), [], "not before the ACK");
        customer.handle_confirmed(answered, 20);
        customer.handle_heard(answered, 319);
        assert_eq!(moves(&mut customer), []);
        customer.handle_heard(answered, 320);
        assert_eq!(moves(&mut customer), [Move::Press(digits("1#"))]);
        assert_eq!(customer.poll_timeout(), None, "until the keys are sent");
        customer.handle_pressed(answered, 320);
        assert_eq!(moves(&mut customer), [Move::Reinvite]);
        assert_eq!(customer.poll_timeout(), None, "until it is agreed to");
        customer.handle_agreed(answered, 320);
        customer.handle_timeout(answered + ms(50), 320);
        assert_eq!(moves(&mut customer), [Move::HangUp]);
        assert_eq!(customer.poll_timeout(), None);
    }

    #[test]
    fn refusals_come_at_once_or_after_ringing() {
        let now = Instant::now();
        for (name, status, cause) in [
            ("busy", 486, 17),
            ("rejects", 603, 21),
            ("switched-off", 480, 20),
            ("invalid-number", 404, 1),
            ("congested", 503, 34),
        ] {
            let mut customer = Customer::new(now, &parse(&format!("does = {name:?}")));
            assert_eq!(moves(&mut customer), [Move::Refuse(Refusal::new(status, cause))], "{name}");
            assert_eq!(customer.poll_timeout(), None);
        }
        let mut customer = Customer::new(now, &parse("does = { refuses = { status = 606, after_ms = 10 } }"));
        assert_eq!(moves(&mut customer), [Move::Ring]);
        customer.handle_timeout(now + ms(10), 0);
        assert!(matches!(moves(&mut customer)[..], [Move::Refuse(Refusal { status: 606, q850: None, .. })]));
    }

    #[test]
    fn picking_up_is_for_those_who_ring() {
        let now = Instant::now();
        for (behaviour, expected) in [
            (Behaviour::NeverAnswers, vec![Move::Ring, Move::Answer]),
            (Behaviour::Answers(Answers::default()), vec![Move::Ring, Move::Answer]),
            (Behaviour::Busy, vec![Move::Refuse(Refusal::new(486, 17))]),
        ] {
            let mut customer = Customer::new(now, &behaviour);
            customer.pick_up();
            customer.pick_up();
            assert_eq!(moves(&mut customer), expected, "{behaviour:?}");
        }
    }

    #[test]
    fn ringing_for_ever_has_no_deadline() {
        let mut customer = Customer::new(Instant::now(), &Behaviour::NeverAnswers);
        assert_eq!(moves(&mut customer), [Move::Ring]);
        assert_eq!(customer.poll_timeout(), None);
    }

    #[test]
    fn a_key_that_no_telephone_has_is_refused() {
        let error =
            toml::from_str::<std::collections::BTreeMap<String, Act>>(r#"a = { press = "1x" }"#).unwrap_err();
        assert!(error.to_string().contains("'x' is no telephone key"), "{error}");
    }
}
