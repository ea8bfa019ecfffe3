//! Events as a control plane takes them: one socket for everything, or a stream that goes on where it broke.

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::support::{Carillon, DEAD, SECRET, Stream, carrier};

#[tokio::test]
async fn one_socket_carries_commands_and_events() {
    let (_carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&trunk).await;
    let url = format!("ws://{}/v1/events?types=call.*&access_token={SECRET}", carillon.ports.api);
    let (mut socket, _) = connect_async(url).await.unwrap();
    let mut events: Vec<Value> = Vec::new();
    let mut command = async |id: &str, method: &str, path: &str, body: Value| {
        let command = json!({"id": id, "method": method, "path": path, "body": body});
        socket.send(Message::text(command.to_string())).await.unwrap();
        loop {
            let message = tokio::time::timeout(DEAD, socket.next()).await.expect("a reply").unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let value: Value = serde_json::from_str(&text).unwrap();
            if value["reply_to"] == id {
                return (value["status"].clone(), value["body"].clone());
            }
            // Whatever is no reply comes between them.
            assert_eq!((&value["call_id"], &value["reply_to"]), (&json!("c"), &json!(null)));
            events.push(value);
        }
    };
    let call = json!({"id": "c", "to": "+62811", "trunk": "t"});
    let (status, body) = command("1", "POST", "/v1/calls", call).await;
    assert_eq!((&status, &body["id"]), (&json!(202), &json!("c")));
    let (status, body) = command("2", "POST", "/v1/calls", json!({"to": "+62811", "trunk": "x"})).await;
    assert_eq!(
        (&status, &body["code"], &body["errors"][0]["pointer"]),
        (&json!(422), &json!("validation"), &json!("/trunk"))
    );
    carillon.until_call("c", "in-progress").await;
    let (status, _) = command("3", "DELETE", "/v1/calls/c", json!(null)).await;
    assert_eq!(status, 202);
    carillon.until_call("c", "completed").await;
    while events.last().is_none_or(|event| event["type"] != "call.ended") {
        let message = tokio::time::timeout(DEAD, socket.next()).await.expect("an event").unwrap().unwrap();
        if let Message::Text(text) = message {
            events.push(serde_json::from_str(&text).unwrap());
        }
    }
    let numbers: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "none lost");
    carillon.check_no_panic().await;
}

#[tokio::test]
async fn a_broken_stream_goes_on_after_its_last_event() {
    let (_carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&trunk).await;
    let path = "/v1/events?types=call.*";
    let mut events = Stream::open(carillon.request(Method::GET, path)).await;
    let call = json!({"id": "c", "to": "+62811", "trunk": "t", "client_state": "mine"});
    carillon.post("/v1/calls", &call).await.ok(202);
    let first = events.next().await.unwrap();
    assert_eq!((&first["type"], &first["seq"]), (&json!("call.initiated"), &json!(1)));
    assert_eq!((&first["call_id"], &first["client_state"]), (&json!("c"), &json!("mine")));
    drop(events);
    carillon.until_call("c", "in-progress").await;
    carillon.delete("/v1/calls/c").await.ok(202);
    carillon.until_call("c", "completed").await;

    let cursor = first["cursor"].as_str().unwrap();
    let resumed = carillon.request(Method::GET, path).header("last-event-id", cursor);
    let mut resumed = Stream::open(resumed).await;
    let mut seen = vec![first.clone()];
    while seen.last().unwrap()["type"] != "call.ended" {
        seen.push(resumed.next().await.unwrap());
    }
    let numbers: Vec<_> = seen.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=seen.len() as u64).collect::<Vec<_>>(), "none lost, none twice");
    assert_eq!(seen.last().unwrap()["data"], carillon.cdrs(1).await[0]);

    // The stream of the one call, from the same place, ends with it.
    let mut of_call =
        Stream::open(carillon.request(Method::GET, &format!("/v1/calls/c/events?cursor={cursor}"))).await;
    for event in &seen[1..] {
        assert_eq!(of_call.next().await.as_ref(), Some(event));
    }
    assert_eq!(of_call.next().await, None);

    for expired in
        ["/v1/events?cursor=1", "/v1/events?cursor=99999999999999999999", "/v1/calls/c/events?cursor=1"]
    {
        let answer = carillon.get(expired).await;
        if expired.ends_with("=1") {
            answer.problem(410, "cursor-expired");
        } else {
            answer.problem(422, "validation");
        }
    }
}
