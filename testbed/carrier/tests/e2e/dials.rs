//! A caller whose flow dials two phones: one is busy, the other answers, and may hand him over.

use std::time::Duration;

use carrier::baresip::Baresip;
use control_api_types::flow::Flow;
use control_api_types::{CallId, Disposition, EndedBy};
use serde_json::json;

use crate::baresip::seconds_of_tone;
use crate::lab::Lab;

/// What each says, in hertz.
const ALICE: u32 = 440;
const BOB: u32 = 620;
const CAROL: u32 = 900;
/// How long they talk.
const TALK: Duration = Duration::from_secs(3);

/// A phone that has registered here as the `count`th.
async fn phone(lab: &mut Lab, name: &str, hertz: u32, count: usize) -> Baresip {
    let mut phone = Baresip::saying(hertz).await.unwrap_or_else(|error| panic!("{error}"));
    let at = lab.engine.sip_addr();
    let account = format!("<sip:{name}@{at};transport=udp>;auth_pass=secret;regint=60;answermode=manual");
    tell(&mut phone, "uanew", &account).await;
    lab.happened("endpoint.registered", count).await;
    phone
}

async fn tell(phone: &mut Baresip, command: &str, params: &str) {
    phone.tell(command, params).await.unwrap_or_else(|error| panic!("{error}"));
}

async fn until(phone: &mut Baresip, kind: &str) {
    phone.until(kind).await.unwrap_or_else(|error| panic!("{error}"));
}

/// Alice has called, and bob and carol ring; alice's call.
async fn ringing() -> (Lab, [Baresip; 3], CallId) {
    let endpoint = |name: &str| format!("[[endpoints]]\nname = \"{name}\"\npassword = \"secret\"\n");
    let endpoints = ["alice", "bob", "carol"].map(endpoint).concat();
    let route = "[[routes]]\nmatch = { endpoint = \"alice\", called = \"100\" }\nflow = \"front\"\n";
    let mut lab = Lab::new(&format!("{endpoints}{route}")).await;
    let note = |how: &str| json!({ "verb": "notify", "data": how, "next": "bye" });
    let flow = json!({ "start": "agents", "steps": {
        "agents": { "verb": "dial", "to": ["endpoint:carol", "endpoint:bob"], "timeout_s": 20,
            "play": { "tone": "ringback", "loop": 0 }, "on": { "ended": "ended", "failed": "failed" } },
        "ended": note("ended"), "failed": note("failed"), "bye": { "verb": "hangup" },
    } });
    lab.engine.client().put_flow("front", &Flow::from_json(&flow).unwrap()).await.unwrap();
    let mut alice = phone(&mut lab, "alice", ALICE, 1).await;
    let mut bob = phone(&mut lab, "bob", BOB, 2).await;
    let mut carol = phone(&mut lab, "carol", CAROL, 3).await;
    tell(&mut alice, "dial", "100").await;
    let call = lab.incoming().await;
    until(&mut bob, "CALL_INCOMING").await;
    until(&mut carol, "CALL_INCOMING").await;
    (lab, [alice, bob, carol], call)
}

/// The last call with this endpoint.
async fn call_of(lab: &Lab, endpoint: &str) -> CallId {
    let calls = lab.engine.client().calls(&Default::default()).await.unwrap().items;
    let call = calls.into_iter().find(|call| call.endpoint.as_deref() == Some(endpoint));
    call.unwrap_or_else(|| panic!("no call with {endpoint}")).id
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_phones_one_is_busy_and_the_other_is_bridged_with_the_caller() {
    let (mut lab, [mut alice, mut bob, mut carol], a) = ringing().await;
    // The phone's answer to a call that is declined is 486.
    tell(&mut carol, "hangup", "").await;
    let c = call_of(&lab, "carol").await;
    lab.reached(&c, "call.ended").await;
    lab.reached(&a, "call.play.started").await;
    tell(&mut bob, "accept", "").await;
    lab.reached(&a, "call.bridged").await;
    // They talk.
    tokio::time::sleep(TALK).await;
    tell(&mut bob, "hangup", "").await;
    until(&mut alice, "CALL_CLOSED").await;

    let story = lab.story(&a).await;
    assert_eq!(
        story.kinds(),
        [
            "call.initiated",
            "call.ringing",
            "call.answered",
            "call.flow.step",
            "call.play.started",
            "call.bridged",
            "call.play.ended",
            "call.unbridged",
            "call.flow.step",
            "call.notify",
            "call.flow.step",
            "call.ended",
        ]
    );
    assert_eq!(story.cdr.ended_by, Some(EndedBy::Engine));
    let b = call_of(&lab, "bob").await;
    let winner = lab.story(&b).await;
    let kinds =
        ["call.initiated", "call.ringing", "call.answered", "call.bridged", "call.unbridged", "call.ended"];
    assert_eq!(winner.kinds(), kinds);
    assert_eq!((winner.cdr.parent_call_id, winner.cdr.from.as_str()), (Some(a.clone()), "alice"));
    let loser = lab.story(&c).await;
    assert_eq!(loser.kinds(), ["call.initiated", "call.ringing", "call.ended"]);
    assert_eq!((loser.cdr.disposition, loser.cdr.parent_call_id), (Some(Disposition::Busy), Some(a)));
    for (phone, other) in [(&alice, BOB), (&bob, ALICE)] {
        let heard = seconds_of_tone(&phone.heard().unwrap(), other);
        assert!(heard > TALK.as_secs_f64() - 1.0, "{heard} s of {other} Hz");
    }
    for phone in [alice, bob, carol] {
        phone.quit().await.unwrap();
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_that_answered_hands_the_caller_to_the_other() {
    let (mut lab, [alice, mut bob, mut carol], a) = ringing().await;
    tell(&mut bob, "accept", "").await;
    lab.reached(&a, "call.bridged").await;
    // She has not missed a call; she was not there in time.
    until(&mut carol, "CALL_CLOSED").await;
    tell(&mut bob, "transfer", &format!("sip:carol@{}", lab.engine.sip_addr())).await;
    until(&mut carol, "CALL_INCOMING").await;
    tell(&mut carol, "accept", "").await;
    lab.reached_again(&a, "call.bridged", 2).await;
    until(&mut bob, "CALL_CLOSED").await;
    // They talk.
    tokio::time::sleep(TALK).await;
    tell(&mut carol, "hangup", "").await;
    let story = lab.story(&a).await;
    // Ringback may not have begun when somebody answers at once.
    let told: Vec<_> = story.kinds().into_iter().filter(|kind| !kind.starts_with("call.play")).collect();
    assert_eq!(
        told,
        [
            "call.initiated",
            "call.ringing",
            "call.answered",
            "call.flow.step",
            "call.bridged",
            "call.unbridged",
            "call.bridged",
            "call.unbridged",
            "call.flow.step",
            "call.notify",
            "call.flow.step",
            "call.ended",
        ]
    );
    let c = call_of(&lab, "carol").await;
    assert_eq!(lab.story(&c).await.cdr.parent_call_id, Some(a));
    for (phone, other) in [(&alice, CAROL), (&carol, ALICE)] {
        let heard = seconds_of_tone(&phone.heard().unwrap(), other);
        assert!(heard > TALK.as_secs_f64() - 1.0, "{heard} s of {other} Hz");
    }
    for phone in [alice, bob, carol] {
        phone.quit().await.unwrap();
    }
    lab.stop().await;
}
