//! The messages of the transaction layer itself, and what every request and response has in common.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::key::Branch;
use super::layer::Path;
use crate::endpoint::Transmit;
use crate::transport::Hop;
use crate::{Message, MessageBuilder, Method, Name, Uri, Via};

/// RFC 3261 section 8.1.1.6: "a value that SHOULD be 70".
const MAX_FORWARDS: u8 = 70;

/// Room for a usual message with a body of so many octets, so that writing one allocates once. What is kept for
/// retransmissions and for the trace keeps all of its room.
pub(crate) fn buffer(body: usize) -> BytesMut {
    const HEADERS: usize = 736;
    BytesMut::with_capacity(HEADERS + body)
}

/// A request of ours up to Max-Forwards. Its Via asks to be answered where it came from (RFC 3581).
pub(crate) fn request<'b>(
    out: &'b mut BytesMut,
    method: &Method,
    uri: &Uri,
    path: &Path,
    branch: Branch,
) -> MessageBuilder<'b> {
    MessageBuilder::request(out, method, uri)
        .header(
            Name::Via,
            format_args!("SIP/2.0/{} {};rport;branch={branch}", path.transport.via_token(), path.advertised),
        )
        .header(Name::MaxForwards, MAX_FORWARDS)
}

/// The ACK for a 300–699 (RFC 3261 section 17.1.1.3): "the Call-ID, From, and Request-URI … equal to the values of those
/// header fields in the request", To "equal to the To header field in the response", the topmost Via of the request;
/// "If the INVITE request whose response is being acknowledged had Route header fields, those header fields MUST
/// appear in the ACK."
pub(super) fn ack(invite: &Bytes, response: &Message) -> Option<Bytes> {
    follow_up(invite, Method::Ack, response, None)
}

/// The CANCEL for an INVITE (RFC 3261 section 9.1): "The Request-URI, Call-ID, To, the numeric part of CSeq, and From
/// header fields in the CANCEL request MUST be identical to those in the request being cancelled", one Via with the
/// same branch, and its Route.
pub(super) fn cancel(invite: &Bytes, reason: Option<&str>) -> Option<Bytes> {
    follow_up(invite, Method::Cancel, &Message::parse(invite.clone()).ok()?, reason)
}

fn follow_up(invite: &Bytes, method: Method, to: &Message, reason: Option<&str>) -> Option<Bytes> {
    let invite = Message::parse(invite.clone()).ok()?;
    let cseq = invite.cseq().ok()?.number;
    let mut out = buffer(0);
    let mut builder = MessageBuilder::request(&mut out, &method, &invite.request_uri().ok()?)
        .copy(&invite, Name::Via)
        .header(Name::MaxForwards, MAX_FORWARDS)
        .copy(&invite, Name::Route)
        .copy(&invite, Name::From)
        .copy(to, Name::To)
        .copy(&invite, Name::CallId)
        .copy(&invite, Name::SessionId)
        .header(Name::CSeq, format_args!("{cseq} {method}"));
    if let Some(reason) = reason {
        builder = builder.header(Name::Reason, reason);
    }
    Some(builder.finish())
}

/// Where the responses to a request go (RFC 3261 section 18.2.2, RFC 3581 section 4). `maddr` is of no interest to a
/// server that does not listen to multicast.
pub(crate) fn reply_address(hop: Hop, via: &Via) -> SocketAddr {
    let sent_by_port = via.port().unwrap_or(hop.transport.default_port());
    match via.rport() {
        Some(_) if !hop.transport.is_reliable() => hop.remote,
        // Streams: "If that connection is no longer open, the server SHOULD open a connection to the IP address in the
        // "received" parameter, if present, using the port in the "sent-by" value".
        Some(_) | None => SocketAddr::new(hop.remote.ip(), sent_by_port),
    }
}

/// A response on its way back.
pub(crate) fn reply(hop: Hop, reply_to: SocketAddr, payload: Bytes) -> Transmit {
    Transmit {
        transport: hop.transport,
        local: hop.local,
        remote: reply_to,
        payload,
        reply_on: hop.transport.is_reliable().then_some(hop),
        server_name: None,
    }
}
