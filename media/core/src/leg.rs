//! One leg: everything between a call's program and its packets.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use crate::bridge::{Feed, Heard, HeardKind, Keys, Relay, RelayedKey};
use crate::classify::Classifier;
use crate::dtmf::{DialEnd, Dialler, Listener, Method, Turn};
use crate::ear::{Ear, EarStats};
use crate::events::Events;
use crate::peer::Peer;
use crate::quality::Path;
use crate::reception::{Reception, Totals};
use crate::record::{Deck, Track};
use crate::reports::Reports;
use crate::rtcp::{Schedule, SenderInfo};
use crate::rtp::{self, HEADER_LEN, Header, Packet};
use crate::runner::Runner;
use crate::sdp::Negotiated;
use crate::silence::Silence;
use crate::srtp::{self, Refused, Srtp};
use crate::taps::Taps;
use crate::telephone_event::Receiver;
use crate::{
    CollectEnd, Digit, LegConfig, MediaEvent, MediaStats, MediaTime, PlayEnd, Program, Ptime, SeqNo,
};

/// One leg of a call: sends a program's audio, receives digits, keeps the statistics.
///
/// A plain value without socket, clock or thread. The shell calls [`Leg::tick`] once every packet time, hands in what its
/// sockets receive, and takes the events out with [`Leg::poll_event`] after each call. Nothing allocates after
/// [`Leg::start`].
#[derive(Debug)]
pub struct Leg {
    config: LegConfig,
    stage: Stage,
    runner: Runner,
    dialler: Option<Box<Dialler>>,
    feed: Feed,
    /// Whether a bridge pulls what the ear hears.
    pulled: bool,
    keys: Receiver,
    sender: Sender,
    reception: Reception,
    reports: Reports,
    /// There while somebody wants to hear the peer; nothing is decoded without.
    ear: Option<Box<Ear>>,
    /// Whether the owner wants it, beside the taps.
    listens: bool,
    /// What ears before this one have gone through.
    ears_before: Option<Box<EarStats>>,
    taps: Taps,
    events: Events,
    /// While the call is or has been SRTP: what has been heard under a key counts if the key comes back.
    srtp: Option<Box<Srtp>>,
    octets_received: u64,
    packets_invalid: u64,
    packets_stranger: u64,
    packets_unauthentic: u64,
    packets_replayed: u64,
}

#[derive(Debug)]
enum Stage {
    /// No offer and answer yet.
    Idle,
    Live(Session),
    /// Finished with the BYE still to be sent.
    Leaving(Session),
    Finished,
}

/// What offer and answer settled.
#[derive(Debug)]
struct Session {
    agreed: Negotiated,
    rtp: Peer,
    /// Where RTCP goes, unless it is off or multiplexed.
    rtcp: Option<Peer>,
    schedule: Schedule,
    silence: Silence,
}

/// Our stream.
#[derive(Debug)]
struct Sender {
    seq: SeqNo,
    /// Of the next frame.
    timestamp: MediaTime,
    /// When the last frame was due, and its timestamp.
    last: Option<(Instant, MediaTime)>,
    packets: u64,
    octets: u64,
    /// Whether the frame before was not sent.
    paused: bool,
    /// Who sent last.
    voice: Voice,
}

/// Whose packets a stream is made of. One stream has many voices one after the other; its numbers go on.
#[derive(Debug)]
enum Voice {
    /// The leg's own: prompts and silence, one frame each packet time.
    Own,
    /// Another leg's.
    Relayed(Relay),
    /// A mixer's, and the last key among them.
    Mixed(Option<RelayedKey>),
}

/// The static payload type of comfort noise at 8000 Hz (RFC 3389, 4), which peers send whether or not it was agreed on.
const COMFORT_NOISE: u8 = 13;

/// What a payload type stands for.
enum Payload {
    Audio,
    /// A description of comfort noise.
    Noise,
    Event {
        clock: u32,
    },
    Other,
}

impl Leg {
    /// A buffer this long holds any packet a leg writes: 40 ms of L16, the longest audio, with what SRTP adds.
    pub const MAX_PACKET: usize = 1_300 + srtp::MAX_OVERHEAD;

    /// A buffer of this many samples holds any packet time that [`Leg::hear`] brings: 60 ms at 48 kHz.
    pub const MAX_FRAME: usize = 2_880;

    /// A leg that neither sends nor receives before [`Leg::start`].
    pub fn new(config: LegConfig) -> Self {
        Self {
            stage: Stage::Idle,
            runner: Runner::default(),
            dialler: None,
            feed: Feed::default(),
            pulled: false,
            keys: Receiver::default(),
            sender: Sender {
                seq: config.first_seq,
                timestamp: config.first_timestamp,
                last: None,
                packets: 0,
                octets: 0,
                paused: true,
                voice: Voice::Own,
            },
            reception: Reception::default(),
            reports: Reports::default(),
            ear: None,
            listens: false,
            ears_before: None,
            taps: Taps::default(),
            events: Events::default(),
            srtp: None,
            octets_received: 0,
            packets_invalid: 0,
            packets_stranger: 0,
            packets_unauthentic: 0,
            packets_replayed: 0,
            config,
        }
    }

    /// Starts media, or changes it after a further offer and answer; numbering and statistics go on.
    pub fn start(&mut self, now: Instant, negotiated: &Negotiated) {
        let direction = negotiated.direction;
        let (rtp, rtcp, schedule, silence) = match &self.stage {
            Stage::Idle => {
                (None, None, Schedule::new(now, self.config.rtcp_seed), Silence::new(now, direction))
            }
            Stage::Live(session) => {
                let silence = session.silence.again(now, direction);
                (Some(session.rtp), session.rtcp, session.schedule, silence)
            }
            Stage::Leaving(_) | Stage::Finished => return,
        };
        if let Some(ear) = &mut self.ear {
            ear.retune(negotiated.codec);
        }
        if let Some(keys) = &negotiated.srtp {
            match &mut self.srtp {
                Some(srtp) => srtp.rekey(keys),
                none => *none = Some(Box::new(Srtp::new(keys))),
            }
        }
        self.taps.retune(negotiated.codec);
        if negotiated.telephone_event.is_some() {
            self.ignore_tones(now);
        }
        let separate = negotiated.rtcp.filter(|_| !negotiated.rtcp_mux);
        self.stage = Stage::Live(Session {
            rtp: Peer::signal(rtp, negotiated.remote),
            rtcp: separate.map(|addr| Peer::signal(rtcp, addr)),
            agreed: negotiated.clone(),
            schedule,
            silence,
        });
    }

    /// Runs `program`; what ran before ends as stopped. Before [`Leg::start`] it waits, though a collect's time runs; after
    /// [`Leg::finish`] it is refused without an event.
    pub fn run(&mut self, now: Instant, program: Program) {
        match &self.stage {
            Stage::Idle | Stage::Live(_) => self.runner.run(now, program, &mut self.events),
            Stage::Leaving(_) | Stage::Finished => {}
        }
    }

    /// Stops the prompt that plays, if any; a collect beside it goes on as if the prompt had ended.
    pub fn stop_play(&mut self, now: Instant) {
        self.runner.end_play(now, PlayEnd::Stopped, &mut self.events);
    }

    /// Sends keys; what plays waits meanwhile, and the keys wait while the direction forbids sending. Before [`Leg::start`]
    /// and after [`Leg::finish`] it is refused without an event; a dialling at work is stopped.
    pub fn dial(&mut self, dialler: Box<Dialler>) {
        match &self.stage {
            Stage::Live(_) => {
                self.end_dialling(DialEnd::Stopped);
                self.dialler = Some(dialler);
            }
            Stage::Idle | Stage::Leaving(_) | Stage::Finished => {}
        }
    }

    fn end_dialling(&mut self, reason: DialEnd) {
        if let Some(dialler) = self.dialler.take() {
            self.events.push(MediaEvent::DialEnded { id: dialler.id(), reason, sent: dialler.sent() });
        }
    }

    /// Whether the leg has something of its own to send, before whatever a bridge has.
    fn speaks(&self) -> bool {
        self.dialler.is_some() || self.runner.is_playing() || self.taps.is_beeping()
    }

    /// From now on the leg sends what `feed` says, whenever no prompt plays. With `pulled`, a bridge pulls what the ear hears
    /// ([`Leg::hear`]); otherwise [`Leg::tick`] does.
    pub fn feed(&mut self, now: Instant, feed: Feed, pulled: bool) {
        if feed != self.feed
            && let Some(session) = self.session()
        {
            // Nobody else's numbers count any more, not even if he comes back before we have said anything.
            let clock = session.clock();
            self.sender.speaks(now, clock, Voice::Own);
        }
        (self.feed, self.pulled) = (feed, pulled);
    }

    /// The peer says by SIP INFO that it has pressed a key. It counts like any other, unless it has been heard already.
    pub fn press(&mut self, now: Instant, digit: Digit, duration_ms: u16) {
        self.runner.pressed(now, digit, duration_ms, Method::Info, &mut self.events);
    }

    /// Listens for keys in the audio of the peer from now on, with `ear` if the leg has none; of no effect on a leg that does
    /// already.
    pub fn hear_keys(&mut self, listener: Box<Listener>, ear: Box<Ear>) {
        if self.taps.keys.is_none() {
            self.taps.keys = Some(listener);
        }
        if self.ear.is_none() {
            self.put_ear(ear);
        }
    }

    /// Listens for keys in the audio no more.
    pub fn ignore_tones(&mut self, now: Instant) {
        if let Some(mut listener) = self.taps.keys.take() {
            if let Some(key) = listener.flush() {
                self.runner.key(now, key, Method::Tones, &mut self.events);
            }
            self.rest();
        }
    }

    /// Gives the leg an ear. From now on what the peer says is decoded, and heard by whoever listens.
    pub fn listen(&mut self, ear: Box<Ear>) {
        self.listens = true;
        // One that a tap hears by is not changed under way.
        if self.taps.is_empty() {
            self.take_ear();
            self.put_ear(ear);
        }
    }

    /// Takes the ear away, unless a tap needs it: nothing is decoded any more.
    pub fn deafen(&mut self) -> Option<Box<Ear>> {
        self.listens = false;
        self.rest()
    }

    /// Records what is heard and sent from now on, with `ear` if the leg has none, until [`Leg::stop_recording`], the end of
    /// the leg, or until the tape wants no more. A recording on the same track ends.
    pub fn record(&mut self, track: Track, mut deck: Box<Deck>, ear: Box<Ear>) {
        match &self.stage {
            Stage::Idle => {}
            Stage::Live(session) => deck.retune(session.agreed.codec),
            Stage::Leaving(_) | Stage::Finished => return,
        }
        self.taps.record(track, deck);
        if self.ear.is_none() {
            self.put_ear(ear);
        }
    }

    /// Leaves out of a recording what comes from now on, or takes it in again.
    pub fn pause_recording(&mut self, track: Track, on: bool) {
        self.taps.pause_recording(track, on);
    }

    /// Ends a recording.
    pub fn stop_recording(&mut self, track: Track) -> Option<Box<Ear>> {
        self.taps.stop_recording(track);
        self.rest()
    }

    /// Finds out from now on who answers, with `ear` if the leg has none; what is found comes as
    /// [`MediaEvent::Classified`]. A classification under way is replaced.
    pub fn classify(&mut self, classifier: Box<Classifier>, ear: Box<Ear>) {
        match &self.stage {
            Stage::Idle | Stage::Live(_) => {}
            Stage::Leaving(_) | Stage::Finished => return,
        }
        self.taps.classify(classifier);
        if self.ear.is_none() {
            self.put_ear(ear);
        }
    }

    /// The call is answered, for the classification: what comes from now on is the answerer's.
    pub fn answered(&mut self) {
        self.taps.answered();
    }

    fn put_ear(&mut self, mut ear: Box<Ear>) {
        if let Stage::Live(session) = &self.stage {
            ear.retune(session.agreed.codec);
        }
        self.ear = Some(ear);
    }

    /// Takes the ear away if nobody needs it.
    fn rest(&mut self) -> Option<Box<Ear>> {
        if self.listens || !self.taps.is_empty() { None } else { self.take_ear() }
    }

    fn take_ear(&mut self) -> Option<Box<Ear>> {
        let ear = self.ear.take();
        if let Some(ear) = &ear {
            let before = self.ears_before.as_deref().copied();
            self.ears_before = Some(Box::new(ear.stats().after(before)));
        }
        ear
    }

    /// A packet time is over for the recordings: see [`Taps::sent`].
    fn record_sent(&mut self, now: Instant, payload: Option<&[u8]>) {
        let Stage::Live(Session { agreed: Negotiated { codec, ptime, .. }, .. }) = self.stage else { return };
        if self.taps.is_recording() {
            self.taps.sent(now, codec, ptime, payload);
            self.rest();
        }
    }

    /// Pulls the next `time` of what the peer says into the front of `frame`, at the sample rate of the leg's codec, lets the
    /// taps hear it, and returns how many samples that is; 0 for a leg without an ear. [`Leg::tick`] does this by itself,
    /// unless a bridge does ([`Leg::feed`]).
    pub fn hear(&mut self, now: Instant, time: Ptime, frame: &mut [i16]) -> usize {
        let (Stage::Live(_), Some(ear)) = (&self.stage, &mut self.ear) else { return 0 };
        let rate = ear.codec().sample_rate();
        let count = (rate as usize / 1000 * usize::from(time.ms())).min(frame.len());
        ear.pull(now, &mut frame[..count]);
        let Self { taps, runner, events, .. } = self;
        taps.hear(rate, &frame[..count], |key| runner.key(now, key, Method::Tones, events));
        while let Some(finding) = taps.finding() {
            events.push(MediaEvent::Classified(finding));
        }
        self.rest();
        count
    }

    /// Once every packet time: writes the next RTP packet into `out` (at least [`Leg::MAX_PACKET`] long) and returns its
    /// length; `None` when the direction forbids sending, while the program goes on all the same, and when the packets come
    /// from a bridge. Also ends digits and collects whose time has run out.
    pub fn tick(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        let Stage::Live(session) = &mut self.stage else { return None };
        let Negotiated { codec, ptime, direction, telephone_event, .. } = session.agreed;
        if let Some(lasted) = session.silence.poll(now, self.config.rtp_timeout) {
            let seconds = u32::try_from(lasted.as_secs()).unwrap_or(u32::MAX);
            self.events.push(MediaEvent::PeerSilent { seconds });
        }
        if let Some(key) = self.keys.handle_timeout(now, ptime) {
            self.runner.key(now, key, Method::Events, &mut self.events);
        }
        if !self.keys.is_down() && self.taps.keys.as_ref().is_none_or(|tones| !tones.key_is_down()) {
            self.runner.handle_timeout(now, &mut self.events);
        }
        if self.ear.is_some() && !self.pulled {
            self.hear(now, ptime, &mut [0; Self::MAX_FRAME]);
        }

        let frame_len = codec.octets_per_ms() * usize::from(ptime.ms());
        let (header, frame) = out.get_mut(..HEADER_LEN + frame_len)?.split_at_mut(HEADER_LEN);
        let dialling = self.dialler.as_mut().filter(|_| direction.sends());
        let mut turn = dialling.map(|dialler| dialler.turn(codec, ptime, telephone_event.as_ref(), frame));
        if let Some(Turn::Over(reason)) = turn {
            self.end_dialling(reason);
            turn = None;
        }
        // What plays waits for the keys.
        let played = match (&turn, &self.dialler) {
            (Some(_), _) => true,
            (None, Some(_)) => {
                codec.fill_silence(frame);
                true
            }
            (None, None) => {
                let played = self.runner.fill(now, codec, frame, &mut self.events);
                self.taps.beep(codec, ptime, frame) || played
            }
        };
        match self.feed {
            Feed::Own => {}
            Feed::Relay { .. } | Feed::Mix { .. } if played => {}
            Feed::Relay { .. } => {
                self.record_sent(now, None);
                return None;
            }
            Feed::Mix { .. } => return None,
        }
        let is_audio = !matches!(turn, Some(Turn::Event { .. }));
        self.record_sent(now, Some(if direction.sends() && is_audio { frame } else { &[] }));
        self.sender.speaks(now, codec.clock_rate(), Voice::Own);
        let audio = self.frame(now)?;
        let (fields, octets) = match (turn, telephone_event) {
            // RFC 4733, 2.2.1: all packets of an event carry the time of its beginning, the first of them the marker bit.
            (Some(Turn::Event { len, begins, age_ms, past_units }), Some(event)) => {
                let age = codec.clock_rate() / 1000 * age_ms;
                let timestamp = MediaTime(audio.timestamp.0.wrapping_sub(age).wrapping_add(past_units));
                (Header { marker: begins, pt: event.pt_send, timestamp, ..audio }, len)
            }
            (Some(_) | None, _) => (audio, frame_len),
        };
        header.copy_from_slice(&fields.to_bytes());
        self.seal(out, octets)
    }

    /// When a mixer has a packet for the leg: writes it into `out` (at least [`Leg::MAX_PACKET`] long) with what `encode`
    /// writes as its payload, and returns its length. `None` when a prompt plays or the direction forbids sending.
    pub fn speak(
        &mut self,
        now: Instant,
        out: &mut [u8],
        encode: impl FnOnce(&mut [u8]) -> usize,
    ) -> Option<usize> {
        let Stage::Live(session) = &self.stage else { return None };
        if !matches!(self.feed, Feed::Mix { .. }) || self.speaks() {
            return None;
        }
        let clock = session.clock();
        if !matches!(self.sender.voice, Voice::Mixed(_)) {
            self.sender.speaks(now, clock, Voice::Mixed(None));
        }
        let (header, payload) = out.split_at_mut_checked(HEADER_LEN)?;
        let Some(fields) = self.frame(now) else {
            self.record_sent(now, Some(&[]));
            return None;
        };
        let octets = encode(payload);
        self.record_sent(now, payload.get(..octets));
        header.copy_from_slice(&fields.to_bytes());
        self.seal(out, octets)
    }

    /// Counts a packet with a payload of so many octets, and encrypts it where that was agreed; returns its length.
    fn seal(&mut self, out: &mut [u8], octets: usize) -> Option<usize> {
        let Stage::Live(session) = &self.stage else { return None };
        self.sender.count(octets);
        match protection(session.is_secure(), &mut self.srtp) {
            Some(srtp) => srtp.protector.protect_rtp(out, HEADER_LEN + octets),
            None => Some(HEADER_LEN + octets),
        }
    }

    /// The header of the next frame, whose time is now; `None` when the direction forbids sending, and then its time passes
    /// all the same.
    fn frame(&mut self, now: Instant) -> Option<Header> {
        let Stage::Live(session) = &self.stage else { return None };
        let Negotiated { codec, ptime, direction, pt_send, .. } = session.agreed;
        let sender = &mut self.sender;
        let timestamp = sender.timestamp;
        sender.last = Some((now, timestamp));
        sender.timestamp = timestamp.plus(codec.units(ptime));
        if !direction.sends() {
            sender.paused = true;
            return None;
        }
        // RFC 3551, 4.1: "the first packet after a silence period during which packets have not been transmitted
        // contiguously, SHOULD be distinguished by setting the marker bit". Our silence is transmitted.
        let marker = std::mem::replace(&mut sender.paused, false);
        let seq = sender.seq;
        sender.seq = seq.next();
        Some(Header { marker, pt: pt_send, seq, timestamp, ssrc: self.config.ssrc })
    }

    /// Sends on what another leg has heard: writes our header before the payload in `datagram`, and returns the part of it
    /// that is our packet. As SRTP it stands behind the payload, which may go to others too, so there must be room for it.
    /// `None` when it is not for our peer: a prompt plays, the direction forbids sending, our peer does not know events or
    /// is not to have them, or it is too late.
    pub fn forward(&mut self, now: Instant, heard: &Heard, datagram: &mut [u8]) -> Option<Range<usize>> {
        let Stage::Live(session) = &self.stage else { return None };
        let (keys, mixed) = match self.feed {
            Feed::Relay { keys } => (keys, false),
            Feed::Mix { keys } => (keys, true),
            Feed::Own => return None,
        };
        if self.speaks() {
            return None;
        }
        let agreed = &session.agreed;
        if !agreed.direction.sends() {
            self.sender.paused = true;
            return None;
        }
        let clock = session.clock();
        let pt = match (heard.kind, &agreed.telephone_event, keys) {
            // What is mixed comes as sound.
            (HeardKind::Audio, _, _) => Some(agreed.pt_send).filter(|_| !mixed),
            // The durations in an event's packets are in its clock; one of another would have to be rewritten.
            (HeardKind::Event { clock: theirs }, Some(event), Keys::Relayed) if event.clock == theirs => {
                Some(event.pt_send)
            }
            (HeardKind::Event { .. }, _, _) => None,
        };
        let sender = &mut self.sender;
        let Some(pt) = pt else {
            sender.leave_out(&heard.header);
            return None;
        };
        let begin = heard.payload.start.checked_sub(HEADER_LEN)?;
        let header = &heard.header;
        let (seq, timestamp) = match mixed {
            true => (sender.seq, sender.relay_key(now, header, clock)),
            false => sender.relay(now, header, clock)?,
        };
        let packet = datagram.get_mut(begin..heard.payload.end)?;
        let resumed = std::mem::replace(&mut sender.paused, false);
        let fields = Header { marker: header.marker || resumed, pt, seq, timestamp, ssrc: self.config.ssrc };
        packet.get_mut(..HEADER_LEN)?.copy_from_slice(&fields.to_bytes());
        if let HeardKind::Audio = heard.kind {
            self.taps.relayed(now, &fields, &packet[HEADER_LEN..]);
        }
        if seq.distance_from(sender.seq) >= 0 {
            sender.seq = seq.next();
        }
        if let (HeardKind::Audio, true) = (heard.kind, seq.next() == sender.seq) {
            sender.last = Some((now, timestamp));
            let end = timestamp.plus(agreed.codec.units(agreed.ptime));
            if end.distance_from(sender.timestamp) > 0 {
                sender.timestamp = end;
            }
        }
        sender.count(heard.payload.len());
        let plain = begin..heard.payload.end;
        match protection(session.is_secure(), &mut self.srtp) {
            Some(srtp) => {
                let (packet, behind) = datagram.split_at_mut_checked(plain.end)?;
                let packet = &packet[plain.start..];
                behind.get_mut(..packet.len())?.copy_from_slice(packet);
                let len = srtp.protector.protect_rtp(behind, packet.len())?;
                Some(plain.end..plain.end + len)
            }
            None => Some(plain),
        }
    }

    /// Takes a datagram from the RTP socket: RTP, or RTCP if multiplexed. SRTP is decrypted in place. Returns what there is in
    /// it for a bridge.
    pub fn receive_rtp(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) -> Option<Heard> {
        let Stage::Live(session) = &mut self.stage else { return None };
        if !session.rtp.admits(now, from) {
            self.packets_stranger += 1;
            return None;
        }
        let clock = session.clock();
        let is_rtcp = rtp::is_rtcp(datagram);
        let datagram = match protection(session.is_secure(), &mut self.srtp) {
            Some(srtp) => {
                let unprotector = &mut srtp.unprotector;
                let opened = if is_rtcp {
                    unprotector.unprotect_rtcp(datagram)
                } else {
                    unprotector.unprotect_rtp(datagram)
                };
                match opened {
                    Ok(len) => &datagram[..len],
                    Err(refused) => {
                        self.refuse(refused);
                        return None;
                    }
                }
            }
            None => datagram,
        };
        if is_rtcp {
            if self.reports.receive(now, &self.config, clock, datagram, &mut self.reception) {
                session.silence.broken(now);
            } else {
                self.packets_invalid += 1;
            }
            return None;
        }
        let Some((packet, at)) = Packet::parse_at(datagram) else {
            self.packets_invalid += 1;
            return None;
        };
        self.octets_received += packet.payload.len() as u64;
        session.silence.broken(now);
        // Whom we have put on hold nobody is to hear, whatever he sends.
        let heard = |kind| Heard::new(kind, &packet, at);
        let wanted = session.agreed.direction.receives();
        match session.payload(packet.header.pt) {
            Payload::Audio => {
                session.rtp.latch(now, from);
                self.reception.receive(now, &packet.header, Some(clock));
                if let Some(ear) = &mut self.ear {
                    ear.push(now, &packet.header, packet.payload);
                }
                wanted.then(|| heard(HeardKind::Audio))
            }
            Payload::Noise => {
                session.rtp.latch(now, from);
                self.reception.receive(now, &packet.header, Some(clock));
                if let Some(ear) = &mut self.ear {
                    ear.push_noise(now, &packet.header, packet.payload);
                }
                None
            }
            Payload::Event { clock } => {
                session.rtp.latch(now, from);
                self.reception.receive(now, &packet.header, None);
                if let Some(ear) = &mut self.ear {
                    ear.pass_over(now, &packet.header);
                }
                for key in self.keys.receive(now, &packet, clock).into_iter().flatten() {
                    self.runner.key(now, key, Method::Events, &mut self.events);
                }
                wanted.then(|| heard(HeardKind::Event { clock }))
            }
            // What the peer should not send has its place in the numbering all the same.
            Payload::Other => {
                self.reception.receive(now, &packet.header, Some(clock));
                if let Some(ear) = &mut self.ear {
                    ear.pass_over(now, &packet.header);
                }
                None
            }
        }
    }

    /// Takes a datagram from the RTCP socket. SRTCP is decrypted in place.
    pub fn receive_rtcp(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        let Stage::Live(session) = &mut self.stage else { return };
        let clock = session.clock();
        let protection = protection(session.is_secure(), &mut self.srtp);
        match &mut session.rtcp {
            Some(peer) if peer.admits(now, from) => {
                let opened = protection.map(|srtp| srtp.unprotector.unprotect_rtcp(datagram));
                let datagram = match opened {
                    Some(Ok(len)) => &datagram[..len],
                    Some(Err(refused)) => return self.refuse(refused),
                    None => datagram,
                };
                if self.reports.receive(now, &self.config, clock, datagram, &mut self.reception) {
                    peer.latch(now, from);
                    session.silence.broken(now);
                } else {
                    self.packets_invalid += 1;
                }
            }
            Some(_) | None => self.packets_stranger += 1,
        }
    }

    /// Writes an RTCP compound packet into `out` (at least [`Leg::MAX_PACKET`] long) when one is due, and returns its
    /// length. After [`Leg::finish`], once, the goodbye. Call it after every tick.
    pub fn poll_rtcp(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        self.rtcp_remote()?;
        let session = self.session()?;
        let (clock, is_secure) = (session.clock(), session.is_secure());
        let bye = match &mut self.stage {
            Stage::Live(session) => {
                if !session.schedule.poll(now) {
                    return None;
                }
                false
            }
            Stage::Leaving(_) => {
                self.stage = Stage::Finished;
                // RFC 3550, 6.3.7: "A participant which never sent an RTP or RTCP packet MUST NOT send a BYE packet".
                if self.sender.packets == 0 {
                    return None;
                }
                true
            }
            Stage::Idle | Stage::Finished => return None,
        };
        let info = self.sender.info(now, self.config.clock.ntp(now), clock);
        let len = self.reports.write(now, &self.config, info, &mut self.reception, bye, out)?;
        match protection(is_secure, &mut self.srtp) {
            Some(srtp) => srtp.protector.protect_rtcp(out, len),
            None => Some(len),
        }
    }

    /// The next event, in order, until `None`.
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop()
    }

    /// Whether the peer has been heard, but for so long not that its packets may come from another port of its host.
    pub fn peer_may_have_moved(&self, now: Instant) -> bool {
        self.session().is_some_and(|session| session.rtp.may_have_moved(now))
    }

    /// Where RTP goes: the signalled address, and once the peer has been heard, where it sends from.
    pub fn rtp_remote(&self) -> Option<SocketAddr> {
        self.session().map(|session| session.rtp.addr())
    }

    /// Where RTCP goes, over the RTP socket if [`Negotiated::rtcp_mux`]; `None` if RTCP is off.
    pub fn rtcp_remote(&self) -> Option<SocketAddr> {
        let session = self.session()?;
        match session.rtcp {
            Some(peer) => Some(peer.addr()),
            None => session.agreed.rtcp.map(|_| session.rtp.addr()),
        }
    }

    /// The totals so far.
    pub fn stats(&self) -> MediaStats {
        let received = self.reception.totals();
        let remote = self.reports.remote();
        let ear = match &self.ear {
            Some(ear) => Some(ear.stats().after(self.ears_before.as_deref().copied())),
            None => self.ears_before.as_deref().copied(),
        };
        let (mos, remote_mos) = self.quality(&received, ear);
        MediaStats {
            packets_sent: self.sender.packets,
            octets_sent: self.sender.octets,
            packets_received: received.received,
            octets_received: self.octets_received,
            packets_lost: received.lost,
            packets_duplicated: received.duplicated,
            packets_reordered: received.reordered,
            packets_invalid: self.packets_invalid,
            packets_stranger: self.packets_stranger,
            packets_unauthentic: self.packets_unauthentic,
            packets_replayed: self.packets_replayed,
            jitter_ms: received.jitter_ms,
            remote_packets_lost: remote.map(|remote| remote.lost),
            remote_jitter_ms: remote.map(|remote| remote.jitter_ms),
            rtt_ms: self.reports.rtt_ms(),
            mos,
            remote_mos,
            ear,
            events_dropped: self.events.dropped,
        }
    }

    /// How well the peer is heard, and how well it hears, by the E-model.
    fn quality(&self, received: &Totals, ear: Option<EarStats>) -> (Option<f32>, Option<f32>) {
        let Some(session) = self.session() else { return (None, None) };
        let Negotiated { codec, ptime, .. } = session.agreed;
        let packet_ms = f32::from(ptime.ms());
        let network_ms = self.reports.rtt_ms().unwrap_or_default() / 2.0;
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f32 / whole as f32 };
        // Without an ear of our own the listener's is not known; it will wait for about twice the jitter.
        let buffer = |jitter_ms: f32| 2.0 * jitter_ms;
        let heard = (received.received > 0).then(|| {
            let missed = received.lost + ear.map_or(0, |ear| u64::from(ear.late));
            let expected = received.received + received.lost;
            let burst = if received.gaps == 0 { 1.0 } else { received.lost as f32 / received.gaps as f32 };
            let loss = share(missed.min(expected), expected);
            Path {
                codec,
                delay_ms: packet_ms
                    + network_ms
                    + ear.map_or(buffer(received.jitter_ms), |ear| ear.delay_ms as f32),
                loss,
                // G.107, 3.5: by how much longer the bursts are than those of random loss would be.
                burst_ratio: (burst * (1.0 - loss)).max(1.0),
            }
            .mos()
        });
        let hears = self.reports.remote().map(|remote| {
            let loss = share(u64::from(remote.lost).min(self.sender.packets), self.sender.packets);
            let delay_ms = packet_ms + network_ms + buffer(remote.jitter_ms);
            Path { codec, delay_ms, loss, burst_ratio: 1.0 }.mos()
        });
        (heard, hears)
    }

    /// Ends the leg: a key that is down counts, what runs ends as hung up. The events and the RTCP goodbye can still be
    /// polled; nothing else is sent or taken.
    pub fn finish(&mut self, now: Instant) -> MediaStats {
        if let Some(key) = self.keys.flush() {
            self.runner.key(now, key, Method::Events, &mut self.events);
        }
        self.ignore_tones(now);
        self.end_dialling(DialEnd::Hangup);
        self.runner.abandon(PlayEnd::Hangup, CollectEnd::Hangup, &mut self.events);
        self.taps.stop_recordings();
        self.taps.stop_classifying();
        let stats = self.stats();
        self.stage = match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::Live(session) | Stage::Leaving(session) => Stage::Leaving(session),
            Stage::Idle | Stage::Finished => Stage::Finished,
        };
        stats
    }

    /// Counts what SRTP does not let through.
    fn refuse(&mut self, refused: Refused) {
        match refused {
            Refused::Malformed => self.packets_invalid += 1,
            Refused::Unauthentic => self.packets_unauthentic += 1,
            Refused::Replayed => self.packets_replayed += 1,
        }
    }

    fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Live(session) | Stage::Leaving(session) => Some(session),
            Stage::Idle | Stage::Finished => None,
        }
    }
}

impl Sender {
    /// The numbers under which the packet with `header` of another leg goes out.
    fn relay(&mut self, now: Instant, header: &Header, clock: u32) -> Option<(SeqNo, MediaTime)> {
        if let Voice::Relayed(relay) = &mut self.voice
            && relay.continues(header)
        {
            return relay.stamp(header);
        }
        self.catch_up(now, clock);
        self.paused = true;
        self.voice = Voice::Relayed(Relay::new(header, self.seq, self.timestamp));
        Some((self.seq, self.timestamp))
    }

    /// The packet with `header` of another leg stays out.
    fn leave_out(&mut self, header: &Header) {
        match &mut self.voice {
            Voice::Relayed(relay) if relay.continues(header) => relay.leave_out(header),
            Voice::Relayed(_) | Voice::Own | Voice::Mixed(_) => {}
        }
    }

    /// Our time of a packet of another leg's event in a stream that is mixed.
    fn relay_key(&mut self, now: Instant, header: &Header, clock: u32) -> MediaTime {
        let key = match self.voice {
            Voice::Mixed(key) => key,
            Voice::Own | Voice::Relayed(_) => {
                self.speaks(now, clock, Voice::Mixed(None));
                None
            }
        };
        if let Some(time) = key.and_then(|key| key.time(header)) {
            return time;
        }
        let present = self.timestamp_at(now, clock);
        self.voice = Voice::Mixed(Some(RelayedKey::new(header, present)));
        present
    }

    /// Whose packets come from now on. If that is another's than before, the stream goes on at the present time.
    fn speaks(&mut self, now: Instant, clock: u32, voice: Voice) {
        if let (Voice::Own, Voice::Own) = (&self.voice, &voice) {
            return;
        }
        self.catch_up(now, clock);
        self.paused = true;
        self.voice = voice;
    }

    /// Lets the timestamp go on by the time in which nothing was sent (RFC 3550, 5.1: it reflects the sampling instant).
    fn catch_up(&mut self, now: Instant, clock: u32) {
        let present = self.timestamp_at(now, clock);
        if present.distance_from(self.timestamp) > 0 {
            self.timestamp = present;
        }
    }

    fn count(&mut self, octets: usize) {
        self.packets += 1;
        self.octets += octets as u64;
    }

    /// What a sender report says at `now`, which is `ntp`.
    fn info(&self, now: Instant, ntp: u64, clock: u32) -> SenderInfo {
        // RFC 3550, 6.4.1: the RTP timestamp of the same instant as the NTP timestamp, so between frames.
        let timestamp = self.timestamp_at(now, clock);
        SenderInfo { ntp, timestamp, packets: self.packets as u32, octets: self.octets as u32 }
    }

    fn timestamp_at(&self, now: Instant, clock: u32) -> MediaTime {
        self.last.map_or(self.timestamp, |(at, timestamp)| {
            let elapsed = now.saturating_duration_since(at).as_nanos() * u128::from(clock) / 1_000_000_000;
            timestamp.plus(elapsed as u32)
        })
    }
}

impl Session {
    fn is_secure(&self) -> bool {
        self.agreed.srtp.is_some()
    }

    fn clock(&self) -> u32 {
        self.agreed.codec.clock_rate()
    }

    fn payload(&self, pt: u8) -> Payload {
        let Negotiated { pt_send, pt_recv, telephone_event, .. } = &self.agreed;
        // Peers are known to send with the payload types of their own SDP instead of ours (RFC 3264, 5.1): both are taken.
        if pt == *pt_recv {
            return Payload::Audio;
        }
        match telephone_event {
            Some(event) if pt == event.pt_recv || pt == event.pt_send => {
                Payload::Event { clock: event.clock }
            }
            Some(_) | None if pt == *pt_send => Payload::Audio,
            Some(_) | None if pt == COMFORT_NOISE => Payload::Noise,
            Some(_) | None => Payload::Other,
        }
    }
}

/// What protects the packets of a session that is SRTP; [`Leg::start`] has made it.
fn protection(is_secure: bool, srtp: &mut Option<Box<Srtp>>) -> Option<&mut Srtp> {
    srtp.as_deref_mut().filter(|_| is_secure)
}
