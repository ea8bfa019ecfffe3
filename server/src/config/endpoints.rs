//! `[[endpoints]]`: agents' phones and browsers that register here.

use std::collections::BTreeMap;
use std::path::Path;

use control_api_types::{EndpointMedia, Srtp};
use engine_core::{Account, RegistrarConfig};
use media_core::Codec;
use sip_core::digest::{Ha1, Hash};
use sip_core::{Host, Transport};
use toml::Spanned;

use super::check::{Checks, codecs, password};
use super::file;

/// The registrar with the endpoints; their passwords are hashed at once.
pub(super) fn registrar(
    sip: &file::Sip,
    endpoints: Vec<file::Endpoint>,
    folder: &Path,
    faults: &mut Checks,
) -> RegistrarConfig {
    let mut registrar = RegistrarConfig::default();
    if let Some(domain) = &sip.domain {
        let host = faults.parse::<Host>(domain, "a host name such as pbx.example.net");
        registrar.realm = host.as_ref().map_or(registrar.realm, Host::to_string);
        registrar.domain = host;
    }
    if let Some(listed) = &sip.digest_algorithms {
        registrar.digest_algorithms = algorithms(listed, faults);
    }
    // Whose a name is.
    let mut users: BTreeMap<String, String> = BTreeMap::new();
    for endpoint in endpoints {
        let name = endpoint.name.get_ref().clone();
        let username = endpoint.username.as_ref().unwrap_or(&endpoint.name);
        for user in std::iter::once(&endpoint.name).chain(&endpoint.username) {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
            let sound = user.get_ref().bytes().all(plain) && (1..=64).contains(&user.get_ref().len());
            faults.require(user, sound, "an endpoint's name is 1 to 64 characters of A-Z a-z 0-9 _ . -");
        }
        if users.contains_key(&name) && users.get(&name) == Some(&name) {
            faults.fault(&endpoint.name, format!("endpoint {name:?} is configured twice"));
            continue;
        }
        for user in [&endpoint.name, username] {
            if let Some(owner) = users.get(user.get_ref()).filter(|owner| **owner != name) {
                let reason =
                    format!("endpoint {name:?}: {owner:?} has the name or username {:?}", user.get_ref());
                faults.fault(user, reason);
            }
            users.insert(user.get_ref().clone(), name.clone());
        }
        let account = account(endpoint, &registrar.realm, folder, faults);
        registrar.accounts.extend(account);
    }
    registrar
}

/// What is challenged with, in the order given.
fn algorithms(listed: &Spanned<Vec<Spanned<String>>>, faults: &mut Checks) -> Vec<Hash> {
    let mut hashes = Vec::new();
    for entry in listed.get_ref() {
        let known = Hash::ALL.into_iter().find(|hash| hash.name().eq_ignore_ascii_case(entry.get_ref()));
        let names = Hash::ALL.map(Hash::name).join(", ");
        faults.require(entry, known.is_some(), &format!("digest_algorithms has only {names}"));
        hashes.extend(known.filter(|hash| !hashes.contains(hash)));
    }
    faults.require(listed, !listed.get_ref().is_empty(), "digest_algorithms must name one at least");
    hashes
}

fn account(endpoint: file::Endpoint, realm: &str, folder: &Path, faults: &mut Checks) -> Option<Account> {
    let name = endpoint.name.get_ref();
    let what = format!("endpoint {name:?}");
    let max_contacts = match &endpoint.max_contacts {
        Some(max) => {
            faults.require(max, (1..=100).contains(max.get_ref()), "max_contacts must be 1 to 100");
            *max.get_ref() as usize
        }
        None => Account::MAX_CONTACTS,
    };
    let codecs = match &endpoint.codecs {
        Some(listed) => codecs(&what, listed, faults),
        None => Codec::DEFAULT.to_vec(),
    };
    let srtp = match &endpoint.srtp {
        Some(word) => {
            let known = Srtp::ALL.iter().copied().find(|srtp| srtp.as_str() == word.get_ref());
            let words = Srtp::ALL.iter().map(|srtp| srtp.as_str()).collect::<Vec<_>>().join(", ");
            faults.require(word, known.is_some(), &format!("{what}: srtp is one of {words}"));
            known.unwrap_or(Srtp::Off)
        }
        None => Srtp::Off,
    };
    let media = endpoint.media.as_ref().and_then(|word| {
        let known = EndpointMedia::ALL.iter().copied().find(|media| media.as_str() == word.get_ref());
        let words = EndpointMedia::ALL.iter().map(|media| media.as_str()).collect::<Vec<_>>().join(", ");
        faults.require(word, known.is_some(), &format!("{what}: media is one of {words}"));
        known
    });
    let transports = endpoint.transports.iter().filter_map(|entry| transport(&what, entry, faults)).collect();
    let password =
        match password(&what, endpoint.password.as_ref(), endpoint.password_file.as_ref(), folder, faults) {
            Some(password) => password?,
            None => {
                faults.fault(&endpoint.name, format!("{what} needs a password or a password_file"));
                return None;
            }
        };
    let username = endpoint.username.as_ref().unwrap_or(&endpoint.name).get_ref().clone();
    Some(Account {
        ha1: Ha1::new(&username, realm, &password),
        username,
        caller_id: endpoint.caller_id,
        max_contacts,
        codecs,
        srtp,
        media,
        auto_answer: endpoint.auto_answer,
        transports,
        configured: true,
        ..Account::new(name, realm, "")
    })
}

fn transport(what: &str, entry: &Spanned<String>, faults: &mut Checks) -> Option<Transport> {
    let transport = Transport::from_token(entry.get_ref());
    if transport.is_none() {
        let known = Transport::ALL.map(Transport::name).join(", ");
        faults.fault(entry, format!("{what}: unknown transport {:?}; there are {known}", entry.get_ref()));
    }
    transport
}
