//! `carillon-bench`: what the engine costs and how well it keeps time, as one table.
//!
//! Figures of different runs differ by a third on a shared machine: read ratios, and compare two builds with `--against`,
//! which alternates between them.
#![forbid(unsafe_code)]

mod bridges;
mod calls;
mod engine;
mod floor;
mod instructions;
mod layouts;
mod load;
mod micro;
mod peer;
mod plan;
mod process;
mod prompt;
mod rounds;
mod spread;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use floor::Traffic;
use plan::Plan;

/// Counts the allocations of [`micro`]; the engine is another process and has its own.
#[global_allocator]
static ALLOCATOR: alloc_count::Counting = alloc_count::Counting;

#[derive(Debug, Parser)]
#[command(name = "carillon-bench", version, about = "Measures the engine: one table")]
struct Arguments {
    /// The engine to measure.
    #[arg(long, required_unless_present_any = ["micro", "layouts", "bridges", "instructions", "repeat"])]
    carillon: Option<PathBuf>,
    /// Only what needs no engine: parser, writer, signalling.
    #[arg(long)]
    micro: bool,
    /// Only what a socket per call costs in a bare loop against one for each thread.
    #[arg(long, conflicts_with = "micro")]
    layouts: bool,
    /// Only what a packet costs from one leg of a bridge to the other, passed through and transcoded; so many bridges.
    #[arg(long, conflicts_with_all = ["micro", "layouts"])]
    bridges: Option<usize>,
    /// Only what the small cases cost in instructions, against what this file says.
    #[arg(long, conflicts_with_all = ["micro", "layouts", "bridges"])]
    instructions: Option<PathBuf>,
    /// Writes that file instead.
    #[arg(long, requires = "instructions")]
    write: bool,
    /// A case and how often: for `--instructions`.
    #[arg(long, hide = true, num_args = 2)]
    repeat: Option<Vec<u64>>,
    /// Another build to measure by turns with it.
    #[arg(long)]
    against: Option<PathBuf>,
    /// Playing calls at once.
    #[arg(long, value_delimiter = ',', default_value = "500,1000")]
    calls: Vec<u32>,
    /// Calls begun in a second.
    #[arg(long, value_delimiter = ',', default_value = "200,500")]
    rates: Vec<u32>,
    /// Playing calls only play: how many the machine takes. Without set-up rates.
    #[arg(long, conflicts_with = "rates")]
    one_way: bool,
    /// One short round: under a minute, and rough.
    #[arg(long)]
    quick: bool,
    /// Keeps idle cores from sleeping: figures of a busy machine, which are lower.
    #[arg(long)]
    spin: bool,
}

/// Bridges in the table of everything.
const BRIDGES: usize = 150;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(&[case, times]) = arguments.repeat.as_deref() {
        return instructions::repeat(usize::try_from(case)?, times);
    }
    process::raise_file_limit()?;
    let cores = process::cores()?;
    let conditions = process::conditions(&cores, arguments.spin)?;
    if arguments.layouts {
        let _spinners = arguments.spin.then(|| process::Spinners::start(&cores)).transpose()?;
        let (repetitions, length) = if arguments.quick { (1, 2) } else { (5, 4) };
        let length = Duration::from_secs(length);
        print(&conditions, "", &layouts::measure(&cores, &arguments.calls, repetitions, length)?);
        return Ok(());
    }
    if let Some(written) = &arguments.instructions {
        print("", "", &instructions::guard(written, arguments.write)?);
        return Ok(());
    }
    if let Some(bridges) = arguments.bridges {
        let (repetitions, length) = if arguments.quick { (1, 3) } else { (3, 6) };
        print(&conditions, "", &bridges::measure(&cores, bridges, repetitions, Duration::from_secs(length))?);
        return Ok(());
    }
    let engines = if arguments.micro { [None, None] } else { [arguments.carillon, arguments.against] };
    let subjects = engines.into_iter().flatten().collect();
    let (traffic, rates) =
        if arguments.one_way { (Traffic::Sending, Vec::new()) } else { (Traffic::Both, arguments.rates) };
    let plan = Plan::new(subjects, arguments.calls, rates, traffic, cores, arguments.quick);
    let _spinners = arguments.spin.then(|| process::Spinners::start(&plan.cores)).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let results = runtime.block_on(plan.run())?;
    let mut text = table::render(&results);
    if !arguments.micro && !arguments.one_way {
        text += &bridges::measure(&plan.cores, BRIDGES, plan.repetitions, plan.lengths.playing)?;
    }
    print(&conditions, &plan.about(), &text);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn print(conditions: &str, about: &str, table: &str) {
    println!("{conditions}{about}\n{table}");
}
