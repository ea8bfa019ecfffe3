//! ICE-lite (RFC 8445, 2.5): we have one address that everybody reaches, so the peer does the checking and chooses, and we
//! answer.
//!
//! ```text
//!   no pair ──a check──▶ valid pairs ──a check with USE-CANDIDATE──▶ selected ──▶ another one selected
//!                           └── none for 30 s: nothing is taken from there any more
//! ```
//!
//! Only who knows the password of our description, and the user names of both, is answered; others learn nothing, not even by
//! an error: every agent knows both, and a port that answers anybody is of use to none of them. Answers are written over the
//! request, and nothing is allocated for one.

mod stun;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use self::stun::{Answer, Request};

/// How long a check speaks for the address that it came from (RFC 7675, 5.1: "Consent expires after 30 seconds").
pub const CONSENT: Duration = Duration::from_secs(30);

/// Addresses of the peer that are remembered: a few interfaces, and what a NAT makes of them.
const MAX_VALID: usize = 4;

/// What a datagram on a port for media is, by its first octet (RFC 7983, 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// STUN: a check.
    Stun,
    /// DTLS: a handshake.
    Dtls,
    /// RTP, RTCP, or nothing that anybody knows.
    Media,
}

impl Kind {
    /// What `datagram` is.
    pub fn of(datagram: &[u8]) -> Self {
        match datagram.first() {
            Some(0..=3) => Self::Stun,
            Some(20..=63) => Self::Dtls,
            Some(_) | None => Self::Media,
        }
    }
}

/// A user name fragment and a password: what one side's descriptions have.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `a=ice-ufrag`.
    pub ufrag: String,
    pwd: Zeroizing<String>,
}

/// RFC 8839, 5.4: ALPHA, DIGIT, "+" and "/".
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Credentials {
    /// New ones of unguessable octets. RFC 8445, 5.3: "at least 24 bits of randomness" for the fragment, "at least 128
    /// bits" for the password: here 48 and 144.
    pub fn generate(mut fill: impl FnMut(&mut [u8])) -> Self {
        let mut octets = Zeroizing::new([0; 32]);
        fill(&mut *octets);
        let text = |octets: &[u8]| -> String {
            octets.iter().map(|octet| char::from(ICE_CHARS[usize::from(octet % 64)])).collect()
        };
        Self { ufrag: text(&octets[..8]), pwd: Zeroizing::new(text(&octets[8..])) }
    }

    /// `a=ice-pwd`.
    pub(crate) fn pwd(&self) -> &str {
        &self.pwd
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, ***)", self.ufrag)
    }
}

/// What both descriptions say of ICE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// Ours: a check is proven by our password.
    pub local: Credentials,
    /// The peer's `a=ice-ufrag`. Its password is for checks of ours, of which there are none.
    pub remote_ufrag: String,
}

/// Our side of a leg.
#[derive(Debug)]
pub(crate) struct Agent {
    agreed: Agreed,
    /// RFC 8445, 7.2.2: of who is asked, a colon, and of who asks.
    username: Vec<u8>,
    key: hmac::Key,
    /// Where right checks have come from, and when last.
    valid: [Option<(SocketAddr, Instant)>; MAX_VALID],
    selected: Option<SocketAddr>,
    checked: Option<Instant>,
}

impl Agent {
    pub(crate) fn new(agreed: Agreed) -> Self {
        let (username, key) = proof(&agreed);
        Self { agreed, username, key, valid: [None; MAX_VALID], selected: None, checked: None }
    }

    /// After a further offer and answer. RFC 8445, 9: where the credentials are others it begins anew, and until the peer has
    /// chosen again "data can continue to be sent" as before.
    pub(crate) fn goes_on(&mut self, agreed: &Agreed) {
        if self.agreed != *agreed {
            (self.username, self.key) = proof(agreed);
            self.agreed = agreed.clone();
        }
    }

    /// Takes the datagram in the first `len` octets of `buffer`. If it is a check of the peer's, the answer to it, to be sent
    /// to `from`, replaces it; its length. `None`: it was none, and is not answered.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Option<usize> {
        let request = Request::read(buffer.get(..len)?)?;
        if request.username != self.username || !request.is_authentic(&self.key) {
            return None;
        }
        let (transaction, use_candidate) = (request.transaction, request.use_candidate);
        let answer = if !request.unknown.is_empty() {
            Answer::UnknownAttributes(request.unknown)
        } else if request.controlled {
            // RFC 8445, 6.1.1: a lite agent is the controlled one, whatever the tie-breakers say.
            Answer::RoleConflict
        } else {
            Answer::Success(from)
        };
        if let Answer::Success(from) = answer {
            self.checked = Some(now);
            self.validate(now, from);
            if use_candidate {
                self.selected = Some(from);
            }
        }
        answer.write(transaction, &self.key, buffer)
    }

    fn validate(&mut self, now: Instant, from: SocketAddr) {
        let known = self.valid.iter().position(|known| known.is_some_and(|(address, _)| address == from));
        // The first that is free, or the one heard of longest ago; what is not there is earlier than anything.
        let oldest = || (0..MAX_VALID).min_by_key(|place| self.valid[*place].map(|(_, at)| at));
        if let Some(place) = known.or_else(oldest) {
            self.valid[place] = Some((from, now));
        }
    }

    /// Whether `from` is the peer's: it has lately proven that it is there.
    pub(crate) fn admits(&self, now: Instant, from: SocketAddr) -> bool {
        let lately = |at| now.saturating_duration_since(at) < CONSENT;
        self.valid.iter().flatten().any(|(address, at)| *address == from && lately(*at))
    }

    /// Where the peer wants to be sent to. RFC 8445, 12.1: before it has chosen, any valid pair will do: here the last.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        let last = || self.valid.iter().flatten().max_by_key(|(_, at)| *at).map(|(address, _)| *address);
        self.selected.or_else(last)
    }

    /// For how long nobody has checked, if that is too long: the peer is gone.
    pub(crate) fn is_lost(&mut self, now: Instant) -> Option<Duration> {
        let silent = now.saturating_duration_since(self.checked?);
        (silent >= CONSENT).then(|| {
            // Told once.
            self.checked = None;
            silent
        })
    }
}

/// The user name and the key of the checks that are right.
fn proof(agreed: &Agreed) -> (Vec<u8>, hmac::Key) {
    let username = format!("{}:{}", agreed.local.ufrag, agreed.remote_ufrag);
    // RFC 8489, 9.1.1: the key of a short-term credential is the password.
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, agreed.local.pwd.as_bytes());
    (username.into_bytes(), key)
}

const _: () = assert!(stun::MAX_ANSWER <= crate::Leg::MAX_PACKET);
