//! The carrier's configuration: who may register, who lives behind which number, what is heard and kept.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use media_core::Codec;
use netem::Impairments;
use serde::Deserialize;
use sip_core::Transport;
use sip_core::digest::Hash;
use sip_io::ListenAddr;

use crate::customer::{Act, Answers, Behaviour, Refusal};
use crate::quirks::Quirk;
use crate::voice::Talk;

/// Everything about a carrier. In TOML every key is optional and unknown ones are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CarrierConfig {
    /// Where SIP is taken, as in `udp:127.0.0.1:5060`; port 0 is any free one.
    pub listen: Vec<Listen>,
    /// Where RTP is taken, on one pair of ports for all calls.
    pub media_ip: IpAddr,
    /// The realm of challenges.
    pub realm: String,
    /// Who may register; nobody needs to when there is none.
    pub accounts: Vec<Account>,
    /// The digest algorithms offered, in this order.
    pub algorithms: Vec<DigestAlgorithm>,
    /// Whether calls are challenged too, by 407.
    pub challenge_calls: bool,
    /// The longest registration granted.
    pub max_expires_s: u32,
    /// The codecs customers understand.
    pub codecs: Vec<CodecName>,
    /// What customers say while nothing else is to be said.
    pub talk: Talk,
    /// Who lives behind which number; the first match counts.
    pub customers: Vec<Subscriber>,
    /// What becomes of datagrams on their way to the caller.
    pub network: Network,
    /// The folder for what is heard, one `<number>-<n>.wav` a call; nothing is recorded without.
    pub record: Option<PathBuf>,
    /// Most calls at once; beyond it they are refused with 503.
    pub max_calls: usize,
    /// Most ended calls whose reports are kept; beyond it the oldest is dropped.
    pub max_reports: usize,
}

impl Default for CarrierConfig {
    fn default() -> Self {
        Self {
            listen: vec![Listen(ListenAddr::udp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))],
            media_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            realm: "carrier.test".to_owned(),
            accounts: Vec::new(),
            algorithms: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
            challenge_calls: false,
            max_expires_s: 3600,
            codecs: vec![CodecName(Codec::Pcma), CodecName(Codec::Pcmu)],
            talk: Talk::Silence,
            customers: Self::town(),
            network: Network::default(),
            record: None,
            max_calls: 10_000,
            max_reports: 100_000,
        }
    }
}

impl CarrierConfig {
    /// The customers of a carrier that is told of none, by the last two digits of their numbers; the rest answer and
    /// listen.
    pub fn town() -> Vec<Subscriber> {
        let answers = |early_media, then: &[Act]| {
            Behaviour::Answers(Answers { early_media, then: then.to_vec(), ..Answers::default() })
        };
        let press = |keys: &str| Act::Press(keys.chars().filter_map(media_core::Digit::from_char).collect());
        let town = [
            ("*01", answers(false, &[Act::HearMs(1000), press("1")])),
            ("*02", answers(false, &[Act::HearMs(500), press("19#")])),
            ("*03", Behaviour::Busy),
            ("*04", Behaviour::Rejects),
            ("*05", Behaviour::NeverAnswers),
            ("*06", Behaviour::SwitchedOff),
            ("*07", answers(false, &[Act::WaitMs(2000), Act::HangUp])),
            ("*08", answers(true, &[])),
            ("*09", Behaviour::NoResponse),
            ("*10", Behaviour::Congested),
            ("*11", Behaviour::InvalidNumber),
            (
                "*12",
                Behaviour::Refuses(Refusal {
                    status: 486,
                    q850: Some(17),
                    retry_after_s: None,
                    after_ms: 500,
                }),
            ),
            ("*", answers(false, &[])),
        ];
        town.into_iter().map(|(number, does)| Subscriber::new(number, does)).collect()
    }

    pub(crate) fn subscriber(&self, called: &str) -> Option<&Subscriber> {
        self.customers.iter().find(|subscriber| subscriber.has(called))
    }

    pub(crate) fn password(&self, username: &str) -> Option<&str> {
        let account = self.accounts.iter().find(|account| account.username == username)?;
        Some(&account.password)
    }
}

/// A user of the registrar.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The digest username, and the user part of the address of record.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.username)
    }
}

/// A number and who lives behind it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscriber {
    /// The user part called; with a leading `*`, its end.
    pub number: String,
    /// What happens then.
    pub does: Behaviour,
    /// What is odd about the carrier that the number belongs to.
    #[serde(default)]
    pub quirks: Vec<Quirk>,
}

impl Subscriber {
    /// Somebody whose carrier keeps to the rules.
    pub fn new(number: impl Into<String>, does: Behaviour) -> Self {
        Self { number: number.into(), does, quirks: Vec::new() }
    }

    fn has(&self, called: &str) -> bool {
        match self.number.strip_prefix('*') {
            Some(end) => called.ends_with(end),
            None => called == self.number,
        }
    }
}

/// What the way to the caller does to datagrams, of signalling and of media alike; shares are 0.0 to 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Share of datagrams that are lost.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
    /// How long each takes.
    pub delay_ms: u32,
    /// How much longer some take, in order.
    pub jitter_ms: u32,
    /// Share of datagrams that are held back by `hold_ms`, so that later ones overtake them.
    pub reorder: f64,
    /// For how long.
    pub hold_ms: u32,
}

impl Default for Network {
    /// A perfect one, and where anything is reordered, by 100 ms.
    fn default() -> Self {
        Self { loss: 0.0, duplicate: 0.0, delay_ms: 0, jitter_ms: 0, reorder: 0.0, hold_ms: 100 }
    }
}

impl Network {
    /// What to put between the carrier and the caller; nothing where it is perfect.
    pub(crate) fn impairments(&self) -> Option<Impairments> {
        let ms = |ms: u32| Duration::from_millis(u64::from(ms));
        let perfect = Self { hold_ms: self.hold_ms, ..Self::default() };
        (*self != perfect).then(|| Impairments {
            loss: self.loss,
            duplicate: self.duplicate,
            delay: ms(self.delay_ms),
            jitter: ms(self.jitter_ms),
            reorder: self.reorder,
            hold: ms(self.hold_ms),
            ..Impairments::NONE
        })
    }
}

/// A digest algorithm, by its name in RFC 7616.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DigestAlgorithm {
    /// MD5.
    #[serde(rename = "MD5")]
    Md5,
    /// SHA-256.
    #[serde(rename = "SHA-256")]
    Sha256,
    /// SHA-512-256.
    #[serde(rename = "SHA-512-256")]
    Sha512_256,
}

impl From<DigestAlgorithm> for Hash {
    fn from(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Md5 => Hash::Md5,
            DigestAlgorithm::Sha256 => Hash::Sha256,
            DigestAlgorithm::Sha512_256 => Hash::Sha512_256,
        }
    }
}

/// A codec, by its name in RFC 3551.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CodecName(pub Codec);

impl TryFrom<String> for CodecName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Codec::from_name(&name).map(Self).ok_or_else(|| format!("{name:?} is no codec of ours"))
    }
}

/// `udp:ADDRESS:PORT` or `tcp:ADDRESS:PORT`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen(pub ListenAddr);

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (transport, address) = text.split_once(':').ok_or("want TRANSPORT:ADDRESS:PORT")?;
        let address = address.parse().map_err(|error| format!("{address:?}: {error}"))?;
        match Transport::from_token(transport) {
            Some(Transport::Udp) => Ok(Self(ListenAddr::udp(address))),
            Some(Transport::Tcp) => Ok(Self(ListenAddr::tcp(address))),
            Some(Transport::Tls | Transport::Ws | Transport::Wss) | None => {
                Err(format!("{transport:?} is no transport of the test carrier"))
            }
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_config_reads() {
        let config: CarrierConfig = toml::from_str(
            r#"
            listen = ["udp:127.0.0.1:0", "tcp:[::1]:5070"]
            algorithms = ["MD5"]
            accounts = [{ username = "trunk", password = "secret" }]
            codecs = ["PCMU"]
            talk = "tone"
            customers = [
                { number = "100", does = "busy" },
                { number = "*21", does = "busy", quirks = ["changed-to-tag", "no-contact"] },
                { number = "*7", does = { answers = { then = [{ hear_ms = 20 }, { press = "5" }, "reinvite"] } } },
                { number = "*", does = "invalid-number" },
            ]
            network = { reorder = 0.5 }
            "#,
        )
        .unwrap();
        let does = |called| &config.subscriber(called).unwrap().does;
        assert_eq!(does("100"), &Behaviour::Busy);
        assert!(matches!(does("+62817"), Behaviour::Answers(_)));
        assert_eq!(does("1100"), &Behaviour::InvalidNumber);
        assert_eq!(config.subscriber("121").unwrap().quirks, [Quirk::ChangedToTag, Quirk::NoContact]);
        let impairments = config.network.impairments().unwrap();
        assert_eq!((impairments.reorder, impairments.hold), (0.5, Duration::from_millis(100)));
        assert_eq!(Network::default().impairments(), None);
        assert_eq!((config.password("trunk"), config.password("x")), (Some("secret"), None));
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn unknown_keys_codecs_and_transports_are_refused() {
        for wrong in [
            "lisen = []",
            r#"codecs = ["G729"]"#,
            r#"listen = ["tls:127.0.0.1:1"]"#,
            r#"listen = ["udp:here"]"#,
            r#"customers = [{ number = "1", does = "busy", quirks = ["polite"] }]"#,
            r#"network = { los = 0.5 }"#,
        ] {
            assert!(toml::from_str::<CarrierConfig>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_town_answers_every_number() {
        let config = CarrierConfig::default();
        assert_eq!(config.subscriber("+628765403").unwrap().does, Behaviour::Busy);
        assert!(matches!(config.subscriber("anybody").unwrap().does, Behaviour::Answers(_)));
    }
}
