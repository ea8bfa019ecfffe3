//! Bytes from the network produce failures, never panics.

use proptest::prelude::*;
use sip_stir::{Anchors, Attestation, Chain, Claims, Identity, Number, Party, Request, Settings, Verifier};

use crate::pki::{Leaf, NOW, PROVIDER, Pki};

fn read(value: &str) {
    let party = || Party::of_sip(Some("1"), "a.example");
    let request = Request {
        identities: &[value],
        from: Some(party()),
        asserted: None,
        to: party(),
        called: party(),
        call: "c",
    };
    let _ = Verifier::new(Settings::default()).read(NOW, &request);
}

proptest! {
    #[test]
    fn any_text_as_a_header(value in "\\PC*") {
        read(&value);
    }

    #[test]
    fn what_looks_like_a_header(value in r#"[A-Za-z0-9_.-]{0,40}(; ?(info|alg|ppt)? ?=? ?[<"]?[a-z/:=;]{0,9}[>"]?){0,5}"#) {
        read(&value);
        if let Ok(identity) = Identity::parse(&value) {
            prop_assert!(value.contains(identity.info));
        }
    }

    #[test]
    fn any_json_as_a_passport(header in r#"\{("(alg|ppt|typ|x5u|crit)":("ES256"|"shaken"|"passport"|1|\[\]),?){0,5}\}"#,
                              claims in r#"\{("(attest|dest|iat|orig|origid)":("A"|1|-1|1e99|\{"tn":\["1"\]\}|\{"tn":"1"\}),?){0,5}\}"#) {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        read(&format!("{}.{}.{};info=<https://x>;ppt=shaken", encode(&header), encode(&claims), encode(&"x".repeat(64))));
    }

    #[test]
    fn any_bytes_as_certificates(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Chain::read(&bytes).is_err());
        prop_assert!(Anchors::default().add(&bytes).is_err());
    }

    #[test]
    fn numbers_stay_canonical(text in "[+0-9*# ().;a-]{0,45}") {
        if let Some(number) = Number::canonical(&text) {
            prop_assert!(number.as_str().bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b'#')));
            prop_assert_eq!(Number::canonical(number.as_str()), Some(number));
        }
    }

    #[test]
    fn what_is_signed_is_read_back(orig in "[0-9]{1,15}", dest in "[0-9]{1,15}", uri in "[^\"\\\\]{1,20}", iat in 0..1u64 << 40) {
        let leaf = leaf();
        let number = |text: &str| Party::Number(Number::canonical(text).unwrap());
        let claims = Claims {
            attest: Attestation::Partial,
            dest: vec![number(&dest), Party::Uri(uri.clone())],
            iat,
            orig: number(&orig),
            origid: uri,
        };
        let value = leaf.signer().identity(&claims).unwrap();
        let identity = Identity::parse(&value).unwrap();
        prop_assert_eq!(sip_stir::Passport::read(&identity).map(|passport| passport.claims), Ok(claims));
    }
}

fn leaf() -> &'static Leaf {
    static LEAF: std::sync::OnceLock<Leaf> = std::sync::OnceLock::new();
    LEAF.get_or_init(|| Leaf::new(Some(PROVIDER)))
}

/// Certificates with single octets changed, through everything that reads them.
#[test]
fn damaged_certificates() {
    let (pki, leaf) = (Pki::new(), Leaf::new(Some(PROVIDER)));
    let pem = pki.pem(&leaf);
    let der = {
        use base64::Engine as _;
        let body: String = pem.lines().skip(1).take_while(|line| !line.starts_with('-')).collect();
        base64::engine::general_purpose::STANDARD.decode(body).unwrap()
    };
    let claims = Claims {
        attest: Attestation::Full,
        dest: vec![Party::of_sip(Some("1"), "a.example")],
        iat: NOW,
        orig: Party::of_sip(Some("12155551212"), "a.example"),
        origid: "x".into(),
    };
    let identity = leaf.signer().identity(&claims).unwrap();
    let request = Request {
        identities: &[&identity],
        from: Some(claims.orig.clone()),
        asserted: None,
        to: claims.dest[0].clone(),
        called: claims.dest[0].clone(),
        call: "c",
    };
    for at in 0..der.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = der.clone();
            damaged[at] ^= change;
            if let Ok(chain) = Chain::read(&damaged) {
                let mut verifier = Verifier::new(Settings { anchors: pki.anchors(), ..Settings::default() });
                let pending = verifier.read(NOW, &request).unwrap();
                assert!(verifier.finish(NOW, pending, Ok(&chain)).is_err(), "octet {at} ^ {change:#x}");
            }
        }
    }
}
