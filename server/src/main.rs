//! `carillon`: reads the configuration and wires the shells.
#![forbid(unsafe_code)]

mod config;
mod doctor;
mod logs;
mod reload;
mod serve;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use control_api_types::Scopes;

/// Exit status of a configuration that cannot be used, apart from 1 for everything else.
const BAD_CONFIG: u8 = 2;

#[derive(Debug, Parser)]
#[command(
    name = "carillon",
    version,
    about = "A low-latency outbound telephony engine",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the engine.
    Serve {
        /// The configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
        /// What this process is.
        #[arg(long, value_enum, default_value = "all")]
        role: Role,
    },
    /// Read and check the configuration: exit 0, or 2 with a line `file:line: reason` for each fault.
    CheckConfig {
        /// The configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Tokens of the control API.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Check what the engine needs of this machine: ports, files, buffers, clock, disk, names, codecs.
    Doctor {
        /// The configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token: its hash goes into the token file, its secret to standard output, once.
    New {
        /// The configuration file (TOML); its `[api] token_file` is extended.
        #[arg(long)]
        config: PathBuf,
        /// Who holds it; shown in the audit log.
        #[arg(long)]
        name: String,
        /// Comma-separated: read, control, originate, admin.
        #[arg(long)]
        scopes: Scopes,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Everything this build has.
    All,
    /// The engine and its control API.
    Engine,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve { config: path, role: Role::All | Role::Engine } => {
            with_config(&path, |config| serve::serve(config, &path))
        }
        Command::CheckConfig { config } => with_config(&config, |_| Ok(())),
        Command::Token { command: TokenCommand::New { config, name, scopes } } => {
            with_config(&config, |config| new_token(&config, &name, scopes))
        }
        Command::Doctor { config } => with_config(&config, |config| doctor::run(&config)),
    }
}

/// The environment, as far as it is text: what is not cannot be a setting of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn with_config(path: &Path, run: impl FnOnce(config::Config) -> anyhow::Result<()>) -> ExitCode {
    let config = match config::load(path, environment()) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("carillon: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what it came from, each once: most of ours name their source themselves.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        _ if told.contains(&cause) => told,
        _ => format!("{told}: {cause}"),
    })
}

#[expect(clippy::print_stdout, reason = "the secret is the command's output, and nothing else")]
fn new_token(config: &config::Config, name: &str, scopes: Scopes) -> anyhow::Result<()> {
    let secret = control_api_server::add_token(&config.api.token_file, name, scopes)?;
    println!("{secret}");
    Ok(())
}
