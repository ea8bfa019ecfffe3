//! How the door tells what belongs to us from what only claims to, without asking the endpoint.

use sha2::{Digest, Sha256};

use crate::transaction::parse_token;
use crate::{Message, Method};

/// The endpoint's secret mark on the tags and branches that it makes.
///
/// Of the 64 bits of each, 48 are random and 16 are a keyed hash of these. A peer hands them back in everything that
/// belongs to a dialog or transaction of ours: the To tag of an in-dialog request (RFC 3261 section 12.2) and of an ACK
/// (section 17.1.1.3), the topmost branch of a response (section 17.1.3). One message in 65,536 of those that guess passes,
/// which is no flood; whoever has received a message of ours can repeat its mark, which is why it is limited by rate as
/// well.
#[derive(Clone)]
pub struct Seal {
    key: [u8; 32],
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// The seal of the endpoint with this seed.
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        let key = Sha256::new().chain_update(b"seal").chain_update(seed).finalize();
        Self { key: key.into() }
    }

    /// A number with the mark on it, from a random one.
    pub(crate) fn token(&self, random: u64) -> u64 {
        random & !0xffff | u64::from(self.mark(random >> 16))
    }

    fn mark(&self, number: u64) -> u16 {
        let hash = Sha256::new().chain_update(self.key).chain_update(number.to_be_bytes()).finalize();
        u16::from_be_bytes([hash[0], hash[1]])
    }

    fn is_on(&self, text: &str) -> bool {
        parse_token(text).is_some_and(|token| self.mark(token >> 16) == token as u16) // the low 16 bits
    }

    /// Whether this request names a tag of ours, or this response a branch of ours.
    pub fn is_on_message(&self, message: &Message) -> bool {
        if message.is_request() {
            // A CANCEL copies To from its INVITE (RFC 3261 section 9.1): one with our tag is for a re-INVITE.
            message.to_tag().is_some_and(|tag| self.is_on(&tag))
        } else {
            let via = message.top_via().ok();
            let branch = via.as_ref().and_then(|via| via.branch());
            branch.and_then(|branch| branch.strip_prefix(crate::Via::COOKIE)).is_some_and(|b| self.is_on(b))
        }
    }
}

/// Whether a message belongs to something that exists if it is honest, but cannot show it: an ACK and a CANCEL.
pub(super) fn is_follow_up(method: &Method) -> bool {
    matches!(method, Method::Ack | Method::Cancel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_told_from_others() {
        let (ours, other) = (Seal::new(&[1; 32]), Seal::new(&[2; 32]));
        let mut passed = 0;
        for n in 0..20_000_u64 {
            let token = ours.token(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert!(ours.is_on(&format!("{token:016x}")));
            passed += u32::from(other.is_on(&format!("{token:016x}")));
        }
        assert!(passed <= 4, "{passed} of 20,000 where 0.3 are expected");
        for text in ["", "1", "zzzzzzzzzzzzzzzz", "00000000000000000", "1928301774"] {
            assert!(!ours.is_on(text), "{text}");
        }
    }
}
