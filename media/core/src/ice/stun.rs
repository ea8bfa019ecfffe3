//! STUN as ICE needs it (RFC 8489): Binding requests read, and answered in place.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

/// RFC 8489, 5: type, length, magic cookie, transaction id.
const HEADER_LEN: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// HMAC-SHA1.
const INTEGRITY_LEN: usize = 20;
const FINGERPRINT_LEN: usize = 4;
/// RFC 8489, 14.7: the CRC-32 is XORed with this, so that no other protocol with a CRC at its end is taken for STUN.
const FINGERPRINT_XOR: u32 = 0x5354_554E;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;

/// RFC 8489, 14: "comprehension-required" types are below this.
const OPTIONAL: u16 = 0x8000;

/// Room for any answer: XOR-MAPPED-ADDRESS of IPv6, integrity, fingerprint; or an error that names the unknown attributes.
pub(super) const MAX_ANSWER: usize = 96;

/// Most attributes that an error names; of a request of rubbish it need not name more.
const MAX_UNKNOWN: usize = 8;

/// A transaction id.
pub(super) type Transaction = [u8; 12];

/// What a Binding request says, without its proof being looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    datagram: &'a [u8],
    pub(super) transaction: Transaction,
    pub(super) username: &'a [u8],
    /// Where MESSAGE-INTEGRITY begins.
    integrity_at: usize,
    /// Whether the pair is to be used (RFC 8445, 7.1.2).
    pub(super) use_candidate: bool,
    /// Whether its sender thinks that it is controlled (RFC 8445, 7.1.3).
    pub(super) controlled: bool,
    pub(super) unknown: Unknown,
}

/// Attributes that must be understood, and are not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unknown {
    types: [u16; MAX_UNKNOWN],
    count: usize,
}

impl Unknown {
    pub(super) fn is_empty(self) -> bool {
        self.count == 0
    }

    fn add(&mut self, kind: u16) {
        if let Some(place) = self.types.get_mut(self.count) {
            *place = kind;
            self.count += 1;
        }
    }
}

impl<'a> Request<'a> {
    /// Reads a Binding request with the attributes that every check has (RFC 8445, 7.1; 7.3: they "MUST" be there): a user
    /// name, integrity, and a fingerprint that is right. Anything else is no check, and nothing that we answer.
    pub(super) fn read(datagram: &'a [u8]) -> Option<Self> {
        let (header, _) = datagram.split_first_chunk::<HEADER_LEN>()?;
        let body_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if u16::from_be_bytes([header[0], header[1]]) != BINDING_REQUEST
            || header[4..8] != MAGIC_COOKIE
            || HEADER_LEN + body_len != datagram.len()
            || !body_len.is_multiple_of(4)
        {
            return None;
        }
        let (mut username, mut integrity_at) = (None, None);
        let (mut use_candidate, mut controlled) = (false, false);
        let mut unknown = Unknown::default();
        let mut at = HEADER_LEN;
        let fingerprint_at = loop {
            let (kind, value) = attribute(datagram, at)?;
            match kind {
                FINGERPRINT => break at,
                // RFC 8489, 14.5: what comes behind it, but for the fingerprint, is ignored.
                _ if integrity_at.is_some() => {}
                USERNAME => username = username.or(Some(value)),
                MESSAGE_INTEGRITY => {
                    integrity_at = Some(at).filter(|_| value.len() == INTEGRITY_LEN);
                    integrity_at?;
                }
                USE_CANDIDATE => use_candidate = true,
                ICE_CONTROLLED => controlled = true,
                PRIORITY | MESSAGE_INTEGRITY_SHA256 => {}
                kind if kind < OPTIONAL => unknown.add(kind),
                _ => {}
            }
            at += ATTRIBUTE_HEADER_LEN + value.len().next_multiple_of(4);
        };
        // RFC 8489, 14.7: it is the last one.
        let (_, value) = attribute(datagram, fingerprint_at)?;
        let told = u32::from_be_bytes(value.try_into().ok()?);
        if fingerprint_at + ATTRIBUTE_HEADER_LEN + FINGERPRINT_LEN != datagram.len()
            || told != fingerprint(&datagram[..fingerprint_at])
        {
            return None;
        }
        Some(Self {
            datagram,
            transaction: *header.last_chunk()?,
            username: username?,
            integrity_at: integrity_at?,
            use_candidate,
            controlled,
            unknown,
        })
    }

    /// Whether its sender knows the password.
    pub(super) fn is_authentic(&self, key: &hmac::Key) -> bool {
        let Some((_, told)) = attribute(self.datagram, self.integrity_at) else { return false };
        let expected = integrity(key, &self.datagram[..self.integrity_at]);
        constant_time::verify_slices_are_equal(expected.as_ref(), told).is_ok()
    }
}

/// The attribute at `at`: its type, and its value without padding.
fn attribute(datagram: &[u8], at: usize) -> Option<(u16, &[u8])> {
    let (header, rest) = datagram.get(at..)?.split_first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
    let value = rest.get(..usize::from(u16::from_be_bytes([header[2], header[3]])))?;
    Some((u16::from_be_bytes([header[0], header[1]]), value))
}

/// RFC 8489, 14.5: over the message up to the attribute, whose header's length counts the attribute already.
fn integrity(key: &hmac::Key, before: &[u8]) -> hmac::Tag {
    let len = before.len() - HEADER_LEN + ATTRIBUTE_HEADER_LEN + INTEGRITY_LEN;
    let mut mac = hmac::Context::with_key(key);
    mac.update(&before[..2]);
    // A message that came in one datagram is shorter than 64 KiB.
    mac.update(&(len as u16).to_be_bytes());
    mac.update(&before[4..]);
    mac.sign()
}

/// RFC 8489, 14.7, over the message up to the attribute, whose header's length counts the attribute already.
fn fingerprint(before: &[u8]) -> u32 {
    crc32(before) ^ FINGERPRINT_XOR
}

/// The CRC-32 of ITU-T V.42.
fn crc32(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0, |crc, octet| CRC_TABLE[usize::from(crc as u8 ^ octet)] ^ (crc >> 8))
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let (mut crc, mut bit) = (n as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

/// What a check is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It came, from here.
    Success(SocketAddr),
    /// RFC 8445, 7.3.1.1: two that both are controlled.
    RoleConflict,
    /// RFC 8489, 6.3.1.
    UnknownAttributes(Unknown),
}

impl Answer {
    /// Writes it into `out`; its length, if there is room.
    pub(super) fn write(self, transaction: Transaction, key: &hmac::Key, out: &mut [u8]) -> Option<usize> {
        let mut message = Writer { out, len: HEADER_LEN };
        let kind = match self {
            Self::Success(_) => BINDING_SUCCESS,
            Self::RoleConflict | Self::UnknownAttributes(_) => BINDING_ERROR,
        };
        let header = message.out.first_chunk_mut::<HEADER_LEN>()?;
        header[..2].copy_from_slice(&kind.to_be_bytes());
        header[4..8].copy_from_slice(&MAGIC_COOKIE);
        header[8..].copy_from_slice(&transaction);
        match self {
            Self::Success(from) => message.xor_mapped_address(from, transaction)?,
            // RFC 8489, 14.8: the hundreds and the rest; the phrase is for people and may be empty.
            Self::RoleConflict => message.add(ERROR_CODE, &[0, 0, 4, 87])?,
            Self::UnknownAttributes(unknown) => {
                message.add(ERROR_CODE, &[0, 0, 4, 20])?;
                let mut list = [0; 2 * MAX_UNKNOWN];
                for (place, kind) in list.as_chunks_mut().0.iter_mut().zip(unknown.types) {
                    *place = kind.to_be_bytes();
                }
                message.add(UNKNOWN_ATTRIBUTES, &list[..2 * unknown.count])?;
            }
        }
        let tag = integrity(key, &message.out[..message.len]);
        message.add(MESSAGE_INTEGRITY, tag.as_ref())?;
        message.set_length(message.len + ATTRIBUTE_HEADER_LEN + FINGERPRINT_LEN);
        let crc = fingerprint(&message.out[..message.len]);
        message.add(FINGERPRINT, &crc.to_be_bytes())?;
        Some(message.len)
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn add(&mut self, kind: u16, value: &[u8]) -> Option<()> {
        let end = self.len + ATTRIBUTE_HEADER_LEN + value.len().next_multiple_of(4);
        let (header, rest) =
            self.out.get_mut(self.len..end)?.split_first_chunk_mut::<ATTRIBUTE_HEADER_LEN>()?;
        header[..2].copy_from_slice(&kind.to_be_bytes());
        header[2..].copy_from_slice(&(value.len() as u16).to_be_bytes());
        let (place, padding) = rest.split_at_mut(value.len());
        place.copy_from_slice(value);
        padding.fill(0);
        self.len = end;
        self.set_length(end);
        Some(())
    }

    /// The header's length, as if the message ended at `end`.
    fn set_length(&mut self, end: usize) {
        self.out[2..4].copy_from_slice(&((end - HEADER_LEN) as u16).to_be_bytes());
    }

    /// RFC 8489, 14.2: port and address by the cookie and the transaction id.
    fn xor_mapped_address(&mut self, from: SocketAddr, transaction: Transaction) -> Option<()> {
        let mut mask = [0; 16];
        mask[..4].copy_from_slice(&MAGIC_COOKIE);
        mask[4..].copy_from_slice(&transaction);
        let mut value = [0; 20];
        let len = match from.ip().to_canonical() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&ip.octets());
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..].copy_from_slice(&ip.octets());
                20
            }
        };
        value[2..4].copy_from_slice(&from.port().to_be_bytes());
        value[2] ^= mask[0];
        value[3] ^= mask[1];
        value[4..len].iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
        self.add(XOR_MAPPED_ADDRESS, &value[..len])
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A request with these attributes, then integrity under `password` and a fingerprint.
    pub(crate) fn request(attributes: &[(u16, &[u8])], password: &str) -> Vec<u8> {
        let mut out = vec![0; 1_500];
        out[..2].copy_from_slice(&BINDING_REQUEST.to_be_bytes());
        out[4..8].copy_from_slice(&MAGIC_COOKIE);
        out[8..20].copy_from_slice(b"transaction!");
        let mut message = Writer { out: &mut out, len: HEADER_LEN };
        for (kind, value) in attributes {
            message.add(*kind, value).unwrap();
        }
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = integrity(&key, &message.out[..message.len]);
        message.add(MESSAGE_INTEGRITY, tag.as_ref()).unwrap();
        message.set_length(message.len + 8);
        let crc = fingerprint(&message.out[..message.len]);
        message.add(FINGERPRINT, &crc.to_be_bytes()).unwrap();
        let len = message.len;
        out.truncate(len);
        out
    }

    /// RFC 5769, 2.1: a request of a client, whose password is known.
    const SAMPLE_REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e7400\
        2400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f2\
        49c1b571a280280004e57a3bcf";
    /// RFC 5769, 2.2 and 2.3: the answers to it over IPv4 and IPv6, without the SOFTWARE that ours do not have.
    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    pub(crate) fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn key(password: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
    }

    #[test]
    fn the_sample_request_of_rfc_5769_is_read_and_authentic() {
        let datagram = octets(SAMPLE_REQUEST);
        let request = Request::read(&datagram).unwrap();
        assert_eq!(request.username, b"evtj:h6vY");
        assert!(request.controlled && !request.use_candidate && request.unknown.is_empty());
        assert!(request.is_authentic(&key(PASSWORD)));
        assert!(!request.is_authentic(&key("VOkJxbRl1RmTxUk/WvJxBT")));
        for at in 0..datagram.len() {
            let mut altered = datagram.clone();
            altered[at] ^= 1;
            assert!(Request::read(&altered).is_none(), "octet {at} is under the fingerprint");
        }
    }

    /// RFC 5769, 2.2 and 2.3: the addresses as its answers have them.
    #[test]
    fn addresses_are_masked_as_in_rfc_5769() {
        let transaction = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
        let cases = [
            ("192.0.2.1:32853", "00200008 0001 a147 e112a643"),
            ("[::ffff:192.0.2.1]:32853", "00200008 0001 a147 e112a643"),
            (
                "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
                "00200014 0002 a147 0113a9faa5d3f179bc25f4b5bed2b9d9",
            ),
        ];
        for (from, expected) in cases {
            let mut out = [0; MAX_ANSWER];
            let len =
                Answer::Success(from.parse().unwrap()).write(transaction, &key(PASSWORD), &mut out).unwrap();
            let expected = octets(expected);
            assert_eq!(out[HEADER_LEN..HEADER_LEN + expected.len()], expected, "{from}");
            assert_eq!(usize::from(u16::from_be_bytes([out[2], out[3]])), len - HEADER_LEN);
            let (kind, tag) = attribute(&out, HEADER_LEN + expected.len()).unwrap();
            let before = &out[..HEADER_LEN + expected.len()];
            assert_eq!((kind, tag), (MESSAGE_INTEGRITY, integrity(&key(PASSWORD), before).as_ref()));
            let (kind, crc) = attribute(&out, len - 8).unwrap();
            assert_eq!((kind, crc), (FINGERPRINT, &fingerprint(&out[..len - 8]).to_be_bytes()[..]));
        }
    }

    #[test]
    fn the_crc_is_that_of_everybody() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let mut out = [0; MAX_ANSWER];
        let transaction = *b"transaction!";
        let len = Answer::RoleConflict.write(transaction, &key(PASSWORD), &mut out).unwrap();
        assert_eq!(&out[..2], &BINDING_ERROR.to_be_bytes());
        assert_eq!(attribute(&out[..len], HEADER_LEN), Some((ERROR_CODE, &[0, 0, 4, 87][..])));
        let asked = request(&[(USERNAME, b"a:b"), (0x7777, &[1]), (0x7778, &[]), (0x8777, &[])], PASSWORD);
        let unknown = Request::read(&asked).unwrap().unknown;
        let len = Answer::UnknownAttributes(unknown).write(transaction, &key(PASSWORD), &mut out).unwrap();
        assert_eq!(attribute(&out[..len], HEADER_LEN), Some((ERROR_CODE, &[0, 0, 4, 20][..])));
        let listed = attribute(&out[..len], HEADER_LEN + 8);
        assert_eq!(listed, Some((UNKNOWN_ATTRIBUTES, &[0x77, 0x77, 0x77, 0x78][..])));
        let many: Vec<(u16, &[u8])> = (0..100).map(|n| (0x7000 + n, &[][..])).collect();
        let asked = request(&[&[(USERNAME, &b"a:b"[..])][..], &many].concat(), PASSWORD);
        let unknown = Request::read(&asked).unwrap().unknown;
        assert!(Answer::UnknownAttributes(unknown).write(transaction, &key(PASSWORD), &mut out).is_some());
    }
}
