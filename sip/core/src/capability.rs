//! What each end can: extensions by their option tags (RFC 3261 section 19.2), and methods.

use crate::{Message, Method, Name};

/// An extension that we know. This is the one list: what is in it is offered in Supported and served where required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    /// Reliable provisional responses (RFC 3262).
    Reliable,
    /// REFER without a subscription (RFC 4488).
    NoReferSub,
    /// Replaces (RFC 3891).
    Replaces,
    /// Session timers (RFC 4028).
    Timer,
}

impl Extension {
    pub(crate) const ALL: [Self; 4] = [Self::Reliable, Self::NoReferSub, Self::Replaces, Self::Timer];

    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::Reliable => "100rel",
            Self::NoReferSub => "norefersub",
            Self::Replaces => "replaces",
            Self::Timer => "timer",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    pub(crate) fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.tag().eq_ignore_ascii_case(tag))
    }
}

/// A set of extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extensions(u8);

impl Extensions {
    pub(crate) fn all() -> Self {
        Self(Extension::ALL.into_iter().fold(0, |bits, extension| bits | extension.bit()))
    }

    /// Those of a Supported or Require that we know.
    pub(crate) fn named(message: &Message, name: Name<'static>) -> Self {
        let known = message.headers(name).filter_map(Extension::from_tag);
        Self(known.fold(0, |bits, extension| bits | extension.bit()))
    }

    pub(crate) fn has(self, extension: Extension) -> bool {
        self.0 & extension.bit() != 0
    }

    #[must_use]
    pub(crate) fn without(self, extension: Extension) -> Self {
        Self(self.0 & !extension.bit())
    }

    /// The value of a Supported; may be empty.
    pub(crate) fn value(self) -> String {
        let tags: Vec<_> =
            Extension::ALL.into_iter().filter(|extension| self.has(*extension)).map(Extension::tag).collect();
        tags.join(", ")
    }
}

/// What a request requires and we do not know, as the value of Unsupported; empty when we know all.
///
/// RFC 3261 section 8.2.2.3: "If a UAS does not understand an option-tag listed in a Require header field, it MUST respond
/// by generating a response with status code 420 (Bad Extension). The UAS MUST add an Unsupported header field, and list
/// in it those options it does not understand".
pub(crate) fn unsupported(request: &Message) -> String {
    let unknown: Vec<_> =
        request.headers(Name::Require).filter(|tag| Extension::from_tag(tag).is_none()).collect();
    unknown.join(", ")
}

/// What the peer of a dialog has said that it can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// One bit for each known method.
    methods: u16,
    extensions: Extensions,
}

impl Peer {
    /// Takes what a message says; what it says nothing about stays as it was.
    pub(crate) fn learn(&mut self, message: &Message) {
        if message.header(Name::Allow).is_some() {
            let known = message.headers(Name::Allow).filter_map(Method::known);
            self.methods = known.fold(0, |bits, method| bits | bit(&method));
        }
        if message.rows_of(Name::Supported).next().is_some() || message.header(Name::Require).is_some() {
            let supported = Extensions::named(message, Name::Supported);
            self.extensions = Extensions(supported.0 | Extensions::named(message, Name::Require).0);
        }
    }

    /// Whether the peer has said that it takes this method. One that has not sent an Allow is asked nothing new.
    pub(crate) fn allows(self, method: &Method) -> bool {
        self.methods & bit(method) != 0
    }

    pub(crate) fn supports(self, extension: Extension) -> bool {
        self.extensions.has(extension)
    }
}

fn bit(method: &Method) -> u16 {
    let place = match method {
        Method::Invite => 0,
        Method::Ack => 1,
        Method::Bye => 2,
        Method::Cancel => 3,
        Method::Options => 4,
        Method::Register => 5,
        Method::Prack => 6,
        Method::Subscribe => 7,
        Method::Notify => 8,
        Method::Publish => 9,
        Method::Info => 10,
        Method::Refer => 11,
        Method::Message => 12,
        Method::Update => 13,
        Method::Extension(_) => return 0,
    };
    1 << place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(lines: &str) -> Message {
        Message::parse(format!("SIP/2.0 200 OK\r\n{lines}\r\n").into()).unwrap()
    }

    #[test]
    fn only_what_is_not_known_is_unsupported() {
        let request = message("Require: 100REL, x-new\r\nRequire: y\r\n");
        assert_eq!(unsupported(&request), "x-new, y");
        assert_eq!(unsupported(&message("Require: 100rel\r\n")), "");
        assert_eq!(Extensions::all().value(), "100rel, norefersub, replaces, timer");
        assert_eq!(Extensions::all().without(Extension::Reliable).value(), "norefersub, replaces, timer");
    }

    #[test]
    fn a_peer_is_remembered_until_it_says_otherwise() {
        let mut peer = Peer::default();
        assert!(!peer.allows(&Method::Update) && !peer.supports(Extension::Reliable));
        peer.learn(&message("Allow: INVITE, UPDATE, X\r\nSupported: 100rel\r\n"));
        peer.learn(&message(""));
        assert!(peer.allows(&Method::Update) && !peer.allows(&Method::Info));
        assert!(!peer.allows(&Method::Extension("X".into())) && peer.supports(Extension::Reliable));
        peer.learn(&message("Allow: INVITE\r\nSupported:\r\n"));
        assert!(!peer.allows(&Method::Update) && !peer.supports(Extension::Reliable));
    }
}
