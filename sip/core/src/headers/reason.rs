//! Why something ended: Reason (RFC 3326; in responses, RFC 6432) and Warning (RFC 3261 section 20.43).

use std::fmt;

use crate::grammar::{self, is_token, split_outside, take_quoted, trim};
use crate::name::Name;
use crate::{ParseError, quote, unquote};

/// A Reason header (RFC 3326).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Whose code it is.
    pub protocol: ReasonProtocol,
    /// The status code or cause.
    pub cause: u16,
    /// For people; written as a quoted string.
    pub text: Option<String>,
}

/// The protocol of a [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonProtocol {
    /// `cause` is a SIP status code.
    Sip,
    /// `cause` is an ITU-T Q.850 cause.
    Q850,
    /// `cause` is a status of RFC 8224 section 6.2.2 (RFC 9410).
    Stir,
}

impl Reason {
    /// Reads one value. Refused are other protocols, a cause that is none of the protocol's, and a value without one.
    pub fn parse(value: &str) -> Result<Reason, ParseError> {
        const REFUSED: ParseError = ParseError::Malformed(Name::Reason);
        let mut parts = split_outside(value, b';');
        let protocol = match parts.next().unwrap_or_default() {
            name if name.eq_ignore_ascii_case("SIP") => ReasonProtocol::Sip,
            name if name.eq_ignore_ascii_case("Q.850") => ReasonProtocol::Q850,
            name if name.eq_ignore_ascii_case("STIR") => ReasonProtocol::Stir,
            _ => return Err(REFUSED),
        };
        let (mut cause, mut text) = (None, None);
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            // Some gateways quote the number.
            let value = content(trim(value));
            if trim(name).eq_ignore_ascii_case("cause") {
                cause = cause.or(grammar::number::<u16>(&unquote(value)));
            } else if trim(name).eq_ignore_ascii_case("text") {
                text = text.or(Some(unquote(value).into_owned()));
            }
        }
        let sound = |cause: &u16| match protocol {
            ReasonProtocol::Sip | ReasonProtocol::Stir => (100..700).contains(cause),
            // Q.850 numbers its causes with seven bits.
            ReasonProtocol::Q850 => *cause < 128,
        };
        Ok(Reason { protocol, cause: cause.filter(sound).ok_or(REFUSED)?, text })
    }

    /// The cause, where it is one of Q.850.
    pub fn q850(&self) -> Option<u8> {
        match self.protocol {
            ReasonProtocol::Sip | ReasonProtocol::Stir => None,
            ReasonProtocol::Q850 => u8::try_from(self.cause).ok(),
        }
    }
}

/// The quoted string that a value is, or else the value.
fn content(value: &str) -> &str {
    match value.starts_with('"') {
        true => take_quoted(value).map_or(value, |(quoted, _)| quoted),
        false => value,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            ReasonProtocol::Sip => "SIP",
            ReasonProtocol::Q850 => "Q.850",
            ReasonProtocol::Stir => "STIR",
        };
        write!(f, "{protocol};cause={}", self.cause)?;
        match &self.text {
            Some(text) => write!(f, ";text={}", quote(text)),
            None => Ok(()),
        }
    }
}

/// One value of Warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The warning code, 100 to 999; 399 is "Miscellaneous warning".
    pub code: u16,
    /// Who warns: a host or a pseudonym.
    pub agent: String,
    /// For people.
    pub text: String,
}

impl Warning {
    /// Reads `399 host "text"`; the text may lack its quotes.
    pub fn parse(value: &str) -> Result<Warning, ParseError> {
        const REFUSED: ParseError = ParseError::Malformed(Name::Warning);
        let (code, rest) = trim(value).split_once(grammar::is_space).ok_or(REFUSED)?;
        let code = grammar::number(code).filter(|code| (100..1000).contains(code)).ok_or(REFUSED)?;
        let rest = trim(rest);
        let (agent, text) = rest.split_once(grammar::is_space).unwrap_or((rest, ""));
        if agent.is_empty() || agent.contains('"') {
            return Err(REFUSED);
        }
        Ok(Warning { code, agent: agent.to_owned(), text: unquote(content(trim(text))).into_owned() })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.agent, quote(&self.text))
    }
}

/// The package and the id of an Event header (RFC 6665 section 8.4): `refer;id=93809824`.
pub(crate) fn event(value: &str) -> Option<(&str, Option<&str>)> {
    let mut parts = split_outside(value, b';');
    let package = parts.next().filter(|package| is_token(package))?;
    let id = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        trim(name).eq_ignore_ascii_case("id").then(|| trim(value))
    });
    Some((package, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_and_written() {
        let reason = Reason::parse(r#"Q.850 ;cause=16 ;text="Terminated; cause=1 \"x\"""#).unwrap();
        assert_eq!((reason.q850(), reason.text.as_deref()), (Some(16), Some(r#"Terminated; cause=1 "x""#)));
        assert_eq!(reason.to_string(), r#"Q.850;cause=16;text="Terminated; cause=1 \"x\"""#);
        assert_eq!(Reason::parse(r#"q.850;text="x;cause=3";cause="17""#).unwrap().q850(), Some(17));
        let sip = Reason::parse("SIP;cause=200;text=elsewhere").unwrap();
        assert_eq!((sip.cause, sip.q850(), sip.text.as_deref()), (200, None, Some("elsewhere")));
        let stir = Reason::parse(r#"STIR;cause=436;text="Bad Identity Info""#).unwrap();
        assert_eq!((stir.protocol, stir.cause, stir.q850()), (ReasonProtocol::Stir, 436, None));
        assert_eq!(stir.to_string(), r#"STIR;cause=436;text="Bad Identity Info""#);
        for value in
            ["", "Q.850", "Q.850;cause=500", "SIP;cause=16", "STIR;cause=99", "SIP;cause=-1", "SIP;cause"]
        {
            assert!(Reason::parse(value).is_err(), "{value}");
        }
    }

    #[test]
    fn warnings_are_read_and_written() {
        let warning = Warning::parse(r#"370 devnull "Choose a bigger pipe""#).unwrap();
        assert_eq!((warning.code, &*warning.agent, &*warning.text), (370, "devnull", "Choose a bigger pipe"));
        assert_eq!(warning.to_string(), r#"370 devnull "Choose a bigger pipe""#);
        assert_eq!(Warning::parse("399 1.2.3.4:5060 no quotes").unwrap().text, "no quotes");
        assert_eq!(Warning::parse("399 h").unwrap().text, "");
        for value in ["", "399", "1000 h \"x\"", "x h \"x\"", "399 \"x\""] {
            assert!(Warning::parse(value).is_err(), "{value}");
        }
    }

    #[test]
    fn events_have_a_package_and_perhaps_an_id() {
        assert_eq!(event("refer"), Some(("refer", None)));
        assert_eq!(event(" refer ; x=1; ID = 93 "), Some(("refer", Some("93"))));
        assert_eq!(event(";id=1"), None);
        assert_eq!(event(""), None);
    }
}
