//! SIPp calls the carrier and registers with it: what the carrier speaks is not only understood by ourselves.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use carrier::sipp::Scenario;
use carrier::{
    Account, Act, Answers, Behaviour, Carrier, CarrierConfig, DigestAlgorithm, Outcome, Subscriber, Talk,
};

/// Longer than SIPp takes for its keys, which is 1.2 s.
const KEYS_MS: u32 = 2500;

async fn carrier(config: CarrierConfig) -> Carrier {
    Carrier::start(config).await.unwrap()
}

fn everybody(then: Vec<Act>) -> Vec<Subscriber> {
    let does = Behaviour::Answers(Answers { ring_ms: 50, early_media: false, then });
    vec![Subscriber::new("*", does)]
}

#[tokio::test(flavor = "multi_thread")]
async fn sipp_registers() {
    let carrier = carrier(CarrierConfig {
        accounts: vec![Account { username: "trunk".to_owned(), password: "secret".to_owned() }],
        algorithms: vec![DigestAlgorithm::Md5],
        ..CarrierConfig::default()
    })
    .await;
    let register = |password: &str| {
        let scenario = Scenario::new("phone/register").towards(carrier.addr()).key("user", "trunk");
        ["-au", "trunk", "-ap", password].into_iter().fold(scenario, Scenario::argument)
    };
    register("secret").start().await.unwrap().passed().await.unwrap();
    let registrations = carrier.registrations().await.unwrap();
    assert_eq!(registrations.len(), 1);
    assert_eq!((registrations[0].user.as_str(), registrations[0].algorithm.as_str()), ("trunk", "MD5"));
    register("wrong").start().await.unwrap().passed().await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn sipp_presses_keys_and_is_hung_up() {
    let carrier = carrier(CarrierConfig {
        customers: everybody(vec![Act::WaitMs(KEYS_MS), Act::HangUp]),
        talk: Talk::Tone,
        ..CarrierConfig::default()
    })
    .await;
    let sipp = Scenario::new("caller/call_and_press").towards(carrier.addr());
    sipp.argument("-s").argument("100").start().await.unwrap().passed().await.unwrap();
    carrier.wait_for(|progress| progress.ended == 1).await.unwrap();
    let call = carrier.calls().await.unwrap().remove(0);
    assert_eq!((call.outcome, call.called.as_str()), (Outcome::CustomerHungUp, "100"));
    let heard = call.heard.unwrap();
    // Three keys of 10 packets each, which SIPp sends with the sequence numbers of its files: no audio, nothing foreign.
    assert_eq!((heard.packets, heard.invalid), (0, 0));
    let totals = carrier.totals().await.unwrap();
    assert_eq!((totals.rtp_received, totals.rtp_strangers), (30, 0));
    assert!(call.sent > 50, "{}", call.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_at_once() {
    let carrier = carrier(CarrierConfig {
        customers: everybody(vec![Act::WaitMs(KEYS_MS), Act::HangUp]),
        ..CarrierConfig::default()
    })
    .await;
    let sipp = Scenario::new("caller/call_and_press").towards(carrier.addr()).calls(100);
    let sipp = ["-s", "1", "-r", "100", "-l", "100"].into_iter().fold(sipp, Scenario::argument);
    sipp.deadline(Duration::from_secs(60)).start().await.unwrap().passed().await.unwrap();
    carrier.wait_for(|progress| progress.ended == 100 && progress.live == 0).await.unwrap();
    let totals = carrier.shutdown().await.unwrap();
    assert_eq!((totals.rtp_unsent, totals.rtp_overflow), (0, 0));
}
