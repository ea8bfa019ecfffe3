//! Hashes and what is hashed.

use std::fmt;

use bytestring::ByteString;

use super::fields::Qop;

/// A hash function, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// RFC 2617; all that older peers have.
    Md5,
    /// RFC 8760
    Sha256,
    /// RFC 8760: SHA-512/256.
    Sha512_256,
}

impl Hash {
    /// Every one, the strongest first.
    pub const ALL: [Hash; 3] = [Hash::Sha512_256, Hash::Sha256, Hash::Md5];

    /// The hash of the parts put together, in lower-case hexadecimal.
    pub(super) fn hex(self, parts: &[&[u8]]) -> String {
        match self {
            Hash::Md5 => hex::<md5::Md5>(parts),
            Hash::Sha256 => hex::<sha2::Sha256>(parts),
            Hash::Sha512_256 => hex::<sha2::Sha512_256>(parts),
        }
    }

    /// As a challenge names it.
    pub fn name(self) -> &'static str {
        match self {
            Hash::Md5 => "MD5",
            Hash::Sha256 => "SHA-256",
            Hash::Sha512_256 => "SHA-512-256",
        }
    }
}

fn hex<D: sha2::Digest>(parts: &[&[u8]]) -> String {
    let mut digest = D::new();
    for part in parts {
        digest.update(part);
    }
    to_hex(&digest.finalize())
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// The `algorithm` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Algorithm {
    /// The hash.
    pub hash: Hash,
    /// The `-sess` variant: the first client nonce goes into the key.
    pub session: bool,
}

impl Algorithm {
    /// Reads the name, in any case; `None` when it is not supported.
    pub fn parse(text: &str) -> Option<Algorithm> {
        const SESS: usize = "-sess".len();
        let split = text.len().saturating_sub(SESS);
        let (name, session) = match text.get(split..) {
            Some(tail) if tail.eq_ignore_ascii_case("-sess") => (&text[..split], true),
            Some(_) | None => (text, false),
        };
        let hash = [Hash::Md5, Hash::Sha256, Hash::Sha512_256].into_iter();
        hash.into_iter().find(|h| h.name().eq_ignore_ascii_case(name)).map(|hash| Algorithm { hash, session })
    }
}

impl From<Hash> for Algorithm {
    fn from(hash: Hash) -> Algorithm {
        Algorithm { hash, session: false }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.hash.name(), if self.session { "-sess" } else { "" })
    }
}

/// H(A1) of a user name, realm and password (RFC 7616 section 3.4.2), for each hash: what a server keeps instead of the
/// password. Whoever has it can answer this realm's challenges, so it is as secret as a password; `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    md5: ByteString,
    sha256: ByteString,
    sha512_256: ByteString,
}

impl Ha1 {
    /// From a password.
    pub fn new(username: &str, realm: &str, password: &str) -> Ha1 {
        let of = |hash| a1(hash, username, realm, password).into();
        Ha1 { md5: of(Hash::Md5), sha256: of(Hash::Sha256), sha512_256: of(Hash::Sha512_256) }
    }

    /// From what [`Self::hex`] gave for MD5, SHA-256 and SHA-512/256; `None` when one is no such hash.
    pub fn from_hex(md5: &str, sha256: &str, sha512_256: &str) -> Option<Ha1> {
        let sound = |text: &str, length| {
            (text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
                .then(|| ByteString::from(text))
        };
        Some(Ha1 { md5: sound(md5, 32)?, sha256: sound(sha256, 64)?, sha512_256: sound(sha512_256, 64)? })
    }

    /// In lower-case hexadecimal.
    pub fn hex(&self, hash: Hash) -> &str {
        match hash {
            Hash::Md5 => &self.md5,
            Hash::Sha256 => &self.sha256,
            Hash::Sha512_256 => &self.sha512_256,
        }
    }
}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ha1")
    }
}

/// H(A1) without the nonces of a `-sess` algorithm.
pub(super) fn a1(hash: Hash, username: &str, realm: &str, password: &str) -> String {
    hash.hex(&[username.as_bytes(), b":", realm.as_bytes(), b":", password.as_bytes()])
}

/// Everything that goes into a response.
pub(super) struct Input<'a> {
    pub(super) algorithm: Algorithm,
    /// As [`a1`] has it.
    pub(super) a1: &'a str,
    pub(super) nonce: &'a str,
    pub(super) cnonce: &'a str,
    /// Quality of protection and nonce count; `None` as in RFC 2069.
    pub(super) counted: Option<(Qop, u32)>,
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) body: &'a [u8],
}

/// RFC 7616 section 3.4.1: "response = <"> < KD ( H(A1), unq(nonce) ":" nc ":" unq(cnonce) ":" unq(qop) ":" H(A2) ) <">"
pub(super) fn response(input: &Input<'_>) -> String {
    let hash = input.algorithm.hash;
    let joined = |parts: &[&str]| hash.hex(&[parts.join(":").as_bytes()]);
    let a1 = match input.algorithm.session {
        true => joined(&[input.a1, input.nonce, input.cnonce]),
        false => input.a1.to_owned(),
    };
    let a2 = match input.counted {
        Some((Qop::AuthInt, _)) => joined(&[input.method, input.uri, &hash.hex(&[input.body])]),
        Some((Qop::Auth, _)) | None => joined(&[input.method, input.uri]),
    };
    match input.counted {
        Some((qop, nc)) => joined(&[&a1, input.nonce, &format!("{nc:08x}"), input.cnonce, qop.as_str(), &a2]),
        None => joined(&[&a1, input.nonce, &a2]),
    }
}
