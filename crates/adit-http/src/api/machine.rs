//! Machines and their enrolment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_core::access::target_of;
use adit_core::hub::Presence;
use adit_core::machine::Enrolment;
use adit_domain::policy;
use adit_domain::{Capability, Code, MachineLabel, Secret};
use adit_store::MachineFacts;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body, List, PageQuery, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::listen::Peer;
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
        status: match app.gateway.hub.presence(machine, now) {
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

/// What an enrolment token is to be like.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewEnrolmentToken {
    /// The label that the machine will have; absent: its own host name.
    label: Option<String>,
    /// How long it works, in seconds; at most a week.
    #[schema(minimum = 1, maximum = 604_800)]
    expires_in_seconds: Option<u64>,
}

/// An enrolment token, shown once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuedEnrolmentToken {
    id: String,
    token: String,
    expires_at: String,
    /// What to run on the machine.
    command: String,
}

/// Makes a single-use enrolment token.
#[utoipa::path(post, path = "/api/v1/enrolment-tokens", tag = "machines", request_body = NewEnrolmentToken, responses(
    (status = 201, description = "The token, shown once", body = IssuedEnrolmentToken), Fails,
))]
pub async fn issue_enrolment_token(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewEnrolmentToken>,
) -> Result<(StatusCode, Json<IssuedEnrolmentToken>), ApiError> {
    let label = body.label.as_deref().map(read_label).transpose()?;
    let life = body.expires_in_seconds.map(Duration::from_secs);
    let issued = app.gateway.issue_enrolment_token(&caller, label, life).await?;
    let token = issued.secret.expose().clone();
    let answer = IssuedEnrolmentToken {
        id: issued.id.to_string(),
        expires_at: issued.expires_at.map(api::time).unwrap_or_default(),
        command: format!("adit agent join {} --token {token}", app.gateway.settings.url),
        token,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

fn read_label(text: &str) -> Result<MachineLabel, ApiError> {
    text.parse().map_err(|error: adit_domain::machine::BadLabel| {
        ApiError::said(Code::RequestInvalid, error.to_string())
    })
}

/// What a machine sends to be enrolled. Its private keys stay where they were made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Enrol {
    /// The enrolment token.
    token: String,
    /// The machine's X25519 public key, 32 bytes in base64 (RFC 4648 §4).
    link_key: String,
    /// A PKCS #10 request in PEM, for a certificate. Only its public key counts.
    csr: Option<String>,
    /// The label that it would like; the token's own wins.
    label: Option<String>,
    hostname: Option<String>,
    os: Option<String>,
    arch: Option<String>,
    version: Option<String>,
}

/// What an enrolled machine gets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    machine_id: String,
    label: String,
    /// The machine's key, shown once: `cak_…`.
    agent_key: String,
    /// Its certificate in PEM, if it sent a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    /// The authority's certificate in PEM.
    ca: String,
    /// The session service's X25519 public key in base64.
    session_service_key: String,
    /// The authority's Ed25519 public key in base64: warrants are signed with it.
    authority_key: String,
    /// The address of the mutual-TLS listener.
    machines: String,
}

/// Enrols a machine with a single-use token.
#[utoipa::path(post, path = "/api/enroll", tag = "machines", request_body = Enrol, security(()), responses(
    (status = 201, description = "Enrolled", body = Enrolled), Fails,
))]
pub async fn enrol(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    Body(body): Body<Enrol>,
) -> Result<(StatusCode, Json<Enrolled>), ApiError> {
    let bad_key = || ApiError::said(Code::RequestInvalid, "`linkKey` is 32 bytes in base64.");
    let link_key = STANDARD.decode(&body.link_key).map_err(|_| bad_key())?;
    let request = Enrolment {
        token: Secret::new(body.token),
        link_key: link_key.try_into().map_err(|_| bad_key())?,
        csr: body.csr,
        label: body.label.as_deref().map(read_label).transpose()?,
        facts: MachineFacts {
            hostname: body.hostname.unwrap_or_default(),
            os: body.os.unwrap_or_default(),
            arch: body.arch.unwrap_or_default(),
            version: body.version.unwrap_or_default(),
            ..MachineFacts::default()
        },
    };
    let gateway = &app.gateway;
    let enrolled = gateway.enrol(request, Some(peer.address.ip())).await?;
    let answer = Enrolled {
        machine_id: enrolled.machine.id.to_string(),
        label: enrolled.machine.label.to_string(),
        agent_key: enrolled.key.expose().clone(),
        certificate: enrolled.certificate.map(|certificate| certificate.pem),
        ca: gateway.pki.ca_pem().to_owned(),
        session_service_key: STANDARD.encode(gateway.keys.session_service.public().0),
        authority_key: STANDARD.encode(gateway.keys.authority_public()),
        machines: gateway.settings.machines_url.clone(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}
