//! Ten thousand calls over a network that loses a fifth of what is sent, doubles a fifth and lets a fifth be overtaken:
//! both ends tell the same story of every call, and nothing is left of it.
//!
//! Where two ends cannot know the same, since no protocol reaches who hears nothing (the two generals), the wire has to
//! show that it was so: [`Rule`] names every such case, and any other fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netem::Impairments;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::net::*;
use sip_core::*;

/// Calls of one seed, in both directions at once.
const CALLS: u64 = 10;

/// Seeds of long runs with ends that come once in ten thousand calls and less.
const RARE: [u64; 5] = [1_559, 1_765, 11_976, 13_841, 26_691];

/// A random number below `limit`.
fn below(rng: &mut ChaCha8Rng, limit: u64) -> u64 {
    rng.next_u64() % limit
}

/// Whether something of this probability in percent is the case.
fn chance(rng: &mut ChaCha8Rng, percent: u64) -> bool {
    below(rng, 100) < percent
}

fn network(rng: &mut ChaCha8Rng) -> Impairments {
    Impairments {
        // One network in ten is so bad that some calls never get through it.
        loss: if chance(rng, 10) { 0.5 } else { 0.2 },
        mean_burst: chance(rng, 33).then_some(2.0),
        duplicate: 0.2,
        delay: ms(below(rng, 200)),
        jitter: ms(below(rng, 100)),
        reorder: 0.2,
        hold: ms(below(rng, 800)),
        ..Impairments::NONE
    }
}

fn settings(rng: &mut ChaCha8Rng) -> impl FnOnce(&mut EndpointConfig) + use<> {
    let reliable = acknowledged(rng);
    let timed = chance(rng, 75);
    move |config| {
        config.reliable = reliable;
        config.session_refresh = timed.then(|| SessionRefresh { interval: secs(90), min: secs(90) });
    }
}

fn acknowledged(rng: &mut ChaCha8Rng) -> Reliable {
    match below(rng, 5) {
        0 => Reliable::Off,
        1 => Reliable::Required,
        _ => Reliable::Supported,
    }
}

/// Plans a command.
fn plan(
    phone: &mut Phone,
    after: Duration,
    act: impl FnOnce(&mut Endpoint, Instant) -> Result<(), Error> + 'static,
) {
    phone.plans.push((after, Box::new(move |phone, now| too_late_or_done(act(&mut phone.endpoint, now)))));
}

/// A command that does not fit any more, or not yet, is refused.
fn too_late_or_done(result: Result<(), Error>) {
    if let Err(error) = result {
        let too_late = matches!(error, Error::UnknownSession | Error::WrongState | Error::OfferPending);
        assert!(too_late, "{error}");
    }
}

/// Has an endpoint do whatever people do, at random times.
fn behave(net: &mut Net, at: &'static str, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xB0B ^ u64::from(at == B) << 32);
    let mut described = 0_u32;
    let mut describe = move || {
        described += 1;
        sdp(&format!("v=0 {at} {described}"))
    };
    net.react(at, move |phone, _, event| {
        let Event::Session { id, event } = event else { return };
        let (id, rng) = (*id, &mut rng);
        if let SessionEvent::Incoming { .. } = event {
            let at = ms(if chance(rng, 50) { 0 } else { below(rng, 2_000) });
            if chance(rng, 85) {
                let (status, body) = if chance(rng, 50) { (180, None) } else { (183, Some(describe())) };
                plan(phone, at, move |endpoint, now| endpoint.ring(now, id, status, body));
            }
            if chance(rng, 30) {
                let (again, body) = (at + ms(below(rng, 5_000)), chance(rng, 50).then(&mut describe));
                plan(phone, again, move |endpoint, now| endpoint.ring(now, id, 183, body));
            }
            let decided = at + ms(below(rng, 20_000));
            match below(rng, 10) {
                0 => plan(phone, decided, move |endpoint, now| endpoint.reject(now, id, 486, &[])),
                1 => plan(phone, decided, move |endpoint, now| endpoint.hangup(now, id, Hangup::default())),
                // Not at home, for longer than most callers wait.
                2 => plan(phone, secs(150), move |endpoint, now| endpoint.reject(now, id, 480, &[])),
                _ => {
                    let body = Some(describe());
                    plan(phone, decided, move |endpoint, now| endpoint.answer(now, id, body));
                }
            }
        }
        if let SessionEvent::Provisional { body: Some(_), .. } = event
            && chance(rng, 30)
        {
            let (body, after) = (describe(), ms(below(rng, 3_000)));
            plan(phone, after, move |endpoint, now| endpoint.offer(now, id, Some(body)));
        }
        // The answer to the offer of the 2xx.
        if let SessionEvent::Answered { .. } | SessionEvent::OfferAnswered { .. } = event {
            let (body, after) = (describe(), ms(if chance(rng, 95) { below(rng, 1_000) } else { 12_000 }));
            plan(phone, after, move |endpoint, now| endpoint.acknowledge(now, id, body));
        }
        if let SessionEvent::Offered { .. } = event {
            let after = ms(if chance(rng, 90) { below(rng, 1_000) } else { below(rng, 12_000) });
            if chance(rng, 80) {
                let body = describe();
                plan(phone, after, move |endpoint, now| endpoint.accept_offer(now, id, body));
            } else {
                plan(phone, after, move |endpoint, now| endpoint.refuse_offer(now, id, 488));
            }
        }
        if let SessionEvent::Answered { .. } | SessionEvent::Confirmed { .. } = event {
            for _ in 0..below(rng, 4) {
                let (body, after) = (chance(rng, 85).then(&mut describe), ms(below(rng, 60_000)));
                plan(phone, after, move |endpoint, now| endpoint.offer(now, id, body));
            }
            if chance(rng, 20) {
                let after = ms(below(rng, 60_000));
                let body = Body { content_type: "text/plain".into(), bytes: "key".into() };
                plan(phone, after, move |endpoint, now| endpoint.info(now, id, body));
            }
            if chance(rng, 50) {
                let after = ms(below(rng, 200_000));
                plan(phone, after, move |endpoint, now| endpoint.hangup(now, id, Hangup::default()));
            }
        }
    });
}

/// A call of this seed; who placed it gives up or hangs up in any case, sooner or later.
fn place(net: &mut Net, rng: &mut ChaCha8Rng) -> (&'static str, SessionId, String) {
    let (from, to) = if chance(rng, 50) { (A, B) } else { (B, A) };
    let mut call = invite(to);
    call.reliable = acknowledged(rng);
    call.body = chance(rng, 80).then(|| sdp("v=0 first"));
    call.session_interval = match below(rng, 4) {
        0 => Some(secs(0)),
        1 => Some(secs(120)),
        _ => None,
    };
    call.expires = chance(rng, 10).then(|| secs(1 + below(rng, 30)));
    let id = net.act(from, |endpoint, now| endpoint.invite(now, call).unwrap());
    let call_id = net.phone(from).endpoint.session_call_id(id).unwrap().to_string();
    let patience = ms(match below(rng, 5) {
        0 => below(rng, 3_000),
        1 => below(rng, 30_000),
        _ => 30_000 + below(rng, 270_000),
    });
    net.later(from, patience, move |phone, now| {
        too_late_or_done(phone.endpoint.hangup(now, id, Hangup::default()));
    });
    (from, id, call_id)
}

/// How a call ended at one end, and when.
#[derive(Debug, Clone, Copy)]
struct Told {
    at: Duration,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Failed(FailureCause),
    Ended(Side, EndCause),
}

/// What an endpoint told of the end of a call. The harness has checked that it did so exactly once.
fn told(events: &[(Duration, Event)], session: SessionId) -> Told {
    let end = |event: &Event| {
        let Event::Session { id, event } = event else { return None };
        if let SessionEvent::Failed(failure) = event {
            return (*id == session).then_some(End::Failed(failure.cause));
        }
        let SessionEvent::Ended { by, cause, .. } = event else { return None };
        (*id == session).then_some(End::Ended(*by, *cause))
    };
    events.iter().find_map(|(at, event)| Some(Told { at: *at, end: end(event)? })).unwrap()
}

/// The sessions of calls that came in, by Call-ID.
fn incoming(events: &[(Duration, Event)]) -> BTreeMap<String, SessionId> {
    let mut calls = BTreeMap::new();
    for (_, event) in events {
        if let Event::Session { id, event: SessionEvent::Incoming { request, .. } } = event {
            let before = calls.insert(request.call_id().unwrap().to_string(), *id);
            assert_eq!(before, None, "a repeated INVITE makes no call");
        }
    }
    calls
}

/// Why the two stories of a call agree, or cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    /// Answered, and one end hung up on the other.
    HungUp,
    /// Answered, and both hung up before they heard that the other did.
    BothHungUp,
    /// Answered and hung up on, by the endpoint itself: an offer, an ACK or a refresh did not come.
    GivenUpLater,
    /// Refused by the callee, with the status that the caller was told.
    Refused,
    /// Refused before the callee was told: one insists on PRACK, the other knows none of it.
    Unsuited,
    /// The caller gave up, and the callee was told so.
    Cancelled,
    /// The answer was on its way when the caller gave up: the callee saw a call that was over at once.
    AnswerCrossedCancel,
    /// None of eleven final responses reached the caller, or none of eleven CANCELs the callee: for the caller it rang until
    /// it stopped waiting for an end (64*T1 after its CANCEL, RFC 3261 section 9.1) or the callee said BYE.
    Undecided,
    /// The caller heard nothing at all, so that it could not even cancel (RFC 3261 section 9.1), whatever the callee did.
    Unheard,
}

fn number(seen: &Seen) -> u32 {
    seen.message.cseq().unwrap().number
}

/// Every message of one call: when it was sent, and when it arrived.
struct Wire<'a> {
    sent: Vec<&'a Seen>,
    arrived: Vec<&'a Seen>,
}

impl Wire<'_> {
    fn first(of: &[&Seen], label: &str, by: impl Fn(&Seen) -> bool) -> Option<Duration> {
        of.iter().find(|seen| seen.label() == label && by(seen)).map(|seen| seen.at)
    }

    /// Whether nothing new arrived at this end with one of these labels in the 64*T1 before `until`; what comes again is not
    /// new.
    fn silent(&self, at: SocketAddr, labels: &[&str], until: Duration) -> bool {
        let since = until.saturating_sub(secs(32));
        let came =
            self.arrived.iter().filter(|seen| seen.to == at && labels.contains(&seen.label().as_str()));
        let (before, since): (Vec<&Seen>, Vec<&Seen>) =
            came.filter(|seen| seen.at < until).partition(|seen| seen.at < since);
        since.iter().all(|seen| before.iter().any(|old| number(old) == number(seen)))
    }

    /// Whether an end that ended the call was right to, and did so before it heard of the other's BYE.
    fn ended_rightly(&self, at: SocketAddr, told: Told) -> bool {
        let End::Ended(Side::Local, cause) = told.end else { return false };
        let bye_came = Self::first(&self.arrived, "BYE", |seen| seen.to == at);
        let reason = match cause {
            EndCause::Bye | EndCause::OfferTimeout => true,
            EndCause::AckTimeout => self.unacknowledged(at, told.at),
            // Its own refresh failed, or the other's never came.
            EndCause::SessionExpired => {
                self.unanswered(at, told.at) || self.silent(at, &["200 INVITE", "200 UPDATE"], told.at)
            }
            EndCause::Timeout => self.unanswered(at, told.at),
            EndCause::Forgotten => {
                let forgets = |seen: &Seen| seen.to == at && seen.message.status() == Some(481);
                self.arrived.iter().any(|seen| forgets(seen) && seen.at <= told.at)
            }
            EndCause::Transport | EndCause::Replaced => false,
        };
        reason && bye_came.is_none_or(|came| came >= told.at)
    }

    /// Whether a 2xx of this end had no ACK by then.
    fn unacknowledged(&self, at: SocketAddr, until: Duration) -> bool {
        self.lacks(
            at,
            until,
            |seen| seen.label() == "200 INVITE",
            |ok, ack| ack.label() == "ACK" && number(ok) == number(ack),
        )
    }

    /// Whether a request of this end had no final response by then.
    fn unanswered(&self, at: SocketAddr, until: Duration) -> bool {
        self.lacks(
            at,
            until,
            |seen| seen.message.is_request() && seen.label() != "ACK",
            |request, response| {
                response.message.status().is_some_and(|status| status >= 200)
                    && request.message.cseq().unwrap() == response.message.cseq().unwrap()
            },
        )
    }

    /// Whether this end sent something that no message answered to it by then.
    fn lacks(
        &self,
        at: SocketAddr,
        until: Duration,
        asks: impl Fn(&Seen) -> bool,
        answers: impl Fn(&Seen, &Seen) -> bool,
    ) -> bool {
        let mut asked = self.sent.iter().filter(|seen| seen.from == at && seen.at < until && asks(seen));
        let came = |seen: &Seen| seen.to == at && seen.at <= until;
        asked.any(|asked| !self.arrived.iter().any(|seen| came(seen) && answers(asked, seen)))
    }

    /// The rule by which these two ends agree.
    fn verdict(
        &self,
        (from, caller): (SocketAddr, Told),
        to: SocketAddr,
        callee: Option<Told>,
    ) -> Option<Rule> {
        let arrived = |label: &str| Self::first(&self.arrived, label, |_| true);
        // What the caller had heard of its INVITE by the time it told the end.
        let heard = |least: u16| {
            self.arrived.iter().any(|seen| {
                seen.to == from
                    && seen.at <= caller.at
                    && seen.message.status().is_some_and(|status| status >= least)
                    && seen.label().ends_with(" INVITE")
            })
        };
        let (heard, decided) = (heard(100), heard(200));
        match (caller.end, callee.map(|told| told.end)) {
            (End::Failed(FailureCause::Timeout | FailureCause::Cancelled), _) if !heard => {
                Some(Rule::Unheard)
            }
            (End::Failed(FailureCause::Response(status)), None) => {
                matches!(status, 420 | 421).then_some(Rule::Unsuited)
            }
            (End::Failed(FailureCause::Response(one)), Some(End::Failed(FailureCause::Response(other)))) => {
                (one == other).then_some(Rule::Refused)
            }
            (End::Failed(FailureCause::Cancelled), Some(End::Failed(FailureCause::Cancelled))) => {
                Some(Rule::Cancelled)
            }
            (End::Failed(FailureCause::Cancelled | FailureCause::Response(487)), Some(_)) if !decided => {
                Some(Rule::Undecided)
            }
            (End::Failed(FailureCause::Cancelled), Some(end @ End::Ended(..))) => {
                let answered = Self::first(&self.sent, "200 INVITE", |_| true)?;
                let crossed = arrived("CANCEL").is_none_or(|came| came >= answered);
                let hung_up = end == End::Ended(Side::Remote, EndCause::Bye);
                (crossed && (hung_up || self.ended_rightly(to, callee?))).then_some(Rule::AnswerCrossedCancel)
            }
            (End::Ended(Side::Local, cause), Some(End::Ended(Side::Remote, EndCause::Bye))) => {
                self.ended_rightly(from, caller).then_some(Self::one_sided(cause))
            }
            (End::Ended(Side::Remote, EndCause::Bye), Some(End::Ended(Side::Local, cause))) => {
                self.ended_rightly(to, callee?).then_some(Self::one_sided(cause))
            }
            (End::Ended(Side::Local, _), Some(End::Ended(Side::Local, _))) => {
                let both = self.ended_rightly(from, caller) && self.ended_rightly(to, callee?);
                both.then_some(Rule::BothHungUp)
            }
            (End::Failed(_) | End::Ended(..), _) => None,
        }
    }

    fn one_sided(cause: EndCause) -> Rule {
        if cause == EndCause::Bye { Rule::HungUp } else { Rule::GivenUpLater }
    }
}

/// What many calls came to.
#[derive(Debug, Default)]
struct Tally {
    rules: BTreeMap<Rule, u64>,
    messages: BTreeMap<String, u64>,
}

impl Tally {
    fn run(&mut self, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = Net::impaired(seed, network(&mut rng));
        for at in [A, B] {
            net.add_with(at, Transport::Udp, settings(&mut rng));
            behave(&mut net, at, seed);
        }
        let mut placed = Vec::new();
        for _ in 0..CALLS {
            placed.push(place(&mut net, &mut rng));
            net.run_for(ms(below(&mut rng, 5_000)));
        }
        net.run_until_quiet();
        let [a, b] = [A, B].map(|at| std::mem::take(&mut net.phone(at).events));
        for (from, session, call_id) in placed {
            let (to, ours, theirs) = if from == A { (B, &a, &b) } else { (A, &b, &a) };
            let of_call = |seen: &&Seen| seen.message.call_id().unwrap() == call_id;
            let wire = Wire {
                sent: net.wire.iter().filter(of_call).collect(),
                arrived: net.arrived.iter().filter(of_call).collect(),
            };
            let caller = told(ours, session);
            let callee = incoming(theirs).get(&call_id).map(|session| told(theirs, *session));
            let Some(rule) = wire.verdict((addr(from), caller), addr(to), callee) else {
                let ladder = |of: &[&Seen]| {
                    of.iter()
                        .map(|seen| format!("{:?} {} {}\n", seen.at, seen.from, seen.label()))
                        .collect::<String>()
                };
                let (sent, arrived) = (ladder(&wire.sent), ladder(&wire.arrived));
                panic!(
                    "seed {seed}: caller {from} {caller:?}, callee {callee:?}\nsent:\n{sent}arrived:\n{arrived}"
                );
            };
            *self.rules.entry(rule).or_default() += 1;
        }
        for seen in &net.arrived {
            *self.messages.entry(seen.label()).or_default() += 1;
        }
    }
}

#[test]
fn both_ends_tell_the_same_story_of_every_call() {
    let mut tally = Tally::default();
    let seeds: Vec<_> = netem::seeds(1_000).chain(RARE).collect();
    seeds.iter().for_each(|seed| tally.run(*seed));
    let calls = seeds.len() as u64 * CALLS;
    eprintln!("{calls} calls: {:#?}", tally.rules);
    assert_eq!(tally.rules.values().sum::<u64>(), calls);
    // Nothing of what is to be withstood is missing.
    for rule in [
        Rule::HungUp,
        Rule::BothHungUp,
        Rule::GivenUpLater,
        Rule::Refused,
        Rule::Unsuited,
        Rule::Cancelled,
        Rule::AnswerCrossedCancel,
        Rule::Undecided,
        Rule::Unheard,
    ] {
        assert!(tally.rules.contains_key(&rule), "{rule:?} never came: {:?}", tally.rules);
    }
    for label in
        ["PRACK", "200 PRACK", "UPDATE", "200 UPDATE", "491 INVITE", "488 INVITE", "INFO", "504 INVITE"]
    {
        assert!(tally.messages.contains_key(label), "{label} never came: {:?}", tally.messages);
    }
}
