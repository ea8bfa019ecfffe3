//! Pages of one Ogg stream (RFC 3533), and what Opus puts into them (RFC 7845).

/// Octets of a page header before its table of segments (RFC 3533, 6).
const HEADER_LEN: usize = 27;
/// Most segments of a page, each of at most 255 octets.
const MAX_SEGMENTS: usize = 255;
/// No page is longer (RFC 3533, 6: "maximum 65307 bytes").
pub const MAX_PAGE: usize = HEADER_LEN + MAX_SEGMENTS + MAX_SEGMENTS * 255;

/// Flags of a page.
const CONTINUED: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// Where the flags and the checksum stand in a page.
const FLAGS_AT: usize = 5;
const CRC_AT: usize = 22;

/// Samples a second of the granule position of Opus, whatever the rate of the encoder (RFC 7845, 4).
pub const OPUS_RATE: u32 = 48_000;

/// One stream on its way into pages.
#[derive(Debug)]
pub struct Pages {
    serial: u32,
    sequence: u32,
    /// Packets that wait for their page, and how they are cut into segments.
    body: Vec<u8>,
    segments: Vec<u8>,
    /// At the end of the last packet that waits.
    granule: u64,
}

impl Pages {
    /// A stream that has written nothing yet.
    pub fn new(serial: u32) -> Self {
        Self { serial, sequence: 0, body: Vec::new(), segments: Vec::new(), granule: 0 }
    }

    /// Takes the next packet, which ends at `granule`. If the page has no room for it, the page goes to `out` first.
    /// A packet of more than 65,024 octets fits no page and is left out; Opus has none (RFC 6716, 3.2.1).
    pub fn push(&mut self, packet: &[u8], granule: u64, out: &mut Vec<u8>) {
        // RFC 3533, 6, on the lacing values: a packet ends with one below 255, be it 0.
        let whole = packet.len() / 255;
        if whole >= MAX_SEGMENTS {
            return;
        }
        if self.segments.len() + whole + 1 > MAX_SEGMENTS {
            self.flush(out);
        }
        self.segments.extend(std::iter::repeat_n(255, whole));
        self.segments.push((packet.len() % 255) as u8);
        self.body.extend_from_slice(packet);
        self.granule = granule;
    }

    /// Writes the packets that wait as a page to `out`; nothing when none do.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if !self.segments.is_empty() {
            self.page(0, out);
        }
    }

    /// Writes the last page, which may be empty.
    pub fn finish(&mut self, granule: u64, out: &mut Vec<u8>) {
        self.granule = granule;
        self.page(LAST, out);
    }

    fn page(&mut self, flags: u8, out: &mut Vec<u8>) {
        let first = if self.sequence == 0 { FIRST } else { 0 };
        let start = out.len();
        out.extend_from_slice(b"OggS");
        out.extend_from_slice(&[0, flags | first]);
        out.extend_from_slice(&self.granule.to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.push(self.segments.len() as u8);
        out.extend_from_slice(&self.segments);
        out.extend_from_slice(&self.body);
        seal(&mut out[start..]);
        self.sequence += 1;
        self.segments.clear();
        self.body.clear();
    }
}

/// The identification header of an Opus stream (RFC 7845, 5.1): one channel, or two that have a stream each.
pub fn opus_head(channels: u8, pre_skip: u16, input_rate: u32) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels);
    head.extend_from_slice(&pre_skip.to_le_bytes());
    head.extend_from_slice(&input_rate.to_le_bytes());
    head.extend_from_slice(&0u16.to_le_bytes());
    if channels == 1 {
        head.push(0);
    } else {
        // 5.1.1: the mapping family, the streams, none of which is a coupled pair, and the one of each channel.
        head.extend_from_slice(&[1, channels, 0]);
        head.extend(0..channels);
    }
    head
}

/// The comment header of an Opus stream (RFC 7845, 5.2), without comments.
pub fn opus_tags(vendor: &str) -> Vec<u8> {
    let mut tags = b"OpusTags".to_vec();
    tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
    tags.extend_from_slice(vendor.as_bytes());
    tags.extend_from_slice(&0u32.to_le_bytes());
    tags
}

/// A page as it lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<'a> {
    octets: &'a [u8],
}

impl<'a> Page<'a> {
    /// The page at the beginning of `octets`; `None` if there is no whole one with the right checksum.
    pub fn read(octets: &'a [u8]) -> Option<Self> {
        let header = octets.get(..HEADER_LEN)?;
        if !header.starts_with(b"OggS\0") {
            return None;
        }
        let segments = usize::from(header[HEADER_LEN - 1]);
        let table = octets.get(HEADER_LEN..HEADER_LEN + segments)?;
        let body: usize = table.iter().map(|length| usize::from(*length)).sum();
        let octets = octets.get(..HEADER_LEN + segments + body)?;
        (crc_without_itself(octets) == u32::from_le_bytes(*octets[CRC_AT..].first_chunk()?))
            .then_some(Self { octets })
    }

    /// Its length in octets.
    pub fn size(self) -> usize {
        self.octets.len()
    }

    /// Where the stream stands at its end.
    pub fn granule(self) -> u64 {
        self.octets[6..].first_chunk().map_or(0, |octets| u64::from_le_bytes(*octets))
    }

    /// Whether it begins with the rest of a packet.
    pub fn is_continued(self) -> bool {
        self.octets[FLAGS_AT] & CONTINUED != 0
    }

    /// The lengths of its segments; one below 255 ends a packet (RFC 3533, 6).
    pub fn segments(self) -> &'a [u8] {
        self.octets.get(HEADER_LEN..self.body_at()).unwrap_or_default()
    }

    /// What the segments hold, one after the other.
    pub fn body(self) -> &'a [u8] {
        self.octets.get(self.body_at()..).unwrap_or_default()
    }

    fn body_at(self) -> usize {
        HEADER_LEN + usize::from(self.octets[HEADER_LEN - 1])
    }

    /// Whether the stream says that it ends here.
    pub fn is_last(self) -> bool {
        self.octets[FLAGS_AT] & LAST != 0
    }

    /// The same page as the last one of its stream.
    pub fn as_last(self) -> Vec<u8> {
        let mut octets = self.octets.to_vec();
        octets[FLAGS_AT] |= LAST;
        seal(&mut octets);
        octets
    }

    /// What the identification header in it says: channels, samples to skip and the rate of what was encoded.
    pub fn opus_head(self) -> Option<(u8, u16, u32)> {
        let head: &[u8; 19] = self.body().first_chunk()?;
        let rate = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
        head.starts_with(b"OpusHead").then_some((head[9], u16::from_le_bytes([head[10], head[11]]), rate))
    }
}

/// Puts the right checksum into a page.
fn seal(page: &mut [u8]) {
    let crc = crc_without_itself(page);
    page[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

/// The checksum of a page, taken with its own field as zero (RFC 3533, 6).
fn crc_without_itself(page: &[u8]) -> u32 {
    let crc = update(0, &page[..CRC_AT]);
    update(update(crc, &[0; 4]), &page[CRC_AT + 4..])
}

fn update(crc: u32, octets: &[u8]) -> u32 {
    octets.iter().fold(crc, |crc, octet| crc << 8 ^ CRC[usize::from((crc >> 24) as u8 ^ octet)])
}

/// CRC-32 with the polynomial 0x04C11DB7, from the highest bit on, starting at zero (RFC 3533, 6).
static CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04C1_1DB7 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(mut octets: &[u8]) -> Vec<Page<'_>> {
        let mut pages = Vec::new();
        while let Some(page) = Page::read(octets) {
            octets = &octets[page.size()..];
            pages.push(page);
        }
        assert_eq!(octets, []);
        pages
    }

    #[test]
    fn the_checksum_is_the_one_of_ogg() {
        // By the polynomial alone, a bit at a time.
        let slow = |octets: &[u8]| {
            octets.iter().fold(0u32, |crc, octet| {
                (0..8).fold(crc ^ u32::from(*octet) << 24, |crc, _| {
                    if crc >> 31 == 0 { crc << 1 } else { crc << 1 ^ 0x04C1_1DB7 }
                })
            })
        };
        let octets: Vec<u8> = (0..=255).collect();
        assert_eq!(update(0, &octets), slow(&octets));
        // The check value of this CRC (CRC-32/MPEG-2 without its initial value).
        assert_eq!(update(0, b"123456789"), 0x89A1_897F);
    }

    #[test]
    fn packets_fill_pages_and_the_last_one_says_so() {
        let (mut stream, mut out) = (Pages::new(7), Vec::new());
        stream.push(&opus_head(2, 312, 8_000), 0, &mut out);
        stream.flush(&mut out);
        // 255 and 510 octets end with a lacing value of zero; 254 more packets do not fit beside them.
        for (n, len) in [255, 510].into_iter().chain([10; 254]).enumerate() {
            stream.push(&vec![n as u8; len], 960 * (n as u64 + 1), &mut out);
        }
        stream.flush(&mut out);
        stream.flush(&mut out);
        stream.finish(500_000, &mut out);
        let pages = pages(&out);
        assert_eq!(pages.len(), 4);
        assert_eq!(pages[0].opus_head(), Some((2, 312, 8_000)));
        assert_eq!(pages.iter().map(|page| page.octets[FLAGS_AT]).collect::<Vec<_>>(), [FIRST, 0, 0, LAST]);
        assert_eq!(pages.iter().map(|page| page.granule()).collect::<Vec<_>>()[2..], [960 * 256, 500_000]);
        assert_eq!(pages[1].octets[HEADER_LEN..HEADER_LEN + 6], [255, 0, 255, 255, 0, 10]);
        assert!(pages[3].is_last() && pages[3].size() == HEADER_LEN);
        assert!(Page::read(&pages[2].as_last()).is_some_and(Page::is_last));
    }

    #[test]
    fn a_torn_or_damaged_page_is_none() {
        let (mut stream, mut out) = (Pages::new(7), Vec::new());
        stream.push(&[1, 2, 3], 960, &mut out);
        stream.flush(&mut out);
        for len in 0..out.len() {
            assert_eq!(Page::read(&out[..len]), None);
        }
        for at in 0..out.len() {
            let mut bad = out.clone();
            bad[at] ^= 1;
            assert_eq!(Page::read(&bad), None, "octet {at}");
        }
        stream.push(&vec![0; 255 * 255], 0, &mut out);
        assert!(stream.segments.is_empty(), "no page has room for this packet");
    }
}
