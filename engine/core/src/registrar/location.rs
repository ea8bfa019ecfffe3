//! The location service (RFC 3261 §10): which contacts each address of record can be reached at now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api_types::event::EndpointGone;
use sip_core::{ByteString, Hop, Target, Transport, Uri};

/// One contact of an address of record, until it expires.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Binding {
    pub(crate) contact: Uri,
    /// Preference in thousandths (RFC 3261 §20.10: "a value between 0 and 1").
    pub(crate) q: u16,
    pub(crate) expires: Instant,
    /// When it was made.
    pub(crate) since: Instant,
    /// When it was last confirmed.
    pub(crate) refreshed: Instant,
    pub(crate) call_id: ByteString,
    pub(crate) cseq: u32,
    pub(crate) flow_id: Option<FlowId>,
    /// Proxies between the phone and us, the nearest to us first (RFC 3327).
    pub(crate) path: Vec<Uri>,
    pub(crate) way: Way,
    /// The way its last REGISTER came.
    pub(crate) source: Hop,
    pub(crate) user_agent: Option<ByteString>,
}

/// One of the connections of one phone (RFC 5626 §3.1): a new REGISTER with the same replaces the binding, whatever its
/// contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowId {
    pub(crate) instance: ByteString,
    pub(crate) reg_id: u32,
}

/// How requests get to a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To its first Path, or else to its contact.
    Uri,
    /// Back the way that its REGISTER came. When that is a stream, the binding ends with it.
    Flow,
}

impl Binding {
    /// Where an INVITE for it goes.
    pub(crate) fn target(&self) -> Option<Target> {
        let next = self.path.first().unwrap_or(&self.contact);
        let host = match next.param("maddr") {
            Some(maddr) => maddr.to_owned(),
            None => next.host()?.to_string(),
        };
        Some(Target {
            host,
            port: next.port(),
            // A peer that registered over TCP and leaves the parameter out means TCP.
            transport: Some(
                next.param("transport").and_then(Transport::from_token).unwrap_or(self.source.transport),
            ),
            flow: match self.way {
                Way::Uri => None,
                Way::Flow => Some(self.source),
            },
            ..Target::default()
        })
    }

    /// Whether the phone itself is connected by WebSocket (RFC 7118 §5), as browsers are, here or at a proxy before us.
    pub(crate) fn is_by_websocket(&self) -> bool {
        let named = self.contact.param("transport").and_then(Transport::from_token);
        [Some(self.source.transport), named]
            .into_iter()
            .flatten()
            .any(|transport| matches!(transport, Transport::Ws | Transport::Wss))
    }

    fn stream(&self) -> Option<(Transport, SocketAddr)> {
        let Hop { transport, remote, .. } = self.source;
        (self.way == Way::Flow && transport.is_reliable()).then_some((transport, remote))
    }
}

/// What one REGISTER asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Update {
    pub(crate) call_id: ByteString,
    pub(crate) cseq: u32,
    pub(crate) contacts: Contacts,
    pub(crate) path: Vec<Uri>,
    pub(crate) source: Hop,
    pub(crate) user_agent: Option<ByteString>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Contacts {
    /// `*`: remove every binding. RFC 3261 §10.3 step 6.
    RemoveAll,
    /// Add, refresh or remove these; none asks for the bindings only.
    Each(Vec<Wanted>),
}

/// One contact of a REGISTER.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) contact: Uri,
    pub(crate) q: u16,
    /// Zero removes it.
    pub(crate) lifetime: Duration,
    pub(crate) flow_id: Option<FlowId>,
    pub(crate) way: Way,
}

impl Wanted {
    /// Whether it is about this binding.
    fn names(&self, binding: &Binding) -> bool {
        match &self.flow_id {
            Some(_) => binding.flow_id == self.flow_id,
            // RFC 3261 §10.3 step 7: "comparisons between URIs … as defined in Section 19.1.4".
            None => binding.contact.is_equivalent(&self.contact),
        }
    }
}

/// Why an update was not made; nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A binding was last changed by this or a later request of the same Call-ID.
    OutOfOrder,
    /// More contacts than an address of record may have.
    TooMany,
}

/// What happened to a contact.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) aor: Arc<str>,
    pub(crate) contact: Uri,
    /// `None`: it can be reached now.
    pub(crate) gone: Option<EndpointGone>,
}

/// Every binding of every address of record.
#[derive(Debug, Default)]
pub(crate) struct Location {
    bindings: BTreeMap<Arc<str>, Vec<Binding>>,
    /// The first expiry of each address of record.
    expiries: BTreeSet<(Instant, Arc<str>)>,
    /// Who registered from where.
    sources: BTreeSet<(Transport, SocketAddr, Arc<str>)>,
}

impl Location {
    /// Carries out a REGISTER, as a whole or not at all. `limit`: most contacts; to make room, those go that were confirmed
    /// longest ago.
    pub(crate) fn register(
        &mut self,
        now: Instant,
        aor: &Arc<str>,
        update: &Update,
        limit: usize,
    ) -> Result<Vec<Change>, Refused> {
        let old = self.contacts(aor);
        // RFC 3261 §10.3 step 7: "If it does agree, it compares the CSeq value. If the value is higher than that of the
        // existing binding, it MUST update or remove the binding as above. If not, the update MUST be aborted and the
        // request fails."
        let late = |binding: &Binding| binding.call_id == update.call_id && binding.cseq >= update.cseq;
        let mut bindings = old.to_vec();
        let mut changes = Vec::new();
        let change = |contact: &Uri, gone| Change { aor: Arc::clone(aor), contact: contact.clone(), gone };
        match &update.contacts {
            Contacts::RemoveAll => {
                if bindings.iter().any(late) {
                    return Err(Refused::OutOfOrder);
                }
                let removed = |binding: Binding| change(&binding.contact, Some(EndpointGone::Unregistered));
                changes.extend(std::mem::take(&mut bindings).into_iter().map(removed));
            }
            Contacts::Each(wanted) => {
                if wanted.iter().filter(|wanted| !wanted.lifetime.is_zero()).count() > limit {
                    return Err(Refused::TooMany);
                }
                if old.iter().any(|binding| late(binding) && wanted.iter().any(|w| w.names(binding))) {
                    return Err(Refused::OutOfOrder);
                }
                for wanted in wanted {
                    let at = bindings.iter().position(|binding| wanted.names(binding));
                    let before = at.map(|at| bindings.remove(at));
                    if wanted.lifetime.is_zero() {
                        let gone = Some(EndpointGone::Unregistered);
                        changes.extend(before.map(|before| change(&before.contact, gone)));
                        continue;
                    }
                    let same = before.as_ref().filter(|b| b.contact.is_equivalent(&wanted.contact));
                    let since = same.map_or(now, |before| before.since);
                    if same.is_none() {
                        let replaced = |b: &Binding| change(&b.contact, Some(EndpointGone::Replaced));
                        changes.extend(before.as_ref().map(replaced));
                        changes.push(change(&wanted.contact, None));
                    }
                    bindings.push(Binding {
                        contact: wanted.contact.clone(),
                        q: wanted.q,
                        expires: now + wanted.lifetime,
                        since,
                        refreshed: now,
                        call_id: update.call_id.clone(),
                        cseq: update.cseq,
                        flow_id: wanted.flow_id.clone(),
                        path: update.path.clone(),
                        way: wanted.way,
                        source: update.source,
                        user_agent: update.user_agent.clone(),
                    });
                }
                // Those of this request are the last, so they stay.
                let surplus = bindings.len().saturating_sub(limit);
                bindings.sort_by_key(|binding| binding.refreshed);
                let displaced = |binding: Binding| change(&binding.contact, Some(EndpointGone::Replaced));
                changes.extend(bindings.drain(..surplus).map(displaced));
            }
        }
        self.replace(aor, bindings);
        Ok(changes)
    }

    /// The contacts of an address of record.
    pub(crate) fn contacts(&self, aor: &str) -> &[Binding] {
        self.bindings.get(aor).map_or(&[], Vec::as_slice)
    }

    /// How many there are of all.
    pub(crate) fn len(&self) -> usize {
        self.bindings.values().map(Vec::len).sum()
    }

    /// Contacts in the order in which they are tried: those of one group at once, the groups one after another (RFC 3261
    /// §16.6: "a proxy … MAY … use the q value"; higher is preferred). Within a group the freshest comes first.
    pub(crate) fn groups(&self, now: Instant, aor: &str) -> Vec<Vec<&Binding>> {
        let mut live: Vec<_> = self.contacts(aor).iter().filter(|binding| binding.expires > now).collect();
        live.sort_by_key(|binding| (std::cmp::Reverse(binding.q), std::cmp::Reverse(binding.refreshed)));
        live.chunk_by(|a, b| a.q == b.q).map(<[_]>::to_vec).collect()
    }

    /// When the next binding expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|&(at, _)| at)
    }

    /// Removes what has expired.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some((at, aor)) = self.expiries.first().filter(|(at, _)| *at <= now).cloned() {
            debug_assert!(at <= now);
            self.remove(&aor, EndpointGone::Expired, |binding| binding.expires <= now, &mut changes);
        }
        changes
    }

    /// A stream is no more: what was reached by it is not reached any more.
    pub(crate) fn stream_failed(&mut self, transport: Transport, remote: SocketAddr) -> Vec<Change> {
        let mut changes = Vec::new();
        let aors: Vec<_> = self.at(transport, remote).cloned().collect();
        for aor in aors {
            let on_it = |binding: &Binding| binding.stream() == Some((transport, remote));
            self.remove(&aor, EndpointGone::FlowFailed, on_it, &mut changes);
        }
        changes
    }

    /// Whose contacts were registered from there.
    pub(crate) fn at(&self, transport: Transport, remote: SocketAddr) -> impl Iterator<Item = &Arc<str>> {
        let all = self.sources.range((transport, remote, Arc::from(""))..);
        all.take_while(move |at| (at.0, at.1) == (transport, remote)).map(|(_, _, aor)| aor)
    }

    /// The addresses that contacts were registered from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = std::net::IpAddr> {
        self.sources.iter().map(|(_, remote, _)| remote.ip().to_canonical())
    }

    /// The address of record is none any more.
    pub(crate) fn forget(&mut self, aor: &Arc<str>) -> Vec<Change> {
        let mut changes = Vec::new();
        self.remove(aor, EndpointGone::Deleted, |_| true, &mut changes);
        changes
    }

    fn remove(
        &mut self,
        aor: &Arc<str>,
        why: EndpointGone,
        which: impl Fn(&Binding) -> bool,
        changes: &mut Vec<Change>,
    ) {
        let (gone, kept): (Vec<_>, Vec<_>) = self.contacts(aor).iter().cloned().partition(which);
        let change =
            |binding: Binding| Change { aor: Arc::clone(aor), contact: binding.contact, gone: Some(why) };
        changes.extend(gone.into_iter().map(change));
        self.replace(aor, kept);
    }

    /// The one place where bindings change, so that what is looked up by time and by stream agrees with them.
    fn replace(&mut self, aor: &Arc<str>, bindings: Vec<Binding>) {
        let first = |bindings: &[Binding]| bindings.iter().map(|binding| binding.expires).min();
        if let Some(old) = self.bindings.remove(aor) {
            if let Some(at) = first(&old) {
                self.expiries.remove(&(at, Arc::clone(aor)));
            }
            for Hop { transport, remote, .. } in old.iter().map(|binding| binding.source) {
                self.sources.remove(&(transport, remote, Arc::clone(aor)));
            }
        }
        for Hop { transport, remote, .. } in bindings.iter().map(|binding| binding.source) {
            self.sources.insert((transport, remote, Arc::clone(aor)));
        }
        if let Some(at) = first(&bindings) {
            self.expiries.insert((at, Arc::clone(aor)));
            self.bindings.insert(Arc::clone(aor), bindings);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    const LIMIT: usize = 3;

    #[derive(Debug, Clone)]
    enum Step {
        Register { aor: usize, call: u8, cseq: u32, port: u16, wanted: Vec<(u8, u64, Option<u32>)> },
        RemoveAll { aor: usize, call: u8, cseq: u32 },
        Pass { seconds: u64 },
        StreamEnds { port: u16 },
        Forget { aor: usize },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let wanted = (0..5u8, prop_oneof![Just(0), 60..300u64], prop::option::weighted(0.3, 1..3u32));
        let step = prop_oneof![
            8 => (0..2usize, 0..2u8, 0..40u32, 1..4u16, prop::collection::vec(wanted, 0..5)).prop_map(
                |(aor, call, cseq, port, wanted)| Step::Register { aor, call, cseq, port, wanted }
            ),
            1 => (0..2usize, 0..2u8, 0..40u32)
                .prop_map(|(aor, call, cseq)| Step::RemoveAll { aor, call, cseq }),
            3 => (1..200u64).prop_map(|seconds| Step::Pass { seconds }),
            1 => (1..4u16).prop_map(|port| Step::StreamEnds { port }),
            1 => (0..2usize).prop_map(|aor| Step::Forget { aor }),
        ];
        prop::collection::vec(step, 1..60)
    }

    fn source(port: u16) -> Hop {
        // The last port is that of a datagram.
        let transport = if port == 3 { Transport::Udp } else { Transport::Tcp };
        Hop { transport, local: ([192, 0, 2, 1], 5060).into(), remote: ([192, 0, 2, 9], port).into() }
    }

    fn uri(n: u8) -> Uri {
        format!("sip:{n}@192.0.2.9").parse().unwrap()
    }

    /// What the location service is to do, in the plainest way.
    #[derive(Debug, Clone, PartialEq)]
    struct Entry {
        aor: usize,
        contact: u8,
        reg_id: Option<u32>,
        call: u8,
        cseq: u32,
        port: u16,
        expires: u64,
        order: usize,
    }

    #[derive(Default)]
    struct Model {
        entries: Vec<Entry>,
        order: usize,
    }

    impl Model {
        /// Whether it is carried out.
        fn register(
            &mut self,
            now: u64,
            aor: usize,
            call: u8,
            cseq: u32,
            port: u16,
            wanted: &[(u8, u64, Option<u32>)],
        ) -> bool {
            let names = |entry: &Entry, &(contact, _, reg_id): &(u8, u64, Option<u32>)| {
                entry.aor == aor
                    && match reg_id {
                        Some(_) => entry.reg_id == reg_id,
                        None => entry.contact == contact,
                    }
            };
            let late = |entry: &&Entry| entry.call == call && entry.cseq >= cseq;
            if wanted.iter().filter(|wanted| wanted.1 > 0).count() > LIMIT
                || self
                    .entries
                    .iter()
                    .filter(late)
                    .any(|entry| wanted.iter().any(|wanted| names(entry, wanted)))
            {
                return false;
            }
            for wanted in wanted {
                if let Some(at) = self.entries.iter().position(|entry| names(entry, wanted)) {
                    self.entries.remove(at);
                }
                let &(contact, lifetime, reg_id) = wanted;
                self.order += 1;
                if lifetime > 0 {
                    let (expires, order) = (now + lifetime, self.order);
                    self.entries.push(Entry { aor, contact, reg_id, call, cseq, port, expires, order });
                }
            }
            while self.entries.iter().filter(|entry| entry.aor == aor).count() > LIMIT {
                let oldest = (0..self.entries.len())
                    .filter(|&at| self.entries[at].aor == aor)
                    .min_by_key(|&at| self.entries[at].order)
                    .unwrap();
                self.entries.remove(oldest);
            }
            true
        }

        fn remove_all(&mut self, aor: usize, call: u8, cseq: u32) -> bool {
            let late = |entry: &Entry| entry.aor == aor && entry.call == call && entry.cseq >= cseq;
            if self.entries.iter().any(late) {
                return false;
            }
            self.entries.retain(|entry| entry.aor != aor);
            true
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 500,
            rng_seed: RngSeed::Fixed(3261),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn agrees_with_the_model(steps in steps()) {
            #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
            let t0 = Instant::now();
            let aors: [Arc<str>; 2] = ["alice".into(), "bob".into()];
            let (mut location, mut model, mut now) = (Location::default(), Model::default(), 0);
            // The contacts that the changes tell of.
            let mut told: Vec<(Arc<str>, String)> = Vec::new();
            for step in steps {
                let at = t0 + Duration::from_secs(now);
                let update = |call: u8, cseq, port, contacts| Update {
                    call_id: call.to_string().into(),
                    cseq,
                    contacts,
                    path: Vec::new(),
                    source: source(port),
                    user_agent: None,
                };
                let (done, changes) = match &step {
                    Step::Register { aor, call, cseq, port, wanted } => {
                        let each = wanted.iter().map(|&(contact, lifetime, reg_id)| Wanted {
                            contact: uri(contact),
                            q: 1000,
                            lifetime: Duration::from_secs(lifetime),
                            flow_id: reg_id.map(|reg_id| FlowId { instance: "i".into(), reg_id }),
                            way: Way::Flow,
                        });
                        let update = update(*call, *cseq, *port, Contacts::Each(each.collect()));
                        let result = location.register(at, &aors[*aor], &update, LIMIT);
                        (Some((result.is_ok(), model.register(now, *aor, *call, *cseq, *port, wanted))), result.unwrap_or_default())
                    }
                    Step::RemoveAll { aor, call, cseq } => {
                        let update = update(*call, *cseq, 1, Contacts::RemoveAll);
                        let result = location.register(at, &aors[*aor], &update, LIMIT);
                        (Some((result.is_ok(), model.remove_all(*aor, *call, *cseq))), result.unwrap_or_default())
                    }
                    Step::Pass { seconds } => {
                        now += seconds;
                        model.entries.retain(|entry| entry.expires > now);
                        (None, location.expire(t0 + Duration::from_secs(now)))
                    }
                    Step::StreamEnds { port } => {
                        let source = source(*port);
                        model.entries.retain(|entry| entry.port != *port || *port == 3);
                        (None, location.stream_failed(source.transport, source.remote))
                    }
                    Step::Forget { aor } => {
                        model.entries.retain(|entry| entry.aor != *aor);
                        (None, location.forget(&aors[*aor]))
                    }
                };
                if let Some((done, expected)) = done {
                    prop_assert_eq!(done, expected, "{:?}", step);
                }
                for Change { aor, contact, gone } in changes {
                    let key = (aor, contact.to_string());
                    match gone {
                        None => told.push(key),
                        Some(_) => {
                            let at = told.iter().position(|told| *told == key);
                            told.remove(at.expect("what goes has come"));
                        }
                    }
                }
                let mut expected: Vec<_> = model
                    .entries
                    .iter()
                    .map(|entry| (Arc::clone(&aors[entry.aor]), uri(entry.contact).to_string()))
                    .collect();
                let mut found: Vec<_> = aors
                    .iter()
                    .flat_map(|aor| location.contacts(aor).iter().map(|b| (Arc::clone(aor), b.contact.to_string())))
                    .collect();
                for list in [&mut expected, &mut found, &mut told] {
                    list.sort();
                }
                prop_assert_eq!(&found, &expected, "{:?}", step);
                prop_assert_eq!(&told, &expected, "{:?}", step);
                let first = model.entries.iter().map(|entry| t0 + Duration::from_secs(entry.expires)).min();
                prop_assert_eq!(location.next_expiry(), first);
                for port in 1..4 {
                    let Hop { transport, remote, .. } = source(port);
                    let here = location.at(transport, remote).count();
                    let expected: BTreeSet<_> = model.entries.iter().filter(|e| e.port == port).map(|e| e.aor).collect();
                    prop_assert_eq!(here, expected.len());
                }
                prop_assert_eq!(location.len(), model.entries.len());
            }
        }
    }
}
