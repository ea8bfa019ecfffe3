//! Checks on the workspace itself: `cargo xtask layers`, `tidy`, `clippy-files`.
#![forbid(unsafe_code)]

mod clippy_files;
mod layers;
mod tidy;
mod workspace;

use std::fmt::Display;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use tidy::Severity;
use workspace::Workspace;

#[derive(Debug, Parser)]
#[command(about = "Checks on the workspace itself")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Fails on a dependency that the layers of ARCHITECTURE.md do not allow
    Layers,
    /// Fails on unfinished code, overlong files, unused dependencies and the like
    Tidy,
    /// Writes every crate's clippy.toml from one source
    ClippyFiles,
}

fn main() -> Result<ExitCode> {
    let task = Arguments::parse().command;
    let workspace = Workspace::load()?;
    let faults = match task {
        Task::Layers => {
            let faults = layers::faults(&workspace);
            report(&faults);
            faults.len()
        }
        Task::Tidy => {
            let findings = tidy::findings(&workspace)?;
            report(&findings);
            findings.iter().filter(|finding| finding.severity == Severity::Fault).count()
        }
        Task::ClippyFiles => {
            clippy_files::write(&workspace)?;
            0
        }
    };
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "a command's output")]
fn report(lines: &[impl Display]) {
    for line in lines {
        println!("{line}");
    }
}
