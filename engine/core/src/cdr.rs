//! The record that a call leaves behind.

use control_api_types::{Call, Disposition, EndedBy, MediaSummary, Timestamp};
use media_core::MediaStats;

use crate::disposition::{Evidence, final_status};

/// Makes the record final.
pub(crate) fn close(call: &mut Call, evidence: Evidence, media: Option<&MediaStats>) {
    let disposition = evidence.disposition();
    call.disposition = Some(disposition);
    call.status = final_status(disposition);
    call.media = media.map(summary);
}

/// The CDR of a call that was accepted by an engine that is gone: its journal has the beginning and no end. `at` is when
/// that was found out. The shell numbers its `call.ended` after the last event that it knows to be published.
pub fn crash_ended(call: Call, at: Timestamp) -> Call {
    Call {
        status: final_status(Disposition::InternalError),
        disposition: Some(Disposition::InternalError),
        ended_at: Some(at),
        ended_by: Some(EndedBy::Engine),
        ..call
    }
}

fn summary(stats: &MediaStats) -> MediaSummary {
    let expected = stats.packets_received + stats.packets_lost;
    let loss_percent = if expected == 0 { 0.0 } else { 100.0 * stats.packets_lost as f32 / expected as f32 };
    MediaSummary {
        packets_sent: stats.packets_sent,
        packets_received: stats.packets_received,
        packets_lost: stats.packets_lost,
        jitter_ms: stats.jitter_ms,
        rtt_ms: stats.rtt_ms,
        mos: mos(loss_percent, stats.jitter_ms, stats.rtt_ms.unwrap_or(0.0)),
    }
}

/// Estimated listening quality by the E-model (ITU-T G.107) with its default values, reduced to what a leg measures:
/// random loss and delay. G.711 without concealment: Ie = 0, Bpl = 4.3 (G.113, table I.1). A wideband call is judged on the
/// same narrowband scale, so that calls compare: how much better it sounds is not told.
fn mos(loss_percent: f32, jitter_ms: f32, rtt_ms: f32) -> f32 {
    const R0: f32 = 93.2;
    const BPL: f32 = 4.3;
    // One packet of 20 ms, half the round trip, and a jitter buffer of twice the jitter.
    let delay_ms = 20.0 + rtt_ms / 2.0 + 2.0 * jitter_ms;
    let delay_impairment = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    let loss_impairment = 95.0 * loss_percent / (loss_percent + BPL);
    let r = (R0 - delay_impairment - loss_impairment).clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_falls_with_loss_and_delay() {
        assert!((mos(0.0, 0.0, 0.0) - 4.4).abs() < 0.02, "{}", mos(0.0, 0.0, 0.0));
        let by_loss: Vec<_> = [0.0, 1.0, 5.0, 20.0, 100.0].map(|loss| mos(loss, 1.0, 40.0)).into();
        assert!(by_loss.is_sorted_by(|a, b| a > b), "{by_loss:?}");
        let by_delay: Vec<_> = [0.0, 100.0, 400.0, 2_000.0].map(|rtt| mos(0.0, 1.0, rtt)).into();
        assert!(by_delay.is_sorted_by(|a, b| a > b), "{by_delay:?}");
        assert_eq!(mos(100.0, 1_000.0, 10_000.0), 1.0);
    }

    #[test]
    fn a_call_that_the_engine_did_not_survive_has_failed() {
        let open: Call = serde_json::from_value(serde_json::json!({
            "id": "c1", "status": "queued", "direction": "outbound", "to": "+62", "from": "100", "node": "n",
            "created_at": "2026-01-01T00:00:00Z", "client_state": "mine",
        }))
        .unwrap();
        let at = Timestamp::from_unix_ms(1_800_000_000_000);
        let ended = crash_ended(open.clone(), at);
        assert_eq!(ended.disposition, Some(Disposition::InternalError));
        assert!(
            ended.status.is_final() && ended.ended_at == Some(at) && ended.ended_by == Some(EndedBy::Engine)
        );
        assert_eq!(
            (ended.id, ended.created_at, ended.client_state),
            (open.id, open.created_at, open.client_state)
        );
    }

    #[test]
    fn a_summary_of_nothing_received_is_finite() {
        let summary = summary(&MediaStats::default());
        assert!(summary.mos.is_finite() && summary.packets_lost == 0);
    }
}
