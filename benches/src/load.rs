//! The control plane of a run: places calls at a steady rate and follows their events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use control_api_client::{Client, EventFilter};
use control_api_types::{
    BridgeCall, BridgeDtmf, Call, CallId, CreateCall, Disposition, EventData, HangupReason, OnEnd,
};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How long the last calls may take to be answered or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nanoseconds since 1970, the clock of the kernel's receive timestamps.
pub(crate) fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What the events said about one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    /// When the POST left, unix ns.
    pub(crate) posted_at: u64,
    /// When its first digit was heard of, unix ns.
    pub(crate) digit_at: Option<u64>,
    pub(crate) ended: Option<Ended>,
    /// How often it ended.
    pub(crate) ends: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) answered: bool,
    pub(crate) packets_sent: u64,
    pub(crate) packets_received: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    answered: usize,
    ended: usize,
    /// Events that we were too slow for.
    missed: u64,
}

/// Calls by their number.
type Courses = BTreeMap<u32, Course>;

/// A control plane: subscribed to every event, as a real one is.
#[derive(Debug)]
pub(crate) struct Control {
    client: Client,
    courses: Arc<Mutex<Courses>>,
    progress: watch::Receiver<Progress>,
    listener: JoinHandle<()>,
    next: u32,
    /// Why the first call was refused that was.
    refusal: Option<anyhow::Error>,
}

impl Control {
    pub(crate) async fn connect(client: &Client) -> anyhow::Result<Control> {
        let mut events = client.events(EventFilter::default()).await?;
        let courses: Arc<Mutex<Courses>> = Arc::default();
        let (tell, progress) = watch::channel(Progress::default());
        let seen = Arc::clone(&courses);
        let listener = tokio::spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                let at = unix_ns();
                if let EventData::EventsDropped { count } = event.data {
                    tell.send_modify(|progress| progress.missed += count);
                }
                let Some(number) = event.call_id.as_ref().and_then(number_of) else { continue };
                let mut courses = seen.lock().unwrap_or_else(PoisonError::into_inner);
                note(courses.entry(number).or_default(), at, &event.data, &tell);
            }
        });
        Ok(Control { client: client.clone(), courses, progress, listener, next: 1, refusal: None })
    }

    /// Places `count` calls through `flow`, `rate` in a second, and waits until all are answered. Returns how many
    /// were refused.
    pub(crate) async fn place(&mut self, count: u32, rate: u32, flow: &str) -> anyhow::Result<u32> {
        let (begin, first) = (Instant::now(), self.next);
        self.next += count;
        let mut posts = JoinSet::new();
        for n in 0..count {
            let due = begin + Duration::from_secs(1) * n / rate;
            tokio::time::sleep_until(due.into()).await;
            posts.spawn(post(self.client.clone(), Arc::clone(&self.courses), first + n, flow.to_owned()));
        }
        let mut refused = 0;
        while let Some(result) = posts.join_next().await {
            if let Err(error) = result? {
                refused += 1;
                self.refusal.get_or_insert(error);
            }
        }
        Ok(refused)
    }

    pub(crate) async fn until_answered(&mut self, count: u32) -> anyhow::Result<()> {
        self.until("answered", |progress| progress.answered >= count as usize).await
    }

    pub(crate) async fn until_ended(&mut self, count: u32) -> anyhow::Result<()> {
        self.until("ended", |progress| progress.ended >= count as usize).await
    }

    async fn until(&mut self, what: &str, enough: impl FnMut(&Progress) -> bool) -> anyhow::Result<()> {
        let waiting = tokio::time::timeout(PATIENCE, self.progress.wait_for(enough)).await;
        let reached = waiting.map(|result| result.map(|_| ()));
        let progress = *self.progress.borrow();
        reached
            .with_context(|| format!("calls are not {what} in time: {progress:?}"))?
            .context("the events broke off")
    }

    /// Bridges the calls from the number `first` on, two and two.
    pub(crate) async fn bridge_pairs(&self, first: u32) -> anyhow::Result<()> {
        for number in (first..self.next).step_by(2) {
            let bridge = BridgeCall {
                with: id_of(number + 1)?,
                on_end: Some(OnEnd::Hangup),
                with_on_end: Some(OnEnd::Hangup),
                dtmf: BridgeDtmf::Relay,
            };
            self.client.bridge(&id_of(number)?, &bridge).await?;
        }
        Ok(())
    }

    /// Hangs up every call that was placed and waits for their ends.
    pub(crate) async fn hang_up_all(&mut self) -> anyhow::Result<()> {
        const AT_ONCE: usize = 16;
        let mut requests = JoinSet::new();
        for number in 1..self.next {
            if requests.len() == AT_ONCE
                && let Some(result) = requests.join_next().await
            {
                result??;
            }
            let (client, id) = (self.client.clone(), id_of(number)?);
            requests.spawn(async move { client.hangup(&id, HangupReason::Normal).await.map(drop) });
        }
        while let Some(result) = requests.join_next().await {
            result??;
        }
        self.until_ended(self.next - 1).await
    }

    /// Fails where a call was refused, with the reason.
    pub(crate) fn unrefused(&mut self) -> anyhow::Result<()> {
        self.refusal.take().map_or(Ok(()), |error| Err(error.context("a call was refused")))
    }

    /// What became of each call so far.
    pub(crate) fn courses(&self) -> Courses {
        self.courses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn post(client: Client, courses: Arc<Mutex<Courses>>, number: u32, flow: String) -> anyhow::Result<()> {
    let mut call = CreateCall::to(number.to_string());
    call.id = Some(id_of(number)?);
    call.trunk = Some("peer".to_owned());
    call.flow = Some(control_api_types::FlowRef::Name(flow));
    courses.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_default().posted_at = unix_ns();
    client.originate(&call).await?;
    Ok(())
}

fn note(course: &mut Course, at: u64, data: &EventData, tell: &watch::Sender<Progress>) {
    match data {
        EventData::CallAnswered { .. } => tell.send_modify(|progress| progress.answered += 1),
        EventData::CallDtmf { .. } => course.digit_at = course.digit_at.or(Some(at)),
        EventData::CallEnded(call) => {
            course.ends += 1;
            if course.ended.replace(ended(call)).is_none() {
                tell.send_modify(|progress| progress.ended += 1);
            }
        }
        EventData::CallInitiated { .. }
        | EventData::CallRinging { .. }
        | EventData::CallEarlyMedia {}
        | EventData::CallDtmfSent { .. }
        | EventData::CallBridgeFailed { .. }
        | EventData::CallFlowFailed { .. }
        | EventData::CallRoleChanged { .. }
        | EventData::CallMuted { .. }
        | EventData::CallUnmuted {}
        | EventData::CallGatherEnded { .. }
        | EventData::CallPlayStarted { .. }
        | EventData::CallPlayEnded { .. }
        | EventData::CallAmd { .. }
        | EventData::CallAmdBeep { .. }
        | EventData::CallRecordingStarted { .. }
        | EventData::CallRecordingEnded { .. }
        | EventData::CallFlowStep { .. }
        | EventData::CallHeld { .. }
        | EventData::CallResumed { .. }
        | EventData::CallHoldFailed { .. }
        | EventData::CallTransferProgress { .. }
        | EventData::CallBridged { .. }
        | EventData::CallUnbridged { .. }
        | EventData::CallEnqueued { .. }
        | EventData::CallCallbackRequested { .. }
        | EventData::CallNotify(_)
        | EventData::TrunkUp { .. }
        | EventData::TrunkDown { .. }
        | EventData::TrunkRejected { .. }
        | EventData::EndpointRegistered { .. }
        | EventData::EndpointUnregistered { .. }
        | EventData::EngineDraining {}
        | EventData::EventsDropped { .. } => {}
    }
}

fn ended(call: &Call) -> Ended {
    Ended {
        answered: call.disposition == Some(Disposition::Answered),
        packets_sent: call.media.map_or(0, |media| media.packets_sent),
        packets_received: call.media.map_or(0, |media| media.packets_received),
    }
}

fn id_of(number: u32) -> anyhow::Result<CallId> {
    CallId::new(&format!("bench-{number}")).context("an id of a bench")
}

fn number_of(id: &CallId) -> Option<u32> {
    id.as_str().strip_prefix("bench-")?.parse().ok()
}
