//! The server's side.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use subtle::ConstantTimeEq;

use super::algorithm::{self, Algorithm, Ha1, Hash, Input};
use super::client::{Authorization, Counted};
use super::fields::{Challenge, Qop, QopOffer};
use crate::Method;

/// Issues challenges and checks answers, for one realm.
///
/// # What protects against replay
///
/// A nonce carries its time of issue and the address it was given to, under a keyed hash: challenges cost no memory, and
/// nobody can make a nonce or use one that somebody else was given. Of nonces that were answered rightly, and only of
/// those, the counts that were used are remembered: RFC 7616 section 3.4 has the client count so "to allow the server to
/// detect request replays". At most `capacity` nonces are: the oldest are forgotten, and every nonce as old as a forgotten
/// one is stale from then on. An answer without `qop` has no count, so its nonce is good for one request.
///
/// # How a registrar uses it
///
/// Without an answer for its realm it sends 401 with [`challenges`](Self::challenges) as WWW-Authenticate lines, from the
/// source address of the request; with one it asks [`verify`](Self::verify), for users that do not exist as well (with no
/// password, so that both take as long), and acts on the [`Verdict`]:
///
/// | verdict | answer | for whoever counts failures |
/// |---|---|---|
/// | `Accepted` | serve it | forget its failures |
/// | `Stale` | 401 with `challenges(now, source, true)` | nothing: the client knows the password |
/// | `Foreign` | 401 with `challenges(now, source, false)` | nothing: the source may be forged |
/// | `Refused` | 401 with `challenges(now, source, false)`, or 403 | one: it got our nonce at this address and guessed |
#[derive(Debug)]
pub struct Verifier {
    realm: ByteString,
    /// Stands in for users that do not exist.
    nobody: Ha1,
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

/// Whose nonce an answer was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Ours, given to the address that the answer came from.
    Given(Nonce),
    /// Ours, given to another address: a phone on the move, or somebody who listened.
    Elsewhere,
    /// Not ours, or of the process before this one.
    Unknown,
}

/// The judgement of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client knows the password.
    Accepted,
    /// The client knows the password, but its nonce is too old, was given to another address or by another process, or
    /// its count was used: challenge again with `stale`, which the client answers without asking its user.
    Stale,
    /// The client does not know the password, and its nonce is none that this address was given: challenge again.
    Foreign,
    /// The client does not know the password. It has the nonce that this address was given, so the address is not
    /// forged.
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
        let realm = realm.into();
        Verifier {
            nobody: Ha1::new("", &realm, ""),
            realm,
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

    /// One challenge per hash for the client at `source`, the first first: each becomes a WWW-Authenticate line.
    pub fn challenges(&mut self, now: Instant, source: IpAddr, stale: bool) -> Vec<Challenge> {
        let issued_ms = now.saturating_duration_since(self.epoch).as_millis() as u64; // 584 million years
        let nonce = Nonce { issued_ms, serial: self.issued };
        self.issued += 1;
        let text = ByteString::from(self.sign(nonce, &self.mark(source)));
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

    /// What to keep of a password at this realm.
    pub fn ha1(&self, username: &str, password: &str) -> Ha1 {
        Ha1::new(username, &self.realm, password)
    }

    /// Judges an answer that came from `source` to a request of this method and body. `ha1` is `None` for a user who does
    /// not exist: the work done is the same.
    pub fn verify(
        &mut self,
        now: Instant,
        source: IpAddr,
        answer: &Authorization,
        method: &Method,
        body: &[u8],
        ha1: Option<&Ha1>,
    ) -> Verdict {
        let origin = self.read(&answer.nonce, source);
        let expected = algorithm::response(&Input {
            algorithm: answer.algorithm,
            a1: ha1.unwrap_or(&self.nobody).hex(answer.algorithm.hash),
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
        let knows_password = proven && ours && ha1.is_some();
        let nonce = match (origin, knows_password) {
            (Origin::Given(nonce), true) => nonce,
            (Origin::Given(_), false) => return Verdict::Refused,
            // RFC 7616 section 3.3: stale says that "the previous request from the client was rejected because the nonce
            // value was stale", so that the client tries again "without re-prompting the user".
            (Origin::Elsewhere | Origin::Unknown, true) => return Verdict::Stale,
            (Origin::Elsewhere | Origin::Unknown, false) => return Verdict::Foreign,
        };
        let age =
            now.saturating_duration_since(self.epoch).saturating_sub(Duration::from_millis(nonce.issued_ms));
        if age > self.lifetime || self.forgotten.is_some_and(|last| nonce <= last) {
            return Verdict::Stale;
        }
        // An answer without count can be told from its replay only by taking each nonce once.
        let nc = answer.counted.map_or(1, |counted| match counted.qop {
            Qop::Auth | Qop::AuthInt => counted.nc,
        });
        let is_new = self.used.entry(nonce).or_default().take(nc);
        self.forget_surplus();
        if is_new { Verdict::Accepted } else { Verdict::Stale }
    }

    fn forget_surplus(&mut self) {
        while self.used.len() > self.capacity {
            self.forgotten = self.used.pop_first().map(|(nonce, _)| nonce);
        }
    }

    /// The nonce as text: time, serial, whose it is, and a keyed hash of all three.
    fn sign(&self, nonce: Nonce, mark: &str) -> String {
        let head = format!("{:012x}{:012x}{mark}", nonce.issued_ms, nonce.serial);
        let seal = Hash::Sha512_256.hex(&[&self.secret.0, head.as_bytes(), self.realm.as_bytes()]);
        format!("{head}{}", &seal[..32])
    }

    /// What an address is known by in a nonce. IPv6 hosts change addresses within their /64 (RFC 8981).
    fn mark(&self, source: IpAddr) -> String {
        let mut mark = Hash::Sha512_256.hex(&[&self.secret.0, &crate::net::Source::of(source).octets()]);
        mark.truncate(MARK);
        mark
    }

    fn read(&self, text: &str, source: IpAddr) -> Origin {
        let field = |range: std::ops::Range<usize>| u64::from_str_radix(text.get(range)?, 16).ok();
        let fields = (field(0..12), field(12..24), text.get(24..24 + MARK));
        let (Some(issued_ms), Some(serial), Some(mark)) = fields else { return Origin::Unknown };
        let nonce = Nonce { issued_ms, serial };
        if !bool::from(self.sign(nonce, mark).as_bytes().ct_eq(text.as_bytes())) {
            Origin::Unknown
        } else if mark == self.mark(source) {
            Origin::Given(nonce)
        } else {
            Origin::Elsewhere
        }
    }
}

/// Hexadecimal digits that stand for an address in a nonce: 64 bits, so that no two networks are taken for one.
const MARK: usize = 16;

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
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

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
        let challenge = Challenge::parse(&verifier.challenges(now, HERE, false)[0].to_string()).unwrap();
        (now, verifier, Client { credentials: Credentials::new("bob", "zanzibar"), challenge })
    }

    #[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn check(verifier: &mut Verifier, now: Instant, answer: &Authorization) -> Verdict {
        let ha1 = verifier.ha1("bob", "zanzibar");
        verifier.verify(now, HERE, answer, &Method::Register, b"", Some(&ha1))
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
    fn counts_of_zero_are_stale_and_fill_no_memory() {
        let (now, mut verifier, client) = pair(Hash::Sha256);
        verifier.capacity = 8;
        for _ in 0..100 {
            let challenge = verifier.challenges(now, HERE, false)[0].to_string();
            let challenge = Challenge::parse(&challenge).unwrap();
            let client = Client { credentials: client.credentials.clone(), challenge };
            assert_eq!(check(&mut verifier, now, &client.answer(0)), Verdict::Stale);
        }
        assert!(verifier.used.len() <= 8);
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
        assert!(refused(&mut verifier, &Authorization { uri: "sip:other".into(), ..right.clone() }));
        let weaker = Challenge { algorithm: Hash::Md5.into(), ..client.challenge.clone() };
        assert!(refused(
            &mut verifier,
            &Client { credentials: client.credentials.clone(), challenge: weaker }.answer(1)
        ));
        let ha1 = verifier.ha1("bob", "zanzibar");
        assert_eq!(verifier.verify(now, HERE, &right, &Method::Invite, b"", Some(&ha1)), Verdict::Refused);
        assert_eq!(verifier.verify(now, HERE, &right, &Method::Register, b"", None), Verdict::Refused);
        assert_eq!(check(&mut verifier, now, &right), Verdict::Accepted, "the wrong ones took nothing");
    }

    #[test]
    fn a_guess_with_a_nonce_that_the_source_was_not_given_says_nothing_about_the_source() {
        let (now, mut verifier, client) = pair(Hash::Sha256);
        let forger =
            Client { credentials: Credentials::new("bob", "x"), challenge: client.challenge.clone() };
        let right = client.answer(1);
        let there = IpAddr::from([192, 0, 2, 2]);
        for (nonce, verdict) in [
            ("00".to_owned(), Verdict::Foreign),
            (right.nonce.replacen('0', "1", 1), Verdict::Foreign),
            (format!("{}\u{e9}", &right.nonce[..23]), Verdict::Foreign),
        ] {
            let answer = Authorization { nonce: nonce.into(), ..right.clone() };
            assert_eq!(check(&mut verifier, now, &answer), verdict);
        }
        let from = |verifier: &mut Verifier, source, answer: &Authorization| {
            let ha1 = verifier.ha1("bob", "zanzibar");
            verifier.verify(now, source, answer, &Method::Register, b"", Some(&ha1))
        };
        assert_eq!(from(&mut verifier, there, &forger.answer(1)), Verdict::Foreign);
        assert_eq!(from(&mut verifier, HERE, &forger.answer(1)), Verdict::Refused);
        assert_eq!(from(&mut verifier, there, &right), Verdict::Stale, "it moved, or it is a replay");
        assert_eq!(from(&mut verifier, HERE, &right), Verdict::Accepted, "which took nothing");
    }

    #[test]
    fn a_nonce_is_good_within_an_ipv6_network() {
        let now = epoch();
        let mut verifier = Verifier::new("example.com", [7; 32], now, LIFETIME, vec![Hash::Md5]);
        let [here, near, far] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|address| address.parse().unwrap());
        let challenge = verifier.challenges(now, here, false).remove(0);
        let client = Client { credentials: Credentials::new("bob", "zanzibar"), challenge };
        for (nc, source, verdict) in [(1, near, Verdict::Accepted), (2, far, Verdict::Stale)] {
            let answer = client.answer(nc);
            let ha1 = verifier.ha1("bob", "zanzibar");
            let judged = verifier.verify(now, source, &answer, &Method::Register, b"", Some(&ha1));
            assert_eq!(judged, verdict);
        }
    }

    #[test]
    fn a_nonce_of_the_process_before_is_stale_with_the_right_password() {
        let (now, _, client) = pair(Hash::Md5);
        let mut restarted = Verifier::new("example.com", [8; 32], now, LIFETIME, vec![Hash::Md5]);
        assert_eq!(check(&mut restarted, now, &client.answer(1)), Verdict::Stale);
    }

    #[test]
    fn an_old_nonce_is_stale_only_with_the_right_password() {
        let (now, mut verifier, client) = pair(Hash::Md5);
        let later = now + LIFETIME + Duration::from_millis(1);
        assert_eq!(check(&mut verifier, later, &client.answer(1)), Verdict::Stale);
        let wrong = verifier.ha1("bob", "x");
        let verdict = verifier.verify(later, HERE, &client.answer(1), &Method::Register, b"", Some(&wrong));
        assert_eq!(verdict, Verdict::Refused);
        assert!(verifier.challenges(later, HERE, true)[0].to_string().contains("stale=true"));
    }

    #[test]
    fn a_forgotten_nonce_cannot_be_replayed() {
        let (now, mut verifier, mut client) = pair(Hash::Md5);
        verifier.capacity = 1;
        let first = client.answer(1);
        assert_eq!(check(&mut verifier, now, &first), Verdict::Accepted);
        client.challenge = verifier.challenges(now, HERE, false).remove(0);
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
