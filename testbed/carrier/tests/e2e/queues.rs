//! A queue with a key for a callback, and agents who are bridged to those who wait: built by the API alone.

use std::time::Duration;

use carrier::baresip::{self, Baresip};
use carrier::sipp::Scenario;
use control_api_types::flow::Flow;
use control_api_types::{
    BridgeCall, CallId, CreateCall, EndedBy, EventData, HangupReason, Queue, TimelineItem,
};
use serde_json::{Value, json};

use crate::baresip::seconds_of_tone;
use crate::lab::{Lab, Story};
use crate::sipp::{passed, start};

/// Hertz of the hold music, of the notice, and of what the phones say.
const MUSIC: u32 = 1_000;
const NOTICE: u32 = 1_500;
const CUSTOMER: u32 = 440;
const AGENT: u32 = 620;
/// How long they talk.
const TALK: Duration = Duration::from_secs(3);
/// Before that the key for a callback does nothing.
const MIN_WAIT: Duration = Duration::from_secs(3);
/// Long enough that the first caller waits while the others come, whatever the machine has to do.
const MAX_WAIT: Duration = Duration::from_secs(20);

/// Every caller waits, and notes how that ended.
fn waits() -> Flow {
    let note = |how: &str| json!({ "verb": "notify", "data": how, "next": "bye" });
    let flow = json!({ "start": "wait", "steps": {
        "wait": { "verb": "enqueue", "queue": "sales", "data": { "who": "{to}" },
            "on": { "ended": "ended", "callback": "callback", "timeout": "timeout", "closed": "closed" } },
        "ended": note("ended"), "callback": note("callback"), "timeout": note("timeout"), "closed": note("closed"),
        "bye": { "verb": "hangup" },
    } });
    Flow::from_json(&flow).unwrap()
}

/// An engine with a trunk to the customer of SIPp, phones of its own, the queue and the flows.
async fn call_centre(trunk: std::net::SocketAddr) -> Lab {
    let endpoint = |name: &str| format!("[[endpoints]]\nname = \"{name}\"\npassword = \"secret\"\n");
    let endpoints: String = ["alice", "bob", "agent"].map(endpoint).concat();
    let lab = Lab::new(&format!("[[trunks]]\nname = \"t\"\nuri = \"sip:{trunk}\"\n{endpoints}")).await;
    let api = lab.engine.client();
    api.upload_prompt("music", baresip::tone(MUSIC, 2.0).unwrap()).await.unwrap();
    api.upload_prompt("notice", baresip::tone(NOTICE, 1.0).unwrap()).await.unwrap();
    let queue = json!({
        "hold_music": "music", "max_wait_s": MAX_WAIT.as_secs(),
        "callback": { "key": "1", "min_wait_s": MIN_WAIT.as_secs(), "notice": "notice" },
    });
    api.put_queue("sales", &Queue::from_json(&queue).unwrap()).await.unwrap();
    api.put_flow("waits", &waits()).await.unwrap();
    let hold = json!({ "start": "hold", "steps": { "hold": { "verb": "park" } } });
    api.put_flow("holds", &Flow::from_json(&hold).unwrap()).await.unwrap();
    lab
}

/// A phone that the engine has called, and that has answered.
async fn phone(lab: &mut Lab, name: &str, hertz: u32, flow: &str, count: usize) -> (Baresip, CallId) {
    let mut phone = Baresip::saying(hertz).await.unwrap_or_else(|error| panic!("{error}"));
    let at = lab.engine.sip_addr();
    let account = format!("<sip:{name}@{at};transport=udp>;auth_pass=secret;regint=60;answermode=manual");
    tell(&mut phone, "uanew", &account).await;
    lab.happened("endpoint.registered", count).await;
    let create = json!({ "to": format!("endpoint:{name}"), "from": "+62211", "flow": flow });
    let create = CreateCall::from_json(&create).unwrap();
    let call = lab.engine.client().originate(&create).await.unwrap().id;
    phone.until("CALL_INCOMING").await.unwrap_or_else(|error| panic!("{error}"));
    tell(&mut phone, "accept", "").await;
    lab.reached(&call, "call.answered").await;
    (phone, call)
}

async fn tell(phone: &mut Baresip, command: &str, params: &str) {
    phone.tell(command, params).await.unwrap_or_else(|error| panic!("{error}"));
}

/// Who waits, in order.
async fn waiting(lab: &Lab) -> Vec<CallId> {
    let calls = lab.engine.client().queued_calls("sales").await.unwrap();
    assert!(calls.iter().zip(1..).all(|(call, place)| call.position == place), "{calls:?}");
    calls.into_iter().map(|call| call.call_id).collect()
}

/// Waits until this caller has waited so long by what the API tells.
async fn waited(lab: &Lab, id: &CallId, time: Duration) {
    let long_enough = async {
        loop {
            let calls = lab.engine.client().queued_calls("sales").await.unwrap();
            let call = calls.into_iter().find(|call| call.call_id == *id).expect("it waits");
            if u128::from(call.waited_ms) >= time.as_millis() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), long_enough).await.expect("time passes");
}

fn notes(story: &Story) -> Vec<Value> {
    let note =
        |data: &EventData| if let EventData::CallNotify(data) = data { Some(data.clone()) } else { None };
    story.events.iter().filter_map(|event| note(&event.data)).collect()
}

const ARRIVED: [&str; 6] = [
    "call.initiated",
    "call.ringing",
    "call.answered",
    "call.flow.step",
    "call.enqueued",
    "call.play.started",
];

fn arrived_and(rest: &[&'static str]) -> Vec<&'static str> {
    [&ARRIVED[..], rest].concat()
}

/// What heard something was told by: seconds of this tone.
fn heard(phone: &Baresip, hertz: u32) -> f64 {
    seconds_of_tone(&phone.heard().unwrap(), hertz)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_asks_for_a_callback_one_is_bridged_and_one_waits_in_vain() {
    let customer = start(Scenario::new("callee/answer").argument("-rtp_echo")).await;
    let mut lab = call_centre(customer.addr()).await;
    let (mut agent, agent_call) = phone(&mut lab, "agent", AGENT, "holds", 1).await;
    let vain = lab.place(json!({ "flow": "waits" })).await;
    lab.reached(&vain, "call.play.started").await;
    let (mut alice, asks) = phone(&mut lab, "alice", CUSTOMER, "waits", 2).await;
    lab.reached(&asks, "call.play.started").await;
    assert_eq!(waiting(&lab).await, [vain.clone(), asks.clone()]);

    // The right key too early, and a wrong one: nothing happens.
    tell(&mut alice, "sndcode", "1").await;
    lab.reached_again(&asks, "call.dtmf", 1).await;
    tell(&mut alice, "sndcode", "2").await;
    lab.reached_again(&asks, "call.dtmf", 2).await;
    waited(&lab, &asks, MIN_WAIT + Duration::from_secs(1)).await;
    // Late enough, a wrong one still does nothing, and the right one does.
    tell(&mut alice, "sndcode", "0").await;
    lab.reached_again(&asks, "call.dtmf", 3).await;
    assert!(waiting(&lab).await.contains(&asks));
    tell(&mut alice, "sndcode", "1").await;
    alice.until("CALL_CLOSED").await.unwrap_or_else(|error| panic!("{error}"));
    let story = lab.story(&asks).await;
    let keys = ["call.dtmf"; 4];
    let expected = [
        &keys[..],
        &[
            "call.callback_requested",
            "call.play.ended",
            "call.play.started",
            "call.play.ended",
            "call.flow.step",
            "call.notify",
            "call.flow.step",
            "call.ended",
        ],
    ];
    assert_eq!(story.kinds(), arrived_and(&expected.concat()));
    assert_eq!(notes(&story), ["callback"]);
    let requested = story.events.iter().find_map(|event| {
        let EventData::CallCallbackRequested { queue, key, waited_ms } = &event.data else { return None };
        Some((queue.as_str(), key.as_str(), *waited_ms))
    });
    let (queue, key, waited_ms) = requested.unwrap();
    assert_eq!((queue, key), ("sales", "1"));
    assert!(u128::from(waited_ms) >= MIN_WAIT.as_millis(), "{waited_ms}");
    // No key has interrupted the music: there is all of it, as long as he waited.
    let (music, notice) = (heard(&alice, MUSIC), heard(&alice, NOTICE));
    let most = waited_ms as f64 / 1_000.0 + 0.1;
    assert!((most - 1.0..most).contains(&music), "{music} s of music in {waited_ms} ms");
    assert!((0.8..=1.0).contains(&notice), "{notice} s of the notice");
    let timeline = lab.engine.client().timeline(&asks).await.unwrap();
    let count =
        |is_it: fn(&TimelineItem) -> bool| timeline.entries.iter().filter(|entry| is_it(&entry.what)).count();
    assert_eq!(count(|what| matches!(what, TimelineItem::Event(_))), story.events.len());
    assert_eq!(count(|what| matches!(what, TimelineItem::Play(_))), 2);
    assert!(count(|what| matches!(what, TimelineItem::Sip(_))) >= 5);

    // Another is picked for the agent, whose leg has been up all the time.
    let (mut bob, picked) = phone(&mut lab, "bob", CUSTOMER, "waits", 3).await;
    lab.reached(&picked, "call.play.started").await;
    assert_eq!(waiting(&lab).await.last(), Some(&picked));
    let bridge = BridgeCall::from_json(&json!({ "with": picked, "on_end": "continue" })).unwrap();
    lab.engine.client().bridge(&agent_call, &bridge).await.unwrap();
    assert!(!waiting(&lab).await.contains(&picked));
    lab.reached(&picked, "call.bridged").await;
    tokio::time::sleep(TALK).await;
    let room = lab.engine.client().call(&agent_call).await.unwrap().bridge_id.unwrap();
    lab.engine.client().leave_bridge(&room, &picked).await.unwrap();
    bob.until("CALL_CLOSED").await.unwrap_or_else(|error| panic!("{error}"));
    let story = lab.story(&picked).await;
    let bridged = [
        "call.bridged",
        "call.play.ended",
        "call.unbridged",
        "call.flow.step",
        "call.notify",
        "call.flow.step",
        "call.ended",
    ];
    assert_eq!(story.kinds(), arrived_and(&bridged));
    assert_eq!(notes(&story), ["ended"]);
    lab.engine.client().hangup(&agent_call, HangupReason::Normal).await.unwrap();
    agent.until("CALL_CLOSED").await.unwrap_or_else(|error| panic!("{error}"));
    let held = [&ARRIVED[..4], &["call.bridged", "call.unbridged", "call.ended"]].concat();
    assert_eq!(lab.story(&agent_call).await.kinds(), held);
    for (phone, tone) in [(&bob, AGENT), (&agent, CUSTOMER)] {
        let heard = heard(phone, tone);
        assert!(heard >= TALK.as_secs_f64() - 1.0, "{heard} s of {tone} Hz");
    }
    assert_eq!(heard(&agent, MUSIC), 0.0, "who is parked without music hears silence");

    // The first of all has waited in vain.
    let story = lab.story(&vain).await;
    let timeout = ["call.flow.step", "call.notify", "call.flow.step", "call.play.ended", "call.ended"];
    assert_eq!(story.kinds(), arrived_and(&timeout));
    assert_eq!(notes(&story), ["timeout"]);
    assert_eq!(story.cdr.ended_by, Some(EndedBy::Engine));
    assert!(story.cdr.media.unwrap().packets_sent >= 950, "twenty seconds of music");
    passed(customer).await;
    for phone in [alice, bob, agent] {
        phone.quit().await.unwrap();
    }
    lab.stop().await;
}
