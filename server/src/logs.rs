//! Logs: to standard error, as text or JSON, filtered by `CARILLON_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// `CARILLON_LOG=debug`, `CARILLON_LOG=info,sip_core=trace`, and `CARILLON_LOG_FORMAT=json`.
pub(crate) fn start() -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_from_env("CARILLON_LOG").or_else(|error| match std::env::var("CARILLON_LOG") {
            Err(_) => Ok(EnvFilter::new("info")),
            Ok(value) => Err(anyhow::anyhow!("CARILLON_LOG={value:?}: {error}")),
        })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match std::env::var("CARILLON_LOG_FORMAT").as_deref() {
        Ok("json") => builder.json().init(),
        Ok("text") | Err(_) => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        Ok(other) => anyhow::bail!("CARILLON_LOG_FORMAT={other:?}: expected \"text\" or \"json\""),
    }
    Ok(())
}
