//! Reading the configuration file again while calls are up.

use std::path::PathBuf;
use std::sync::Arc;

use control_api_server::{Tls, Tokens};
use control_api_types::{Fault, Reloaded, Secret};
use engine_runtime::{Engine, Error, HepSecret, Refusal, Reload};
use rustls::ServerConfig;
use sip_io::{ServerTls, TlsError};
use tokio::sync::watch;

use crate::config::{self, Config};

/// What reads the file again, and who takes what it says.
pub(crate) struct Reloader {
    path: PathBuf,
    /// What a restart is needed for, as it was at the start.
    fixed: Fixed,
    tokens: Tokens,
    tls: Option<ApiTls>,
    engine: Engine,
}

/// Certificate and key of the API: their files are read again, other files need a restart.
pub(crate) struct ApiTls {
    files: ServerTls,
    shown: watch::Sender<Arc<ServerConfig>>,
}

impl ApiTls {
    pub(crate) fn open(files: ServerTls) -> Result<ApiTls, TlsError> {
        let shown = watch::Sender::new(files.load()?);
        Ok(ApiTls { files, shown })
    }

    /// For the server.
    pub(crate) fn shown(&self) -> Tls {
        self.shown.subscribe()
    }
}

impl Reloader {
    pub(crate) fn new(
        path: PathBuf,
        fixed: Fixed,
        tokens: Tokens,
        tls: Option<ApiTls>,
        engine: Engine,
    ) -> Reloader {
        Reloader { path, fixed, tokens, tls, engine }
    }

    /// Takes what the file says now: all of it, or nothing if anything in it is wrong.
    pub(crate) async fn reload(&self) -> Result<Reloaded, Vec<Fault>> {
        let reloaded = self.take().await;
        match &reloaded {
            Ok(Reloaded { trunks, routes, needs_restart }) => {
                tracing::info!(trunks, routes, "configuration reloaded");
                if !needs_restart.is_empty() {
                    tracing::warn!(changed = needs_restart.join(", "), "changed, but needs a restart");
                }
            }
            Err(faults) => {
                let lines = faults.iter().map(|Fault { pointer, detail }| format!("{pointer}: {detail}"));
                let faults = lines.collect::<Vec<_>>().join("; ");
                tracing::error!(faults, "configuration not reloaded; everything stays as it was");
            }
        }
        reloaded
    }

    async fn take(&self) -> Result<Reloaded, Vec<Fault>> {
        let path = self.path.clone();
        let loaded = tokio::task::spawn_blocking(move || config::load(&path, crate::environment()));
        let loaded = loaded.await.map_err(|error| other(&error))?;
        let Config { api, engine } = loaded.map_err(config::Faults::located)?;
        let needs_restart = Fixed::of(&api, &engine).changed_since(&self.fixed);
        let count = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
        let (trunks, routes) = (count(engine.trunks.len()), count(engine.routes.len()));
        let reload = Reload {
            trunks: engine.trunks,
            routes: engine.routes,
            limits: engine.limits,
            stir: engine.stir,
            registrar: engine.registrar,
        };
        // Everything is looked at before anything is taken.
        self.engine.check_reload(&reload).await.map_err(refused)?;
        self.tokens.check().map_err(|error| other(&error))?;
        let tls = self.tls.as_ref().map(|tls| tls.files.load()).transpose().map_err(|error| other(&error))?;
        self.engine.reload_certificates().await.map_err(|error| other(&error))?;
        if let (Some(ApiTls { shown, .. }), Some(config)) = (&self.tls, tls) {
            shown.send_replace(config);
        }
        self.tokens.reload().map_err(|error| other(&error))?;
        self.engine.reload(reload).await.map_err(refused)?;
        Ok(Reloaded { trunks, routes, needs_restart })
    }
}

fn refused(error: Error) -> Vec<Fault> {
    if let Error::Refused(Refusal::Validation(faults)) = error { faults } else { other(&error) }
}

/// Something wrong that has no line.
fn other(error: &dyn std::error::Error) -> Vec<Fault> {
    vec![Fault { pointer: String::new(), detail: error.to_string() }]
}

/// Sections that are taken at the start only, as text to be compared.
pub(crate) struct Fixed([(&'static str, String); 7]);

impl Fixed {
    pub(crate) fn of(api: &config::Api, engine: &engine_runtime::Config) -> Fixed {
        let sip = (&engine.sip_listen, &engine.sip_tls, &engine.guard, &engine.user_agent);
        // Secrets do not tell themselves.
        let HepSecret(hep) = engine.trace.hep.iter().find_map(|hep| hep.password.clone()).unwrap_or_default();
        let sip = (sip, &engine.name_servers, &engine.trace, hep);
        let webhooks = &engine.webhooks;
        let Secret(signs) = webhooks.secret.clone().unwrap_or(Secret(String::new()));
        let webhooks = (format!("{webhooks:?}"), signs);
        let registrar = (&engine.registrar.realm, &engine.registrar.domain);
        let sip = (sip, registrar);
        Fixed([
            ("[api]", format!("{api:?}")),
            ("[sip]", format!("{sip:?}")),
            ("[media]", format!("{:?}", (&engine.media, engine.media_public_ip))),
            ("[http]", format!("{:?}", engine.http)),
            ("[webhooks]", format!("{webhooks:?}")),
            ("[storage]", format!("{:?}", (&engine.database, &engine.media_dir, &engine.recordings))),
            ("[limits] cdr_retention_days", format!("{:?}", engine.cdr_retention)),
        ])
    }

    fn changed_since(&self, before: &Fixed) -> Vec<String> {
        let pairs = self.0.iter().zip(&before.0);
        pairs.filter(|(now, before)| now.1 != before.1).map(|(now, _)| now.0.to_owned()).collect()
    }
}
