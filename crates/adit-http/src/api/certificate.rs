//! Certificates of machines and operators, and the authority that issues them.

use std::sync::Arc;
use std::time::Duration;

use adit_core::certificate::{self, Order, Standing};
use adit_core::pki::{self, Request};
use adit_domain::certificate::{Carried, MAX_CARRIED};
use adit_domain::{CertificateName, Code, Timestamp};
use adit_store::{CertificateFilter, CertificateState};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{self, Body, List, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A certificate, without its key, which only its holder has.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    id: String,
    /// The serial number, in hexadecimal.
    serial: String,
    /// SHA-256 of its DER form, in hexadecimal.
    fingerprint: String,
    /// Its common name: `agent:LABEL`, `admin` or `plugin-agent:DELEGATOR:NAME`.
    #[schema(example = "agent:web-1")]
    name: String,
    /// The machine that it admits, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine_id: Option<String>,
    /// What its holder may do where tickets are asked for.
    capabilities: Vec<String>,
    /// `valid`, `expiring`, `expired` or `revoked`.
    status: &'static str,
    /// Who had it issued.
    issued_by: String,
    /// The authority that signed it.
    issuer: String,
    issued_at: String,
    not_before: String,
    not_after: String,
    /// From when on its holder renews it.
    renew_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    /// The certificate and what signed it, PEM.
    certificate: String,
}

pub(crate) fn shown(found: &adit_store::Certificate, now: Timestamp) -> Certificate {
    Certificate {
        id: found.id.to_string(),
        serial: found.serial.clone(),
        fingerprint: hex::encode(found.fingerprint),
        name: found.name.to_string(),
        machine_id: found.machine.map(|id| id.to_string()),
        capabilities: found.capabilities.iter().map(ToString::to_string).collect(),
        status: match certificate::standing(found, now) {
            Standing::Valid => "valid",
            Standing::Expiring => "expiring",
            Standing::Expired => "expired",
            Standing::Revoked => "revoked",
        },
        issued_by: found.issued_by.clone(),
        issuer: found.issuer.clone(),
        issued_at: api::time(found.created_at),
        not_before: api::time(found.not_before),
        not_after: api::time(found.not_after),
        renew_at: api::time(certificate::renew_at(found.created_at, found.not_after)),
        last_used_at: found.last_used_at.map(api::time),
        revoked_at: found.revoked_at.map(api::time),
        certificate: found.pem.clone(),
    }
}

/// A new certificate, and the authority that its holder trusts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuedCertificate {
    #[serde(flatten)]
    issued: Certificate,
    /// The root's certificate, PEM: the machine listener's comes from it.
    ca: String,
}

fn issued(app: &App, found: &adit_store::Certificate) -> IssuedCertificate {
    let now = app.gateway.clock.now();
    IssuedCertificate { issued: shown(found, now), ca: app.gateway.pki.ca_pem() }
}

/// Which certificates a list has.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CertificateQuery {
    /// Those that admit a machine, by its id or label.
    pub machine: Option<String>,
    /// Those of a name.
    pub name: Option<String>,
    /// `counts` for those that open something, `expiring` for those of them that end soon, `ended` for the others; absent: all.
    pub state: Option<String>,
    /// Where the page before it ended: its `next`.
    pub cursor: Option<String>,
    /// How many at most, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// Lists certificates, the newest first.
#[utoipa::path(get, path = "/api/v1/certificates", tag = "certificates", params(CertificateQuery), responses(
    (status = 200, description = "A page of certificates", body = List<Certificate>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<CertificateQuery>,
) -> Result<Json<List<Certificate>>, ApiError> {
    let gateway = &app.gateway;
    let machine = match &query.machine {
        Some(machine) => Some(gateway.find_machine(&caller, machine).await?.id),
        None => None,
    };
    let name = query.name.as_deref().map(read_name).transpose()?;
    let paging = api::paging(query.cursor.as_deref(), query.limit)?;
    let now = gateway.clock.now();
    let state = query.state.as_deref().map(read_state).transpose()?.map(|state| (state, now));
    let filter = CertificateFilter { machine, name, state };
    let found = gateway.list_certificates(&caller, &filter, &paging).await?;
    let items = found.items.iter().map(|certificate| shown(certificate, now)).collect();
    Ok(Json(List::of(items, found.next)))
}

/// What a certificate is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewCertificate {
    /// Whom it names: `agent:LABEL`, `admin` or `plugin-agent:DELEGATOR:NAME`.
    name: String,
    /// A PKCS #10 request in PEM, with a key of ECDSA P-256, P-384 or Ed25519. Only its public key counts.
    csr: String,
    /// What its holder may do where tickets are asked for: `scope:action`.
    #[serde(default)]
    capabilities: Vec<String>,
    /// How long it lasts, in seconds; at most 90 days.
    #[schema(minimum = 60, maximum = 7_776_000)]
    expires_in_seconds: Option<u64>,
}

/// Issues a certificate for a key that its holder made.
#[utoipa::path(post, path = "/api/v1/certificates", tag = "certificates", request_body = NewCertificate, responses(
    (status = 201, description = "The certificate", body = IssuedCertificate), Fails,
))]
pub async fn issue(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewCertificate>,
) -> Result<(StatusCode, Json<IssuedCertificate>), ApiError> {
    if body.expires_in_seconds.is_some_and(|seconds| seconds < 60) {
        return Err(ApiError::said(Code::RequestInvalid, "A certificate lasts a minute at least."));
    }
    let order = Order {
        name: read_name(&body.name)?,
        capabilities: read_carried(&body.capabilities)?,
        request: Request::read(&body.csr)?,
        life: body.expires_in_seconds.map(Duration::from_secs),
        retires: false,
        gives: true,
    };
    let made = app.gateway.issue_certificate(&caller, order).await?;
    Ok((StatusCode::CREATED, Json(issued(&app, &made))))
}

/// Shows one certificate.
#[utoipa::path(get, path = "/api/v1/certificates/{id}", tag = "certificates", params(("id" = String, Path)), responses(
    (status = 200, description = "The certificate", body = Certificate), Fails,
))]
pub async fn show(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<Json<Certificate>, ApiError> {
    let found = app.gateway.find_certificate(&caller, api::id(&id, Code::NotFound)?).await?;
    Ok(Json(shown(&found, app.gateway.clock.now())))
}

/// Revokes a certificate: it opens nothing from then on, and what it opened ends.
#[utoipa::path(delete, path = "/api/v1/certificates/{id}", tag = "certificates", params(("id" = String, Path)), responses(
    (status = 204, description = "Revoked"), Fails,
))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.revoke_certificate(&caller, api::id(&id, Code::NotFound)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A key for a certificate in the place of another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Renewal {
    /// A PKCS #10 request in PEM. Only its public key counts.
    csr: String,
}

impl Renewal {
    pub(crate) fn request(&self) -> Result<Request, ApiError> {
        Ok(Request::read(&self.csr)?)
    }
}

/// Issues a certificate of the same name in the place of one, which stays good until its own end.
#[utoipa::path(post, path = "/api/v1/certificates/{id}/renew", tag = "certificates", params(("id" = String, Path)),
    request_body = Renewal, responses(
    (status = 201, description = "The certificate", body = IssuedCertificate), Fails,
))]
pub async fn renew(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    Body(body): Body<Renewal>,
) -> Result<(StatusCode, Json<IssuedCertificate>), ApiError> {
    let id = api::id(&id, Code::NotFound)?;
    let made = app.gateway.renew_certificate(&caller, id, body.request()?).await?;
    Ok((StatusCode::CREATED, Json(issued(&app, &made))))
}

/// An authority of this gateway.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    name: String,
    not_after: String,
    /// Whether it signs what is issued now.
    signs: bool,
    /// Its certificate, PEM.
    certificate: String,
}

impl From<pki::Listed> for Authority {
    fn from(listed: pki::Listed) -> Self {
        Self {
            name: listed.name,
            not_after: api::time(listed.not_after),
            signs: listed.signs,
            certificate: listed.pem,
        }
    }
}

/// Lists the root and the issuing authorities whose signature counts.
#[utoipa::path(get, path = "/api/v1/authorities", tag = "certificates", responses(
    (status = 200, description = "The authorities, the root first", body = List<Authority>), Fails,
))]
pub async fn authorities(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<List<Authority>>, ApiError> {
    let found = app.gateway.list_authorities(&caller).await?;
    Ok(Json(List::of(found.into_iter().map(Authority::from).collect(), None)))
}

/// Makes a new issuing authority; what the ones before it signed stays good.
#[utoipa::path(post, path = "/api/v1/authorities/rotate", tag = "certificates", responses(
    (status = 201, description = "The new issuing authority", body = Authority), Fails,
))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<(StatusCode, Json<Authority>), ApiError> {
    let made = app.gateway.rotate_authority(&caller).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

fn read_state(text: &str) -> Result<CertificateState, ApiError> {
    match text {
        "counts" => Ok(CertificateState::Counts),
        "expiring" => Ok(certificate::EXPIRING),
        "ended" => Ok(CertificateState::Ended),
        _ => {
            let sentence = "`state` is `counts`, `expiring` or `ended`.";
            Err(ApiError::said(Code::RequestInvalid, sentence))
        }
    }
}

fn read_name(text: &str) -> Result<CertificateName, ApiError> {
    text.parse().map_err(|error: adit_domain::certificate::BadCertificateName| {
        ApiError::said(Code::RequestInvalid, format!("{error}."))
    })
}

pub(crate) fn read_carried(texts: &[String]) -> Result<Vec<Carried>, ApiError> {
    if texts.len() > MAX_CARRIED {
        let sentence = format!("A certificate carries at most {MAX_CARRIED} capabilities.");
        return Err(ApiError::said(Code::RequestInvalid, sentence));
    }
    let mut carried = Vec::new();
    for text in texts {
        let one = text.parse().map_err(|error: adit_domain::certificate::BadCarried| {
            ApiError::said(Code::RequestInvalid, format!("{error}."))
        })?;
        if !carried.contains(&one) {
            carried.push(one);
        }
    }
    Ok(carried)
}
