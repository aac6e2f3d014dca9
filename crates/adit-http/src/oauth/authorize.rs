//! `/auth/authorize`: where a client sends a user's browser.

use std::sync::Arc;

use adit_core::oauth::authorize::{Asked, Wish};
use axum::extract::rejection::QueryRejection;
use axum::extract::{OriginalUri, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::problem::{ApiError, Fails};

/// What a client asks for (RFC 6749 §4.1.1, RFC 7636 §4.3).
#[derive(Clone, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub struct WishQuery {
    /// How it wants to be answered: `code`.
    #[schema(example = "code")]
    pub response_type: Option<String>,
    /// Who asks.
    pub client_id: Option<String>,
    /// Where the user is to be sent back to.
    pub redirect_uri: Option<String>,
    /// For what: names of capabilities between spaces.
    pub scope: Option<String>,
    /// What the client recognises its request by.
    pub state: Option<String>,
    /// The SHA-256 of its verifier, base64url.
    pub code_challenge: Option<String>,
    /// How it was hashed: `S256`.
    #[schema(example = "S256")]
    pub code_challenge_method: Option<String>,
}

impl From<WishQuery> for Wish {
    fn from(query: WishQuery) -> Self {
        Self {
            response_type: query.response_type,
            client_id: query.client_id,
            redirect_uri: query.redirect_uri,
            scope: query.scope,
            state: query.state,
            code_challenge: query.code_challenge,
            code_challenge_method: query.code_challenge_method,
        }
    }
}

/// Sends a browser on: to the console's question, or back to the client with the reason why not.
#[utoipa::path(get, path = "/auth/authorize", tag = "oauth", security(()), params(WishQuery), responses(
    (status = 303, description = "To the console, or back to the client"),
    (status = 400, description = "A page that says what is wrong; nobody is sent anywhere", body = String, content_type = "text/html"),
    Fails,
))]
pub async fn authorize(
    State(app): State<Arc<App>>,
    OriginalUri(uri): OriginalUri,
    query: Result<Query<WishQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Ok(Query(query)) = query else {
        return Ok(told("This request cannot be read. A parameter may stand in it twice."));
    };
    Ok(match app.gateway.look_at_wish(&query.into()).await? {
        Asked::Question(_) => {
            let asked = uri.query().unwrap_or_default();
            sent(&format!("/ui/authorize?{asked}"))
        }
        Asked::Sent(address) => sent(&address),
        Asked::Told(sentence) => told(sentence),
    })
}

fn sent(address: &str) -> Response {
    match HeaderValue::from_str(address) {
        Ok(address) => (StatusCode::SEE_OTHER, [(header::LOCATION, address)]).into_response(),
        Err(_) => told("This request cannot be answered."),
    }
}

/// A page that says what is wrong. It repeats nothing of the request.
fn told(sentence: &'static str) -> Response {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Adit</title>\
         <h1>You were not sent on</h1><p>{sentence}</p>\
         <p>Go back to where you came from, and tell whoever runs it.</p></html>"
    );
    (StatusCode::BAD_REQUEST, Html(page)).into_response()
}
