//! Answering challenges.

use std::fmt;

use bytestring::ByteString;

use super::algorithm::{self, Algorithm, Hash, Input};
use super::fields::{Challenge, Qop, QopOffer, Quoted, digest_fields};
use crate::grammar::{is_space, split_commas, trim};
use crate::{Method, ParseError};

/// A user name and password. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name at the realm.
    pub username: ByteString,
    /// The password.
    pub password: ByteString,
}

impl Credentials {
    /// A user name and password.
    pub fn new(username: impl Into<ByteString>, password: impl Into<ByteString>) -> Credentials {
        Credentials { username: username.into(), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The challenges to answer out of those of one response, the strongest of each realm: RFC 8760 section 2.4 lists them in
/// the server's order of preference, but a strong one placed second must not lose to MD5. One line may have several,
/// although RFC 3261 section 20.44 has one each. What cannot be answered is passed over.
pub fn strongest_of_each_realm<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    let mut chosen: Vec<Challenge> = Vec::new();
    let supported = values.into_iter().flat_map(challenges).filter_map(|value| Challenge::parse(value).ok());
    for challenge in supported {
        match chosen.iter_mut().find(|other| other.realm == challenge.realm) {
            // The first of equals is kept.
            Some(other) if challenge.algorithm.hash > other.algorithm.hash => *other = challenge,
            Some(_) => {}
            None => chosen.push(challenge),
        }
    }
    chosen
}

/// The challenges of one line. A new one begins where a scheme stands before the name of a field, or alone.
fn challenges(line: &str) -> Vec<&str> {
    let begins = |part: &&str| {
        let name = part.split_once('=').map(|(name, _)| trim(name));
        name.is_none_or(|name| name.contains(is_space))
    };
    // Each part is a piece of the line, so that its distance from the start of the line is where it stands.
    let starts =
        split_commas(line).filter(begins).map(|part| part.as_ptr() as usize - line.as_ptr() as usize);
    let starts: Vec<usize> = starts.collect();
    let ends = starts.iter().skip(1).copied().chain([line.len()]);
    starts.iter().zip(ends).map(|(start, end)| line[*start..end].trim_end_matches([',', ' ', '\t'])).collect()
}

/// The request that credentials are made for.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its Request-URI as written.
    pub uri: &'a str,
    /// Its body.
    pub body: &'a [u8],
    /// The client nonce: fresh randomness, kept for all requests under one nonce where the algorithm is `-sess`.
    pub cnonce: &'a str,
    /// How often this nonce has been used, this request included: 1 for the first.
    pub nc: u32,
}

/// Answers a challenge: the value of Authorization or Proxy-Authorization.
pub fn answer(challenge: &Challenge, credentials: &Credentials, exchange: &Exchange<'_>) -> Authorization {
    let qop = match challenge.qop {
        QopOffer::Absent => None,
        QopOffer::Auth => Some(Qop::Auth),
        QopOffer::AuthInt => Some(Qop::AuthInt),
    };
    let hash = challenge.algorithm.hash;
    let response = algorithm::response(&Input {
        algorithm: challenge.algorithm,
        a1: &algorithm::a1(hash, &credentials.username, &challenge.realm, &credentials.password),
        nonce: &challenge.nonce,
        cnonce: exchange.cnonce,
        counted: qop.map(|qop| (qop, exchange.nc)),
        method: exchange.method.as_str(),
        uri: exchange.uri,
        body: exchange.body,
    });
    // RFC 2617 section 3.2.2: cnonce "MUST NOT be specified if the server did not send a qop directive"; only a
    // session key cannot do without.
    let with_cnonce = qop.is_some() || challenge.algorithm.session;
    Authorization {
        username: credentials.username.clone(),
        realm: challenge.realm.clone(),
        nonce: challenge.nonce.clone(),
        uri: exchange.uri.into(),
        response: response.into(),
        algorithm: challenge.algorithm,
        opaque: challenge.opaque.clone(),
        cnonce: with_cnonce.then(|| exchange.cnonce.into()),
        counted: qop.map(|qop| Counted { qop, nc: exchange.nc }),
    }
}

/// Digest credentials: one value of Authorization or Proxy-Authorization. `Display` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Who.
    pub username: ByteString,
    /// Where.
    pub realm: ByteString,
    /// The server's nonce.
    pub nonce: ByteString,
    /// The Request-URI as the client wrote it; a proxy may have changed it since.
    pub uri: ByteString,
    /// The proof.
    pub response: ByteString,
    /// MD5 where none is named.
    pub algorithm: Algorithm,
    /// The server's, sent back.
    pub opaque: Option<ByteString>,
    /// The client's nonce.
    pub cnonce: Option<ByteString>,
    /// Protection and count; absent in answers as of RFC 2069.
    pub counted: Option<Counted>,
}

/// `qop` and `nc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The protection chosen.
    pub qop: Qop,
    /// How often the nonce was used, this time included.
    pub nc: u32,
}

impl Authorization {
    /// Reads a field value; other schemes and unknown algorithms are [`ParseError::Digest`].
    pub fn parse(value: &str) -> Result<Authorization, ParseError> {
        let (mut username, mut realm, mut nonce, mut uri, mut response) = (None, None, None, None, None);
        let (mut opaque, mut cnonce, mut qop, mut nc) = (None, None, None, None);
        let mut algorithm = Algorithm::from(Hash::Md5);
        for field in digest_fields(value)? {
            let (name, value) = field?;
            let text = || Some(ByteString::from(value.as_ref()));
            match name.to_ascii_lowercase().as_str() {
                "username" => username = text(),
                "realm" => realm = text(),
                "nonce" => nonce = text(),
                "uri" => uri = text(),
                "response" => response = text(),
                "opaque" => opaque = text(),
                "cnonce" => cnonce = text(),
                "algorithm" => algorithm = Algorithm::parse(&value).ok_or(ParseError::Digest)?,
                "qop" => qop = Some(Qop::parse(&value).ok_or(ParseError::Digest)?),
                "nc" => nc = Some(count(&value).ok_or(ParseError::Digest)?),
                _ => {}
            }
        }
        let counted = match (qop, nc, &cnonce) {
            (None, _, _) => None,
            (Some(qop), Some(nc), Some(_)) => Some(Counted { qop, nc }),
            (Some(_), None, _) | (Some(_), Some(_), None) => return Err(ParseError::Digest),
        };
        let need = |field: Option<ByteString>| field.ok_or(ParseError::Digest);
        Ok(Authorization {
            username: need(username)?,
            realm: need(realm)?,
            nonce: need(nonce)?,
            uri: need(uri)?,
            response: need(response)?,
            algorithm,
            opaque,
            cnonce,
            counted,
        })
    }
}

/// "nc-value = 8LHEX"
fn count(text: &str) -> Option<u32> {
    let sound = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    sound.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for Authorization {
    /// Quotes where RFC 7616 section 3.4 has quotes, and only there: old servers compare literally.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest username={}, realm={}", Quoted(&self.username), Quoted(&self.realm))?;
        write!(f, ", nonce={}, uri={}", Quoted(&self.nonce), Quoted(&self.uri))?;
        write!(f, ", response=\"{}\", algorithm={}", self.response, self.algorithm)?;
        if let Some(cnonce) = &self.cnonce {
            write!(f, ", cnonce={}", Quoted(cnonce))?;
        }
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        if let Some(Counted { qop, nc }) = self.counted {
            write!(f, ", qop={}, nc={nc:08x}", qop.as_str())?;
        }
        Ok(())
    }
}
