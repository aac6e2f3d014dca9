//! A device without a browser asks, and a user answers elsewhere (RFC 8628).

use std::net::IpAddr;
use std::time::Duration;

use adit_domain::{Capabilities, Code, Ids, PrincipalId, Secret, TenantId, Timestamp, TokenId};
use adit_store::{Device, DeviceAnswer, DeviceState, Flow, NewDevice, SecretHash};
use aws_lc_rs::hmac;
use serde_json::json;

use super::Issued;
use super::attempts::Attempts;
use super::authorize::may_answer;
use super::client::Client;
use super::fault::{Fault, Reason};
use super::issue::Approved;
use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Actor};
use crate::bus::Change;
use crate::token::{self, Plane};

/// How long a request can be answered.
pub const LIFE: Duration = Duration::from_secs(600);

/// How long a device waits between two questions, in seconds (RFC 8628 §3.2).
pub const INTERVAL_SECONDS: u64 = 5;

/// What a device may be early: the network does not keep time.
const EARLY: Duration = Duration::from_millis(500);

/// The letters of a code that a user types: no vowels, so that it spells nothing, and nothing that looks like something else.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// The letters of a code: 20^8 are 2.5 × 10^10, of which a user may try five in a minute.
const CODE_LETTERS: usize = 8;

/// What the OAuth2 server remembers of devices while it runs.
#[derive(Debug)]
pub(crate) struct Devices {
    key: hmac::Key,
    wrong: Attempts<PrincipalId>,
    begun: Attempts<Option<IpAddr>>,
}

impl Devices {
    pub(crate) fn new(secret: &str) -> Self {
        let key = crate::derive(secret, b"adit device user codes v1");
        let minute = Duration::from_secs(60);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            wrong: Attempts::new(5, 100, minute),
            begun: Attempts::new(30, 300, minute),
        }
    }

    /// Hashes a code as a user types it. With a key, because a short code could be found again by its hash.
    fn hash(&self, typed: &str) -> Option<SecretHash> {
        let plain = plain_code(typed)?;
        let tag = hmac::sign(&self.key, plain.as_bytes());
        Some(SecretHash(tag.as_ref().try_into().ok()?))
    }
}

/// A request that a device may show.
#[derive(Debug)]
pub struct Begun {
    /// What the device asks with.
    pub device_code: Secret<String>,
    /// What the user types.
    pub user_code: String,
}

/// A request as a user sees it before answering.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Who asks.
    pub client: String,
    /// For what.
    pub scopes: Capabilities,
    /// From where.
    pub address: Option<String>,
    /// Since when.
    pub asked_at: Timestamp,
}

impl Gateway {
    /// Begins a request of a device.
    ///
    /// # Errors
    /// [`Reason::InvalidScope`], or [`Reason::SlowDown`] when there are too many.
    pub async fn begin_device(
        &self,
        client: &Client,
        scope: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Begun, Fault> {
        let scopes = client.wanted(scope)?;
        let at = self.clock.now();
        let devices = &self.oauth.devices;
        if devices.begun.check(&address, at).is_err() {
            let sentence = "Too many devices ask from here. Wait a minute.";
            return Err(Fault::new(Reason::SlowDown, sentence));
        }
        devices.begun.count(address, at);
        let minted = token::mint(Plane::Device, &*self.ids);
        let user_code = make_code(&*self.ids);
        let user_hash = devices.hash(&user_code).ok_or_else(Fault::grant)?;
        let tenant = match client {
            Client::Cli => TenantId::SEED,
            Client::Service(service) => service.principal.tenant,
        };
        let new = NewDevice {
            id: TokenId::new(&*self.ids),
            tenant,
            hash: SecretHash(minted.hash.0),
            user_hash,
            client: client.service(),
            scopes,
            address: address.map(|address| address.to_string()),
            expires_at: at + LIFE,
            at,
        };
        self.store.begin_device(new).await?;
        Ok(Begun { device_code: minted.secret, user_code })
    }

    /// Gives a device its tokens once a user said yes, and says meanwhile how far it is.
    ///
    /// # Errors
    /// [`Reason::AuthorizationPending`], [`Reason::SlowDown`], [`Reason::AccessDenied`], [`Reason::ExpiredToken`],
    /// [`Reason::InvalidGrant`].
    pub async fn token_for_device(
        &self,
        client: &Client,
        device_code: &Secret<String>,
        address: Option<IpAddr>,
    ) -> Result<Issued, Fault> {
        let actor = Actor::nobody(address);
        let Ok(hash) = token::read(Plane::Device, device_code.expose()) else {
            return Err(self.refused_token(&actor, Fault::grant()).await);
        };
        let found = self.store.find_device(SecretHash(hash.0)).await?;
        let Some(device) = found.filter(|device| device.client == client.service()) else {
            return Err(self.refused_token(&actor, Fault::grant()).await);
        };
        let now = self.clock.now();
        match device.state {
            DeviceState::Used => Err(self.refused_token(&actor, Fault::grant()).await),
            _ if device.expires_at <= now => {
                Err(Fault::new(Reason::ExpiredToken, "Nobody answered in time. Begin again."))
            }
            DeviceState::Denied => Err(Fault::new(Reason::AccessDenied, "The user said no.")),
            DeviceState::Pending => Err(self.still_pending(&device, now).await),
            DeviceState::Approved => self.use_device(client, &device, address).await,
        }
    }

    async fn still_pending(&self, device: &Device, now: Timestamp) -> Fault {
        let least = Duration::from_secs(INTERVAL_SECONDS) - EARLY;
        let early = device.polled_at.is_some_and(|at| now.since(at) < least);
        if let Err(error) = self.store.note_poll(device.id, now).await {
            return error.into();
        }
        if early {
            Fault::new(Reason::SlowDown, "Ask less often.")
        } else {
            Fault::new(Reason::AuthorizationPending, "The user has not answered yet.")
        }
    }

    async fn use_device(
        &self,
        client: &Client,
        device: &Device,
        address: Option<IpAddr>,
    ) -> Result<Issued, Fault> {
        let tenant = self.store.tenant(device.tenant);
        let account = match device.principal {
            Some(id) => tenant.find_principal(id).await?.filter(|account| account.active),
            None => None,
        };
        let account = account.ok_or_else(Fault::grant)?;
        let (scopes, flow) = (device.scopes, Flow::Device);
        let approved = Approved { principal: &account.principal, client, flow, scopes, address };
        let made = self.make_for_user(&approved)?;
        let event = made.event;
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        if !tenant.use_device(device.id, made.issue, tell).await? {
            return Err(Fault::grant());
        }
        self.bus.tell(tenant.id(), Change::Access);
        Ok(made.answer)
    }

    /// Shows a user the request whose code they typed.
    ///
    /// # Errors
    /// [`Code::NotFound`] alike for a code that was answered, has expired or never was; [`Code::AuthLimited`] after too many of them.
    pub async fn look_at_device(&self, caller: &Caller, typed: &str) -> Result<Seen, Refusal> {
        let (device, client) = self.typed_device(caller, typed).await?;
        Ok(Seen {
            client: client.name().to_owned(),
            scopes: device.scopes,
            address: device.address,
            asked_at: device.created_at,
        })
    }

    /// Answers the request whose code a user typed.
    ///
    /// # Errors
    /// As [`Gateway::look_at_device`].
    pub async fn answer_device(
        &self,
        caller: &Caller,
        typed: &str,
        answer: DeviceAnswer,
    ) -> Result<(), Refusal> {
        let (device, client) = self.typed_device(caller, typed).await?;
        let name = caller.principal.name.name();
        let (event, sentence) = match answer {
            DeviceAnswer::Approve => {
                ("device.approve", format!("{name} let {} on a device act for them", client.name()))
            }
            DeviceAnswer::Deny => ("device.deny", format!("{name} let a device have nothing")),
        };
        let event = self
            .event(event, &caller.actor(), sentence)
            .on(audit::party_of(&caller.principal))
            .with("scopes", json!(device.scopes.names()))
            .with("from", json!(device.address));
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let by = (caller.principal.tenant, caller.principal.id);
        let done = self.store.answer_device(device.id, by, answer, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Audit);
        if done { Ok(()) } else { Err(unknown()) }
    }

    async fn typed_device(
        &self,
        caller: &Caller,
        typed: &str,
    ) -> Result<(Device, Client), Refusal> {
        may_answer(caller)?;
        let (now, who) = (self.clock.now(), caller.principal.id);
        let devices = &self.oauth.devices;
        if devices.wrong.check(&who, now).is_err() {
            return Err(Code::AuthLimited.into());
        }
        let found = match devices.hash(typed) {
            Some(hash) => self.store.find_pending_device(hash, now).await?,
            None => None,
        };
        let ours =
            |device: &Device| device.client.is_none() || device.tenant == caller.principal.tenant;
        let Some(device) = found.filter(ours) else {
            devices.wrong.count(who, now);
            let event = self
                .event("device.refused", &caller.actor(), "A code of a device was not found")
                .denied(Code::NotFound);
            self.note(event).await;
            return Err(unknown());
        };
        let client = match device.client {
            None => Client::Cli,
            Some(id) => {
                let service = self.store.find_client(id).await?.ok_or_else(unknown)?;
                Client::Service(Box::new(service))
            }
        };
        Ok((device, client))
    }
}

fn unknown() -> Refusal {
    let sentence =
        "No device waits with this code. Look at the code again, or begin again on the device.";
    Refusal::Said(Code::NotFound, sentence.into())
}

/// Makes a code for a user to type, as `BCDF-GHJK`.
fn make_code(ids: &dyn Ids) -> String {
    let mut code = String::with_capacity(CODE_LETTERS + 1);
    while code.len() < CODE_LETTERS + 1 {
        let mut byte = [0];
        ids.fill(&mut byte);
        // 240 is the largest multiple of 20 in a byte, so that all letters are as likely.
        if byte[0] < 240 {
            code.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
        if code.len() == CODE_LETTERS / 2 {
            code.push('-');
        }
    }
    code
}

/// Takes a code as people type it: in any case, with or without what stands between.
fn plain_code(typed: &str) -> Option<String> {
    if typed.len() > 64 {
        return None;
    }
    let kept = typed.chars().filter(|c| !matches!(c, ' ' | '-'));
    let plain = kept.collect::<String>().to_ascii_uppercase();
    (plain.len() == CODE_LETTERS && plain.bytes().all(|b| LETTERS.contains(&b))).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemIds;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        for _ in 0..100 {
            let code = make_code(&SystemIds);
            let plain = plain_code(&code).unwrap();
            assert_eq!((code.len(), plain.len()), (9, 8));
            assert_eq!(plain_code(&code.to_lowercase().replace('-', " ")), Some(plain));
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for bad in ["", "BCDF", "BCDF-GHJA", "BCDF-GHJKL", &"B".repeat(1000), "BCDFÄHJK"] {
            assert_eq!(plain_code(bad), None, "{bad}");
        }
    }
}
