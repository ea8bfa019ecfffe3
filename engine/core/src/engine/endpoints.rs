//! Endpoints: what they ask of the registrar, and the API's view of them.

use super::*;

use control_api_types::PutEndpoint;
use sip_core::digest::Ha1;

use crate::io::DoorNews;
use crate::registrar::{Account, Change, Proof, Reply, transport_from_api, transport_to_api};

impl Engine {
    /// A request outside any dialog that is no call.
    pub(super) fn on_request(&mut self, now: Instant, id: RequestId, hop: Hop, request: &Message) {
        let allow = || vec![("Allow".to_owned(), sip_core::ALLOW.to_owned())];
        let reply = match request.method() {
            Some(Method::Register) if !self.registrar.is_empty() => {
                self.expire_contacts(now);
                let was_there = self.registrar.is_flow(hop);
                let outcome = self.registrar.register(now, &self.clock, hop, request);
                if self.registrar.is_flow(hop) != was_there {
                    self.expectations_changed();
                }
                self.publish_contacts(now, &outcome.changes);
                self.tell_proof(hop, outcome.proof);
                outcome.reply
            }
            // RFC 3261 §8.2.1: "If the UAS recognizes but does not support the method of a request, it MUST generate a 405
            // (Method Not Allowed) response", and "MUST also add an Allow header field".
            Some(_) | None => Reply { status: 405, headers: allow() },
        };
        // An error means that the request is too old to be answered.
        let _ = self.endpoint.respond(now, id, reply.status, &reply.headers, None);
    }

    pub(super) fn expire_contacts(&mut self, now: Instant) {
        let changes = self.registrar.expire(now);
        self.publish_contacts(now, &changes);
    }

    /// The door counts who guesses passwords.
    pub(super) fn tell_proof(&mut self, hop: Hop, proof: Proof) {
        let source = hop.remote.ip();
        self.outputs.extend(match proof {
            Proof::None => None,
            Proof::Right => Some(Output::Door(DoorNews::Proven(source))),
            Proof::Wrong => Some(Output::Door(DoorNews::Refused(source))),
        });
    }

    pub(super) fn publish_contacts(&mut self, now: Instant, changes: &[Change]) {
        if !changes.is_empty() {
            self.expectations_changed();
        }
        let at_unix_ms = self.clock.unix_ms(now);
        self.outputs
            .extend(changes.iter().map(|change| Output::NodeEvent { data: change.event(), at_unix_ms }));
    }

    /// The account that an endpoint would have, to be kept and then given to [`put_account`](Self::put_account).
    pub fn account_of(&self, name: &str, put: &PutEndpoint) -> Result<Account, Refusal> {
        let fault = |pointer: &str, detail: String| {
            Refusal::Validation(vec![Fault { pointer: pointer.into(), detail }])
        };
        let known = self.registrar.account(name);
        if known.is_some_and(|known| known.configured) {
            return Err(Refusal::Configured);
        }
        let username = put.username.as_deref().unwrap_or(name);
        let ha1 = match (&put.password, known) {
            (Some(password), _) => Ha1::new(username, self.registrar.realm(), password),
            // A hash holds the user name too.
            (None, Some(known)) if known.username == username => known.ha1.clone(),
            (None, Some(_)) => return Err(fault("/password", "is required with another username".into())),
            (None, None) => return Err(fault("/password", "is required".into())),
        };
        let account = Account {
            name: name.to_owned(),
            username: username.to_owned(),
            ha1,
            caller_id: put.caller_id.clone(),
            max_contacts: put.max_contacts as usize,
            codecs: match &put.codecs {
                Some(codecs) => codecs.iter().copied().map(dial::from_api).collect(),
                None => Codec::DEFAULT.to_vec(),
            },
            srtp: put.srtp,
            media: put.media,
            auto_answer: put.auto_answer,
            transports: put.transports.iter().copied().map(transport_from_api).collect(),
            configured: false,
        };
        self.registrar.check(&account).map_err(|taken| fault("/username", taken.to_string()))?;
        Ok(account)
    }

    /// Adds an endpoint or changes one. With another password its contacts are forgotten.
    pub fn put_account(&mut self, now: Instant, account: Account) -> Result<(), NameTaken> {
        let changes = self.registrar.put(account)?;
        self.expectations_changed();
        self.publish_contacts(now, &changes);
        Ok(())
    }

    /// Whether [`Self::set_endpoints`] would take these.
    pub fn check_endpoints(&self, config: &RegistrarConfig) -> Result<(), NameTaken> {
        self.registrar.users_with(&config.accounts).map(drop)
    }

    /// Takes the endpoints of a configuration that was read again; those that the API has made stay. Passwords that are
    /// hashed for another realm than this engine's wait for the restart that another realm needs.
    pub fn set_endpoints(&mut self, now: Instant, config: RegistrarConfig) -> Result<(), NameTaken> {
        if config.realm == self.registrar.realm() {
            let changes = self.registrar.configure(config.accounts)?;
            self.expectations_changed();
            self.publish_contacts(now, &changes);
        }
        Ok(())
    }

    /// Removes an endpoint and its contacts. Its calls go on.
    pub fn delete_endpoint(&mut self, now: Instant, name: &str) -> Result<(), Refusal> {
        if self.registrar.account(name).is_some_and(|known| known.configured) {
            return Err(Refusal::Configured);
        }
        let changes = self.registrar.remove(name).ok_or(Refusal::NotFound)?;
        self.expectations_changed();
        self.publish_contacts(now, &changes);
        Ok(())
    }

    /// An endpoint as it was set up.
    pub fn account(&self, name: &str) -> Option<&Account> {
        self.registrar.account(name)
    }

    /// The realm that passwords are hashed with.
    pub fn realm(&self) -> &str {
        self.registrar.realm()
    }

    /// Every endpoint as the API shows it, by name.
    pub fn endpoints(&self) -> impl Iterator<Item = control_api_types::Endpoint> {
        self.registrar.accounts().map(|account| self.view(account))
    }

    /// One endpoint as the API shows it.
    pub fn endpoint(&self, name: &str) -> Option<control_api_types::Endpoint> {
        self.registrar.account(name).map(|account| self.view(account))
    }

    fn view(&self, account: &Account) -> control_api_types::Endpoint {
        let contacts = self.registrar.contacts(&account.name);
        control_api_types::Endpoint {
            name: account.name.clone(),
            username: account.username.clone(),
            caller_id: account.caller_id.clone(),
            max_contacts: u32::try_from(account.max_contacts).unwrap_or(u32::MAX),
            codecs: account.codecs.iter().copied().map(dial::to_api).collect(),
            srtp: account.srtp,
            media: account.media,
            auto_answer: account.auto_answer,
            transports: account.transports.iter().copied().map(transport_to_api).collect(),
            configured: account.configured,
            contacts: contacts.iter().map(|binding| binding.view(&self.clock)).collect(),
        }
    }

    /// What the registrar has done, and the contacts that it has now.
    pub fn registrar_counts(&self) -> (RegistrarCounts, usize) {
        (self.registrar.counts(), self.registrar.registered())
    }
}
