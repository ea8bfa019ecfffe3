//! `--layouts`: a socket per call against one for each thread, in bare loops, by turns.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;
use media_core::Codec;

use crate::floor::{self, Floor, Layout};
use crate::peer::Peer;
use crate::prompt;
use crate::spread::median;

/// One figure of a floor.
type Figure = fn(&Floor) -> f64;

/// The table, for each number of calls.
pub(crate) fn measure(
    cores: &[usize],
    calls: &[u32],
    repetitions: usize,
    length: Duration,
) -> anyhow::Result<String> {
    let core = cores.last().copied().context("a core")?;
    let peer = Peer::start(core, prompt::encoded(&prompt::wav(), Codec::Pcma)?)?;
    let mut text = String::from(
        "\n| calls | ms CPU per call-second | a socket per call | one per thread | ratio |\n|--:|---|--:|--:|--:|\n",
    );
    for &calls in calls {
        let (mut per_call, mut shared) = (Vec::new(), Vec::new());
        for _ in 0..repetitions {
            for (layout, floors) in [(Layout::PerCall, &mut per_call), (Layout::Shared, &mut shared)] {
                floors.push(floor::measure(&peer, cores, usize::try_from(calls)?, length, layout)?);
            }
        }
        let figures: [(&str, Figure); 2] =
            [("sending", |floor| floor.send), ("sending and receiving", |floor| floor.both)];
        for (what, of) in figures {
            let middle = |floors: &[Floor]| median(floors.iter().map(of)).context("no repetition");
            let (per_call, shared) = (middle(&per_call)?, middle(&shared)?);
            let ratio = shared / per_call;
            writeln!(text, "| {calls} | {what} | {per_call:.3} | {shared:.3} | {ratio:.2} |")?;
        }
    }
    peer.stop().context("the far end")?;
    Ok(text)
}
