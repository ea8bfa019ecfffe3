//! Every figure of the engine, in the Prometheus text format.
//!
//! Figures are kept where they arise (the core, the shards, the transports) and read when somebody asks, so there is
//! no registry to keep in step: this file is the list.

use std::fmt::{Display, Write};
use std::time::Instant;

use control_api_types::{Disposition, Lateness, Node, NodeMedia};
use media_io::LATENESS_BOUNDS_US;

use crate::quality::Histogram;
use crate::task::Task;
use crate::trace::HepCounts;

/// Builds the text, one family after another.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }
}

impl Task {
    /// This node: version, load, lateness.
    pub(crate) fn node_resource(&self) -> Node {
        let (calls, limits) = (self.core.load(), self.core.limits());
        let stats = self.media.stats();
        let total = stats.total();
        Node {
            node: self.node.to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_at: self.started_at,
            draining: self.core.is_draining(),
            load: calls.live as f32 / limits.max_calls.max(1) as f32,
            calls,
            media: NodeMedia {
                shards: u32::try_from(stats.shards.len()).unwrap_or(u32::MAX),
                legs: u32::try_from(total.legs).unwrap_or(u32::MAX),
                packets_sent: total.rtp_packets_sent,
                packets_received: total.rtp_packets_received,
                send_errors: total.send_would_block
                    + total.send_unreachable
                    + total.send_no_buffer
                    + total.send_other,
                wheel_lateness_us: Lateness {
                    p50: total.lateness.quantile_us(0.5),
                    p99: total.lateness.quantile_us(0.99),
                    p999: total.lateness.quantile_us(0.999),
                    max: total.lateness.max_us,
                },
            },
        }
    }

    /// The text that `GET /metrics` answers.
    pub(crate) fn metrics(&self, now: Instant) -> String {
        let mut text = Text::default();
        self.call_metrics(&mut text);
        self.queue_metrics(now, &mut text);
        self.trunk_metrics(now, &mut text);
        self.registrar_metrics(&mut text);
        self.sip_metrics(&mut text);
        self.media_metrics(&mut text);
        self.webhook_metrics(&mut text);
        text.0
    }

    fn call_metrics(&self, text: &mut Text) {
        let load = self.core.load();
        text.gauge("carillon_calls_live", "Calls begun and not ended.", load.live);
        text.gauge("carillon_calls_queued", "Calls waiting for their turn.", load.queued);
        let name = "carillon_calls_ended_total";
        text.family(name, "counter", "Calls ended, by disposition.");
        for disposition in Disposition::ALL {
            let ended = self.state.ended.get(disposition).copied().unwrap_or(0);
            text.sample(name, &[("disposition", disposition.as_str())], ended);
        }
        text.counter("carillon_panics_total", "Panics contained; each ended one call.", self.state.panics);
        text.gauge("carillon_draining", "1 while no new calls are taken.", u8::from(self.core.is_draining()));
    }

    fn queue_metrics(&self, now: Instant, text: &mut Text) {
        let loads: Vec<_> =
            self.core.queue_names().map(|name| (name, self.core.queue_load(now, name))).collect();
        let name = "carillon_queue_calls";
        text.family(name, "gauge", "Calls that wait in a queue.");
        for (queue, load) in &loads {
            text.sample(name, &[("queue", queue)], load.waiting);
        }
        let name = "carillon_queue_longest_wait_seconds";
        text.family(name, "gauge", "How long the first in a queue has waited; 0 when nobody does.");
        for (queue, load) in &loads {
            text.sample(name, &[("queue", queue)], load.longest.unwrap_or_default().as_secs_f64());
        }
    }

    fn trunk_metrics(&self, now: Instant, text: &mut Text) {
        let trunks: Vec<_> = self.core.trunks(now).collect();
        let name = "carillon_trunk_state";
        text.family(name, "gauge", "1 for the state a trunk is in.");
        for trunk in &trunks {
            text.sample(name, &[("trunk", &trunk.name), ("state", trunk.state.as_str())], 1);
        }
        let name = "carillon_trunk_calls";
        text.family(name, "gauge", "Live calls of a trunk.");
        for trunk in &trunks {
            text.sample(name, &[("trunk", &trunk.name)], trunk.calls);
        }
        let name = "carillon_trunk_asr_ratio";
        text.family(name, "gauge", "Answered calls among recent ones of a trunk.");
        for trunk in &trunks {
            if let Some(asr) = trunk.asr {
                text.sample(name, &[("trunk", &trunk.name)], asr);
            }
        }
    }

    fn registrar_metrics(&self, text: &mut Text) {
        let (counts, contacts) = self.core.registrar_counts();
        text.gauge("carillon_endpoint_contacts", "Contacts that endpoints have registered.", contacts);
        let name = "carillon_registrations_total";
        text.family(name, "counter", "REGISTER requests with credentials, by result.");
        for (result, count) in [
            ("accepted", counts.accepted),
            ("wrong-password", counts.unauthenticated),
            ("refused", counts.refused),
        ] {
            text.sample(name, &[("result", result)], count);
        }
    }

    fn sip_metrics(&self, text: &mut Text) {
        let (sessions, transactions) = self.core.sip_load();
        let help = "SIP sessions held, those that linger for their last messages included.";
        text.gauge("carillon_sip_sessions", help, sessions);
        text.gauge("carillon_sip_transactions", "SIP transactions held.", transactions);
        let name = "carillon_sip_waiting";
        text.family(name, "gauge", "Messages that wait for the engine, by queue.");
        let waiting = self.transports.waiting();
        text.sample(name, &[("queue", "calls")], waiting.rest);
        text.sample(name, &[("queue", "new-work")], waiting.new_work);
        let (bytes, given_up) = self.trace.figures();
        text.gauge("carillon_sip_trace_bytes", "Memory of the SIP messages kept.", bytes);
        let help = "Dialogs whose messages had to make room for others.";
        text.counter("carillon_sip_trace_given_up_total", help, given_up);
        if let Some(hep) = &self.hep {
            let HepCounts { sent, dropped } = hep.counts();
            text.counter(
                "carillon_hep_sent_total",
                "Copies of SIP messages sent to the capture server.",
                sent,
            );
            let help = "Copies that had no room, no server, or were too long.";
            text.counter("carillon_hep_dropped_total", help, dropped);
        }
        for (name, help, value) in self.transports.counts().named() {
            text.counter(&format!("carillon_sip_{name}_total"), help, value);
        }
    }

    fn webhook_metrics(&self, text: &mut Text) {
        let figures = self.webhooks.figures();
        text.gauge("carillon_webhooks_pending", "Events that wait for web servers.", figures.pending);
        let name = "carillon_webhook_attempts_total";
        text.family(name, "counter", "Attempts to deliver an event, by result.");
        text.sample(name, &[("result", "delivered")], figures.delivered);
        text.sample(name, &[("result", "failed")], figures.failed);
        let help = "Events for web servers that were not delivered: no room, or a day of failed attempts.";
        let name = "carillon_webhook_events_lost_total";
        text.family(name, "counter", help);
        text.sample(name, &[("reason", "dropped")], figures.dropped);
        text.sample(name, &[("reason", "given-up")], figures.given_up);
    }

    fn media_metrics(&self, text: &mut Text) {
        let total = self.media.stats().total();
        for (name, help, value) in total.named() {
            match name {
                // What there is now comes and goes; everything else only grows.
                "legs" | "turn_ns" => text.gauge(&format!("carillon_media_{name}"), help, value),
                _ => text.counter(&format!("carillon_media_{name}_total"), help, value),
            }
        }
        let (counts, memory, disk, waiting) = self.sounds.figures();
        let name = "carillon_sounds_loaded_total";
        text.family(name, "counter", "Tones, volumes and URLs made ready to play, by result.");
        text.sample(name, &[("result", "ready")], counts.loaded);
        text.sample(name, &[("result", "failed")], counts.failed);
        text.gauge("carillon_sounds_memory_bytes", "Encoded audio kept besides uploaded prompts.", memory);
        text.gauge("carillon_sounds_disk_bytes", "Files of web servers kept on disk.", disk);
        text.gauge("carillon_sounds_waiting", "Calls that wait for what they are to play.", waiting);
        let spoken = self.speech.figures();
        let name = "carillon_speech_texts_total";
        text.family(name, "counter", "Texts to be said, by where they came from.");
        text.sample(name, &[("result", "made")], spoken.made);
        text.sample(name, &[("result", "kept")], spoken.kept);
        text.sample(name, &[("result", "failed")], spoken.failed);
        text.gauge("carillon_speech_disk_bytes", "Made speech kept on disk.", spoken.bytes);
        for Histogram { name, help, buckets, sum } in self.state.quality.named() {
            let name = format!("carillon_call_{name}");
            text.family(&name, "histogram", help);
            let mut calls = 0;
            for (bound, below) in buckets {
                let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
                text.sample(&format!("{name}_bucket"), &[("le", &bound)], below);
                calls = below;
            }
            text.sample(&format!("{name}_sum"), &[], sum);
            text.sample(&format!("{name}_count"), &[], calls);
        }
        let name = "carillon_media_wheel_lateness_seconds";
        text.family(name, "histogram", "How late RTP packets were handed to the kernel.");
        let (bucket, mut below) = (format!("{name}_bucket"), 0);
        for (count, bound) in total.lateness.counts.iter().zip(LATENESS_BOUNDS_US) {
            below += count;
            text.sample(&bucket, &[("le", &(bound as f64 / 1e6).to_string())], below);
        }
        let packets = total.lateness.packets();
        text.sample(&bucket, &[("le", "+Inf")], packets);
        text.sample(&format!("{name}_sum"), &[], total.lateness.sum_us as f64 / 1e6);
        text.sample(&format!("{name}_count"), &[], packets);
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn labels_are_escaped_and_families_described() {
        let mut text = Text::default();
        text.gauge("a", "Help.", 1);
        text.sample("b", &[("x", "q\"u\\o\nte"), ("y", "z")], 2.5);
        assert_eq!(text.0, "# HELP a Help.\n# TYPE a gauge\na 1\nb{x=\"q\\\"u\\\\o\\nte\",y=\"z\"} 2.5\n");
    }
}
