//! What arrives for a leg.

use std::net::SocketAddr;
use std::time::Instant;

use super::session::{Shield, shield};
use super::{Leg, Stage};
use crate::bridge::Heard;
use crate::dtmf::Method;
use crate::ice;
use crate::rtp::{self, Packet};
use crate::sdp::Encoding;
use crate::srtp::Refused;

impl Leg {
    /// What a datagram from the RTP socket is. Without ICE there is only media.
    pub fn kind(&self, datagram: &[u8]) -> ice::Kind {
        if self.ice.is_some() { ice::Kind::of(datagram) } else { ice::Kind::Media }
    }

    /// Takes a datagram that may be a check of ICE, the first `len` octets of `buffer` (at least [`Leg::MAX_PACKET`] long).
    /// If it is the peer's, the answer to be sent to `from` is written in its place; its length.
    pub fn answer_check(
        &mut self,
        now: Instant,
        from: SocketAddr,
        buffer: &mut [u8],
        len: usize,
    ) -> Option<usize> {
        let (Stage::Live(session), Some(agent)) = (&mut self.stage, &mut self.ice) else { return None };
        let answer = agent.answer(now, from, buffer, len);
        match answer {
            Some(_) => session.silence.broken(now),
            None => self.packets_stranger += 1,
        }
        answer
    }

    /// Whether a datagram of a handshake from `from` is the peer's, as far as ICE tells.
    pub fn admits_handshake(&mut self, now: Instant, from: SocketAddr) -> bool {
        let admits = self.ice.as_ref().is_some_and(|agent| agent.admits(now, from));
        if !admits {
            self.packets_stranger += 1;
        }
        admits
    }

    /// Takes a datagram from the RTP socket: RTP, or RTCP if multiplexed. SRTP is decrypted in place. Returns what there is in
    /// it for a bridge.
    pub fn receive_rtp(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) -> Option<Heard> {
        let Stage::Live(session) = &mut self.stage else { return None };
        let is_rtcp = rtp::is_rtcp(datagram);
        // The header is in the clear in SRTP, too.
        let header = || Packet::parse(datagram).filter(|_| !is_rtcp).map(|packet| packet.header);
        let admitted = match &self.ice {
            Some(agent) => agent.admits(now, from),
            None => session.rtp.admits(now, from, header),
        };
        if !admitted {
            self.packets_stranger += 1;
            return None;
        }
        let datagram = match shield(session.is_secure(), &mut self.srtp) {
            Shield::Awaited => {
                self.packets_unauthentic += 1;
                return None;
            }
            Shield::Srtp(srtp) => {
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
            Shield::None => datagram,
        };
        if is_rtcp {
            let clock = session.clock();
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
        let payload = session.payload(packet.header.pt);
        let clock = match payload {
            Some(Encoding::Audio(codec)) => Some(codec.clock_rate()),
            // All packets of an event carry the time of its start, a description of noise comes when its sender likes, and the
            // clock of what was not agreed on is not known.
            Some(Encoding::TelephoneEvent { .. } | Encoding::ComfortNoise) | None => None,
        };
        // What the peer should not send has its place in the numbering all the same.
        self.reception.receive(now, &packet.header, clock);
        if payload.is_some() {
            session.silence.broken(now);
            if self.ice.is_none() {
                session.rtp.latch(now, from);
            }
        }
        match (payload, &mut self.ear) {
            (Some(Encoding::Audio(codec)), Some(ear)) => {
                ear.push_in(codec, now, &packet.header, packet.payload);
            }
            (Some(Encoding::ComfortNoise), Some(ear)) => ear.push_noise(now, &packet.header, packet.payload),
            (Some(Encoding::TelephoneEvent { .. }) | None, Some(ear)) => ear.pass_over(now, &packet.header),
            (_, None) => {}
        }
        match payload {
            Some(Encoding::TelephoneEvent { clock }) => {
                for key in self.keys.receive(now, &packet, clock).into_iter().flatten() {
                    self.runner.key(now, key, Method::Events, &mut self.events);
                }
            }
            Some(Encoding::Audio(_) | Encoding::ComfortNoise) => {}
            None => self.packets_unknown += 1,
        }
        // Whom we have put on hold nobody is to hear, whatever he sends.
        let payload = payload.filter(|_| session.agreed.direction.receives());
        Some(Heard::new(payload, &packet, at))
    }

    /// Takes a datagram from the RTCP socket. SRTCP is decrypted in place.
    pub fn receive_rtcp(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        let Stage::Live(session) = &mut self.stage else { return };
        let (clock, is_secure) = (session.clock(), session.is_secure());
        let Some(peer) = &mut session.rtcp else {
            self.packets_stranger += 1;
            return;
        };
        if !peer.admits(now, from, || None) {
            self.packets_stranger += 1;
            return;
        }
        let datagram = match shield(is_secure, &mut self.srtp) {
            Shield::None => datagram,
            Shield::Awaited => return self.refuse(Refused::Unauthentic),
            Shield::Srtp(srtp) => match srtp.unprotector.unprotect_rtcp(datagram) {
                Ok(len) => &datagram[..len],
                Err(refused) => return self.refuse(refused),
            },
        };
        if self.reports.receive(now, &self.config, clock, datagram, &mut self.reception) {
            peer.latch(now, from);
            session.silence.broken(now);
        } else {
            self.packets_invalid += 1;
        }
    }

    /// Counts what SRTP does not let through.
    fn refuse(&mut self, refused: Refused) {
        match refused {
            Refused::Malformed => self.packets_invalid += 1,
            Refused::Unauthentic => self.packets_unauthentic += 1,
            Refused::Replayed => self.packets_replayed += 1,
        }
    }
}
