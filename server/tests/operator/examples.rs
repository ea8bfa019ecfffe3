//! The programs of `examples/`, run as they stand against an engine and a carrier.

use std::path::Path;
use std::process::{Output, Stdio};

use carrier::{Act, Answers, Behaviour, Carrier, CarrierConfig, Subscriber, Talk};
use media_core::{Digit, Digits};
use tokio::process::Command;

use crate::support::{Carillon, DEAD, SECRET};

/// A carrier whose customers speak: 1 presses the key 1, 2 the key 9 and then 2, 5 is busy, 7 hangs up after a second of
/// hearing somebody; the others stay.
async fn town() -> (Carrier, Carillon) {
    let answers = |then: &[Act]| Behaviour::Answers(Answers { then: then.to_vec(), ..Answers::default() });
    let press = |key| {
        let mut keys = Digits::new();
        keys.push(Digit::from_char(key).unwrap());
        Act::Press(keys)
    };
    let customers = [
        ("*1", answers(&[Act::HearMs(300), press('1')])),
        ("*2", answers(&[Act::HearMs(300), press('9'), Act::WaitMs(500), press('2')])),
        ("*5", Behaviour::Busy),
        ("*7", answers(&[Act::HearMs(1_000), Act::HangUp])),
        ("*", answers(&[])),
    ];
    let customers = customers.map(|(number, does)| Subscriber::new(number, does)).to_vec();
    let config = CarrierConfig { customers, talk: Talk::Tone, ..CarrierConfig::default() };
    let carrier = Carrier::start(config).await.unwrap();
    let trunk =
        format!("[[trunks]]\nname = \"t\"\nuri = \"sip:{}\"\ncaller_ids = [\"+6221\"]\n", carrier.addr());
    (carrier, Carillon::start(&trunk).await)
}

async fn run(carillon: &Carillon, program: &str, arguments: &[&str]) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(program);
    let run = Command::new(path)
        .args(arguments)
        .env("CARILLON", format!("http://{}", carillon.ports.api))
        .env("TOKEN", SECRET)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(DEAD, run).await.expect("the example ends").unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32, expected: &str) {
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.as_ref()), (Some(code), expected), "{told}");
}

#[tokio::test]
async fn the_shell_script_asks_for_a_key() {
    let (_carrier, carillon) = town().await;
    for (number, code, said) in
        [("+6211", 0, "sales\n"), ("+6212", 0, "support\n"), ("+6215", 1, "nothing\n")]
    {
        check(&run(&carillon, "ivr.sh", &["t", number]).await, code, said);
    }
    carillon.check_no_panic().await;
}

#[tokio::test]
async fn the_python_script_puts_customers_through_to_an_agent() {
    let (_carrier, carillon) = town().await;
    let output = run(&carillon, "agent_bridge.py", &["t", "+6200", "+6217", "+6215", "+6227"]).await;
    check(&output, 0, "+6217 answered talked\n+6215 busy not reached\n+6227 answered talked\n");
    let cdrs = carillon.cdrs(4).await;
    let agent = cdrs.iter().find(|cdr| cdr["to"] == "+6200").unwrap();
    assert_eq!((&agent["disposition"], &agent["ended_by"]), (&"answered".into(), &"api".into()));
    let customers = cdrs.iter().filter(|cdr| cdr["disposition"] == "answered" && cdr["to"] != "+6200");
    assert!(customers.clone().all(|cdr| cdr["ended_by"] == "remote") && customers.count() == 2, "{cdrs:?}");
    carillon.check_no_panic().await;
}
