//! The SIP messages of calls, as they came and went: kept for a while, bounded per dialog and in all.
//!
//! Messages share their bytes with the transports where they can. Secrets are masked on the way out ([`mask`]), so that
//! keeping costs the task that owns the engine no more than a look at the Call-ID.
//!
//! What goes first when there is no more room: dialogs that became no call, then those of calls that ended, then those of
//! live calls, each in the order of their beginning.

mod hep;
mod ladder;
mod mask;
mod pcap;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use control_api_types::CallId;
use memchr::memmem;
use sip_core::{Hop, Message, Transmit, Transport};

pub(crate) use hep::{Hep, HepCounts};
pub use hep::{HepConfig, HepSecret};
pub(crate) use ladder::ladder;
pub(crate) use pcap::pcap;

/// What is kept of the SIP messages of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceConfig {
    /// Messages of one SIP dialog, the last ones; 0 keeps nothing.
    pub per_call: usize,
    /// Memory of all of them.
    pub total_bytes: usize,
    /// Where every message is sent a copy of.
    pub hep: Option<HepConfig>,
}

impl Default for TraceConfig {
    fn default() -> Self {
        // A call without surprises has 10 messages of 0.6 kB: the last ten thousand calls.
        Self { per_call: 64, total_bytes: 64 << 20, hep: None }
    }
}

/// One message as it passed.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    /// Microseconds since 1970.
    pub(crate) at_us: u64,
    pub(crate) sent: bool,
    pub(crate) transport: Transport,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Not masked.
    pub(crate) bytes: Bytes,
}

impl Captured {
    pub(crate) fn received(hop: Hop, message: &Message) -> Self {
        let bytes = message.as_bytes();
        // A frame of a stream shares its buffer with what came before and after it, and would keep all of that.
        let bytes = if hop.transport.is_reliable() { Bytes::copy_from_slice(bytes) } else { bytes.clone() };
        let Hop { transport, local, remote, .. } = hop;
        Self { at_us: now_us(), sent: false, transport, local, remote, bytes }
    }

    pub(crate) fn sent(transmit: &Transmit) -> Self {
        let Transmit { transport, local, remote, payload, .. } = transmit;
        let (transport, local, remote) = (*transport, *local, *remote);
        Self { at_us: now_us(), sent: true, transport, local, remote, bytes: payload.clone() }
    }

    /// From and to.
    pub(crate) fn ends(&self) -> (SocketAddr, SocketAddr) {
        if self.sent { (self.local, self.remote) } else { (self.remote, self.local) }
    }

    fn cost(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }
}

/// Of a call, all its dialogs together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// In the order in which they passed.
    pub(crate) messages: Vec<Captured>,
    /// Older ones that had to make room.
    pub(crate) left_out: u64,
}

/// In the order in which they are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Unclaimed,
    Ended,
    Live,
}

#[derive(Debug)]
struct Dialog {
    standing: Standing,
    /// When it began, as a number.
    began: u64,
    call: Option<CallId>,
    messages: VecDeque<Captured>,
    left_out: u64,
}

/// The dialogs of one call.
#[derive(Debug, Default)]
struct Call {
    dialogs: Vec<Bytes>,
    left_out: u64,
}

/// Every message that is kept. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Trace {
    per_call: usize,
    total_bytes: usize,
    /// By SIP Call-ID.
    dialogs: HashMap<Bytes, Dialog>,
    order: BTreeMap<(Standing, u64), Bytes>,
    calls: HashMap<CallId, Call>,
    bytes: usize,
    begun: u64,
    given_up: u64,
}

/// What a dialog takes besides its messages: its key, three times, and its places in the tables.
const DIALOG_COST: usize = 512;

impl Trace {
    pub(crate) fn new(config: &TraceConfig) -> Self {
        Self {
            per_call: config.per_call,
            total_bytes: config.total_bytes,
            dialogs: HashMap::new(),
            order: BTreeMap::new(),
            calls: HashMap::new(),
            bytes: 0,
            begun: 0,
            given_up: 0,
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.per_call > 0
    }

    /// Memory in use, and dialogs given up for want of it.
    pub(crate) fn figures(&self) -> (usize, u64) {
        (self.bytes, self.given_up)
    }

    /// Keeps a message of a dialog that is known, or begins with it: an INVITE.
    pub(crate) fn capture(&mut self, captured: Captured) {
        let Some(key) = call_id(&captured.bytes) else { return };
        let cost = captured.cost();
        match self.dialogs.get_mut(key) {
            Some(dialog) => {
                dialog.messages.push_back(captured);
                self.bytes += cost;
                if dialog.messages.len() > self.per_call
                    && let Some(oldest) = dialog.messages.pop_front()
                {
                    self.bytes -= oldest.cost();
                    dialog.left_out += 1;
                }
            }
            None if captured.bytes.starts_with(b"INVITE ") => {
                // A copy: the message goes when the ring is full, the key stays.
                let key = Bytes::copy_from_slice(key);
                self.begin(key.clone(), Standing::Unclaimed, None);
                if let Some(dialog) = self.dialogs.get_mut(&key) {
                    dialog.messages.push_back(captured);
                    self.bytes += cost;
                }
            }
            None => {}
        }
        self.make_room();
    }

    fn begin(&mut self, key: Bytes, standing: Standing, call: Option<CallId>) {
        self.begun += 1;
        self.order.insert((standing, self.begun), key.clone());
        self.bytes += DIALOG_COST + key.len();
        let dialog = Dialog { standing, began: self.begun, call, messages: VecDeque::new(), left_out: 0 };
        self.dialogs.insert(key, dialog);
    }

    /// This dialog is one of this call's.
    pub(crate) fn belongs(&mut self, sip_call_id: &str, call: &CallId) {
        let key = Bytes::copy_from_slice(sip_call_id.as_bytes());
        if self.dialogs.contains_key(&key) {
            self.stand(&key, Standing::Live);
            let former = self.dialogs.get_mut(&key).and_then(|dialog| dialog.call.replace(call.clone()));
            // A peer that uses a Call-ID again, against RFC 3261 section 8.1.1.4: what is kept goes with it.
            if let Some(former) = former.filter(|former| former != call) {
                self.part(&former, &key);
            }
        } else {
            self.begin(key.clone(), Standing::Live, Some(call.clone()));
        }
        let dialogs = &mut self.calls.entry(call.clone()).or_default().dialogs;
        if !dialogs.contains(&key) {
            dialogs.push(key);
        }
        self.make_room();
    }

    /// The call has ended: its messages are kept as long as there is room.
    pub(crate) fn ended(&mut self, call: &CallId) {
        let dialogs = self.calls.get(call).map(|call| call.dialogs.clone()).unwrap_or_default();
        for key in dialogs {
            self.stand(&key, Standing::Ended);
        }
    }

    fn stand(&mut self, key: &Bytes, standing: Standing) {
        let Some(dialog) = self.dialogs.get_mut(key) else { return };
        self.order.remove(&(dialog.standing, dialog.began));
        dialog.standing = standing;
        self.order.insert((standing, dialog.began), key.clone());
    }

    fn make_room(&mut self) {
        while self.bytes > self.total_bytes
            && let Some((_, key)) = self.order.pop_first()
            && let Some(dialog) = self.dialogs.remove(&key)
        {
            self.bytes -= DIALOG_COST + key.len() + dialog.messages.iter().map(Captured::cost).sum::<usize>();
            self.given_up += 1;
            let Some(id) = dialog.call else { continue };
            if let Some(call) = self.calls.get_mut(&id) {
                call.left_out += dialog.left_out + dialog.messages.len() as u64;
            }
            self.part(&id, &key);
        }
    }

    /// A dialog is the call's no more, and a call without dialogs is forgotten.
    fn part(&mut self, id: &CallId, key: &Bytes) {
        if let Some(call) = self.calls.get_mut(id) {
            call.dialogs.retain(|other| other != key);
            if call.dialogs.is_empty() {
                self.calls.remove(id);
            }
        }
    }

    /// What is kept of a call; nothing is `None`.
    pub(crate) fn of(&self, call: &CallId) -> Option<Kept> {
        let call = self.calls.get(call)?;
        let dialogs = || call.dialogs.iter().filter_map(|key| self.dialogs.get(key));
        let mut messages: Vec<_> = dialogs().flat_map(|dialog| dialog.messages.iter().cloned()).collect();
        messages.sort_by_key(|captured| captured.at_us);
        let left_out = call.left_out + dialogs().map(|dialog| dialog.left_out).sum::<u64>();
        (!messages.is_empty()).then_some(Kept { messages, left_out })
    }
}

/// The value of Call-ID, by a look at the head: what passes here was parsed or written by us.
fn call_id(message: &[u8]) -> Option<&[u8]> {
    let head = memmem::find(message, b"\r\n\r\n").map_or(message, |end| &message[..end]);
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    lines.find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        let is_call_id = name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i");
        is_call_id.then_some(value)
    })
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
