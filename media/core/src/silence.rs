//! A peer that sends nothing at all.

use std::time::{Duration, Instant};

use crate::Direction;

/// How long a peer may send nothing, neither RTP nor RTCP, before its leg says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RtpTimeout {
    /// When both sides send; `None`: for ever.
    pub talking: Option<Duration>,
    /// When one of them does not (a call on hold); `None`: for ever.
    pub held: Option<Duration>,
}

impl RtpTimeout {
    fn of(self, direction: Direction) -> Option<Duration> {
        match direction {
            Direction::SendRecv => self.talking,
            // Who only sends, or only listens to a peer who may have nothing to say, owes us no packets.
            Direction::SendOnly | Direction::RecvOnly | Direction::Inactive => self.held,
        }
    }
}

/// Tells when the peer has been silent for too long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    direction: Direction,
    since: Instant,
}

impl Silence {
    pub(crate) fn new(now: Instant, direction: Direction) -> Self {
        Self { direction, since: now }
    }

    /// After a further offer and answer: another direction is another agreement.
    pub(crate) fn again(self, now: Instant, direction: Direction) -> Self {
        if direction == self.direction { self } else { Self::new(now, direction) }
    }

    /// The peer is there.
    pub(crate) fn broken(&mut self, now: Instant) {
        self.since = now;
    }

    /// How long it has lasted, if that is too long; then it is told again only after as long.
    pub(crate) fn poll(&mut self, now: Instant, timeout: RtpTimeout) -> Option<Duration> {
        let lasted = now.saturating_duration_since(self.since);
        let limit = timeout.of(self.direction)?;
        (lasted >= limit).then(|| {
            self.since = now;
            lasted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_owes_packets_has_less_time() {
        let timeout =
            RtpTimeout { talking: Some(Duration::from_secs(60)), held: Some(Duration::from_secs(600)) };
        let start = crate::epoch();
        let at = |s| start + Duration::from_secs(s);
        let mut silence = Silence::new(start, Direction::SendRecv);
        assert_eq!(silence.poll(at(59), timeout), None);
        silence.broken(at(30));
        assert_eq!(silence.poll(at(89), timeout), None);
        assert_eq!(silence.poll(at(90), timeout), Some(Duration::from_secs(60)));
        assert_eq!(silence.poll(at(149), timeout), None, "told once");
        assert_eq!(silence.poll(at(150), timeout), Some(Duration::from_secs(60)), "unless it lasts");
        let mut held = silence.again(at(200), Direction::SendOnly);
        assert_eq!(held.poll(at(799), timeout), None);
        assert_eq!(
            held.again(at(700), Direction::SendOnly).poll(at(800), timeout),
            Some(Duration::from_secs(600))
        );
        let mut back = held.again(at(790), Direction::SendRecv);
        assert_eq!(back.poll(at(849), timeout), None, "the time on hold does not count");
        assert_eq!(held.poll(at(90_000), RtpTimeout::default()), None, "off");
    }
}
