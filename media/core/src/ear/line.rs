//! Decoded sound: what was heard last, and what waits to be.

/// One buffer, made once, with the heard sound in front of the waiting.
#[derive(Debug)]
pub(super) struct Line {
    samples: Box<[i16]>,
    /// The first that waits; there are always [`Line::past`] before it.
    next: usize,
    end: usize,
    past: usize,
}

impl Line {
    /// A line that remembers `past` samples, all silent at first, and has room for `room` that wait.
    pub(super) fn new(past: usize, room: usize) -> Self {
        Self { samples: vec![0; past + room].into(), next: past, end: past, past }
    }

    /// How many samples wait.
    pub(super) fn waiting(&self) -> usize {
        self.end - self.next
    }

    /// How many more have room.
    pub(super) fn room(&self) -> usize {
        self.samples.len() - self.end
    }

    /// Everything, the heard and the waiting.
    pub(super) fn all(&self) -> &[i16] {
        &self.samples[..self.end]
    }

    /// Where in [`Line::all`] the waiting begins.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    pub(super) fn all_mut(&mut self) -> &mut [i16] {
        &mut self.samples[..self.end]
    }

    /// What lies behind the waiting, to be written and then [`Line::grow`]n over.
    pub(super) fn free(&mut self) -> &mut [i16] {
        &mut self.samples[self.end..]
    }

    pub(super) fn grow(&mut self, by: usize) {
        self.end += by.min(self.room());
    }

    /// Puts `sound` before the sample at `at`; `false` when it does not fit.
    pub(super) fn insert(&mut self, at: usize, sound: &[i16]) -> bool {
        if sound.len() > self.room() || at > self.end {
            return false;
        }
        self.samples.copy_within(at..self.end, at + sound.len());
        self.samples[at..at + sound.len()].copy_from_slice(sound);
        self.end += sound.len();
        true
    }

    /// Takes `count` samples out from `at` on.
    pub(super) fn remove(&mut self, at: usize, count: usize) {
        self.samples.copy_within(at + count..self.end, at);
        self.end -= count;
    }

    /// Moves what waits into `frame`; zeros when there is less.
    pub(super) fn deliver(&mut self, frame: &mut [i16]) {
        let count = frame.len().min(self.waiting());
        frame[..count].copy_from_slice(&self.samples[self.next..self.next + count]);
        frame[count..].fill(0);
        self.next += count;
        let over = self.next - self.past;
        self.samples.copy_within(over..self.end, 0);
        self.next -= over;
        self.end -= over;
    }
}
