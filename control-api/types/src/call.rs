//! A call as the API shows it.

use crate::{AmdReport, CallId, MuteDirection, Stir, Timestamp, Variables};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc};

macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $variant_doc:literal])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[doc = $variant_doc])* #[serde(rename = $word)] $variant),+ }

        // By hand: utoipa's derive does not see the words through a macro.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let words = utoipa::openapi::schema::Type::String;
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(words)
                    .enum_values(Some([$($word),+]))
                    .description(Some(concat!($($doc, "\n",)* $("\n- `", $word, "`:", $($variant_doc, "\n"),*),+).trim()))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As written in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value that JSON writes as `word`.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Where a call stands; the last five are final.
    CallStatus {
        /// Accepted, waiting for its turn under the rate limits.
        Queued = "queued",
        /// The INVITE is out, or an inbound one came in.
        Initiated = "initiated",
        /// The far side rings.
        Ringing = "ringing",
        /// The far side sends audio before answering.
        EarlyMedia = "early-media",
        /// Answered.
        InProgress = "in-progress",
        /// Was answered and has ended.
        Completed = "completed",
        /// Ended: the far side was busy.
        Busy = "busy",
        /// Ended: nobody answered.
        NoAnswer = "no-answer",
        /// Ended: could not be put through.
        Failed = "failed",
        /// Ended: taken back by the API before it was answered.
        Canceled = "canceled",
    }
}

impl CallStatus {
    /// Whether the call has ended.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Initiated | Self::Ringing | Self::EarlyMedia | Self::InProgress => false,
            Self::Completed | Self::Busy | Self::NoAnswer | Self::Failed | Self::Canceled => true,
        }
    }
}

words! {
    /// Who called whom.
    Direction {
        /// We called.
        Outbound = "outbound",
        /// We were called.
        Inbound = "inbound",
    }
}

words! {
    /// How a call came out, from the SIP status refined by the Q.850 cause.
    Disposition {
        /// 2xx.
        Answered = "answered",
        /// 486, 600; cause 17.
        Busy = "busy",
        /// 408, 480, 487 after our ring timeout; causes 18, 19.
        NoAnswer = "no-answer",
        /// Switched off or out of coverage: causes 20, 27.
        Unreachable = "unreachable",
        /// 603, 607; cause 21.
        Rejected = "rejected",
        /// 404, 410, 484, 485, 604; causes 1, 22, 28.
        InvalidNumber = "invalid-number",
        /// 503, 500 and 504 on every gateway; causes 34, 42, 44, 47.
        Congestion = "congestion",
        /// 403, 608, credentials refused; causes 55, 57.
        Blocked = "blocked",
        /// Other 5xx, no response, transport or DNS failure; causes 2, 3, 38, 41, 102, 127.
        NetworkError = "network-error",
        /// 415, 420, 488, 606; causes 65, 79, 88.
        Incompatible = "incompatible",
        /// Taken back by the API.
        Canceled = "canceled",
        /// Waited in the queue longer than `queue_timeout_s`.
        LimitReached = "limit-reached",
        /// 400, 481, 482, 483 and our own faults, a crash among them.
        InternalError = "internal-error",
    }
}

words! {
    /// Whose act ended the call.
    EndedBy {
        /// The far side.
        Remote = "remote",
        /// The engine: a flow's hangup, a limit, a timeout.
        Engine = "engine",
        /// A request to the API.
        Api = "api",
    }
}

words! {
    /// An audio codec by its name in SDP.
    Codec {
        /// G.711 µ-law.
        Pcmu = "PCMU",
        /// G.711 A-law.
        Pcma = "PCMA",
        /// G.722 at 64 kbit/s: wideband, 16 kHz.
        G722 = "G722",
        /// Opus: wideband, 24 kbit/s as the engine sends it; whatever rate the other side sends is heard.
        Opus = "opus",
        /// Linear samples at 16 kHz: wideband, 256 kbit/s.
        L16 = "L16",
    }
}

impl Codec {
    /// The codec of a name in whatever case: RFC 4855 §3: names of encodings "are not case sensitive".
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|codec| codec.as_str().eq_ignore_ascii_case(name)).copied()
    }
}

/// What the media of a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MediaSummary {
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// RTP packets missing among those expected (RFC 3550 §6.4.1).
    pub packets_lost: u64,
    /// Interarrival jitter at the end, ms (RFC 3550 §6.4.1).
    pub jitter_ms: f32,
    /// Round trip by RTCP, ms; absent if the far side sent no reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f32>,
    /// Estimated mean opinion score of what was received, 1.0 to 4.5 (E-model, ITU-T G.107 with G.113 loss figures); 1.0 if
    /// nothing was.
    pub mos: f32,
    /// Packets that came too late to be heard; absent if nobody listened (digits in the audio, recordings, conferences …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets_late: Option<u64>,
    /// Sound made up for packets lost or late, ms; absent if nobody listened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concealed_ms: Option<u64>,
    /// How long the jitter buffer held the fastest packets at the end, ms; absent if nobody listened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_ms: Option<u32>,
    /// Of the packets sent, those that the far side has lost by its last RTCP report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_packets_lost: Option<u64>,
    /// Jitter of what was sent, by the same report, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_jitter_ms: Option<f32>,
    /// Estimated mean opinion score at the far side, by the same report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_mos: Option<f32>,
}

/// One SIP leg. The same shape is the CDR once the call has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Call {
    /// Its id.
    pub id: CallId,
    /// Where it stands.
    pub status: CallStatus,
    /// Who called whom.
    pub direction: Direction,
    /// The number or SIP URI called.
    pub to: String,
    /// The caller id shown or received.
    pub from: String,
    /// The trunk used; absent for a call to a URI without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// The endpoint that calls or is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The trunk's gateway that the call went to: the one that answered, or the last one tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// How many INVITEs it took, each to another gateway or contact; absent if none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// The Call-ID on the wire, once there is one: of the last INVITE, or the one that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_call_id: Option<String>,
    /// Who an inbound call is from, as signed by the caller's network; present once that was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stir: Option<Stir>,
    /// Of an inbound call: the caller's header fields that are nobody's business but the user's (`X-…`), and what carriers
    /// tell of the caller: P-Asserted-Identity, Privacy, Diversion, History-Info, User-to-User. Names as written there,
    /// several lines of one name joined by commas; 32 names and 4 KiB at most, the rest is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the far side first rang.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ringing_at: Option<Timestamp>,
    /// When it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How it came out; present once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<Disposition>,
    /// The last SIP status received or sent for the INVITE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_status: Option<u16>,
    /// Its reason phrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_reason: Option<String>,
    /// The Q.850 cause of a Reason header (RFC 3326).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q850_cause: Option<u8>,
    /// Whose act ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
    /// The bridged call whose end ended this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause_call_id: Option<CallId>,
    /// The call that it was made for: whose flow has dialled it, or who was transferred to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_call_id: Option<CallId>,
    /// The codec agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<Codec>,
    /// The crypto suite agreed, where its media is SRTP: `AES_CM_128_HMAC_SHA1_80`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srtp: Option<String>,
    /// The bridge it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge_id: Option<String>,
    /// The queue that it waits in, or has waited in to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Which way it is muted; absent if it is not, or has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<MuteDirection>,
    /// Whether we hold the far side.
    #[serde(default, skip_serializing_if = "is_false")]
    pub held: bool,
    /// Its recordings.
    #[serde(default)]
    pub recording_ids: Vec<String>,
    /// What was found out about who answers; absent if nobody asked or nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amd: Option<AmdReport>,
    /// Its variables: those given at creation and those its flow has set.
    #[serde(default)]
    pub variables: Variables,
    /// The caller's own data, repeated in every event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_state: Option<Arc<str>>,
    /// Media figures; present once it has ended, if there was media.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<MediaSummary>,
    /// The engine node that holds it.
    #[schema(value_type = String)]
    pub node: Arc<str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
