//! The queue of events of a leg: inline and bounded.

use crate::MediaEvent;

/// Twice what the busiest single call on a leg can bring about (a program that replaces another and is answered at once
/// from the type-ahead buffer: six), so that events survive a consumer that is slow for a moment.
const CAPACITY: usize = 16;
/// Places that digits may not take, so that a hammered keypad cannot displace the end of a prompt or a collect.
const RESERVED: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Events {
    slots: [Option<MediaEvent>; CAPACITY],
    first: u8,
    len: u8,
    pub(crate) dropped: u32,
}

impl Events {
    /// Appends `event`, or counts it as dropped when there is no room for its kind.
    pub(crate) fn push(&mut self, event: MediaEvent) {
        let room = match event {
            // Silence comes again as long as it lasts.
            MediaEvent::Digit { .. } | MediaEvent::PeerSilent { .. } => CAPACITY - RESERVED,
            MediaEvent::PlayStarted { .. }
            | MediaEvent::PlayEnded { .. }
            | MediaEvent::DialEnded { .. }
            | MediaEvent::CollectEnded { .. }
            | MediaEvent::Classified(_) => CAPACITY,
        };
        if usize::from(self.len) >= room {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.slots[usize::from(self.first + self.len) % CAPACITY] = Some(event);
        self.len += 1;
    }

    /// Takes the oldest event.
    pub(crate) fn pop(&mut self) -> Option<MediaEvent> {
        if self.len == 0 {
            return None;
        }
        let event = self.slots[usize::from(self.first)].take();
        self.first = (self.first + 1) % CAPACITY as u8;
        self.len -= 1;
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digit;

    #[test]
    fn events_come_out_in_order_and_digits_leave_room_for_the_rest() {
        let mut events = Events::default();
        let digit =
            MediaEvent::Digit { digit: Digit::D1, duration_ms: 100, method: crate::dtmf::Method::Events };
        for id in 0..40 {
            events.push(MediaEvent::PlayStarted { id });
            assert_eq!(events.pop(), Some(MediaEvent::PlayStarted { id }));
        }
        for _ in 0..20 {
            events.push(digit);
        }
        assert_eq!(events.dropped, 12);
        for id in 0..8 {
            events.push(MediaEvent::PlayStarted { id });
        }
        assert_eq!(events.dropped, 12);
        events.push(MediaEvent::PlayStarted { id: 8 });
        assert_eq!(events.dropped, 13);
        let all: Vec<MediaEvent> = std::iter::from_fn(|| events.pop()).collect();
        assert!(all[..8].iter().all(|event| *event == digit));
        assert_eq!(all[15], MediaEvent::PlayStarted { id: 7 });
    }
}
