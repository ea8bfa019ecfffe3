//! What the analyser makes of the corpus.

use std::fmt;

use media_core::classify::{Analyser, Answerer, Evidence, Finding, Parameters, Verdict};

use crate::recipe::{Item, Kind, Part, Recipe, recipes};

/// How far the end of a beep may be from the truth, in ms.
const BEEP_TOLERANCE_MS: u32 = 120;

/// What became of one item.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which item.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Whose voice is in it.
    pub person: Option<&'static str>,
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
    /// When the beep that was found ended, and its frequency.
    pub beep: Option<(u32, u16)>,
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

/// The same up to the verdicts, without beeps and what is before the answer: quicker.
pub(crate) fn verdicts(items: &[Item], parameters: Parameters) -> Figures {
    let verdict = |item: &Item| {
        let mut outcome = Outcome::nothing(item);
        let mut analyser = Analyser::new(parameters);
        analyser.answered();
        for chunk in item.pcm.chunks(160) {
            analyser.push(chunk);
            if let Some(Finding::Verdict(verdict)) = analyser.poll() {
                outcome.judged(verdict);
                break;
            }
        }
        outcome
    };
    Figures { outcomes: items.iter().map(verdict).collect() }
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
    let mut outcome = Outcome::nothing(item);
    for finding in findings(item, parameters, true) {
        match finding {
            Finding::Early { .. } => {}
            Finding::Verdict(verdict) => outcome.judged(verdict),
            Finding::Beep { ms, hz, .. } => {
                outcome.beep = Some((ms, hz));
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
    /// Whether a person answers.
    pub fn is_human(self) -> bool {
        matches!(self, Self::Hello | Self::Sentence | Self::Hesitant | Self::Company)
    }

    fn expected(self) -> Answerer {
        match self {
            Self::Hello | Self::Sentence | Self::Hesitant | Self::Company => Answerer::Human,
            Self::Machine | Self::Sit => Answerer::Machine,
            Self::Fax => Answerer::Fax,
            Self::Busy | Self::Ringback | Self::Silence => Answerer::Unknown,
        }
    }
}

impl Outcome {
    /// Of an item that nothing was found of.
    fn nothing(item: &Item) -> Self {
        Self {
            name: item.name.clone(),
            kind: item.kind,
            person: item.person,
            answerer: Answerer::Unknown,
            evidence: Evidence::Silence,
            ms: item.pcm.len() as u32 / 8,
            has_beep: item.beep_ms.is_some(),
            beep_found: false,
            beep_wrong: false,
            beep: None,
            call_progress: item.call_progress,
            early_right: None,
        }
    }

    fn judged(&mut self, verdict: Verdict) {
        (self.answerer, self.evidence, self.ms) = (verdict.answerer, verdict.evidence, verdict.ms);
    }

    /// What is wrong with it, in a line, if anything is.
    pub fn wrong(&self) -> Option<String> {
        let beep = match (self.beep, self.has_beep && !self.beep_found) {
            (Some((ms, hz)), _) if self.beep_wrong => format!(" and a wrong beep of {hz} Hz at {ms} ms"),
            (_, true) => " and no beep".to_owned(),
            (_, false) => String::new(),
        };
        if self.is_right() && beep.is_empty() && self.early_right != Some(false) {
            return None;
        }
        let early = if self.early_right == Some(false) { ", not known before the answer" } else { "" };
        let (answerer, evidence) = (self.answerer.as_str(), self.evidence.as_str());
        Some(format!("{answerer} by {evidence} at {} ms{beep}{early}: {}", self.ms, self.name))
    }

    /// Whether it was taken for what it is.
    pub fn is_right(&self) -> bool {
        self.answerer == self.kind.expected()
    }
}

/// Of a thousand answered calls, how many a mix gives to each kind.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    machines: u32,
}

impl Mix {
    /// As many machines as the documented mix has.
    pub const DOCUMENTED: Self = Self { machines: 480 };

    /// With so many machines in a hundred calls, and people as the documented mix has them among themselves.
    pub const fn of_machines(percent: u32) -> Self {
        Self { machines: percent * 10 }
    }

    fn weight(self, kind: Kind) -> f64 {
        let documented = |which: Kind| {
            Kind::ALL.iter().find(|(kind, ..)| *kind == which).map_or(0.0, |(.., share)| f64::from(*share))
        };
        let fax = documented(Kind::Fax);
        let people = 1000.0 - fax - documented(Kind::Machine);
        match kind {
            Kind::Machine => f64::from(self.machines),
            Kind::Hello | Kind::Sentence | Kind::Hesitant | Kind::Company => {
                documented(kind) * (1000.0 - fax - f64::from(self.machines)) / people
            }
            Kind::Fax | Kind::Sit | Kind::Busy | Kind::Ringback | Kind::Silence => documented(kind),
        }
    }
}

impl Figures {
    pub(crate) fn only(&self, which: impl Fn(&Outcome) -> bool) -> Self {
        Self { outcomes: self.of(which).cloned().collect() }
    }

    fn of(&self, which: impl Fn(&Outcome) -> bool) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(move |outcome| which(outcome))
    }

    /// How much one item counts for in `mix`.
    fn weight(&self, mix: Mix, kind: Kind) -> f64 {
        mix.weight(kind) / self.of(|outcome| outcome.kind == kind).count().max(1) as f64
    }

    /// Percent of the items in `of` that are in `which`, every item alike.
    fn share(&self, of: impl Fn(&Outcome) -> bool, which: impl Fn(&Outcome) -> bool) -> f64 {
        let (count, all) =
            self.of(of).fold((0, 0), |(count, all), outcome| (count + u32::from(which(outcome)), all + 1));
        100.0 * f64::from(count) / f64::from(all.max(1))
    }

    /// Percent of the people in the documented mix that were taken for `answerer`.
    fn humans_called(&self, answerer: Answerer) -> f64 {
        let (called, all) =
            self.of(|outcome| outcome.kind.is_human()).fold((0.0, 0.0), |(called, all), outcome| {
                let weight = self.weight(Mix::DOCUMENTED, outcome.kind);
                (called + if outcome.answerer == answerer { weight } else { 0.0 }, all + weight)
            });
        100.0 * called / all
    }

    /// Percent of the machines that were taken for machines.
    pub fn machine_recall(&self) -> f64 {
        self.share(|outcome| outcome.kind == Kind::Machine, |outcome| outcome.answerer == Answerer::Machine)
    }

    /// Percent of the humans that were taken for machines.
    pub fn humans_called_machine(&self) -> f64 {
        self.humans_called(Answerer::Machine)
    }

    /// Percent of the humans that were taken for humans.
    pub fn human_recall(&self) -> f64 {
        self.humans_called(Answerer::Human)
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

    /// The median time of the verdicts in `mix`, in ms.
    pub fn median_ms(&self, mix: Mix) -> u32 {
        self.quantile(0.5, |outcome| self.weight(mix, outcome.kind))
    }

    /// Of people alone, in the documented mix.
    pub fn human_median_ms(&self) -> u32 {
        self.quantile(0.5, |outcome| {
            if outcome.kind.is_human() { self.weight(Mix::DOCUMENTED, outcome.kind) } else { 0.0 }
        })
    }

    /// Of machines alone.
    pub fn machine_median_ms(&self) -> u32 {
        self.kind_quantile(0.5, Kind::Machine)
    }

    fn kind_quantile(&self, part: f64, kind: Kind) -> u32 {
        self.quantile(part, |outcome| f64::from(u8::from(outcome.kind == kind)))
    }

    /// The time by which `part` of all verdicts, by weight, have fallen.
    fn quantile(&self, part: f64, weight: impl Fn(&Outcome) -> f64) -> u32 {
        let mut times: Vec<(u32, f64)> =
            self.outcomes.iter().map(|outcome| (outcome.ms, weight(outcome))).collect();
        times.sort_unstable_by_key(|(ms, _)| *ms);
        let mut left = part * times.iter().map(|(_, weight)| weight).sum::<f64>();
        for (ms, weight) in times {
            left -= weight;
            if left < 0.0 {
                return ms;
            }
        }
        0
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answerers = [Answerer::Human, Answerer::Machine, Answerer::Fax, Answerer::Unknown];
        writeln!(f, "| what it is | items | human | machine | fax | unknown | median ms | 9 in 10 by ms |")?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for (kind, ..) in Kind::ALL {
            let of_kind = |outcome: &Outcome| outcome.kind == kind;
            let [human, machine, fax, unknown] = answerers
                .map(|answerer| self.of(of_kind).filter(|outcome| outcome.answerer == answerer).count());
            let (all, name) = (self.of(of_kind).count(), format!("{kind:?}"));
            let [median, most] = [0.5, 0.9].map(|part| self.kind_quantile(part, kind));
            writeln!(
                f,
                "| {name:<8} | {all:>3} | {human:>3} | {machine:>3} | {fax:>3} | {unknown:>3} | {median:>4} | {most:>4} |"
            )?;
        }
        writeln!(f)?;
        writeln!(f, "machine recall          {:>6.1} %", self.machine_recall())?;
        writeln!(f, "human recall            {:>6.1} %", self.human_recall())?;
        writeln!(f, "humans called machine   {:>6.1} %", self.humans_called_machine())?;
        writeln!(f, "median verdict          {:>6} ms", self.median_ms(Mix::DOCUMENTED))?;
        writeln!(f, "  of people             {:>6} ms", self.human_median_ms())?;
        writeln!(f, "  of machines           {:>6} ms", self.machine_median_ms())?;
        for percent in [30, 70] {
            let median = self.median_ms(Mix::of_machines(percent));
            writeln!(f, "  with {percent} % machines    {median:>6} ms")?;
        }
        let (found, wrong) = (self.beep_recall(), self.false_beeps());
        writeln!(f, "beeps found             {found:>6.1} %, {wrong} where none is")?;
        writeln!(f, "ringback, busy as beep  {:>6}", self.call_progress_beeps())?;
        writeln!(f, "tones before the answer {:>6.1} %", self.early_recall())
    }
}
