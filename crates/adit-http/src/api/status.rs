//! What `adit doctor` asks the gateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::oauth::settings::OAuthSettings;
use adit_domain::policy::{self, Target};
use adit_domain::{Capability, TenantId};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api;
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// How the gateway is set and how it stands. No secret is in it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    version: &'static str,
    /// The gateway's clock.
    now: String,
    /// Its id, which names its audit chain.
    gateway: String,
    /// Live sessions of the caller's tenant.
    live_sessions: usize,
    settings: Settings,
    /// The key that recordings and checkpoints are signed with: Ed25519, hex.
    audit_key: String,
}

/// The settings that concern sessions.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    session_expiry_seconds: u64,
    rate_limit_tokens: u32,
    rate_limit_burst: u32,
    clock_skew_tolerance_seconds: u64,
    nonce_history_limit: usize,
    /// Nonces that a session needs within the skew window: burst + rate × 2 × skew.
    nonce_history_needed: u64,
    max_length_seconds: u64,
    grace_seconds: u64,
    sessions_per_user: u32,
    recording: &'static str,
    recording_strict: bool,
    oauth: OAuth,
    /// Where traces go; absent where they go nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    traces: Option<Traces>,
}

/// How traces are exported.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traces {
    /// The collector's address; only for those who manage access.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// The share of new traces that are exported.
    sample_ratio: f64,
}

fn traces(settings: &adit_core::trace::Traces, sees_endpoint: bool) -> Option<Traces> {
    let (endpoint, sample_ratio) = settings.shown()?;
    let endpoint = sees_endpoint.then(|| endpoint.to_owned());
    Some(Traces { endpoint, sample_ratio })
}

/// The settings of the OAuth2 server.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuth {
    access_token_seconds: u64,
    refresh_token_seconds: u64,
    key_seconds: u64,
    key_lead_seconds: u64,
    secret_grace_seconds: u64,
    /// Whose tokens buy tokens of services here; only for those who manage access.
    trust: Vec<Trust>,
}

/// An issuer whose tokens buy tokens of a service.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    name: String,
    issuer: String,
    audience: String,
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<String>>,
    claims: BTreeMap<String, Vec<String>>,
}

fn oauth(settings: &OAuthSettings, sees_trust: bool) -> OAuth {
    let trust = settings.trust.iter().filter(|_| sees_trust).map(|trust| Trust {
        name: trust.name.clone(),
        issuer: trust.issuer.clone(),
        audience: trust.audience.clone(),
        service: trust.service.clone(),
        scopes: trust.scopes.map(adit_domain::Capabilities::names),
        claims: trust.claims.clone(),
    });
    OAuth {
        access_token_seconds: settings.access_life.as_secs(),
        refresh_token_seconds: settings.refresh_life.as_secs(),
        key_seconds: settings.key_life.as_secs(),
        key_lead_seconds: settings.key_lead.as_secs(),
        secret_grace_seconds: settings.secret_grace.as_secs(),
        trust: trust.collect(),
    }
}

/// Says how the gateway is set and how it stands.
#[utoipa::path(get, path = "/api/v1/status", tag = "operations", responses(
    (status = 200, description = "The gateway", body = Status), Fails,
))]
pub async fn status(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<Status>, ApiError> {
    let gateway = &app.gateway;
    let facts = gateway.facts_of(&caller).await?;
    let tenant = Target::Tenant(caller.principal.tenant);
    let may = policy::allowed(&facts, &tenant, gateway.clock.now());
    // What is trusted buys tokens of the first tenant's services, and what is exported is of all tenants.
    let is_first = caller.principal.tenant == TenantId::SEED;
    let sees_trust = is_first && may.has(Capability::AccessManage);
    let settings = &gateway.settings;
    let needed = u64::from(settings.rate_burst)
        + u64::from(settings.rate_tokens) * 2 * settings.clock_skew.as_secs();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        now: api::time(gateway.clock.now()),
        gateway: gateway.store.gateway().to_string(),
        live_sessions: gateway.sessions.count_of(caller.principal.tenant),
        settings: Settings {
            session_expiry_seconds: settings.token_life.as_secs(),
            rate_limit_tokens: settings.rate_tokens,
            rate_limit_burst: settings.rate_burst,
            clock_skew_tolerance_seconds: settings.clock_skew.as_secs(),
            nonce_history_limit: settings.nonce_history,
            nonce_history_needed: needed,
            max_length_seconds: settings.max_length.as_secs(),
            grace_seconds: settings.grace.as_secs(),
            sessions_per_user: settings.sessions_per_user,
            recording: settings.recording.as_str(),
            recording_strict: settings.recording_strict,
            oauth: oauth(&settings.oauth, sees_trust),
            traces: traces(&settings.traces, sees_trust),
        },
        audit_key: hex::encode(gateway.keys.audit_public()),
    }))
}
