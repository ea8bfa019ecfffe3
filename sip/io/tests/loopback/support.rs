//! Messages and waiting, for the tests over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use sip_core::{Input, Transmit, Transport};
use sip_io::{Counts, Inbox, Transports};
use tokio::time::timeout;

/// After this long something is dead. Nothing waits for it when all goes well.
const DEAD: Duration = Duration::from_secs(20);

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub(crate) fn request(method: &str, call: &str, to_tag: Option<&str>, body: &str) -> String {
    let to_tag = to_tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
    format!(
        "{method} sip:bob@127.0.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK{call}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@127.0.0.1>;tag=a\r\n\
         To: <sip:bob@127.0.0.1>{to_tag}\r\n\
         Call-ID: {call}\r\n\
         CSeq: 1 {method}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn transmit(
    transport: Transport,
    local: SocketAddr,
    remote: SocketAddr,
    payload: &str,
) -> Transmit {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    Transmit { transport, local, remote, payload, reply_on: None, server_name: None }
}

/// The next input, which must come; ends of streams are passed over.
pub(crate) async fn next(inbox: &mut Inbox) -> Input {
    loop {
        match timeout(DEAD, inbox.recv()).await.expect("an input arrives").expect("the transports live") {
            Input::StreamEnded { .. } => {}
            input => return input,
        }
    }
}

/// The method and Call-ID of the message that must come next.
pub(crate) async fn next_message(inbox: &mut Inbox) -> (sip_core::Hop, sip_core::Message) {
    match next(inbox).await {
        Input::Message { hop, message } => (hop, message),
        other => panic!("a message, not {other:?}"),
    }
}

/// Waits until the counters say so.
pub(crate) async fn until(transports: &Transports, reached: impl Fn(Counts) -> bool) {
    let wait = async {
        while !reached(transports.counts()) {
            tokio::task::yield_now().await;
        }
    };
    if timeout(DEAD, wait).await.is_err() {
        panic!("never reached: {:?}", transports.counts());
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEAD, future).await.expect("this happens")
}

/// A listener's port to be.
pub(crate) fn any_v6() -> Option<SocketAddr> {
    let address: SocketAddr = "[::1]:0".parse().unwrap();
    std::net::UdpSocket::bind(address).is_ok().then_some(address)
}
