//! Whether a gateway can be used: what OPTIONS probes and calls tell of it.
//!
//! ```text
//!   Unknown ──answers──▶ Up          probed: Up and Down change after as many signs in a row as the thresholds say
//!      │ ▲                │ ▲
//!      │ └─ rest is over  │ │        not probed: Unknown, or Down for a rest after which one more failure is enough
//!      ▼                  ▼ │
//!         Down, by failures in a row
//! ```
//!
//! Beside that a gateway may have asked to be left alone: 503 with Retry-After.

use std::time::{Duration, Instant};

use control_api_types::GatewayState;
use rand_core::Rng;
use sip_core::{Failure, FailureCause, OutgoingId, OutgoingOutcome};

use crate::call::fails_over;
use crate::config::Probing;

/// How many failures of calls in a row take a gateway out that is not probed. One may be chance, and each costs a
/// customer the silence of `failover_ms`.
const FAILURES: u32 = 3;

/// How long such a gateway rests before a call tries it again.
const REST: Duration = Duration::from_secs(30);

/// How long a gateway is left alone at most, whatever its Retry-After says: an hour's silence would be an outage.
const MAX_REST: Duration = Duration::from_secs(300);

/// How long a probe waits for its answer: as long as an INVITE does by default.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// All first probes are sent in this time, so that many trunks do not ask at once.
const FIRST_PROBE: Duration = Duration::from_secs(2);

/// Weight of the last round trip in the average, as TCP has it (RFC 6298 §2.3: alpha = 1/8).
const RTT_WEIGHT: f32 = 0.125;

/// What a call or a probe tells of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It does its work.
    Alive,
    /// Why it did not.
    Failed(String),
    /// 503, and when to come back.
    Busy(Duration),
}

impl Sign {
    /// What the outcome of a probe tells. What would lead a call to the next gateway is no sign of life; every other
    /// answer is, for somebody has given it: 200, a challenge, 404, 405, 501 …
    pub(crate) fn of_probe(outcome: &OutgoingOutcome) -> Self {
        match outcome {
            OutgoingOutcome::Response { response, .. } => match response.status().unwrap_or_default() {
                status @ (408 | 430 | 500 | 502 | 503 | 504) => {
                    Self::Failed(format!("{status} {} to OPTIONS", sip_core::reason_phrase(status)))
                }
                _ => Self::Alive,
            },
            OutgoingOutcome::Timeout => Self::Failed("no answer to OPTIONS".to_owned()),
            OutgoingOutcome::Transport => Self::Failed(UNREACHABLE.to_owned()),
            OutgoingOutcome::Resolve => Self::Failed(NO_ADDRESS.to_owned()),
        }
    }

    /// What the failure of a call tells: what leads to the next gateway is this one's failure.
    pub(crate) fn of_call(failure: &Failure) -> Option<Self> {
        match (failure.cause, failure.retry_after) {
            (FailureCause::Response(503), Some(after)) => Some(Self::Busy(after)),
            (FailureCause::Response(status), _) if fails_over(failure) => {
                Some(Self::Failed(format!("{status} {} to INVITE", sip_core::reason_phrase(status))))
            }
            (FailureCause::Response(_), _) => Some(Self::Alive),
            (FailureCause::Timeout | FailureCause::Transport | FailureCause::Resolve, _) => {
                Self::of_silence(failure)
            }
            (FailureCause::Cancelled, _) => None,
        }
    }

    /// What it tells that nobody has answered.
    pub(crate) fn of_silence(failure: &Failure) -> Option<Self> {
        match failure.cause {
            FailureCause::Timeout => Some(Self::Failed("no answer to INVITE".to_owned())),
            FailureCause::Transport => Some(Self::Failed(UNREACHABLE.to_owned())),
            FailureCause::Resolve => Some(Self::Failed(NO_ADDRESS.to_owned())),
            FailureCause::Response(_) | FailureCause::Cancelled => None,
        }
    }
}

const UNREACHABLE: &str = "cannot be reached";
const NO_ADDRESS: &str = "its name has no address";

/// Whether calls may go to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fitness {
    Usable,
    /// As a last resort: what probes say of OPTIONS need not be true of INVITE.
    Doubtful,
    /// It has asked not to be called. RFC 3261 §21.5.4: the client "SHOULD NOT forward any other requests to that server
    /// for the duration specified in the Retry-After".
    Resting,
}

#[derive(Debug)]
pub(crate) struct Health {
    state: State,
    streak: Streak,
    /// Average round trip of probes, ms.
    rtt_ms: Option<f32>,
    resting_until: Option<Instant>,
    probe: Probe,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Unknown,
    Up,
    Down {
        reason: String,
        /// When it is given another chance, if no probe finds out.
        until: Option<Instant>,
    },
}

/// Signs of one kind in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streak {
    Alive(u32),
    Failed(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    Off,
    Next(Instant),
    Sent { id: OutgoingId, at: Instant },
}

/// What a gateway's timer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Send an OPTIONS, and tell [`Health::probe_sent`].
    Probe,
    /// The OPTIONS was not answered: give it up.
    GiveUp(OutgoingId),
}

impl Health {
    pub(crate) fn new(now: Instant, probing: Option<&Probing>, random: &mut impl Rng) -> Self {
        let probe = match probing {
            Some(probing) => Probe::Next(now + share(FIRST_PROBE.min(probing.interval), 0.0, 1.0, random)),
            None => Probe::Off,
        };
        Self { state: State::Unknown, streak: Streak::Alive(0), rtt_ms: None, resting_until: None, probe }
    }

    pub(crate) fn fitness(&self) -> Fitness {
        match (&self.state, self.resting_until) {
            (_, Some(_)) => Fitness::Resting,
            (State::Down { .. }, None) => Fitness::Doubtful,
            (State::Unknown | State::Up, None) => Fitness::Usable,
        }
    }

    pub(crate) fn view(&self) -> GatewayState {
        match (&self.state, self.resting_until) {
            (_, Some(_)) | (State::Down { .. }, None) => GatewayState::Down,
            (State::Up, None) => GatewayState::Up,
            (State::Unknown, None) => GatewayState::Unmonitored,
        }
    }

    pub(crate) fn rtt_ms(&self) -> Option<f32> {
        self.rtt_ms
    }

    /// Why calls do not go there.
    pub(crate) fn reason(&self) -> &str {
        match &self.state {
            State::Down { reason, .. } => reason,
            State::Unknown | State::Up if self.resting_until.is_some() => "503, asked to be left alone",
            State::Unknown | State::Up => "",
        }
    }

    /// Takes what a call or a probe has told.
    pub(crate) fn sign(
        &mut self,
        now: Instant,
        probing: Option<&Probing>,
        sign: Sign,
        random: &mut impl Rng,
    ) {
        match sign {
            Sign::Alive => {
                let count = match self.streak {
                    Streak::Alive(count) => count.saturating_add(1),
                    Streak::Failed(_) => 1,
                };
                self.streak = Streak::Alive(count);
                match (&self.state, probing) {
                    (State::Unknown, Some(_)) => self.state = State::Up,
                    (State::Down { .. }, Some(probing)) if count >= probing.up_after => {
                        self.state = State::Up
                    }
                    (State::Down { .. }, None) => self.state = State::Unknown,
                    (State::Unknown, None) | (State::Up | State::Down { .. }, _) => {}
                }
            }
            Sign::Failed(reason) => {
                let count = match self.streak {
                    Streak::Failed(count) => count.saturating_add(1),
                    Streak::Alive(_) => 1,
                };
                self.streak = Streak::Failed(count);
                if count >= probing.map_or(FAILURES, |probing| probing.down_after) {
                    let until = match probing {
                        Some(_) => None,
                        None => Some(now + share(REST, 0.9, 1.1, random)),
                    };
                    self.state = State::Down { reason, until };
                }
            }
            Sign::Busy(asked) => {
                // Not everybody at once when it is over.
                let rest = share(asked.clamp(Duration::from_secs(1), MAX_REST), 1.0, 1.1, random);
                self.resting_until = self.resting_until.max(Some(now + rest));
            }
        }
    }

    /// When [`Health::timeout`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        let rest = match self.state {
            State::Down { until, .. } => until,
            State::Unknown | State::Up => None,
        };
        let probe = match self.probe {
            Probe::Off => None,
            Probe::Next(at) => Some(at),
            Probe::Sent { at, .. } => Some(at + PROBE_TIMEOUT),
        };
        [rest, probe, self.resting_until].into_iter().flatten().min()
    }

    pub(crate) fn timeout(&mut self, now: Instant, probing: Option<&Probing>, random: &mut impl Rng) -> Due {
        if self.resting_until.is_some_and(|until| until <= now) {
            self.resting_until = None;
        }
        if let State::Down { until: Some(until), .. } = self.state
            && until <= now
        {
            self.state = State::Unknown;
            // One more failure, and it rests again.
            self.streak = Streak::Failed(FAILURES - 1);
        }
        match self.probe {
            Probe::Next(at) if at <= now => Due::Probe,
            Probe::Sent { id, at } if at + PROBE_TIMEOUT <= now => {
                self.probed(now, probing, Sign::Failed("no answer to OPTIONS".to_owned()), random);
                Due::GiveUp(id)
            }
            Probe::Off | Probe::Next(_) | Probe::Sent { .. } => Due::Nothing,
        }
    }

    /// A probe is out, or could not be sent.
    pub(crate) fn probe_sent(
        &mut self,
        now: Instant,
        probing: &Probing,
        id: Option<OutgoingId>,
        random: &mut impl Rng,
    ) {
        self.probe = match id {
            Some(id) => Probe::Sent { id, at: now },
            None => Probe::Next(now + share(probing.interval, 0.9, 1.1, random)),
        };
    }

    /// A probe was answered in some way.
    pub(crate) fn probed(
        &mut self,
        now: Instant,
        probing: Option<&Probing>,
        sign: Sign,
        random: &mut impl Rng,
    ) {
        let Probe::Sent { at, .. } = self.probe else { return };
        if sign == Sign::Alive {
            let sample = now.saturating_duration_since(at).as_secs_f32() * 1000.0;
            self.rtt_ms = Some(self.rtt_ms.map_or(sample, |rtt| rtt + (sample - rtt) * RTT_WEIGHT));
        }
        self.probe = match probing {
            Some(probing) => Probe::Next((at + share(probing.interval, 0.9, 1.1, random)).max(now)),
            None => Probe::Off,
        };
        self.sign(now, probing, sign, random);
    }

    /// Whether the answer to this probe is awaited.
    pub(crate) fn awaits(&self, probe: OutgoingId) -> bool {
        matches!(self.probe, Probe::Sent { id, .. } if id == probe)
    }
}

/// From `low` to `high` times this long, at random.
fn share(whole: Duration, low: f32, high: f32, random: &mut impl Rng) -> Duration {
    let part = (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
    whole.mul_f32(low + (high - low) * part)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    const PROBING: Probing = Probing { interval: Duration::from_secs(10), down_after: 3, up_after: 2 };

    struct Bench {
        now: Instant,
        health: Health,
        probing: Option<Probing>,
        random: ChaCha20Rng,
    }

    impl Bench {
        fn new(probing: Option<Probing>) -> Self {
            #[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of a test")]
            let now = Instant::now();
            let mut random = ChaCha20Rng::seed_from_u64(3);
            let health = Health::new(now, probing.as_ref(), &mut random);
            Self { now, health, probing, random }
        }

        #[track_caller]
        fn sign(&mut self, sign: Sign, expected: GatewayState) {
            self.health.sign(self.now, self.probing.as_ref(), sign, &mut self.random);
            assert_eq!(self.health.view(), expected);
        }

        fn wait(&mut self, seconds: f32) -> Due {
            self.now += Duration::from_secs_f32(seconds);
            self.health.timeout(self.now, self.probing.as_ref(), &mut self.random)
        }
    }

    fn failed() -> Sign {
        Sign::Failed("x".to_owned())
    }

    #[test]
    fn a_probed_gateway_changes_after_signs_in_a_row() {
        use GatewayState::{Down, Unmonitored, Up};
        let mut bench = Bench::new(Some(PROBING));
        for (sign, state) in [
            (failed(), Unmonitored),
            (Sign::Alive, Up),
            (failed(), Up),
            (failed(), Up),
            (Sign::Alive, Up),
            (failed(), Up),
            (failed(), Up),
            (failed(), Down),
            (Sign::Alive, Down),
            (failed(), Down),
            (Sign::Alive, Down),
            (Sign::Alive, Up),
        ] {
            bench.sign(sign, state);
        }
    }

    #[test]
    fn a_gateway_that_is_not_probed_rests_and_is_tried_again() {
        use GatewayState::{Down, Unmonitored};
        let mut bench = Bench::new(None);
        bench.sign(failed(), Unmonitored);
        bench.sign(failed(), Unmonitored);
        bench.sign(failed(), Down);
        assert_eq!((bench.health.fitness(), bench.health.reason()), (Fitness::Doubtful, "x"));
        assert_eq!(bench.wait(26.0), Due::Nothing);
        assert_eq!(bench.health.view(), Down);
        bench.wait(8.0);
        assert_eq!(bench.health.view(), Unmonitored);
        bench.sign(failed(), Down);
        bench.sign(Sign::Alive, Unmonitored);
        bench.sign(failed(), Unmonitored);
    }

    #[test]
    fn retry_after_is_kept_within_bounds() {
        for (asked, least, most) in [(20, 20.0, 22.0), (0, 1.0, 1.1), (86_400, 300.0, 330.0)] {
            let mut bench = Bench::new(None);
            bench.sign(Sign::Busy(Duration::from_secs(asked)), GatewayState::Down);
            assert_eq!(bench.health.fitness(), Fitness::Resting);
            bench.wait(least - 0.1);
            assert_eq!(bench.health.fitness(), Fitness::Resting, "{asked}");
            bench.wait(most - least + 0.2);
            assert_eq!(bench.health.fitness(), Fitness::Usable, "{asked}");
            assert_eq!(bench.health.due(), None);
        }
    }

    #[test]
    fn probes_are_spread_measured_and_given_up() {
        let mut bench = Bench::new(Some(PROBING));
        let first = bench.health.due().unwrap() - bench.now;
        assert!(first <= FIRST_PROBE);
        assert_eq!(bench.wait(2.0), Due::Probe);
        let sent = |bench: &mut Bench, id| {
            bench.health.probe_sent(bench.now, &PROBING, Some(OutgoingId(id)), &mut bench.random);
        };
        sent(&mut bench, 1);
        assert!(bench.health.awaits(OutgoingId(1)) && !bench.health.awaits(OutgoingId(2)));
        bench.wait(0.08);
        let now = bench.now;
        bench.health.probed(now, Some(&PROBING), Sign::Alive, &mut bench.random);
        assert!((bench.health.rtt_ms().unwrap() - 80.0).abs() < 0.1);
        let next = (bench.health.due().unwrap() - now).as_secs_f32();
        assert!((8.9..=11.0).contains(&next), "{next}");
        assert_eq!(bench.wait(11.0), Due::Probe);
        sent(&mut bench, 2);
        bench.wait(0.16);
        let now = bench.now;
        bench.health.probed(now, Some(&PROBING), Sign::Alive, &mut bench.random);
        assert!((bench.health.rtt_ms().unwrap() - 90.0).abs() < 0.1, "an eighth of the difference");
        bench.wait(11.0);
        sent(&mut bench, 3);
        assert_eq!(bench.wait(3.9), Due::Nothing);
        assert_eq!(bench.wait(0.2), Due::GiveUp(OutgoingId(3)));
        assert!(bench.health.due().unwrap() > bench.now, "the next one comes in its time");
    }
}
