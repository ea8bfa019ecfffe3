//! Where arrivals wait for the endpoint's task, and the door before it: two bounded queues, so that new work cannot push
//! out the rest, and the [`Guard`] that says what may wait there at all.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::Mutex;
use sip_core::guard::{Guard, Notice, Pace, Reason, Verdict};
use sip_core::{Hop, Input, Message, Method, ParseError, Transmit};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::counters::Counters;
use crate::limits::Limits;

/// Yields what arrived; what concerns calls that exist comes before what asks for new ones.
#[derive(Debug)]
pub struct Inbox {
    rest: mpsc::Receiver<Input>,
    new_work: mpsc::Receiver<(Instant, Input)>,
    door: Arc<Door>,
}

impl Inbox {
    /// The next arrival; `None` when the [`Transports`](crate::Transports) are gone and everything is read. Cancel safe.
    pub async fn recv(&mut self) -> Option<Input> {
        tokio::select! {
            biased;
            Some(input) = self.rest.recv() => Some(input),
            Some(waited) = self.new_work.recv() => Some(self.door.let_through(waited)),
            else => None,
        }
    }

    /// The next arrival if one waits, to take several per wake-up. Bound the loop: a flood never ends it.
    pub fn try_recv(&mut self) -> Option<Input> {
        self.rest.try_recv().ok().or_else(|| Some(self.door.let_through(self.new_work.try_recv().ok()?)))
    }
}

/// How much waits in an [`Inbox`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// What belongs to calls, and reports.
    pub rest: usize,
    /// What asks for new work.
    pub new_work: usize,
}

/// What the sockets' tasks ask before anything is kept.
#[derive(Debug)]
pub(crate) struct Door {
    /// A lock, because every socket's task asks it about every message and none may wait for another task to answer: it is
    /// held for a few microseconds at most, where an answer is written, and never across an await. `None`: everything comes in.
    guard: Mutex<Option<Guard>>,
    /// Whether the last new work taken from its queue had waited for too long.
    behind: AtomicBool,
    limits: Limits,
    counters: Arc<Counters>,
}

impl Door {
    pub(crate) fn with_guard<R>(&self, act: impl FnOnce(&mut Guard) -> R) -> Option<R> {
        self.guard.lock().as_mut().map(act)
    }

    pub(crate) fn set_guard(&self, guard: Guard) {
        *self.guard.lock() = Some(guard);
    }

    fn let_through(&self, (since, input): (Instant, Input)) -> Input {
        self.behind.store(since.elapsed() > self.limits.behind, Relaxed);
        input
    }

    fn tell(&self, notice: Option<Notice>) {
        let Some(Notice { source, reason, banned }) = notice else { return };
        if banned {
            tracing::warn!(%source, ?reason, "source banned for its offences; [sip.guard] has the limits");
        } else {
            tracing::warn!(%source, ?reason, "messages refused; no more of this source is told for a minute");
        }
    }

    fn refused(&self, reason: Reason, is_answered: bool) {
        let counter = match reason {
            Reason::Denied => &self.counters.refused_denied,
            Reason::Banned => &self.counters.refused_banned,
            Reason::Scanner => &self.counters.refused_scanner,
            Reason::RateLimited => &self.counters.refused_rate,
            Reason::Stray => &self.counters.refused_stray,
            Reason::Rubbish => &self.counters.refused_rubbish,
            Reason::Stranger => &self.counters.refused_stranger,
            Reason::Overload => &self.counters.refused_overload,
        };
        counter.increment();
        if is_answered {
            self.counters.refusals_answered.increment();
        }
    }
}

/// The end of the inbox that the sockets' tasks hold.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    rest: mpsc::Sender<Input>,
    new_work: mpsc::Sender<(Instant, Input)>,
    door: Arc<Door>,
}

/// The [`Inbox`] was dropped: nobody will read any more.
#[derive(Debug)]
pub(crate) struct InboxGone;

/// What a socket's task has to do after a message was turned away.
#[derive(Debug)]
pub(crate) struct TurnedAway {
    /// To be sent, once.
    pub(crate) answer: Option<Box<Transmit>>,
    /// Whether a stream ends with it.
    pub(crate) close: bool,
}

pub(crate) fn channel(limits: &Limits, counters: Arc<Counters>) -> (Intake, Inbox) {
    let (rest, rest_out) = mpsc::channel(limits.rest);
    let (new_work, new_work_out) = mpsc::channel(limits.new_work);
    let door = Arc::new(Door {
        guard: Mutex::new(None),
        behind: AtomicBool::new(false),
        limits: limits.clone(),
        counters,
    });
    (
        Intake { rest, new_work, door: Arc::clone(&door) },
        Inbox { rest: rest_out, new_work: new_work_out, door },
    )
}

impl Intake {
    pub(crate) fn door(&self) -> &Arc<Door> {
        &self.door
    }

    pub(crate) fn waiting(&self) -> Waiting {
        let of = |free: usize, all: usize| all - free;
        Waiting {
            rest: of(self.rest.capacity(), self.rest.max_capacity()),
            new_work: of(self.new_work.capacity(), self.new_work.max_capacity()),
        }
    }

    /// Whether anything of this address is read at all.
    pub(crate) fn admits(&self, address: IpAddr) -> bool {
        let refused = self.door.with_guard(|guard| guard.admit(now(), address)).and_then(Result::err);
        if let Some(reason) = refused {
            self.door.refused(reason, false);
        }
        refused.is_none()
    }

    /// Whether this address is one that is expected; everyone is where nobody guards the door.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.door.with_guard(|guard| guard.knows(address)).unwrap_or(true)
    }

    /// Takes one datagram without waiting; what finds no room is dropped and counted.
    pub(crate) fn take_datagram(&self, hop: Hop, bytes: Bytes) -> Result<Option<TurnedAway>, InboxGone> {
        match self.read(hop, bytes) {
            Read::In(class, input) => self.offer_as(class, input).map(|()| None),
            Read::Out(turned_away) => Ok(Some(turned_away)),
        }
    }

    /// Takes one message of a stream, waiting for room. New work does not wait: behind it on the same stream may be a BYE.
    pub(crate) async fn take_frame(&self, hop: Hop, bytes: Bytes) -> Result<Option<TurnedAway>, InboxGone> {
        self.take_read(self.read(hop, bytes)).await
    }

    /// Takes the head of what cannot be divided into messages.
    pub(crate) async fn take_broken(
        &self,
        hop: Hop,
        bytes: Bytes,
        error: ParseError,
    ) -> Result<Option<TurnedAway>, InboxGone> {
        self.take_read(self.malformed(hop, bytes, error)).await
    }

    async fn take_read(&self, read: Read) -> Result<Option<TurnedAway>, InboxGone> {
        match read {
            Read::In(Class::NewWork, input) => self.offer_as(Class::NewWork, input)?,
            Read::In(Class::Rest, input) => self.rest.send(input).await.map_err(|_| InboxGone)?,
            Read::Out(turned_away) => return Ok(Some(turned_away)),
        }
        Ok(None)
    }

    /// Hands over a report or an answer without waiting; what does not fit is dropped and counted.
    pub(crate) fn offer(&self, input: Input) -> Result<(), InboxGone> {
        self.offer_as(Class::Rest, input)
    }

    /// Hands over a report or an answer, waiting for room.
    pub(crate) async fn deliver(&self, input: Input) -> Result<(), InboxGone> {
        self.rest.send(input).await.map_err(|_| InboxGone)
    }

    fn offer_as(&self, class: Class, input: Input) -> Result<(), InboxGone> {
        let counters = &self.door.counters;
        let (full, dropped) = match class {
            Class::NewWork => match self.new_work.try_send((Instant::now(), input)) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => (true, &counters.dropped_new_work),
                Err(TrySendError::Closed(_)) => (false, &counters.dropped_new_work),
            },
            Class::Rest => match self.rest.try_send(input) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => (true, &counters.dropped_rest),
                Err(TrySendError::Closed(_)) => (false, &counters.dropped_rest),
            },
        };
        if full {
            dropped.increment();
            Ok(())
        } else {
            Err(InboxGone)
        }
    }

    /// What arrived in one datagram or frame, parsed here and nowhere else.
    fn read(&self, hop: Hop, bytes: Bytes) -> Read {
        let message = match Message::parse(bytes.clone()) {
            Ok(message) => message,
            Err(error) => return self.malformed(hop, bytes, error),
        };
        self.door.counters.received.increment();
        let class = Class::of(&message);
        let pace = self.pace();
        self.judged(Input::Message { hop, message: message.clone() }, class, |guard| {
            guard.judge(now(), hop, pace, &message)
        })
    }

    fn malformed(&self, hop: Hop, bytes: Bytes, error: ParseError) -> Read {
        self.door.counters.malformed.increment();
        let judge = |guard: &mut Guard| guard.judge_malformed(now(), hop, &bytes, &error);
        let input = Input::Malformed { hop, bytes: bytes.clone(), error };
        self.judged(input, Class::NewWork, judge)
    }

    fn judged(&self, input: Input, unguarded: Class, judge: impl FnOnce(&mut Guard) -> Verdict) -> Read {
        let judged = self.door.with_guard(|guard| (judge(guard), guard.poll_notice()));
        let Some((verdict, notice)) = judged else { return Read::In(unguarded, input) };
        self.door.tell(notice);
        match verdict {
            Verdict::InCall => Read::In(Class::Rest, input),
            Verdict::NewWork => Read::In(Class::NewWork, input),
            Verdict::Refused { reason, answer, close } => {
                self.door.refused(reason, answer.is_some());
                Read::Out(TurnedAway { answer, close })
            }
        }
    }

    /// New work that waits longer than its sender does is made twice; a queue that is three quarters full will be.
    fn pace(&self) -> Pace {
        let (free, all) = (self.new_work.capacity(), self.new_work.max_capacity());
        // When the queue has run empty nothing waits, whatever was the case with the last that did.
        let is_behind = free < all / 4 || free < all && self.door.behind.load(Relaxed);
        if is_behind { Pace::Behind } else { Pace::Keeping }
    }
}

/// Tokio's clock, so that a test can stop it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// What became of one datagram or frame.
#[expect(
    clippy::large_enum_variant,
    reason = "lives for one call of a function; a box would cost an allocation"
)]
enum Read {
    In(Class, Input),
    Out(TurnedAway),
}

/// Which queue an input waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    NewWork,
    Rest,
}

impl Class {
    /// Where nobody guards the door. RFC 3261 section 12.2: a request within a dialog has a To tag. ACK and CANCEL belong
    /// to an INVITE we already know even without one (sections 9.1 and 17.1.1.3).
    fn of(message: &Message) -> Class {
        let asks_for_new_work = match message.method() {
            None | Some(Method::Ack | Method::Cancel) => false,
            Some(_) => message.to_tag().is_none(),
        };
        if asks_for_new_work { Class::NewWork } else { Class::Rest }
    }
}
