//! Checks on the workspace itself. `cargo xtask <command>`.
#![forbid(unsafe_code)]

mod clippy_files;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workspace::Workspace;

#[derive(Debug, Parser)]
#[command(about = "Checks on the workspace itself")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes every crate's clippy.toml from one source.
    ClippyFiles,
}

fn main() -> Result<()> {
    let workspace = Workspace::load()?;
    match Arguments::parse().command {
        Command::ClippyFiles => clippy_files::write(&workspace),
    }
}
