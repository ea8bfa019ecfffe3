//! The media side of a call: its leg, the programs that run on it, and the flow that waits for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::event::{DtmfMethod, GatherEnd, PlayEnd};
use control_api_types::flow::{Flow, Outcome};
use control_api_types::{EndedBy, EventData, Gather, Play, PlayId, Source, Variable};
use media_core::dtmf::{DialEnd, Method};
use media_core::{Collect, CollectEnd, Digit, Digits, MediaEvent, MediaStats, Program};
use sip_core::{Reason, ReasonProtocol};

use super::recording::MAX_RECORDINGS;
use super::{Context, LiveCall, State, Wish};
use crate::disposition::Evidence;
use crate::flow::{Next, Run};
use crate::io::{MediaCommand, MediaInput, Refusal};
use crate::keypress::Keypress;
use crate::prompt::Playlist;
use crate::timers::CallTimer;
use crate::variables;

/// Most programs whose end the media shell has not told yet. Each replaces the one before, so more than two are a
/// flood of commands.
const MAX_PROGRAMS: usize = 32;

/// Why digits are gathered and not kept.
const TOO_MANY_VARIABLES: &str =
    "the call has as many variables as it may have (256, 64 KiB): the digits are in no variable";

/// A media thread tells the end of what was replaced within milliseconds.
const PROGRAMS_RETRY: Duration = Duration::from_secs(1);

/// The media leg.
#[derive(Debug)]
pub(super) enum Media {
    /// There is none yet.
    None,
    Opening,
    Open,
    Running,
    /// Told to close; `ran` tells whether its statistics mean anything.
    Closing {
        ran: bool,
    },
    /// Closed, with the totals if it ran.
    Gone(Option<MediaStats>),
}

impl Media {
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::None | Self::Gone(_) => true,
            Self::Opening | Self::Open | Self::Running | Self::Closing { .. } => false,
        }
    }

    pub(super) fn stats(&self) -> Option<&MediaStats> {
        match self {
            Self::Gone(stats) => stats.as_ref(),
            Self::None | Self::Opening | Self::Open | Self::Running | Self::Closing { .. } => None,
        }
    }
}

/// What an answered call does.
#[derive(Debug)]
pub(super) enum Activity {
    /// What the API says.
    Parked,
    /// What its flow says.
    Flow { run: Run, awaits: Awaits },
}

/// What a flow goes on after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaits {
    /// The end of a pause, or the API.
    Nothing,
    /// The end of this program.
    Program(u64),
    /// Word of who answered, and then, of a machine, perhaps its beep.
    Verdict { wait_for_beep: Option<Duration> },
    /// A machine's beep, or the end of the wait for it.
    Beep,
    /// The answer of a web server to this question.
    Answer(u64),
    /// Somebody who picks it from a queue, or its patience.
    Queue,
    /// The end of this program, which tells the caller that he will be called back.
    Notice(u64),
}

/// The programs that were started and have not told their end.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub(super) last: u64,
    /// The one that the leg was given last.
    pub(super) given: u64,
    /// Boxed: a node of the map has room for eleven, and most calls have one.
    running: BTreeMap<u64, Box<Running>>,
}

#[derive(Debug)]
struct Running {
    /// What plays, as it was asked for; `None` once it is over.
    play: Option<Source>,
    /// What is gathered; `None` once it is over.
    gather: Option<Gather>,
    owner: Owner,
}

/// Who wants to know how a program ends.
#[derive(Debug, Clone)]
pub(super) enum Owner {
    Api,
    Step(String),
}

impl LiveCall {
    /// Something happened to the media leg.
    pub(crate) fn on_media(&mut self, ctx: &mut Context<'_>, input: MediaInput) {
        match input {
            MediaInput::Opened(addr) => {
                if let Media::Opening = self.media {
                    self.media = Media::Open;
                    self.opened(ctx, addr);
                }
            }
            MediaInput::OpenFailed => {
                self.media = Media::Gone(None);
                match self.state {
                    State::Ending(_) => self.finish_if_released(ctx),
                    State::Opening(_) => {
                        self.record.sip_reason = Some("No Media Port".to_owned());
                        self.release_sessions(ctx, Some(503), None);
                        self.end(ctx, Evidence::Limit, EndedBy::Engine);
                    }
                    State::Accepting(_)
                    | State::Queued(_)
                    | State::Inviting(_)
                    | State::Screening(_)
                    | State::Offered(_)
                    | State::Answering(_) => {}
                    State::Connected(_) | State::Over => {}
                }
            }
            MediaInput::Event(event) => self.on_media_event(ctx, event),
            MediaInput::Unplayable { play, why } => self.unplayable(ctx, play, &why),
            MediaInput::Recorded(recording) => self.recorded(ctx, *recording),
            MediaInput::Secured(suite) => self.record.srtp = Some(suite.name().to_owned()),
            MediaInput::Unsecured { why } => self.unsecured(ctx, why),
            // If it was the command to close, the release timer ends the wait for its answer.
            MediaInput::Lost => self.media_failed(ctx),
            MediaInput::Closed(stats) => {
                let ran = matches!(self.media, Media::Running | Media::Closing { ran: true });
                self.media = Media::Gone(ran.then_some(stats));
                self.media_failed(ctx);
                self.finish_if_released(ctx);
            }
        }
    }

    /// A browser's media has no keys, and will have none.
    fn unsecured(&mut self, ctx: &mut Context<'_>, why: String) {
        let evidence = match self.state {
            State::Connected(_) => Evidence::Answered,
            State::Inviting(_) => Evidence::Incompatible,
            State::Accepting(_)
            | State::Queued(_)
            | State::Opening(_)
            | State::Screening(_)
            | State::Offered(_)
            | State::Answering(_)
            | State::Ending(_)
            | State::Over => return,
        };
        // ITU-T Q.850: 41 is "temporary failure".
        let reason = Reason { protocol: ReasonProtocol::Q850, cause: 41, text: Some(why.clone()) };
        self.record.sip_reason = Some(why);
        self.release_sessions(ctx, None, Some(reason));
        self.end(ctx, evidence, EndedBy::Engine);
    }

    /// The leg is of no use any more: a call that does not end yet ends now, and not in silence.
    fn media_failed(&mut self, ctx: &mut Context<'_>) {
        match self.state {
            State::Ending(_) | State::Over => {}
            State::Accepting(_)
            | State::Queued(_)
            | State::Opening(_)
            | State::Inviting(_)
            | State::Screening(_)
            | State::Offered(_)
            | State::Answering(_)
            | State::Connected(_) => {
                self.release_sessions(ctx, Some(500), None);
                self.end(ctx, Evidence::Internal, EndedBy::Engine);
            }
        }
    }

    pub(super) fn close_media(&mut self, ctx: &mut Context<'_>) {
        self.stop_dialling(ctx);
        match self.media {
            Media::None | Media::Closing { .. } | Media::Gone(_) => {}
            Media::Opening | Media::Open | Media::Running => {
                self.media = Media::Closing { ran: matches!(self.media, Media::Running) };
                ctx.media(self.leg, MediaCommand::Close);
            }
        }
    }

    fn on_media_event(&mut self, ctx: &mut Context<'_>, event: MediaEvent) {
        match event {
            MediaEvent::Digit { digit, duration_ms, method } => {
                let method = match method {
                    Method::Events => DtmfMethod::Rfc4733,
                    Method::Tones => DtmfMethod::Inband,
                    Method::Info => DtmfMethod::Info,
                };
                let duration_ms = u32::from(duration_ms);
                self.emit(ctx, EventData::CallDtmf { digit: digit.as_char(), method, duration_ms });
                self.queue_key(ctx, digit.as_char());
            }
            MediaEvent::DialEnded { id, reason, sent } => {
                self.dial_ended(ctx, id, usize::from(sent), reason == DialEnd::Completed);
            }
            MediaEvent::PeerSilent { seconds } => self.peer_silent(ctx, seconds),
            MediaEvent::PlayStarted { id } => {
                if let Some(source) = self.programs.running.get(&id).and_then(|running| running.play.clone())
                {
                    self.emit(ctx, EventData::CallPlayStarted { play_id: play_id(id), source });
                }
            }
            MediaEvent::PlayEnded { id, reason, played_ms } => {
                let reason = match reason {
                    media_core::PlayEnd::Completed => PlayEnd::Completed,
                    media_core::PlayEnd::Stopped => PlayEnd::Stopped,
                    media_core::PlayEnd::BargeIn => PlayEnd::BargeIn,
                    media_core::PlayEnd::Hangup => PlayEnd::Hangup,
                    media_core::PlayEnd::WrongCodec => PlayEnd::Error,
                };
                let played_ms = u64::from(played_ms);
                let play_id = play_id(id);
                self.play_over(ctx, id, EventData::CallPlayEnded { play_id, reason, played_ms, error: None });
                self.queue_played(ctx, id, played_ms);
            }
            MediaEvent::CollectEnded { id, reason, .. } if self.recordings.collects(id) => {
                self.recording_collect_ended(ctx, id, reason);
            }
            MediaEvent::CollectEnded { id, digits, reason } => self.collect_ended(ctx, id, digits, reason),
            MediaEvent::Classified(finding) => self.classified(ctx, finding),
        }
    }

    /// The peer is gone without a word, or its media are: an answered call is ended, and the record and the BYE say why. One
    /// that is not answered has its own time-outs.
    fn peer_silent(&mut self, ctx: &mut Context<'_>, seconds: u32) {
        let State::Connected(_) = self.state else { return };
        self.record.sip_reason = Some("rtp-timeout".to_owned());
        let text = Some(format!("no RTP for {seconds} s"));
        // ITU-T Q.850: 102 is "recovery on timer expiry".
        self.release_sessions(ctx, None, Some(Reason { protocol: ReasonProtocol::Q850, cause: 102, text }));
        self.end(ctx, Evidence::Answered, EndedBy::Engine);
    }

    /// A key that the peer tells of by SIP counts like one in the media, once there is media for it to count in. The leg
    /// knows whether it has heard it already: many gateways send both.
    pub(super) fn pressed(&mut self, ctx: &mut Context<'_>, key: Keypress) {
        let Media::Running = self.media else { return };
        let Keypress { digit, duration_ms } = key;
        ctx.media(self.leg, MediaCommand::Press { digit, duration_ms });
    }

    /// A play is over, as `ended` tells.
    fn play_over(&mut self, ctx: &mut Context<'_>, id: u64, ended: EventData) {
        let Some(running) = self.programs.running.get_mut(&id) else { return };
        if running.play.take().is_none() {
            return;
        }
        let done = running.gather.is_none();
        if done {
            self.programs.running.remove(&id);
        }
        self.emit(ctx, ended);
        if done {
            self.flow_goes_on(ctx, id, Outcome::Done);
            self.music_again(ctx, id);
        }
    }

    /// What was to be played could not be had: the gather beside it goes on in silence.
    fn unplayable(&mut self, ctx: &mut Context<'_>, id: u64, why: &str) {
        let gather = self.programs.running.get_mut(&id).and_then(|running| running.gather.take());
        let owner = self.programs.running.get(&id).map(|running| running.owner.clone());
        match (gather, owner) {
            (Some(gather), Some(owner)) => {
                self.programs.running.remove(&id);
                self.emit(ctx, unplayed(id, why));
                if self.is_conversing() {
                    self.gather_again(ctx, id, Gather { play: None, ..gather }, owner);
                }
            }
            (_, _) => {
                self.play_over(ctx, id, unplayed(id, why));
                self.queue_played(ctx, id, 0);
            }
        }
    }

    fn collect_ended(&mut self, ctx: &mut Context<'_>, id: u64, digits: Digits, reason: CollectEnd) {
        let Some(running) = self.programs.running.get_mut(&id) else { return };
        let Some(gather) = running.gather.take() else { return };
        let owner = running.owner.clone();
        if running.play.is_none() {
            self.programs.running.remove(&id);
        }
        let digits = digits.to_string();
        let reason = match reason {
            CollectEnd::Max => GatherEnd::Max,
            CollectEnd::Terminator => GatherEnd::Terminator,
            CollectEnd::Timeout => GatherEnd::Timeout,
            CollectEnd::InterDigit => GatherEnd::InterDigit,
            CollectEnd::Stopped => GatherEnd::Stopped,
            CollectEnd::Hangup => GatherEnd::Hangup,
        };
        let entered = match reason {
            GatherEnd::Max | GatherEnd::Terminator | GatherEnd::InterDigit | GatherEnd::Timeout => {
                digits.len() >= usize::from(gather.min)
            }
            GatherEnd::Stopped | GatherEnd::Hangup => {
                return self.gather_over(ctx, &owner, digits, reason, None);
            }
        };
        if gather.retries > 0 && !(entered && self.expects(&owner, &digits)) && self.is_conversing() {
            let gather = Gather { retries: gather.retries - 1, ..gather };
            return self.gather_again(ctx, id, gather, owner);
        }
        let kept = self.keep_digits(&gather, &owner, entered.then_some(digits.as_str()));
        let error = kept.is_err().then(|| TOO_MANY_VARIABLES.to_owned());
        self.gather_over(ctx, &owner, digits.clone(), reason, error);
        // What runs away is a flow: what the API gathers is told by the event.
        if let (Err(variables::TooMany), Owner::Step(_)) = (kept, &owner) {
            return self.flow_limit(ctx);
        }
        let outcome = if entered { Outcome::Digits(&digits) } else { Outcome::Timeout };
        self.flow_goes_on(ctx, id, outcome);
    }

    fn gather_over(
        &mut self,
        ctx: &mut Context<'_>,
        owner: &Owner,
        digits: String,
        reason: GatherEnd,
        error: Option<String>,
    ) {
        let step = match owner {
            Owner::Api => None,
            Owner::Step(step) => Some(step.clone()),
        };
        self.emit(ctx, EventData::CallGatherEnded { step, digits, reason, error });
    }

    /// Sets `{step.digits}` and the variable of `save_as`, or removes what an earlier entry has left there.
    fn keep_digits(
        &mut self,
        gather: &Gather,
        owner: &Owner,
        digits: Option<&str>,
    ) -> Result<(), variables::TooMany> {
        let of_step = match owner {
            Owner::Api => None,
            Owner::Step(step) => Some(format!("{step}.digits")),
        };
        for name in of_step.into_iter().chain(gather.save_as.clone()) {
            match digits {
                Some(digits) => variables::set(&mut self.record, vec![(name, Variable::from(digits))])?,
                None => drop(self.record.variables.remove(&name)),
            }
        }
        Ok(())
    }

    /// Whether the flow has a use for `digits`; the API takes whatever comes.
    fn expects(&self, owner: &Owner, digits: &str) -> bool {
        match (owner, &self.state) {
            (Owner::Step(_), State::Connected(Activity::Flow { run, .. })) => run.expects(digits),
            (Owner::Step(_) | Owner::Api, _) => true,
        }
    }

    fn gather_again(&mut self, ctx: &mut Context<'_>, before: u64, gather: Gather, owner: Owner) {
        if self.programs.given != before {
            // A newer command has its place.
            self.gather_over(ctx, &owner, String::new(), GatherEnd::Stopped, None);
            return self.flow_goes_on(ctx, before, Outcome::Timeout);
        }
        let again = self.launch(ctx, gather.play.clone(), Some(gather), owner);
        if let State::Connected(Activity::Flow { awaits, .. }) = &mut self.state
            && *awaits == Awaits::Program(before)
        {
            *awaits = again.map_or(Awaits::Nothing, Awaits::Program);
        }
    }

    /// Starts a program in the place of the one that runs. `None` when there is nothing to run: the only thing in it was
    /// something that does not exist.
    pub(super) fn launch(
        &mut self,
        ctx: &mut Context<'_>,
        play: Option<Play>,
        gather: Option<Gather>,
        owner: Owner,
    ) -> Option<u64> {
        let id = self.next_program();
        let found = play.as_ref().map(|play| ctx.prompts.playlist(play, &self.record));
        let found = match found.transpose() {
            Ok(found) => found,
            Err(why) => {
                self.emit(ctx, unplayed(id, &why));
                None
            }
        };
        let play = play.zip(found);
        if play.is_none() && gather.is_none() {
            return None;
        }
        let barge_in = gather.as_ref().map(|gather| gather.barge_in);
        let program = Program {
            play: play.as_ref().map(|(play, list)| program_play(id, play, list.clone(), barge_in)),
            collect: gather.as_ref().map(|gather| collect(id, gather)),
        };
        let play = play.map(|(play, _)| play.source);
        self.programs.given = id;
        self.programs.running.insert(id, Box::new(Running { play, gather, owner }));
        ctx.media(self.leg, MediaCommand::Run(program));
        Some(id)
    }

    /// Plays for the step that the flow is at; `None` when something of it does not exist.
    pub(super) fn launch_for_step(&mut self, ctx: &mut Context<'_>, play: Play) -> Option<u64> {
        let State::Connected(Activity::Flow { run, .. }) = &self.state else { return None };
        let owner = Owner::Step(run.at().to_owned());
        self.launch(ctx, Some(play), None, owner)
    }

    // Commands of the API.

    pub(crate) fn play(&mut self, ctx: &mut Context<'_>, play: Play) -> Result<PlayId, Refusal> {
        self.media_is_free()?;
        // The engine has checked that all of it exists, so there is something to run.
        self.launch(ctx, Some(play), None, Owner::Api).map(play_id).ok_or(Refusal::NotFound)
    }

    pub(crate) fn stop_play(&mut self, ctx: &mut Context<'_>) -> Result<(), Refusal> {
        if !self.is_conversing() {
            return Err(self.wrong_state("only an answered call plays"));
        }
        // Nothing would begin the music again.
        if let Some(Awaits::Queue | Awaits::Notice(_)) = self.awaited() {
            return Err(self.wrong_state("its queue plays to it; take it out first, into a bridge"));
        }
        ctx.media(self.leg, MediaCommand::StopPlay);
        Ok(())
    }

    pub(crate) fn gather(&mut self, ctx: &mut Context<'_>, gather: Gather) -> Result<(), Refusal> {
        self.media_is_free()?;
        self.launch(ctx, gather.play.clone(), Some(gather), Owner::Api);
        Ok(())
    }

    /// The number of the next program.
    pub(super) fn next_program(&mut self) -> u64 {
        self.programs.last += 1;
        self.programs.last
    }

    /// A flow that plays or gathers has the media to itself; otherwise its next step would cut off what the API plays.
    pub(super) fn media_is_free(&self) -> Result<(), Refusal> {
        match self.activity() {
            None => Err(self.wrong_state("only an answered call plays and gathers")),
            Some(_) if self.programs.running.len() >= MAX_PROGRAMS => {
                let what =
                    format!("{MAX_PROGRAMS} plays and gathers of this call have not told their end yet");
                Err(Refusal::NoRoom { what, retry_after: PROGRAMS_RETRY })
            }
            Some(Activity::Flow { run, .. }) if !run.leaves_media_free() => Err(self.wrong_state(
                "its flow plays or gathers; only at a park, pause, bridge or amd step the API may",
            )),
            Some(Activity::Flow { awaits: Awaits::Queue | Awaits::Notice(_), .. }) => {
                Err(self.wrong_state("its queue plays to it; take it out first, into a bridge"))
            }
            Some(Activity::Flow { .. } | Activity::Parked) => Ok(()),
        }
    }

    pub(crate) fn is_conversing(&self) -> bool {
        self.activity().is_some()
    }

    /// Plays a prompt until it is stopped. One that is gone is told as an error, and silence is heard.
    pub(super) fn play_endlessly(&mut self, ctx: &mut Context<'_>, prompt: &str) -> Option<u64> {
        if self.programs.running.len() >= MAX_PROGRAMS {
            return None;
        }
        self.launch(ctx, Some(Play { plays: 0, ..Play::once(prompt) }), None, Owner::Api)
    }

    /// Whether no program was launched after this one.
    pub(super) fn is_newest(&self, id: u64) -> bool {
        self.programs.running.last_key_value().is_none_or(|(newest, _)| *newest <= id)
    }

    // The flow.

    pub(super) fn start_flow(&mut self, ctx: &mut Context<'_>, flow: Arc<Flow>) {
        let mut events = Vec::new();
        let (run, next) = Run::start(flow, ctx.now, &mut self.record, &mut |event| events.push(event));
        self.state = State::Connected(Activity::Flow { run, awaits: Awaits::Nothing });
        self.drive(ctx, events, next);
    }

    /// What the flow was waiting for has happened.
    pub(super) fn step_over(&mut self, ctx: &mut Context<'_>, outcome: Outcome<'_>) {
        if let State::Connected(Activity::Flow { awaits, .. }) = &mut self.state {
            *awaits = Awaits::Nothing;
        }
        if let Some((events, next)) = self.resume(ctx.now, outcome) {
            self.drive(ctx, events, next);
        }
    }

    /// The call is out of its bridge: a flow that was waiting for that goes on.
    pub(super) fn bridge_over(&mut self, ctx: &mut Context<'_>, outcome: Outcome<'_>) {
        let State::Connected(Activity::Flow { run, .. }) = &self.state else { return };
        if run.is_bridging() {
            if let Some((events, next)) = self.resume(ctx.now, outcome) {
                self.drive(ctx, events, next);
            }
        } else if let Some(play) = run.plays_while_parked(&self.record) {
            let owner = Owner::Step(run.at().to_owned());
            self.launch(ctx, Some(play), None, owner);
        }
    }

    /// There is nobody to be bridged with, or no way.
    pub(crate) fn bridge_refused(&mut self, ctx: &mut Context<'_>, error: String) {
        let State::Connected(Activity::Flow { run, .. }) = &self.state else { return };
        if run.is_bridging() {
            let step = run.at().to_owned();
            self.emit(ctx, EventData::CallBridgeFailed { step, error });
            self.bridge_over(ctx, Outcome::Failed);
        }
    }

    /// The program `id` is over; the flow goes on if it was waiting for it.
    pub(super) fn flow_goes_on(&mut self, ctx: &mut Context<'_>, id: u64, outcome: Outcome<'_>) {
        if let State::Connected(Activity::Flow { awaits, .. }) = &self.state
            && *awaits == Awaits::Program(id)
        {
            self.step_over(ctx, outcome);
        }
    }

    fn resume(&mut self, now: Instant, outcome: Outcome<'_>) -> Option<(Vec<EventData>, Next)> {
        let State::Connected(Activity::Flow { run, .. }) = &mut self.state else { return None };
        let mut events = Vec::new();
        let next = run.resume(outcome, now, &mut self.record, &mut |event| events.push(event));
        Some((events, next))
    }

    /// Does what the flow wants until it waits for something.
    pub(super) fn drive(&mut self, ctx: &mut Context<'_>, events: Vec<EventData>, next: Next) {
        let (mut events, mut next) = (events, next);
        loop {
            for event in events {
                self.emit(ctx, event);
            }
            let State::Connected(Activity::Flow { run, .. }) = &self.state else { return };
            let step = run.at().to_owned();
            let owner = Owner::Step(step.clone());
            let mut otherwise = Outcome::Done;
            let awaited = match next {
                Next::Play(play) => self.launch(ctx, Some(play), None, owner),
                Next::Dtmf(dtmf) => {
                    otherwise = Outcome::Failed;
                    self.dial_for_flow(ctx, &dtmf)
                }
                Next::Gather(gather) => self.launch(ctx, gather.play.clone(), Some(gather), owner),
                Next::Record(_) if self.record.recording_ids.len() >= MAX_RECORDINGS => {
                    return self.flow_limit(ctx);
                }
                Next::Record(record) => Some(self.record_step(ctx, &record, step)),
                Next::Park(play) => {
                    if let Some(play) = play {
                        self.launch(ctx, Some(play), None, owner);
                    }
                    return;
                }
                Next::Bridge(partner) => {
                    self.wish = Some(Wish::Bridge(partner));
                    return;
                }
                Next::Dial(dial) => {
                    self.meanwhile = dial.play.clone();
                    self.play_meanwhile(ctx);
                    self.wish = Some(Wish::Dial(dial));
                    return;
                }
                Next::Transfer(to) => {
                    self.wish = Some(Wish::Transfer(to));
                    return;
                }
                Next::Enqueue { queue, data } => {
                    let Some(outcome) = self.enqueue(ctx, &queue, data) else { return };
                    let Some(step) = self.resume(ctx.now, outcome) else { return };
                    (events, next) = step;
                    continue;
                }
                Next::Pause(time) => {
                    ctx.timers.set(self.leg, CallTimer::Pause, ctx.now + time);
                    return;
                }
                Next::Ask { url, timeout } => return self.ask_step(ctx, url, timeout),
                Next::Amd { parameters, wait_for_beep } => {
                    let Some(result) = self.amd_step(ctx, parameters, wait_for_beep) else { return };
                    let Some(step) = self.resume(ctx.now, Outcome::Answered(result)) else { return };
                    (events, next) = step;
                    continue;
                }
                Next::Hangup(reason) => {
                    return self.hangup(ctx, reason, EndedBy::Engine, Evidence::Internal);
                }
                Next::Limit => return self.flow_limit(ctx),
            };
            if let State::Connected(Activity::Flow { awaits, .. }) = &mut self.state {
                *awaits = awaited.map_or(Awaits::Nothing, Awaits::Program);
            }
            if awaited.is_some() {
                return;
            }
            // The prompt does not exist any more, or nothing can be dialled; that took no time.
            match self.resume(ctx.now, otherwise) {
                Some(step) => (events, next) = step,
                None => return,
            }
        }
    }

    /// A flow that never waits, or wants to keep too much, is ended; the record and the BYE say why.
    pub(super) fn flow_limit(&mut self, ctx: &mut Context<'_>) {
        self.record.sip_reason = Some("flow-limit".to_owned());
        let text = Some("flow-limit".to_owned());
        self.release_sessions(ctx, None, Some(Reason { protocol: ReasonProtocol::Q850, cause: 16, text }));
        self.end(ctx, Evidence::Answered, EndedBy::Engine);
    }
}

/// The id of a play as the API shows it.
fn play_id(id: u64) -> PlayId {
    // Sound: `p-` and a number of at most 20 digits are 64 characters of the id's alphabet at most.
    PlayId::new(&format!("p-{id}")).expect("p- and digits are an id")
}

/// The end of a play that nothing was heard of.
fn unplayed(id: u64, why: &str) -> EventData {
    let error = Some(why.to_owned());
    EventData::CallPlayEnded { play_id: play_id(id), reason: PlayEnd::Error, played_ms: 0, error }
}

fn program_play(
    id: u64,
    play: &Play,
    playlist: Playlist,
    barge_in: Option<bool>,
) -> media_core::Play<Playlist> {
    media_core::Play {
        id,
        playlist,
        plays: play.plays,
        offset_ms: play.offset_ms,
        barge_in: barge_in.unwrap_or(play.barge_in),
    }
}

fn collect(id: u64, gather: &Gather) -> Collect {
    Collect {
        id,
        min: gather.min,
        max: gather.max,
        terminators: gather.terminators.chars().filter_map(Digit::from_char).collect(),
        timeout_ms: gather.timeout_ms,
        inter_digit_ms: gather.inter_digit_ms,
    }
}
