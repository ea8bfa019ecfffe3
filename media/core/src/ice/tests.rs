use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::stun::tests::request;
use super::{Agent, Agreed, CONSENT, Credentials, Kind, MAX_VALID};

const USERNAME: u16 = 0x0006;
const USE_CANDIDATE: u16 = 0x0025;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;

fn agreed(seed: u8, remote_ufrag: &str) -> Agreed {
    let local = Credentials::generate(|octets| octets.fill(seed));
    Agreed { local, remote_ufrag: remote_ufrag.to_owned() }
}

/// A check as browsers make it.
fn check(agreed: &Agreed, more: &[(u16, &[u8])]) -> Vec<u8> {
    let username = format!("{}:{}", agreed.local.ufrag, agreed.remote_ufrag);
    let attributes = [
        &[
            (USERNAME, username.as_bytes()),
            (0xC057, &[0, 1, 0, 10][..]),
            (ICE_CONTROLLING, &[7; 8][..]),
            (0x0024, &[0x6E, 0, 1, 255][..]),
        ][..],
        more,
    ];
    request(&attributes.concat(), agreed.local.pwd())
}

fn answer(agent: &mut Agent, now: Instant, from: &str, datagram: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = [0; 1_500];
    buffer[..datagram.len()].copy_from_slice(datagram);
    let len = agent.answer(now, addr(from), &mut buffer, datagram.len())?;
    Some(buffer[..len].to_vec())
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_check_makes_a_pair_valid_and_use_candidate_selects_it() {
    let (agreed, now) = (agreed(1, "peer"), crate::epoch());
    let mut agent = Agent::new(agreed.clone());
    let (near, far) = ("192.0.2.1:4000", "198.51.100.7:5000");
    assert!(!agent.admits(now, addr(near)));
    let told = answer(&mut agent, now, near, &check(&agreed, &[])).unwrap();
    assert_eq!(told[..2], [1, 1], "success");
    assert_eq!((agent.admits(now, addr(near)), agent.remote()), (true, Some(addr(near))));
    assert_eq!(agent.selected, None);
    assert!(!agent.admits(now, addr("192.0.2.1:4001")));
    for from in [near, far, near] {
        answer(&mut agent, now, from, &check(&agreed, &[(USE_CANDIDATE, &[])])).unwrap();
        assert_eq!(agent.remote(), Some(addr(from)));
    }
    assert!(agent.admits(now, addr(far)));
}

#[test]
fn who_does_not_know_the_password_or_the_names_is_not_answered() {
    let (agreed, now) = (agreed(1, "peer"), crate::epoch());
    let mut agent = Agent::new(agreed.clone());
    let other = Agreed { remote_ufrag: "other".to_owned(), ..agreed.clone() };
    let guessed = Agreed { local: Credentials::generate(|octets| octets.fill(2)), ..agreed.clone() };
    let name = format!("{}:peer", agreed.local.ufrag);
    let wrong_password = request(&[(USERNAME, name.as_bytes())], "guess");
    for wrong in [check(&other, &[]), check(&guessed, &[]), wrong_password, request(&[], agreed.local.pwd())]
    {
        assert_eq!(answer(&mut agent, now, "192.0.2.1:4000", &wrong), None);
    }
    let mut indication = check(&agreed, &[]);
    indication[1] = 0x11;
    assert_eq!(answer(&mut agent, now, "192.0.2.1:4000", &indication), None);
    assert_eq!((agent.admits(now, addr("192.0.2.1:4000")), agent.remote()), (false, None));
}

#[test]
fn who_is_controlled_or_asks_what_is_not_known_gets_an_error_and_no_pair() {
    let (agreed, now) = (agreed(1, "peer"), crate::epoch());
    let mut agent = Agent::new(agreed.clone());
    for (more, code) in [((ICE_CONTROLLED, &[1; 8][..]), 87), ((0x7001, &[][..]), 20)] {
        let told = answer(&mut agent, now, "192.0.2.1:4000", &check(&agreed, &[more])).unwrap();
        assert_eq!((&told[..2], told[26], told[27]), (&[1, 0x11][..], 4, code));
        assert!(!agent.admits(now, addr("192.0.2.1:4000")));
    }
}

#[test]
fn who_checks_no_more_is_gone() {
    let (agreed, start) = (agreed(1, "peer"), crate::epoch());
    let mut agent = Agent::new(agreed.clone());
    assert_eq!(agent.is_lost(start + 9 * CONSENT), None, "it has not come yet");
    let chosen = check(&agreed, &[(USE_CANDIDATE, &[])]);
    answer(&mut agent, start, "192.0.2.1:4000", &chosen).unwrap();
    let later = start + Duration::from_secs(20);
    answer(&mut agent, later, "192.0.2.1:4000", &chosen).unwrap();
    let end = later + CONSENT;
    assert!(agent.admits(end - Duration::from_millis(1), addr("192.0.2.1:4000")));
    assert!(!agent.admits(end, addr("192.0.2.1:4000")));
    assert_eq!(agent.is_lost(end - Duration::from_millis(1)), None);
    assert_eq!(agent.is_lost(end), Some(CONSENT));
    assert_eq!(agent.is_lost(end), None, "told once");
    answer(&mut agent, end, "192.0.2.1:4000", &chosen).unwrap();
    assert!(agent.admits(end, addr("192.0.2.1:4000")), "it has come back");
}

#[test]
fn a_restart_takes_new_credentials_and_keeps_the_way_until_another_is_chosen() {
    let (first, now) = (agreed(1, "peer"), crate::epoch());
    let mut agent = Agent::new(first.clone());
    answer(&mut agent, now, "192.0.2.1:4000", &check(&first, &[(USE_CANDIDATE, &[])])).unwrap();
    agent.goes_on(&first);
    assert!(answer(&mut agent, now, "192.0.2.1:4000", &check(&first, &[])).is_some(), "a hold is no restart");
    let second = agreed(2, "again");
    agent.goes_on(&second);
    assert_eq!(answer(&mut agent, now, "192.0.2.1:4000", &check(&first, &[])), None);
    assert_eq!(agent.remote(), Some(addr("192.0.2.1:4000")));
    answer(&mut agent, now, "192.0.2.9:4000", &check(&second, &[(USE_CANDIDATE, &[])])).unwrap();
    assert_eq!(agent.remote(), Some(addr("192.0.2.9:4000")));
}

#[test]
fn a_peer_of_many_addresses_is_remembered_at_the_last_ones() {
    let (agreed, start) = (agreed(1, "peer"), crate::epoch());
    let mut agent = Agent::new(agreed.clone());
    let from = |n: usize| format!("192.0.2.1:{}", 4000 + n);
    for n in 0..10 * MAX_VALID {
        let now = start + Duration::from_millis(n as u64);
        answer(&mut agent, now, &from(n), &check(&agreed, &[])).unwrap();
    }
    let admitted = (0..10 * MAX_VALID).filter(|n| agent.admits(start, addr(&from(*n))));
    assert_eq!(admitted.collect::<Vec<_>>(), (9 * MAX_VALID..10 * MAX_VALID).collect::<Vec<_>>());
}

#[test]
fn protocols_on_one_port_are_told_apart_by_their_first_octet() {
    for octet in 0..=255 {
        let expected = match octet {
            0..=3 => Kind::Stun,
            20..=63 => Kind::Dtls,
            _ => Kind::Media,
        };
        assert_eq!(Kind::of(&[octet, 0]), expected, "{octet}");
    }
    assert_eq!(Kind::of(&[]), Kind::Media);
}

#[test]
fn a_password_is_not_shown() {
    let credentials = Credentials::generate(|octets| (0..).zip(octets).for_each(|(n, octet)| *octet = n));
    assert_eq!((credentials.ufrag.as_str(), credentials.pwd()), ("ABCDEFGH", "IJKLMNOPQRSTUVWXYZabcdef"));
    assert_eq!(format!("{credentials:?}"), "Credentials(ABCDEFGH, ***)");
}

proptest! {
    #[test]
    fn rubbish_is_not_answered(octets: Vec<u8>) {
        let mut agent = Agent::new(agreed(1, "peer"));
        prop_assert_eq!(answer(&mut agent, crate::epoch(), "192.0.2.1:4000", &octets), None);
    }

    #[test]
    fn a_check_that_is_cut_or_altered_anywhere_is_not_answered(at: prop::sample::Index, flip in 1..=255_u8, cut: bool) {
        let agreed = agreed(1, "peer");
        let mut agent = Agent::new(agreed.clone());
        let mut datagram = check(&agreed, &[(USE_CANDIDATE, &[])]);
        let at = at.index(datagram.len());
        if cut { datagram.truncate(at) } else { datagram[at] ^= flip }
        prop_assert_eq!(answer(&mut agent, crate::epoch(), "192.0.2.1:4000", &datagram), None);
        prop_assert_eq!(agent.remote(), None);
    }
}
