//! Header field names.

use std::fmt;

/// Writes [`Name`] with its wire names and compact forms, each listed once.
macro_rules! names {
    ($($variant:ident $text:literal $($compact:literal)?;)*) => {
        /// A header field name. Known names are variants; names compare case-insensitively.
        ///
        /// Compact forms (RFC 3261 section 7.3.3) are the same name: `Name::parse("v") == Name::Via`.
        #[derive(Clone, Copy, Debug)]
        pub enum Name<'a> {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other name, as written.
            Other(&'a str),
        }

        #[derive(Clone, Copy)]
        enum Code { $($variant,)* Other }

        const TEXTS: &[&str] = &[$($text),*];

        impl<'a> Name<'a> {
            /// The name as we write it; compact forms are never written.
            pub fn as_str(&self) -> &'a str {
                match self {
                    $(Name::$variant => $text,)*
                    Name::Other(text) => text,
                }
            }

            /// A number per known name; all others share [`Name::OTHER`].
            pub(crate) fn code(self) -> u8 {
                match self {
                    $(Name::$variant => Code::$variant as u8,)*
                    Name::Other(_) => Name::OTHER,
                }
            }

            /// The inverse of [`Name::code`]; `text` is the name where the code is [`Name::OTHER`].
            pub(crate) fn from_code(code: u8, text: &'a str) -> Name<'a> {
                const KNOWN: &[Name<'static>] = &[$(Name::$variant),*];
                KNOWN.get(usize::from(code)).copied().unwrap_or(Name::Other(text))
            }

            fn compact(letter: u8) -> Option<Name<'static>> {
                $($(if letter == $compact { return Some(Name::$variant); })?)*
                None
            }
        }
    };
}

names! {
    Via "Via" b'v';
    From "From" b'f';
    To "To" b't';
    CallId "Call-ID" b'i';
    CSeq "CSeq";
    Contact "Contact" b'm';
    MaxForwards "Max-Forwards";
    ContentLength "Content-Length" b'l';
    ContentType "Content-Type" b'c';
    Route "Route";
    RecordRoute "Record-Route";
    Accept "Accept";
    AcceptEncoding "Accept-Encoding";
    AcceptLanguage "Accept-Language";
    AlertInfo "Alert-Info";
    Allow "Allow";
    AllowEvents "Allow-Events" b'u';
    AuthenticationInfo "Authentication-Info";
    Authorization "Authorization";
    CallInfo "Call-Info";
    ContentDisposition "Content-Disposition";
    ContentEncoding "Content-Encoding" b'e';
    ContentLanguage "Content-Language";
    Date "Date";
    Diversion "Diversion";
    ErrorInfo "Error-Info";
    Event "Event" b'o';
    Expires "Expires";
    HistoryInfo "History-Info";
    Identity "Identity" b'y';
    InReplyTo "In-Reply-To";
    InfoPackage "Info-Package";
    MimeVersion "MIME-Version";
    MinExpires "Min-Expires";
    MinSe "Min-SE";
    Organization "Organization";
    PAccessNetworkInfo "P-Access-Network-Info";
    PAssertedIdentity "P-Asserted-Identity";
    PPreferredIdentity "P-Preferred-Identity";
    Path "Path";
    Priority "Priority";
    Privacy "Privacy";
    ProxyAuthenticate "Proxy-Authenticate";
    ProxyAuthorization "Proxy-Authorization";
    ProxyRequire "Proxy-Require";
    RAck "RAck";
    RSeq "RSeq";
    Reason "Reason";
    RecvInfo "Recv-Info";
    ReferSub "Refer-Sub";
    ReferTo "Refer-To" b'r';
    ReferredBy "Referred-By" b'b';
    Replaces "Replaces";
    ReplyTo "Reply-To";
    Require "Require";
    RetryAfter "Retry-After";
    Server "Server";
    ServiceRoute "Service-Route";
    SessionExpires "Session-Expires" b'x';
    SessionId "Session-ID";
    SipEtag "SIP-ETag";
    SipIfMatch "SIP-If-Match";
    Subject "Subject" b's';
    SubscriptionState "Subscription-State";
    Supported "Supported" b'k';
    Timestamp "Timestamp";
    Unsupported "Unsupported";
    UserAgent "User-Agent";
    UserToUser "User-to-User";
    Warning "Warning";
    WwwAuthenticate "WWW-Authenticate";
}

/// The code of the only known name that can stand at each [`place`].
const PLACES: [u8; 256] = {
    let mut places = [Name::OTHER; 256];
    let mut code = 0;
    while code < TEXTS.len() {
        let at = place(TEXTS[code].as_bytes());
        assert!(places[at] == Name::OTHER, "two known names share a place: find other factors");
        places[at] = code as u8;
        code += 1;
    }
    places
};

/// A perfect hash of the known names by length, first, middle and last letter in any case. The factors were found by
/// trial; the build fails if a new name needs others.
const fn place(text: &[u8]) -> usize {
    let [first, .., last] = text else { return 0 };
    // Setting this bit lowers letters and leaves "-" and digits alone.
    const LOWER: u8 = 0x20;
    (text.len() as u8)
        .wrapping_mul(177)
        .wrapping_add((*first | LOWER).wrapping_mul(194))
        .wrapping_add((*last | LOWER).wrapping_mul(98))
        .wrapping_add((text[text.len() / 2] | LOWER).wrapping_mul(21)) as usize
}

impl<'a> Name<'a> {
    pub(crate) const OTHER: u8 = Code::Other as u8;

    /// Reads a name, in any case or in its compact form.
    pub fn parse(text: &'a str) -> Name<'a> {
        if let [letter] = text.as_bytes()
            && let Some(name) = Name::compact(letter.to_ascii_lowercase())
        {
            return name;
        }
        let code = PLACES[place(text.as_bytes())];
        match TEXTS.get(usize::from(code)) {
            Some(known) if known.eq_ignore_ascii_case(text) => Name::from_code(code, text),
            Some(_) | None => Name::Other(text),
        }
    }

    /// Whether one field may carry several values parted by commas.
    ///
    /// RFC 3261 section 7.3.1 allows it where the grammar reads "header-value *(COMMA header-value)"; the challenges and
    /// credentials are excepted by name, and the commas of Date, Subject and User-Agent are plain text. A name that is
    /// not known here is not parted: a wrong guess would tear a value.
    pub fn is_list(self) -> bool {
        matches!(
            self,
            Name::Via
                | Name::Contact
                | Name::Route
                | Name::RecordRoute
                | Name::Path
                | Name::ServiceRoute
                | Name::Accept
                | Name::AcceptEncoding
                | Name::AcceptLanguage
                | Name::AlertInfo
                | Name::Allow
                | Name::AllowEvents
                | Name::CallInfo
                | Name::ContentEncoding
                | Name::ContentLanguage
                | Name::Diversion
                | Name::ErrorInfo
                | Name::HistoryInfo
                | Name::InReplyTo
                | Name::PAssertedIdentity
                | Name::PPreferredIdentity
                | Name::ProxyRequire
                | Name::Reason
                | Name::RecvInfo
                | Name::Require
                | Name::Supported
                | Name::Unsupported
                | Name::UserToUser
                | Name::Warning
        )
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Name<'_>) -> bool {
        self.code() == other.code()
            && (self.code() != Name::OTHER || self.as_str().eq_ignore_ascii_case(other.as_str()))
    }
}

impl Eq for Name<'_> {}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_in_compact_form() {
        for (text, name) in [
            ("v", Name::Via),
            ("V", Name::Via),
            ("vIA", Name::Via),
            ("call-id", Name::CallId),
            ("i", Name::CallId),
            ("k", Name::Supported),
            ("x", Name::SessionExpires),
            ("X-Campaign", Name::Other("x-campaign")),
            ("q", Name::Other("Q")),
        ] {
            assert_eq!(Name::parse(text), name, "{text}");
        }
        assert_ne!(Name::Other("X-A"), Name::Other("X-B"));
    }

    #[test]
    fn every_known_name_survives_its_code() {
        for text in TEXTS {
            let name = Name::parse(text);
            assert_ne!(name.code(), Name::OTHER, "{text}");
            assert_eq!(Name::from_code(name.code(), ""), name);
            assert_eq!(name.as_str(), *text);
        }
    }
}
