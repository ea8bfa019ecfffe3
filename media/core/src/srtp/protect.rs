//! What we send.

use std::fmt;

use super::cipher::{self, Cipher};
use super::window::{Verdict, Window};
use super::{MasterKey, Suite};
use crate::rtp;

/// Protects what one source sends under one master key.
pub struct Protector {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    /// The source, and the indices it has used.
    source: Option<(u32, Window)>,
    /// Of the next SRTCP packet.
    next_rtcp: u32,
}

impl Protector {
    /// The index of SRTCP has 31 bits, and RFC 3711, 9.2 forbids its reuse under one key.
    const RTCP_INDICES: u32 = 1 << 31;

    /// A sender that begins: rollover counter zero.
    pub fn new(key: &MasterKey) -> Self {
        let suite = key.suite();
        Self {
            suite,
            rtp: Cipher::new(key, cipher::RTP, suite.rtp_tag_len()),
            rtcp: Cipher::new(key, cipher::RTCP, suite.rtcp_tag_len()),
            source: None,
            next_rtcp: 0,
        }
    }

    /// Protects the RTP packet in the first `len` octets of `buffer`, and returns its new length.
    ///
    /// `None` if there is no room for the tag, and for what must not be sent: something that is not RTP, a packet of another
    /// source, one whose number has been used (two packets under one index would give both away: RFC 3711, 9.1), or one too
    /// old to know.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let (header_len, seq, ssrc) = rtp::outline(buffer.get(..len)?)?;
        let index = match &self.source {
            None => u64::from(seq),
            Some((source, window)) if *source == ssrc => {
                window.index(seq).filter(|index| window.judge(*index) == Verdict::Fresh)?
            }
            Some(_) => return None,
        };
        let total = self.rtp.seal_rtp(buffer, header_len, len, ssrc, index)?;
        match &mut self.source {
            Some((_, window)) => window.take(index),
            first @ None => *first = Some((ssrc, Window::starting_at(index))),
        }
        Some(total)
    }

    /// Protects the RTCP compound packet in the first `len` octets of `buffer`, and returns its new length; `None` if there
    /// is no room for index and tag, or after 2^31 packets.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let (_, ssrc) = buffer.get(..len)?.split_first_chunk::<4>()?;
        let ssrc = u32::from_be_bytes(*ssrc.first_chunk()?);
        let index = Some(self.next_rtcp).filter(|index| *index < Self::RTCP_INDICES)?;
        let total = self.rtcp.seal_rtcp(buffer, len, ssrc, index)?;
        self.next_rtcp += 1;
        Some(total)
    }
}

impl fmt::Debug for Protector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protector({})", self.suite.name())
    }
}

#[cfg(test)]
impl Protector {
    pub(super) fn with(suite: Suite, rtp: Cipher, rtcp: Cipher, next_rtcp: u32) -> Self {
        Self { suite, rtp, rtcp, source: None, next_rtcp }
    }
}
