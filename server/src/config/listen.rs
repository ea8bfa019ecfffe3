//! The listeners of SIP, the certificates of TLS, and the name servers.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use sip_core::Transport;
use sip_io::{ClientTls, Identity, ListenAddr, ServerTls, TlsError};
use toml::Spanned;

use super::check::Checks;
use super::file;

const WANTED: &str = "TRANSPORT:IP:PORT, with a transport of udp, tcp, tls, ws, wss and IPv6 in brackets";

pub(super) fn listeners(sip: &file::Sip, folder: &Path, faults: &mut Checks) -> Vec<ListenAddr> {
    faults.require(&sip.listen, !sip.listen.get_ref().is_empty(), "at least one listener is needed");
    sip.listen.get_ref().iter().filter_map(|entry| listener(entry, sip, folder, faults)).collect()
}

fn listener(
    entry: &Spanned<file::Listen>,
    sip: &file::Sip,
    folder: &Path,
    faults: &mut Checks,
) -> Option<ListenAddr> {
    let file::Listen { addr, more } = entry.get_ref();
    let Some((transport, bind)) = address(addr) else {
        faults.fault(entry, format!("{addr:?}: expected {WANTED}"));
        return None;
    };
    let public_ip = more.public_ip.or(sip.public_ip);
    if bind.ip().is_unspecified() && public_ip.is_none() {
        faults.fault(entry, "a listener on every address needs public_ip: peers must be told one address");
    }
    if public_ip.is_some_and(|ip| ip.is_ipv4() != bind.is_ipv4()) {
        faults.fault(
            entry,
            "public_ip is of another address family than the listener: give the listener its own, as in \
             { addr = \"udp:[::]:5060\", public_ip = \"2001:db8::1\" }",
        );
    }
    let tls = if transport.is_secure() {
        server_tls(entry, &sip.tls, folder, faults)
    } else {
        for file in [&more.cert, &more.key, &more.client_ca].into_iter().flatten() {
            faults.fault(file, format!("{transport} has no certificates; tls and wss have"));
        }
        None
    };
    let (mut origins, mut path) = (Vec::new(), None);
    if transport.is_web_socket() {
        for origin in more.origins.iter().flat_map(Spanned::get_ref) {
            let is_origin = origin.get_ref().split_once("://").is_some_and(|(_, host)| !host.contains('/'));
            faults.require(origin, is_origin, "expected an origin such as https://desk.example.com");
            origins.push(origin.get_ref().clone());
        }
        if let Some(wanted) = &more.path {
            faults.require(wanted, wanted.get_ref().starts_with('/'), "a path begins with /");
            path = Some(wanted.get_ref().clone());
        }
    } else {
        if let Some(origins) = &more.origins {
            faults.fault(origins, "origins are for ws and wss");
        }
        if let Some(path) = &more.path {
            faults.fault(path, "path is for ws and wss");
        }
    }
    Some(ListenAddr { transport, bind, public_ip, tls, origins, path })
}

fn address(text: &str) -> Option<(Transport, SocketAddr)> {
    let (transport, address) = text.split_once(':')?;
    // In lower case, as all of the file's words are.
    let transport = Transport::ALL.into_iter().find(|known| known.name() == transport)?;
    Some((transport, address.parse().ok()?))
}

/// What a listener shows: its own, or else what [sip.tls] has.
fn server_tls(
    entry: &Spanned<file::Listen>,
    defaults: &file::Tls,
    folder: &Path,
    faults: &mut Checks,
) -> Option<ServerTls> {
    let file::Listen { addr, more } = entry.get_ref();
    let own = more.cert.is_some() || more.key.is_some();
    let (cert, key) = if own { (&more.cert, &more.key) } else { (&defaults.cert, &defaults.key) };
    let (Some(cert), Some(key)) = (cert, key) else {
        // Half of a pair in [sip.tls] is told of there.
        if own || (cert.is_none() && key.is_none()) {
            faults.fault(entry, format!("{addr:?} needs cert and key, here or in [sip.tls]"));
        }
        return None;
    };
    let client_ca = more.client_ca.as_ref().or(defaults.client_ca.as_ref());
    let tls = ServerTls {
        identity: identity(cert, key, folder),
        client_ca: client_ca.map(|file| folder.join(file.get_ref())),
    };
    if let Err(error) = tls.check() {
        blame(&error, [Some(cert), Some(key), client_ca], entry, folder, faults);
    }
    Some(tls)
}

/// What clients of the API are shown.
pub(super) fn api_tls(api: &file::Api, folder: &Path, faults: &mut Checks) -> Option<ServerTls> {
    match (&api.tls_cert, &api.tls_key) {
        (None, None) => None,
        (Some(cert), Some(key)) => {
            let tls = ServerTls { identity: identity(cert, key, folder), client_ca: None };
            if let Err(error) = tls.check() {
                blame(&error, [Some(cert), Some(key), None], cert, folder, faults);
            }
            Some(tls)
        }
        (Some(one), None) | (None, Some(one)) => {
            faults.fault(one, "tls_cert and tls_key go together");
            None
        }
    }
}

/// What we are to the servers of trunks.
pub(super) fn client_tls(tls: &file::Tls, folder: &Path, faults: &mut Checks) -> ClientTls {
    let identity = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Some(identity(cert, key, folder)),
        (Some(one), None) | (None, Some(one)) => {
            faults.fault(one, "cert and key go together");
            None
        }
        (None, None) => None,
    };
    let ca = tls.ca.as_ref().map(|file| folder.join(file.get_ref()));
    let client = ClientTls { ca, identity, verify: tls.verify };
    let files = [tls.cert.as_ref(), tls.key.as_ref(), tls.ca.as_ref()];
    if let Some(first) = files.into_iter().flatten().next()
        && let Err(error) = client.check()
    {
        blame(&error, files, first, folder, faults);
    }
    client
}

fn identity(cert: &Spanned<PathBuf>, key: &Spanned<PathBuf>, folder: &Path) -> Identity {
    Identity { cert: folder.join(cert.get_ref()), key: folder.join(key.get_ref()) }
}

/// Reports the error where the file that it is about stands.
fn blame<T>(
    error: &TlsError,
    files: [Option<&Spanned<PathBuf>>; 3],
    otherwise: &Spanned<T>,
    folder: &Path,
    faults: &mut Checks,
) {
    let guilty = error.file();
    match files.into_iter().flatten().find(|file| guilty == Some(&folder.join(file.get_ref()))) {
        Some(file) => faults.fault(file, error.to_string()),
        None => faults.fault(otherwise, error.to_string()),
    }
}

pub(super) fn name_servers(dns: &[Spanned<String>], faults: &mut Checks) -> Vec<SocketAddr> {
    /// RFC 1035 section 4.2: "port 53 (decimal)".
    const PORT: u16 = 53;
    let mut servers = Vec::new();
    for entry in dns {
        let text = entry.get_ref();
        match text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, PORT))) {
            Ok(server) => servers.push(server),
            Err(_) => faults.fault(entry, format!("{text:?}: expected a name server, \"IP\" or \"IP:PORT\"")),
        }
    }
    servers
}
