//! Endpoints as `/v1/endpoints` shows them while phones (SIPp) come and go, the file changes, and the engine restarts.

use carrier::sipp::Scenario;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Carillon, Folder, Ports};

/// Endpoints of this name and password each.
fn config(ports: &Ports, endpoints: &[(&str, &str)]) -> String {
    let entry = |(name, password): &(&str, &str)| {
        format!("[[endpoints]]\nname = \"{name}\"\npassword = \"{password}\"\n")
    };
    let entries: String = endpoints.iter().map(entry).collect();
    ports.config(&entries)
}

/// A phone plays a scenario, and leaves.
async fn phone(carillon: &Carillon, scenario: &str, user: &str, password: &str) {
    let phone = Scenario::new(&format!("phone/{scenario}")).towards(carillon.ports.sip).key("user", user);
    let phone = ["-au", user, "-ap", password].into_iter().fold(phone, Scenario::argument);
    phone.start().await.unwrap().passed().await.unwrap_or_else(|error| panic!("{error}"));
}

/// Endpoints by name, each with how many contacts it has.
async fn shown(carillon: &Carillon) -> Vec<(String, usize)> {
    let page = carillon.get("/v1/endpoints").await.ok(200);
    let entry = |endpoint: &Value| {
        let name = endpoint["name"].as_str().unwrap().to_owned();
        (name, endpoint["contacts"].as_array().unwrap().len())
    };
    page["items"].as_array().unwrap().iter().map(entry).collect()
}

fn is(shown: &[(String, usize)], wanted: &[(&str, usize)]) -> bool {
    shown.iter().map(|(name, contacts)| (name.as_str(), *contacts)).eq(wanted.iter().copied())
}

async fn check(carillon: &Carillon, wanted: &[(&str, usize)]) {
    let shown = shown(carillon).await;
    assert!(is(&shown, wanted), "{shown:?} is not {wanted:?}");
}

fn unix_ms(time: &Value) -> u64 {
    let time: control_api_types::Timestamp = serde_json::from_value(time.clone()).unwrap();
    time.unix_ms()
}

#[tokio::test]
async fn phones_are_shown_while_they_are_registered_and_endpoints_after_a_restart_too() {
    let (folder, ports) = (Folder::new(), Ports::free());
    folder.write("carillon.toml", &config(&ports, &[("filed", "one")]));
    let carillon = Carillon::open(folder, ports).await;
    let made = json!({"name": "made", "password": "two", "caller_id": "+6221"});
    carillon.post("/v1/endpoints", &made).await.ok(201);
    check(&carillon, &[("filed", 0), ("made", 0)]).await;

    phone(&carillon, "registers", "made", "two").await;
    let endpoint = carillon.get("/v1/endpoints/made").await.ok(200);
    assert_eq!((&endpoint["configured"], &endpoint["caller_id"]), (&json!(false), &json!("+6221")));
    let [contact] = &endpoint["contacts"].as_array().unwrap()[..] else { panic!("{endpoint}") };
    let source = contact["source"].as_str().unwrap();
    assert_eq!(contact["uri"], format!("sip:made@{source};transport=UDP"));
    assert_eq!(contact["transport"], "udp");
    assert_eq!(unix_ms(&contact["expires_at"]) - unix_ms(&contact["registered_at"]), 600_000);
    assert!(!endpoint.to_string().contains("two"), "{endpoint}");
    phone(&carillon, "unregisters", "filed", "one").await;
    check(&carillon, &[("filed", 0), ("made", 1)]).await;

    // Contacts are not kept, endpoints are, and their passwords hold.
    carillon.terminate();
    let (status, folder, ports) = carillon.ended().await;
    assert!(status.success(), "{status}");
    let carillon = Carillon::open(folder, ports).await;
    check(&carillon, &[("filed", 0), ("made", 0)]).await;
    phone(&carillon, "registers", "made", "two").await;
    phone(&carillon, "registers", "filed", "one").await;
    check(&carillon, &[("filed", 1), ("made", 1)]).await;
    let gone = carillon.send(carillon.request(Method::DELETE, "/v1/endpoints/filed")).await;
    assert_eq!(gone.status, 409, "the file has it: {gone:?}");
    carillon.check_no_panic().await;
}

#[tokio::test]
async fn endpoints_of_the_file_are_taken_at_sighup() {
    let (folder, ports) = (Folder::new(), Ports::free());
    folder.write("carillon.toml", &config(&ports, &[("kept", "one"), ("left", "two"), ("new-key", "three")]));
    let carillon = Carillon::open(folder, ports).await;
    carillon.post("/v1/endpoints", &json!({"name": "made", "password": "four"})).await.ok(201);
    for (user, password) in [("kept", "one"), ("left", "two"), ("new-key", "three"), ("made", "four")] {
        phone(&carillon, "registers", user, password).await;
    }
    check(&carillon, &[("kept", 1), ("left", 1), ("made", 1), ("new-key", 1)]).await;

    let file = config(&ports, &[("added", "five"), ("kept", "one"), ("new-key", "changed")]);
    carillon.folder.write("carillon.toml", &file);
    carillon.reload();
    let wanted = [("added", 0), ("kept", 1), ("made", 1), ("new-key", 0)];
    carillon.until("/v1/endpoints", |page| page["items"][0]["name"] == "added").await;
    check(&carillon, &wanted).await;
    assert!(!carillon.folder.read("log").contains("needs a restart"));
    phone(&carillon, "registers", "added", "five").await;
    phone(&carillon, "registers", "new-key", "changed").await;
    phone(&carillon, "wrong_password", "new-key", "three").await;

    // Two of one name: nothing changes.
    let file = config(&ports, &[("made-too", "x")]) + "username = \"made\"\n";
    carillon.folder.write("carillon.toml", &file);
    let refused = carillon.post("/v1/reload", &json!({})).await;
    assert_eq!(refused.faults(), [" another endpoint has the name or user name \"made\""]);
    check(&carillon, &[("added", 1), ("kept", 1), ("made", 1), ("new-key", 1)]).await;

    // Another realm needs a restart, and until then passwords hold as they were hashed.
    let file = config(&ports, &[("kept", "one")]).replace("[media]", "domain = \"pbx.example\"\n[media]");
    carillon.folder.write("carillon.toml", &file);
    let reloaded = carillon.post("/v1/reload", &json!({})).await.ok(200);
    assert_eq!(reloaded["needs_restart"], json!(["[sip]"]));
    phone(&carillon, "registers", "added", "five").await;
    carillon.check_no_panic().await;
}
