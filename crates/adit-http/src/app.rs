//! The table of routes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::Gateway;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::routing::{get, post};
use axum::{Extension, Router, response::Redirect};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::ApiError;
use crate::{
    agent, api, company, console, guard, health, jobs, machine_plane, oauth, terminal, tickets,
    trace,
};

/// The largest body of a request, in bytes: a command of 32 KiB with its JSON escapes.
pub const MAX_BODY: usize = 256 * 1024;

/// The largest form that an issuer sends, in bytes: one token.
const MAX_LOGOUT: usize = adit_core::company::logout::MAX_TOKEN + 1024;

/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What a plane needs to know of where it stands.
#[derive(Clone, Debug, Default)]
pub struct AppSettings {
    /// Host names, without ports, that this gateway answers to beside loopback.
    pub hosts: Vec<String>,
    /// Whether `/metrics` answers without a token to callers on loopback.
    pub open_metrics: bool,
}

impl AppSettings {
    /// Tells whether a request's host names this gateway.
    pub fn is_ours(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback =
            bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        loopback || self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(bare))
    }

    /// Tells whether an origin is this gateway's own page: the same authority as the request's host.
    pub fn is_own_origin(&self, origin: &str, headers: &HeaderMap) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
        matches!(scheme, "http" | "https")
            && host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
    }
}

/// What every route gets.
pub struct App {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Where it stands.
    pub settings: AppSettings,
    /// Its metrics.
    pub metrics: PrometheusHandle,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}

/// The description that the document begins with.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Adit",
        description = "One gate for every remote session. Errors are RFC 9457 problem documents with a stable `code`.",
        license(name = "MIT", identifier = "MIT")
    ),
    modifiers(&Security),
    security(("token" = []), ("cookie" = []))
)]
struct Document;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme,
        };
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("adit")));
        components.add_security_scheme("cookie", cookie);
    }
}

fn api_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::health))
        .routes(routes!(api::machine::list))
        .routes(routes!(api::machine::show, api::machine::describe, api::machine::remove))
        .routes(routes!(api::machine::list_keys, api::machine::revoke_keys))
        .routes(routes!(api::machine::rotate))
        .routes(routes!(api::enrolment::list, api::enrolment::issue))
        .routes(routes!(api::enrolment::revoke))
        .routes(routes!(api::enrolment::enrol))
        .routes(routes!(api::certificate::list, api::certificate::issue))
        .routes(routes!(api::certificate::show, api::certificate::revoke))
        .routes(routes!(api::certificate::renew))
        .routes(routes!(api::certificate::authorities))
        .routes(routes!(api::certificate::rotate))
        .routes(routes!(api::ticket::issue))
        .routes(routes!(api::terminal::spawn))
        .routes(routes!(api::terminal::sessions))
        .routes(routes!(api::session::list))
        .routes(routes!(api::session::show, api::session::end))
        .routes(routes!(api::session::screen))
        .routes(routes!(api::recording::list))
        .routes(routes!(api::recording::show, api::recording::remove))
        .routes(routes!(api::recording::cast))
        .routes(routes!(api::recording::raw))
        .routes(routes!(api::recording::verify))
        .routes(routes!(api::recording::search))
        .routes(routes!(api::alert::list))
        .routes(routes!(api::alert::show))
        .routes(routes!(api::alert::test))
        .routes(routes!(api::audit::list))
        .routes(routes!(api::audit::verify))
        .routes(routes!(api::audit::export))
        .routes(routes!(api::support::list, api::support::issue))
        .routes(routes!(api::support::show, api::support::end))
        .routes(routes!(api::support::come))
        .routes(routes!(api::support::answer))
        .routes(routes!(api::stream::stream))
        .routes(routes!(api::status::status))
        .routes(routes!(jobs::commands))
        .routes(routes!(jobs::execute))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show, jobs::cancel))
        .routes(routes!(jobs::output_of))
        .routes(routes!(jobs::receipt))
        .routes(routes!(jobs::consent))
        .merge(sign_in_routes())
        .merge(access_routes())
        .merge(tickets::operator_routes())
}

/// Signing in, and what somebody signs in with.
fn sign_in_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(api::sign_in::sign_in))
        .routes(routes!(api::sign_in::sign_out))
        .routes(routes!(api::sign_in::me))
        .routes(routes!(api::company::providers))
        .routes(routes!(api::company::list_own, api::company::link_own))
        .routes(routes!(api::company::unlink_own))
        .routes(routes!(api::company::list, api::company::link))
        .routes(routes!(api::company::unlink))
        .routes(routes!(api::password::sign_in))
        .routes(routes!(api::password::set))
        .routes(routes!(api::second_factor::sign_in))
        .routes(routes!(api::second_factor::factors))
        .routes(routes!(
            api::second_factor::begin_authenticator,
            api::second_factor::remove_authenticator
        ))
        .routes(routes!(api::second_factor::confirm_authenticator))
        .routes(routes!(api::second_factor::new_recovery_codes))
        .routes(routes!(api::second_factor::step_up))
        .routes(routes!(api::passkey::list, api::passkey::add))
        .routes(routes!(api::passkey::begin))
        .routes(routes!(api::passkey::remove))
        .routes(routes!(api::passkey::begin_sign_in))
        .routes(routes!(api::passkey::sign_in))
        .routes(routes!(api::passkey::begin_step_up))
        .routes(routes!(api::passkey::step_up))
        .routes(routes!(api::invitation::setup_state, api::invitation::set_up))
        .routes(routes!(api::invitation::issue))
        .routes(routes!(api::invitation::accept))
        .routes(routes!(api::sign_ins::list))
        .routes(routes!(api::sign_ins::end))
        .routes(routes!(api::sign_ins::end_all))
        .routes(routes!(api::sign_ins::reset_factors))
}

/// Who may do what: people, services, teams, roles, grants, and what acts for somebody.
fn access_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(api::user::list, api::user::add))
        .routes(routes!(api::user::remove))
        .routes(routes!(api::user::issue_link))
        .routes(routes!(api::user::list_tokens, api::user::issue_token))
        .routes(routes!(api::user::revoke_token))
        .routes(routes!(api::service::list, api::service::add))
        .routes(routes!(api::service::show, api::service::remove))
        .routes(routes!(api::service::rotate))
        .routes(routes!(api::role::list, api::role::add))
        .routes(routes!(api::role::change, api::role::remove))
        .routes(routes!(api::team::list, api::team::add))
        .routes(routes!(api::team::remove))
        .routes(routes!(api::team::members, api::team::join))
        .routes(routes!(api::team::leave))
        .routes(routes!(api::request::list, api::request::add))
        .routes(routes!(api::request::withdraw))
        .routes(routes!(api::request::decide))
        .routes(routes!(api::what_ends::what_ends))
        .routes(routes!(api::tenant::list, api::tenant::add))
        .routes(routes!(api::tenant::remove))
        .routes(routes!(api::authorization::look, api::authorization::answer))
        .routes(routes!(api::authorization::look_at_device))
        .routes(routes!(api::authorization::answer_device))
        .routes(routes!(api::authorization::list))
        .routes(routes!(api::authorization::end))
        .routes(routes!(api::signing_key::list, api::signing_key::rotate))
        .routes(routes!(api::signing_key::revoke))
        .routes(routes!(api::listener::list))
        .routes(routes!(api::listener::renew))
        .routes(routes!(api::grant::list, api::grant::add))
        .routes(routes!(api::grant::remove))
        .routes(routes!(api::grant::why))
}

/// The OAuth2 server's addresses, which take forms.
fn oauth_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(oauth::token::token))
        .routes(routes!(oauth::authorize::authorize))
        .routes(routes!(oauth::device::device))
        .routes(routes!(oauth::revoke::revoke))
        .routes(routes!(oauth::revoke::introspect))
        .routes(routes!(oauth::discovery::keys))
        .routes(routes!(oauth::discovery::metadata))
}

/// The addresses of sign-ins with a company's account.
fn company_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(company::begin))
        .routes(routes!(company::callback))
        .routes(routes!(company::logout))
        .layer(RequestBodyLimitLayer::new(MAX_LOGOUT))
}

/// Gives the OpenAPI 3.1 document of every route.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, mut document) =
        api_routes().merge(oauth_routes()).merge(company_routes()).split_for_parts();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    for (path, item) in &mut document.paths.paths {
        name_operations(path, item);
    }
    document
}

/// Names each operation after its method and path: `get_api_v1_sessions`. Functions are named after their noun's file, so alike.
fn name_operations(path: &str, item: &mut utoipa::openapi::PathItem) {
    let words = path.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let operations = [
        ("get", &mut item.get),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("put", &mut item.put),
        ("patch", &mut item.patch),
    ];
    for (method, operation) in operations {
        if let Some(operation) = operation {
            let name = format!("{method}{words}");
            operation.operation_id = Some(name.trim_end_matches('_').to_owned());
        }
    }
}

/// Makes the router of the HTTP listener.
pub fn router(app: Arc<App>) -> Router {
    let (api, _) = api_routes().split_for_parts();
    let (oauth, _) = oauth_routes().split_for_parts();
    let (company, _) = company_routes().split_for_parts();
    let api = api
        .layer(middleware::from_fn(guard::json_only))
        .merge(oauth)
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT));
    Router::new()
        .merge(api)
        .merge(company)
        .route("/api/v1/openapi.json", get(console::openapi_document))
        .route("/metrics", get(health::metrics))
        .route("/ws/terminal", get(terminal::upgrade))
        .route("/ws/agent", get(agent::upgrade))
        .route("/", get(|| async { Redirect::to("/ui/") }))
        .route("/support", get(console::support))
        .route("/docs", get(|| async { Redirect::to("/docs/") }))
        .route("/docs/", get(console::docs))
        .route("/docs/{*path}", get(console::docs_file))
        .route("/ui", get(|| async { Redirect::to("/ui/") }))
        .route("/ui/", get(console::page))
        .route("/ui/{*path}", get(console::file))
        .fallback(|| async { ApiError::from(adit_domain::Code::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::from(adit_domain::Code::RequestMethod) })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::check))
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), trace::follow))
        .with_state(app)
}

/// Makes the router of the machine listener: nothing but the machine plane.
pub fn machine_router(app: Arc<App>) -> Router {
    let both = tickets::operator_routes().merge(tickets::machine_routes());
    let (tickets, _) = both.split_for_parts();
    let api = Router::new()
        .route("/api/certs/agent/enroll-delegated", post(machine_plane::delegate))
        .route("/api/machine/renew", post(machine_plane::renew))
        .merge(tickets)
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT));
    let streams = Router::new()
        .route("/api/tickets/sessions/{id}/stream", get(tickets::stream::stream))
        .route("/ws/tickets", get(tickets::channel::upgrade))
        .layer(middleware::from_fn(tickets::with_error));
    Router::new()
        .merge(api)
        .merge(streams)
        .layer(Extension(tickets::OfMachines))
        .layer(middleware::from_fn(guard::check_machine))
        .route("/ws/agent", get(agent::upgrade))
        .fallback(|| async { ApiError::from(adit_domain::Code::NotFound) })
        .method_not_allowed_fallback(|| async { ApiError::from(adit_domain::Code::RequestMethod) })
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), trace::follow))
        .with_state(app)
}

fn on_panic(_: Box<dyn std::any::Any + Send + 'static>) -> axum::response::Response {
    metrics::counter!("adit_panics_total").increment(1);
    axum::response::IntoResponse::into_response(ApiError::from(adit_domain::Code::Internal))
}
