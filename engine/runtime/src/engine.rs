//! The handle: what the control API asks of the engine.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use control_api_types::flow::{Flow, Verb};
use control_api_types::{
    Bridge, BridgeCall, Call, CallId, CallStatus, CallTrace, Codec, CreateBridge, CreateCall, Cursor, Drain,
    Dtmf, Fault, Faults, FlowRef, FlowResource, FlowSummary, Gather, GiveFlow, HangupReason, JoinBridge,
    Limits, LimitsPatch, MuteDirection, Node, Page, Play, PlayId, Prompt, Say, Sound, Timestamp, Transfer,
    Trunk, TrunkSettings,
};
use engine_core::{Refusal, TrunkConfig};
use media_io::record::{RecordConfig, RecordError};
use sha2::Digest as _;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Reload;
use crate::endpoints::Changing;
use crate::events::{EventHub, Expired, Subscription};
use crate::flows::FlowStore;
use crate::http::Client;
use crate::journal::{self, Journal, JournalError, StoredAnswer};
use crate::prompts::{PromptError, PromptStore};
use crate::queues::QueueStore;
use crate::speech::{Speech, SpeechError};
use crate::task::Task;
use crate::trace;
use crate::trunks::TrunkStore;
use crate::webhooks::Webhooks;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine's own rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing of this kind has this name.
    #[error("there is no {kind} {name:?}")]
    NoSuch {
        /// What was asked for.
        kind: &'static str,
        /// Its id or name.
        name: String,
    },
    /// The journal could not read or write.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A prompt could not be taken.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A text could not be said.
    #[error(transparent)]
    Speech(#[from] SpeechError),
    /// The call's id was used before, by a request with another body.
    #[error("a call with this id and another body exists")]
    IdTaken,
    /// There is something of this name.
    #[error("the name is in use")]
    NameTaken,
    /// A cursor that no list of ours gave.
    #[error("this cursor is not one that this list gave")]
    BadCursor,
    /// A recording cannot begin.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The recording has not ended.
    #[error("the recording goes on: stop it first")]
    Recording,
    /// There are as many of these as may be.
    #[error("there are {most} {kind} already: delete one first")]
    TooMany {
        /// What, in the plural.
        kind: &'static str,
        /// How many.
        most: usize,
    },
    /// The system gave no random numbers.
    #[error("no random numbers from the system")]
    Random,
    /// More commands wait than may.
    #[error("the engine has more to do than it can take in")]
    Overloaded,
    /// The engine has stopped.
    #[error("the engine is stopping")]
    Stopping,
}

/// Which calls to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct CallQuery {
    /// Only calls with this status.
    pub status: Option<CallStatus>,
    /// Only those after this place, as [`Page::next_cursor`] told it.
    pub cursor: Option<String>,
    /// Most calls in the page.
    pub limit: u32,
}

/// Which CDRs to list, in order of ending.
#[derive(Clone, Debug, Default)]
pub struct CdrQuery {
    /// Only those after this place, as [`Page::next_cursor`] told it.
    pub cursor: Option<String>,
    /// Ended at or after this.
    pub from: Option<Timestamp>,
    /// Ended before this.
    pub to: Option<Timestamp>,
    /// Most calls in the page.
    pub limit: u32,
}

/// Something the engine's task does when it comes to it.
pub(crate) type Command = Box<dyn FnOnce(&mut Task, Instant) + Send>;

/// Commands that may wait. Originates are refused while fewer than [`RESERVED`] places are left, so that there is
/// always room for a hang-up.
pub(crate) const COMMANDS: usize = 8_192;
const RESERVED: usize = COMMANDS / 4;

/// A running engine; cheap to clone. It stops when [`Engine::shutdown`] has been called.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) journal: Journal,
    pub(crate) events: EventHub,
    pub(crate) prompts: PromptStore,
    pub(crate) flows: FlowStore,
    pub(crate) queues: QueueStore,
    pub(crate) changing_endpoints: Changing,
    pub(crate) trunks: TrunkStore,
    pub(crate) webhooks: Webhooks,
    /// Tells which URLs may be asked for.
    pub(crate) web: Client,
    pub(crate) speech: Arc<Speech>,
    /// How recordings are written.
    pub(crate) recordings: RecordConfig,
    /// Most calls that there are ports for.
    pub(crate) room: usize,
    /// The certificates of SIP.
    pub(crate) tls_files: sip_io::TlsFiles,
    /// Turns true when the task has ended.
    pub(crate) stopped: watch::Receiver<bool>,
    /// Turns true when the engine drains and has no call left.
    pub(crate) drained: watch::Receiver<bool>,
}

/// # Calls
impl Engine {
    /// Accepts a call; returns once it is in the journal, never waiting for the network. `false`: the same request
    /// was accepted before, and this is what became of it.
    pub async fn originate(&self, request: CreateCall) -> Result<(Call, bool), Error> {
        if let Some(FlowRef::Inline(flow)) = &request.flow {
            self.check_flow_urls("/flow", flow)?;
        }
        if let Some(url) = &request.webhook_url {
            self.check_url("/webhook_url", url)?;
        }
        let body_hash = body_hash(&request)?;
        let id = request.id.clone();
        if let Some(id) = &id
            && let Some(known) = self.known_call(id, body_hash).await?
        {
            return Ok((known, false));
        }
        if self.shared.commands.capacity() < RESERVED {
            return Err(Error::Overloaded);
        }
        let (tell, told) = oneshot::channel();
        self.send(Box::new(move |task, now| task.originate(now, request, body_hash, tell))).await?;
        match (told.await.map_err(|_| Error::Stopping)?, id) {
            (Ok(call), _) => Ok((call, true)),
            // Somebody was faster; if it was the same request, the journal has it by now.
            (Err(taken @ (Error::IdTaken | Error::Refused(Refusal::Conflict))), Some(id)) => {
                self.known_call(&id, body_hash).await?.map(|known| (known, false)).ok_or(taken)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The call that an earlier request with this id and body made, if any.
    async fn known_call(&self, id: &CallId, body_hash: [u8; 32]) -> Result<Option<Call>, Error> {
        match self.shared.journal.call(id.clone()).await? {
            None => Ok(None),
            Some(stored) if stored.body_hash == Some(body_hash) => {
                Ok(Some(self.live_call(id).await?.unwrap_or(stored.call)))
            }
            Some(_) => Err(Error::IdTaken),
        }
    }

    /// A call, live or ended.
    pub async fn call(&self, id: &CallId) -> Result<Option<Call>, Error> {
        if let Some(live) = self.live_call(id).await? {
            return Ok(Some(live));
        }
        Ok(self.shared.journal.call(id.clone()).await?.map(|stored| stored.call))
    }

    async fn live_call(&self, id: &CallId) -> Result<Option<Call>, Error> {
        let id = id.clone();
        self.ask(move |task, _| task.call(&id).cloned()).await
    }

    /// Calls, newest first.
    pub async fn calls(&self, query: CallQuery) -> Result<Page<Call>, Error> {
        let before = query.cursor.as_deref().map(parse_place).transpose()?;
        let limit = query.limit.saturating_add(1);
        let mut items = match query.status {
            // The journal has open calls as they were accepted: the engine knows how they stand now.
            Some(status) if !status.is_final() => self.live_calls(status, before, limit).await?,
            status => self.shared.journal.calls(journal::CallQuery { status, before, limit }).await?,
        };
        let more = items.len() > query.limit as usize;
        items.truncate(query.limit as usize);
        let next_cursor = items.last().filter(|_| more).map(place);
        let open: Vec<CallId> =
            items.iter().filter(|call| !call.status.is_final()).map(|call| call.id.clone()).collect();
        if query.status.is_none() && !open.is_empty() {
            let (live, arriving) = self
                .ask(move |task, _| {
                    let (arriving, here): (Vec<_>, Vec<_>) =
                        open.into_iter().partition(|id| task.is_arriving(id));
                    (here.iter().filter_map(|id| task.call(id).cloned()).collect::<Vec<_>>(), arriving)
                })
                .await?;
            items.retain(|item| !arriving.contains(&item.id));
            for call in live {
                if let Some(item) = items.iter_mut().find(|item| item.id == call.id) {
                    *item = call;
                }
            }
        }
        Ok(Page { items, next_cursor })
    }

    /// Live calls of this status, in the journal's order.
    async fn live_calls(
        &self,
        status: CallStatus,
        before: Option<(u64, String)>,
        limit: u32,
    ) -> Result<Vec<Call>, Error> {
        self.ask(move |task, _| {
            let place = |call: &Call| (call.created_at.unix_ms(), call.id.to_string());
            let is_wanted = |call: &&Call| {
                call.status == status
                    && !task.is_arriving(&call.id)
                    && before.as_ref().is_none_or(|before| place(call) < *before)
            };
            let mut calls: Vec<&Call> = task.core.calls().filter(is_wanted).collect();
            calls.sort_by_cached_key(|call| Reverse(place(call)));
            calls.into_iter().take(limit as usize).cloned().collect()
        })
        .await
    }

    /// The SIP messages of a call, as far as they are kept; `None` when none are.
    pub async fn trace(&self, id: &CallId) -> Result<Option<CallTrace>, Error> {
        Ok(self.kept(id).await?.map(|kept| trace::ladder(id, kept)))
    }

    /// The same as a capture file.
    pub async fn trace_pcap(&self, id: &CallId) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.kept(id).await?.map(|kept| trace::pcap(&kept)))
    }

    async fn kept(&self, id: &CallId) -> Result<Option<trace::Kept>, Error> {
        let id = id.clone();
        self.ask(move |task, _| task.trace.of(&id)).await
    }

    /// Ends a call. A call that has ended is returned as it is.
    pub async fn hangup(&self, id: &CallId, reason: HangupReason) -> Result<Call, Error> {
        let live = id.clone();
        match self.ask(move |task, now| task.core.hangup(now, &live, reason)).await? {
            Err(Refusal::NotFound) => self.call(id).await?.ok_or_else(|| no_such("call", id.as_str())),
            result => Ok(result?),
        }
    }

    /// Plays; what plays is replaced.
    pub async fn play(&self, id: &CallId, play: Play) -> Result<PlayId, Error> {
        self.check_urls("", play.source.sounds_at(""))?;
        self.command(id, move |task, now, id| task.core.play(now, id, play)).await
    }

    /// Stops what plays.
    pub async fn stop_play(&self, id: &CallId) -> Result<(), Error> {
        self.command(id, |task, now, id| task.core.stop_play(now, id)).await
    }

    /// Collects digits.
    pub async fn gather(&self, id: &CallId, gather: Gather) -> Result<(), Error> {
        self.check_urls("", gather.play.iter().flat_map(|play| play.source.sounds_at("/play")))?;
        self.command(id, move |task, now, id| task.core.gather(now, id, gather)).await
    }

    /// Whether what a flow plays and asks may be asked for, as far as that can be told now.
    fn check_flow_urls(&self, pointer: &str, flow: &Flow) -> Result<(), Error> {
        self.check_urls(pointer, flow.sounds())?;
        let mut faults = Faults::default();
        for (name, step) in &flow.steps {
            if let Verb::Webhook(webhook) = &step.verb
                && !webhook.url.contains(['{', '}'])
                && let Err(refused) = self.shared.web.check(&webhook.url)
            {
                faults.push(format!("{pointer}/steps/{name}/url"), refused);
            }
        }
        Ok(faults.into_result(Some(())).map_err(Refusal::Validation)?)
    }

    /// Whether the URLs among `sounds` may be asked for, as far as that can be told now: a name's address cannot. Those with
    /// variables in them are judged when they are played.
    pub(crate) fn check_urls<'a>(
        &self,
        pointer: &str,
        sounds: impl Iterator<Item = (String, &'a Sound)>,
    ) -> Result<(), Error> {
        let mut faults = Faults::default();
        for (at, sound) in sounds {
            if let Sound::Url { url } = sound
                && !url.contains(['{', '}'])
                && let Err(refused) = self.shared.web.check(url)
            {
                faults.push(format!("{pointer}{at}/url"), refused);
            }
        }
        Ok(faults.into_result(Some(())).map_err(Refusal::Validation)?)
    }

    /// Sends digits to the far side.
    pub async fn dtmf(&self, id: &CallId, dtmf: Dtmf) -> Result<(), Error> {
        self.command(id, move |task, now, id| task.core.dtmf(now, id, &dtmf)).await
    }

    /// Answers an inbound call.
    pub async fn answer(&self, id: &CallId) -> Result<(), Error> {
        self.command(id, |task, now, id| task.core.answer(now, id)).await
    }

    /// Lets an inbound call ring.
    pub async fn ring(&self, id: &CallId) -> Result<(), Error> {
        self.command(id, |task, now, id| task.core.ring(now, id)).await
    }

    /// Holds a call, or takes it back.
    pub async fn hold(&self, id: &CallId, on: bool) -> Result<(), Error> {
        self.command(id, move |task, now, id| task.core.hold(now, id, on)).await
    }

    /// Bridges a call with another.
    pub async fn bridge(&self, id: &CallId, request: BridgeCall) -> Result<(), Error> {
        self.command(id, move |task, now, id| task.core.bridge(now, id, &request)).await
    }

    /// Mutes a call, or ends that.
    pub async fn mute(&self, id: &CallId, direction: MuteDirection, on: bool) -> Result<(), Error> {
        self.command(id, move |task, now, id| task.core.mute(now, id, direction, on)).await
    }

    /// Makes a bridge.
    pub async fn create_bridge(&self, request: CreateBridge) -> Result<Bridge, Error> {
        Ok(self.ask(move |task, now| task.core.create_bridge(now, request)).await??)
    }

    /// Every bridge, by id.
    pub async fn bridges(&self) -> Result<Vec<Bridge>, Error> {
        self.ask(|task, _| task.core.bridges().collect()).await
    }

    /// A bridge.
    pub async fn bridge_by_id(&self, id: &str) -> Result<Option<Bridge>, Error> {
        let id = id.to_owned();
        self.ask(move |task, _| task.core.bridge_by_id(&id)).await
    }

    /// Takes a call into a bridge, or gives it another part in it.
    pub async fn join_bridge(&self, id: &str, request: JoinBridge) -> Result<Bridge, Error> {
        let bridge = id.to_owned();
        let joined = self.ask(move |task, now| task.core.join_bridge(now, &bridge, request)).await?;
        joined.map_err(|refusal| of_bridge(id, refusal))
    }

    /// Takes a call out of a bridge; `false`: it is not in it.
    pub async fn leave_bridge(&self, id: &str, call: &CallId) -> Result<bool, Error> {
        let (bridge, call) = (id.to_owned(), call.clone());
        let left = self.ask(move |task, now| task.core.leave_bridge(now, &bridge, &call)).await?;
        left.map_err(|refusal| of_bridge(id, refusal))
    }

    /// Ends a bridge; `false`: there is none.
    pub async fn delete_bridge(&self, id: &str) -> Result<bool, Error> {
        let id = id.to_owned();
        self.ask(move |task, now| task.core.delete_bridge(now, &id)).await
    }

    /// Gives an answered call a flow.
    pub async fn give_flow(&self, id: &CallId, given: GiveFlow) -> Result<Call, Error> {
        if let FlowRef::Inline(flow) = &given.flow {
            self.check_urls("/flow", flow.sounds())?;
        }
        self.command(id, move |task, now, id| task.core.give_flow(now, id, given)).await
    }

    /// Hands a call over.
    pub async fn transfer(&self, id: &CallId, transfer: Transfer) -> Result<(), Error> {
        self.command(id, move |task, now, id| task.core.transfer(now, id, &transfer)).await
    }

    /// Refuses an inbound call.
    pub async fn reject(&self, id: &CallId, status: u16) -> Result<(), Error> {
        self.command(id, move |task, now, id| task.core.reject(now, id, status)).await
    }

    /// A command on a live call: one that has ended is told apart from one that never was.
    pub(crate) async fn command<T: Send + 'static>(
        &self,
        id: &CallId,
        command: impl FnOnce(&mut Task, Instant, &CallId) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Error> {
        let live = id.clone();
        match self.ask(move |task, now| command(task, now, &live)).await? {
            Err(Refusal::NotFound) => match self.call(id).await? {
                Some(ended) => {
                    let Call { id: call, status, .. } = ended;
                    Err(Refusal::WrongState { call, status, need: "this needs a live call" }.into())
                }
                None => Err(no_such("call", id.as_str())),
            },
            result => Ok(result?),
        }
    }

    /// Ended calls in order of ending.
    pub async fn cdrs(&self, query: CdrQuery) -> Result<Page<Call>, Error> {
        let after = match &query.cursor {
            None => 0,
            Some(cursor) => cursor.parse().map_err(|_| Error::BadCursor)?,
        };
        let ms = |at: Timestamp| at.unix_ms();
        let stored = journal::CdrQuery {
            after,
            from_ms: query.from.map(ms),
            to_ms: query.to.map(ms),
            limit: query.limit,
        };
        let (items, last) = self.shared.journal.cdrs(stored).await?;
        // Also at the end: CDRs grow, and a reader that comes back asks for what ended since.
        let next_cursor = last.map(|place: i64| place.to_string()).or(query.cursor);
        Ok(Page { items, next_cursor })
    }
}

/// # Prompts and flows
impl Engine {
    /// Takes an audio file under a name.
    pub async fn add_prompt(&self, name: String, bytes: Bytes) -> Result<Prompt, Error> {
        let prompt = self.shared.prompts.add(name, bytes, now()).await?;
        let known = prompt.clone();
        self.ask(move |task, _| task.core.put_prompt(&known)).await?;
        Ok(prompt)
    }

    /// Says a text once and for all, under a name.
    pub async fn say_prompt(&self, name: String, say: &Say) -> Result<Prompt, Error> {
        let speech = &self.shared.speech;
        let utterance = engine_core::utterance(say, "/say", speech.voices()).map_err(Refusal::Validation)?;
        let file = speech.say(&utterance).await?;
        self.add_prompt(name, file).await
    }

    /// Every prompt, by name.
    pub fn prompts(&self) -> Vec<Prompt> {
        self.shared.prompts.list()
    }

    /// A prompt by name, or else by id.
    pub fn prompt(&self, id_or_name: &str) -> Option<Prompt> {
        self.shared.prompts.find(id_or_name)
    }

    /// What a customer hears of a prompt in a call of this codec, as a WAV file.
    pub async fn prompt_audio(&self, id_or_name: &str, codec: Codec) -> Result<Option<Bytes>, Error> {
        Ok(self.shared.prompts.audio(id_or_name, engine_core::codec_from_api(codec)).await?)
    }

    /// A prompt's file as it was uploaded.
    pub async fn prompt_file(&self, id_or_name: &str) -> Result<Option<Bytes>, Error> {
        let Some(prompt) = self.shared.prompts.find(id_or_name) else { return Ok(None) };
        Ok(Some(self.shared.prompts.original(&prompt.id).await?))
    }

    /// Forgets a prompt; `false` when there is none.
    pub async fn delete_prompt(&self, id_or_name: &str) -> Result<bool, Error> {
        let Some(prompt) = self.shared.prompts.delete(id_or_name).await? else { return Ok(false) };
        self.ask(move |task, _| task.core.delete_prompt(&prompt.name)).await?;
        Ok(true)
    }

    /// Stores a flow; calls that run keep the version they started with.
    pub async fn put_flow(&self, name: String, flow: Flow) -> Result<FlowResource, Error> {
        let _changing = self.shared.flows.changing.lock().await;
        self.check_flow_urls("", &flow)?;
        let flow = Arc::new(flow);
        let document = Arc::clone(&flow);
        self.ask(move |task, _| task.core.check_flow(&document)).await?.map_err(Refusal::Validation)?;
        let stored = self.shared.flows.put(&name, Arc::clone(&flow), now()).await?;
        // A prompt of it that was deleted meanwhile is missed when it is to be played.
        self.ask(move |task, _| task.core.put_flow(&name, flow)).await?.map_err(Refusal::Validation)?;
        Ok(stored)
    }

    /// Checks a flow against what is stored here, without keeping it.
    pub async fn check_flow(&self, flow: Flow) -> Result<(), Error> {
        self.check_flow_urls("", &flow)?;
        Ok(self.ask(move |task, _| task.core.check_flow(&flow)).await?.map_err(Refusal::Validation)?)
    }

    /// A stored flow.
    pub fn flow(&self, name: &str) -> Option<FlowResource> {
        self.shared.flows.find(name)
    }

    /// Every stored flow, by name.
    pub fn flows(&self) -> Vec<FlowSummary> {
        self.shared.flows.list()
    }

    /// Forgets a flow; `false` when there is none. Calls that run it go on.
    pub async fn delete_flow(&self, name: &str) -> Result<bool, Error> {
        let _changing = self.shared.flows.changing.lock().await;
        if self.shared.flows.find(name).is_none() {
            return Ok(false);
        }
        self.shared.flows.delete(name).await?;
        let name = name.to_owned();
        self.ask(move |task, _| task.core.delete_flow(&name)).await?;
        Ok(true)
    }
}

/// # Trunks
impl Engine {
    /// Every trunk, in the order in which they were made.
    pub async fn trunks(&self) -> Result<Vec<Trunk>, Error> {
        let trunks = self.ask(|task, now| task.core.trunks(now).collect::<Vec<_>>()).await?;
        Ok(trunks.into_iter().map(|trunk| self.shared.trunks.complete(trunk)).collect())
    }

    /// One trunk.
    pub async fn trunk(&self, name: &str) -> Result<Option<Trunk>, Error> {
        let name = name.to_owned();
        let trunk = self.ask(move |task, now| task.core.trunks(now).find(|trunk| trunk.name == name)).await?;
        Ok(trunk.map(|trunk| self.shared.trunks.complete(trunk)))
    }

    /// Makes a trunk; one of this name must not be there.
    pub async fn create_trunk(&self, settings: TrunkSettings) -> Result<Trunk, Error> {
        let _changing = self.shared.trunks.changing.lock().await;
        if self.shared.trunks.find(&settings.name).is_some() {
            return Err(Error::NameTaken);
        }
        self.change_trunk(settings).await
    }

    /// Makes a trunk, or changes the one of this name; its calls go on. What its registrar has refused is tried again.
    pub async fn put_trunk(&self, settings: TrunkSettings) -> Result<Trunk, Error> {
        let _changing = self.shared.trunks.changing.lock().await;
        self.change_trunk(settings).await
    }

    async fn change_trunk(&self, settings: TrunkSettings) -> Result<Trunk, Error> {
        let config = self.shared.trunks.config(&settings).map_err(Refusal::Validation)?;
        let checked = config.clone();
        self.ask(move |task, now| task.core.check_trunk(now, checked)).await?.map_err(refused)?;
        let name = settings.name.clone();
        self.shared.trunks.put(settings).await?;
        self.ask(move |task, now| task.core.put_trunk(now, config)).await?.map_err(refused)?;
        self.trunk(&name).await?.ok_or(Error::Refused(Refusal::NotFound))
    }

    /// Forgets a trunk; its calls go on. `false` when there is none.
    pub async fn delete_trunk(&self, name: &str) -> Result<bool, Error> {
        let _changing = self.shared.trunks.changing.lock().await;
        if self.shared.trunks.find(name).is_none() {
            return Ok(false);
        }
        self.shared.trunks.delete(name).await?;
        let name = name.to_owned();
        self.ask(move |task, now| task.core.delete_trunk(now, &name)).await
    }

    /// Lets a trunk take new calls, or no more; its calls go on. `None` when there is none.
    pub async fn enable_trunk(&self, name: &str, on: bool) -> Result<Option<Trunk>, Error> {
        let _changing = self.shared.trunks.changing.lock().await;
        let Some((_, settings)) = self.shared.trunks.find(name) else { return Ok(None) };
        self.shared.trunks.enable(name, on).await?;
        let config = self.shared.trunks.config_as_it_is(&settings).map_err(Refusal::Validation)?;
        self.ask(move |task, now| task.core.put_trunk(now, config)).await?.map_err(refused)?;
        self.trunk(name).await
    }

    /// Whether [`reload`](Self::reload) would take it; faults begin with the trunk that they are about.
    pub async fn check_reload(&self, reload: &Reload) -> Result<(), Error> {
        self.trunks_of(reload).await.map(drop)
    }

    async fn trunks_of(&self, reload: &Reload) -> Result<Vec<TrunkConfig>, Error> {
        let configs = self.shared.trunks.configs_of(reload).map_err(Refusal::Validation)?;
        let (checked, registrar) = (configs.clone(), reload.registrar.clone());
        self.ask(move |task, now| {
            task.core.check_endpoints(&registrar).map_err(refused)?;
            let mut trunks = checked.into_iter();
            trunks.try_for_each(|config| task.core.check_trunk(now, config)).map_err(refused)
        })
        .await??;
        Ok(configs)
    }

    /// Takes what the configuration file says now. Trunks of the file replace those that the API made or changed under
    /// their names; trunks that the file no longer has go. All of it or, if anything is wrong, nothing; calls go on.
    pub async fn reload(&self, reload: Reload) -> Result<(), Error> {
        let _changing = self.shared.trunks.changing.lock().await;
        let _changing_endpoints = self.shared.changing_endpoints.lock().await;
        let configs = self.trunks_of(&reload).await?;
        let Reload { trunks: settings, routes, limits, stir, registrar } = reload;
        let mut gone = self.shared.trunks.names_of_file();
        for settings in &settings {
            gone.remove(&settings.name);
        }
        self.shared.trunks.set_stir(stir.clone());
        self.ask(move |task, now| {
            task.core.set_endpoints(now, registrar).map_err(refused)?;
            for config in configs {
                task.core.put_trunk(now, config).map_err(refused)?;
            }
            for name in gone {
                task.core.delete_trunk(now, &name);
            }
            task.core.set_routes(now, routes);
            task.core.set_limits(now, limits);
            task.core.set_stir(stir);
            Ok::<_, Refusal>(())
        })
        .await??;
        Ok(self.shared.trunks.put_file(settings).await?)
    }

    /// Changes the limits; live calls above a lower one go on.
    pub async fn set_limits(&self, patch: LimitsPatch) -> Result<Limits, Error> {
        let room = self.shared.room;
        if patch.max_calls.is_some_and(|calls| calls as usize > room) {
            let detail = format!("must be at most {room}: [media] port_range has no ports for more");
            return Err(Refusal::Validation(vec![Fault { pointer: "/max_calls".into(), detail }]).into());
        }
        self.ask(move |task, now| {
            let limits = patch.apply(task.core.limits());
            task.core.set_limits(now, limits);
            limits
        })
        .await
    }
}

/// # The node
impl Engine {
    /// Reads events after `cursor`, or from now.
    pub fn subscribe(&self, cursor: Option<Cursor>) -> Result<Subscription, Expired> {
        self.shared.events.subscribe(cursor)
    }

    /// Takes no new calls from now on; live ones end by themselves or at the drain timeout.
    pub async fn drain(&self) -> Result<Drain, Error> {
        self.ask(|task, now| task.drain(now, true)).await
    }

    /// Takes calls again.
    pub async fn undrain(&self) -> Result<Drain, Error> {
        self.ask(|task, now| task.drain(now, false)).await
    }

    /// Whether the engine drains.
    pub async fn draining(&self) -> Result<Drain, Error> {
        self.ask(|task, _| task.drain_state()).await
    }

    /// Returns once the engine drains and its last call has ended and is in the journal.
    pub async fn drained(&self) {
        // An error means that the task is gone, and its calls with it.
        let _ = self.shared.drained.clone().wait_for(|drained| *drained).await;
    }

    /// This node: version, load, lateness.
    pub async fn node(&self) -> Result<Node, Error> {
        self.ask(|task, _| task.node_resource()).await
    }

    /// What this node may take on.
    pub async fn limits(&self) -> Result<Limits, Error> {
        self.ask(|task, _| task.core.limits()).await
    }

    /// Why the engine cannot take calls now; nothing when it can.
    pub async fn unready(&self) -> Vec<String> {
        match tokio::time::timeout(Duration::from_secs(1), self.draining()).await {
            Ok(Ok(Drain { draining: true, .. })) => vec!["the node drains".into()],
            Ok(Ok(Drain { draining: false, .. })) => Vec::new(),
            Ok(Err(error)) => vec![error.to_string()],
            Err(_) => vec!["the engine does not answer within a second".into()],
        }
    }

    /// Every figure, in the Prometheus text format.
    pub async fn metrics(&self) -> Result<String, Error> {
        self.ask(|task, now| task.metrics(now)).await
    }

    /// Keeps an HTTP answer under an idempotency key.
    pub async fn remember(&self, token: &str, key: &str, answer: StoredAnswer) -> Result<(), Error> {
        Ok(self.shared.journal.remember(token.to_owned(), key.to_owned(), answer, now().unix_ms()).await?)
    }

    /// The HTTP answer kept under an idempotency key.
    pub async fn recall(&self, token: &str, key: &str) -> Result<Option<StoredAnswer>, Error> {
        Ok(self.shared.journal.recall(token.to_owned(), key.to_owned(), now().unix_ms()).await?)
    }

    /// Takes up the certificates, keys and trusted issuers of SIP as their files have them now; calls and connections go
    /// on. With an error all stays as it was.
    pub async fn reload_certificates(&self) -> Result<(), sip_io::TlsError> {
        let files = self.shared.tls_files.clone();
        match tokio::task::spawn_blocking(move || files.reload()).await {
            Ok(reloaded) => reloaded,
            // It panicked, or the runtime ends: then nobody needs certificates.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Ok(()),
        }
    }

    /// Stops: live calls are hung up, registrations taken back, ends journalled. Returns when all of it is done.
    pub async fn shutdown(&self) {
        // An error means that the task is gone already.
        let _ = self.send(Box::new(|task, now| task.stop(now))).await;
        let _ = self.shared.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Task, Instant) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (tell, told) = oneshot::channel();
        // The asker may be gone by then: nobody is left to tell.
        self.send(Box::new(move |task, now| drop(tell.send(question(task, now))))).await?;
        told.await.map_err(|_| Error::Stopping)
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), Error> {
        self.shared.commands.send(command).await.map_err(|_| Error::Stopping)
    }
}

/// The wall clock, as the API writes it.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What only the engine could find wrong with a trunk or an endpoint.
fn no_such(kind: &'static str, name: &str) -> Error {
    Error::NoSuch { kind, name: name.to_owned() }
}

/// A command on a bridge was refused: what is not found is the bridge.
fn of_bridge(id: &str, refusal: Refusal) -> Error {
    if refusal == Refusal::NotFound { no_such("bridge", id) } else { refusal.into() }
}

fn refused(error: impl std::fmt::Display) -> Refusal {
    Refusal::Validation(vec![Fault { pointer: String::new(), detail: error.to_string() }])
}

fn body_hash(request: &CreateCall) -> Result<[u8; 32], JournalError> {
    let body = serde_json::to_vec(request)
        .map_err(|source| JournalError::Record { key: "originate request".into(), source })?;
    Ok(sha2::Sha256::digest(&body).into())
}

/// A call's place in the list of calls.
fn place(call: &Call) -> String {
    format!("{}-{}", call.created_at.unix_ms(), call.id)
}

pub(crate) fn parse_place(cursor: &str) -> Result<(u64, String), Error> {
    let (at, id) = cursor.split_once('-').ok_or(Error::BadCursor)?;
    // The journal counts in 63 bits.
    let at = at.parse::<i64>().ok().and_then(|at| u64::try_from(at).ok());
    Ok((at.ok_or(Error::BadCursor)?, id.to_owned()))
}
