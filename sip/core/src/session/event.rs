//! What a call is told to do, and what it tells.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use super::refer::{ReferId, ReferProgress, Referred};
use crate::digest::Credentials;
use crate::transport::{Hop, Transport};
use crate::{Message, NameAddr, Reason, Replaces, Uri};

/// One INVITE session, inbound or outbound, from the INVITE to its terminal event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One dialog of a call, in order of appearance: an INVITE that forks makes an early one for each callee that rings, and
/// one of them becomes the dialog of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogId(pub u32);

/// Whether provisional responses are acknowledged by PRACK (RFC 3262).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reliable {
    /// Not offered. A peer that insists all the same is understood when it answers, called again with it when it refuses
    /// with 421, and refused with 420 when it calls.
    Off,
    /// Where the peer can. Of our own provisional responses those with a body are sent so, and all where the caller
    /// requires it.
    #[default]
    Supported,
    /// Required: a callee that cannot refuses with 420, a caller that cannot is refused with 421.
    Required,
}

/// The next hop of a request: a trunk, a registrar, an outbound proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// A host name or an IP literal (IPv6 with or without brackets).
    pub host: String,
    /// The port; `None` means the transport's default or what SRV says.
    pub port: Option<u16>,
    /// The transport; `None` means UDP or what NAPTR says.
    pub transport: Option<Transport>,
    /// The bound address of the listener to send from; `None` means the first of the transport and address family.
    pub listener: Option<SocketAddr>,
    /// The address that this peer is told in Via and Contact; `None` means the one that the listener advertises.
    pub public_ip: Option<IpAddr>,
    /// The way the peer's own request came (RFC 5626 section 5.3: the flow): taken instead of looking up the host. A peer
    /// behind a NAT or a WebSocket is reached by no other.
    pub flow: Option<Hop>,
}

/// A message body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The value of `Content-Type`.
    pub content_type: ByteString,
    /// The octets.
    pub bytes: Bytes,
}

impl Body {
    /// A session description.
    pub fn sdp(bytes: impl Into<Bytes>) -> Self {
        Self { content_type: ByteString::from_static("application/sdp"), bytes: bytes.into() }
    }
}

/// A call to place.
#[derive(Debug, Clone)]
pub struct Invite {
    /// Who is called: the Request-URI.
    pub request_uri: Uri,
    /// The To header; its tag, if any, is ignored.
    pub to: NameAddr,
    /// The From header; the endpoint sets its tag.
    pub from: NameAddr,
    /// Where the INVITE is sent when `route` is empty.
    pub target: Target,
    /// A preloaded route set (RFC 3261 section 8.1.2), outermost proxy first; `target` is still the next hop.
    pub route: Vec<NameAddr>,
    /// Further headers, name and value, sent as given. Names the endpoint writes itself are refused.
    pub headers: Vec<(String, String)>,
    /// The offer. Without one the callee offers: in [`SessionEvent::Answered`], whose ACK waits for
    /// [`acknowledge`](crate::Endpoint::acknowledge), or before that in [`SessionEvent::Offered`].
    pub body: Option<Body>,
    /// Whether provisional responses are to be acknowledged.
    pub reliable: Reliable,
    /// The dialog at the callee's that this call is to take the place of (RFC 3891); the callee has to know how.
    pub replaces: Option<Replaces>,
    /// The session interval to ask for (RFC 4028); `None` means that of
    /// [`EndpointConfig::session_refresh`](crate::EndpointConfig::session_refresh), and zero that there is none.
    pub session_interval: Option<Duration>,
    /// How long the call may go unanswered; sent as Expires, and then CANCELled by us.
    pub expires: Option<Duration>,
    /// What to answer a 401 or 407 with.
    pub credentials: Option<Credentials>,
}

/// How to end a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hangup {
    /// The final response to an unanswered inbound call, 300..=699; 603 when `None`. Of no effect in other states.
    pub status: Option<u16>,
    /// A Reason header for the CANCEL, BYE or response.
    pub reason: Option<Reason>,
    /// Further headers of the BYE or response, name and value, sent as given. A CANCEL has none, since proxies answer it.
    pub headers: Vec<(String, String)>,
}

/// What happens to a call. Exactly one event per session is terminal: `Failed` or `Ended`.
#[derive(Debug, Clone)]
pub enum SessionEvent {
    /// Somebody calls. Ring, answer, reject or hang up. The offer is [`Message::sdp`]; without one, ours goes into the
    /// answer or into a reliable provisional response.
    Incoming {
        /// The way the INVITE came.
        hop: Hop,
        /// The INVITE.
        request: Message,
        /// The call that this one is to take the place of (RFC 3891): when it is answered, that one is hung up or, where it
        /// is not answered yet, cancelled. Whether the caller may do that is the user's to judge.
        replaces: Option<SessionId>,
    },
    /// Outbound: progress, 101 to 199, repeated responses left out.
    Provisional {
        /// Which callee tells it; `None` where the response makes no dialog.
        dialog: Option<DialogId>,
        /// The status code.
        status: u16,
        /// The callee's description, when there is one (early media). In a reliable response it is the answer, and no
        /// later one of this dialog is told.
        body: Option<Bytes>,
    },
    /// Outbound: answered.
    Answered {
        /// Whose answer it is; every other early dialog is over.
        dialog: DialogId,
        /// The Call-ID.
        call_id: String,
        /// The callee's description: the answer, of the 2xx or of the reliable provisional response before it, and the
        /// ACK is sent already. After an INVITE without a body, and unless an exchange is over by then, it is the offer:
        /// the ACK waits for [`acknowledge`](crate::Endpoint::acknowledge), for ten seconds at most.
        body: Option<Bytes>,
        /// The 2xx.
        response: Message,
    },
    /// Inbound: the caller has acknowledged our answer.
    Confirmed {
        /// The caller's answer, where the offer was ours and in the 2xx.
        body: Option<Bytes>,
    },
    /// The peer offers. Answer with [`accept_offer`](crate::Endpoint::accept_offer) or
    /// [`refuse_offer`](crate::Endpoint::refuse_offer) within ten seconds.
    Offered {
        /// In which dialog.
        dialog: DialogId,
        /// The offer; `None` in a re-INVITE that asks for ours, and then the answer comes in `OfferAnswered`.
        body: Option<Bytes>,
    },
    /// The offer of the last `Offered` is void: the peer took it back, its dialog is over, or the user took too long.
    OfferWithdrawn,
    /// Our offer is answered.
    OfferAnswered {
        /// The answer, which a peer that breaks the rules leaves out. After an [`offer`](crate::Endpoint::offer) without
        /// a body it is the peer's offer, and the ACK waits for [`acknowledge`](crate::Endpoint::acknowledge).
        body: Option<Bytes>,
    },
    /// Our offer is refused, and what was agreed before goes on.
    OfferRefused {
        /// The status; 491 where an offer of the peer's came first: when that is answered, look at what is in force and
        /// offer anew; or where the peer has refused it so again and again. 503 where the transport failed.
        status: u16,
    },
    /// An INFO of the peer's (RFC 6086) that is of one of the
    /// [`EndpointConfig::info_types`](crate::EndpointConfig::info_types), answered already.
    Info {
        /// Its Content-Type.
        content_type: String,
        /// Its body, never empty.
        body: Bytes,
    },
    /// What became of an [`info`](crate::Endpoint::info) of ours.
    InfoAnswered {
        /// The final status; 408 for no answer, 503 where the transport failed. Only a 481 ends the call.
        status: u16,
    },
    /// The peer asks us to call somebody (RFC 3515): [`accept_refer`](crate::Endpoint::accept_refer) or
    /// [`refuse_refer`](crate::Endpoint::refuse_refer) within half a minute.
    Referred(Box<Referred>),
    /// What comes of a [`refer`](crate::Endpoint::refer) of ours. When the call ends nothing more comes.
    ReferProgress {
        /// Which.
        refer: ReferId,
        /// What.
        progress: ReferProgress,
    },
    /// Terminal: the call was never answered.
    Failed(Failure),
    /// Terminal: the call was answered and is over.
    Ended {
        /// Who ended it.
        by: Side,
        /// The Q.850 cause of the peer's BYE.
        q850: Option<u8>,
        /// How it ended.
        cause: EndCause,
        /// The peer's BYE.
        bye: Option<Message>,
    },
}

/// Why a call was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The class of failure, with the status when there was one.
    pub cause: FailureCause,
    /// The reason phrase of the final response; empty without one.
    pub reason_phrase: String,
    /// The Q.850 cause of the response's Reason header.
    pub q850: Option<u8>,
    /// The response's Retry-After.
    pub retry_after: Option<Duration>,
    /// The Contacts of a 3xx in the order to try them.
    pub contacts: Vec<NameAddr>,
    /// What ended it: the final response, the peer's CANCEL or early BYE. Its header fields tell more: Reason, Warning.
    pub message: Option<Box<Message>>,
}

impl Failure {
    /// One with nothing to say but its cause.
    pub fn new(cause: FailureCause) -> Failure {
        let reason_phrase = String::new();
        Failure { cause, reason_phrase, q850: None, retry_after: None, contacts: vec![], message: None }
    }
}

/// The class of a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureCause {
    /// A final response of 300 to 699: received for an outbound call, sent for an inbound one.
    Response(u16),
    /// No final response in time from any address of the target.
    Timeout,
    /// No address of the target could be reached.
    Transport,
    /// The target's name has no address.
    Resolve,
    /// Given up by the caller: us (outbound; confirmed by 487, or 64*T1 passed since the CANCEL) or the peer's CANCEL
    /// (inbound). An INVITE that was given up and that nobody answers at all fails of [`Timeout`](Self::Timeout) or
    /// [`Transport`](Self::Transport).
    Cancelled,
}

/// One end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Us.
    Local,
    /// The peer.
    Remote,
}

/// How an answered call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// By a BYE.
    Bye,
    /// A request of ours inside the dialog was not answered in time.
    Timeout,
    /// The peer cannot be reached any more.
    Transport,
    /// Our answer was never acknowledged.
    AckTimeout,
    /// The user did not acknowledge the peer's offer in time.
    OfferTimeout,
    /// The peer knows nothing of the call (any more): 481 to a request of ours.
    Forgotten,
    /// It was not refreshed in time (RFC 4028).
    SessionExpired,
    /// Another call has taken its place (RFC 3891), and it was hung up.
    Replaced,
}
