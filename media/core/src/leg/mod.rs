//! One leg: everything between a call's program and its packets.

mod listening;
mod mouth;
mod receiving;
mod reporting;
mod sender;
mod session;

use std::net::SocketAddr;
use std::time::Instant;

use self::sender::{Sender, Voice};
use self::session::Session;
use crate::bridge::Feed;
use crate::dtmf::{DialEnd, Dialler, Method};
use crate::ear::{Ear, EarStats};
use crate::events::Events;
use crate::ice;
use crate::peer::Peer;
use crate::reception::Reception;
use crate::reports::Reports;
use crate::rtcp::Schedule;
use crate::runner::Runner;
use crate::sdp::{Keying, Negotiated};
use crate::silence::Silence;
use crate::srtp::{self, Srtp};
use crate::taps::Taps;
use crate::telephone_event::Receiver;
use crate::{CollectEnd, Digit, LegConfig, MediaEvent, MediaStats, PlayEnd, Program};

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
    ears_before: Option<EarStats>,
    taps: Taps,
    events: Events,
    /// While the call is or has been SRTP: what has been heard under a key counts if the key comes back.
    srtp: Option<Box<Srtp>>,
    /// What finds the peer, where it is a browser.
    ice: Option<Box<ice::Agent>>,
    octets_received: u64,
    packets_invalid: u64,
    packets_unknown: u64,
    packets_stranger: u64,
    packets_unauthentic: u64,
    packets_replayed: u64,
}

#[derive(Debug)]
enum Stage {
    /// No offer and answer yet.
    Idle,
    Live(Box<Session>),
    /// Finished with the BYE still to be sent.
    Leaving(Box<Session>),
    Finished,
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
            sender: Sender::new(config.first_seq, config.first_timestamp),
            reception: Reception::default(),
            reports: Reports::default(),
            ear: None,
            listens: false,
            ears_before: None,
            taps: Taps::default(),
            events: Events::default(),
            srtp: None,
            ice: None,
            octets_received: 0,
            packets_invalid: 0,
            packets_unknown: 0,
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
            ear.expect(negotiated.other_codecs());
        }
        match &negotiated.srtp {
            None => {}
            Some(Keying::Sdes(keys)) => self.rekey(keys),
            Some(Keying::Dtls(webrtc)) => {
                let before = self.session().and_then(|session| session.agreed.webrtc());
                if before.is_none_or(|before| !webrtc.keeps_association(before)) {
                    self.srtp = None;
                }
                match &mut self.ice {
                    Some(agent) => agent.goes_on(&webrtc.ice),
                    none => *none = Some(Box::new(ice::Agent::new(webrtc.ice.clone()))),
                }
            }
        }
        self.taps.retune(negotiated);
        if negotiated.telephone_event.is_some() {
            self.ignore_tones(now);
        }
        let separate = negotiated.rtcp.filter(|_| !negotiated.rtcp_mux);
        self.stage = Stage::Live(Box::new(Session {
            rtp: Peer::signal(rtp, negotiated.remote),
            rtcp: separate.map(|addr| Peer::signal(rtcp, addr)),
            agreed: negotiated.clone(),
            schedule,
            silence,
        }));
    }

    /// The handshake with the peer is over: these are the keys. What plays begins now.
    pub fn secure(&mut self, keys: &srtp::Keys) {
        let awaits = self.session().is_some_and(|session| session.agreed.webrtc().is_some());
        if awaits {
            self.rekey(keys);
        }
    }

    fn rekey(&mut self, keys: &srtp::Keys) {
        match &mut self.srtp {
            Some(srtp) => srtp.rekey(keys),
            none => *none = Some(Box::new(Srtp::new(keys))),
        }
    }

    /// Whether the keys that the peer's packets need are still awaited.
    pub fn awaits_keys(&self) -> bool {
        self.srtp.is_none() && self.session().is_some_and(Session::is_secure)
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

    /// From now on the leg sends what `feed` says, whenever no prompt plays. With `pulled`, a bridge pulls what the ear hears
    /// ([`Leg::hear`]); otherwise [`Leg::tick`] does.
    pub fn feed(&mut self, now: Instant, feed: Feed, pulled: bool) {
        if feed != self.feed
            && let Some(session) = self.session()
        {
            // Nobody else's numbers count any more, not even if he comes back before we have said anything.
            let clock = session.clock();
            self.sender.speaks(now, clock, Voice::Own);
            // What was pressed for those in a bridge, or before it, answers no question that comes after.
            self.runner.forget_typed();
        }
        (self.feed, self.pulled) = (feed, pulled);
    }

    /// The peer says by SIP INFO that it has pressed a key. It counts like any other, unless it has been heard already.
    pub fn press(&mut self, now: Instant, digit: Digit, duration_ms: u16) {
        self.runner.pressed(now, digit, duration_ms, Method::Info, &mut self.events);
    }

    /// What has been pressed and was not collected answers no question that comes after.
    pub fn forget_keys(&mut self) {
        self.runner.forget_typed();
    }

    /// The next event, in order, until `None`.
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop()
    }

    /// Whether the peer is heard at its signalled address, so that none of its packets comes from another port: a socket may
    /// be connected to it. Before it has been heard, and once it has been silent for a while, one may come from any port.
    ///
    /// Never of one that ICE has found, which may check from anywhere.
    pub fn peer_is_settled(&self, now: Instant) -> bool {
        self.ice.is_none() && self.session().is_some_and(|session| session.rtp.is_settled(now))
    }

    /// Where RTP goes: the signalled address, and once the peer has been heard, where it sends from. Where ICE finds the peer,
    /// the address that it has chosen, if it has.
    pub fn rtp_remote(&self) -> Option<SocketAddr> {
        let session = self.session()?;
        match &self.ice {
            Some(agent) => agent.remote(),
            None => Some(session.rtp.addr()),
        }
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

    fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Live(session) | Stage::Leaving(session) => Some(session),
            Stage::Idle | Stage::Finished => None,
        }
    }
}
