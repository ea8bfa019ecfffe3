//! SRTP and SRTCP (RFC 3711; AES-GCM by RFC 7714), in place in the caller's buffer, with keys that come in SDP (RFC 4568) or
//! of a DTLS handshake (RFC 5764).
//!
//! A [`Protector`] serves one sender under one master key, an [`Unprotector`] whoever sends to us under one. Neither
//! allocates for a packet. Key material is overwritten when it is dropped, and no `Debug` shows it.
//!
//! Covered: key derivation at rate zero, one master key a direction, rollover counters for several sources, replay windows
//! of 128 packets. Not covered: MKI, key derivation rates, unencrypted or unauthenticated streams, encrypted header
//! extensions, the handshake of DTLS.

mod cipher;
mod protect;
mod unprotect;
mod window;

use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

pub use self::protect::Protector;
pub use self::unprotect::{Refused, Unprotector};

/// What protection adds to a packet at most: an SRTCP packet's index and the tag of AES-GCM.
pub const MAX_OVERHEAD: usize = SRTCP_INDEX_LEN + GCM_TAG_LEN;

/// The word of an SRTCP packet that holds the E flag and the index (RFC 3711, 3.4).
const SRTCP_INDEX_LEN: usize = 4;
const GCM_TAG_LEN: usize = 16;
/// RFC 3711, 5.3: the salt of AES-CM is 112 bits long.
const CM_SALT_LEN: usize = 14;
/// RFC 7714, 12: that of AES-GCM is 96 bits long.
const GCM_SALT_LEN: usize = 12;

/// RFC 4568, 6.1: padding of the key is to be discarded, so it may be there or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A crypto suite: cipher, key length and authentication tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// `AEAD_AES_256_GCM` (RFC 7714, 14.1).
    AeadAes256Gcm,
    /// `AEAD_AES_128_GCM` (RFC 7714, 14.1).
    AeadAes128Gcm,
    /// `AES_CM_128_HMAC_SHA1_80` (RFC 4568, 6.2.1), which everybody has.
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32` (RFC 4568, 6.2.2): 80 bits of tag for SRTCP, and 32 for SRTP.
    AesCm128HmacSha1_32,
}

impl Suite {
    /// All suites, in the order in which we offer them: the one with the short tag last.
    pub const ALL: [Self; 4] =
        [Self::AeadAes256Gcm, Self::AeadAes128Gcm, Self::AesCm128HmacSha1_80, Self::AesCm128HmacSha1_32];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite of this name, in any case (RFC 5234, 2.3).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Octets of a master key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            Self::AeadAes128Gcm | Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 16,
        }
    }

    /// Octets of a salt, of the master and the session alike.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => GCM_SALT_LEN,
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => CM_SALT_LEN,
        }
    }

    /// Octets of an RTP packet's tag.
    const fn rtp_tag_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => GCM_TAG_LEN,
            Self::AesCm128HmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 => 4,
        }
    }

    /// Octets of an RTCP packet's tag. RFC 3711, 5.2: never fewer than 80 bits, since a forged BYE would end the stream.
    const fn rtcp_tag_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => GCM_TAG_LEN,
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 10,
        }
    }
}

/// A master key with its master salt, for one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: Suite,
    /// The key, then the salt.
    octets: Zeroizing<Box<[u8]>>,
}

impl MasterKey {
    /// A key that `fill` makes from unguessable bytes.
    pub fn generate(suite: Suite, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut octets = Zeroizing::new(vec![0; suite.key_len() + suite.salt_len()].into_boxed_slice());
        fill(&mut octets);
        Self { suite, octets }
    }

    /// The key and salt of `octets`; `None` if they are of another length.
    pub fn new(suite: Suite, octets: &[u8]) -> Option<Self> {
        (octets.len() == suite.key_len() + suite.salt_len())
            .then(|| Self { suite, octets: Zeroizing::new(octets.into()) })
    }

    /// What it is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Reads what stands behind `inline:` (RFC 4568, 6.1).
    pub(crate) fn from_base64(suite: Suite, text: &str) -> Option<Self> {
        let octets = Zeroizing::new(BASE64.decode(text).ok()?);
        Self::new(suite, &octets)
    }

    /// What stands behind `inline:`.
    pub(crate) fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(&*self.octets))
    }

    fn key(&self) -> &[u8] {
        &self.octets[..self.suite.key_len()]
    }

    fn salt(&self) -> &[u8] {
        &self.octets[self.suite.key_len()..]
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, ***)", self.suite.name())
    }
}

/// What offer and answer agreed on: one suite, and a key for each direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// For what we send: the key of our own description.
    pub send: MasterKey,
    /// For what we receive: the key of the peer's.
    pub receive: MasterKey,
}

impl Keys {
    /// The suite of both directions.
    pub fn suite(&self) -> Suite {
        self.send.suite
    }
}

/// Both directions of a leg.
#[derive(Debug)]
pub(crate) struct Srtp {
    keys: Keys,
    pub(crate) protector: Protector,
    pub(crate) unprotector: Unprotector,
    /// Those of earlier keys, the last ones last.
    protectors: Vec<(MasterKey, Protector)>,
    unprotectors: Vec<(MasterKey, Unprotector)>,
}

/// So many earlier keys of a direction are remembered: more than suites are offered, which is what two descriptions in turn
/// can choose from.
const REMEMBERED: usize = 8;

impl Srtp {
    pub(crate) fn new(keys: &Keys) -> Self {
        let (protector, unprotector) = (Protector::new(&keys.send), Unprotector::new(&keys.receive));
        let (protectors, unprotectors) = (Vec::new(), Vec::new());
        Self { keys: keys.clone(), protector, unprotector, protectors, unprotectors }
    }

    /// Goes on with the keys of a further offer and answer. RFC 4568, 7.1.4: a direction whose key is the same goes on
    /// where it was, or packets could be replayed and an index used twice, and so does one whose key comes back; a new key
    /// begins at rollover counter zero.
    pub(crate) fn rekey(&mut self, keys: &Keys) {
        let Self { keys: now, protector, unprotector, protectors, unprotectors } = self;
        change(protectors, protector, &now.send, &keys.send, Protector::new);
        change(unprotectors, unprotector, &now.receive, &keys.receive, Unprotector::new);
        *now = keys.clone();
    }
}

/// Puts the state of the key `next` in the place of the one of `current`, which is remembered.
fn change<T>(
    earlier: &mut Vec<(MasterKey, T)>,
    state: &mut T,
    current: &MasterKey,
    next: &MasterKey,
    new: fn(&MasterKey) -> T,
) {
    if current == next {
        return;
    }
    let known = earlier.iter().position(|(key, _)| key == next);
    let state_of_next = known.map_or_else(|| new(next), |at| earlier.remove(at).1);
    if earlier.len() == REMEMBERED {
        earlier.remove(0);
    }
    earlier.push((current.clone(), std::mem::replace(state, state_of_next)));
}

#[cfg(test)]
mod tests;
