//! One media thread: its legs, its wheel, its loop.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use media_core::classify::Classifier;
use media_core::dtmf::{Dialler, Listener};
use media_core::record::{Deck, Track};
use media_core::srtp::Keys;
use media_core::{Digit, Ear, EarConfig, Feed, Heard, Leg, LegId, Mixer, Negotiated, Program, Ptime};
use ringbuf::traits::{Consumer, Observer, Producer};
use ringbuf::{HeapCons, HeapProd};
use rustix::event::{Timespec, epoll};

use crate::Sink;
use crate::bridge::Bridge;
use crate::crossing::{Arrival, Arrived, Departure};
use crate::handshake::{Parcel, Wake};
use crate::line::{Delivery, Line, Port, Received, note};
use crate::socket::{Pair, Socket};
use crate::stats::Counters;
use crate::wheel::Wheel;

/// Width of a slot of the wheel.
const TICK: Duration = Duration::from_millis(1);

/// What a usual jitter buffer bridges. A wheel that is later than this (the machine slept, the thread
/// starved) is stopped by the excess instead of sending all of it in a burst: prompts go on where they were,
/// with consecutive numbers and timestamps, and the peer hears one gap.
const MAX_LATE: Duration = Duration::from_millis(100);

/// Ticks to catch up with before the sockets are served again: 8 ms of packets delay a received one by less
/// than a packet time even if they take as long to send as they span.
const MAX_TICKS: usize = 8;

/// Sockets served per wake, one datagram each, before the wheel is looked at again: at 2 to 3 us each they
/// keep a tick waiting for less than its width. A socket with more to give is ready again at once.
const MAX_READY: usize = 256;

/// Commands taken per round, for the same reason.
const MAX_COMMANDS: usize = 64;

/// Packets that share one reading of the clock when their lateness is recorded: 16 sends take about 25 us,
/// half the width of the histogram's buckets where it matters, and reading a clock for each would cost 2 % of
/// a send.
const PACKETS_PER_CLOCK: u64 = 16;

/// How soon the sink is asked again after it had no room.
const RETRY: Duration = Duration::from_millis(2);

/// The token of the eventfd; legs have theirs from their slot.
const WAKE: u64 = u64::MAX;

/// Twice any packet on an Ethernet, for what is relayed as SRTP is encrypted behind the datagram that it came in; longer
/// datagrams are cut, and then no valid RTP.
const RECEIVE_BUFFER: usize = 4096;

/// What a leg needs to hear keys in the audio.
pub(crate) struct Hearing {
    pub(crate) listener: Box<Listener>,
    pub(crate) ear: Box<Ear>,
}

impl Hearing {
    /// For a leg whose peer has not agreed to send events: it has no other way to send keys in the media.
    pub(crate) fn of_keys(negotiated: &Negotiated) -> Option<Hearing> {
        let ear = || Box::new(Ear::new(EarConfig::new(negotiated.codec)));
        negotiated.telephone_event.is_none().then(|| Hearing { listener: Box::default(), ear: ear() })
    }
}

/// What the owner tells a shard. A slot is the owner's to give; it comes back through `released`.
pub(crate) enum Order<S> {
    Open {
        slot: u32,
        id: LegId,
        port: u16,
        sockets: Pair<S>,
    },
    Start {
        slot: u32,
        leg: Box<Leg>,
        negotiated: Box<Negotiated>,
        hearing: Option<Hearing>,
    },
    Run {
        slot: u32,
        program: Program,
    },
    StopPlay {
        slot: u32,
    },
    ForgetKeys {
        slot: u32,
    },
    Press {
        slot: u32,
        digit: Digit,
        duration_ms: u16,
    },
    Dial {
        slot: u32,
        dialler: Box<Dialler>,
    },
    Handshake {
        slot: u32,
        datagram: Box<[u8]>,
    },
    Secure {
        slot: u32,
        keys: Box<Keys>,
    },
    Listen {
        slot: u32,
        ear: Box<Ear>,
    },
    Deafen {
        slot: u32,
    },
    Classify {
        slot: u32,
        classifier: Box<Classifier>,
        ear: Box<Ear>,
    },
    Answered {
        slot: u32,
    },
    Record {
        slot: u32,
        track: Track,
        deck: Box<Deck>,
        ear: Box<Ear>,
    },
    PauseRecording {
        slot: u32,
        track: Track,
        on: bool,
    },
    StopRecording {
        slot: u32,
        track: Track,
    },
    Close {
        slot: u32,
    },
    /// The leg goes to another shard.
    Depart {
        slot: u32,
        departure: Departure<S>,
    },
    /// A leg comes from another shard. Nothing that was ordered later is done before it is there.
    Arrive(Arrival<S>),
    /// What this bridge is from now on; `None` ends it.
    Bridge {
        number: u32,
        bridge: Option<Box<Bridge>>,
    },
}

/// A slot is without a leg again: it is over and its sockets are closed, or it has gone to another shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Released {
    pub(crate) slot: u32,
    pub(crate) id: LegId,
    /// Free again, too.
    pub(crate) port: Option<u16>,
}

/// The ends of a shard that its thread holds.
pub(crate) struct Wiring<S> {
    pub(crate) orders: HeapCons<Order<S>>,
    /// Has room for every slot.
    pub(crate) released: HeapProd<Released>,
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) sink: Sink,
    /// Datagrams of handshakes, and who is to be woken for them.
    pub(crate) parcels: HeapProd<Parcel>,
    pub(crate) shaker: Arc<Wake>,
}

pub(crate) struct Shard<S> {
    wiring: Wiring<S>,
    epoll: OwnedFd,
    wheel: Wheel,
    /// The time of tick 0.
    epoch: Instant,
    lines: Vec<Option<Box<Line<S>>>>,
    bridges: Vec<Option<Box<Bridge>>>,
    /// The leg that is waited for.
    arrival: Option<Arrival<S>>,
    /// Slots with events that the sink had no room for.
    deferred: Vec<u32>,
    buffer: Box<[u8; RECEIVE_BUFFER]>,
}

const _: () = assert!(Leg::MAX_PACKET <= RECEIVE_BUFFER);

impl<S: Socket> Shard<S> {
    pub(crate) fn new(slots: usize, wiring: Wiring<S>) -> io::Result<Shard<S>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wiring.wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        // Fails here, not in the loop, where the kernel is too old for time-outs below a millisecond (Linux
        // 5.11).
        let mut events = [NO_EVENT; 1];
        epoll::wait(&epoll, &mut events[..], Some(&timespec(Duration::from_nanos(1))))?;
        Ok(Shard {
            wiring,
            epoll,
            // The legs, and behind them the bridges.
            wheel: Wheel::new(2 * slots),
            epoch: Instant::now(),
            lines: std::iter::repeat_with(|| None).take(slots).collect(),
            bridges: std::iter::repeat_with(|| None).take(slots).collect(),
            arrival: None,
            deferred: Vec::with_capacity(slots),
            buffer: Box::new([0; RECEIVE_BUFFER]),
        })
    }

    /// The thread's loop: send what is due, obey, and sleep until a packet, an order or the next due leg.
    pub(crate) fn run(mut self) {
        let mut events = [NO_EVENT; MAX_READY];
        while !self.wiring.stopping.load(Ordering::Acquire) {
            self.send_due();
            self.obey(Instant::now());
            self.retry_deferred();
            self.wiring.counters.turn_ns.set(self.wheel.cost());
            let timeout = self.time_to_sleep(Instant::now()).map(timespec);
            // A signal is the only failure that a valid descriptor and buffer leave: nothing is ready then.
            let ready = epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()).unwrap_or_default();
            if ready == MAX_READY {
                self.wiring.counters.receive_budget_exceeded.add(1);
            }
            let now = Instant::now();
            for event in &events[..ready] {
                self.serve(now, event.data.u64());
            }
        }
        self.shut_down(Instant::now());
    }

    fn tick_at(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.epoch).as_nanos() / TICK.as_nanos()) as u64
    }

    fn time_of(&self, tick: u64) -> Instant {
        self.epoch + Duration::from_millis(tick)
    }

    fn time_to_sleep(&self, now: Instant) -> Option<Duration> {
        // Who waits for a leg is woken when it is there.
        if self.arrival.is_none() && !self.wiring.orders.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = self.wheel.next_due().map(|tick| self.time_of(tick).saturating_duration_since(now));
        let retry = (!self.deferred.is_empty()).then_some(RETRY);
        due.into_iter().chain(retry).min()
    }

    /// Sends for every leg whose time has come.
    fn send_due(&mut self) {
        let mut now = Instant::now();
        for _ in 0..MAX_TICKS {
            let Some(tick) = self.wheel.next_due() else { return };
            let due = self.time_of(tick);
            if due > now {
                return;
            }
            let late = now - due;
            if late > MAX_LATE {
                self.epoch += late;
                self.wiring.counters.skipped_ms.add(late.as_millis() as u64);
            }
            if late >= TICK {
                self.wiring.counters.late_ticks.add(1);
            }
            now = self.send_tick(tick, due, now);
        }
        if self.wheel.next_due().is_some_and(|tick| self.time_of(tick) <= now) {
            self.wiring.counters.catch_up_interrupted.add(1);
        }
    }

    /// Sends for the legs of one tick. Returns the time afterwards.
    fn send_tick(&mut self, tick: u64, due: Instant, mut now: Instant) -> Instant {
        let mut unread = 0;
        while let Some(slot) = self.wheel.take(tick) {
            if let Some(number) = slot.checked_sub(self.lines.len() as u32) {
                if let Some((period, cost)) = self.mix(now, number) {
                    self.wheel.arm(slot, tick + u64::from(period.ms()), cost);
                }
                now = self.record_lateness(due, unread + 1);
                unread = 0;
                continue;
            }
            let next = self.guarded(slot, |line, buffer, counters| {
                line.tick(now, tick, buffer, counters).map(|next| (next, line.cost()))
            });
            if let Some((next, cost)) = next.flatten() {
                self.wheel.arm(slot, next, cost);
            }
            unread += 1;
            if unread == PACKETS_PER_CLOCK {
                now = self.record_lateness(due, unread);
                unread = 0;
            }
        }
        if unread > 0 { self.record_lateness(due, unread) } else { now }
    }

    fn record_lateness(&self, due: Instant, packets: u64) -> Instant {
        let now = Instant::now();
        self.wiring.counters.lateness.record(now.saturating_duration_since(due), packets);
        now
    }

    fn serve(&mut self, now: Instant, token: u64) {
        if token == WAKE {
            // Resets the eventfd; orders are looked at in every round anyway.
            let _ = rustix::io::read(&self.wiring.wake, &mut [0; 8]);
            return;
        }
        let (slot, port) = from_token(token);
        let handled = self.guarded(slot, |line, buffer, counters| {
            let received = line.receive(now, port, buffer, counters);
            (line.id, line.bridge, received)
        });
        match handled {
            Some((_, Some(bridge), Received::Heard(heard))) => self.relay(now, slot, bridge, &heard),
            Some((leg, _, Received::Handshake(length))) => self.hand_on(leg, length),
            Some((_, _, Received::Heard(_) | Received::Done)) | None => {}
        }
    }

    /// Hands the datagram in the buffer to whoever shakes hands.
    fn hand_on(&mut self, leg: LegId, length: usize) {
        let Wiring { parcels, shaker, counters, .. } = &mut self.wiring;
        let parcel = Parcel::new(leg, &self.buffer[..length]);
        if parcel.is_some_and(|parcel| parcels.try_push(parcel).is_ok()) {
            counters.handshakes_received.add(1);
            shaker.wake();
        } else {
            counters.handshakes_dropped.add(1);
        }
    }

    /// Sends on what the leg in `slot` has heard; its datagram is in the buffer.
    fn relay(&mut self, now: Instant, slot: u32, bridge: u32, heard: &Heard) {
        let mut n = 0;
        while let Some(to) = self.bridges[bridge as usize].as_ref().and_then(|it| it.hearing(slot, n)) {
            self.guarded(to, |line, buffer, counters| line.forward(now, heard, buffer, counters));
            n += 1;
        }
    }

    fn obey(&mut self, now: Instant) {
        for _ in 0..MAX_COMMANDS {
            if !self.arrived(now) {
                return;
            }
            let Some(order) = self.wiring.orders.try_pop() else { return };
            match order {
                Order::Open { slot, id, port, sockets } => {
                    self.admit(now, slot, Box::new(Line::new(id, port, sockets)))
                }
                Order::Start { slot, leg, negotiated, hearing } => {
                    let tick = self.tick_at(now) + 1;
                    let ptime = self.guarded(slot, |line, _, counters| {
                        line.start(now, leg, &negotiated, hearing, counters)
                    });
                    if let Some(ptime) = ptime.flatten() {
                        self.start(slot, tick, ptime);
                    }
                }
                Order::Run { slot, program } => {
                    self.guarded(slot, |line, _, counters| line.run(now, program, counters));
                }
                Order::StopPlay { slot } => {
                    self.guarded(slot, |line, _, counters| line.stop_play(now, counters));
                }
                Order::ForgetKeys { slot } => {
                    self.guarded(slot, |line, _, counters| line.forget_keys(counters));
                }
                Order::Press { slot, digit, duration_ms } => {
                    self.guarded(slot, |line, _, counters| line.press(now, digit, duration_ms, counters));
                }
                Order::Dial { slot, dialler } => {
                    self.guarded(slot, |line, _, counters| line.dial(dialler, counters));
                }
                Order::Handshake { slot, datagram } => {
                    self.guarded(slot, |line, _, counters| line.shake_hands(&datagram, counters));
                }
                Order::Secure { slot, keys } => {
                    self.guarded(slot, |line, _, counters| line.secure(&keys, counters));
                }
                Order::Listen { slot, ear } => {
                    self.guarded(slot, |line, _, counters| line.listen(ear, counters));
                }
                Order::Deafen { slot } => {
                    self.guarded(slot, |line, _, counters| line.deafen(counters));
                }
                Order::Classify { slot, classifier, ear } => {
                    self.guarded(slot, |line, _, counters| line.classify(classifier, ear, counters));
                }
                Order::Answered { slot } => {
                    self.guarded(slot, |line, _, counters| line.answered(counters));
                }
                Order::Record { slot, track, deck, ear } => {
                    self.guarded(slot, |line, _, counters| line.record(track, deck, ear, counters));
                }
                Order::PauseRecording { slot, track, on } => {
                    self.guarded(slot, |line, _, counters| line.pause_recording(track, on, counters));
                }
                Order::StopRecording { slot, track } => {
                    self.guarded(slot, |line, _, counters| line.stop_recording(track, counters));
                }
                Order::Close { slot } => self.close(now, slot),
                Order::Depart { slot, departure } => self.depart(slot, departure),
                Order::Arrive(arrival) => self.arrival = Some(arrival),
                Order::Bridge { number, bridge } => self.arrange(now, number, bridge),
            }
        }
    }

    /// Lets a leg go.
    fn depart(&mut self, slot: u32, departure: Departure<S>) {
        // A leg that is over has told so, and its slot is released.
        let Some(line) = self.lines[slot as usize].take() else { return };
        self.wheel.remove(slot);
        self.deferred.retain(|waiting| *waiting != slot);
        self.leave(slot, &line);
        if let Some(sockets) = line.sockets() {
            for gone in [epoll::delete(&self.epoll, &sockets.rtp), epoll::delete(&self.epoll, &sockets.rtcp)]
            {
                note(gone.map_err(io::Error::from), &self.wiring.counters);
            }
        }
        let id = line.id;
        self.uncount();
        departure.send(line);
        self.vacate(Released { slot, id, port: None });
    }

    /// Takes in the leg that is waited for; `false` while it is not there.
    fn arrived(&mut self, now: Instant) -> bool {
        let Some(arrival) = &mut self.arrival else { return true };
        let (slot, id) = (arrival.slot, arrival.id);
        match arrival.poll() {
            Arrived::NotYet => return false,
            Arrived::Never => self.vacate(Released { slot, id, port: None }),
            Arrived::Line(mut line) => {
                let tick = self.tick_at(now) + 1;
                let ptime = line.arrive(now);
                self.wiring.counters.legs_moved.add(1);
                self.admit(now, slot, line);
                if let Some(ptime) = ptime {
                    self.start(slot, tick, ptime);
                }
            }
        }
        self.arrival = None;
        true
    }

    fn arrange(&mut self, now: Instant, number: u32, mut bridge: Option<Box<Bridge>>) {
        let mut last = self.bridges[number as usize].take();
        if let (Some(bridge), Some(last)) = (&mut bridge, &mut last) {
            bridge.inherit(last);
        }
        self.pace(now, number, last.as_deref(), bridge.as_deref());
        let before = last.iter().flat_map(|bridge| &bridge.seats);
        for seat in before.clone() {
            if let Some(line) = seat.line(&mut self.lines) {
                line.bridge = None;
            }
        }
        for seat in bridge.iter_mut().flat_map(|bridge| &mut bridge.seats) {
            match seat.line(&mut self.lines) {
                Some(line) => {
                    line.bridge = Some(number);
                    line.feed(now, seat.feed, seat.heard);
                }
                // It was over before the owner knew.
                None => seat.slot = None,
            }
        }
        for seat in before {
            if let Some(line) = seat.line(&mut self.lines).filter(|line| line.bridge.is_none()) {
                line.feed(now, Feed::Own, false);
            }
        }
        for slot in last.iter().flat_map(|bridge| &bridge.seats).filter_map(|seat| seat.slot) {
            self.rouse(slot);
        }
        self.bridges[number as usize] = bridge;
    }

    /// Gives a leg its turns.
    fn start(&mut self, slot: u32, tick: u64, ptime: Ptime) {
        if let Some(line) = self.lines[slot as usize].as_deref() {
            self.wheel.start(slot, tick, ptime, line.cost());
        }
    }

    /// Gives a leg that rested its turn again, where it has something to do.
    fn rouse(&mut self, slot: u32) {
        let ptime = self.lines[slot as usize].as_deref_mut().and_then(Line::rouse);
        if let Some(ptime) = ptime {
            self.start(slot, self.tick_at(Instant::now()) + 1, ptime);
        }
    }

    /// A bridge that mixes stands in the wheel, behind all legs.
    fn pace(&mut self, now: Instant, number: u32, before: Option<&Bridge>, after: Option<&Bridge>) {
        let period = |bridge: Option<&Bridge>| bridge?.mixer.as_ref().map(Mixer::period);
        let entry = self.lines.len() as u32 + number;
        match period(after) {
            same if same == period(before) => {}
            None => self.wheel.remove(entry),
            Some(period) => {
                self.wheel.remove(entry);
                let cost = after.map_or(0, |bridge| bridge.cost);
                self.wheel.start(entry, self.tick_at(now) + 1, period, cost);
            }
        }
    }

    /// A period of a bridge that mixes: what everybody says, and to everybody what he hears. Returns the period, and what it
    /// costs.
    fn mix(&mut self, now: Instant, number: u32) -> Option<(Ptime, u32)> {
        let mut bridge = self.bridges[number as usize].take()?;
        let Bridge { seats, mixer, cost } = &mut *bridge;
        let period = mixer.as_mut().map(|mixer| {
            mixer.begin();
            for (place, seat) in seats.iter().enumerate().filter(|(_, seat)| seat.heard) {
                let Some(slot) = seat.slot else { continue };
                self.guarded(slot, |line, _, _| {
                    line.hear(now, mixer.period(), |sound| mixer.put(place, sound));
                });
            }
            for (place, seat) in seats.iter().enumerate() {
                let (Some(slot), Feed::Mix { .. }) = (seat.slot, seat.feed) else { continue };
                self.guarded(slot, |line, buffer, counters| {
                    if mixer.mix(place, seat.hears) {
                        mixer.expect_loss(place, line.expected_loss());
                        line.speak(now, buffer, counters, |payload| mixer.encode(place, payload));
                    }
                });
            }
            (mixer.period(), *cost)
        });
        // Who was over in the meantime could not leave.
        for seat in seats {
            seat.slot = seat.slot.filter(|slot| self.lines[*slot as usize].is_some());
        }
        self.bridges[number as usize] = Some(bridge);
        period
    }

    fn admit(&mut self, now: Instant, slot: u32, line: Box<Line<S>>) {
        let watched = line.sockets().map_or(Ok(()), |sockets| {
            self.watch(&sockets.rtp, slot, Port::Rtp)?;
            self.watch(&sockets.rtcp, slot, Port::Rtcp)
        });
        self.lines[slot as usize] = Some(line);
        self.wiring.counters.legs.add(1);
        // A leg that comes from elsewhere may have events that the sink had no room for.
        self.guarded(slot, |_, _, _| ());
        if watched.is_err() {
            // The kernel has no memory for another watch: the owner learns it as a leg that closes by itself.
            note(watched, &self.wiring.counters);
            self.close(now, slot);
        }
    }

    fn watch(&self, socket: &impl AsFd, slot: u32, port: Port) -> io::Result<()> {
        let data = epoll::EventData::new_u64(to_token(slot, port));
        Ok(epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN)?)
    }

    fn close(&mut self, now: Instant, slot: u32) {
        self.wheel.remove(slot);
        self.guarded(slot, |line, buffer, counters| line.close(now, buffer, counters));
    }

    /// Handles one leg and delivers its events. A panic ends that leg alone.
    fn guarded<R>(
        &mut self,
        slot: u32,
        handle: impl FnOnce(&mut Line<S>, &mut [u8], &Counters) -> R,
    ) -> Option<R> {
        let line = self.lines.get_mut(slot as usize)?.as_deref_mut()?;
        let Wiring { counters, sink, .. } = &self.wiring;
        let buffer = &mut self.buffer[..];
        let handled = catch_unwind(AssertUnwindSafe(|| {
            let result = handle(line, buffer, counters);
            (result, line.deliver(sink))
        }));
        match handled {
            Ok((result, delivery)) => {
                self.delivered(slot, delivery);
                self.rouse(slot);
                Some(result)
            }
            Err(_) => {
                self.abandon(slot);
                None
            }
        }
    }

    fn abandon(&mut self, slot: u32) {
        let Some(line) = self.lines[slot as usize].as_deref_mut() else { return };
        let Wiring { counters, sink, .. } = &self.wiring;
        counters.panics.add(1);
        let delivery = catch_unwind(AssertUnwindSafe(|| {
            line.abandon(|leg| catch_unwind(AssertUnwindSafe(|| leg.stats())).unwrap_or_default());
            line.deliver(sink)
        }));
        self.wheel.remove(slot);
        // Who panics at the end of a leg, too, is not told again.
        self.delivered(slot, delivery.unwrap_or(Delivery::Over));
    }

    fn delivered(&mut self, slot: u32, delivery: Delivery) {
        match delivery {
            Delivery::Done => {}
            Delivery::Deferred => {
                let line = self.lines[slot as usize].as_deref_mut();
                if let Some(line) = line.filter(|line| !line.noted) {
                    line.noted = true;
                    self.deferred.push(slot);
                    self.wiring.counters.events_deferred.add(1);
                }
            }
            Delivery::Over => self.release(slot),
        }
    }

    fn release(&mut self, slot: u32) {
        let Some(line) = self.lines[slot as usize].take() else { return };
        self.leave(slot, &line);
        self.uncount();
        self.vacate(Released { slot, id: line.id, port: Some(line.port) });
    }

    /// Nobody hears the leg that was in `slot` any more, nor whoever gets it next.
    fn leave(&mut self, slot: u32, line: &Line<S>) {
        if let Some(bridge) = line.bridge.and_then(|bridge| self.bridges[bridge as usize].as_mut()) {
            bridge.leave(slot);
        }
    }

    fn uncount(&self) {
        let counters = &self.wiring.counters;
        counters.legs.set(counters.legs.get().saturating_sub(1));
    }

    fn vacate(&mut self, released: Released) {
        // There is room for every slot, and the owner gives a slot out again only after it has read this.
        debug_assert!(self.wiring.released.vacant_len() > 0);
        let _ = self.wiring.released.try_push(released);
    }

    fn retry_deferred(&mut self) {
        for _ in 0..self.deferred.len() {
            let slot = self.deferred.swap_remove(0);
            self.guarded(slot, |line, _, _| line.noted = false);
        }
    }

    fn shut_down(&mut self, now: Instant) {
        // Sockets on their way to us close here.
        while self.wiring.orders.try_pop().is_some() {}
        for slot in 0..self.lines.len() as u32 {
            self.close(now, slot);
        }
    }
}

const NO_EVENT: epoll::Event =
    epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };

fn to_token(slot: u32, port: Port) -> u64 {
    u64::from(slot) << 1
        | match port {
            Port::Rtp => 0,
            Port::Rtcp => 1,
        }
}

fn from_token(token: u64) -> (u32, Port) {
    let port = if token & 1 == 0 { Port::Rtp } else { Port::Rtcp };
    // Only what to_token made comes back, so the slot fits.
    ((token >> 1) as u32, port)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as _, tv_nsec: duration.subsec_nanos().into() }
}
