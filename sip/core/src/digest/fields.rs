//! Challenges, and the reading of `name=value` lists.

use std::borrow::Cow;
use std::fmt;

use bytestring::ByteString;

use super::algorithm::Algorithm;
use super::algorithm::Hash;
use crate::ParseError;
use crate::grammar::{is_space, is_token, split_commas, split_outside, take_quoted, trim, unquote};

/// A quality of protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// Method and URI are protected.
    Auth,
    /// The body as well.
    AuthInt,
}

impl Qop {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Qop> {
        [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| qop.as_str().eq_ignore_ascii_case(text))
    }
}

/// What a challenge offers of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QopOffer {
    /// No `qop`: RFC 2069, without nonce count.
    Absent,
    /// `auth`, whatever else is offered.
    Auth,
    /// `auth-int` and not `auth`.
    AuthInt,
}

/// A Digest challenge: one value of WWW-Authenticate or Proxy-Authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Whose password is asked for.
    pub realm: ByteString,
    /// To be hashed with it.
    pub nonce: ByteString,
    /// To be sent back unchanged.
    pub opaque: Option<ByteString>,
    /// The last answer was right but its nonce too old: answer again without asking the user.
    pub stale: bool,
    /// MD5 where the challenge names none.
    pub algorithm: Algorithm,
    /// Which protection the server takes.
    pub qop: QopOffer,
}

impl Challenge {
    /// Reads a field value; other schemes, unknown algorithms and unknown qops are [`ParseError::Digest`].
    pub fn parse(value: &str) -> Result<Challenge, ParseError> {
        let (mut realm, mut nonce, mut opaque, mut stale) = (None, None, None, false);
        let mut algorithm = Algorithm::from(Hash::Md5);
        let mut qop = QopOffer::Absent;
        for field in digest_fields(value)? {
            let (name, value) = field?;
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(ByteString::from(value.as_ref())),
                "nonce" => nonce = Some(ByteString::from(value.as_ref())),
                "opaque" => opaque = Some(ByteString::from(value.as_ref())),
                // RFC 7616 section 3.3: "A case-insensitive flag".
                "stale" => stale = value.eq_ignore_ascii_case("true"),
                "algorithm" => algorithm = Algorithm::parse(&value).ok_or(ParseError::Digest)?,
                "qop" => qop = offer(&value)?,
                // Nothing of ours hangs on domain, charset, userhash (RFC 7616 section 3.3) or what is not known here.
                _ => {}
            }
        }
        let (realm, nonce) = realm.zip(nonce).ok_or(ParseError::Digest)?;
        Ok(Challenge { realm, nonce, opaque, stale, algorithm, qop })
    }
}

/// RFC 7616 section 3.3: "Unrecognized options MUST be ignored"; a list of nothing else cannot be answered.
fn offer(list: &str) -> Result<QopOffer, ParseError> {
    let mut offers = split_outside(list, b',').filter_map(Qop::parse);
    match (offers.clone().any(|qop| qop == Qop::Auth), offers.next()) {
        (true, _) => Ok(QopOffer::Auth),
        (false, Some(_)) => Ok(QopOffer::AuthInt),
        (false, None) => Err(ParseError::Digest),
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest realm={}, nonce={}", Quoted(&self.realm), Quoted(&self.nonce))?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        if self.stale {
            f.write_str(", stale=true")?;
        }
        write!(f, ", algorithm={}", self.algorithm)?;
        match self.qop {
            QopOffer::Absent => Ok(()),
            QopOffer::Auth => f.write_str(", qop=\"auth\""),
            QopOffer::AuthInt => f.write_str(", qop=\"auth-int\""),
        }
    }
}

/// A quoted string.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::quote(self.0))
    }
}

/// One `name=value`, quotes undone.
type Field<'a> = Result<(&'a str, Cow<'a, str>), ParseError>;

/// The fields of a value of scheme Digest.
pub(super) fn digest_fields(value: &str) -> Result<impl Iterator<Item = Field<'_>>, ParseError> {
    let (scheme, list) = trim(value).split_once(is_space).ok_or(ParseError::Digest)?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return Err(ParseError::Digest);
    }
    Ok(split_commas(list).map(|field| {
        let (name, value) = field.split_once('=').ok_or(ParseError::Digest)?;
        let (name, value) = (trim(name), trim(value));
        let closed = !value.starts_with('"') || matches!(take_quoted(value), Some((_, "")));
        if is_token(name) && closed { Ok((name, unquote(value))) } else { Err(ParseError::Digest) }
    }))
}
