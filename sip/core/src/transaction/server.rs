//! The non-INVITE server transaction (RFC 3261 section 17.2.2).
//!
//! ```text
//!            request            1xx from the user
//!   start ───────────▶ Trying ────────────────────▶ Proceeding ◀─┐ request, 1xx: last response again
//!                       │   │ 200–699                 │    └─────┘
//!                     J │   ▼                         │
//!                       │ Completed ◀─────────────────┘
//!                       │   │ J    request: response again
//!                       └───┴──▶ Terminated
//! ```
//!
//! Timer J also bounds the wait for the user: after 64*T1 the client has timed out and must not be answered any more
//! (RFC 4320 section 4.2).

use super::machine::{Action, Actions, ServerInput as Input, Settings, StatusClass, Timer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NonInviteServer {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

impl NonInviteServer {
    pub(super) fn start(settings: Settings, actions: &mut Actions) -> Self {
        actions.push(Action::Start(Timer::J, settings.timers.transaction_timeout()));
        Self::Trying
    }

    pub(super) fn step(&mut self, input: Input, settings: Settings, actions: &mut Actions) {
        *self = match (*self, input) {
            // "Any retransmissions of the request in the "Trying" state are discarded."
            (Self::Trying, Input::Request) => Self::Trying,
            (Self::Proceeding | Self::Completed, Input::Request) => {
                actions.push(Action::Send);
                *self
            }
            (Self::Trying | Self::Proceeding, Input::Respond(StatusClass::Provisional)) => {
                actions.push(Action::Send);
                Self::Proceeding
            }
            (
                Self::Trying | Self::Proceeding,
                Input::Respond(StatusClass::Success | StatusClass::Failure),
            ) => {
                actions.push(Action::Send);
                if settings.reliable {
                    Self::Terminated
                } else {
                    let wait = settings.timers.transaction_timeout();
                    actions.push(Action::Start(Timer::J, wait));
                    Self::Completed
                }
            }
            (Self::Trying | Self::Proceeding | Self::Completed, Input::Timer(Timer::J)) => Self::Terminated,
            // There is no ACK outside INVITE transactions, and only the first final response counts.
            (Self::Trying | Self::Proceeding | Self::Completed, Input::Ack | Input::Timer(_))
            | (Self::Completed, Input::Respond(_))
            | (Self::Terminated, Input::Request | Input::Ack | Input::Respond(_) | Input::Timer(_)) => *self,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::machine::testing::{RELIABLE, UNRELIABLE, ms};

    fn drive(mut state: NonInviteServer, input: Input, settings: Settings) -> (NonInviteServer, Vec<Action>) {
        let mut actions = Actions::new();
        state.step(input, settings, &mut actions);
        (state, actions.to_vec())
    }

    #[test]
    fn repeated_requests_are_absorbed_first_and_answered_later() {
        let state = NonInviteServer::start(UNRELIABLE, &mut Actions::new());
        assert_eq!(drive(state, Input::Request, UNRELIABLE), (NonInviteServer::Trying, vec![]));
        let (state, actions) = drive(state, Input::Respond(StatusClass::Success), UNRELIABLE);
        assert_eq!(actions, [Action::Send, Action::Start(Timer::J, ms(32_000))]);
        assert_eq!(drive(state, Input::Request, UNRELIABLE), (state, vec![Action::Send]));
        assert_eq!(drive(state, Input::Respond(StatusClass::Failure), UNRELIABLE), (state, vec![]));
        assert_eq!(drive(state, Input::Timer(Timer::J), UNRELIABLE).0, NonInviteServer::Terminated);
    }

    #[test]
    fn over_a_reliable_transport_it_ends_with_the_response() {
        let state = NonInviteServer::start(RELIABLE, &mut Actions::new());
        let (state, actions) = drive(state, Input::Respond(StatusClass::Success), RELIABLE);
        assert_eq!((state, actions), (NonInviteServer::Terminated, vec![Action::Send]));
    }

    #[test]
    fn a_request_that_the_user_never_answers_ends_with_timer_j() {
        let mut actions = Actions::new();
        let state = NonInviteServer::start(RELIABLE, &mut actions);
        assert_eq!(actions.to_vec(), [Action::Start(Timer::J, ms(32_000))]);
        assert_eq!(drive(state, Input::Timer(Timer::J), RELIABLE).0, NonInviteServer::Terminated);
    }
}
