//! The owner's side of bridges: which legs must share a shard, and what each of them sends.

use std::cmp::Reverse;
use std::time::Instant;

use media_core::{BridgeId, Ear, EarConfig, Feed, Keys, LegId, Member, MemberSet, Mixer, Stream};

use crate::bridge::{Bridge, Seat};
use crate::cost;
use crate::crossing::crossing;
use crate::media::{Media, Place};
use crate::shard::Order;
use crate::{BridgeConfig, Error};

/// A bridge as its owner wants it.
#[derive(Debug)]
pub(crate) struct Bridged {
    shard: usize,
    /// In its shard.
    number: u32,
    config: BridgeConfig,
}

impl Media {
    /// Makes a bridge of these legs, or changes the one there is to these. Legs that are not on one media thread move to
    /// one. A leg that is left out is on its own again.
    pub fn bridge(&mut self, id: BridgeId, config: BridgeConfig) -> Result<(), Error> {
        let max = MemberSet::CAPACITY;
        if config.members.len() > max {
            return Err(Error::BridgeFull { max });
        }
        for (place, member) in config.members.iter().enumerate() {
            let at = self.legs.get(&member.leg).ok_or(Error::NotOpen(member.leg))?;
            let twice = config.members[..place].iter().any(|other| other.leg == member.leg);
            if twice || at.bridge.is_some_and(|bridge| bridge != id) {
                return Err(Error::Bridged(member.leg));
            }
        }
        self.reclaim(Instant::now());
        let shard = self.shard_for(id, &config.members)?;
        if self.bridges.get(&id).is_some_and(|bridged| bridged.shard != shard) {
            self.unbridge(id)?;
        }
        for member in &config.members {
            self.cross(member, shard);
        }
        let number = match self.bridges.remove(&id) {
            Some(before) => {
                let gone = |member: &&Member| !config.members.iter().any(|other| other.leg == member.leg);
                self.leave(id, before.config.members.iter().filter(gone));
                before.number
            }
            // There is one for every leg.
            None => self.shards[shard].vacant_bridges.pop().ok_or(Error::Busy { shard })?,
        };
        for member in &config.members {
            if let Some(place) = self.legs.get_mut(&member.leg) {
                place.bridge = Some(id);
            }
        }
        self.bridges.insert(id, Bridged { shard, number, config });
        self.arrange(id);
        Ok(())
    }

    /// Ends a bridge: its legs are on their own again.
    pub fn unbridge(&mut self, id: BridgeId) -> Result<(), Error> {
        let shard = self.bridges.get(&id).ok_or(Error::NotBridged(id))?.shard;
        if !self.shards[shard].has_room_for(1 + MemberSet::CAPACITY) {
            return Err(Error::Busy { shard });
        }
        if let Some(Bridged { shard, number, config }) = self.bridges.remove(&id) {
            self.shards[shard].push(Order::Bridge { number, bridge: None });
            self.leave(id, config.members.iter());
            self.shards[shard].vacant_bridges.push(number);
        }
        Ok(())
    }

    /// Where the bridge is to be: where most of its legs are already, and of those where there is least to do.
    fn shard_for(&self, id: BridgeId, members: &[Member]) -> Result<usize, Error> {
        let at = |shard| members.iter().filter(move |member| self.shard_of(member) == Some(shard)).count();
        let now = self.bridges.get(&id).map(|bridged| bridged.shard);
        let fits = |shard: &usize| self.shards[*shard].vacant.len() >= members.len() - at(*shard);
        let best = (0..self.shards.len())
            .filter(fits)
            .max_by_key(|shard| (at(*shard), now == Some(*shard), Reverse(self.load(*shard))));
        let shard = best.ok_or(Error::TooManyLegs { max_legs: self.config.max_legs })?;
        // Every leg is one order where it is and two where it goes, those that leave are one, and the bridge is one where it is
        // and where it was.
        let before = self.bridges.get(&id).map_or(0, |bridged| bridged.config.members.len());
        let orders = 3 * members.len() + before + 2;
        let busy = (0..self.shards.len()).find(|shard| !self.shards[*shard].has_room_for(orders));
        busy.map_or(Ok(shard), |shard| Err(Error::Busy { shard }))
    }

    fn shard_of(&self, member: &Member) -> Option<usize> {
        self.legs.get(&member.leg).map(|place| place.shard)
    }

    /// Brings a leg to `shard`.
    fn cross(&mut self, member: &Member, shard: usize) {
        let Some(place) = self.legs.get_mut(&member.leg).filter(|place| place.shard != shard) else { return };
        let Some(slot) = self.shards[shard].vacant.pop() else { return };
        let from = Place { shard, slot, ..*place };
        let Place { shard: from, slot: from_slot, .. } = std::mem::replace(place, from);
        let wake = self.shards[shard].waker();
        let (departure, arrival) = crossing(member.leg, slot, wake);
        // In this order, always.
        self.shards[from].push(Order::Depart { slot: from_slot, departure });
        self.shards[shard].push(Order::Arrive(arrival));
    }

    fn leave<'a>(&mut self, id: BridgeId, members: impl Iterator<Item = &'a Member>) {
        for member in members {
            if let Some(place) = self.legs.get_mut(&member.leg)
                && place.bridge == Some(id)
            {
                place.bridge = None;
                self.give_ear(member.leg, false);
            }
        }
    }

    /// Tells the shard what the bridge is now.
    pub(crate) fn arrange(&mut self, id: BridgeId) {
        let Some(Bridged { shard, number, config }) = self.bridges.get(&id) else { return };
        let (shard, number) = (*shard, *number);
        let places: Vec<Option<&Place>> = config
            .members
            .iter()
            .map(|member| self.legs.get(&member.leg).filter(|place| place.bridge == Some(id)))
            .collect();
        let streams: Vec<Option<Stream>> =
            places.iter().map(|place| place.and_then(|it| it.stream)).collect();
        let feeds: Vec<Feed> = config
            .members
            .iter()
            .enumerate()
            .map(|(place, member)| feed(place, member.hears, &streams, config.keys))
            .collect();
        let mixes = |place: usize| matches!(feeds[place], Feed::Mix { .. });
        let heard: MemberSet = config
            .members
            .iter()
            .enumerate()
            .filter(|(place, _)| mixes(*place))
            .flat_map(|(_, member)| member.hears.iter())
            .filter(|place| streams.get(*place).is_some_and(Option::is_some))
            .collect();
        let seats = config.members.iter().zip(&places).enumerate().map(|(place, (member, at))| Seat {
            slot: at.map(|at| at.slot),
            hears: member.hears.without(place),
            feed: feeds[place],
            heard: heard.contains(place),
        });
        let mixer = (0..feeds.len()).any(mixes).then(|| Mixer::new(&streams));
        let codec = |place: usize| streams[place].map(|stream| stream.codec);
        let hearing: u32 = heard.iter().filter_map(codec).map(|codec| cost::EAR + cost::decode(codec)).sum();
        let mixing = (0..feeds.len()).filter(|place| mixes(*place)).filter_map(codec);
        let speaking: u32 = mixing.map(|codec| cost::MIX + cost::encode(codec) + cost::PACKET).sum();
        let bridge = Box::new(Bridge { seats: seats.collect(), mixer, cost: hearing + speaking });
        let ears: Vec<(LegId, bool)> = config
            .members
            .iter()
            .enumerate()
            .map(|(place, member)| (member.leg, heard.contains(place)))
            .collect();
        for (leg, heard) in ears {
            self.give_ear(leg, heard);
        }
        self.shards[shard].push(Order::Bridge { number, bridge: Some(bridge) });
    }

    /// Gives a leg an ear for its bridge, or takes it away again, unless the owner wants one, too.
    fn give_ear(&mut self, leg: LegId, wanted: bool) {
        let Some(place) = self.legs.get_mut(&leg) else { return };
        let Some(stream) = place.stream else { return };
        let had = place.ear.is_wanted();
        place.ear.bridge = wanted;
        let (slot, shard) = (place.slot, place.shard);
        match (had, place.ear.is_wanted()) {
            (false, true) => {
                let ear = Box::new(Ear::new(EarConfig::new(stream.codec)));
                self.shards[shard].push(Order::Listen { slot, ear });
            }
            (true, false) => self.shards[shard].push(Order::Deafen { slot }),
            (true, true) | (false, false) => {}
        }
    }
}

/// Who wants a leg to have an ear.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) owner: bool,
    pub(crate) bridge: bool,
}

impl Wanted {
    fn is_wanted(self) -> bool {
        self.owner || self.bridge
    }
}

/// What the member at `place` sends.
fn feed(place: usize, hears: MemberSet, streams: &[Option<Stream>], keys: Keys) -> Feed {
    let mut heard = hears.without(place).iter().filter_map(|other| *streams.get(other)?);
    match (streams[place], heard.next(), heard.next()) {
        (None, _, _) | (_, None, _) => Feed::Own,
        // One who talks as we do: as it comes.
        (Some(ours), Some(theirs), None) if ours == theirs => Feed::Relay { keys },
        (Some(_), Some(_), _) => Feed::Mix { keys },
    }
}
