//! The OAuth2 server's own addresses: form-encoded requests, answers and errors as RFC 6749 has them.

use adit_core::oauth::client::Shown;
use adit_core::oauth::{Fault, Reason};
use adit_domain::Secret;
use axum::Json;
use axum::extract::FromRequest;
use axum::extract::rejection::FormRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

pub mod authorize;
pub mod device;
pub mod discovery;
pub mod revoke;
pub mod token;

/// A form body; what is wrong with it is an OAuth2 error.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Form), rejection(OAuthError))]
pub struct Form<T>(pub T);

/// An error as RFC 6749 §5.2 has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OAuthProblem {
    /// What a program reads.
    #[schema(example = "invalid_grant")]
    pub error: String,
    /// What a person reads.
    pub error_description: String,
}

/// An OAuth2 error on its way out.
#[derive(Debug)]
pub struct OAuthError {
    fault: Fault,
    by_header: bool,
}

impl OAuthError {
    /// Asks whoever sent a bad `Authorization` header for a better one (RFC 6749 §5.2).
    fn by(mut self, headers: &HeaderMap) -> Self {
        self.by_header = headers.contains_key(header::AUTHORIZATION);
        self
    }
}

impl From<Fault> for OAuthError {
    fn from(fault: Fault) -> Self {
        Self { fault, by_header: false }
    }
}

impl From<FormRejection> for OAuthError {
    fn from(rejection: FormRejection) -> Self {
        // RFC 6749 §5.2 allows neither quotes nor backslashes there.
        let text: String = rejection
            .body_text()
            .chars()
            .filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\'))
            .collect();
        Fault::request(format!("{}.", text.trim_end_matches('.'))).into()
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let reason = self.fault.reason;
        let status = StatusCode::from_u16(reason.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
        let body = OAuthProblem {
            error: reason.as_str().to_owned(),
            error_description: self.fault.sentence,
        };
        let mut response = (status, Json(body)).into_response();
        if reason == Reason::InvalidClient && self.by_header {
            let challenge = HeaderValue::from_static("Basic realm=\"adit\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// What a request says of its client: in the header, or in the form, and never in both (RFC 6749 §2.3).
pub fn shown(
    headers: &HeaderMap,
    id: Option<String>,
    secret: Option<String>,
) -> Result<Shown, OAuthError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        let id = id.ok_or_else(|| Fault::request("The request does not name its client_id."))?;
        return Ok(Shown { id, secret: secret.map(Secret::new) });
    };
    if secret.is_some() {
        let sentence = "A client shows its secret in the header or in the form, not in both.";
        return Err(Fault::request(sentence).into());
    }
    let basic = value.to_str().ok().and_then(read_basic);
    let (named, secret) = basic.ok_or_else(|| OAuthError::from(Fault::client()).by(headers))?;
    if id.is_some_and(|id| id != named) {
        return Err(Fault::request("The header and the form name different clients.").into());
    }
    Ok(Shown { id: named, secret: Some(secret) })
}

/// Reads HTTP Basic, both halves form-encoded before (RFC 6749 §2.3.1).
fn read_basic(value: &str) -> Option<(String, Secret<String>)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = Secret::new(String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?);
    let (id, secret) = text.expose().split_once(':')?;
    Some((form_decode(id)?, Secret::new(form_decode(secret)?)))
}

fn form_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_of_the_header_are_form_encoded() {
        let value = format!("Basic {}", STANDARD.encode("a%3Ab+c:d%2Fe%25"));
        let (id, secret) = read_basic(&value).unwrap();
        assert_eq!((id.as_str(), secret.expose().as_str()), ("a:b c", "d/e%"));
    }

    #[test]
    fn a_header_that_is_no_basic_is_none() {
        for bad in ["Basic", "Basic !", "Bearer YTpi", "Basic YQ==", "Basic JTpi", "Basic YTolJQ=="]
        {
            assert!(read_basic(bad).is_none(), "{bad}");
        }
    }
}
