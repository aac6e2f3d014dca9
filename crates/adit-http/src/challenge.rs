//! The plain listener of a gateway whose certificate comes by ACME: it answers the authority's question (RFC 8555 §8.3), and sends
//! everybody else to the gateway's own address. It reads nothing else of a request, whatever host it names.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

/// What the authority is to find, by the token that it asks with.
#[derive(Debug, Default)]
pub struct Answers(RwLock<BTreeMap<String, String>>);

impl Answers {
    /// Answers a token with its key authorization (RFC 8555 §8.1).
    pub fn add(&self, token: &str, answer: &str) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        held.insert(token.to_owned(), answer.to_owned());
    }

    /// Answers nothing any more.
    pub fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn find(&self, token: &str) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

#[derive(Clone)]
struct Plain {
    answers: Arc<Answers>,
    url: HeaderValue,
}

/// Makes the routes: the answers, and the way to the gateway's address.
///
/// # Errors
/// When the address cannot stand in a header.
pub fn router(
    answers: Arc<Answers>,
    url: &str,
) -> Result<Router, axum::http::header::InvalidHeaderValue> {
    let url = HeaderValue::from_str(&format!("{}/", url.trim_end_matches('/')))?;
    Ok(Router::new()
        .route("/.well-known/acme-challenge/{token}", get(answer))
        .fallback(elsewhere)
        .with_state(Plain { answers, url }))
}

async fn answer(State(plain): State<Plain>, Path(token): Path<String>) -> Response {
    match plain.answers.find(&token) {
        Some(answer) => {
            ([(header::CONTENT_TYPE, "application/octet-stream")], answer).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Whoever reads goes to the address that the operator set, and never to one that the request names. What would change something was
/// sent in the clear already; a redirect would only hide that.
async fn elsewhere(State(plain): State<Plain>, method: Method) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::FORBIDDEN, "Adit is spoken to over TLS only.\n").into_response();
    }
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, plain.url)]).into_response()
}
