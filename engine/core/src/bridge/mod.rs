//! Bridges: who is in one, who hears whom, and when it is over.
//!
//! ```text
//! Empty ─ somebody comes → Waiting ─ a second talker comes → Met ─ fewer than two talkers are left → over
//!                             └── nobody is left → over
//! ```
//!
//! Nothing here touches a call; the engine does what follows for the calls.

use std::collections::BTreeMap;

use control_api_types::{
    Bridge as Shown, BridgeDtmf, BridgeMember, CallId, CreateBridge, MAX_BRIDGED, OnEnd, Role, Timestamp,
};
use media_core::{BridgeId, Keys, LegId, Member, MemberSet};

/// The bridges of a node, and which call is in which.
#[derive(Debug, Default)]
pub(crate) struct Bridges {
    by_id: BTreeMap<String, Bridge>,
    of: BTreeMap<LegId, String>,
    last: u64,
}

/// A bridge.
#[derive(Debug)]
pub(crate) struct Bridge {
    /// What the media shell knows it by.
    pub(crate) number: BridgeId,
    /// As it was asked for.
    pub(crate) request: CreateBridge,
    pub(crate) parties: Vec<Party>,
    stage: Stage,
    id: String,
    created_at: Timestamp,
}

/// A call in a bridge.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) leg: LegId,
    pub(crate) call: CallId,
    pub(crate) part: Part,
    /// Whether it is the call of an endpoint.
    pub(crate) agent: bool,
    pub(crate) sound: Sound,
    /// Whether `call.bridged` was told.
    pub(crate) told: bool,
    /// Whether it hears the bridge's music: it waits.
    pub(crate) music: bool,
}

impl Party {
    /// Whether it talks as one of those who work here. A whisper that names nobody is for these alone: a customer must
    /// not hear it, whoever is left.
    pub(crate) fn is_agent(&self) -> bool {
        self.agent && self.part.role.talks()
    }
}

/// What a call is in a bridge for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) role: Role,
    pub(crate) on_end: OnEnd,
    pub(crate) whisper_to: Vec<CallId>,
}

/// What the state of a call lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sound {
    /// What the far side says.
    pub(crate) heard: bool,
    /// What the far side is to hear.
    pub(crate) hears: bool,
    /// We hold it.
    pub(crate) held: bool,
    /// It holds us.
    pub(crate) holds: bool,
}

/// How far a bridge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody has ever been in it.
    Empty,
    /// Fewer than two talkers have come so far.
    Waiting,
    /// Two talkers have met in it.
    Met,
}

/// What has become of a bridge after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Fewer than two talkers have come so far.
    Waiting,
    /// They hear each other.
    Met,
    /// Fewer than two talkers are left of those who met, or nobody of those who waited.
    Over,
}

impl Part {
    /// Talks, and then this.
    pub(crate) fn talk(on_end: OnEnd) -> Self {
        Self { role: Role::Talk, on_end, whisper_to: Vec::new() }
    }
}

impl Bridges {
    /// A number that the media shell knows no bridge by.
    pub(crate) fn new_number(&mut self) -> BridgeId {
        self.last += 1;
        BridgeId(self.last)
    }

    pub(crate) fn make(&mut self, id: String, request: CreateBridge, created_at: Timestamp) {
        let number = self.new_number();
        let bridge =
            Bridge { number, request, parties: Vec::new(), stage: Stage::Empty, id: id.clone(), created_at };
        self.by_id.insert(id, bridge);
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Bridge> {
        self.by_id.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Bridge> {
        self.by_id.get_mut(id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Bridge> {
        self.by_id.values()
    }

    /// How many there are that nobody has ever been in. All others have a call in them, or end.
    pub(crate) fn empty(&self) -> usize {
        self.by_id.values().filter(|bridge| bridge.stage == Stage::Empty).count()
    }

    /// The bridge that the call of `leg` is in.
    pub(crate) fn of(&self, leg: LegId) -> Option<&str> {
        self.of.get(&leg).map(String::as_str)
    }

    pub(crate) fn find(&self, number: BridgeId) -> Option<&Bridge> {
        self.by_id.values().find(|bridge| bridge.number == number)
    }

    /// The party comes into the bridge, which has room for it.
    pub(crate) fn join(&mut self, id: &str, party: Party) {
        let Some(bridge) = self.by_id.get_mut(id) else { return };
        self.of.insert(party.leg, id.to_owned());
        bridge.parties.push(party);
    }

    /// The call of `leg` goes out of the bridge it is in.
    pub(crate) fn leave(&mut self, leg: LegId) -> Option<(String, Party)> {
        let id = self.of.remove(&leg)?;
        let bridge = self.by_id.get_mut(&id)?;
        let at = bridge.parties.iter().position(|party| party.leg == leg)?;
        Some((id, bridge.parties.remove(at)))
    }

    pub(crate) fn end(&mut self, id: &str) -> Option<Bridge> {
        let bridge = self.by_id.remove(id)?;
        for party in &bridge.parties {
            self.of.remove(&party.leg);
        }
        Some(bridge)
    }
}

impl Bridge {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn is_full(&self) -> bool {
        self.parties.len() >= MAX_BRIDGED
    }

    /// How it stands after a change; two who meet have met.
    pub(crate) fn stand(&mut self) -> Standing {
        let talkers = self.parties.iter().filter(|party| party.part.role.talks()).count();
        match (self.stage, talkers) {
            (_, 2..) => {
                self.stage = Stage::Met;
                Standing::Met
            }
            (Stage::Met, 0..2) => Standing::Over,
            (Stage::Waiting, 0..2) if self.parties.is_empty() => Standing::Over,
            (Stage::Waiting, 0..2) => Standing::Waiting,
            (Stage::Empty, 0..2) => {
                if !self.parties.is_empty() {
                    self.stage = Stage::Waiting;
                }
                Standing::Waiting
            }
        }
    }

    /// What the call of `leg` is in it for.
    pub(crate) fn part(&self, leg: LegId) -> Option<&Part> {
        self.parties.iter().find(|party| party.leg == leg).map(|party| &party.part)
    }

    /// The only other one who talks with the one of `leg`; none of several.
    pub(crate) fn partner(&self, leg: LegId) -> Option<&Party> {
        let mut others = self.parties.iter().filter(|party| party.leg != leg && party.part.role.talks());
        let partner = others.next().filter(|_| others.next().is_none());
        partner.filter(|_| {
            self.has_met() && self.parties.iter().any(|party| party.leg == leg && party.part.role.talks())
        })
    }

    /// Whether two talkers have met in it.
    pub(crate) fn has_met(&self) -> bool {
        self.stage == Stage::Met
    }

    /// Who hears whom.
    pub(crate) fn members(&self) -> Vec<Member> {
        let hears = |listener: usize| -> MemberSet {
            (0..self.parties.len()).filter(|talker| self.hears(listener, *talker)).collect()
        };
        let members = self.parties.iter().enumerate();
        members.map(|(place, party)| Member { leg: party.leg, hears: hears(place) }).collect()
    }

    /// The prompt to play to those who wait.
    pub(crate) fn music(&self) -> Option<&str> {
        self.request.hold_music.as_deref()
    }

    /// Who begins to wait, and who waits no longer.
    pub(crate) fn turn_music(&mut self) -> Vec<(LegId, bool)> {
        let waiting: Vec<bool> = (0..self.parties.len()).map(|place| self.waits(place)).collect();
        let changed = self.parties.iter_mut().zip(waiting).filter(|(party, waits)| party.music != *waits);
        changed
            .map(|(party, waits)| {
                party.music = waits;
                (party.leg, waits)
            })
            .collect()
    }

    /// Whether the party has nobody to hear for the time being: nobody has come yet, it is held by us, or all who would talk to
    /// it are on hold, whoever has put them there.
    fn waits(&self, place: usize) -> bool {
        let party = &self.parties[place];
        let is_away = |sound: Sound| sound.held || sound.holds;
        let mut talkers = self
            .parties
            .iter()
            .enumerate()
            .filter(|(other, talker)| *other != place && talker.part.role.talks())
            .map(|(_, talker)| talker);
        match (self.music(), self.has_met(), party.sound) {
            (None, _, _) => false,
            (Some(_), false, _) | (Some(_), true, Sound { held: true, .. }) => true,
            // Where its phone plays music of its own, there is nothing to send it.
            (Some(_), true, Sound { holds: true, .. }) => false,
            (Some(_), true, _) => talkers.all(|talker| is_away(talker.sound)),
        }
    }

    /// The legs that hear the one of `leg`.
    pub(crate) fn listeners(&self, leg: LegId) -> Vec<LegId> {
        let Some(talker) = self.parties.iter().position(|party| party.leg == leg) else { return Vec::new() };
        let hears = |(listener, _): &(usize, &Party)| self.hears(*listener, talker);
        self.parties.iter().enumerate().filter(hears).map(|(_, party)| party.leg).collect()
    }

    pub(crate) fn keys(&self) -> Keys {
        match self.request.dtmf {
            BridgeDtmf::Relay => Keys::Relayed,
            BridgeDtmf::Consume => Keys::Consumed,
        }
    }

    fn hears(&self, listener: usize, talker: usize) -> bool {
        let (from, to) = (&self.parties[talker], &self.parties[listener]);
        if listener == talker || !from.sound.heard || !to.sound.hears {
            return false;
        }
        match from.part.role {
            Role::Talk | Role::Barge => true,
            Role::Listen => false,
            Role::Whisper if !from.part.whisper_to.is_empty() => from.part.whisper_to.contains(&to.call),
            Role::Whisper => to.is_agent(),
        }
    }

    /// As the API shows it.
    pub(crate) fn show(&self) -> Shown {
        let member = |party: &Party| BridgeMember {
            call_id: party.call.clone(),
            role: party.part.role,
            on_end: party.part.on_end,
            whisper_to: party.part.whisper_to.clone(),
        };
        Shown {
            id: self.id.clone(),
            calls: self.parties.iter().map(member).collect(),
            hold_music: self.request.hold_music.clone(),
            dtmf: self.request.dtmf,
            created_at: self.created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bridge of these parties: their names, roles and whether they are agents. What each hears.
    fn heard(parties: &[(&str, Role, bool)], change: impl FnOnce(&mut Bridge)) -> Vec<String> {
        let mut bridges = Bridges::default();
        let request = CreateBridge { id: None, calls: vec![], hold_music: None, dtmf: BridgeDtmf::Relay };
        bridges.make("x".into(), request, Timestamp::from_unix_ms(0));
        for (n, (name, role, agent)) in parties.iter().enumerate() {
            let part = Part { role: *role, ..Part::talk(OnEnd::Hangup) };
            let sound = Sound { heard: true, hears: true, held: false, holds: false };
            let (leg, call) = (LegId(n as u64), CallId::new(name).unwrap());
            bridges.join("x", Party { leg, call, part, agent: *agent, sound, told: false, music: false });
        }
        let bridge = bridges.get_mut("x").unwrap();
        change(bridge);
        let name = |place: usize| parties[place].0;
        bridge.members().iter().map(|member| member.hears.iter().map(name).collect()).collect()
    }

    #[test]
    fn talkers_hear_each_other_and_listeners_hear_them() {
        let parties = [("a", Role::Talk, false), ("b", Role::Talk, false), ("c", Role::Listen, false)];
        assert_eq!(heard(&parties, |_| ()), ["b", "a", "ab"]);
        let barged = [("a", Role::Talk, false), ("b", Role::Talk, false), ("c", Role::Barge, false)];
        assert_eq!(heard(&barged, |_| ()), ["bc", "ac", "ab"]);
    }

    #[test]
    fn a_whisper_is_for_the_agent_or_for_those_it_names() {
        let parties = [("a", Role::Talk, false), ("b", Role::Talk, true), ("c", Role::Whisper, true)];
        assert_eq!(heard(&parties, |_| ()), ["b", "ac", "ab"]);
        let without = [("a", Role::Talk, false), ("b", Role::Talk, false), ("c", Role::Whisper, true)];
        assert_eq!(heard(&without, |_| ()), ["b", "a", "ab"], "nobody hears it by accident");
        let named = |bridge: &mut Bridge| {
            bridge.parties[2].part.whisper_to = vec![CallId::new("a").unwrap()];
        };
        assert_eq!(heard(&parties, named), ["bc", "a", "ab"]);
    }

    #[test]
    fn who_is_muted_or_held_is_not_heard_or_does_not_hear() {
        let parties = [("a", Role::Talk, false), ("b", Role::Talk, false), ("c", Role::Talk, false)];
        assert_eq!(heard(&parties, |bridge| bridge.parties[0].sound.heard = false), ["bc", "c", "b"]);
        assert_eq!(heard(&parties, |bridge| bridge.parties[0].sound.hears = false), ["", "ac", "ab"]);
    }

    #[test]
    fn it_is_over_when_fewer_than_two_talkers_are_left() {
        let parties = [("a", Role::Talk, false), ("b", Role::Talk, false), ("c", Role::Listen, false)];
        heard(&parties, |bridge| {
            assert_eq!(bridge.stand(), Standing::Met);
            bridge.parties.remove(2);
            assert_eq!(bridge.stand(), Standing::Met);
            bridge.parties.remove(0);
            assert_eq!(bridge.stand(), Standing::Over);
        });
        heard(&parties[1..], |bridge| {
            assert_eq!(bridge.stand(), Standing::Waiting);
            bridge.parties.remove(0);
            assert_eq!(bridge.stand(), Standing::Waiting);
            bridge.parties.clear();
            assert_eq!(bridge.stand(), Standing::Over);
        });
        heard(&[], |bridge| assert_eq!(bridge.stand(), Standing::Waiting));
    }
}
