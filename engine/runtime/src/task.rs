//! The task that owns the engine: feeds the core, does what it asks, and is alone in doing either.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::{
    Call, CallId, CreateCall, Disposition, Drain, Event, EventData, RouteAnswer, StepAnswer, Timestamp,
};
use engine_core::{BridgePlan, CallEvent, DoorNews, Input, MediaCommand, MediaInput, NoAnswer, Output};
use media_core::{BridgeId, LegId};
use media_io::record::{Recorded, Recorders};
use media_io::{LegEvent, Media};
use sip_io::{Inbox, Transports};
use tokio::sync::{mpsc, oneshot, watch};
use ulid::Ulid;

use crate::bridging::Bridging;
use crate::engine::{Command, Error};
use crate::events::EventHub;
use crate::handshakes::{Of, Shaker};
use crate::http::{Certificates, Fetched, Questions};
use crate::journal::{EndedCall, Journal, JournalError};
use crate::quality::Quality;
use crate::recordings;
use crate::sounds::{Loaded, Sounds, Step};
use crate::speech::Speech;
use crate::trace::{Captured, Hep, Trace};
use crate::webhooks::Webhooks;

/// Inputs handled before outputs are carried out: bounds how long a sent message waits behind arriving ones.
const BATCH: usize = 64;

/// How long ends that the journal refused wait before they are offered again.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// How long peers may take to answer when the engine stops: BYE, CANCEL, and withdrawn registrations. And then the journal.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the journal's thread tells when a group is committed.
#[derive(Debug)]
pub(crate) enum Journalled {
    /// `true`: written; `false`: the id was used before.
    Accepted(CallId, Result<bool, JournalError>),
    /// By its number in [`Task::ending`].
    Ended(u64, Result<(), JournalError>),
    /// The end of a recording.
    Recorded(Arc<str>, Result<(), JournalError>),
}

/// What was done away from the task: web servers have answered, sounds are ready.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A certificate, or none.
    Certificate(Fetched),
    /// What becomes of the call of this leg.
    Route(LegId, Result<RouteAnswer, NoAnswer>),
    /// How the flow of the call of this leg goes on, which asked this question.
    Step(LegId, u64, Result<StepAnswer, NoAnswer>),
    /// Something to play.
    Sound(Box<Loaded>),
    /// What a handshake with a browser wants done.
    Handshake(Of, media_dtls::Output),
}

/// An ended call on its way through the journal to its event.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) call: Box<Call>,
    pub(crate) seq: u64,
    pub(crate) at_unix_ms: u64,
}

/// An originate request whose call is not in the journal yet.
#[derive(Debug)]
struct Accepting {
    /// As it was accepted; the answer, should it end before the journal has it.
    call: Call,
    body_hash: [u8; 32],
    tell: oneshot::Sender<Result<Call, Error>>,
    /// Who has asked for the same meanwhile, and looks into the journal when it has the call.
    again: Vec<oneshot::Sender<Result<Call, Error>>>,
}

/// How many may ask for a call that the journal does not have yet: more are no retries of one client.
const MAX_AGAIN: usize = 16;

/// Where a life of the engine stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Running,
    /// Calls are hung up; when the last is in the journal, the task ends. At this moment nobody waits for peers any more.
    Stopping { until: Instant },
    /// Ends go to the journal; when the last is in it, or at this moment, the task ends.
    Leaving { until: Instant },
}

/// Everything the task owns.
pub(crate) struct Task {
    pub(crate) core: engine_core::Engine,
    pub(crate) transports: Transports,
    pub(crate) media: Media,
    pub(crate) journal: Journal,
    pub(crate) events: EventHub,
    pub(crate) sounds: Sounds,
    pub(crate) speech: Arc<Speech>,
    pub(crate) recorders: Recorders,
    pub(crate) shaker: Shaker,
    pub(crate) trace: Trace,
    pub(crate) hep: Option<Hep>,
    pub(crate) node: Arc<str>,
    pub(crate) started_at: Timestamp,
    /// The address that SDP tells, when it is not the one media is received at.
    pub(crate) media_public_ip: Option<IpAddr>,
    /// For the journal to answer by.
    pub(crate) journalled: mpsc::Sender<Journalled>,
    pub(crate) certificates: Certificates,
    pub(crate) questions: Questions,
    pub(crate) webhooks: Webhooks,
    /// Turns true when the engine drains and has no call left.
    pub(crate) drained: watch::Sender<bool>,
    pub(crate) state: State,
}

/// The end of something that the journal would not take.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// A call, by its number among those that end.
    Call(u64),
    /// A recording.
    Recording(Arc<str>),
}

/// What the task keeps track of.
#[derive(Default)]
pub(crate) struct State {
    accepting: HashMap<CallId, Accepting>,
    /// Inbound calls on their way into the journal: they take no commands yet, so nobody is shown them.
    arriving: BTreeSet<CallId>,
    /// Calls that the journal did not take: their ends are nobody's.
    refused: BTreeSet<CallId>,
    pub(crate) recordings: recordings::Live,
    /// How many calls came out how.
    pub(crate) ended: BTreeMap<Disposition, u64>,
    /// How their media were.
    pub(crate) quality: Quality,
    /// Ended calls that the journal does not have as such yet; bounded by the calls there may be.
    ending: BTreeMap<u64, Ended>,
    last_ending: u64,
    /// What it would not take; bounded like calls and recordings.
    unwritten: VecDeque<Unwritten>,
    retry_unwritten: Option<Instant>,
    /// Bridges that the media threads have not been told of.
    bridging: Bridging,
    pub(crate) panics: u64,
    draining_since: Option<Timestamp>,
    life: Life,
}

/// What the task listens to.
pub(crate) struct Sources {
    pub(crate) sip: Inbox,
    pub(crate) media: mpsc::Receiver<(LegId, LegEvent)>,
    pub(crate) journalled: mpsc::Receiver<Journalled>,
    pub(crate) recorded: mpsc::Receiver<Arc<Recorded>>,
    pub(crate) answers: mpsc::Receiver<Answer>,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Whether every handle is gone and every command done.
    pub(crate) abandoned: bool,
}

/// One thing that woke the task.
enum Woken {
    Sip(sip_core::Input),
    Media(LegId, LegEvent),
    Journalled(Journalled),
    Recorded(Arc<Recorded>),
    Answer(Answer),
    Command(Command),
    Timer,
    /// Every handle is gone.
    Abandoned,
}

impl Task {
    /// Runs until it has been told to stop and has done so.
    pub(crate) async fn run(mut self, mut sources: Sources) {
        self.carry_out();
        loop {
            let wake_at = self.wake_at();
            let woken = sources.next(wake_at).await;
            let now = Instant::now();
            self.handle(now, woken);
            for turn in 1..BATCH {
                let Some(next) = sources.try_next(turn) else { break };
                self.handle(now, next);
            }
            self.handle_timeouts(Instant::now());
            self.carry_out();
            if self.finished(Instant::now()) {
                break;
            }
        }
        self.transports.close().await;
    }

    fn wake_at(&self) -> Option<Instant> {
        let core = self.core.poll_timeout().map(|(at, _)| at);
        let life = match self.state.life {
            Life::Running => None,
            Life::Stopping { until } | Life::Leaving { until } => Some(until),
        };
        [core, self.state.retry_unwritten, self.state.bridging.due(), life].into_iter().flatten().min()
    }

    fn handle(&mut self, now: Instant, woken: Woken) {
        match woken {
            Woken::Sip(input) => {
                if let sip_core::Input::Message { hop, message } = &input
                    && self.sees_messages()
                {
                    self.saw(Captured::received(*hop, message));
                }
                self.input(now, Input::Sip(input));
            }
            Woken::Media(leg, event) => {
                let input = match event {
                    LegEvent::Media(event) => MediaInput::Event(event),
                    LegEvent::Closed(stats) => {
                        let steps = self.sounds.close(leg);
                        self.play(now, leg, steps);
                        self.shaker.ends(leg);
                        MediaInput::Closed(stats)
                    }
                };
                self.input(now, Input::Media { leg, input });
            }
            Woken::Journalled(journalled) => self.journalled(now, journalled),
            Woken::Recorded(recorded) => self.recorded(now, &recorded),
            Woken::Answer(Answer::Certificate(fetched)) => {
                let (legs, result) = self.certificates.fetched(now, fetched);
                for leg in legs {
                    self.input(now, Input::Certificate { leg, result: result.clone() });
                }
            }
            Woken::Answer(Answer::Sound(loaded)) => {
                for (leg, step) in self.sounds.loaded(now, *loaded) {
                    self.play(now, leg, [step]);
                }
            }
            Woken::Answer(Answer::Handshake(of, output)) => self.handshake(now, of, output),
            Woken::Answer(Answer::Route(leg, answer)) => {
                self.input(now, Input::RouteAnswered { leg, answer });
            }
            Woken::Answer(Answer::Step(leg, question, answer)) => {
                self.input(now, Input::StepAnswered { leg, question, answer });
            }
            Woken::Command(command) => {
                // A panic ends the one call the command was about, not the engine with all the others.
                if catch_unwind(AssertUnwindSafe(|| command(self, now))).is_err() {
                    self.panicked(now);
                }
                // What the next command asks for has been done then: whoever hangs up finds the call ended.
                self.carry_out();
            }
            Woken::Timer => {}
            Woken::Abandoned => self.stop(now),
        }
    }

    fn sees_messages(&self) -> bool {
        self.trace.is_on() || self.hep.is_some()
    }

    fn saw(&mut self, captured: Captured) {
        if let Some(hep) = &self.hep {
            hep.offer(captured.clone());
        }
        if self.trace.is_on() {
            self.trace.capture(captured);
        }
    }

    pub(crate) fn input(&mut self, now: Instant, input: Input) {
        if catch_unwind(AssertUnwindSafe(|| self.core.handle_input(now, input))).is_err() {
            self.panicked(now);
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        while self.core.poll_timeout().is_some_and(|(at, _)| at <= now) {
            if catch_unwind(AssertUnwindSafe(|| self.core.handle_timeout(now))).is_err() {
                self.panicked(now);
            }
        }
        if let Life::Stopping { until } = self.state.life
            && until <= now
        {
            self.core.stop_waiting(now);
            self.state.life = Life::Leaving { until: now + FAREWELL };
        }
        if self.state.bridging.due().is_some_and(|at| at <= now) {
            self.offer_bridges(now);
        }
        if self.state.retry_unwritten.is_some_and(|at| at <= now) {
            self.state.retry_unwritten = None;
            for unwritten in std::mem::take(&mut self.state.unwritten) {
                match unwritten {
                    Unwritten::Call(number) => self.write_end(number),
                    Unwritten::Recording(id) => self.write_recording(now, &id),
                }
            }
        }
    }

    /// Invariant 4 of the architecture: a panic while handling one input ends that call only.
    fn panicked(&mut self, now: Instant) {
        self.state.panics += 1;
        let call = self.core.current_call().cloned();
        tracing::error!(?call, "panic while handling an input; the call it was about ends as internal-error");
        if let Some(id) = call
            && catch_unwind(AssertUnwindSafe(|| self.core.abandon(now, &id))).is_err()
        {
            tracing::error!(call = %id, "panic while ending a call after a panic");
        }
    }

    /// Does everything the core wants done.
    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            let now = Instant::now();
            match output {
                Output::Transmit(transmit) => {
                    if self.sees_messages() {
                        self.saw(Captured::sent(&transmit));
                    }
                    if let Some(failed) = self.transports.transmit(transmit) {
                        self.input(now, Input::Sip(failed));
                    }
                }
                Output::Resolve { query, question } => {
                    if let Some(failed) = self.transports.resolve(query, question) {
                        self.input(now, Input::Sip(failed));
                    }
                }
                Output::Media { leg, command } => self.media(now, leg, command),
                Output::Bridge { bridge, plan } => self.bridge(now, bridge, plan),
                Output::Accept(call) => self.accept(now, &call),
                Output::FetchCertificate { leg, url } => {
                    if let Some(result) = self.certificates.ask(now, leg, url) {
                        self.input(now, Input::Certificate { leg, result });
                    }
                }
                Output::AskRoute { leg, url, timeout, call } => {
                    self.questions.ask_route(leg, url, timeout, call)
                }
                Output::AskStep { leg, question, url, timeout, call } => {
                    self.questions.ask_step(leg, question, url, timeout, call);
                }
                Output::Event(event) => self.publish_call_event(event),
                Output::Ended { call, seq, at_unix_ms } => {
                    self.trace.ended(&call.id);
                    if !self.state.refused.remove(&call.id) {
                        self.state.last_ending += 1;
                        self.state.ending.insert(self.state.last_ending, Ended { call, seq, at_unix_ms });
                        self.write_end(self.state.last_ending);
                    }
                }
                Output::Dialog { call, sip_call_id } => {
                    if self.trace.is_on() {
                        self.trace.belongs(&sip_call_id, &call);
                    }
                }
                Output::Door(DoorNews::Known(known)) => self.transports.set_known(*known),
                Output::Door(DoorNews::Refused(source)) => self.transports.offence(now, source),
                Output::Door(DoorNews::Proven(source)) => self.transports.trust(source),
                Output::NodeEvent { data, at_unix_ms } => self.publish_node_event(data, at_unix_ms),
            }
        }
        if self.state.draining_since.is_some() {
            let drained = self.idle();
            self.drained.send_if_modified(|told| std::mem::replace(told, drained) != drained);
        }
    }

    fn bridge(&mut self, now: Instant, bridge: BridgeId, plan: Option<BridgePlan>) {
        self.state.bridging.want(now, bridge, plan);
        self.offer_bridges(now);
    }

    /// Tells the media threads what bridges are to be, as far as they take it.
    fn offer_bridges(&mut self, now: Instant) {
        let media = &mut self.media;
        let failed = self.state.bridging.offer(now, |bridge, plan| match plan {
            Some(BridgePlan { members, keys }) => {
                media.bridge(bridge, media_io::BridgeConfig { members: members.clone(), keys: *keys })
            }
            None => media.unbridge(bridge),
        });
        for (bridge, error) in failed {
            let shown = self.core.bridge_by_number(bridge);
            let calls: Vec<&str> =
                shown.iter().flat_map(|it| &it.calls).map(|it| it.call_id.as_str()).collect();
            let id = shown.as_ref().map(|it| it.id.as_str());
            tracing::warn!(%error, bridge = id, ?calls, "the media threads do not make a bridge; it ends");
            self.input(now, Input::BridgeFailed { bridge });
        }
    }

    fn media(&mut self, now: Instant, leg: LegId, command: MediaCommand) {
        let done = match command {
            MediaCommand::Open => {
                let input = match self.media.open(leg) {
                    Ok(bound) => {
                        let ip = self.media_public_ip.unwrap_or(bound.ip());
                        MediaInput::Opened(SocketAddr::new(ip, bound.port()))
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no media for a call");
                        MediaInput::OpenFailed
                    }
                };
                return self.input(now, Input::Media { leg, input });
            }
            MediaCommand::Start { config, negotiated } => {
                if let Err(error) = self.shaker.starts(leg, negotiated.webrtc()) {
                    tracing::warn!(%error, "a call with a browser ends");
                    return self.input(now, Input::Media { leg, input: MediaInput::Lost });
                }
                self.media.command(leg, media_io::Command::Start { config, negotiated })
            }
            MediaCommand::Run(program) => {
                let steps = self.sounds.run(now, leg, program);
                return self.play(now, leg, steps);
            }
            MediaCommand::Classify(parameters) => {
                self.media.command(leg, media_io::Command::Classify(parameters))
            }
            MediaCommand::Answered => self.media.command(leg, media_io::Command::Answered),
            MediaCommand::StopPlay => match self.sounds.stop(leg) {
                Some(steps) => return self.play(now, leg, steps),
                None => self.media.command(leg, media_io::Command::StopPlay),
            },
            MediaCommand::ForgetKeys => self.media.command(leg, media_io::Command::ForgetKeys),
            MediaCommand::Press { digit, duration_ms } => {
                self.media.command(leg, media_io::Command::Press { digit, duration_ms })
            }
            MediaCommand::Record { track, recording, plan, beep } => {
                self.begin_recording(now, leg, track, *recording, plan, beep)
            }
            MediaCommand::PauseRecording(track, on) => self.pause_recording(leg, track, on),
            MediaCommand::StopRecording(track, reason) => self.stop_recording(leg, track, reason),
            MediaCommand::Dial(dial) => self.media.command(leg, media_io::Command::Dial(dial)),
            MediaCommand::Close => {
                let steps = self.sounds.close(leg);
                self.play(now, leg, steps);
                self.shaker.ends(leg);
                self.media.command(leg, media_io::Command::Close)
            }
        };
        self.commanded(now, leg, done);
    }

    /// Does what a handshake with a browser wants done.
    fn handshake(&mut self, now: Instant, of: Of, output: media_dtls::Output) {
        // What a leg wants whose descriptions have changed since, or that is over, is nobody's any more.
        if !self.shaker.awaits(of) {
            return;
        }
        let Of { leg, .. } = of;
        match output {
            media_dtls::Output::Send(datagram) => {
                if let Err(error) = self.media.command(leg, media_io::Command::Handshake(datagram)) {
                    // Like one that is lost on the way: it is sent again.
                    tracing::debug!(%error, "a datagram of a DTLS handshake is not sent");
                }
            }
            media_dtls::Output::Secured(keys) => {
                let suite = keys.suite();
                let done = self.media.command(leg, media_io::Command::Secure(keys));
                if done.is_ok() {
                    self.input(now, Input::Media { leg, input: MediaInput::Secured(suite) });
                }
                self.commanded(now, leg, done);
            }
            media_dtls::Output::Failed(failure) => {
                tracing::warn!(%failure, "a browser's media gets no keys; its call ends");
                let why = failure.to_string();
                self.input(now, Input::Media { leg, input: MediaInput::Unsecured { why } });
            }
        }
    }

    /// Does what the sounds of a leg's program want done.
    fn play(&mut self, now: Instant, leg: LegId, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            match step {
                Step::Run(program) => {
                    let done = self.media.command(leg, media_io::Command::Run(program));
                    self.commanded(now, leg, done);
                }
                Step::Tell(input) => self.input(now, Input::Media { leg, input }),
            }
        }
    }

    fn commanded(&mut self, now: Instant, leg: LegId, done: Result<(), media_io::Error>) {
        if let Err(error) = done {
            tracing::warn!(%error, "a media thread does not take a command; its call ends");
            self.input(now, Input::Media { leg, input: MediaInput::Lost });
        }
    }

    pub(crate) fn originate(
        &mut self,
        now: Instant,
        mut request: CreateCall,
        body_hash: [u8; 32],
        tell: oneshot::Sender<Result<Call, Error>>,
    ) {
        let id = match &request.id {
            Some(id) => id.clone(),
            None => new_call_id(),
        };
        if let Some(accepting) = self.state.accepting.get_mut(&id) {
            return match accepting.body_hash == body_hash && accepting.again.len() < MAX_AGAIN {
                true => accepting.again.push(tell),
                false => drop(tell.send(Err(Error::IdTaken))),
            };
        }
        let webhook = (request.webhook_url.take(), request.webhook_secret.take());
        match self.core.originate(now, id.clone(), request) {
            Ok(call) => {
                if let (Some(url), secret) = webhook {
                    self.webhooks.of_call(&id, url, secret);
                }
                let accepting = Accepting { call, body_hash, tell, again: Vec::new() };
                self.state.accepting.insert(id, accepting);
            }
            // The asker may be gone: a refusal changes nothing then.
            Err(refusal) => drop(tell.send(Err(refusal.into()))),
        }
    }

    fn accept(&mut self, now: Instant, call: &Call) {
        let id = call.id.clone();
        let body_hash = self.state.accepting.get(&id).map(|accepting| accepting.body_hash);
        if body_hash.is_none() {
            self.state.arriving.insert(id.clone());
        }
        let (told, key) = (self.journalled.clone(), id.clone());
        let submitted = self.journal.accept(call, body_hash, move |result| {
            // The engine's task outlives the journal's writer: only a stopped engine does not listen.
            drop(told.blocking_send(Journalled::Accepted(key, result)));
        });
        if let Err(error) = submitted {
            self.journalled(now, Journalled::Accepted(id, Err(error)));
        }
    }

    fn write_end(&mut self, number: u64) {
        let Some(ended) = self.state.ending.get(&number) else { return };
        let json = match serde_json::to_string(&*ended.call) {
            Ok(json) => json,
            Err(error) => {
                self.state.ending.remove(&number);
                return tracing::error!(%error, "a CDR does not serialise");
            }
        };
        let row = EndedCall {
            id: ended.call.id.clone(),
            status: ended.call.status,
            json,
            ended_at_ms: ended.at_unix_ms,
        };
        let told = self.journalled.clone();
        let submitted = self.journal.end(row, move |result| {
            drop(told.blocking_send(Journalled::Ended(number, result.map(drop))));
        });
        if let Err(error) = submitted {
            self.keep_unwritten(number, &error);
        }
    }

    fn keep_unwritten(&mut self, number: u64, error: &JournalError) {
        let call = self.state.ending.get(&number).map(|ended| ended.call.id.as_str());
        tracing::error!(%error, call, "the end of a call is not in the journal; trying again");
        self.offer_again(Unwritten::Call(number));
    }

    /// It is offered to the journal again in a while.
    pub(crate) fn offer_again(&mut self, unwritten: Unwritten) {
        self.state.unwritten.push_back(unwritten);
        self.state.retry_unwritten.get_or_insert_with(|| Instant::now() + JOURNAL_RETRY);
    }

    /// A call that is live, or whose end the journal does not have yet.
    pub(crate) fn call(&self, id: &CallId) -> Option<&Call> {
        let ending =
            || self.state.ending.values().rev().map(|ended| &*ended.call).find(|call| call.id == *id);
        self.core.call(id).or_else(ending)
    }

    /// Whether this call is still on its way into the journal, which may show it already.
    pub(crate) fn is_arriving(&self, id: &CallId) -> bool {
        self.state.arriving.contains(id)
    }

    fn journalled(&mut self, now: Instant, journalled: Journalled) {
        match journalled {
            Journalled::Accepted(id, result) => {
                let accepting = self.state.accepting.remove(&id);
                self.state.arriving.remove(&id);
                let refusal = match result {
                    Ok(true) => {
                        self.input(now, Input::Accepted { call: id });
                        None
                    }
                    Ok(false) => {
                        self.discard(now, id);
                        Some(Error::IdTaken)
                    }
                    Err(error) => {
                        tracing::error!(%error, call = %id, "a call is refused: the journal does not take it");
                        self.discard(now, id);
                        Some(error.into())
                    }
                };
                if let Some(Accepting { call, tell, again, .. }) = accepting {
                    drop(tell.send(refusal.map_or(Ok(call), Err)));
                    for tell in again {
                        drop(tell.send(Err(Error::IdTaken)));
                    }
                }
            }
            Journalled::Recorded(id, result) => self.recording_journalled(now, &id, result),
            Journalled::Ended(number, Err(error)) => self.keep_unwritten(number, &error),
            Journalled::Ended(number, Ok(())) => {
                let Some(ended) = self.state.ending.remove(&number) else { return };
                // One that ended before the journal refused it was not written.
                if !self.state.refused.remove(&ended.call.id) {
                    self.publish_end(ended);
                }
            }
        }
    }

    /// Forgets a call that the journal did not take: it never was.
    fn discard(&mut self, now: Instant, id: CallId) {
        self.core.abandon(now, &id);
        self.webhooks.call_is_over(&id);
        self.state.refused.insert(id);
    }

    fn publish_call_event(&self, event: CallEvent) {
        let CallEvent { call, client_state, seq, at_unix_ms, data } = event;
        tracing::info!(call_id = %call, kind = data.kind(), "call");
        self.publish(Some(call), client_state, Some(seq), at_unix_ms, data);
    }

    fn publish_end(&mut self, ended: Ended) {
        let Ended { call, seq, at_unix_ms } = ended;
        if let Some(disposition) = call.disposition {
            *self.state.ended.entry(disposition).or_default() += 1;
        }
        if let Some(media) = &call.media {
            self.state.quality.record(media);
        }
        let disposition = call.disposition.map_or("", Disposition::as_str);
        tracing::info!(call_id = %call.id, disposition, sip_status = call.sip_status, "call ended");
        let (id, client_state) = (call.id.clone(), call.client_state.clone());
        self.publish(Some(id.clone()), client_state, Some(seq), at_unix_ms, EventData::CallEnded(call));
        self.webhooks.call_is_over(&id);
    }

    fn publish_node_event(&self, data: EventData, at_unix_ms: u64) {
        if let EventData::TrunkRejected { trunk, sip_status } = &data {
            tracing::warn!(
                trunk,
                sip_status,
                "trunk is rejected (check username and password); not retrying"
            );
        } else if let EventData::TrunkDown { trunk, reason } = &data {
            tracing::warn!(trunk, reason, "trunk is down");
        } else if let EventData::TrunkUp { trunk } = &data {
            tracing::info!(trunk, "trunk is up");
        } else {
            tracing::info!(kind = data.kind(), "node");
        }
        self.publish(None, None, None, at_unix_ms, data);
    }

    fn publish(
        &self,
        call_id: Option<CallId>,
        client_state: Option<Arc<str>>,
        seq: Option<u64>,
        at_unix_ms: u64,
        data: EventData,
    ) {
        let event = self.events.publish(|cursor| Event {
            id: Ulid::generate().to_string(),
            cursor,
            seq,
            data,
            occurred_at: Timestamp::from_unix_ms(at_unix_ms),
            node: Arc::clone(&self.node),
            call_id,
            client_state,
        });
        self.webhooks.offer(&event);
    }

    pub(crate) fn drain(&mut self, now: Instant, on: bool) -> Drain {
        if on != self.state.draining_since.is_some() {
            self.core.drain(now, on);
            let at = crate::engine::now();
            self.state.draining_since = on.then_some(at);
            if !on {
                tracing::info!("taking calls again");
                self.drained.send_replace(false);
            }
        }
        self.drain_state()
    }

    pub(crate) fn drain_state(&self) -> Drain {
        Drain {
            draining: self.state.draining_since.is_some(),
            since: self.state.draining_since,
            live_calls: self.core.load().live,
        }
    }

    pub(crate) fn stop(&mut self, now: Instant) {
        match self.state.life {
            Life::Running => {
                self.state.life = Life::Stopping { until: now + FAREWELL };
                self.core.stop(now);
            }
            Life::Stopping { .. } | Life::Leaving { .. } => {}
        }
    }

    /// Whether no call is left anywhere: not live, not on its way into or out of the journal.
    fn idle(&self) -> bool {
        let load = self.core.load();
        load.live == 0 && load.queued == 0 && self.state.accepting.is_empty() && self.state.ending.is_empty()
    }

    fn finished(&self, now: Instant) -> bool {
        match self.state.life {
            Life::Running => false,
            Life::Stopping { .. } => self.idle() && self.core.is_stopped(),
            Life::Leaving { until } => self.idle() || now >= until,
        }
    }
}

impl Sources {
    async fn next(&mut self, wake_at: Option<Instant>) -> Woken {
        let timer = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        // Unbiased: whichever is ready, by chance.
        tokio::select! {
            Some(journalled) = self.journalled.recv() => Woken::Journalled(journalled),
            Some(recorded) = self.recorded.recv() => Woken::Recorded(recorded),
            Some((leg, event)) = self.media.recv() => Woken::Media(leg, event),
            Some(answer) = self.answers.recv() => Woken::Answer(answer),
            Some(input) = self.sip.recv() => Woken::Sip(input),
            command = self.commands.recv(), if !self.abandoned => match command {
                Some(command) => Woken::Command(command),
                None => {
                    self.abandoned = true;
                    Woken::Abandoned
                }
            },
            () = timer => Woken::Timer,
        }
    }

    /// What is there already; `turn` says whose turn it is first, so that no source starves the others.
    fn try_next(&mut self, turn: usize) -> Option<Woken> {
        (0..6).find_map(|step| match (turn + step) % 6 {
            0 => self.journalled.try_recv().ok().map(Woken::Journalled),
            1 => self.media.try_recv().ok().map(|(leg, event)| Woken::Media(leg, event)),
            2 => self.answers.try_recv().ok().map(Woken::Answer),
            3 => self.sip.try_recv().map(Woken::Sip),
            4 => self.recorded.try_recv().ok().map(Woken::Recorded),
            _ => self.commands.try_recv().ok().map(Woken::Command),
        })
    }
}

fn new_call_id() -> CallId {
    #[expect(clippy::expect_used, reason = "a ULID is 26 characters of A-Z and 0-9")]
    CallId::new(&Ulid::generate().to_string()).expect("a ULID is an id")
}
