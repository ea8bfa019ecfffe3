//! Agents who hand their call over from their phone: blind to another endpoint, or to whom they talk to in a second call.

use control_api_types::{BridgeCall, GiveFlow, HangupReason};
use engine_core::{Account, Refusal, RegistrarConfig};
use serde_json::json;
use sip_core::{NameAddr, Refer, ReferProgress, ReferTo, Replaces, Uri};

use crate::carrier::{Act::*, Answer::*, Carrier, Script};
use crate::endpoints::{register_user, udp};
use crate::world::World;

const ANSWERED: Script = &[(100, Answer(Good))];
/// Where the phones of alice and bob are.
const ALICE: &str = "192.0.2.21:5060";
const BOB: &str = "192.0.2.22:5060";

/// A customer `a` who has been connected with alice, by a flow that goes on to a notify after that. The two phones act by
/// these scripts.
fn connected(alice: Script, bob: Script) -> World {
    let mut world = World::with(|config| {
        let accounts =
            vec![Account::new("alice", "carillon", "secret"), Account::new("bob", "carillon", "secret")];
        config.registrar = RegistrarConfig { accounts, ..RegistrarConfig::default() };
    });
    for (number, (user, address, script)) in
        [("alice", ALICE, alice), ("bob", BOB, bob)].into_iter().enumerate()
    {
        let mut phone = Carrier::new(address.parse().unwrap());
        phone.customer(user, script);
        world.phones.push(phone);
        let contact = format!("Contact: <sip:{user}@{address}>");
        assert_eq!(
            register_user(&mut world, udp(address), number as u32 + 1, (user, "secret"), &contact),
            200
        );
    }
    let flow = json!({"start": "dial", "steps": {
        "dial": {"verb": "dial", "to": "endpoint:alice", "next": "after"},
        "after": {"verb": "notify", "data": "after"}}});
    world.call("a", ANSWERED, json!({"flow": flow}));
    world.run_for(400);
    assert_eq!(world.hears(), [(1, vec![2]), (2, vec![1])]);
    world
}

impl World {
    /// Who hears whom, in all bridges.
    fn hears(&self) -> Vec<(u64, Vec<u64>)> {
        self.bridges.values().flatten().map(|(leg, heard)| (*leg, heard.clone())).collect()
    }

    /// The call with this endpoint.
    #[track_caller]
    fn of(&self, endpoint: &str) -> String {
        let live = self.engine.calls().filter(|call| call.endpoint.as_deref() == Some(endpoint)).last();
        let ended = || self.stories.values().filter_map(|story| story.ended.as_ref());
        let ended = || ended().rfind(|call| call.endpoint.as_deref() == Some(endpoint));
        live.or_else(ended).unwrap_or_else(|| panic!("no call with {endpoint}")).id.to_string()
    }

    fn put_down(&mut self, id: &str) {
        let id = self.id(id);
        self.engine.hangup(self.now, &id, HangupReason::Normal).unwrap();
        self.pump();
    }

    #[track_caller]
    fn all_is_over(&mut self) {
        self.run();
        assert_eq!((self.bridges.len(), self.engine.bridges().count(), self.media.open_ports()), (0, 0, 0));
        assert_eq!((self.carrier.live(), self.phones[0].live(), self.phones[1].live()), (0, 0, 0));
    }
}

#[test]
fn a_blind_transfer_rings_another_endpoint_and_leaves_the_agent() {
    let mut world = connected(
        &[(100, Answer(Good)), (1_000, Refer("sip:bob@192.0.2.1"))],
        &[(200, Ring), (1_500, Answer(Good))],
    );
    world.run_for(1_500);
    assert_eq!(world.hears(), [], "the customer waits, and the agent hears nobody");
    let a = world.id("a");
    let with = BridgeCall::from_json(&json!({"with": world.of("alice")})).unwrap();
    assert!(matches!(world.engine.bridge(world.now, &a, &with), Err(Refusal::WrongState { .. })));
    // The agent may have to take the customer back, and is hung up if not: nothing else may be made of that leg.
    let room = world.create_bridge(json!({"calls": [world.of("alice")]}));
    assert!(matches!(room, Err(Refusal::WrongState { .. })), "{room:?}");
    let parked = json!({"flow": {"start": "p", "steps": {"p": {"verb": "park"}}}});
    let given = GiveFlow::from_json(&parked).unwrap();
    let agent = world.id(&world.of("alice"));
    let given = world.engine.give_flow(world.now, &agent, given);
    assert!(matches!(given, Err(Refusal::WrongState { .. })), "{given:?}");
    world.run_for(2_000);
    assert_eq!(world.hears(), [(1, vec![3]), (3, vec![1])]);
    assert_eq!(
        world.phones[0].progress,
        [
            ReferProgress::Accepted,
            ReferProgress::Trying(100),
            ReferProgress::Trying(180),
            ReferProgress::Done(200)
        ]
    );
    world.run_for(3_000);
    assert_eq!(world.phones[0].live(), 0, "who does not hang up by himself is hung up");
    let (alice, bob) = (world.of("alice"), world.of("bob"));
    world.put_down(&bob);
    world.all_is_over();
    world.check(
        "a",
        &format!(
            "initiated
            answered PCMA
            step dial dial
            bridged with {alice}
            unbridged
            plays p-1 ringback/itu
            bridged with {bob}
            played p-1 stopped
            unbridged
            step after notify
            notify \"after\"
            ended completed answered by engine 200"
        ),
    );
    world.check(
        &alice,
        "initiated\nanswered PCMA\nbridged with a\nunbridged\ntransfer 180\ntransfer 200
        ended completed answered by engine 200",
    );
    assert_eq!(world.cdr(&bob).parent_call_id, Some(world.id("a")));
    assert_eq!(
        world.phones[1].requests[0].from().unwrap().uri().user(),
        Some("1000"),
        "who is connected is shown"
    );
}

#[test]
fn where_nobody_answers_the_customer_is_back_with_the_agent() {
    for (bob, status) in
        [(&[(100, Reject(486))][..], 486), (&[(100, Reject(404))], 503), (&[(100, Reject(480))], 480)]
    {
        let mut world = connected(&[(100, Answer(Good)), (1_000, Refer("sip:bob@192.0.2.1"))], bob);
        world.run_for(3_000);
        assert_eq!(world.hears(), [(1, vec![2]), (2, vec![1])], "{status}");
        assert_eq!(world.phones[0].progress.last(), Some(&ReferProgress::Done(status)));
        let alice = world.of("alice");
        world.put_down(&alice);
        world.all_is_over();
        world.check(
            "a",
            &format!(
                "initiated\nanswered PCMA\nstep dial dial\nbridged with {alice}\nunbridged
                plays p-1 ringback/itu\nbridged with {alice}\nplayed p-1 stopped\nunbridged
                step after notify\nnotify \"after\"\nended completed answered by engine 200"
            ),
        );
    }
}

#[test]
fn an_agent_who_hangs_up_at_once_leaves_the_customer_ringing() {
    const LEAVES: Script = &[(100, Answer(Good)), (1_000, Refer("sip:bob@192.0.2.1")), (1_200, Hangup)];
    let mut world = connected(LEAVES, &[(100, Ring), (2_000, Answer(Good))]);
    world.run_for(4_000);
    assert_eq!(world.hears(), [(1, vec![3]), (3, vec![1])]);
    world.put_down("a");
    world.all_is_over();
    // With nobody to go back to, the customer's flow goes on as after the agent's end.
    let mut world = connected(LEAVES, &[(100, Ring), (2_000, Reject(486))]);
    world.all_is_over();
    let alice = world.of("alice");
    world.check(
        "a",
        &format!(
            "initiated\nanswered PCMA\nstep dial dial\nbridged with {alice}\nunbridged
            plays p-1 ringback/itu
            step after notify\nnotify \"after\"\nplayed p-1 stopped\nended completed answered by engine 200"
        ),
    );
}

#[test]
fn a_customer_who_hangs_up_while_it_rings_ends_it_for_all() {
    let mut world = connected(&[(100, Answer(Good)), (1_000, Refer("sip:bob@192.0.2.1"))], &[(100, Ring)]);
    world.run_for(2_000);
    world.put_down("a");
    world.all_is_over();
    assert_eq!(world.phones[0].progress.last(), Some(&ReferProgress::Done(487)));
    let bob = world.of("bob");
    assert_eq!(world.cdr(&bob).cause_call_id, Some(world.id("a")));
}

#[test]
fn who_is_nobody_here_or_has_nobody_to_hand_over_is_refused() {
    for to in ["sip:carol@192.0.2.1", "sip:62815@192.0.2.9", "tel:+62815"] {
        let mut world = connected(&[(100, Answer(Good))], &[]);
        let session = world.phones[0].session();
        let refer = Refer::new(ReferTo::new(to.parse::<Uri>().unwrap()));
        world.phones[0].endpoint.refer(world.now, session, refer).unwrap();
        world.run_for(1_000);
        assert_eq!(world.phones[0].progress, [ReferProgress::Refused(603)], "{to}");
        assert_eq!(world.hears(), [(1, vec![2]), (2, vec![1])]);
        world.put_down("a");
        world.all_is_over();
    }
    // A customer of the carrier sends nobody anywhere.
    let mut world = connected(&[(100, Answer(Good))], ANSWERED);
    let session = world.carrier.session();
    let refer = Refer::new(ReferTo::new("sip:bob@192.0.2.1".parse::<Uri>().unwrap()));
    world.carrier.endpoint.refer(world.now, session, refer).unwrap();
    world.run_for(1_000);
    assert_eq!(world.carrier.progress, [ReferProgress::Refused(603)]);
    world.put_down("a");
    world.all_is_over();
}

/// Alice has a second call, with bob; `replaces` makes the Replaces of its dialog into another.
fn attended(change: impl FnOnce(&mut Replaces)) -> World {
    let mut world = connected(&[(100, Answer(Good))], ANSWERED);
    let first = world.phones[0].session();
    world.originate("x", json!({"to": "endpoint:alice"})).unwrap();
    world.originate("b", json!({"to": "endpoint:bob"})).unwrap();
    world.run_for(400);
    let x = world.id("x");
    let with = BridgeCall::from_json(&json!({"with": "b"})).unwrap();
    world.engine.bridge(world.now, &x, &with).unwrap();
    world.pump();
    let mut replaces = world.phones[0].place_of(world.phones[0].session()).unwrap();
    change(&mut replaces);
    let address = NameAddr::new("sip:bob@192.0.2.1".parse::<Uri>().unwrap());
    let refer = Refer::new(ReferTo { address, replaces: Some(replaces) });
    world.phones[0].endpoint.refer(world.now, first, refer).unwrap();
    world.run_for(500);
    world
}

#[test]
fn an_attended_transfer_brings_the_two_others_together() {
    let mut world = attended(|_| ());
    assert_eq!(world.hears(), [(1, vec![4]), (4, vec![1])]);
    assert_eq!(
        world.phones[0].progress,
        [ReferProgress::Accepted, ReferProgress::Trying(100), ReferProgress::Done(200)]
    );
    world.run_for(3_000);
    assert_eq!(world.phones[0].live(), 0);
    world.put_down("b");
    world.all_is_over();
    world.check(
        "x",
        "initiated\nanswered PCMA\nbridged with b\nunbridged\nended completed answered by engine 200",
    );
    world.check(
        "b",
        "initiated\nanswered PCMA\nbridged with x\nunbridged\nbridged with a\nunbridged
        ended completed answered by api 200",
    );
}

#[test]
fn a_dialog_that_is_not_the_agents_own_is_not_replaced() {
    for change in [
        (|replaces: &mut Replaces| replaces.to_tag = "rubbish".into()) as fn(&mut Replaces),
        |replaces| replaces.from_tag = "rubbish".into(),
        |replaces| replaces.call_id = "rubbish".into(),
    ] {
        let mut world = attended(change);
        assert_eq!(world.phones[0].progress, [ReferProgress::Refused(603)]);
        assert_eq!(world.hears(), [(1, vec![2]), (2, vec![1]), (3, vec![4]), (4, vec![3])]);
        world.put_down("a");
        world.put_down("x");
        world.all_is_over();
    }
}
