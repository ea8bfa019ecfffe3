//! RTP packets (RFC 3550, 5.1), read and written in place.

use crate::{MediaTime, SeqNo, Ssrc};

/// Octets of a header without CSRCs and extension, which is what we write.
pub const HEADER_LEN: usize = 12;

const VERSION: u8 = 2;

/// The header members that vary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Marker bit: first packet of a talkspurt (RFC 3551, 4.1), first packet of an event (RFC 4733, 2.2.2).
    pub marker: bool,
    /// Payload type, 7 bits.
    pub pt: u8,
    /// Sequence number.
    pub seq: SeqNo,
    /// Timestamp.
    pub timestamp: MediaTime,
    /// Synchronisation source.
    pub ssrc: Ssrc,
}

impl Header {
    /// The octets of this header, without CSRCs, extension or padding.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = VERSION << 6;
        bytes[1] = u8::from(self.marker) << 7 | self.pt & 0x7F;
        bytes[2..4].copy_from_slice(&self.seq.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
        bytes
    }
}

/// A received packet, borrowed from its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header,
    /// The payload, without CSRCs, extension and padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet in `datagram`, or `None` if it is not RTP (the validity checks of RFC 3550, A.1).
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (packet, _) = Self::parse_at(datagram)?;
        Some(packet)
    }

    /// The same, and where in `datagram` the payload begins: at [`HEADER_LEN`] or later.
    pub(crate) fn parse_at(datagram: &'a [u8]) -> Option<(Self, usize)> {
        let (fixed, rest) = datagram.split_first_chunk::<HEADER_LEN>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *fixed;
        if first >> 6 != VERSION {
            return None;
        }
        let header = Header {
            marker: second & 0x80 != 0,
            pt: second & 0x7F,
            seq: SeqNo(u16::from_be_bytes([s0, s1])),
            timestamp: MediaTime(u32::from_be_bytes([t0, t1, t2, t3])),
            ssrc: Ssrc(u32::from_be_bytes([i0, i1, i2, i3])),
        };
        let mut payload = rest.get(usize::from(first & 0x0F) * 4..)?;
        if first & 0x10 != 0 {
            let ([_, _, l0, l1], rest) = payload.split_first_chunk::<4>()?;
            payload = rest.get(usize::from(u16::from_be_bytes([*l0, *l1])) * 4..)?;
        }
        let at = datagram.len() - payload.len();
        if first & 0x20 != 0 {
            // 5.1: "The last octet of the padding contains a count of how many padding octets should be ignored,
            // including itself."
            let padding = usize::from(*payload.last()?);
            let end = payload.len().checked_sub(padding).filter(|_| padding != 0)?;
            payload = &payload[..end];
        }
        Some((Self { header, payload }, at))
    }
}

/// Length of the header with CSRCs and extension, sequence number and SSRC: what SRTP goes by, before it is known who sent
/// the packet. `None` if it is not RTP.
pub(crate) fn outline(packet: &[u8]) -> Option<(usize, u16, u32)> {
    let (fixed, rest) = packet.split_first_chunk::<HEADER_LEN>()?;
    let [first, _, s0, s1, _, _, _, _, i0, i1, i2, i3] = *fixed;
    if first >> 6 != VERSION {
        return None;
    }
    let mut header_len = usize::from(first & 0x0F) * 4;
    if first & 0x10 != 0 {
        let [_, _, l0, l1] = rest.get(header_len..)?.first_chunk::<4>()?;
        header_len += 4 + usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
    }
    rest.get(header_len..)?;
    Some((HEADER_LEN + header_len, u16::from_be_bytes([s0, s1]), u32::from_be_bytes([i0, i1, i2, i3])))
}

/// Whether a datagram on a shared port is RTCP (RFC 5761, 4: payload types 64 to 95 are kept free of RTP, so the second
/// octet tells).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if first >> 6 == VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: Header = Header {
        marker: true,
        pt: 101,
        seq: SeqNo(0x1234),
        timestamp: MediaTime(0x5678_9ABC),
        ssrc: Ssrc(7),
    };

    fn datagram(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = HEADER.to_bytes().to_vec();
        bytes[0] = first;
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn header_is_these_octets() {
        assert_eq!(HEADER.to_bytes(), [0x80, 0xE5, 0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0, 0, 0, 7]);
    }

    #[test]
    fn csrcs_extension_and_padding_are_cut_off() {
        let payload = |first, rest: &[u8]| Packet::parse(&datagram(first, rest)).map(|p| p.payload.to_vec());
        assert_eq!(payload(0x80, b"abc"), Some(b"abc".to_vec()));
        assert_eq!(payload(0x80, b""), Some(vec![]));
        assert_eq!(payload(0x82, b"11112222abc"), Some(b"abc".to_vec()));
        assert_eq!(payload(0x90, &[0xBE, 0xDE, 0, 1, 9, 9, 9, 9, b'a']), Some(b"a".to_vec()));
        assert_eq!(payload(0xA0, &[b'a', 0, 0, 3]), Some(b"a".to_vec()));
        assert_eq!(payload(0xB1, &[9, 9, 9, 9, 0, 0, 0, 0, b'a', 1]), Some(b"a".to_vec()));
        assert_eq!(payload(0xA0, &[0, 0, 3]), Some(vec![]), "padding and nothing else");
    }

    #[test]
    fn what_is_not_rtp_is_refused() {
        assert_eq!(Packet::parse(&HEADER.to_bytes()[..11]), None, "short");
        assert_eq!(Packet::parse(&datagram(0x40, b"abc")), None, "version 1");
        assert_eq!(Packet::parse(&datagram(0x82, b"1111222")), None, "CSRC cut off");
        assert_eq!(Packet::parse(&datagram(0x90, &[0, 0, 0])), None, "extension header cut off");
        assert_eq!(Packet::parse(&datagram(0x90, &[0, 0, 0, 1, 0])), None, "extension cut off");
        assert_eq!(Packet::parse(&datagram(0xA0, &[0, 0])), None, "padding of zero octets");
        assert_eq!(Packet::parse(&datagram(0xA0, &[3, 3])), None, "more padding than payload");
        assert_eq!(Packet::parse(&datagram(0xA0, &[])), None, "no room for the padding count");
    }

    #[test]
    fn rtcp_is_told_from_rtp() {
        assert!(is_rtcp(&[0x80, 200, 0, 6]) && is_rtcp(&[0x81, 201, 0, 7]));
        assert!(!is_rtcp(&HEADER.to_bytes()) && !is_rtcp(&[0x80]) && !is_rtcp(&[0x40, 200]));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload.len() + HEADER_LEN <= bytes.len());
            }
        }

        #[test]
        fn what_is_written_is_read(marker: bool, pt in 0u8..128, seq: u16, time: u32, ssrc: u32,
            payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let header =
                Header { marker, pt, seq: SeqNo(seq), timestamp: MediaTime(time), ssrc: Ssrc(ssrc) };
            let bytes = [&header.to_bytes()[..], &payload].concat();
            prop_assert_eq!(Packet::parse(&bytes), Some(Packet { header, payload: &payload }));
        }
    }
}
