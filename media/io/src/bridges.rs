//! The owner's side of bridges: which legs must share a shard, and what each of them sends.

use media_core::{BridgeId, Codec, Feed, Keys, Member, MemberSet, Ptime};

use crate::bridge::{Bridge, Seat};
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

/// What is known of a leg's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) codec: Codec,
    pub(crate) ptime: Ptime,
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
        let shard = self.shard_for(id, &config.members)?;
        if self.bridges.get(&id).is_some_and(|bridged| bridged.shard != shard) {
            self.unbridge(id)?;
        }
        for member in &config.members {
            self.cross(member, shard);
        }
        let number = match self.bridges.remove(&id) {
            Some(before) => {
                self.leave(id, &before.config.members);
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
        if !self.shards[shard].has_room() {
            return Err(Error::Busy { shard });
        }
        if let Some(Bridged { shard, number, config }) = self.bridges.remove(&id) {
            self.leave(id, &config.members);
            self.shards[shard].push(Order::Bridge { number, bridge: None });
            self.shards[shard].vacant_bridges.push(number);
        }
        Ok(())
    }

    /// Where the bridge is to be: where most of its legs are already, and of those where there is most room.
    fn shard_for(&self, id: BridgeId, members: &[Member]) -> Result<usize, Error> {
        let at = |shard| members.iter().filter(move |member| self.shard_of(member) == Some(shard)).count();
        let now = self.bridges.get(&id).map(|bridged| bridged.shard);
        let fits = |shard: &usize| self.shards[*shard].vacant.len() >= members.len() - at(*shard);
        let best = (0..self.shards.len())
            .filter(fits)
            .max_by_key(|shard| (at(*shard), now == Some(*shard), self.shards[*shard].vacant.len()));
        let shard = best.ok_or(Error::TooManyLegs { max_legs: self.config.max_legs })?;
        // Every leg is one order where it is and one where it goes, and the bridge is one where it is and where it was.
        let orders = members.len() + 2;
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

    fn leave(&mut self, id: BridgeId, members: &[Member]) {
        for member in members {
            if let Some(place) = self.legs.get_mut(&member.leg)
                && place.bridge == Some(id)
            {
                place.bridge = None;
            }
        }
    }

    /// Tells the shard what the bridge is now.
    pub(crate) fn arrange(&mut self, id: BridgeId) {
        let Some(Bridged { shard, number, config }) = self.bridges.get(&id) else { return };
        let places: Vec<Option<&Place>> =
            config.members.iter().map(|member| self.legs.get(&member.leg)).collect();
        let streams: Vec<Option<Stream>> =
            places.iter().map(|place| place.and_then(|place| place.stream)).collect();
        let seats = config.members.iter().enumerate().map(|(place, member)| Seat {
            slot: places[place].filter(|at| at.bridge == Some(id)).map(|place| place.slot),
            hears: member.hears,
            feed: feed(place, member.hears, &streams, config.keys),
        });
        let bridge = Box::new(Bridge { seats: seats.collect() });
        self.shards[*shard].push(Order::Bridge { number: *number, bridge: Some(bridge) });
    }
}

/// What the member at `place` sends.
fn feed(place: usize, hears: MemberSet, streams: &[Option<Stream>], keys: Keys) -> Feed {
    let mut heard = hears.iter().filter(|other| *other != place).filter_map(|other| *streams.get(other)?);
    match (streams[place], heard.next(), heard.next()) {
        // One who talks as we do: as it comes.
        (Some(ours), Some(theirs), None) if ours == theirs => Feed::Relay { keys },
        (_, _, _) => Feed::Own,
    }
}
