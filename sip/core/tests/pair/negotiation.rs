//! Random offers from both ends of calls over random networks, before the answer and after: whatever is lost, doubled or
//! overtaken, both ends hold the same two descriptions in the end, and nothing is left behind.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use netem::Impairments;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::net::*;
use sip_core::*;

/// What one end of a call takes to be in force, and what it has under way.
#[derive(Debug, Default, Clone)]
struct View {
    local: String,
    remote: String,
    /// Our offer, while it is not answered.
    ours: Option<String>,
    /// The peer's, while we have not answered.
    theirs: Option<String>,
    talks: bool,
}

/// The ends of a user: its views by session, and how many descriptions it has made.
#[derive(Debug, Default)]
struct User {
    name: &'static str,
    made: u32,
    views: BTreeMap<SessionId, View>,
    /// Offers of ours that were answered.
    answered: u32,
}

impl User {
    /// A description that nobody has made before.
    fn describe(&mut self) -> String {
        self.made += 1;
        format!("{} {}", self.name, self.made)
    }
}

fn below(rng: &mut ChaCha8Rng, limit: u64) -> u64 {
    rng.next_u64() % limit
}

fn text(body: Option<&bytes::Bytes>) -> String {
    body.map_or_else(|| "nothing".to_owned(), |body| String::from_utf8_lossy(body).into_owned())
}

fn offer(phone: &mut Phone, now: std::time::Instant, user: &Rc<RefCell<User>>, id: SessionId, asks: bool) {
    let mut user = user.borrow_mut();
    let made = user.describe();
    let Some(view) = user.views.get_mut(&id) else { return };
    let body = (!asks).then(|| sdp(&made));
    // Refused where an offer is under way, or the call is over.
    if phone.endpoint.offer(now, id, body).is_ok() {
        view.ours = Some(made);
    }
}

fn accept(phone: &mut Phone, now: std::time::Instant, user: &Rc<RefCell<User>>, id: SessionId, wants: bool) {
    let mut user = user.borrow_mut();
    let made = user.describe();
    let Some(view) = user.views.get_mut(&id) else { return };
    let Some(theirs) = view.theirs.take() else { return };
    if !wants {
        // Void where the peer has taken it back.
        let _ = phone.endpoint.refuse_offer(now, id, 488);
    } else if phone.endpoint.accept_offer(now, id, sdp(&made)).is_ok() {
        if theirs.is_empty() {
            // The peer asked for our offer.
            view.ours = Some(made);
        } else {
            (view.local, view.remote) = (made, theirs);
        }
    }
}

/// Answers as soon as no offer is under way.
fn answer(phone: &mut Phone, now: std::time::Instant, user: &Rc<RefCell<User>>, id: SessionId) {
    let made = user.borrow_mut().describe();
    match phone.endpoint.answer(now, id, Some(sdp(&made))) {
        Ok(()) => {
            let mut user = user.borrow_mut();
            let view = user.views.entry(id).or_default();
            // Of no effect where a reliable response has described before.
            if view.local.is_empty() {
                view.local = made;
            }
        }
        Err(Error::OfferPending) => {
            let user = user.clone();
            phone.plans.push((ms(500), Box::new(move |phone, now| answer(phone, now, &user, id))));
        }
        Err(_) => {}
    }
}

fn play(net: &mut Net, at: &str, seed: u64, user: &Rc<RefCell<User>>) {
    let user = user.clone();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    net.react(at, move |phone, now, event| {
        let Event::Session { id, event } = event else { return };
        let id = *id;
        let plan = |phone: &mut Phone, rng: &mut ChaCha8Rng| {
            for _ in 0..below(rng, 4) {
                let (after, asks, user) = (ms(below(rng, 30_000)), below(rng, 5) == 0, user.clone());
                phone.plans.push((after, Box::new(move |phone, now| offer(phone, now, &user, id, asks))));
            }
        };
        match event {
            SessionEvent::Incoming { request, .. } => {
                let mut made = String::new();
                let reliable = request.headers(Name::Supported).any(|tag| tag == "100rel");
                if below(&mut rng, 2) == 0 {
                    made = user.borrow_mut().describe();
                    phone.endpoint.ring(now, id, 183, Some(sdp(&made))).unwrap();
                }
                let remote = request.sdp().map(|sdp| text(Some(&sdp))).unwrap_or_default();
                let local = if reliable { made } else { String::new() };
                user.borrow_mut().views.insert(id, View { local, remote, ..View::default() });
                plan(phone, &mut rng);
                let (after, user) = (ms(below(&mut rng, 10_000)), user.clone());
                phone.plans.push((after, Box::new(move |phone, now| answer(phone, now, &user, id))));
            }
            SessionEvent::Provisional { body, .. } => {
                let mut user = user.borrow_mut();
                let view = user.views.entry(id).or_default();
                if let Some(body) = body
                    && !view.local.is_empty()
                {
                    view.remote = text(Some(body));
                }
                drop(user);
                plan(phone, &mut rng);
            }
            SessionEvent::Answered { body, .. } => {
                let made = user.borrow_mut().describe();
                {
                    let mut user = user.borrow_mut();
                    let view = user.views.entry(id).or_default();
                    view.remote = text(body.as_ref());
                    view.talks = true;
                    if view.local.is_empty() {
                        // We have offered nothing: this is the offer.
                        phone.endpoint.acknowledge(now, id, sdp(&made)).unwrap();
                        view.local = made;
                    }
                }
                plan(phone, &mut rng);
            }
            SessionEvent::Confirmed { body } => {
                {
                    let mut user = user.borrow_mut();
                    let view = user.views.entry(id).or_default();
                    if body.is_some() {
                        view.remote = text(body.as_ref());
                    }
                    view.talks = true;
                }
                plan(phone, &mut rng);
            }
            SessionEvent::Offered { body, .. } => {
                let theirs = body.as_ref().map(|body| text(Some(body))).unwrap_or_default();
                user.borrow_mut().views.entry(id).or_default().theirs = Some(theirs);
                // Sometimes longer than anybody waits.
                let after =
                    [ms(0), ms(below(&mut rng, 3_000)), secs(11)][below(&mut rng, 20).min(2) as usize % 3];
                let after = if below(&mut rng, 10) > 0 { after.min(secs(3)) } else { after };
                let (wants, user) = (below(&mut rng, 4) > 0, user.clone());
                phone.plans.push((after, Box::new(move |phone, now| accept(phone, now, &user, id, wants))));
            }
            SessionEvent::OfferWithdrawn => {
                user.borrow_mut().views.entry(id).or_default().theirs = None;
            }
            SessionEvent::OfferAnswered { body } => {
                let mut user = user.borrow_mut();
                let made = user.describe();
                user.answered += 1;
                let view = user.views.entry(id).or_default();
                view.remote = text(body.as_ref());
                let ours = view.ours.take();
                // After an offer without a body this is theirs, and the ACK waits; else the answer to ours, or to what we
                // described while it rang.
                view.local = match phone.endpoint.acknowledge(now, id, sdp(&made)) {
                    Ok(()) => made,
                    Err(_) => ours.unwrap_or_else(|| view.local.clone()),
                };
            }
            SessionEvent::OfferRefused { .. } => {
                user.borrow_mut().views.entry(id).or_default().ours = None;
            }
            SessionEvent::Failed(_) | SessionEvent::Ended { .. } => {
                user.borrow_mut().views.remove(&id);
            }
            SessionEvent::Info { .. }
            | SessionEvent::InfoAnswered { .. }
            | SessionEvent::Referred(_)
            | SessionEvent::ReferProgress { .. } => {}
        }
    });
}

fn network(rng: &mut ChaCha8Rng) -> Impairments {
    Impairments {
        loss: below(rng, 21) as f64 / 100.0,
        duplicate: below(rng, 20) as f64 / 100.0,
        delay: ms(below(rng, 150)),
        jitter: ms(below(rng, 80)),
        reorder: below(rng, 20) as f64 / 100.0,
        hold: ms(below(rng, 600)),
        ..Impairments::NONE
    }
}

/// Four calls. Returns how many offers were answered, and how many calls stood at the end.
fn negotiate(seed: u64) -> (u32, usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut net = Net::impaired(seed, network(&mut rng));
    net.add(A, Transport::Udp);
    net.add(B, Transport::Udp);
    let caller = Rc::new(RefCell::new(User { name: "caller", ..User::default() }));
    let callee = Rc::new(RefCell::new(User { name: "callee", ..User::default() }));
    play(&mut net, A, seed ^ 0xA11CE, &caller);
    play(&mut net, B, seed ^ 0xB0B, &callee);
    for _ in 0..4 {
        let (delayed, reliable) = (below(&mut rng, 4) == 0, below(&mut rng, 3) > 0);
        let made = caller.borrow_mut().describe();
        let call = Invite {
            body: (!delayed).then(|| sdp(&made)),
            reliable: if reliable { Reliable::Supported } else { Reliable::Off },
            ..invite(B)
        };
        let id = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
        let local = if delayed { String::new() } else { made };
        caller.borrow_mut().views.entry(id).or_default().local = local;
        net.run_for(ms(below(&mut rng, 3_000)));
    }
    net.run_for(secs(200));
    let (here, there) = (caller.borrow().views.clone(), callee.borrow().views.clone());
    let mut stood = 0;
    for (id, view) in &here {
        let call_id = net.phone(A).endpoint.session_call_id(*id).cloned();
        let mut others = there.iter();
        let other = others
            .find(|(id, _)| net.phone(B).endpoint.session_call_id(**id).cloned() == call_id)
            .map(|(_, v)| v);
        let other =
            other.unwrap_or_else(|| panic!("seed {seed}: {id:?} stands at one end: {:?}", net.story(A)));
        assert!(view.talks && other.talks, "seed {seed}: {view:?} {other:?}");
        assert_eq!((&view.local, &view.remote), (&other.remote, &other.local), "seed {seed}, {id:?}");
        stood += 1;
    }
    assert_eq!(here.len(), there.len(), "seed {seed}");
    let calls: Vec<_> = here.keys().copied().collect();
    for id in calls {
        net.hangup(A, id);
    }
    net.run_until_quiet();
    (caller.borrow().answered + callee.borrow().answered, stood)
}

#[test]
fn both_ends_agree_on_what_is_in_force() {
    let (mut answered, mut stood) = (0, 0);
    for seed in netem::seeds(250) {
        let (a, s) = negotiate(seed);
        answered += a;
        stood += s;
    }
    // Offers are made in most calls, and most calls stand.
    assert!(answered > 500 && stood > 700, "{answered} {stood}");
}
