//! Requests too large for a datagram (RFC 3261 section 18.1.1).

use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};

use super::layer::{Path, TransactionLayer};
use crate::transport::{Destination, Transport};

/// A request and its way, which its Via names.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) path: Path,
    pub(super) request: Bytes,
}

impl TransactionLayer {
    /// "If a request is within 200 bytes of the path MTU, or if it is larger than 1300 bytes and the path MTU is unknown,
    /// the request MUST be sent using an RFC 2914 congestion controlled transport protocol, such as TCP. If this causes a
    /// change in the transport protocol from the one indicated in the top Via, the value in the top Via MUST be changed."
    ///
    /// A target that names UDP gets UDP: whoever configures a carrier that takes nothing else says so there, and a firewall
    /// in front of it may let every attempt at TCP run out of time. "If an element sends a request over TCP because of
    /// these message size constraints, and that request would have otherwise been sent over UDP, if the attempt to
    /// establish the connection generates either an ICMP Protocol Not Supported, or results in a TCP reset, the element
    /// SHOULD retry the request, using UDP": that is the second value, kept for any failure of the stream.
    pub(super) fn choose_transport(
        &self,
        now: Instant,
        as_datagram: Sending,
    ) -> (Sending, Option<Box<Sending>>) {
        match self.over_stream(now, &as_datagram) {
            Some(over_stream) => (over_stream, Some(Box::new(as_datagram))),
            None => (as_datagram, None),
        }
    }

    fn over_stream(&self, now: Instant, Sending { path, request }: &Sending) -> Option<Sending> {
        let fits = self.config.largest_datagram.is_none_or(|largest| request.len() <= largest);
        if fits || !path.is_open || path.transport != Transport::Udp {
            return None;
        }
        let destination = Destination { transport: Transport::Tcp, address: path.remote };
        if self.is_avoided(now, destination) {
            return None;
        }
        let over_tcp = self.path(Transport::Tcp, path.remote, Some(path.local), None)?;
        let mut advertised = path.advertised;
        advertised.set_port(over_tcp.advertised.port());
        let over_tcp = Path { advertised, server_name: path.server_name.clone(), ..over_tcp };
        Some(Sending { request: with_via(request, path, &over_tcp)?, path: over_tcp })
    }
}

/// The request with the sent-protocol and sent-by of another way in its top Via, the first header field of all that we
/// write.
fn with_via(request: &Bytes, from: &Path, to: &Path) -> Option<Bytes> {
    let via = |path: &Path| format!("Via: SIP/2.0/{} {};", path.transport.via_token(), path.advertised);
    let line = memchr::memchr(b'\n', request)? + 1;
    let (request_line, rest) = request.split_at(line);
    let rest = rest.strip_prefix(via(from).as_bytes())?;
    let via = via(to);
    let mut out = BytesMut::with_capacity(request_line.len() + via.len() + rest.len());
    out.put_slice(request_line);
    out.put_slice(via.as_bytes());
    out.put_slice(rest);
    Some(out.freeze())
}
