//! One line: a customer, what he hears and what he says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use bytestring::ByteString;
use media_core::sdp::{self, LocalMedia};
use media_core::{Codec, Digits, Negotiated, SdpError};
use sip_core::{Message, NameAddr, Transmit, Uri};

use crate::config::Subscriber;
use crate::customer::Customer;
use crate::quirks::{self, Quirk};
use crate::reception::{Reception, Recorded};
use crate::report::{CallReport, Outcome};
use crate::voice::{MAX_PACKET, Talk, Voice};

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) customer: Customer,
    pub(crate) called: String,
    caller: String,
    caller_host: String,
    /// What is odd about this call.
    pub(crate) quirks: Vec<Quirk>,
    /// Where the caller takes requests.
    contact: Option<Uri>,
    /// The last provisional response, where there are quirks.
    ringing: Option<(Message, Transmit)>,
    call_id: String,
    offer: Bytes,
    media: Option<Media>,
    since: Instant,
    confirmed: Option<Instant>,
    sent: u64,
    keys_unsent: bool,
}

#[derive(Debug)]
struct Media {
    answer: Bytes,
    negotiated: Negotiated,
    reception: Reception,
    voice: Voice,
}

impl Line {
    pub(crate) fn new(now: Instant, subscriber: &Subscriber, invite: &Message) -> Self {
        let from = invite.from().ok();
        let from = from.as_ref().map(NameAddr::uri);
        Self {
            customer: Customer::new(now, &subscriber.does),
            called: called(invite),
            caller: from.and_then(Uri::user).map(str::to_owned).unwrap_or_default(),
            caller_host: from.and_then(Uri::host).map(|host| host.to_string()).unwrap_or_default(),
            quirks: subscriber.quirks.clone(),
            contact: invite.contacts().find_map(|contact| Some(contact.ok()?.addr()?.uri().clone())),
            ringing: None,
            call_id: invite.call_id().map(|id| id.to_string()).unwrap_or_default(),
            offer: invite.sdp().unwrap_or_default(),
            media: None,
            since: now,
            confirmed: None,
            sent: 0,
            keys_unsent: false,
        }
    }

    pub(crate) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    pub(crate) fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The endpoint sends this for the call: what leaves instead.
    pub(crate) fn send(&mut self, transmit: Transmit) -> Vec<Transmit> {
        let Ok(message) = Message::parse(transmit.payload.clone()) else { return vec![transmit] };
        let sent = quirks::sent(&self.quirks, &message);
        if message.status().is_some_and(|status| (101..200).contains(&status)) {
            self.ringing = Some((message, transmit.clone()));
        }
        sent.into_iter().map(|payload| Transmit { payload, ..transmit.clone() }).collect()
    }

    /// The tag of our end, once it has rung.
    pub(crate) fn tag(&self) -> Option<ByteString> {
        self.ringing.as_ref()?.0.to_tag()
    }

    /// A BYE while it rings; none before.
    pub(crate) fn early_bye(&self) -> Option<Transmit> {
        let (ringing, transmit) = self.ringing.as_ref()?;
        let payload = quirks::early_bye(ringing, self.contact.as_ref()?, transmit);
        Some(Transmit { payload, ..transmit.clone() })
    }

    /// Forgets the media, but for the codec: those that are opened next are of another.
    pub(crate) fn close(&mut self) -> Option<Codec> {
        self.media.take().map(|media| media.negotiated.codec)
    }

    /// The session description that is in force.
    pub(crate) fn answer(&self) -> Option<Bytes> {
        self.media.as_ref().map(|media| media.answer.clone())
    }

    pub(crate) fn agree(&mut self, now: Instant) {
        let heard_ms = self.heard_ms();
        self.customer.handle_agreed(now, heard_ms);
    }

    /// Opens the media if they are not open, and gives the SDP answer.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        local: &LocalMedia,
        talk: Talk,
        record: bool,
        random: u64,
    ) -> Result<Bytes, SdpError> {
        if let Some(media) = &self.media {
            return Ok(media.answer.clone());
        }
        let (answer, negotiated) = sdp::answer(&self.offer, local)?;
        let answer = Bytes::from(answer);
        self.media = Some(Media {
            answer: answer.clone(),
            reception: Reception::new(now, &negotiated, record),
            voice: Voice::new(&negotiated, talk, random),
            negotiated,
        });
        Ok(answer)
    }

    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        self.media.as_ref().map(|media| &media.negotiated)
    }

    pub(crate) fn confirm(&mut self, now: Instant) {
        self.confirmed = Some(now);
        let heard_ms = self.heard_ms();
        self.customer.handle_confirmed(now, heard_ms);
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        let heard_ms = self.heard_ms();
        self.customer.handle_timeout(now, heard_ms);
    }

    /// Takes an RTP datagram; returns how far its distance from the last one is from the packet time.
    pub(crate) fn receive(&mut self, now: Instant, datagram: &[u8]) -> Option<Duration> {
        let media = self.media.as_mut()?;
        let gap = media.reception.receive(now, datagram);
        let deviation = gap.map(|gap| gap.abs_diff(media.negotiated.ptime.duration()));
        self.customer.handle_heard(now, media.reception.audible_ms());
        deviation
    }

    /// The packet of this packet time: its length, 0 for none.
    pub(crate) fn speak(&mut self, now: Instant, out: &mut [u8; MAX_PACKET]) -> usize {
        let Some(media) = &mut self.media else { return 0 };
        if !media.negotiated.direction.sends() {
            return 0;
        }
        let turn = media.voice.next(out);
        if turn.keys_done {
            self.customer.handle_pressed(now, media.reception.audible_ms());
        }
        self.sent += u64::from(turn.len > 0);
        turn.len
    }

    pub(crate) fn press(&mut self, now: Instant, keys: Digits) {
        let taken = self.media.as_mut().is_some_and(|media| media.voice.press(keys));
        if !taken {
            self.keys_unsent = true;
            let heard_ms = self.heard_ms();
            self.customer.handle_pressed(now, heard_ms);
        }
    }

    /// The report, and what was recorded.
    pub(crate) fn end(self, now: Instant, outcome: Outcome) -> (CallReport, Option<Recorded>) {
        let ms_since = |then: Instant| now.duration_since(then).as_millis() as u64;
        let report = CallReport {
            call_id: self.call_id,
            called: self.called,
            caller: self.caller,
            caller_host: self.caller_host,
            outcome,
            duration_ms: ms_since(self.since),
            talk_ms: self.confirmed.map_or(0, ms_since),
            sent: self.sent,
            keys_unsent: self.keys_unsent,
            heard: self.media.as_ref().map(|media| media.reception.report()),
            recording: None,
        };
        (report, self.media.and_then(|media| media.reception.recorded()))
    }

    fn heard_ms(&self) -> u64 {
        self.media.as_ref().map_or(0, |media| media.reception.audible_ms())
    }
}

/// The number called: the user part of the Request-URI.
pub(crate) fn called(invite: &Message) -> String {
    invite.request_uri().ok().and_then(|uri| uri.user().map(str::to_owned)).unwrap_or_default()
}
