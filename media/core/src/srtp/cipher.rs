//! Session keys (RFC 3711, 4.3) and the two transforms: AES-CM with HMAC-SHA1 (RFC 3711, 4) and AES-GCM (RFC 7714).

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce};
use aws_lc_rs::cipher::{self, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

use super::{CM_SALT_LEN, GCM_SALT_LEN, GCM_TAG_LEN, MasterKey, SRTCP_INDEX_LEN, Suite};

/// Octets of an RTCP packet that stay in the clear (RFC 3711, 3.4).
const RTCP_HEADER_LEN: usize = 8;
/// The E-flag in the word that holds an SRTCP packet's index: the packet is encrypted (RFC 3711, 3.4).
const ENCRYPTED: u32 = 1 << 31;
/// RFC 3711, 5.2: the session authentication key has 160 bits.
const AUTH_KEY_LEN: usize = 20;

/// Which keys are derived: the labels of RFC 3711, 4.3.1 and 4.3.2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labels {
    encryption: u8,
    authentication: u8,
    salting: u8,
}

pub(super) const RTP: Labels = Labels { encryption: 0, authentication: 1, salting: 2 };
pub(super) const RTCP: Labels = Labels { encryption: 3, authentication: 4, salting: 5 };

/// The session keys of SRTP or SRTCP in one direction.
pub(super) enum Cipher {
    /// Boxed for its size: 1.7 KB of key schedules.
    Cm(Box<Cm>),
    Gcm {
        key: LessSafeKey,
        salt: Zeroizing<[u8; GCM_SALT_LEN]>,
    },
}

/// AES in counter mode, and HMAC-SHA1.
pub(super) struct Cm {
    key: EncryptingKey,
    salt: Zeroizing<[u8; CM_SALT_LEN]>,
    mac: hmac::Key,
    tag_len: usize,
}

impl Cipher {
    pub(super) fn new(master: &MasterKey, labels: Labels, tag_len: usize) -> Self {
        // The lengths of keys follow from the suite, and nothing else can be wrong with a key.
        Self::derive(master, labels, tag_len).expect("keys are as long as their suite says")
    }

    fn derive(master: &MasterKey, labels: Labels, tag_len: usize) -> Option<Self> {
        match master.suite {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => {
                let key = session_key::<16>(master, labels.encryption)?;
                let mac_key = session_key::<AUTH_KEY_LEN>(master, labels.authentication)?;
                Some(Self::Cm(Box::new(Cm {
                    key: counter_mode(&*key)?,
                    salt: session_key(master, labels.salting)?,
                    mac: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &*mac_key),
                    tag_len,
                })))
            }
            Suite::AeadAes128Gcm => Self::gcm(
                &*session_key::<16>(master, labels.encryption)?,
                session_key(master, labels.salting)?,
            ),
            Suite::AeadAes256Gcm => Self::gcm(
                &*session_key::<32>(master, labels.encryption)?,
                session_key(master, labels.salting)?,
            ),
        }
    }

    pub(super) fn gcm(key: &[u8], salt: Zeroizing<[u8; GCM_SALT_LEN]>) -> Option<Self> {
        let algorithm = if key.len() == 16 { &aead::AES_128_GCM } else { &aead::AES_256_GCM };
        let key = LessSafeKey::new(aead::UnboundKey::new(algorithm, key).ok()?);
        Some(Self::Gcm { key, salt })
    }

    /// Octets of a tag.
    pub(super) fn tag_len(&self) -> usize {
        match self {
            Self::Cm(cm) => cm.tag_len,
            Self::Gcm { .. } => GCM_TAG_LEN,
        }
    }

    /// Encrypts the RTP packet in the first `len` octets of `buffer` behind its header, and adds the tag. The new length,
    /// if there is room.
    pub(super) fn seal_rtp(
        &self,
        buffer: &mut [u8],
        header_len: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        let total = len + self.tag_len();
        let (packet, tag) = buffer.get_mut(..total)?.split_at_mut(len);
        match self {
            Self::Cm(cm) => {
                cm.keystream(ssrc, index, packet.get_mut(header_len..)?)?;
                tag.copy_from_slice(&cm.mac(packet, &rollover(index)).as_ref()[..tag.len()]);
            }
            Self::Gcm { key, salt } => {
                let (header, payload) = packet.split_at_mut_checked(header_len)?;
                let nonce = nonce(salt, ssrc, index);
                let made = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload).ok()?;
                tag.copy_from_slice(made.as_ref());
            }
        }
        Some(total)
    }

    /// Verifies and decrypts an SRTP packet. The length without its tag, if it is authentic.
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        let len = packet.len().checked_sub(self.tag_len())?;
        match self {
            Self::Cm(cm) => {
                let (packet, tag) = packet.split_at_mut(len);
                let payload_at = packet.len().checked_sub(header_len).map(|_| header_len)?;
                let expected = cm.mac(packet, &rollover(index));
                constant_time::verify_slices_are_equal(&expected.as_ref()[..tag.len()], tag).ok()?;
                cm.keystream(ssrc, index, &mut packet[payload_at..])?;
            }
            Self::Gcm { key, salt } => {
                let (header, sealed) = packet.split_at_mut_checked(header_len)?;
                key.open_in_place(nonce(salt, ssrc, index), Aad::from(&*header), sealed).ok()?;
            }
        }
        Some(len)
    }

    /// Encrypts the RTCP compound packet in the first `len` octets of `buffer`, and adds index and tag. The new length, if
    /// there is room.
    pub(super) fn seal_rtcp(&self, buffer: &mut [u8], len: usize, ssrc: u32, index: u32) -> Option<usize> {
        let total = len + SRTCP_INDEX_LEN + self.tag_len();
        let packet = buffer.get_mut(..total)?;
        let word = (ENCRYPTED | index).to_be_bytes();
        match self {
            Self::Cm(cm) => {
                cm.keystream(ssrc, u64::from(index), packet.get_mut(RTCP_HEADER_LEN..len)?)?;
                let (authenticated, tag) = packet.split_at_mut(len + SRTCP_INDEX_LEN);
                authenticated[len..].copy_from_slice(&word);
                tag.copy_from_slice(&cm.mac(authenticated, &[]).as_ref()[..tag.len()]);
            }
            Self::Gcm { key, salt } => {
                // RFC 7714, 9.2: unlike RFC 3711, the tag comes before the word with the index.
                let (packet, trailer) = packet.split_at_mut(len);
                let (header, payload) = packet.split_at_mut_checked(RTCP_HEADER_LEN)?;
                let aad = rtcp_aad(header, word)?;
                let nonce = nonce(salt, ssrc, u64::from(index));
                let made = key.seal_in_place_separate_tag(nonce, Aad::from(aad), payload).ok()?;
                let (tag, index_word) = trailer.split_at_mut(GCM_TAG_LEN);
                tag.copy_from_slice(made.as_ref());
                index_word.copy_from_slice(&word);
            }
        }
        Some(total)
    }

    /// The index that an SRTCP packet states, if it is encrypted: nobody has agreed to packets that are not, and RFC 3711,
    /// 3.4 lets the flag say only what was agreed.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Option<u32> {
        let after = match self {
            Self::Cm(cm) => cm.tag_len,
            Self::Gcm { .. } => 0,
        };
        let (rest, _) = packet.split_at_checked(packet.len().checked_sub(after)?)?;
        let word = u32::from_be_bytes(*rest.last_chunk()?);
        (word & ENCRYPTED != 0).then_some(word & !ENCRYPTED)
    }

    /// Verifies and decrypts an SRTCP packet that states `index`. The length without index and tag, if it is authentic.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Option<usize> {
        let len = packet.len().checked_sub(SRTCP_INDEX_LEN + self.tag_len())?;
        if len < RTCP_HEADER_LEN {
            return None;
        }
        match self {
            Self::Cm(cm) => {
                let (authenticated, tag) = packet.split_at_mut(len + SRTCP_INDEX_LEN);
                let expected = cm.mac(authenticated, &[]);
                constant_time::verify_slices_are_equal(&expected.as_ref()[..tag.len()], tag).ok()?;
                cm.keystream(ssrc, u64::from(index), &mut authenticated[RTCP_HEADER_LEN..len])?;
            }
            Self::Gcm { key, salt } => {
                let (header, rest) = packet.split_at_mut(RTCP_HEADER_LEN);
                let (sealed, word) = rest.split_last_chunk_mut::<SRTCP_INDEX_LEN>()?;
                let aad = rtcp_aad(header, *word)?;
                key.open_in_place(nonce(salt, ssrc, u64::from(index)), Aad::from(aad), sealed).ok()?;
            }
        }
        Some(len)
    }
}

impl Cm {
    /// Encrypts or decrypts (RFC 3711, 4.1.1: "IV = (k_s * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16)").
    fn keystream(&self, ssrc: u32, index: u64, octets: &mut [u8]) -> Option<()> {
        let mut iv = [0; 16];
        iv[4..8].copy_from_slice(&ssrc.to_be_bytes());
        iv[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
        iv.iter_mut().zip(&*self.salt).for_each(|(octet, salt)| *octet ^= salt);
        self.key.less_safe_encrypt(octets, EncryptionContext::Iv128(iv.into())).ok().map(drop)
    }

    fn mac(&self, packet: &[u8], rollover: &[u8]) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.mac);
        mac.update(packet);
        mac.update(rollover);
        mac.sign()
    }
}

/// The last four octets that SRTP authenticates: the rollover counter (RFC 3711, 4.2).
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// RFC 7714, 9.2: the header and the word with the index, for a packet that is encrypted.
fn rtcp_aad(header: &[u8], word: [u8; SRTCP_INDEX_LEN]) -> Option<[u8; RTCP_HEADER_LEN + SRTCP_INDEX_LEN]> {
    let mut aad = [0; RTCP_HEADER_LEN + SRTCP_INDEX_LEN];
    aad.first_chunk_mut::<RTCP_HEADER_LEN>()?.copy_from_slice(header.first_chunk::<RTCP_HEADER_LEN>()?);
    aad.last_chunk_mut::<SRTCP_INDEX_LEN>()?.copy_from_slice(&word);
    Some(aad)
}

/// RFC 7714, 8.1 and 9.1: two zero octets, the SSRC, and the index in 48 bits, by the salt.
fn nonce(salt: &[u8; GCM_SALT_LEN], ssrc: u32, index: u64) -> Nonce {
    let mut iv = [0; GCM_SALT_LEN];
    iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
    iv[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    iv.iter_mut().zip(salt).for_each(|(octet, salt)| *octet ^= salt);
    Nonce::assume_unique_for_key(iv)
}

/// RFC 3711, 4.3.1 and 4.3.3, at rate zero: the key is the keystream of the master key at `label * 2^48 XOR master_salt`.
pub(super) fn session_key<const N: usize>(master: &MasterKey, label: u8) -> Option<Zeroizing<[u8; N]>> {
    let mut iv = [0; 16];
    // RFC 7714, 11: a salt of 96 bits is multiplied by 2^16 to be as long as that of AES-CM.
    iv[..master.salt().len()].copy_from_slice(master.salt());
    iv[7] ^= label;
    let mut key = Zeroizing::new([0; N]);
    let context = EncryptionContext::Iv128(iv.into());
    counter_mode(master.key())?.less_safe_encrypt(&mut *key, context).ok()?;
    Some(key)
}

pub(super) fn counter_mode(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = if key.len() == 16 { &cipher::AES_128 } else { &cipher::AES_256 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}
