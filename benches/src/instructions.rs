//! `--instructions`: what the cases of [`crate::micro`] cost in instructions, which nothing else on the machine changes, held
//! against what is written down.
//!
//! Each case runs twice in a process of its own under `valgrind --tool=cachegrind`, once with a few repetitions and once with
//! more: what lies between them is what the repetitions cost, without start and preparation.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::micro;

/// Repetitions of the two runs. The first brings everything into its stride; the second has two rounds more of every case's
/// frames, and five of its losses.
const FEW: u64 = 100;
const MANY: u64 = FEW + 100;

/// How many more than written down are too many, in percent.
const LEEWAY: u64 = 10;

/// What the file of the counts begins with.
const ABOUT: &str = "# Instructions per repetition of each case of `carillon-bench --micro`, by `make instructions`: of a release build of\n\
    # x86-64 (thin LTO, 4 codegen units), counted by cachegrind. More than a tenth above one of these fails. Another compiler or C\n\
    # library counts a little differently: `make instructions write=1` writes the file anew.\n";

/// Counts every case. Fails where one takes more than what `written` says and its leeway; with `anew`, writes it down instead.
pub(crate) fn guard(written: &Path, anew: bool) -> anyhow::Result<String> {
    let before = if anew { BTreeMap::new() } else { read(written)? };
    let (mut report, mut counts) = (String::new(), ABOUT.to_owned());
    let mut faults = Vec::new();
    for (number, case) in micro::cases().iter().enumerate() {
        let count = (run(number, MANY)?.checked_sub(run(number, FEW)?))
            .context("more work, fewer instructions")?
            / ((MANY - FEW) * case.things as u64);
        writeln!(counts, "{count:>9} {}", case.what)?;
        let verdict = match before.get(&case.what) {
            Some(&most) if count * 100 > most * (100 + LEEWAY) => {
                faults.push(format!("{} takes {count} instructions instead of {most}", case.what));
                "MORE"
            }
            Some(&most) if count * (100 + LEEWAY) < most * 100 => "less: write it down",
            Some(_) => "",
            None if anew => "",
            None => {
                faults.push(format!("{} is not in {}", case.what, written.display()));
                "NEW"
            }
        };
        writeln!(report, "{count:>9} {} {verdict}", case.what)?;
    }
    if anew {
        std::fs::write(written, counts).with_context(|| written.display().to_string())?;
    }
    anyhow::ensure!(
        faults.is_empty(),
        "{report}\n{}\nif that is wanted: make instructions write=1",
        faults.join("\n")
    );
    Ok(report)
}

/// `--repeat`: what is run under valgrind.
pub(crate) fn repeat(case: usize, times: u64) -> anyhow::Result<()> {
    let cases = micro::cases();
    let mut work = cases.get(case).context("there is no such case")?.work();
    (0..times).for_each(|_| work());
    Ok(())
}

/// The instructions of this program repeating one case.
fn run(case: usize, times: u64) -> anyhow::Result<u64> {
    let out = std::env::temp_dir().join(format!("carillon-bench-{}.cachegrind", std::process::id()));
    let ran = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--quiet"])
        .arg(format!("--cachegrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["--repeat", &case.to_string(), &times.to_string()])
        .stdout(Stdio::null())
        .output()
        .context("valgrind (package valgrind)")?;
    anyhow::ensure!(ran.status.success(), "under valgrind: {}", String::from_utf8_lossy(&ran.stderr));
    let counted = std::fs::read_to_string(&out)?;
    std::fs::remove_file(&out)?;
    let summary =
        counted.lines().find_map(|line| line.strip_prefix("summary:")).context("no summary of cachegrind")?;
    Ok(summary.trim().parse()?)
}

fn read(written: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let text = std::fs::read_to_string(written).with_context(|| written.display().to_string())?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (count, what) = line.trim_start().split_once(' ').context("a count and a case")?;
            Ok((what.to_owned(), count.parse()?))
        })
        .collect()
}
