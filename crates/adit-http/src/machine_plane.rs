//! What the mutual-TLS listener serves beside `/ws/agent`: routes whose caller is a certificate and nothing else.

use std::net::IpAddr;
use std::sync::Arc;

use adit_core::certificate::Holder;
use adit_domain::certificate::Carried;
use adit_domain::{Code, MachineLabel};
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::certificate::Renewal;
use crate::api::enrolment::bad_label;
use crate::api::{self, Body};
use crate::app::App;
use crate::listen::Peer;
use crate::problem::ApiError;

/// Whoever showed a client certificate that counts, and from where. It is looked at before a body is read.
#[derive(Debug)]
pub struct Certified(pub Holder, pub Option<IpAddr>);

/// As [`Certified`], also past its end for as long as it may be renewed.
#[derive(Debug)]
pub struct Renewing(pub Holder, pub Option<IpAddr>);

impl FromRequestParts<Arc<App>> for Renewing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let peer = Peer::of(&parts.extensions).ok_or(Code::Internal)?;
        let address = Some(peer.address.ip());
        let certificate = peer.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
        let certificate = certificate.ok_or(Code::AuthRequired)?;
        Ok(Self(app.gateway.holder(certificate, address).await?, address))
    }
}

impl FromRequestParts<Arc<App>> for Certified {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Renewing(holder, address) = Renewing::from_request_parts(parts, app).await?;
        if holder.expired {
            return Err(Code::CertificateExpired.into());
        }
        Ok(Self(holder, address))
    }
}

/// Who is to speak for a machine.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delegation {
    /// Its name there.
    plugin_agent_label: String,
    /// The one scope that its certificate carries.
    scope: String,
}

/// A token for somebody who speaks for a machine, shown once.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delegated {
    ok: bool,
    token: String,
    expires_at: String,
}

/// Makes a one-time token for somebody who speaks for the calling machine.
pub async fn delegate(
    State(app): State<Arc<App>>,
    Certified(holder, address): Certified,
    Body(body): Body<Delegation>,
) -> Result<(StatusCode, Json<Delegated>), ApiError> {
    let name: MachineLabel = body.plugin_agent_label.parse().map_err(|error| bad_label(&error))?;
    let scope: Carried =
        body.scope.parse().map_err(|error: adit_domain::certificate::BadCarried| {
            ApiError::said(Code::RequestInvalid, format!("{error}."))
        })?;
    let issued = app.gateway.issue_delegated_token(&holder, name, scope, address).await?;
    let answer = Delegated {
        ok: true,
        token: issued.secret.expose().clone(),
        expires_at: issued.expires_at.map(api::time).unwrap_or_default(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Gives a certificate for another key in the place of the one that was shown, before its end or within the grace after it.
pub async fn renew(
    State(app): State<Arc<App>>,
    Renewing(holder, address): Renewing,
    Body(body): Body<Renewal>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let made = app.gateway.renew_own_certificate(&holder, body.request()?, address).await?;
    let answer = json!({
        "name": made.name.to_string(),
        "certificate": made.pem,
        "ca": app.gateway.pki.ca_pem(),
        "notAfter": api::time(made.not_after),
    });
    Ok((StatusCode::CREATED, Json(answer)))
}
