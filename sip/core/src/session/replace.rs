//! A call that takes the place of another (RFC 3891).

use std::time::Instant;

use super::*;
use crate::{NameAddr, ParseError, ReferTo, Replaces};

impl Sessions {
    /// The call that an INVITE is to take the place of; where it cannot, the status and reason phrase to refuse it with
    /// (RFC 3891 section 3).
    pub(crate) fn replaced_by(&self, invite: &Message) -> Result<Option<SessionId>, (u16, &'static str)> {
        let replaces = match invite.replaces() {
            Ok(None) => return Ok(None),
            Ok(Some(replaces)) => replaces,
            Err(ParseError::Repeated(_)) => return Err((400, "Repeated Replaces")),
            Err(_) => return Err((400, "Malformed Replaces")),
        };
        // "If no match is found, the UAS rejects the INVITE and returns a 481 Call/Transaction Does Not Exist response."
        const NO_MATCH: (u16, &str) = (481, "");
        let session = self.named_by(&replaces).ok_or(NO_MATCH)?;
        match session.state {
            // Of early-only and a confirmed dialog: "If the flag is present, the UA rejects the request with a 486 Busy
            // response."
            State::Established(_) | State::Answered(_) if replaces.early_only => Err((486, "")),
            State::Established(_) | State::Answered(_) => Ok(Some(session.id)),
            State::Inviting(_) => Ok(Some(session.id)),
            // "an early dialog that was not initiated by this UA" is none.
            State::Invited(_) => Err(NO_MATCH),
            // "If the Replaces header field matches a dialog which has already terminated, the UA SHOULD decline the
            // request with a 603 Declined response."
            State::Over => Err((603, "")),
        }
    }

    /// The call that a Replaces names: its to-tag is ours, its from-tag the peer's (RFC 3891 section 3).
    pub(crate) fn replaced(&self, replaces: &Replaces) -> Option<SessionId> {
        self.named_by(replaces).map(|session| session.id)
    }

    fn named_by(&self, replaces: &Replaces) -> Option<&Session> {
        let session = self.of_dialog(&replaces.to_tag, &replaces.call_id)?;
        session.has_peer(&replaces.from_tag).then_some(session)
    }

    /// How somebody is told to take our place in an answered call: at the Contact of its peer, which knows the dialog (RFC
    /// 5589 section 7).
    pub(crate) fn refer_to(&self, id: SessionId) -> Option<ReferTo> {
        let session = self.session(id)?;
        let at = session.call_dialog().ok()?;
        let dialog = session.dialogs.iter().find(|dialog| dialog.id == at)?;
        let replaces = Replaces {
            call_id: session.call_id.clone(),
            // Section 6.1: zero stands for the tag that peers of RFC 2543 do not have.
            to_tag: dialog.remote_tag().unwrap_or("0").into(),
            from_tag: format!("{:016x}", session.tag).into(),
            early_only: false,
        };
        Some(ReferTo { address: NameAddr::new(dialog.target()), replaces: Some(replaces) })
    }

    /// The call that takes the place of this one is answered. It may have ended by itself meanwhile.
    pub(crate) fn give_place(&mut self, layer: &mut TransactionLayer, now: Instant, replaced: SessionId) {
        self.with(layer, replaced, |session, layer| session.give_place(layer, now));
    }
}

impl Session {
    fn has_peer(&self, tag: &str) -> bool {
        self.dialogs.iter().any(|dialog| dialog.remote_tag().unwrap_or("0") == tag)
    }

    fn give_place(&mut self, layer: &mut TransactionLayer, now: Instant) {
        match self.state {
            State::Established(at) => {
                self.send_bye(layer, now, at, None);
                self.end(layer, now, Side::Local, None, EndCause::Replaced);
            }
            // RFC 3326 section 3.1 has this example.
            State::Inviting(_) => {
                let reason = Reason {
                    protocol: ReasonProtocol::Sip,
                    cause: 200,
                    text: Some("Call completed elsewhere".to_owned()),
                };
                self.cancel(layer, now, Some(reason.to_string().into()));
            }
            State::Answered(_) => {
                // Never refused in this state.
                let _ = self.hangup(layer, now, &Hangup::default());
            }
            State::Invited(_) | State::Over => {}
        }
    }
}
