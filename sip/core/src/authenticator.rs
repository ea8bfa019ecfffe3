//! Our answers to 401 and 407 (RFC 3261 section 22).

use bytestring::ByteString;
use smallvec::SmallVec;

use crate::digest::{self, Challenge, Credentials, Exchange};
use crate::{Message, Method, Name};

/// Challenges answered for one request before giving up: a proxy, a server and a stale nonce of each.
const MAX_ATTEMPTS: u8 = 4;

/// Realms that are answered at once. Beyond it the oldest is left out.
const MAX_REALMS: usize = 8;

/// Credentials and the challenges they answered so far, for one series of requests: a call, a registration.
#[derive(Debug)]
pub(crate) struct Authenticator {
    credentials: Option<Credentials>,
    answered: Vec<Answered>,
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

impl Answered {
    fn is_of(&self, challenger: Challenger, challenge: &Challenge) -> bool {
        self.challenger == challenger && self.challenge.realm == challenge.realm
    }
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
        Self { credentials, answered: Vec::new(), attempts: 0 }
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
        match response.status() {
            Some(401 | 407) if self.credentials.is_some() && self.attempts < MAX_ATTEMPTS => {}
            Some(_) | None => return false,
        }
        // RFC 3261 section 16.7: a proxy that has forked the request sends the challenges of all branches back in one
        // response, those of servers and those of proxies.
        let mut challenges = Vec::new();
        for (challenger, name) in
            [(Challenger::Server, Name::WwwAuthenticate), (Challenger::Proxy, Name::ProxyAuthenticate)]
        {
            let of_each_realm = digest::strongest_of_each_realm(response.headers(name));
            challenges.extend(of_each_realm.into_iter().map(|challenge| (challenger, challenge)));
        }
        let is_rejected = |(challenger, challenge): &(Challenger, Challenge)| {
            let known = self.answered.iter().find(|answered| answered.is_of(*challenger, challenge));
            known.is_some_and(|answered| answered.fresh) && !challenge.stale
        };
        if challenges.is_empty() || challenges.iter().any(is_rejected) {
            return false;
        }
        self.attempts += 1;
        let cnonce = ByteString::from(format!("{random:016x}"));
        for (challenger, challenge) in challenges {
            let known = self.answered.iter().position(|answered| answered.is_of(challenger, &challenge));
            let cnonce = cnonce.clone();
            let answered = Answered { challenger, challenge, cnonce, nonce_count: 0, fresh: true };
            match known {
                Some(at) => self.answered[at] = answered,
                None => {
                    if self.answered.len() == MAX_REALMS {
                        self.answered.remove(0);
                    }
                    self.answered.push(answered);
                }
            }
        }
        true
    }

    /// Whether it is the nonce that was rejected, and not what was answered to it (RFC 7616 section 3.3).
    pub(crate) fn is_stale(response: &Message) -> bool {
        [Name::WwwAuthenticate, Name::ProxyAuthenticate].into_iter().any(|name| {
            digest::strongest_of_each_realm(response.headers(name)).iter().any(|challenge| challenge.stale)
        })
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
    fn all_realms_of_one_response_are_answered_together() {
        let response = Message::parse(
            "SIP/2.0 401 x\r\nWWW-Authenticate: Digest realm=\"a\",nonce=\"1\", Digest realm=\"b\",nonce=\"2\"\r\n\
             Proxy-Authenticate: Digest realm=\"a\",nonce=\"3\"\r\n\r\n"
                .into(),
        )
        .unwrap();
        let mut auth = authenticator();
        assert!(auth.accept_challenge(&response, 0));
        let lines = auth.lines(&Method::Invite, "sip:x@y", b"");
        let told: Vec<_> = lines.iter().map(|(name, value)| (*name, value.contains("realm=\"b\""))).collect();
        let server = Name::Authorization;
        assert_eq!(told, [(server, false), (server, true), (Name::ProxyAuthorization, false)]);
        assert!(!auth.accept_challenge(&response, 0), "all rejected");
        // Of one that is answered and one that is new, the answered one is rejected.
        let mut auth = authenticator();
        assert!(auth.accept_challenge(&challenge(401, "b", "1", false), 0));
        assert!(!auth.accept_challenge(&response, 0));
    }

    #[test]
    fn realms_do_not_pile_up() {
        let mut auth = authenticator();
        for realm in 0..100 {
            auth.begin();
            assert!(auth.accept_challenge(&challenge(407, &realm.to_string(), "n", false), 0));
        }
        assert_eq!(auth.lines(&Method::Invite, "sip:x@y", b"").len(), MAX_REALMS);
    }

    #[test]
    fn without_credentials_nothing_is_answered() {
        let mut auth = Authenticator::new(None);
        assert!(!auth.accept_challenge(&challenge(401, "r", "1", false), 0));
        assert!(auth.lines(&Method::Invite, "sip:x@y", b"").is_empty());
    }
}
