use super::*;

fn uri(text: &str) -> Uri {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn parts_of_a_sip_uri() {
    let u =
        uri("sips:alice;day=tuesday:pass@[2001:DB8::1]:5061;transport=tcp;lr?Subject=a%20b&Priority=urgent");
    assert_eq!(u.scheme(), Scheme::Sips);
    assert_eq!(u.user(), Some("alice;day=tuesday"));
    assert_eq!(u.password(), Some("pass"));
    assert_eq!(u.host(), Some(Host::Ip("2001:db8::1".parse().unwrap())));
    assert_eq!(u.port(), Some(5061));
    assert_eq!(u.param("Transport"), Some("tcp"));
    assert_eq!(u.param("lr"), Some(""));
    assert_eq!(u.headers().collect::<Vec<_>>(), [("Subject", "a%20b"), ("Priority", "urgent")]);
}

#[test]
fn tel_and_opaque() {
    let t = uri("tel:+62-21-555;ext=12");
    assert_eq!(
        (t.scheme(), t.user(), t.param("ext"), t.host()),
        (Scheme::Tel, Some("+62-21-555"), Some("12"), None)
    );
    assert_eq!(uri("soap.beep://192.0.2.103:3002").scheme(), Scheme::Other);
}

#[test]
fn refused() {
    for text in [
        "",
        "sip:",
        "alice@example.com",
        "sip:@example.com",
        "sip:a b@example.com",
        "<sip:a@b>",
        "sip:2001:db8::10",
        "sip:[2001:db8::10",
        "sip:[nonsense]",
        "sip:a@b@c",
        "sip:a@b:70000",
        "sip:a@b:",
        "sip:a@b;;lr",
        "sip:a@b;x=",
        "sip:a%4@b",
        "sip:a@b?c",
        "tel:",
        "tel:abcx",
        "1sip:x",
        "sip:a@b:+5",
    ] {
        assert!(text.parse::<Uri>().is_err(), "{text}");
    }
}

#[test]
fn three_colons_before_ipv4_are_read_as_two() {
    assert_eq!(uri("sip:u@[2001:db8:::192.0.2.1]").host(), uri("sip:u@[2001:db8::192.0.2.1]").host());
    assert!("sip:u@[2001:db8:::1]".parse::<Uri>().is_err());
}

/// The pairs that RFC 3261 section 19.1.4 itself lists, and a few of RFC 3966.
#[test]
fn equivalence() {
    for (a, b) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("tel:+62-21-555", "tel:+6221555"),
        ("urn:a:b", "URN:a:b"),
    ] {
        assert!(uri(a).is_equivalent(&uri(b)) && uri(b).is_equivalent(&uri(a)), "{a} {b}");
    }
    for (a, b) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:a%3Bb@h", "sip:a;b@h"),
        ("sip:a@h", "sips:a@h"),
        ("sip:+62@h", "tel:+62"),
        ("tel:+62;ext=1", "tel:+62"),
    ] {
        assert!(!uri(a).is_equivalent(&uri(b)) && !uri(b).is_equivalent(&uri(a)), "{a} {b}");
    }
}

#[test]
fn building_escapes_and_strips() {
    let u = Uri::sip(Some("+62 21@x"), &"::1".parse().unwrap(), Some(5070));
    assert_eq!(u.as_str(), "sip:+62%2021%40x@[::1]:5070");
    assert_eq!(unescape(u.user().unwrap()), "+62 21@x");
    assert_eq!(
        u.with_param("transport", "tcp").with_param("lr", "").as_str(),
        format!("{u};transport=tcp;lr")
    );
    assert_eq!(u.with_param("transport", "a b"), u, "an unsound parameter is not added");
    assert_eq!(uri("sip:a@b;method=BYE;lr?X=y").to_request_uri().as_str(), "sip:a@b;lr");
}

#[test]
fn the_transport_of_a_uri() {
    use crate::Transport::{Tcp, Tls, Udp, Ws, Wss};
    for (text, transport) in [
        ("sip:a@b", Ok(None)),
        ("sip:a@b;transport=UDP", Ok(Some(Udp))),
        ("sip:a@b;transport=tcp", Ok(Some(Tcp))),
        ("sip:a@b;transport=tls", Ok(Some(Tls))),
        ("sip:a@b;transport=ws", Ok(Some(Ws))),
        ("sip:a@b;transport=wss", Ok(Some(Wss))),
        ("sips:a@b", Ok(Some(Tls))),
        ("sips:a@b;transport=tcp", Ok(Some(Tls))),
        ("sips:a@b;transport=udp", Ok(Some(Tls))),
        ("sips:a@b;transport=ws", Ok(Some(Wss))),
        ("sip:a@b;transport=sctp", Err("sctp")),
        ("sips:a@b;transport=pigeon", Err("pigeon")),
        ("tel:+1", Ok(None)),
    ] {
        assert_eq!(uri(text).transport(), transport, "{text}");
    }
}

#[test]
fn headers_are_escaped_added_replaced_and_removed() {
    let bob = uri("sip:bob@example.com;lr");
    let with = bob.with_header("Replaces", "a@b;to-tag=1;from-tag=\"2\"");
    assert_eq!(with.as_str(), "sip:bob@example.com;lr?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D%222%22");
    let more = with.with_header("X-A", "% &=");
    assert_eq!(more.header("x-a").as_deref(), Some("% &="));
    assert_eq!(more.header("replaces").as_deref(), Some("a@b;to-tag=1;from-tag=\"2\""));
    let replaced = more.with_header("REPLACES", "");
    assert_eq!(replaced.as_str(), "sip:bob@example.com;lr?X-A=%25%20%26%3D&REPLACES=");
    assert_eq!(replaced.without_header("X-A").without_header("replaces"), bob);
    assert_eq!(uri("tel:+1").with_header("X", "1"), uri("tel:+1"));
    assert_eq!(bob.header("X"), None);
}
