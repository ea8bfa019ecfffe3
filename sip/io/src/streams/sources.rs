//! How much of the room each source takes.

use std::collections::BTreeMap;

use sip_core::Source;

/// What one source has open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) connections: usize,
    pub(super) handshakes: usize,
}

/// All sources with something open.
#[derive(Debug, Default)]
pub(super) struct Sources(BTreeMap<Source, Load>);

impl Sources {
    pub(super) fn load(&self, source: Source) -> Load {
        self.0.get(&source).copied().unwrap_or_default()
    }

    pub(super) fn begin_handshake(&mut self, source: Source) {
        self.0.entry(source).or_default().handshakes += 1;
    }

    pub(super) fn end_handshake(&mut self, source: Source) {
        self.change(source, |load| load.handshakes = load.handshakes.saturating_sub(1));
    }

    pub(super) fn begin_connection(&mut self, source: Source) {
        self.0.entry(source).or_default().connections += 1;
    }

    pub(super) fn end_connection(&mut self, source: Source) {
        self.change(source, |load| load.connections = load.connections.saturating_sub(1));
    }

    fn change(&mut self, source: Source, change: impl FnOnce(&mut Load)) {
        if let Some(load) = self.0.get_mut(&source) {
            change(load);
            if *load == Load::default() {
                self.0.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_of_a_source_that_left() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        let mut sources = Sources::default();
        sources.begin_handshake(of("2001:db8::1"));
        sources.begin_connection(of("2001:db8::2"));
        assert_eq!(sources.load(of("2001:db8::3")), Load { connections: 1, handshakes: 1 });
        sources.end_handshake(of("2001:db8::1"));
        sources.end_connection(of("2001:db8::1"));
        assert!(sources.0.is_empty());
    }
}
