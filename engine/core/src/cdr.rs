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
    // Of a call that goes on.
    (call.muted, call.held) = (None, false);
}

/// The CDR of a call that was accepted by an engine that is gone: its journal has the beginning and no end. `at` is when
/// that was found out. The shell numbers its `call.ended` after the last event that it knows to be published.
pub fn crash_ended(call: Call, at: Timestamp) -> Call {
    Call {
        status: final_status(Disposition::InternalError),
        disposition: Some(Disposition::InternalError),
        ended_at: Some(at),
        ended_by: Some(EndedBy::Engine),
        muted: None,
        held: false,
        ..call
    }
}

fn summary(stats: &MediaStats) -> MediaSummary {
    MediaSummary {
        packets_sent: stats.packets_sent,
        packets_received: stats.packets_received,
        packets_lost: stats.packets_lost,
        jitter_ms: stats.jitter_ms,
        rtt_ms: stats.rtt_ms,
        // Of who sent nothing no more can be said than that nothing was heard.
        mos: stats.mos.unwrap_or(1.0),
        packets_late: stats.ear.map(|ear| ear.late.into()),
        concealed_ms: stats.ear.map(|ear| ear.concealed_ms.into()),
        buffer_ms: stats.ear.map(|ear| ear.delay_ms),
        remote_packets_lost: stats.remote_packets_lost.map(u64::from),
        remote_jitter_ms: stats.remote_jitter_ms,
        remote_mos: stats.remote_mos,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
