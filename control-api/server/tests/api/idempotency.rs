//! `Idempotency-Key`.

use crate::app::{Answer, Settings, TestApp};
use control_api_server::Rate;
use reqwest::Method;
use serde_json::{Value, json};

async fn keyed(app: &TestApp, secret: Option<&str>, key: &str, body: &Value) -> Answer {
    let request = app.anonymous(Method::POST, "/v1/calls").bearer_auth(secret.unwrap_or(crate::app::SECRET));
    app.send(request.header("Idempotency-Key", key).json(body)).await
}

/// Nobody is there: the call rings out, which is all that is needed.
fn call() -> Value {
    json!({"to": "sip:nobody@127.0.0.1:9", "timeout_s": 600})
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_before_across_a_restart() {
    let app = TestApp::start().await;
    let first = keyed(&app, None, "k1", &call()).await;
    let id = first.ok(202)["id"].clone();
    assert!(!first.headers.contains_key("idempotent-replayed"));

    let again = keyed(&app, None, "k1", &call()).await;
    assert_eq!(again.ok(202), &first.body);
    assert_eq!(again.headers["idempotent-replayed"], "true");

    let mut other = call();
    other["timeout_s"] = 5.into();
    keyed(&app, None, "k1", &other).await.problem(422, "key-reused");

    let neighbour = app.token("neighbour", "originate").await;
    assert_ne!(keyed(&app, Some(&neighbour), "k1", &call()).await.ok(202)["id"], id);

    let folder = app.stop().await;
    let app = TestApp::start_with(Settings { rate: Rate::default(), metrics_open: false }, folder).await;
    assert_eq!(keyed(&app, None, "k1", &call()).await.ok(202), &first.body);
    app.stop().await;
}

#[tokio::test]
async fn what_says_not_now_is_not_kept() {
    let app = TestApp::start().await;
    app.post("/v1/drain", &Value::Null).await.ok(202);
    keyed(&app, None, "k2", &call()).await.problem(503, "draining");
    app.send(app.request(Method::DELETE, "/v1/drain")).await.ok(200);
    let done = keyed(&app, None, "k2", &call()).await;
    done.ok(202);
    assert!(!done.headers.contains_key("idempotent-replayed"));
    app.stop().await;
}

#[tokio::test]
async fn a_refusal_is_kept_as_a_problem() {
    let app = TestApp::start().await;
    let bad = json!({"to": ""});
    keyed(&app, None, "k3", &bad).await.problem(422, "validation");
    let again = keyed(&app, None, "k3", &bad).await;
    again.problem(422, "validation");
    assert_eq!(again.headers["idempotent-replayed"], "true");
    keyed(&app, None, "", &bad).await.problem(422, "validation");
    keyed(&app, None, &"k".repeat(300), &bad).await.problem(422, "validation");
    app.stop().await;
}

#[tokio::test]
async fn many_at_once_make_one_call() {
    let app = TestApp::start().await;
    let body = call();
    let answers = futures_util::future::join_all((0..16).map(|_| keyed(&app, None, "k4", &body))).await;
    let mut ids = Vec::new();
    for answer in answers {
        if answer.status == 409 {
            answer.problem(409, "in-progress");
            assert_eq!(answer.headers["retry-after"], "1");
        } else {
            ids.push(answer.ok(202)["id"].clone());
        }
    }
    assert!(!ids.is_empty());
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(app.get("/v1/calls").await.ok(200)["items"].as_array().unwrap().len(), 1);
    app.stop().await;
}
