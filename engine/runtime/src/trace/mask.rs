//! Secrets in a message, overwritten: what a password or a media key could be found out by. Nothing moves, so that lengths
//! and offsets in a capture stay true.

use memchr::memmem;

/// The message with asterisks for what proves the knowledge of a password (Authorization, Proxy-Authorization,
/// Authentication-Info) and for keys of media (RFC 4568, RFC 8839).
pub(super) fn mask(message: &[u8]) -> Vec<u8> {
    let mut masked = message.to_vec();
    let head_end = memmem::find(message, b"\r\n\r\n").unwrap_or(message.len());
    let (head, body) = masked.split_at_mut(head_end);
    mask_head(head);
    for line in body.split_mut(|byte| *byte == b'\n') {
        mask_media_key(line);
    }
    masked
}

fn mask_head(head: &mut [u8]) {
    let mut credentials = false;
    for line in head.split_mut(|byte| *byte == b'\n') {
        // A folded line belongs to the one before (RFC 3261 section 7.3.1).
        let value = if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            line
        } else {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                credentials = false;
                continue;
            };
            let (name, value) = line.split_at_mut(colon);
            let names: [&[u8]; 3] = [b"Authorization", b"Proxy-Authorization", b"Authentication-Info"];
            credentials = names.iter().any(|secret| name.trim_ascii().eq_ignore_ascii_case(secret));
            let scheme = value[1..].trim_ascii_start();
            let is_other = !name.trim_ascii().eq_ignore_ascii_case(names[2])
                && !scheme.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Digest"));
            if credentials && is_other {
                // Basic, Bearer: the credential itself.
                overwrite(&mut value[1..]);
            }
            value
        };
        if credentials {
            mask_parameter(value, b"response");
            mask_parameter(value, b"rspauth");
        }
    }
}

/// Overwrites the value of every parameter of this name, quoted or not.
fn mask_parameter(text: &mut [u8], name: &[u8]) {
    let mut from = 0;
    while let Some(at) = text[from..].windows(name.len()).position(|part| part.eq_ignore_ascii_case(name)) {
        let after = from + at + name.len();
        // RFC 3261 section 25.1: white space may stand around the equals sign.
        let skipped =
            |from: usize| from + text[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let equals = skipped(after);
        if text.get(equals) != Some(&b'=') {
            from = after;
            continue;
        }
        let begin = skipped(equals + 1);
        let quoted = text.get(begin) == Some(&b'"');
        let begin = begin + usize::from(quoted);
        let is_end =
            |byte: &u8| if quoted { *byte == b'"' } else { matches!(byte, b',' | b' ' | b'\t' | b'\r') };
        let end = text[begin..].iter().position(is_end).map_or(text.len(), |length| begin + length);
        overwrite(&mut text[begin..end]);
        from = end;
    }
}

fn mask_media_key(line: &mut [u8]) {
    if line.starts_with(b"a=crypto:") {
        let mut from = 0;
        while let Some(at) = memmem::find(&line[from..], b"inline:") {
            let begin = from + at + b"inline:".len();
            let is_end = |byte: &u8| matches!(byte, b'|' | b';' | b' ' | b'\r');
            let end = line[begin..].iter().position(is_end).map_or(line.len(), |length| begin + length);
            overwrite(&mut line[begin..end]);
            from = end;
        }
    } else if line.starts_with(b"a=ice-pwd:") {
        overwrite(&mut line[b"a=ice-pwd:".len()..]);
    }
}

fn overwrite(text: &mut [u8]) {
    for byte in text {
        if !matches!(byte, b'\r' | b'\n') {
            *byte = b'*';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_overwritten_and_nothing_moves() {
        for (line, masked) in [
            (
                "Authorization: Digest username=\"bob\", response=\"0123abcd\", nc=00000001",
                "Authorization: Digest username=\"bob\", response=\"********\", nc=00000001",
            ),
            (
                "proxy-authorization : DIGEST Response=0a1b,uri=\"sip:x\"",
                "proxy-authorization : DIGEST Response=****,uri=\"sip:x\"",
            ),
            (
                "Authorization: Digest a=b,\r\n response=\"12\"",
                "Authorization: Digest a=b,\r\n response=\"**\"",
            ),
            (
                "Authorization: Digest response = \"12\", nc=1",
                "Authorization: Digest response = \"**\", nc=1",
            ),
            ("Authorization: Basic Ym9iOng=", "Authorization:***************"),
            ("Authentication-Info: rspauth=\"ff\", nc=1", "Authentication-Info: rspauth=\"**\", nc=1"),
            (
                "Authorization: Digest response=\"unterminated",
                "Authorization: Digest response=\"************",
            ),
            ("Subject: response=\"harmless\"", "Subject: response=\"harmless\""),
            ("WWW-Authenticate: Digest nonce=\"n\"", "WWW-Authenticate: Digest nonce=\"n\""),
            ("Authorization:", "Authorization:"),
            ("no header at all", "no header at all"),
        ] {
            let whole = |line: &str| {
                format!("INVITE sip:a SIP/2.0\r\n{line}\r\nTo: <sip:a>;response=1\r\n\r\nv=0\r\n")
            };
            let text = String::from_utf8(mask(whole(line).as_bytes())).unwrap();
            assert_eq!(text, whole(masked), "{line}");
        }
    }

    #[test]
    fn media_keys_are_overwritten() {
        let body = "\r\n\r\nv=0\r\na=crypto:1 AES inline:abc|2^20 x;inline:de\r\na=ice-pwd:secret\r\na=ice-ufrag:u\r\n";
        let masked = "\r\n\r\nv=0\r\na=crypto:1 AES inline:***|2^20 x;inline:**\r\na=ice-pwd:******\r\na=ice-ufrag:u\r\n";
        assert_eq!(String::from_utf8(mask(body.as_bytes())).unwrap(), masked);
    }
}
