//! What a file is, by its first bytes. Names and extensions are not asked: they lie.

use crate::{Error, ogg};

/// A container that is decoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Wav,
    /// An MPEG audio stream that starts at this offset: an ID3v2 tag may stand before it.
    Mp3 {
        audio: usize,
    },
    /// A FLAC stream that starts at this offset: some programs put an ID3v2 tag before it.
    Flac {
        audio: usize,
    },
    /// Ogg with Vorbis or FLAC in it.
    Ogg,
    OggOpus,
    /// No signature known. Only an MP3 may begin with rubbish, so the caller looks for frames in it.
    Unknown,
}

/// Signatures of things that people upload in place of audio.
const NOT_AUDIO: &[(&[u8], &str)] = &[
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (or an office document)"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
];

/// Signatures of audio that is not decoded here.
const OTHER_AUDIO: &[(&[u8], &str)] = &[
    (b"#!AMR", "AMR"),
    (b"ADIF", "AAC"),
    (b"caff", "CAF"),
    (b".snd", "Sun AU"),
    (b"MThd", "MIDI"),
    (b"RF64", "RF64 WAV"),
    (b"RIFX", "big-endian WAV"),
    (b"wvpk", "WavPack"),
    (b"MAC ", "Monkey's"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
];

/// Length of the header of an ID3v2 tag, and of its optional footer.
const ID3_HEADER: usize = 10;

pub(crate) fn container(bytes: &[u8]) -> Result<Container, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    if let Some((_, looks_like)) = NOT_AUDIO.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(Error::NotAudio { looks_like });
    }
    if let Some((_, format)) = OTHER_AUDIO.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(Error::UnsupportedFormat { format });
    }
    if bytes.starts_with(b"OggS") {
        return in_ogg(bytes);
    }
    if bytes.starts_with(b"fLaC") {
        return Ok(Container::Flac { audio: 0 });
    }
    if bytes.starts_with(b"RIFF") {
        return match bytes.get(8..12) {
            Some(b"WAVE") => Ok(Container::Wav),
            Some(b"WEBP") => Err(Error::NotAudio { looks_like: "a WebP image" }),
            Some(b"AVI ") => Err(Error::NotAudio { looks_like: "an AVI video" }),
            _ => {
                Err(Error::Damaged { container: "WAV", reason: "the RIFF header is not one of a WAVE file" })
            }
        };
    }
    if bytes.starts_with(b"FORM") && matches!(bytes.get(8..12), Some(b"AIFF" | b"AIFC")) {
        return Err(Error::UnsupportedFormat { format: "AIFF" });
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return Err(Error::UnsupportedFormat { format: "MP4/M4A" });
    }
    let audio = id3_length(bytes);
    if audio > 0 {
        return match bytes.get(audio..) {
            None | Some([]) => Err(Error::OnlyTag),
            Some(rest) if rest.starts_with(b"fLaC") => Ok(Container::Flac { audio }),
            Some(_) => Ok(Container::Mp3 { audio }),
        };
    }
    if let Some(looks_like) = text(bytes) {
        return Err(Error::NotAudio { looks_like });
    }
    match bytes {
        // The sync word of ADTS is that of MPEG audio with layer 0.
        [0xff, second, ..] if second & 0xf6 == 0xf0 => Err(Error::UnsupportedFormat { format: "AAC" }),
        [0xff, second, ..] if second & 0xe0 == 0xe0 => Ok(Container::Mp3 { audio: 0 }),
        _ => Ok(Container::Unknown),
    }
}

/// What an Ogg file carries, by the first bytes of its first packet.
fn in_ogg(bytes: &[u8]) -> Result<Container, Error> {
    let packet = ogg::first_packet(bytes).unwrap_or_default();
    let carries: &[(&[u8], _)] = &[
        (b"OpusHead", Ok(Container::OggOpus)),
        (b"\x01vorbis", Ok(Container::Ogg)),
        (b"\x7fFLAC", Ok(Container::Ogg)),
        (b"Speex   ", Err(Error::UnsupportedFormat { format: "Speex" })),
        (b"\x80theora", Err(Error::NotAudio { looks_like: "an Ogg video" })),
        (b"fishead\0", Err(Error::UnsupportedFormat { format: "Ogg Skeleton" })),
    ];
    carries
        .iter()
        .find(|(magic, _)| packet.starts_with(magic))
        .map_or(Err(Error::Damaged { container: "Ogg", reason: "what it carries is unknown" }), |(_, is)| {
            is.clone()
        })
}

/// Bytes taken by the ID3v2 tags at the start of `bytes` (0: none). There may be several in a row.
fn id3_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&[b'I', b'D', b'3', _, _, flags, a, b, c, d]) = bytes.get(at..at + ID3_HEADER) {
        // The size is "synchsafe": four times seven bits, so that no sync word appears in it.
        let size = [a, b, c, d].iter().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        let footer = if flags & 0x10 != 0 { ID3_HEADER } else { 0 };
        at += ID3_HEADER + size + footer;
    }
    at
}

/// What kind of text the bytes are, if they are text.
fn text(bytes: &[u8]) -> Option<&'static str> {
    if matches!(bytes, [0xff, 0xfe, _, 0, ..] | [0xfe, 0xff, 0, _, ..]) {
        return Some("UTF-16 text");
    }
    let start = &bytes[..bytes.len().min(512)];
    let start = match std::str::from_utf8(start) {
        Ok(start) => start,
        // A character may be cut at the end of the window.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if start.chars().any(|c| c.is_control() && !matches!(c, '\r' | '\n' | '\t' | '\u{c}')) {
        return None;
    }
    let lower = start.trim_start_matches(['\u{feff}', ' ', '\r', '\n', '\t']).to_ascii_lowercase();
    Some(if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        "an HTML page"
    } else if lower.starts_with("<svg") {
        "an SVG image"
    } else if lower.starts_with("<?xml") {
        "an XML document"
    } else if lower.starts_with('{') || lower.starts_with('[') {
        "JSON text"
    } else {
        "text"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_sees() {
        let table: &[(&[u8], &str)] = &[
            (b"\x89PNG\r\n\x1a\n....", "a PNG image"),
            (b"\xff\xd8\xff\xe0..JFIF", "a JPEG image"),
            (b"%PDF-1.7\n", "a PDF document"),
            (b"PK\x03\x04rest", "a ZIP archive (or an office document)"),
            (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
            (b"  <html lang=\"en\">", "an HTML page"),
            (b"{\"error\": \"not found\"}", "JSON text"),
            ("Selamat pagi, ini pesan untuk Anda. Tekan 1 \u{2013} ya".as_bytes(), "text"),
            (b"\xff\xfeH\0e\0l\0l\0o\0", "UTF-16 text"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP image"),
        ];
        for (bytes, expected) in table {
            assert_eq!(container(bytes), Err(Error::NotAudio { looks_like: expected }));
        }
        for (bytes, expected) in [
            (&b"\0\0\0\x20ftypM4A "[..], "MP4/M4A"),
            (b"\xff\xf1\x50\x80", "AAC"),
            (b"FORM\0\0\0\x10AIFF", "AIFF"),
        ] {
            assert_eq!(container(bytes), Err(Error::UnsupportedFormat { format: expected }));
        }
        assert_eq!(container(b""), Err(Error::Empty));
    }

    #[test]
    fn ogg_is_what_it_carries() {
        let page = |packet: &[u8]| {
            let header = [&b"OggS\0\x02"[..], &[0; 20], &[1, packet.len() as u8]].concat();
            container(&[&header, packet].concat())
        };
        assert_eq!(page(b"OpusHead\x01"), Ok(Container::OggOpus));
        assert_eq!(page(b"\x01vorbis"), Ok(Container::Ogg));
        assert_eq!(page(b"\x7fFLAC\x01"), Ok(Container::Ogg));
        assert_eq!(page(b"Speex   1.2"), Err(Error::UnsupportedFormat { format: "Speex" }));
        assert_eq!(page(b"\x80theora"), Err(Error::NotAudio { looks_like: "an Ogg video" }));
        for unknown in [page(b"huh"), container(b"OggS\0\x02")] {
            assert!(matches!(unknown, Err(Error::Damaged { container: "Ogg", .. })), "{unknown:?}");
        }
    }

    #[test]
    fn finds_the_audio_behind_the_tag() {
        assert_eq!(container(b"fLaC\0\0\0\x22"), Ok(Container::Flac { audio: 0 }));
        assert_eq!(container(b"ID3\x04\0\0\0\0\0\x02xxfLaC"), Ok(Container::Flac { audio: 12 }));
        assert_eq!(container(b"ID3\x04\0\0\0\0\x01\x02"), Err(Error::OnlyTag), "tag longer than the file");
        let mut file = b"ID3\x04\0\0\0\0\0\x02xx".to_vec();
        assert_eq!(container(&file), Err(Error::OnlyTag));
        file.extend(b"\xff\xfb\x90\0");
        assert_eq!(container(&file), Ok(Container::Mp3 { audio: 12 }));
        assert_eq!(container(b"\xff\xfb\x90\0"), Ok(Container::Mp3 { audio: 0 }));
        assert_eq!(container(b"RIFF\0\0\0\0WAVEfmt "), Ok(Container::Wav));
        assert_eq!(container(&[0; 64]), Ok(Container::Unknown));
    }
}
