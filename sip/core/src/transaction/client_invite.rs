//! The INVITE client transaction (RFC 3261 section 17.1.1, as amended by RFC 6026 section 7.2).
//!
//! ```text
//!            INVITE sent                 1xx
//!   start ──────────────▶ Calling ─────────────────▶ Proceeding ◀─┐ 1xx
//!                          │   │ A: send again        │   │  └────┘
//!                          │   └──────┐ 2xx           │   │ 3xx–6xx: ACK
//!             B, transport │          ▼      2xx      │   ▼
//!                  error   │       Accepted ◀─────────┘  Completed ◀─┐ 3xx–6xx: ACK again
//!                          │      2xx │ M              D │   └───────┘
//!                          └────────▶ Terminated ◀───────┘
//! ```

use std::time::Duration;

use super::machine::{Action, Actions, ClientInput as Input, Settings, StatusClass, Timer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InviteClient {
    Calling { interval: Duration },
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

impl InviteClient {
    /// The INVITE goes out.
    pub(super) fn start(settings: Settings, actions: &mut Actions) -> Self {
        let interval = settings.timers.t1;
        actions.push(Action::Send);
        if !settings.reliable {
            actions.push(Action::Start(Timer::A, interval));
        }
        actions.push(Action::Start(Timer::B, settings.timers.transaction_timeout()));
        Self::Calling { interval }
    }

    pub(super) fn step(&mut self, input: Input, settings: Settings, actions: &mut Actions) {
        *self = match (*self, input) {
            (Self::Calling { interval }, Input::Timer(Timer::A)) => {
                // "When timer A fires 2*T1 seconds later, the request MUST be retransmitted again": no cap at T2.
                let interval = interval * 2;
                actions.extend([Action::Send, Action::Start(Timer::A, interval)]);
                Self::Calling { interval }
            }
            (Self::Calling { .. }, Input::Timer(Timer::B)) => {
                actions.push(Action::TimedOut);
                Self::Terminated
            }
            (Self::Calling { .. }, Input::TransportError) => {
                actions.push(Action::TransportFailed);
                Self::Terminated
            }
            (Self::Calling { .. }, Input::Response(class)) => {
                actions.extend([Action::Stop(Timer::A), Action::Stop(Timer::B)]);
                Self::response(class, settings, actions)
            }
            (Self::Proceeding, Input::Response(class)) => Self::response(class, settings, actions),
            // The response may come over another connection; the user gives up when it likes.
            (Self::Proceeding, Input::TransportError) => Self::Proceeding,

            (Self::Completed, Input::Response(StatusClass::Failure)) => {
                actions.push(Action::Acknowledge);
                Self::Completed
            }
            (Self::Completed, Input::Timer(Timer::D) | Input::TransportError) => Self::Terminated,

            // RFC 6026 section 8.4: the state is there to pass them up, repetitions and those of other forks.
            (Self::Accepted, Input::Response(StatusClass::Success)) => {
                actions.push(Action::Deliver);
                Self::Accepted
            }
            (Self::Accepted, Input::Timer(Timer::M)) => Self::Terminated,

            (Self::Completed, Input::Response(StatusClass::Provisional | StatusClass::Success))
            | (Self::Accepted, Input::Response(StatusClass::Provisional | StatusClass::Failure))
            | (Self::Accepted, Input::TransportError)
            | (Self::Calling { .. } | Self::Proceeding | Self::Completed | Self::Accepted, Input::Timer(_))
            | (Self::Terminated, Input::Response(_) | Input::Timer(_) | Input::TransportError) => *self,
        };
    }

    /// A response in Calling or Proceeding.
    fn response(class: StatusClass, settings: Settings, actions: &mut Actions) -> Self {
        match class {
            StatusClass::Provisional => {
                actions.push(Action::Deliver);
                Self::Proceeding
            }
            StatusClass::Success => {
                actions.push(Action::Start(Timer::M, settings.timers.transaction_timeout()));
                actions.push(Action::Deliver);
                Self::Accepted
            }
            StatusClass::Failure => {
                actions.extend([Action::Acknowledge, Action::Deliver]);
                match settings.timers.wait_for_response_retransmits(settings.reliable) {
                    Duration::ZERO => Self::Terminated,
                    wait => {
                        actions.push(Action::Start(Timer::D, wait));
                        Self::Completed
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::machine::testing::{RELIABLE, UNRELIABLE, ms};

    fn drive(mut state: InviteClient, input: Input, settings: Settings) -> (InviteClient, Vec<Action>) {
        let mut actions = Actions::new();
        state.step(input, settings, &mut actions);
        (state, actions.to_vec())
    }

    const CALLING: InviteClient = InviteClient::Calling { interval: ms(500) };

    #[test]
    fn timer_a_doubles_without_a_cap() {
        let mut actions = Actions::new();
        let mut state = InviteClient::start(UNRELIABLE, &mut actions);
        assert_eq!(
            actions.to_vec(),
            [Action::Send, Action::Start(Timer::A, ms(500)), Action::Start(Timer::B, ms(32_000))]
        );
        for expected in [1_000, 2_000, 4_000, 8_000, 16_000] {
            let mut actions = Actions::new();
            state.step(Input::Timer(Timer::A), UNRELIABLE, &mut actions);
            assert_eq!(actions.to_vec(), [Action::Send, Action::Start(Timer::A, ms(expected))]);
        }
    }

    #[test]
    fn a_reliable_transport_has_no_timer_a_and_no_wait_in_completed() {
        let mut actions = Actions::new();
        let state = InviteClient::start(RELIABLE, &mut actions);
        assert_eq!(actions.to_vec(), [Action::Send, Action::Start(Timer::B, ms(32_000))]);
        let (state, _) = drive(state, Input::Response(StatusClass::Failure), RELIABLE);
        assert_eq!(state, InviteClient::Terminated);
    }

    #[test]
    fn a_failure_is_acknowledged_each_time_it_comes_and_delivered_once() {
        let (state, actions) = drive(CALLING, Input::Response(StatusClass::Failure), UNRELIABLE);
        assert_eq!(state, InviteClient::Completed);
        assert_eq!(actions[2..], [Action::Acknowledge, Action::Deliver, Action::Start(Timer::D, ms(32_000))]);
        let (state, actions) = drive(state, Input::Response(StatusClass::Failure), UNRELIABLE);
        assert_eq!((state, actions), (InviteClient::Completed, vec![Action::Acknowledge]));
        let (state, _) = drive(state, Input::Timer(Timer::D), UNRELIABLE);
        assert_eq!(state, InviteClient::Terminated);
    }

    #[test]
    fn every_2xx_is_delivered_until_timer_m() {
        let (state, actions) =
            drive(InviteClient::Proceeding, Input::Response(StatusClass::Success), UNRELIABLE);
        assert_eq!(state, InviteClient::Accepted);
        assert_eq!(actions, [Action::Start(Timer::M, ms(32_000)), Action::Deliver]);
        let (state, actions) = drive(state, Input::Response(StatusClass::Success), UNRELIABLE);
        assert_eq!((state, actions), (InviteClient::Accepted, vec![Action::Deliver]));
        let (state, actions) = drive(state, Input::Timer(Timer::M), UNRELIABLE);
        assert_eq!((state, actions), (InviteClient::Terminated, vec![]));
    }

    #[test]
    fn a_provisional_response_stops_retransmission_and_timer_b() {
        let (state, actions) = drive(CALLING, Input::Response(StatusClass::Provisional), UNRELIABLE);
        assert_eq!(state, InviteClient::Proceeding);
        assert_eq!(actions, [Action::Stop(Timer::A), Action::Stop(Timer::B), Action::Deliver]);
    }

    #[test]
    fn timer_b_and_transport_errors_end_it_with_a_report() {
        let (state, actions) = drive(CALLING, Input::Timer(Timer::B), UNRELIABLE);
        assert_eq!((state, actions), (InviteClient::Terminated, vec![Action::TimedOut]));
        let (state, actions) = drive(CALLING, Input::TransportError, UNRELIABLE);
        assert_eq!((state, actions), (InviteClient::Terminated, vec![Action::TransportFailed]));
    }
}
