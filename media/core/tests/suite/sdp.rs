//! SDP bodies seen in the wild, and what becomes of them when they are mutilated.

use media_core::{Codec, Direction, LocalMedia, Ptime, SdpError, sdp};
use proptest::prelude::*;

/// From clux/sdp-transform (MIT, see ../data/LICENSE.sdp-transform), but for the last two, which are ours.
const BODIES: [(&str, &[u8]); 6] = [
    ("normal", include_bytes!("../data/normal.sdp")),
    ("jssip", include_bytes!("../data/jssip.sdp")),
    ("onvif", include_bytes!("../data/onvif.sdp")),
    ("invalid", include_bytes!("../data/invalid.sdp")),
    ("carrier", include_bytes!("../data/carrier.sdp")),
    ("hold", include_bytes!("../data/hold.sdp")),
];

fn local() -> LocalMedia {
    LocalMedia {
        addr: crate::rig::addr("192.0.2.10:40000"),
        codecs: Codec::ALL.to_vec(),
        ptime: Ptime::DEFAULT,
        telephone_event: true,
        rtcp_mux: true,
        srtp: None,
        direction: Direction::SendRecv,
        session_id: 1,
        session_version: 1,
    }
}

fn body(name: &str) -> &'static [u8] {
    BODIES.iter().find(|(body, _)| *body == name).unwrap().1
}

#[test]
fn a_carriers_answer() {
    let agreed = sdp::accept_answer(&local(), body("carrier")).unwrap();
    assert_eq!((agreed.codec, agreed.pt_send, agreed.ptime.ms()), (Codec::Pcmu, 0, 30));
    assert_eq!(
        (agreed.remote, agreed.rtcp),
        (crate::rig::addr("203.0.113.20:16384"), Some(crate::rig::addr("203.0.113.20:16385")))
    );
    assert_eq!(agreed.telephone_event.unwrap().pt_send, 96);
}

#[test]
fn an_old_phones_hold() {
    let (answer, agreed) = sdp::answer(body("hold"), &local()).unwrap();
    assert_eq!((agreed.direction, agreed.rtcp), (Direction::RecvOnly, None));
    assert!(String::from_utf8(answer).unwrap().contains("a=recvonly\r\n"));
}

#[test]
fn bodies_from_the_wild() {
    let outcome =
        |name| sdp::answer(body(name), &local()).map(|(_, agreed)| (agreed.codec, agreed.remote.to_string()));
    assert_eq!(outcome("normal"), Err(SdpError::NoAudio), "RTP/SAVPF only");
    assert_eq!(outcome("jssip"), Err(SdpError::NoAudio), "DTLS-SRTP only");
    assert_eq!(outcome("onvif"), Err(SdpError::NoAudio), "all ports are 0");
    assert_eq!(
        outcome("invalid"),
        Ok((Codec::Pcmu, "0.0.0.0:1".into())),
        "unknown lines and attributes are ignored"
    );
}

proptest! {
    #[test]
    fn mutilated_bodies_never_panic_and_what_is_agreed_makes_sense(
        which in 0..BODIES.len(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..6, prop::collection::vec(
            prop_oneof![Just(b'0'), Just(b'9'), Just(b' '), Just(b'\n'), Just(b'='), Just(b'/'), any::<u8>()], 0..4)), 0..8),
        swap in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mut bytes = BODIES[which].1.to_vec();
        for (at, len, with) in cuts {
            let at = at.index(bytes.len() + 1);
            let end = (at + len).min(bytes.len());
            bytes.splice(at..end, with);
        }
        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        if !lines.is_empty() {
            let (i, j) = (swap.0.index(lines.len()), swap.1.index(lines.len()));
            lines.swap(i, j);
        }
        let bytes = lines.concat();
        if let Ok(agreed) = sdp::accept_answer(&local(), &bytes) {
            prop_assert!(agreed.remote.port() != 0 && agreed.remote.is_ipv4());
            prop_assert!(agreed.pt_send < 128);
        }
        if let Ok((answer, agreed)) = sdp::answer(&bytes, &local()) {
            // Our own answer must be readable, and as many lines long as the offer.
            let offered = sdp_types::Session::parse(&bytes).unwrap().medias.len();
            let answered = sdp_types::Session::parse(&answer).unwrap();
            prop_assert_eq!(answered.medias.len(), offered);
            prop_assert_eq!(answered.medias.iter().filter(|media| media.port != 0).count(), 1);
            prop_assert_eq!(agreed.pt_send, agreed.pt_recv);
        }
    }
}
