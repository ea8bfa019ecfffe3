//! The examples of the RFCs, and challenges as servers really send them.

use super::*;
use crate::{Method, ParseError};

/// One worked example: the challenge, what the client adds, and the response it must arrive at.
struct Vector {
    challenge: &'static str,
    username: &'static str,
    password: &'static str,
    method: &'static str,
    uri: &'static str,
    body: &'static [u8],
    cnonce: &'static str,
    nc: u32,
    response: &'static str,
}

fn check(vector: &Vector) {
    // Written here over two lines; a parsed message shows a fold as spaces.
    let challenge = Challenge::parse(&vector.challenge.replace('\n', " ")).unwrap();
    let method = Method::parse(vector.method.into()).unwrap();
    let exchange = Exchange {
        method: &method,
        uri: vector.uri,
        body: vector.body,
        cnonce: vector.cnonce,
        nc: vector.nc,
    };
    let credentials = Credentials::new(vector.username, vector.password);
    let authorization = answer(&challenge, &credentials, &exchange);
    assert_eq!(authorization.response, vector.response, "{}", vector.challenge);
    assert_eq!(authorization.opaque, challenge.opaque);
    assert_eq!(Authorization::parse(&authorization.to_string()), Ok(authorization));
}

/// RFC 7616 section 3.9.1, the same request under both algorithms; RFC 2617 section 3.5.
#[test]
fn examples_of_the_rfcs() {
    let example = Vector {
        challenge: "",
        username: "Mufasa",
        password: "Circle of Life",
        method: "GET",
        uri: "/dir/index.html",
        body: b"",
        cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        nc: 1,
        response: "",
    };
    check(&Vector {
        challenge: r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256,
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
        response: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ..example
    });
    check(&Vector {
        challenge: r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5,
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#,
        response: "8ca523f5e9506fed4657c9700eebdbec",
        ..example
    });
    check(&Vector {
        challenge: r#"Digest realm="testrealm@host.com", qop="auth,auth-int",
            nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#,
        password: "Circle Of Life",
        cnonce: "0a4f113b",
        response: "6629fae49393a05397450978507c4ef1",
        ..example
    });
}

/// RFC 7616 section 3.9.2 with the response of erratum 4897: the RFC printed one of a hash that is not SHA-512/256.
#[test]
fn example_of_sha_512_256() {
    check(&Vector {
        challenge: r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, charset=UTF-8, userhash=true,
            nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS""#,
        username: "Jäsøn Doe",
        password: "Secret, or not?",
        method: "GET",
        uri: "/doe.json",
        body: b"",
        cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
        nc: 1,
        response: "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
    });
}

/// Every algorithm with every protection; the responses were computed with Python's hashlib.
#[test]
fn every_algorithm_with_every_protection() {
    for (algorithm, qop, nc, response) in [
        ("MD5", "", 1, "bf57e4e0d0bffc0fbaedce64d59add5e"),
        ("MD5", ", qop=\"auth\"", 1, "89eb0059246c02b2f6ee02c7961d5ea3"),
        ("\"MD5\"", ", qop=auth-int", 10, "9855c80e3610fac8933f2c676a44cb4b"),
        ("MD5-sess", ", qop=\"auth-int,auth\"", 1, "e4e4ea61d186d07a92c9e1f6919902e9"),
        ("md5-SESS", "", 1, "fff17611bcbbf00c9116a2c922dea8e1"),
        ("SHA-256", "", 1, "38aad98c50c33abe72c5f88dd17246ffcfa6b1f68852c855719ff0659386c0ca"),
        ("sha-256", ", qop=\"auth\"", 1, "b3b5a6c69453abafaab9ae4dccdac90a076b6c80615d5f3498e7433b6e93bf4f"),
        (
            "SHA-256",
            ", qop=\"auth-int\"",
            10,
            "a2ec5c104d4e195ec9e0c8aecf6f20cf4a692a670134289d0bcee973e8a6f7fd",
        ),
        (
            "SHA-256-sess",
            ", qop=\"auth\"",
            1,
            "5da59c9ca40954be9d5063a15a174066c8251be2c10cf47c144c366dc7daf792",
        ),
        ("SHA-512-256", "", 1, "9e960b3a01beb63f1ea5d45d43bd8a2178879d3c9ddbbdb0624187ca823c6eca"),
        (
            "SHA-512-256",
            ", qop=\"auth\"",
            1,
            "7f1a09de0f19af0a1eac2b28d33e3f2fb89cca1ad8fb01bba5e1883b288bac14",
        ),
        (
            "SHA-512-256",
            ", qop=\"auth-int\"",
            10,
            "5f6809882d8dac6dbbfec4269a94455035ebe0945d1dedcaced61f8e5ca08044",
        ),
        (
            "SHA-512-256-sess",
            ", qop=\"auth\"",
            1,
            "077d9677be83f41f162d1a4453dc163389919f81e5927391d972f477da767633",
        ),
    ] {
        let challenge = format!(
            "Digest realm=\"biloxi.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", algorithm={algorithm}{qop}"
        );
        check(&Vector {
            challenge: challenge.leak(),
            username: "bob",
            password: "zanzibar",
            method: "INVITE",
            uri: "sip:bob@biloxi.com",
            body: b"v=0\r\n",
            cnonce: "0a4f113b",
            nc,
            response,
        });
    }
}

#[test]
fn challenges_as_servers_send_them() {
    let c = Challenge::parse(
        r#"digest realm = "a, \"b\"" ,nonce="x=,y", domain="sip:a sip:b",stale=TRUE, charset=UTF-8, opaque="", qop="auth,token""#,
    )
    .unwrap();
    assert_eq!((c.realm.as_ref(), c.nonce.as_ref(), c.opaque.as_deref()), ("a, \"b\"", "x=,y", Some("")));
    assert_eq!((c.stale, c.qop, c.algorithm), (true, QopOffer::Auth, Hash::Md5.into()));
    for text in [
        "",
        "Digest",
        "Basic realm=\"x\"",
        "Digest realm=\"x\"",
        "Digest nonce=\"x\"",
        "Digest realm=\"x\", nonce=\"open",
        "Digest realm=\"x\", nonce=\"n\", algorithm=SHA3",
        "Digest realm=\"x\", nonce=\"n\", qop=\"other\"",
    ] {
        assert_eq!(Challenge::parse(text), Err(ParseError::Digest), "{text}");
    }
}

#[test]
fn the_strongest_challenge_is_answered() {
    let value = |algorithm: &str| format!("Digest realm=\"r\", nonce=\"{algorithm}\", algorithm={algorithm}");
    let chosen = |list: &[&str]| {
        let values: Vec<String> = list.iter().map(|a| value(a)).collect();
        let chosen = strongest_of_each_realm(values.iter().map(String::as_str));
        // All in one line make no difference.
        let line = values.join(", ");
        assert_eq!(strongest_of_each_realm([line.as_str()]), chosen);
        chosen.first().map(|c| c.nonce.to_string())
    };
    assert_eq!(chosen(&["MD5", "SHA-256", "SHA-512-256", "SHA3-512"]).as_deref(), Some("SHA-512-256"));
    assert_eq!(chosen(&["SHA-256", "MD5"]).as_deref(), Some("SHA-256"));
    assert_eq!(chosen(&["MD5", "MD5-sess"]).as_deref(), Some("MD5"), "the first of equals");
    assert_eq!(chosen(&["SHA3-512"]), None);
}

#[test]
fn every_realm_of_a_response_is_answered_once() {
    let line = r#"Digest realm="a, b", nonce="1", qop="auth,auth-int" ,Basic realm="c",Negotiate,
        digest realm="d",nonce="2" , Digest realm="a, b",nonce="3",algorithm=SHA-256,"#;
    let line = line.replace('\n', "");
    let chosen = strongest_of_each_realm([line.as_str(), r#"Digest realm="d", nonce="4""#]);
    let told: Vec<_> = chosen.iter().map(|c| (&*c.realm, &*c.nonce)).collect();
    assert_eq!(told, [("a, b", "3"), ("d", "2")]);
    assert_eq!(strongest_of_each_realm(["", ",", "=", "Digest", "Digest realm=\"open"]), []);
}

#[test]
fn broken_credentials_are_refused() {
    let whole = r#"Digest username="u", realm="r", nonce="n", uri="sip:x", response="00", qop=auth, nc=00000001, cnonce="c""#;
    assert_eq!(Authorization::parse(whole).unwrap().counted, Some(Counted { qop: Qop::Auth, nc: 1 }));
    for (cut, with) in [
        ("nc=00000001, ", ""),
        ("00000001", "1"),
        ("00000001", "+0000001"),
        (", cnonce=\"c\"", ""),
        ("username=\"u\", ", ""),
        ("qop=auth", "qop=other"),
        ("Digest ", "Basic "),
    ] {
        assert_eq!(
            Authorization::parse(&whole.replace(cut, with)),
            Err(ParseError::Digest),
            "{cut} -> {with}"
        );
    }
}

#[test]
fn a_password_does_not_show() {
    assert!(!format!("{:?}", Credentials::new("bob", "zanzibar")).contains("zanzibar"));
}
