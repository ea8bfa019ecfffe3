//! Starting: journal, what a crash left behind, sockets, threads, then the task.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::{Event, EventData, Timestamp};
use engine_core::{Clock, EngineConfig};
use media_io::record::{Recorded, Recorders};
use sip_core::EndpointConfig;
use sip_core::guard::Guard;
use sip_io::Transports;
use tokio::sync::{mpsc, oneshot, watch};
use ulid::Ulid;

use crate::Config;
use crate::endpoints;
use crate::engine::{COMMANDS, Engine, Shared, now};
use crate::events::EventHub;
use crate::flows::FlowStore;
use crate::handshakes::Shaker;
use crate::http::{Certificates, Client, Questions};
use crate::journal::{EndedCall, Journal, JournalError};
use crate::prompts::{PromptError, PromptStore};
use crate::queues::QueueStore;
use crate::recordings;
use crate::sounds::Sounds;
use crate::speech::Speech;
use crate::task::{Sources, State, Task};
use crate::trace::{Hep, Trace};
use crate::trunks::TrunkStore;
use crate::webhooks::Webhooks;

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The journal could not be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Prompts could not be loaded.
    #[error(transparent)]
    Prompts(#[from] PromptError),
    /// The folder for audio of web servers could not be made or read.
    #[error("cannot use the folder web in media_dir: {0}")]
    Sounds(std::io::Error),
    /// The folder for speech could not be made or read.
    #[error("cannot use the folder speech in media_dir: {0}")]
    Speech(std::io::Error),
    /// The folder of recordings cannot be used.
    #[error("cannot use the folder of recordings {}: {source}", folder.display())]
    Recordings {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A SIP listener could not be opened.
    #[error(transparent)]
    Sip(#[from] sip_io::Error),
    /// The media threads could not be started.
    #[error("cannot start media: {0}")]
    Media(#[from] std::io::Error),
    /// The engine cannot run with its settings.
    #[error(transparent)]
    Config(#[from] engine_core::ConfigError),
    /// The HTTP client could not be made.
    #[error("cannot make an HTTP client (check ca_file in [http] and the system's certificates): {0}")]
    Http(#[from] reqwest::Error),
    /// The certificate for browsers could not be made.
    #[error("cannot make a certificate for DTLS: {0}")]
    Certificate(#[from] media_dtls::CertificateError),
    /// Handshakes with browsers cannot be made.
    #[error(transparent)]
    Handshakes(#[from] media_dtls::Failure),
    /// The system gave no random numbers.
    #[error("no random numbers from the system: {0}")]
    Random(#[from] getrandom::Error),
}

/// Media events that may wait for the task; a shard keeps what does not fit and tries again.
const MEDIA_EVENTS: usize = 16_384;
/// Journal answers that may wait for the task; the writer waits when it is behind.
const JOURNALLED: usize = 8_192;
/// Recordings that are over and may wait for the task; the writers keep what does not fit.
const RECORDED: usize = 1_024;
/// Answers of web servers that may wait for the task; those who bring more wait.
const ANSWERS: usize = 1_024;
/// How often CDRs and idempotency keys past their time are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// Most CDRs forgotten in one write, so that calls do not wait for it.
const PRUNE_AT_ONCE: u32 = 1_000;

impl Engine {
    /// Starts the engine on the current tokio runtime.
    pub async fn start(config: Config) -> Result<Engine, StartError> {
        let started_at = now();
        let node: Arc<str> = config.node.as_str().into();
        let journal = Journal::open(&config.database)?;
        let events = EventHub::new(started_at.unix_ms());
        let record = recordings::writers(&config.media_dir, &config.recordings);
        let open = journal.open_recordings()?;
        recordings::reopen(&record.folder, &open);
        let (recorded_tell, recorded) = mpsc::channel::<Arc<Recorded>>(RECORDED);
        let record_config = record.clone();
        let (recorders, left) =
            Recorders::start(record, move |recorded| recorded_tell.try_send(Arc::clone(recorded)).is_ok())
                .map_err(|source| StartError::Recordings { folder: record_config.folder.clone(), source })?;
        recordings::end_crashed(&journal, open, &left, started_at).await?;
        let webhooks = Webhooks::open(journal.clone(), Client::new(&config.http, false)?, config.webhooks)?;
        end_crashed_calls(&journal, &events, &webhooks, &node, started_at).await?;
        webhooks.earlier_calls_are_over();
        let prompts = PromptStore::open(&config.media_dir, journal.clone())?;
        let flows = FlowStore::open(journal.clone())?;
        let queues = QueueStore::open(journal.clone())?;
        let served = config.sip_listen.iter().map(|listener| listener.transport).collect();
        let trunks = TrunkStore::open(journal.clone(), config.trunks, served, config.stir.clone())?;
        let mut trunk_configs = Vec::new();
        for trunk in trunks.configs() {
            match trunk {
                Ok(trunk) => {
                    let lacks = config.stir.lacks(&trunk);
                    if !lacks.is_empty() {
                        tracing::error!(
                            trunk = trunk.name,
                            ?lacks,
                            "made when [stir] had it: put the trunk again"
                        );
                    }
                    trunk_configs.push(trunk);
                }
                // Those of the file were checked with it.
                Err((trunk, faults)) => tracing::error!(trunk, ?faults, "trunk not usable: put it again"),
            }
        }

        let (transports, sip) =
            Transports::bind_with(&config.sip_listen, config.sip_tls, sip_io::Limits::default())?;
        transports.set_name_servers(config.name_servers);
        let tls_files = transports.tls_files();
        let mut guard_secret = [0; 32];
        getrandom::fill(&mut guard_secret)?;
        transports.set_guard(Guard::new(Instant::now(), config.guard, guard_secret));
        let (media_sink, media_events) = mpsc::channel(MEDIA_EVENTS);
        let room = config.media.max_legs;
        let mut media = media_io::Media::start(config.media, move |leg, event| {
            media_sink.try_send((leg, event)).is_ok()
        })?;
        match media.scheduling() {
            media_io::Scheduling::Realtime => tracing::info!("media threads run in real time"),
            media_io::Scheduling::Usual => tracing::info!("media threads are scheduled as others are"),
            media_io::Scheduling::Refused => tracing::warn!(
                "media threads may not run in real time, so packets leave late while the machine is busy: give the process \
                 CAP_SYS_NICE or an RLIMIT_RTPRIO of 10, or set [media] realtime = false"
            ),
        }

        let identity = media_dtls::Identity::generate()?;

        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let mut sip_config = EndpointConfig::new(transports.listeners().to_vec());
        sip_config.user_agent = config.user_agent;
        // Never what stops a call that the limits allow: ended calls linger while their BYE is answered.
        sip_config.max_sessions = sip_config.max_sessions.max(room * 2);
        let core_config = EngineConfig {
            node: node.to_string(),
            clock: Clock::new(Instant::now(), now().unix_ms()),
            sip: sip_config,
            trunks: trunk_configs,
            routes: config.routes,
            registrar: config.registrar,
            limits: config.limits,
            stir: config.stir,
            rtp_timeout: config.rtp_timeout,
            fingerprint: Some(identity.fingerprint()),
            inbound_max_duration: config.inbound_max_duration,
        };
        let mut core = engine_core::Engine::new(Instant::now(), core_config, seed)?;
        transports.set_seal(core.seal());
        endpoints::restore(&journal, &mut core)?;
        let speech = Speech::open(config.speech, Client::new(&config.http, false)?, &config.media_dir);
        let speech = Arc::new(speech.await.map_err(StartError::Speech)?);
        core.set_voices(speech.voices().clone());
        for prompt in prompts.list() {
            core.put_prompt(&prompt);
        }
        for (name, kept) in queues.all() {
            if let Err(faults) = core.check_queue(&name, &kept.queue) {
                tracing::warn!(queue = name, ?faults, "a stored queue plays what is not there any more");
            }
            core.put_queue(&name, kept.queue);
        }
        for flow in flows.all() {
            // As before the start: what was deleted since the flow was put is missed when a call comes to it.
            if let Err(faults) = core.check_flow(&flow.flow) {
                tracing::warn!(flow = flow.name, ?faults, "a stored flow uses what is not there any more");
            }
            core.restore_flow(&flow.name, flow.flow);
        }

        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (journalled, journal_answers) = mpsc::channel(JOURNALLED);
        let (answer, answers) = mpsc::channel(ANSWERS);
        let certificates = Certificates::new(Client::new(&config.http, true)?, answer.clone());
        let web = Client::new(&config.http, true)?;
        let sounds = Sounds::open(
            prompts.clone(),
            web.clone(),
            Arc::clone(&speech),
            &config.media_dir,
            &config.sounds,
            answer.clone(),
        )
        .map_err(StartError::Sounds)?;
        let questions = Questions::new(Client::new(&config.http, false)?, answer.clone(), webhooks.secret());
        let handshakes = media_dtls::Handshakes::new(identity)?;
        let parcels = media.parcels().ok_or_else(|| std::io::Error::other("no datagrams of handshakes"))?;
        let shaker = Shaker::start(handshakes, parcels, answer)?;
        let (drained_tell, drained) = watch::channel(false);
        let (stopped_tell, stopped) = watch::channel(false);
        let task = Task {
            core,
            transports,
            media,
            journal: journal.clone(),
            events: events.clone(),
            sounds,
            speech: Arc::clone(&speech),
            recorders,
            shaker,
            trace: Trace::new(&config.trace),
            hep: config.trace.hep.map(Hep::start),
            node,
            started_at,
            media_public_ip: config.media_public_ip,
            journalled,
            certificates,
            questions,
            webhooks: webhooks.clone(),
            drained: drained_tell,
            state: State::default(),
        };
        let sources = Sources {
            sip,
            media: media_events,
            journalled: journal_answers,
            recorded,
            answers,
            commands: command_queue,
            abandoned: false,
        };
        tokio::spawn(async move {
            task.run(sources).await;
            stopped_tell.send_replace(true);
        });
        let keep = Keep {
            journal: journal.clone(),
            cdrs: config.cdr_retention,
            recordings: config.recordings.retention,
            folder: record_config.folder.clone(),
        };
        tokio::spawn(prune(keep, stopped.clone()));
        tokio::spawn(webhooks.clone().run(stopped.clone()));
        Ok(Engine {
            shared: Arc::new(Shared {
                commands,
                journal,
                events,
                prompts,
                flows,
                queues,
                changing_endpoints: Arc::default(),
                trunks,
                webhooks,
                web,
                speech,
                recordings: record_config,
                room,
                tls_files,
                stopped,
                drained,
            }),
        })
    }
}

/// Every accepted call ends exactly once: those that a crash left open end now.
async fn end_crashed_calls(
    journal: &Journal,
    events: &EventHub,
    webhooks: &Webhooks,
    node: &Arc<str>,
    at: Timestamp,
) -> Result<(), StartError> {
    let open = journal.open_calls()?;
    if !open.is_empty() {
        tracing::warn!(
            calls = open.len(),
            "the engine did not stop in order: its open calls end as internal-error"
        );
    }
    for mut call in open {
        let recordings = journal.recordings_of(&call.id)?;
        call.recording_ids = recordings.iter().map(|recording| recording.id.to_string()).collect();
        let call = engine_core::crash_ended(call, at);
        let json = serde_json::to_string(&call)
            .map_err(|source| JournalError::Record { key: call.id.to_string(), source })?;
        let row = EndedCall { id: call.id.clone(), status: call.status, json, ended_at_ms: at.unix_ms() };
        let (tell, told) = oneshot::channel();
        journal.end(row, move |result| drop(tell.send(result)))?;
        told.await.map_err(|_| JournalError::Closed)??;
        let event = events.publish(|cursor| Event {
            id: Ulid::generate().to_string(),
            cursor,
            // How many events came before is not known any more.
            seq: None,
            occurred_at: at,
            node: Arc::clone(node),
            call_id: Some(call.id.clone()),
            client_state: call.client_state.clone(),
            data: EventData::CallEnded(Box::new(call)),
        });
        webhooks.offer(&event);
    }
    Ok(())
}

/// What is kept, and for how long.
struct Keep {
    journal: Journal,
    cdrs: Duration,
    /// `None`: until they are deleted.
    recordings: Option<Duration>,
    folder: PathBuf,
}

/// Forgets what is past its retention, now and then, until the engine stops.
async fn prune(keep: Keep, mut stopped: watch::Receiver<bool>) {
    let Keep { journal, cdrs, recordings, folder } = keep;
    let mut every = tokio::time::interval(PRUNE_EVERY);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let now_ms = now().unix_ms();
        let before = now_ms.saturating_sub(u64::try_from(cdrs.as_millis()).unwrap_or(u64::MAX));
        let pruned = async {
            while journal.prune_cdrs(before, PRUNE_AT_ONCE).await? == PRUNE_AT_ONCE as usize {}
            while journal.prune_answers(now_ms, PRUNE_AT_ONCE).await? == PRUNE_AT_ONCE as usize {}
            Ok::<_, JournalError>(())
        };
        if let Err(error) = pruned.await {
            tracing::error!(%error, "old CDRs or idempotency keys not removed");
        }
        if let Some(retention) = recordings
            && let Err(error) = recordings::prune(&journal, &folder, retention, PRUNE_AT_ONCE).await
        {
            tracing::error!(%error, "old recordings not removed");
        }
    }
}
