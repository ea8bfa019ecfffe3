//! Which numbers a certificate may sign for: the TN Authorization List (RFC 8226 section 9).

use x509_cert::der::asn1::{AnyRef, Ia5StringRef, ObjectIdentifier};
use x509_cert::der::{self, Decode, Reader, SliceReader, TagNumber, Tagged};
use x509_cert::ext::Extension;

use crate::party::Number;

/// id-pe-TNAuthList (RFC 8226 section 9).
const TN_AUTH_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.26");
/// id-pe-JWTClaimConstraints (RFC 8226 section 8) and id-pe-eJWTClaimConstraints (RFC 9118).
const CLAIM_CONSTRAINTS: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.27"), ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.33")];

/// What one certificate says about its authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authority {
    /// It has no list.
    Unlimited,
    /// It has one.
    Listed(Vec<Entry>),
    /// It limits what its claims may say, in ways that are not read here.
    Constrained,
    /// Its list cannot be read.
    Malformed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// All numbers of a service provider, whose code this is. Which those are stands in databases of the numbering plan.
    Provider,
    /// Numbers of this many digits, from the first to the last.
    Range { digits: usize, first: u64, last: u64 },
    /// One number.
    One(Number),
}

impl Authority {
    pub(crate) fn of(extensions: Option<&Vec<Extension>>) -> Self {
        let mut authority = Self::Unlimited;
        for extension in extensions.into_iter().flatten() {
            if CLAIM_CONSTRAINTS.contains(&extension.extn_id) {
                return Self::Constrained;
            }
            if extension.extn_id == TN_AUTH_LIST {
                authority = entries(extension.extn_value.as_bytes()).map_or(Self::Malformed, Self::Listed);
            }
        }
        authority
    }

    /// Whether it covers `number`; a URI is covered by no list.
    pub(crate) fn covers(&self, number: Option<&Number>) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Listed(entries) => {
                number.is_some_and(|number| entries.iter().any(|entry| entry.covers(number)))
            }
            Self::Constrained | Self::Malformed => false,
        }
    }
}

impl Entry {
    fn covers(&self, number: &Number) -> bool {
        match self {
            Self::Provider => true,
            Self::One(one) => one == number,
            Self::Range { digits, first, last } => {
                number.as_str().len() == *digits
                    && number.as_str().parse().is_ok_and(|number: u64| (*first..=*last).contains(&number))
            }
        }
    }
}

/// `TNAuthorizationList ::= SEQUENCE SIZE (1..MAX) OF TNEntry`, each entry in an explicit tag.
fn entries(list: &[u8]) -> Option<Vec<Entry>> {
    let mut reader = SliceReader::new(list).ok()?;
    let entries = reader
        .sequence(|list| -> der::Result<Vec<Option<Entry>>> {
            let mut entries = Vec::new();
            while !list.is_finished() {
                entries.push(entry(AnyRef::decode(list)?));
            }
            Ok(entries)
        })
        .ok()?;
    reader.finish().ok()?;
    entries.into_iter().collect::<Option<Vec<_>>>().filter(|entries| !entries.is_empty())
}

fn entry(any: AnyRef<'_>) -> Option<Entry> {
    let der::Tag::ContextSpecific { constructed: true, number } = any.tag() else { return None };
    match number {
        TagNumber(0) => Ia5StringRef::from_der(any.value()).ok().map(|_| Entry::Provider),
        TagNumber(1) => {
            let mut reader = SliceReader::new(any.value()).ok()?;
            let (start, count) = reader
                .sequence(|range| -> der::Result<_> {
                    Ok((Ia5StringRef::decode(range)?.as_str().to_owned(), u64::decode(range)?))
                })
                .ok()?;
            reader.finish().ok()?;
            let first: u64 =
                start.bytes().all(|byte| byte.is_ascii_digit()).then(|| start.parse().ok())??;
            let last = first.checked_add(count.checked_sub(1)?)?;
            Some(Entry::Range { digits: start.len(), first, last })
        }
        TagNumber(2) => {
            let one = Ia5StringRef::from_der(any.value()).ok()?;
            Number::canonical(one.as_str()).map(Entry::One)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_cover_what_they_list() {
        let number = |text| Number::canonical(text).unwrap();
        // [0] "709J" as service providers have it; [1] 12155550100 and 20 more; [2] "911".
        let provider: &[u8] = &[0x30, 0x08, 0xa0, 0x06, 0x16, 0x04, b'7', b'0', b'9', b'J'];
        assert_eq!(entries(provider), Some(vec![Entry::Provider]));
        let range = [
            &[0x30, 0x1b, 0xa1, 0x12, 0x30, 0x10, 0x16, 0x0b][..],
            b"12155550100",
            &[0x02, 0x01, 0x15, 0xa2, 0x05, 0x16, 0x03],
            b"911",
        ]
        .concat();
        let listed = Authority::Listed(entries(&range).unwrap());
        for (text, covered) in [
            ("12155550099", false),
            ("12155550100", true),
            ("12155550120", true),
            ("12155550121", false),
            ("012155550100", false),
            ("911", true),
            ("912", false),
            ("1215555010*", false),
        ] {
            assert_eq!(listed.covers(Some(&number(text))), covered, "{text}");
        }
        assert!(!listed.covers(None));
        assert!(Authority::Unlimited.covers(None));
        for bad in [
            &[][..],
            &[0x30, 0x00],
            &[0x30, 0x02, 0xa0, 0x00],
            &[0x30, 0x02, 0xa3, 0x00],
            &[0x30, 0x80],
            &[0x30, 0x08, 0xa0, 0x06, 0x16, 0x04, b'7', b'0', b'9', b'J', 0],
        ] {
            assert_eq!(entries(bad), None, "{bad:02x?}");
        }
    }
}
