//! The non-INVITE client transaction (RFC 3261 section 17.1.2).
//!
//! ```text
//!            request sent            1xx
//!   start ──────────────▶ Trying ───────────▶ Proceeding ◀─┐ 1xx
//!                        E │ │ └───┐ 200–699   │   │  └────┘ E: send again every T2
//!              send again ─┘ │     ▼           │   │
//!                            │  Completed ◀────┘   │
//!          F, transport error│     │ K             │ F, transport error
//!                            └──▶ Terminated ◀─────┘
//! ```

use std::time::Duration;

use super::machine::{Action, Actions, ClientInput as Input, Settings, StatusClass, Timer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NonInviteClient {
    Trying { interval: Duration },
    Proceeding,
    Completed,
    Terminated,
}

impl NonInviteClient {
    /// The request goes out.
    pub(super) fn start(settings: Settings, actions: &mut Actions) -> Self {
        let interval = settings.timers.t1;
        actions.push(Action::Send);
        if !settings.reliable {
            actions.push(Action::Start(Timer::E, interval));
        }
        actions.push(Action::Start(Timer::F, settings.timers.transaction_timeout()));
        Self::Trying { interval }
    }

    pub(super) fn step(&mut self, input: Input, settings: Settings, actions: &mut Actions) {
        *self = match (*self, input) {
            (Self::Trying { interval }, Input::Timer(Timer::E)) => {
                let interval = settings.timers.back_off(interval);
                actions.extend([Action::Send, Action::Start(Timer::E, interval)]);
                Self::Trying { interval }
            }
            // "If Timer E fires while in the "Proceeding" state, … it is reset with a value of T2 seconds."
            (Self::Proceeding, Input::Timer(Timer::E)) => {
                actions.extend([Action::Send, Action::Start(Timer::E, settings.timers.t2)]);
                Self::Proceeding
            }
            (Self::Trying { .. } | Self::Proceeding, Input::Timer(Timer::F)) => {
                actions.push(Action::TimedOut);
                Self::Terminated
            }
            (Self::Trying { .. } | Self::Proceeding, Input::TransportError) => {
                actions.push(Action::TransportFailed);
                Self::Terminated
            }
            (Self::Trying { .. } | Self::Proceeding, Input::Response(StatusClass::Provisional)) => {
                actions.push(Action::Deliver);
                Self::Proceeding
            }
            (
                Self::Trying { .. } | Self::Proceeding,
                Input::Response(StatusClass::Success | StatusClass::Failure),
            ) => {
                actions.extend([Action::Stop(Timer::E), Action::Stop(Timer::F), Action::Deliver]);
                match settings.timers.wait_for_retransmits(settings.reliable) {
                    Duration::ZERO => Self::Terminated,
                    wait => {
                        actions.push(Action::Start(Timer::K, wait));
                        Self::Completed
                    }
                }
            }
            (Self::Completed, Input::Timer(Timer::K)) => Self::Terminated,
            (Self::Completed, Input::Response(_) | Input::TransportError)
            | (Self::Trying { .. } | Self::Proceeding | Self::Completed, Input::Timer(_))
            | (Self::Terminated, Input::Response(_) | Input::Timer(_) | Input::TransportError) => *self,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::machine::testing::{RELIABLE, UNRELIABLE, ms};

    fn drive(mut state: NonInviteClient, input: Input, settings: Settings) -> (NonInviteClient, Vec<Action>) {
        let mut actions = Actions::new();
        state.step(input, settings, &mut actions);
        (state, actions.to_vec())
    }

    #[test]
    fn timer_e_doubles_up_to_t2() {
        let mut state = NonInviteClient::start(UNRELIABLE, &mut Actions::new());
        for expected in [1_000, 2_000, 4_000, 4_000] {
            let mut actions = Actions::new();
            state.step(Input::Timer(Timer::E), UNRELIABLE, &mut actions);
            assert_eq!(actions.to_vec(), [Action::Send, Action::Start(Timer::E, ms(expected))]);
        }
    }

    #[test]
    fn after_a_provisional_response_it_still_retransmits_every_t2() {
        let state = NonInviteClient::start(UNRELIABLE, &mut Actions::new());
        let (state, actions) = drive(state, Input::Response(StatusClass::Provisional), UNRELIABLE);
        assert_eq!((state, actions), (NonInviteClient::Proceeding, vec![Action::Deliver]));
        let (state, actions) = drive(state, Input::Timer(Timer::E), UNRELIABLE);
        assert_eq!(actions, [Action::Send, Action::Start(Timer::E, ms(4_000))]);
        let (state, actions) = drive(state, Input::Timer(Timer::F), UNRELIABLE);
        assert_eq!((state, actions), (NonInviteClient::Terminated, vec![Action::TimedOut]));
    }

    #[test]
    fn the_final_response_is_delivered_once_and_its_repeats_absorbed_for_t4() {
        let state = NonInviteClient::start(UNRELIABLE, &mut Actions::new());
        let (state, actions) = drive(state, Input::Response(StatusClass::Failure), UNRELIABLE);
        assert_eq!(actions[2..], [Action::Deliver, Action::Start(Timer::K, ms(5_000))]);
        let (state, actions) = drive(state, Input::Response(StatusClass::Failure), UNRELIABLE);
        assert_eq!((state, actions), (NonInviteClient::Completed, vec![]));
        assert_eq!(drive(state, Input::Timer(Timer::K), UNRELIABLE).0, NonInviteClient::Terminated);
    }

    #[test]
    fn a_reliable_transport_sends_once_and_does_not_linger() {
        let mut actions = Actions::new();
        let state = NonInviteClient::start(RELIABLE, &mut actions);
        assert_eq!(actions.to_vec(), [Action::Send, Action::Start(Timer::F, ms(32_000))]);
        let (state, _) = drive(state, Input::Response(StatusClass::Success), RELIABLE);
        assert_eq!(state, NonInviteClient::Terminated);
    }
}
