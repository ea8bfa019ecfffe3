//! Plays prompts: cuts encoded audio into frames.

use crate::codec::Grain;
use crate::{Codec, MediaEvent, Play, PlayEnd, Playlist};

/// A playlist that plays.
#[derive(Debug)]
pub(crate) struct Player {
    id: u64,
    playlist: Playlist,
    /// Playings left, this one included; `None` when endless.
    left: Option<u32>,
    /// Which of the prompts.
    index: usize,
    /// Where in it the next audio begins, in eighths of a millisecond: a place that every codec knows.
    at: usize,
    /// How long it has played, over all prompts and playings, in the same unit.
    played: u64,
    barge_in: bool,
}

impl Player {
    pub(crate) fn new(play: Play) -> Self {
        let Play { id, playlist, plays, offset_ms, barge_in } = play;
        let whole: usize = playlist.prompts().iter().map(|prompt| prompt.eighths()).sum();
        let (mut index, mut at) = (0, offset_ms as usize * 8);
        // What has no end has been played round and round up to there.
        if plays == 0 && whole > 0 {
            at %= whole;
        }
        while let Some(prompt) = playlist.prompts().get(index).filter(|prompt| at >= prompt.eighths()) {
            at -= prompt.eighths();
            index += 1;
        }
        if index == playlist.prompts().len() {
            at = 0;
        }
        Self { id, playlist, left: (plays != 0).then_some(plays), index, at, played: 0, barge_in }
    }

    pub(crate) fn barge_in(&self) -> bool {
        self.barge_in
    }

    /// Fills the front of `frame` with the next audio in `codec` and returns how much: one prompt joins the next, and one
    /// playing the next, without a gap, so less than all means that the last one is over. `None` when there is no audio in
    /// that codec.
    ///
    /// A codec of frames begins with the frame that lies at the place where another codec left off.
    pub(crate) fn fill(&mut self, codec: Codec, frame: &mut [u8]) -> Option<usize> {
        let Grain { octets, eighths } = codec.grain();
        let mut filled = 0;
        // Prompts that had nothing to play, in a row: after a round of them there is nothing at all.
        let mut empty = 0;
        while frame.len() - filled >= octets {
            let Some(prompt) = self.playlist.prompts().get(self.index) else {
                if !self.plays_again() || empty >= self.playlist.prompts().len() {
                    break;
                }
                continue;
            };
            let payload = prompt.encoded(codec)?.payload();
            let length = prompt.eighths();
            let first = self.at / eighths;
            let count = (length.div_ceil(eighths) - first).min((frame.len() - filled) / octets);
            if let Some(audio) = payload.get(first * octets..(first + count) * octets) {
                frame[filled..filled + audio.len()].copy_from_slice(audio);
                filled += audio.len();
            }
            let next = ((first + count) * eighths).min(length);
            empty = if next > self.at { 0 } else { empty + 1 };
            self.played += (next - self.at) as u64;
            self.at = next;
            if self.at >= length {
                (self.index, self.at) = (self.index + 1, 0);
            }
        }
        Some(filled)
    }

    /// Goes back to the start of the list, if it is to be played again.
    fn plays_again(&mut self) -> bool {
        let again = match &mut self.left {
            None => true,
            Some(left) => {
                *left = left.saturating_sub(1);
                *left > 0
            }
        };
        if again {
            (self.index, self.at) = (0, 0);
        }
        again
    }

    /// The event that says this play is over.
    pub(crate) fn ended(&self, reason: PlayEnd) -> MediaEvent {
        let ms = self.played / 8;
        MediaEvent::PlayEnded { id: self.id, reason, played_ms: u32::try_from(ms).unwrap_or(u32::MAX) }
    }

    pub(crate) fn started(&self) -> MediaEvent {
        MediaEvent::PlayStarted { id: self.id }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Encoded, Prompt};

    fn player(payload: &[u8], plays: u32, offset_ms: u32) -> Player {
        list(&[payload], plays, offset_ms)
    }

    fn list(payloads: &[&[u8]], plays: u32, offset_ms: u32) -> Player {
        let playlist = payloads.iter().map(|payload| Arc::new(Prompt::new(Codec::Pcma, *payload))).collect();
        Player::new(Play { id: 1, playlist, plays, offset_ms, barge_in: false })
    }

    /// Plays in frames of four octets; what was played, and how much of the last frame.
    fn played(mut player: Player) -> (Vec<u8>, usize) {
        let mut all = Vec::new();
        loop {
            let mut frame = [0; 4];
            let n = player.fill(Codec::Pcma, &mut frame).unwrap();
            all.extend_from_slice(&frame[..n]);
            if n < 4 {
                return (all, n);
            }
        }
    }

    #[test]
    fn whole_and_partial_frames() {
        assert_eq!(played(player(b"abcdefgh", 1, 0)), (b"abcdefgh".to_vec(), 0));
        assert_eq!(played(player(b"abcdef", 1, 0)), (b"abcdef".to_vec(), 2));
        assert_eq!(played(player(b"", 3, 0)), (vec![], 0));
        assert_eq!(played(player(b"", 0, 0)), (vec![], 0), "endless nothing ends");
    }

    #[test]
    fn playings_join_without_a_gap() {
        assert_eq!(played(player(b"abc", 3, 0)), (b"abcabcabc".to_vec(), 1));
        let mut endless = player(b"abc", 0, 0);
        let mut frame = [0; 300];
        assert_eq!(endless.fill(Codec::Pcma, &mut frame), Some(300));
        assert!(frame.chunks(3).all(|chunk| chunk == b"abc"));
    }

    #[test]
    fn the_offset_counts_in_the_first_playing_only() {
        assert_eq!(played(player(b"0123456789abcdef", 2, 1)).0, b"89abcdef0123456789abcdef");
        assert_eq!(
            played(player(b"01234567", 2, 9)).0,
            b"01234567",
            "an offset past the end skips a playing"
        );
    }

    #[test]
    fn an_offset_goes_round_in_what_has_no_end() {
        let letters: &[&[u8]] = &[b"01234567", b"abcdefghABCDEFGH"];
        for (offset_ms, first) in [(0, b"0123"), (1, b"abcd"), (3, b"0123"), (4, b"abcd"), (3002, b"ABCD")] {
            let mut frame = [0; 4];
            assert_eq!(list(letters, 0, offset_ms).fill(Codec::Pcma, &mut frame), Some(4));
            assert_eq!(&frame, first, "{offset_ms}");
        }
    }

    #[test]
    fn prompts_of_a_list_join_to_the_sample_and_the_list_is_played_again_whole() {
        let letters: &[&[u8]] = &[b"abc", b"", b"defgh", b"ij"];
        assert_eq!(played(list(letters, 1, 0)), (b"abcdefghij".to_vec(), 2));
        assert_eq!(played(list(letters, 3, 0)).0, b"abcdefghijabcdefghijabcdefghij");
        let mut endless = list(letters, 0, 0);
        let mut frame = [0; 1_000];
        assert_eq!(endless.fill(Codec::Pcma, &mut frame), Some(1_000));
        assert!(frame.chunks(10).all(|chunk| chunk == b"abcdefghij"));
        assert_eq!(endless.ended(PlayEnd::Stopped), ended(PlayEnd::Stopped, 125));
        for nothing in [&[][..], &[&[][..]], &[&[], &[]]] {
            assert_eq!(played(list(nothing, 0, 0)), (vec![], 0), "endless nothing ends");
        }
    }

    #[test]
    fn the_offset_leads_through_the_list() {
        let twice: &[&[u8]] = &[b"01234567", b"abcdefghABCDEFGH"];
        assert_eq!(played(list(twice, 1, 1)).0, b"abcdefghABCDEFGH", "a whole prompt is skipped");
        assert_eq!(played(list(twice, 2, 2)).0, b"ABCDEFGH01234567abcdefghABCDEFGH");
        assert_eq!(played(list(twice, 1, 3)).0, b"");
        assert_eq!(played(list(twice, 2, 9)).0, b"01234567abcdefghABCDEFGH");
    }

    fn ended(reason: PlayEnd, played_ms: u32) -> MediaEvent {
        MediaEvent::PlayEnded { id: 1, reason, played_ms }
    }

    #[test]
    fn played_ms_is_what_was_played() {
        let mut player = player(&[0; 8 * 25], 2, 5);
        player.fill(Codec::Pcma, &mut [0; 160]);
        let ended = |played_ms| MediaEvent::PlayEnded { id: 1, reason: PlayEnd::Stopped, played_ms };
        assert_eq!(player.ended(PlayEnd::Stopped), ended(20));
        player.fill(Codec::Pcma, &mut [0; 160]);
        player.fill(Codec::Pcma, &mut [0; 160]);
        assert_eq!(player.ended(PlayEnd::Stopped), ended(45));
    }

    #[test]
    fn in_another_codec_it_goes_on_at_the_same_place() {
        let encoded = |codec, octets: std::ops::Range<u8>| Encoded::new(codec, octets.collect::<Vec<u8>>());
        let prompt = Arc::new(Prompt::in_codecs(vec![
            encoded(Codec::Pcma, 0..24),
            // One more octet than the other has: nothing is played of it.
            encoded(Codec::G722, 100..125),
        ]));
        let mut player =
            Player::new(Play { id: 1, playlist: prompt.into(), plays: 2, offset_ms: 0, barge_in: false });
        let mut frame = [0; 16];
        assert_eq!(player.fill(Codec::Pcma, &mut frame), Some(16));
        assert_eq!(player.fill(Codec::G722, &mut frame), Some(16));
        assert_eq!(frame, [116, 117, 118, 119, 120, 121, 122, 123, 100, 101, 102, 103, 104, 105, 106, 107]);
        assert_eq!(player.fill(Codec::Pcmu, &mut frame), None);
        assert_eq!(player.fill(Codec::Pcma, &mut frame), Some(16));
        assert_eq!(frame[0], 8);
        assert_eq!(player.fill(Codec::Pcma, &mut frame), Some(0));
        let ended = MediaEvent::PlayEnded { id: 1, reason: PlayEnd::Completed, played_ms: 6 };
        assert_eq!(player.ended(PlayEnd::Completed), ended);
    }
}
