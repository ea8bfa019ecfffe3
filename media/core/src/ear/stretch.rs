//! Changing the delay in periods of the voice: one is put in or taken out where two that follow each other are alike.

use super::conceal::MAX_PERIOD_MS;
use super::line::Line;
use super::pitch::{self, Pitch};

/// The shortest change: a high voice of 400 Hz.
const MIN_PERIOD_MS: f32 = 2.5;
/// Over how much alike periods are looked for.
const WINDOW_MS: usize = 10;
/// How alike two periods are that may stand for each other, and how alike when there is no time to wait for better.
const ALIKE: f32 = 0.85;
const HARDLY_ALIKE: f32 = 0.5;
/// What is no louder than this many times the background is not listened to.
const QUIET: f32 = 2.0;

/// Takes one period out of the front of what waits. Returns how many samples that were.
pub(super) fn shorten(line: &mut Line, rate: u32, background: f32, hurry: bool) -> usize {
    let longest = (line.waiting() / 2).min(rate as usize / 1000 * MAX_PERIOD_MS);
    let Some(pitch) = period(line, rate, longest) else { return 0 };
    let lag = pitch.lag;
    let at = line.next();
    let (first, second) = (&line.all()[at..at + lag], &line.all()[at + lag..at + 2 * lag]);
    let threshold = if hurry { HARDLY_ALIKE } else { ALIKE };
    if pitch::likeness(first, second) < threshold && !is_quiet(&line.all()[at..at + 2 * lag], background) {
        return 0;
    }
    let (first, second) = line.all_mut()[at..at + 2 * lag].split_at_mut(lag);
    for (n, (first, second)) in first.iter().zip(second).enumerate() {
        *second = mix(*first, *second, n, lag);
    }
    line.remove(at, lag);
    lag
}

/// Puts one period in at the front of what waits. Returns how many samples that were.
pub(super) fn lengthen(line: &mut Line, rate: u32, background: f32) -> usize {
    let longest = line.waiting().min(rate as usize / 1000 * MAX_PERIOD_MS).min(line.room());
    let Some(pitch) = period(line, rate, longest) else { return 0 };
    let lag = pitch.lag;
    let at = line.next();
    let (before, after) = (&line.all()[at - lag..at], &line.all()[at..at + lag]);
    if pitch::likeness(before, after) < ALIKE && !is_quiet(&line.all()[at - lag..at + lag], background) {
        return 0;
    }
    // What comes, going over into what came before it; then what comes.
    let old = line.all().len();
    line.grow(lag);
    let all = line.all_mut();
    all.copy_within(at..old, at + lag);
    for n in 0..lag {
        all[at + n] = mix(all[at + lag + n], all[at - lag + n], n, lag);
    }
    lag
}

fn period(line: &Line, rate: u32, longest: usize) -> Option<Pitch> {
    let shortest = (rate as f32 / 1000.0 * MIN_PERIOD_MS) as usize;
    let window = rate as usize / 1000 * WINDOW_MS;
    (longest >= shortest).then(|| {
        let until = (line.next() + longest).min(line.all().len());
        pitch::find(&line.all()[..until], window, shortest, longest, rate)
    })
}

fn is_quiet(sound: &[i16], background: f32) -> bool {
    let energy: f32 = sound.iter().map(|sample| f32::from(*sample).powi(2)).sum();
    energy <= (background * QUIET + 4.0).powi(2) * sound.len() as f32
}

/// From `a` at 0 to `b` at `count`.
fn mix(a: i16, b: i16, n: usize, count: usize) -> i16 {
    let (a, b) = (f32::from(a), f32::from(b));
    (a + (b - a) * (n + 1) as f32 / (count + 1) as f32) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 8_000;

    fn voice(n: usize) -> i16 {
        let phase = n as f32 * 125.0 / RATE as f32 * std::f32::consts::TAU;
        ((phase.sin() + (3.0 * phase).sin() / 2.0) * 5_000.0) as i16
    }

    fn line(sound: impl Fn(usize) -> i16) -> Line {
        let mut line = Line::new(400, 800);
        for n in 0..1_000 {
            line.free()[0] = sound(n);
            line.grow(1);
            if n < 600 {
                line.deliver(&mut [0]);
            }
        }
        line
    }

    fn steepest(sound: &[i16]) -> u16 {
        sound.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap()
    }

    #[test]
    fn a_period_goes_or_comes_without_a_trace() {
        let whole = line(voice);
        for change in [shorten as fn(&mut Line, u32, f32, bool) -> usize, |line, rate, background, _| {
            lengthen(line, rate, background)
        }] {
            let mut line = line(voice);
            let lag = change(&mut line, RATE, 0.0, false);
            assert!(lag > 0 && lag.abs_diff((lag / 64).max(1) * 64) <= 1, "whole periods of 8 ms: {lag}");
            assert_eq!(line.waiting().abs_diff(whole.waiting()), lag);
            assert!(steepest(line.all()) <= steepest(whole.all()) * 11 / 10);
        }
    }

    #[test]
    fn what_is_unlike_stays_as_it_is_unless_nobody_listens() {
        let hiss = |n: usize| {
            let mixed = (n as u32 ^ 0x5BD1_E995).wrapping_mul(0x85EB_CA6B);
            ((mixed ^ mixed >> 15).wrapping_mul(0xC2B2_AE35) >> 18) as i16 - 8_192
        };
        assert_eq!(shorten(&mut line(hiss), RATE, 0.0, false), 0);
        assert_eq!(lengthen(&mut line(hiss), RATE, 0.0), 0);
        assert!(shorten(&mut line(hiss), RATE, 5_000.0, false) > 0);
        assert!(lengthen(&mut line(hiss), RATE, 5_000.0) > 0);
    }

    #[test]
    fn too_little_waits() {
        let mut short = Line::new(400, 800);
        short.grow(10);
        assert_eq!((shorten(&mut short, RATE, 0.0, true), lengthen(&mut short, RATE, 0.0)), (0, 0));
    }
}
