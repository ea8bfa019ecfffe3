//! Limits, the drain, and the end.

use super::*;

impl Engine {
    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Changes the limits; live calls above a lower one go on.
    pub fn set_limits(&mut self, now: Instant, limits: Limits) {
        self.limits = limits;
        self.gate.set_capacity(capacity(&limits));
        self.settle(now);
    }

    /// Replaces the clock, when the machine's own was stepped.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Stops taking calls, or takes them again. Queued calls end as `limit-reached` at once, live ones by themselves or
    /// after `drain_timeout_s`.
    pub fn drain(&mut self, now: Instant, on: bool) {
        match (on, self.drain) {
            (true, Drain::Off) => {
                self.drain = Drain::Until(now + Duration::from_secs(u64::from(self.limits.drain_timeout_s)));
                let at_unix_ms = self.clock.unix_ms(now);
                self.outputs.push_back(Output::NodeEvent { data: EventData::EngineDraining {}, at_unix_ms });
                let queued: Vec<_> =
                    self.calls.iter().filter(|(_, call)| call.is_queued()).map(|(&leg, _)| leg).collect();
                for leg in queued {
                    self.hangup_leg(now, leg);
                }
            }
            (false, Drain::Until(_) | Drain::Over) => self.drain = Drain::Off,
            (true, Drain::Until(_) | Drain::Over) | (false, Drain::Off) => {}
        }
        self.settle(now);
    }

    /// Whether new calls are refused.
    pub fn is_draining(&self) -> bool {
        self.drain != Drain::Off
    }

    /// Whether it drains and the last CDR is out.
    pub fn is_drained(&self) -> bool {
        self.is_draining() && self.calls.is_empty()
    }

    /// Hangs up every call and takes back the registrations of all trunks: the last thing before the sockets close.
    pub fn stop(&mut self, now: Instant) {
        self.drain(now, true);
        self.drain = Drain::Over;
        self.hangup_all(now);
        for id in self.trunks.registrations() {
            // Unknown only if it is over, which is what we want.
            let _ = self.endpoint.unregister(now, id);
        }
        self.settle(now);
    }

    /// Ends the calls that only wait for their peers' last words, with what is known of them: after [`stop`](Self::stop),
    /// when there is no more time.
    pub fn stop_waiting(&mut self, now: Instant) {
        let legs: Vec<_> = self.calls.keys().copied().collect();
        for leg in legs {
            self.with_call(now, leg, LiveCall::finish);
        }
        self.settle(now);
    }

    /// Whether no call is left, here or at the peer that has to hear of its end, and no registrar expects calls for us.
    pub fn is_stopped(&self) -> bool {
        self.calls.is_empty()
            && self.trunks.iter().all(|(_, trunk)| !trunk.is_registered())
            && self.endpoint.unanswered() == 0
    }

    pub(super) fn hangup_all(&mut self, now: Instant) {
        let legs: Vec<_> = self.calls.keys().copied().collect();
        for leg in legs {
            self.hangup_leg(now, leg);
        }
    }

    pub(super) fn hangup_leg(&mut self, now: Instant, leg: LegId) {
        self.with_call(now, leg, |call, ctx| {
            call.hangup(ctx, HangupReason::Normal, EndedBy::Engine, Evidence::Limit);
        });
    }
}
