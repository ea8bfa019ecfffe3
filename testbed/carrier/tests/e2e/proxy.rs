//! Kamailio between the engine and its customers: it records the route, changes the transport, forks, challenges.

use std::net::{SocketAddr, UdpSocket};

use carrier::kamailio::{Kamailio, Neighbours};
use carrier::process;
use carrier::sipp::{Scenario, Sipp};
use control_api_types::Disposition::{self, Answered, Busy, Canceled, NoAnswer};
use control_api_types::EndedBy::{self, Api, Engine, Remote};
use control_api_types::{Call, HangupReason};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::sipp::{passed, start};

/// Which side of the proxy speaks TCP; the other one speaks UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tcp {
    Ours,
    Theirs,
}

const BOTH: [Tcp; 2] = [Tcp::Ours, Tcp::Theirs];

impl Tcp {
    fn ours(self) -> &'static str {
        if self == Tcp::Ours { "tcp" } else { "udp" }
    }

    fn theirs(self) -> &'static str {
        if self == Tcp::Theirs { "tcp" } else { "udp" }
    }

    async fn start(self, scenario: Scenario) -> Sipp {
        start(if self == Tcp::Theirs { scenario.tcp() } else { scenario }).await
    }
}

/// An engine whose trunk is the proxy.
struct Site {
    tcp: Tcp,
    lab: Lab,
    proxy: SocketAddr,
    _kamailio: Kamailio,
}

impl Site {
    async fn new(tcp: Tcp, customer: SocketAddr, second: SocketAddr) -> Self {
        let proxy = process::free_addr().unwrap();
        let config = format!(
            r#"
            [[trunks]]
            name = "t"
            uri = "sip:{proxy};transport={}"
            username = "alice"
            password = "secret"

            [[routes]]
            match = {{ called = "100" }}
            park = true
            "#,
            tcp.ours()
        );
        let lab = Lab::new(&config).await;
        let to = |addr: SocketAddr, transport| format!("sip:{addr};transport={transport}");
        let neighbours = Neighbours {
            engine: to(lab.engine.sip_addr(), tcp.ours()),
            customer: to(customer, tcp.theirs()),
            second: to(second, tcp.theirs()),
        };
        let kamailio = Kamailio::proxy(proxy, &neighbours).await.unwrap_or_else(|error| panic!("{error}"));
        Self { tcp, lab, proxy, _kamailio: kamailio }
    }

    /// With one customer.
    async fn of(tcp: Tcp, customer: &Sipp) -> Self {
        Self::new(tcp, customer.addr(), customer.addr()).await
    }

    /// The end of a call, as it must be.
    async fn check(
        &mut self,
        call: &control_api_types::CallId,
        disposition: Disposition,
        by: EndedBy,
    ) -> Call {
        let cdr = self.lab.story(call).await.cdr;
        let ended = (cdr.disposition, cdr.ended_by);
        assert_eq!(ended, (Some(disposition), Some(by)), "{:?}: {cdr:?}", self.tcp);
        cdr
    }
}

/// What is done with a call.
#[derive(Clone, Copy)]
enum Then {
    Wait,
    HangupAt(&'static str),
}

/// Calls one customer through the proxy.
async fn check(tcp: Tcp, scenario: &str, more: Value, then: Then, disposition: Disposition, by: EndedBy) {
    let customer = tcp.start(Scenario::new(scenario)).await;
    let mut site = Site::of(tcp, &customer).await;
    let call = site.lab.place(more).await;
    if let Then::HangupAt(event) = then {
        site.lab.reached(&call, event).await;
        site.lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    }
    site.check(&call, disposition, by).await;
    passed(customer).await;
    site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_by_either_side_and_are_held() {
    for tcp in BOTH {
        check(tcp, "callee/behind_proxy", json!({}), Then::HangupAt("call.answered"), Answered, Api).await;
        check(tcp, "callee/behind_proxy_hangs_up", json!({}), Then::Wait, Answered, Remote).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn we_hold_through_the_proxy() {
    for tcp in BOTH {
        let customer = tcp.start(Scenario::new("callee/behind_proxy_is_held")).await;
        let mut site = Site::of(tcp, &customer).await;
        let call = site.lab.place(json!({})).await;
        site.lab.reached(&call, "call.answered").await;
        site.lab.engine.client().hold(&call).await.unwrap();
        site.lab.reached(&call, "call.held").await;
        site.lab.engine.client().unhold(&call).await.unwrap();
        site.lab.reached(&call, "call.resumed").await;
        site.lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
        site.check(&call, Answered, Api).await;
        passed(customer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_not_answered() {
    for tcp in BOTH {
        check(tcp, "callee/busy", json!({}), Then::Wait, Busy, Remote).await;
        check(tcp, "callee/behind_proxy_rings", json!({}), Then::HangupAt("call.ringing"), Canceled, Api)
            .await;
        check(tcp, "callee/behind_proxy_rings", json!({ "timeout_s": 1 }), Then::Wait, NoAnswer, Engine)
            .await;
    }
}

/// The proxy says 100 for a customer who says nothing, and 408 after two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_gives_up_who_says_nothing() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut site = Site::new(Tcp::Ours, silent.local_addr().unwrap(), silent.local_addr().unwrap()).await;
    let call = site.lab.place(json!({})).await;
    let cdr = site.check(&call, NoAnswer, Remote).await;
    assert_eq!((cdr.sip_status, cdr.attempts), (Some(408), 1));
    site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_challenges() {
    let customer = start(Scenario::new("callee/behind_proxy")).await;
    let mut site = Site::of(Tcp::Ours, &customer).await;
    let call = site.lab.place(json!({ "to": "991234" })).await;
    site.lab.reached(&call, "call.answered").await;
    site.lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
    site.check(&call, Answered, Api).await;
    passed(customer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_forks_and_one_answers() {
    for tcp in BOTH {
        let loser = tcp.start(Scenario::new("callee/behind_proxy_rings")).await;
        let winner = tcp.start(Scenario::new("callee/behind_proxy")).await;
        let mut site = Site::new(tcp, loser.addr(), winner.addr()).await;
        let call = site.lab.place(json!({ "to": "+628762" })).await;
        site.lab.reached(&call, "call.answered").await;
        // Kamailio has canceled the other.
        passed(loser).await;
        site.lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
        site.check(&call, Answered, Api).await;
        passed(winner).await;
        site.lab.stop().await;
    }
}

/// The second answer crosses the proxy's CANCEL: a proxy passes every 200 on, and this one is acknowledged and hung up.
#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_forks_and_both_answer() {
    for tcp in BOTH {
        let first = tcp.start(Scenario::new("callee/behind_proxy")).await;
        let second = tcp.start(Scenario::new("callee/behind_proxy_answers_too")).await;
        let mut site = Site::new(tcp, first.addr(), second.addr()).await;
        let call = site.lab.place(json!({ "to": "+628762" })).await;
        site.lab.reached(&call, "call.answered").await;
        // It is over for us, while the first call stands.
        passed(second).await;
        site.lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
        site.check(&call, Answered, Api).await;
        passed(first).await;
        site.lab.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_call_through_the_proxy() {
    for tcp in BOTH {
        for (scenario, by) in [("caller/through_proxy", Remote), ("caller/through_proxy_is_hung_up", Api)] {
            let nobody = process::free_addr().unwrap();
            let mut site = Site::new(tcp, nobody, nobody).await;
            let caller = Scenario::new(scenario).towards(site.proxy).argument("-s").argument("100");
            let caller = tcp.start(caller).await;
            let call = site.lab.incoming().await;
            site.lab.engine.client().answer(&call).await.unwrap();
            if by == Api {
                site.lab.reached(&call, "call.answered").await;
                site.lab.engine.client().hangup(&call, HangupReason::Normal).await.unwrap();
            }
            passed(caller).await;
            let cdr = site.check(&call, Answered, by).await;
            assert_eq!(cdr.trunk.as_deref(), Some("t"), "the proxy is the trunk");
            site.lab.stop().await;
        }
    }
}
