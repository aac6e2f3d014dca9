//! The console's files, carried inside the binary, and the API's interactive page.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::problem::ApiError;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct Files;

/// The page itself; its script reads the address.
pub async fn page() -> Response {
    give("index.html").unwrap_or_else(not_built)
}

/// A file of the console, or the page for any address that is none: the page's script knows them.
pub async fn file(Path(path): Path<String>) -> Response {
    if let Some(found) = give(&path) {
        return found;
    }
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    if is_file { ApiError::from(adit_domain::Code::NotFound).into_response() } else { page().await }
}

/// The interactive page of the API.
pub async fn docs() -> Response {
    give("docs/index.html").unwrap_or_else(not_built)
}

/// A file of the interactive page.
pub async fn docs_file(Path(path): Path<String>) -> Response {
    give(&format!("docs/{path}"))
        .unwrap_or_else(|| ApiError::from(adit_domain::Code::NotFound).into_response())
}

/// The page for whoever is helped; it needs no sign-in and asks the gateway nothing.
pub async fn support() -> Response {
    give("support/index.html").unwrap_or_else(not_built)
}

/// The OpenAPI document.
pub async fn openapi_document() -> Response {
    axum::Json(crate::app::openapi()).into_response()
}

fn not_built() -> Response {
    let text = "The console is not in this binary. Build it with `cargo xtask up`; the API and the CLI work without it.\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

fn give(path: &str) -> Option<Response> {
    let EmbeddedFile { data, metadata } = Files::get(path)?;
    let kind = HeaderValue::from_str(metadata.mimetype()).ok()?;
    let mut response = data.into_owned().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    // Files with a hash in their name never change; pages are asked for anew.
    let fixed = path.starts_with("assets/");
    let cache = if fixed { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Some(response)
}
