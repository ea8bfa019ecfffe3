//! Payload formats: what the numbers of an audio line stand for, and which numbers ours get.

use sdp_types::{Media, RtpMap};

use super::LocalMedia;
use crate::codec::opus;
use crate::{Codec, Ptime};

/// Payload types of RFC 4733 events in our offers by their clock, of the dynamic range; 101 is the customary one.
const TELEPHONE_EVENT_PTS: [(u32, u8); 3] = [(8_000, 101), (48_000, 102), (16_000, 103)];
/// The events of our offers: DTMF (RFC 4733, 3.2), and the flash of RFC 2833, which is customary. A missing list means the
/// first sixteen (RFC 4733, 2.5.1.1).
const TELEPHONE_EVENTS: &str = "0-16";
/// RFC 3389, 4: the static payload type of comfort noise at 8000 Hz.
const COMFORT_NOISE_PT: u8 = 13;
/// RFC 3551, 3: payload types whose meaning each session settles.
const DYNAMIC_PTS: std::ops::RangeInclusive<u8> = 96..=127;

/// One payload format: its number and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) pt: u8,
    pub(super) encoding: Encoding,
}

/// What the packets of a payload format carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Sound.
    Audio(Codec),
    /// RFC 4733 events.
    TelephoneEvent {
        /// Their timestamp units per second.
        clock: u32,
    },
    /// RFC 3389, at 8000 Hz.
    ComfortNoise,
}

/// The formats that `local` offers in a session whose last description of ours, if there is one, had the formats `last`.
pub(super) fn offered(local: &LocalMedia, last: &[Format]) -> Vec<Format> {
    let mut encodings: Vec<Encoding> = local.codecs.iter().map(|codec| Encoding::Audio(*codec)).collect();
    let mut clocks = Vec::new();
    for clock in local.codecs.iter().map(|codec| codec.clock_rate()) {
        if !clocks.contains(&clock) {
            clocks.push(clock);
        }
    }
    if clocks.contains(&8_000) {
        encodings.push(Encoding::ComfortNoise);
    }
    // RFC 4733, 2.1: an event's timestamps run at the clock of the audio around it: a format for each.
    if local.telephone_event {
        encodings.extend(clocks.into_iter().map(|clock| Encoding::TelephoneEvent { clock }));
    }
    let mut formats: Vec<Format> = Vec::new();
    for encoding in encodings {
        // RFC 3264, 8.3.2: "the mapping from a particular dynamic payload type number to a particular codec within that
        // media stream MUST NOT change for the duration of a session", and ours may have come from an offer of the peer's.
        let before = last.iter().find(|format| format.encoding == encoding).map(|format| format.pt);
        let is_free = |pt: &u8| last.iter().chain(&formats).all(|format| format.pt != *pt);
        let pt = before.or_else(|| Some(encoding.usual_pt()).filter(is_free));
        // Of 32 numbers the few formats that there are leave some.
        formats.extend(pt.or_else(|| DYNAMIC_PTS.rev().find(is_free)).map(|pt| Format { pt, encoding }));
    }
    formats
}

/// Those formats of a line that we know, in its order.
pub(super) fn read(media: &Media) -> Vec<Format> {
    media
        .fmt
        .split_ascii_whitespace()
        .filter_map(|pt| pt.parse().ok().filter(|pt| *pt < 128))
        .filter_map(|pt| Format::read(media, pt))
        .collect()
}

/// The number of `encoding` among `formats`.
pub(super) fn number(formats: &[Format], encoding: Encoding) -> Option<u8> {
    formats.iter().find(|format| format.encoding == encoding).map(|format| format.pt)
}

impl Encoding {
    fn usual_pt(self) -> u8 {
        match self {
            Self::Audio(codec) => codec.payload_type(),
            Self::TelephoneEvent { clock } => {
                let usual = TELEPHONE_EVENT_PTS.iter().find(|(of, _)| *of == clock);
                usual.map_or(*DYNAMIC_PTS.end(), |(_, pt)| *pt)
            }
            Self::ComfortNoise => COMFORT_NOISE_PT,
        }
    }
}

impl Format {
    /// Writes what this format is.
    pub(super) fn describe(self, media: &mut Media) {
        let Self { pt, encoding } = self;
        let (rtpmap, fmtp) = match encoding {
            // RFC 7587, 7: two channels always, whatever is sent.
            Encoding::Audio(Codec::Opus) => {
                let bitrate = opus::MAX_BITRATE;
                let fmtp = format!("useinbandfec=1;stereo=0;maxaveragebitrate={bitrate}");
                (
                    RtpMap::with_encoding_params(pt, Codec::Opus.name(), Codec::Opus.clock_rate(), "2"),
                    Some(fmtp),
                )
            }
            Encoding::Audio(codec) => (RtpMap::new(pt, codec.name(), codec.clock_rate()), None),
            Encoding::TelephoneEvent { clock } => {
                (RtpMap::new(pt, "telephone-event", clock), Some(TELEPHONE_EVENTS.to_owned()))
            }
            Encoding::ComfortNoise => (RtpMap::new(pt, "CN", 8_000), None),
        };
        media.add_attribute_with_value("rtpmap", rtpmap);
        if let Some(fmtp) = fmtp {
            media.add_attribute_with_value("fmtp", format!("{pt} {fmtp}"));
        }
    }

    /// The format `pt` of `media`, if it is one we know.
    fn read(media: &Media, pt: u8) -> Option<Self> {
        // Attributes we cannot read are ignored: RFC 8866, 5.13: "If an attribute is received that is not understood,
        // it MUST be ignored by the receiver."
        let rtpmap = media.attributes_typed::<RtpMap>().flatten().find(|map| map.payload_type == pt);
        let encoding = match rtpmap {
            Some(map) if map.encoding_name.eq_ignore_ascii_case("telephone-event") => {
                Encoding::TelephoneEvent { clock: map.clock_rate }
            }
            Some(map) if map.encoding_name.eq_ignore_ascii_case("CN") => {
                Some(Encoding::ComfortNoise).filter(|_| map.clock_rate == 8_000)?
            }
            Some(map) => {
                let channels = map.encoding_params.as_deref();
                Codec::from_name(&map.encoding_name)
                    .filter(|codec| codec.clock_rate() == map.clock_rate)
                    // Of Opus every stream is decoded, whatever its channels.
                    .filter(|codec| *codec == Codec::Opus || channels.is_none_or(|channels| channels == "1"))
                    .map(Encoding::Audio)?
            }
            // RFC 3551, 6: static payload types need no mapping; dynamic ones have no meaning without.
            None if DYNAMIC_PTS.contains(&pt) => return None,
            None if pt == COMFORT_NOISE_PT => Encoding::ComfortNoise,
            None => Codec::ALL.into_iter().find(|codec| codec.payload_type() == pt).map(Encoding::Audio)?,
        };
        Some(Self { pt, encoding })
    }
}

/// The packet time in which a peer gets `codec` that wishes for `wish`.
pub(super) fn packet_time(codec: Codec, wish: Ptime) -> Ptime {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 => wish,
        // A wish is what it is (RFC 8866, 6.4: "a=ptime" is "a recommendation"), and the packets of prompts are of 20 ms.
        Codec::Opus => Ptime::DEFAULT,
        // Longer packets would not fit into an Ethernet frame.
        Codec::L16 => wish.min(Ptime::MAX_OF_L16),
    }
}
