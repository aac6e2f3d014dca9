//! The OpenAPI document: what the gateway says of itself, and the snapshot that a reviewer reads.

use std::path::Path;

use adit_testkit::{Api, TestGateway};
use reqwest::Method;
use serde_json::Value;

/// One method of one path.
#[derive(Clone, Debug)]
pub struct Operation {
    pub method: Method,
    pub path: String,
    /// Whether it needs no credential in the headers.
    pub is_public: bool,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Operation {
    /// Gives the path with each of its parameters replaced.
    pub fn path_with(&self, value: &str) -> String {
        let segment = |part: &str| {
            if part.starts_with('{') { value.to_owned() } else { part.to_owned() }
        };
        self.path.split('/').map(segment).collect::<Vec<_>>().join("/")
    }
}

/// Reads every operation of the document that the gateway serves.
pub async fn operations(api: &Api) -> Vec<Operation> {
    let document = api.get("/api/v1/openapi.json").await.ok();
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().unwrap().clone();
        let path = path.clone();
        methods.into_iter().filter_map(move |(method, operation)| {
            let method: Method = method.to_uppercase().parse().ok()?;
            let known = ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str());
            let security = operation["security"].as_array();
            let is_public = security.is_some_and(|s| s.iter().any(|o| o == &serde_json::json!({})));
            known.then(|| Operation { method, path: path.clone(), is_public })
        })
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn the_document_is_the_one_that_was_reviewed() {
    // CMD-15
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/adit-http/openapi.json");
    let now = adit_http::openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &now).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        reviewed == now,
        "the API changed: run the test with UPDATE_SNAPSHOTS=1 and read the difference of {}",
        path.display()
    );
}

#[tokio::test]
async fn the_served_document_is_the_generated_one() {
    // CMD-15
    let gateway = TestGateway::start();
    let served = gateway.admin.get("/api/v1/openapi.json").await.ok();
    assert_eq!(served, serde_json::to_value(adit_http::openapi()).unwrap());
    assert_eq!(served["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
}

#[tokio::test]
async fn the_public_operations_are_these() {
    // BEY-16
    let gateway = TestGateway::start();
    let mut public = operations(&gateway.admin).await;
    public.retain(|operation| operation.is_public);
    let mut names: Vec<String> = public.iter().map(Operation::to_string).collect();
    names.sort();
    let expected = [
        "GET /.well-known/jwks.json",
        "GET /.well-known/oauth-authorization-server",
        "GET /api/v1/setup",
        "GET /api/v1/sign-in/providers",
        "GET /auth/authorize",
        "GET /auth/company/{provider}",
        "GET /auth/company/{provider}/callback",
        "GET /health",
        "POST /api/enroll",
        "POST /api/support",
        "POST /api/support/answers",
        "POST /api/v1/setup",
        "POST /api/v1/sign-in",
        "POST /api/v1/sign-in/invitation",
        "POST /api/v1/sign-in/passkey",
        "POST /api/v1/sign-in/passkey/begin",
        "POST /api/v1/sign-in/password",
        "POST /api/v1/sign-in/second-factor",
        "POST /auth/company/{provider}/logout",
        "POST /auth/device",
        "POST /auth/introspect",
        "POST /auth/revoke",
        "POST /auth/token",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn the_docs_page_reads_the_document() {
    // CMD-15
    let gateway = TestGateway::start();
    let page = gateway.admin.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    assert_eq!(gateway.admin.get("/docs").await.status, 303);
}

#[tokio::test]
async fn health_names_what_the_gateway_depends_on() {
    // CMD-15
    let gateway = TestGateway::start();
    let health = gateway.admin.get("/health").await.ok();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["checks"]["database"], "ok");
    std::fs::rename(gateway.data().join("recordings"), gateway.data().join("away")).unwrap();
    let sick = gateway.admin.get("/health").await;
    assert_eq!(sick.status, 503);
    assert_eq!(sick.json()["status"], "degraded", "{}", sick.text);
}

#[tokio::test]
async fn metrics_are_in_the_format_of_prometheus() {
    // CMD-15
    let gateway = TestGateway::start();
    let metrics = gateway.admin.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert!(metrics.text.contains("# TYPE adit_connections gauge"), "{}", metrics.text);
}
