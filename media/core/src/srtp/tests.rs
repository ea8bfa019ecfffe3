use proptest::prelude::*;

use super::cipher::{Cipher, RTCP, RTP, counter_mode, session_key};
use super::*;
use aws_lc_rs::cipher::EncryptionContext;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn protect_rtp(protector: &mut Protector, packet: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = [packet, &[0; MAX_OVERHEAD]].concat();
    let len = protector.protect_rtp(&mut buffer, packet.len())?;
    buffer.truncate(len);
    Some(buffer)
}

fn protect_rtcp(protector: &mut Protector, packet: &[u8]) -> Vec<u8> {
    let mut buffer = [packet, &[0; MAX_OVERHEAD]].concat();
    let len = protector.protect_rtcp(&mut buffer, packet.len()).unwrap();
    buffer.truncate(len);
    buffer
}

fn unprotect_rtp(unprotector: &mut Unprotector, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut buffer = packet.to_vec();
    let len = unprotector.unprotect_rtp(&mut buffer)?;
    Ok(buffer[..len].to_vec())
}

fn unprotect_rtcp(unprotector: &mut Unprotector, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut buffer = packet.to_vec();
    let len = unprotector.unprotect_rtcp(&mut buffer)?;
    Ok(buffer[..len].to_vec())
}

fn master(suite: Suite) -> MasterKey {
    MasterKey::generate(suite, |octets| {
        octets.iter_mut().enumerate().for_each(|(n, octet)| *octet = (n * 7 + 3) as u8);
    })
}

/// A packet of a source with this number.
fn packet(ssrc: u8, seq: u16) -> Vec<u8> {
    let [high, low] = seq.to_be_bytes();
    [&[0x80, 8, high, low, 0, 0, 0, 160, 0, 0, 0, ssrc][..], &[seq as u8; 160]].concat()
}

const REPORT: [u8; 24] = *b"\x80\xC9\0\x01\xCA\xFE\xBA\xBE\x81\xCA\0\x03\xCA\xFE\xBA\xBE\x01\x04abcd\0\0";

#[test]
fn rfc_3711_appendix_b_2_keystream_of_aes_cm() {
    let key = counter_mode(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
    let mut stream = vec![0; 0xFF02 * 16];
    key.less_safe_encrypt(&mut stream, EncryptionContext::Iv128(iv.into())).unwrap();
    let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
                    41E95B3BB0A2E8DD477901E4FCA894C0";
    assert_eq!(stream[..48], hex(expected));
    let end =
        "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44";
    assert_eq!(stream[0xFEFF * 16..], hex(end));
}

#[test]
fn rfc_3711_appendix_b_3_key_derivation() {
    let octets = hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
    let master = MasterKey::new(Suite::AesCm128HmacSha1_80, &octets).unwrap();
    assert_eq!(session_key::<16>(&master, 0).unwrap()[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(session_key::<14>(&master, 2).unwrap()[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    let authentication = "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
        E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25 6D6E919A48B610EF17C2041E47403576
        6B68642C59BBFC2F34DB60DBDFB2";
    assert_eq!(session_key::<94>(&master, 1).unwrap()[..], hex(authentication));
}

/// RFC 7714 gives session keys.
fn quid_pro_quo(key_len: u8) -> Cipher {
    let key: Vec<u8> = (0..key_len).collect();
    Cipher::gcm(&key, Zeroizing::new(*b"Quid pro quo")).unwrap()
}

#[test]
fn rfc_7714_section_16_srtp_with_aes_gcm() {
    let plain = [&hex("8040F17B 8041F8D3 5501A0B2")[..], b"Gallia est omnis divisa in partes tres"].concat();
    for (suite, key_len, sealed) in [
        (
            Suite::AeadAes128Gcm,
            16,
            "8040F17B 8041F8D3 5501A0B2 F24DE3A3 FB34DE6C ACBA861C 9D7E4BCA BE633BD5 0D294E6F 42A5F47A
             51C7D19B 36DE3ADF 8833 899D7F27 BEB16A91 52CF765E E4390CCE",
        ),
        (
            Suite::AeadAes256Gcm,
            32,
            "8040F17B 8041F8D3 5501A0B2 32B1DE78 A822FE12 EF9F78FA 332E33AA B1801238 9A58E2F3 B50B2A02
             76FFAE0F 1BA63799 B87B 7AA3DB36 DFFFD6B0 F9BB7878 D7A76C13",
        ),
    ] {
        let mut protector = Protector::with(suite, quid_pro_quo(key_len), quid_pro_quo(key_len), 0);
        assert_eq!(protect_rtp(&mut protector, &plain), Some(hex(sealed)), "{suite:?}");
        let mut unprotector = Unprotector::with(suite, quid_pro_quo(key_len), quid_pro_quo(key_len));
        assert_eq!(unprotect_rtp(&mut unprotector, &hex(sealed)), Ok(plain.clone()), "{suite:?}");
    }
}

#[test]
fn rfc_7714_section_17_srtcp_with_aes_gcm() {
    let plain =
        hex("81C8000D 4D617273 4E545031 4E545032 52545020 0000042A 0000E930 4C756E61 DEADBEEF DEADBEEF
                     DEADBEEF DEADBEEF DEADBEEF");
    for (suite, key_len, sealed) in [
        (
            Suite::AeadAes128Gcm,
            16,
            "81C8000D 4D617273 63E94885 DCDAB67C A727D766 2F6B7E99 7FF5C0F7 6C06F32D C676A5F1 730D6FDA
             4CE09B46 86303DED 0BB9275B C84AA458 96CF4D2F C5ABF872 45D9EADE 800005D4",
        ),
        (
            Suite::AeadAes256Gcm,
            32,
            "81C8000D 4D617273 D50AE4D1 F5CE5D30 4BA297E4 7D470C28 2C3ECE5D BFFE0A50 A2EAA5C1 110555BE
             8415F658 C61DE047 6F1B6FAD 1D1EB30C 4446839F 57FF6F6C B26AC3BE 800005D4",
        ),
    ] {
        let mut protector = Protector::with(suite, quid_pro_quo(key_len), quid_pro_quo(key_len), 0x5D4);
        assert_eq!(protect_rtcp(&mut protector, &plain), hex(sealed), "{suite:?}");
        let unprotector = || Unprotector::with(suite, quid_pro_quo(key_len), quid_pro_quo(key_len));
        assert_eq!(unprotect_rtcp(&mut unprotector(), &hex(sealed)), Ok(plain.clone()), "{suite:?}");
    }
    // 17.3: authentic, and not encrypted, to which we have not agreed.
    let clear = [&plain[..], &hex("841DD968 3DD78EC9 2AE58790 125F62B3 000005D4")].concat();
    let mut unprotector = Unprotector::with(Suite::AeadAes128Gcm, quid_pro_quo(16), quid_pro_quo(16));
    assert_eq!(unprotect_rtcp(&mut unprotector, &clear), Err(Refused::Unauthentic));
}

/// What libsrtp 2 makes of a packet with CSRCs and an extension, twice before and once after the sequence number wraps, and
/// of an RTCP compound packet with index 1, under one master key.
const LIBSRTP: [(Suite, [&str; 3], &str); 4] = [
    (
        Suite::AesCm128HmacSha1_80,
        [
            "f5ca023e76670b1ae23a7196285f01090d4c229b4c516ecf887f20bdf25a",
            "4d5282ab1882eaeb1e5934ce4474745111428074563dfc1cf0414b6fe292",
            "e8cfa2bbb8be107d193d29be69340fa25b117f85224084c91e9f45a29960",
        ],
        "b6815f7e468d0e79e45ad892961a5aa7800000015f43d499c941c12b7c67",
    ),
    (
        Suite::AesCm128HmacSha1_32,
        [
            "f5ca023e76670b1ae23a7196285f01090d4c229b4c516ecf",
            "4d5282ab1882eaeb1e5934ce4474745111428074563dfc1c",
            "e8cfa2bbb8be107d193d29be69340fa25b117f85224084c9",
        ],
        "b6815f7e468d0e79e45ad892961a5aa7800000015f43d499c941c12b7c67",
    ),
    (
        Suite::AeadAes128Gcm,
        [
            "e5b7a008b810ceee7c919205aa1db6bfb5f06ba3032e0e853ec8f5be11f372343bbda054",
            "83458c46c5e2469359e5312c192f5998f4786b8abd94e689b056dcfbdfecfadb78ed661f",
            "4836f077d847b5d94f5b473abe6e98612a3bd075164373e9bb2c423d73e9769064240e3d",
        ],
        "64b28557b7abad63f715ca25907effee4f3ff4715f4fbeafc9593eb37512df1f80000001",
    ),
    (
        Suite::AeadAes256Gcm,
        [
            "fd8ccf5cf75370203e77bd41bb6413842e1f4a394a93f5be18c2548855ce008357ac7a35",
            "a07b8c2ee8081c2149a79f0f83a1dd018932807353b9b689096f16415f3fc35594926011",
            "98e1672d5f2e8ace0bef1d241be075a2848f4f5e43d938b802f623b29f15dee75edb2b0b",
        ],
        "85ba4226db3793315c4dcfbedd11e35d5d3fb27e4f544a34a0f6f73efdce652d80000001",
    ),
];

#[test]
fn libsrtp_makes_the_same_packets() {
    for (suite, rtp, rtcp) in LIBSRTP {
        let key = master(suite);
        let (mut protector, mut unprotector) = (Protector::new(&key), Unprotector::new(&key));
        for (seq, sealed) in [0xFFFE_u16, 0xFFFF, 0].into_iter().zip(rtp) {
            let [high, low] = seq.to_be_bytes();
            let rest = hex("decafbadcafebabe 11111111 22222222 bede000101020304");
            let header = [&[0x92, 0x88, high, low][..], &rest].concat();
            let plain = [header.clone(), (0..20).collect()].concat();
            let expected = [header, hex(sealed)].concat();
            assert_eq!(protect_rtp(&mut protector, &plain), Some(expected.clone()), "{suite:?} {seq}");
            assert_eq!(unprotect_rtp(&mut unprotector, &expected), Ok(plain), "{suite:?} {seq}");
        }
        // RFC 3711, 3.4 has the first index zero; libsrtp begins with one.
        assert_ne!(protect_rtcp(&mut protector, &REPORT)[8..], hex(rtcp));
        let second = protect_rtcp(&mut protector, &REPORT);
        assert_eq!(second[8..], hex(rtcp), "{suite:?}");
        assert_eq!(unprotect_rtcp(&mut unprotector, &second).as_deref(), Ok(&REPORT[..]));
    }
}

#[test]
fn what_was_altered_cut_or_made_under_another_key_is_refused() {
    for suite in Suite::ALL {
        let key = master(suite);
        let mut protector = Protector::new(&key);
        let rtp = protect_rtp(&mut protector, &packet(1, 100)).unwrap();
        let rtcp = protect_rtcp(&mut protector, &REPORT);
        let mut unprotector = Unprotector::new(&key);
        for bit in 0..rtp.len() * 8 {
            let mut altered = rtp.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect_rtp(&mut unprotector, &altered).is_err(), "{suite:?} bit {bit}");
        }
        for bit in 0..rtcp.len() * 8 {
            let mut altered = rtcp.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect_rtcp(&mut unprotector, &altered).is_err(), "{suite:?} bit {bit}");
        }
        for len in 0..rtp.len() {
            assert!(unprotect_rtp(&mut unprotector, &rtp[..len]).is_err(), "{suite:?} {len}");
        }
        for len in 0..rtcp.len() {
            assert!(unprotect_rtcp(&mut unprotector, &rtcp[..len]).is_err(), "{suite:?} {len}");
        }
        let mut stranger = Unprotector::new(&MasterKey::generate(suite, |octets| octets.fill(9)));
        assert_eq!(unprotect_rtp(&mut stranger, &rtp), Err(Refused::Unauthentic));
        assert_eq!(unprotect_rtcp(&mut stranger, &rtcp), Err(Refused::Unauthentic));
        assert_eq!(unprotect_rtp(&mut unprotector, &rtp), Ok(packet(1, 100)), "nothing of it left a trace");
        assert_eq!(unprotect_rtcp(&mut unprotector, &rtcp).as_deref(), Ok(&REPORT[..]));
    }
}

#[test]
fn a_packet_is_taken_once_and_late_ones_within_the_window() {
    for suite in Suite::ALL {
        let key = master(suite);
        let (mut protector, mut unprotector) = (Protector::new(&key), Unprotector::new(&key));
        let sealed: Vec<_> =
            (0..200).map(|n| protect_rtp(&mut protector, &packet(1, 65_500 + n % 36)).ok_or(n)).collect();
        // Numbers 65,500 to 65,535, and then the same again: an index is used once.
        assert!(sealed[..36].iter().all(Result::is_ok) && sealed[36..].iter().all(Result::is_err));

        let mut protector = Protector::new(&key);
        let sealed: Vec<_> = (0..200u16)
            .map(|n| protect_rtp(&mut protector, &packet(1, 65_500u16.wrapping_add(n))).unwrap())
            .collect();
        for first in sealed.iter().step_by(2) {
            assert!(unprotect_rtp(&mut unprotector, first).is_ok());
        }
        for (n, late) in sealed.iter().enumerate() {
            let is_known = n % 2 == 0;
            let is_in_window = n + 128 > 198;
            let taken = unprotect_rtp(&mut unprotector, late);
            assert_eq!(taken.is_ok(), !is_known && is_in_window, "{suite:?} {n}");
            assert!(taken.is_ok() || taken == Err(Refused::Replayed));
        }
        let rtcp = protect_rtcp(&mut protector, &REPORT);
        assert!(unprotect_rtcp(&mut unprotector, &rtcp).is_ok());
        assert_eq!(unprotect_rtcp(&mut unprotector, &rtcp), Err(Refused::Replayed));
    }
}

#[test]
fn another_rollover_counter_is_not_authentic() {
    for suite in Suite::ALL {
        let key = master(suite);
        let mut protector = Protector::new(&key);
        let wrapped = [65_535, 0].map(|seq| protect_rtp(&mut protector, &packet(1, seq)).unwrap());
        // Who has not heard what came before the wrap takes the counter to be zero.
        let mut late = Unprotector::new(&key);
        assert_eq!(unprotect_rtp(&mut late, &wrapped[1]), Err(Refused::Unauthentic));
        let mut unprotector = Unprotector::new(&key);
        assert!(wrapped.iter().all(|sealed| unprotect_rtp(&mut unprotector, sealed).is_ok()));
    }
}

#[test]
fn several_sources_under_one_key_and_the_forgotten_ones() {
    let key = master(Suite::AesCm128HmacSha1_80);
    let of = |ssrc| protect_rtp(&mut Protector::new(&key), &packet(ssrc, 7)).unwrap();
    let mut unprotector = Unprotector::new(&key);
    for ssrc in 0..8 {
        assert!(unprotect_rtp(&mut unprotector, &of(ssrc)).is_ok());
    }
    for ssrc in 0..8 {
        assert_eq!(unprotect_rtp(&mut unprotector, &of(ssrc)), Err(Refused::Replayed));
    }
    // A ninth takes the place of the one that has been silent for longest.
    assert!(unprotect_rtp(&mut unprotector, &of(8)).is_ok());
    assert_eq!(unprotect_rtp(&mut unprotector, &of(1)), Err(Refused::Replayed));
    assert!(unprotect_rtp(&mut unprotector, &of(0)).is_ok());

    let mut protector = Protector::new(&key);
    assert!(protect_rtp(&mut protector, &packet(1, 7)).is_some());
    assert!(protect_rtp(&mut protector, &packet(2, 8)).is_none(), "a sender is one source");
}

#[test]
fn rtcp_ends_when_its_indices_do_and_a_full_buffer_sends_nothing() {
    for suite in Suite::ALL {
        let key = master(suite);
        let ciphers = || [RTP, RTCP].map(|labels| Cipher::new(&key, labels, suite.rtcp_tag_len()));
        let [rtp, rtcp] = ciphers();
        let mut protector = Protector::with(suite, rtp, rtcp, (1 << 31) - 1);
        let mut buffer = [0; 64];
        buffer[..24].copy_from_slice(&REPORT);
        assert_eq!(protector.protect_rtcp(&mut buffer[..30], 24), None, "no room");
        assert!(protector.protect_rtcp(&mut buffer, 24).is_some());
        buffer[..24].copy_from_slice(&REPORT);
        assert_eq!(protector.protect_rtcp(&mut buffer, 24), None, "used up");

        let mut full = packet(1, 1);
        assert_eq!(protector.protect_rtp(&mut full, 172), None);
        assert_eq!(full, packet(1, 1), "and it may be tried again");
        assert!(protect_rtp(&mut protector, &full).is_some());
    }
}

#[test]
fn keys_are_as_long_as_their_suite_says_and_never_shown() {
    for suite in Suite::ALL {
        let key = master(suite);
        let text = key.to_base64();
        assert_eq!(MasterKey::from_base64(suite, &text), Some(key.clone()));
        assert_eq!(MasterKey::from_base64(suite, text.trim_end_matches('=')), Some(key.clone()));
        assert_eq!(MasterKey::from_base64(suite, &text[4..]), None);
        assert_eq!(MasterKey::from_base64(suite, "!"), None);
        let keys = Keys { send: key.clone(), receive: key };
        let shown = format!("{keys:?} {:?}", Srtp::new(&keys));
        let part = &text[2..8];
        assert!(!shown.contains(part) && shown.contains(suite.name()), "{shown}");
        assert_eq!(Suite::from_name(&suite.name().to_lowercase()), Some(suite));
    }
}

#[test]
fn the_same_key_goes_on_where_it_was_and_a_new_one_begins_anew() {
    let suite = Suite::AesCm128HmacSha1_80;
    let [ours, theirs, new] = [1, 2, 3].map(|n| MasterKey::generate(suite, |octets| octets.fill(n)));
    let mut srtp = Srtp::new(&Keys { send: ours.clone(), receive: theirs.clone() });
    let received = protect_rtp(&mut Protector::new(&theirs), &packet(9, 5)).unwrap();
    assert!(protect_rtp(&mut srtp.protector, &packet(1, 65_535)).is_some());
    assert!(unprotect_rtp(&mut srtp.unprotector, &received).is_ok());

    srtp.rekey(&Keys { send: ours.clone(), receive: theirs });
    assert!(protect_rtp(&mut srtp.protector, &packet(1, 65_535)).is_none());
    assert_eq!(unprotect_rtp(&mut srtp.unprotector, &received), Err(Refused::Replayed));

    srtp.rekey(&Keys { send: ours, receive: new.clone() });
    assert!(protect_rtp(&mut srtp.protector, &packet(1, 65_535)).is_none(), "ours is the same");
    assert_eq!(unprotect_rtp(&mut srtp.unprotector, &received), Err(Refused::Unauthentic));
    let renewed = protect_rtp(&mut Protector::new(&new), &packet(9, 5)).unwrap();
    assert!(unprotect_rtp(&mut srtp.unprotector, &renewed).is_ok());
}

#[test]
fn a_key_that_comes_back_goes_on_where_it_was() {
    // A peer that takes another suite of ours in each answer.
    let suites = [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32];
    let [one, other] = suites.map(|suite| {
        let [send, receive] = [1, 2].map(|n| MasterKey::generate(suite, |octets| octets.fill(n)));
        Keys { send, receive }
    });
    let mut srtp = Srtp::new(&one);
    let received = protect_rtp(&mut Protector::new(&one.receive), &packet(9, 5)).unwrap();
    assert!(protect_rtp(&mut srtp.protector, &packet(1, 700)).is_some());
    assert!(unprotect_rtp(&mut srtp.unprotector, &received).is_ok());
    for _ in 0..20 {
        srtp.rekey(&other);
        srtp.rekey(&one);
    }
    assert!(protect_rtp(&mut srtp.protector, &packet(1, 700)).is_none(), "no index is used twice");
    assert_eq!(unprotect_rtp(&mut srtp.unprotector, &received), Err(Refused::Replayed));
}

proptest! {
    #[test]
    fn rubbish_is_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..120), suite in 0..4usize) {
        let key = master(Suite::ALL[suite]);
        let mut unprotector = Unprotector::new(&key);
        prop_assert!(unprotector.unprotect_rtp(&mut bytes).is_err());
        prop_assert!(unprotector.unprotect_rtcp(&mut bytes).is_err());
        let mut protector = Protector::new(&key);
        let len = bytes.len();
        let _ = protector.protect_rtp(&mut bytes, len);
        let _ = protector.protect_rtcp(&mut bytes, len + 1);
    }
}
