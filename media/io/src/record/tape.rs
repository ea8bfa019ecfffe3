//! The ring between a leg and its writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use media_core::record::{Moment, Sent, Tape};
use media_core::{Codec, Ptime};
use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

/// How long a writer may stay away before packet times are dropped: forty of its turns. A codec of a higher rate that a
/// call changes to makes it shorter.
const ROOM: Duration = Duration::from_secs(2);

/// In front of each packet time: its codec, its length, the samples heard, what was sent (octets of a payload, or samples
/// as a negative number), and the gap before it.
const HEADER: usize = 6;

/// Longer than any packet time: 60 ms at 48 kHz.
const MAX_SAMPLES: usize = 60 * 48;
/// No payload is longer: 60 ms of linear samples at the highest rate.
const MAX_OCTETS: usize = MAX_SAMPLES * 2;

/// The end that a leg writes to.
pub(super) struct Writing {
    ring: HeapProd<i16>,
    /// Milliseconds that the ring had no room for since the last packet time in it.
    gap: u32,
    dropped: Arc<AtomicU32>,
}

/// The end that a writer thread reads.
pub(super) struct Reel {
    ring: HeapCons<i16>,
    dropped: Arc<AtomicU32>,
    heard: Box<[i16; MAX_SAMPLES]>,
    sent: Box<[u8; MAX_OCTETS]>,
    sound: Box<[i16; MAX_SAMPLES]>,
}

pub(super) fn new(codec: Codec) -> (Writing, Reel) {
    // What is heard, at most as much again of what is sent, and the headers of a hundred packet times a second.
    let per_second = codec.sample_rate() as usize * 2 + HEADER * 100;
    let (writing, reading) = HeapRb::new(per_second * ROOM.as_secs() as usize).split();
    let dropped = Arc::new(AtomicU32::new(0));
    let reel = Reel {
        ring: reading,
        dropped: Arc::clone(&dropped),
        heard: Box::new([0; MAX_SAMPLES]),
        sent: Box::new([0; MAX_OCTETS]),
        sound: Box::new([0; MAX_SAMPLES]),
    };
    (Writing { ring: writing, gap: 0, dropped }, reel)
}

impl Tape for Writing {
    fn take(&mut self, moment: &Moment<'_>) -> bool {
        if !self.ring.read_is_held() {
            return false;
        }
        let Moment { codec, ptime, heard, sent } = *moment;
        let heard = &heard[..heard.len().min(MAX_SAMPLES)];
        let (size, length) = match sent {
            Sent::Payload(payload) => {
                let octets = payload.len().min(MAX_OCTETS);
                (octets.div_ceil(2), octets as i16)
            }
            Sent::Sound(sound) => {
                let samples = sound.len().min(MAX_SAMPLES);
                (samples, -(samples as i16))
            }
        };
        if self.ring.vacant_len() < HEADER + heard.len() + size {
            let ms = u32::from(ptime.ms());
            self.gap = self.gap.saturating_add(ms);
            self.dropped.store(self.dropped.load(Ordering::Relaxed).saturating_add(ms), Ordering::Relaxed);
            return true;
        }
        let number = Codec::ALL.iter().position(|known| *known == codec).unwrap_or_default();
        let [gap_low, gap_high] = halves(self.gap);
        // The lengths are below 2^15, as bounded above.
        let header = [number as i16, ptime.ms().into(), heard.len() as i16, length, gap_low, gap_high];
        self.ring.push_slice(&header);
        self.ring.push_slice(heard);
        let sent = match sent {
            Sent::Payload(payload) => &payload[..payload.len().min(MAX_OCTETS)],
            Sent::Sound(sound) => {
                self.ring.push_slice(&sound[..size]);
                &[]
            }
        };
        self.ring.push_iter(sent.chunks(2).map(|pair| match *pair {
            [first, second] => i16::from_le_bytes([first, second]),
            [only] => i16::from_le_bytes([only, 0]),
            _ => 0,
        }));
        self.gap = 0;
        true
    }
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("waiting", &self.ring.occupied_len()).field("gap", &self.gap).finish()
    }
}

impl Reel {
    /// Whether the leg has let go of its end: nothing comes after what is in the ring.
    pub(super) fn is_closed(&self) -> bool {
        !self.ring.write_is_held()
    }

    /// The next packet time, and the gap before it.
    pub(super) fn next(&mut self) -> Option<(Duration, Moment<'_>)> {
        let mut header = [0; HEADER];
        if self.ring.peek_slice(&mut header) < HEADER {
            return None;
        }
        let [number, ms, samples, length, gap_low, gap_high] = header;
        let samples = samples as usize;
        let (octets, sound) = (length.max(0) as usize, length.min(0).unsigned_abs() as usize);
        let pairs = octets.div_ceil(2);
        if self.ring.occupied_len() < HEADER + samples + pairs + sound {
            // It is being written just now.
            return None;
        }
        self.ring.skip(HEADER);
        self.ring.pop_slice(&mut self.heard[..samples]);
        self.ring.pop_slice(&mut self.sound[..sound]);
        let pairs = self.ring.pop_iter().take(pairs);
        for (to, pair) in self.sent.chunks_mut(2).zip(pairs) {
            to.copy_from_slice(&pair.to_le_bytes());
        }
        let moment = Moment {
            codec: *Codec::ALL.get(number as usize)?,
            ptime: u8::try_from(ms).ok().and_then(Ptime::new)?,
            heard: &self.heard[..samples],
            sent: match sound {
                0 => Sent::Payload(&self.sent[..octets]),
                samples => Sent::Sound(&self.sound[..samples]),
            },
        };
        Some((Duration::from_millis(whole(gap_low, gap_high).into()), moment))
    }

    /// How much the ring had no room for.
    pub(super) fn dropped(&self) -> Duration {
        Duration::from_millis(self.dropped.load(Ordering::Relaxed).into())
    }
}

fn halves(value: u32) -> [i16; 2] {
    [value as i16, (value >> 16) as i16]
}

fn whole(low: i16, high: i16) -> u32 {
    u32::from(low as u16) | u32::from(high as u16) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Moment<'_> = Moment {
        codec: Codec::Pcma,
        ptime: Ptime::DEFAULT,
        heard: &[-3; 160],
        sent: Sent::Payload(&[0xD5; 160]),
    };

    #[test]
    fn what_goes_in_comes_out_and_what_had_no_room_is_a_gap() {
        let (mut tape, mut reel) = new(Codec::Pcma);
        assert!(reel.next().is_none());
        let odd =
            Moment { codec: Codec::G722, heard: &[i16::MIN, 7], sent: Sent::Payload(&[1, 2, 255]), ..PACKET };
        assert!(tape.take(&odd));
        let (gap, moment) = reel.next().unwrap();
        assert_eq!((gap, moment.codec, moment.ptime), (Duration::ZERO, Codec::G722, Ptime::DEFAULT));
        assert_eq!((moment.heard, moment.sent), (odd.heard, odd.sent));

        let relayed = Moment { heard: &[], sent: Sent::Sound(&[5, -6, 7]), ..PACKET };
        assert!(tape.take(&relayed) && tape.take(&PACKET));
        let (_, moment) = reel.next().unwrap();
        assert_eq!((moment.heard, moment.sent), (relayed.heard, relayed.sent));
        assert_eq!(reel.next().unwrap().1.sent, PACKET.sent);

        let taken = (0..1_000).take_while(|_| tape.take(&PACKET) && tape.gap == 0).count();
        assert!(taken >= 100, "two seconds: {taken}");
        for _ in 0..49 {
            assert!(tape.take(&PACKET), "the leg goes on");
        }
        assert_eq!(reel.dropped(), Duration::from_secs(1));
        for _ in 0..taken {
            assert_eq!(reel.next().unwrap().0, Duration::ZERO);
        }
        assert!(tape.take(&PACKET));
        assert_eq!(reel.next().unwrap().0, Duration::from_secs(1));
        assert!(tape.take(&PACKET));
        assert_eq!(reel.next().unwrap().0, Duration::ZERO);
    }

    #[test]
    fn each_end_notices_that_the_other_is_gone() {
        let (mut tape, reel) = new(Codec::Pcmu);
        assert!(!reel.is_closed());
        drop(reel);
        assert!(!tape.take(&PACKET));
        let (mut tape, mut reel) = new(Codec::Pcmu);
        tape.take(&PACKET);
        drop(tape);
        assert!(reel.is_closed());
        assert!(reel.next().is_some(), "what is in it still comes");
    }
}
