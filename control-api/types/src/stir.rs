//! Who calls, as the caller's network has signed it (STIR/SHAKEN).

use crate::call::words;
use serde::{Deserialize, Serialize};
use std::fmt;

words! {
    /// How well the network that signs a call knows the caller (RFC 8588 §4).
    Attestation {
        /// It knows the customer and that the number is the customer's.
        Full = "A",
        /// It knows the customer, not the number.
        Partial = "B",
        /// It knows where the call came in, no more.
        Gateway = "C",
    }
}

words! {
    /// How the calls of one trunk are signed.
    TrunkAttest {
        /// As calls whose customer and number are known.
        Full = "A",
        /// As calls whose customer is known.
        Partial = "B",
        /// As calls of which no more is known than where they came in.
        Gateway = "C",
        /// Not at all: the carrier does it, or nobody.
        Off = "off",
    }
}

words! {
    /// What is done about the identity of inbound calls.
    Verify {
        /// Nothing.
        Off = "off",
        /// It is verified, and the call shows the result.
        Permissive = "permissive",
        /// A call that does not pass is refused.
        Strict = "strict",
    }
}

words! {
    /// What the verification of a call came to (3GPP TS 24.229 §7.2A.20).
    Verstat {
        /// The signature holds, is fresh and covers this caller and callee; the certificate is trusted.
        Passed = "TN-Validation-Passed",
        /// Something of that is not so.
        Failed = "TN-Validation-Failed",
        /// There is no signature, or its certificate could not be had.
        None = "No-TN-Validation",
    }
}

/// Who an inbound call is from, as the caller's network has signed it. What stands beside a `verstat` other than
/// `TN-Validation-Passed` is a claim without proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Stir {
    /// What the verification came to.
    pub verstat: Verstat,
    /// How well the signer knows the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest: Option<Attestation>,
    /// The caller: a number in canonical form (digits only), or a URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orig: Option<String>,
    /// Where the signer's certificate lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5u: Option<String>,
    /// Why it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
