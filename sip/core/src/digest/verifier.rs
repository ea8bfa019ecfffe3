//! The server's side.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use subtle::ConstantTimeEq;

use super::algorithm::{self, Algorithm, Hash, Input};
use super::client::{Authorization, Counted};
use super::fields::{Challenge, Qop, QopOffer};
use crate::Method;

/// Issues challenges and checks answers, for one realm.
///
/// A nonce carries its own time of issue under a keyed hash, so that challenges cost no memory. Only nonces that were
/// answered rightly are remembered, at most `capacity` of them, to refuse a count that was used before.
#[derive(Debug)]
pub struct Verifier {
    realm: ByteString,
    secret: Secret,
    epoch: Instant,
    lifetime: Duration,
    hashes: Vec<Hash>,
    issued: u64,
    used: BTreeMap<Nonce, Window>,
    capacity: usize,
    /// Nonces up to this one may have been forgotten and are stale.
    forgotten: Option<Nonce>,
}

struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What a nonce says of itself; the order is that of issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Nonce {
    /// Milliseconds since the verifier's epoch.
    issued_ms: u64,
    serial: u64,
}

/// The judgement of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client knows the password.
    Accepted,
    /// The client knows the password but its nonce is too old or its count was used: challenge again with `stale`.
    Stale,
    /// The client does not know the password, or answered another challenge than ours.
    Refused,
}

impl Verifier {
    /// A verifier. `secret` is fresh randomness; `hashes` are offered in this order; nonces live for `lifetime`.
    pub fn new(
        realm: impl Into<ByteString>,
        secret: [u8; 32],
        epoch: Instant,
        lifetime: Duration,
        hashes: Vec<Hash>,
    ) -> Verifier {
        Verifier {
            realm: realm.into(),
            secret: Secret(secret),
            epoch,
            lifetime,
            hashes,
            issued: 0,
            used: BTreeMap::new(),
            // 10,000 phones that registered within the lifetime of a nonce: about 1 MB.
            capacity: 10_000,
            forgotten: None,
        }
    }

    /// One challenge per hash, the first first: each becomes a WWW-Authenticate line.
    pub fn challenges(&mut self, now: Instant, stale: bool) -> Vec<Challenge> {
        let issued_ms = now.saturating_duration_since(self.epoch).as_millis() as u64; // 584 million years
        let nonce = Nonce { issued_ms, serial: self.issued };
        self.issued += 1;
        let text = ByteString::from(self.sign(nonce));
        let challenge = |hash: &Hash| Challenge {
            realm: self.realm.clone(),
            nonce: text.clone(),
            opaque: None,
            stale,
            algorithm: Algorithm::from(*hash),
            qop: QopOffer::Auth,
        };
        self.hashes.iter().map(challenge).collect()
    }

    /// Judges an answer to a request of this method and body. `password` is `None` for a user who does not exist: the
    /// work done is the same.
    pub fn verify(
        &mut self,
        now: Instant,
        answer: &Authorization,
        method: &Method,
        body: &[u8],
        password: Option<&str>,
    ) -> Verdict {
        let Some(nonce) = self.read(&answer.nonce) else { return Verdict::Refused };
        let expected = algorithm::response(&Input {
            algorithm: answer.algorithm,
            username: &answer.username,
            realm: &self.realm,
            password: password.unwrap_or(""),
            nonce: &answer.nonce,
            cnonce: answer.cnonce.as_deref().unwrap_or(""),
            counted: answer.counted.map(|Counted { qop, nc }| (qop, nc)),
            method: method.as_str(),
            uri: &answer.uri,
            body,
        });
        let proven: bool = expected.as_bytes().ct_eq(answer.response.to_ascii_lowercase().as_bytes()).into();
        let ours = answer.realm == self.realm
            && self.hashes.contains(&answer.algorithm.hash)
            && !answer.algorithm.session;
        if !proven || !ours || password.is_none() {
            return Verdict::Refused;
        }
        let age =
            now.saturating_duration_since(self.epoch).saturating_sub(Duration::from_millis(nonce.issued_ms));
        if age > self.lifetime || self.forgotten.is_some_and(|last| nonce <= last) {
            return Verdict::Stale;
        }
        // An answer without count can be told from its replay only by taking each nonce once.
        let nc = answer.counted.map_or(1, |counted| match counted.qop {
            Qop::Auth | Qop::AuthInt => counted.nc,
        });
        if self.used.entry(nonce).or_default().take(nc) {
            self.forget_surplus();
            Verdict::Accepted
        } else {
            Verdict::Stale
        }
    }

    fn forget_surplus(&mut self) {
        while self.used.len() > self.capacity {
            self.forgotten = self.used.pop_first().map(|(nonce, _)| nonce);
        }
    }

    /// The nonce as text: time, serial and a keyed hash of both.
    fn sign(&self, nonce: Nonce) -> String {
        let head = format!("{:012x}{:012x}", nonce.issued_ms, nonce.serial);
        let seal = Hash::Sha512_256.hex(&[&self.secret.0, head.as_bytes(), self.realm.as_bytes()]);
        format!("{head}{}", &seal[..32])
    }

    fn read(&self, text: &str) -> Option<Nonce> {
        let field = |range: std::ops::Range<usize>| u64::from_str_radix(text.get(range)?, 16).ok();
        let nonce = Nonce { issued_ms: field(0..12)?, serial: field(12..24)? };
        bool::from(self.sign(nonce).as_bytes().ct_eq(text.as_bytes())).then_some(nonce)
    }
}

/// Which counts of a nonce were used: requests may overtake one another on the way by as much as the window is wide.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    highest: u32,
    /// Bit n: `highest - n` was used.
    used: u64,
}

impl Window {
    /// Whether `nc` is new; it is taken then.
    fn take(&mut self, nc: u32) -> bool {
        if nc > self.highest {
            let by = nc - self.highest;
            self.used = self.used.checked_shl(by).unwrap_or(0) | 1;
            self.highest = nc;
            return true;
        }
        let bit = 1u64.checked_shl(self.highest - nc).unwrap_or(0);
        let new = nc > 0 && bit != 0 && self.used & bit == 0;
        self.used |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Credentials, Exchange, answer};
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(300);

    struct Client {
        credentials: Credentials,
        challenge: Challenge,
    }

    impl Client {
        fn answer(&self, nc: u32) -> Authorization {
            let exchange = Exchange {
                method: &Method::Register,
                uri: "sip:example.com",
                body: b"",
                cnonce: "0a4f113b",
                nc,
            };
            let written = answer(&self.challenge, &self.credentials, &exchange).to_string();
            Authorization::parse(&written).unwrap()
        }
    }

    fn pair(hash: Hash) -> (Instant, Verifier, Client) {
        // The one instant of these tests; all others are counted from it.
        let now = epoch();
        let mut verifier = Verifier::new("example.com", [7; 32], now, LIFETIME, vec![hash]);
        let challenge = Challenge::parse(&verifier.challenges(now, false)[0].to_string()).unwrap();
        (now, verifier, Client { credentials: Credentials::new("bob", "zanzibar"), challenge })
    }

    #[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn check(verifier: &mut Verifier, now: Instant, answer: &Authorization) -> Verdict {
        verifier.verify(now, answer, &Method::Register, b"", Some("zanzibar"))
    }

    #[test]
    fn every_hash_is_accepted_once_per_count() {
        for hash in [Hash::Md5, Hash::Sha256, Hash::Sha512_256] {
            let (now, mut verifier, client) = pair(hash);
            for (nc, verdict) in [
                (1, Verdict::Accepted),
                (1, Verdict::Stale),
                (3, Verdict::Accepted),
                (2, Verdict::Accepted),
                (2, Verdict::Stale),
                (100, Verdict::Accepted),
                (36, Verdict::Stale),
                (37, Verdict::Accepted),
                (0, Verdict::Stale),
            ] {
                assert_eq!(check(&mut verifier, now, &client.answer(nc)), verdict, "{hash:?} {nc}");
            }
        }
    }

    #[test]
    fn wrong_proofs_are_refused() {
        let (now, mut verifier, client) = pair(Hash::Sha256);
        let right = client.answer(1);
        let refused = |verifier: &mut Verifier, answer: &Authorization| {
            check(verifier, now, answer) == Verdict::Refused
        };
        let wrong = Client { credentials: Credentials::new("bob", "x"), challenge: client.challenge.clone() };
        assert!(refused(&mut verifier, &wrong.answer(1)));
        assert!(refused(&mut verifier, &Authorization { nonce: "00".into(), ..right.clone() }));
        assert!(refused(
            &mut verifier,
            &Authorization { nonce: right.nonce.replacen('0', "1", 1).into(), ..right.clone() }
        ));
        assert!(refused(&mut verifier, &Authorization { uri: "sip:other".into(), ..right.clone() }));
        let weaker = Challenge { algorithm: Hash::Md5.into(), ..client.challenge.clone() };
        assert!(refused(
            &mut verifier,
            &Client { credentials: client.credentials.clone(), challenge: weaker }.answer(1)
        ));
        assert_eq!(verifier.verify(now, &right, &Method::Invite, b"", Some("zanzibar")), Verdict::Refused);
        assert_eq!(verifier.verify(now, &right, &Method::Register, b"", None), Verdict::Refused);
        assert_eq!(check(&mut verifier, now, &right), Verdict::Accepted, "the wrong ones took nothing");
    }

    #[test]
    fn an_old_nonce_is_stale_only_with_the_right_password() {
        let (now, mut verifier, client) = pair(Hash::Md5);
        let later = now + LIFETIME + Duration::from_millis(1);
        assert_eq!(check(&mut verifier, later, &client.answer(1)), Verdict::Stale);
        assert_eq!(
            verifier.verify(later, &client.answer(1), &Method::Register, b"", Some("x")),
            Verdict::Refused
        );
        assert!(verifier.challenges(later, true)[0].to_string().contains("stale=true"));
    }

    #[test]
    fn a_forgotten_nonce_cannot_be_replayed() {
        let (now, mut verifier, mut client) = pair(Hash::Md5);
        verifier.capacity = 1;
        let first = client.answer(1);
        assert_eq!(check(&mut verifier, now, &first), Verdict::Accepted);
        client.challenge = verifier.challenges(now, false).remove(0);
        assert_eq!(check(&mut verifier, now, &client.answer(1)), Verdict::Accepted);
        assert_eq!(check(&mut verifier, now, &first), Verdict::Stale);
        assert_eq!(verifier.used.len(), 1);
    }

    #[test]
    fn an_answer_without_count_is_taken_once() {
        let (now, mut verifier, mut client) = pair(Hash::Md5);
        client.challenge.qop = QopOffer::Absent;
        assert_eq!(check(&mut verifier, now, &client.answer(1)), Verdict::Accepted);
        assert_eq!(check(&mut verifier, now, &client.answer(1)), Verdict::Stale);
    }

    #[test]
    fn a_realm_with_quotes_survives() {
        let value = format!("Digest realm={}, nonce=\"n\"", crate::quote(r#"a "b""#));
        assert_eq!(Challenge::parse(&value).unwrap().realm, r#"a "b""#);
    }
}
