//! Dialogs (RFC 3261 section 12): what two ends agree on for the requests between them.
//!
//! ```text
//!   caller   1xx with a tag ──▶ early ──2xx──▶ confirmed        (each fork its own)
//!            2xx ──────────────────────────────▶│
//!   callee   1xx of ours ────▶ early ──2xx──▶ confirmed
//! ```

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use crate::authenticator::Lines;
use crate::capability::Peer;
use crate::endpoint::Transmit;
use crate::headers::RAck;
use crate::session::{Body, DialogId, Exchange, Turn};
use crate::transaction::{Branch, ClientKey, Path, compose};
use crate::transport::Transport;
use crate::{Host, Message, Method, Name, Scheme, SessionIdentifier, Uri};

/// One dialog, early or confirmed, as one of its ends sees it.
#[derive(Debug)]
pub(crate) struct Dialog {
    pub(crate) id: DialogId,
    call_id: ByteString,
    /// Our From, tag included.
    local: ByteString,
    /// Our To, with the tag of the peer where it gave one.
    remote: ByteString,
    remote_tag: Option<ByteString>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    remote_target: Uri,
    route_set: Vec<Uri>,
    pub(crate) next_hop: NextHop,
    /// The 2xx that came to INVITEs of ours in this dialog, as long as they may come again.
    pub(crate) acks: SmallVec<[Ack; 1]>,
    pub(crate) exchange: Exchange,
    pub(crate) peer: Peer,
    /// The last PRACK, until it is answered.
    pub(crate) prack: Option<(RAck, Option<Body>)>,
    /// The peer's half of the Session-ID (RFC 7989); zero where it has none.
    remote_uuid: u128,
    /// The value of the Reason of our BYE.
    pub(crate) bye_reason: Option<ByteString>,
}

/// The ACK of one INVITE: "The ACK MUST be passed to the client transport every time a retransmission of the 2xx final
/// response that triggered the ACK arrives" (RFC 3261 section 13.2.2.4).
#[derive(Debug)]
pub(crate) struct Ack {
    /// The INVITE's transaction.
    pub(crate) invite: ClientKey,
    /// `None` while it waits for an address, or for the user's answer.
    pub(crate) transmit: Option<Transmit>,
}

/// Where the requests of a dialog go.
#[derive(Debug)]
pub(crate) enum NextHop {
    /// Not looked for yet, or not since the target moved. This is the way the messages before took.
    Unsought(Path),
    /// Its name is being looked up, and these wait.
    Asked {
        name: ByteString,
        fallback: Path,
        waiting: Vec<Waiting>,
    },
    Known(Path),
}

/// A request to be sent in a dialog, perhaps after its next hop is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The ACK of an INVITE with this number and these credentials.
    Ack {
        invite: ClientKey,
        cseq: u32,
        authorization: Lines,
        body: Option<Body>,
    },
    /// With the dialog's Reason for it.
    Bye,
    Prack {
        rack: RAck,
        body: Option<Body>,
    },
    /// The offer of ours that the session has under way, if it still has.
    Offer,
    /// The session's request of this number, if it still has it.
    Other(u32),
}

/// The caller's half of a dialog, as its INVITE had it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) call_id: &'a ByteString,
    /// From, tag included.
    pub(crate) from: &'a ByteString,
    pub(crate) cseq: u32,
}

/// What a dialog keeps of a message is copied: it outlives the buffer that the message came in.
impl Dialog {
    /// The caller's dialog, from a response to its INVITE (RFC 3261 section 12.1.2). `None` where the response is unusable.
    pub(crate) fn of_response(
        id: DialogId,
        caller: Caller<'_>,
        turn: Turn,
        response: &Message,
        path: Path,
    ) -> Option<Self> {
        let to = response.to().ok()?;
        let mut dialog = Self {
            id,
            call_id: caller.call_id.clone(),
            local: caller.from.clone(),
            remote: response.header(Name::To)?.into(),
            remote_tag: to.tag().map(ByteString::from),
            local_cseq: caller.cseq,
            remote_cseq: None,
            // A response without Contact breaks section 12.1.1; its sender is all there is to go by.
            remote_target: contact(response).or_else(|| own(to.uri()))?,
            route_set: Vec::new(),
            next_hop: NextHop::Unsought(path.clone()),
            acks: SmallVec::new(),
            exchange: Exchange::new(turn),
            peer: Peer::default(),
            prack: None,
            remote_uuid: remote_uuid(response),
            bye_reason: None,
        };
        dialog.relearn(response, path).then_some(dialog)
    }

    /// Takes route set and target of a later response to the INVITE: RFC 3261 section 13.2.2.4: "the route set for the
    /// dialog MUST be recomputed based on the 2xx response". Returns whether the response is sound.
    pub(crate) fn relearn(&mut self, response: &Message, path: Path) -> bool {
        // "The route set MUST be set to the list of URIs in the Record-Route header field from the response, taken in
        // reverse order".
        let Some(mut route_set) = routes(response) else { return false };
        route_set.reverse();
        self.peer.learn(response);
        if let Some(target) = contact(response) {
            self.remote_target = target;
            self.route_set = route_set;
        } else if !route_set.is_empty() {
            self.route_set = route_set;
        }
        match &mut self.next_hop {
            NextHop::Asked { fallback, .. } => *fallback = path,
            NextHop::Known(_) | NextHop::Unsought(_) => self.next_hop = NextHop::Unsought(path),
        }
        true
    }

    /// The callee's dialog, from the INVITE and the tag given to it (RFC 3261 section 12.1.1).
    pub(crate) fn of_invite(request: &Message, local_tag: &str, turn: Turn, path: Path) -> Option<Self> {
        let from = request.from().ok()?;
        let to = request.header(Name::To)?;
        let mut peer = Peer::default();
        peer.learn(request);
        Some(Self {
            id: DialogId(0),
            call_id: ByteString::from(&*request.call_id().ok()?),
            local: format!("{to};tag={local_tag}").into(),
            remote: request.header(Name::From)?.into(),
            remote_tag: from.tag().map(ByteString::from),
            local_cseq: 0,
            remote_cseq: Some(request.cseq().ok()?.number),
            remote_target: contact(request)?,
            route_set: routes(request)?,
            next_hop: NextHop::Unsought(path),
            acks: SmallVec::new(),
            exchange: Exchange::new(turn),
            peer,
            prack: None,
            remote_uuid: remote_uuid(request),
            bye_reason: None,
        })
    }

    pub(crate) fn remote_tag(&self) -> Option<&str> {
        self.remote_tag.as_deref()
    }

    /// Whether no request waits for an address.
    pub(crate) fn is_located(&self) -> bool {
        match self.next_hop {
            NextHop::Known(_) | NextHop::Unsought(_) => true,
            NextHop::Asked { .. } => false,
        }
    }

    /// The ACK that this INVITE got or is to get.
    pub(crate) fn ack(&mut self, invite: ClientKey) -> Option<&mut Ack> {
        self.acks.iter_mut().find(|ack| ack.invite == invite)
    }

    /// Whether its requests go back the way of the peer's, whatever it says of its address. A proxy that recorded a route
    /// knows its own.
    pub(crate) fn keeps_to(&self, path: &Path) -> bool {
        path.is_flow && self.route_set.is_empty()
    }

    /// A request of the peer has come by this way. What a NAT has for its address is no more what it was when the call
    /// began, or its connection is a new one. By another transport it proves less: whoever has seen the tags of a call over
    /// TLS would have the rest of it, and its keys, in clear.
    pub(crate) fn follow(&mut self, way: Path) {
        let is_flow = match &self.next_hop {
            NextHop::Known(path) | NextHop::Unsought(path) => self.keeps_to(path),
            NextHop::Asked { .. } => false,
        };
        if let NextHop::Known(path) | NextHop::Unsought(path) = &mut self.next_hop
            && is_flow
            && path.transport == way.transport
            && (path.remote, path.stream) != (way.remote, way.stream)
        {
            *path = Path { is_flow, ..way };
        }
    }

    /// Host, port and transport of the next hop, and whether it must be secure (RFC 3261 section 8.1.2: the first Route, else the Request-URI).
    pub(crate) fn next_hop_uri(&self) -> Option<(Host, Option<u16>, Option<Transport>, bool)> {
        let uri = self.route_set.first().unwrap_or(&self.remote_target);
        let host = match uri.param("maddr") {
            Some(maddr) => maddr.parse().ok()?,
            None => uri.host()?,
        };
        // A transport that we do not speak is as good as none.
        let transport = uri.transport().unwrap_or_default();
        Some((host, uri.port(), transport, uri.scheme() == Scheme::Sips))
    }

    /// Takes a request of the peer in order: false for one that comes too late (RFC 3261 section 12.2.2: "If the remote
    /// sequence number was not empty, but the sequence number of the request is lower than the remote sequence number,
    /// the request is out of order and MUST be rejected with a 500").
    pub(crate) fn accept_cseq(&mut self, number: u32) -> bool {
        let in_order = self.remote_cseq.is_none_or(|last| number >= last);
        if in_order {
            self.remote_cseq = Some(number);
        }
        in_order
    }

    /// Takes the peer's new Contact of a target refresh request or its 2xx, and whatever else it says of itself.
    pub(crate) fn refresh_target(&mut self, message: &Message) {
        self.peer.learn(message);
        let Some(target) = contact(message).filter(|target| *target != self.remote_target) else { return };
        self.remote_target = target;
        if let NextHop::Known(path) = &self.next_hop
            && self.route_set.is_empty()
        {
            self.next_hop = NextHop::Unsought(path.clone());
        }
    }

    /// The number of the next request but ACK.
    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.local_cseq += 1;
        self.local_cseq
    }

    /// The Request-URI of the dialog's requests, and their Route (RFC 3261 section 12.2.1.1).
    fn request_uri_and_route(&self) -> (Uri, Vec<&Uri>) {
        let routes = self.route_set.iter();
        match self.route_set.first() {
            // A strict router: "the UAC MUST place the first URI from the route set into the Request-URI", "then place
            // the remote target URI into the Route header field as the last value".
            Some(first) if first.param("lr").is_none() => {
                (first.to_request_uri(), routes.skip(1).chain([&self.remote_target]).collect())
            }
            Some(_) | None => (self.remote_target.to_request_uri(), routes.collect()),
        }
    }

    /// Where the peer says that it is.
    pub(crate) fn target(&self) -> Uri {
        self.remote_target.to_request_uri()
    }

    /// The Request-URI of the dialog's requests.
    pub(crate) fn request_uri(&self) -> Uri {
        self.request_uri_and_route().0
    }

    /// Takes the peer's half of the Session-ID, which changes where a border element joins other calls.
    pub(crate) fn learn_uuid(&mut self, request: &Message) {
        self.remote_uuid = remote_uuid(request);
    }

    /// A request in this dialog, with our half of the Session-ID where there is one.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the message to write")]
    pub(crate) fn request<'h>(
        &self,
        method: &Method,
        cseq: u32,
        path: &Path,
        branch: Branch,
        headers: impl IntoIterator<Item = (Name<'h>, ByteString)>,
        body: Option<&Body>,
        uuid: Option<u128>,
    ) -> Bytes {
        let (uri, routes) = self.request_uri_and_route();
        let mut out = compose::buffer(body.map_or(0, |body| body.bytes.len()));
        let mut builder = compose::request(&mut out, method, &uri, path, branch);
        for route in routes {
            builder = builder.header(Name::Route, format_args!("<{route}>"));
        }
        builder = builder
            .header(Name::From, &self.local)
            .header(Name::To, &self.remote)
            .header(Name::CallId, &self.call_id)
            .header(Name::CSeq, format_args!("{cseq} {method}"));
        if let Some(local) = uuid {
            let identifier = SessionIdentifier { local, remote: self.remote_uuid };
            builder = builder.header(Name::SessionId, identifier);
        }
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        match body {
            Some(body) => builder.body(&body.content_type, &body.bytes),
            None => builder.finish(),
        }
    }
}

/// The sender's half of a Session-ID.
fn remote_uuid(message: &Message) -> u128 {
    message.session_identifier().ok().flatten().map_or(0, |identifier| identifier.local)
}

/// The URI of the one Contact that a message of a dialog carries.
pub(crate) fn contact(message: &Message) -> Option<Uri> {
    let contact = message.contacts().next()?.ok()?;
    contact.addr().and_then(|addr| own(addr.uri()))
}

/// The URIs of Record-Route, in order; `None` when one is malformed.
pub(crate) fn routes(message: &Message) -> Option<Vec<Uri>> {
    message.addresses(Name::RecordRoute).map(|route| own(route.ok()?.uri())).collect()
}

/// A copy of a SIP or SIPS URI; in a dialog there are no others.
fn own(uri: &Uri) -> Option<Uri> {
    uri.as_str().parse().ok().filter(|uri: &Uri| uri.host().is_some())
}
