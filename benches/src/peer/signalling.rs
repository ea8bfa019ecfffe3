//! Answers SIP requests, each on its own: 200 to INVITE with an answer, 200 to everything else, nothing to ACK.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use media_core::sdp::{self, LocalMedia};
use media_core::{Codec, Direction, Ptime};
use sip_core::{Message, MessageBuilder, Method, Name, Reply};

/// Room for one response.
const RESPONSE: usize = 2048;

/// A call that was answered just now.
#[derive(Debug)]
pub(super) struct NewCall {
    /// The number that was called.
    pub(super) number: u32,
    /// Where its packets come from and go to.
    pub(super) remote: SocketAddr,
    /// The payload type of keys.
    pub(super) event_pt: u8,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Bytes,
    pub(super) new_call: Option<NewCall>,
}

pub(super) struct Signalling {
    sip: SocketAddr,
    rtp: SocketAddr,
    /// The SDP sent to each Call-ID.
    answered: HashMap<Box<str>, Vec<u8>>,
    unanswerable: u64,
    out: BytesMut,
}

impl Signalling {
    pub(super) fn new(sip: SocketAddr, rtp: SocketAddr) -> Signalling {
        Signalling { sip, rtp, answered: HashMap::new(), unanswerable: 0, out: BytesMut::new() }
    }

    pub(super) fn clear(&mut self) {
        self.answered.clear();
        self.unanswerable = 0;
    }

    pub(super) fn unanswerable(&self) -> u64 {
        self.unanswerable
    }

    pub(super) fn handle(&mut self, datagram: &[u8]) -> Option<Answer> {
        let message = Message::parse(Bytes::copy_from_slice(datagram)).ok();
        let method = message.as_ref().and_then(Message::method).cloned();
        let answer = match (message, method) {
            (Some(_), Some(Method::Ack)) => return None,
            (Some(invite), Some(Method::Invite)) => self.accept(&invite),
            (Some(request), Some(_)) => {
                let bytes = self.reply(&request).finish();
                Some(Answer { bytes, new_call: None })
            }
            (Some(_) | None, _) => None,
        };
        self.unanswerable += u64::from(answer.is_none());
        answer
    }

    fn accept(&mut self, invite: &Message) -> Option<Answer> {
        let call_id = invite.call_id().ok()?;
        let (body, new_call) = match self.answered.get(&*call_id) {
            Some(body) => (body.clone(), None),
            None => {
                let number = invite.request_uri().ok()?.user()?.parse().ok()?;
                let (body, agreed) = sdp::answer(invite.body(), &self.media(number)).ok()?;
                let event_pt = agreed.telephone_event?.pt_send;
                self.answered.insert((*call_id).into(), body.clone());
                (body, Some(NewCall { number, remote: agreed.remote, event_pt }))
            }
        };
        let contact = self.sip;
        let bytes = self
            .reply(invite)
            .header(Name::Contact, format_args!("<sip:peer@{contact}>"))
            .body("application/sdp", &body);
        Some(Answer { bytes, new_call })
    }

    fn reply(&mut self, request: &Message) -> MessageBuilder<'_> {
        self.out.reserve(RESPONSE);
        // The tag needs to be the same in every response to one call, and no more.
        MessageBuilder::reply(&mut self.out, request, Reply { to_tag: Some("peer"), ..Reply::new(200) })
    }

    fn media(&self, number: u32) -> LocalMedia {
        LocalMedia {
            addr: self.rtp,
            codecs: vec![Codec::Pcma],
            ptime: Ptime::DEFAULT,
            telephone_event: true,
            rtcp_mux: false,
            srtp: None,
            direction: Direction::SendRecv,
            session_id: number.into(),
            session_version: 1,
        }
    }
}
