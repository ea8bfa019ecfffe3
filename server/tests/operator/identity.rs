//! Routes that ask a web server, and calls that are signed at one end and verified at the other.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use sip_core::{SessionEvent, Side};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::phone::Phone;
use crate::support::{Carillon, Folder, Ports};
use crate::web::Web;

#[tokio::test]
async fn a_web_server_says_what_becomes_of_a_call() {
    let mut web = Web::start(None, |call| match call["to"].as_str().unwrap() {
        "100" => {
            let flow = json!({"start": "tell", "steps": {
                "tell": {"verb": "set", "variables": {"greeted": "{who}"}, "next": "bye"},
                "bye": {"verb": "hangup"}}});
            Some(json!({"flow": flow, "variables": {"who": "Ann"}}).to_string().into())
        }
        "200" => Some(json!({"reject": 486}).to_string().into()),
        "300" => Some(b"<html>".to_vec()),
        _ => None,
    })
    .await;
    let url = format!("http://u:p@{}/route", web.address);
    let carillon = Carillon::start(&format!(
        "[http]\nallow_plain = true\nallow_private = [\"127.0.0.1\"]\n\
         [[routes]]\nmatch = {{ called = \"4*\" }}\nwebhook = \"{url}\"\ntimeout_ms = 100\non_error = 503\n\
         [[routes]]\nwebhook = \"{url}\"\n"
    ))
    .await;

    let mut phone = Phone::new().await;
    phone.call("100", carillon.ports.sip);
    let call = web.asked().await;
    let told = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (told("direction"), told("from"), told("status")),
        ("inbound".into(), "alice".into(), "initiated".into())
    );
    phone.answered().await;
    let ended = phone.next().await;
    assert!(matches!(ended, SessionEvent::Ended { by: Side::Remote, .. }), "{ended:?}");
    // Refused, rubbish, and no answer at all.
    for (number, status) in [("200", 486), ("300", 480), ("400", 503)] {
        phone.call(number, carillon.ports.sip);
        assert_eq!(phone.refused().await, status, "{number}");
        assert_eq!(web.asked().await["to"], number);
    }
    let cdrs = carillon.cdrs(4).await;
    let find = |number: &str| cdrs.iter().find(|cdr| cdr["to"] == number).unwrap();
    assert_eq!(
        (&find("100")["id"], &find("100")["variables"]),
        (&call["id"], &json!({"who": "Ann", "greeted": "Ann"}))
    );
    assert_eq!(find("200")["disposition"], "busy");
    assert_eq!(
        find("300")["sip_reason"],
        "the webhook's answer is not an object with what it may hold: a flow or a rejection of a call, variables, a next step"
    );
    assert_eq!((&find("400")["sip_status"], &find("400")["ended_by"]), (&json!(503), &json!("engine")));
    carillon.check_no_panic().await;
}

/// A key with a certificate of an authority's.
struct Issued {
    authority: String,
    chain: String,
    key: KeyPair,
}

fn issue(name: &str) -> Issued {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    Issued { authority: pem, chain: leaf.pem(), key }
}

#[tokio::test]
async fn a_call_is_signed_here_and_verified_there() {
    // Who serves the certificate, and who signs the calls.
    let (server, signer) = (issue("localhost"), issue("signer.example"));
    let der = pem_to_der(&server.chain);
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![der.into()], server.key.serialize_der().try_into().unwrap())
        .unwrap();
    let chain = signer.chain.clone().into_bytes();
    let mut web = Web::start(Some(TlsAcceptor::from(Arc::new(tls))), move |_| Some(chain.clone())).await;
    let x5u = format!("https://localhost:{}/shaken.pem", web.address.port());

    let (folder, ports) = (Folder::new(), Ports::free());
    folder.write("anchors.pem", &signer.authority);
    folder.write("web.pem", &server.authority);
    let from = Ports::free();
    let strict = ports.config(&format!(
            "[stir]\nverify = \"strict\"\ntrust_anchors = [\"anchors.pem\"]\n\
             [http]\nca_file = \"web.pem\"\nallow_private = [\"127.0.0.1\", \"::1\"]\n\
             [[trunks]]\nname = \"from\"\nuri = \"sip:{}\"\n[[routes]]\nmatch = {{ trunk = \"from\" }}\npark = true\n",
            from.sip
        ));
    folder.write("carillon.toml", &strict);
    let there = Carillon::open(folder, ports).await;

    let folder = Folder::new();
    folder.write("stir.pem", &signer.key.serialize_pem());
    folder.write(
        "carillon.toml",
        &from.config(&format!(
            "[stir]\nkey = \"stir.pem\"\nx5u = \"{x5u}\"\nattest = \"B\"\n\
             [[trunks]]\nname = \"to\"\nuri = \"sip:{}\"\n\
             [[trunks]]\nname = \"unsigned\"\nuri = \"sip:{}\"\nattest = \"off\"\n",
            ports.sip, ports.sip
        )),
    );
    let here = Carillon::open(folder, from).await;

    let place = async |id: &str, trunk: &str, extra: Value| {
        let mut body = json!({"id": id, "to": "+62811", "from": "+62211", "trunk": trunk});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        here.post("/v1/calls", &body).await.ok(202);
    };
    place("signed", "to", json!({"attest": "A"})).await;
    assert_eq!(web.asked().await, Value::Null, "a GET");
    let page = there.until("/v1/calls?status=initiated", |page| page["items"][0]["stir"].is_object()).await;
    let expected = json!({"verstat": "TN-Validation-Passed", "attest": "A", "orig": "62211", "x5u": x5u});
    assert_eq!(page["items"][0]["stir"], expected);
    let id = page["items"][0]["id"].as_str().unwrap().to_owned();
    there.post(&format!("/v1/calls/{id}/reject"), &json!({"status": 486})).await.ok(202);

    place("unsigned", "unsigned", json!({})).await;
    let cdrs = there.cdrs(2).await;
    let refused = cdrs.iter().find(|cdr| cdr["sip_status"] == 428).unwrap();
    assert_eq!(refused["stir"]["verstat"], "No-TN-Validation");
    let passed = cdrs.iter().find(|cdr| cdr["sip_status"] == 486).unwrap();
    assert_eq!(passed["stir"], expected, "the CDR has it too");
    let sent = here.cdrs(2).await;
    let outcome = |id: &str| sent.iter().find(|cdr| cdr["id"] == id).unwrap()["disposition"].clone();
    assert_eq!((outcome("signed"), outcome("unsigned")), (json!("busy"), json!("blocked")));

    // The file says another thing by now.
    there.folder.write("carillon.toml", &strict.replace("\"strict\"", "\"off\""));
    there.reload();
    there.logged("configuration reloaded").await;
    place("late", "unsigned", json!({})).await;
    let page = there.until("/v1/calls?status=initiated", |page| page["items"][0].is_object()).await;
    assert_eq!(page["items"][0]["stir"], Value::Null, "taken, and not verified");
    there.check_no_panic().await;
    here.check_no_panic().await;
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    rustls_pki_types::pem::PemObject::from_pem_slice(pem.as_bytes())
        .map(|der: rustls_pki_types::CertificateDer<'_>| der.to_vec())
        .unwrap()
}
