//! How long a connection may be silent, and when it is pinged (RFC 5626 sections 3.5.1 and 4.4.1).

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::Limits;

/// What a moment without anything from the peer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// It is time for a ping.
    Ping,
    /// Nothing yet: wait on.
    Wait,
    /// The connection is of no use to anybody.
    Idle,
    /// RFC 5626 section 4.4.1: "If the client does not receive the corresponding "pong" … within 10 seconds", "it MUST
    /// treat the flow as failed".
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pings {
    /// The peer sends them, as it opened the connection.
    Never,
    Due(Instant),
    Awaited(Instant),
}

/// Whether the peer answers pings. RFC 5626 section 4.4 has a client ping only where it knows that it does; nobody knows
/// beforehand, so a missing pong counts only after one has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pongs {
    Unknown,
    Given,
    /// It pings as well: half a ping looks like a pong.
    Unclear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No message yet: only that counts.
    Stranger,
    Known,
}

#[derive(Debug)]
pub(super) struct Life {
    stage: Stage,
    silent_until: Instant,
    idle: Duration,
    pings: Pings,
    /// Between two pings; of this one connection, so that connections opened together do not stay together.
    interval: Duration,
    pong: Duration,
    pongs: Pongs,
}

impl Life {
    /// Of a stream that the peer opened: it has to show that it means SIP before it may stay idle.
    pub(super) fn accepted(now: Instant, limits: &Limits) -> Life {
        Life {
            stage: Stage::Stranger,
            silent_until: now + limits.first_message.min(limits.idle),
            idle: limits.idle,
            pings: Pings::Never,
            interval: Duration::MAX,
            pong: limits.pong,
            pongs: Pongs::Unknown,
        }
    }

    /// Of a stream that we opened. `random` spreads the pings: "uniformly distributed between 80% and 100%" of the longest
    /// interval.
    pub(super) fn opened(now: Instant, limits: &Limits, random: u32) -> Life {
        let interval = spread(limits.ping, random);
        Life {
            stage: Stage::Known,
            silent_until: now + limits.idle_opened,
            idle: limits.idle_opened,
            pings: Pings::Due(now + interval),
            interval,
            ..Life::accepted(now, limits)
        }
    }

    /// WebSocket has pings of its own, which every peer answers (RFC 6455 section 5.5.2), and proxies on the way that
    /// close what is silent for a minute: both ends ping.
    pub(super) fn over_web_socket(self, now: Instant, limits: &Limits, random: u32) -> Life {
        let interval = spread(limits.ping_web_socket, random);
        Life { pings: Pings::Due(now + interval), interval, pongs: Pongs::Given, ..self }
    }

    /// When [`Self::silence`] is to be asked.
    pub(super) fn deadline(&self) -> Instant {
        match self.pings {
            Pings::Never => self.silent_until,
            Pings::Due(at) | Pings::Awaited(at) => at.min(self.silent_until),
        }
    }

    pub(super) fn heard_message(&mut self, now: Instant) {
        self.stage = Stage::Known;
        self.silent_until = now + self.idle;
        // Whoever sends is not dead, pong or not.
        if let Pings::Awaited(_) = self.pings {
            self.pings = Pings::Due(now + self.interval);
        }
    }

    /// An empty line, or two, of which RFC 5626 makes pings and pongs.
    pub(super) fn heard_ping(&mut self, now: Instant) {
        self.pongs = Pongs::Unclear;
        self.heard_sign_of_life(now);
    }

    /// What shows that the peer is there, and not that it means SIP.
    pub(super) fn heard_sign_of_life(&mut self, now: Instant) {
        if self.stage == Stage::Known {
            self.silent_until = now + self.idle;
        }
    }

    pub(super) fn heard_pong(&mut self, now: Instant) {
        let Pings::Awaited(_) = self.pings else { return };
        self.pings = Pings::Due(now + self.interval);
        if self.pongs == Pongs::Unknown {
            self.pongs = Pongs::Given;
        }
        self.heard_sign_of_life(now);
    }

    /// The deadline has passed.
    pub(super) fn silence(&mut self, now: Instant) -> Silence {
        if now >= self.silent_until {
            return Silence::Idle;
        }
        match self.pings {
            Pings::Due(at) if now >= at => {
                self.pings = Pings::Awaited(now + self.pong);
                Silence::Ping
            }
            Pings::Awaited(at) if now >= at => match self.pongs {
                Pongs::Given => Silence::Dead,
                Pongs::Unknown | Pongs::Unclear => {
                    self.pings = Pings::Due(now + self.interval);
                    Silence::Wait
                }
            },
            Pings::Never | Pings::Due(_) | Pings::Awaited(_) => Silence::Wait,
        }
    }
}

fn spread(longest: Duration, random: u32) -> Duration {
    longest * 4 / 5 + longest / 5 * (random % 1_000) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn limits() -> Limits {
        Limits {
            first_message: s(32),
            idle: s(600),
            idle_opened: s(3_900),
            ping: s(120),
            ping_web_socket: s(30),
            pong: s(10),
            ..Limits::default()
        }
    }

    /// What comes of silence, and after how many seconds, until the connection is given up.
    fn silence(life: &mut Life, start: Instant, most: usize) -> Vec<(u64, Silence)> {
        let mut story = Vec::new();
        while story.len() < most {
            let now = life.deadline();
            let silence = life.silence(now);
            story.push(((now - start).as_secs(), silence));
            if matches!(silence, Silence::Idle | Silence::Dead) {
                break;
            }
        }
        story
    }

    #[test]
    fn a_stranger_has_half_a_minute_for_its_first_message() {
        let start = Instant::now();
        let mut life = Life::accepted(start, &limits());
        assert_eq!(silence(&mut life, start, 9), [(32, Silence::Idle)]);
        let mut life = Life::accepted(start, &limits());
        life.heard_message(start + s(5));
        assert_eq!(silence(&mut life, start, 9), [(605, Silence::Idle)]);
        let mut life = Life::accepted(start, &limits());
        life.heard_ping(start + s(5));
        assert_eq!(silence(&mut life, start, 9), [(32, Silence::Idle)]);
        life.heard_message(start + s(10));
        life.heard_ping(start + s(15));
        assert_eq!(silence(&mut life, start, 9), [(615, Silence::Idle)]);
    }

    #[test]
    fn a_server_that_never_answers_pings_is_not_held_to_it() {
        let start = Instant::now();
        let mut life = Life::opened(start, &limits(), 0);
        let story = silence(&mut life, start, 4);
        assert_eq!(
            story,
            [(96, Silence::Ping), (106, Silence::Wait), (202, Silence::Ping), (212, Silence::Wait)]
        );
        assert_eq!(silence(&mut life, start, 99).last(), Some(&(3_900, Silence::Idle)));
    }

    #[test]
    fn a_server_that_stops_answering_is_dead() {
        let start = Instant::now();
        let mut life = Life::opened(start, &limits(), 999);
        assert_eq!(silence(&mut life, start, 1), [(119, Silence::Ping)]);
        let answered = start + s(121);
        life.heard_pong(answered);
        assert_eq!(silence(&mut life, answered, 9), [(119, Silence::Ping), (129, Silence::Dead)]);
    }

    #[test]
    fn a_server_that_sends_messages_is_not_dead_for_want_of_a_pong() {
        let start = Instant::now();
        let mut life = Life::opened(start, &limits(), 0);
        silence(&mut life, start, 1);
        life.heard_pong(start + s(97));
        assert_eq!(silence(&mut life, start, 1), [(193, Silence::Ping)]);
        life.heard_message(start + s(200));
        assert_eq!(silence(&mut life, start, 2), [(296, Silence::Ping), (306, Silence::Dead)]);
    }

    #[test]
    fn half_a_ping_is_no_promise_of_pongs() {
        let start = Instant::now();
        let mut life = Life::opened(start, &limits(), 0);
        silence(&mut life, start, 1);
        life.heard_pong(start + s(97));
        life.heard_ping(start + s(97));
        let story = silence(&mut life, start, 2);
        assert_eq!(story, [(193, Silence::Ping), (203, Silence::Wait)]);
    }

    #[test]
    fn a_browser_answers_pings_but_must_speak_sip_to_stay() {
        let start = Instant::now();
        let mut life = Life::accepted(start, &limits()).over_web_socket(start, &limits(), 0);
        assert_eq!(silence(&mut life, start, 1), [(24, Silence::Ping)]);
        life.heard_pong(start + s(25));
        assert_eq!(silence(&mut life, start, 1), [(32, Silence::Idle)]);

        // One that pings by itself is found dead as any other.
        let mut life = Life::accepted(start, &limits()).over_web_socket(start, &limits(), 0);
        life.heard_message(start);
        life.heard_sign_of_life(start);
        assert_eq!(silence(&mut life, start, 2), [(24, Silence::Ping), (34, Silence::Dead)]);
    }
}
