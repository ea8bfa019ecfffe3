//! The SIP messages of a call, as the API gives them.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::phone::Phone;
use crate::support::{Carillon, carrier};

const ROUTE: &str = "[[routes]]\nmatch = { source = \"127.0.0.1\" }\npark = true\n";

/// Method or status, and which way, of each message.
fn steps(trace: &Value) -> Vec<String> {
    let step = |message: &Value| {
        let summary = message["summary"].as_str().unwrap().split(' ').next().unwrap().to_owned();
        format!("{} {summary}", message["direction"].as_str().unwrap())
    };
    trace["messages"].as_array().unwrap().iter().map(step).collect()
}

#[tokio::test]
async fn an_outbound_call_is_a_ladder_from_invite_to_the_end_of_bye() {
    let (carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&trunk).await;
    carillon.post("/v1/calls", &json!({"id": "c", "to": "+621", "trunk": "t"})).await.ok(202);
    carillon.until("/v1/calls/c", |call| call["answered_at"].is_string()).await;
    carillon.delete("/v1/calls/c").await;
    let last = ["sent BYE".to_owned(), "received 200".to_owned()];
    let trace = carillon.until("/v1/calls/c/trace", |trace| steps(trace).ends_with(&last)).await;
    let steps = steps(&trace);
    assert_eq!(steps.first().map(String::as_str), Some("sent INVITE"));
    assert!(
        steps.contains(&"received 180".to_owned()) && steps.contains(&"sent ACK".to_owned()),
        "{steps:?}"
    );
    let first = &trace["messages"][0];
    assert_eq!(first["to"], carrier.addr().to_string());
    assert_eq!(first["from"], carillon.ports.sip.to_string());
    assert_eq!((&first["transport"], &first["cseq"]), (&json!("udp"), &json!("1 INVITE")));
    assert!(first["raw"].as_str().unwrap().contains("\r\n\r\nv=0\r\n"));
    assert_eq!((&trace["call_id"], &trace["left_out"]), (&json!("c"), &json!(0)));

    let file = carillon.request(Method::GET, "/v1/calls/c/trace.pcap").send().await.unwrap();
    assert_eq!(file.headers()["content-type"], "application/vnd.tcpdump.pcap");
    let path = carillon.folder.path().join("trace.pcap");
    std::fs::write(&path, file.bytes().await.unwrap()).unwrap();
    let read = tshark(&path).await;
    let sent = read.iter().map(|line| line.split(' ').next().unwrap_or_default());
    let told: Vec<_> = trace["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            let raw = message["raw"].as_str().unwrap();
            let first = raw.split(' ').next().unwrap();
            if first == "SIP/2.0" { raw.split(' ').nth(1).unwrap() } else { first }
        })
        .collect();
    assert_eq!(sent.collect::<Vec<_>>(), told, "{read:?}");
    for line in &read {
        assert!(line.ends_with(" good"), "{line}: checksums of IP and UDP");
    }
}

#[tokio::test]
async fn keys_of_srtp_are_in_no_trace() {
    let (_carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&format!("{trunk}\nsrtp = \"optional\"\n")).await;
    carillon.post("/v1/calls", &json!({"id": "c", "to": "+621", "trunk": "t"})).await.ok(202);
    let call = carillon.until("/v1/calls/c", |call| call["answered_at"].is_string()).await;
    assert_eq!(call["srtp"], Value::Null, "the carrier has none");
    let trace = carillon.until("/v1/calls/c/trace", |trace| !steps(trace).is_empty()).await;
    let invite = trace["messages"][0]["raw"].as_str().unwrap().to_owned();
    let file = carillon.request(Method::GET, "/v1/calls/c/trace.pcap").send().await.unwrap();
    let packets = String::from_utf8_lossy(&file.bytes().await.unwrap()).into_owned();
    for text in [invite, packets] {
        let keys: Vec<&str> =
            text.split("inline:").skip(1).map(|rest| rest.split('\r').next().unwrap()).collect();
        assert!(keys.len() >= 4 && text.contains("a=crypto:1 AEAD_AES_256_GCM inline:"), "{text}");
        assert!(keys.iter().all(|key| key.len() >= 40 && key.bytes().all(|byte| byte == b'*')), "{keys:?}");
    }
}

/// Method or status of each packet as tshark reads it, and whether its checksums are good.
async fn tshark(file: &Path) -> Vec<String> {
    let fields =
        ["sip.Method", "sip.Status-Code", "udp.checksum.status", "tcp.checksum.status", "ip.checksum.status"];
    let output = Command::new("tshark")
        .args([
            "-o",
            "udp.check_checksum:TRUE",
            "-o",
            "tcp.check_checksum:TRUE",
            "-o",
            "ip.check_checksum:TRUE",
        ])
        .args(["-T", "fields"])
        .args(fields.iter().flat_map(|field| ["-e", *field]))
        .arg("-r")
        .arg(file)
        .output()
        .await;
    let output =
        output.unwrap_or_else(|error| panic!("tshark: {error} (make packages, or apt install tshark)"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let [method, status, udp, tcp, ip] = fields[..] else { panic!("{line}") };
        // 1 is good, for both protocols.
        let good = matches!((udp, tcp, ip), ("1", "", "1") | ("", "1", "1"));
        format!("{method}{status} {}", if good { "good" } else { "bad" })
    };
    text.lines().map(line).collect()
}

#[tokio::test]
async fn an_inbound_call_begins_with_the_invite_that_made_it() {
    let carillon = Carillon::start(ROUTE).await;
    let mut phone = Phone::new().await;
    phone.call("100", carillon.ports.sip);
    let calls = carillon.until("/v1/calls", |page| page["items"].as_array().unwrap().len() == 1).await;
    let id = calls["items"][0]["id"].as_str().unwrap().to_owned();
    phone.hang_up();
    phone.cancelled().await;
    let path = format!("/v1/calls/{id}/trace");
    let trace = carillon.until(&path, |trace| steps(trace).contains(&"sent 487".to_owned())).await;
    assert_eq!(steps(&trace)[..2], ["received INVITE", "sent 100"]);
}

#[tokio::test]
async fn a_call_without_messages_and_no_call_are_told_apart() {
    let (_carrier, trunk) = carrier().await;
    let carillon = Carillon::start(&format!("[sip.trace]\nper_call = 0\n{trunk}")).await;
    carillon.post("/v1/calls", &json!({"id": "c", "to": "+629", "trunk": "t"})).await.ok(202);
    carillon.until_call("c", "ringing").await;
    for path in ["trace", "trace.pcap"] {
        let kept = carillon.get(&format!("/v1/calls/c/{path}")).await;
        assert!(kept.problem(404, "not-found").contains("[sip.trace] is off"), "{kept:?}");
        let nobody = carillon.get(&format!("/v1/calls/nobody/{path}")).await;
        assert_eq!(nobody.problem(404, "not-found"), "there is no call nobody");
    }
}
