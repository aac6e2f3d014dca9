//! Passkeys (WebAuthn): several a user, each with a name; one signs in without a password and counts as both factors.

use std::time::{Duration, Instant};

use adit_domain::{Code, Principal, PrincipalId, Secret, TokenId};
use adit_store::{
    Conflict, NewPasskey, NewStep, Passkey, Proof, SecretHash, Step, StepKind, StoreError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    DiscoverableAuthentication, DiscoverableKey, Passkey as PublicKey, PasskeyAuthentication,
    PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Url, Uuid, Webauthn,
    WebauthnBuilder, WebauthnError,
};

use super::attempts::Subject;
use super::{Arrival, Entered, Visitor, Wanted};
use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit;
use crate::bus::Change;
use crate::token::{self, Plane};

/// How long a ceremony may take: somebody looks for a key and touches it.
const CEREMONY_LIFE: Duration = Duration::from_secs(300);

/// Passkeys that one user may have.
const MOST_PASSKEYS: usize = 20;

/// The longest name of one.
const MAX_NAME: usize = 64;

/// A ceremony that has begun.
#[derive(Debug)]
pub struct Ceremony {
    /// What goes on with it, once.
    pub secret: Secret<String>,
    /// What the browser is asked, as WebAuthn's JSON.
    pub options: Value,
}

/// What a ceremony of a sign-in remembers.
#[derive(Serialize, Deserialize)]
struct SignInState {
    wanted: Wanted,
    ceremony: DiscoverableAuthentication,
}

/// Makes the relying party of the gateway's address: its host name; `localhost` for loopback. None where the address has no name,
/// because browsers take names only.
pub(super) fn relying_party(url: &str) -> Option<Webauthn> {
    let mut origin = Url::parse(url).ok()?;
    if origin.domain().is_none() {
        let host = origin.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_loopback = host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        origin.set_host(Some(if is_loopback { "localhost" } else { return None })).ok()?;
    }
    let name = origin.domain()?.to_owned();
    WebauthnBuilder::new(&name, &origin).ok()?.rp_name("Adit").build().ok()
}

impl Gateway {
    fn relying_party(&self) -> Result<&Webauthn, Refusal> {
        self.sign_ins.relying_party.as_ref().ok_or_else(|| {
            let sentence = "Passkeys need a host name. Set `url` to an address with one, such as https://adit.example.";
            Refusal::Said(Code::RequestInvalid, sentence.into())
        })
    }

    async fn begin_ceremony(
        &self,
        kind: StepKind,
        of: (adit_domain::TenantId, Option<PrincipalId>),
        state: &impl Serialize,
        options: &impl Serialize,
    ) -> Result<Ceremony, Refusal> {
        let internal = |_| Refusal::Code(Code::Internal);
        let minted = token::mint(Plane::Step, &*self.ids);
        let at = self.clock.now();
        let step = NewStep {
            hash: SecretHash(minted.hash.0),
            kind,
            principal: of.1,
            state: serde_json::to_string(state).map_err(internal)?,
            expires_at: at + CEREMONY_LIFE,
            at,
        };
        self.store.tenant(of.0).add_step(step, |()| vec![]).await?;
        let options = serde_json::to_value(options).map_err(internal)?;
        Ok(Ceremony { secret: minted.secret, options: options["publicKey"].clone() })
    }

    /// Goes on with a ceremony, once.
    async fn end_ceremony(
        &self,
        kind: StepKind,
        presented: &str,
    ) -> Result<(SecretHash, Step), Refusal> {
        let over = || Refusal::Code(Code::StepRefused);
        let hash = SecretHash(token::read(Plane::Step, presented).map_err(|_| over())?.0);
        let found = self.store.try_step(kind, hash, self.clock.now(), 1).await?;
        Ok((hash, found.ok_or_else(over)?))
    }

    /// Begins a passkey of the caller.
    ///
    /// # Errors
    /// [`Code::AccessSecondFactor`] when whoever has a second factor did not show it lately.
    pub async fn begin_passkey(&self, caller: &Caller) -> Result<Ceremony, Refusal> {
        self.own_account(caller)?;
        let (party, who) = (self.relying_party()?, &caller.principal);
        let tenant = self.store.tenant(who.tenant);
        self.proven(caller, tenant.load_factors(who.id).await?)?;
        let known = tenant.list_passkeys(who.id).await?;
        if known.len() >= MOST_PASSKEYS {
            let sentence =
                "You have twenty passkeys, which is as many as one may. Remove one first.";
            return Err(Refusal::Said(Code::Conflict, sentence.into()));
        }
        let known = known.iter().filter_map(|passkey| public_key(passkey).ok());
        let known = known.map(|key| key.cred_id().clone()).collect();
        let name = who.name.name();
        let id = Uuid::from_bytes(*who.id.as_bytes());
        let (options, state) =
            party.start_passkey_registration(id, name, name, Some(known)).map_err(broken)?;
        let of = (who.tenant, Some(who.id));
        let mut begun = self.begin_ceremony(StepKind::PasskeyAdd, of, &state, &options).await?;
        // One that the authenticator finds by itself, so that nobody types a name to sign in.
        begun.options["authenticatorSelection"]["residentKey"] = json!("required");
        begun.options["authenticatorSelection"]["requireResidentKey"] = json!(true);
        Ok(begun)
    }

    /// Adds the passkey that a ceremony made.
    ///
    /// # Errors
    /// [`Code::StepRefused`] when the ceremony is over or another's, [`Code::ProofRefused`] when the browser's answer is not to it.
    pub async fn add_passkey(
        &self,
        caller: &Caller,
        ceremony: &str,
        name: &str,
        credential: Value,
    ) -> Result<Passkey, Refusal> {
        self.own_account(caller)?;
        let (name, who) = (named(name)?, &caller.principal);
        let (step, found) = self.end_ceremony(StepKind::PasskeyAdd, ceremony).await?;
        if found.principal != Some(who.id) || found.tenant != who.tenant {
            return Err(Code::StepRefused.into());
        }
        let state: PasskeyRegistration = remembered(&found.state)?;
        let answer: RegisterPublicKeyCredential = read(credential)?;
        let made = self.relying_party()?.finish_passkey_registration(&answer, &state);
        let made = made.map_err(refused)?;
        let handle: &[u8] = made.cred_id().as_ref();
        let new = NewPasskey {
            id: TokenId::new(&*self.ids),
            principal: who.id,
            name: name.clone(),
            handle: handle.to_vec(),
            credential: serde_json::to_string(&made).map_err(|_| Refusal::Code(Code::Internal))?,
            at: self.clock.now(),
        };
        let shown = Passkey {
            id: new.id,
            name,
            credential: String::new(),
            created_at: new.at,
            last_used_at: None,
        };
        let event = self.passkey_event("passkey.add", caller, who, &shown.name);
        let tell = move |done: &bool| if *done { event.only() } else { vec![] };
        let tenant = self.store.tenant(who.tenant);
        match tenant.add_passkey(new, step, caller.credential, tell).await {
            Ok(true) => {}
            Ok(false) => return Err(Code::StepRefused.into()),
            Err(StoreError::Conflict(Conflict::Exists)) => return Err(Code::Conflict.into()),
            Err(error) => return Err(error.into()),
        }
        self.bus.tell(caller.principal.tenant, Change::Audit);
        Ok(shown)
    }

    /// Removes a passkey of the caller.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none, [`Code::AccessSecondFactor`] when no second factor was shown lately.
    pub async fn remove_passkey(&self, caller: &Caller, id: TokenId) -> Result<(), Refusal> {
        self.own_account(caller)?;
        let who = &caller.principal;
        let tenant = self.store.tenant(who.tenant);
        if !tenant.list_passkeys(who.id).await?.iter().any(|passkey| passkey.id == id) {
            return Err(Code::NotFound.into());
        }
        self.proven(caller, tenant.load_factors(who.id).await?)?;
        self.take_passkey(caller, who, id).await
    }

    pub(super) async fn take_passkey(
        &self,
        caller: &Caller,
        who: &Principal,
        id: TokenId,
    ) -> Result<(), Refusal> {
        let event = self.passkey_event("passkey.remove", caller, who, "");
        let owner = who.name.name().to_owned();
        let tell = move |removed: &Option<Passkey>| match removed {
            None => vec![],
            Some(passkey) => {
                let sentence = format!("The passkey {} of {owner} was removed", passkey.name);
                event.with("passkey", json!(passkey.name)).saying(sentence).only()
            }
        };
        let tenant = self.store.tenant(who.tenant);
        let removed = tenant.remove_passkey(who.id, id, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Audit);
        removed.map(drop).ok_or(Refusal::Code(Code::NotFound))
    }

    fn passkey_event(
        &self,
        event: &str,
        caller: &Caller,
        who: &Principal,
        name: &str,
    ) -> audit::Draft {
        let sentence = format!("{} added the passkey {name}", who.name.name());
        let event = self.event(event, &caller.actor(), sentence);
        event.on(audit::party_of(who)).with("passkey", json!(name))
    }

    /// Begins a sign-in with a passkey; whose it is shows with the passkey.
    ///
    /// # Errors
    /// [`Code::AuthLimited`] after too many that came to nothing.
    pub async fn begin_passkey_sign_in(
        &self,
        wanted: Wanted,
        visitor: &Visitor,
    ) -> Result<Ceremony, Refusal> {
        self.begin_try(&[Subject::ceremonies(visitor.address)], visitor).await?;
        let started = self.relying_party()?.start_discoverable_authentication();
        let (options, ceremony) = started.map_err(broken)?;
        let of = (adit_domain::TenantId::SEED, None);
        let state = SignInState { wanted, ceremony };
        self.begin_ceremony(StepKind::PasskeySignIn, of, &state, &options).await
    }

    /// Signs in with a passkey.
    ///
    /// # Errors
    /// [`Code::StepRefused`] when the ceremony is over, [`Code::ProofRefused`] for a passkey that is not known here, whatever is wrong with it.
    pub async fn sign_in_with_passkey(
        &self,
        ceremony: &str,
        credential: Value,
        visitor: &Visitor,
    ) -> Result<Entered, Refusal> {
        let (step, found) = self.end_ceremony(StepKind::PasskeySignIn, ceremony).await?;
        let state: SignInState = remembered(&found.state)?;
        match self.known_passkey(credential, state.ceremony).await? {
            Some(principal) => {
                let tenant = found.tenant;
                let arrival = Arrival {
                    // The step is a row of the tenant in which it began.
                    step: (tenant == principal.tenant).then_some(step),
                    principal,
                    wanted: state.wanted,
                    method: "passkey",
                    second_factor: true,
                    proof: Proof::None,
                    password: None,
                };
                let entered = self.enter(arrival, visitor).await?;
                let ceremonies = [Subject::ceremonies(visitor.address)];
                self.sign_ins.attempts.succeeded(&ceremonies, Instant::now());
                entered.ok_or(Refusal::Code(Code::ProofRefused))
            }
            None => {
                let nobody = audit::Actor::nobody(visitor.address);
                let sentence = "A sign-in with a passkey was refused";
                let event = self.event("sign_in.refused", &nobody, sentence);
                let event = event.with("method", json!("passkey")).denied(Code::ProofRefused);
                self.note(event).await;
                Err(not_known())
            }
        }
    }

    async fn known_passkey(
        &self,
        credential: Value,
        ceremony: DiscoverableAuthentication,
    ) -> Result<Option<Principal>, Refusal> {
        let answer: PublicKeyCredential = read(credential)?;
        let party = self.relying_party()?;
        let Ok((user, handle)) = party.identify_discoverable_authentication(&answer) else {
            return Ok(None);
        };
        let Some((tenant, owner)) = self.store.find_passkey_owner(handle.to_vec()).await? else {
            return Ok(None);
        };
        if user.as_bytes() != owner.as_bytes() {
            return Ok(None);
        }
        let store = self.store.tenant(tenant);
        let Some((passkey, key)) = find(&store.list_passkeys(owner).await?, handle) else {
            return Ok(None);
        };
        let discovered = DiscoverableKey::from(&key);
        let Ok(shown) = party.finish_discoverable_authentication_v2(&answer, ceremony, &discovered)
        else {
            return Ok(None);
        };
        self.note_use(&store, passkey, key, &shown).await?;
        let account = store.find_principal(owner).await?;
        Ok(account.filter(|account| account.active).map(|account| account.principal))
    }

    async fn note_use(
        &self,
        store: &adit_store::TenantStore,
        passkey: TokenId,
        mut key: PublicKey,
        shown: &webauthn_rs::prelude::AuthenticationResult,
    ) -> Result<(), Refusal> {
        key.update_credential(shown);
        let text = serde_json::to_string(&key).map_err(|_| Refusal::Code(Code::Internal))?;
        store.touch_passkey(passkey, text, self.clock.now()).await?;
        Ok(())
    }

    /// Begins to show a second factor again with a passkey of the caller.
    ///
    /// # Errors
    /// [`Code::NotFound`] when the caller has none.
    pub async fn begin_step_up(&self, caller: &Caller) -> Result<Ceremony, Refusal> {
        let who = &caller.principal;
        let known = self.store.tenant(who.tenant).list_passkeys(who.id).await?;
        let keys: Vec<PublicKey> = known.iter().filter_map(|p| public_key(p).ok()).collect();
        if keys.is_empty() {
            return Err(Code::NotFound.into());
        }
        let started = self.relying_party()?.start_passkey_authentication(&keys);
        let (options, state) = started.map_err(broken)?;
        let of = (who.tenant, Some(who.id));
        self.begin_ceremony(StepKind::PasskeyStepUp, of, &state, &options).await
    }

    /// Notes that the caller showed a passkey now.
    ///
    /// # Errors
    /// [`Code::StepRefused`] when the ceremony is over or another's, [`Code::ProofRefused`] when the browser's answer is not to it.
    pub async fn step_up_with_passkey(
        &self,
        caller: &Caller,
        ceremony: &str,
        credential: Value,
    ) -> Result<(), Refusal> {
        let who = &caller.principal;
        let (step, found) = self.end_ceremony(StepKind::PasskeyStepUp, ceremony).await?;
        if found.principal != Some(who.id) || found.tenant != who.tenant {
            return Err(Code::StepRefused.into());
        }
        let state: PasskeyAuthentication = remembered(&found.state)?;
        let answer: PublicKeyCredential = read(credential)?;
        let shown = self.relying_party()?.finish_passkey_authentication(&answer, &state);
        let shown = shown.map_err(refused)?;
        let store = self.store.tenant(who.tenant);
        let handle: &[u8] = shown.cred_id().as_ref();
        let (passkey, key) =
            find(&store.list_passkeys(who.id).await?, handle).ok_or_else(not_known)?;
        self.note_use(&store, passkey, key, &shown).await?;
        self.note_proof(caller, Some(step), Proof::None, "passkey").await
    }
}

fn find(known: &[Passkey], handle: &[u8]) -> Option<(TokenId, PublicKey)> {
    let keys = known.iter().filter_map(|passkey| Some((passkey.id, public_key(passkey).ok()?)));
    keys.into_iter().find(|(_, key)| {
        let own: &[u8] = key.cred_id().as_ref();
        own == handle
    })
}

fn public_key(passkey: &Passkey) -> Result<PublicKey, Refusal> {
    serde_json::from_str(&passkey.credential).map_err(|_| Refusal::Code(Code::Internal))
}

fn remembered<T: serde::de::DeserializeOwned>(state: &str) -> Result<T, Refusal> {
    serde_json::from_str(state).map_err(|_| Refusal::Code(Code::Internal))
}

/// Reads what a browser answered.
fn read<T: serde::de::DeserializeOwned>(credential: Value) -> Result<T, Refusal> {
    serde_json::from_value(credential).map_err(|_| {
        Refusal::Said(Code::RequestInvalid, "That is no answer of a browser's WebAuthn.".into())
    })
}

fn named(name: &str) -> Result<String, Refusal> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let sentence = "A passkey's name is 1 to 64 characters.";
        return Err(Refusal::Said(Code::RequestInvalid, sentence.into()));
    }
    Ok(name.to_owned())
}

fn not_known() -> Refusal {
    Refusal::Said(Code::ProofRefused, "This passkey opens nothing here.".into())
}

fn refused(error: WebauthnError) -> Refusal {
    tracing::info!(%error, "a passkey's answer was refused");
    Refusal::Said(Code::ProofRefused, "This passkey's answer is not right. Try again.".into())
}

fn broken(error: WebauthnError) -> Refusal {
    tracing::error!(%error, "a passkey's ceremony could not begin");
    Refusal::Code(Code::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    // DESK-6
    #[test]
    fn the_relying_party_is_the_gateways_host_name() {
        let origin = |url: &str| {
            let party = relying_party(url)?;
            party.get_allowed_origins().first().map(Url::to_string)
        };
        let found = [
            ("https://adit.example:8443", Some("https://adit.example:8443/")),
            ("http://127.0.0.1:7800", Some("http://localhost:7800/")),
            ("http://[::1]:7800", Some("http://localhost:7800/")),
            ("https://192.0.2.1", None),
            ("nonsense", None),
        ];
        for (url, expected) in found {
            assert_eq!(origin(url).as_deref(), expected, "{url}");
        }
    }
}
