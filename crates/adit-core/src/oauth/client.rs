//! Which client asks, and whether it proved it (RFC 6749 §2.3).

use std::net::IpAddr;

use adit_domain::service::ClientKind;
use adit_domain::{Capabilities, PrincipalId, Secret};
use adit_store::{SecretHash, Service};

use super::CLI;
use super::fault::{Fault, Reason};
use crate::Gateway;
use crate::audit::Actor;
use crate::token::{self, Hash, Plane};

/// What a client showed of itself.
#[derive(Debug)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Its secret, where it showed one.
    pub secret: Option<Secret<String>>,
}

/// A client that is who it says.
#[derive(Clone, Debug)]
pub enum Client {
    /// The command line, which anybody has.
    Cli,
    /// A service.
    Service(Box<Service>),
}

impl Client {
    /// Gives the id that it is known by.
    pub fn id(&self) -> String {
        match self {
            Self::Cli => CLI.to_owned(),
            Self::Service(service) => service.principal.id.to_string(),
        }
    }

    /// Gives the service's id; none for the command line.
    pub fn service(&self) -> Option<PrincipalId> {
        match self {
            Self::Cli => None,
            Self::Service(service) => Some(service.principal.id),
        }
    }

    /// Gives what people call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Cli => "adit",
            Self::Service(service) => service.principal.name.name(),
        }
    }

    /// Gives the most that its tokens open.
    pub fn scopes(&self) -> Capabilities {
        match self {
            Self::Cli => Capabilities::all(),
            Self::Service(service) => service.scopes,
        }
    }

    /// Tells whether it can keep a secret.
    pub fn kind(&self) -> ClientKind {
        match self {
            Self::Cli => ClientKind::Public,
            Self::Service(service) => service.kind,
        }
    }

    /// Reads the scope that it asks for; everything that it may have where it names none.
    ///
    /// # Errors
    /// [`Reason::InvalidScope`] for a scope that there is not, or that it is not registered for.
    // BRW-27
    pub fn wanted(&self, scope: Option<&str>) -> Result<Capabilities, Fault> {
        let wanted = match scope.map(str::trim).filter(|scope| !scope.is_empty()) {
            Some(scope) => adit_domain::scope::read(scope)?,
            None => self.scopes(),
        };
        match wanted.without(self.scopes()).iter().next() {
            Some(missing) => Err(Fault::new(
                Reason::InvalidScope,
                format!("This client is not registered for the scope {missing}."),
            )),
            None => Ok(wanted),
        }
    }
}

impl Gateway {
    /// Finds a client that was named, without any proof.
    ///
    /// # Errors
    /// [`Reason::InvalidClient`].
    pub async fn find_oauth_client(&self, id: &str) -> Result<Client, Fault> {
        if id == CLI {
            return Ok(Client::Cli);
        }
        let id: PrincipalId = id.parse().map_err(|_| Fault::client())?;
        let found = self.store.find_client(id).await?.ok_or_else(Fault::client)?;
        Ok(Client::Service(Box::new(found)))
    }

    /// Finds the client that shows itself: one that keeps a secret must show it, one that does not must not.
    ///
    /// # Errors
    /// [`Reason::InvalidClient`], which is audited.
    pub async fn oauth_client(
        &self,
        shown: &Shown,
        address: Option<IpAddr>,
    ) -> Result<Client, Fault> {
        match self.proven_client(shown).await {
            Err(fault) if fault.reason == Reason::InvalidClient => {
                let actor = Actor::nobody(address);
                let event = self.event("client.refused", &actor, "An OAuth2 client was refused");
                self.note(event.denied(adit_domain::Code::AuthRequired)).await;
                Err(fault)
            }
            other => other,
        }
    }

    async fn proven_client(&self, shown: &Shown) -> Result<Client, Fault> {
        let now = self.clock.now();
        let id = shown.id.parse::<PrincipalId>().ok();
        let proof = match &shown.secret {
            None => false,
            Some(secret) => {
                // Asked also for a client that is not there, so that both take as long.
                let hash = token::read(Plane::ClientSecret, secret.expose());
                let hash = hash.unwrap_or_else(|_| Hash::of(secret.expose()));
                let asked = id.unwrap_or(PrincipalId(adit_domain::TenantId::SEED.0));
                self.store.client_secret_counts(asked, SecretHash(hash.0), now).await?
            }
        };
        let client = self.find_oauth_client(&shown.id).await?;
        match (client.kind(), proof, &shown.secret) {
            (ClientKind::Confidential, true, _) | (ClientKind::Public, _, None) => Ok(client),
            _ => Err(Fault::client()),
        }
    }
}
