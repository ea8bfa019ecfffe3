//! Random calls over random networks: whatever is lost, doubled or overtaken, every call ends once at both ends and
//! nothing is left behind.

use netem::Impairments;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::net::*;
use sip_core::*;

/// A random number below `limit`.
fn below(rng: &mut ChaCha8Rng, limit: u64) -> u64 {
    rng.next_u64() % limit
}

fn network(rng: &mut ChaCha8Rng) -> Impairments {
    Impairments {
        loss: below(rng, 31) as f64 / 100.0,
        mean_burst: (below(rng, 3) == 0).then_some(2.0),
        duplicate: below(rng, 20) as f64 / 100.0,
        delay: ms(below(rng, 200)),
        jitter: ms(below(rng, 100)),
        reorder: below(rng, 20) as f64 / 100.0,
        hold: ms(below(rng, 800)),
        ..Impairments::NONE
    }
}

/// What the callee does with a call; it never leaves one ringing for ever.
fn play_callee(net: &mut Net, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xB0B);
    net.react(B, move |phone, now, event| {
        let Event::Session { id, event } = event else { return };
        let id = *id;
        match event {
            SessionEvent::Incoming { .. } => {
                if below(&mut rng, 4) > 0 {
                    phone.endpoint.ring(now, id, 180, None).unwrap();
                }
                let after = ms(below(&mut rng, 20_000));
                match below(&mut rng, 8) {
                    0 => phone.endpoint.reject(now, id, 486, &[]).unwrap(),
                    1 => phone.plans.push((
                        after,
                        Box::new(move |phone, now| {
                            let _ = phone.endpoint.hangup(now, id, Hangup::default());
                        }),
                    )),
                    2 => phone.endpoint.answer(now, id, None).unwrap(),
                    // Not at home, for longer than the caller waits.
                    3 => phone.plans.push((
                        secs(150),
                        Box::new(move |phone, now| {
                            let _ = phone.endpoint.reject(now, id, 480, &[]);
                        }),
                    )),
                    _ => phone.plans.push((
                        after,
                        Box::new(move |phone, now| {
                            let _ = phone.endpoint.answer(now, id, None);
                        }),
                    )),
                }
                if below(&mut rng, 2) == 0 {
                    let talk = after + ms(below(&mut rng, 40_000));
                    phone.plans.push((
                        talk,
                        Box::new(move |phone, now| {
                            let _ = phone.endpoint.hangup(now, id, Hangup::default());
                        }),
                    ));
                }
            }
            SessionEvent::Provisional { .. }
            | SessionEvent::Answered { .. }
            | SessionEvent::Confirmed { .. }
            | SessionEvent::Offered { .. }
            | SessionEvent::OfferWithdrawn
            | SessionEvent::OfferAnswered { .. }
            | SessionEvent::OfferRefused { .. }
            | SessionEvent::Info { .. }
            | SessionEvent::InfoAnswered { .. }
            | SessionEvent::Referred(_)
            | SessionEvent::ReferProgress { .. }
            | SessionEvent::Failed(_)
            | SessionEvent::Ended { .. } => {}
        }
    });
}

fn random_calls(seed: u64, transport: Transport) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let impairments = network(&mut rng);
    let mut net = Net::impaired(seed, impairments);
    net.add(A, transport);
    net.add(B, transport);
    play_callee(&mut net, seed);
    for _ in 0..4 {
        let mut call = invite(B);
        call.target.transport = Some(transport);
        let id = net.act(A, |endpoint, now| endpoint.invite(now, call).unwrap());
        // The caller gives up or hangs up in any case, sooner or later.
        let patience = ms(below(&mut rng, 90_000));
        net.later(A, patience, move |phone, now| {
            let _ = phone.endpoint.hangup(now, id, Hangup::default());
        });
        net.run_for(ms(below(&mut rng, 5_000)));
    }
    net.run_until_quiet();
    check_agreement(&mut net, seed);
}

/// A call that one end has told as confirmed was answered at the other, in numbers.
fn check_agreement(net: &mut Net, seed: u64) {
    let count = |story: &[String], word: &str| story.iter().filter(|event| event.starts_with(word)).count();
    let (a, b) = (net.story(A), net.story(B));
    assert_eq!(count(&a, "failed") + count(&a, "ended"), 4, "seed {seed}: {a:?}");
    assert_eq!(count(&b, "failed") + count(&b, "ended"), count(&b, "incoming"), "seed {seed}: {b:?}");
    assert!(count(&a, "answered") == count(&a, "ended"), "seed {seed}: {a:?}");
    assert!(count(&b, "confirmed") <= count(&b, "ended"), "seed {seed}: {b:?}");
    // An answered call was answered by the callee, and one that the callee saw confirmed was acknowledged.
    assert!(count(&a, "ended") <= count(&b, "ended"), "seed {seed}: {a:?} {b:?}");
}

#[test]
fn every_call_ends_once_at_both_ends_over_udp() {
    for seed in netem::seeds(400) {
        random_calls(seed, Transport::Udp);
    }
}

#[test]
fn every_call_ends_once_at_both_ends_over_tcp() {
    for seed in netem::seeds(50) {
        random_calls(seed, Transport::Tcp);
    }
}

#[test]
fn the_same_seed_gives_the_same_wire() {
    let run = |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = Net::impaired(seed, network(&mut rng));
        net.add(A, Transport::Udp);
        net.add(B, Transport::Udp);
        play_callee(&mut net, seed);
        let id = net.call(A, B);
        net.run_for(secs(30));
        net.hangup(A, id);
        net.run_until_quiet();
        net.wire.iter().map(|seen| (seen.at, seen.message.as_bytes().clone())).collect::<Vec<_>>()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
