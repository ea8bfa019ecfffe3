//! What callers send that is wrong: each a whole message, and nothing half-done.

use reqwest::{Method, multipart};
use serde_json::{Value, json};

use crate::support::{Carillon, SECRET};

const TRUNK: &str = "[[trunks]]\nname = \"t\"\nuri = \"sip:127.0.0.1:9\"\n";

/// The first bytes of any PNG: signature, IHDR.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

#[tokio::test]
async fn five_faults_of_a_call_are_told_at_once() {
    let carillon = Carillon::start(TRUNK).await;
    let body = json!({
        "to": "call me", "trunk": 5, "timeout_s": 0, "headers": {"Via": "x"},
        "flow": {"start": "a", "steps": {"a": {"verb": "sing"}}},
    });
    let answer = carillon.post("/v1/calls", &body).await;
    assert_eq!(answer.problem(422, "validation"), "5 faults, listed in errors");
    let faults = answer.faults();
    for start in [
        "/to must be a number",
        "/timeout_s must be",
        "/trunk must be a string",
        "/headers/Via is written by the engine",
        "/flow/steps/a/verb unknown verb \"sing\"",
    ] {
        assert!(faults.iter().any(|fault| fault.starts_with(start)), "{start}: {faults:?}");
    }
    assert_eq!(faults.len(), 5, "{faults:?}");
    carillon.check_untouched().await;
}

#[tokio::test]
async fn names_that_nobody_has_are_faults() {
    let carillon = Carillon::start(TRUNK).await;
    for (body, told) in [
        (json!({"to": "+628", "trunk": "x"}), "/trunk"),
        (json!({"to": "+628"}), "/trunk is required"),
        (json!({"to": "+628", "trunk": "t", "flow": "x"}), "/flow"),
        (
            json!({"to": "+628", "trunk": "t", "flow": {"start": "a", "steps": {"a": {"verb": "play", "prompt": "x"}}}}),
            "/flow/steps/a/prompt",
        ),
        (json!({"to": "+628", "trunk": "t", "typo": 1}), "/typo"),
        (json!([]), ""),
    ] {
        let answer = carillon.post("/v1/calls", &body).await;
        assert_eq!(answer.problem(422, "validation"), "1 fault, listed in errors");
        assert!(answer.faults()[0].starts_with(told), "{body}: {:?}", answer.faults());
    }
    carillon.check_untouched().await;
}

#[tokio::test]
async fn what_is_no_audio_is_no_prompt() {
    let carillon = Carillon::start("").await;
    let png = carillon.send(carillon.upload("greeting", PNG.to_vec())).await;
    let detail = png.problem(422, "bad-audio");
    assert!(detail.contains("PNG"), "{detail}");
    let empty = carillon.send(carillon.upload("greeting", Vec::new())).await;
    empty.problem(422, "bad-audio");
    // The start of an MP3 frame, and nothing after it.
    let cut = carillon.send(carillon.upload("greeting", vec![0xff, 0xfb, 0x90, 0x64])).await;
    cut.problem(422, "bad-audio");

    let form = |form: multipart::Form| carillon.request(Method::POST, "/v1/prompts").multipart(form);
    let missing = carillon.send(form(multipart::Form::new().text("name", "greeting"))).await;
    missing.problem(422, "validation");
    assert_eq!(missing.faults(), ["/file is required"]);
    let nothing = carillon.send(form(multipart::Form::new().text("nme", "greeting"))).await;
    nothing.problem(422, "validation");
    assert_eq!(nothing.faults(), ["/nme unknown field; allowed here: name, file"]);
    let json = carillon.post("/v1/prompts", &json!({"name": "greeting"})).await;
    json.problem(422, "validation");
    assert_eq!(json.faults(), ["/say is required"]);
    let text = carillon.request(Method::POST, "/v1/prompts").body("greeting");
    carillon.send(text).await.problem(415, "unsupported-media-type");
    let unnamed = carillon.send(carillon.upload("a b", crate::support::tone())).await;
    assert_eq!(unnamed.problem(422, "validation"), "1 fault, listed in errors");
    carillon.check_untouched().await;
    assert_eq!(std::fs::read_dir(carillon.folder.path().join("media/prompts")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_flow_is_taken_whole_or_not_at_all() {
    let carillon = Carillon::start("").await;
    let flow = json!({"start": "a", "steps": {
        "a": {"verb": "gather", "max": 0, "next": "b"},
        "b": {"verb": "pause"},
        "d": {"verb": "gather", "max": 1, "on": {"1": "nowhere", "x": "a"}},
        "c": {"verb": "play", "prompt": "missing", "next": "a"},
    }});
    let answer = carillon.send(carillon.request(Method::PUT, "/v1/flows/menu").json(&flow)).await;
    answer.problem(422, "validation");
    let faults = answer.faults();
    for pointer in
        ["/steps/a/max ", "/steps/b/ms ", "/steps/d/on/1 there is no step \"nowhere\"", "/steps/d/on/x "]
    {
        assert!(faults.iter().any(|fault| fault.starts_with(pointer)), "{pointer}: {faults:?}");
    }
    carillon.get("/v1/flows/menu").await.problem(404, "not-found");
    carillon.check_untouched().await;
}

#[tokio::test]
async fn tokens_bodies_paths_and_methods_that_are_wrong() {
    let carillon = Carillon::start(TRUNK).await;
    let call = json!({"to": "+628", "trunk": "t"});
    let send = |method: Method, path: &str, secret: Option<&str>, body: Option<String>| {
        let mut request = carillon.anonymous(method, path);
        if let Some(secret) = secret {
            request = request.bearer_auth(secret);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        carillon.send(request)
    };
    let none = send(Method::POST, "/v1/calls", None, Some(call.to_string())).await;
    assert_eq!(none.problem(401, "unauthorized"), "send Authorization: Bearer SECRET");
    assert_eq!(none.headers["www-authenticate"], "Bearer realm=\"carillon\"");
    let wrong = send(Method::POST, "/v1/calls", Some("guess"), Some(call.to_string())).await;
    wrong.problem(401, "unauthorized");

    let cut = send(Method::POST, "/v1/calls", Some(SECRET), Some("{\"to\": ".to_owned())).await;
    let detail = cut.problem(400, "unparsable");
    assert!(detail.contains("line 1 column 7"), "{detail}");
    let empty = send(Method::POST, "/v1/calls", Some(SECRET), None).await;
    empty.problem(400, "unparsable");
    let large = format!("\"{}\"", "x".repeat(2 << 20));
    let large = send(Method::POST, "/v1/calls", Some(SECRET), Some(large)).await;
    large.problem(413, "too-large");
    // Its rest was not read: the next request is not to follow it on the same connection.
    assert_eq!(large.headers["connection"], "close");

    let path = send(Method::GET, "/v1/cals", Some(SECRET), None).await;
    assert_eq!(path.problem(404, "not-found"), "there is no /v1/cals; see /docs");
    let method = send(Method::PUT, "/v1/calls", Some(SECRET), None).await;
    assert_eq!(method.problem(405, "method-not-allowed"), "/v1/calls does not know PUT; see Allow");
    let allowed = method.headers["allow"].to_str().unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    for (method, path) in [
        (Method::GET, "/v1/calls/nobody"),
        (Method::DELETE, "/v1/calls/nobody"),
        (Method::GET, "/v1/trunks/nobody"),
        (Method::GET, "/v1/prompts/nobody"),
        (Method::DELETE, "/v1/prompts/nobody"),
        (Method::DELETE, "/v1/flows/nobody"),
        (Method::POST, "/v1/calls/nobody/answer"),
        (Method::GET, "/v1/calls/nobody/events"),
    ] {
        send(method, path, Some(SECRET), None).await.problem(404, "not-found");
    }
    for (path, pointer) in [
        ("/v1/calls?status=lost", "?status"),
        ("/v1/calls?limit=0", "?limit"),
        ("/v1/calls?lmit=1", "?lmit"),
        ("/v1/calls?cursor=x", "?cursor"),
        ("/v1/cdrs?cursor=x", "?cursor"),
        ("/v1/cdrs?from=yesterday", "?from"),
    ] {
        let answer = send(Method::GET, path, Some(SECRET), None).await;
        answer.problem(422, "validation");
        assert!(answer.faults()[0].starts_with(pointer), "{path}: {:?}", answer.faults());
    }
    carillon.check_untouched().await;
}

#[tokio::test]
async fn a_command_that_the_call_is_not_ready_for() {
    let (carrier, trunk) = crate::support::carrier().await;
    let carillon = Carillon::start(&trunk).await;
    let call: Value =
        carillon.post("/v1/calls", &json!({"id": "c", "to": "+629", "trunk": "t"})).await.ok(202);
    assert_eq!(call["id"], "c");
    carillon.until_call("c", "ringing").await;
    let early = carillon.post("/v1/calls/c/gather", &json!({"max": 1})).await;
    assert!(early.problem(409, "wrong-state").starts_with("the call c is ringing: "), "{early:?}");
    let outbound = carillon.post("/v1/calls/c/answer", &json!({})).await;
    outbound.problem(409, "wrong-state");
    carillon.delete("/v1/calls/c").await.ok(202);
    let ended = carillon.until_call("c", "canceled").await;
    assert_eq!(ended["disposition"], "canceled");
    let late = carillon.post("/v1/calls/c/play/stop", &json!({})).await;
    assert!(late.problem(409, "wrong-state").starts_with("the call c is canceled: "), "{late:?}");
    assert_eq!(carillon.delete("/v1/calls/c").await.ok(200), ended, "ending an ended call is no fault");
    carillon.check_no_panic().await;
    carrier.wait_for(|progress| progress.ended == 1).await.unwrap();
    assert_eq!(carrier.calls().await.unwrap()[0].outcome, carrier::Outcome::Cancelled);
}
