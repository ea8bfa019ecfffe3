//! What is measured, how often and for how long.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use media_core::Codec;

use crate::calls::{self, Signalling};
use crate::floor::Traffic;
use crate::micro::{self, Measured};
use crate::peer::Peer;
use crate::prompt;
use crate::rounds::{self, Bridged, Playing, SetUp};

/// Calls of the round that measures latencies, begun in a second.
const LATENCY_RATE: u32 = 200;

/// One run of the bench.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The engines to measure, by turns.
    subjects: Vec<PathBuf>,
    calls: Vec<u32>,
    rates: Vec<u32>,
    /// What playing calls do.
    pub(crate) traffic: Traffic,
    pub(crate) cores: Vec<usize>,
    pub(crate) lengths: Lengths,
    pub(crate) repetitions: usize,
}

/// How long each thing is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    pub(crate) floor: Duration,
    pub(crate) idle: Duration,
    pub(crate) playing: Duration,
    pub(crate) placing: Duration,
    micro: Duration,
    signalling: Duration,
}

/// What came out, in the order of the subjects.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) subjects: Vec<Figures>,
    pub(crate) micro: Vec<Measured>,
    pub(crate) signalling: Signalling,
}

/// What came out for one engine.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) program: PathBuf,
    /// By number of calls: one for each repetition.
    pub(crate) playing: Vec<(u32, Vec<Playing>)>,
    /// By number of bridges.
    pub(crate) bridged: Vec<(u32, Vec<Bridged>)>,
    /// By rate.
    pub(crate) set_up: Vec<(u32, Vec<SetUp>)>,
    /// With a key in each call, at [`LATENCY_RATE`]; none where calls only play.
    pub(crate) with_keys: Vec<SetUp>,
}

impl Plan {
    pub(crate) fn new(
        subjects: Vec<PathBuf>,
        calls: Vec<u32>,
        rates: Vec<u32>,
        traffic: Traffic,
        cores: Vec<usize>,
        quick: bool,
    ) -> Plan {
        let seconds = |full, short| Duration::from_secs(if quick { short } else { full });
        let lengths = Lengths {
            floor: seconds(4, 2),
            idle: seconds(3, 2),
            playing: seconds(6, 3),
            placing: seconds(10, 3),
            micro: Duration::from_millis(if quick { 200 } else { 500 }),
            signalling: seconds(5, 1),
        };
        Plan { subjects, calls, rates, traffic, cores, lengths, repetitions: if quick { 1 } else { 3 } }
    }

    /// The conditions that the plan sets.
    pub(crate) fn about(&self) -> String {
        let Lengths { playing, placing, .. } = self.lengths;
        format!(
            "- {} repetitions, each with a fresh engine and a floor of its own; {playing:?} of playing calls, {placing:?} of \
             new calls\n- far end: one thread on core {}, beside the engine, which may use every core\n- figures of several \
             repetitions: median (minimum); spreads: p50 / p99 / p99.9 / max of all samples\n",
            self.repetitions,
            self.peer_core(),
        )
    }

    /// As many as take the most calls there are; none where calls only play.
    fn bridges(&self) -> Option<u32> {
        match self.traffic {
            Traffic::Sending => None,
            Traffic::Both => self.calls.iter().max().map(|calls| calls / 2),
        }
    }

    fn peer_core(&self) -> usize {
        self.cores.last().copied().unwrap_or_default()
    }

    pub(crate) async fn run(&self) -> anyhow::Result<Results> {
        let wav = prompt::wav();
        let peer = Peer::start(self.peer_core(), prompt::encoded(&wav, Codec::Pcma)?)?;
        let subjects = self.watch(&peer, &wav).await;
        // Where the far end failed, that is the reason for everything else.
        peer.stop().context("the far end")?;
        Ok(Results {
            subjects: subjects?,
            micro: micro::measure(self.lengths.micro),
            signalling: calls::measure(self.lengths.signalling)?,
        })
    }

    async fn watch(&self, peer: &Peer, wav: &[u8]) -> anyhow::Result<Vec<Figures>> {
        let mut subjects: Vec<Figures> =
            self.subjects.iter().map(|program| self.blank(program.clone())).collect();
        for _ in 0..self.repetitions {
            for (index, &calls) in self.calls.iter().enumerate() {
                for figures in &mut subjects {
                    let round = rounds::playing(&figures.program, peer, wav, calls, self)
                        .await
                        .with_context(|| format!("{calls} playing calls"))?;
                    figures.playing[index].1.push(round);
                }
            }
        }
        for _ in 0..self.repetitions {
            for figures in &mut subjects {
                for (bridges, rounds) in &mut figures.bridged {
                    let round = rounds::bridged(&figures.program, peer, wav, *bridges, self)
                        .await
                        .with_context(|| format!("{bridges} bridges"))?;
                    rounds.push(round);
                }
            }
        }
        for (index, &rate) in self.rates.iter().enumerate() {
            for figures in &mut subjects {
                let round = rounds::set_up(&figures.program, peer, wav, rate, rounds::Key::None, self)
                    .await
                    .with_context(|| format!("{rate} calls a second"))?;
                figures.set_up[index].1.push(round);
            }
        }
        if self.traffic == Traffic::Sending {
            return Ok(subjects);
        }
        for figures in &mut subjects {
            let round = rounds::set_up(&figures.program, peer, wav, LATENCY_RATE, rounds::Key::One, self)
                .await
                .with_context(|| format!("{LATENCY_RATE} calls a second with a key"))?;
            figures.with_keys.push(round);
        }
        Ok(subjects)
    }

    fn blank(&self, program: PathBuf) -> Figures {
        Figures {
            program,
            playing: self.calls.iter().map(|&calls| (calls, Vec::new())).collect(),
            bridged: self.bridges().into_iter().map(|bridges| (bridges, Vec::new())).collect(),
            set_up: self.rates.iter().map(|&rate| (rate, Vec::new())).collect(),
            with_keys: Vec::new(),
        }
    }
}
