//! Whom the demo calls, and what must come of it.

use carrier::{Act, Answers, Behaviour, Heard};
use control_api_types::{Call, Disposition, EndedBy};
use media_core::Digit;

/// One kind of customer.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The last digits of their numbers.
    pub(crate) suffix: &'static str,
    does: Does,
    disposition: Disposition,
    ended_by: EndedBy,
    /// What the flow has gathered.
    keys: Option<&'static str>,
}

#[derive(Debug)]
enum Does {
    Answers { early_media: bool, then: &'static [Step] },
    Otherwise(Behaviour),
}

#[derive(Debug)]
enum Step {
    Hear(u32),
    Press(char),
    Wait(u32),
    HangUp,
}

const fn answers(
    name: &'static str,
    suffix: &'static str,
    then: &'static [Step],
    keys: &'static str,
) -> Kind {
    Kind {
        name,
        suffix,
        does: Does::Answers { early_media: false, then },
        disposition: Disposition::Answered,
        ended_by: EndedBy::Engine,
        keys: Some(keys),
    }
}

const fn otherwise(
    name: &'static str,
    suffix: &'static str,
    behaviour: Behaviour,
    disposition: Disposition,
    ended_by: EndedBy,
) -> Kind {
    Kind { name, suffix, does: Does::Otherwise(behaviour), disposition, ended_by, keys: None }
}

pub(crate) const KINDS: &[Kind] = &[
    answers("confirms at once", "01", &[Step::Hear(1500), Step::Press('1')], "1"),
    answers("wants a call back", "02", &[Step::Hear(4000), Step::Press('2')], "2"),
    answers("presses a wrong key", "03", &[Step::Hear(800), Step::Press('7')], "7"),
    answers("only listens", "04", &[], ""),
    Kind {
        name: "has an announcement first",
        suffix: "05",
        does: Does::Answers { early_media: true, then: &[Step::Hear(1000), Step::Press('1')] },
        disposition: Disposition::Answered,
        ended_by: EndedBy::Engine,
        keys: Some("1"),
    },
    Kind {
        name: "hangs up half-way",
        suffix: "06",
        does: Does::Answers { early_media: false, then: &[Step::Wait(2500), Step::HangUp] },
        disposition: Disposition::Answered,
        ended_by: EndedBy::Remote,
        keys: None,
    },
    otherwise("is busy", "07", Behaviour::Busy, Disposition::Busy, EndedBy::Remote),
    otherwise("rejects", "08", Behaviour::Rejects, Disposition::Rejected, EndedBy::Remote),
    otherwise("never answers", "09", Behaviour::NeverAnswers, Disposition::NoAnswer, EndedBy::Engine),
    otherwise("is switched off", "10", Behaviour::SwitchedOff, Disposition::Unreachable, EndedBy::Remote),
    otherwise("does not exist", "11", Behaviour::InvalidNumber, Disposition::InvalidNumber, EndedBy::Remote),
    otherwise("finds no free line", "12", Behaviour::Congested, Disposition::Congestion, EndedBy::Remote),
];

impl Kind {
    /// What the carrier lets them do.
    pub(crate) fn behaviour(&self) -> Behaviour {
        match &self.does {
            Does::Answers { early_media, then } => Behaviour::Answers(Answers {
                ring_ms: 700,
                early_media: *early_media,
                then: then.iter().map(Step::act).collect(),
            }),
            Does::Otherwise(behaviour) => behaviour.clone(),
        }
    }
}

impl Step {
    fn act(&self) -> Act {
        match *self {
            Step::Hear(ms) => Act::HearMs(ms),
            Step::Press(key) => Act::Press(Digit::from_char(key).into_iter().collect()),
            Step::Wait(ms) => Act::WaitMs(ms),
            Step::HangUp => Act::HangUp,
        }
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Customer {
    pub(crate) kind: &'static Kind,
    pub(crate) number: String,
}

/// So many of each kind, kinds mixed.
pub(crate) fn all(each: usize) -> Vec<Customer> {
    let one_of_each = |n: usize| {
        KINDS.iter().map(move |kind| Customer { kind, number: format!("+6287600{n:03}{}", kind.suffix) })
    };
    (1..=each).flat_map(one_of_each).collect()
}

impl Customer {
    /// What is not as it should be.
    pub(crate) fn faults(&self, cdr: &Call, heard: Option<&Heard>) -> Vec<String> {
        let kind = self.kind;
        let mut faults = Vec::new();
        let mut expect = |what: &str, is: String, should: String| {
            if is != should {
                faults.push(format!("{what} is {is}, not {should}"));
            }
        };
        expect("disposition", text(cdr.disposition), kind.disposition.to_string());
        expect("ended by", text(cdr.ended_by), kind.ended_by.to_string());
        expect("keys", keys(cdr).unwrap_or_default(), kind.keys.unwrap_or_default().to_owned());
        if let Some(heard) = heard {
            expect("packets lost", heard.lost.to_string(), "0".into());
            expect("breaks in the stream", heard.breaks.to_string(), "0".into());
        }
        if kind.disposition == Disposition::Answered {
            expect("sound heard", heard.is_some_and(|heard| heard.audible_ms > 0).to_string(), "true".into());
        }
        faults
    }
}

/// What the flow gathered, if it came to that.
pub(crate) fn keys(cdr: &Call) -> Option<String> {
    cdr.variables.get("ask.digits").map(ToString::to_string)
}

fn text(word: Option<impl ToString>) -> String {
    word.map_or_else(|| "missing".to_owned(), |word| word.to_string())
}
