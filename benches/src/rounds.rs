//! The rounds: one fresh engine each.

use std::path::Path;
use std::time::{Duration, Instant};

use control_api_types::Lateness;

use crate::engine::{Engine, LISTENS, ONE_KEY, PASSES, WAITS};
use crate::floor::{self, Floor, Layout, Traffic};
use crate::load::{Control, Course};
use crate::peer::{Manner, Peer, Report, Sighting};
use crate::plan::Plan;
use crate::process::Losses;

/// Playing calls are begun at this rate.
const PLACING_RATE: u32 = 500;
/// What has just begun or ended is not measured.
const SETTLE: Duration = Duration::from_millis(500);
/// When the customer presses a key, from the answer on.
const KEY_AFTER: Duration = Duration::from_millis(100);

/// Calls that play, and then also receive.
#[derive(Clone, Debug)]
pub(crate) struct Playing {
    /// Of sending.
    pub(crate) floor: Floor,
    /// CPU of an engine without calls, ms per second.
    pub(crate) idle: f64,
    /// CPU ms per call-second above idle, playing.
    pub(crate) playing: f64,
    /// While they receive as well, where that is measured.
    pub(crate) both: Option<Both>,
    /// Resident memory per call, KiB.
    pub(crate) kib_per_call: f64,
    /// Packets that the far end checked.
    pub(crate) packets: u64,
    /// Packets that the engine says it sent and that did not come, or that came twice.
    pub(crate) missing: u64,
    /// Packets out of order or with other content than the prompt's.
    pub(crate) faulty: u64,
    /// Packets that the far end sent and the engine did not count.
    pub(crate) unheard: u64,
    /// Datagrams that found no room at the far end, which is a fault of this bench.
    pub(crate) dropped_here: u64,
    /// What the machine lost while they played.
    pub(crate) losses: Losses,
    /// While playing; µs.
    pub(crate) gaps: Vec<u32>,
    /// From the start to the end of playing; set-up included.
    pub(crate) lateness: Lateness,
}

/// Playing and receiving; ms CPU per call-second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Both {
    pub(crate) floor: f64,
    /// Above idle.
    pub(crate) engine: f64,
}

/// Calls that are bridged two and two, in the same codec, while both customers speak.
#[derive(Clone, Debug)]
pub(crate) struct Bridged {
    /// CPU of a bare loop for one packet received and one sent, µs.
    pub(crate) floor: f64,
    /// CPU of the engine above idle for each packet that it sent on, µs.
    pub(crate) engine: f64,
    /// Resident memory per bridge, KiB.
    pub(crate) kib_per_bridge: f64,
    /// Packets that the far end sent to calls while they were bridged.
    pub(crate) packets: u64,
    /// Those of them that did not come back.
    pub(crate) missing: u64,
}

/// Calls begun at a steady rate.
#[derive(Clone, Debug)]
pub(crate) struct SetUp {
    pub(crate) placed: u32,
    /// Refused, not answered, not ended exactly once, or a key was not heard.
    pub(crate) failed: u32,
    /// CPU ms per call above idle.
    pub(crate) cpu_per_call: f64,
    /// µs.
    pub(crate) post_to_invite: Vec<u32>,
    pub(crate) answer_to_rtp: Vec<u32>,
    pub(crate) key_to_event: Vec<u32>,
}

/// Whether customers press a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    None,
    One,
}

pub(crate) async fn playing(
    program: &Path,
    peer: &Peer,
    wav: &[u8],
    calls: u32,
    plan: &Plan,
) -> anyhow::Result<Playing> {
    let lengths = plan.lengths;
    let engine = Engine::start(program, peer.sip_addr(), wav).await?;
    let shards = usize::try_from(engine.client().node().await?.media.shards)?;
    let media_cores: Vec<usize> = plan.cores.iter().copied().cycle().take(shards).collect();
    let floor = |traffic| {
        let calls = usize::try_from(calls)?;
        floor::measure(peer, &media_cores, calls, lengths.floor, Layout::PerCall, traffic)
    };
    let sending = floor(Traffic::Sending)?;
    let both_ways = match plan.traffic {
        Traffic::Sending => None,
        Traffic::Both => Some(floor(Traffic::Both)?.cost),
    };

    let mut control = Control::connect(engine.client()).await?;
    // The first call of an engine loads what all others share.
    control.place(1, 1, PASSES).await?;
    control.unrefused()?;
    control.until_ended(1).await?;
    peer.clear()?;
    let idle = watch(&engine, lengths.idle).await?;
    let resident_before = engine.usage()?.resident_kib;

    control.place(calls, PLACING_RATE, LISTENS).await?;
    control.unrefused()?;
    control.until_answered(calls + 1).await?;
    tokio::time::sleep(SETTLE).await;
    peer.record_gaps(true)?;
    let before = Losses::so_far()?;
    let playing = watch(&engine, lengths.playing).await?;
    let losses = Losses::so_far()?.since(before);
    peer.record_gaps(false)?;
    let resident = engine.usage()?.resident_kib;
    let lateness = engine.client().node().await?.media.wheel_lateness_us;

    let both = if both_ways.is_some() {
        peer.behave(Manner { speaks: true, ..Manner::default() })?;
        tokio::time::sleep(SETTLE).await;
        let both = watch(&engine, lengths.playing).await?;
        peer.behave(Manner::default())?;
        tokio::time::sleep(SETTLE).await;
        Some(both)
    } else {
        None
    };
    control.hang_up_all().await?;
    // The last packets are in the far end's socket at most one millisecond.
    tokio::time::sleep(SETTLE).await;
    let report = peer.report()?;
    anyhow::ensure!(report.unanswerable == 0, "{} messages could not be answered", report.unanswerable);
    let courses = control.courses();
    engine.stop().await?;

    let per_call = |load: f64| (load - idle) / f64::from(calls);
    let mut round = Playing {
        floor: sending,
        idle,
        playing: per_call(playing),
        both: both_ways.zip(both).map(|(floor, both)| Both { floor, engine: per_call(both) }),
        kib_per_call: resident.saturating_sub(resident_before) as f64 / f64::from(calls),
        packets: 0,
        missing: 0,
        faulty: report.strangers,
        unheard: 0,
        dropped_here: report.dropped,
        losses,
        gaps: report.gaps,
        lateness,
    };
    for (number, course) in courses.range(2..) {
        let (Some(ended), Some(seen)) = (course.ended, report.calls.get(number)) else {
            anyhow::bail!("call {number} was not heard of at both ends");
        };
        round.packets += seen.heard.packets;
        round.missing += ended.packets_sent.abs_diff(seen.heard.packets).max(seen.heard.lost);
        round.faulty += seen.heard.out_of_order + seen.heard.wrong;
        round.unheard += seen.sent.abs_diff(ended.packets_received);
    }
    Ok(round)
}

pub(crate) async fn bridged(
    program: &Path,
    peer: &Peer,
    wav: &[u8],
    bridges: u32,
    plan: &Plan,
) -> anyhow::Result<Bridged> {
    let (lengths, calls) = (plan.lengths, 2 * bridges);
    let engine = Engine::start(program, peer.sip_addr(), wav).await?;
    let shards = usize::try_from(engine.client().node().await?.media.shards)?;
    let media_cores: Vec<usize> = plan.cores.iter().copied().cycle().take(shards).collect();
    let legs = usize::try_from(calls)?;
    let floor = floor::measure(peer, &media_cores, legs, lengths.floor, Layout::PerCall, Traffic::Both)?;

    let mut control = Control::connect(engine.client()).await?;
    control.place(1, 1, PASSES).await?;
    control.unrefused()?;
    control.until_ended(1).await?;
    peer.clear()?;
    let idle = watch(&engine, lengths.idle).await?;
    let resident_before = engine.usage()?.resident_kib;

    control.place(calls, PLACING_RATE, WAITS).await?;
    control.unrefused()?;
    control.until_answered(calls + 1).await?;
    control.bridge_pairs(2).await?;
    tokio::time::sleep(SETTLE).await;
    // What was sent before the bridges were there is not sent on.
    let before = peer.report()?;
    peer.behave(Manner { speaks: true, ..Manner::default() })?;
    tokio::time::sleep(SETTLE).await;
    let first = peer.report()?;
    let load = watch(&engine, lengths.playing).await?;
    let last = peer.report()?;
    let resident = engine.usage()?.resident_kib;
    peer.behave(Manner::default())?;
    tokio::time::sleep(SETTLE).await;
    let after = peer.report()?;
    control.hang_up_all().await?;
    engine.stop().await?;

    anyhow::ensure!(after.dropped == 0, "the far end lost {} packets", after.dropped);
    let sum = |report: &Report, of: fn(&Sighting) -> u64| report.calls.values().map(of).sum::<u64>();
    let packets = sum(&after, |call| call.sent) - sum(&before, |call| call.sent);
    let returned = sum(&after, |call| call.heard.packets) - sum(&before, |call| call.heard.packets);
    let watched = sum(&last, |call| call.sent) - sum(&first, |call| call.sent);
    let us = (load - idle) * 1_000.0 * lengths.playing.as_secs_f64();
    Ok(Bridged {
        // Of a call-second, which is 50 of them.
        floor: floor.cost * 1_000.0 / 50.0,
        engine: us / watched as f64,
        kib_per_bridge: resident.saturating_sub(resident_before) as f64 / f64::from(bridges),
        packets,
        missing: packets.saturating_sub(returned),
    })
}

pub(crate) async fn set_up(
    program: &Path,
    peer: &Peer,
    wav: &[u8],
    rate: u32,
    key: Key,
    plan: &Plan,
) -> anyhow::Result<SetUp> {
    let engine = Engine::start(program, peer.sip_addr(), wav).await?;
    let mut control = Control::connect(engine.client()).await?;
    control.place(1, 1, PASSES).await?;
    control.until_ended(1).await?;
    let idle = watch(&engine, plan.lengths.idle).await?;
    peer.clear()?;
    let (flow, presses_after) = match key {
        Key::None => (PASSES, None),
        Key::One => (ONE_KEY, Some(KEY_AFTER)),
    };
    peer.behave(Manner { speaks: false, presses_after })?;

    let count = rate * u32::try_from(plan.lengths.placing.as_secs())?;
    let (before, begin) = (engine.usage()?, Instant::now());
    let refused = control.place(count, rate, flow).await?;
    // What has not ended by then has failed, and is counted below.
    let _ = control.until_ended(1 + count - refused).await;
    let (used, took) = (engine.usage()?.cpu - before.cpu, begin.elapsed());
    let report = peer.report()?;
    peer.clear()?;
    anyhow::ensure!(report.unanswerable == 0, "{} messages could not be answered", report.unanswerable);
    let courses = control.courses();
    engine.stop().await?;

    let cpu_ms = used.as_secs_f64() * 1000.0 - idle * took.as_secs_f64();
    let mut round = SetUp {
        placed: count,
        failed: 0,
        cpu_per_call: cpu_ms / f64::from(count),
        post_to_invite: Vec::new(),
        answer_to_rtp: Vec::new(),
        key_to_event: Vec::new(),
    };
    for (&number, course) in courses.range(2..) {
        round.add(number, course, &report, key);
    }
    Ok(round)
}

impl SetUp {
    fn add(&mut self, number: u32, course: &Course, report: &Report, key: Key) {
        let seen = report.calls.get(&number);
        let answered = course.ended.is_some_and(|ended| ended.answered);
        let unheard = key == Key::One && course.digit_at.is_none();
        if !answered || unheard || course.ends != 1 || seen.is_none() {
            self.failed += 1;
        }
        let Some(seen) = seen else { return };
        self.post_to_invite.extend(micros(course.posted_at, Some(seen.invite_at)));
        self.answer_to_rtp.extend(micros(seen.answered_at, seen.heard.first_at));
        self.key_to_event.extend(seen.key_ended_at.and_then(|ended| micros(ended, course.digit_at)));
    }
}

fn micros(from: u64, to: Option<u64>) -> Option<u32> {
    u32::try_from(to?.saturating_sub(from) / 1000).ok()
}

/// CPU of the engine, ms per second.
async fn watch(engine: &Engine, length: Duration) -> anyhow::Result<f64> {
    let (before, begin) = (engine.usage()?, Instant::now());
    tokio::time::sleep(length).await;
    let (after, took) = (engine.usage()?, begin.elapsed());
    Ok((after.cpu - before.cpu).as_secs_f64() * 1000.0 / took.as_secs_f64())
}
