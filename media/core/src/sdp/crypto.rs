//! `a=crypto` lines (RFC 4568): a suite and a master key for what their writer sends.

use sdp_types::Media;

use crate::srtp::{MasterKey, Suite};

/// Our side of SRTP with keys in the descriptions: what is offered and taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSdes {
    /// Whether there is no call without it.
    pub policy: SrtpPolicy,
    /// One key for each suite that we take, most preferred first. RFC 4568, 6.1: every line of an offer has its own.
    pub keys: Vec<MasterKey>,
}

/// Whether a call may go on in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SrtpPolicy {
    /// It may, if the peer wants it so: we offer `RTP/AVP` with `a=crypto`, which a peer without SRTP answers as any other
    /// offer.
    Optional,
    /// It may not: we offer `RTP/SAVP`, and refuse what is not encrypted.
    Required,
}

impl LocalSdes {
    /// Every suite, with keys that `fill` makes from unguessable bytes.
    pub fn new(policy: SrtpPolicy, mut fill: impl FnMut(&mut [u8])) -> Self {
        let keys = Suite::ALL.map(|suite| MasterKey::generate(suite, &mut fill));
        Self { policy, keys: keys.into() }
    }

    /// Our key of `suite`, with the tag of its line in an offer of ours.
    fn key(&self, suite: Suite) -> Option<(u32, &MasterKey)> {
        (1..).zip(&self.keys).find(|(_, key)| key.suite() == suite)
    }
}

/// A line of the peer's that we can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crypto {
    pub(super) tag: u32,
    pub(super) key: MasterKey,
}

impl Crypto {
    /// Reads the value of a line; `None` if it is malformed, or asks for what we do not have.
    fn read(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let (tag, suite, keys) = (words.next()?, words.next()?, words.next()?);
        // RFC 4568, 9.1: one to nine digits.
        let tag =
            tag.parse().ok().filter(|_| tag.len() <= 9 && tag.bytes().all(|byte| byte.is_ascii_digit()))?;
        let suite = Suite::from_name(suite)?;
        // Several keys take an MKI in every packet to tell them apart, which is not covered.
        let mut parts = keys.strip_prefix("inline:")?.split('|');
        let key = MasterKey::from_base64(suite, parts.next()?)?;
        // A lifetime binds the sender; an MKI has a colon, and would be in every packet.
        if !parts.next().is_none_or(is_lifetime) || parts.next().is_some() || !words.all(may_be_ignored) {
            return None;
        }
        Some(Self { tag, key })
    }

    /// The lines of `media` that we can use, in the peer's order of preference.
    pub(super) fn usable(media: &Media) -> impl Iterator<Item = Self> {
        let lines = media.attributes.iter().filter(|attribute| is_crypto(&attribute.attribute));
        lines.filter_map(|attribute| Self::read(attribute.value.as_deref()?))
    }
}

/// Whether the peer has given keys for this line, of use or not.
pub(super) fn is_offered(media: &Media) -> bool {
    media.attributes.iter().any(|attribute| is_crypto(&attribute.attribute))
}

fn is_crypto(attribute: &str) -> bool {
    attribute == "crypto"
}

/// RFC 4568, 9.2: a number of packets, or `2^` and an exponent; of no more than 2^48.
fn is_lifetime(text: &str) -> bool {
    let exponent = text.strip_prefix("2^").map(|exponent| exponent.parse().is_ok_and(|n: u8| n <= 48));
    exponent.unwrap_or_else(|| text.parse().is_ok_and(|packets: u64| (1..=1 << 48).contains(&packets)))
}

/// Whether a session parameter changes nothing for us. A hint at a size of the replay window is one (RFC 4568, 6.3.6), and
/// what begins with "-" may be ignored (6.3.7). A line with "an unknown session parameter that is not prefixed with a "-"
/// character … MUST be considered invalid", and the same goes for what we know and do not do: key derivation rates,
/// streams without encryption or authentication, FEC.
fn may_be_ignored(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.starts_with("WSH=")
}

/// Adds our offer.
pub(super) fn offer(media: &mut Media, local: &LocalSdes) {
    (1..).zip(&local.keys).for_each(|(tag, key)| add(media, tag, key));
}

/// Adds the line with `key`.
pub(super) fn add(media: &mut Media, tag: u32, key: &MasterKey) {
    let line = format!("{tag} {} inline:{}", key.suite().name(), *key.to_base64());
    media.add_attribute_with_value("crypto", line);
}

/// RFC 4568, 5.1.2: the offered line to take, the most preferred that we have a key for, and our key. Who sends back our
/// own key has made none.
pub(super) fn choose<'a>(media: &Media, local: &'a LocalSdes) -> Option<(Crypto, &'a MasterKey)> {
    Crypto::usable(media).find_map(|theirs| {
        let (_, ours) = local.key(theirs.key.suite())?;
        (theirs.key != *ours).then_some((theirs, ours))
    })
}

/// RFC 4568, 5.1.3: what the answer takes of our offer, by tag and suite.
pub(super) fn chosen<'a>(media: &Media, local: &'a LocalSdes) -> Option<(Crypto, &'a MasterKey)> {
    choose(media, local)
        .filter(|(theirs, ours)| local.key(ours.suite()).is_some_and(|(tag, _)| tag == theirs.tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    fn read(rest: &str) -> Option<Crypto> {
        Crypto::read(&format!("1 AES_CM_128_HMAC_SHA1_80 {rest}"))
    }

    #[test]
    fn lifetimes_are_read_and_keys_with_an_mki_left_alone() {
        for good in ["", "|2^20", "|2^48", "|1", "|281474976710656"] {
            assert!(read(&format!("inline:{KEY}{good}")).is_some(), "{good}");
        }
        for bad in ["|", "|2^49", "|0", "|281474976710657", "|1:4", "|2^20|1:4", "|x", ";inline:a", "A", "=="]
        {
            assert_eq!(read(&format!("inline:{KEY}{bad}")), None, "{bad}");
        }
        assert_eq!(read(&format!("uri:{KEY}")), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn session_parameters_that_change_the_stream_are_refused() {
        for good in ["WSH=64", "-NEW=1", "WSH=128 -X"] {
            assert!(read(&format!("inline:{KEY} {good}")).is_some(), "{good}");
        }
        for bad in [
            "KDR=1",
            "UNENCRYPTED_SRTP",
            "UNENCRYPTED_SRTCP",
            "UNAUTHENTICATED_SRTP",
            "FEC_ORDER=FEC_SRTP",
            "FEC_KEY=inline:a",
            "NEW=1",
            "WSH=64 KDR=1",
        ] {
            assert_eq!(read(&format!("inline:{KEY} {bad}")), None, "{bad}");
        }
    }

    #[test]
    fn tags_and_suites() {
        let line = |tag: &str, suite: &str| {
            Crypto::read(&format!("{tag} {suite} inline:{KEY}")).map(|read| read.tag)
        };
        assert_eq!(line("999999999", "aes_cm_128_hmac_sha1_32"), Some(999_999_999));
        for tag in ["+1", "-1", "1000000000", "x", "1x"] {
            assert_eq!(line(tag, "AES_CM_128_HMAC_SHA1_80"), None, "{tag}");
        }
        for suite in ["F8_128_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_128_GCM"] {
            assert_eq!(line("1", suite), None, "{suite}: unknown, or another length of key");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_not(value: String) {
            let _ = Crypto::read(&value);
            let _ = read(&format!("inline:{KEY}{value}"));
        }
    }
}
