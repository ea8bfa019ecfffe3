//! `--layouts`: a socket per call against one for each thread, in bare loops, by turns.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;
use media_core::Codec;

use crate::floor::{self, Layout, Traffic};
use crate::peer::Peer;
use crate::prompt;
use crate::spread::median;

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
        for (what, traffic) in [("sending", Traffic::Sending), ("sending and receiving", Traffic::Both)] {
            let (mut per_call, mut shared) = (Vec::new(), Vec::new());
            for _ in 0..repetitions {
                for (layout, costs) in [(Layout::PerCall, &mut per_call), (Layout::Shared, &mut shared)] {
                    let calls = usize::try_from(calls)?;
                    costs.push(floor::measure(&peer, cores, calls, length, layout, traffic)?.cost);
                }
            }
            let middle = |costs: Vec<f64>| median(costs).context("no repetition");
            let (per_call, shared) = (middle(per_call)?, middle(shared)?);
            let ratio = shared / per_call;
            writeln!(text, "| {calls} | {what} | {per_call:.3} | {shared:.3} | {ratio:.2} |")?;
        }
    }
    peer.stop().context("the far end")?;
    Ok(text)
}
