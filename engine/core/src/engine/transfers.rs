//! Transfers by the API: whom the peer of a call is asked to call.

use control_api_types::flow::VerbName;
use control_api_types::{
    DialStep, DialTarget, EarlyMedia, OnEnd, Sound, Tone, Transfer, TransferEnd, TransferMode,
};
use sip_core::{NameAddr, ReferTo, Replaces, Uri};

use super::dials::{Transferring, in_words};
use super::*;
use crate::call::{HandOver, Parting};

/// How long one rings whom somebody is transferred to, in seconds.
const TRANSFER_RINGS: u32 = 30;

impl Engine {
    /// Has the peer of an answered call call somebody else. `call.transfer.progress` tells how that goes; the call ends when
    /// it has succeeded.
    pub fn transfer(&mut self, now: Instant, id: &CallId, transfer: &Transfer) -> Result<(), Refusal> {
        let leg = *self.by_id.get(id).ok_or(Refusal::NotFound)?;
        let to = match transfer.mode {
            TransferMode::Blind => self.blind(leg, transfer)?,
            TransferMode::Attended => self.attended(leg, transfer)?,
        };
        self.command(now, id, |call, ctx| call.transfer(ctx, to))
    }

    /// An endpoint hands over the one it talks to: to another endpoint, or to whom it talks to in another call of its own.
    pub(super) fn hand_over(&mut self, now: Instant, leg: LegId, asked: HandOver) {
        let HandOver { session, refer, ref to } = asked;
        let handed_over = match &to.replaces {
            Some(replaces) => self.hand_to_call(now, leg, &asked, replaces),
            None => self.hand_to_endpoint(now, leg, &asked),
        };
        if handed_over.is_none() {
            // 603 says nothing of the dialog: 404 and 481 would end it at phones that keep to RFC 5057 section 5.1. An error
            // means that the REFER is void already.
            let _ = self.endpoint.refuse_refer(now, session, refer, 603);
        }
    }

    /// Attended: the agent has another call, and those whom it talks to in the two are brought together.
    fn hand_to_call(
        &mut self,
        now: Instant,
        leg: LegId,
        asked: &HandOver,
        replaces: &Replaces,
    ) -> Option<()> {
        let (bridge, caller, back) = self.partner(leg)?;
        let session = self.endpoint.replaced(replaces)?;
        let other = *self.sessions.get(&session).filter(|other| **other != leg)?;
        // The dialogs of others are nobody's business.
        let agent = |leg| self.calls.get(leg).and_then(|call: &_| call.record().endpoint.as_deref());
        if agent(&other) != agent(&leg) {
            return None;
        }
        let (other_bridge, callee, its_back) = self.partner(other).filter(|(_, callee, _)| *callee != leg)?;
        self.endpoint.accept_refer(now, asked.session, asked.refer).ok()?;
        self.dissolve(now, &bridge, &[leg, caller]);
        self.dissolve(now, &other_bridge, &[other, callee]);
        self.pair(now, [(caller, back), (callee, its_back)], BridgeDtmf::Relay);
        self.with_call(now, leg, |call, ctx| {
            call.tell_transferor(ctx, asked.session, asked.refer, 200);
            call.takes_leave(ctx);
        });
        self.with_call(now, other, LiveCall::takes_leave);
        Some(())
    }

    /// Blind: another endpoint is called. Whom else an agent may call at whose expense is not for a phone to say.
    fn hand_to_endpoint(&mut self, now: Instant, leg: LegId, asked: &HandOver) -> Option<()> {
        let (bridge, caller, back) = self.partner(leg)?;
        let part = self.bridges.get(&bridge)?.part(leg)?.on_end;
        let to = format!("endpoint:{}", self.registrar.owner(asked.to.address.uri())?.name);
        let ringback = Play::of(Sound::Tone { tone: Tone::Ringback, country: None });
        let step = DialStep {
            to: vec![DialTarget { to, trunk: None }],
            trunk: None,
            from: None,
            timeout_s: TRANSFER_RINGS,
            early_media: EarlyMedia::Ignore,
            play: Some(Play { plays: 0, ..ringback }),
        };
        self.endpoint.accept_refer(now, asked.session, asked.refer).ok()?;
        self.dissolve(now, &bridge, &[leg, caller]);
        let HandOver { session, refer, .. } = *asked;
        let transfer = Transferring { transferor: leg, session, refer, part, back, rung: false };
        self.dial_on_transfer(now, caller, &step, transfer);
        Some(())
    }

    /// With whom a call talks, in which bridge, and what is to become of him when that ends.
    fn partner(&self, leg: LegId) -> Option<(String, LegId, OnEnd)> {
        let id = self.bridges.of(leg)?;
        let partner = self.bridges.get(id)?.partner(leg)?;
        Some((id.to_owned(), partner.leg, partner.part.on_end))
    }

    /// Ends a bridge. Those of `spared` go on as is said next, others as was agreed.
    fn dissolve(&mut self, now: Instant, id: &str, spared: &[LegId]) {
        let Some(bridge) = self.bridges.end(id) else { return };
        self.outputs.push_back(Output::Bridge { bridge: bridge.number, plan: None });
        for party in bridge.parties {
            self.with_call(now, party.leg, |call, ctx| match spared.contains(&party.leg) {
                true => call.set_aside(ctx),
                false => call.unbridged(ctx, party.part.on_end, Parting::of(EndedBy::Engine)),
            });
        }
    }

    /// A call's flow wants its far side to be sent to somebody.
    pub(super) fn transfer_by_flow(&mut self, now: Instant, leg: LegId, to: String) {
        let transfer = Transfer::from_json(&serde_json::json!({ "to": to })).map_err(Refusal::Validation);
        let refer_to = transfer.and_then(|transfer| self.blind(leg, &transfer));
        self.with_call(now, leg, |call, ctx| {
            if let Err(refusal) = refer_to.and_then(|refer_to| call.transfer(ctx, refer_to)) {
                call.tell_failed(ctx, VerbName::Transfer, to, in_words(refusal));
                call.transferred(ctx, TransferEnd::Failed);
            }
        });
    }

    /// A number is one of the trunk's, as it wants it, and for who does not come by a trunk one of ours.
    fn blind(&self, leg: LegId, transfer: &Transfer) -> Result<ReferTo, Refusal> {
        let to = &transfer.to;
        let call = self.calls.get(&leg).ok_or(Refusal::NotFound)?;
        let trunk = call.trunk().and_then(|id| self.trunks.get(id));
        let uri = match (transfer.to_is_uri(), trunk) {
            (true, trunk) => {
                let uri: Uri =
                    to.parse().map_err(|_| fault(format!("{to:?} is no SIP URI (RFC 3261 section 19.1)")))?;
                if let Some(trunk) = trunk {
                    let user = uri.user().unwrap_or_default();
                    let format = &trunk.config.number_format;
                    format.check_user(user).map_err(|error| fault(format!("{to:?} {error}")))?;
                }
                Ok(uri)
            }
            (false, Some(trunk)) => match trunk.config.number_format.dial(to) {
                Ok(user) => Ok(trunk.uri(&user, call.record().gateway.as_deref())),
                Err(error) => Err(fault(format!("{to:?} {error}"))),
            },
            (false, None) if call.record().endpoint.is_some() => Ok(Uri::sip(Some(to), &self.local, None)),
            (false, None) => Err(fault("a call without a trunk is transferred to a sip: URI".to_owned())),
        };
        Ok(ReferTo::new(NameAddr::new(uri?)))
    }

    /// The peer of the other call, with what makes it drop us in favour of whoever calls.
    fn attended(&self, leg: LegId, transfer: &Transfer) -> Result<ReferTo, Refusal> {
        let to = &transfer.to;
        let other = CallId::new(to).ok().and_then(|id| self.by_id.get(&id));
        let Some(&other) = other else { return Err(fault(format!("there is no live call {to:?}"))) };
        if other == leg {
            return Err(fault("a call cannot be handed over to itself".to_owned()));
        }
        let call = self.calls.get(&other).ok_or(Refusal::NotFound)?;
        let need = "the call to hand over to must be answered";
        call.refer_to(&self.endpoint).ok_or_else(|| call.wrong_state(need))
    }
}

fn fault(detail: String) -> Refusal {
    Refusal::Validation(vec![Fault { pointer: "/to".into(), detail }])
}
