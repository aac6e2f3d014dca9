//! Scopes, and who holds their capabilities.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_domain::certificate::Carried;
use adit_domain::reach::peer_label;
use adit_domain::reach::scope::{Action, NewScope, ScopeName, ScopeTransport};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::instance::{AssignmentOf, InstanceOf};
use super::{Asking, invalid, peer, preferred, strategies};
use crate::api::{self, Body, Path};
use crate::app::App;
use crate::problem::{ApiError, Fails};

/// One capability of a scope.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionOf {
    /// `connect` or `shell:connect`; in an answer always the whole name.
    #[schema(example = "shell:connect")]
    name: String,
    /// What it is for, at most 500 characters.
    #[serde(default)]
    description: String,
    /// Whether it counts for one instance at a time.
    #[serde(default)]
    instance_scoped: bool,
}

/// The transports that a scope allows.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ScopeTransportOf {
    /// Of `tunnel`, `relay`, `direct`.
    strategies: Vec<String>,
    /// One of these.
    preferred: String,
    /// 0, or 1024 to 65535.
    port: u16,
    /// `wss` or `tcp`.
    protocol: String,
}

/// A scope to register.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewScopeOf {
    /// 1 to 50 of a-z 0-9 -, and no reserved word.
    #[schema(example = "shell")]
    name: String,
    /// 1 to 50 characters.
    #[schema(example = "1.0.0")]
    version: String,
    /// At most 500 characters.
    #[serde(default)]
    description: String,
    /// 1 to 50 capabilities.
    scopes: Vec<ActionOf>,
    /// The transports that it allows.
    transport: ScopeTransportOf,
    /// Kept for later: empty or absent.
    #[serde(default)]
    hooks: Option<Value>,
}

impl NewScopeOf {
    fn read(self) -> Result<NewScope, ApiError> {
        let empty = match &self.hooks {
            None | Some(Value::Null) => true,
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(_) => false,
        };
        if !empty {
            return Err(invalid("hooks are not supported; leave them out"));
        }
        let name: ScopeName = self.name.parse().map_err(invalid)?;
        let action = |one: ActionOf| {
            let whole = name.action(&one.name).map_err(invalid)?;
            Ok(Action {
                name: whole,
                description: one.description,
                instance_scoped: one.instance_scoped,
            })
        };
        let actions = self.scopes.into_iter().map(action).collect::<Result<_, ApiError>>()?;
        let transport = ScopeTransport {
            strategies: strategies(&self.transport.strategies)?,
            preferred: preferred(Some(&self.transport.preferred))?
                .unwrap_or(adit_domain::reach::Strategy::Relay),
            port: self.transport.port,
            protocol: self.transport.protocol.parse().map_err(invalid)?,
        };
        let scope = NewScope {
            name,
            version: self.version,
            description: self.description,
            actions,
            transport,
        };
        scope.check().map_err(invalid)
    }
}

/// A scope as it is registered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScopeOf {
    name: String,
    version: String,
    description: String,
    scopes: Vec<ActionOf>,
    transport: ScopeTransportOf,
    registered_at: String,
    registered_by: String,
}

impl ScopeOf {
    fn of(stored: adit_store::StoredScope) -> Self {
        let scope = stored.scope;
        let action = |one: Action| ActionOf {
            name: one.name.to_string(),
            description: one.description,
            instance_scoped: one.instance_scoped,
        };
        let transport = scope.transport;
        Self {
            name: scope.name.to_string(),
            version: scope.version,
            description: scope.description,
            scopes: scope.actions.into_iter().map(action).collect(),
            transport: ScopeTransportOf {
                strategies: transport
                    .strategies
                    .iter()
                    .map(|one| one.as_str().to_owned())
                    .collect(),
                preferred: transport.preferred.as_str().to_owned(),
                port: transport.port,
                protocol: transport.protocol.as_str().to_owned(),
            },
            registered_at: api::time(stored.created_at),
            registered_by: stored.created_by,
        }
    }
}

/// The capabilities that a scope brought.
#[derive(Debug, Serialize, ToSchema)]
pub struct Registered {
    ok: bool,
    registered: Vec<String>,
}

/// Registers a scope. For operators.
#[utoipa::path(post, path = "/api/tickets/scopes", tag = "tickets", request_body = NewScopeOf, responses(
    (status = 201, description = "It is registered", body = Registered), Fails,
))]
pub async fn register(
    axum::extract::State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Body(body): Body<NewScopeOf>,
) -> Result<(StatusCode, Json<Registered>), ApiError> {
    guest.operator()?;
    let names = app.gateway.register_scope(&guest, body.read()?).await?;
    let registered = names.iter().map(ToString::to_string).collect();
    Ok((StatusCode::CREATED, Json(Registered { ok: true, registered })))
}

/// Everything that operators set and machines offer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Registry {
    scopes: Vec<ScopeOf>,
    instances: Vec<InstanceOf>,
    assignments: Vec<AssignmentOf>,
}

/// Lists scopes, instances and assignments. For operators.
#[utoipa::path(get, path = "/api/tickets/scopes", tag = "tickets", responses(
    (status = 200, description = "All of them", body = Registry), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
) -> Result<Json<Registry>, ApiError> {
    let (scopes, instances, assignments) = app.gateway.list_scopes(&guest).await?;
    let now = app.gateway.clock.now();
    let networks = &app.gateway.settings.reach.networks;
    Ok(Json(Registry {
        scopes: scopes.into_iter().map(ScopeOf::of).collect(),
        instances: instances.iter().map(|one| InstanceOf::of(one, now, networks)).collect(),
        assignments: assignments.iter().map(AssignmentOf::of).collect(),
    }))
}

/// That a scope is gone.
#[derive(Debug, Serialize, ToSchema)]
pub struct RemovedScope {
    ok: bool,
    name: String,
}

/// Removes a scope, and everything that rests on it. For operators.
#[utoipa::path(delete, path = "/api/tickets/scopes/{name}", tag = "tickets",
    params(("name" = String, Path, description = "The scope's name")),
    responses((status = 200, description = "It is gone", body = RemovedScope), Fails))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Path(name): Path<String>,
) -> Result<Json<RemovedScope>, ApiError> {
    app.gateway.remove_scope(&guest, &name).await?;
    Ok(Json(RemovedScope { ok: true, name }))
}

/// What somebody holds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HolderOf {
    /// A machine's label, or `plugin-agent:LABEL:NAME`.
    #[schema(example = "web-1")]
    agent_label: String,
    capabilities: Vec<String>,
}

/// Who holds what.
#[derive(Debug, Serialize, ToSchema)]
pub struct Holders {
    holders: Vec<HolderOf>,
}

/// Lists who holds which capability. For operators.
#[utoipa::path(get, path = "/api/tickets/capabilities", tag = "tickets", responses(
    (status = 200, description = "Everybody who holds one", body = Holders), Fails,
))]
pub async fn holdings(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
) -> Result<Json<Holders>, ApiError> {
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for held in app.gateway.list_holdings(&guest).await? {
        by_name.entry(peer_label(&held.holder)).or_default().push(held.capability.to_string());
    }
    let holder = |(agent_label, capabilities)| HolderOf { agent_label, capabilities };
    Ok(Json(Holders { holders: by_name.into_iter().map(holder).collect() }))
}

/// What somebody is to hold.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Holds {
    /// Of registered scopes: `scope:action`, or a whole scope.
    capabilities: Vec<String>,
}

/// What somebody holds now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    ok: bool,
    agent_label: String,
    capabilities: Vec<String>,
}

/// Sets what a machine, or whoever speaks for one, holds. For operators.
#[utoipa::path(put, path = "/api/tickets/capabilities/{agentLabel}", tag = "tickets", request_body = Holds,
    params(("agentLabel" = String, Path, description = "A machine's label, or `plugin-agent:LABEL:NAME`")),
    responses((status = 200, description = "What it holds now", body = Held), Fails))]
pub async fn hold(
    State(app): State<Arc<App>>,
    Asking(guest): Asking,
    Path(label): Path<String>,
    Body(body): Body<Holds>,
) -> Result<Json<Held>, ApiError> {
    guest.operator()?;
    let holder = peer(&label)?;
    let read = |word: &String| word.parse::<Carried>().map_err(invalid);
    let capabilities = body.capabilities.iter().map(read).collect::<Result<_, _>>()?;
    let held = app.gateway.set_holdings(&guest, &holder, capabilities).await?;
    let capabilities = held.iter().map(|one| one.capability.to_string()).collect();
    Ok(Json(Held { ok: true, agent_label: peer_label(&holder), capabilities }))
}
