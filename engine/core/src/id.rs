//! Ids that the engine makes itself.

use control_api_types::{CallId, RecordingId};
use rand_core::Rng;

/// A ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32, so that ids sort by time.
pub(crate) fn ulid(unix_ms: u64, random: &mut impl Rng) -> CallId {
    // Sound: 26 characters of the alphabet of ids.
    CallId::new(&ulid_text(unix_ms, random)).expect("base 32 is an id")
}

/// The same for a recording.
pub(crate) fn recording_ulid(unix_ms: u64, random: &mut impl Rng) -> RecordingId {
    // Sound, as above.
    RecordingId::new(&ulid_text(unix_ms, random)).expect("base 32 is an id")
}

fn ulid_text(unix_ms: u64, random: &mut impl Rng) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let noise = u128::from(random.next_u64()) << 16 | u128::from(random.next_u32() >> 16);
    let bits = u128::from(unix_ms & 0xFFFF_FFFF_FFFF) << 80 | noise;
    (0..26).rev().map(|at| char::from(ALPHABET[(bits >> (5 * at)) as usize & 0x1F])).collect()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn sorts_by_time_and_differs_within_a_millisecond() {
        let mut random = ChaCha20Rng::from_seed([1; 32]);
        let mut ids: Vec<_> =
            (0..100).map(|n| ulid(1_800_000_000_000 + n / 2, &mut random).to_string()).collect();
        assert!(ids.iter().all(|id| id.len() == 26 && id.starts_with("01MC")), "{ids:?}");
        let times: Vec<_> = ids.iter().map(|id| id[..10].to_owned()).collect();
        assert!(times.is_sorted());
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 100);
    }
}
