//! The carrier's registrar (RFC 3261, 10.3) and its doorkeeper: challenges, credentials, bindings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use sip_core::digest::{Authorization, Verdict, Verifier};
use sip_core::{Contact, Message, Method, Name};

use crate::config::CarrierConfig;

/// Most addresses of record with a binding; a carrier of tests has a few.
const MAX_BINDINGS: usize = 10_000;

/// How long a nonce is good, as Asterisk and Kamailio have it: minutes.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// Where an address of record can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// The user part of the address of record.
    pub user: String,
    /// Its contact.
    pub contact: String,
    /// The digest algorithm of its credentials; empty when none were asked for.
    pub algorithm: String,
}

#[derive(Debug)]
pub(crate) struct Registrar {
    verifier: Verifier,
    bindings: BTreeMap<String, (Instant, Registration)>,
    max_expires: Duration,
}

/// A response to a REGISTER: status and headers.
pub(crate) type Response = (u16, Vec<(String, String)>);

/// What the doorkeeper says.
pub(crate) enum Admission {
    /// Come in; the algorithm of the credentials, none when none are needed.
    Granted { algorithm: String },
    /// Not so: a 401 or 407 with these headers, or a 403.
    Denied(Response),
}

impl Registrar {
    pub(crate) fn new(now: Instant, config: &CarrierConfig, secret: [u8; 32]) -> Self {
        let hashes = config.algorithms.iter().map(|&algorithm| algorithm.into()).collect();
        Self {
            verifier: Verifier::new(config.realm.as_str(), secret, now, NONCE_LIFETIME, hashes),
            bindings: BTreeMap::new(),
            max_expires: Duration::from_secs(u64::from(config.max_expires_s)),
        }
    }

    /// The response to a REGISTER.
    pub(crate) fn register(
        &mut self,
        now: Instant,
        config: &CarrierConfig,
        source: IpAddr,
        request: &Message,
    ) -> Response {
        let algorithm = match self.admit(now, config, source, request, 401) {
            Admission::Granted { algorithm } => algorithm,
            Admission::Denied(response) => return response,
        };
        let Some(user) = request.to().ok().and_then(|to| to.uri().user().map(str::to_owned)) else {
            return (400, Vec::new());
        };
        let asked = request.expires().ok().flatten();
        let expires_of =
            |contact: &Contact| match contact.addr().and_then(|addr| addr.params().get("expires")) {
                Some(text) => text.parse().ok().map(Duration::from_secs),
                None => asked,
            };
        // One binding for each address of record: the last contact that is not removed.
        let mut kept = None;
        for contact in request.contacts() {
            let Ok(contact) = contact else { return (400, Vec::new()) };
            let expires = expires_of(&contact).unwrap_or(self.max_expires).min(self.max_expires);
            match contact {
                Contact::Addr(addr) if !expires.is_zero() => kept = Some((addr.uri().to_string(), expires)),
                Contact::Addr(_) | Contact::All => _ = self.bindings.remove(&user),
            }
        }
        self.bindings.retain(|_, (until, _)| *until > now);
        let Some((contact, expires)) = kept else { return (200, Vec::new()) };
        if self.bindings.len() >= MAX_BINDINGS && !self.bindings.contains_key(&user) {
            return (503, Vec::new());
        }
        let seconds = expires.as_secs().to_string();
        let headers = vec![
            ("Contact".to_owned(), format!("<{contact}>;expires={seconds}")),
            ("Expires".to_owned(), seconds),
        ];
        self.bindings.insert(user.clone(), (now + expires, Registration { user, contact, algorithm }));
        (200, headers)
    }

    /// Whether the request proves an account; `challenge` is 401 (registrar) or 407 (proxy).
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        config: &CarrierConfig,
        source: IpAddr,
        request: &Message,
        challenge: u16,
    ) -> Admission {
        if config.accounts.is_empty() {
            return Admission::Granted { algorithm: String::new() };
        }
        let (asks, proves) = match challenge {
            407 => ("Proxy-Authenticate", Name::ProxyAuthorization),
            _ => ("WWW-Authenticate", Name::Authorization),
        };
        let method = request.method().unwrap_or(&Method::Register);
        let mut stale = false;
        for answer in request.rows_of(proves).filter_map(|row| Authorization::parse(row).ok()) {
            let password = config.password(&answer.username);
            let ha1 = password.map(|password| self.verifier.ha1(&answer.username, password));
            match self.verifier.verify(now, source, &answer, method, request.body(), ha1.as_ref()) {
                Verdict::Accepted => return Admission::Granted { algorithm: answer.algorithm.to_string() },
                Verdict::Stale => stale = true,
                Verdict::Foreign => {}
                Verdict::Refused => return Admission::Denied((403, Vec::new())),
            }
        }
        let challenges = self.verifier.challenges(now, source, stale);
        let headers = challenges.iter().map(|challenge| (asks.to_owned(), challenge.to_string()));
        Admission::Denied((challenge, headers.collect()))
    }

    pub(crate) fn registrations(&self, now: Instant) -> Vec<Registration> {
        let live = self.bindings.values().filter(|(until, _)| *until > now);
        live.map(|(_, registration)| registration.clone()).collect()
    }

    pub(crate) fn registered(&self, now: Instant) -> usize {
        self.bindings.values().filter(|(until, _)| *until > now).count()
    }
}
