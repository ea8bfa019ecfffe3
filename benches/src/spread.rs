//! How a quantity is spread: its quantiles.

use std::fmt;

/// Quantiles of a set of samples in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) p50: u32,
    pub(crate) p99: u32,
    pub(crate) p999: u32,
    pub(crate) max: u32,
}

impl Spread {
    /// `None` without samples.
    pub(crate) fn of(mut samples: Vec<u32>) -> Option<Spread> {
        samples.sort_unstable();
        let max = *samples.last()?;
        // The smallest sample that at least this share of all does not exceed.
        let quantile = |share: f64| {
            let rank = (share * samples.len() as f64).ceil() as usize;
            samples[rank.clamp(1, samples.len()) - 1]
        };
        Some(Spread { p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999), max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999, max] =
            [self.p50, self.p99, self.p999, self.max].map(|us| f64::from(us) / 1000.0);
        write!(f, "{p50:.2} / {p99:.2} / {p999:.2} / {max:.2}")
    }
}

/// The middle of `values`, or the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[half]),
        _ => Some((values[half - 1] + values[half]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let spread = Spread::of((1..=1000).rev().collect());
        assert_eq!(spread, Some(Spread { p50: 500, p99: 990, p999: 999, max: 1000 }));
        assert_eq!(Spread::of(vec![7]), Some(Spread { p50: 7, p99: 7, p999: 7, max: 7 }));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }
}
