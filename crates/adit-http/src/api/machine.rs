//! Machines, and the keys that admit them.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::access::target_of;
use adit_core::hub::Presence;
use adit_core::machine_key::{self, Ending};
use adit_domain::policy;
use adit_domain::{Capability, Code};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body, List, PageQuery, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A machine.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    id: String,
    #[schema(example = "web-1")]
    label: String,
    /// `online`, `stale` or `offline`.
    status: &'static str,
    hostname: String,
    os: String,
    arch: String,
    version: String,
    cores: u32,
    memory_bytes: u64,
    tags: BTreeMap<String, String>,
    /// The team that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<String>,
    added_at: String,
    live_sessions: usize,
    /// What the caller may do here, as `scope:action`.
    capabilities: Vec<String>,
}

fn shown(app: &App, machine: &adit_store::Machine, facts: &adit_domain::Facts) -> Option<Machine> {
    let now = app.gateway.clock.now();
    // What a second factor or an approval would open is shown, so that one can ask for it.
    let may = policy::within_reach(facts, &target_of(machine), now);
    if !may.has(Capability::MachineView) {
        return None;
    }
    Some(Machine {
        id: machine.id.to_string(),
        label: machine.label.to_string(),
        status: match app.gateway.presence(machine) {
            Presence::Online => "online",
            Presence::Stale => "stale",
            Presence::Offline => "offline",
        },
        hostname: machine.facts.hostname.clone(),
        os: machine.facts.os.clone(),
        arch: machine.facts.arch.clone(),
        version: machine.facts.version.clone(),
        cores: machine.facts.cores,
        memory_bytes: machine.facts.memory_bytes,
        tags: (*machine.tags).clone(),
        team: machine.team.as_ref().map(|(_, name)| name.clone()),
        last_seen_at: machine.last_seen_at.map(api::time),
        added_at: api::time(machine.added_at),
        live_sessions: app.gateway.sessions.count_on(machine.id),
        capabilities: may.names(),
    })
}

/// Lists the machines that the caller may see.
#[utoipa::path(get, path = "/api/v1/machines", tag = "machines", params(PageQuery), responses(
    (status = 200, description = "A page of machines, by label", body = List<Machine>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Machine>>, ApiError> {
    let facts = app.gateway.facts_of(&caller).await?;
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let found = tenant.list_machines(&page.paging()?).await?;
    let items = found.items.iter().filter_map(|machine| shown(&app, machine, &facts)).collect();
    Ok(Json(List::of(items, found.next)))
}

/// Shows one machine.
#[utoipa::path(get, path = "/api/v1/machines/{machine}", tag = "machines",
    params(("machine" = String, Path, description = "Its id or label")), responses(
    (status = 200, description = "The machine", body = Machine), Fails,
))]
pub async fn show(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(machine): Path<String>,
) -> Result<Json<Machine>, ApiError> {
    let machine = app.gateway.find_machine(&caller, &machine).await?;
    let facts = app.gateway.facts_of(&caller).await?;
    shown(&app, &machine, &facts).map(Json).ok_or_else(|| Code::TargetUnknown.into())
}

/// What operators say of a machine.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Its tags, all of them; absent: as they are.
    tags: Option<BTreeMap<String, String>>,
    /// The name of the team that it belongs to, empty for none; absent: as it is.
    team: Option<String>,
}

/// Says anew what tags a machine has and which team it belongs to. Roles that rest on either follow within a second.
#[utoipa::path(patch, path = "/api/v1/machines/{machine}", tag = "machines",
    params(("machine" = String, Path, description = "Its id or label")), request_body = Description, responses(
    (status = 204, description = "Described"), Fails,
))]
pub async fn describe(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(machine): Path<String>,
    Body(body): Body<Description>,
) -> Result<StatusCode, ApiError> {
    let machine = app.gateway.find_machine(&caller, &machine).await?;
    let tags = body.tags.unwrap_or_else(|| (*machine.tags).clone());
    let present = machine.team.as_ref().map(|(_, name)| name.clone());
    let team = body.team.or(present).filter(|name| !name.is_empty());
    app.gateway.describe_machine(&caller, &machine, tags, team.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a machine: its credentials open nothing from then on, its sessions end.
#[utoipa::path(delete, path = "/api/v1/machines/{machine}", tag = "machines",
    params(("machine" = String, Path, description = "Its id or label")), responses(
    (status = 204, description = "Removed"), Fails,
))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(machine): Path<String>,
) -> Result<StatusCode, ApiError> {
    let machine = app.gateway.find_machine(&caller, &machine).await?;
    app.gateway.remove_machine(&caller, &machine).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A machine's key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineKey {
    id: String,
    /// Its first characters.
    prefix: String,
    created_at: String,
    /// When it was first used; absent for one that the machine has not used yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<String>,
}

/// Lists the keys of a machine that count.
#[utoipa::path(get, path = "/api/v1/machines/{machine}/keys", tag = "machines",
    params(("machine" = String, Path, description = "Its id or label")), responses(
    (status = 200, description = "The keys, the newest first", body = List<MachineKey>), Fails,
))]
pub async fn list_keys(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(machine): Path<String>,
) -> Result<Json<List<MachineKey>>, ApiError> {
    let machine = app.gateway.find_machine(&caller, &machine).await?;
    let found = app.gateway.list_machine_keys(&caller, &machine).await?;
    let items = found.into_iter().map(|key| MachineKey {
        id: key.id.to_string(),
        prefix: key.prefix,
        created_at: api::time(key.created_at),
        used_at: key.used_at.map(api::time),
    });
    Ok(Json(List::of(items.collect(), None)))
}

/// Revokes every key of a machine: what they opened ends.
#[utoipa::path(delete, path = "/api/v1/machines/{machine}/keys", tag = "machines",
    params(("machine" = String, Path, description = "Its id or label")), responses(
    (status = 204, description = "Revoked"), Fails,
))]
pub async fn revoke_keys(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(machine): Path<String>,
) -> Result<StatusCode, ApiError> {
    let machine = app.gateway.find_machine(&caller, &machine).await?;
    app.gateway.revoke_machine_keys(&caller, &machine).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a machine changes what admits it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rotation {
    /// Whether the old one ends at once, instead of with the first use of the new one.
    #[serde(default)]
    now: bool,
}

/// What a machine changes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotated {
    /// `key` or `certificate`.
    changes: &'static str,
}

/// Lets a machine that is online change its key, or its certificate if that admits it.
#[utoipa::path(post, path = "/api/v1/machines/{machine}/keys/rotate", tag = "machines",
    params(("machine" = String, Path, description = "Its id or label")), request_body = Rotation, responses(
    (status = 202, description = "The machine was told", body = Rotated), Fails,
))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(machine): Path<String>,
    Body(body): Body<Rotation>,
) -> Result<(StatusCode, Json<Rotated>), ApiError> {
    let machine = app.gateway.find_machine(&caller, &machine).await?;
    let ending = if body.now { Ending::Now } else { Ending::OnUse };
    let changes = match app.gateway.rotate_machine(&caller, &machine, ending).await? {
        machine_key::Rotated::Key => "key",
        machine_key::Rotated::Certificate => "certificate",
    };
    Ok((StatusCode::ACCEPTED, Json(Rotated { changes })))
}
