//! PASSporTs of type `shaken` (RFC 8225, RFC 8588): their JSON, and nothing about keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::identity::{Identity, Token};
use crate::party::{Number, Party};

/// How well the signer knows the caller (RFC 8588 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Attestation {
    /// The signer knows the customer and that the number is the customer's.
    #[serde(rename = "A")]
    Full,
    /// The signer knows the customer, not the number.
    #[serde(rename = "B")]
    Partial,
    /// The signer knows where the call came in, no more.
    #[serde(rename = "C")]
    Gateway,
}

impl Attestation {
    /// The letter that stands in the claim.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "A",
            Self::Partial => "B",
            Self::Gateway => "C",
        }
    }
}

/// What is asserted of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// How well the caller is known.
    pub attest: Attestation,
    /// Who is called: at least one.
    pub dest: Vec<Party>,
    /// When this was said, in Unix seconds.
    pub iat: u64,
    /// Who calls.
    pub orig: Party,
    /// Where the call came from, in the signer's terms: a UUID.
    pub origid: String,
}

/// A PASSporT that was read; its signature is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passport {
    /// Where the certificate lies.
    pub x5u: String,
    /// What it claims.
    pub claims: Claims,
    /// What is signed: `header.claims`, in base64url.
    pub signed: String,
    /// `r` and `s`, each of 32 octets (RFC 7518 section 3.4).
    pub signature: [u8; 64],
}

pub(crate) const ALG: &str = "ES256";
pub(crate) const PPT: &str = "shaken";
const TYP: &str = "passport";

/// The protected header. Fields stand in the order in which they are serialized: RFC 8225 section 9 has the keys in
/// lexicographic order, without white space.
#[derive(Serialize, Deserialize)]
struct Header<'a> {
    alg: &'a str,
    ppt: &'a str,
    typ: &'a str,
    x5u: &'a str,
}

#[derive(Serialize)]
struct ClaimsOut<'a> {
    attest: Attestation,
    dest: DestOut<'a>,
    iat: u64,
    orig: OrigOut<'a>,
    origid: &'a str,
}

#[derive(Serialize)]
struct DestOut<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tn: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uri: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum OrigOut<'a> {
    Tn(&'a str),
    Uri(&'a str),
}

/// The protected header, in base64url.
pub(crate) fn header(x5u: &str) -> String {
    encode(&Header { alg: ALG, ppt: PPT, typ: TYP, x5u })
}

impl Claims {
    /// The claims, in base64url.
    pub(crate) fn encode(&self) -> String {
        let tn = self.dest.iter().filter_map(|party| match party {
            Party::Number(number) => Some(number.as_str()),
            Party::Uri(_) => None,
        });
        let uri = self.dest.iter().filter_map(|party| match party {
            Party::Uri(uri) => Some(uri.as_str()),
            Party::Number(_) => None,
        });
        encode(&ClaimsOut {
            attest: self.attest,
            dest: DestOut { tn: tn.collect(), uri: uri.collect() },
            iat: self.iat,
            orig: match &self.orig {
                Party::Number(number) => OrigOut::Tn(number.as_str()),
                Party::Uri(uri) => OrigOut::Uri(uri),
            },
            origid: &self.origid,
        })
    }
}

fn encode(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).expect("strings and numbers are JSON");
    URL_SAFE_NO_PAD.encode(json)
}

/// What a header of others may hold. Members that nobody knows are ignored, `crit` excepted.
#[derive(Deserialize)]
struct HeaderIn {
    alg: String,
    ppt: Option<String>,
    typ: String,
    x5u: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct ClaimsIn {
    attest: Attestation,
    dest: DestIn,
    iat: u64,
    orig: OrigIn,
    origid: String,
}

#[derive(Deserialize)]
struct DestIn {
    #[serde(default)]
    tn: Vec<String>,
    #[serde(default)]
    uri: Vec<String>,
}

#[derive(Deserialize)]
struct OrigIn {
    tn: Option<String>,
    uri: Option<String>,
}

impl Passport {
    /// Reads the PASSporT of an Identity header of type `shaken`; what is wrong with it, in words, otherwise.
    pub fn read(identity: &Identity<'_>) -> Result<Self, &'static str> {
        let Token::Full { header, claims, signature, signed } = identity.token else {
            // `attest` and `origid` stand nowhere else in the request.
            return Err("a PASSporT of type shaken must be in full form");
        };
        let header: HeaderIn = decode(header).ok_or("the PASSporT's header cannot be read")?;
        // RFC 7515 section 4.1.11: extensions of `crit` that are not understood make the JWS invalid. We know none.
        if header.crit.is_some() {
            return Err("the PASSporT has a critical extension");
        }
        if header.alg != ALG || identity.alg.is_some_and(|alg| !alg.eq_ignore_ascii_case(ALG)) {
            return Err("the PASSporT's alg is not ES256");
        }
        if header.ppt.as_deref() != Some(PPT) {
            return Err("the PASSporT's ppt is not shaken");
        }
        if header.typ != TYP {
            return Err("the PASSporT's typ is not passport");
        }
        let x5u = header.x5u.ok_or("the PASSporT has no x5u")?;
        let claims: ClaimsIn = decode(claims).ok_or("the PASSporT's claims cannot be read")?;
        Ok(Self {
            x5u,
            claims: claims.check()?,
            signed: signed.to_owned(),
            signature: signature_of(signature).ok_or("the PASSporT's signature is not that of ES256")?,
        })
    }
}

impl ClaimsIn {
    fn check(self) -> Result<Claims, &'static str> {
        let Self { attest, dest, iat, orig, origid } = self;
        let number = |text: &String| Number::canonical(text).map(Party::Number);
        let orig = match (orig.tn, orig.uri) {
            (Some(tn), None) => number(&tn).ok_or("the PASSporT's orig is no number")?,
            (None, Some(uri)) => Party::Uri(uri),
            // RFC 8225 section 5.2.1: "orig" has exactly one identity.
            (Some(_), Some(_)) | (None, None) => return Err("the PASSporT's orig is not one party"),
        };
        let mut parties = Vec::with_capacity(dest.tn.len() + dest.uri.len());
        for tn in &dest.tn {
            parties.push(number(tn).ok_or("the PASSporT's dest is no number")?);
        }
        parties.extend(dest.uri.into_iter().map(Party::Uri));
        if parties.is_empty() {
            return Err("the PASSporT's dest is empty");
        }
        Ok(Claims { attest, dest: parties, iat, orig, origid })
    }
}

fn decode<T: for<'a> Deserialize<'a>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn signature_of(part: &str) -> Option<[u8; 64]> {
    URL_SAFE_NO_PAD.decode(part).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Party {
        Party::Number(Number::canonical(text).unwrap())
    }

    /// RFC 8588 section 6 shows a header and claims; section 8 has the order of the keys.
    #[test]
    fn the_example_of_rfc_8588() {
        let claims = Claims {
            attest: Attestation::Full,
            dest: vec![number("12125551213")],
            iat: 1_443_208_345,
            orig: number("12155551212"),
            origid: "123e4567-e89b-12d3-a456-426655440000".to_owned(),
        };
        let text = |part: String| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(
            text(header("https://cert.example.org/passport.cer")),
            r#"{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://cert.example.org/passport.cer"}"#
        );
        assert_eq!(
            text(claims.encode()),
            r#"{"attest":"A","dest":{"tn":["12125551213"]},"iat":1443208345,"orig":{"tn":"12155551212"},"origid":"123e4567-e89b-12d3-a456-426655440000"}"#
        );
        let uris = Claims {
            dest: vec![Party::Uri("sip:bob@b.example".into()), number("+1 212")],
            orig: Party::Uri("sip:alice@a.example".into()),
            attest: Attestation::Gateway,
            ..claims
        };
        assert_eq!(
            text(uris.encode()),
            r#"{"attest":"C","dest":{"tn":["1212"],"uri":["sip:bob@b.example"]},"iat":1443208345,"orig":{"uri":"sip:alice@a.example"},"origid":"123e4567-e89b-12d3-a456-426655440000"}"#
        );
    }

    fn read(header: &str, claims: &str, signature: &str) -> Result<Passport, &'static str> {
        let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
        let value = format!("{}.{}.{signature};info=<https://c.example>", encode(header), encode(claims));
        Passport::read(&Identity::parse(&value).unwrap())
    }

    #[test]
    fn faults_are_told_apart() {
        const HEADER: &str = r#"{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://c.example"}"#;
        const CLAIMS: &str =
            r#"{"attest":"B","dest":{"tn":["1"]},"iat":1,"orig":{"tn":"2"},"origid":"x","new":[]}"#;
        let signature = URL_SAFE_NO_PAD.encode([7; 64]);
        let passport = read(HEADER, CLAIMS, &signature).unwrap();
        assert_eq!((passport.claims.attest, passport.signature), (Attestation::Partial, [7; 64]));
        for (header, claims, told) in [
            (HEADER.replace("ES256", "none"), CLAIMS.to_owned(), "the PASSporT's alg is not ES256"),
            (HEADER.replace("shaken", "div"), CLAIMS.to_owned(), "the PASSporT's ppt is not shaken"),
            (HEADER.replace("passport", "JWT"), CLAIMS.to_owned(), "the PASSporT's typ is not passport"),
            (HEADER.replace("x5u", "x5t"), CLAIMS.to_owned(), "the PASSporT has no x5u"),
            (
                HEADER.replace("{", r#"{"crit":["x"],"#),
                CLAIMS.to_owned(),
                "the PASSporT has a critical extension",
            ),
            (
                HEADER.replace("{", r#"{"alg":"ES256","#),
                CLAIMS.to_owned(),
                "the PASSporT's header cannot be read",
            ),
            ("[]".to_owned(), CLAIMS.to_owned(), "the PASSporT's header cannot be read"),
            (HEADER.to_owned(), CLAIMS.replace("\"B\"", "\"D\""), "the PASSporT's claims cannot be read"),
            (HEADER.to_owned(), CLAIMS.replace(":1,", ":\"1\","), "the PASSporT's claims cannot be read"),
            (HEADER.to_owned(), CLAIMS.replace("[\"1\"]", "[]"), "the PASSporT's dest is empty"),
            (HEADER.to_owned(), CLAIMS.replace("[\"1\"]", "[\"x\"]"), "the PASSporT's dest is no number"),
            (HEADER.to_owned(), CLAIMS.replace(":\"2\"", ":\"bob\""), "the PASSporT's orig is no number"),
            (HEADER.to_owned(), CLAIMS.replace("\"tn\":\"2\"", ""), "the PASSporT's orig is not one party"),
            (
                HEADER.to_owned(),
                CLAIMS.replace(":\"2\"", ":\"2\",\"uri\":\"x\""),
                "the PASSporT's orig is not one party",
            ),
        ] {
            assert_eq!(read(&header, &claims, &signature), Err(told), "{header} {claims}");
        }
        let short = URL_SAFE_NO_PAD.encode([7; 63]);
        assert_eq!(read(HEADER, CLAIMS, &short), Err("the PASSporT's signature is not that of ES256"));
        let compact = Identity::parse("..c2ln;info=<x>;ppt=shaken").unwrap();
        assert_eq!(Passport::read(&compact), Err("a PASSporT of type shaken must be in full form"));
    }
}
