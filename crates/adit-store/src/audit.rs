//! The audit log: events in the chain of the gateway that wrote them, and the checkpoints that anchor the chains.

use adit_domain::{GatewayId, TenantId, Timestamp};
use adit_wire::audit::{AuditEvent, Outcome, Party, Record};
use adit_wire::digest::Digest;
use uuid::Uuid;

use crate::page::{HIGHEST, List, Place};
use crate::sql::{Arg, Row, args, stored};
use crate::tx::Scope;
use crate::{Cursor, NewEvent, Page, Paging, Store, StoreError, TenantStore};

/// An event as its row has it. Lists and searches use the columns, a verifier the record; they must say the same.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredEvent {
    /// The gateway in whose chain it is.
    pub gateway: GatewayId,
    /// Its canonical form and its links.
    pub record: Record,
    /// What the canonical form says; `None` if it is none, because somebody changed it.
    pub event: Option<AuditEvent>,
    /// False when the columns that lists and searches use say something else than the canonical form.
    pub columns_agree: bool,
}

/// Which events a list shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventFilter {
    /// Only with this text somewhere, whatever its case in ASCII.
    pub q: Option<String>,
    /// Only by this actor: an id or a name.
    pub actor: Option<String>,
    /// Only of this name.
    pub event: Option<String>,
    /// Only on this target: an id or a name.
    pub target: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<Outcome>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// A signed checkpoint to add.
#[derive(Clone, Debug)]
pub struct NewCheckpoint {
    /// Its id.
    pub id: Uuid,
    /// When it was signed.
    pub at: Timestamp,
    /// What was signed.
    pub body: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// A signed checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Its number, from 1 without a gap.
    pub number: u64,
    /// Its id.
    pub id: Uuid,
    /// When it was signed.
    pub at: Timestamp,
    /// What was signed.
    pub body: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

macro_rules! event {
    ($where:literal) => {
        concat!(
            "SELECT gateway_id, seq, prev, body, hash, tenant_id, id, at, event, actor_kind, actor_id, actor_name, \
             target_kind, target_id, target_name, outcome FROM audit_events WHERE ",
            $where
        )
    };
}

impl TenantStore {
    /// Appends events that tell of no change, such as refusals.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn append_events(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        self.write(move |()| events, |_| Box::pin(async { Ok(()) })).await
    }

    /// Lists events, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_events(
        &self,
        filter: &EventFilter,
        paging: &Paging,
    ) -> Result<Page<StoredEvent>, StoreError> {
        let sql = event!(
            "tenant_id = $1 AND (at, seq, gateway_id) < ($2, $3, $4) AND ($5 IS NULL OR event = $5) \
             AND ($6 IS NULL OR actor_name = $6 OR actor_id = $6) AND ($7 IS NULL OR target_name = $7 OR target_id = $7) \
             AND ($8 IS NULL OR outcome = $8) AND at >= $9 AND at < $10 AND ($11 IS NULL OR lower(body) LIKE $11 ESCAPE '!') \
             ORDER BY at DESC, seq DESC, gateway_id DESC LIMIT $12"
        );
        let place = paging.place(List::Events, HIGHEST)?;
        let own = args![
            place.first,
            place.second,
            place.id,
            filter.event.clone(),
            filter.actor.clone(),
            filter.target.clone(),
            filter.outcome.map(Outcome::as_str),
            filter.from.unwrap_or(Timestamp(i64::MIN)),
            filter.to.unwrap_or(Timestamp(i64::MAX)),
            filter.q.as_deref().map(pattern),
            paging.rows()
        ];
        let rows = self.rows(sql, own).await?;
        let events: Result<Vec<Listed>, _> =
            rows.into_iter().map(|mut row| read(&mut row)).collect();
        let page = Page::of(events?, paging, |listed| {
            let second = stored(listed.event.record.seq);
            let place = Place { first: listed.at.0, second, id: listed.event.gateway.0 };
            Cursor::new(List::Events, place)
        });
        Ok(Page { items: page.items.into_iter().map(|l| l.event).collect(), next: page.next })
    }
}

impl Store {
    /// Reads part of a gateway's chain, every tenant's events, in order, after the event `after`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn read_chain(
        &self,
        gateway: GatewayId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let sql = event!("gateway_id = $1 AND seq > $2 ORDER BY seq LIMIT $3");
        let own = args![gateway, stored(after), i64::from(limit.clamp(1, MAX_CHAIN))];
        let rows = self.reads().rows(Scope::System, sql, own).await?;
        rows.into_iter().map(|mut row| read(&mut row).map(|listed| listed.event)).collect()
    }

    /// Reads part of a gateway's chain up to the event `upto`, those of a time only, for whoever learns from what was.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn read_chain_since(
        &self,
        (gateway, after, upto): (GatewayId, u64, u64),
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let sql =
            event!("gateway_id = $1 AND seq > $2 AND seq <= $3 AND at >= $4 ORDER BY seq LIMIT $5");
        let limit = i64::from(limit.clamp(1, MAX_CHAIN));
        let own = args![gateway, stored(after), stored(upto), since, limit];
        let rows = self.reads().rows(Scope::System, sql, own).await?;
        rows.into_iter().map(|mut row| read(&mut row).map(|listed| listed.event)).collect()
    }

    /// Adds a checkpoint under the next number, which it gives.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another gateway added one at the same time; look again what is to be signed.
    pub async fn add_checkpoint(&self, new: NewCheckpoint) -> Result<u64, StoreError> {
        let sql = "INSERT INTO audit_checkpoints (id, number, tenant_id, at, body, signature) \
             SELECT $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5 FROM audit_checkpoints RETURNING number";
        let own = args![new.id, TenantId::SEED, new.at, new.body, new.signature];
        self.write(crate::silent, move |tx| {
            Box::pin(async move {
                tx.row(sql, own).await?.ok_or(StoreError::Corrupt("checkpoint"))?.count()
            })
        })
        .await
    }

    /// Lists checkpoints in order, after the one with the number `after`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_checkpoints(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        let sql = "SELECT number, id, at, body, signature FROM audit_checkpoints WHERE number > $1 ORDER BY number LIMIT $2";
        let own = args![stored(after), i64::from(limit.clamp(1, MAX_CHAIN))];
        let rows = self.reads().rows(Scope::System, sql, own).await?;
        rows.into_iter().map(|mut row| read_checkpoint(&mut row)).collect()
    }

    /// Finds the number of the newest checkpoint.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_last_checkpoint_number(&self) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT number FROM audit_checkpoints ORDER BY number DESC LIMIT 1";
        let row = self.reads().row(Scope::System, sql, args![]).await?;
        row.map(|mut row| row.count()).transpose()
    }

    /// Finds the newest checkpoint.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let sql = "SELECT number, id, at, body, signature FROM audit_checkpoints ORDER BY number DESC LIMIT 1";
        let row = self.reads().row(Scope::System, sql, args![]).await?;
        row.map(|mut row| read_checkpoint(&mut row)).transpose()
    }
}

/// The most events or checkpoints of one read: half a mebibyte of the usual events.
const MAX_CHAIN: u32 = 1000;

/// Makes a pattern that finds a text anywhere, its own signs meaning themselves.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for sign in text.chars() {
        if matches!(sign, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(sign.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}

/// Gives the columns of an event after its tenant: gateway, number, id, time, name, actor, target, outcome, body, links.
pub(crate) fn columns(event: AuditEvent, record: Record) -> Result<Vec<Arg>, StoreError> {
    let body = String::from_utf8(record.bytes).map_err(|_| StoreError::Corrupt("event"))?;
    let AuditEvent { id, at, gateway, event, actor, target, outcome, .. } = event;
    let target = target.map_or((None, None, None), |t| (Some(t.kind), Some(t.id), Some(t.name)));
    Ok(args![
        gateway,
        stored(record.seq),
        id,
        at,
        event,
        actor.kind,
        actor.id,
        actor.name,
        target.0,
        target.1,
        target.2,
        outcome.as_str(),
        body,
        record.prev.0,
        record.hash.0
    ])
}

/// An event with the time that the list is sorted by.
struct Listed {
    at: Timestamp,
    event: StoredEvent,
}

fn read(row: &mut Row) -> Result<Listed, StoreError> {
    let gateway = GatewayId(row.uuid()?);
    let (seq, prev) = (row.count()?, Digest(row.hash()?));
    let (bytes, hash) = (row.text()?.into_bytes(), Digest(row.hash()?));
    let columns = Columns::read(row)?;
    let event = AuditEvent::decode(&bytes).ok();
    let columns_agree = event.as_ref().is_some_and(|event| columns.say(event, gateway));
    let record = Record { seq, prev, bytes, hash };
    Ok(Listed { at: columns.at, event: StoredEvent { gateway, record, event, columns_agree } })
}

/// What lists and searches use of an event.
struct Columns {
    tenant: Uuid,
    id: Uuid,
    at: Timestamp,
    event: String,
    actor: Party,
    target: Option<Party>,
    outcome: String,
}

impl Columns {
    fn read(row: &mut Row) -> Result<Self, StoreError> {
        let (tenant, id, at, event) = (row.uuid()?, row.uuid()?, row.time()?, row.text()?);
        let actor = Party { kind: row.text()?, id: row.text()?, name: row.text()? };
        let target = (row.maybe_text()?, row.maybe_text()?, row.maybe_text()?);
        let target = match target {
            (Some(kind), Some(id), Some(name)) => Some(Party { kind, id, name }),
            _ => None,
        };
        Ok(Self { tenant, id, at, event, actor, target, outcome: row.text()? })
    }

    fn say(&self, event: &AuditEvent, gateway: GatewayId) -> bool {
        self.tenant == event.tenant.0
            && gateway == event.gateway
            && self.id == event.id.0
            && self.at == event.at
            && self.event == event.event
            && self.actor == event.actor
            && self.target == event.target
            && self.outcome == event.outcome.as_str()
    }
}

fn read_checkpoint(row: &mut Row) -> Result<Checkpoint, StoreError> {
    Ok(Checkpoint {
        number: row.count()?,
        id: row.uuid()?,
        at: row.time()?,
        body: row.bytes()?,
        signature: row.bytes()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_a_pattern_mean_themselves() {
        assert_eq!(pattern("50%_A!"), "%50!%!_a!!%");
    }
}
