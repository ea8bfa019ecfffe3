use super::*;

const LEG: LegId = LegId(1);

/// Two sides, and what is on the way between them.
struct Pair {
    now: Instant,
    sides: [Handshakes; 2],
    keys: [Option<Keys>; 2],
    failed: [Option<Failure>; 2],
    sent: usize,
}

impl Pair {
    fn new() -> Self {
        let side = || Handshakes::new(Identity::generate().unwrap()).unwrap();
        Self {
            now: Instant::now(),
            sides: [side(), side()],
            keys: [None, None],
            failed: [None, None],
            sent: 0,
        }
    }

    fn fingerprints(&self) -> [Fingerprint; 2] {
        [0, 1].map(|side| self.sides[side].identity.fingerprint())
    }

    /// Side 0 waits, side 1 begins; each expects `of` of the other.
    fn begin(&mut self, of: [Fingerprint; 2]) {
        self.sides[0].begin(self.now, LEG, DtlsRole::Passive, of[1]);
        self.sides[1].begin(self.now, LEG, DtlsRole::Active, of[0]);
    }

    /// Carries what is on the way, but for what `lost` says of the datagram's number, until nothing is.
    fn carry(&mut self, mut lost: impl FnMut(usize) -> bool) {
        loop {
            let mut quiet = true;
            for side in [0, 1] {
                while let Some((leg, output)) = self.sides[side].poll_output() {
                    assert_eq!(leg, LEG);
                    quiet = false;
                    match output {
                        Output::Send(datagram) => {
                            assert!(datagram.len() <= MTU && (20..=63).contains(&datagram[0]));
                            self.sent += 1;
                            if !lost(self.sent) {
                                self.sides[1 - side].receive(self.now, LEG, &datagram);
                            }
                        }
                        Output::Secured(keys) => {
                            assert!(self.keys[side].replace(*keys).is_none(), "told once");
                        }
                        Output::Failed(failure) => self.failed[side] = Some(failure),
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Time goes on until both have keys, or nothing more is to come.
    fn run(&mut self, mut lost: impl FnMut(usize) -> bool) {
        self.carry(&mut lost);
        while self.keys.iter().any(Option::is_none) && self.failed.iter().all(Option::is_none) {
            self.now = self.sides.iter().filter_map(Handshakes::poll_timeout).min().unwrap();
            self.sides.iter_mut().for_each(|side| side.handle_timeout(self.now));
            self.carry(&mut lost);
        }
    }
}

#[test]
fn both_sides_come_to_the_same_keys_crosswise() {
    let mut pair = Pair::new();
    pair.begin(pair.fingerprints());
    pair.run(|_| false);
    let [ours, theirs] = pair.keys.each_ref().map(|keys| keys.as_ref().unwrap());
    assert_eq!((&ours.send, &ours.receive), (&theirs.receive, &theirs.send));
    assert_ne!(ours.send, ours.receive);
    assert!(pair.sent < 12, "{}", pair.sent);
    // Each call has its own.
    let first = ours.clone();
    pair.keys = [None, None];
    pair.begin(pair.fingerprints());
    pair.run(|_| false);
    assert_ne!(pair.keys[0].as_ref(), Some(&first));
}

#[test]
fn a_certificate_that_the_sdp_did_not_announce_gives_no_keys() {
    for wrong in [0, 1] {
        let mut pair = Pair::new();
        let mut of = pair.fingerprints();
        of[wrong].0[31] ^= 1;
        pair.begin(of);
        pair.run(|_| false);
        // Who expected another one than was shown.
        assert_eq!(pair.failed[1 - wrong], Some(Failure::Fingerprint), "{wrong}");
        assert_eq!(pair.keys[1 - wrong], None, "{wrong}");
        assert!(pair.sides[1 - wrong].all.is_empty());
    }
}

#[test]
fn any_one_datagram_may_be_lost() {
    let mut whole = Pair::new();
    whole.begin(whole.fingerprints());
    whole.run(|_| false);
    for missing in 1..=whole.sent {
        let mut pair = Pair::new();
        pair.begin(pair.fingerprints());
        let start = pair.now;
        pair.run(|n| n == missing);
        assert!(pair.keys.iter().all(Option::is_some), "datagram {missing}: {:?}", pair.failed);
        assert!(pair.now - start < Duration::from_secs(5), "datagram {missing}: {:?}", pair.now - start);
    }
}

#[test]
fn who_never_comes_is_given_up_and_who_is_done_is_forgotten() {
    let mut pair = Pair::new();
    pair.begin(pair.fingerprints());
    let start = pair.now;
    pair.run(|_| true);
    assert_eq!(pair.failed[0], Some(Failure::TimedOut));
    assert_eq!(pair.now - start, TIMEOUT);
    let mut pair = Pair::new();
    pair.begin(pair.fingerprints());
    pair.run(|_| false);
    assert_eq!(pair.sides[0].all.len(), 1, "the last flight may have to be repeated");
    pair.now += LINGER;
    pair.sides.iter_mut().for_each(|side| side.handle_timeout(pair.now));
    pair.carry(|_| false);
    assert!(pair.sides[0].all.is_empty() && pair.sides[0].poll_timeout().is_none());
    assert_eq!(pair.failed, [None, None]);
}

#[test]
fn a_leg_that_ends_says_nothing_more() {
    let mut pair = Pair::new();
    pair.begin(pair.fingerprints());
    pair.sides[1].end(LEG);
    assert!(pair.sides[1].poll_output().is_none() && pair.sides[1].poll_timeout().is_none());
    pair.sides[1].receive(pair.now, LEG, &[22, 254, 253]);
    assert!(pair.sides[1].poll_output().is_none());
}

#[test]
fn there_are_never_more_than_so_many() {
    let mut pair = Pair::new();
    let of = pair.fingerprints()[1];
    let side = &mut pair.sides[0];
    for leg in 0..MAX_HANDSHAKES as u64 {
        side.begin(pair.now, LegId(leg), DtlsRole::Passive, of);
    }
    assert!(side.poll_output().is_none());
    side.begin(pair.now, LegId(9_999), DtlsRole::Passive, of);
    let told = side.poll_output();
    assert!(matches!(told, Some((LegId(9_999), Output::Failed(Failure::TooMany)))), "{told:?}");
    // What is over makes room.
    side.all.get_mut(&LegId(7)).unwrap().stage = Stage::Over { until: pair.now + LINGER };
    side.begin(pair.now, LegId(9_999), DtlsRole::Passive, of);
    assert!(side.poll_output().is_none() && !side.all.contains_key(&LegId(7)));
    assert_eq!(side.all.len(), MAX_HANDSHAKES);
}

#[test]
fn rubbish_neither_ends_a_handshake_nor_brings_keys() {
    let mut pair = Pair::new();
    pair.begin(pair.fingerprints());
    let mut seed = 1_u64;
    let mut octet = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    for n in 0..2_000_usize {
        let mut datagram: Vec<u8> = (0..n % 200).map(|_| octet()).collect();
        if let Some(first) = datagram.first_mut() {
            *first = 20 + *first % 44;
        }
        // Half of them look like records of a handshake.
        if n % 2 == 0 && datagram.len() > 25 {
            let len = datagram.len() - 13;
            datagram[..13].copy_from_slice(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, n as u8, 0, len as u8]);
        }
        pair.sides[0].receive(pair.now, LEG, &datagram);
    }
    pair.carry(|_| false);
    assert_eq!(pair.keys[0].is_some(), pair.failed[0].is_none(), "one or the other: {:?}", pair.failed);
}

#[test]
fn nothing_shows_a_key() {
    let identity = Identity::generate().unwrap();
    assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.fingerprint()));
}
