//! Alerts: what was out of the ordinary in the audit log.

use std::sync::Arc;

use adit_domain::Code;
use adit_store::Alert as Stored;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{self, List, Named, PageQuery, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// Something out of the ordinary.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    id: String,
    /// `refusals`, `new_command`, `unusual_hours`, `fan_out` or `failures`.
    #[schema(example = "refusals")]
    kind: &'static str,
    /// Who; of the anonymous the id is their address.
    actor: Named,
    /// The template, where one stands out.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    /// The ids of the audit events that made it, the oldest first.
    events: Vec<String>,
    sentence: String,
    /// When the last of its events happened.
    at: String,
    /// When it was raised.
    raised_at: String,
    webhook: Delivery,
}

/// How its delivery stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlertDelivery)]
pub struct Delivery {
    /// `none`, `waiting`, `delivered` or `given_up`.
    state: &'static str,
    /// How often it was tried.
    tries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<String>,
    /// What the receiver answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
}

/// What the receiver answered to a test.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tested {
    /// Whether it took it.
    taken: bool,
    /// A status, or why there was none.
    #[schema(example = "204 No Content")]
    answer: String,
}

fn shown(alert: Stored) -> Alert {
    Alert {
        id: alert.id.to_string(),
        kind: alert.kind.as_str(),
        actor: Named::from(&alert.actor),
        template: alert.subject,
        events: alert.events,
        sentence: alert.sentence,
        at: api::time(alert.at),
        raised_at: api::time(alert.raised_at),
        webhook: Delivery {
            state: alert.delivery.as_str(),
            tries: alert.tries,
            delivered_at: alert.delivered_at.map(api::time),
            answer: alert.answer,
        },
    }
}

/// Lists alerts, the newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "audit", operation_id = "list_alerts", params(PageQuery), responses(
    (status = 200, description = "A page of alerts", body = List<Alert>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<Alert>>, ApiError> {
    let page = app.gateway.list_alerts(&caller, &query.paging()?).await?;
    Ok(Json(List::of(page.items.into_iter().map(shown).collect(), page.next)))
}

/// Shows an alert.
#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "audit", operation_id = "show_alert", params(("id" = String, Path)), responses(
    (status = 200, description = "The alert", body = Alert), Fails,
))]
pub async fn show(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Alert>, ApiError> {
    let id = api::id(&id, Code::AlertUnknown)?;
    Ok(Json(shown(app.gateway.find_alert(&caller, id).await?)))
}

/// Posts a test to the webhook of alerts, and says what the receiver answered.
#[utoipa::path(post, path = "/api/v1/alerts/test", tag = "audit", operation_id = "test_alerts", responses(
    (status = 200, description = "What the receiver answered", body = Tested), Fails,
))]
pub async fn test(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<Tested>, ApiError> {
    let answer = app.gateway.test_alerts(&caller).await?;
    Ok(Json(Tested { taken: answer.taken, answer: answer.said }))
}
