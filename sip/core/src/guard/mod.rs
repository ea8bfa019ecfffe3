//! The door before the endpoint: what may come in, what gets one small answer, what is dropped. It is asked for every
//! message before anything is kept of it and before it waits for anybody.
//!
//! ```text
//!   denied or banned source ─────────────────────────────────────▶ dropped, unread
//!   response, request with a To tag, ACK: without our Seal ──────▶ dropped (a request with a tag: new work)
//!                                         with it ───────────────▶ in, by the reserved queue
//!   new work of a known source, within its rate ─────────────────▶ in
//!                               above it, or we are behind ──────▶ 503 with Retry-After, or dropped
//!   new work of a stranger that is served, within the rates ─────▶ in
//!                          that is not ──────────────────────────▶ 403 or what fits, or dropped
//!   scanners, rubbish, answers larger than the request ──────────▶ dropped
//! ```
//!
//! Strangers get each answer of the guard once: nothing is kept that could repeat it, and over datagrams it is no larger
//! than the request (the source may be forged, and an answer must not be worth forging it for). All of them are limited per
//! source and in all. What is let in is answered by those behind the door, and that may be larger: a challenge with three
//! algorithms is about three times a small REGISTER. The rates of strangers bound it.
//!
//! For the same reason nobody is banned for datagrams: an office would be shut out by whoever writes its address on them.
//! They spend the rate of their source, for the moment. A ban takes a stream, or a nonce of ours that came back.
//!
//! The tables have a fixed size. Known sources have one of their own, so nothing that strangers do reaches it.

mod offences;
mod rate;
mod seal;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

pub use rate::Rate;
pub use seal::Seal;

use crate::endpoint::Transmit;
use crate::net::{Network, Source};
use crate::transaction::compose;
use crate::transport::Hop;
use crate::{Message, MessageBuilder, Method, Name, ParseError, Reply};
use offences::Offences;
use rate::{Bucket, Slots, take_both};

/// The settings of a [`Guard`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardConfig {
    /// Networks whose messages are not even read.
    pub deny: Vec<Network>,
    /// Networks that are known, whatever the engine says: load balancers, monitoring. They win over `deny`.
    pub allow: Vec<Network>,
    /// What gives a scanner away, in any case, as a part of User-Agent, From, To or Request-URI.
    pub scanners: Vec<String>,
    /// New work of one unknown source.
    pub unknown: Rate,
    /// New work of all unknown sources together.
    pub unknown_total: Rate,
    /// New work of one known source; above it the source is told 503.
    pub known: Rate,
    /// Messages of one unknown source that carry our [`Seal`]: calls that it has a part in. A proxy may have many.
    pub marked: Rate,
    /// Those of all unknown sources together.
    pub marked_total: Rate,
    /// Answers of the guard to one source.
    pub answers: Rate,
    /// Answers of the guard in all.
    pub answers_total: Rate,
    /// Offences (a refused password; rubbish or a scanner's signature over a stream) within `ban_within` that ban an unknown
    /// source.
    pub ban_after: u32,
    /// How long an offence counts, from the first.
    pub ban_within: Duration,
    /// How long a ban lasts.
    pub ban: Duration,
}

impl GuardConfig {
    /// Names that scanners give themselves, and that no telephone has.
    pub const SCANNERS: [&'static str; 12] = [
        "friendly-scanner",
        "friendly-request",
        "sipvicious",
        "sundayddr",
        "sip-scan",
        "sipscan",
        "sipcli",
        "sivus",
        "vaxsipuseragent",
        "vaxipuseragent",
        "pplsip",
        "siparmyknife",
    ];
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            deny: Vec::new(),
            allow: Vec::new(),
            scanners: Self::SCANNERS.map(str::to_owned).to_vec(),
            // An office behind one address registers a few phones at once; a scanner tries hundreds a second.
            unknown: Rate { per_second: 10, burst: 40 },
            unknown_total: Rate { per_second: 500, burst: 500 },
            // What one endpoint can take on at all: one source above it is a loop or an attack.
            known: Rate { per_second: 3_000, burst: 3_000 },
            marked: Rate { per_second: 500, burst: 1_000 },
            marked_total: Rate { per_second: 2_000, burst: 4_000 },
            answers: Rate { per_second: 2, burst: 10 },
            answers_total: Rate { per_second: 200, burst: 200 },
            ban_after: 20,
            ban_within: Duration::from_secs(60),
            ban: Duration::from_secs(600),
        }
    }
}

/// Who is expected, as it stands now; the engine tells it whenever it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Gateways of trunks, contacts of registered phones.
    pub addresses: BTreeSet<IpAddr>,
    /// Networks that inbound calls are taken from.
    pub networks: Vec<Network>,
    /// Whether calls are taken from everywhere.
    pub calls_from_anywhere: bool,
    /// Whether phones register, which begins unknown.
    pub registrar: bool,
}

impl Known {
    fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
            || self.networks.iter().any(|network| network.contains(address))
    }

    /// Whether a request of a stranger, outside any dialog, has anybody to turn to here.
    fn serves(&self, method: &Method) -> bool {
        match method {
            Method::Invite | Method::Cancel => self.calls_from_anywhere,
            Method::Register => self.registrar,
            Method::Options => self.calls_from_anywhere || self.registrar,
            Method::Ack
            | Method::Bye
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Refer
            | Method::Message
            | Method::Prack
            | Method::Info
            | Method::Update
            | Method::Extension(_) => false,
        }
    }
}

/// Whether whoever handles what is let in keeps up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// What waits is handled soon.
    Keeping,
    /// New work waits for so long that its sender repeats it already.
    Behind,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to a call or transaction of ours, and goes by the queue that is kept free for those.
    InCall,
    /// It asks for new work.
    NewWork,
    /// It goes no further.
    Refused {
        /// Why, for the counters.
        reason: Reason,
        /// The one answer that it gets, if any.
        answer: Option<Box<Transmit>>,
        /// Whether a stream that brought it is closed after the answer.
        close: bool,
    },
}

/// Why something goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its source is in [`GuardConfig::deny`].
    Denied,
    /// Its source is banned for its offences.
    Banned,
    /// It bears a scanner's signature.
    Scanner,
    /// More than the source, or all like it together, may send.
    RateLimited,
    /// It claims to belong to a call or transaction, and shows none of ours.
    Stray,
    /// It is no valid SIP message.
    Rubbish,
    /// Nobody here has to do with its source.
    Stranger,
    /// New work, and we are behind with what there is.
    Overload,
}

/// Something worth a line in the log, at most once a minute and source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// Who.
    pub source: Source,
    /// What for.
    pub reason: Reason,
    /// Whether the source is banned from now on.
    pub banned: bool,
}

/// How long nothing more is said of a source.
const NOTICE_EVERY: Duration = Duration::from_secs(60);

/// Notices in all: a flood from forged sources fills no log.
const NOTICES: Rate = Rate { per_second: 1, burst: 10 };

/// What those who are turned away for want of room are told (RFC 3261 section 20.33).
const RETRY_AFTER: u8 = 5;

/// Decides on every message; see the [module](self).
#[derive(Debug)]
pub struct Guard {
    config: GuardConfig,
    known: Known,
    /// Until it is set, everything that claims to be ours is.
    seal: Option<Seal>,
    /// The tag of our answers. It carries no seal: the ACK of a refusal ends at the door.
    tag: String,
    known_slots: Slots,
    slots: Slots,
    unknown_total: Bucket,
    marked_total: Bucket,
    answers_total: Bucket,
    notices_total: Bucket,
    offences: Offences,
    notice: Option<Notice>,
}

impl Guard {
    /// A guard that knows nobody yet. `secret` is fresh randomness.
    pub fn new(now: Instant, config: GuardConfig, secret: [u8; 32]) -> Self {
        let (mut known_key, mut key) = ([0; 16], [0; 16]);
        known_key.copy_from_slice(&secret[..16]);
        key.copy_from_slice(&secret[16..]);
        let bucket = Bucket::new(now);
        Self {
            known: Known::default(),
            seal: None,
            tag: secret[..4].iter().map(|byte| format!("{byte:02x}")).collect(),
            known_slots: Slots::new(now, known_key),
            slots: Slots::new(now, key),
            unknown_total: bucket,
            marked_total: bucket,
            answers_total: bucket,
            notices_total: bucket,
            offences: Offences::new(config.ban_after, config.ban_within, config.ban),
            notice: None,
            config,
        }
    }

    /// Who is expected from now on.
    pub fn set_known(&mut self, known: Known) {
        self.known = known;
    }

    /// The seal of the endpoint behind this door.
    pub fn set_seal(&mut self, seal: Seal) {
        self.seal = Some(seal);
    }

    /// Whether this address is one that is expected.
    pub fn knows(&self, address: IpAddr) -> bool {
        self.config.allow.iter().any(|network| network.contains(address)) || self.known.contains(address)
    }

    /// Whether anything of this address is read at all.
    pub fn admit(&mut self, now: Instant, address: IpAddr) -> Result<(), Reason> {
        if self.config.allow.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        if self.config.deny.iter().any(|network| network.contains(address)) {
            return Err(Reason::Denied);
        }
        // A ban ends when its source becomes known.
        if self.offences.is_banned(now, Source::of(address)) && !self.known.contains(address) {
            return Err(Reason::Banned);
        }
        Ok(())
    }

    /// Decides on a message of an address that [`admit`](Self::admit) let through.
    pub fn judge(&mut self, now: Instant, hop: Hop, pace: Pace, message: &Message) -> Verdict {
        let is_ours = self.seal.as_ref().is_none_or(|seal| seal.is_on_message(message));
        match self.knows(hop.remote.ip()) {
            true => self.judge_known(now, hop, pace, message, is_ours),
            false => self.judge_stranger(now, hop, pace, message, is_ours),
        }
    }

    fn judge_known(&mut self, now: Instant, hop: Hop, pace: Pace, message: &Message, ours: bool) -> Verdict {
        let Some(method) = message.method() else {
            return if ours { Verdict::InCall } else { self.drop(now, hop, Reason::Stray) };
        };
        let follows = seal::is_follow_up(method);
        if ours && (message.to_tag().is_some() || follows) {
            return Verdict::InCall;
        }
        let rate = self.config.known;
        if !self.known_slots.of(Source::of(hop.remote.ip())).work.take(now, rate) {
            return self.turn_away(now, hop, message, Reason::RateLimited, 503);
        }
        // A CANCEL is for an INVITE that is in, and an ACK asks for nothing.
        if follows {
            return Verdict::InCall;
        }
        match pace {
            Pace::Keeping => Verdict::NewWork,
            Pace::Behind => self.turn_away(now, hop, message, Reason::Overload, 503),
        }
    }

    fn judge_stranger(
        &mut self,
        now: Instant,
        hop: Hop,
        pace: Pace,
        message: &Message,
        ours: bool,
    ) -> Verdict {
        let source = Source::of(hop.remote.ip());
        let GuardConfig { unknown, unknown_total, marked, marked_total, .. } = self.config;
        let slot = self.slots.of(source);
        if ours && (message.method().is_none() || message.to_tag().is_some()) {
            return match take_both(now, (&mut slot.marked, marked), (&mut self.marked_total, marked_total)) {
                true => Verdict::InCall,
                false => self.drop(now, hop, Reason::RateLimited),
            };
        }
        let Some(method) = message.method().filter(|method| **method != Method::Ack) else {
            return self.drop(now, hop, Reason::Stray);
        };
        if !take_both(now, (&mut slot.work, unknown), (&mut self.unknown_total, unknown_total)) {
            return self.drop(now, hop, Reason::RateLimited);
        }
        if self.is_scanner(message) {
            return self.offended(now, hop, Reason::Scanner, None);
        }
        if let Err(error) = message.validate() {
            let (status, _) = error.status();
            return self.offended(now, hop, Reason::Rubbish, Some((message, status)));
        }
        if message.to_tag().is_some() {
            return self.turn_away(now, hop, message, Reason::Stray, 481);
        }
        if !self.known.serves(method) {
            return self.turn_away(now, hop, message, Reason::Stranger, 403);
        }
        match pace {
            Pace::Keeping => Verdict::NewWork,
            Pace::Behind => self.turn_away(now, hop, message, Reason::Overload, 503),
        }
    }

    /// Decides on bytes that are no SIP message. A known source may have them answered by the endpoint.
    pub fn judge_malformed(&mut self, now: Instant, hop: Hop, bytes: &Bytes, error: &ParseError) -> Verdict {
        let source = Source::of(hop.remote.ip());
        if self.knows(hop.remote.ip()) {
            let rate = self.config.known;
            return match self.known_slots.of(source).work.take(now, rate) {
                true => Verdict::NewWork,
                false => self.drop(now, hop, Reason::RateLimited),
            };
        }
        let GuardConfig { unknown, unknown_total, .. } = self.config;
        let slot = self.slots.of(source);
        if !take_both(now, (&mut slot.work, unknown), (&mut self.unknown_total, unknown_total)) {
            return self.drop(now, hop, Reason::RateLimited);
        }
        let salvaged = Message::salvage(bytes.clone());
        let answered = salvaged.as_ref().map(|message| (message, error.status().0));
        self.offended(now, hop, Reason::Rubbish, answered)
    }

    /// Counts an offence that was found out behind the door: a password refused to a client that had our nonce.
    pub fn offence(&mut self, now: Instant, address: IpAddr) {
        let source = Source::of(address);
        if !self.knows(address) && self.offences.count(now, source) {
            self.notify(now, address, Reason::Banned, true);
        }
    }

    /// Forgets what a source did: it has shown that it knows a password.
    pub fn trust(&mut self, address: IpAddr) {
        self.offences.forget(Source::of(address));
    }

    /// What is to be logged, after each call of the others.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    fn is_scanner(&self, message: &Message) -> bool {
        let texts = [
            message.header(Name::UserAgent).unwrap_or_default(),
            message.header(Name::From).unwrap_or_default(),
            message.header(Name::To).unwrap_or_default(),
            message.request_uri_str(),
        ];
        self.config.scanners.iter().any(|name| texts.iter().any(|text| contains(text, name)))
    }

    fn offended(
        &mut self,
        now: Instant,
        hop: Hop,
        reason: Reason,
        answered: Option<(&Message, u16)>,
    ) -> Verdict {
        // The source of a datagram may be forged.
        let banned = hop.transport.is_reliable() && self.offences.count(now, Source::of(hop.remote.ip()));
        self.notify(now, hop.remote.ip(), reason, banned);
        let answer =
            answered.and_then(|(message, status)| self.answer(now, hop, message, status)).map(Box::new);
        Verdict::Refused { reason, answer, close: true }
    }

    fn drop(&mut self, now: Instant, hop: Hop, reason: Reason) -> Verdict {
        self.notify(now, hop.remote.ip(), reason, false);
        Verdict::Refused { reason, answer: None, close: !self.knows(hop.remote.ip()) }
    }

    fn turn_away(
        &mut self,
        now: Instant,
        hop: Hop,
        message: &Message,
        reason: Reason,
        status: u16,
    ) -> Verdict {
        self.notify(now, hop.remote.ip(), reason, false);
        let answer = self.answer(now, hop, message, status).map(Box::new);
        Verdict::Refused { reason, answer, close: !self.knows(hop.remote.ip()) }
    }

    /// The smallest answer there is (RFC 3261 section 8.2.6.2), or none.
    fn answer(&mut self, now: Instant, hop: Hop, request: &Message, status: u16) -> Option<Transmit> {
        if !request.is_answerable() {
            return None;
        }
        let is_known = self.knows(hop.remote.ip());
        let source = Source::of(hop.remote.ip());
        let may = if is_known {
            // Told as often as it may ask: silence would have it repeat each request.
            self.known_slots.of(source).answers.take(now, self.config.known)
        } else {
            let GuardConfig { answers, answers_total, .. } = self.config;
            take_both(
                now,
                (&mut self.slots.of(source).answers, answers),
                (&mut self.answers_total, answers_total),
            )
        };
        if !may {
            return None;
        }
        let via = request.top_via().ok()?;
        let mut out = BytesMut::with_capacity(request.as_bytes().len());
        let reply = Reply { to_tag: Some(&self.tag), source: Some(hop.remote), ..Reply::new(status) };
        let mut builder = MessageBuilder::reply(&mut out, request, reply);
        if status == 503 {
            builder = builder.header(Name::RetryAfter, RETRY_AFTER);
        }
        let answer = builder.finish();
        let amplifies = !hop.transport.is_reliable() && answer.len() > request.as_bytes().len();
        if amplifies && !is_known {
            return None;
        }
        Some(compose::reply(hop, compose::reply_address(hop, &via), answer))
    }

    fn notify(&mut self, now: Instant, address: IpAddr, reason: Reason, banned: bool) {
        let slots = if self.knows(address) { &mut self.known_slots } else { &mut self.slots };
        let source = Source::of(address);
        let slot = slots.of(source);
        if (banned || now >= slot.silent_until) && self.notices_total.take(now, NOTICES) {
            slot.silent_until = now + NOTICE_EVERY;
            self.notice = Some(Notice { source, reason, banned });
        }
    }

    /// Entries in tables that grow; for the tests of their bound.
    pub fn remembered(&self) -> usize {
        self.offences.len()
    }
}

/// How much of a text is searched for a scanner's name; they write it in front.
const SEARCHED: usize = 128;

/// Whether the beginning of `text` has `part` in it, in any case.
fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (&text.as_bytes()[..text.len().min(SEARCHED)], part.as_bytes());
    !part.is_empty() && text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests;
