//! The audit log: read, verified, exported.

use std::sync::Arc;

use adit_core::audit::SENTENCE;
use adit_domain::{Capability, Code, Timestamp};
use adit_store::{EventFilter, Outcome, StoredEvent};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use crate::api::{self, Named, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// One line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// Its number in its gateway's chain.
    seq: u64,
    id: String,
    at: String,
    gateway: String,
    event: String,
    actor: Named,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Named>,
    /// `ok`, `denied` or `failed`.
    outcome: &'static str,
    /// The address that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    sentence: String,
    #[schema(value_type = Object)]
    details: serde_json::Value,
    /// SHA-256 over the one before and this one, in hex.
    hash: String,
}

/// How far the log is anchored.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Anchored {
    /// The last checkpoint's number.
    checkpoint: u64,
    /// When it was signed.
    at: String,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    items: Vec<Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anchored: Option<Anchored>,
}

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// A text in the sentence.
    q: Option<String>,
    /// Who acted: a name, as `bob` or `user:bob`, or an id.
    actor: Option<String>,
    /// The event's name.
    event: Option<String>,
    /// What it was done to: a name or an id.
    target: Option<String>,
    /// `ok`, `denied` or `failed`.
    outcome: Option<String>,
    /// From this time on, RFC 3339.
    from: Option<String>,
    /// Before this time, RFC 3339.
    to: Option<String>,
    /// Where the page before it ended.
    cursor: Option<String>,
    /// How many at most, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

impl EventQuery {
    fn filter(&self) -> Result<EventFilter, ApiError> {
        let outcome = match self.outcome.as_deref() {
            None => None,
            Some("ok") => Some(Outcome::Ok),
            Some("denied") => Some(Outcome::Denied),
            Some("failed") => Some(Outcome::Failed),
            Some(_) => {
                let sentence = "`outcome` is `ok`, `denied` or `failed`.";
                return Err(ApiError::said(Code::RequestInvalid, sentence));
            }
        };
        Ok(EventFilter {
            q: self.q.clone(),
            actor: self.actor.as_deref().map(bare),
            event: self.event.clone(),
            target: self.target.as_deref().map(bare),
            outcome,
            from: self.from.as_deref().map(read_time).transpose()?,
            to: self.to.as_deref().map(read_time).transpose()?,
        })
    }
}

/// Gives a name without its kind: `bob` of `user:bob`.
fn bare(name: &str) -> String {
    name.split_once(':').map_or(name, |(_, bare)| bare).to_owned()
}

fn read_time(text: &str) -> Result<Timestamp, ApiError> {
    let bad = || {
        ApiError::said(
            Code::RequestInvalid,
            "A time is written as in RFC 3339: 2026-11-22T10:32:00Z.",
        )
    };
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| bad())?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).map(Timestamp).map_err(|_| bad())
}

/// Lists events, the newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(EventQuery), responses(
    (status = 200, description = "A page of events", body = Events), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<EventQuery>,
) -> Result<Json<Events>, ApiError> {
    app.gateway.permit_tenant(&caller, Capability::AuditRead).await?;
    let paging = api::paging(query.cursor.as_deref(), query.limit)?;
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let page = tenant.list_events(&query.filter()?, &paging).await?;
    let last = app.gateway.store.find_last_checkpoint().await?;
    Ok(Json(Events {
        items: page.items.iter().map(shown).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
        anchored: last.map(|last| Anchored { checkpoint: last.number, at: api::time(last.at) }),
    }))
}

fn shown(stored: &StoredEvent) -> Event {
    let gateway = stored.gateway.to_string();
    let (seq, hash) = (stored.record.seq, stored.record.hash.to_string());
    let Some(event) = &stored.event else {
        return damaged(gateway, seq, hash);
    };
    let mut details = event.details.clone();
    let sentence = details.remove(SENTENCE);
    let sentence = sentence.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default();
    Event {
        seq,
        id: event.id.to_string(),
        at: api::time(event.at),
        gateway,
        event: event.event.clone(),
        actor: Named::from(&event.actor),
        target: event.target.as_ref().map(Named::from),
        outcome: event.outcome.as_str(),
        client: event.client.clone(),
        sentence,
        details: serde_json::json!(details),
        hash,
    }
}

/// Shows an event whose bytes somebody changed: that it is there, and that it proves nothing.
fn damaged(gateway: String, seq: u64, hash: String) -> Event {
    Event {
        seq,
        id: String::new(),
        at: api::time(Timestamp::default()),
        gateway,
        event: "damaged".to_owned(),
        actor: Named { kind: "unknown".to_owned(), id: None, name: "unknown".to_owned() },
        target: None,
        outcome: Outcome::Failed.as_str(),
        client: None,
        sentence: "This event was changed in the database. Verify the log.".to_owned(),
        details: serde_json::json!({}),
        hash,
    }
}

/// What was found in the log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifiedLog)]
pub struct Verified {
    ok: bool,
    events: u64,
    checkpoints: u64,
    /// The first event that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_bad: Option<FirstBad>,
    /// Events after the last checkpoint: nothing proves that none of them was cut off.
    unanchored: u64,
    sentence: String,
}

/// The first event of a chain that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct FirstBad {
    gateway: String,
    seq: u64,
    why: String,
}

/// Verifies the whole log: every hash, every signature.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "audit", responses(
    (status = 200, description = "What was found", body = Verified), Fails,
))]
pub async fn verify(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<Verified>, ApiError> {
    let report = app.gateway.verify_audit(&caller).await?;
    Ok(Json(Verified {
        ok: report.is_ok(),
        events: report.events,
        checkpoints: report.checkpoints,
        first_bad: report.first_bad.first().map(|bad| FirstBad {
            gateway: bad.gateway.to_string(),
            seq: bad.record.seq,
            why: bad.record.flaw.to_string(),
        }),
        unanchored: report.unanchored,
        sentence: report.sentence,
    }))
}

/// Gives the whole log as JSON Lines, with its hashes and checkpoints, for an offline check.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "audit", responses(
    (status = 200, description = "JSON Lines", body = String, content_type = "application/x-ndjson"), Fails,
))]
pub async fn export(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Response, ApiError> {
    let lines = app.gateway.export_audit(&caller).await?;
    let stream = futures_util::stream::unfold(lines, |mut lines| async move {
        lines.recv().await.map(|line| (Ok::<_, std::convert::Infallible>(line), lines))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"adit-audit.jsonl\""),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}
