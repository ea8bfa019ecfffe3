//! Tokio transports under the sans-IO SIP core: UDP, TCP, TLS, WebSocket and name resolution.
//!
//! [`Transports::bind`] opens the listeners and gives two halves. The [`Inbox`] yields what arrives as
//! [`sip_core::Input`], each message parsed once, on the task that owns its socket. [`Transports`] takes what the
//! endpoint wants sent or looked up; none of its calls waits. One task owns both halves and the
//! [`Endpoint`](sip_core::Endpoint):
//!
//! ```no_run
//! # use sip_core::Output;
//! # async fn run(mut endpoint: sip_core::Endpoint) -> Result<(), sip_io::Error> {
//! use sip_io::{Limits, ListenAddr, Transports};
//!
//! let listen = [ListenAddr::udp("127.0.0.1:5060".parse().unwrap())];
//! let (transports, mut inbox) = Transports::bind(&listen, Limits::default())?;
//! while let Some(input) = inbox.recv().await {
//!     endpoint.handle_input(std::time::Instant::now(), input);
//!     while let Some(output) = endpoint.poll_output() {
//!         let failed = match output {
//!             Output::Transmit(transmit) => transports.transmit(transmit),
//!             Output::Resolve { query, question } => transports.resolve(query, question),
//!             Output::Event(_) => None,
//!         };
//!         if let Some(input) = failed {
//!             endpoint.handle_input(std::time::Instant::now(), input);
//!         }
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! Everything is bounded, and what does not fit is counted ([`Counts`]):
//! - With a [`Guard`](sip_core::guard::Guard) ([`Transports::set_guard`]) every message is judged before it waits: rates
//!   per source, bans, one small answer for strangers. It is asked on the socket's task, so a flood costs the endpoint's
//!   task nothing. New work that waited longer than [`Limits::behind`] has the next answered with 503.
//! - Messages wait in two queues. What asks for new work (requests outside a dialog, garbage) has one of its own and
//!   is dropped when that is full; the rest (responses, in-dialog requests, ACK, CANCEL) is read first. So a flood of
//!   INVITEs cannot push out a BYE. When the queue of the rest is full, datagrams are dropped (their sender sends
//!   them again) and streams are no longer read (TCP slows their sender down).
//! - Messages wait in a queue per stream, and per datagram socket that the kernel has no room for; when it is full they
//!   are dropped, and the core's timers see to it. A peer that cannot be reached, or does not take what it is sent,
//!   comes back as [`Input::TransportError`](sip_core::Input::TransportError); a datagram that could not be sent, as
//!   [`Input::Unsent`](sip_core::Input::Unsent).
//! - Targets are located by RFC 3263: NAPTR, SRV with weights, AAAA and A, over hickory-resolver; names in `/etc/hosts`
//!   are taken from there. Records are kept by their TTL (5 seconds to an hour; what is not there, up to 5 minutes),
//!   up to a day longer while no name server answers, and are looked up again before their end when in use. A question
//!   is answered within [`Limits::lookup`], and waits for nobody's records but its own.
//! - Connections are bounded in all and per source, and so are handshakes of TLS and WebSocket under way; a peer that
//!   does not finish one, does not talk, or no longer answers our pings is closed.
//!
//! TLS servers are verified unless [`ClientTls`] says otherwise; [`TlsFiles::reload`] takes up new certificates
//! while every connection goes on.
//!
//! It does not retransmit or choose transports, does not validate DNSSEC, and it does not learn of ICMP errors: an unreachable UDP
//! peer shows as a timeout in the core.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod counters;
mod error;
mod inbox;
mod limits;
mod resolver;
mod streams;
mod tls;
mod transports;
mod udp;

pub use counters::Counts;
pub use error::Error;
pub use inbox::{Inbox, Waiting};
pub use limits::Limits;
pub use tls::{ClientTls, Identity, ServerTls, TlsError};
pub use transports::{ListenAddr, TlsFiles, Transports};
