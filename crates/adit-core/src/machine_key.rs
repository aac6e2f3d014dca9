//! What admits a machine: its key (`cak_…`) or its certificate; and how keys are rotated and revoked.

use std::net::IpAddr;
use std::time::Duration;

use adit_domain::{Capabilities, Capability, CertificateId, Code, TokenId};
use adit_store::{ListedKey, Machine, MachineKey, NewMachineKey, SecretHash};
use adit_wire::agent::v1 as pb;
use pb::to_agent::Message as ToAgent;
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal, machine_party};
use crate::admission::{Admission, Credential};
use crate::audit::Draft;
use crate::bus::Change;
use crate::machine::machine_actor;
use crate::sign_in::shown_prefix;
use crate::token::{self, Plane};

/// How long an agent has to say that it keeps a new key, before the old ones end without it.
const KEPT_WITHIN: Duration = Duration::from_secs(5);

/// When the keys before a new one end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With the first use of the new one.
    OnUse,
    /// As soon as the machine keeps the new one, or did not say so in time.
    Now,
}

/// What a machine changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rotated {
    /// Its key.
    Key,
    /// Its certificate.
    Certificate,
}

impl Gateway {
    /// Finds the machine that a `cak_` key belongs to. The first use of a new key ends the ones before it.
    ///
    /// # Errors
    /// [`Code::AuthRequired`], or [`Code::PlaneWrong`] for another plane's credential, which is audited.
    pub async fn admit_by_key(
        &self,
        presented: &str,
        address: Option<IpAddr>,
    ) -> Result<Admission, Refusal> {
        let MachineKey { id, used_at, machine } = self.find_key(presented, address).await?;
        // P10: a machine that is here for support has no connection before its person agreed.
        if machine.attended.is_some_and(|attended| attended.consent.is_none()) {
            return Err(Code::AuthRequired.into());
        }
        if used_at.is_none() {
            self.note_first_use(&machine, id, address).await?;
        }
        Ok(Admission { machine, credential: Credential::Key(id), renewal_only: false })
    }

    /// Finds the machine of a key, whether or not its person has agreed to anything yet.
    pub(crate) async fn find_machine_by_key(
        &self,
        presented: &str,
        address: Option<IpAddr>,
    ) -> Result<Machine, Refusal> {
        self.find_key(presented, address).await.map(|key| key.machine)
    }

    async fn find_key(
        &self,
        presented: &str,
        address: Option<IpAddr>,
    ) -> Result<MachineKey, Refusal> {
        let hash = match token::read(Plane::Machine, presented) {
            Ok(hash) => hash,
            Err(code) => {
                self.note_wrong_plane(code, address).await;
                return Err(code.into());
            }
        };
        let found = self.store.find_machine_key(SecretHash(hash.0)).await?;
        found.ok_or(Refusal::Code(Code::AuthRequired))
    }

    /// Finds the machine that a client certificate admits.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] for one that is no enrolled machine's, or what [`Gateway::holder`] says.
    pub async fn admit_by_certificate(
        &self,
        der: &[u8],
        address: Option<IpAddr>,
    ) -> Result<Admission, Refusal> {
        let holder = self.holder(der, address).await?;
        let Some(machine) = holder.machine else {
            let sentence = format!("{} came as a machine", holder.certificate.name);
            let actor = crate::certificate::certificate_party(&holder.certificate);
            let tenant = holder.certificate.tenant;
            let actor = crate::audit::Actor { party: actor, address, client: None, tenant };
            let event = self.event("credential.wrong_plane", &actor, sentence);
            self.note(event.denied(Code::PlaneWrong)).await;
            return Err(Code::PlaneWrong.into());
        };
        let credential = Credential::Certificate {
            id: holder.certificate.id,
            issued_at: holder.certificate.created_at,
            not_after: holder.certificate.not_after,
        };
        Ok(Admission { machine, credential, renewal_only: holder.expired })
    }

    async fn note_first_use(
        &self,
        machine: &Machine,
        key: TokenId,
        address: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let sentence = format!("{} uses its new key; the ones before are dead", machine.label);
        let event = self.event("machine_key.retire", &machine_actor(machine, address), sentence);
        let event = event.on(machine_party(machine));
        let tell = move |ended: &Option<u64>| match ended {
            Some(1..) => event.only(),
            _ => vec![],
        };
        let tenant = self.store.tenant(machine.tenant);
        tenant.use_machine_key(machine.id, key, self.clock.now(), tell).await?;
        self.bus.tell(machine.tenant, Change::Machines);
        Ok(())
    }

    /// Lets a machine that is here change what admits it, its key or its certificate, over its control connection.
    ///
    /// # Errors
    /// [`Code::Conflict`] when it is not here, [`Refusal`] when the caller may not.
    pub async fn rotate_machine(
        &self,
        caller: &Caller,
        machine: &Machine,
        ending: Ending,
    ) -> Result<Rotated, Refusal> {
        let wanted = Capabilities::of(&[Capability::MachineManage]);
        self.permit_machine(caller, wanted, machine).await?;
        match self.hub.renewable(machine.id) {
            Some(Credential::Key(_)) => self.rotate_key(caller, machine, ending).await,
            Some(Credential::Certificate { .. }) => {
                self.rotate_certificate(caller, machine, ending).await
            }
            None => Err(Refusal::Said(
                Code::Conflict,
                format!(
                    "{} is offline, or its agent is too old for this. Replace the machine, or revoke what admits it.",
                    machine.label
                ),
            )),
        }
    }

    async fn rotate_key(
        &self,
        caller: &Caller,
        machine: &Machine,
        ending: Ending,
    ) -> Result<Rotated, Refusal> {
        let minted = token::mint(Plane::Machine, &*self.ids);
        let id = TokenId::new(&*self.ids);
        let key = NewMachineKey {
            id,
            hash: SecretHash(minted.hash.0),
            prefix: shown_prefix(minted.secret.expose()),
        };
        let event = self.rotation(caller, machine, ending);
        let tell = move |there: &bool| if *there { event.only() } else { vec![] };
        let tenant = self.store.tenant(machine.tenant);
        if !tenant.add_machine_key(machine.id, key, self.clock.now(), tell).await? {
            return Err(Code::TargetUnknown.into());
        }
        let kept = self.hub.await_kept(machine.id);
        let message =
            pb::NewKey { id: id.as_bytes().to_vec().into(), key: minted.secret.expose().clone() };
        self.hub.send(machine.id, ToAgent::NewKey(message))?;
        if ending == Ending::Now {
            // Without the agent's word the key may be lost on the way; what was asked for is that the old one ends.
            let _ = tokio::time::timeout(KEPT_WITHIN, kept).await;
            self.end_keys(caller, machine, Some(id)).await?;
        }
        self.bus.tell(caller.principal.tenant, Change::Machines);
        Ok(Rotated::Key)
    }

    async fn rotate_certificate(
        &self,
        caller: &Caller,
        machine: &Machine,
        ending: Ending,
    ) -> Result<Rotated, Refusal> {
        self.note(self.rotation(caller, machine, ending)).await;
        let kept = self.hub.await_kept(machine.id);
        self.hub.rotate_certificate(machine.id)?;
        // A key that such a machine was once given opens a door that it does not use.
        self.end_keys(caller, machine, None).await?;
        if ending == Ending::Now {
            let kept = tokio::time::timeout(KEPT_WITHIN, kept).await;
            let keep = kept.ok().and_then(Result::ok).map(CertificateId);
            self.retire_certificates(machine, keep).await?;
        }
        self.bus.tell(caller.principal.tenant, Change::Machines);
        Ok(Rotated::Certificate)
    }

    fn rotation(&self, caller: &Caller, machine: &Machine, ending: Ending) -> Draft {
        let sentence = format!("{} changes what admits it", machine.label);
        let event = self.event("machine_key.rotate", &caller.actor(), sentence);
        event.on(machine_party(machine)).with("now", json!(ending == Ending::Now))
    }

    /// Revokes every key of a machine; it comes back by its certificate, or by a new enrolment.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn revoke_machine_keys(
        &self,
        caller: &Caller,
        machine: &Machine,
    ) -> Result<u64, Refusal> {
        let wanted = Capabilities::of(&[Capability::MachineManage]);
        self.permit_machine(caller, wanted, machine).await?;
        self.end_keys(caller, machine, None).await
    }

    async fn end_keys(
        &self,
        caller: &Caller,
        machine: &Machine,
        keep: Option<TokenId>,
    ) -> Result<u64, Refusal> {
        let sentence = format!("Keys of {} were revoked", machine.label);
        let event = self.event("machine_key.revoke", &caller.actor(), sentence);
        let event = event.on(machine_party(machine));
        let tell = move |ended: &u64| match ended {
            0 => vec![],
            ended => event.with("keys", json!(ended)).only(),
        };
        let tenant = self.store.tenant(machine.tenant);
        let now = self.clock.now();
        let ended = tenant.revoke_machine_keys(machine.id, keep, now, tell).await?;
        self.recheck_admissions(now).await;
        self.bus.tell(caller.principal.tenant, Change::Machines);
        Ok(ended)
    }

    /// Lists the keys of a machine that count.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn list_machine_keys(
        &self,
        caller: &Caller,
        machine: &Machine,
    ) -> Result<Vec<ListedKey>, Refusal> {
        let wanted = Capabilities::of(&[Capability::MachineManage]);
        self.permit_machine(caller, wanted, machine).await?;
        Ok(self.store.tenant(machine.tenant).list_machine_keys(machine.id).await?)
    }
}
