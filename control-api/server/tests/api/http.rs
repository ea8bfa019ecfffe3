//! What holds for every route: tokens, scopes, limits, problems, description.

use crate::app::{Folder, SECRET, Settings, TestApp};
use control_api_server::Rate;
use reqwest::Method;
use serde_json::{Value, json};

/// Every operation of the served description: method, path with `x` for each parameter, scope if it has one.
async fn operations(app: &TestApp) -> Vec<(Method, String, Option<String>)> {
    let answer = app.send(app.anonymous(Method::GET, "/v1/openapi.json")).await;
    let mut found = Vec::new();
    for (path, item) in answer.ok(200)["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{id}", "x").replace("{name}", "x");
            let scope = operation["security"][0]["token"][0].as_str().map(str::to_owned);
            found.push((method, path, scope));
        }
    }
    found
}

#[tokio::test]
async fn every_route_asks_for_the_scope_that_the_description_names() {
    let app = TestApp::start().await;
    let mut tokens = Vec::new();
    for scope in ["read", "control", "originate", "admin"] {
        tokens.push((scope, app.token(scope, scope).await));
    }
    let operations = operations(&app).await;
    assert!(operations.len() > 30);
    for (method, path, scope) in operations {
        let bare = app.send(app.anonymous(method.clone(), &path)).await;
        let Some(scope) = scope else {
            assert_ne!(bare.status, 401, "{method} {path}");
            continue;
        };
        bare.problem(401, "unauthorized");
        assert_eq!(bare.headers["www-authenticate"], "Bearer realm=\"carillon\"");
        let wrong = app.anonymous(method.clone(), &path).bearer_auth("car_00000000_0");
        app.send(wrong).await.problem(401, "unauthorized");
        for (name, secret) in &tokens {
            // The right scope is tried elsewhere: a stream would not end.
            if *name != scope {
                let detail = app.send(app.anonymous(method.clone(), &path).bearer_auth(secret)).await;
                let detail = detail.problem(403, "forbidden");
                assert!(detail.contains(&scope), "{method} {path}: {detail}");
            }
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn the_secret_in_the_query_counts_for_streams_only() {
    let app = TestApp::start().await;
    let query = format!("?access_token={SECRET}");
    app.send(app.anonymous(Method::GET, &format!("/v1/node{query}"))).await.problem(401, "unauthorized");
    let stream = app.anonymous(Method::GET, &format!("/v1/events{query}")).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    app.stop().await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let app = TestApp::start().await;
    assert!(app.get("/v1/nothing").await.problem(404, "not-found").contains("/v1/nothing"));
    let answer = app.send(app.request(Method::PATCH, "/v1/calls")).await;
    answer.problem(405, "method-not-allowed");
    let allow = answer.headers["allow"].to_str().unwrap();
    assert!(allow.contains("POST") && allow.contains("GET"), "{allow}");
    app.stop().await;
}

#[tokio::test]
async fn bodies_that_are_not_json_or_too_large() {
    let app = TestApp::start().await;
    let broken = app.request(Method::POST, "/v1/calls").body("{\"to\":\n  \"x\",}");
    assert!(app.send(broken).await.problem(400, "unparsable").contains("line 2 column"));
    app.send(app.request(Method::POST, "/v1/calls")).await.problem(400, "unparsable");
    let huge = json!({"to": "sip:a@127.0.0.1", "client_state": "x".repeat(300_000)});
    app.post("/v1/calls", &huge).await.problem(413, "too-large");
    let deep = "[".repeat(10_000);
    app.send(app.request(Method::POST, "/v1/calls").body(deep)).await.problem(400, "unparsable");
    app.stop().await;
}

#[tokio::test]
async fn five_faults_are_five_pointers() {
    let app = TestApp::start().await;
    let body = json!({"to": "nobody at all", "timeout_s": 0, "codecs": ["MP3"], "flow": {"start": "a"}, "colour": 1});
    let answer = app.post("/v1/calls", &body).await;
    answer.problem(422, "validation");
    assert_eq!(answer.pointers(), ["/to", "/timeout_s", "/codecs/0", "/flow/steps", "/colour"]);
    let answer = app.get("/v1/calls?limit=0&status=fine&page=2").await;
    answer.problem(422, "validation");
    assert_eq!(answer.pointers(), ["?status", "?limit", "?page"]);
    app.stop().await;
}

#[tokio::test]
async fn a_token_that_asks_too_often_is_told_when_to_come_back() {
    let settings = Settings { rate: Rate { per_second: 1, burst: 3 }, metrics_open: false };
    let app = TestApp::start_with(settings, Folder::new()).await;
    let mut refused = 0;
    for _ in 0..20 {
        let answer = app.get("/v1/drain").await;
        if answer.status == 429 {
            answer.problem(429, "rate-limited");
            assert_eq!(answer.headers["retry-after"], "1");
            assert_eq!(answer.body["retryable"], true);
            refused += 1;
        }
    }
    assert!(refused > 0);
    app.send(app.anonymous(Method::GET, "/healthz")).await.ok(200);
    app.stop().await;
}

#[tokio::test]
async fn health_readiness_metrics_and_drain() {
    let app = TestApp::start().await;
    assert_eq!(app.send(app.anonymous(Method::GET, "/healthz")).await.ok(200), &json!({"status": "ok"}));
    let ready = app.send(app.anonymous(Method::GET, "/readyz")).await;
    assert_eq!(ready.ok(200), &json!({"ready": true, "reasons": []}));
    app.send(app.anonymous(Method::GET, "/metrics")).await.problem(401, "unauthorized");
    assert!(app.client().metrics().await.unwrap().contains("carillon_"));

    assert_eq!(app.post("/v1/drain", &Value::Null).await.ok(202)["draining"], true);
    let ready = app.send(app.anonymous(Method::GET, "/readyz")).await;
    assert_eq!(ready.ok(503)["ready"], false);
    let refused = app.post("/v1/calls", &json!({"to": "sip:a@127.0.0.1:9"})).await;
    refused.problem(503, "draining");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(app.send(app.request(Method::DELETE, "/v1/drain")).await.ok(200)["draining"], false);

    let node = app.client().node().await.unwrap();
    assert_eq!((node.node.as_str(), node.draining, node.calls.live), ("test", false, 0));
    assert_eq!(app.client().limits().await.unwrap().max_calls, 8);
    assert!(app.client().trunks().await.unwrap().is_empty());
    app.get("/v1/trunks/none").await.problem(404, "not-found");

    let open =
        TestApp::start_with(Settings { rate: Rate::default(), metrics_open: true }, Folder::new()).await;
    open.send(open.anonymous(Method::GET, "/metrics")).await.ok(200);
    open.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn the_page_is_closed_to_foreign_scripts() {
    let app = TestApp::start().await;
    let page = app.anonymous(Method::GET, "/docs").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    let text = page.text().await.unwrap();
    assert!(text.contains(&format!("<script nonce=\"{nonce}\">")));
    assert!(!text.contains("NONCE"));
    app.stop().await;
}
