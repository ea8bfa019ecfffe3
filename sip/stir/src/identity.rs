//! The Identity header (RFC 8224 section 4).

/// Longest value of an Identity header that is read, in octets. A PASSporT with everything SHAKEN asks for takes 700.
pub const MAX_IDENTITY: usize = 4096;

/// The value of an Identity header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The signed digest.
    pub token: Token<'a>,
    /// `info`, without its angle brackets: where the certificate lies.
    pub info: &'a str,
    /// `alg`; `None` means ES256.
    pub alg: Option<&'a str>,
    /// `ppt`: the type of the PASSporT. `None`: RFC 8225's own.
    pub ppt: Option<&'a str>,
}

/// The two forms of a PASSporT (RFC 8225 sections 3 and 7), its parts in base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// `header.claims.signature`.
    Full {
        /// The JOSE header.
        header: &'a str,
        /// The claims.
        claims: &'a str,
        /// The signature.
        signature: &'a str,
        /// `header.claims`, what is signed.
        signed: &'a str,
    },
    /// `..signature`: header and claims are to be made from the request.
    Compact {
        /// The signature.
        signature: &'a str,
    },
}

/// The value is no Identity header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

impl<'a> Identity<'a> {
    /// Reads the value of one header.
    pub fn parse(value: &'a str) -> Result<Self, Malformed> {
        if value.len() > MAX_IDENTITY {
            return Err(Malformed("the Identity header is too long"));
        }
        let (token, mut rest) = match value.find(';') {
            Some(at) => (&value[..at], &value[at..]),
            None => (value, ""),
        };
        let token = Token::parse(token.trim_matches(LWS))?;
        let (mut info, mut alg, mut ppt) = (None, None, None);
        while let Some((name, value)) = parameter(&mut rest)? {
            let place = if name.eq_ignore_ascii_case("info") {
                &mut info
            } else if name.eq_ignore_ascii_case("alg") {
                &mut alg
            } else if name.eq_ignore_ascii_case("ppt") {
                &mut ppt
            } else {
                continue;
            };
            if place.replace(value).is_some() {
                return Err(Malformed("a parameter of the Identity header is given twice"));
            }
        }
        // RFC 8224 section 4: signed-identity-digest SEMI ident-info is not optional.
        let info = info.ok_or(Malformed("the Identity header has no info parameter"))?;
        Ok(Self { token, info, alg, ppt })
    }
}

const LWS: &[char] = &[' ', '\t', '\r', '\n'];

/// Takes the next `;name=value` off `rest`; the value is bare, in `<>` or in quotes, which are not part of it.
fn parameter<'a>(rest: &mut &'a str) -> Result<Option<(&'a str, &'a str)>, Malformed> {
    let text = rest.trim_start_matches(LWS);
    if text.is_empty() {
        return Ok(None);
    }
    let text = text.strip_prefix(';').ok_or(Malformed("a parameter of the Identity header goes on"))?;
    let end = text.find(['=', ';']).unwrap_or(text.len());
    let name = text[..end].trim_matches(LWS);
    if name.is_empty() {
        return Err(Malformed("a parameter of the Identity header has no name"));
    }
    let Some(text) = text[end..].strip_prefix('=') else {
        *rest = &text[end..];
        return Ok(Some((name, "")));
    };
    let text = text.trim_start_matches(LWS);
    let closing = match text.bytes().next() {
        Some(b'<') => Some('>'),
        Some(b'"') => Some('"'),
        Some(_) | None => None,
    };
    let (value, after) = match closing {
        Some(closing) => text[1..]
            .split_once(closing)
            .ok_or(Malformed("a parameter of the Identity header does not end"))?,
        None => {
            let end = text.find(';').unwrap_or(text.len());
            (text[..end].trim_matches(LWS), &text[end..])
        }
    };
    *rest = after;
    Ok(Some((name, value)))
}

impl<'a> Token<'a> {
    fn parse(token: &'a str) -> Result<Self, Malformed> {
        let is_base64url =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let mut parts = token.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(header), Some(claims), Some(signature), None)
                if [header, claims, signature].into_iter().all(is_base64url) && !signature.is_empty() =>
            {
                match (header.is_empty(), claims.is_empty()) {
                    (false, false) => {
                        let signed = &token[..header.len() + 1 + claims.len()];
                        Ok(Self::Full { header, claims, signature, signed })
                    }
                    (true, true) => Ok(Self::Compact { signature }),
                    (true, false) | (false, true) => {
                        Err(Malformed("the PASSporT is neither in full nor in compact form"))
                    }
                }
            }
            _ => Err(Malformed("the Identity header has no PASSporT")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_their_parameters() {
        let full =
            Identity::parse("aA.b_.c-;info=<https://a.example/c;x=1.pem>;alg=ES256;ppt=shaken;canon=z");
        let expected = Identity {
            token: Token::Full { header: "aA", claims: "b_", signature: "c-", signed: "aA.b_" },
            info: "https://a.example/c;x=1.pem",
            alg: Some("ES256"),
            ppt: Some("shaken"),
        };
        assert_eq!(full, Ok(expected));
        let spaced =
            " aA.b_.c- \r\n ; Info = <https://a.example/c;x=1.pem> ; ALG=ES256 ; ppt = \"shaken\" ; flag ";
        assert_eq!(Identity::parse(spaced), Ok(expected));
        let compact = Identity::parse("..sig;info=<https://a.example/c>").unwrap();
        assert_eq!(
            (compact.token, compact.alg, compact.ppt),
            (Token::Compact { signature: "sig" }, None, None)
        );
    }

    #[test]
    fn what_is_no_identity_is_told() {
        let long = format!("a.b.c;info=<{}>", "x".repeat(MAX_IDENTITY));
        for (value, told) in [
            ("", "the Identity header has no PASSporT"),
            ("a.b", "the Identity header has no PASSporT"),
            ("a.b.", "the Identity header has no PASSporT"),
            ("a.b.c.d;info=<x>", "the Identity header has no PASSporT"),
            ("a.b.c=;info=<x>", "the Identity header has no PASSporT"),
            ("a..c;info=<x>", "the PASSporT is neither in full nor in compact form"),
            ("a.b.c", "the Identity header has no info parameter"),
            ("a.b.c;info=<x", "a parameter of the Identity header does not end"),
            ("a.b.c;info=<x>y", "a parameter of the Identity header goes on"),
            ("a.b.c;=<x>", "a parameter of the Identity header has no name"),
            ("a.b.c;info=<x>;INFO=<y>", "a parameter of the Identity header is given twice"),
            (&long, "the Identity header is too long"),
        ] {
            assert_eq!(Identity::parse(value), Err(Malformed(told)), "{value}");
        }
    }
}
