use std::time::Duration;

use control_api_types::{CallId, EventTypes};

use super::outbox::{Attempt, Outbox, Outcome, Receiver, Rules, Settled, Target, Waiting, Wanted};

const HOUR_MS: u64 = 3_600_000;

fn rules() -> Rules {
    Rules {
        retries: [5, 30].map(Duration::from_secs).into(),
        give_up: Duration::from_secs(24 * 3_600),
        max_pending: 20,
        max_octets: 10_000,
    }
}

fn target() -> Target {
    Target { url: "https://h.example/".into(), secret: None }
}

fn call(name: &str) -> CallId {
    CallId::new(name).unwrap()
}

/// An outbox with a webhook `w` for everything of calls.
fn outbox() -> Outbox {
    let mut outbox = Outbox::new(rules());
    outbox.add_webhook("w".into(), target(), EventTypes::from_list("call.*").unwrap(), true);
    outbox
}

fn w() -> Receiver {
    Receiver::Webhook("w".into())
}

/// Offers an event of 100 octets and has the journal write it at once.
fn add(outbox: &mut Outbox, place: i64, of: &str, at_ms: u64) -> Vec<Wanted> {
    let wanted = outbox.offer("call.ringing", Some(&call(of)), 100);
    for one in &wanted {
        let waiting = Waiting { place, octets: 100, created_at_ms: at_ms };
        assert!(outbox.written(&one.receiver, &Some(call(of)), waiting, false));
    }
    wanted
}

fn places(outbox: &mut Outbox, now_ms: u64) -> Vec<i64> {
    std::iter::from_fn(|| outbox.next(now_ms)).map(|attempt| attempt.place).collect()
}

fn settle(outbox: &mut Outbox, now_ms: u64, attempt: &Attempt, outcome: Outcome) -> Settled {
    outbox.settle(now_ms, &attempt.receiver, &attempt.lane, attempt.place, outcome)
}

fn failed() -> Outcome {
    Outcome::Failed("HTTP status 500".into())
}

#[test]
fn a_calls_next_event_waits_for_the_one_before_and_other_calls_do_not() {
    let mut outbox = outbox();
    for (place, of) in [(1, "a"), (2, "a"), (3, "b")] {
        add(&mut outbox, place, of, 0);
    }
    let first = outbox.next(0).unwrap();
    let other = outbox.next(0).unwrap();
    assert_eq!((first.place, other.place, outbox.next(0).is_none()), (1, 3, true));
    assert_eq!(
        settle(&mut outbox, 10, &first, failed()),
        Settled::Postpone { place: 1, attempts: 1, due_at_ms: 5_010 }
    );
    assert_eq!(
        settle(&mut outbox, 10, &other, Outcome::Delivered),
        Settled::Forget { places: vec![3], call: None }
    );
    assert_eq!((places(&mut outbox, 5_009), outbox.next_at()), (vec![], Some(5_010)));
    let again = outbox.next(5_010).unwrap();
    assert_eq!(again.place, 1);
    settle(&mut outbox, 5_020, &again, Outcome::Delivered);
    assert_eq!(places(&mut outbox, 5_020), [2], "at once: it has waited long enough");
}

#[test]
fn pauses_grow_to_the_last_and_a_day_is_the_end() {
    let mut outbox = outbox();
    add(&mut outbox, 1, "a", 0);
    add(&mut outbox, 2, "a", 0);
    let (mut now, mut attempts) = (0, 0);
    let over = loop {
        let attempt = outbox.next(now).unwrap();
        attempts += 1;
        match settle(&mut outbox, now, &attempt, failed()) {
            Settled::Postpone { due_at_ms, .. } => {
                assert_eq!(due_at_ms - now, if attempts == 1 { 5_000 } else { 30_000 });
                now = due_at_ms;
            }
            settled @ (Settled::Forget { .. } | Settled::Disabled(_) | Settled::Nothing) => break settled,
        }
    };
    assert_eq!(over, Settled::Forget { places: vec![1], call: None });
    assert!((24 * HOUR_MS - 30_000..24 * HOUR_MS).contains(&now), "{now}");
    // The one behind it is as old: it has one attempt all the same.
    let attempt = outbox.next(now).unwrap();
    assert_eq!(attempt.place, 2);
    settle(&mut outbox, now + 30_000, &attempt, failed());
    let (_, figures) = outbox.figures("w").unwrap();
    assert_eq!((figures.given_up, figures.pending), (2, 0));
}

#[test]
fn one_receiver_has_only_so_many_attempts_at_once_and_leaves_the_others_theirs() {
    let mut outbox = Outbox::new(Rules { max_pending: 1_000, max_octets: 1_000_000, ..rules() });
    for id in ["v", "w"] {
        outbox.add_webhook(id.into(), target(), EventTypes::all(), true);
    }
    for place in 0..100 {
        add(&mut outbox, place, &format!("c{place}"), 0);
    }
    let attempts: Vec<_> = std::iter::from_fn(|| outbox.next(0)).collect();
    let of = |receiver: &Receiver| attempts.iter().filter(|attempt| attempt.receiver == *receiver).count();
    assert_eq!((of(&w()), of(&Receiver::Webhook("v".into()))), (16, 16));
    assert!(attempts[0].receiver != attempts[1].receiver, "they take turns");
    assert_eq!(outbox.next_at(), None, "nothing is due before one of them ends");
    settle(&mut outbox, 1, &attempts[0], Outcome::Delivered);
    assert_eq!(outbox.next(1).unwrap().receiver, attempts[0].receiver);
}

#[test]
fn what_has_no_room_is_counted_until_there_is_some_and_then_told() {
    let mut outbox = outbox();
    for place in 0..30 {
        add(&mut outbox, place, &format!("c{place}"), 0);
    }
    assert_eq!(outbox.figures("w").unwrap().1.dropped, 10);
    let mut taken: Vec<_> = std::iter::from_fn(|| outbox.next(0)).collect();
    let mut deliver = |outbox: &mut Outbox| settle(outbox, 1, &taken.pop().unwrap(), Outcome::Delivered);
    deliver(&mut outbox);
    assert_eq!(
        add(&mut outbox, 40, "d", 1),
        [],
        "a tenth has to be free, or each event would come with a report"
    );
    (0..4).for_each(|_| drop(deliver(&mut outbox)));
    assert_eq!(
        outbox.offer("call.ringing", Some(&call("d")), 100),
        [Wanted { receiver: w(), lost: Some(11) }]
    );
    assert_eq!(outbox.offer("call.ringing", Some(&call("d")), 100), [Wanted { receiver: w(), lost: None }]);
    assert_eq!(outbox.offer("call.ringing", Some(&call("d")), 9_999), [], "octets count, too");
}

#[test]
fn a_report_that_the_journal_refuses_is_told_later_with_all_that_was_lost() {
    let mut outbox = outbox();
    let lane = Some(call("a"));
    for event in 0..1_000 {
        let wanted = outbox.offer("call.ringing", lane.as_ref(), 100);
        let untold = (event > 0).then_some(event);
        assert_eq!(wanted, [Wanted { receiver: w(), lost: untold }]);
        if untold.is_some() {
            outbox.lost(&w(), &lane, 0, untold);
        }
        outbox.lost(&w(), &lane, 100, None);
    }
    let (_, figures) = outbox.figures("w").unwrap();
    assert_eq!((figures.dropped, figures.pending), (1_000, 0));
}

#[test]
fn a_calls_own_url_hears_that_call_and_is_forgotten_after_it() {
    let mut outbox = Outbox::new(rules());
    outbox.add_call(call("a"), "https://h.example".into(), target());
    assert!(
        outbox.is_wanted("call.ringing", Some(&call("a")))
            && !outbox.is_wanted("call.ringing", Some(&call("b")))
    );
    assert_eq!((add(&mut outbox, 1, "a", 0).len(), add(&mut outbox, 2, "b", 0).len()), (1, 0));
    assert!(!outbox.end_call(&call("a")), "its last event waits");
    let last = outbox.next(0).unwrap();
    let over = settle(&mut outbox, 1, &last, Outcome::Delivered);
    assert_eq!(over, Settled::Forget { places: vec![1], call: Some(call("a")) });
    assert_eq!((outbox.total().delivered, outbox.next_at()), (1, None));

    // 410 ends it, with all that waits.
    outbox.add_call(call("c"), "https://h.example".into(), target());
    (3..6).for_each(|place| drop(add(&mut outbox, place, "c", 0)));
    let attempt = outbox.next(2).unwrap();
    let over = settle(&mut outbox, 2, &attempt, Outcome::Gone);
    assert_eq!(over, Settled::Forget { places: vec![3, 4, 5], call: Some(call("c")) });
    assert!(add(&mut outbox, 6, "c", 3).is_empty());
    assert_eq!(outbox.total().pending, 0);
}

#[test]
fn a_webhook_that_goes_takes_everything_with_it() {
    let mut outbox = outbox();
    add(&mut outbox, 1, "a", 0);
    let wanted = outbox.offer("call.ringing", Some(&call("a")), 100);
    let attempt = outbox.next(0).unwrap();
    outbox.remove_webhook("w");
    let late = Waiting { place: 2, octets: 100, created_at_ms: 0 };
    assert!(
        !outbox.written(&wanted[0].receiver, &Some(call("a")), late, false),
        "it came too late into the journal"
    );
    assert_eq!(settle(&mut outbox, 1, &attempt, Outcome::Delivered), Settled::Nothing);

    let mut outbox = self::outbox();
    add(&mut outbox, 1, "a", 0);
    add(&mut outbox, 2, "b", 0);
    let (first, second) = (outbox.next(0).unwrap(), outbox.next(0).unwrap());
    assert_eq!(settle(&mut outbox, 1, &first, Outcome::Gone), Settled::Disabled("w".into()));
    assert_eq!(settle(&mut outbox, 1, &second, failed()), Settled::Nothing);
    assert!(add(&mut outbox, 3, "a", 2).is_empty());
    let (enabled, figures) = outbox.figures("w").unwrap();
    assert_eq!(
        (enabled, figures.pending, figures.last_error),
        (false, 0, Some((1, "HTTP status 410".into())))
    );
}
