//! How good a conversation sounds, estimated from what is measured: the E-model (ITU-T G.107).

use crate::Codec;

/// One direction of a call, as the E-model sees it. Everything that is not named here (echo, noise, loudness) has the default
/// value of G.107, table 2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// What it is encoded in.
    pub codec: Codec,
    /// From mouth to ear: the packet, the network, the jitter buffer.
    pub delay_ms: f32,
    /// Share of the packets that are not heard, 0.0 to 1.0.
    pub loss: f32,
    /// How much longer bursts of loss are than those of random loss, at least 1.0 (BurstR).
    pub burst_ratio: f32,
}

/// What a codec takes from the quality (G.113, appendix I).
struct Impairment {
    /// Without loss (Ie).
    ie: f32,
    /// Robustness against loss (Bpl).
    bpl: f32,
}

impl Path {
    /// R without any impairment but those of the default values (G.107, 7.7).
    const R0: f32 = 93.2;

    /// The rating R, 0.0 to 100.0.
    pub fn rating(&self) -> f32 {
        (Self::R0 - self.delay_impairment() - self.effective_impairment()).clamp(0.0, 100.0)
    }

    /// The mean opinion score that R stands for, 1.0 to 4.5 (G.107, annex B).
    pub fn mos(&self) -> f32 {
        let r = self.rating();
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
    }

    /// Id: the formula of R. G. Cole and J. H. Rosenbluth ("Voice over IP performance monitoring", 2001), which is G.107's
    /// sum of three with the default echo to within a point up to 400 ms.
    fn delay_impairment(&self) -> f32 {
        0.024 * self.delay_ms + 0.11 * (self.delay_ms - 177.3).max(0.0)
    }

    /// Ie-eff (G.107, 7.5): "Ie + (95 - Ie) * Ppl / (Ppl / BurstR + Bpl)".
    fn effective_impairment(&self) -> f32 {
        let Impairment { ie, bpl } = impairment(self.codec);
        let ppl = self.loss.clamp(0.0, 1.0) * 100.0;
        ie + (95.0 - ie) * ppl / (ppl / self.burst_ratio.max(1.0) + bpl)
    }
}

/// G.113, appendix I, table I.3 for G.711 with concealment (without it has 4.3), which every receiver has by now; ours is of
/// the kind it was measured with.
///
/// Wideband is judged on the same scale, on which how much better it sounds is not told. G.107.1 would tell: its R goes to
/// 129, and it divides by 1.29 before the formula of annex B. But a narrowband call without a fault has a MOS of 3.7 there,
/// so one number would stand for two things, and calls would not compare. Nor does G.113 have what it takes: for Opus it has
/// no values, and its robustness against loss is of other codecs with other concealment (AMR-WB: 4.3 to 4.9 at what takes
/// 8 to 20 from 129). That wideband loses as much by a loss as G.711 does is what our concealment shows.
fn impairment(codec: Codec) -> Impairment {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Opus | Codec::L16 => {
            Impairment { ie: 0.0, bpl: 25.1 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(delay_ms: f32, loss: f32, burst_ratio: f32) -> Path {
        Path { codec: Codec::Pcma, delay_ms, loss, burst_ratio }
    }

    #[test]
    fn the_default_is_the_best_there_is() {
        assert_eq!(path(0.0, 0.0, 1.0).rating(), 93.2);
        assert!((path(0.0, 0.0, 1.0).mos() - 4.41).abs() < 0.01, "G.107: MOS 4.41");
    }

    #[test]
    fn loss_costs_what_the_tables_say() {
        // G.711 with concealment: Ie-eff of 1, 2, 5 and 10 % random loss, by the formula worked out by hand.
        for (loss, ie_eff) in [(0.01, 3.64), (0.02, 7.01), (0.05, 15.78), (0.1, 27.07)] {
            let rating = path(0.0, loss, 1.0).rating();
            assert!((rating - (93.2 - ie_eff)).abs() < 0.05, "{loss}: {rating}");
        }
        assert!(path(0.0, 0.05, 2.0).rating() < path(0.0, 0.05, 1.0).rating(), "bursts are worse");
    }

    #[test]
    fn the_score_has_the_bounds_of_annex_b() {
        // At a rating below 6.5 the polynomial dips under 1.
        assert_eq!(path(0.0, 1.0, 1e6).mos(), 1.0);
        assert_eq!(path(f32::INFINITY, 0.0, 1.0).mos(), 1.0);
        // G.107, annex B, table B.1: R and MOS.
        for (rating, mos) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            // Below the knee of the delay impairment, it takes 0.024 a ms; above it, 0.134.
            let over = (93.2 - 0.024 * 177.3 - rating) / 0.134;
            let delay_ms = if over > 0.0 { 177.3 + over } else { (93.2 - rating) / 0.024 };
            assert!((path(delay_ms, 0.0, 1.0).mos() - mos).abs() < 0.01, "{rating}");
        }
    }

    #[test]
    fn delay_matters_beyond_what_turns_take() {
        let rating = |ms| path(ms, 0.0, 1.0).rating();
        assert!(rating(0.0) - rating(150.0) < 4.0, "G.114: most do not notice");
        assert!(rating(150.0) - rating(400.0) > 25.0, "G.114: not to be exceeded");
    }

    #[test]
    fn anything_measured_gives_a_score() {
        for delay_ms in [0.0, 1e3, 1e9, f32::INFINITY] {
            for loss in [0.0, 0.5, 1.0, 2.0] {
                for burst in [0.0, 1.0, 1e6, f32::INFINITY] {
                    let mos = path(delay_ms, loss, burst).mos();
                    assert!((1.0..=4.5).contains(&mos), "{delay_ms} {loss} {burst}: {mos}");
                }
            }
        }
    }
}
