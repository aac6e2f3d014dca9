//! Errors as RFC 9457 problem documents with a stable `code`.

use std::time::Duration;

use adit_core::Refusal;
use adit_domain::Code;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A problem document (RFC 9457 §3).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// A URI that names the kind of problem: `urn:adit:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:adit:problem:access.no_grant")]
    pub kind: String,
    /// What kind of problem it is, in a few words.
    pub title: String,
    /// The HTTP status.
    #[schema(example = 403)]
    pub status: u16,
    /// What happened and what to do, in a sentence.
    pub detail: String,
    /// The stable code.
    #[schema(example = "access.no_grant")]
    pub code: String,
    /// Parameters of a template that are not as it wants them, all of them; only with `job.parameters`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<BadParameter>,
}

/// A parameter that is not as its template wants it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BadParameter {
    /// Its name.
    #[schema(example = "path")]
    pub name: String,
    /// What is wrong, to be read after the name.
    pub reason: String,
}

/// When to come back unless the refusal says.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An error on its way out.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: Code,
    detail: String,
    retry_after: Option<Duration>,
    parameters: Vec<BadParameter>,
}

impl ApiError {
    /// An error with more to say than its code's sentence.
    pub fn said(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after: None, parameters: Vec::new() }
    }

    /// Gives the code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Gives the sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Gives the document.
    pub fn problem(&self) -> Problem {
        let status = StatusCode::from_u16(self.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Problem {
            kind: format!("urn:adit:problem:{}", self.code),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone(),
            code: self.code.as_str().to_owned(),
            parameters: self.parameters.clone(),
        }
    }
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self::said(code, code.sentence())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        match refusal {
            Refusal::Said(_, detail) => Self::said(code, detail),
            Refusal::Later(_, wait) => Self { retry_after: Some(wait), ..code.into() },
            Refusal::Store(error) => {
                if code.http_status() >= 500 {
                    tracing::error!(%error, "the database refused");
                }
                code.into()
            }
            Refusal::Parameters(bad) => {
                let parameters = bad.iter().map(|one| BadParameter {
                    name: one.name.clone(),
                    reason: one.reason.to_string(),
                });
                let parameters = parameters.collect();
                let detail = Refusal::Parameters(bad).to_string();
                Self { parameters, ..Self::said(code, detail) }
            }
            Refusal::Code(_) | Refusal::Scope(_) => code.into(),
        }
    }
}

impl From<adit_store::StoreError> for ApiError {
    fn from(error: adit_store::StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(problem)).into_response();
        // For routes whose clients read another field of it.
        response.extensions_mut().insert(self.clone());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"adit\""),
                );
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let wait = self.retry_after.unwrap_or(RETRY_AFTER);
                let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            _ => {}
        }
        response
    }
}

/// What every route may answer beside its own: a problem document.
#[derive(Debug)]
pub struct Fails;

impl utoipa::IntoResponses for Fails {
    fn responses()
    -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
        use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new()
            .description("What went wrong, as a problem document (RFC 9457)")
            .content("application/problem+json", content)
            .build();
        std::collections::BTreeMap::from([("default".to_owned(), response.into())])
    }
}
