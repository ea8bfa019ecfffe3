//! Trunks at run time: made, changed, disabled, forgotten; what is kept and what nobody sees.

use crate::app::{Answer, Folder, Settings, TestApp};
use control_api_server::Rate;
use reqwest::Method;
use serde_json::{Value, json};

fn settings() -> Settings {
    Settings { rate: Rate::default(), metrics_open: false }
}

async fn send(app: &TestApp, method: Method, path: &str, body: &Value) -> Answer {
    app.send(app.request(method, path).json(body)).await
}

async fn show(app: &TestApp, name: &str) -> Value {
    app.get(&format!("/v1/trunks/{name}")).await.ok(200).clone()
}

#[tokio::test]
async fn a_trunk_is_made_changed_disabled_and_forgotten() {
    let app = TestApp::start().await;
    let body = json!({"name": "jkt", "uri": "sip:192.0.2.1", "username": "u", "password": "geheim"});
    let made = send(&app, Method::POST, "/v1/trunks", &body).await;
    let trunk = made.ok(201);
    assert_eq!((&trunk["state"], &trunk["origin"]), (&json!("unmonitored"), &json!("api")));
    assert_eq!(trunk["gateways"], json!([{"uri": "sip:192.0.2.1", "state": "unmonitored", "rtt_ms": null}]));
    assert_eq!(trunk["settings"]["username"], "u");
    assert!(!trunk.to_string().contains("geheim"));
    send(&app, Method::POST, "/v1/trunks", &body).await.problem(409, "in-use");

    let changed =
        json!({"uri": "sip:192.0.2.1", "gateways": [{"uri": "sip:192.0.2.2", "weight": 3}], "max_calls": 4});
    let put = send(&app, Method::PUT, "/v1/trunks/jkt", &changed).await;
    assert_eq!(put.ok(200)["gateways"][0]["uri"], "sip:192.0.2.2");
    assert_eq!(show(&app, "jkt").await["settings"]["max_calls"], 4);

    let disabled = send(&app, Method::POST, "/v1/trunks/jkt/disable", &json!({})).await;
    assert_eq!(disabled.ok(200)["state"], "disabled");
    let call = json!({"to": "+62", "trunk": "jkt"});
    let refused = send(&app, Method::POST, "/v1/calls", &call).await;
    refused.problem(422, "validation");
    assert_eq!(refused.pointers(), ["/trunk"]);
    let enabled = send(&app, Method::POST, "/v1/trunks/jkt/enable", &json!({})).await;
    assert_eq!(enabled.ok(200)["state"], "unmonitored");

    send(&app, Method::DELETE, "/v1/trunks/jkt", &json!({})).await.ok(204);
    send(&app, Method::DELETE, "/v1/trunks/jkt", &json!({})).await.problem(404, "not-found");
    send(&app, Method::POST, "/v1/trunks/jkt/enable", &json!({})).await.problem(404, "not-found");
    app.get("/v1/trunks/jkt").await.problem(404, "not-found");
    app.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_trunk_is_told_and_nothing_is_made() {
    let app = TestApp::start().await;
    let faulty = json!({"name": "a b", "uri": "192.0.2.1", "register": true, "colour": "red", "max_cps": 0});
    let refused = send(&app, Method::POST, "/v1/trunks", &faulty).await;
    refused.problem(422, "validation");
    assert_eq!(refused.pointers(), ["/name", "/register", "/max_cps", "/colour"]);
    for (body, pointer) in [
        (json!({"name": "t", "uri": "192.0.2.1"}), "/uri"),
        (json!({"name": "t", "uri": "sips:192.0.2.1"}), "/uri"),
        (json!({"name": "t", "uri": "sip:192.0.2.1", "attest": "A"}), "/attest"),
        (json!({"name": "t", "uri": "sip:192.0.2.1", "verify": "strict"}), "/verify"),
        (
            json!({"name": "t", "uri": "sip:192.0.2.1", "username": "u", "password_file": "/etc/shadow"}),
            "/password_file",
        ),
    ] {
        let refused = send(&app, Method::POST, "/v1/trunks", &body).await;
        assert_eq!(refused.pointers(), [pointer], "{refused:?}");
    }
    let other = send(&app, Method::PUT, "/v1/trunks/t", &json!({"name": "u", "uri": "sip:192.0.2.1"})).await;
    assert_eq!(other.pointers(), ["/name"]);
    assert_eq!(app.get("/v1/trunks").await.ok(200)["items"], json!([]));
    app.stop().await;
}

#[tokio::test]
async fn what_the_api_made_and_disabled_is_there_after_a_restart() {
    let app = TestApp::start_with(settings(), Folder::new()).await;
    for name in ["gone", "off", "on"] {
        let body = json!({"name": name, "uri": "sip:192.0.2.1", "username": "u", "password": "p", "caller_ids": ["+6221"]});
        send(&app, Method::POST, "/v1/trunks", &body).await.ok(201);
    }
    send(&app, Method::POST, "/v1/trunks/off/disable", &json!({})).await.ok(200);
    send(&app, Method::DELETE, "/v1/trunks/gone", &json!({})).await.ok(204);
    let before = show(&app, "on").await["settings"].clone();
    let app = TestApp::start_with(settings(), app.stop().await).await;
    let list = app.get("/v1/trunks").await;
    let items = list.ok(200)["items"].as_array().unwrap();
    let told: Vec<_> = items.iter().map(|trunk| (&trunk["name"], &trunk["state"])).collect();
    assert_eq!(told, [(&json!("off"), &json!("disabled")), (&json!("on"), &json!("unmonitored"))]);
    assert_eq!(show(&app, "on").await["settings"], before);
    app.stop().await;
}

#[tokio::test]
async fn limits_are_patched() {
    let app = TestApp::start().await;
    let before = app.get("/v1/limits").await.ok(200).clone();
    let patched = send(&app, Method::PATCH, "/v1/limits", &json!({"max_cps": 7})).await;
    assert_eq!((&patched.ok(200)["max_cps"], &patched.body["max_calls"]), (&json!(7), &before["max_calls"]));
    let refused = send(&app, Method::PATCH, "/v1/limits", &json!({"max_calls": 0, "colour": 1})).await;
    assert_eq!(refused.pointers(), ["/max_calls", "/colour"]);
    // More than there are ports for.
    let refused = send(&app, Method::PATCH, "/v1/limits", &json!({"max_calls": 1_000_000})).await;
    assert_eq!(refused.pointers(), ["/max_calls"]);
    assert_eq!(app.get("/v1/limits").await.ok(200)["max_cps"], 7);
    app.stop().await;
}
