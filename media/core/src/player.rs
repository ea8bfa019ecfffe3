//! Plays one prompt: cuts encoded audio into frames.

use std::sync::Arc;

use crate::{Codec, MediaEvent, Play, PlayEnd, Prompt};

/// A prompt that plays.
#[derive(Debug)]
pub(crate) struct Player {
    id: u64,
    prompt: Arc<Prompt>,
    /// Playings left, this one included; `None` when endless.
    left: Option<u32>,
    /// Next octet of the prompt.
    at: usize,
    /// Octets played, over all playings.
    played: u64,
    barge_in: bool,
}

impl Player {
    pub(crate) fn new(play: Play) -> Self {
        let Play { id, prompt, plays, offset_ms, barge_in } = play;
        let offset = offset_ms as usize * prompt.codec().octets_per_ms();
        let at = offset.min(prompt.payload().len());
        Self { id, prompt, left: (plays != 0).then_some(plays), at, played: 0, barge_in }
    }

    pub(crate) fn codec(&self) -> Codec {
        self.prompt.codec()
    }

    pub(crate) fn barge_in(&self) -> bool {
        self.barge_in
    }

    /// Fills the front of `frame` with the next audio and returns how much: one playing joins the next without a gap, so
    /// less than all means that the last one is over.
    pub(crate) fn fill(&mut self, frame: &mut [u8]) -> usize {
        let payload = self.prompt.payload();
        let mut filled = 0;
        while filled < frame.len() {
            if self.at == payload.len() {
                let again = match &mut self.left {
                    None => true,
                    Some(left) => {
                        *left = left.saturating_sub(1);
                        *left > 0
                    }
                };
                if !again || payload.is_empty() {
                    break;
                }
                self.at = 0;
            }
            let n = (payload.len() - self.at).min(frame.len() - filled);
            frame[filled..filled + n].copy_from_slice(&payload[self.at..self.at + n]);
            self.at += n;
            filled += n;
        }
        self.played += filled as u64;
        filled
    }

    /// The event that says this play is over.
    pub(crate) fn ended(&self, reason: PlayEnd) -> MediaEvent {
        let ms = self.played / self.prompt.codec().octets_per_ms() as u64;
        MediaEvent::PlayEnded { id: self.id, reason, played_ms: u32::try_from(ms).unwrap_or(u32::MAX) }
    }

    pub(crate) fn started(&self) -> MediaEvent {
        MediaEvent::PlayStarted { id: self.id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player(payload: &[u8], plays: u32, offset_ms: u32) -> Player {
        let prompt = Arc::new(Prompt::new(Codec::Pcma, payload));
        Player::new(Play { id: 1, prompt, plays, offset_ms, barge_in: false })
    }

    /// Plays in frames of four octets; what was played, and how much of the last frame.
    fn played(mut player: Player) -> (Vec<u8>, usize) {
        let mut all = Vec::new();
        loop {
            let mut frame = [0; 4];
            let n = player.fill(&mut frame);
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
        assert_eq!(endless.fill(&mut frame), 300);
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
    fn played_ms_is_what_was_played() {
        let mut player = player(&[0; 8 * 25], 2, 5);
        player.fill(&mut [0; 160]);
        let ended = |played_ms| MediaEvent::PlayEnded { id: 1, reason: PlayEnd::Stopped, played_ms };
        assert_eq!(player.ended(PlayEnd::Stopped), ended(20));
        player.fill(&mut [0; 160]);
        player.fill(&mut [0; 160]);
        assert_eq!(player.ended(PlayEnd::Stopped), ended(45));
    }
}
