//! What name servers tell, as far as it is of use here.

use std::net::IpAddr;

/// Records of one kind that one name has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// In lower case; with a dot at its end where no search list applies.
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Naptr,
    Srv,
    A,
    Aaaa,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Naptr(Naptr),
    Srv(Srv),
    Address(IpAddr),
}

/// RFC 3403 section 4.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Naptr {
    pub(super) order: u16,
    pub(super) preference: u16,
    pub(super) flags: String,
    pub(super) service: String,
    pub(super) regexp: bool,
    pub(super) replacement: String,
}

/// RFC 2782.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Srv {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: String,
}

/// What is known of a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Never empty.
    Records(Vec<Record>),
    /// The name does not exist, or has none of the kind.
    Nothing,
    /// No server answered in time, or those that did could not tell.
    Failed,
}

impl Found {
    pub(super) fn records(&self) -> &[Record] {
        match self {
            Found::Records(records) => records,
            Found::Nothing | Found::Failed => &[],
        }
    }
}
