//! Alerts, how far the log was looked at for them, by which gateway, and which of them wait to be delivered.
//!
//! One gateway watches for all. Its claim runs out by time; what keeps two from raising one alert is the step that every change names
//! and moves: whoever lost the claim finds another step and changes nothing.

use adit_domain::anomaly::Kind;
use adit_domain::{AlertId, EventId, GatewayId, TenantId, Timestamp};
use adit_wire::audit::Party;

use crate::page::{HIGHEST, List, Place};
use crate::sql::{Row, args, stored};
use crate::tx::{Scope, Tx};
use crate::{Cursor, NewEvent, Page, Paging, Store, StoreError, TenantStore};

/// An alert to add.
#[derive(Clone, PartialEq, Debug)]
pub struct NewAlert {
    /// Its id.
    pub id: AlertId,
    /// Whose log it is about.
    pub tenant: TenantId,
    /// What kind of thing.
    pub kind: Kind,
    /// Who.
    pub actor: Party,
    /// The template, where one stands out.
    pub subject: Option<String>,
    /// The events that made it.
    pub events: Vec<EventId>,
    /// What a person reads.
    pub sentence: String,
    /// When the last of its events happened.
    pub at: Timestamp,
    /// When it is raised.
    pub raised_at: Timestamp,
    /// An alert of the same cause after this stands for it.
    pub unless_since: Timestamp,
    /// Whether a webhook is to carry it.
    pub delivery: AlertDelivery,
}

/// How the delivery of an alert stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AlertDelivery {
    /// No webhook was set.
    None,
    /// It waits for its next try.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// It was tried for too long.
    GivenUp,
}

/// An alert.
#[derive(Clone, PartialEq, Debug)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Whose log it is about.
    pub tenant: TenantId,
    /// What kind of thing.
    pub kind: Kind,
    /// Who.
    pub actor: Party,
    /// The template, where one stands out.
    pub subject: Option<String>,
    /// The events that made it, the oldest first.
    pub events: Vec<String>,
    /// What a person reads.
    pub sentence: String,
    /// When the last of its events happened.
    pub at: Timestamp,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// How its delivery stands.
    pub delivery: AlertDelivery,
    /// How often it was tried.
    pub tries: u32,
    /// When the receiver took it.
    pub delivered_at: Option<Timestamp>,
    /// What the receiver answered last.
    pub answer: Option<String>,
}

/// How far one gateway's chain was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogPlace {
    /// Whose chain.
    pub gateway: GatewayId,
    /// The last event that was looked at.
    pub seq: u64,
}

/// The claim of the gateway that watches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watching {
    /// The step that its next change names.
    pub step: i64,
    /// How far each chain was looked at.
    pub places: Vec<LogPlace>,
}

/// One step of the watch.
#[derive(Clone, PartialEq, Debug)]
pub struct Advance {
    /// The step that is expected.
    pub step: i64,
    /// How far one chain was looked at.
    pub place: LogPlace,
    /// What was found there.
    pub alert: Option<NewAlert>,
}

/// What became of one try to deliver an alert.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// How its delivery stands now.
    pub delivery: AlertDelivery,
    /// When it was tried.
    pub at: Timestamp,
    /// When it is tried again.
    pub next_at: Timestamp,
    /// What the receiver answered.
    pub answer: String,
}

macro_rules! alert {
    ($where:literal) => {
        concat!(
            "SELECT id, tenant_id, kind, actor_kind, actor_id, actor_name, subject, events, sentence, at, raised_at, delivery, tries, \
             delivered_at, answer FROM alerts WHERE ",
            $where
        )
    };
}

impl Store {
    /// Claims the watch until a time, or claims it again. `None` while another gateway has it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn claim_watch(
        &self,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Watching>, StoreError> {
        self.write(crate::silent, move |tx| Box::pin(claim(tx, now, until))).await
    }

    /// Looks one step further: moves a place, and adds what was found. Gives the next step and whether the alert is a new one; `None` when the claim is lost.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn advance_watch<E>(
        &self,
        advance: Advance,
        tell: E,
    ) -> Result<Option<(i64, bool)>, StoreError>
    where
        E: FnOnce(&Option<(i64, bool)>) -> Vec<NewEvent> + Send + 'static,
    {
        self.write(tell, move |tx| Box::pin(step(tx, advance))).await
    }

    /// Lists alerts whose next try is due, the longest waiting first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list_due_alerts(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Alert>, StoreError> {
        let sql = alert!("delivery = 'waiting' AND next_at <= $1 ORDER BY next_at, id LIMIT $2");
        let rows = self.reads().rows(Scope::System, sql, args![now, i64::from(limit)]).await?;
        rows.into_iter().map(|mut row| read(&mut row)).collect()
    }
}

impl TenantStore {
    /// Lists alerts, the newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], [`StoreError::Unavailable`].
    pub async fn list_alerts(&self, paging: &Paging) -> Result<Page<Alert>, StoreError> {
        let sql = alert!(
            "tenant_id = $1 AND (raised_at, id) < ($2, $3) ORDER BY raised_at DESC, id DESC LIMIT $4"
        );
        let place = paging.place(List::Alerts, HIGHEST)?;
        let rows = self.rows(sql, args![place.first, place.id, paging.rows()]).await?;
        let all: Result<Vec<Alert>, _> = rows.into_iter().map(|mut row| read(&mut row)).collect();
        Ok(Page::of(all?, paging, |one| {
            Cursor::new(List::Alerts, Place { first: one.raised_at.0, second: 0, id: one.id.0 })
        }))
    }

    /// Finds an alert.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn find_alert(&self, id: AlertId) -> Result<Option<Alert>, StoreError> {
        let sql = alert!("tenant_id = $1 AND id = $2");
        self.row(sql, args![id]).await?.map(|mut row| read(&mut row)).transpose()
    }

    /// Writes down what became of a try, unless the alert waits no longer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn note_attempt<E>(
        &self,
        id: AlertId,
        attempt: Attempt,
        tell: E,
    ) -> Result<bool, StoreError>
    where
        E: FnOnce(&bool) -> Vec<NewEvent> + Send + 'static,
    {
        let sql = "UPDATE alerts SET delivery = $3, tries = tries + 1, next_at = $4, delivered_at = $5, answer = $6 \
             WHERE tenant_id = $1 AND id = $2 AND delivery = 'waiting'";
        let Attempt { delivery, at, next_at, answer } = attempt;
        let delivered = (delivery == AlertDelivery::Delivered).then_some(at);
        let own = args![id, delivery.as_str(), next_at, delivered, answer];
        self.write(tell, move |tx| Box::pin(async move { Ok(tx.run(sql, own).await? > 0) })).await
    }
}

impl AlertDelivery {
    /// Gives the stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
        }
    }

    fn read(name: &str) -> Result<Self, StoreError> {
        [Self::None, Self::Waiting, Self::Delivered, Self::GivenUp]
            .into_iter()
            .find(|one| one.as_str() == name)
            .ok_or(StoreError::Corrupt("delivery"))
    }
}

async fn claim(
    tx: &mut Tx,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Watching>, StoreError> {
    let begin = "INSERT INTO alert_watch (number, tenant_id, until_at, step) VALUES (1, $1, 0, 0) ON CONFLICT DO NOTHING";
    // A log that was there before anybody watched it is learned from, and raises nothing.
    let places = "INSERT INTO alert_cursors (gateway_id, tenant_id, seq) SELECT id, $1, head_seq FROM gateways WHERE head_seq > 0";
    if tx.run(begin, args![TenantId::SEED]).await? > 0 {
        tx.run(places, args![TenantId::SEED]).await?;
    }
    let sql = "UPDATE alert_watch SET holder = $1, until_at = $2, step = step + 1 \
         WHERE number = 1 AND (holder = $1 OR until_at < $3) RETURNING step";
    let gateway = tx.gateway;
    let Some(mut row) = tx.row(sql, args![gateway, until, now]).await? else { return Ok(None) };
    let step = row.int()?;
    let sql = "SELECT g.id, coalesce(c.seq, 0) FROM gateways g LEFT JOIN alert_cursors c ON c.gateway_id = g.id ORDER BY g.id";
    let place = |mut row: Row| {
        Ok::<_, StoreError>(LogPlace { gateway: GatewayId(row.uuid()?), seq: row.count()? })
    };
    let places = tx.rows(sql, args![]).await?.into_iter().map(place).collect::<Result<_, _>>()?;
    Ok(Some(Watching { step, places }))
}

async fn step(tx: &mut Tx, advance: Advance) -> Result<Option<(i64, bool)>, StoreError> {
    let Advance { step, place, alert } = advance;
    let sql =
        "UPDATE alert_watch SET step = step + 1 WHERE number = 1 AND holder = $1 AND step = $2";
    let gateway = tx.gateway;
    if tx.run(sql, args![gateway, step]).await? == 0 {
        return Ok(None);
    }
    let sql = "INSERT INTO alert_cursors (gateway_id, tenant_id, seq) VALUES ($1, $2, $3) ON CONFLICT (gateway_id) DO UPDATE SET seq = $3";
    tx.run(sql, args![place.gateway, TenantId::SEED, stored(place.seq)]).await?;
    let Some(alert) = alert else { return Ok(Some((step + 1, false))) };
    // From here on in the tenant's scope, so that the event that tells of it is the tenant's.
    tx.enter(Scope::Tenant(alert.tenant)).await?;
    let added = insert(tx, alert).await?;
    Ok(Some((step + 1, added)))
}

async fn insert(tx: &mut Tx, alert: NewAlert) -> Result<bool, StoreError> {
    let before = "SELECT 1 FROM alerts WHERE tenant_id = $1 AND kind = $2 AND actor_id = $3 AND subject = $4 AND at > $5 LIMIT 1";
    let sql = "INSERT INTO alerts (tenant_id, id, kind, actor_kind, actor_id, actor_name, subject, events, sentence, at, raised_at, \
         delivery, tries, next_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $11)";
    let kind = alert.kind.as_str();
    let subject = alert.subject.unwrap_or_default();
    let cause = args![kind, alert.actor.id.clone(), subject.clone(), alert.unless_since];
    if tx.row(before, cause).await?.is_some() {
        return Ok(false);
    }
    let events: Vec<String> = alert.events.iter().map(ToString::to_string).collect();
    let events = serde_json::to_string(&events).map_err(|_| StoreError::Corrupt("events"))?;
    let Party { kind: actor_kind, id: actor, name } = alert.actor;
    let (sentence, delivery) = (alert.sentence, alert.delivery.as_str());
    let own = args![
        alert.id,
        kind,
        actor_kind,
        actor,
        name,
        subject,
        events,
        sentence,
        alert.at,
        alert.raised_at,
        delivery
    ];
    tx.run(sql, own).await?;
    Ok(true)
}

fn read(row: &mut Row) -> Result<Alert, StoreError> {
    let (id, tenant) = (AlertId(row.uuid()?), TenantId(row.uuid()?));
    let kind = Kind::read(&row.text()?).ok_or(StoreError::Corrupt("kind"))?;
    let actor = Party { kind: row.text()?, id: row.text()?, name: row.text()? };
    let subject = Some(row.text()?).filter(|subject| !subject.is_empty());
    let events = serde_json::from_str(&row.text()?).map_err(|_| StoreError::Corrupt("events"))?;
    Ok(Alert {
        id,
        tenant,
        kind,
        actor,
        subject,
        events,
        sentence: row.text()?,
        at: row.time()?,
        raised_at: row.time()?,
        delivery: AlertDelivery::read(&row.text()?)?,
        tries: row.count()?,
        delivered_at: row.maybe_time()?,
        answer: row.maybe_text()?,
    })
}
