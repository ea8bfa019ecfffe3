use super::*;

fn local() -> LocalMedia {
    LocalMedia {
        addr: "192.0.2.10:40000".parse().unwrap(),
        codecs: vec![Codec::Pcma, Codec::Pcmu],
        ptime: Ptime::DEFAULT,
        telephone_event: true,
        rtcp_mux: false,
        srtp: None,
        direction: Direction::SendRecv,
        session_id: 42,
        session_version: 7,
    }
}

/// A peer's body around `media` lines.
fn body(media: &str) -> Vec<u8> {
    let head = "v=0\no=- 1 1 IN IP4 198.51.100.7\ns=-\nc=IN IP4 198.51.100.7\nt=0 0\n";
    format!("{head}{media}").replace('\n', "\r\n").into_bytes()
}

fn accept(media: &str) -> Result<Negotiated, SdpError> {
    accept_answer(&local(), &body(media))
}

/// Answers an offer of `media` and returns the answer as text.
fn answer_to(media: &str) -> Result<(String, Negotiated), SdpError> {
    answer(&body(media), &local()).map(|(body, agreed)| (String::from_utf8(body).unwrap(), agreed))
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn offer_is_exactly_this() {
    let expected = "v=0\r\no=- 42 7 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 8 0 13 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
        a=rtpmap:13 CN/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n";
    assert_eq!(String::from_utf8(offer(&local())).unwrap(), expected);
}

#[test]
fn g722_counts_8_khz() {
    let local = LocalMedia { codecs: Codec::ALL.to_vec(), ..local() };
    let text = String::from_utf8(offer(&local)).unwrap();
    assert!(
        text.contains("RTP/AVP 8 0 9 96 97 13 101 102 103\r\n") && text.contains("a=rtpmap:9 G722/8000\r\n"),
        "{text}"
    );

    for line in [
        "RTP/AVP 9 101\n",
        "RTP/AVP 9 101\na=rtpmap:9 G722/8000\n",
        "RTP/AVP 101 9\na=rtpmap:9 g722/8000/1\n",
    ] {
        let answer = body(&format!("m=audio 9000 {line}a=rtpmap:101 telephone-event/8000\n"));
        let agreed = accept_answer(&local, &answer).unwrap();
        assert_eq!((agreed.codec, agreed.pt_send, agreed.pt_recv), (Codec::G722, 9, 9), "{line}");
        assert_eq!(agreed.telephone_event.unwrap().clock, 8000);
    }
    let true_rate = body("m=audio 9000 RTP/AVP 96\na=rtpmap:96 G722/16000\n");
    assert_eq!(accept_answer(&local, &true_rate), Err(SdpError::NoCommonCodec));
}

#[test]
fn offer_over_ipv6_with_mux_and_without_events() {
    let local = LocalMedia {
        addr: addr("[2001:db8::1]:5000"),
        rtcp_mux: true,
        srtp: None,
        telephone_event: false,
        codecs: vec![Codec::Pcmu],
        ..local()
    };
    let text = String::from_utf8(offer(&local)).unwrap();
    assert!(text.contains("c=IN IP6 2001:db8::1\r\n"), "{text}");
    assert!(text.contains("m=audio 5000 RTP/AVP 0 13\r\n"), "{text}");
    assert!(text.contains("a=rtcp-mux\r\n") && !text.contains("telephone-event"), "{text}");
}

#[test]
fn two_of_us_agree() {
    let remote = LocalMedia { addr: addr("198.51.100.7:30000"), codecs: vec![Codec::Pcmu], ..local() };
    let (answer_body, theirs) = answer(&offer(&local()), &remote).unwrap();
    let ours = accept_answer(&local(), &answer_body).unwrap();
    assert_eq!((ours.codec, theirs.codec), (Codec::Pcmu, Codec::Pcmu));
    assert_eq!((ours.remote, theirs.remote), (remote.addr, local().addr));
    assert_eq!(ours.rtcp, Some(addr("198.51.100.7:30001")));
    let event = TelephoneEvent { pt_send: 101, pt_recv: 101, clock: 8000 };
    assert_eq!((ours.telephone_event, theirs.telephone_event), (Some(event), Some(event)));
}

#[test]
fn answer_with_static_types_and_no_rtpmap() {
    let agreed = accept("m=audio 9000 RTP/AVP 0\n").unwrap();
    assert_eq!(
        agreed,
        Negotiated {
            remote: addr("198.51.100.7:9000"),
            rtcp: Some(addr("198.51.100.7:9001")),
            codec: Codec::Pcmu,
            pt_send: 0,
            pt_recv: 0,
            telephone_event: None,
            others: Vec::new(),
            ptime: Ptime::DEFAULT,
            direction: Direction::SendRecv,
            rtcp_mux: false,
            srtp: None,
        }
    );
}

#[test]
fn first_common_codec_of_the_peer_wins_and_names_match_in_any_case() {
    let agreed = accept(
        "m=audio 9000 RTP/AVP 18 97 8 100\na=rtpmap:18 G729/8000\na=rtpmap:97 pcmu/8000/1\n\
         a=rtpmap:100 Telephone-Event/8000\na=fmtp:100 0-15\n",
    )
    .unwrap();
    assert_eq!((agreed.codec, agreed.pt_send, agreed.pt_recv), (Codec::Pcmu, 97, 0));
    let event = agreed.telephone_event.unwrap();
    assert_eq!((event.pt_send, event.pt_recv), (100, 101), "payload types may differ by direction");
}

#[test]
fn a_mapping_overrides_the_static_meaning_and_must_fit_the_codec() {
    assert_eq!(accept("m=audio 9 RTP/AVP 0\na=rtpmap:0 G722/8000\n"), Err(SdpError::NoCommonCodec));
    assert_eq!(accept("m=audio 9 RTP/AVP 96\na=rtpmap:96 PCMU/16000\n"), Err(SdpError::NoCommonCodec));
    assert_eq!(accept("m=audio 9 RTP/AVP 96\na=rtpmap:96 PCMU/8000/2\n"), Err(SdpError::NoCommonCodec));
    assert_eq!(accept("m=audio 9 RTP/AVP 0 x 300\na=rtpmap:nonsense\n").unwrap().codec, Codec::Pcmu);
}

#[test]
fn events_on_another_clock_are_not_taken() {
    let agreed = accept(
        "m=audio 9000 RTP/AVP 0 102 103\na=rtpmap:102 telephone-event/16000\na=rtpmap:103 telephone-event/8000\n",
    )
    .unwrap();
    assert_eq!(agreed.telephone_event.unwrap().pt_send, 103);
}

#[test]
fn packet_time_is_the_peers_wish_within_bounds() {
    let ptime =
        |attributes: &str| accept(&format!("m=audio 9000 RTP/AVP 0\n{attributes}")).unwrap().ptime.ms();
    assert_eq!(ptime("a=ptime:30\n"), 30);
    assert_eq!(ptime("a=ptime:30\na=maxptime:20\n"), 20);
    assert_eq!(ptime("a=maxptime:10\n"), 10);
    assert_eq!(ptime("a=ptime:200\n"), 60);
    assert_eq!(ptime("a=ptime:4000000000\n"), 60);
    assert_eq!(ptime("a=ptime:5\n"), 10);
    assert_eq!(ptime("a=ptime:0\n"), 20);
    assert_eq!(ptime("a=ptime:x\na=maxptime\n"), 20);
}

#[test]
fn media_level_overrides_session_level() {
    let agreed = accept("a=inactive\nm=audio 9000 RTP/AVP 0\nc=IN IP4 203.0.113.5\na=sendrecv\n").unwrap();
    assert_eq!(agreed.remote, addr("203.0.113.5:9000"));
    assert_eq!(agreed.direction, Direction::SendRecv);
    assert_eq!(accept("a=sendonly\nm=audio 9000 RTP/AVP 0\n").unwrap().direction, Direction::RecvOnly);
}

#[test]
fn direction_is_mirrored_and_a_zero_address_holds() {
    let direction = |attributes: &str| {
        let media = format!("m=audio 9000 RTP/AVP 0\n{attributes}");
        let accepted = accept(&media).unwrap().direction;
        let (text, agreed) = answer_to(&media).unwrap();
        assert_eq!(agreed.direction, accepted);
        assert!(text.contains(&format!("a={}\r\n", accepted.name())), "{text}");
        accepted
    };
    assert_eq!(direction(""), Direction::SendRecv);
    assert_eq!(direction("a=recvonly\n"), Direction::SendOnly);
    assert_eq!(direction("a=sendonly\n"), Direction::RecvOnly);
    assert_eq!(direction("a=inactive\n"), Direction::Inactive);
    assert_eq!(direction("c=IN IP4 0.0.0.0\n"), Direction::RecvOnly);
    assert_eq!(direction("c=IN IP4 0.0.0.0\na=recvonly\n"), Direction::Inactive);
}

#[test]
fn rtcp_goes_where_the_peer_says() {
    let rtcp = |attributes: &str| {
        accept(&format!("m=audio 9000 RTP/AVP 0\n{attributes}")).unwrap().rtcp.map(|rtcp| rtcp.to_string())
    };
    assert_eq!(rtcp("a=rtcp:9100\n").as_deref(), Some("198.51.100.7:9100"));
    assert_eq!(rtcp("a=rtcp:9100 IN IP4 203.0.113.9\n").as_deref(), Some("203.0.113.9:9100"));
    assert_eq!(rtcp("b=RS:0\nb=RR:0\n"), None);
    assert_eq!(rtcp("c=IN IP4 0.0.0.0\n"), None);
    assert_eq!(rtcp("b=AS:64\nb=RR:0\n").as_deref(), Some("198.51.100.7:9001"));
    assert_eq!(accept("m=audio 65535 RTP/AVP 0\n").unwrap().rtcp, None, "there is no next port");
}

#[test]
fn rtcp_mux_needs_both_sides() {
    let offering = LocalMedia { rtcp_mux: true, ..local() };
    let both = accept_answer(&offering, &body("m=audio 9000 RTP/AVP 0\na=rtcp-mux\n")).unwrap();
    assert_eq!((both.rtcp_mux, both.rtcp), (true, Some(addr("198.51.100.7:9000"))));
    let one = accept("m=audio 9000 RTP/AVP 0\na=rtcp-mux\n").unwrap();
    assert_eq!((one.rtcp_mux, one.rtcp), (false, Some(addr("198.51.100.7:9001"))));
    let (text, _) = answer_to("m=audio 9000 RTP/AVP 0\na=rtcp-mux\n").unwrap();
    assert!(!text.contains("rtcp-mux"), "{text}");
}

#[test]
fn answer_takes_the_first_acceptable_audio_and_refuses_the_rest() {
    let (text, agreed) = answer_to(
        "m=video 7000 RTP/AVP 96\na=rtpmap:96 H264/90000\nm=audio 7100 RTP/SAVP 0\nm=audio 7200 RTP/AVP 18\n\
         m=audio 7300 RTP/AVP 18 0 8 99\na=rtpmap:99 telephone-event/8000\nm=audio 7400 RTP/AVP 8\n",
    )
    .unwrap();
    assert_eq!((agreed.remote, agreed.codec), (addr("198.51.100.7:7300"), Codec::Pcmu));
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 96",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 0 RTP/AVP 18",
            "m=audio 40000 RTP/AVP 0 99",
            "m=audio 0 RTP/AVP 8"
        ]
    );
    assert!(text.contains("a=rtpmap:99 telephone-event/8000\r\na=fmtp:99 0-16\r\n"), "{text}");
}

#[test]
fn an_answer_of_another_line_before_ours_is_forgiven() {
    let agreed = accept("m=video 0 RTP/AVP 96\nm=audio 9000 RTP/AVP 8\n").unwrap();
    assert_eq!(agreed.codec, Codec::Pcma);
}

#[test]
fn refusals_say_why() {
    assert_eq!(accept("m=audio 0 RTP/AVP 0\n"), Err(SdpError::Rejected));
    assert_eq!(accept(""), Err(SdpError::NoAudio));
    assert_eq!(accept("m=audio 9000 RTP/AVP 18\n"), Err(SdpError::NoCommonCodec));
    assert_eq!(answer_to("m=audio 0 RTP/AVP 0\n"), Err(SdpError::NoAudio));
    assert_eq!(answer_to("m=audio 9000 RTP/AVP 18\n"), Err(SdpError::NoCommonCodec));
    for bad in ["IP4 media.example.net", "IP4 224.2.1.1/127"] {
        assert_eq!(accept(&format!("m=audio 9000 RTP/AVP 0\nc=IN {bad}\n")), Err(SdpError::Address));
    }
    assert_eq!(
        accept_answer(&local(), b"v=0\r\nm=audio 9000 RTP/AVP 0\r\n"),
        Err(SdpError::Address),
        "no c= at all"
    );
    assert!(matches!(accept_answer(&local(), b"INVITE sip:"), Err(SdpError::Malformed(_))));
    assert_eq!(
        accept("m=audio 9000 RTP/AVP 0\nc=IN IP6 2001:db8::9\n"),
        Err(SdpError::AddressFamily {
            local: "192.0.2.10".parse().unwrap(),
            remote: "2001:db8::9".parse().unwrap()
        })
    );
}

#[test]
fn each_side_may_hold() {
    for (ours, theirs, agreed, answer) in [
        (Direction::SendRecv, "sendrecv", Direction::SendRecv, "a=sendrecv"),
        (Direction::SendRecv, "sendonly", Direction::RecvOnly, "a=recvonly"),
        (Direction::SendRecv, "inactive", Direction::Inactive, "a=inactive"),
        (Direction::SendOnly, "sendrecv", Direction::SendOnly, "a=sendonly"),
        (Direction::SendOnly, "sendonly", Direction::Inactive, "a=inactive"),
        (Direction::Inactive, "sendrecv", Direction::Inactive, "a=inactive"),
    ] {
        let local = LocalMedia { direction: ours, ..local() };
        let offered = body(&format!("m=audio 30000 RTP/AVP 0\na={theirs}\n"));
        let (body, negotiated) = super::answer(&offered, &local).unwrap();
        assert_eq!(negotiated.direction, agreed, "{ours:?} {theirs}");
        assert!(String::from_utf8(body).unwrap().contains(answer), "{ours:?} {theirs}");
        assert_eq!(accept_answer(&local, &offered).unwrap().direction, agreed, "{ours:?} {theirs}");
    }
}

#[test]
fn what_was_refused_stays_refused_in_later_offers() {
    let offered = body("m=video 30002 RTP/AVP 96\nm=audio 30000 RTP/AVP 0\nm=audio 30004 RTP/AVP 8\n");
    let (last, _) = super::answer(&offered, &local()).unwrap();
    let held = LocalMedia { direction: Direction::SendOnly, session_version: 8, ..local() };
    let again = String::from_utf8(offer_again(&held, &last).unwrap()).unwrap();
    let lines: Vec<_> = again.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(lines, ["m=video 0 RTP/AVP 96", "m=audio 40000 RTP/AVP 8 0 13 101", "m=audio 0 RTP/AVP 8"]);
    assert!(again.starts_with("v=0\r\no=- 42 8 IN") && again.contains("a=sendonly"), "{again}");
    // Its answer names the lines one by one.
    let answer = body("m=video 0 RTP/AVP 96\nm=audio 30000 RTP/AVP 0\na=recvonly\nm=audio 0 RTP/AVP 8\n");
    assert_eq!(accept_answer(&held, &answer).unwrap().direction, Direction::SendOnly);
    assert_eq!(offer_again(&held, b"v=0\r\n"), Err(SdpError::NoAudio));
}

/// With keys of one octet value, so that they can be told apart.
fn with_srtp(policy: SrtpPolicy) -> LocalMedia {
    let mut next = 0;
    let srtp = LocalSrtp::new(policy, |octets| {
        next += 1;
        octets.fill(next);
    });
    LocalMedia { srtp: Some(srtp), ..local() }
}

/// A line of a peer whose key is all zeros.
fn crypto_line(tag: u32, suite: &str) -> String {
    let octets = match suite {
        "AEAD_AES_256_GCM" => 44,
        "AEAD_AES_128_GCM" => 28,
        _ => 30,
    };
    let zeros = "A".repeat((octets * 8usize).div_ceil(6));
    format!("a=crypto:{tag} {suite} inline:{zeros}\n")
}

#[test]
fn an_offer_of_srtp_has_a_line_for_every_suite() {
    let text = String::from_utf8(offer(&with_srtp(SrtpPolicy::Required))).unwrap();
    assert!(text.contains("m=audio 40000 RTP/SAVP 8 0 13 101\r\n"), "{text}");
    let key = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD";
    let line = format!("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n");
    assert!(text.contains(&line), "{text}");
    assert_eq!(text.matches("a=crypto:").count(), 4);
    let text = String::from_utf8(offer(&with_srtp(SrtpPolicy::Optional))).unwrap();
    assert!(text.contains("m=audio 40000 RTP/AVP 8 0 13 101\r\n") && text.contains(&line), "{text}");
}

#[test]
fn an_answer_picks_a_line_by_tag_and_suite() {
    use SrtpPolicy::{Optional, Required};
    let sha80 = crypto_line(3, "AES_CM_128_HMAC_SHA1_80");
    let answered = |policy, profile: &str, lines: &str| {
        let local = with_srtp(policy);
        let agreed = accept_answer(&local, &body(&format!("m=audio 9000 {profile} 0\n{lines}")))?;
        Ok(agreed.srtp.map(|keying| {
            let keys = keying.described().unwrap();
            assert_eq!(keys.send.suite(), keys.receive.suite());
            keys.suite().name()
        }))
    };
    for policy in [Optional, Required] {
        for profile in ["RTP/SAVP", "RTP/AVP"] {
            assert_eq!(answered(policy, profile, &sha80), Ok(Some("AES_CM_128_HMAC_SHA1_80")));
            for bad in [
                crypto_line(1, "AES_CM_128_HMAC_SHA1_80"),
                crypto_line(3, "AES_CM_128_HMAC_SHA1_32"),
                crypto_line(3, "AES_CM_128_HMAC_SHA1_80 KDR=1"),
                "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD\n".into(),
            ] {
                assert_eq!(answered(policy, profile, &bad), Err(SdpError::NoCommonCrypto), "{bad}");
            }
        }
        assert_eq!(answered(policy, "RTP/SAVP", ""), Err(SdpError::NoCommonCrypto));
    }
    assert_eq!(answered(Optional, "RTP/AVP", ""), Ok(None), "a peer without SRTP");
    assert_eq!(answered(Required, "RTP/AVP", ""), Err(SdpError::SrtpRequired));
    let answer = body(&format!("m=audio 9000 RTP/SAVP 0\n{sha80}"));
    assert_eq!(accept_answer(&local(), &answer), Err(SdpError::SrtpOff), "not what we offered");
}

#[test]
fn an_offer_of_srtp_is_answered_in_its_own_profile() {
    use SrtpPolicy::{Optional, Required};
    let answered = |local: &LocalMedia, media: &str| {
        answer(&body(media), local).map(|(text, agreed)| {
            let text = String::from_utf8(text).unwrap();
            assert_eq!(text.matches("a=crypto:").count(), usize::from(agreed.srtp.is_some()), "{text}");
            (text, agreed.srtp.map(|keying| keying.described().unwrap().suite().name()))
        })
    };
    let lines = [
        crypto_line(1, "F8_128_HMAC_SHA1_80"),
        crypto_line(4, "AES_CM_128_HMAC_SHA1_32"),
        crypto_line(7, "AEAD_AES_128_GCM"),
    ]
    .concat();
    for policy in [Optional, Required] {
        let local = with_srtp(policy);
        for profile in ["RTP/SAVP", "RTP/AVP"] {
            let (text, suite) = answered(&local, &format!("m=audio 9000 {profile} 0\n{lines}")).unwrap();
            assert_eq!(
                suite,
                Some("AES_CM_128_HMAC_SHA1_32"),
                "the first that we have, by the offerer's preference"
            );
            assert!(text.contains(&format!("m=audio 40000 {profile} 0\r\n")), "{text}");
            assert!(
                text.contains("a=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:BAQE"),
                "its tag and our key: {text}"
            );
        }
        let unusable = format!("m=audio 9000 RTP/SAVP 0\n{}", crypto_line(1, "F8_128_HMAC_SHA1_80"));
        assert_eq!(answered(&local, &unusable).err(), Some(SdpError::NoCommonCrypto));
    }
    let optional = with_srtp(Optional);
    assert_eq!(answered(&optional, "m=audio 9000 RTP/AVP 0\n").unwrap().1, None);
    let unusable = format!("m=audio 9000 RTP/AVP 0\n{}", crypto_line(1, "F8_128_HMAC_SHA1_80"));
    assert_eq!(answered(&optional, &unusable).unwrap().1, None, "the peer can do without");
    assert_eq!(answered(&with_srtp(Required), &unusable).err(), Some(SdpError::NoCommonCrypto));
    let plain = answered(&with_srtp(Required), "m=audio 9000 RTP/AVP 0\n");
    assert_eq!(plain.err(), Some(SdpError::SrtpRequired));
    assert_eq!(
        answered(&local(), &format!("m=audio 9000 RTP/SAVP 0\n{lines}")).err(),
        Some(SdpError::SrtpOff)
    );
    let ignored = answered(&local(), &format!("m=audio 9000 RTP/AVP 0\n{lines}")).unwrap();
    assert_eq!(ignored.1, None, "off, and the peer can do without");
}

#[test]
fn of_the_same_audio_with_and_without_srtp_the_one_with_is_taken() {
    let secure = format!("m=audio 9002 RTP/SAVP 0\n{}", crypto_line(1, "AES_CM_128_HMAC_SHA1_80"));
    let plain = "m=audio 9000 RTP/AVP 0\n";
    for (offered, secure_at) in [(format!("{plain}{secure}"), 1), (format!("{secure}{plain}"), 0)] {
        for policy in [SrtpPolicy::Optional, SrtpPolicy::Required] {
            let (text, agreed) = answer(&body(&offered), &with_srtp(policy)).unwrap();
            assert!(agreed.srtp.is_some() && agreed.remote.port() == 9002);
            let text = String::from_utf8(text).unwrap();
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
            assert_eq!(lines[secure_at], "m=audio 40000 RTP/SAVP 0");
            assert!(lines[1 - secure_at].starts_with("m=audio 0 RTP/AVP"), "{text}");
        }
        let (_, agreed) = answer(&body(&offered), &local()).unwrap();
        assert!(agreed.srtp.is_none() && agreed.remote.port() == 9000);
    }
}

#[test]
fn a_further_offer_has_the_same_keys_and_stays_srtp() {
    let local = with_srtp(SrtpPolicy::Optional);
    let offered = format!("m=audio 9000 RTP/SAVP 0\n{}", crypto_line(4, "AES_CM_128_HMAC_SHA1_80"));
    let (first, _) = answer(&body(&offered), &local).unwrap();
    let next = String::from_utf8(offer_again(&local, &first).unwrap()).unwrap();
    assert!(next.contains("m=audio 40000 RTP/SAVP 8 0 13 101\r\n"), "{next}");
    assert!(next.contains("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:AwMD"), "{next}");
}

fn of(codecs: &[Codec]) -> LocalMedia {
    LocalMedia { codecs: codecs.to_vec(), ..local() }
}

#[test]
fn an_offer_of_opus_is_exactly_this() {
    let expected = "m=audio 40000 RTP/AVP 96 102\r\na=rtpmap:96 opus/48000/2\r\n\
        a=fmtp:96 useinbandfec=1;stereo=0;maxaveragebitrate=64000\r\na=rtpmap:102 telephone-event/48000\r\n\
        a=fmtp:102 0-16\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n";
    let text = String::from_utf8(offer(&of(&[Codec::Opus]))).unwrap();
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn every_number_goes_in_its_own_direction() {
    let all = of(&Codec::ALL);
    let agreed = accept_answer(
        &all,
        &body(
            "m=audio 9000 RTP/AVP 120 121 122\na=rtpmap:120 opus/48000/2\na=fmtp:120 stereo=1;sprop-stereo=1\n\
             a=rtpmap:121 telephone-event/48000\na=rtpmap:122 telephone-event/8000\na=ptime:60\n",
        ),
    )
    .unwrap();
    assert_eq!((agreed.codec, agreed.pt_send, agreed.pt_recv), (Codec::Opus, 120, 96));
    let event = TelephoneEvent { pt_send: 121, pt_recv: 102, clock: 48_000 };
    assert_eq!(agreed.telephone_event, Some(event));
    assert_eq!(agreed.ptime.ms(), 20, "whatever is wished for, packets of prompts are of 20 ms");

    let l16 = body("m=audio 9000 RTP/AVP 98\na=rtpmap:98 l16/16000\na=ptime:60\n");
    let agreed = accept_answer(&all, &l16).unwrap();
    assert_eq!((agreed.codec, agreed.pt_send, agreed.pt_recv), (Codec::L16, 98, 97));
    assert_eq!(agreed.ptime.ms(), 40, "60 ms of it would not fit into a frame");
}

#[test]
fn events_at_8_khz_beside_opus_are_better_than_none() {
    let offered =
        body("m=audio 9000 RTP/AVP 111 101\na=rtpmap:111 OPUS/48000/2\na=rtpmap:101 telephone-event/8000\n");
    let (text, agreed) = super::answer(&offered, &of(&Codec::ALL)).unwrap();
    let event = TelephoneEvent { pt_send: 101, pt_recv: 101, clock: 8_000 };
    assert_eq!((agreed.codec, agreed.pt_recv, agreed.telephone_event), (Codec::Opus, 111, Some(event)));
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("RTP/AVP 111 101\r\na=rtpmap:111 opus/48000/2\r\n"), "{text}");
    // In an answer they are taken if we have offered them.
    assert_eq!(accept_answer(&of(&Codec::ALL), &offered).unwrap().telephone_event.unwrap().pt_recv, 101);
    assert_eq!(accept_answer(&of(&[Codec::Opus]), &offered).unwrap().telephone_event, None);
}

#[test]
fn a_dynamic_number_means_nothing_of_itself() {
    let unmapped = body("m=audio 9000 RTP/AVP 96 97 101\n");
    assert_eq!(accept_answer(&of(&Codec::ALL), &unmapped), Err(SdpError::NoCommonCodec));
    let stereo = body("m=audio 9000 RTP/AVP 97\na=rtpmap:97 L16/16000/2\n");
    assert_eq!(accept_answer(&of(&Codec::ALL), &stereo), Err(SdpError::NoCommonCodec));
    let slower = body("m=audio 9000 RTP/AVP 97\na=rtpmap:97 L16/8000\n");
    assert_eq!(accept_answer(&of(&Codec::ALL), &slower), Err(SdpError::NoCommonCodec));
}

#[test]
fn numbers_stay_what_they_are_in_later_offers() {
    let ours = of(&Codec::ALL);
    // The peer's numbers: 97 is what we would call L16, 103 what we would call its events.
    let theirs = body(
        "m=audio 30000 RTP/AVP 97 103 13\na=rtpmap:97 opus/48000/2\na=rtpmap:103 telephone-event/48000\n",
    );
    let (last, _) = super::answer(&theirs, &ours).unwrap();
    let again = offer_again(&ours, &last).unwrap();
    let text = String::from_utf8(again.clone()).unwrap();
    assert!(text.contains("m=audio 40000 RTP/AVP 8 0 9 97 127 13 101 103 126\r\n"), "{text}");
    for line in ["97 opus/48000/2", "127 L16/16000", "103 telephone-event/48000", "126 telephone-event/16000"]
    {
        assert!(text.contains(&format!("a=rtpmap:{line}\r\n")), "{line}: {text}");
    }
    // The answer to it may have other numbers for what the peer receives.
    let answer =
        body("m=audio 30000 RTP/AVP 99 100\na=rtpmap:99 L16/16000\na=rtpmap:100 telephone-event/16000\n");
    let agreed = accept_answer_to(&ours, &again, &answer).unwrap();
    assert_eq!((agreed.codec, agreed.pt_send, agreed.pt_recv), (Codec::L16, 99, 127));
    assert_eq!(agreed.telephone_event, Some(TelephoneEvent { pt_send: 100, pt_recv: 126, clock: 16_000 }));
    // And the offer after that keeps those of this one.
    let third = String::from_utf8(offer_again(&ours, &again).unwrap()).unwrap();
    assert!(third.contains("m=audio 40000 RTP/AVP 8 0 9 97 127 13 101 103 126\r\n"), "{third}");
}

#[test]
fn comfort_noise_is_answered_beside_audio_of_its_clock() {
    let (text, _) = answer_to("m=audio 9000 RTP/AVP 0 13\n").unwrap();
    assert!(
        text.contains("m=audio 40000 RTP/AVP 0 13\r\n") && text.contains("a=rtpmap:13 CN/8000\r\n"),
        "{text}"
    );
    let (text, _) = answer_to("m=audio 9000 RTP/AVP 0 105\na=rtpmap:105 CN/16000\n").unwrap();
    assert!(text.contains("m=audio 40000 RTP/AVP 0\r\n"), "{text}");
    let opus = body("m=audio 9000 RTP/AVP 96 13\na=rtpmap:96 opus/48000/2\n");
    let (answer, _) = super::answer(&opus, &of(&Codec::ALL)).unwrap();
    assert!(String::from_utf8(answer).unwrap().contains("m=audio 40000 RTP/AVP 96\r\n"));
}

#[test]
fn all_that_both_list_may_come() {
    let other = |encoding, pt_send, pt_recv| AgreedFormat { encoding, pt_send, pt_recv };
    let noise = |pt| other(Encoding::ComfortNoise, pt, 13);
    let local = LocalMedia { codecs: Codec::DEFAULT.to_vec(), ..local() };
    let agreed = |media: &str| accept_answer(&local, &body(media)).unwrap();
    let some = agreed(
        "m=audio 9000 RTP/AVP 0 18 8 97 101\na=rtpmap:97 CN/8000\na=rtpmap:101 telephone-event/8000\n",
    );
    assert_eq!((some.codec, some.pt_send), (Codec::Pcmu, 0));
    assert_eq!(some.others, [other(Encoding::Audio(Codec::Pcma), 8, 8), noise(97)]);
    let two_clocks = agreed(
        "m=audio 9000 RTP/AVP 110 111 8 13 101 102\na=rtpmap:110 opus/48000/2\na=rtpmap:111 L16/16000\n\
         a=rtpmap:101 telephone-event/8000\na=rtpmap:102 telephone-event/48000\n",
    );
    assert_eq!((two_clocks.codec, two_clocks.pt_send, two_clocks.pt_recv), (Codec::Opus, 110, 96));
    assert_eq!(two_clocks.telephone_event.unwrap().clock, 48_000);
    let event = other(Encoding::TelephoneEvent { clock: 8_000 }, 101, 101);
    assert_eq!(two_clocks.others, [other(Encoding::Audio(Codec::Pcma), 8, 8), noise(13), event]);
    assert_eq!(two_clocks.other_codecs().collect::<Vec<_>>(), [Codec::Pcma]);
    // Our own answer lists one codec, so nothing else may come; comfort noise as the offer numbers it.
    let (text, one) = answer_to("m=audio 9000 RTP/AVP 0 8 105\na=rtpmap:105 CN/8000\n").unwrap();
    assert!(text.contains("m=audio 40000 RTP/AVP 0 105\r\n"), "{text}");
    assert_eq!(one.others, [other(Encoding::ComfortNoise, 105, 105)]);
}

/// The values of a line's attribute.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let prefix = format!("a={name}:");
    text.lines().filter_map(|line| line.strip_prefix(prefix.as_str())).collect()
}

fn with_dtls(role: Option<DtlsRole>) -> LocalMedia {
    let ice = crate::ice::Credentials::generate(|octets| octets.fill(1));
    let dtls = LocalDtls { ice, fingerprint: Fingerprint([0xAB; 32]), role };
    LocalMedia { srtp: Some(LocalSrtp::Dtls(dtls)), rtcp_mux: true, ..local() }
}

const FINGERPRINT: &str =
    "00:01:02:03:04:05:06:07:08:09:0A:0b:0C:0d:0E:0f:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F";

/// What a browser offers, as Chromium writes it, with `setup`.
fn of_browser(setup: &str) -> String {
    format!(
        "a=group:BUNDLE 0\na=extmap-allow-mixed\na=msid-semantic: WMS 7f\n\
         m=audio 54609 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\nc=IN IP4 0.0.0.0\na=rtcp:9 IN IP4 0.0.0.0\n\
         a=candidate:1 1 udp 2113937151 3f.local 54609 typ host generation 0 network-cost 999\n\
         a=ice-ufrag:EsAw\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\na=ice-options:trickle\n\
         a=fingerprint:sha-256 {FINGERPRINT}\na=setup:{setup}\na=mid:0\n\
         a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\na=sendrecv\na=msid:7f 1\na=rtcp-mux\n\
         a=rtpmap:111 opus/48000/2\na=rtcp-fb:111 transport-cc\na=fmtp:111 minptime=10;useinbandfec=1\n\
         a=rtpmap:63 red/48000/2\na=fmtp:63 111/111\na=rtpmap:9 G722/8000\na=rtpmap:0 PCMU/8000\n\
         a=rtpmap:8 PCMA/8000\na=rtpmap:13 CN/8000\na=rtpmap:110 telephone-event/48000\n\
         a=rtpmap:126 telephone-event/8000\na=ssrc:1 cname:x\n"
    )
}

#[test]
fn a_browser_is_offered_ice_lite_and_a_handshake() {
    let local = LocalMedia { codecs: vec![Codec::Opus, Codec::Pcma], ..with_dtls(None) };
    let text = String::from_utf8(offer(&local)).unwrap();
    for line in [
        "a=group:BUNDLE 0",
        "a=ice-lite",
        "m=audio 40000 UDP/TLS/RTP/SAVPF 96 8 13 102 101",
        "a=mid:0",
        "a=ice-ufrag:BBBBBBBB",
        "a=ice-pwd:BBBBBBBBBBBBBBBBBBBBBBBB",
        "a=setup:actpass",
        "a=candidate:1 1 udp 2130706431 192.0.2.10 40000 typ host",
        "a=end-of-candidates",
        "a=rtcp-mux",
        "a=rtpmap:102 telephone-event/48000",
        "a=rtpmap:101 telephone-event/8000",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    let fingerprint = format!("sha-256 {}", ["AB"; 32].join(":"));
    assert_eq!(values(&text, "fingerprint"), [fingerprint.as_str()]);
    let session = text.split("m=audio").next().unwrap();
    assert!(session.contains("a=ice-lite") && session.contains("a=group"), "of the session: {text}");
}

#[test]
fn the_answer_of_a_browser_says_who_begins_and_whose_certificate_it_is() {
    let local = LocalMedia { codecs: vec![Codec::Opus, Codec::Pcma], ..with_dtls(None) };
    for (setup, role) in [("active", DtlsRole::Passive), ("passive", DtlsRole::Active)] {
        let agreed = accept_answer(&local, &body(&of_browser(setup))).unwrap();
        assert_eq!((agreed.codec, agreed.rtcp_mux), (Codec::Opus, true));
        assert_eq!(agreed.telephone_event.map(|event| (event.pt_send, event.clock)), Some((110, 48_000)));
        assert_eq!((agreed.direction, agreed.rtcp), (Direction::SendRecv, Some(agreed.remote)));
        let webrtc = agreed.webrtc().unwrap();
        let octets: Vec<u8> = (0..32).collect();
        assert_eq!(webrtc.fingerprint, Fingerprint(octets.try_into().unwrap()));
        assert_eq!((webrtc.role, webrtc.ice.remote_ufrag.as_str()), (role, "EsAw"));
    }
    let held = of_browser("active").replace("a=sendrecv", "a=sendonly");
    assert_eq!(accept_answer(&local, &body(&held)).unwrap().direction, Direction::RecvOnly);
}

#[test]
fn what_a_handshake_needs_must_be_there() {
    let whole = of_browser("active");
    let (_, agreed) = answer(&body(&whole), &with_dtls(None)).unwrap();
    let cases = [
        (whole.replace("a=rtcp-mux\n", ""), SdpError::NoRtcpMux),
        (whole.replace("a=ice-ufrag:EsAw\n", ""), SdpError::NoIce),
        (whole.replace("EsAw", "Es A"), SdpError::NoIce),
        (whole.replace("EsAw", "E"), SdpError::NoIce),
        (whole.replace("sha-256", "sha-1"), SdpError::NoFingerprint),
        (whole.replace(":1F", ""), SdpError::NoFingerprint),
        (whole.replace(":1F", ":1F:20"), SdpError::NoFingerprint),
        (whole.replace(":1F", ":+F"), SdpError::NoFingerprint),
        (whole.replace("setup:active", "setup:holdconn"), SdpError::NoDtlsRole),
        (whole.replace("setup:active", "setup:perhaps"), SdpError::NoDtlsRole),
    ];
    for (offered, error) in cases {
        let error = Some(error);
        assert_eq!(answer(&body(&offered), &with_dtls(None)).err(), error, "{offered}");
        assert_eq!(accept_answer(&with_dtls(None), &body(&offered)).err(), error, "{offered}");
    }
    // At the session it holds for the media, unless that has its own.
    let at_session = format!("a=fingerprint:SHA-256 {}\n", FINGERPRINT.to_lowercase());
    let moved = whole.replace(&format!("a=fingerprint:sha-256 {FINGERPRINT}\n"), "");
    let (_, same) = answer(&body(&format!("{at_session}{moved}")), &with_dtls(None)).unwrap();
    assert_eq!(same, agreed);
    let two = whole.replace("a=fingerprint:", "a=fingerprint:sha-512 00:11\na=fingerprint:");
    assert_eq!(answer(&body(&two), &with_dtls(None)).unwrap().1, agreed);
}

#[test]
fn a_browser_that_calls_is_answered_in_its_own_terms() {
    let (text, agreed) = answer(&body(&of_browser("actpass")), &with_dtls(None)).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(agreed.codec, Codec::Pcmu, "its first of ours");
    assert!(text.contains("m=audio 40000 UDP/TLS/RTP/SAVPF 0 "), "{text}");
    assert_eq!((values(&text, "setup"), values(&text, "group")), (vec!["passive"], vec!["BUNDLE 0"]));
    assert_eq!(values(&text, "mid"), ["0"]);
    assert!(!text.contains("extmap") && !text.contains("rtcp-fb"), "{text}");
    // Who bundles nothing is not told of groups; a name is kept.
    let alone = of_browser("actpass").replace("a=group:BUNDLE 0\n", "").replace("a=mid:0", "a=mid:audio");
    let (text, _) = answer(&body(&alone.replace("RTP/SAVPF", "RTP/SAVP")), &with_dtls(None)).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("UDP/TLS/RTP/SAVP 0 ") && !text.contains("a=group"), "{text}");
    assert_eq!(values(&text, "mid"), ["audio"]);
    // A line that is refused is in no group.
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:1\n";
    let both = of_browser("actpass").replace("BUNDLE 0", "BUNDLE 0 1") + video;
    let (text, _) = answer(&body(&both), &with_dtls(None)).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(values(&text, "group"), ["BUNDLE 0"], "{text}");
    assert!(text.contains("m=video 0 "), "{text}");
}

#[test]
fn a_handshake_is_neither_offered_to_nor_taken_from_who_is_not_to_have_it() {
    let browser = body(&of_browser("actpass"));
    let plain = body("m=audio 9000 RTP/AVP 8\n");
    assert!(is_webrtc(&browser) && !is_webrtc(&plain) && !is_webrtc(b"v=0") && !is_webrtc(&body("")));
    for local in [local(), with_srtp(SrtpPolicy::Optional)] {
        assert_eq!(answer(&browser, &local).err(), Some(SdpError::DtlsOff));
        assert_eq!(accept_answer(&local, &browser).err(), Some(SdpError::DtlsOff));
    }
    assert_eq!(answer(&plain, &with_dtls(None)).err(), Some(SdpError::DtlsRequired));
    assert_eq!(accept_answer(&with_dtls(None), &plain).err(), Some(SdpError::DtlsRequired));
}

#[test]
fn a_further_offer_or_answer_keeps_the_handshake() {
    let before = answer(&body(&of_browser("actpass")), &with_dtls(None)).unwrap();
    let again = |role, setup| answer(&body(&of_browser(setup)), &with_dtls(role)).unwrap().1;
    let webrtc = before.1.webrtc().unwrap();
    // RFC 8842, 5.5: an offer in mid-call is actpass again, and the role of each stays.
    assert!(again(Some(DtlsRole::Passive), "actpass").webrtc().unwrap().keeps_association(webrtc));
    assert_eq!(again(Some(DtlsRole::Active), "actpass").webrtc().unwrap().role, DtlsRole::Active);
    let mut other = webrtc.clone();
    other.ice.remote_ufrag = "other".into();
    assert!(other.keeps_association(webrtc), "ICE alone begins anew");
    other.fingerprint.0[0] ^= 1;
    assert!(!other.keeps_association(webrtc));
    // Ours has the same credentials and the names of the peer's line.
    let held = LocalMedia { direction: Direction::SendOnly, session_version: 8, ..with_dtls(None) };
    let last =
        String::from_utf8(before.0).unwrap().replace("a=mid:0", "a=mid:x").replace("BUNDLE 0", "BUNDLE x");
    let text = String::from_utf8(offer_again(&held, last.as_bytes()).unwrap()).unwrap();
    assert_eq!(values(&text, "ice-pwd"), values(&last, "ice-pwd"));
    assert_eq!((values(&text, "mid"), values(&text, "group")), (vec!["x"], vec!["BUNDLE x"]), "{text}");
    assert!(
        text.contains("a=setup:actpass") && text.contains("m=audio 40000 UDP/TLS/RTP/SAVPF 8 0 13 126"),
        "{text}"
    );
}
