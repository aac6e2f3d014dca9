//! Machines: how they enrol, how their key admits them, and how they are found.

use std::net::IpAddr;
use std::time::Duration;

use adit_domain::machine::plain_claim;
use adit_domain::{Capability, Code, MachineId, MachineLabel, Secret, TokenId};
use adit_store::{Machine, MachineFacts, NewEnrolmentToken, NewMachine, NewMachineKey, SecretHash};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal, machine_party, target_of};
use crate::audit::{self, Actor};
use crate::bus::Change;
use crate::pki::Certificate;
use crate::sign_in::{Issued, shown_prefix};
use crate::token::{self, Plane};

/// How long an enrolment token works unless its maker says otherwise.
pub const ENROL_LIFE: Duration = Duration::from_secs(3600);

/// The longest that one may say: a week.
pub const MAX_ENROL_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// What a machine sends to be enrolled.
#[derive(Debug)]
pub struct Enrolment {
    /// The token that an operator made.
    pub token: Secret<String>,
    /// The machine's Noise key, 32 bytes.
    pub link_key: [u8; 32],
    /// A PKCS #10 request in PEM, for a certificate.
    pub csr: Option<String>,
    /// The label it would like; the token's own wins.
    pub label: Option<MachineLabel>,
    /// What it says of itself.
    pub facts: MachineFacts,
}

/// What an enrolled machine gets.
#[derive(Debug)]
pub struct Enrolled {
    /// Its row.
    pub machine: Machine,
    /// Its key for the machine plane.
    pub key: Secret<String>,
    /// Its certificate, if it asked for one.
    pub certificate: Option<Certificate>,
}

impl Gateway {
    /// Makes a single-use enrolment token.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn issue_enrolment_token(
        &self,
        caller: &Caller,
        label: Option<MachineLabel>,
        life: Option<Duration>,
    ) -> Result<Issued, Refusal> {
        self.permit_tenant(caller, Capability::MachineManage).await?;
        let now = self.clock.now();
        let expires_at = now + life.unwrap_or(ENROL_LIFE).min(MAX_ENROL_LIFE);
        let minted = token::mint(Plane::Enrol, &*self.ids);
        let id = TokenId::new(&*self.ids);
        let new = NewEnrolmentToken {
            id,
            hash: SecretHash(minted.hash.0),
            prefix: shown_prefix(minted.secret.expose()),
            label: label.clone(),
            by: Some(caller.principal.id),
            expires_at,
            at: now,
        };
        let event = self
            .event("enrolment_token.issue", &caller.actor(), "An enrolment token was made")
            .with("label", json!(label.map(|l| l.to_string())))
            .with("expiresAt", json!(expires_at.to_string()))
            .only();
        let tenant = self.store.tenant(caller.principal.tenant);
        tenant.issue_enrolment_token(new, move |()| event).await?;
        self.bus.tell(Change::Audit);
        Ok(Issued { id, secret: minted.secret, expires_at: Some(expires_at) })
    }

    /// Enrols a machine with a token, once.
    ///
    /// # Errors
    /// [`Code::EnrolRefused`] alike for a token that was used, has expired or never was.
    pub async fn enrol(
        &self,
        request: Enrolment,
        address: Option<IpAddr>,
    ) -> Result<Enrolled, Refusal> {
        let refused = || Refusal::Code(Code::EnrolRefused);
        let refusal = self
            .event("machine.enrol_refused", &Actor::nobody(address), "An enrolment was refused")
            .denied(Code::EnrolRefused);
        let Ok(hash) = token::read(Plane::Enrol, request.token.expose()) else {
            self.note(refusal).await;
            return Err(refused());
        };
        let id = MachineId::new(&*self.ids);
        let csr = request.csr.map(|csr| crate::pki::Request::read(&csr)).transpose()?;
        let key = token::mint(Plane::Machine, &*self.ids);
        let facts = plain_facts(request.facts);
        let label = request.label.unwrap_or_else(|| MachineLabel::of_hostname(&facts.hostname));
        let new = NewMachine {
            id,
            label,
            facts,
            link_key: request.link_key,
            key: NewMachineKey {
                id: TokenId::new(&*self.ids),
                hash: SecretHash(key.hash.0),
                prefix: shown_prefix(key.secret.expose()),
            },
            at: self.clock.now(),
        };
        let success = self.event("machine.enrol", &Actor::nobody(address), "");
        let tell = move |made: &Option<Machine>| match made {
            None => refusal.only(),
            Some(machine) => {
                let sentence = format!("The machine {} was enrolled", machine.label);
                let party = machine_party(machine);
                success.on(party.clone()).by(party).saying(sentence).only()
            }
        };
        let made = self.store.enrol_machine(SecretHash(hash.0), new, tell).await?;
        let machine = made.ok_or_else(refused)?;
        let certificate = csr.map(|csr| self.pki.certify_machine(&csr, &machine)).transpose()?;
        self.bus.tell(Change::Machines);
        Ok(Enrolled { machine, key: key.secret, certificate })
    }

    /// Finds the machine that a `cak_` key belongs to.
    ///
    /// # Errors
    /// [`Code::AuthRequired`], or [`Code::PlaneWrong`] for another plane's credential, which is audited.
    pub async fn machine_by_key(
        &self,
        presented: &str,
        address: Option<IpAddr>,
    ) -> Result<Machine, Refusal> {
        let hash = match token::read(Plane::Machine, presented) {
            Ok(hash) => hash,
            Err(code) => {
                self.note_wrong_plane(code, address).await;
                return Err(code.into());
            }
        };
        let found = self.store.find_machine_key(SecretHash(hash.0)).await?;
        found.map(|key| key.machine).ok_or(Refusal::Code(Code::AuthRequired))
    }

    /// Finds the machine that a checked client certificate names.
    ///
    /// # Errors
    /// [`Code::AuthRequired`] when that machine is gone.
    pub async fn machine_by_certificate(&self, id: MachineId) -> Result<Machine, Refusal> {
        let tenant = self.store.tenant(adit_domain::TenantId::SEED);
        let found = tenant.find_machine(id).await?;
        found.filter(|m| m.removed_at.is_none()).ok_or(Refusal::Code(Code::AuthRequired))
    }

    /// Finds a machine by its id or label, if the caller may see it.
    ///
    /// # Errors
    /// [`Code::TargetUnknown`] alike for one that is not there and one that the caller may not see.
    pub async fn find_machine(
        &self,
        caller: &Caller,
        id_or_label: &str,
    ) -> Result<Machine, Refusal> {
        let unknown = || Refusal::Code(Code::TargetUnknown);
        let tenant = self.store.tenant(caller.principal.tenant);
        let found = match id_or_label.parse::<MachineId>() {
            Ok(id) => tenant.find_machine(id).await?.filter(|m| m.removed_at.is_none()),
            Err(_) => {
                let label: MachineLabel = id_or_label.parse().map_err(|_| unknown())?;
                tenant.find_machine_labelled(&label).await?
            }
        };
        let machine = found.ok_or_else(unknown)?;
        let facts = self.facts_of(caller).await?;
        let target = target_of(&machine);
        let may = adit_domain::policy::within_reach(&facts, &target, self.clock.now());
        if may.is_empty() { Err(unknown()) } else { Ok(machine) }
    }

    /// Removes a machine: its key and certificate open nothing from now on, its sessions end.
    ///
    /// # Errors
    /// [`Code::TargetUnknown`] when there is none.
    pub async fn remove_machine(&self, caller: &Caller, machine: &Machine) -> Result<(), Refusal> {
        self.permit_machine(
            caller,
            adit_domain::Capabilities::of(&[Capability::MachineManage]),
            machine,
        )
        .await?;
        let event = self.event(
            "machine.remove",
            &caller.actor(),
            format!("The machine {} was removed", machine.label),
        );
        let event = event.on(machine_party(machine));
        let tell = move |gone: &Option<Machine>| if gone.is_some() { event.only() } else { vec![] };
        let tenant = self.store.tenant(machine.tenant);
        let gone = tenant.remove_machine(machine.id, self.clock.now(), tell).await?;
        self.hub.drop_machine(machine.id);
        self.bus.tell(Change::Access);
        self.bus.tell(Change::Machines);
        gone.map(drop).ok_or(Refusal::Code(Code::TargetUnknown))
    }
}

/// Makes what a machine says of itself harmless (AGT-14).
pub fn plain_facts(facts: MachineFacts) -> MachineFacts {
    MachineFacts {
        hostname: plain_claim(&facts.hostname),
        os: plain_claim(&facts.os),
        arch: plain_claim(&facts.arch),
        version: plain_claim(&facts.version),
        cores: facts.cores,
        memory_bytes: facts.memory_bytes,
    }
}

/// Names a machine as the one who acts.
pub fn machine_actor(machine: &Machine, address: Option<IpAddr>) -> Actor {
    Actor {
        party: audit::party("machine", machine.id.0, machine.label.as_str()),
        address,
        client: None,
        tenant: machine.tenant,
    }
}
