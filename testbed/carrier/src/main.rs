//! `carrier`: the simulated carrier as a program.

use std::path::PathBuf;

use anyhow::Context;
use carrier::{CallReport, Carrier, CarrierConfig, Listen, Totals};
use clap::{Parser, ValueEnum};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

/// A simulated carrier: registrar with digest, and customers who answer, press keys, are busy or hang up.
/// Runs until SIGTERM or SIGINT.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// A TOML file; see CarrierConfig for its keys.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where SIP is taken instead, as in udp:127.0.0.1:5060; may be repeated.
    #[arg(long)]
    listen: Vec<Listen>,
    /// What is written to stdout at the end.
    #[arg(long, value_enum, default_value_t = Report::Totals)]
    report: Report,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Report {
    /// Nothing.
    None,
    /// The totals, as JSON.
    Totals,
    /// The totals and every call, as JSON.
    Json,
}

#[derive(Debug, Serialize)]
struct Written {
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Vec<CallReport>>,
}

// One thread: a load test gives the carrier one core and no more.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let mut config = match &arguments.config {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            toml::from_str(&text).with_context(|| path.display().to_string())?
        }
        None => CarrierConfig::default(),
    };
    if !arguments.listen.is_empty() {
        config.listen = arguments.listen;
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let carrier = Carrier::start(config).await?;
    for addr in carrier.addrs() {
        tracing::info!(%addr, "listening");
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let calls = match arguments.report {
        Report::Json => Some(carrier.calls().await?),
        Report::None | Report::Totals => None,
    };
    let totals = carrier.shutdown().await?;
    match arguments.report {
        Report::None => {}
        Report::Totals | Report::Json => {
            serde_json::to_writer_pretty(std::io::stdout(), &Written { totals, calls })?;
        }
    }
    Ok(())
}
