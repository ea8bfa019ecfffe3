//! `cargo run -p classify`: the confusion matrix and the figures of both parts of the corpus. `-v` names every item of
//! the development part that was judged wrongly; those of the held-out part are never named.
#![expect(clippy::print_stdout, reason = "a command that prints a table")]

use classify::{Part, make, measure};
use media_core::classify::Parameters;

fn main() -> anyhow::Result<()> {
    let verbose = std::env::args().any(|arg| arg == "-v");
    let development = measure(&make(Part::Development)?, Parameters::DEFAULT);
    println!("Development part\n\n{development}");
    if verbose {
        for outcome in &development.outcomes {
            let beep = if outcome.beep_wrong {
                "WRONG BEEP"
            } else if outcome.has_beep && !outcome.beep_found {
                "no beep"
            } else {
                ""
            };
            if !outcome.is_right() || !beep.is_empty() || outcome.early_right == Some(false) {
                let (answerer, evidence) = (outcome.answerer.as_str(), outcome.evidence.as_str());
                println!(
                    "{answerer} by {evidence} at {} ms {beep} {:?}: {}",
                    outcome.ms, outcome.early_right, outcome.name
                );
            }
        }
        return Ok(());
    }
    println!("Held-out part\n\n{}", measure(&make(Part::HeldOut)?, Parameters::DEFAULT));
    Ok(())
}
