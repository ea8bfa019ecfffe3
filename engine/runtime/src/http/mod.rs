//! What the engine asks of web servers: certificates that callers name, routes of its own operator, and audio to play.
//!
//! They go to addresses that others choose, in the first case anybody. So a name is resolved here and only addresses of
//! the public internet are connected to, unless the configuration allows their network; the same holds for every redirect.
//! Each answer is bounded in size and time, and so is the number of requests under way.

mod address;
mod certificates;
mod question;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, Response, StatusCode, Url};
use sip_core::Network;
use tokio::sync::Semaphore;

use self::address::Resolver;
pub(crate) use self::certificates::{Certificates, Fetched, lifetime};
pub(crate) use self::question::Questions;

/// Where requests may go.
#[derive(Clone, Debug, Default)]
pub struct HttpConfig {
    /// Networks that may be reached although they are not of the public internet.
    pub allow_private: Vec<Network>,
    /// Whether `http://` will do.
    pub allow_plain: bool,
    /// Authorities to believe beside the system's, in PEM.
    pub ca: Option<Vec<u8>>,
}

/// Redirects that are followed. RFC 9110 section 15.4 leaves the number to the client.
const REDIRECTS: usize = 3;

/// Names that are resolved at once; others wait. `getaddrinfo` cannot be taken back: each occupies a thread until it returns.
const LOOKUPS: usize = 128;

/// Octets read of an answer that nobody is interested in.
const UNREAD: usize = 16 * 1024;
/// And how long reading it may take.
const UNREAD_WITHIN: Duration = Duration::from_secs(1);

/// Why a request had no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Its URL leads where it may not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or not that of the server it should be.
    #[error("{0}")]
    Transport(String),
    /// The server says no.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The answer is larger than it may be.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// A URL that must not be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Neither `https://` nor an allowed `http://`.
    #[error("the URL is not https:// (allow_plain in [http] would take http://)")]
    Scheme,
    /// Its address is private.
    #[error(
        "the address is not of the public internet (allow_private in [http] names networks that may be reached)"
    )]
    Address,
    /// One redirect after another.
    #[error("more than {REDIRECTS} redirects")]
    Redirects,
}

/// The rules for URLs and addresses.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    allow_private: Arc<[Network]>,
    allow_plain: bool,
}

impl Rules {
    fn permits(&self, address: IpAddr) -> bool {
        address::is_public(address) || self.allow_private.iter().any(|network| network.contains(address))
    }

    /// Names are checked when they have been resolved; an address in the URL never is.
    fn check(&self, url: &Url) -> Result<(), Refused> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_plain => {}
            _ => return Err(Refused::Scheme),
        }
        let host = url.host_str().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) if !self.permits(address) => Err(Refused::Address),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// A client that keeps to the rules.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    rules: Rules,
    client: reqwest::Client,
}

impl Client {
    /// `redirects`: whether they are followed.
    pub(crate) fn new(config: &HttpConfig, redirects: bool) -> Result<Client, reqwest::Error> {
        let rules =
            Rules { allow_private: config.allow_private.clone().into(), allow_plain: config.allow_plain };
        let ca = config.ca.as_deref().map(Certificate::from_pem_bundle).transpose()?.unwrap_or_default();
        let builder = || builder(&rules, redirects);
        let client = builder().tls_certs_merge(ca.clone()).build().or_else(|error| {
            tracing::warn!(%error, "no certificates of authorities on this system: only ca_file of [http] is believed");
            builder().tls_certs_only(ca).build()
        })?;
        Ok(Client { rules, client })
    }

    /// Sends a request whose answer must be a success, within `timeout`, its body included.
    async fn send(
        &self,
        url: &str,
        body: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let url = self.check(url)?;
        let request = match body {
            Some(json) => {
                self.client.post(url).header(reqwest::header::CONTENT_TYPE, "application/json").body(json)
            }
            None => self.client.get(url),
        };
        let response = request.send().await.map_err(failure)?;
        let reply = Reply::read(response, limit).await?;
        Ok((reply.headers, reply.body.ok_or(Failure::Status(StatusCode::NOT_MODIFIED.as_u16()))?))
    }

    /// Posts JSON; whatever the answer holds, its status is what counts.
    pub(crate) async fn post(&self, url: &str, mut headers: HeaderMap, json: Vec<u8>) -> Result<(), Failure> {
        let url = self.check(url)?;
        headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut response = self.client.post(url).headers(headers).body(json).send().await.map_err(failure)?;
        let status = response.status();
        // The connection is used again if its answer was read, as far as that is worth it; the status counts however slow it is.
        drop(tokio::time::timeout(UNREAD_WITHIN, read(&mut response, UNREAD)).await);
        if status.is_success() { Ok(()) } else { Err(Failure::Status(status.as_u16())) }
    }

    /// Posts JSON, and gives the answer, which must be a success.
    pub(crate) async fn ask(
        &self,
        url: &str,
        mut headers: HeaderMap,
        json: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<u8>, Failure> {
        let url = self.check(url)?;
        headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.client.post(url).headers(headers).body(json).send().await.map_err(failure)?;
        Reply::read(response, limit).await?.body.ok_or(Failure::Status(StatusCode::NOT_MODIFIED.as_u16()))
    }

    /// Asks for what lies at `url`, if it is not what `conditions` tell.
    pub(crate) async fn get(&self, url: &str, conditions: HeaderMap, limit: usize) -> Result<Reply, Failure> {
        let url = self.check(url)?;
        let response = self.client.get(url).headers(conditions).send().await.map_err(failure)?;
        Reply::read(response, limit).await
    }

    /// Posts `body` for what its server makes of it.
    pub(crate) async fn exchange(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        limit: usize,
    ) -> Result<Reply, Failure> {
        let url = self.check(url)?;
        let response = self.client.post(url).headers(headers).body(body).send().await.map_err(failure)?;
        Reply::read(response, limit).await
    }

    /// Whether a URL may be asked for, as far as it tells by itself.
    pub(crate) fn check(&self, url: &str) -> Result<Url, Refused> {
        let url = Url::parse(url).map_err(|_| Refused::Scheme)?;
        self.rules.check(&url)?;
        Ok(url)
    }
}

/// A server's answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) headers: HeaderMap,
    /// `None`: it is what the conditions told.
    pub(crate) body: Option<Vec<u8>>,
}

impl Reply {
    async fn read(mut response: Response, limit: usize) -> Result<Self, Failure> {
        let body = match response.status() {
            StatusCode::NOT_MODIFIED => None,
            status if status.is_success() => Some(read(&mut response, limit).await?),
            status => return Err(Failure::Status(status.as_u16())),
        };
        Ok(Self { headers: std::mem::take(response.headers_mut()), body })
    }
}

fn builder(rules: &Rules, redirects: bool) -> ClientBuilder {
    let of_redirects = rules.clone();
    let follow = Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error(Refused::Redirects);
        }
        match of_redirects.check(attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        }
    });
    reqwest::Client::builder()
        .user_agent(concat!("Carillon/", env!("CARGO_PKG_VERSION")))
        .redirect(if redirects { follow } else { Policy::none() })
        .dns_resolver(Resolver { rules: rules.clone(), lookups: Arc::new(Semaphore::new(LOOKUPS)) })
        // Behind a proxy nobody could tell where a name leads.
        .no_proxy()
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(8)
}

async fn read(response: &mut Response, limit: usize) -> Result<Vec<u8>, Failure> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(Failure::TooLarge(limit));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > limit {
            return Err(Failure::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The deepest cause says what happened; those above it say that something did.
fn failure(error: reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = &error;
    loop {
        if let Some(&refused) = cause.downcast_ref::<Refused>() {
            return Failure::Refused(refused);
        }
        match cause.source() {
            Some(source) => cause = source,
            None => return Failure::Transport(cause.to_string()),
        }
    }
}
