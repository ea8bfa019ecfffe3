//! What the signalling of a call costs by itself: the SIP core at both ends, and the guard at the door, in this thread and
//! without sockets. Time is virtual, so that as many calls are up and as many transactions linger as at [`RATE`].

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::micro::Cost;
use anyhow::Context;
use bytes::Bytes;
use sip_core::guard::{Guard, GuardConfig, Known, Pace, Rate, Verdict};
use sip_core::{
    Body, Endpoint, EndpointConfig, Event, Hangup, Hop, Input, Invite, Listener, Message, NameAddr, Output,
    Reliable, SessionEvent, SessionId, Target, Transport, Uri,
};

/// Calls begun in a second of virtual time.
const RATE: u32 = 1_000;
/// How long a call is up.
const UP: Duration = Duration::from_secs(5);
/// Answered transactions linger for 32 seconds (RFC 3261 section 17): after that as many end as begin.
const WARM_UP: Duration = Duration::from_secs(40);
/// Calls between two looks at the clock.
const BATCH: u32 = 1_000;

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 101\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";

/// The share of one end in a call: INVITE, 180, 200, ACK, and later BYE and 200.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Of the fastest batch, µs.
    pub(crate) us: f64,
    pub(crate) allocations: f64,
    /// Asked for by them, KB.
    pub(crate) allocated_kb: f64,
}

/// What a call costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signalling {
    pub(crate) caller: Share,
    pub(crate) callee: Share,
    /// What the guard takes for one message of a known source, all kinds of a call together.
    pub(crate) guard: Cost,
}

pub(crate) fn measure(length: Duration) -> anyhow::Result<Signalling> {
    let mut pair = Pair::new()?;
    pair.calls(RATE * u32::try_from(WARM_UP.as_secs())?)?;
    pair.received.clear();
    let begin = Instant::now();
    let (mut fastest_caller, mut fastest_callee) = (Duration::MAX, Duration::MAX);
    let (mut batches, caller_before, callee_before) = (0, pair.caller.spent, pair.callee.spent);
    while batches == 0 || begin.elapsed() < length {
        let (caller, callee) = (pair.caller.spent.time, pair.callee.spent.time);
        pair.calls(BATCH)?;
        fastest_caller = fastest_caller.min(pair.caller.spent.time - caller);
        fastest_callee = fastest_callee.min(pair.callee.spent.time - callee);
        batches += 1;
    }
    let share = |fastest: Duration, before: Spent, after: Spent| {
        let calls = f64::from(batches * BATCH);
        Share {
            us: fastest.as_secs_f64() * 1e6 / f64::from(BATCH),
            allocations: (after.allocations - before.allocations) as f64 / calls,
            allocated_kb: (after.bytes - before.bytes) as f64 / calls / 1e3,
        }
    };
    Ok(Signalling {
        caller: share(fastest_caller, caller_before, pair.caller.spent),
        callee: share(fastest_callee, callee_before, pair.callee.spent),
        guard: pair.guard()?,
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    time: Duration,
    allocations: u64,
    bytes: u64,
}

/// An endpoint, and what it has used.
struct End {
    endpoint: Endpoint,
    address: SocketAddr,
    spent: Spent,
    out: Vec<Output>,
}

impl End {
    fn new(address: SocketAddr, seed: u8) -> End {
        let listener = Listener { transport: Transport::Udp, bound: address, advertised: address };
        let config = EndpointConfig { max_sessions: 100_000, ..EndpointConfig::new(vec![listener]) };
        End {
            endpoint: Endpoint::new(config, [seed; 32]),
            address,
            spent: Spent::default(),
            out: Vec::with_capacity(16),
        }
    }

    /// Does something, takes what comes of it, and counts both.
    fn act(&mut self, act: impl FnOnce(&mut Endpoint)) {
        let (endpoint, out) = (&mut self.endpoint, &mut self.out);
        let start = Instant::now();
        let counts = alloc_count::count(|| {
            act(endpoint);
            while let Some(output) = endpoint.poll_output() {
                out.push(output);
            }
        });
        self.spent.time += start.elapsed();
        self.spent.allocations += counts.allocs;
        self.spent.bytes += counts.bytes;
    }
}

struct Pair {
    now: Instant,
    caller: End,
    callee: End,
    /// Calls that are up, the oldest first.
    up: VecDeque<(Instant, SessionId)>,
    begun: usize,
    /// At either end.
    ended: usize,
    /// What the callee received, for the guard; not all of it.
    received: Vec<Bytes>,
}

/// What either end has to do about an event.
enum Reaction {
    Nothing,
    Answer(SessionId),
    IsUp(SessionId),
    Ended,
}

impl Pair {
    fn new() -> anyhow::Result<Pair> {
        Ok(Pair {
            now: Instant::now(),
            caller: End::new("192.0.2.1:5060".parse()?, 1),
            callee: End::new("192.0.2.2:5060".parse()?, 2),
            up: VecDeque::new(),
            begun: 0,
            ended: 0,
            received: Vec::new(),
        })
    }

    /// Begins so many calls at [`RATE`], and ends those whose time is over.
    fn calls(&mut self, count: u32) -> anyhow::Result<()> {
        let callee = self.callee.address;
        for _ in 0..count {
            self.now += Duration::from_secs(1) / RATE;
            let now = self.now;
            for end in [&mut self.caller, &mut self.callee] {
                if end.endpoint.poll_timeout().is_some_and(|(deadline, _)| deadline <= now) {
                    end.act(|endpoint| endpoint.handle_timeout(now));
                }
            }
            let invite = invite(callee)?;
            let mut placed = Ok(());
            self.caller.act(|endpoint| placed = endpoint.invite(now, invite).map(drop));
            placed?;
            self.begun += 1;
            self.settle()?;
            while let Some((_, id)) = self.up.pop_front_if(|(since, _)| *since + UP <= now) {
                let mut hung_up = Ok(());
                self.caller.act(|endpoint| hung_up = endpoint.hangup(now, id, Hangup::default()));
                hung_up?;
                self.settle()?;
            }
        }
        let (up, Pair { begun, ended, .. }) = (self.up.len(), &*self);
        anyhow::ensure!(*ended == 2 * (begun - up), "{begun} calls begun, {up} up, {ended} ends heard of");
        Ok(())
    }

    /// Carries messages to and fro until nobody has more to say.
    fn settle(&mut self) -> anyhow::Result<()> {
        while !(self.caller.out.is_empty() && self.callee.out.is_empty()) {
            for is_callee in [false, true] {
                let (here, there) = match is_callee {
                    false => (&mut self.caller, &mut self.callee),
                    true => (&mut self.callee, &mut self.caller),
                };
                let now = self.now;
                for output in std::mem::take(&mut here.out) {
                    match output {
                        Output::Transmit(transmit) => {
                            if !is_callee && self.received.len() < 4_096 {
                                self.received.push(transmit.payload.clone());
                            }
                            let hop =
                                Hop { transport: Transport::Udp, local: there.address, remote: here.address };
                            let mut parsed = Ok(());
                            there.act(|endpoint| match Message::parse(transmit.payload) {
                                Ok(message) => endpoint.handle_input(now, Input::Message { hop, message }),
                                Err(error) => parsed = Err(error),
                            });
                            parsed.context("an endpoint wrote what it cannot read")?;
                        }
                        Output::Resolve { .. } => anyhow::bail!("an address was asked for"),
                        Output::Event(event) => match reaction(event)? {
                            Reaction::Nothing => {}
                            Reaction::IsUp(id) => self.up.push_back((now, id)),
                            Reaction::Ended => self.ended += 1,
                            Reaction::Answer(id) => {
                                let mut answered = Ok(());
                                here.act(|endpoint| {
                                    answered = endpoint
                                        .ring(now, id, 180, None)
                                        .and_then(|()| endpoint.answer(now, id, Some(Body::sdp(OFFER))));
                                });
                                answered?;
                            }
                        },
                    }
                }
            }
        }
        Ok(())
    }

    /// What the guard takes to judge what the callee has received.
    fn guard(&self) -> anyhow::Result<Cost> {
        let config =
            GuardConfig { known: Rate { per_second: u32::MAX, burst: u32::MAX }, ..GuardConfig::default() };
        let mut guard = Guard::new(self.now, config, [7; 32]);
        guard.set_seal(self.callee.endpoint.seal());
        let addresses = [self.caller.address.ip()].into();
        guard.set_known(Known { addresses, ..Known::default() });
        let hop = Hop { transport: Transport::Udp, local: self.callee.address, remote: self.caller.address };
        let messages: Vec<_> =
            self.received.iter().map(|bytes| Message::parse(bytes.clone())).collect::<Result<_, _>>()?;
        anyhow::ensure!(!messages.is_empty(), "the callee received nothing");
        let mut judge = || {
            let turned_away = messages
                .iter()
                .map(|message| black_box(guard.judge(self.now, hop, Pace::Keeping, message)))
                .filter(|verdict| matches!(verdict, Verdict::Refused { .. }));
            turned_away.count()
        };
        anyhow::ensure!(judge() == 0, "the guard turned messages of a call away");
        let fastest = (0..50)
            .map(|_| {
                let start = Instant::now();
                judge();
                start.elapsed()
            })
            .min()
            .unwrap_or_default();
        let allocations = alloc_count::count(&mut judge).allocs;
        let per_message = messages.len() as f64;
        Ok(Cost {
            ns: fastest.as_nanos() as f64 / per_message,
            allocations: allocations as f64 / per_message,
        })
    }
}

fn reaction(event: Event) -> anyhow::Result<Reaction> {
    let Event::Session { id, event } = event else { return Ok(Reaction::Nothing) };
    Ok(match event {
        SessionEvent::Incoming { .. } => Reaction::Answer(id),
        SessionEvent::Answered { .. } => Reaction::IsUp(id),
        SessionEvent::Ended { .. } => Reaction::Ended,
        SessionEvent::Failed(failure) => anyhow::bail!("a call failed: {failure:?}"),
        SessionEvent::Provisional { .. } | SessionEvent::Confirmed { .. } => Reaction::Nothing,
        SessionEvent::Offered { .. }
        | SessionEvent::OfferWithdrawn
        | SessionEvent::OfferAnswered { .. }
        | SessionEvent::OfferRefused { .. }
        | SessionEvent::Info { .. }
        | SessionEvent::InfoAnswered { .. }
        | SessionEvent::Referred(_)
        | SessionEvent::ReferProgress { .. } => anyhow::bail!("nobody asked for this: {event:?}"),
    })
}

fn invite(callee: SocketAddr) -> anyhow::Result<Invite> {
    let to: Uri = format!("sip:+622150001234@{callee}").parse()?;
    Ok(Invite {
        request_uri: to.clone(),
        to: NameAddr::new(to),
        from: NameAddr::new("sip:+622150009999@example.com".parse()?),
        target: Target {
            host: callee.ip().to_string(),
            port: Some(callee.port()),
            transport: Some(Transport::Udp),
            listener: None,
            public_ip: None,
            flow: None,
        },
        route: Vec::new(),
        headers: Vec::new(),
        body: Some(Body::sdp(OFFER)),
        reliable: Reliable::Supported,
        replaces: None,
        session_interval: None,
        expires: None,
        credentials: None,
    })
}
