//! DTLS-SRTP (RFC 5764): the handshakes that bring the legs of browsers their keys.
//!
//! [`Handshakes`] is one value for all legs, without socket, clock or thread: datagrams and the time go in, datagrams, keys
//! and failures come out. The protocol is `dimpl`'s (`docs/adr/0009`); here is who may shake hands with whom, how many at
//! a time, for how long, and which octets are whose key.
//!
//! ```text
//!   begin ──▶ shaking ──the certificate is that of the SDP, the keys are there──▶ Secured, and over for its owner
//!                │                                                                   │ answers what the peer repeats
//!                ├── another certificate, no common profile, 20 s ──▶ Failed         ▼ for 30 s
//!                └── end                                                            forgotten
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest};
use dimpl::{Config, Dtls, DtlsCertificate, KeyingMaterial, SrtpProfile};
use media_core::LegId;
use media_core::sdp::{DtlsRole, Fingerprint};
use media_core::srtp::{Keys, MasterKey, Suite};
use zeroize::Zeroizing;

/// How long a handshake may take, from the moment the descriptions are exchanged: ICE has to find a way, and a few datagrams
/// may be lost.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How long one that is over is kept. RFC 6347, 4.2.4: whose last flight is lost repeats the one before it, and is to be
/// answered.
const LINGER: Duration = Duration::from_secs(30);

/// Most handshakes at a time, under way or kept: what one takes is in the order of ten KiB.
pub const MAX_HANDSHAKES: usize = 1_024;

/// Longest datagram that one may send: what any path takes that takes the SDP of browsers.
const MTU: usize = 1_150;

/// Why there is no certificate.
pub use rcgen::Error as CertificateError;

/// Our certificate and its key.
#[derive(Clone)]
pub struct Identity {
    certificate: DtlsCertificate,
    fingerprint: Fingerprint,
}

impl Identity {
    /// A new one, signed by itself: ECDSA with P-256, which RFC 8827, 6.5 has everybody support. Nobody keeps it, and nobody
    /// looks at more of it than its fingerprint.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::new(Vec::new())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "WebRTC");
        let certificate = params.self_signed(&key)?.der().to_vec();
        let fingerprint = fingerprint(&certificate);
        let certificate = DtlsCertificate { certificate, private_key: key.serialize_der() };
        Ok(Self { certificate, fingerprint })
    }

    /// What the SDP says of it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}

fn fingerprint(certificate: &[u8]) -> Fingerprint {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    Fingerprint(octets)
}

/// Why a leg gets no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The peer's certificate is not the one that its SDP announced: somebody is in between, or the SDP was changed.
    #[error("the certificate of the DTLS handshake is not that of the SDP (a=fingerprint)")]
    Fingerprint,
    /// Nothing came, or not enough.
    #[error(
        "no DTLS handshake within {} s (is the media port reachable from the browser, and public_ip right?)",
        TIMEOUT.as_secs()
    )]
    TimedOut,
    /// The peer's handshake cannot be gone on with.
    #[error("the DTLS handshake failed: {0}")]
    Protocol(String),
    /// As many as there may be.
    #[error("too many DTLS handshakes at a time ({MAX_HANDSHAKES})")]
    TooMany,
}

/// What becomes of a handshake.
#[derive(Debug)]
pub enum Output {
    /// Send this from the leg's socket.
    Send(Box<[u8]>),
    /// The keys of the leg.
    Secured(Box<Keys>),
    /// There will be none.
    Failed(Failure),
}

/// All handshakes.
pub struct Handshakes {
    identity: Identity,
    config: Arc<Config>,
    all: BTreeMap<LegId, Handshake>,
    outputs: VecDeque<(LegId, Output)>,
    buffer: Vec<u8>,
}

struct Handshake {
    dtls: Dtls,
    role: DtlsRole,
    expected: Fingerprint,
    stage: Stage,
    /// When it wants to repeat what it has sent.
    wake_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Under way; whether the peer has shown its certificate.
    Shaking { until: Instant, recognised: bool },
    /// Its keys are given out.
    Over { until: Instant },
}

impl Stage {
    fn until(self) -> Instant {
        match self {
            Self::Shaking { until, .. } | Self::Over { until } => until,
        }
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes").field("all", &self.all.len()).finish_non_exhaustive()
    }
}

impl Handshakes {
    /// None yet, of `identity`.
    ///
    /// # Errors
    /// When the cryptography of the build lacks what a handshake needs.
    pub fn new(identity: Identity) -> Result<Self, Failure> {
        // Where the peer is has been proven by ICE, so no cookie asks for it again (RFC 5764, 6.7.1).
        let config = Config::builder().mtu(MTU).use_server_cookie(false).build();
        let config = config.map_err(|error| Failure::Protocol(error.to_string()))?;
        Ok(Self {
            identity,
            config: Arc::new(config),
            all: BTreeMap::new(),
            outputs: VecDeque::new(),
            buffer: vec![0; 2 * MTU],
        })
    }

    /// Begins a handshake of `leg`, in place of any that it has.
    pub fn begin(&mut self, now: Instant, leg: LegId, role: DtlsRole, expected: Fingerprint) {
        self.end(leg);
        if self.all.len() >= MAX_HANDSHAKES && !self.forget_one() {
            return self.outputs.push_back((leg, Output::Failed(Failure::TooMany)));
        }
        // RFC 8827, 6.5 asks for DTLS 1.2; whoever has more speaks that too.
        let mut dtls = Dtls::new_12(Arc::clone(&self.config), self.identity.certificate.clone(), now);
        dtls.set_active(role == DtlsRole::Active);
        let stage = Stage::Shaking { until: now + TIMEOUT, recognised: false };
        self.all.insert(leg, Handshake { dtls, role, expected, stage, wake_at: None });
        self.go_on(now, leg, |dtls| dtls.handle_timeout(now));
    }

    /// The leg is gone, and with it its handshake.
    pub fn end(&mut self, leg: LegId) {
        self.all.remove(&leg);
        self.outputs.retain(|(of, _)| *of != leg);
    }

    /// Takes a datagram of the peer's. Of a leg that shakes no hands it is ignored.
    pub fn receive(&mut self, now: Instant, leg: LegId, datagram: &[u8]) {
        self.go_on(now, leg, |dtls| {
            dtls.handle_timeout(now)?;
            dtls.handle_packet(datagram)
        });
    }

    /// Repeats what is unanswered, gives up what takes too long, and forgets what is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |handshake: &Handshake| handshake.wake_at.is_some_and(|at| at <= now);
        let over = |handshake: &Handshake| handshake.stage.until() <= now;
        let legs = |which: &dyn Fn(&Handshake) -> bool| -> Vec<LegId> {
            self.all.iter().filter(|(_, handshake)| which(handshake)).map(|(leg, _)| *leg).collect()
        };
        let (ended, woken) = (legs(&over), legs(&due));
        for leg in ended {
            if let Some(Handshake { stage: Stage::Shaking { .. }, .. }) = self.all.remove(&leg) {
                self.outputs.push_back((leg, Output::Failed(Failure::TimedOut)));
            }
        }
        for leg in woken {
            self.go_on(now, leg, |dtls| dtls.handle_timeout(now));
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.all.values().map(|it| it.wake_at.map_or(it.stage.until(), |at| at.min(it.stage.until()))).min()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<(LegId, Output)> {
        self.outputs.pop_front()
    }

    /// Makes room by forgetting what has been over for longest; whether there was any.
    fn forget_one(&mut self) -> bool {
        let over = self.all.iter().filter_map(|(leg, handshake)| match handshake.stage {
            Stage::Over { until } => Some((until, *leg)),
            Stage::Shaking { .. } => None,
        });
        over.min().is_some_and(|(_, leg)| self.all.remove(&leg).is_some())
    }

    /// Lets a handshake do `step`, and takes out what comes of it.
    fn go_on(&mut self, now: Instant, leg: LegId, step: impl FnOnce(&mut Dtls) -> Result<(), dimpl::Error>) {
        let Self { all, outputs, buffer, .. } = self;
        let Some(handshake) = all.get_mut(&leg) else { return };
        let done = match step(&mut handshake.dtls) {
            Ok(()) => handshake.drain(now, buffer, |output| outputs.push_back((leg, output))),
            Err(error) => Err(Failure::Protocol(error.to_string())),
        };
        if let Err(failure) = done {
            // What is wrong with one whose keys are given out is nobody's matter: nothing else goes over it.
            if let Some(Handshake { stage: Stage::Shaking { .. }, .. }) = all.remove(&leg) {
                outputs.push_back((leg, Output::Failed(failure)));
            }
        }
    }
}

impl Handshake {
    fn drain(
        &mut self,
        now: Instant,
        buffer: &mut Vec<u8>,
        mut out: impl FnMut(Output),
    ) -> Result<(), Failure> {
        loop {
            match self.dtls.poll_output(buffer) {
                dimpl::Output::Packet(datagram) => out(Output::Send(datagram.into())),
                dimpl::Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                dimpl::Output::Timeout(at) => {
                    self.wake_at = Some(at);
                    return Ok(());
                }
                dimpl::Output::PeerCert(certificate) => {
                    let shown = fingerprint(certificate);
                    constant_time::verify_slices_are_equal(&shown.0, &self.expected.0)
                        .map_err(|_| Failure::Fingerprint)?;
                    if let Stage::Shaking { recognised, .. } = &mut self.stage {
                        *recognised = true;
                    }
                }
                dimpl::Output::KeyingMaterial(material, profile) => match self.stage {
                    Stage::Shaking { recognised: true, .. } => {
                        let keys = keys(&material, profile, self.role);
                        let no_keys = || Failure::Protocol(format!("no keys for {profile}"));
                        out(Output::Secured(Box::new(keys.ok_or_else(no_keys)?)));
                        self.stage = Stage::Over { until: now + LINGER };
                    }
                    // Without a certificate nobody knows whose keys these are.
                    Stage::Shaking { recognised: false, .. } => return Err(Failure::Fingerprint),
                    Stage::Over { .. } => {}
                },
                // A call ends by SIP, and nothing else is spoken over DTLS.
                dimpl::Output::Connected | dimpl::Output::ApplicationData(_) | dimpl::Output::CloseNotify => {
                }
                _ => {}
            }
        }
    }
}

/// RFC 5764, 4.2: the keys of client and server, then their salts.
fn keys(material: &KeyingMaterial, profile: SrtpProfile, role: DtlsRole) -> Option<Keys> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Suite::AesCm128HmacSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Suite::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Suite::AeadAes256Gcm,
        _ => return None,
    };
    let (keys, salts) = material.split_at_checked(2 * suite.key_len())?;
    let (client_key, server_key) = keys.split_at(suite.key_len());
    let (client_salt, server_salt) = salts.split_at_checked(suite.salt_len())?;
    let master = |key: &[u8], salt: &[u8]| {
        let mut octets = Zeroizing::new(Vec::with_capacity(key.len() + salt.len()));
        octets.extend_from_slice(key);
        octets.extend_from_slice(salt);
        MasterKey::new(suite, &octets)
    };
    let (client, server) = (master(client_key, client_salt)?, master(server_key, server_salt)?);
    Some(match role {
        DtlsRole::Active => Keys { send: client, receive: server },
        DtlsRole::Passive => Keys { send: server, receive: client },
    })
}

#[cfg(test)]
mod tests;
