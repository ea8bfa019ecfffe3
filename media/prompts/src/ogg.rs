//! The pages of an Ogg file (RFC 3533): whether they are all there.

use crate::Error;

/// Header up to and with the number of segments (RFC 3533 section 6).
const HEADER: usize = 27;
/// `header_type_flag`: first page of a stream, last page of a stream.
const FIRST: u8 = 0x02;
const LAST: u8 = 0x04;

/// What stands at the start of the first packet.
pub(crate) fn first_packet(bytes: &[u8]) -> Option<&[u8]> {
    let segments = usize::from(*bytes.get(HEADER - 1)?);
    bytes.get(HEADER + segments..)
}

/// Refuses a file that breaks off, and one of several streams: a prompt is one.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Error> {
    let damaged = |reason| Error::Damaged { container: "Ogg", reason };
    let (mut at, mut streams, mut ended) = (0, 0, false);
    while at < bytes.len() {
        let Some(page) = bytes.get(at..).filter(|rest| rest.starts_with(b"OggS")) else {
            return if ended {
                // Some programs append tags of other formats.
                Ok(())
            } else {
                Err(damaged("a page does not follow the one before it"))
            };
        };
        let cut = damaged("it breaks off within a page (upload the whole file)");
        let (Some(flags), Some(segments)) = (page.get(5), page.get(HEADER - 1)) else { return Err(cut) };
        let table = page.get(HEADER..HEADER + usize::from(*segments)).ok_or(cut.clone())?;
        let payload: usize = table.iter().map(|lacing| usize::from(*lacing)).sum();
        let length = HEADER + table.len() + payload;
        if page.len() < length {
            return Err(cut);
        }
        streams += u32::from(flags & FIRST != 0);
        if streams > 1 {
            return Err(damaged("it holds several streams (export a single audio stream)"));
        }
        ended |= flags & LAST != 0;
        at += length;
    }
    if ended { Ok(()) } else { Err(damaged("its last page is missing (upload the whole file)")) }
}
