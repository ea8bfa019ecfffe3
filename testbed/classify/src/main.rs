//! `cargo run -p classify`: the confusion matrix and the figures of the development part of the corpus; `-v` names its
//! items that were judged wrongly. `cargo run -p classify -- held-out`: those of the held-out part, whose items are never
//! named; `-- make` only makes them. `cargo run -p classify -- tune`: the parameters that cross-validation by voice would choose.
#![expect(clippy::print_stdout, reason = "a command that prints a table")]

use anyhow::bail;
use classify::{Part, make, measure, tune};
use media_core::classify::Parameters;

fn main() -> anyhow::Result<()> {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        None => println!("{}", measure(&make(Part::Development)?, Parameters::DEFAULT)),
        Some("-v") => {
            for outcome in &measure(&make(Part::Development)?, Parameters::DEFAULT).outcomes {
                if let Some(wrong) = outcome.wrong() {
                    println!("{wrong}");
                }
            }
        }
        Some("held-out") => println!("{}", measure(&make(Part::HeldOut)?, Parameters::DEFAULT)),
        Some("make") => println!("{} items of the held-out part can be made", make(Part::HeldOut)?.len()),
        Some("tune") => println!("{}", tune(&make(Part::Development)?)),
        Some(other) => bail!("{other:?}: give nothing, -v, tune, make or held-out"),
    }
    Ok(())
}
