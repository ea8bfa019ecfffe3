//! What real carriers do and should not, by the switches of the simulated one: what the engine tells of such calls, and
//! what the customer had of them.

use carrier::{CallReport, Carrier, CarrierConfig, Outcome};
use control_api_types::Disposition::{self, Answered, Canceled, Incompatible, NoAnswer};
use control_api_types::EndedBy::{self, Api, Engine, Remote};
use control_api_types::HangupReason;
use serde_json::{Value, json};

use crate::lab::{Lab, Story};

/// A carrier with one kind of customer: `does = …, quirks = […]`; and further keys.
async fn carrier(customer: &str, more: &str) -> Carrier {
    let config = format!("customers = [{{ number = \"*\", {customer} }}]\n{more}");
    let config: CarrierConfig = toml::from_str(&config).unwrap_or_else(|error| panic!("{config}: {error}"));
    Carrier::start(config).await.unwrap()
}

/// Calls a customer once; the call is hung up by the API `at` an event, or else ends by itself.
async fn call(customer: &str, request: Value, at: Option<&str>) -> (Story, CallReport) {
    let carrier = carrier(customer, "").await;
    let mut lab = Lab::calling(carrier.addr()).await;
    let call = lab.place(request).await;
    if let Some(event) = at {
        lab.reached(&call, event).await;
        lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    }
    let story = lab.story(&call).await;
    carrier.wait_for(|progress| progress.ended == 1).await.unwrap();
    let report = carrier.calls().await.unwrap().remove(0);
    // Nothing goes on after the end.
    lab.stop().await;
    (story, report)
}

/// The same; how it must end for the engine and for the customer.
async fn check(
    customer: &str,
    at: Option<&str>,
    (disposition, by): (Disposition, EndedBy),
    outcome: Outcome,
    kinds: &[&str],
) -> (Story, CallReport) {
    let (story, report) = call(customer, json!({}), at).await;
    let cdr = &story.cdr;
    assert_eq!((cdr.disposition, cdr.ended_by), (Some(disposition), Some(by)), "{customer}: {cdr:?}");
    assert_eq!(report.outcome, outcome, "{customer}");
    assert_eq!(story.kinds(), kinds, "{customer}");
    (story, report)
}

const TALK: Option<&str> = Some("call.answered");
const GIVE_UP: Option<&str> = Some("call.ringing");
const ORDINARY: &[&str] = &["call.initiated", "call.ringing", "call.answered", "call.ended"];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_rings_and_however_often_one_call_is_answered() {
    for quirks in [
        r#""progress-without-sdp""#,
        r#""changed-to-tag""#,
        r#""several-early-dialogs""#,
        r#""no-contact""#,
        r#""progress-without-sdp", "changed-to-tag", "several-early-dialogs", "no-contact""#,
    ] {
        let customer = format!("does = {{ answers = {{}} }}, quirks = [{quirks}]");
        check(&customer, TALK, (Answered, Api), Outcome::CallerHungUp, ORDINARY).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_after_our_cancel_is_acknowledged_and_hung_up() {
    let kinds = ["call.initiated", "call.ringing", "call.ended"];
    let customer = r#"does = "never-answers", quirks = ["answers-cancel"]"#;
    // The customer was off hook, and had our BYE.
    check(customer, GIVE_UP, (Canceled, Api), Outcome::CallerHungUp, &kinds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bye_while_it_rings_is_the_end() {
    let kinds = ["call.initiated", "call.ringing", "call.ended"];
    let customer = r#"does = { refuses = { status = 480, after_ms = 300 } }, quirks = ["early-bye"]"#;
    check(customer, None, (NoAnswer, Remote), Outcome::Cancelled, &kinds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_a_codec_that_was_not_offered_is_hung_up() {
    let customer = r#"does = { answers = {} }, quirks = ["unoffered-codec"]"#;
    let kinds = ["call.initiated", "call.ringing", "call.ended"];
    check(customer, None, (Incompatible, Engine), Outcome::CallerHungUp, &kinds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_codec_of_the_answer_counts_and_not_that_of_the_announcement() {
    let customer = r#"does = { answers = { ring_ms = 500, early_media = true, then = [
        { wait_ms = 200 }, { press = "5" }, { wait_ms = 300 }, "hang_up"] } }, quirks = ["changed-codec"]"#;
    let gather = json!({ "early_media": "connect", "flow": { "start": "keys", "steps": {
        "keys": { "verb": "gather", "max": 1, "timeout_ms": 10_000, "on": { "else": "wait" } },
        "wait": { "verb": "park" },
    } } });
    let (story, report) = call(customer, gather, None).await;
    assert_eq!(story.digits(), "5");
    assert_eq!((story.cdr.disposition, story.cdr.ended_by), (Some(Answered), Some(Remote)));
    // The first of the offer was announced in, the other one is talked in, and only that.
    assert_eq!(story.cdr.codec.map(|codec| codec.as_str()), Some("PCMU"));
    let heard = report.heard.unwrap();
    assert!(heard.packets >= 10, "{heard:?}");
    // One may have been on its way when the answer left.
    assert!(heard.invalid <= 1 && heard.lost == 0, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_description_changes_nothing() {
    let customer = r#"does = { answers = { then = [
        { wait_ms = 300 }, "reinvite", { wait_ms = 300 }, "reinvite", { wait_ms = 300 }, "hang_up"] } }"#;
    let (story, report) = check(customer, None, (Answered, Remote), Outcome::CustomerHungUp, ORDINARY).await;
    // One stream from the first packet to the last, at both ends.
    let (heard, media) = (report.heard.unwrap(), story.cdr.media.unwrap());
    assert!(heard.packets >= 40 && media.packets_received >= 40, "{heard:?} {media:?}");
    assert_eq!((heard.breaks, heard.invalid, heard.lost, media.packets_lost), (0, 0, 0, 0), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_from_elsewhere_than_described_are_a_strangers() {
    let customer =
        r#"does = { answers = { then = [{ wait_ms = 600 }, "hang_up"] } }, quirks = ["private-address"]"#;
    let (story, report) = check(customer, None, (Answered, Remote), Outcome::CustomerHungUp, ORDINARY).await;
    // The call stands. But whoever sends from another host than the one that was signalled might be anybody.
    assert!(report.sent >= 15, "{report:?}");
    let (heard, media) = (report.heard.unwrap(), story.cdr.media.unwrap());
    assert_eq!((heard.packets, media.packets_received), (0, 0), "{media:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenth_of_a_second_of_reordering_loses_no_call_and_no_key() {
    const CALLS: usize = 10;
    let customer = r#"does = { answers = { then = [{ wait_ms = 300 }, { press = "19#" }] } }"#;
    let carrier = carrier(customer, "network = { reorder = 0.3, hold_ms = 100 }").await;
    let mut lab = Lab::calling(carrier.addr()).await;
    let flow = json!({ "start": "keys", "steps": {
        "keys": { "verb": "gather", "max": 8, "timeout_ms": 10_000, "inter_digit_ms": 10_000,
            "on": { "else": "bye" } },
        "bye": { "verb": "hangup" },
    } });
    for _ in 0..CALLS {
        lab.place(json!({ "flow": flow })).await;
    }
    for story in lab.stories(CALLS).await {
        let cdr = &story.cdr;
        assert_eq!((cdr.disposition, cdr.ended_by), (Some(Answered), Some(Engine)), "{cdr:?}");
        assert_eq!(story.digits(), "19#", "each key once, and in their order");
    }
    carrier.wait_for(|progress| progress.ended == CALLS as u64).await.unwrap();
    for report in carrier.calls().await.unwrap() {
        assert_eq!(report.outcome, Outcome::CallerHungUp);
    }
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trunk_is_told_numbers_in_its_own_form() {
    let carrier = carrier(r#"does = "busy""#, "").await;
    let trunk = |name: &str, more: &str| {
        format!("[[trunks]]\nname = \"{name}\"\nuri = \"sip:{}\"\nregister = false\n{more}\n", carrier.addr())
    };
    let config = [
        trunk("as-it-is", ""),
        trunk("bare", "number_format = { strip = \"+\" }\nfrom_domain = \"pbx.example.net\""),
        trunk(
            "national",
            "number_format = { strip = \"+62\", prefix = \"0\" }\ncaller_ids = [\"+622155501\"]",
        ),
        trunk(
            "access-code",
            "number_format = { strip = \"+\", prefix = \"9011\" }\nfrom_domain = \"10.9.8.7\"",
        ),
    ];
    let mut lab = Lab::new(&config.join("\n")).await;
    let host = carrier.addr().ip().to_string();
    for (trunk, called, caller_host) in [
        ("as-it-is", "+628761234", &*host),
        ("bare", "628761234", "pbx.example.net"),
        ("national", "08761234", &host),
        ("access-code", "9011628761234", "10.9.8.7"),
    ] {
        let call = lab.place(json!({ "trunk": trunk })).await;
        let cdr = lab.story(&call).await.cdr;
        // Whatever the trunk is told, the call is to the number that was asked for.
        assert_eq!((cdr.disposition, &*cdr.to), (Some(Disposition::Busy), "+628761234"), "{trunk}");
        carrier.wait_for(|progress| progress.live == 0).await.unwrap();
        let report = carrier.calls().await.unwrap().pop().unwrap();
        assert_eq!((&*report.called, &*report.caller_host), (called, caller_host), "{trunk}");
        if trunk == "national" {
            assert_eq!(report.caller, "+622155501");
        }
    }
    lab.stop().await;
}
