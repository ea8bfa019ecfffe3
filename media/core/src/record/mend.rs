//! Making a file whole whose writer has died or found the disk full.

use std::time::Duration;

use super::ogg::{MAX_PAGE, OPUS_RATE, Page};
use super::wav::{self, HEADER_LEN};
use super::{Format, length};

/// Reads through a file from its beginning, and finds how much of it is whole.
///
/// The shell asks [`Mender::wants`], brings what the file has there, and so on until there is an answer.
#[derive(Debug)]
pub struct Mender {
    format: Format,
    /// All before this is whole.
    at: u64,
    found: Found,
    last: Option<(u64, Vec<u8>)>,
    granule: u64,
}

/// What the file's beginning says.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    rate: u32,
    channels: u8,
    pre_skip: u64,
}

/// What makes a file whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The file ends here.
    pub len: u64,
    /// These octets belong here in place of those that lie there; none, when nothing has to change.
    pub patch: Option<(u64, Vec<u8>)>,
    /// How long it is then.
    pub duration: Duration,
    /// Samples a second.
    pub rate: u32,
    /// Its channels.
    pub channels: u8,
}

impl Mender {
    /// Of a file in this format.
    pub fn new(format: Format) -> Self {
        Self { format, at: 0, found: Found::default(), last: None, granule: 0 }
    }

    /// Which octets it wants to see: where they begin and how many, fewer only at the end of the file.
    pub fn wants(&self) -> (u64, usize) {
        match self.format {
            Format::Wav => (0, HEADER_LEN),
            Format::Opus => (self.at, MAX_PAGE),
        }
    }

    /// Takes the octets that it wants, of a file that is `file_len` long. `Some` is the end: what makes the file whole, or
    /// `None` for one that is not even a beginning of a recording.
    pub fn read(&mut self, octets: &[u8], file_len: u64) -> Option<Option<Mended>> {
        match self.format {
            Format::Wav => Some(wav::Format::read(octets).map(|format| whole_wav(format, file_len))),
            Format::Opus => {
                let begin = self.at;
                let mut rest = octets;
                while let Some(page) = Page::read(rest) {
                    rest = &rest[page.size()..];
                    if let Some((channels, pre_skip, rate)) = page.opus_head().filter(|_| self.at == 0) {
                        self.found = Found { rate, channels, pre_skip: u64::from(pre_skip) };
                    }
                    self.granule = page.granule();
                    let is_last = page.is_last();
                    self.last = (!is_last).then(|| (self.at, page.as_last()));
                    self.at += page.size() as u64;
                    if is_last {
                        return Some(self.whole_opus());
                    }
                }
                // What is left may be the beginning of a page whose end was not brought.
                (self.at == begin).then(|| self.whole_opus())
            }
        }
    }

    fn whole_opus(&mut self) -> Option<Mended> {
        let Found { rate, channels, pre_skip } = self.found;
        let duration = length(self.granule.saturating_sub(pre_skip), OPUS_RATE);
        let patch = self.last.take();
        (channels > 0).then_some(Mended { len: self.at, patch, duration, rate, channels })
    }
}

fn whole_wav(format: wav::Format, file_len: u64) -> Mended {
    let wav::Format { rate, channels } = format;
    let len = format.whole(file_len);
    let data = len - HEADER_LEN as u64;
    Mended {
        len,
        // Below the limit of the sizes: see `whole`.
        patch: Some((0, wav::header(rate, channels, data as u32).to_vec())),
        duration: length(data / (u64::from(channels) * 2), rate),
        rate,
        channels: channels as u8,
    }
}
