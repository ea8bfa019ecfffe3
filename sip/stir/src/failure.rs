//! What a verification can come to.

/// The result in one word, as 3GPP TS 24.229 section 7.2A.20 names it for the `verstat` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verstat {
    /// The caller is who it says.
    Passed,
    /// Something about the signed identity is wrong.
    Failed,
    /// Nothing could be validated.
    None,
}

impl Verstat {
    /// The token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "TN-Validation-Passed",
            Self::Failed => "TN-Validation-Failed",
            Self::None => "No-TN-Validation",
        }
    }
}

/// Why a call's identity is not established. What a person reads stands in `Display`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No Identity header that we could verify.
    #[error("the INVITE has no Identity header of type shaken")]
    Missing,
    /// The header, the PASSporT in it, or its signature is wrong.
    #[error("{0}")]
    Invalid(&'static str),
    /// The PASSporT was not made now.
    #[error("the PASSporT's iat is not within the freshness window")]
    Stale,
    /// The certificate cannot be had.
    #[error("{0}")]
    Info(&'static str),
    /// The certificate is not to be believed.
    #[error("{0}")]
    Credential(&'static str),
}

impl Failure {
    /// The status that refuses the call (RFC 8224 section 6.2.2).
    pub fn status(self) -> u16 {
        match self {
            Self::Missing => 428,
            Self::Invalid(_) => 438,
            Self::Stale => 403,
            Self::Info(_) => 436,
            Self::Credential(_) => 437,
        }
    }

    /// The reason phrase of that status.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Missing => "Use Identity Header",
            Self::Invalid(_) => "Invalid Identity Header",
            Self::Stale => "Stale Date",
            Self::Info(_) => "Bad Identity Info",
            Self::Credential(_) => "Unsupported Credential",
        }
    }

    /// The result for a call that is taken all the same. Without a header or its certificate nothing was validated.
    pub fn verstat(self) -> Verstat {
        match self {
            Self::Missing | Self::Info(_) => Verstat::None,
            Self::Invalid(_) | Self::Stale | Self::Credential(_) => Verstat::Failed,
        }
    }
}
