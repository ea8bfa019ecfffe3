//! Random operations on calls that are bridged, beside a model that says from what the API shows who hears whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use control_api_types::{
    Bridge, BridgeCall, CallId, CreateBridge, Dtmf, Gather, HangupReason, JoinBridge, MuteDirection, Play,
    Record, Role,
};
use engine_core::Refusal;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::carrier::{Act::*, Answer::*, Script};
use crate::world::World;

const CUSTOMERS: &[Script] = &[
    &[(100, Answer(Good))],
    &[(100, Answer(Good)), (2_000, Press('1')), (2_500, Press('#'))],
    &[(100, Ring), (700, Answer(Good)), (3_000, Hangup)],
    &[(100, Answer(Good)), (3_000, Hangup)],
    &[(100, Ring)],
];

/// Bridges that calls and flows name.
const ROOMS: &[&str] = &["r0", "r1", "r2"];

#[test]
fn whatever_is_done_to_bridges_they_are_what_the_api_shows_and_end_with_their_calls() {
    for seed in netem::seeds(150) {
        Trial::new(seed).run(60);
    }
}

struct Trial {
    seed: u64,
    world: World,
    random: ChaCha20Rng,
    /// Accepted calls, in the order of their legs, which are numbered from 1.
    calls: Vec<CallId>,
    /// Bridges that somebody has been in.
    entered: BTreeSet<String>,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let mut world = World::with(|config| config.limits.max_calls = 12);
        for (n, script) in CUSTOMERS.iter().enumerate() {
            world.carrier.customer(&format!("{n}"), script);
        }
        let random = ChaCha20Rng::seed_from_u64(seed);
        Self { seed, world, random, calls: Vec::new(), entered: BTreeSet::new() }
    }

    fn run(mut self, operations: u32) {
        for n in 0..operations {
            self.operate(n);
            self.world.pump();
            self.check();
            if self.one_in(3) {
                // So late that everything of that time comes at once.
                let late = Duration::from_millis(u64::from(self.below(3_000)));
                self.world.now += late;
                self.world.pump();
            } else {
                let ms = u64::from(self.below(500));
                self.world.run_for(ms);
            }
            self.check();
        }
        self.world.makes_bridges = true;
        self.world.media.tells_end = true;
        let now = self.world.now;
        self.world.engine.drain(now, true);
        self.world.run();
        self.is_over();
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.random.next_u32() % bound
    }

    fn one_in(&mut self, bound: u32) -> bool {
        self.below(bound) == 0
    }

    fn one_of<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let at = self.random.next_u32() as usize;
        list.get(at.checked_rem(list.len())?).cloned()
    }

    /// A live call, or now and then one that has ended.
    fn some_call(&mut self) -> Option<CallId> {
        let live: Vec<CallId> = self.world.engine.calls().map(|call| call.id.clone()).collect();
        let all = if self.one_in(20) { self.calls.clone() } else { live };
        self.one_of(&all)
    }

    fn some_bridge(&mut self) -> String {
        let all: Vec<String> = self.world.engine.bridges().map(|bridge| bridge.id).collect();
        if self.one_in(8) { None } else { self.one_of(&all) }.unwrap_or_else(|| "none".to_owned())
    }

    fn word<T: Copy + ToString>(&mut self, words: &[T]) -> String {
        words[self.random.next_u32() as usize % words.len()].to_string()
    }

    fn flow(&mut self) -> Value {
        let other = self.some_call().map_or("nobody".to_owned(), |id| id.to_string());
        let room = self.word(ROOMS);
        let steps = json!({
            "wait": {"verb": "pause", "ms": 1 + self.below(3_000), "next": "bridge"},
            "ask": {"verb": "gather", "max": 1, "timeout_ms": 800, "retries": 1, "next": "bridge"},
            "keep": {"verb": "record", "max_s": 1, "next": "bridge"},
            "dial": {"verb": "dtmf", "digits": "12", "next": "bridge"},
            "bridge": match self.below(2) {
                0 => json!({"verb": "bridge", "call_id": other, "next": "after", "on": {"failed": "stay"}}),
                _ => json!({"verb": "bridge", "bridge_id": room, "next": "after", "on": {"ended": "ask"}}),
            },
            "after": {"verb": "play", "prompt": "hello", "next": "stay"},
            "stay": {"verb": "park", "play": {"prompt": "music", "loop": 0}},
        });
        json!({"start": self.word(&["wait", "ask", "keep", "dial", "bridge", "stay"]), "steps": steps})
    }

    fn operate(&mut self, n: u32) {
        let now = self.world.now;
        match self.below(26) {
            0..=5 => {
                let mut body = json!({"to": self.word(&[0, 1, 2, 3, 4]), "trunk": "jkt", "timeout_s": 4});
                if self.one_in(2) {
                    body["flow"] = self.flow();
                }
                if self.one_in(4) {
                    body["max_duration_s"] = json!(1 + self.below(6));
                }
                let id = format!("c{n}");
                match self.world.originate(&id, body) {
                    Ok(call) => self.calls.push(call.id),
                    Err(refusal) => panic!("seed {}: {refusal:?}", self.seed),
                }
            }
            6..=7 => {
                let mut body = json!({"calls": []});
                body["id"] = if self.one_in(3) { json!(null) } else { json!(self.word(ROOMS)) };
                body["hold_music"] = if self.one_in(2) { json!("music") } else { json!(null) };
                let calls: BTreeSet<CallId> = (0..self.below(4)).filter_map(|_| self.some_call()).collect();
                body["calls"] = json!(calls);
                let request = CreateBridge::from_json(&body).unwrap();
                let made = self.world.engine.create_bridge(now, request);
                self.shown(made);
            }
            8..=11 => {
                let (Some(call), bridge) = (self.some_call(), self.some_bridge()) else { return };
                let mut body = json!({"call_id": call, "role": self.word(Role::ALL)});
                body["on_end"] = json!(self.word(&["hangup", "continue", "park"]));
                if body["role"] == "whisper" {
                    let members = self.world.engine.bridge_by_id(&bridge).map(|bridge| bridge.calls);
                    let members: Vec<CallId> =
                        members.into_iter().flatten().map(|member| member.call_id).collect();
                    body["whisper_to"] = json!(Vec::from_iter(self.one_of(&members)));
                }
                let joined =
                    self.world.engine.join_bridge(now, &bridge, JoinBridge::from_json(&body).unwrap());
                self.shown(joined);
            }
            12 => {
                let bridge = self.some_bridge();
                let there = self.world.engine.bridge_by_id(&bridge).map(|bridge| bridge.calls);
                let members: Vec<_> = there.into_iter().flatten().collect();
                if let Some(member) = self.one_of(&members) {
                    assert_eq!(self.world.engine.leave_bridge(now, &bridge, &member.call_id), Ok(true));
                }
            }
            13 => {
                let bridge = self.some_bridge();
                let is_there = self.world.engine.bridge_by_id(&bridge).is_some();
                assert_eq!(self.world.engine.delete_bridge(now, &bridge), is_there);
            }
            14 => {
                self.world.makes_bridges = !self.one_in(4) || !self.world.bridges.is_empty();
            }
            15 => {
                if let (Some(leg), true) = (self.calls.len().checked_sub(1), self.one_in(3)) {
                    let leg = u64::from(self.below(leg as u32 + 1)) + 1;
                    self.world.lose_leg(leg);
                }
            }
            16 => self.world.media.tells_end = !self.one_in(4),
            other => {
                if let Some(id) = self.some_call() {
                    self.command(other, &id);
                }
            }
        }
    }

    /// Does something to a call; it may refuse.
    fn command(&mut self, what: u32, id: &CallId) {
        let now = self.world.now;
        let on = self.one_in(2);
        let with = self.some_call();
        let direction = MuteDirection::ALL[self.below(3) as usize];
        let (on_end, action) =
            (self.word(&["hangup", "continue", "park"]), self.word(&["start", "pause", "resume", "stop"]));
        let engine = &mut self.world.engine;
        let done = match what {
            17..=18 => {
                let Some(with) = with else { return };
                let body = json!({"with": with, "on_end": on_end});
                engine.bridge(now, id, &BridgeCall::from_json(&body).unwrap())
            }
            19 => engine.hangup(now, id, HangupReason::Normal).map(drop),
            20 => engine.mute(now, id, direction, on),
            21 => engine.hold(now, id, on),
            22 => {
                let record = Record::from_json(&json!({"action": action})).unwrap();
                engine.record(now, id, record).map(drop)
            }
            23 => {
                let body = json!({"max": 1, "timeout_ms": 700, "retries": 2, "play": {"prompt": "hello"}});
                engine.gather(now, id, Gather::from_json(&body).unwrap())
            }
            24 => engine.dtmf(now, id, &Dtmf::of("1w2")),
            _ if on => engine.play(now, id, Play { plays: 0, ..Play::once("music") }).map(drop),
            _ => engine.stop_play(now, id),
        };
        if let Err(Refusal::Draining | Refusal::Conflict | Refusal::QueueFull { .. }) = done {
            panic!("seed {}: {done:?} is no answer to {what}", self.seed);
        }
    }

    /// What was answered is what was done.
    fn shown(&mut self, answer: Result<Bridge, Refusal>) {
        let Ok(shown) = answer else { return };
        if !shown.calls.is_empty() {
            self.entered.insert(key(&shown));
        }
    }

    /// What the API shows is one whole, and is what media was told.
    #[track_caller]
    fn check(&mut self) {
        let (seed, engine) = (self.seed, &self.world.engine);
        let calls: BTreeMap<&CallId, _> = engine.calls().map(|call| (&call.id, call)).collect();
        let mut members: BTreeMap<CallId, String> = BTreeMap::new();
        let mut expected = Vec::new();
        for bridge in engine.bridges() {
            if !bridge.calls.is_empty() {
                self.entered.insert(key(&bridge));
            }
            let is_empty = bridge.calls.is_empty() && self.entered.contains(&key(&bridge));
            assert!(!is_empty, "seed {seed}: everybody has left {bridge:?}");
            for member in &bridge.calls {
                let before = members.insert(member.call_id.clone(), bridge.id.clone());
                assert_eq!(before, None, "seed {seed}: {} is in two bridges", member.call_id);
            }
            if bridge.calls.iter().filter(|member| member.role.talks()).count() >= 2 {
                expected.push(self.heard(&bridge));
            }
        }
        for (id, call) in &calls {
            // The CDR of a call that ends names the bridge that it has ended in.
            if call.ended_at.is_none() {
                assert_eq!(call.bridge_id.as_ref(), members.get(*id), "seed {seed}: {call:?}");
            }
        }
        for id in members.keys() {
            let call = calls.get(id);
            assert!(
                call.is_some_and(|call| call.answered_at.is_some() && call.ended_at.is_none()),
                "seed {seed}: {call:?} is in a bridge"
            );
        }
        let mut told: Vec<_> = self.world.bridges.values().cloned().collect();
        expected.sort();
        told.sort();
        assert_eq!(told, expected, "seed {seed}: who hears whom");
    }

    /// Who hears whom by what the API shows, by legs.
    fn heard(&self, bridge: &Bridge) -> BTreeMap<u64, Vec<u64>> {
        let leg = |id: &CallId| self.calls.iter().position(|call| call == id).unwrap() as u64 + 1;
        let hears = |to: &control_api_types::BridgeMember, from: &control_api_types::BridgeMember| {
            let state = |id: &CallId| {
                let call = self.world.engine.call(id).unwrap();
                (call.muted, call.held)
            };
            let ((inward, from_held), (outward, to_held)) = (state(&from.call_id), state(&to.call_id));
            let role = match from.role {
                Role::Talk | Role::Barge => true,
                Role::Listen => false,
                Role::Whisper => from.whisper_to.contains(&to.call_id),
            };
            let muted = matches!(inward, Some(MuteDirection::In | MuteDirection::Both))
                || matches!(outward, Some(MuteDirection::Out | MuteDirection::Both));
            role && from.call_id != to.call_id && !muted && !from_held && !to_held
        };
        let members = bridge.calls.iter().map(|to| {
            let heard = bridge.calls.iter().filter(|from| hears(to, from)).map(|from| leg(&from.call_id));
            (leg(&to.call_id), heard.collect())
        });
        members.collect()
    }

    /// Nothing is left, and everybody was told the whole story.
    fn is_over(&mut self) {
        let seed = self.seed;
        assert_eq!(self.world.bridges.len(), 0, "seed {seed}");
        for bridge in self.world.engine.bridges() {
            assert!(
                bridge.calls.is_empty() && !self.entered.contains(&key(&bridge)),
                "seed {seed}: {bridge:?}"
            );
        }
        assert_eq!((self.world.carrier.live(), self.world.media.open_ports()), (0, 0), "seed {seed}");
        assert_eq!((self.world.engine.load().live, self.world.engine.load().queued), (0, 0), "seed {seed}");
        for id in &self.calls {
            let story = &self.world.stories[id];
            assert!(story.ended.is_some(), "seed {seed}: {id} has not ended");
            let mut bridged = false;
            for line in &story.lines {
                if line.starts_with("bridged with") || line == "unbridged" {
                    assert_ne!(line == "unbridged", !bridged, "seed {seed}: {id} {:?}", story.lines);
                    bridged = !bridged;
                }
            }
            assert!(!bridged, "seed {seed}: {id} {:?}", story.lines);
        }
    }
}

/// A bridge among all those that have had its name.
fn key(bridge: &Bridge) -> String {
    format!("{} {}", bridge.id, bridge.created_at)
}
