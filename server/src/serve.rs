//! `carillon serve`: starts the engine and the API, and stops both in order.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use control_api_server::{ApiConfig, Rate, Reloads, Tokens};
use control_api_types::TrunkSettings;
use engine_runtime::Engine;
use sip_core::Transport;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::reload::{ApiTls, Fixed, Reloader};

/// The variable with a token of every scope, for the first start and for tests.
const ADMIN_TOKEN: &str = "CARILLON_ADMIN_TOKEN";

/// How long calls hung up at the drain timeout may take to end.
const LAST_ENDS: Duration = Duration::from_secs(5);

/// Room in the table of open files from the start: all the calls that the ports of one address allow, two sockets each.
const FILES_AT_ONCE: u64 = 1 << 16;

/// Serves until it is told to stop; the configuration stands in the file at `path`.
pub(crate) fn serve(config: Config, path: &Path) -> anyhow::Result<()> {
    crate::logs::start()?;
    raise_file_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(run(config, path))
}

async fn run(config: Config, path: &Path) -> anyhow::Result<()> {
    let admin = std::env::var(ADMIN_TOKEN).ok().filter(|secret| !secret.is_empty());
    let rate = Rate { per_second: config.api.rate_limit, burst: config.api.rate_limit.saturating_mul(2) };
    let fixed = Fixed::of(&config.api, &config.engine);
    let tokens = Tokens::open(Some(config.api.token_file), admin.as_deref(), rate)?;
    anyhow::ensure!(
        !tokens.is_empty(),
        "there is no token, so nobody could use the API: run\n  carillon token new --config FILE --name NAME \
         --scopes read,control,originate,admin\nor set {ADMIN_TOKEN}"
    );
    if !config.api.listen.ip().is_loopback() && config.api.tls.is_none() {
        let listen = config.api.listen;
        tracing::warn!(%listen, "the API is served beyond this machine without TLS (tls_cert and tls_key in [api])");
    }
    if !config.engine.sip_tls.verify {
        tracing::warn!("verify = false in [sip.tls]: whoever answers for a trunk over TLS is believed");
    }
    for trunk in config.engine.trunks.iter().filter(|trunk| keys_are_readable(trunk)) {
        tracing::warn!(
            trunk = trunk.name,
            "srtp without TLS: its keys can be read on the way; use sips: or transport=tls in its uri and gateways"
        );
    }
    for account in &config.engine.registrar.accounts {
        let is_secure = |transport: &Transport| matches!(transport, Transport::Tls | Transport::Wss);
        if !account.srtp.is_off()
            && (account.transports.is_empty() || !account.transports.iter().all(is_secure))
        {
            tracing::warn!(
                endpoint = account.name,
                "srtp without TLS: its keys can be read on the way unless it registers over TLS; say transports = [\"tls\", \"wss\"]"
            );
        }
    }
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP")?;

    let listener = TcpListener::bind(config.api.listen).await.with_context(|| {
        format!("cannot serve the API on {} (is another process there?)", config.api.listen)
    })?;
    let engine = Engine::start(config.engine).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), api = %listener.local_addr()?, "carillon is up");

    let (reloads, mut orders) = Reloads::channel();
    let tls = match config.api.tls {
        Some(files) => Some(ApiTls::open(files)?),
        None => None,
    };
    let shown = tls.as_ref().map(ApiTls::shown);
    let api =
        ApiConfig { tokens: tokens.clone(), metrics_open: config.api.metrics_open, reloads, tls: shown };
    let reloader = Reloader::new(path.to_owned(), fixed, tokens, tls, engine.clone());
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(control_api_server::serve(listener, engine.clone(), api, async {
        // Either it is told, or this function is gone: both mean that serving ends.
        drop(closed.await);
    }));

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // What came of it is logged.
            _ = hangup.recv() => drop(reloader.reload().await),
            Some(tell) = orders.recv() => {
                // Who asked may be gone: the reload stands.
                drop(tell.send(reloader.reload().await));
            }
        }
    }
    let drain_timeout = Duration::from_secs(engine.limits().await?.drain_timeout_s.into());
    tracing::info!(
        timeout_s = drain_timeout.as_secs(),
        "stopping: live calls may end; a second signal stops now"
    );
    engine.drain().await?;
    tokio::select! {
        () = engine.drained() => {}
        // The engine itself hangs up what is left at the timeout; those ends are waited for too.
        () = tokio::time::sleep(drain_timeout + LAST_ENDS) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    engine.shutdown().await;
    drop(close);
    served.await.context("the API's task")??;
    tracing::info!("stopped");
    Ok(())
}

/// Whether this trunk's keys for SRTP go over a transport that others can read.
fn keys_are_readable(trunk: &TrunkSettings) -> bool {
    let is_secure = |uri: &str| {
        let uri = uri.to_ascii_lowercase();
        uri.starts_with("sips:") || uri.contains(";transport=tls") || uri.contains(";transport=wss")
    };
    // A proxy takes everything.
    let ways: Vec<&str> = match (&trunk.outbound_proxy, trunk.gateways.as_slice()) {
        (Some(proxy), _) => vec![proxy],
        (None, []) => vec![&trunk.uri],
        (None, gateways) => gateways.iter().map(|gateway| gateway.uri.as_str()).collect(),
    };
    !trunk.srtp.is_off() && !ways.into_iter().all(is_secure)
}

/// Two sockets a call: takes as many files as the system lets this process have.
fn raise_file_limit() {
    use rustix::io::fcntl_dupfd_cloexec;
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
    // The kernel's table of open files doubles as it grows. With several threads each doubling waits until no
    // processor can still look at the old table, and nobody opens a socket meanwhile. Using one high number while
    // there is one thread makes it grow once.
    let highest = getrlimit(Resource::Nofile).current.unwrap_or(FILES_AT_ONCE).min(FILES_AT_ONCE);
    if let Some(number) = i32::try_from(highest).ok().and_then(|highest| highest.checked_sub(1)) {
        // Only to have been used; without it the table grows as it needs to.
        drop(fcntl_dupfd_cloexec(std::io::stderr(), number));
    }
}
