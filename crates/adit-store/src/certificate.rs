//! Certificates that the gateway's authority issued: whom they name, what they carry, and whether they still count.

use std::time::Duration;

use adit_domain::certificate::Carried;
use adit_domain::{
    CertificateId, CertificateName, MachineId, MachineLabel, PrincipalId, TenantId, Timestamp,
};

use crate::page::{HIGHEST, List, Place};
use crate::sql::{Row, args};
use crate::tx::{Scope, Tx};
use crate::{Cursor, NewEvent, Page, Paging, Store, StoreError, TenantStore};

/// A certificate to keep.
#[derive(Clone, Debug)]
pub struct NewCertificate {
    /// Its id.
    pub id: CertificateId,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// SHA-256 of its DER form.
    pub fingerprint: [u8; 32],
    /// Whom it names.
    pub name: CertificateName,
    /// The machine that it admits, where there is one.
    pub machine: Option<MachineId>,
    /// The operator whom it stands for, where it is one's.
    pub principal: Option<PrincipalId>,
    /// What its holder was given where tickets are asked for.
    pub capabilities: Vec<Carried>,
    /// Which of it is given anew: all for a new holder, nothing for a renewal.
    pub gives: Vec<Carried>,
    /// The certificate and what signed it, in PEM.
    pub pem: String,
    /// Who had it issued, by name.
    pub issued_by: String,
    /// The common name of the authority that signed it.
    pub issuer: String,
    /// Whether its first use ends the other certificates of its machine.
    pub retires: bool,
    /// When it was issued.
    pub at: Timestamp,
    /// From when on it counts.
    pub not_before: Timestamp,
    /// Until when it counts.
    pub not_after: Timestamp,
}

/// A certificate as its row has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// Its id.
    pub id: CertificateId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// SHA-256 of its DER form.
    pub fingerprint: [u8; 32],
    /// Whom it names.
    pub name: CertificateName,
    /// The machine that it admits, where there is one.
    pub machine: Option<MachineId>,
    /// The operator whom it stands for, where it is one's.
    pub principal: Option<PrincipalId>,
    /// What its holder may do where tickets are asked for.
    pub capabilities: Vec<Carried>,
    /// The certificate and what signed it, in PEM.
    pub pem: String,
    /// Who had it issued, by name.
    pub issued_by: String,
    /// The common name of the authority that signed it.
    pub issuer: String,
    /// Whether its first use ends the other certificates of its machine.
    pub retires: bool,
    /// When it was issued.
    pub created_at: Timestamp,
    /// From when on it counts.
    pub not_before: Timestamp,
    /// Until when it counts.
    pub not_after: Timestamp,
    /// When it was last shown.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Which certificates a list has.
#[derive(Clone, Default, Debug)]
pub struct CertificateFilter {
    /// Those that admit a machine.
    pub machine: Option<MachineId>,
    /// Those of a name.
    pub name: Option<CertificateName>,
    /// Those that stand so at a time.
    pub state: Option<(CertificateState, Timestamp)>,
}

/// How a certificate stands, as far as lists ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CertificateState {
    /// It counts.
    Counts,
    /// It counts, and ends within this time and in its last third.
    Expiring(Duration),
    /// It is past its end, or was revoked.
    Ended,
}

macro_rules! certificate {
    ($where:literal) => {
        concat!(
            "SELECT c.id, c.tenant_id, c.serial, c.fingerprint, c.name, c.machine_id, c.principal_id, c.capabilities, c.pem, \
             c.issued_by, c.issuer, c.retires, c.created_at, c.not_before, c.not_after, c.last_used_at, c.revoked_at \
             FROM certificates c WHERE ",
            $where
        )
    };
}

macro_rules! certificates {
    ($also:literal) => {
        concat!(
            certificate!("c.tenant_id = $1"),
            $also,
            " AND ($2 = 'all' OR ($2 = 'ended') = (c.revoked_at IS NOT NULL OR c.not_after <= $3)) \
             AND ($2 <> 'expiring' OR (c.not_after - $3 < $4 AND (c.not_after - $3) * 3 < c.not_after - c.created_at)) \
             AND (c.created_at, c.id) < ($5, $6) ORDER BY c.created_at DESC, c.id DESC LIMIT $7"
        )
    };
}

const FIND: &str = certificate!("c.tenant_id = $1 AND c.id = $2");

impl Store {
    /// Finds a certificate by the SHA-256 of its DER form, also one that was revoked.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_certificate_shown(
        &self,
        fingerprint: [u8; 32],
    ) -> Result<Option<Certificate>, StoreError> {
        let sql = certificate!("c.fingerprint = $1");
        let row = self.reads().row(Scope::System, sql, args![fingerprint]).await?;
        row.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists the ids of machine keys and certificates that were revoked since a time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_revoked_since(
        &self,
        since: Timestamp,
    ) -> Result<Vec<uuid::Uuid>, StoreError> {
        let sql = "SELECT id FROM certificates WHERE revoked_at >= $1 \
             UNION ALL SELECT id FROM machine_keys WHERE revoked_at >= $1";
        let rows = self.reads().rows(Scope::System, sql, args![since]).await?;
        rows.into_iter().map(|mut row| row.uuid()).collect()
    }
}

impl TenantStore {
    /// Keeps a certificate that was issued.
    ///
    /// # Errors
    /// [`crate::Conflict::Refers`] when its machine or operator is not there.
    pub async fn add_certificate<E>(&self, new: NewCertificate, tell: E) -> Result<(), StoreError>
    where
        E: FnOnce(&()) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(async move { insert(tx, new).await })).await
    }

    /// Finds a certificate, also one that was revoked.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_certificate(
        &self,
        id: CertificateId,
    ) -> Result<Option<Certificate>, StoreError> {
        self.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Lists certificates, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_certificates(
        &self,
        filter: &CertificateFilter,
        paging: &Paging,
    ) -> Result<Page<Certificate>, StoreError> {
        let place = paging.place(List::Certificates, HIGHEST)?;
        let (first, id, rows) = (place.first, place.id, paging.rows());
        let (which, within) = match filter.state.map(|(state, _)| state) {
            None => ("all", Duration::ZERO),
            Some(CertificateState::Counts) => ("counts", Duration::ZERO),
            Some(CertificateState::Expiring(within)) => ("expiring", within),
            Some(CertificateState::Ended) => ("ended", Duration::ZERO),
        };
        let now = filter.state.map_or(Timestamp::default(), |(_, now)| now);
        let within = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        let rows = match (filter.machine, &filter.name) {
            (Some(machine), _) => {
                let own = args![which, now, within, first, id, rows, machine];
                self.rows(certificates!(" AND c.machine_id = $8"), own).await?
            }
            (None, Some(name)) => {
                let own = args![which, now, within, first, id, rows, name.to_string()];
                self.rows(certificates!(" AND c.name = $8"), own).await?
            }
            (None, None) => {
                let own = args![which, now, within, first, id, rows];
                self.rows(certificates!(""), own).await?
            }
        };
        let found: Result<Vec<Certificate>, _> =
            rows.into_iter().map(|mut row| read(&mut row)).collect();
        Ok(Page::of(found?, paging, |certificate| {
            let place = Place { first: certificate.created_at.0, second: 0, id: certificate.id.0 };
            Cursor::new(List::Certificates, place)
        }))
    }

    /// Tells whether somebody of a name shows a certificate that counts, or one that could still be renewed since `after`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn has_certificate(
        &self,
        name: &CertificateName,
        after: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM certificates c WHERE c.tenant_id = $1 AND c.name = $2 AND c.revoked_at IS NULL AND c.not_after > $3";
        Ok(self.row(sql, args![name.to_string(), after]).await?.is_some())
    }

    /// Lists the fingerprints of a name's certificates that count.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_fingerprints(
        &self,
        name: &CertificateName,
        now: Timestamp,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        let sql = "SELECT c.fingerprint FROM certificates c WHERE c.tenant_id = $1 AND c.name = $2 AND c.revoked_at IS NULL AND c.not_after > $3";
        let rows = self.rows(sql, args![name.to_string(), now]).await?;
        rows.into_iter().map(|mut row| row.hash()).collect()
    }

    /// Notes that a certificate was shown.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn touch_certificate(
        &self,
        id: CertificateId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE certificates SET last_used_at = $3 WHERE tenant_id = $1 AND id = $2";
        self.write(crate::silent, move |tx| {
            Box::pin(async move { tx.run(sql, args![id, at]).await.map(|_| ()) })
        })
        .await
    }

    /// Revokes the certificates of a machine but one, or all. Tells how many those were.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn retire_certificates<E>(
        &self,
        machine: MachineId,
        keep: Option<CertificateId>,
        at: Timestamp,
        tell: E,
    ) -> Result<u64, StoreError>
    where
        E: FnOnce(&u64) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE certificates SET revoked_at = $4 WHERE tenant_id = $1 AND machine_id = $2 AND id <> $3 AND revoked_at IS NULL";
        let keep = keep.map_or(uuid::Uuid::nil(), |id| id.0);
        self.write(tell, move |tx| {
            Box::pin(async move {
                let ended = tx.run(sql, args![machine, keep, at]).await?;
                if ended > 0 {
                    tx.change_access().await?;
                }
                Ok(ended)
            })
        })
        .await
    }

    /// Revokes a certificate and gives it as it was; `None` if it was not there or revoked before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn revoke_certificate<E>(
        &self,
        id: CertificateId,
        at: Timestamp,
        tell: E,
    ) -> Result<Option<Certificate>, StoreError>
    where
        E: FnOnce(&Option<Certificate>) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE certificates SET revoked_at = $3 WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL";
        self.write(tell, move |tx| {
            Box::pin(async move {
                if tx.run(sql, args![id, at]).await? == 0 {
                    return Ok(None);
                }
                tx.change_access().await?;
                tx.row(FIND, args![id]).await?.map(|mut row| read(&mut row)).transpose()
            })
        })
        .await
    }
}

/// Revokes every certificate that admits a machine.
pub(crate) async fn revoke_of_machine(
    tx: &mut Tx,
    machine: MachineId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE certificates SET revoked_at = $3 WHERE tenant_id = $1 AND machine_id = $2 AND revoked_at IS NULL";
    tx.run(sql, args![machine, at]).await.map(|_| ())
}

/// Revokes every certificate of a label that is no enrolled machine's.
pub(crate) async fn revoke_of_label(
    tx: &mut Tx,
    label: &MachineLabel,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE certificates SET revoked_at = $3 WHERE tenant_id = $1 AND name = $2 AND machine_id IS NULL AND revoked_at IS NULL";
    let name = CertificateName::Agent(label.clone()).to_string();
    tx.run(sql, args![name, at]).await.map(|_| ())
}

async fn insert(tx: &mut Tx, new: NewCertificate) -> Result<(), StoreError> {
    let sql = "INSERT INTO certificates (tenant_id, id, serial, fingerprint, name, machine_id, principal_id, capabilities, pem, issued_by, issuer, \
         retires, created_at, not_before, not_after) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    let own = args![
        new.id,
        new.serial,
        new.fingerprint,
        new.name.to_string(),
        new.machine,
        new.principal,
        write_carried(&new.capabilities),
        new.pem,
        new.issued_by.clone(),
        new.issuer,
        new.retires,
        new.at,
        new.not_before,
        new.not_after
    ];
    tx.run(sql, own).await?;
    crate::reach::give(tx, &new.name, &new.gives, new.at, &new.issued_by).await
}

/// Writes capabilities as words between spaces.
pub(crate) fn write_carried(list: &[Carried]) -> String {
    list.iter().map(Carried::as_str).collect::<Vec<_>>().join(" ")
}

/// Reads capabilities that were written as words between spaces.
pub(crate) fn read_carried(text: &str) -> Result<Vec<Carried>, StoreError> {
    text.split_ascii_whitespace()
        .map(|word| word.parse().map_err(|_| StoreError::Corrupt("capability of a certificate")))
        .collect()
}

fn read(row: &mut Row) -> Result<Certificate, StoreError> {
    Ok(Certificate {
        id: CertificateId(row.uuid()?),
        tenant: TenantId(row.uuid()?),
        serial: row.text()?,
        fingerprint: row.hash()?,
        name: row.word("certificate's name")?,
        machine: row.maybe_uuid()?.map(MachineId),
        principal: row.maybe_uuid()?.map(PrincipalId),
        capabilities: read_carried(&row.text()?)?,
        pem: row.text()?,
        issued_by: row.text()?,
        issuer: row.text()?,
        retires: row.flag()?,
        created_at: row.time()?,
        not_before: row.time()?,
        not_after: row.time()?,
        last_used_at: row.maybe_time()?,
        revoked_at: row.maybe_time()?,
    })
}
