//! Certificates as carriers have them: an anchor, an authority, a signer with a TN Authorization List.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use sip_stir::{Anchors, Chain, Signer};

/// 2027-01-15: what the clock shows in these tests.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const X5U: &str = "https://cert.example.org/shaken.pem";

/// `TNAuthList` with the code of a service provider, "709J".
pub(crate) const PROVIDER: &[u8] = &[0x30, 0x08, 0xa0, 0x06, 0x16, 0x04, b'7', b'0', b'9', b'J'];
/// `TNAuthList` with one number, "12155551212".
pub(crate) const ONE_NUMBER: &[u8] = b"\x30\x0f\xa2\x0d\x16\x0b12155551212";

pub(crate) struct Pki {
    anchor: Certificate,
    authority: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) struct Leaf {
    pub(crate) key: KeyPair,
    pub(crate) params: CertificateParams,
}

impl Leaf {
    pub(crate) fn new(tn_auth_list: Option<&[u8]>) -> Self {
        let mut params = params("SHAKEN 709J");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.custom_extensions.extend(tn_auth_list.map(|list| extension(26, list)));
        Self { key: KeyPair::generate().unwrap(), params }
    }

    pub(crate) fn signer(&self) -> Signer {
        Signer::new(self.key.serialize_pem().as_bytes(), X5U).unwrap()
    }
}

/// An extension of PKIX's private arc, not critical.
pub(crate) fn extension(number: u64, content: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, number], content.to_vec())
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2028, 1, 1);
    params
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self::with_authority(None)
    }

    /// The authority in the middle has this list.
    pub(crate) fn with_authority(tn_auth_list: Option<&[u8]>) -> Self {
        let ca = |name, constraints| {
            let mut params = params(name);
            params.is_ca = IsCa::Ca(constraints);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params
        };
        let root_key = KeyPair::generate().unwrap();
        let root = ca("STI root", BasicConstraints::Unconstrained);
        let anchor = root.self_signed(&root_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut middle = ca("STI authority", BasicConstraints::Constrained(0));
        middle.custom_extensions.extend(tn_auth_list.map(|list| extension(26, list)));
        let authority = middle.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
        Self { anchor, authority, issuer: Issuer::new(middle, key) }
    }

    pub(crate) fn anchors(&self) -> Anchors {
        let mut anchors = Anchors::default();
        anchors.add(self.anchor.pem().as_bytes()).unwrap();
        anchors
    }

    /// What lies at the signer's URL.
    pub(crate) fn pem(&self, leaf: &Leaf) -> String {
        let signed = leaf.params.signed_by(&leaf.key, &self.issuer).unwrap();
        signed.pem() + &self.authority.pem()
    }

    pub(crate) fn chain(&self, leaf: &Leaf) -> Chain {
        Chain::read(self.pem(leaf).as_bytes()).unwrap()
    }
}
