//! Enrolment tokens, and what comes in with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_core::enrolment::{Enrolment, TokenWish};
use adit_domain::machine::{BadLabel, LabelRule};
use adit_domain::{Code, MachineLabel, Secret};
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

/// What an enrolment token is to be like.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewEnrolmentToken {
    /// The label that the machine will have, or a pattern with one `*`; absent: its own host name.
    #[schema(example = "web-*")]
    label: Option<String>,
    /// How long it works, in seconds; at most a week.
    #[schema(minimum = 1, maximum = 604_800)]
    expires_in_seconds: Option<u64>,
    /// How many machines it lets in; one unless said.
    #[schema(minimum = 1, maximum = 1000)]
    uses: Option<u32>,
    /// The tags that those machines get.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// Whether it takes the place of the machine that has its label: that one's keys die when it is used.
    #[serde(default)]
    replace: bool,
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

/// Makes an enrolment token.
#[utoipa::path(post, path = "/api/v1/enrolment-tokens", tag = "machines", request_body = NewEnrolmentToken, responses(
    (status = 201, description = "The token, shown once", body = IssuedEnrolmentToken), Fails,
))]
pub async fn issue(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewEnrolmentToken>,
) -> Result<(StatusCode, Json<IssuedEnrolmentToken>), ApiError> {
    let label = body.label.as_deref().map(str::parse::<LabelRule>).transpose();
    let wish = TokenWish {
        label: label.map_err(|error| bad_label(&error))?,
        life: body.expires_in_seconds.map(Duration::from_secs),
        uses: body.uses,
        tags: body.tags,
        replaces: body.replace,
    };
    let issued = app.gateway.issue_enrolment_token(&caller, wish).await?;
    let token = issued.secret.expose().clone();
    let replace = if body.replace { " --replace" } else { "" };
    let answer = IssuedEnrolmentToken {
        id: issued.id.to_string(),
        expires_at: issued.expires_at.map(api::time).unwrap_or_default(),
        command: format!("adit agent join {} --token {token}{replace}", app.gateway.settings.url),
        token,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// An enrolment token that can still be used, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnrolmentToken {
    id: String,
    /// Its first characters.
    prefix: String,
    /// The label or the pattern that it gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// The name of the certificate that it gives, where it is for no machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    tags: BTreeMap<String, String>,
    uses: u32,
    used: u32,
    replace: bool,
    /// Who made it; absent for one that a machine asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
    created_at: String,
    expires_at: String,
}

/// Lists the enrolment tokens that can still be used, the newest first.
#[utoipa::path(get, path = "/api/v1/enrolment-tokens", tag = "machines", params(PageQuery), responses(
    (status = 200, description = "A page of tokens", body = List<EnrolmentToken>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<EnrolmentToken>>, ApiError> {
    let found = app.gateway.list_enrolment_tokens(&caller, &page.paging()?).await?;
    let items = found.items.into_iter().map(|token| EnrolmentToken {
        id: token.id.to_string(),
        prefix: token.prefix,
        label: token.label.map(|label| label.to_string()),
        name: token.name.map(|name| name.to_string()),
        tags: token.tags,
        uses: token.uses,
        used: token.used,
        replace: token.replaces,
        made_by: token.made_by,
        created_at: api::time(token.created_at),
        expires_at: api::time(token.expires_at),
    });
    Ok(Json(List::of(items.collect(), found.next)))
}

/// Takes an enrolment token back.
#[utoipa::path(delete, path = "/api/v1/enrolment-tokens/{id}", tag = "machines", params(("id" = String, Path)), responses(
    (status = 204, description = "Taken back"), Fails,
))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.revoke_enrolment_token(&caller, api::id(&id, Code::NotFound)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a machine sends to be enrolled. Its private keys stay where they were made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Enrol {
    /// The enrolment token.
    token: String,
    /// The machine's X25519 public key, 32 bytes in base64 (RFC 4648 §4). Absent: an identity that only has a certificate.
    link_key: Option<String>,
    /// A PKCS #10 request in PEM, for a certificate. Only its public key counts.
    csr: Option<String>,
    /// The label that it would like; the token's own wins.
    label: Option<String>,
    hostname: Option<String>,
    os: Option<String>,
    arch: Option<String>,
    version: Option<String>,
}

/// What an enrolled machine gets; without a link key the certificate, its name and the authority alone.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enrolled {
    #[serde(skip_serializing_if = "Option::is_none")]
    machine_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// The certificate's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The machine's key, shown once: `cak_…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_key: Option<String>,
    /// Its certificate in PEM with what signed it, if it sent a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    /// The root's certificate in PEM.
    ca: String,
    /// The session service's X25519 public key in base64.
    session_service_key: String,
    /// The authority's Ed25519 public key in base64: warrants are signed with it.
    authority_key: String,
    /// The address of the mutual-TLS listener.
    machines: String,
}

/// Enrols a machine, or an identity that only has a certificate, with a token.
#[utoipa::path(post, path = "/api/enroll", tag = "machines", request_body = Enrol, security(()), responses(
    (status = 201, description = "Enrolled", body = Enrolled), Fails,
))]
pub async fn enrol(
    State(app): State<Arc<App>>,
    peer: axum::Extension<Peer>,
    Body(body): Body<Enrol>,
) -> Result<(StatusCode, Json<Enrolled>), ApiError> {
    let label = body.label.as_deref().map(str::parse::<MachineLabel>).transpose();
    let label = label.map_err(|error| bad_label(&error))?;
    let (gateway, address) = (&app.gateway, Some(peer.address.ip()));
    let token = Secret::new(body.token);
    let all = Enrolled {
        ca: gateway.pki.ca_pem(),
        session_service_key: STANDARD.encode(gateway.keys.session_service.public().0),
        authority_key: STANDARD.encode(gateway.keys.authority_public()),
        machines: gateway.settings.machines_url.clone(),
        ..Enrolled::default()
    };
    let Some(link_key) = &body.link_key else {
        let missing = "Send `linkKey` for a machine, or `csr` for a certificate alone.";
        let csr = body.csr.ok_or_else(|| ApiError::said(Code::RequestInvalid, missing))?;
        let made = gateway.enrol_identity(token, &csr, label, address).await?;
        let name = Some(made.name.to_string());
        let answer = Enrolled { name, certificate: Some(made.pem), ..all };
        return Ok((StatusCode::CREATED, Json(answer)));
    };
    let bad_key = || ApiError::said(Code::RequestInvalid, "`linkKey` is 32 bytes in base64.");
    let link_key = STANDARD.decode(link_key).map_err(|_| bad_key())?;
    let request = Enrolment {
        token,
        link_key: link_key.try_into().map_err(|_| bad_key())?,
        csr: body.csr,
        label,
        facts: MachineFacts {
            hostname: body.hostname.unwrap_or_default(),
            os: body.os.unwrap_or_default(),
            arch: body.arch.unwrap_or_default(),
            version: body.version.unwrap_or_default(),
            ..MachineFacts::default()
        },
    };
    let enrolled = gateway.enrol(request, address).await?;
    let answer = Enrolled {
        machine_id: Some(enrolled.machine.id.to_string()),
        label: Some(enrolled.machine.label.to_string()),
        agent_key: Some(enrolled.key.expose().clone()),
        name: enrolled.certificate.as_ref().map(|certificate| certificate.name.to_string()),
        certificate: enrolled.certificate.map(|certificate| certificate.pem),
        ..all
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(crate) fn bad_label(error: &BadLabel) -> ApiError {
    ApiError::said(Code::RequestInvalid, error.to_string())
}
