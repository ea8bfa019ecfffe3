//! The served description held against the server by somebody who knows nothing else of it: schemathesis.

use std::process::Stdio;

use reqwest::Method;
use serde_json::json;
use tokio::process::Command;

use crate::python::{folder, interpreter};
use crate::support::{Carillon, SECRET};

/// Examples of each operation: some in `make test`, many in `make test-long`.
fn examples() -> &'static str {
    if std::env::var_os("CARILLON_LONG").is_some() { "300" } else { "5" }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_described() {
    // No request of this test may be refused for its rate; what it places goes nowhere.
    let rest = "[http]\nallow_plain = true\n[[trunks]]\nname = \"t\"\nuri = \"sip:127.0.0.1:9\"\n";
    let carillon = Carillon::start(rest).await;
    // Something of each kind that can be asked for.
    carillon.upload_tone("hello").await;
    let flow = json!({"start": "bye", "steps": {"bye": {"verb": "hangup"}}});
    carillon.send(carillon.request(Method::PUT, "/v1/flows/0").json(&flow)).await.ok(200);
    carillon.post("/v1/calls", &json!({"to": "+6221", "trunk": "t", "id": "0"})).await.ok(202);
    carillon.post("/v1/bridges", &json!({"id": "0"})).await.ok(201);
    let mut description = carillon.get("/v1/openapi.json").await.ok(200);
    // Its generator does not know the keyword that closes steps of flows, and would leave out four operations. Steps with
    // unknown fields are refused all the same, which is an answer that any body may get.
    let step = description["components"]["schemas"]["Step"].as_object_mut().unwrap();
    assert!(step.remove("unevaluatedProperties").is_some());
    carillon.folder.write("described.json", &description.to_string());
    let judge = interpreter().await.with_file_name("schemathesis");
    let judged = Command::new(judge)
        .current_dir(carillon.folder.path())
        .env("NO_COLOR", "1")
        .arg("--config-file")
        .arg(folder().join("schemathesis.toml"))
        .args(["run", "described.json", "--url", &format!("http://{}", carillon.ports.api)])
        .args(["--header", &format!("Authorization: Bearer {SECRET}")])
        .args(["--checks", "all", "--max-examples", examples(), "--seed", "1", "--continue-on-failure"])
        // As long as a busy machine may take; a request that takes it is dead.
        .args(["--phases", "examples,coverage,fuzzing", "--request-timeout", "60"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{said}\n{}", String::from_utf8_lossy(&judged.stderr));
    carillon.check_no_panic().await;
}
