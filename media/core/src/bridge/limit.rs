//! Sums of voices that are too loud for a sample are turned down, not cut off.

/// The loudest that comes out.
const CEILING: f32 = 32_000.0;

/// How fast it becomes loud again: from a tenth in half a second, so that nobody hears it happen.
const RECOVERY_PER_MS: f32 = 0.9 / 500.0;

/// The gain of one listener, which follows the loudest of each millisecond.
#[derive(Debug)]
pub(super) struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}

impl Limiter {
    /// Writes `sum` to `out`, turned down where it must be. A millisecond is `per_ms` samples.
    pub(super) fn limit(&mut self, sum: &[i32], out: &mut [i16], per_ms: usize) {
        let peak = |sum: &[i32]| sum.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        if self.gain >= 1.0 && peak(sum) <= CEILING as u32 {
            for (out, sample) in out.iter_mut().zip(sum) {
                // At most the ceiling.
                *out = *sample as i16;
            }
            return;
        }
        let bearable = |part: &[i32]| (CEILING / peak(part).max(1) as f32).min(1.0);
        let mut parts = sum.chunks(per_ms).peekable();
        for out in out.chunks_mut(per_ms) {
            let Some(part) = parts.next() else { return };
            // At either end of a millisecond the gain is one that both sides of the end can bear: so it is all the way.
            let next = parts.peek().map_or(1.0, |next| bearable(next));
            let end = bearable(part).min(next).min(self.gain + RECOVERY_PER_MS);
            let step = (end - self.gain) / part.len() as f32;
            for (out, sample) in out.iter_mut().zip(part) {
                self.gain += step;
                // What comes suddenly at the beginning of a period is cut off for the millisecond that it takes to turn it
                // down: `as` saturates.
                *out = (*sample as f32 * self.gain) as i16;
            }
            self.gain = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_not_touched() {
        let sum = [0, 1, -1, 32_000, -32_000, 7, 8, 9];
        let mut out = [0; 8];
        Limiter::default().limit(&sum, &mut out, 8);
        assert_eq!(out.map(i32::from), sum);
    }

    #[test]
    fn loud_is_turned_down_at_once_and_comes_back_slowly() {
        let mut limiter = Limiter::default();
        let loud: Vec<i32> = (0..160).map(|n| if n % 2 == 0 { 64_000 } else { -64_000 }).collect();
        let mut out = [0; 160];
        for period in 0..3 {
            limiter.limit(&loud, &mut out, 8);
            let after = if period == 0 { 8 } else { 0 };
            assert!(out[after..].iter().all(|sample| sample.abs() <= 32_001), "{period}");
            assert!(out[8..].iter().all(|sample| sample.abs() >= 31_900), "{period}");
        }
        let soft = vec![1_000; 160];
        let mut periods = 0;
        let mut last = 0;
        while last < 1_000 {
            limiter.limit(&soft, &mut out, 8);
            assert!(out.windows(2).all(|pair| pair[1] >= pair[0]), "no step");
            last = out[159];
            periods += 1;
        }
        assert!((10..25).contains(&periods), "{periods}");
        limiter.limit(&soft, &mut out, 8);
        assert_eq!(out, [1_000; 160]);
    }

    #[test]
    fn the_loudest_sum_there_can_be_is_borne() {
        let mut limiter = Limiter::default();
        let sum = [64 * -32_768; 160];
        let mut out = [0; 160];
        limiter.limit(&sum, &mut out, 8);
        limiter.limit(&sum, &mut out, 8);
        assert!(out.iter().all(|sample| (-32_001..-31_000).contains(sample)));
        limiter.limit(&[0; 160], &mut out, 8);
        assert_eq!(out, [0; 160]);
    }
}
