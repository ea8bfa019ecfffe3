//! The way of a call's identity from the signer to the verdict.

use rcgen::date_time_ymd;
use sip_stir::{
    Anchors, Attestation, Chain, ChainError, Claims, Failure, NoChain, Number, Party, Request, Settings,
    Verified, Verifier, Verstat, origid,
};

use crate::pki::{Leaf, NOW, ONE_NUMBER, PROVIDER, Pki, X5U, extension};

fn number(text: &str) -> Party {
    Party::Number(Number::canonical(text).unwrap())
}

fn claims() -> Claims {
    Claims {
        attest: Attestation::Full,
        dest: vec![number("12125551213")],
        iat: NOW,
        orig: number("12155551212"),
        origid: origid(&["node", "trunk"]),
    }
}

fn request<'a>(identities: &'a [&'a str]) -> Request<'a> {
    Request {
        identities,
        from: Some(number("+1 215 555 1212")),
        asserted: None,
        to: number("+12125551213"),
        called: number("+12125551213"),
        call: "a@example.org",
    }
}

fn verifier(anchors: Anchors) -> Verifier {
    Verifier::new(Settings { anchors, ..Settings::default() })
}

/// What becomes of a call whose header and certificate are these.
fn check(pki: &Pki, leaf: &Leaf, request: &Request<'_>) -> Result<Verified, Failure> {
    let mut verifier = verifier(pki.anchors());
    let pending = verifier.read(NOW, request)?;
    let chain = Chain::read(pki.pem(leaf).as_bytes());
    verifier.finish(NOW, pending, chain.as_ref().map_err(|&error| NoChain::Unusable(error)))
}

#[test]
fn a_signed_call_passes() {
    let (pki, leaf) = (Pki::new(), Leaf::new(Some(PROVIDER)));
    let identity = leaf.signer().identity(&claims()).unwrap();
    assert!(identity.ends_with(&format!(";info=<{X5U}>;alg=ES256;ppt=shaken")), "{identity}");
    let verified = check(&pki, &leaf, &request(&[&identity])).unwrap();
    let expected = Verified {
        attest: Attestation::Full,
        orig: number("12155551212"),
        origid: origid(&["node", "trunk"]),
        x5u: X5U.to_owned(),
    };
    assert_eq!(verified, expected);
    // Headers of other types around it do not matter, nor does one that cannot be read.
    let div = identity.replace("ppt=shaken", "ppt=div");
    let several = ["rubbish", div.as_str(), identity.as_str()];
    assert_eq!(check(&pki, &leaf, &request(&several)), Ok(expected));
}

#[test]
fn without_a_header_of_ours_there_is_nothing_to_verify() {
    let (pki, leaf) = (Pki::new(), Leaf::new(Some(PROVIDER)));
    let identity = leaf.signer().identity(&claims()).unwrap();
    let div = identity.replace("ppt=shaken", "ppt=div");
    for values in [&[][..], &[div.as_str()]] {
        let failure = check(&pki, &leaf, &request(values)).unwrap_err();
        assert_eq!((failure.status(), failure.verstat()), (428, Verstat::None));
    }
    let failure = check(&pki, &leaf, &request(&["rubbish", &div])).unwrap_err();
    assert_eq!((failure.status(), failure.verstat()), (438, Verstat::Failed));
}

#[test]
fn a_passport_is_fresh_for_a_minute_either_way() {
    let leaf = Leaf::new(None);
    let identity = leaf.signer().identity(&claims()).unwrap();
    let verifier = verifier(Anchors::default());
    for (now, fresh) in [(NOW - 61, false), (NOW - 60, true), (NOW + 60, true), (NOW + 61, false), (0, false)]
    {
        let read = verifier.read(now, &request(&[&identity])).map(drop);
        assert_eq!(read, if fresh { Ok(()) } else { Err(Failure::Stale) }, "{now}");
    }
    assert_eq!((Failure::Stale.status(), Failure::Stale.phrase()), (403, "Stale Date"));
}

#[test]
fn the_caller_must_be_who_is_shown() {
    let (pki, leaf) = (Pki::new(), Leaf::new(Some(PROVIDER)));
    let identity = leaf.signer().identity(&claims()).unwrap();
    let values = [identity.as_str()];
    let anonymous = Some(Party::of_sip(Some("anonymous"), "anonymous.invalid"));
    let (right, other) = (Some(number("12155551212")), Some(number("19005550000")));
    for (from, asserted, passes) in [
        (right.clone(), None, true),
        (right.clone(), other.clone(), true),
        (other.clone(), right.clone(), false),
        (other.clone(), None, false),
        (anonymous.clone(), right.clone(), true),
        (anonymous.clone(), other, false),
        (anonymous, None, false),
        (None, right, true),
        (None, None, false),
    ] {
        let request = Request { from: from.clone(), asserted: asserted.clone(), ..request(&values) };
        let result = check(&pki, &leaf, &request);
        let expected = if passes { None } else { Some(438) };
        assert_eq!(result.err().map(Failure::status), expected, "{from:?} {asserted:?}");
    }
}

#[test]
fn the_callee_must_be_who_is_called() {
    let (pki, leaf) = (Pki::new(), Leaf::new(Some(PROVIDER)));
    let identity = leaf.signer().identity(&claims()).unwrap();
    let values = [identity.as_str()];
    let (right, other) = (number("12125551213"), number("19005550000"));
    for (to, called, passes) in [(&right, &other, true), (&other, &right, true), (&other, &other, false)] {
        let request = Request { to: to.clone(), called: called.clone(), ..request(&values) };
        let result = check(&pki, &leaf, &request);
        assert_eq!(
            result.err(),
            (!passes).then_some(Failure::Invalid("the PASSporT's dest is not who is called"))
        );
    }
}

#[test]
fn uris_are_signed_where_there_are_no_numbers() {
    let (pki, leaf) = (Pki::new(), Leaf::new(None));
    let (alice, bob) = (Party::of_sip(Some("alice"), "A.example"), Party::of_sip(Some("bob"), "b.example"));
    let claims = Claims { orig: alice.clone(), dest: vec![bob.clone()], ..claims() };
    let identity = leaf.signer().identity(&claims).unwrap();
    let values = [identity.as_str()];
    let request = Request { from: Some(alice), to: bob.clone(), called: bob, ..request(&values) };
    assert!(check(&pki, &leaf, &request).is_ok());
    let listed = Leaf { key: leaf.key, params: Leaf::new(Some(PROVIDER)).params };
    assert_eq!(check(&pki, &listed, &request).unwrap_err().status(), 437, "a list has numbers only");
}

#[test]
fn a_token_for_one_call_is_not_good_for_another() {
    let (pki, leaf) = (Pki::new(), Leaf::new(Some(PROVIDER)));
    let (chain, identity) = (pki.chain(&leaf), leaf.signer().identity(&claims()).unwrap());
    let mut verifier = verifier(pki.anchors());
    let mut show = |now, call| {
        let values = [identity.as_str()];
        let pending = verifier.read(now, &Request { call, ..request(&values) })?;
        verifier.finish(now, pending, Ok(&chain)).map(drop)
    };
    assert_eq!(show(NOW, "a"), Ok(()));
    assert_eq!(show(NOW + 1, "a"), Ok(()), "the INVITE again, with credentials");
    let replayed = Failure::Invalid("the PASSporT was used by another call");
    assert_eq!(show(NOW + 1, "b"), Err(replayed));
    assert_eq!(show(NOW + 60, "b"), Err(replayed));
    assert_eq!(show(NOW + 61, "b"), Err(Failure::Stale));
}

#[test]
fn every_bit_of_the_token_is_signed() {
    let (pki, leaf) = (Pki::new(), Leaf::new(Some(PROVIDER)));
    let chain = pki.chain(&leaf);
    let identity = leaf.signer().identity(&claims()).unwrap();
    let token = identity.find(';').unwrap();
    for at in (0..token).filter(|&at| identity.as_bytes()[at] != b'.') {
        let mut bytes = identity.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).unwrap();
        let mut verifier = verifier(pki.anchors());
        let result = verifier
            .read(NOW, &request(&[&forged]))
            .and_then(|pending| verifier.finish(NOW, pending, Ok(&chain)));
        assert!(result.is_err(), "octet {at}: {forged}");
    }
}

#[test]
fn the_url_is_https_and_said_twice() {
    let leaf = Leaf::new(None);
    let identity = leaf.signer().identity(&claims()).unwrap();
    let other = identity.replace("info=<https://cert.", "info=<https://evil.");
    let failure = verifier(Anchors::default()).read(NOW, &request(&[&other])).unwrap_err();
    assert_eq!((failure.status(), failure.verstat()), (436, Verstat::None));
    for url in ["http://a.example/c", "https://", "https:///x", "ftp://x", "https://a b", "https://a>b", ""] {
        let key = leaf.key.serialize_pem();
        assert!(sip_stir::Signer::new(key.as_bytes(), url).is_err(), "{url}");
    }
}

#[test]
fn a_certificate_that_cannot_be_had_is_436() {
    let leaf = Leaf::new(None);
    let identity = leaf.signer().identity(&claims()).unwrap();
    let mut verifier = verifier(Anchors::default());
    let pending = verifier.read(NOW, &request(&[&identity])).unwrap();
    assert_eq!((pending.x5u(), pending.claim().attest), (X5U, Attestation::Full));
    let failure = verifier.finish(NOW, pending, Err(NoChain::Unavailable)).unwrap_err();
    assert_eq!((failure.status(), failure.verstat()), (436, Verstat::None));
}

/// What becomes of a call whose certificate is this one.
#[track_caller]
fn check_credential(pki: &Pki, leaf: &Leaf, expected: Result<(), &'static str>) {
    let identity = leaf.signer().identity(&claims()).unwrap();
    let result = check(pki, leaf, &request(&[&identity])).map(drop);
    assert_eq!(result, expected.map_err(Failure::Credential));
}

#[test]
fn certificates_are_believed_for_good_reasons_only() {
    let pki = Pki::new();
    check_credential(&pki, &Leaf::new(None), Ok(()));
    let with = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut leaf = Leaf::new(Some(PROVIDER));
        change(&mut leaf.params);
        leaf
    };
    let expired = with(&|params| params.not_after = date_time_ymd(2027, 1, 1));
    check_credential(&pki, &expired, Err("a certificate has expired"));
    let early = with(&|params| params.not_before = date_time_ymd(2027, 2, 1));
    check_credential(&pki, &early, Err("a certificate is not valid yet"));
    let critical = with(&|params| params.custom_extensions[0].set_criticality(true));
    check_credential(&pki, &critical, Err("a certificate has a critical extension that is not known"));
    let constrained = with(&|params| params.custom_extensions.push(extension(27, &[0x30, 0])));
    let told = "the certificate constrains claims in a way that is not supported";
    check_credential(&pki, &constrained, Err(told));
    let enhanced = with(&|params| params.custom_extensions.push(extension(33, &[0x30, 0])));
    check_credential(&pki, &enhanced, Err(told));
    let usage = with(&|params| {
        params.insert_extended_key_usage(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
    });
    check_credential(&pki, &usage, Ok(()));

    let (other, leaf) = (Pki::new(), Leaf::new(Some(PROVIDER)));
    let identity = leaf.signer().identity(&claims()).unwrap();
    let mut verifier = verifier(other.anchors());
    let pending = verifier.read(NOW, &request(&[&identity])).unwrap();
    let failure = verifier.finish(NOW, pending, Ok(&pki.chain(&leaf))).unwrap_err();
    assert_eq!(failure, Failure::Credential("the certificate leads to none of the trust anchors"));
    assert_eq!((failure.status(), failure.verstat()), (437, Verstat::Failed));
}

#[test]
fn every_list_on_the_way_covers_the_number() {
    let none = "the certificate has no authority over the calling number";
    let other: &[u8] = b"\x30\x0f\xa2\x0d\x16\x0b12155551299";
    for (authority, leaf, expected) in [
        (None, Some(ONE_NUMBER), Ok(())),
        (None, Some(other), Err(none)),
        (None, Some(&b"rubbish"[..]), Err(none)),
        (Some(PROVIDER), Some(ONE_NUMBER), Ok(())),
        (Some(ONE_NUMBER), Some(PROVIDER), Ok(())),
        (Some(other), Some(ONE_NUMBER), Err(none)),
    ] {
        check_credential(&Pki::with_authority(authority), &Leaf::new(leaf), expected);
    }
}

#[test]
fn somebody_elses_signature_is_invalid() {
    let (pki, leaf, other) = (Pki::new(), Leaf::new(Some(PROVIDER)), Leaf::new(Some(PROVIDER)));
    let identity = other.signer().identity(&claims()).unwrap();
    let failure = check(&pki, &leaf, &request(&[&identity])).unwrap_err();
    assert_eq!(failure, Failure::Invalid("the PASSporT's signature is not the certificate's"));
}

#[test]
fn what_lies_at_the_url_is_a_chain() {
    let (pki, leaf) = (Pki::new(), Leaf::new(Some(PROVIDER)));
    let pem = pki.pem(&leaf);
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let wrong = pki.pem(&Leaf { key: p384, params: leaf.params.clone() });
    let der = pem.as_bytes();
    for (bytes, expected) in [
        (&b""[..], ChainError::NoCertificate),
        (b"<html>404</html>", ChainError::NoCertificate),
        (b"0\x03\x02\x01\x01", ChainError::Malformed),
        (pem.repeat(5).as_bytes(), ChainError::TooLong),
        (wrong.as_bytes(), ChainError::NotEs256),
        (&der[..der.len() - 30], ChainError::Malformed),
        (leaf.key.serialize_pem().as_bytes(), ChainError::NoCertificate),
    ] {
        assert_eq!(Chain::read(bytes).map(drop), Err(expected), "{}", String::from_utf8_lossy(bytes));
    }
    let mut anchors = Anchors::default();
    assert!(anchors.add(b"nothing").is_err() && anchors.is_empty());
    assert!(anchors.add(pem.as_bytes()).is_ok() && !anchors.is_empty());
}
