//! Trunks of a running engine: made, changed and disabled by the API, taken from the file again, failing over.

use carrier::{Account, Behaviour, Carrier, CarrierConfig, Refusal, Subscriber};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Carillon, Folder, Ports, carrier};

async fn put(carillon: &Carillon, name: &str, body: &Value) -> Answer {
    let request = carillon.request(Method::PUT, &format!("/v1/trunks/{name}"));
    carillon.send(request.json(body)).await
}

async fn call(carillon: &Carillon, id: &str, trunk: &str) {
    carillon.post("/v1/calls", &json!({"id": id, "to": "+621", "trunk": trunk})).await.ok(202);
}

/// A carrier that refuses every call with 503 and this cause.
async fn refusing(q850: Option<u8>) -> Carrier {
    let refusal = Refusal { status: 503, q850, retry_after_s: None, after_ms: 0 };
    let everybody = Subscriber::new("*", Behaviour::Refuses(refusal));
    let config = CarrierConfig { customers: vec![everybody], ..CarrierConfig::default() };
    Carrier::start(config).await.unwrap()
}

#[tokio::test]
async fn a_trunk_is_made_changed_and_disabled_while_calls_are_up() {
    let (first, _) = carrier().await;
    let (second, _) = carrier().await;
    let carillon = Carillon::start("").await;
    put(&carillon, "live", &json!({"uri": format!("sip:{}", first.addr())})).await.ok(200);
    call(&carillon, "one", "live").await;
    carillon.until_call("one", "in-progress").await;

    put(&carillon, "live", &json!({"uri": format!("sip:{}", second.addr())})).await.ok(200);
    call(&carillon, "two", "live").await;
    let two = carillon.until_call("two", "in-progress").await;
    assert_eq!((&two["gateway"], &two["attempts"]), (&json!(format!("sip:{}", second.addr())), &json!(1)));
    assert_eq!(carillon.get("/v1/calls/one").await.ok(200)["status"], "in-progress", "it goes on");

    carillon.post("/v1/trunks/live/disable", &json!({})).await.ok(200);
    let refused = carillon.post("/v1/calls", &json!({"to": "+621", "trunk": "live"})).await;
    assert_eq!(refused.faults(), ["/trunk trunk \"live\" is disabled"]);
    assert_eq!(carillon.get("/v1/trunks/live").await.ok(200)["calls"], 2, "its calls go on");

    // A crash later the trunk is as it was left.
    let (folder, ports) = carillon.kill().await;
    let carillon = Carillon::open(folder, ports).await;
    assert_eq!(carillon.get("/v1/trunks/live").await.ok(200)["state"], "disabled");
    carillon.post("/v1/trunks/live/enable", &json!({})).await.ok(200);
    call(&carillon, "three", "live").await;
    carillon.until_call("three", "in-progress").await;
    carillon.check_no_panic().await;
    for carrier in [first, second] {
        carrier.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_one_gateway_refuses_goes_to_the_next_and_the_customer_s_refusal_to_none() {
    let congested = refusing(Some(34)).await;
    let busy = refusing(Some(17)).await;
    let (good, _) = carrier().await;
    let trunk = |name: &str, first: &Carrier| {
        let (first, second) = (first.addr(), good.addr());
        format!(
            "[[trunks]]\nname = \"{name}\"\nuri = \"sip:{first}\"\n\
             gateways = [{{ uri = \"sip:{first}\", priority = 1 }}, {{ uri = \"sip:{second}\", priority = 2 }}]\n"
        )
    };
    let carillon = Carillon::start(&(trunk("over", &congested) + &trunk("final", &busy))).await;
    call(&carillon, "over", "over").await;
    let over = carillon.until_call("over", "in-progress").await;
    assert_eq!((&over["gateway"], &over["attempts"]), (&json!(format!("sip:{}", good.addr())), &json!(2)));
    call(&carillon, "final", "final").await;
    let refused = carillon.until_call("final", "busy").await;
    assert_eq!((&refused["attempts"], &refused["q850_cause"]), (&json!(1), &json!(17)));
    carillon.check_no_panic().await;
    for carrier in [congested, busy, good] {
        carrier.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn a_file_read_again_changes_everything_or_nothing_and_no_call() {
    let (first, old) = carrier().await;
    let (second, new) = carrier().await;
    let carillon = Carillon::start(&old).await;
    call(&carillon, "live", "t").await;
    carillon.until_call("live", "in-progress").await;

    // Something is right in it, and something wrong.
    let faulty = format!("{}max_calls = 0\n[limits]\nmax_cps = 3\n", new.replace("\"t\"", "\"u\""));
    carillon.folder.write("carillon.toml", &carillon.ports.config(&faulty));
    let refused = carillon.post("/v1/reload", &json!({})).await;
    refused.problem(422, "validation");
    let line = carillon.ports.config(&faulty).lines().position(|line| line == "max_calls = 0").unwrap() + 1;
    assert_eq!(
        refused.faults(),
        [format!(
            "carillon.toml:{line} trunk \"u\": max_calls: must be a whole number from 1 to 1000000, not 0"
        )]
    );
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|trunk| trunk["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&carillon.get("/v1/trunks").await.ok(200)), ["t"], "nothing has changed");
    assert_ne!(carillon.get("/v1/limits").await.ok(200)["max_cps"], 3);

    let right = faulty.replace("max_calls = 0\n", "") + "[storage]\nmedia_dir = \"elsewhere\"\n";
    carillon.folder.write("carillon.toml", &carillon.ports.config(&right));
    let reloaded = carillon.post("/v1/reload", &json!({})).await.ok(200);
    assert_eq!(reloaded, json!({"trunks": 1, "routes": 0, "needs_restart": ["[storage]"]}));
    assert_eq!(names(&carillon.get("/v1/trunks").await.ok(200)), ["u"]);
    assert_eq!(carillon.get("/v1/limits").await.ok(200)["max_cps"], 3);
    call(&carillon, "after", "u").await;
    carillon.until_call("after", "in-progress").await;
    assert_eq!(
        carillon.get("/v1/calls/live").await.ok(200)["status"],
        "in-progress",
        "its trunk is gone, it goes on"
    );

    // The same by the signal.
    carillon.folder.write("carillon.toml", &carillon.ports.config(&(old + &right)));
    carillon.reload();
    carillon.until("/v1/trunks", |page| names(page) == ["t", "u"]).await;
    let ended = carillon.delete("/v1/calls/live").await;
    ended.ok(202);
    carillon.until_call("live", "completed").await;
    carillon.check_no_panic().await;
    for carrier in [first, second] {
        carrier.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn what_the_file_has_counts_when_it_is_read_again() {
    let (carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&trunk).await;
    put(&carillon, "t", &json!({"uri": "sip:192.0.2.1", "max_calls": 1})).await.ok(200);
    let changed = carillon.get("/v1/trunks/t").await.ok(200);
    assert_eq!((&changed["origin"], &changed["settings"]["max_calls"]), (&json!("file"), &json!(1)));
    carillon.post("/v1/trunks/t/disable", &json!({})).await.ok(200);
    carillon.post("/v1/reload", &json!({})).await.ok(200);
    let again = carillon.get("/v1/trunks/t").await.ok(200);
    assert_eq!(again["settings"]["uri"], format!("sip:{}", carrier.addr()));
    assert_eq!(again["state"], "disabled", "whoever disabled it had a reason that the file does not know");
    carrier.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_refused_registration_is_one_alarm_and_no_secret_is_ever_logged() {
    let account = Account { username: "alice".to_owned(), password: "Geheimnis-1".to_owned() };
    let carrier =
        Carrier::start(CarrierConfig { accounts: vec![account], ..CarrierConfig::default() }).await.unwrap();
    let trunk = |password: &str| json!({"uri": format!("sip:{}", carrier.addr()), "username": "alice", "password": password, "register": true});
    let (folder, ports) = (Folder::new(), Ports::free());
    folder.write("secret", "Geheimnis-0\n");
    let file = format!(
        "[[trunks]]\nname = \"filed\"\nuri = \"sip:{}\"\nusername = \"alice\"\npassword_file = \"secret\"\n\
         register = true\n",
        carrier.addr()
    );
    folder.write("carillon.toml", &ports.config(&file));
    // As much as there is to be told.
    let carillon = Carillon::open_with(folder, ports, &[("CARILLON_LOG", "trace")]).await;
    carillon.until("/v1/trunks/filed", |trunk| trunk["state"] == "rejected").await;
    // The file with the password is read again too.
    carillon.folder.write("secret", "Geheimnis-1\n");
    carillon.post("/v1/reload", &json!({})).await.ok(200);
    carillon.until("/v1/trunks/filed", |trunk| trunk["state"] == "up").await;

    put(&carillon, "made", &trunk("Geheimnis-2")).await.ok(200);
    carillon.until("/v1/trunks/made", |trunk| trunk["state"] == "rejected").await;
    put(&carillon, "made", &trunk("Geheimnis-1")).await.ok(200);
    carillon.until("/v1/trunks/made", |trunk| trunk["state"] == "up").await;
    // What is wrong is told without it as well.
    put(&carillon, "bad", &json!({"uri": "x", "username": "u", "password": "Geheimnis-3"}))
        .await
        .problem(422, "validation");

    let log = carillon.folder.read("log");
    let alarms: Vec<_> =
        log.lines().filter(|line| line.contains("WARN") && line.contains("rejected")).collect();
    assert_eq!(alarms.len(), 2, "one for each refusal: {alarms:#?}");
    assert!(alarms.iter().all(|line| line.contains("check username and password")), "{alarms:#?}");
    assert!(!log.contains("Geheimnis"), "a password is in the log");
    let told = carillon.get("/v1/trunks").await.ok(200).to_string()
        + carillon.get("/metrics").await.ok(200).as_str().unwrap();
    assert!(!told.contains("Geheimnis"), "a password is shown");
    carrier.shutdown().await.unwrap();
}
