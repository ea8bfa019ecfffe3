//! The INVITE server transaction (RFC 3261 section 17.2.1, as amended by RFC 6026 section 7.1).
//!
//! ```text
//!              INVITE               2xx from the user
//!   start ───────────▶ Proceeding ────────────────────▶ Accepted ◀─┐ INVITE: absorbed; ACK, 2xx: passed on
//!        INVITE: last  ▲ │  │ 3xx–6xx from the user        │  └────┘
//!      response again  └─┘  ▼                              │ L
//!           INVITE, G  ┌─▶ Completed ── ACK ─▶ Confirmed   │
//!     response again   └──┘  │ H                 │ I       │
//!                            └────────────▶ Terminated ◀───┘
//! ```

use std::time::Duration;

use super::machine::{Action, Actions, ServerInput as Input, Settings, StatusClass, Timer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InviteServer {
    Proceeding,
    Completed { interval: Duration },
    Confirmed,
    Accepted,
    Terminated,
}

impl InviteServer {
    pub(super) fn start() -> Self {
        Self::Proceeding
    }

    pub(super) fn step(&mut self, input: Input, settings: Settings, actions: &mut Actions) {
        *self = match (*self, input) {
            // "If a request retransmission is received while in the "Proceeding" state, the most recent provisional
            // response that was received from the TU MUST be passed to the transport layer".
            (Self::Proceeding, Input::Request | Input::Respond(StatusClass::Provisional)) => {
                actions.push(Action::Send);
                Self::Proceeding
            }
            (Self::Proceeding, Input::Respond(StatusClass::Success)) => {
                actions
                    .extend([Action::Send, Action::Start(Timer::L, settings.timers.transaction_timeout())]);
                Self::Accepted
            }
            (Self::Proceeding, Input::Respond(StatusClass::Failure)) => {
                let interval = settings.timers.t1;
                actions.push(Action::Send);
                if !settings.reliable {
                    actions.push(Action::Start(Timer::G, interval));
                }
                actions.push(Action::Start(Timer::H, settings.timers.transaction_timeout()));
                Self::Completed { interval }
            }
            (Self::Completed { interval }, Input::Timer(Timer::G)) => {
                let interval = settings.timers.back_off(interval);
                actions.extend([Action::Send, Action::Start(Timer::G, interval)]);
                Self::Completed { interval }
            }
            (Self::Completed { .. }, Input::Request) => {
                actions.push(Action::Send);
                *self
            }
            (Self::Completed { .. }, Input::Ack) => {
                actions.extend([Action::Stop(Timer::G), Action::Stop(Timer::H)]);
                match settings.timers.wait_for_retransmits(settings.reliable) {
                    Duration::ZERO => Self::Terminated,
                    wait => {
                        actions.push(Action::Start(Timer::I, wait));
                        Self::Confirmed
                    }
                }
            }
            (Self::Completed { .. }, Input::Timer(Timer::H)) => Self::Terminated,
            (Self::Confirmed, Input::Timer(Timer::I)) => Self::Terminated,

            // RFC 6026 section 7.1: retransmitted INVITEs are absorbed, the user itself repeats its 2xx.
            (Self::Accepted, Input::Respond(StatusClass::Success)) => {
                actions.push(Action::Send);
                Self::Accepted
            }
            (Self::Accepted, Input::Ack) => {
                actions.push(Action::Deliver);
                Self::Accepted
            }
            (Self::Accepted, Input::Timer(Timer::L)) => Self::Terminated,

            (Self::Proceeding, Input::Ack)
            | (Self::Completed { .. } | Self::Confirmed, Input::Respond(_))
            | (Self::Confirmed, Input::Request | Input::Ack)
            | (
                Self::Accepted,
                Input::Request | Input::Respond(StatusClass::Provisional | StatusClass::Failure),
            )
            | (
                Self::Proceeding | Self::Completed { .. } | Self::Confirmed | Self::Accepted,
                Input::Timer(_),
            )
            | (Self::Terminated, Input::Request | Input::Ack | Input::Respond(_) | Input::Timer(_)) => *self,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::machine::testing::{RELIABLE, UNRELIABLE, ms};

    fn drive(mut state: InviteServer, input: Input, settings: Settings) -> (InviteServer, Vec<Action>) {
        let mut actions = Actions::new();
        state.step(input, settings, &mut actions);
        (state, actions.to_vec())
    }

    #[test]
    fn a_failure_is_repeated_with_back_off_until_the_ack() {
        let (mut state, actions) =
            drive(InviteServer::start(), Input::Respond(StatusClass::Failure), UNRELIABLE);
        assert_eq!(
            actions,
            [Action::Send, Action::Start(Timer::G, ms(500)), Action::Start(Timer::H, ms(32_000))]
        );
        for expected in [1_000, 2_000, 4_000, 4_000] {
            let (next, actions) = drive(state, Input::Timer(Timer::G), UNRELIABLE);
            assert_eq!(actions, [Action::Send, Action::Start(Timer::G, ms(expected))]);
            state = next;
        }
        let (state, actions) = drive(state, Input::Ack, UNRELIABLE);
        assert_eq!(state, InviteServer::Confirmed);
        assert_eq!(
            actions,
            [Action::Stop(Timer::G), Action::Stop(Timer::H), Action::Start(Timer::I, ms(5_000))]
        );
        assert_eq!(drive(state, Input::Timer(Timer::I), UNRELIABLE).0, InviteServer::Terminated);
    }

    #[test]
    fn without_an_ack_timer_h_ends_it() {
        let (state, _) = drive(InviteServer::start(), Input::Respond(StatusClass::Failure), UNRELIABLE);
        assert_eq!(drive(state, Input::Timer(Timer::H), UNRELIABLE).0, InviteServer::Terminated);
    }

    #[test]
    fn a_reliable_transport_repeats_nothing() {
        let (state, actions) = drive(InviteServer::start(), Input::Respond(StatusClass::Failure), RELIABLE);
        assert_eq!(actions, [Action::Send, Action::Start(Timer::H, ms(32_000))]);
        assert_eq!(drive(state, Input::Ack, RELIABLE).0, InviteServer::Terminated);
    }

    #[test]
    fn accepted_absorbs_the_invite_and_passes_acks_and_repeated_2xx() {
        let (state, actions) = drive(InviteServer::start(), Input::Respond(StatusClass::Success), UNRELIABLE);
        assert_eq!(actions, [Action::Send, Action::Start(Timer::L, ms(32_000))]);
        assert_eq!(drive(state, Input::Request, UNRELIABLE), (InviteServer::Accepted, vec![]));
        assert_eq!(drive(state, Input::Ack, UNRELIABLE), (InviteServer::Accepted, vec![Action::Deliver]));
        assert_eq!(
            drive(state, Input::Respond(StatusClass::Success), UNRELIABLE),
            (InviteServer::Accepted, vec![Action::Send])
        );
        assert_eq!(drive(state, Input::Timer(Timer::L), UNRELIABLE).0, InviteServer::Terminated);
    }
}
