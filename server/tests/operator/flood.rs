//! A flood of INVITEs while calls live: none of them is lost, whoever sends the flood.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use carrier::{Act, Answers, Behaviour, Carrier, CarrierConfig, Outcome, Subscriber};
use serde_json::json;

use crate::support::{Carillon, address};
use crate::torture::figure;

/// Calls that live through it: the customers hang up half of them, we the others.
const CALLS: usize = 50;

/// Sends INVITEs as long as it is not told to stop, 20 each millisecond at most.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, u64)>,
}

impl Flood {
    fn start(from: Ipv4Addr, to: SocketAddr) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            let (mut sent, mut answers, mut buffer) = (0, 0, [0; 2_000]);
            while !told.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    // What the kernel has no room for is not part of the flood.
                    sent += u64::from(socket.send_to(invite(sent).as_bytes(), to).is_ok());
                }
                while socket.recv(&mut buffer).is_ok() {
                    answers += 1;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            (sent, answers)
        });
        Flood { stop, thread }
    }

    /// How many were sent, and how many answers came.
    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn invite(n: u64) -> String {
    format!(
        "INVITE sip:1{n}@carillon SIP/2.0\r\nVia: SIP/2.0/UDP flood;rport;branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:{n}@flood>;tag={n}\r\nTo: <sip:1{n}@carillon>\r\nCall-ID: {n}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:{n}@flood>\r\nUser-Agent: a telephone\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Runs the calls through a flood from `from` and gives what was sent, what was answered, and the engine.
async fn calls_live_through_a_flood(from: Ipv4Addr, guard: &str) -> (u64, u64, Carillon) {
    let answers =
        |then: &[Act]| Behaviour::Answers(Answers { ring_ms: 20, then: then.to_vec(), ..Answers::default() });
    let subscriber = |(number, does): (&str, Behaviour)| Subscriber::new(number, does);
    let customers = [("*7", answers(&[Act::WaitMs(3_000), Act::HangUp])), ("*", answers(&[]))];
    let config = CarrierConfig { customers: customers.map(subscriber).to_vec(), ..CarrierConfig::default() };
    let carrier = Carrier::start(config).await.unwrap();
    let trunk = format!("[sip.guard]\n{guard}\n[[trunks]]\nname = \"t\"\nuri = \"sip:{}\"\n", carrier.addr());
    let carillon = Carillon::start(&trunk).await;

    for n in 0..CALLS {
        let to = format!("+62{n:03}{}", if n % 2 == 0 { 7 } else { 1 });
        carillon.post("/v1/calls", &json!({"id": format!("c{n}"), "to": to, "trunk": "t"})).await.ok(202);
    }
    for n in 0..CALLS {
        carillon.until(&format!("/v1/calls/c{n}"), |call| call["answered_at"].is_string()).await;
    }
    let flood = Flood::start(from, carillon.ports.sip);
    until_refused(&carillon).await;
    for n in (1..CALLS).step_by(2) {
        carillon.delete(&format!("/v1/calls/c{n}")).await;
    }
    let cdrs = carillon.cdrs(CALLS).await;
    carrier.wait_for(|progress| progress.ended == CALLS as u64).await.unwrap();
    let (sent, answered) = flood.stop();

    for cdr in &cdrs {
        let by = if cdr["to"].as_str().unwrap().ends_with('7') { "remote" } else { "api" };
        assert_eq!((&cdr["status"], &cdr["ended_by"]), (&json!("completed"), &json!(by)), "{cdr}");
    }
    let ends = carrier.calls().await.unwrap();
    let count = |outcome| ends.iter().filter(|call| call.outcome == outcome).count();
    assert_eq!(count(Outcome::CallerHungUp), CALLS / 2, "every BYE of ours came and was answered");
    assert_eq!(count(Outcome::CustomerHungUp), CALLS / 2, "every BYE of a customer was answered");
    assert_eq!(figure(&carillon, "carillon_sip_dropped_rest_total").await, 0);
    carillon.check_no_panic().await;
    (sent, answered, carillon)
}

/// Waits until the flood is well above every rate.
async fn until_refused(carillon: &Carillon) {
    let name = "carillon_sip_refused_rate_total ";
    let is_refused = |text: &str| {
        let refused = text.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok());
        refused.is_some_and(|refused| refused > 500)
    };
    carillon.until("/metrics", |text| is_refused(text.as_str().unwrap())).await;
}

#[tokio::test]
async fn a_stranger_floods() {
    let (sent, answered, carillon) = calls_live_through_a_flood(address(10), "").await;
    assert!(answered > 0 && answered * 20 < sent, "{answered} of {sent} answered");
    assert!(figure(&carillon, "carillon_sip_refused_stranger_total").await > 0);
}

#[tokio::test]
async fn the_trunk_itself_floods() {
    let (sent, answered, carillon) = calls_live_through_a_flood(Ipv4Addr::LOCALHOST, "known_rate = 50").await;
    // 100 and 403 for those within the rate, 503 for as many more, silence for the rest.
    assert!(answered > 0 && answered < sent, "{answered} of {sent} answered");
    assert!(figure(&carillon, "carillon_sip_refusals_answered_total").await > 0);
}
