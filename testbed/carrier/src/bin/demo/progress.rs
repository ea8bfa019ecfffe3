//! One line a second while the calls go on, from the engine's events.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use control_api_types::{CallId, Event, EventData};

/// How often the line is written: live on a terminal, sparse in a log.
const LIVE: Duration = Duration::from_millis(100);
const LOGGED: Duration = Duration::from_secs(2);

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Dialling,
    Ringing,
    Talking,
    Ended,
}

#[derive(Debug)]
pub(crate) struct Progress {
    total: usize,
    calls: BTreeMap<CallId, Stage>,
    keys: usize,
    begin: Instant,
    written: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, calls: BTreeMap::new(), keys: 0, begin: Instant::now(), written: None }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.count(Stage::Ended) == self.total
    }

    pub(crate) fn take(&mut self, event: &Event) {
        let Some(call) = event.call_id.clone() else { return };
        let stage = match event.data.kind() {
            "call.initiated" => Some(Stage::Dialling),
            "call.ringing" | "call.early_media" => Some(Stage::Ringing),
            "call.answered" => Some(Stage::Talking),
            "call.ended" => Some(Stage::Ended),
            _ => None,
        };
        if let Some(stage) = stage {
            self.calls.insert(call, stage);
        }
        self.keys += usize::from(matches!(event.data, EventData::CallDtmf { .. }));
        self.write();
    }

    fn count(&self, stage: Stage) -> usize {
        self.calls.values().filter(|call| **call == stage).count()
    }

    fn write(&mut self) {
        let mut out = std::io::stdout();
        let live = out.is_terminal();
        let every = if live { LIVE } else { LOGGED };
        let due = self.written.is_none_or(|written| written.elapsed() >= every);
        if !due && !self.is_over() {
            return;
        }
        self.written = Some(Instant::now());
        let line = format!(
            "{:5.1} s   dialling {:3}   ringing {:3}   talking {:3}   ended {:3}   keys {:3}",
            self.begin.elapsed().as_secs_f64(),
            self.count(Stage::Dialling),
            self.count(Stage::Ringing),
            self.count(Stage::Talking),
            self.count(Stage::Ended),
            self.keys,
        );
        let end = if live && !self.is_over() { "\r" } else { "\n" };
        // A closed terminal is no reason to break off the calls.
        let _ = write!(out, "{line}{end}").and_then(|()| out.flush());
    }
}
