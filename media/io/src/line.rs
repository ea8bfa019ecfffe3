//! One leg in its shard: the sans-IO leg, its sockets, and the way its events go out.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use media_core::classify::Classifier;
use media_core::dtmf::Dialler;
use media_core::ice::Kind;
use media_core::record::{Deck, Track};
use media_core::srtp::Keys;
use media_core::{Digit, Ear, Feed, Heard, Leg, LegId, MediaStats, Negotiated, Program, Ptime};
use rustix::io::Errno;

use crate::cost;
use crate::shard::Hearing;
use crate::socket::{Pair, Socket};
use crate::stats::{Counter, Counters};
use crate::{LegEvent, Sink};

/// The turns of a leg that rests are so many ticks apart, or a few less, and in ticks that this divides, so that they wake the
/// thread seldom and still come a few at once.
const REST_TICKS: u64 = 60;
const REST_STEP: u64 = 4;

/// A leg and what belongs to it.
pub(crate) struct Line<S> {
    pub(crate) id: LegId,
    pub(crate) port: u16,
    state: State<S>,
    /// The event that the sink had no room for.
    deferred: Option<LegEvent>,
    /// Whether the shard has noted that the sink must be asked again.
    pub(crate) noted: bool,
    /// The bridge it is in.
    pub(crate) bridge: Option<u32>,
}

enum State<S> {
    /// The ports are open; what comes is thrown away, so that no old packet waits when media starts.
    Bound(Pair<S>),
    Running(Running<S>),
    /// The sockets are closed; events go out until the last one, which says so.
    Closed {
        leg: Option<Box<Leg>>,
        stats: Option<MediaStats>,
    },
}

struct Running<S> {
    leg: Box<Leg>,
    sockets: Pair<S>,
    peer: Peer,
    ptime: Ptime,
    rtcp_mux: bool,
    rhythm: Rhythm,
}

/// How often a leg has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rhythm {
    /// Each packet time.
    Awake,
    /// Only now and then: its packets are another's, which go when they come ([`Leg::rests`]).
    Resting,
}

/// Whom the RTP socket takes packets from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Anyone, so that a peer behind a NAT is heard whatever its port: media may begin long before the peer does, and the leg
    /// admits whom it should.
    Expected,
    /// The peer alone, as long as it is heard where it said: the socket is connected, which makes sending cheaper by a sixth.
    Connected,
}

/// Whether events are left that the sink had no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// All are delivered.
    Done,
    /// The line must be asked again later.
    Deferred,
    /// All are delivered, the last one too: the line is over.
    Over,
}

/// What a datagram that was received is to others.
#[derive(Debug)]
pub(crate) enum Received {
    /// Nothing.
    Done,
    /// A bridge may send it on.
    Heard(Heard),
    /// It is of a handshake, and so many octets long.
    Handshake(usize),
}

/// Which socket of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Rtp,
    Rtcp,
}

impl<S: Socket> Line<S> {
    pub(crate) fn new(id: LegId, port: u16, sockets: Pair<S>) -> Line<S> {
        Line { id, port, state: State::Bound(sockets), deferred: None, noted: false, bridge: None }
    }

    /// The sockets, while they are open.
    pub(crate) fn sockets(&self) -> Option<&Pair<S>> {
        match &self.state {
            State::Bound(sockets) => Some(sockets),
            State::Running(running) => Some(&running.sockets),
            State::Closed { .. } => None,
        }
    }

    /// Starts media with `leg`, or changes the running leg's after a further answer. Returns the packet time.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        leg: Box<Leg>,
        negotiated: &Negotiated,
        hearing: Option<Hearing>,
        counters: &Counters,
    ) -> Option<Ptime> {
        let state = std::mem::replace(&mut self.state, State::Closed { leg: None, stats: None });
        self.state = match state {
            State::Bound(sockets) => State::Running(Running {
                leg,
                sockets,
                peer: Peer::Expected,
                ptime: negotiated.ptime,
                rtcp_mux: negotiated.rtcp_mux,
                rhythm: Rhythm::Awake,
            }),
            open_or_closed @ (State::Running(_) | State::Closed { .. }) => open_or_closed,
        };
        let State::Running(running) = &mut self.state else {
            counters.commands_ignored.add(1);
            return None;
        };
        let before = running.leg.rtp_remote();
        running.leg.start(now, negotiated);
        if let Some(Hearing { listener, ear }) = hearing {
            running.leg.hear_keys(listener, ear);
        }
        running.ptime = negotiated.ptime;
        running.rtcp_mux = negotiated.rtcp_mux;
        running.rhythm = Rhythm::Awake;
        if running.peer == Peer::Connected && running.leg.rtp_remote() != before {
            running.disconnect(counters);
        }
        Some(negotiated.ptime)
    }

    pub(crate) fn run(&mut self, now: Instant, program: Program, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.run(now, program),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn stop_play(&mut self, now: Instant, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.stop_play(now),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn forget_keys(&mut self, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.forget_keys(),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn dial(&mut self, dialler: Box<Dialler>, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.dial(dialler),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn press(&mut self, now: Instant, digit: Digit, duration_ms: u16, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.press(now, digit, duration_ms),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    /// Sends a datagram of a handshake.
    pub(crate) fn shake_hands(&mut self, datagram: &[u8], counters: &Counters) {
        match &mut self.state {
            State::Running(running) => match running.leg.rtp_remote() {
                Some(to) => running.send_apart(datagram, to, &counters.handshakes_sent, counters),
                // ICE has found nobody yet; it is repeated.
                None => counters.send_unreachable.add(1),
            },
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn secure(&mut self, keys: &Keys, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.secure(keys),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn listen(&mut self, ear: Box<Ear>, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.listen(ear),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn deafen(&mut self, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => drop(running.leg.deafen()),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn classify(&mut self, classifier: Box<Classifier>, ear: Box<Ear>, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.classify(classifier, ear),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn answered(&mut self, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.answered(),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn record(&mut self, track: Track, deck: Box<Deck>, ear: Box<Ear>, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.record(track, deck, ear),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn pause_recording(&mut self, track: Track, on: bool, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => running.leg.pause_recording(track, on),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    pub(crate) fn stop_recording(&mut self, track: Track, counters: &Counters) {
        match &mut self.state {
            State::Running(running) => drop(running.leg.stop_recording(track)),
            State::Bound(_) | State::Closed { .. } => counters.commands_ignored.add(1),
        }
    }

    /// From here on it sends what `feed` says, once it runs.
    pub(crate) fn feed(&mut self, now: Instant, feed: Feed, heard: bool) {
        match &mut self.state {
            State::Running(running) => running.leg.feed(now, feed, heard),
            // A bridge is told again when the media of one in it begins.
            State::Bound(_) | State::Closed { .. } => {}
        }
    }

    /// It has come to another shard. Returns the packet time if it sends.
    pub(crate) fn arrive(&mut self, now: Instant) -> Option<Ptime> {
        // Both are matters of the shard that it has left.
        (self.noted, self.bridge) = (false, None);
        let State::Running(running) = &mut self.state else { return None };
        running.leg.feed(now, Feed::Own, false);
        running.rhythm = Rhythm::Awake;
        Some(running.ptime)
    }

    /// Hands what the peer says in the next `time` to `mix`.
    pub(crate) fn hear(&mut self, now: Instant, time: Ptime, mix: impl FnOnce(&[i16])) {
        let State::Running(running) = &mut self.state else { return };
        let mut sound = [0; Leg::MAX_FRAME];
        let count = running.leg.hear(now, time, &mut sound);
        mix(&sound[..count]);
    }

    /// How many packets of the hundred the peer is expected to lose.
    pub(crate) fn expected_loss(&self) -> u8 {
        match &self.state {
            State::Running(running) => running.leg.expected_loss(),
            State::Bound(_) | State::Closed { .. } => 0,
        }
    }

    /// Sends what a mixer has for it.
    pub(crate) fn speak(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        counters: &Counters,
        encode: impl FnOnce(&mut [u8]) -> usize,
    ) {
        let State::Running(running) = &mut self.state else { return };
        if let Some(length) = running.leg.speak(now, buffer, encode) {
            running.send_rtp(&buffer[..length], counters);
            counters.rtp_packets_mixed.add(1);
        }
    }

    /// Sends on what another leg has heard; its datagram is in the buffer.
    pub(crate) fn forward(&mut self, now: Instant, heard: &Heard, buffer: &mut [u8], counters: &Counters) {
        let State::Running(running) = &mut self.state else { return };
        if let Some(packet) = running.leg.forward(now, heard, buffer) {
            running.send_rtp(&buffer[packet], counters);
            counters.rtp_packets_relayed.add(1);
        }
    }

    /// Sends what is due. Returns the tick of the next turn.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        tick: u64,
        buffer: &mut [u8],
        counters: &Counters,
    ) -> Option<u64> {
        let State::Running(running) = &mut self.state else { return None };
        if let Some(length) = running.leg.tick(now, buffer) {
            running.send_rtp(&buffer[..length], counters);
        }
        running.send_rtcp(now, buffer, counters);
        if running.peer == Peer::Connected && !running.leg.peer_is_settled(now) {
            running.disconnect(counters);
        }
        // From the tick it was due, not from now: lateness does not add up.
        if running.leg.rests() {
            if running.rhythm == Rhythm::Awake {
                running.rhythm = Rhythm::Resting;
                counters.legs_rested.add(1);
            }
            Some((tick + REST_TICKS) / REST_STEP * REST_STEP)
        } else {
            running.rhythm = Rhythm::Awake;
            Some(tick + u64::from(running.ptime.ms()))
        }
    }

    /// What its next turn costs.
    pub(crate) fn cost(&self) -> u32 {
        let State::Running(running) = &self.state else { return 0 };
        let own = if running.leg.rests() { cost::REST } else { cost::PACKET };
        own + running.leg.decodes().map_or(0, |codec| cost::EAR + cost::decode(codec))
    }

    /// Whether the leg rested and has something to do now: then its packet time, in which it is to have its next turn.
    pub(crate) fn rouse(&mut self) -> Option<Ptime> {
        let State::Running(running) = &mut self.state else { return None };
        if running.rhythm == Rhythm::Awake || running.leg.rests() {
            return None;
        }
        running.rhythm = Rhythm::Awake;
        Some(running.ptime)
    }

    /// Takes one datagram from a socket that is ready. Returns what there is in it for others.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        port: Port,
        buffer: &mut [u8],
        counters: &Counters,
    ) -> Received {
        let Some(sockets) = self.sockets() else { return Received::Done };
        let received = match port {
            Port::Rtp => sockets.rtp.receive(buffer),
            Port::Rtcp => sockets.rtcp.receive(buffer),
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::Done,
            Err(_) => {
                counters.receive_errors.add(1);
                return Received::Done;
            }
        };
        match port {
            Port::Rtp => {
                counters.rtp_packets_received.add(1);
                counters.rtp_octets_received.add(length as u64);
            }
            Port::Rtcp => counters.rtcp_packets_received.add(1),
        }
        let State::Running(running) = &mut self.state else {
            counters.early.add(1);
            return Received::Done;
        };
        match port {
            Port::Rtp => match running.leg.kind(&buffer[..length]) {
                Kind::Stun => {
                    if let Some(answer) = running.leg.answer_check(now, from, buffer, length) {
                        running.send_apart(&buffer[..answer], from, &counters.checks_answered, counters);
                    }
                    Received::Done
                }
                Kind::Dtls if running.leg.admits_handshake(now, from) => Received::Handshake(length),
                Kind::Dtls => Received::Done,
                Kind::Media => {
                    let heard = running.leg.receive_rtp(now, from, &mut buffer[..length]);
                    if running.peer == Peer::Expected && running.leg.peer_is_settled(now) {
                        running.connect(counters);
                    }
                    heard.map_or(Received::Done, Received::Heard)
                }
            },
            Port::Rtcp => {
                running.leg.receive_rtcp(now, from, &mut buffer[..length]);
                Received::Done
            }
        }
    }

    /// Ends media and closes the sockets. [`Line::deliver`] then brings the last events and the end itself.
    pub(crate) fn close(&mut self, now: Instant, buffer: &mut [u8], counters: &Counters) {
        let state = std::mem::replace(&mut self.state, State::Closed { leg: None, stats: None });
        self.state = match state {
            State::Bound(_) => State::Closed { leg: None, stats: Some(MediaStats::default()) },
            State::Running(mut running) => {
                let stats = running.leg.finish(now);
                running.send_rtcp(now, buffer, counters);
                counters.strangers.add(stats.packets_stranger);
                counters.invalid.add(stats.packets_invalid);
                counters.unauthentic.add(stats.packets_unauthentic);
                counters.replayed.add(stats.packets_replayed);
                State::Closed { leg: Some(running.leg), stats: Some(stats) }
            }
            closed @ State::Closed { .. } => closed,
        };
    }

    /// Closes a line whose handling panicked: its leg is not trusted any more, only counted.
    pub(crate) fn abandon(&mut self, stats: impl FnOnce(&Leg) -> MediaStats) {
        let stats = match &self.state {
            State::Running(running) => Some(stats(&running.leg)),
            State::Bound(_) => Some(MediaStats::default()),
            State::Closed { stats, .. } => *stats,
        };
        self.deferred = None;
        self.state = State::Closed { leg: None, stats };
    }

    /// Brings the events to the sink, in order, as long as it has room.
    pub(crate) fn deliver(&mut self, sink: &Sink) -> Delivery {
        while let Some(event) = self.deferred.take().or_else(|| self.next_event()) {
            if !sink(self.id, event) {
                self.deferred = Some(event);
                return Delivery::Deferred;
            }
        }
        match &self.state {
            State::Closed { .. } => Delivery::Over,
            State::Bound(_) | State::Running(_) => Delivery::Done,
        }
    }

    fn next_event(&mut self) -> Option<LegEvent> {
        match &mut self.state {
            State::Bound(_) => None,
            State::Running(running) => running.leg.poll_event().map(LegEvent::Media),
            State::Closed { leg, stats } => {
                let event = leg.as_mut().and_then(|leg| leg.poll_event()).map(LegEvent::Media);
                event.or_else(|| stats.take().map(LegEvent::Closed))
            }
        }
    }
}

impl<S: Socket> Running<S> {
    fn send_rtp(&self, packet: &[u8], counters: &Counters) {
        let sent = match (self.peer, self.leg.rtp_remote()) {
            (Peer::Connected, _) => retry_refused(|| self.sockets.rtp.send(packet), counters),
            (Peer::Expected, Some(to)) => retry_refused(|| self.sockets.rtp.send_to(packet, to), counters),
            (Peer::Expected, None) => return,
        };
        match sent {
            Ok(()) => {
                counters.rtp_packets_sent.add(1);
                counters.rtp_octets_sent.add(packet.len() as u64);
            }
            Err(error) => count_lost(&error, counters),
        }
    }

    /// Sends what is neither RTP nor RTCP over the RTP socket.
    fn send_apart(&self, datagram: &[u8], to: SocketAddr, sent: &Counter, counters: &Counters) {
        match retry_refused(|| self.sockets.rtp.send_to(datagram, to), counters) {
            Ok(()) => sent.add(1),
            Err(error) => count_lost(&error, counters),
        }
    }

    fn send_rtcp(&mut self, now: Instant, buffer: &mut [u8], counters: &Counters) {
        let Some(length) = self.leg.poll_rtcp(now, buffer) else { return };
        let Some(to) = self.leg.rtcp_remote() else { return };
        let packet = &buffer[..length];
        let socket = if self.rtcp_mux { &self.sockets.rtp } else { &self.sockets.rtcp };
        match retry_refused(|| socket.send_to(packet, to), counters) {
            Ok(()) => counters.rtcp_packets_sent.add(1),
            Err(error) => count_lost(&error, counters),
        }
    }

    fn connect(&mut self, counters: &Counters) {
        let connected = self.leg.rtp_remote().map(|remote: SocketAddr| self.sockets.rtp.connect(remote));
        if let Some(Ok(())) = connected {
            self.peer = Peer::Connected;
        } else {
            counters.socket_errors.add(1);
        }
    }

    fn disconnect(&mut self, counters: &Counters) {
        note(self.sockets.rtp.disconnect(), counters);
        self.peer = Peer::Expected;
    }
}

/// "Connection refused" tells of an earlier packet and takes the place of sending this one, so this one is
/// sent again.
fn retry_refused(send: impl Fn() -> io::Result<()>, counters: &Counters) -> io::Result<()> {
    match send() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            counters.send_refused.add(1);
            send()
        }
        result => result,
    }
}

fn count_lost(error: &io::Error, counters: &Counters) {
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN) => &counters.send_would_block,
        Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NETDOWN) => &counters.send_unreachable,
        Some(Errno::NOBUFS | Errno::NOMEM) => &counters.send_no_buffer,
        Some(_) | None => &counters.send_other,
    }
    .add(1);
}

/// Counts what is not worth more than a count.
pub(crate) fn note(result: io::Result<()>, counters: &Counters) {
    if result.is_err() {
        counters.socket_errors.add(1);
    }
}
