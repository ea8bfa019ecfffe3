//! Endpoints that the API has made, kept over restarts with hashes in place of their passwords.

use std::sync::Arc;

use control_api_types::{Endpoint, EndpointMedia, PutEndpoint, Srtp};
use engine_core::{Account, Refusal};
use media_core::Codec;
use serde::{Deserialize, Serialize};
use sip_core::Transport;
use sip_core::digest::{Ha1, Hash};

use crate::engine::{Engine, Error};
use crate::journal::{Journal, JournalError, StoredEndpoint, from_json};

/// What the journal keeps of an endpoint.
#[derive(Serialize, Deserialize)]
struct Kept {
    username: String,
    /// The hashes hold for this realm only.
    realm: String,
    md5: String,
    sha256: String,
    sha512_256: String,
    caller_id: Option<String>,
    max_contacts: usize,
    codecs: Vec<String>,
    /// As the API says it; absent: off.
    #[serde(default)]
    srtp: Option<String>,
    /// As the API says it.
    #[serde(default)]
    media: Option<String>,
    #[serde(default)]
    auto_answer: bool,
    transports: Vec<String>,
}

impl Kept {
    fn of(account: &Account, realm: &str) -> Kept {
        let hex = |hash| account.ha1.hex(hash).to_owned();
        Kept {
            username: account.username.clone(),
            realm: realm.to_owned(),
            md5: hex(Hash::Md5),
            sha256: hex(Hash::Sha256),
            sha512_256: hex(Hash::Sha512_256),
            caller_id: account.caller_id.clone(),
            max_contacts: account.max_contacts,
            codecs: account.codecs.iter().map(|codec| codec.name().to_owned()).collect(),
            srtp: Some(account.srtp.as_str().to_owned()),
            media: account.media.map(|media| media.as_str().to_owned()),
            auto_answer: account.auto_answer,
            transports: account.transports.iter().map(|transport| transport.name().to_owned()).collect(),
        }
    }

    /// `None` when something in it is not of this version.
    fn account(&self, name: &str) -> Option<Account> {
        Some(Account {
            name: name.to_owned(),
            username: self.username.clone(),
            ha1: Ha1::from_hex(&self.md5, &self.sha256, &self.sha512_256)?,
            caller_id: self.caller_id.clone(),
            max_contacts: self.max_contacts,
            codecs: self.codecs.iter().map(|name| Codec::from_name(name)).collect::<Option<_>>()?,
            srtp: self.srtp.as_deref().map_or(Some(Srtp::Off), Srtp::from_word)?,
            media: match self.media.as_deref() {
                Some(word) => Some(EndpointMedia::from_word(word)?),
                None => None,
            },
            auto_answer: self.auto_answer,
            transports: self
                .transports
                .iter()
                .map(|name| Transport::from_token(name))
                .collect::<Option<_>>()?,
            configured: false,
        })
    }
}

/// Changes one at a time, so that engine and journal agree.
pub(crate) type Changing = Arc<tokio::sync::Mutex<()>>;

/// Gives the engine what the journal has. What cannot be taken is left out and logged.
pub(crate) fn restore(journal: &Journal, core: &mut engine_core::Engine) -> Result<(), JournalError> {
    for StoredEndpoint { name, json } in journal.endpoints()? {
        let kept: Kept = from_json(&name, &json)?;
        if kept.realm != core.realm() {
            let (was, is) = (kept.realm.as_str(), core.realm());
            tracing::error!(
                endpoint = name,
                was,
                is,
                "the realm has changed: give the endpoint its password again"
            );
            continue;
        }
        let Some(account) = kept.account(&name) else {
            tracing::error!(endpoint = name, "stored endpoint not usable: put it again");
            continue;
        };
        if core.account(&name).is_some() {
            tracing::warn!(endpoint = name, "the configuration file has this endpoint too, and that counts");
        } else if let Err(error) = core.put_account(std::time::Instant::now(), account) {
            tracing::error!(endpoint = name, %error, "stored endpoint not usable");
        }
    }
    Ok(())
}

/// # Endpoints
impl Engine {
    /// Every endpoint with its contacts, by name.
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>, Error> {
        self.ask(|task, _| task.core.endpoints().collect()).await
    }

    /// One endpoint.
    pub async fn endpoint(&self, name: &str) -> Result<Option<Endpoint>, Error> {
        let name = name.to_owned();
        self.ask(move |task, _| task.core.endpoint(&name)).await
    }

    /// Makes an endpoint; one that exists is not changed.
    pub async fn add_endpoint(&self, name: String, put: PutEndpoint) -> Result<Endpoint, Error> {
        let _changing = self.shared.changing_endpoints.lock().await;
        if self.endpoint(&name).await?.is_some() {
            return Err(Error::NameTaken);
        }
        self.change_endpoint(name, put).await
    }

    /// Makes an endpoint or changes it. With another password its contacts are forgotten.
    pub async fn put_endpoint(&self, name: String, put: PutEndpoint) -> Result<Endpoint, Error> {
        let _changing = self.shared.changing_endpoints.lock().await;
        self.change_endpoint(name, put).await
    }

    async fn change_endpoint(&self, name: String, put: PutEndpoint) -> Result<Endpoint, Error> {
        let key = name.clone();
        let (account, realm) = self
            .ask(move |task, _| {
                Ok::<_, Refusal>((task.core.account_of(&key, &put)?, task.core.realm().to_owned()))
            })
            .await??;
        let json = serde_json::to_string(&Kept::of(&account, &realm))
            .map_err(|source| JournalError::Record { key: name.clone(), source })?;
        self.shared.journal.put_endpoint(StoredEndpoint { name: name.clone(), json }).await?;
        self.ask(move |task, now| {
            // It was checked, and whoever changes endpoints waits for us.
            let _ = task.core.put_account(now, account);
            task.core.endpoint(&name)
        })
        .await?
        .ok_or(Error::Refused(Refusal::NotFound))
    }

    /// Forgets an endpoint and its contacts; its calls go on. `false` when there is none.
    pub async fn delete_endpoint(&self, name: &str) -> Result<bool, Error> {
        let _changing = self.shared.changing_endpoints.lock().await;
        match self.endpoint(name).await? {
            None => return Ok(false),
            Some(Endpoint { configured: true, .. }) => return Err(Refusal::Configured.into()),
            Some(_) => {}
        }
        self.shared.journal.delete_endpoint(name.to_owned()).await?;
        let name = name.to_owned();
        Ok(self.ask(move |task, now| task.core.delete_endpoint(now, &name)).await?.is_ok())
    }
}
