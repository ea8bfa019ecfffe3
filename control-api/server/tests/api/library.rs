//! Prompts and flows.

use crate::app::{Settings, TestApp, wav};
use control_api_client::ClientError;
use control_api_server::Rate;
use control_api_types::{Code, flow::Flow};
use reqwest::{Method, multipart};
use serde_json::json;

#[tokio::test]
async fn a_prompt_is_stored_shown_heard_and_forgotten() {
    let app = TestApp::start().await;
    let client = app.client();
    let prompt = client.upload_prompt("tone", wav()).await.unwrap();
    assert_eq!((prompt.name.as_str(), prompt.duration_ms, prompt.channels), ("tone", 1000, 1));
    assert_eq!(client.upload_prompt("tone", wav()).await.unwrap(), prompt, "the same again is no change");
    assert_eq!(client.prompts().await.unwrap(), std::slice::from_ref(&prompt));
    assert_eq!(app.get(&format!("/v1/prompts/{}", prompt.id)).await.ok(200)["name"], "tone");

    let audio = app.request(Method::GET, "/v1/prompts/tone/audio").send().await.unwrap();
    assert_eq!(audio.headers()["content-type"], "audio/wav");
    let narrow = audio.bytes().await.unwrap();
    assert!(narrow.starts_with(b"RIFF"));
    let audio = app.request(Method::GET, "/v1/prompts/tone/audio?codec=g722").send().await.unwrap();
    let wide = audio.bytes().await.unwrap();
    let rate = |wav: &[u8]| u32::from_le_bytes(*wav[24..].first_chunk().unwrap());
    assert_eq!((rate(&narrow), rate(&wide)), (8_000, 16_000));
    assert_eq!(wide.len() - 44, (narrow.len() - 44) * 2, "the same time");
    let file = app.request(Method::GET, "/v1/prompts/tone/audio?codec=original").send().await.unwrap();
    assert_eq!(file.headers()["content-type"], "application/octet-stream");
    assert_eq!(file.bytes().await.unwrap(), wav());
    app.get("/v1/prompts/none/audio?codec=original").await.problem(404, "not-found");
    app.get("/v1/prompts/tone/audio?codec=mp3").await.problem(422, "validation");

    client.delete_prompt("tone").await.unwrap();
    app.get("/v1/prompts/tone").await.problem(404, "not-found");
    app.get("/v1/prompts/tone/audio").await.problem(404, "not-found");
    assert_eq!(client.delete_prompt("tone").await.unwrap_err().code(), Some(Code::NotFound));
    app.stop().await;
}

#[tokio::test]
async fn a_prompt_whose_files_are_lost_is_uploaded_again() {
    let app = TestApp::start().await;
    let prompt = app.client().upload_prompt("tone", wav()).await.unwrap();
    let folder = app.stop().await;
    for file in std::fs::read_dir(folder.0.join("prompts")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let settings = Settings { rate: Rate::default(), metrics_open: false };
    let app = TestApp::start_with(settings, folder).await;
    app.get("/v1/prompts/tone").await.problem(404, "not-found");
    assert_eq!(app.client().upload_prompt("tone", wav()).await.unwrap().id, prompt.id);
    app.stop().await;
}

#[tokio::test]
async fn a_prompt_from_before_a_codec_is_encoded_in_it() {
    let app = TestApp::start().await;
    let prompt = app.client().upload_prompt("tone", wav()).await.unwrap();
    let folder = app.stop().await;
    let wideband = folder.0.join("prompts").join(format!("{}.g722", prompt.id));
    let before = std::fs::read(&wideband).unwrap();
    std::fs::remove_file(&wideband).unwrap();
    let settings = Settings { rate: Rate::default(), metrics_open: false };
    let app = TestApp::start_with(settings, folder).await;
    assert_eq!(app.client().prompts().await.unwrap(), [prompt]);
    assert_eq!(std::fs::read(&wideband).unwrap(), before);
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_a_prompt() {
    let app = TestApp::start().await;
    let client = app.client();
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    let error = client.upload_prompt("tone", png).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::BadAudio));
    assert!(error.to_string().contains("PNG"), "{error}");
    assert!(client.prompts().await.unwrap().is_empty(), "nothing half-done");

    client.upload_prompt("tone", wav()).await.unwrap();
    let mut other = wav();
    let last = other.len() - 1;
    other[last] ^= 0x20;
    assert_eq!(client.upload_prompt("tone", other).await.unwrap_err().code(), Some(Code::InUse));
    let Err(ClientError::Problem(problem)) = client.upload_prompt("a b", wav()).await else {
        panic!("a bad name")
    };
    assert_eq!(problem.errors[0].pointer, "/name");

    let form = multipart::Form::new().text("title", "x");
    let answer = app.send(app.request(Method::POST, "/v1/prompts").multipart(form)).await;
    answer.problem(422, "validation");
    assert_eq!(answer.pointers(), ["/title"]);
    let empty = multipart::Form::new().text("name", "x");
    let answer = app.send(app.request(Method::POST, "/v1/prompts").multipart(empty)).await;
    assert_eq!(answer.pointers(), ["/file"]);
    let answer = app.post("/v1/prompts", &json!({"name": "x"})).await;
    assert_eq!(answer.pointers(), ["/say"]);
    let text = app.send(app.request(Method::POST, "/v1/prompts").body("x")).await;
    text.problem(415, "unsupported-media-type");
    app.stop().await;
}

#[tokio::test]
async fn flows_have_versions_and_are_checked_whole() {
    let app = TestApp::start().await;
    let client = app.client();
    let flow = |reason: &str| {
        let body = json!({"start": "bye", "steps": {"bye": {"verb": "hangup", "reason": reason}}});
        Flow::from_json(&body).unwrap()
    };
    assert_eq!(client.put_flow("bye", &flow("normal")).await.unwrap().version, 1);
    assert_eq!(client.put_flow("bye", &flow("busy")).await.unwrap().version, 2);
    let shown = app.get("/v1/flows/bye").await;
    assert_eq!(shown.ok(200)["flow"]["steps"]["bye"], json!({"verb": "hangup", "reason": "busy"}));
    let list = client.flows().await.unwrap();
    assert_eq!((list[0].name.as_str(), list[0].version, list[0].steps), ("bye", 2, 1));

    let bad = json!({"start": "a", "steps": {
        "a": {"verb": "play", "prompt": "missing", "next": "b"},
        "b": {"verb": "gather", "max": 1, "on": {"1": "c"}},
    }});
    for (method, path) in [(Method::PUT, "/v1/flows/bad"), (Method::POST, "/v1/flows/validate")] {
        let answer = app.send(app.request(method, path).json(&bad)).await;
        answer.problem(422, "validation");
        assert_eq!(answer.pointers(), ["/steps/b/on/1"]);
    }
    let missing = json!({"start": "a", "steps": {"a": {"verb": "play", "prompt": "missing"}}});
    let answer = app.post("/v1/flows/validate", &missing).await;
    answer.problem(422, "validation");
    assert_eq!(answer.pointers(), ["/steps/a/prompt"]);

    client.delete_flow("bye").await.unwrap();
    app.get("/v1/flows/bye").await.problem(404, "not-found");
    let schema = app.get("/v1/flows/schema").await;
    assert_eq!(schema.ok(200)["title"], "Flow");
    app.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let app = TestApp::start().await;
    let body = json!({"start": "a", "steps": {"a": {"verb": "hangup"}}});
    let flow = Flow::from_json(&body).unwrap();
    for name in ["c", "a", "b"] {
        app.client().put_flow(name, &flow).await.unwrap();
    }
    let names = |page: &serde_json::Value| {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|flow| flow["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = app.get("/v1/flows?limit=2").await;
    assert_eq!(names(first.ok(200)), ["a", "b"]);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = app.get(&format!("/v1/flows?limit=2&cursor={cursor}")).await;
    assert_eq!(names(second.ok(200)), ["c"]);
    assert!(second.body["next_cursor"].is_null());
    app.stop().await;
}
