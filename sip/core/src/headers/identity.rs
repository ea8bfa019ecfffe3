//! Who calls, and on whose behalf: Privacy (RFC 3323), Diversion (RFC 5806), History-Info (RFC 7044). The identities
//! themselves (RFC 3325) are addresses: `message.addresses(Name::PAssertedIdentity)`.

use std::borrow::Cow;
use std::fmt;

use bytestring::ByteString;

use super::{NameAddr, Reason};
use crate::ParseError;
use crate::grammar::{self, split_outside, unquote};
use crate::name::Name;

/// One wish of a Privacy header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrivacyValue {
    /// RFC 3323: hide what the caller's agent cannot: Via, Contact, Route.
    Header,
    /// RFC 3323: anonymous media.
    Session,
    /// RFC 3323: anonymous From, Subject and their kin.
    User,
    /// RFC 3323: "the user requests that a privacy service apply no privacy functions".
    None,
    /// RFC 3323: fail rather than go without.
    Critical,
    /// RFC 3325: the asserted identity stays in the trust domain; "withheld number" (CLIR).
    Id,
    /// RFC 7044: hide the History-Info entries of this domain.
    History,
}

impl PrivacyValue {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Header, "header"),
        (Self::Session, "session"),
        (Self::User, "user"),
        (Self::None, "none"),
        (Self::Critical, "critical"),
        (Self::Id, "id"),
        (Self::History, "history"),
    ];
}

/// The wishes of a Privacy header, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Privacy {
    bits: u8,
}

impl Privacy {
    /// Reads `id;critical`, and commas for semicolons, which are common. Unknown wishes are left out.
    pub fn parse(value: &str) -> Privacy {
        let words = value.split([';', ',']).map(grammar::trim);
        let known = |word: &str| {
            PrivacyValue::ALL.into_iter().find(|(_, text)| text.eq_ignore_ascii_case(word)).map(|(v, _)| v)
        };
        words.filter_map(known).collect()
    }

    /// Whether this is wished.
    pub fn contains(self, value: PrivacyValue) -> bool {
        self.bits & (1 << value as u8) != 0
    }

    /// Whether nothing is wished.
    pub fn is_empty(self) -> bool {
        self.bits == 0
    }
}

impl FromIterator<PrivacyValue> for Privacy {
    fn from_iter<I: IntoIterator<Item = PrivacyValue>>(values: I) -> Privacy {
        Privacy { bits: values.into_iter().fold(0, |bits, value| bits | 1 << value as u8) }
    }
}

impl fmt::Display for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (value, text) in PrivacyValue::ALL {
            if self.contains(value) {
                write!(f, "{separator}{text}")?;
                separator = ";";
            }
        }
        Ok(())
    }
}

/// One value of Diversion: who sent the call on, and why. The first value is the latest diversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion(NameAddr);

impl Diversion {
    /// A diversion by this address; the parameters are in it, see [`NameAddr::with_param`].
    pub fn new(address: NameAddr) -> Diversion {
        Diversion(address)
    }

    /// Reads one value.
    pub fn parse(text: ByteString) -> Result<Diversion, ParseError> {
        NameAddr::parse(text).map(Diversion).map_err(|_| ParseError::Malformed(Name::Diversion))
    }

    /// Who sent the call on.
    pub fn address(&self) -> &NameAddr {
        &self.0
    }

    /// `user-busy`, `no-answer`, `unconditional`, …
    pub fn reason(&self) -> Option<Cow<'_, str>> {
        self.0.params().get("reason").map(unquote)
    }

    /// How many diversions this value stands for.
    pub fn counter(&self) -> Option<u8> {
        self.0.params().get("counter").and_then(grammar::number)
    }

    /// `full`, `name`, `uri` or `off`.
    pub fn privacy(&self) -> Option<Cow<'_, str>> {
        self.0.params().get("privacy").map(unquote)
    }
}

impl fmt::Display for Diversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One entry of History-Info: a target that the call was sent to. The last entry is where it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryInfo(NameAddr);

impl HistoryInfo {
    /// Reads one entry.
    pub fn parse(text: ByteString) -> Result<HistoryInfo, ParseError> {
        NameAddr::parse(text).map(HistoryInfo).map_err(|_| ParseError::Malformed(Name::HistoryInfo))
    }

    /// The target, with the Reason and Privacy that may be in its URI.
    pub fn address(&self) -> &NameAddr {
        &self.0
    }

    /// The place in the tree of targets: `1.2.1`.
    pub fn index(&self) -> Option<&str> {
        self.0.params().get("index")
    }

    /// Why the call did not stay with this target: Reason in its URI (RFC 7044 section 10.2).
    pub fn reason(&self) -> Option<Reason> {
        Reason::parse(&self.0.uri().header("Reason")?).ok()
    }

    /// Why the call was sent to this target: the `cause` of its URI, a status code (RFC 4458 section 2).
    pub fn cause(&self) -> Option<u16> {
        grammar::number(self.0.uri().param("cause")?)
    }

    /// The wishes in its URI.
    pub fn privacy(&self) -> Privacy {
        self.0.uri().header("Privacy").map_or_else(Privacy::default, |value| Privacy::parse(&value))
    }
}

/// A value of User-to-User (RFC 7433): a few octets from one end's application to the other's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserToUser {
    /// The octets.
    pub data: Vec<u8>,
    /// The application: `isdn-uui` where it is absent.
    pub purpose: Option<String>,
}

impl UserToUser {
    /// Octets for the application that ISDN means.
    pub fn new(data: impl Into<Vec<u8>>) -> UserToUser {
        UserToUser { data: data.into(), purpose: None }
    }

    /// Reads one value. Hexadecimal digits are the only encoding there is, and what is meant where none is named; other
    /// text is taken as it stands.
    pub fn parse(value: &str) -> Result<UserToUser, ParseError> {
        const REFUSED: ParseError = ParseError::Malformed(Name::UserToUser);
        let mut parts = split_outside(value, b';');
        let text = parts.next().unwrap_or_default();
        let plain = unquote(text);
        if plain.is_empty() || !text.starts_with('"') && !grammar::is_token(text) {
            return Err(REFUSED);
        }
        let (mut hex, mut purpose) = (false, None);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let (name, value) = (grammar::trim(name), unquote(grammar::trim(value)));
            if name.eq_ignore_ascii_case("encoding") {
                hex = value.eq_ignore_ascii_case("hex");
            } else if name.eq_ignore_ascii_case("purpose") {
                purpose = Some(value.into_owned());
            }
        }
        let data = match unhex(&plain) {
            Some(octets) => octets,
            None if hex => return Err(REFUSED),
            None => plain.as_bytes().to_vec(),
        };
        Ok(UserToUser { data, purpose })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    // Two digits of sixteen make an octet.
    pairs.iter().map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8)).collect()
}

impl fmt::Display for UserToUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in &self.data {
            write!(f, "{octet:02x}")?;
        }
        match &self.purpose {
            Some(purpose) => write!(f, ";purpose={purpose};encoding=hex"),
            None => f.write_str(";encoding=hex"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privacy_is_a_set_of_wishes() {
        let privacy = Privacy::parse(" Id ; critical;x-new");
        assert!(privacy.contains(PrivacyValue::Id) && privacy.contains(PrivacyValue::Critical));
        assert!(!privacy.contains(PrivacyValue::Header));
        assert_eq!(privacy.to_string(), "critical;id");
        assert_eq!(Privacy::parse("user,header,session").to_string(), "header;session;user");
        assert!(Privacy::parse("").is_empty() && Privacy::parse(";;,x").is_empty());
        assert_eq!(Privacy::parse("none"), [PrivacyValue::None].into_iter().collect());
    }

    #[test]
    fn diversions_tell_who_why_and_how_often() {
        let text = r#""Bob" <sip:+6221500@example.com>;reason="user-busy";counter=2;privacy=full;screen=no"#;
        let diversion = Diversion::parse(text.into()).unwrap();
        assert_eq!(diversion.address().uri().user(), Some("+6221500"));
        assert_eq!(diversion.reason().as_deref(), Some("user-busy"));
        assert_eq!((diversion.counter(), diversion.privacy().as_deref()), (Some(2), Some("full")));
        assert_eq!(Diversion::parse("<tel:+1>;counter=999".into()).unwrap().counter(), None);
        assert_eq!(Diversion::parse("+1".into()), Err(ParseError::Malformed(Name::Diversion)));
        let written = Diversion::new("<tel:+1>".parse().unwrap());
        assert_eq!(Diversion::parse(written.to_string().into()), Ok(written));
    }

    #[test]
    fn history_tells_the_targets_in_order() {
        let text = "<sip:bob@example.com;cause=486?Reason=SIP%3Bcause%3D302%3Btext%3D%22Moved%22&privacy=history>;index=1.1;mp=1";
        let entry = HistoryInfo::parse(text.into()).unwrap();
        assert_eq!((entry.index(), entry.cause()), (Some("1.1"), Some(486)));
        let reason = entry.reason().unwrap();
        assert_eq!((reason.cause, reason.text.as_deref()), (302, Some("Moved")));
        assert!(entry.privacy().contains(PrivacyValue::History));
        let plain = HistoryInfo::parse("<sip:bob@example.com>;index=1".into()).unwrap();
        assert_eq!((plain.reason(), plain.cause(), plain.privacy()), (None, None, Privacy::default()));
    }

    #[test]
    fn user_to_user_is_octets() {
        let isdn = UserToUser::parse("00c81031;encoding=hex;purpose=isdn-uui").unwrap();
        assert_eq!((&isdn.data[..], isdn.purpose.as_deref()), (&[0, 0xc8, 0x10, 0x31][..], Some("isdn-uui")));
        assert_eq!(isdn.to_string(), "00c81031;purpose=isdn-uui;encoding=hex");
        assert_eq!(UserToUser::parse("\"56a390\"").unwrap().data, [0x56, 0xa3, 0x90]);
        assert_eq!(UserToUser::parse("order-7").unwrap().data, b"order-7");
        assert_eq!(UserToUser::new("hi").to_string(), "6869;encoding=hex");
        for value in ["", ";encoding=hex", "xyz;encoding=hex", "abc;encoding=hex", "a b"] {
            assert!(UserToUser::parse(value).is_err(), "{value}");
        }
    }
}
