//! The door on a virtual clock.

use super::*;
use crate::Transport;

#[expect(clippy::disallowed_methods, reason = "tests need one instant to count from")]
fn start() -> Instant {
    Instant::now()
}

const TRUNK: [u8; 4] = [192, 0, 2, 10];
const STRANGER: [u8; 4] = [198, 51, 100, 7];

struct Door {
    now: Instant,
    guard: Guard,
    seal: Seal,
}

impl Door {
    fn new(config: GuardConfig) -> Self {
        let now = start();
        let mut guard = Guard::new(now, config, [3; 32]);
        let seal = Seal::new(&[5; 32]);
        guard.set_seal(seal.clone());
        guard.set_known(known());
        Self { now, guard, seal }
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn tag(&self) -> String {
        format!("{:016x}", self.seal.token(0x1234_5678_9abc_def0))
    }

    fn check(&mut self, from: impl Into<IpAddr>, message: &str) -> Verdict {
        self.judge(from, Transport::Udp, Pace::Keeping, message)
    }

    fn judge(&mut self, from: impl Into<IpAddr>, transport: Transport, pace: Pace, message: &str) -> Verdict {
        let from = from.into();
        let remote = (from, 5060).into();
        let hop = Hop { transport, local: "192.0.2.1:5060".parse().unwrap(), remote };
        if let Err(reason) = self.guard.admit(self.now, from) {
            return Verdict::Refused { reason, answer: None, close: true };
        }
        let bytes = Bytes::copy_from_slice(message.as_bytes());
        match Message::parse(bytes.clone()) {
            Ok(message) => self.guard.judge(self.now, hop, pace, &message),
            Err(error) => self.guard.judge_malformed(self.now, hop, &bytes, &error),
        }
    }
}

fn known() -> Known {
    Known {
        addresses: BTreeSet::from([IpAddr::from(TRUNK)]),
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        ..Known::default()
    }
}

fn request(method: &str, to_tag: &str, user_agent: &str) -> String {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK77\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a\r\nTo: <sip:100@192.0.2.1>{to_tag}\r\n\
         Call-ID: c1\r\nCSeq: 1 {method}\r\nContact: <sip:alice@192.0.2.10:5060>\r\nUser-Agent: {user_agent}\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

fn response(branch: &str) -> String {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{branch}\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:b@c>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The reason, the status of the answer, and whether the stream is closed.
fn refused(verdict: &Verdict) -> Option<(Reason, Option<u16>, bool)> {
    match verdict {
        Verdict::Refused { reason, answer, close } => {
            let status = answer
                .as_ref()
                .map(|answer| Message::parse(answer.payload.clone()).unwrap().status().unwrap());
            Some((*reason, status, *close))
        }
        Verdict::InCall | Verdict::NewWork => None,
    }
}

#[test]
fn what_shows_our_seal_goes_by_the_reserved_queue_and_what_only_claims_to_does_not() {
    let mut door = Door::new(GuardConfig::default());
    let tag = door.tag();
    for from in [TRUNK, STRANGER] {
        for method in ["BYE", "INVITE", "INFO", "ACK", "UPDATE", "PRACK"] {
            assert_eq!(door.check(from, &request(method, &tag, "")), Verdict::InCall, "{method}");
        }
        assert_eq!(door.check(from, &response(&tag)), Verdict::InCall);
        let stray = door.check(from, &response("0123456789abcdef"));
        assert_eq!(refused(&stray).map(|(reason, status, _)| (reason, status)), Some((Reason::Stray, None)));
    }
    // A trunk that knows no better gets its 481 from the endpoint; a stranger from the door.
    assert_eq!(door.check(TRUNK, &request("BYE", "0123456789abcdef", "")), Verdict::NewWork);
    let verdict = door.check(STRANGER, &request("BYE", "0123456789abcdef", ""));
    assert_eq!(refused(&verdict), Some((Reason::Stray, Some(481), true)));
    let ack = door.check(STRANGER, &request("ACK", "0123456789abcdef", ""));
    assert_eq!(refused(&ack), Some((Reason::Stray, None, true)));
    // What ends an INVITE of a trunk's needs no tag of ours.
    assert_eq!(door.check(TRUNK, &request("CANCEL", "", "")), Verdict::InCall);
    assert_eq!(door.check(TRUNK, &request("ACK", "x", "")), Verdict::InCall);
}

#[test]
fn strangers_are_told_once_and_little_and_then_nothing() {
    let mut door = Door::new(GuardConfig::default());
    let invite = request("INVITE", "", "");
    let mut told = 0;
    for _ in 0..1_000 {
        match door.check(STRANGER, &invite) {
            Verdict::Refused { reason: Reason::Stranger, answer, close: true } => {
                if let Some(answer) = answer {
                    assert!(answer.payload.len() <= invite.len(), "an answer must not amplify");
                    assert_eq!(Message::parse(answer.payload).unwrap().status(), Some(403));
                    told += 1;
                }
            }
            Verdict::Refused { reason: Reason::RateLimited, answer: None, .. } => {}
            other @ (Verdict::InCall | Verdict::NewWork | Verdict::Refused { .. }) => panic!("{other:?}"),
        }
    }
    assert_eq!(told, GuardConfig::default().answers.burst);
    // A moment later there is one token more.
    let again = door.after(Duration::from_millis(500)).check(STRANGER, &invite);
    assert_eq!(refused(&again), Some((Reason::Stranger, Some(403), true)));
}

#[test]
fn an_answer_larger_than_its_datagram_is_not_given() {
    let mut door = Door::new(GuardConfig::default());
    let small = "OPTIONS sip:a SIP/2.0\r\nv: SIP/2.0/UDP a;rport;branch=z9hG4bK1\r\nf: <sip:a>;tag=1\r\nt: <sip:a>\r\n\
                 i: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
    assert_eq!(refused(&door.check(STRANGER, small)), Some((Reason::Stranger, None, true)));
    let over_tcp = door.judge(STRANGER, Transport::Tcp, Pace::Keeping, small);
    assert_eq!(refused(&over_tcp), Some((Reason::Stranger, Some(403), true)), "no forged source there");
}

#[test]
fn many_addresses_share_a_total_and_do_not_touch_the_known() {
    let mut door = Door::new(GuardConfig::default());
    let (invite, tag) = (request("INVITE", "", ""), door.tag());
    let mut answers = 0;
    for n in 0..100_000_u32 {
        let from = std::net::Ipv4Addr::from(0x3000_0000 + n);
        let verdict = door.check(from, &invite);
        answers += u32::from(refused(&verdict).is_some_and(|(_, status, _)| status.is_some()));
        assert!(!matches!(verdict, Verdict::NewWork | Verdict::InCall));
    }
    assert!(answers <= GuardConfig::default().answers_total.burst, "{answers}");
    assert!(door.guard.remembered() <= 8_192);
    assert_eq!(door.check(TRUNK, &invite), Verdict::NewWork);
    assert_eq!(
        door.check(STRANGER, &request("BYE", &tag, "")),
        Verdict::InCall,
        "calls of strangers live on"
    );
}

#[test]
fn a_known_source_above_its_rate_is_told_503_and_its_calls_live_on() {
    let rate = Rate { per_second: 10, burst: 10 };
    let mut door = Door::new(GuardConfig { known: rate, ..GuardConfig::default() });
    let (invite, tag) = (request("INVITE", "", ""), door.tag());
    for _ in 0..10 {
        assert_eq!(door.check(TRUNK, &invite), Verdict::NewWork);
    }
    for _ in 0..10 {
        let verdict = door.check(TRUNK, &invite);
        assert_eq!(refused(&verdict), Some((Reason::RateLimited, Some(503), false)));
        let Verdict::Refused { answer: Some(answer), .. } = verdict else { unreachable!() };
        let answer = Message::parse(answer.payload).unwrap();
        assert_eq!(answer.retry_after(), Ok(Some(Duration::from_secs(5))));
    }
    assert_eq!(refused(&door.check(TRUNK, &invite)), Some((Reason::RateLimited, None, false)));
    assert_eq!(door.check(TRUNK, &request("BYE", &tag, "")), Verdict::InCall);
    // Another known source has its own.
    assert_eq!(door.check([10, 1, 2, 3], &invite), Verdict::NewWork);
    assert_eq!(door.after(Duration::from_millis(100)).check(TRUNK, &invite), Verdict::NewWork);
}

#[test]
fn behind_means_503_for_new_work_only() {
    let mut door = Door::new(GuardConfig::default());
    let tag = door.tag();
    let mut behind =
        |method, tag: &str| door.judge(TRUNK, Transport::Udp, Pace::Behind, &request(method, tag, ""));
    assert_eq!(refused(&behind("INVITE", "")), Some((Reason::Overload, Some(503), false)));
    assert_eq!(refused(&behind("OPTIONS", "")), Some((Reason::Overload, Some(503), false)));
    for method in ["BYE", "INVITE", "ACK"] {
        assert_eq!(behind(method, &tag), Verdict::InCall);
    }
    assert_eq!(behind("CANCEL", ""), Verdict::InCall);
}

#[test]
fn scanners_get_nothing_and_are_banned_for_a_while() {
    let mut door = Door::new(GuardConfig { ban_after: 3, ..GuardConfig::default() });
    let by_user = request("OPTIONS", "", "").replace("alice", "SIPvicious");
    for message in [request("OPTIONS", "", "Friendly-Scanner"), by_user, request("INVITE", "", "pplsip/1")] {
        let verdict = door.judge(STRANGER, Transport::Tcp, Pace::Keeping, &message);
        assert_eq!(refused(&verdict), Some((Reason::Scanner, None, true)));
    }
    assert_eq!(
        door.guard.poll_notice().map(|notice| (notice.reason, notice.banned)),
        Some((Reason::Scanner, true))
    );
    let invite = request("INVITE", "", "a telephone");
    assert_eq!(refused(&door.check(STRANGER, &invite)), Some((Reason::Banned, None, true)));
    // A trunk may call itself what it likes.
    assert_eq!(door.check(TRUNK, &request("INVITE", "", "sipvicious")), Verdict::NewWork);
    door.after(Duration::from_secs(601));
    assert_eq!(refused(&door.check(STRANGER, &invite)), Some((Reason::Stranger, Some(403), true)));
}

#[test]
fn forged_datagrams_ban_nobody() {
    let mut door = Door::new(GuardConfig::default());
    door.guard.set_known(Known { registrar: true, ..known() });
    for _ in 0..1_000 {
        for forged in [request("REGISTER", "", "friendly-scanner").as_str(), "rubbish\r\n\r\n"] {
            assert!(refused(&door.check(STRANGER, forged)).is_some());
        }
        door.after(Duration::from_millis(100));
    }
    // The rate is that of the moment.
    door.after(Duration::from_secs(5));
    assert_eq!(door.check(STRANGER, &request("REGISTER", "", "a telephone")), Verdict::NewWork);
}

#[test]
fn only_the_beginning_of_a_text_is_searched_and_only_within_the_rate() {
    let mut door = Door::new(GuardConfig::default());
    let long = request("INVITE", "", &format!("{}sipvicious", "x".repeat(SEARCHED)));
    assert_eq!(refused(&door.check(STRANGER, &long)).map(|told| told.0), Some(Reason::Stranger));
    let scanner = request("INVITE", "", "sipvicious");
    let reasons: Vec<_> = (0..100).map(|_| refused(&door.check(STRANGER, &scanner)).unwrap().0).collect();
    assert_eq!((reasons[0], reasons[99]), (Reason::Scanner, Reason::RateLimited));
}

#[test]
fn a_banned_source_that_becomes_known_is_heard() {
    let mut door = Door::new(GuardConfig { ban_after: 1, ..GuardConfig::default() });
    door.guard.offence(door.now, STRANGER.into());
    let invite = request("INVITE", "", "");
    assert_eq!(refused(&door.check(STRANGER, &invite)), Some((Reason::Banned, None, true)));
    let mut known = known();
    known.addresses.insert(STRANGER.into());
    door.guard.set_known(known);
    assert_eq!(door.check(STRANGER, &invite), Verdict::NewWork);
    door.guard.offence(door.now, STRANGER.into());
    assert_eq!(door.check(STRANGER, &invite), Verdict::NewWork, "the known are never banned");
}

#[test]
fn a_right_password_makes_up_for_wrong_ones() {
    let mut door = Door::new(GuardConfig { ban_after: 2, ..GuardConfig::default() });
    for _ in 0..5 {
        door.guard.offence(door.now, STRANGER.into());
        door.guard.trust(STRANGER.into());
    }
    assert!(door.guard.admit(door.now, STRANGER.into()).is_ok());
    // Those too long ago do not count either.
    door.guard.offence(door.now, STRANGER.into());
    door.after(Duration::from_secs(61));
    door.guard.offence(door.now, STRANGER.into());
    assert!(door.guard.admit(door.now, STRANGER.into()).is_ok());
}

#[test]
fn rubbish_of_strangers_is_answered_where_it_can_be() {
    let mut door = Door::new(GuardConfig::default());
    let no_cseq = request("INVITE", "", "").replace("CSeq: 1 INVITE", "CSeq: x");
    for (message, status) in [("rubbish\r\n\r\n", None), (no_cseq.as_str(), Some(400))] {
        assert_eq!(refused(&door.check(STRANGER, message)), Some((Reason::Rubbish, status, true)));
    }
    assert_eq!(door.check(TRUNK, "rubbish\r\n\r\n"), Verdict::NewWork, "the endpoint answers its peers");
}

#[test]
fn networks_denied_and_allowed() {
    let config = GuardConfig {
        deny: vec!["10.0.0.0/8".parse().unwrap()],
        allow: vec!["10.9.0.0/16".parse().unwrap()],
        ..GuardConfig::default()
    };
    let mut door = Door::new(config);
    let invite = request("INVITE", "", "");
    assert_eq!(refused(&door.check([10, 1, 1, 1], &invite)), Some((Reason::Denied, None, true)));
    assert_eq!(door.check([10, 9, 1, 1], &invite), Verdict::NewWork);
}

#[test]
fn strangers_are_served_where_routes_or_the_registrar_are_for_everybody() {
    let mut door = Door::new(GuardConfig::default());
    for (calls_from_anywhere, registrar, served) in [
        (false, false, &[][..]),
        (true, false, &["INVITE", "CANCEL", "OPTIONS"]),
        (false, true, &["REGISTER", "OPTIONS"]),
    ] {
        door.guard.set_known(Known { calls_from_anywhere, registrar, ..known() });
        for method in ["INVITE", "CANCEL", "OPTIONS", "REGISTER", "SUBSCRIBE", "MESSAGE", "FOO"] {
            let verdict = door.after(Duration::from_secs(1)).check(STRANGER, &request(method, "", ""));
            assert_eq!(verdict == Verdict::NewWork, served.contains(&method), "{method} {verdict:?}");
        }
    }
}

#[test]
fn one_notice_a_minute_and_source_and_few_in_all() {
    let mut door = Door::new(GuardConfig::default());
    let rubbish = "rubbish\r\n\r\n";
    let notices = |door: &mut Door, from: u32, times: usize| {
        (0..times)
            .filter(|_| {
                door.check(std::net::Ipv4Addr::from(from), rubbish);
                door.guard.poll_notice().is_some()
            })
            .count()
    };
    assert_eq!(notices(&mut door, 0x3000_0000, 10), 1);
    door.after(Duration::from_secs(61));
    assert_eq!(notices(&mut door, 0x3000_0000, 10), 1);
    let many: usize = (1..1_000).map(|n| notices(&mut door, 0x3000_0000 + n, 1)).sum();
    assert!(many <= 10, "{many}");
}
