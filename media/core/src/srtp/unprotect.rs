//! What we receive.

use std::fmt;

use super::cipher::{self, Cipher};
use super::window::{Verdict, Window};
use super::{MasterKey, Suite};
use crate::rtp;

/// Sources whose indices are remembered. Under one key a peer has one, and another after it was moved within a B2BUA;
/// what a source sent that was the ninth last could be replayed.
const SOURCES: usize = 8;

/// Why a packet is to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too short, or no RTP.
    Malformed,
    /// Not from whoever has the key, or altered on the way.
    Unauthentic,
    /// Received before, or too old to know.
    Replayed,
}

/// Verifies and decrypts what comes under one master key.
pub struct Unprotector {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

impl Unprotector {
    /// A receiver that has heard nothing: every source begins at rollover counter zero.
    pub fn new(key: &MasterKey) -> Self {
        let suite = key.suite();
        Self {
            suite,
            rtp: Cipher::new(key, cipher::RTP, suite.rtp_tag_len()),
            rtcp: Cipher::new(key, cipher::RTCP, suite.rtcp_tag_len()),
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
        }
    }

    /// Makes an RTP packet of an SRTP packet, in place, and returns its length.
    ///
    /// # Errors
    /// What fails leaves no trace but in `packet`, which is of no use then.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Refused> {
        let (header_len, seq, ssrc) = rtp::outline(packet).ok_or(Refused::Malformed)?;
        if packet.len() < header_len + self.rtp.tag_len() {
            return Err(Refused::Malformed);
        }
        // RFC 3711, 3.3: the index, then the replay list, then the tag, and only then is anything believed.
        let index = match self.rtp_sources.window(ssrc) {
            None => u64::from(seq),
            Some(window) => window
                .index(seq)
                .filter(|index| window.judge(*index) == Verdict::Fresh)
                .ok_or(Refused::Replayed)?,
        };
        let len = self.rtp.open_rtp(packet, header_len, ssrc, index).ok_or(Refused::Unauthentic)?;
        self.rtp_sources.take(ssrc, index);
        Ok(len)
    }

    /// Makes an RTCP compound packet of an SRTCP packet, in place, and returns its length.
    ///
    /// # Errors
    /// As [`Unprotector::unprotect_rtp`].
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Refused> {
        let ssrc = packet.get(4..8).and_then(<[u8]>::first_chunk).ok_or(Refused::Malformed)?;
        let ssrc = u32::from_be_bytes(*ssrc);
        let index = self.rtcp.rtcp_index(packet).ok_or(Refused::Unauthentic)?;
        if let Some(window) = self.rtcp_sources.window(ssrc)
            && window.judge(u64::from(index)) == Verdict::Stale
        {
            return Err(Refused::Replayed);
        }
        let len = self.rtcp.open_rtcp(packet, ssrc, index).ok_or(Refused::Unauthentic)?;
        self.rtcp_sources.take(ssrc, u64::from(index));
        Ok(len)
    }
}

impl fmt::Debug for Unprotector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unprotector({})", self.suite.name())
    }
}

/// The indices of those who send to us, the latest first.
#[derive(Default)]
struct Sources([Option<(u32, Window)>; SOURCES]);

impl Sources {
    fn window(&self, ssrc: u32) -> Option<&Window> {
        self.0.iter().flatten().find(|(source, _)| *source == ssrc).map(|(_, window)| window)
    }

    /// Notes an authentic packet. A new source takes the place of the one that has been silent for longest.
    fn take(&mut self, ssrc: u32, index: u64) {
        let known = self.0.iter().position(|slot| slot.is_some_and(|(source, _)| source == ssrc));
        self.0[..=known.unwrap_or(SOURCES - 1)].rotate_right(1);
        match (&mut self.0[0], known) {
            (Some((_, window)), Some(_)) => window.take(index),
            (slot, _) => *slot = Some((ssrc, Window::starting_at(index))),
        }
    }
}

#[cfg(test)]
impl Unprotector {
    pub(super) fn with(suite: Suite, rtp: Cipher, rtcp: Cipher) -> Self {
        Self { suite, rtp, rtcp, rtp_sources: Sources::default(), rtcp_sources: Sources::default() }
    }
}
