//! URI comparison of RFC 3261 section 19.1.4 and RFC 3966 section 4.

use super::{Parts, Uri};

/// One character of a URI part: its byte, and whether an escape was needed to write it.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Unit {
    pub(super) byte: u8,
    escaped_reserved: bool,
}

/// The characters of a part with escapes undone.
///
/// "Characters other than those in the 'reserved' set (see RFC 2396) are equivalent to their '"%" HEX HEX' encoding."
pub(super) fn units(text: &str) -> impl Iterator<Item = Unit> + '_ {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let digit = |b: &u8| char::from(*b).to_digit(16);
        if let [b'%', high, low, tail @ ..] = rest
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            rest = tail;
            let byte = (high * 16 + low) as u8; // two hex digits
            return Some(Unit { byte, escaped_reserved: b";/?:@&=+$,".contains(&byte) });
        }
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        Some(Unit { byte, escaped_reserved: false })
    })
}

fn same(a: &str, b: &str) -> bool {
    units(a).eq(units(b))
}

fn same_in_any_case(a: &str, b: &str) -> bool {
    let fold = |unit: Unit| Unit { byte: unit.byte.to_ascii_lowercase(), ..unit };
    units(a).map(fold).eq(units(b).map(fold))
}

fn same_option(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => same(a, b),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

impl Uri {
    /// Whether two URIs are the same resource (RFC 3261 section 19.1.4; RFC 3966 section 4 for tel). The relation is
    /// not transitive: parameters that only one side has are mostly ignored.
    pub fn is_equivalent(&self, other: &Uri) -> bool {
        match (&self.parts, &other.parts) {
            (Parts::Sip { .. }, Parts::Sip { .. }) => self.scheme == other.scheme && same_sip(self, other),
            (Parts::Tel { .. }, Parts::Tel { .. }) => same_tel(self, other),
            (Parts::Opaque, Parts::Opaque) => {
                let split = |uri: &Uri| uri.as_str().find(':').unwrap_or(0);
                let (a, b) = (self.as_str().split_at(split(self)), other.as_str().split_at(split(other)));
                a.0.eq_ignore_ascii_case(b.0) && a.1 == b.1
            }
            (Parts::Sip { .. } | Parts::Tel { .. } | Parts::Opaque, _) => false,
        }
    }
}

fn same_sip(a: &Uri, b: &Uri) -> bool {
    let (Some(host_a), Some(host_b)) = (a.host(), b.host()) else { return false };
    // "a URI omitting any component with a default value will not match a URI explicitly containing that component
    // with its default value": ports compare as written.
    same_option(a.user(), b.user())
        && same_option(a.password(), b.password())
        && host_a.is_equivalent(&host_b)
        && a.port() == b.port()
        && same_params(a, b)
        && has_headers_of(a, b)
        && has_headers_of(b, a)
}

fn same_params(a: &Uri, b: &Uri) -> bool {
    // "A user, ttl, or method uri-parameter appearing in only one URI never matches, even if it contains the default
    // value"; nor does maddr, and by the RFC's own example "sip:bob@biloxi.com;transport=udp" neither does transport.
    let decisive = |name: &str| {
        ["user", "ttl", "method", "maddr", "transport"].iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    let agree = |from: &Uri, with: &Uri| {
        from.params().iter().all(|(name, value)| match with.param(name) {
            Some(other) => same_in_any_case(value.unwrap_or(""), other),
            None => !decisive(name),
        })
    };
    agree(a, b) && agree(b, a)
}

/// "URI header components are never ignored. Any present header component MUST be present in both URIs and match".
fn has_headers_of(a: &Uri, b: &Uri) -> bool {
    b.headers().all(|(name, value)| {
        a.headers().any(|(other, theirs)| same_in_any_case(name, other) && same(value, theirs))
    })
}

/// RFC 3966 section 4: numbers match without their visual separators, parameters in any order.
fn same_tel(a: &Uri, b: &Uri) -> bool {
    let digits = |uri: &Uri| -> Vec<u8> {
        let number = uri.user().unwrap_or("").bytes();
        number.filter(|b| !matches!(b, b'-' | b'.' | b'(' | b')')).map(|b| b.to_ascii_lowercase()).collect()
    };
    let agree = |from: &Uri, with: &Uri| {
        let found = |name, value: Option<&str>| {
            with.param(name).is_some_and(|other| same_in_any_case(value.unwrap_or(""), other))
        };
        from.params().iter().all(|(name, value)| found(name, value))
    };
    digits(a) == digits(b) && agree(a, b) && agree(b, a)
}
