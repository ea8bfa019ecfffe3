//! Transfers by the API: whom the peer of a call is asked to call.

use control_api_types::flow::VerbName;
use control_api_types::{Transfer, TransferEnd, TransferMode};
use sip_core::{NameAddr, ReferTo, Uri};

use super::dials::in_words;
use super::*;

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
