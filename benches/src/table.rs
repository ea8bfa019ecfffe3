//! The table.

use std::fmt::Write as _;

use crate::calls::Share;
use crate::micro::{Cost, Measured};
use crate::plan::{Figures, Results};
use crate::rounds::{Both, Bridged, Playing, SetUp};
use crate::spread::{Spread, median};

struct Row {
    id: &'static str,
    what: String,
    target: &'static str,
    /// One for each engine.
    values: Vec<String>,
}

/// The figures as tables in markdown: the engines beside each other, and the core that this program was built with.
pub(crate) fn render(results: &Results) -> String {
    let engines = results.subjects.iter().map(|figures| figures.program.display().to_string()).collect();
    let mut text = table(engines, rows(&results.subjects));
    text += &table(vec!["the core by itself".into()], core_rows(results));
    text
}

/// No subjects, no table.
fn table(subjects: Vec<String>, rows: Vec<Row>) -> String {
    if subjects.is_empty() {
        return String::new();
    }
    let mut text = format!("\n| id | what | target | {} |\n|---|---|--:|", subjects.join(" | "));
    text += &"--:|".repeat(subjects.len());
    text.push('\n');
    for Row { id, what, target, values } in rows {
        let _ = writeln!(text, "| {id} | {what} | {target} | {} |", values.join(" | "));
    }
    text
}

struct Table<'r> {
    subjects: &'r [Figures],
    rows: Vec<Row>,
}

fn rows(subjects: &[Figures]) -> Vec<Row> {
    let Some(first) = subjects.first() else { return Vec::new() };
    let mut table = Table { subjects, rows: Vec::new() };
    for (size, (calls, _)) in first.playing.iter().enumerate() {
        table.playing(size, *calls);
    }
    for (size, (bridges, _)) in first.bridged.iter().enumerate() {
        table.bridged(size, *bridges);
    }
    for (index, (rate, _)) in first.set_up.iter().enumerate() {
        table.row("P7", format!("{rate} calls/s: set-up to CDR, ms CPU per call"), "0.33", |figures| {
            scalar(&figures.set_up[index].1, |round| round.cpu_per_call, 3)
        });
        table.row("P7", format!("{rate} calls/s: failed of placed"), "0", |figures| {
            failures(&figures.set_up[index].1)
        });
    }
    if !first.with_keys.is_empty() {
        table.latencies();
    }
    table.rows
}

impl Table<'_> {
    fn row(
        &mut self,
        id: &'static str,
        what: impl Into<String>,
        target: &'static str,
        value: impl Fn(&Figures) -> String,
    ) {
        let values = self.subjects.iter().map(value).collect();
        self.rows.push(Row { id, what: what.into(), target, values });
    }

    /// The figures of so many playing calls.
    fn playing(&mut self, size: usize, calls: u32) {
        let mut row = |id, what: &str, target, value: fn(&[Playing]) -> String| {
            self.row(id, format!("{calls} calls: {what}"), target, |figures| value(&figures.playing[size].1));
        };
        row("", "floor, sending, ms CPU per call-second", "–", |rounds| {
            scalar(rounds, |round| round.floor.cost, 4)
        });
        row("", "floor, sending and receiving", "–", |rounds| both(rounds, |both| both.floor, 4));
        row("P1", "engine without calls, ms CPU per second", "–", |rounds| {
            scalar(rounds, |round| round.idle, 2)
        });
        row("P1", "playing, ms CPU per call-second", "–", |rounds| {
            scalar(rounds, |round| round.playing, 4)
        });
        row("P1", "playing ÷ floor", "1.5", |rounds| {
            scalar(rounds, |round| round.playing / round.floor.cost, 2)
        });
        row("P2", "playing and receiving, ms CPU per call-second", "–", |rounds| {
            both(rounds, |both| both.engine, 4)
        });
        row("P2", "playing and receiving ÷ floor", "1.6", |rounds| {
            both(rounds, |both| both.engine / both.floor, 2)
        });
        row("P3", "packets missing, packets faulty, of those sent", "0, 0", losses);
        row("P3", "packets of the far end not received", "0", |rounds| {
            rounds.iter().map(|round| round.unheard).sum::<u64>().to_string()
        });
        row("P3", "gap deviation at the far end, ms", "p99.9 ≤ 5", |rounds| {
            spread(rounds.iter().map(|round| &round.gaps))
        });
        row("P3", "stolen by the host, ms; datagrams that any socket had no room for", "–", |rounds| {
            let stolen = rounds.iter().map(|round| round.losses.stolen.as_millis()).sum::<u128>();
            let datagrams = rounds.iter().map(|round| round.losses.datagrams).sum::<u64>();
            format!("{stolen}; {datagrams}")
        });
        row("P9", "wheel lateness, ms (median round)", "–", lateness);
        row("P9", "lateness of the floor's wheel, ms", "–", |rounds| {
            spread(rounds.iter().map(|round| &round.floor.lateness))
        });
        row("P6", "resident memory per call, KB", "12", |rounds| {
            scalar(rounds, |round| round.kib_per_call * 1.024, 1)
        });
    }

    /// The figures of so many bridges.
    fn bridged(&mut self, size: usize, bridges: u32) {
        let mut row = |id, what: &str, target, value: fn(&[Bridged]) -> String| {
            let what = format!("{bridges} bridges: {what}");
            self.row(id, what, target, |figures| value(&figures.bridged[size].1));
        };
        row("", "floor, receiving and sending, µs CPU per packet", "–", |rounds| {
            scalar(rounds, |round| round.floor, 2)
        });
        row("P4", "passed through, µs CPU per packet", "–", |rounds| {
            scalar(rounds, |round| round.engine, 2)
        });
        row("P4", "passed through ÷ floor", "1.5", |rounds| {
            scalar(rounds, |round| round.engine / round.floor, 2)
        });
        row("P4", "packets missing, of those sent", "0", |rounds| {
            let sum = |part: fn(&Bridged) -> u64| rounds.iter().map(part).sum::<u64>();
            format!("{} of {}", sum(|round| round.missing), sum(|round| round.packets))
        });
        row("P6", "resident memory per bridged call, KB", "24", |rounds| {
            scalar(rounds, |round| round.kib_per_bridge * 1.024, 1)
        });
    }

    fn latencies(&mut self) {
        let mut row = |what: &str, target, samples: fn(&SetUp) -> &Vec<u32>| {
            self.row("P8", format!("200 calls/s: {what}, ms"), target, |figures| {
                spread(figures.with_keys.iter().map(samples))
            });
        };
        row("API POST → INVITE on the wire", "p99 ≤ 2", |round| &round.post_to_invite);
        row("digit received → event", "p99 ≤ 5", |round| &round.key_to_event);
        row("200 OK → first RTP", "p99 ≤ 20", |round| &round.answer_to_rtp);
        self.row("P8", "200 calls/s: failed of placed", "0", |figures| failures(&figures.with_keys));
    }
}

/// The core that this program was built with, whatever the engines.
fn core_rows(Results { micro, signalling, .. }: &Results) -> Vec<Row> {
    const CALL: &str =
        "set up and torn down, calls per second and core; µs, allocations, KB allocated per call";
    let row = |id, what: &str, target, value| Row { id, what: what.into(), target, values: vec![value] };
    let case = |case: &Measured| {
        row(case.id, &format!("{}, ns; allocations", case.what), case.target, cost(case.cost))
    };
    let mut rows: Vec<Row> = micro.iter().map(case).collect();
    rows.extend([
        row("", &format!("SIP caller: {CALL}"), "–", share(signalling.caller)),
        row("", &format!("SIP callee: {CALL}"), "–", share(signalling.callee)),
        row("", "guard, one message of a call, ns; allocations", "–", cost(signalling.guard)),
        row(
            "P11",
            "allocations per media packet",
            "0",
            "proven by `cargo test -p media-core -p media-io`".into(),
        ),
    ]);
    rows
}

fn share(share: Share) -> String {
    let per_second = 1e6 / share.us;
    format!("{per_second:.0}; {:.1}; {:.0}; {:.1}", share.us, share.allocations, share.allocated_kb)
}

fn losses(rounds: &[Playing]) -> String {
    let sum = |part: fn(&Playing) -> u64| rounds.iter().map(part).sum::<u64>();
    let (missing, faulty) = (sum(|round| round.missing), sum(|round| round.faulty));
    let (packets, dropped) = (sum(|round| round.packets), sum(|round| round.dropped_here));
    let blame = if dropped > 0 { format!(" (dropped by the far end: {dropped})") } else { String::new() };
    format!("{missing}, {faulty} of {packets}{blame}")
}

fn lateness(rounds: &[Playing]) -> String {
    let mut lateness: Vec<_> = rounds.iter().map(|round| round.lateness).collect();
    lateness.sort_by_key(|lateness| (lateness.p999, lateness.max));
    lateness.get(lateness.len() / 2).map_or_else(none, |middle| {
        let [p50, p99, p999, max] =
            [middle.p50, middle.p99, middle.p999, middle.max].map(|us| us as f64 / 1000.0);
        format!("{p50:.2} / {p99:.2} / {p999:.2} / {max:.2}")
    })
}

fn scalar<T>(rounds: &[T], value: impl Fn(&T) -> f64, digits: usize) -> String {
    let Some(middle) = median(rounds.iter().map(&value)) else { return none() };
    let least = rounds.iter().map(&value).fold(f64::INFINITY, f64::min);
    if rounds.len() == 1 {
        format!("{middle:.digits$}")
    } else {
        format!("{middle:.digits$} ({least:.digits$})")
    }
}

/// What was not measured has no figure.
fn both(rounds: &[Playing], value: impl Fn(Both) -> f64, digits: usize) -> String {
    let measured: Vec<Both> = rounds.iter().filter_map(|round| round.both).collect();
    scalar(&measured, |&both| value(both), digits)
}

fn spread<'a>(samples: impl Iterator<Item = &'a Vec<u32>>) -> String {
    Spread::of(samples.flatten().copied().collect()).map_or_else(none, |spread| spread.to_string())
}

fn failures(rounds: &[SetUp]) -> String {
    let sum = |part: fn(&SetUp) -> u32| rounds.iter().map(part).sum::<u32>();
    format!("{} of {}", sum(|round| round.failed), sum(|round| round.placed))
}

fn cost(cost: Cost) -> String {
    format!("{:.0}; {:.1}", cost.ns, cost.allocations)
}

fn none() -> String {
    "–".into()
}
