//! Support: codes for technicians, and the two public doors for the machine that comes with one.

use std::sync::Arc;
use std::time::Duration;

use adit_core::support::{Arrival, Offer};
use adit_domain::support::{ANSWER_WITHIN, Access, Answer};
use adit_domain::{Code, RecordingMode, Secret, Timestamp, TokenId};
use adit_store::MachineFacts;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{self, Body, List, Named, PageQuery, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::listen::Peer;
use crate::problem::{ApiError, Fails};

/// Support, from its code to its end.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Support {
    id: String,
    /// `open` until a machine comes with the code, `asked` until its person answers, `agreed`, `live` once a session was opened,
    /// `ended`, or `expired` for a code that nobody used.
    state: &'static str,
    technician: Named,
    /// `control` or `view`.
    access: &'static str,
    /// How long it may last.
    length_seconds: u64,
    created_at: String,
    /// From when on the code is refused.
    expires_at: String,
    /// When a machine came with the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<String>,
    /// The address that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_from: Option<String>,
    /// The machine's label, to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    /// The session that it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// When the person agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    consented_at: Option<String>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
}

/// Why support ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct End {
    /// The stable code.
    #[schema(example = "support.declined")]
    code: &'static str,
    /// The same in a sentence.
    sentence: &'static str,
}

fn state(support: &adit_store::Support, now: Timestamp) -> &'static str {
    match support {
        adit_store::Support { ended_at: Some(_), .. } => "ended",
        adit_store::Support { session: Some(_), .. } => "live",
        adit_store::Support { consented_at: Some(_), .. } => "agreed",
        adit_store::Support { used_at: Some(_), .. } => "asked",
        unused if unused.expires_at <= now => "expired",
        _ => "open",
    }
}

fn shown(support: &adit_store::Support, now: Timestamp) -> Support {
    Support {
        id: support.id.to_string(),
        state: state(support, now),
        technician: Named::from(&support.technician),
        access: support.access.as_str(),
        length_seconds: support.length.as_secs(),
        created_at: api::time(support.created_at),
        expires_at: api::time(support.expires_at),
        used_at: support.used_at.map(api::time),
        used_from: support.used_from.clone(),
        machine: support.machine.as_ref().map(|(_, label)| label.to_string()),
        session: support.session.map(|id| id.to_string()),
        consented_at: support.consented_at.map(api::time),
        ends_at: support.ends_at.map(api::time),
        ended_at: support.ended_at.map(api::time),
        end: support.end.map(|code| End { code: code.as_str(), sentence: code.sentence() }),
    }
}

/// What a support code is to be good for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSupportCode {
    /// `control` to see and type, which is the default, or `view` to see only.
    #[schema(example = "control")]
    access: Option<String>,
    /// How long support may last; an hour unless said otherwise, at most eight.
    #[schema(minimum = 60, maximum = 28_800)]
    length_seconds: Option<u64>,
}

/// A support code, shown once.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuedSupportCode {
    /// The code, in two groups of five: digits and capital letters without 0, 1, B, I, L, O, S, U and Z.
    #[schema(example = "7KQM2-9XVFA")]
    support_code: String,
    /// The page to send the person to.
    page: String,
    /// What to run on the person's machine; it asks for the code.
    command: String,
    /// What it is.
    support: Support,
}

/// Makes a support code: it lets one machine in, once, within ten minutes.
#[utoipa::path(post, path = "/api/v1/support-codes", tag = "support", request_body = NewSupportCode, responses(
    (status = 201, description = "The code, shown once", body = IssuedSupportCode), Fails,
))]
pub async fn issue(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewSupportCode>,
) -> Result<(StatusCode, Json<IssuedSupportCode>), ApiError> {
    let access = body.access.as_deref().unwrap_or("control").parse::<Access>();
    let access =
        access.map_err(|error| ApiError::said(Code::RequestInvalid, format!("{error}.")))?;
    if body.length_seconds.is_some_and(|seconds| !(60..=28_800).contains(&seconds)) {
        return Err(ApiError::said(Code::RequestInvalid, "Support lasts a minute to eight hours."));
    }
    let offer = Offer { access, length: body.length_seconds.map(Duration::from_secs) };
    let issued = app.gateway.issue_support_code(&caller, offer).await?;
    let url = &app.gateway.settings.url;
    let answer = IssuedSupportCode {
        support_code: issued.code.grouped(),
        page: format!("{url}/support"),
        command: format!("adit agent support --gateway {url}"),
        support: shown(&issued.support, app.gateway.clock.now()),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Lists the caller's support codes and what became of them; everybody's for whoever may list others' sessions.
#[utoipa::path(get, path = "/api/v1/support-codes", tag = "support", params(PageQuery), responses(
    (status = 200, description = "A page, the newest first", body = List<Support>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Support>>, ApiError> {
    let found = app.gateway.list_support(&caller, &page.paging()?).await?;
    let now = app.gateway.clock.now();
    Ok(Json(List::of(found.items.iter().map(|one| shown(one, now)).collect(), found.next)))
}

/// Shows one support code and what became of it.
#[utoipa::path(get, path = "/api/v1/support-codes/{id}", tag = "support", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "The code, without its secret", body = Support), Fails,
))]
pub async fn show(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Support>, ApiError> {
    let id: TokenId = api::id(&id, Code::NotFound)?;
    let found = app.gateway.find_support(&caller, id).await?;
    Ok(Json(shown(&found, app.gateway.clock.now())))
}

/// Revokes a code, or ends what came of it.
#[utoipa::path(delete, path = "/api/v1/support-codes/{id}", tag = "support", params(("id" = String, Path, description = "Its id")),
    responses((status = 204, description = "It opens nothing any more, and its session has ended"), Fails,
))]
pub async fn end(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id: TokenId = api::id(&id, Code::NotFound)?;
    app.gateway.withdraw_support(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a machine sends that comes with a support code. Its private key stays where it was made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Come {
    /// The code as it was typed.
    support_code: String,
    /// The machine's X25519 public key, 32 bytes in base64 (RFC 4648 §4).
    link_key: String,
    hostname: Option<String>,
    os: Option<String>,
    arch: Option<String>,
    version: Option<String>,
}

/// Who asks, for what; and with which keys the machine goes on if its person agrees.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// The technician.
    technician: String,
    technician_id: String,
    /// The technician's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    technician_address: Option<String>,
    /// `control` or `view`.
    access: &'static str,
    /// How long it may last.
    length_seconds: u64,
    /// Whether what is shown is recorded.
    recorded: bool,
    /// Whether what is typed is recorded too.
    input_recorded: bool,
    /// How long the person has to answer; no answer is no.
    answer_within_seconds: u64,
    machine_id: String,
    label: String,
    /// The machine's key, shown once: `cak_…`. Before the answer it opens nothing but the answer.
    agent_key: String,
    /// The session service's X25519 public key in base64.
    session_service_key: String,
    /// The authority's Ed25519 public key in base64: warrants are signed with it.
    authority_key: String,
}

/// Lets a machine in with a support code, once. Nothing can be done on it before its person has agreed.
#[utoipa::path(post, path = "/api/support", tag = "support", request_body = Come, security(()), responses(
    (status = 201, description = "What to ask the person", body = Asked), Fails,
))]
pub async fn come(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    Body(body): Body<Come>,
) -> Result<(StatusCode, Json<Asked>), ApiError> {
    let bad_key = || ApiError::said(Code::RequestInvalid, "`linkKey` is 32 bytes in base64.");
    let link_key = STANDARD.decode(&body.link_key).map_err(|_| bad_key())?;
    let arrival = Arrival {
        code: Secret::new(body.support_code),
        link_key: link_key.try_into().map_err(|_| bad_key())?,
        facts: MachineFacts {
            hostname: body.hostname.unwrap_or_default(),
            os: body.os.unwrap_or_default(),
            arch: body.arch.unwrap_or_default(),
            version: body.version.unwrap_or_default(),
            ..MachineFacts::default()
        },
    };
    let gateway = &app.gateway;
    let asked = gateway.redeem_support_code(arrival, peer.address.ip()).await?;
    let answer = Asked {
        technician: asked.support.technician.name.name().to_owned(),
        technician_id: asked.support.technician.id.to_string(),
        technician_address: asked.support.client,
        access: asked.support.access.as_str(),
        length_seconds: asked.support.length.as_secs(),
        recorded: gateway.settings.recording != RecordingMode::Off,
        input_recorded: gateway.settings.recording == RecordingMode::Input,
        answer_within_seconds: ANSWER_WITHIN.as_secs(),
        machine_id: asked.machine.id.to_string(),
        label: asked.machine.label.to_string(),
        agent_key: asked.key.expose().clone(),
        session_service_key: STANDARD.encode(gateway.keys.session_service.public().0),
        authority_key: STANDARD.encode(gateway.keys.authority_public()),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// What the person at a machine says.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAnswer {
    /// The key that the machine got with its code.
    agent_key: String,
    /// `yes`, `no`, `silence` when nobody answered, or `stop` to end what was agreed to.
    #[schema(example = "yes")]
    answer: String,
}

/// How support stands after an answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// When it ends by itself; only after a yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at_ms: Option<i64>,
}

/// Takes the answer of the person at a machine that came with a support code.
#[utoipa::path(post, path = "/api/support/answers", tag = "support", request_body = NewAnswer, security(()), responses(
    (status = 200, description = "It is written down", body = Answered), Fails,
))]
pub async fn answer(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    Body(body): Body<NewAnswer>,
) -> Result<Json<Answered>, ApiError> {
    let answer: Answer =
        body.answer.parse().map_err(|error: adit_domain::support::UnknownAnswer| {
            ApiError::said(Code::RequestInvalid, format!("{error}."))
        })?;
    let address = peer.address.ip();
    let support = app.gateway.answer_support(&body.agent_key, answer, address).await?;
    Ok(Json(Answered { ends_at_ms: support.ends_at.map(|at| at.0) }))
}
