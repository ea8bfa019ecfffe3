//! Inbound calls: which route takes them, or why they are refused.

use control_api_types::EndpointMedia;
use media_core::sdp;
use sip_core::Transport;

use super::*;
use crate::number::number_of;
use crate::registrar::Reply;

impl Engine {
    /// Somebody calls, or wants to take the place of a call's peer. What no route wants is refused before anything is kept
    /// of it.
    pub(super) fn incoming(
        &mut self,
        now: Instant,
        session: SessionId,
        hop: Hop,
        request: &Message,
        replaces: Option<SessionId>,
    ) {
        let taken = match replaces {
            Some(replaced) => self.take_over(now, session, hop, request, replaced),
            None => self.take(now, session, hop, request),
        };
        match taken {
            Ok(()) => {}
            Err(refused) => {
                let retry_after = [("Retry-After".to_owned(), RETRY_AFTER.to_owned())];
                // The session is new and unanswered, so it can be refused; the endpoint forgets it by itself.
                let _ = match refused {
                    Refused::Stranger => self.endpoint.dismiss(now, session, 403, &[]),
                    Refused::Busy => self.endpoint.reject(now, session, 503, &retry_after),
                    Refused::With(status) => self.endpoint.reject(now, session, status, &[]),
                    // Who has registered from there is no stranger, and its address not forged.
                    Refused::Unproven(reply) if self.registrar.is_flow(hop) => {
                        self.endpoint.reject(now, session, reply.status, &reply.headers)
                    }
                    Refused::Unproven(reply) => {
                        self.endpoint.dismiss(now, session, reply.status, &reply.headers)
                    }
                };
            }
        }
    }

    /// The endpoint that calls.
    fn caller(&mut self, now: Instant, hop: Hop, request: &Message) -> Result<Arc<str>, Refused> {
        let (caller, proof) = self.registrar.caller(now, hop, request);
        self.tell_proof(hop, proof);
        caller.map_err(Refused::Unproven)
    }

    /// The endpoint that calls, if it is one.
    fn claimant(&mut self, now: Instant, hop: Hop, request: &Message) -> Result<Option<Arc<str>>, Refused> {
        let claimed = !self.registrar.is_empty()
            && (self.registrar.is_flow(hop)
                || !self.comes_by_trunk(hop) && self.registrar.is_claimed(hop, request));
        claimed.then(|| self.caller(now, hop, request)).transpose()
    }

    fn comes_by_trunk(&self, hop: Hop) -> bool {
        self.trunks.iter().any(|(_, trunk)| trunk.sends_from(hop.remote.ip()))
    }

    /// A call goes on with somebody else. RFC 3891 §3: "the UA MUST verify that the initiator of the new INVITE is
    /// authorized to replace the matched dialog": who comes by the same trunk, or is the same endpoint.
    fn take_over(
        &mut self,
        now: Instant,
        session: SessionId,
        hop: Hop,
        request: &Message,
        replaced: SessionId,
    ) -> Result<(), Refused> {
        let endpoint = self.claimant(now, hop, request)?;
        if endpoint.is_none() && !self.comes_by_trunk(hop) {
            return Err(Refused::Stranger);
        }
        // §3: of a dialog that is over "the UA SHOULD decline the request with a 603".
        let leg = *self.sessions.get(&replaced).ok_or(Refused::With(603))?;
        let call = self.calls.get(&leg).ok_or(Refused::With(603))?;
        let is_its_own = match endpoint {
            Some(endpoint) => call.record().endpoint.as_deref() == Some(&*endpoint),
            None => {
                let trunk = call.trunk().and_then(|id| self.trunks.get(id));
                trunk.is_some_and(|trunk| trunk.sends_from(hop.remote.ip()))
            }
        };
        if !is_its_own {
            return Err(Refused::With(403));
        }
        let offer = request.sdp();
        let taken = self.with_call(now, leg, |call, ctx| Some(call.take_over(ctx, session, replaced, offer)));
        taken.unwrap_or(Err(603)).map_err(Refused::With)
    }

    fn take(&mut self, now: Instant, session: SessionId, hop: Hop, request: &Message) -> Result<(), Refused> {
        let source = hop.remote.ip();
        let uri = request.request_uri().map_err(|_| Refused::With(400))?;
        // Parameters (RFC 3261 §19.1.6), escapes and separators say nothing to the rules, nor to whoever reads it.
        let called = number_of(uri.user().unwrap_or_default());
        let endpoint = self.claimant(now, hop, request)?;
        let from_trunk = |name: &str| {
            let named = self.trunks.find(name).and_then(|id| self.trunks.get(id));
            endpoint.is_none() && named.is_some_and(|trunk| trunk.sends_from(source))
        };
        let route = match route(&self.routes, source, endpoint.as_deref(), &called, from_trunk) {
            Verdict::Take(route) => route,
            Verdict::NotFound => return Err(Refused::With(404)),
            Verdict::Forbidden if endpoint.is_some() => return Err(Refused::With(404)),
            // Whoever it is may be an endpoint; who is none learns nothing by it.
            Verdict::Forbidden if !self.registrar.is_empty() => {
                return Err(self.caller(now, hop, request).err().unwrap_or(Refused::Stranger));
            }
            Verdict::Forbidden => return Err(Refused::Stranger),
        };
        let (flow, answer, webhook) = match &route.action {
            // 480: the route is right, but what it leads to is not there (any more).
            RouteAction::Flow(name) => {
                (Some(self.flows.get(name).cloned().ok_or(Refused::With(480))?), true, None)
            }
            RouteAction::Park => (None, false, None),
            RouteAction::Webhook(webhook) => (None, true, Some(webhook.clone())),
            &RouteAction::Reject(status) => return Err(Refused::With(status)),
        };
        // The trunk that the route names, else the first that has this address.
        let trunk = route
            .matches
            .trunk
            .as_deref()
            .and_then(|name| self.trunks.find(name))
            .or_else(|| self.trunks.iter().find(|(_, trunk)| trunk.sends_from(source)).map(|(id, _)| id))
            .filter(|_| endpoint.is_none());
        let its = trunk.and_then(|id| self.trunks.get(id));
        let account = endpoint.as_deref().and_then(|name| self.registrar.account(name));
        let has_room = its.is_none_or(|trunk| trunk.config.enabled && trunk.gate.has_room());
        if self.drain != Drain::Off || !self.gate.has_room() || !has_room {
            return Err(Refused::Busy);
        }
        let caller = request.from().map_err(|_| Refused::With(400))?;
        let from = match (account, caller.uri().user()) {
            (Some(account), _) => account.caller_id.as_ref().unwrap_or(&account.name).clone(),
            (None, Some(user)) => bounded(number_of(user))?,
            (None, None) => bounded(caller.uri().to_string())?,
        };
        let called = bounded(called)?;
        let at = self.timestamp(now);
        let id = id::ulid(at.unix_ms(), &mut self.random);
        let call = Call {
            trunk: its.map(|trunk| trunk.config.name.clone()),
            endpoint: account.map(|account| account.name.clone()),
            sip_call_id: request.call_id().ok().map(|id| id.to_string()),
            headers: told_headers(request),
            ..record(id, Direction::Inbound, called, from, at, &self.node)
        };
        let (codecs, srtp) = match (its, account) {
            (Some(trunk), _) => (trunk.config.codecs.clone(), trunk.config.srtp),
            (None, Some(account)) => (account.codecs.clone(), account.srtp),
            (None, None) => (Codec::DEFAULT.to_vec(), Srtp::Off),
        };
        let sdp = request.sdp();
        let webrtc = account.is_some_and(|account| match account.media {
            Some(EndpointMedia::Webrtc) => true,
            Some(EndpointMedia::Rtp) => false,
            None => match &sdp {
                Some(sdp) => sdp::is_webrtc(sdp),
                None => matches!(hop.transport, Transport::Ws | Transport::Wss),
            },
        });
        // Only a trunk's calls have passed somebody who signs.
        let identity = its.and_then(|trunk| self.identities.read(trunk.config.verify, at.unix_ms(), request));
        let questions = Questions { identity, webhook };
        let public_ip = its.and_then(|trunk| trunk.config.public_ip);
        if let Some(ip) = public_ip.filter(|ip| ip.is_ipv4() == hop.remote.is_ipv4()) {
            // The call is new and unanswered, and so it takes it.
            let _ = self.endpoint.set_public_ip(session, ip);
        }
        self.gate.enter_unpaced();
        if let Some(trunk) = trunk.and_then(|id| self.trunks.get_mut(id)) {
            trunk.gate.enter_unpaced();
        }
        // Without one it wants our offer in the 200.
        let offer = Offer { sdp, codecs, srtp, webrtc, answer, questions };
        let plan = Plan { flow, record: None, max_duration: self.inbound_max_duration, amd: None };
        let (leg, mut ctx) = self.new_leg(now);
        let live = LiveCall::inbound(&mut ctx, leg, call, trunk, session, offer, plan);
        self.insert(leg, live);
        Ok(())
    }
}

/// What the user is told of an INVITE besides what is read here: [`Call::headers`].
fn told_headers(request: &Message) -> BTreeMap<String, String> {
    const ABOUT_THE_CALLER: [&str; 5] =
        ["P-Asserted-Identity", "Privacy", "Diversion", "History-Info", "User-to-User"];
    const MOST_NAMES: usize = 32;
    const MOST_BYTES: usize = 4_096;
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    let mut left = MOST_BYTES;
    for (name, value) in request.rows() {
        let name = name.as_str();
        // RFC 3261 §7.3.1: header field names are case-insensitive.
        let about_the_caller = ABOUT_THE_CALLER.iter().find(|known| known.eq_ignore_ascii_case(name));
        let is_custom = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("X-"));
        if about_the_caller.is_none() && !is_custom || value.chars().any(char::is_control) {
            continue;
        }
        let before = told.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned();
        let has_room = before.is_some() || told.len() < MOST_NAMES;
        let Some(rest) = left.checked_sub(name.len() + value.len() + 2).filter(|_| has_room) else {
            continue;
        };
        left = rest;
        let key = before.unwrap_or_else(|| about_the_caller.map_or(name, |known| known).to_owned());
        let values = told.entry(key).or_default();
        if !values.is_empty() {
            values.push_str(", ");
        }
        values.push_str(value);
    }
    told
}

/// Longest number or name that is kept of a call: as long as the API takes them.
const MAX_USER: usize = 256;

/// What a call may show: one line that is not too long. Nobody is called otherwise, nor calls.
fn bounded(text: String) -> Result<String, Refused> {
    match text.len() <= MAX_USER && !text.chars().any(char::is_control) {
        true => Ok(text),
        false => Err(Refused::With(400)),
    }
}

/// Why an inbound call is not taken.
enum Refused {
    /// No route is meant for its source, which may be forged: it is told once.
    Stranger,
    /// There is no room; it is worth trying again soon.
    Busy,
    /// It may be an endpoint, which it has to prove; or it has, and is refused.
    Unproven(Reply),
    /// This status says it all.
    With(u16),
}
