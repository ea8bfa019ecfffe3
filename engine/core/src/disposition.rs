//! What a call came to: the one table from evidence to [`Disposition`].
//!
//! The mapping is total. A final response is classified by its status, and a Q.850 cause in its `Reason` header
//! (RFC 3326, RFC 6432) refines the status, except 16 and 31, which gateways attach to everything.

use control_api_types::{CallStatus, Disposition};

/// Everything that can decide how a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// A 2xx was exchanged and its session description was usable.
    Answered,
    /// A final response other than 2xx, received (outbound) or sent (inbound).
    Response {
        /// The SIP status.
        status: u16,
        /// Cause of a `Reason: Q.850` header beside it.
        q850: Option<u8>,
    },
    /// Our ring timeout passed.
    RingTimeout,
    /// The inbound caller gave up before we answered.
    CallerGaveUp,
    /// Nothing came back, the transport failed, or the name has no address.
    Network,
    /// The peer answered with a session description that cannot be used, or with none.
    Incompatible,
    /// The API ended the call before it was answered.
    Api,
    /// The call waited in the queue for too long, or no media port was left.
    Limit,
    /// The trunk is refused by its registrar: nothing was sent.
    TrunkRejected,
    /// Every gateway of the trunk has asked to be left alone for a while: nothing was sent.
    TrunkBusy,
    /// Our own fault.
    Internal,
}

impl Evidence {
    /// The disposition that this evidence proves.
    pub(crate) fn disposition(self) -> Disposition {
        match self {
            Self::Answered => Disposition::Answered,
            Self::Response { status, q850 } => q850.and_then(by_q850).unwrap_or_else(|| by_status(status)),
            Self::RingTimeout | Self::CallerGaveUp => Disposition::NoAnswer,
            Self::Network => Disposition::NetworkError,
            Self::Incompatible => Disposition::Incompatible,
            Self::Api => Disposition::Canceled,
            Self::Limit => Disposition::LimitReached,
            Self::TrunkRejected => Disposition::Blocked,
            Self::TrunkBusy => Disposition::Congestion,
            Self::Internal => Disposition::InternalError,
        }
    }
}

/// The final status that goes with a disposition.
pub(crate) fn final_status(disposition: Disposition) -> CallStatus {
    match disposition {
        Disposition::Answered => CallStatus::Completed,
        Disposition::Busy => CallStatus::Busy,
        Disposition::NoAnswer => CallStatus::NoAnswer,
        Disposition::Canceled => CallStatus::Canceled,
        Disposition::Unreachable
        | Disposition::Rejected
        | Disposition::InvalidNumber
        | Disposition::Congestion
        | Disposition::Blocked
        | Disposition::NetworkError
        | Disposition::Incompatible
        | Disposition::LimitReached
        | Disposition::InternalError => CallStatus::Failed,
    }
}

/// Causes that say more than the status beside them; 16 (normal clearing), 31 (normal, unspecified) and the rest do not.
pub(crate) fn by_q850(cause: u8) -> Option<Disposition> {
    match cause {
        17 => Some(Disposition::Busy),
        18 | 19 => Some(Disposition::NoAnswer),
        20 | 27 => Some(Disposition::Unreachable),
        21 => Some(Disposition::Rejected),
        1 | 22 | 28 => Some(Disposition::InvalidNumber),
        34 | 42 | 44 | 47 => Some(Disposition::Congestion),
        55 | 57 => Some(Disposition::Blocked),
        2 | 3 | 38 | 41 | 102 | 127 => Some(Disposition::NetworkError),
        65 | 79 | 88 => Some(Disposition::Incompatible),
        _ => None,
    }
}

/// RFC 3261 §8.1.3.2: "A UAC MUST treat any final response it does not recognize as being equivalent to the x00
/// response code of that class"; the last arms are that rule.
fn by_status(status: u16) -> Disposition {
    match status {
        200..=299 => Disposition::Answered,
        486 | 600 => Disposition::Busy,
        // 487 without a CANCEL of ours: a proxy or the callee's side gave up ringing.
        408 | 480 | 487 => Disposition::NoAnswer,
        603 | 607 => Disposition::Rejected,
        404 | 410 | 484 | 485 | 604 => Disposition::InvalidNumber,
        500 | 503 | 504 => Disposition::Congestion,
        // 402: no credit. 428–438: the identity that we present is refused (RFC 8224, RFC 5079, RFC 3323).
        401 | 402 | 403 | 407 | 428 | 429 | 433 | 436..=438 | 608 => Disposition::Blocked,
        415 | 420 | 488 | 606 => Disposition::Incompatible,
        // One that is not followed: the limit, a loop, a number or host that is not allowed.
        300..=399 => Disposition::Incompatible,
        500..=599 => Disposition::NetworkError,
        600..=699 => Disposition::Busy,
        // 400, 481, 482, 483, every unknown 4xx, and what is no final response at all.
        _ => Disposition::InternalError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: Disposition, statuses: &[u16], causes: &[u8]) {
        for &status in statuses {
            for q850 in [None, Some(16), Some(31)] {
                let evidence = Evidence::Response { status, q850 };
                assert_eq!(evidence.disposition(), expected, "{evidence:?}");
            }
        }
        for &cause in causes {
            for status in [400, 403, 404, 480, 486, 487, 500, 503, 603] {
                let evidence = Evidence::Response { status, q850: Some(cause) };
                assert_eq!(evidence.disposition(), expected, "{evidence:?}");
            }
        }
    }

    #[test]
    fn every_code_of_the_contract() {
        check(Disposition::Busy, &[486, 600], &[17]);
        check(Disposition::NoAnswer, &[408, 480, 487], &[18, 19]);
        check(Disposition::Unreachable, &[], &[20, 27]);
        check(Disposition::Rejected, &[603, 607], &[21]);
        check(Disposition::InvalidNumber, &[404, 410, 484, 485, 604], &[1, 22, 28]);
        check(Disposition::Congestion, &[500, 503, 504], &[34, 42, 44, 47]);
        check(Disposition::Blocked, &[401, 402, 403, 407, 433, 608], &[55, 57]);
        check(Disposition::NetworkError, &[501, 502, 505, 513, 580], &[2, 3, 38, 41, 102, 127]);
        check(Disposition::Incompatible, &[415, 420, 488, 606, 301, 302, 380], &[65, 79, 88]);
        check(Disposition::InternalError, &[400, 481, 482, 483, 405, 499], &[]);
        check(Disposition::Answered, &[200, 202], &[]);
        for (evidence, expected) in [
            (Evidence::RingTimeout, Disposition::NoAnswer),
            (Evidence::CallerGaveUp, Disposition::NoAnswer),
            (Evidence::Network, Disposition::NetworkError),
            (Evidence::Incompatible, Disposition::Incompatible),
            (Evidence::Api, Disposition::Canceled),
            (Evidence::Limit, Disposition::LimitReached),
            (Evidence::TrunkRejected, Disposition::Blocked),
            (Evidence::TrunkBusy, Disposition::Congestion),
            (Evidence::Internal, Disposition::InternalError),
            (Evidence::Answered, Disposition::Answered),
        ] {
            assert_eq!(evidence.disposition(), expected);
        }
    }

    #[test]
    fn only_answered_calls_are_completed_whatever_a_peer_says() {
        for status in 0..=u16::from(u8::MAX) * 4 {
            for cause in 0..=u8::MAX {
                let evidence = Evidence::Response { status, q850: Some(cause) };
                let is_completed = final_status(evidence.disposition()) == CallStatus::Completed;
                // A cause that says more may deny an answer, and none makes one of a refusal.
                let may_be = (200..300).contains(&status);
                assert!(!is_completed || may_be, "{evidence:?}");
                if by_q850(cause).is_none() {
                    assert_eq!(is_completed, may_be, "{evidence:?}");
                }
            }
        }
    }
}
