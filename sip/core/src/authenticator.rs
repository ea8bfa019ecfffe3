//! Our answers to 401 and 407 (RFC 3261 section 22).

use bytestring::ByteString;
use smallvec::SmallVec;

use crate::digest::{self, Challenge, Credentials, Exchange};
use crate::{Message, Method, Name};

/// Challenges answered for one request before giving up: a proxy, a server and a stale nonce of each.
const MAX_ATTEMPTS: u8 = 4;

/// Credentials and the challenges they answered so far, for one series of requests: a call, a registration.
#[derive(Debug)]
pub(crate) struct Authenticator {
    credentials: Option<Credentials>,
    answered: SmallVec<[Answered; 1]>,
    /// Challenges answered for the present request.
    attempts: u8,
}

#[derive(Debug)]
struct Answered {
    challenger: Challenger,
    challenge: Challenge,
    cnonce: ByteString,
    nonce_count: u32,
    /// It was answered in the present request, not carried over from an earlier one.
    fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Challenger {
    /// 401
    Server,
    /// 407
    Proxy,
}

/// Authorization and Proxy-Authorization lines.
pub(crate) type Lines = SmallVec<[(Name<'static>, ByteString); 1]>;

impl Authenticator {
    pub(crate) fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials, answered: SmallVec::new(), attempts: 0 }
    }

    /// A new request begins. It carries the credentials for what is known already, and may be challenged anew.
    pub(crate) fn begin(&mut self) {
        self.attempts = 0;
        for answered in &mut self.answered {
            answered.fresh = false;
        }
    }

    /// Whether the request is worth sending again with [`Self::lines`] after this 401 or 407.
    ///
    /// RFC 3261 section 22.1: a client "MUST NOT re-attempt requests with the credentials that have just been rejected
    /// (though the request may be retried if the nonce was stale)."
    pub(crate) fn accept_challenge(&mut self, response: &Message, random: u64) -> bool {
        let (challenger, name) = match response.status() {
            Some(401) => (Challenger::Server, Name::WwwAuthenticate),
            Some(407) => (Challenger::Proxy, Name::ProxyAuthenticate),
            Some(_) | None => return false,
        };
        let Some(challenge) = digest::strongest(response.headers(name)) else { return false };
        if self.credentials.is_none() || self.attempts == MAX_ATTEMPTS {
            return false;
        }
        let known = self.answered.iter().position(|answered| {
            answered.challenger == challenger && answered.challenge.realm == challenge.realm
        });
        if known.is_some_and(|at| self.answered[at].fresh) && !challenge.stale {
            return false;
        }
        self.attempts += 1;
        let cnonce = ByteString::from(format!("{random:016x}"));
        let answered = Answered { challenger, challenge, cnonce, nonce_count: 0, fresh: true };
        match known {
            Some(at) => self.answered[at] = answered,
            // Bounded: a request answers at most `MAX_ATTEMPTS` new challenges, and realms beyond that push out the rest.
            None => {
                if self.answered.len() == usize::from(MAX_ATTEMPTS) {
                    self.answered.remove(0);
                }
                self.answered.push(answered);
            }
        }
        true
    }

    /// The header lines for a request, one for each challenge known.
    pub(crate) fn lines(&mut self, method: &Method, uri: &str, body: &[u8]) -> Lines {
        let Some(credentials) = &self.credentials else { return Lines::new() };
        self.answered
            .iter_mut()
            .map(|answered| {
                answered.nonce_count += 1;
                let exchange =
                    Exchange { method, uri, body, cnonce: &answered.cnonce, nc: answered.nonce_count };
                let name = match answered.challenger {
                    Challenger::Server => Name::Authorization,
                    Challenger::Proxy => Name::ProxyAuthorization,
                };
                (name, digest::answer(&answered.challenge, credentials, &exchange).to_string().into())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(status: u16, realm: &str, nonce: &str, stale: bool) -> Message {
        let name = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
        let text = format!(
            "SIP/2.0 {status} x\r\n{name}: Digest realm=\"{realm}\",nonce=\"{nonce}\",stale={stale},qop=\"auth\"\r\n\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    fn authenticator() -> Authenticator {
        Authenticator::new(Some(Credentials::new("u", "p")))
    }

    #[test]
    fn a_second_challenge_of_the_same_realm_means_refused() {
        let mut auth = authenticator();
        assert!(auth.accept_challenge(&challenge(401, "r", "1", false), 0));
        assert!(!auth.accept_challenge(&challenge(401, "r", "2", false), 0));
        auth.begin();
        assert!(auth.accept_challenge(&challenge(401, "r", "2", false), 0), "an old nonce may have expired");
        assert!(!auth.accept_challenge(&challenge(401, "r", "3", false), 0));
    }

    #[test]
    fn stale_nonces_are_replaced_but_not_for_ever() {
        let mut auth = authenticator();
        let accepted = (0..10)
            .take_while(|n| auth.accept_challenge(&challenge(401, "r", &n.to_string(), true), 0))
            .count();
        assert_eq!(accepted, 4);
    }

    #[test]
    fn proxy_and_server_are_answered_side_by_side_and_counts_rise() {
        let mut auth = authenticator();
        assert!(auth.accept_challenge(&challenge(407, "proxy", "1", false), 0));
        assert!(auth.accept_challenge(&challenge(401, "server", "2", false), 0));
        let lines = auth.lines(&Method::Invite, "sip:x@y", b"");
        assert_eq!(
            lines.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            [Name::ProxyAuthorization, Name::Authorization]
        );
        assert!(lines[0].1.contains("nc=00000001"), "{}", lines[0].1);
        assert!(auth.lines(&Method::Bye, "sip:x@y", b"")[0].1.contains("nc=00000002"));
    }

    #[test]
    fn without_credentials_nothing_is_answered() {
        let mut auth = Authenticator::new(None);
        assert!(!auth.accept_challenge(&challenge(401, "r", "1", false), 0));
        assert!(auth.lines(&Method::Invite, "sip:x@y", b"").is_empty());
    }
}
