//! The owner's handle.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use media_core::classify::Classifier;
use media_core::dtmf::Dialler;
use media_core::record::{Beep, Deck};
use media_core::{BridgeId, Codec, Ear, EarConfig, Leg, LegId, MemberSet, Stream};
use ringbuf::traits::{Consumer, Observer as _, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};
use rustix::event::{EventfdFlags, eventfd};

use crate::bridges::{Bridged, Wanted};
use crate::cost;
use crate::handshake::{Parcel, Parcels, Wake, ring};
use crate::ports::PortPool;
use crate::shard::{Hearing, Order, Released, Shard, Wiring};
use crate::socket::{Pair, bind_pair, mark_as_voice};
use crate::stats::{Counter, Counters};
use crate::thread::{Scheduling, cores, prepare};
use crate::{Command, LegEvent, ShardStats, Sink};

/// What the media threads are made of.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// The address that every leg binds to.
    pub ip: IpAddr,
    /// Where ports are taken from, two for each leg.
    pub port_range: RangeInclusive<u16>,
    /// Threads; 0 is one for every core that the process may use.
    pub shards: usize,
    /// Whether each thread is bound to one core.
    pub pin: bool,
    /// Whether the threads ask for real-time scheduling; see [`Scheduling`].
    pub realtime: bool,
    /// Legs at the same time, over all shards.
    pub max_legs: usize,
}

/// Why a leg cannot be opened or told something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// As many legs as configured.
    #[error("all {max_legs} media legs are in use")]
    TooManyLegs {
        /// The limit.
        max_legs: usize,
    },
    /// The port range is used up.
    #[error(
        "no free media ports: none of the {pairs} pairs in {first}-{last} is free, {resting} of them rest \
         after their last leg (widen the port range)"
    )]
    NoPorts {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
        /// Pairs in the range.
        pairs: usize,
        /// Pairs that will be free soon.
        resting: usize,
    },
    /// The kernel refused a socket.
    #[error("cannot open media port {address}: {source}")]
    Bind {
        /// Where to.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The shard does not keep up with its commands.
    #[error("media thread {shard} is too busy to take commands")]
    Busy {
        /// Its number.
        shard: usize,
    },
    /// The leg was opened before and is not closed.
    #[error("leg {} is open already", .0.0)]
    AlreadyOpen(LegId),
    /// The leg was never opened, or is closed.
    #[error("leg {} is not open", .0.0)]
    NotOpen(LegId),
    /// The leg is in another bridge, or twice in this one.
    #[error("leg {} is in a bridge already", .0.0)]
    Bridged(LegId),
    /// More legs than a bridge takes.
    #[error("a bridge takes at most {max} legs")]
    BridgeFull {
        /// The limit.
        max: usize,
    },
    /// There is no such bridge.
    #[error("there is no bridge {}", .0.0)]
    NotBridged(BridgeId),
    /// The operating system gives no random numbers.
    #[error("no random numbers from the operating system: {0}")]
    Random(#[from] getrandom::Error),
}

/// Commands that may wait in a shard beside the closes: a second's worth at 300 calls a second and 3 commands
/// each.
const COMMANDS: usize = 1024;

/// Ports tried for one leg when others on the machine sit on ports of our range.
const BIND_ATTEMPTS: usize = 16;

/// The media threads. Dropping it ends every leg and joins the threads.
#[derive(Debug)]
pub struct Media {
    pub(crate) config: MediaConfig,
    ports: PortPool,
    pairs: usize,
    pub(crate) legs: HashMap<LegId, Place>,
    pub(crate) bridges: HashMap<BridgeId, Bridged>,
    pub(crate) shards: Vec<Handle>,
    /// The same for all threads.
    scheduling: Scheduling,
    observer: Observer,
    parcels: Option<Parcels>,
}

/// Where a leg lives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) shard: usize,
    pub(crate) slot: u32,
    /// Once media has begun.
    pub(crate) stream: Option<Stream>,
    pub(crate) bridge: Option<BridgeId>,
    pub(crate) ear: Wanted,
}

/// The owner's ends of one shard.
pub(crate) struct Handle {
    orders: HeapProd<Order<UdpSocket>>,
    released: HeapCons<Released>,
    /// Slots without a leg.
    pub(crate) vacant: Vec<u32>,
    /// Numbers without a bridge.
    pub(crate) vacant_bridges: Vec<u32>,
    slots: usize,
    wake: Arc<OwnedFd>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Reads the counters from any thread.
#[derive(Debug, Clone)]
pub struct Observer {
    shards: Arc<[Arc<Counters>]>,
    unmarked: Arc<Counter>,
}

/// The counters of all shards at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// One entry per shard.
    pub shards: Vec<ShardStats>,
    /// Sockets that could not be marked as voice (DSCP EF); they work all the same.
    pub sockets_unmarked: u64,
}

impl Stats {
    /// All shards together.
    pub fn total(&self) -> ShardStats {
        let mut total = ShardStats::default();
        self.shards.iter().for_each(|shard| total.add(shard));
        total
    }
}

impl Observer {
    /// The counters now.
    pub fn stats(&self) -> Stats {
        Stats {
            shards: self.shards.iter().map(|counters| counters.read()).collect(),
            sockets_unmarked: self.unmarked.get(),
        }
    }
}

impl Media {
    /// Starts the threads. `sink` is called on them with every event; it must not wait, and says `false` when
    /// it has no room: the shard then keeps the event and asks again soon.
    pub fn start(
        config: MediaConfig,
        sink: impl Fn(LegId, LegEvent) -> bool + Send + Sync + 'static,
    ) -> io::Result<Media> {
        // An address that is not ours is found now, not at the first call.
        UdpSocket::bind((config.ip, 0))?;
        let ports = PortPool::new(&config.port_range);
        let cores = cores()?;
        let count = if config.shards == 0 { cores.len() } else { config.shards };
        let slots = slots(config.max_legs, count);
        let sink: Sink = Arc::new(sink);
        let mut shards = Vec::with_capacity(count);
        let mut counters = Vec::with_capacity(count);
        let mut scheduling = Scheduling::Usual;
        let mut rings = Vec::with_capacity(count);
        let shaker = Arc::new(Wake::new()?);
        for number in 0..count {
            let core = config.pin.then(|| cores[number % cores.len()]);
            let (parcels, taken) = ring();
            rings.push(taken);
            let hands = (parcels, Arc::clone(&shaker));
            let (handle, counter, scheduled) =
                Handle::start(number, slots, core, config.realtime, Arc::clone(&sink), hands)?;
            scheduling = scheduled;
            shards.push(handle);
            counters.push(counter);
        }
        let observer = Observer { shards: counters.into(), unmarked: Arc::default() };
        Ok(Media {
            pairs: ports.free(),
            ports,
            config,
            legs: HashMap::new(),
            bridges: HashMap::new(),
            shards,
            scheduling,
            observer,
            parcels: Some(Parcels::new(rings, shaker)),
        })
    }

    /// How the threads are scheduled.
    pub fn scheduling(&self) -> Scheduling {
        self.scheduling
    }

    /// Opens a leg: binds its two ports, on which nothing is kept yet. Returns the address for RTP; RTCP is
    /// one port higher.
    pub fn open(&mut self, id: LegId) -> Result<SocketAddr, Error> {
        let now = Instant::now();
        self.reclaim(now);
        if self.legs.contains_key(&id) {
            return Err(Error::AlreadyOpen(id));
        }
        let max_legs = self.config.max_legs;
        if self.legs.len() >= max_legs {
            return Err(Error::TooManyLegs { max_legs });
        }
        let vacant = (0..self.shards.len()).filter(|shard| !self.shards[*shard].vacant.is_empty());
        let shard = vacant.min_by_key(|shard| self.load(*shard)).ok_or(Error::TooManyLegs { max_legs })?;
        if !self.shards[shard].has_room() {
            return Err(Error::Busy { shard });
        }
        let (port, sockets) = self.bind(now)?;
        let handle = &mut self.shards[shard];
        let Some(slot) = handle.vacant.pop() else { return Err(Error::TooManyLegs { max_legs }) };
        handle.push(Order::Open { slot, id, port, sockets });
        self.legs.insert(id, Place { shard, slot, stream: None, bridge: None, ear: Wanted::default() });
        Ok(SocketAddr::new(self.config.ip, port))
    }

    /// Tells a leg what to do. [`Command::Close`] always gets through; after it the leg's id is free again.
    pub fn command(&mut self, id: LegId, command: Command) -> Result<(), Error> {
        let place = self.legs.get_mut(&id).ok_or(Error::NotOpen(id))?;
        let Place { shard, slot, bridge, .. } = *place;
        let handle = &mut self.shards[shard];
        // A start may be followed by an order for the leg's bridge and an ear for each in it.
        if !matches!(command, Command::Close) && !handle.has_room_for(2 + MemberSet::CAPACITY) {
            return Err(Error::Busy { shard });
        }
        let order = match command {
            Command::Close => {
                self.legs.remove(&id);
                handle.push(Order::Close { slot });
                return Ok(());
            }
            // The leg is made here, so that the shard does not allocate.
            Command::Start { config, negotiated } => {
                let stream = Stream { codec: negotiated.codec, ptime: negotiated.ptime };
                let changed = place.stream.replace(stream) != Some(stream);
                let leg = Box::new(Leg::new(config));
                let hearing = Hearing::of_keys(&negotiated);
                handle.push(Order::Start { slot, leg, negotiated: Box::new(negotiated), hearing });
                if let Some(bridge) = bridge.filter(|_| changed) {
                    self.arrange(bridge);
                }
                return Ok(());
            }
            Command::Run(program) => Order::Run { slot, program },
            Command::StopPlay => Order::StopPlay { slot },
            Command::ForgetKeys => Order::ForgetKeys { slot },
            Command::Handshake(datagram) => Order::Handshake { slot, datagram },
            Command::Secure(keys) => Order::Secure { slot, keys },
            Command::Press { digit, duration_ms } => Order::Press { slot, digit, duration_ms },
            Command::Dial(dial) => {
                // A leg that has no codec yet will not dial.
                let codec = place.stream.map_or(Codec::Pcma, |stream| stream.codec);
                Order::Dial { slot, dialler: Box::new(Dialler::new(dial, codec)) }
            }
            Command::Listen(ear) => {
                place.ear.owner = true;
                Order::Listen { slot, ear }
            }
            Command::Deafen => {
                place.ear.owner = false;
                if place.ear.bridge {
                    return Ok(());
                }
                Order::Deafen { slot }
            }
            Command::Classify(parameters) => {
                let codec = place.stream.map_or(Codec::Pcma, |stream| stream.codec);
                let ear = Box::new(Ear::new(EarConfig::new(codec)));
                Order::Classify { slot, classifier: Box::new(Classifier::new(parameters)), ear }
            }
            Command::Answered => Order::Answered { slot },
            Command::Record { track, tape, beep } => {
                let Some(Stream { codec, ptime }) = place.stream else { return Ok(()) };
                let beep = beep.then(|| Beep::new(codec, ptime));
                let deck = Box::new(Deck::new(tape, codec, beep));
                Order::Record { slot, track, deck, ear: Box::new(Ear::new(EarConfig::new(codec))) }
            }
            Command::PauseRecording(track, on) => Order::PauseRecording { slot, track, on },
            Command::StopRecording(track) => Order::StopRecording { slot, track },
        };
        handle.push(order);
        Ok(())
    }

    /// The datagrams of handshakes, for whoever shakes hands: given once.
    pub fn parcels(&mut self) -> Option<Parcels> {
        self.parcels.take()
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.observer.stats()
    }

    /// A reader of the counters for other threads.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// What a leg speaks, once its media has begun.
    pub fn codec(&self, id: LegId) -> Option<Codec> {
        Some(self.legs.get(&id)?.stream?.codec)
    }

    /// What there is to do for a shard each packet time: a packet in and one out for every leg, and what is beyond packets in
    /// the turns of those it has. A leg that is closing counts, for its slot does.
    pub(crate) fn load(&self, shard: usize) -> u64 {
        let Handle { slots, vacant, .. } = &self.shards[shard];
        let legs = (slots - vacant.len()) as u64;
        load(legs, self.observer.shards[shard].turn_ns.get())
    }

    /// Takes back what the shards have released.
    pub(crate) fn reclaim(&mut self, now: Instant) {
        for (number, handle) in self.shards.iter_mut().enumerate() {
            while let Some(Released { slot, id, port }) = handle.released.try_pop() {
                handle.vacant.push(slot);
                if let Some(port) = port {
                    self.ports.release(now, port);
                }
                // A leg that closed by itself is still known; its id may also have been opened anew
                // elsewhere.
                if self.legs.get(&id).is_some_and(|place| place.shard == number && place.slot == slot) {
                    self.legs.remove(&id);
                }
            }
        }
    }

    fn bind(&mut self, now: Instant) -> Result<(u16, Pair<UdpSocket>), Error> {
        let ip = self.config.ip;
        let mut attempts = 0;
        loop {
            let Some(port) = self.ports.take(now, getrandom::u32()?) else {
                let (first, last) = (*self.config.port_range.start(), *self.config.port_range.end());
                return Err(Error::NoPorts { first, last, pairs: self.pairs, resting: self.ports.resting() });
            };
            attempts += 1;
            match bind_pair(ip, port) {
                Ok(sockets) => {
                    for socket in [&sockets.rtp, &sockets.rtcp] {
                        if mark_as_voice(socket, ip).is_err() {
                            self.observer.unmarked.add(1);
                        }
                    }
                    return Ok((port, sockets));
                }
                Err((address, source)) => {
                    // Somebody else may sit on this port: it rests, and another is tried.
                    self.ports.release(now, port);
                    if source.kind() != io::ErrorKind::AddrInUse || attempts == BIND_ATTEMPTS {
                        return Err(Error::Bind { address, source });
                    }
                }
            }
        }
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        // All at once; each handle then waits for its own.
        self.shards.iter().for_each(Handle::stop);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked outside any leg has ended already, and said so.
            let _ = thread.join();
        }
    }
}

impl Handle {
    fn start(
        number: usize,
        slots: usize,
        core: Option<usize>,
        realtime: bool,
        sink: Sink,
        (parcels, shaker): (HeapProd<Parcel>, Arc<Wake>),
    ) -> io::Result<(Handle, Arc<Counters>, Scheduling)> {
        // Beside the commands there is a place for the close of every leg.
        let (orders, orders_out) = HeapRb::new(COMMANDS + slots).split();
        let (released_in, released) = HeapRb::new(slots).split();
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let stopping = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(Counters::default());
        let wiring = Wiring {
            orders: orders_out,
            released: released_in,
            wake: Arc::clone(&wake),
            stopping: Arc::clone(&stopping),
            counters: Arc::clone(&counters),
            sink,
            parcels,
            shaker,
        };
        let shard = Shard::new(slots, wiring)?;
        let (ready, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(format!("media-{number}")).spawn(move || {
            let prepared = prepare(core, realtime);
            let ok = prepared.is_ok();
            // Who starts us waits for this.
            let _ = ready.send(prepared);
            if ok {
                shard.run();
            }
        })?;
        let vacant: Vec<u32> = (0..slots as u32).rev().collect();
        // No more bridges than legs.
        let vacant_bridges = vacant.clone();
        let thread = Some(thread);
        let handle = Handle { orders, released, vacant, vacant_bridges, slots, wake, stopping, thread };
        let scheduling = started.recv().map_err(io::Error::other)??;
        Ok((handle, counters, scheduling))
    }

    /// Whether there is a place that is not kept for a close.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_for(1)
    }

    pub(crate) fn has_room_for(&self, orders: usize) -> bool {
        self.orders.vacant_len() >= self.slots + orders
    }

    pub(crate) fn waker(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.wake)
    }

    pub(crate) fn push(&mut self, order: Order<UdpSocket>) {
        // Opens and commands come after `has_room`; a slot is closed once, and has its place.
        let pushed = self.orders.try_push(order).is_ok();
        debug_assert!(pushed, "a place for every close");
        self.wake();
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // Fails only when the counter is full, and then the shard is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("slots", &self.slots).field("vacant", &self.vacant.len()).finish()
    }
}

/// What `legs` cost whose turns cost `turns`, in which their packets are, but for those that are passed through, contained.
fn load(legs: u64, turns: u64) -> u64 {
    let packets = u64::from(cost::PACKET) * legs;
    packets + turns.max(packets)
}

/// Slots of each of `count` shards. As legs move to where they are bridged, some shards have more of them than others: a
/// quarter more than its share each may have.
fn slots(max_legs: usize, count: usize) -> usize {
    let share = max_legs.div_ceil(count).max(1);
    if count == 1 { share } else { (share + share / 4 + 8).min(max_legs.max(1)) }
}
