//! What arrives for a leg.

use std::net::SocketAddr;
use std::time::Instant;

use super::session::{Payload, protection};
use super::{Leg, Stage};
use crate::bridge::{Heard, HeardKind};
use crate::dtmf::Method;
use crate::rtp::{self, Packet};
use crate::srtp::Refused;

impl Leg {
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

    /// Counts what SRTP does not let through.
    fn refuse(&mut self, refused: Refused) {
        match refused {
            Refused::Malformed => self.packets_invalid += 1,
            Refused::Unauthentic => self.packets_unauthentic += 1,
            Refused::Replayed => self.packets_replayed += 1,
        }
    }
}
