//! Calls that come in: to a flow, to the API, and those that nobody wants.

use serde_json::json;
use sip_core::{EndCause, SessionEvent, Side};

use crate::phone::Phone;
use crate::support::{Carillon, Stream, items};
use reqwest::Method;

#[tokio::test]
async fn a_flow_answers_plays_and_takes_digits() {
    let carillon = Carillon::start("[[routes]]\nmatch = { called = \"100\" }\nflow = \"menu\"\n").await;
    carillon.upload_tone("greeting").await;
    let flow = json!({"start": "ask", "steps": {
        "ask": {"verb": "gather", "play": {"prompt": "greeting"}, "min": 1, "max": 8, "timeout_ms": 60_000,
                "inter_digit_ms": 60_000, "save_as": "pin", "next": "tell"},
        "tell": {"verb": "notify", "data": {"pin": "{pin}"}, "next": "bye"},
        "bye": {"verb": "hangup"},
    }});
    carillon.send(carillon.request(Method::PUT, "/v1/flows/menu").json(&flow)).await.ok(200);
    let mut events = Stream::open(carillon.request(Method::GET, "/v1/events")).await;

    let mut phone = Phone::new().await;
    phone.call("100", carillon.ports.sip);
    let media = phone.answered().await;
    phone.hear(5).await;
    for key in ['1', '2', '#'] {
        phone.press(key, &media).await;
    }
    let ended = phone.next().await;
    assert!(matches!(ended, SessionEvent::Ended { by: Side::Remote, cause: EndCause::Bye, .. }), "{ended:?}");

    let mut seen = Vec::new();
    let cdr = loop {
        let event = events.next().await.unwrap();
        seen.push(event["type"].as_str().unwrap().to_owned());
        assert_eq!(event["seq"], seen.len(), "numbered without gaps: {seen:?}");
        match seen.last().unwrap().as_str() {
            "call.dtmf" => assert_eq!(event["data"]["method"], "rfc4733"),
            "call.play.ended" => assert_eq!(event["data"]["reason"], "barge-in"),
            "call.gather.ended" => {
                let data = &event["data"];
                assert_eq!((&data["digits"], &data["reason"]), (&json!("12"), &json!("terminator")));
            }
            "call.notify" => assert_eq!(event["data"], json!({"pin": "12"})),
            "call.ended" => break event["data"].clone(),
            _ => {}
        }
    };
    let count = |kind: &str| seen.iter().filter(|seen| *seen == kind).count();
    assert_eq!(
        (count("call.initiated"), count("call.answered"), count("call.play.started")),
        (1, 1, 1),
        "{seen:?}"
    );
    assert_eq!((count("call.dtmf"), count("call.gather.ended"), count("call.notify")), (3, 1, 1), "{seen:?}");
    assert_eq!((&cdr["direction"], &cdr["status"]), (&json!("inbound"), &json!("completed")));
    assert_eq!((&cdr["disposition"], &cdr["ended_by"]), (&json!("answered"), &json!("engine")));
    assert_eq!((&cdr["variables"]["pin"], &cdr["codec"]), (&json!("12"), &json!("PCMU")));
    assert!(cdr["media"]["packets_sent"].as_u64().unwrap() >= 5, "{cdr}");
    assert_eq!(carillon.cdrs(1).await, [cdr]);
    carillon.check_no_panic().await;
}

#[tokio::test]
async fn a_parked_call_is_the_apis() {
    let carillon = Carillon::start("[[routes]]\npark = true\n").await;
    let waiting = async || {
        let calls = carillon.until("/v1/calls?status=initiated", |page| page["items"] != json!([])).await;
        items(calls)[0]["id"].as_str().unwrap().to_owned()
    };
    let nothing = json!({});

    let mut phone = Phone::new().await;
    phone.call("anyone", carillon.ports.sip);
    let id = waiting().await;
    carillon.post(&format!("/v1/calls/{id}/ring"), &nothing).await.ok(202);
    loop {
        match phone.next().await {
            SessionEvent::Provisional { status: 180, .. } => break,
            SessionEvent::Provisional { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    carillon.post(&format!("/v1/calls/{id}/answer"), &nothing).await.ok(202);
    phone.answered().await;
    carillon.until_call(&id, "in-progress").await;
    carillon.post(&format!("/v1/calls/{id}/answer"), &nothing).await.problem(409, "wrong-state");
    carillon.delete(&format!("/v1/calls/{id}")).await.ok(202);
    assert!(matches!(phone.next().await, SessionEvent::Ended { by: Side::Remote, .. }));
    let ended = carillon.until_call(&id, "completed").await;
    assert_eq!((&ended["ended_by"], &ended["direction"]), (&json!("api"), &json!("inbound")));

    phone.call("anyone", carillon.ports.sip);
    let id = waiting().await;
    let wrong = carillon.post(&format!("/v1/calls/{id}/reject"), &json!({"status": 200})).await;
    wrong.problem(422, "validation");
    carillon.post(&format!("/v1/calls/{id}/reject"), &json!({"status": 486})).await.ok(202);
    assert_eq!(phone.refused().await, 486);
    let rejected = carillon.until_call(&id, "busy").await;
    assert_eq!((&rejected["sip_status"], &rejected["disposition"]), (&json!(486), &json!("busy")));

    phone.call("anyone", carillon.ports.sip);
    let id = waiting().await;
    phone.hang_up();
    phone.cancelled().await;
    let gone = carillon.until_call(&id, "no-answer").await;
    assert_eq!((&gone["ended_by"], &gone["answered_at"]), (&json!("remote"), &json!(null)));
    assert_eq!(carillon.cdrs(3).await, [ended, rejected, gone]);
    carillon.check_no_panic().await;
}

#[tokio::test]
async fn strangers_and_wrong_numbers_leave_no_trace() {
    let routes = "[[routes]]\nmatch = { source = \"10.0.0.0/8\" }\npark = true\n";
    let local = "[[routes]]\nmatch = { source = \"127.0.0.0/8\", called = \"100\" }\npark = true\n";
    let reject = "[[routes]]\nmatch = { called = \"9*\" }\nreject = 410\n";
    for (config, called, status) in [
        (String::new(), "100", 403),
        (routes.to_owned(), "100", 403),
        (format!("{routes}{local}"), "200", 404),
        (format!("{routes}{reject}"), "911", 410),
    ] {
        let carillon = Carillon::start(&config).await;
        let mut phone = Phone::new().await;
        phone.call(called, carillon.ports.sip);
        assert_eq!(phone.refused().await, status, "{config}");
        carillon.check_untouched().await;
    }
}
