//! The CDRs as a table: what the engine says, and what the customers heard.

use carrier::Heard;
use control_api_types::{Call, Timestamp};

use crate::customers::{Customer, keys};

pub(crate) fn header() {
    println!(
        "{:<15} {:<26} {:<15} {:>3} {:<6} {:>4} {:>6} {:>6}   {:>6} {:>4} {:>7} {:>7}",
        "number",
        "customer",
        "disposition",
        "SIP",
        "by",
        "keys",
        "ring s",
        "talk s",
        "heard",
        "lost",
        "jitter",
        "max gap"
    );
}

pub(crate) fn row(customer: &Customer, cdr: &Call, heard: Option<&Heard>, faults: &[String]) {
    let begun = cdr.ringing_at.unwrap_or(cdr.created_at);
    let ring = seconds(begun, cdr.answered_at.or(cdr.ended_at));
    let talk = cdr.answered_at.and_then(|answered| seconds(answered, cdr.ended_at));
    println!(
        "{:<15} {:<26} {:<15} {:>3} {:<6} {:>4} {:>6} {:>6}   {:>6} {:>4} {:>7} {:>7}  {}",
        customer.number,
        customer.kind.name,
        word(cdr.disposition),
        word(cdr.sip_status),
        word(cdr.ended_by),
        keys(cdr).unwrap_or_default(),
        word(cdr.ringing_at.and(ring)),
        word(talk),
        word(heard.map(|heard| heard.packets)),
        word(heard.map(|heard| heard.lost)),
        word(heard.map(|heard| format!("{:.2} ms", heard.jitter_ms))),
        word(heard.map(|heard| format!("{:.0} ms", heard.max_gap_ms))),
        if faults.is_empty() { "ok".to_owned() } else { format!("WRONG: {}", faults.join("; ")) },
    );
}

fn word(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn seconds(from: Timestamp, to: Option<Timestamp>) -> Option<String> {
    to.map(|to| format!("{:.1}", to.unix_ms().saturating_sub(from.unix_ms()) as f64 / 1000.0))
}
