//! The API's description of itself, held against the server it describes.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::Carillon;

/// Every operation of the control API contract that this version has.
const CONTRACT: &[&str] = &[
    "DELETE /v1/bridges/{id}",
    "DELETE /v1/bridges/{id}/calls/{call_id}",
    "DELETE /v1/calls/{id}",
    "DELETE /v1/drain",
    "DELETE /v1/endpoints/{name}",
    "DELETE /v1/flows/{name}",
    "DELETE /v1/prompts/{id}",
    "DELETE /v1/queues/{name}",
    "DELETE /v1/recordings/{id}",
    "DELETE /v1/trunks/{name}",
    "DELETE /v1/webhooks/{id}",
    "GET /docs",
    "GET /healthz",
    "GET /metrics",
    "GET /readyz",
    "GET /v1/bridges",
    "GET /v1/bridges/{id}",
    "GET /v1/calls",
    "GET /v1/calls/{id}",
    "GET /v1/calls/{id}/events",
    "GET /v1/calls/{id}/timeline",
    "GET /v1/calls/{id}/trace",
    "GET /v1/calls/{id}/trace.pcap",
    "GET /v1/cdrs",
    "GET /v1/drain",
    "GET /v1/endpoints",
    "GET /v1/endpoints/{name}",
    "GET /v1/events",
    "GET /v1/flows",
    "GET /v1/flows/schema",
    "GET /v1/flows/{name}",
    "GET /v1/limits",
    "GET /v1/node",
    "GET /v1/openapi.json",
    "GET /v1/prompts",
    "GET /v1/prompts/{id}",
    "GET /v1/prompts/{id}/audio",
    "GET /v1/queues",
    "GET /v1/queues/{name}",
    "GET /v1/queues/{name}/calls",
    "GET /v1/recordings",
    "GET /v1/recordings/{id}",
    "GET /v1/recordings/{id}/audio",
    "GET /v1/trunks",
    "GET /v1/trunks/{name}",
    "GET /v1/webhooks",
    "GET /v1/webhooks/{id}",
    "PATCH /v1/limits",
    "POST /v1/bridges",
    "POST /v1/bridges/{id}/calls",
    "POST /v1/calls",
    "POST /v1/calls/{id}/answer",
    "POST /v1/calls/{id}/bridge",
    "POST /v1/calls/{id}/dtmf",
    "POST /v1/calls/{id}/flow",
    "POST /v1/calls/{id}/gather",
    "POST /v1/calls/{id}/hold",
    "POST /v1/calls/{id}/mute",
    "POST /v1/calls/{id}/play",
    "POST /v1/calls/{id}/play/stop",
    "POST /v1/calls/{id}/record",
    "POST /v1/calls/{id}/reject",
    "POST /v1/calls/{id}/ring",
    "POST /v1/calls/{id}/transfer",
    "POST /v1/calls/{id}/unhold",
    "POST /v1/calls/{id}/unmute",
    "POST /v1/drain",
    "POST /v1/endpoints",
    "POST /v1/flows/validate",
    "POST /v1/prompts",
    "POST /v1/reload",
    "POST /v1/trunks",
    "POST /v1/trunks/{name}/disable",
    "POST /v1/trunks/{name}/enable",
    "POST /v1/webhooks",
    "PUT /v1/endpoints/{name}",
    "PUT /v1/flows/{name}",
    "PUT /v1/queues/{name}",
    "PUT /v1/trunks/{name}",
];

#[tokio::test]
async fn the_description_names_every_route_and_only_those() {
    let carillon = Carillon::start("").await;
    let document = carillon.send(carillon.anonymous(Method::GET, "/v1/openapi.json")).await.ok(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            described.insert(format!("{method} {path}"));
            assert!(
                operation["operationId"].is_string() && operation["summary"].is_string(),
                "{method} {path}"
            );
            let real =
                path.replace("{id}", "nobody").replace("{name}", "nobody").replace("{call_id}", "nobody");
            // Without a token: whether the route exists is told all the same.
            let answer = carillon.anonymous(method.clone(), &real).send().await.unwrap().status();
            // The empty requirement is met by anybody.
            let open = operation["security"] == json!([{}]);
            assert_eq!(answer == 401, !open, "{method} {path}: {answer}");
            assert!(answer != 404 && answer != 405, "{method} {path}: {answer}");
        }
    }
    assert_eq!(described.iter().map(String::as_str).collect::<Vec<_>>(), CONTRACT);
    check_references(&document, &document);
}

/// Every `$ref` leads to something in the document.
fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| name == "$ref") {
                    Some(reference) => {
                        let pointer = reference.strip_prefix('#').unwrap_or(reference);
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    None => check_references(document, member),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let carillon = Carillon::start("").await;
    let page = carillon.send(carillon.anonymous(Method::GET, "/docs")).await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let html = page.body.as_str().unwrap();
    for outside in ["src=", "@import", "url(", "<link", "https://", "http://"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("/v1/openapi.json"));
}

#[tokio::test]
async fn what_is_open_is_open_and_what_is_told_is_whole() {
    let carillon = Carillon::start("").await;
    let open = |path| carillon.send(carillon.anonymous(Method::GET, path));
    assert_eq!(open("/healthz").await.ok(200), json!({"status": "ok"}));
    assert_eq!(open("/readyz").await.ok(200), json!({"ready": true, "reasons": []}));
    open("/metrics").await.problem(401, "unauthorized");
    let metrics = carillon.get("/metrics").await;
    assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = metrics.ok(200);
    for line in text.as_str().unwrap().lines() {
        let sample = line.starts_with("# ")
            || line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(sample, "{line}");
    }
    let limits = carillon.get("/v1/limits").await.ok(200);
    assert_eq!(
        limits,
        json!({"max_calls": 2000, "max_cps": 200, "max_queued": 10000, "queue_timeout_s": 60, "drain_timeout_s": 300})
    );
    let node = carillon.get("/v1/node").await.ok(200);
    assert_eq!((&node["version"], &node["media"]["shards"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(1)));
}
