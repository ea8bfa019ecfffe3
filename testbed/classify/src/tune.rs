//! Which parameters the development part asks for, and what they are worth on voices that they were not chosen on.

use std::fmt::Write;

use media_core::classify::Parameters;

use crate::measure::{Figures, Mix, verdicts};
use crate::random::hash;
use crate::recipe::Item;

/// Voices are dealt out to so many folds.
const FOLDS: u64 = 4;

/// A table of the best parameters for all voices, and for all but each fold with the figures of that fold.
pub fn tune(items: &[Item]) -> String {
    let candidates = candidates();
    let tried: Vec<(Parameters, Figures)> = std::thread::scope(|scope| {
        let halves = candidates.chunks(candidates.len().div_ceil(2)).map(|half| {
            scope
                .spawn(|| half.iter().map(|parameters| (*parameters, verdicts(items, *parameters))).collect())
        });
        let halves: Vec<_> = halves.collect();
        halves
            .into_iter()
            .flat_map(|half| -> Vec<_> {
                half.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let mut report = String::new();
    let fold_of = |person: Option<&str>| person.map(|person| hash(person) % FOLDS);
    let mut line = |name: &str, parameters: &Parameters, figures: &Figures| {
        let _ = writeln!(
            report,
            "{name}: machine_greeting {} pause {} sentence {} sentence_pause {} | recall {:.1} %, people as machines {:.1} %, median {} ms (people {}, machines {})",
            parameters.machine_greeting_ms,
            parameters.pause_ms,
            parameters.sentence_ms,
            parameters.sentence_pause_ms,
            figures.machine_recall(),
            figures.humans_called_machine(),
            figures.median_ms(Mix::DOCUMENTED),
            figures.human_median_ms(),
            figures.machine_median_ms(),
        );
    };
    for (parameters, figures) in &tried {
        line("tried", parameters, figures);
    }
    let best = |of: &dyn Fn(&Figures) -> Figures| {
        tried.iter().max_by(|a, b| worth(&of(&a.1)).total_cmp(&worth(&of(&b.1))))
    };
    let voiced = |figures: &Figures, keep: &dyn Fn(u64) -> bool| {
        figures.only(|outcome| fold_of(outcome.person).is_none_or(keep))
    };
    if let Some((parameters, figures)) = best(&|figures| figures.only(|_| true)) {
        line("all voices", parameters, figures);
    }
    let mut out_of_fold = Figures { outcomes: Vec::new() };
    for fold in 0..FOLDS {
        if let Some((parameters, figures)) = best(&|figures| voiced(figures, &|of| of != fold)) {
            line(&format!("without fold {fold}"), parameters, &voiced(figures, &|of| of != fold));
            let unseen = voiced(figures, &|of| of == fold);
            line("  on that fold", parameters, &unseen);
            out_of_fold.outcomes.extend(unseen.outcomes.into_iter().filter(|of| of.person.is_some()));
        }
    }
    let _ = writeln!(
        report,
        "every voice by the parameters chosen without it: recall {:.1} %, people as machines {:.1} %, median of people {} ms, of machines {} ms",
        out_of_fold.machine_recall(),
        out_of_fold.humans_called_machine(),
        out_of_fold.human_median_ms(),
        out_of_fold.machine_median_ms(),
    );
    report
}

/// A grid about the defaults.
fn candidates() -> Vec<Parameters> {
    let at = Parameters::DEFAULT;
    let mut all = Vec::new();
    for machine_greeting_ms in [
        at.machine_greeting_ms - 1000,
        at.machine_greeting_ms - 100,
        at.machine_greeting_ms,
        at.machine_greeting_ms + 100,
    ] {
        for pause_ms in [at.pause_ms - 200, at.pause_ms - 100, at.pause_ms] {
            for sentence_pause_ms in [at.sentence_pause_ms - 100, at.sentence_pause_ms] {
                all.push(Parameters { machine_greeting_ms, pause_ms, sentence_pause_ms, ..at });
            }
        }
    }
    all
}

/// Early verdicts are worth something, wrong ones cost: beyond a margin to what is promised, more than any time.
fn worth(figures: &Figures) -> f64 {
    let late = f64::from(figures.human_median_ms() + figures.machine_median_ms() / 4) / 1000.0;
    let missed = (93.5 - figures.machine_recall()).max(0.0);
    let wronged = (figures.humans_called_machine() - 1.4).max(0.0);
    -late - missed - 3.0 * wronged
}
