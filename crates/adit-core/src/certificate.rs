//! Certificates: who gets one, whom one that is shown stands for, and how they end.

use std::net::IpAddr;
use std::time::Duration;

use adit_domain::certificate::Carried;
use adit_domain::{
    Capability, CertificateId, CertificateName, Code, MachineLabel, PrincipalId, TenantId,
    Timestamp,
};
use adit_store::{
    Certificate, CertificateFilter, CertificateState, Machine, NewCertificate, Page, Paging, Party,
};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit::{self, Actor, Draft};
use crate::bus::Change;
use crate::machine::machine_actor;
use crate::pki::{self, Request};

/// From when before its end a certificate is warned of.
pub const WARN_BEFORE: Duration = Duration::from_secs(7 * 86_400);

/// How often the use of a certificate is written down.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// The longest that somebody may ask a certificate to last: no longer than an issuing authority is kept ahead.
pub const MAX_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// How a certificate stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It counts.
    Valid,
    /// It counts, and ends soon.
    Expiring,
    /// It is past its end.
    Expired,
    /// It was revoked.
    Revoked,
}

/// Tells how a certificate stands: it is warned of in its last third, or its last week if that is longer ahead.
pub fn standing(certificate: &Certificate, now: Timestamp) -> Standing {
    let life = certificate.not_after.since(certificate.created_at);
    let left = certificate.not_after.since(now);
    match certificate.revoked_at {
        Some(_) => Standing::Revoked,
        None if left.is_zero() => Standing::Expired,
        None if left < WARN_BEFORE.min(life / 3) => Standing::Expiring,
        None => Standing::Valid,
    }
}

/// Those that are warned of, for a list.
pub const EXPIRING: CertificateState = CertificateState::Expiring(WARN_BEFORE);

/// Tells from when on a certificate is renewed: after two thirds of its life.
pub fn renew_at(issued_at: Timestamp, not_after: Timestamp) -> Timestamp {
    issued_at + not_after.since(issued_at) * 2 / 3
}

/// Whom a certificate that was shown stands for.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The certificate.
    pub certificate: Certificate,
    /// The enrolled machine, where it is one's.
    pub machine: Option<Machine>,
    /// Whether it is past its end and may still be renewed, and nothing else.
    pub expired: bool,
}

impl Holder {
    /// Names the holder in an event.
    pub fn actor(&self, address: Option<IpAddr>) -> Actor {
        let party = certificate_party(&self.certificate);
        Actor { party, address, client: None, tenant: self.certificate.tenant }
    }
}

/// What a new certificate is to be.
#[derive(Debug)]
pub struct Order {
    /// Whom it names.
    pub name: CertificateName,
    /// What it carries.
    pub capabilities: Vec<Carried>,
    /// Its key.
    pub request: Request,
    /// How long it lasts; none for the gateway's setting.
    pub life: Option<Duration>,
    /// Whether its first use ends the other certificates of its machine.
    pub retires: bool,
    /// Whether its holder is given anew what it carries; not when it is renewed.
    pub gives: bool,
}

/// Whose a new certificate is, and who had it made.
struct Owner {
    tenant: TenantId,
    machine: Option<adit_domain::MachineId>,
    principal: Option<PrincipalId>,
    issued_by: String,
}

/// Names a certificate in an event.
pub fn certificate_party(certificate: &Certificate) -> Party {
    audit::party("certificate", certificate.id.0, certificate.name.to_string())
}

impl Gateway {
    /// Issues a certificate for a key that its holder made.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not, or the order is not well formed.
    pub async fn issue_certificate(
        &self,
        caller: &Caller,
        order: Order,
    ) -> Result<Certificate, Refusal> {
        self.permit_tenant(caller, Capability::MachineManage).await?;
        let tenant = caller.principal.tenant;
        self.check_registered(tenant, &order.capabilities).await?;
        let mut owner = Owner {
            tenant,
            machine: None,
            principal: None,
            issued_by: caller.principal.name.to_string(),
        };
        match &order.name {
            CertificateName::Admin => {
                self.permit_tenant(caller, Capability::AccessManage).await?;
                owner.principal = Some(caller.principal.id);
            }
            CertificateName::Agent(label) => {
                let machine = self.store.tenant(tenant).find_machine_labelled(label).await?;
                owner.machine = machine.map(|machine| machine.id);
            }
            CertificateName::Delegated { delegator, .. } => {
                self.check_delegator(tenant, delegator).await?;
            }
        }
        let event = self.event("certificate.issue", &caller.actor(), "");
        self.make_certificate(order, owner, event).await
    }

    /// Issues a certificate for another key in the place of one that counts, which stays good until its own end.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::CertificateRefused`] for one that was revoked.
    pub async fn renew_certificate(
        &self,
        caller: &Caller,
        id: CertificateId,
        request: Request,
    ) -> Result<Certificate, Refusal> {
        self.permit_tenant(caller, Capability::MachineManage).await?;
        let old = self.find_certificate(caller, id).await?;
        if old.name == CertificateName::Admin {
            self.permit_tenant(caller, Capability::AccessManage).await?;
        }
        if old.revoked_at.is_some() {
            return Err(Code::CertificateRefused.into());
        }
        let event = self.event("certificate.renew", &caller.actor(), "");
        let by = caller.principal.name.to_string();
        self.renew(&old, request, by, event, false).await
    }

    /// Renews a certificate at the wish of its holder, who has shown it.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot be made.
    pub async fn renew_own_certificate(
        &self,
        holder: &Holder,
        request: Request,
        address: Option<IpAddr>,
    ) -> Result<Certificate, Refusal> {
        let event = self.event("certificate.renew", &holder.actor(address), "");
        let by = holder.certificate.name.to_string();
        self.renew(&holder.certificate, request, by, event, false).await
    }

    /// Renews the certificate that admitted a machine's control connection.
    ///
    /// # Errors
    /// [`Code::CertificateRefused`] for one that was revoked, [`Code::RequestInvalid`] for a request that cannot be used.
    pub(crate) async fn renew_machine_certificate(
        &self,
        machine: &Machine,
        id: CertificateId,
        csr: &str,
        retires: bool,
    ) -> Result<Certificate, Refusal> {
        let found = self.store.tenant(machine.tenant).find_certificate(id).await?;
        let Some(old) = found.filter(|c| c.revoked_at.is_none()) else {
            return Err(Code::CertificateRefused.into());
        };
        let request = Request::read(csr)?;
        let event = self.event("certificate.renew", &machine_actor(machine, None), "");
        self.renew(&old, request, old.name.to_string(), event, retires).await
    }

    /// Revokes the certificates of a machine but one, or all.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not do it.
    pub(crate) async fn retire_certificates(
        &self,
        machine: &Machine,
        keep: Option<CertificateId>,
    ) -> Result<(), Refusal> {
        let sentence = format!("Certificates of {} before its newest are dead", machine.label);
        let event = self.event("certificate.retire", &machine_actor(machine, None), sentence);
        let event = event.on(crate::access::machine_party(machine));
        let tell = move |ended: &u64| if *ended > 0 { event.only() } else { vec![] };
        let (tenant, now) = (self.store.tenant(machine.tenant), self.clock.now());
        if tenant.retire_certificates(machine.id, keep, now, tell).await? > 0 {
            self.recheck_admissions(now).await;
            self.bus.tell(machine.tenant, Change::Machines);
        }
        Ok(())
    }

    async fn renew(
        &self,
        old: &Certificate,
        request: Request,
        issued_by: String,
        event: Draft,
        retires: bool,
    ) -> Result<Certificate, Refusal> {
        let owner =
            Owner { tenant: old.tenant, machine: old.machine, principal: old.principal, issued_by };
        let order = Order {
            name: old.name.clone(),
            capabilities: old.capabilities.clone(),
            request,
            life: None,
            retires,
            gives: false,
        };
        let event = event.with("renews", json!(old.serial));
        self.make_certificate(order, owner, event).await
    }

    /// Issues the certificate of a machine that was enrolled just now.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot be made.
    pub(crate) async fn certify_enrolled(
        &self,
        machine: &Machine,
        request: Request,
        address: Option<IpAddr>,
    ) -> Result<Certificate, Refusal> {
        let owner = Owner {
            tenant: machine.tenant,
            machine: Some(machine.id),
            principal: None,
            issued_by: "enrolment".to_owned(),
        };
        let order = Order {
            name: CertificateName::Agent(machine.label.clone()),
            capabilities: Vec::new(),
            request,
            life: None,
            retires: false,
            gives: true,
        };
        let actor = machine_actor(machine, address);
        let event = self.event("certificate.issue", &actor, "");
        self.make_certificate(order, owner, event).await
    }

    /// Issues the certificate of an identity that has no link key.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot be made.
    pub(crate) async fn certify_identity(
        &self,
        identity: adit_store::Enrolled,
        request: Request,
        address: Option<IpAddr>,
    ) -> Result<Certificate, Refusal> {
        let owner = Owner {
            tenant: identity.tenant,
            machine: None,
            principal: None,
            issued_by: "enrolment".to_owned(),
        };
        let event = self.event("certificate.issue", &Actor::nobody(address), "");
        let adit_store::Enrolled { name, capabilities, .. } = identity;
        let order = Order { name, capabilities, request, life: None, retires: false, gives: true };
        self.make_certificate(order, owner, event).await
    }

    async fn make_certificate(
        &self,
        order: Order,
        owner: Owner,
        event: Draft,
    ) -> Result<Certificate, Refusal> {
        let Order { name, capabilities, request, life, retires, gives } = order;
        let now = self.clock.now();
        let life = life.unwrap_or(self.settings.certificate_life).min(MAX_LIFE);
        let made = self.pki.certify(&request, &name, owner.machine, (life, now), &*self.ids)?;
        let id = CertificateId::new(&*self.ids);
        let sentence = format!("{name} got a certificate until {}", made.not_after);
        let carried: Vec<String> = capabilities.iter().map(ToString::to_string).collect();
        let event = event
            .on(audit::party("certificate", id.0, name.to_string()))
            .saying(sentence)
            .with("serial", json!(made.serial))
            .with("notAfter", json!(made.not_after.to_string()))
            .with("capabilities", json!(carried))
            .only();
        let new = NewCertificate {
            id,
            serial: made.serial,
            fingerprint: made.fingerprint,
            name,
            machine: owner.machine,
            principal: owner.principal,
            gives: if gives { capabilities.clone() } else { Vec::new() },
            capabilities,
            pem: made.pem,
            issued_by: owner.issued_by,
            issuer: made.issuer,
            retires,
            at: now,
            not_before: made.not_before,
            not_after: made.not_after,
        };
        let tenant = self.store.tenant(owner.tenant);
        tenant.add_certificate(new, move |()| event).await?;
        self.bus.tell(owner.tenant, Change::Machines);
        tenant.find_certificate(id).await?.ok_or(Refusal::Code(Code::Internal))
    }

    /// Finds a certificate of the caller's tenant.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is none.
    pub async fn find_certificate(
        &self,
        caller: &Caller,
        id: CertificateId,
    ) -> Result<Certificate, Refusal> {
        self.permit_tenant(caller, Capability::MachineManage).await?;
        let found = self.store.tenant(caller.principal.tenant).find_certificate(id).await?;
        found.ok_or(Refusal::Code(Code::NotFound))
    }

    /// Lists certificates, the newest first.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn list_certificates(
        &self,
        caller: &Caller,
        filter: &CertificateFilter,
        paging: &Paging,
    ) -> Result<Page<Certificate>, Refusal> {
        self.permit_tenant(caller, Capability::MachineManage).await?;
        let tenant = self.store.tenant(caller.principal.tenant);
        Ok(tenant.list_certificates(filter, paging).await?)
    }

    /// Revokes a certificate: it opens nothing from now on, and what it opened ends.
    ///
    /// # Errors
    /// [`Code::NotFound`] when it is not there or was revoked before.
    pub async fn revoke_certificate(
        &self,
        caller: &Caller,
        id: CertificateId,
    ) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::MachineManage).await?;
        let event = self.event("certificate.revoke", &caller.actor(), "");
        let tell = move |ended: &Option<Certificate>| match ended {
            None => vec![],
            Some(certificate) => event
                .on(certificate_party(certificate))
                .saying(format!("A certificate of {} was revoked", certificate.name))
                .with("serial", json!(certificate.serial))
                .only(),
        };
        let tenant = self.store.tenant(caller.principal.tenant);
        let ended = tenant.revoke_certificate(id, self.clock.now(), tell).await?;
        self.admissions.cut(&[id.0]);
        self.bus.tell(caller.principal.tenant, Change::Machines);
        ended.map(drop).ok_or(Refusal::Code(Code::NotFound))
    }

    /// Finds whom a client certificate stands for. TLS has checked its chain and its use; the database says whether it counts.
    ///
    /// # Errors
    /// [`Code::CertificateRefused`] and [`Code::CertificateExpired`], which are audited.
    pub async fn holder(&self, der: &[u8], address: Option<IpAddr>) -> Result<Holder, Refusal> {
        let fingerprint = pki::fingerprint(der);
        let found = match self.store.find_certificate_shown(fingerprint).await? {
            Some(found) => Some(found),
            None => self.adopt(der, fingerprint).await?,
        };
        let Some(certificate) = found else {
            return Err(self.refuse_certificate(None, Code::CertificateRefused, address).await);
        };
        match self.check_certificate(&certificate).await? {
            Ok((machine, expired)) => {
                if let (true, None, Some(machine)) =
                    (certificate.retires, certificate.last_used_at, &machine)
                {
                    self.retire_certificates(machine, Some(certificate.id)).await?;
                }
                self.touch_certificate(&certificate).await?;
                Ok(Holder { certificate, machine, expired })
            }
            Err(code) => Err(self.refuse_certificate(Some(&certificate), code, address).await),
        }
    }

    async fn check_certificate(
        &self,
        certificate: &Certificate,
    ) -> Result<Result<(Option<Machine>, bool), Code>, Refusal> {
        let now = self.clock.now();
        if certificate.revoked_at.is_some() {
            return Ok(Err(Code::CertificateRefused));
        }
        if certificate.not_after + self.settings.certificate_grace <= now {
            return Ok(Err(Code::CertificateExpired));
        }
        let tenant = self.store.tenant(certificate.tenant);
        let machine = match certificate.machine {
            None => None,
            Some(id) => match tenant.find_machine(id).await? {
                Some(machine) if machine.removed_at.is_none() => Some(machine),
                _ => return Ok(Err(Code::CertificateRefused)),
            },
        };
        if let CertificateName::Delegated { delegator, .. } = &certificate.name
            && self.check_delegator(certificate.tenant, delegator).await.is_err()
        {
            return Ok(Err(Code::CertificateRefused));
        }
        if let Some(id) = certificate.principal
            && !tenant.find_principal(id).await?.is_some_and(|account| account.active)
        {
            return Ok(Err(Code::CertificateRefused));
        }
        Ok(Ok((machine, certificate.not_after <= now)))
    }

    /// Tells that somebody who speaks for a machine may, as long as that machine has a certificate.
    async fn check_delegator(
        &self,
        tenant: TenantId,
        delegator: &MachineLabel,
    ) -> Result<(), Refusal> {
        let name = CertificateName::Agent(delegator.clone());
        let since = self.clock.now() - self.settings.certificate_grace;
        if self.store.tenant(tenant).has_certificate(&name, since).await? {
            return Ok(());
        }
        let sentence = format!("{name} has no certificate that counts, so nobody speaks for it.");
        Err(Refusal::Said(Code::RequestInvalid, sentence))
    }

    async fn touch_certificate(&self, certificate: &Certificate) -> Result<(), Refusal> {
        let now = self.clock.now();
        if certificate.last_used_at.is_none_or(|at| now.since(at) > TOUCH_EVERY) {
            let tenant = self.store.tenant(certificate.tenant);
            tenant.touch_certificate(certificate.id, now).await?;
        }
        Ok(())
    }

    /// Takes up a machine's certificate of an earlier version, so that it is listed, renewed and revoked like any other.
    async fn adopt(
        &self,
        der: &[u8],
        fingerprint: [u8; 32],
    ) -> Result<Option<Certificate>, Refusal> {
        let Some(early) = self.pki.read_early(der) else { return Ok(None) };
        let tenant = self.store.tenant(TenantId::SEED);
        let machine = tenant.find_machine(early.machine).await?;
        let Some(machine) = machine.filter(|m| m.removed_at.is_none()) else { return Ok(None) };
        let id = CertificateId::new(&*self.ids);
        let name = CertificateName::Agent(machine.label.clone());
        let party = audit::party("certificate", id.0, name.to_string());
        let sentence = format!("A certificate of {name} from an earlier version was taken up");
        let event = self.event("certificate.adopt", &Actor::gateway(self), sentence);
        let event = event.on(party).with("serial", json!(early.serial)).only();
        let new = NewCertificate {
            id,
            serial: early.serial,
            fingerprint,
            name,
            machine: Some(machine.id),
            principal: None,
            capabilities: Vec::new(),
            gives: Vec::new(),
            pem: ::pem::encode(&::pem::Pem::new("CERTIFICATE", der)),
            issued_by: "an earlier version".to_owned(),
            issuer: early.issuer,
            retires: false,
            at: early.not_before,
            not_before: early.not_before,
            not_after: early.not_after,
        };
        match tenant.add_certificate(new, move |()| event).await {
            // Another connection was first.
            Ok(()) | Err(adit_store::StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.store.find_certificate_shown(fingerprint).await?)
    }

    async fn refuse_certificate(
        &self,
        certificate: Option<&Certificate>,
        code: Code,
        address: Option<IpAddr>,
    ) -> Refusal {
        let name = certificate.map_or_else(|| "nobody".to_owned(), |c| c.name.to_string());
        let sentence = format!("A certificate of {name} was refused");
        let mut event = self.event("certificate.refused", &Actor::nobody(address), sentence);
        if let Some(certificate) = certificate {
            event = event.on(certificate_party(certificate));
            event = event.with("serial", json!(certificate.serial));
        }
        self.note(event.denied(code)).await;
        Refusal::Code(code)
    }

    /// Makes a new issuing authority; what the ones before it signed stays good.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not, or the root's key is not here.
    pub async fn rotate_authority(&self, caller: &Caller) -> Result<pki::Listed, Refusal> {
        self.permit_gateway_to(caller, Capability::MachineManage).await?;
        self.permit_gateway_to(caller, Capability::AccessManage).await?;
        let made = self.pki.rotate(self.clock.now())?;
        let sentence = format!("{} issues certificates from now on", made.name);
        self.note(self.event("authority.rotate", &caller.actor(), sentence)).await;
        self.bus.tell(caller.principal.tenant, Change::Machines);
        Ok(made)
    }

    /// Lists the authorities whose signature counts.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn list_authorities(&self, caller: &Caller) -> Result<Vec<pki::Listed>, Refusal> {
        self.permit_gateway_to(caller, Capability::MachineManage).await?;
        Ok(self.pki.list())
    }

    /// Cuts off what rests on keys and certificates that were revoked since a time, or that have ended.
    pub(crate) async fn recheck_admissions(&self, since: Timestamp) {
        match self.store.list_revoked_since(since).await {
            Ok(revoked) => self.admissions.cut(&revoked),
            Err(error) => {
                tracing::warn!(%error, "the database does not say which credentials were revoked");
            }
        }
        self.admissions.cut_expired(self.clock.now());
    }
}
