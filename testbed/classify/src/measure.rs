//! What the analyser makes of the corpus.

use std::collections::BTreeMap;
use std::fmt;

use media_core::classify::{Analyser, Answerer, Evidence, Finding, Parameters};

use crate::recipe::{Item, Kind, Part, Recipe, recipes};

/// How far the end of a beep may be from the truth, in ms.
const BEEP_TOLERANCE_MS: u32 = 120;

/// What became of one item.
#[derive(Debug)]
pub struct Outcome {
    /// Which item.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it was taken for.
    pub answerer: Answerer,
    /// By what evidence.
    pub evidence: Evidence,
    /// After which time.
    pub ms: u32,
    /// Whether the item has a beep after a greeting.
    pub has_beep: bool,
    /// Whether it was found at the right time.
    pub beep_found: bool,
    /// Whether a beep was found where none is.
    pub beep_wrong: bool,
    /// Whether ringback, busy or congestion is in the item.
    pub call_progress: bool,
    /// Whether the tones were known when the same sound came before the answer, for items of tones.
    pub early_right: Option<bool>,
}

/// What became of a part of the corpus.
#[derive(Debug)]
pub struct Figures {
    /// Every item.
    pub outcomes: Vec<Outcome>,
}

/// Makes the sound of all of `part`.
///
/// # Errors
/// A voice that is not installed.
pub fn make(part: Part) -> anyhow::Result<Vec<Item>> {
    let recipes = recipes(part);
    // More than there are processors: most of the time goes by in the voices' own processes.
    let workers = 4;
    std::thread::scope(|scope| {
        let workers: Vec<_> = recipes
            .chunks(recipes.len().div_ceil(workers))
            .map(|recipes| {
                scope.spawn(move || recipes.iter().map(Recipe::make).collect::<anyhow::Result<Vec<Item>>>())
            })
            .collect();
        let mut items = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(made) => items.extend(made?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(items)
    })
}

/// Lets the analyser judge `items`.
pub fn measure(items: &[Item], parameters: Parameters) -> Figures {
    Figures { outcomes: items.iter().map(|item| judge(item, parameters)).collect() }
}

fn findings(item: &Item, parameters: Parameters, answered: bool) -> Vec<Finding> {
    let mut analyser = Analyser::new(parameters);
    if answered {
        analyser.answered();
    }
    let mut found = Vec::new();
    for chunk in item.pcm.chunks(160) {
        analyser.push(chunk);
        found.extend(std::iter::from_fn(|| analyser.poll()));
    }
    found
}

fn judge(item: &Item, parameters: Parameters) -> Outcome {
    let mut outcome = Outcome {
        name: item.name.clone(),
        kind: item.kind,
        answerer: Answerer::Unknown,
        evidence: Evidence::Silence,
        ms: item.pcm.len() as u32 / 8,
        has_beep: item.beep_ms.is_some(),
        beep_found: false,
        beep_wrong: false,
        call_progress: item.call_progress,
        early_right: None,
    };
    for finding in findings(item, parameters, true) {
        match finding {
            Finding::Early { .. } => {}
            Finding::Verdict(verdict) => {
                (outcome.answerer, outcome.evidence, outcome.ms) =
                    (verdict.answerer, verdict.evidence, verdict.ms);
            }
            Finding::Beep { ms, .. } => {
                let right = item.beep_ms.is_some_and(|beep| beep.abs_diff(ms) <= BEEP_TOLERANCE_MS);
                (outcome.beep_found, outcome.beep_wrong) = (right, !right);
            }
        }
    }
    outcome.early_right = item.early.map(|early| {
        findings(item, parameters, false).iter().any(|finding| match finding {
            Finding::Early { evidence, .. } => *evidence == early,
            Finding::Verdict(_) | Finding::Beep { .. } => false,
        })
    });
    outcome
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Hello,
        Self::Sentence,
        Self::Receptionist,
        Self::Machine,
        Self::Fax,
        Self::Sit,
        Self::Busy,
        Self::Ringback,
        Self::Silence,
    ];

    /// Whether a person answers.
    pub fn is_human(self) -> bool {
        matches!(self, Self::Hello | Self::Sentence | Self::Receptionist)
    }

    fn expected(self) -> Answerer {
        match self {
            Self::Hello | Self::Sentence | Self::Receptionist => Answerer::Human,
            Self::Machine | Self::Sit => Answerer::Machine,
            Self::Fax => Answerer::Fax,
            Self::Busy | Self::Ringback | Self::Silence => Answerer::Unknown,
        }
    }
}

impl Outcome {
    /// Whether it was taken for what it is.
    pub fn is_right(&self) -> bool {
        self.answerer == self.kind.expected()
    }
}

impl Figures {
    fn of(&self, which: impl Fn(&Outcome) -> bool) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| which(outcome))
    }

    fn share(&self, of: impl Fn(&Outcome) -> bool, which: impl Fn(&Outcome) -> bool) -> f64 {
        let (count, all) =
            self.of(of).fold((0, 0), |(count, all), outcome| (count + u32::from(which(outcome)), all + 1));
        100.0 * f64::from(count) / f64::from(all.max(1))
    }

    /// Percent of the machines that were taken for machines.
    pub fn machine_recall(&self) -> f64 {
        self.share(|outcome| outcome.kind == Kind::Machine, |outcome| outcome.answerer == Answerer::Machine)
    }

    /// Percent of the humans that were taken for machines.
    pub fn humans_called_machine(&self) -> f64 {
        self.share(|outcome| outcome.kind.is_human(), |outcome| outcome.answerer == Answerer::Machine)
    }

    /// Percent of the humans that were taken for humans.
    pub fn human_recall(&self) -> f64 {
        self.share(|outcome| outcome.kind.is_human(), |outcome| outcome.answerer == Answerer::Human)
    }

    /// Percent of the beeps that were found, of machines known as such.
    pub fn beep_recall(&self) -> f64 {
        let known = |outcome: &Outcome| outcome.has_beep && outcome.answerer == Answerer::Machine;
        self.share(known, |outcome| outcome.beep_found)
    }

    /// How many items had a beep found where none is.
    pub fn false_beeps(&self) -> usize {
        self.of(|outcome| outcome.beep_wrong).count()
    }

    /// How many items with ringback, busy or congestion had it taken for a beep.
    pub fn call_progress_beeps(&self) -> usize {
        self.of(|outcome| outcome.call_progress && (outcome.beep_wrong || outcome.evidence == Evidence::Beep))
            .count()
    }

    /// Percent of the tones known for what they are before the answer.
    pub fn early_recall(&self) -> f64 {
        self.share(|outcome| outcome.early_right.is_some(), |outcome| outcome.early_right == Some(true))
    }

    /// The median time of the verdicts over what people and machines answered, faxes included.
    pub fn median_ms(&self) -> u32 {
        self.median(|outcome| outcome.kind.is_human() || matches!(outcome.kind, Kind::Machine | Kind::Fax))
    }

    fn median(&self, which: impl Fn(&Outcome) -> bool) -> u32 {
        let mut times: Vec<u32> = self.of(which).map(|outcome| outcome.ms).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(0)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answerers = [Answerer::Human, Answerer::Machine, Answerer::Fax, Answerer::Unknown];
        writeln!(
            f,
            "| {:<13} | {:>5} | human | machine |   fax | unknown | median |",
            "what it is", "items"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for kind in Kind::ALL {
            let mut counts = BTreeMap::new();
            for outcome in self.of(|outcome| outcome.kind == kind) {
                *counts.entry(outcome.answerer).or_insert(0u32) += 1;
            }
            let all: u32 = counts.values().sum();
            let [human, machine, fax, unknown] =
                answerers.map(|answerer| counts.get(&answerer).copied().unwrap_or(0));
            let median = self.median(|outcome| outcome.kind == kind);
            let name = format!("{kind:?}");
            writeln!(
                f,
                "| {name:<13} | {all:>5} | {human:>5} | {machine:>7} | {fax:>5} | {unknown:>7} | {median:>4} ms |"
            )?;
        }
        writeln!(f)?;
        writeln!(f, "machine recall          {:>6.1} %", self.machine_recall())?;
        writeln!(f, "human recall            {:>6.1} %", self.human_recall())?;
        writeln!(f, "humans called machine   {:>6.1} %", self.humans_called_machine())?;
        let machines = self.median(|outcome| outcome.kind == Kind::Machine);
        let humans = self.median(|outcome| outcome.kind.is_human());
        writeln!(
            f,
            "median verdict          {:>6} ms (humans {humans} ms, machines {machines} ms)",
            self.median_ms()
        )?;
        writeln!(
            f,
            "beeps found             {:>6.1} %, {} where none is",
            self.beep_recall(),
            self.false_beeps()
        )?;
        writeln!(f, "ringback, busy as beep  {:>6}", self.call_progress_beeps())?;
        writeln!(f, "tones before the answer {:>6.1} %", self.early_recall())
    }
}
