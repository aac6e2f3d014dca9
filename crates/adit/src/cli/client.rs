//! The gateway's API over HTTP: one client, one connection, one token.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_domain::Secret;
use adit_link::dial::Trust;
use futures_util::StreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Method, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bearer::{Bearer, CLIENT_ID, Tokens};
use super::failure::{Failure, Problem};
use super::options::{Access, GatewayOptions};

/// How long a connection may take: a gateway further away than this is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer's next piece may take; verifying a long chain is silent meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// The largest answer that is kept in memory, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// The largest error answer that is read, in bytes.
const MAX_PROBLEM: usize = 64 * 1024;

/// Where the routes of most commands are.
const ROOT: &str = "api/v1";

/// The code of a refusal that a fresh second factor lifts.
const SECOND_FACTOR: &str = "access.second_factor";

/// How many items one request of a list asks for.
const PAGE: usize = 200;

/// Where requests go and what they carry.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    trust: Trust,
    bearer: Arc<Bearer>,
    root: &'static str,
}

/// A request's query.
pub type Query<'a> = &'a [(&'a str, &'a str)];

impl Client {
    /// Finds the gateway and makes a client for it.
    ///
    /// # Errors
    /// Nothing says where the gateway is, or its address, token or authority is of no use.
    pub fn open(options: &GatewayOptions) -> Result<Self, Failure> {
        Self::of(&options.find()?)
    }

    /// Makes a client of a gateway and a token.
    ///
    /// # Errors
    /// The address, token or authority is of no use.
    pub fn of(access: &Access) -> Result<Self, Failure> {
        Self::with(&access.url, access.ca.as_deref(), Bearer::of(access)?)
    }

    /// Makes a client of a gateway at which nobody is signed in yet.
    ///
    /// # Errors
    /// The address or authority is of no use.
    pub fn without_token(url: &str, ca: Option<&Path>) -> Result<Self, Failure> {
        Self::with(url, ca, Bearer::none(url))
    }

    fn with(url: &str, ca: Option<&Path>, bearer: Bearer) -> Result<Self, Failure> {
        let base = parse_base(url)?;
        let trust = load_trust(ca)?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("adit/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(1)
            .tls_backend_preconfigured(tls(&base, &trust)?);
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let http = builder.build();
        let http = http.map_err(|cause| Failure::unreachable(base.as_str(), &cause))?;
        Ok(Self { http, base, trust, bearer: Arc::new(bearer), root: ROOT })
    }

    /// Gives the same client for paths below another root than `api/v1`.
    #[must_use]
    pub fn at(mut self, root: &'static str) -> Self {
        self.root = root;
        self
    }

    /// Gives the gateway's address.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Gives the gateway's address as people write it.
    pub fn name(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Gives whose signature counts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Gives the address of a WebSocket: the gateway's own, with the path that it told.
    pub fn websocket(&self, told: &str) -> Url {
        let mut url = self.base.clone();
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).expect("http and ws are both special schemes");
        let path = self.base.join(told).map(|told| told.path().to_owned());
        url.set_path(path.as_deref().unwrap_or(told));
        url
    }

    /// Fetches one thing.
    ///
    /// # Errors
    /// The gateway refused or did not answer.
    pub async fn fetch(&self, path: &[&str], query: Query<'_>) -> Result<Value, Failure> {
        self.ask(Method::GET, path, query, None).await
    }

    /// Fetches one thing and reads it.
    ///
    /// # Errors
    /// As [`Client::fetch`], or the answer has another form.
    pub async fn read<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: Query<'_>,
    ) -> Result<T, Failure> {
        read(self.fetch(path, query).await?)
    }

    /// Fetches a list, page by page, up to `limit` items.
    ///
    /// # Errors
    /// As [`Client::fetch`].
    pub async fn list(
        &self,
        path: &[&str],
        query: Query<'_>,
        limit: usize,
    ) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        while items.len() < limit {
            let page_size = PAGE.min(limit - items.len()).to_string();
            let mut query = query.to_vec();
            query.push(("limit", &page_size));
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let page: Page = self.read(path, &query).await?;
            items.extend(page.items);
            // A page may be empty and not the last: what one may not see is left out of it.
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        items.truncate(limit);
        Ok(items)
    }

    /// Makes something.
    ///
    /// # Errors
    /// The gateway refused or did not answer.
    pub async fn create(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    /// Puts something in the place of what is there.
    ///
    /// # Errors
    /// The gateway refused or did not answer.
    pub async fn replace(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.ask(Method::PUT, path, &[], Some(body)).await
    }

    /// Changes parts of something.
    ///
    /// # Errors
    /// The gateway refused or did not answer.
    pub async fn change(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.ask(Method::PATCH, path, &[], Some(body)).await
    }

    /// Removes something.
    ///
    /// # Errors
    /// The gateway refused or did not answer.
    pub async fn remove(&self, path: &[&str]) -> Result<Value, Failure> {
        self.ask(Method::DELETE, path, &[], None).await
    }

    /// Opens an answer that is read as it comes.
    ///
    /// # Errors
    /// The gateway refused or did not answer.
    pub async fn stream(&self, path: &[&str], query: Query<'_>) -> Result<Response, Failure> {
        let answer = self.send(Method::GET, self.address(path, query), None).await?;
        accepted(answer).await
    }

    /// Opens a stream of Server-Sent Events.
    ///
    /// # Errors
    /// The gateway refused or did not answer.
    pub async fn events(&self, path: &[&str], query: Query<'_>) -> Result<Response, Failure> {
        let request = self.request(Method::GET, self.address(path, query), None).await?;
        let request = request.header(ACCEPT, "text/event-stream");
        accepted(request.send().await.map_err(|cause| self.unreachable(&cause))?).await
    }

    /// Asks an address outside `/api/v1`, whatever its status.
    ///
    /// # Errors
    /// The gateway did not answer.
    pub async fn probe(&self, path: &str) -> Result<Response, Failure> {
        let mut url = self.base.clone();
        url.set_path(path);
        self.send(Method::GET, url, None).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: Query<'_>,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let answer = self.send(method.clone(), self.address(path, query), body).await?;
        let answer = match accepted(answer).await {
            Err(Failure::Refused(problem))
                if problem.code == SECOND_FACTOR && self.step_up().await? =>
            {
                accepted(self.send(method, self.address(path, query), body).await?).await
            }
            other => other,
        };
        let bytes = gather(answer?, MAX_ANSWER).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|cause| Failure::Answer(cause.to_string()))
    }

    /// Shows the gateway a second factor, if there is a terminal to ask for it. Tells whether it did.
    async fn step_up(&self) -> Result<bool, Failure> {
        let question = "Policy asks for your second factor again. Code of your authenticator: ";
        let Some(code) = super::ask::on_terminal(question)? else { return Ok(false) };
        let body = serde_json::json!({ "code": code.expose() });
        let url = self.clone().at(ROOT).address(&["step-up"], &[]);
        accepted(self.send(Method::POST, url, Some(&body)).await?).await?;
        Ok(true)
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<Response, Failure> {
        let request = self.request(method, url, body).await?;
        request.send().await.map_err(|cause| self.unreachable(&cause))
    }

    async fn request(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        let mut request = self.http.request(method, url);
        if let Some(header) = self.bearer.header(|refresh| self.refresh(refresh)).await? {
            request = request.header(AUTHORIZATION, header);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok(request)
    }

    async fn refresh(&self, token: Secret<String>) -> Result<Tokens, Failure> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", CLIENT_ID),
            ("refresh_token", token.expose().as_str()),
        ];
        read(self.form("/auth/token", &fields).await?)
    }

    /// Sends a form to an address outside `/api/v1`, signed with nothing. What an OAuth2 server refuses has its word as the code.
    ///
    /// # Errors
    /// The gateway refused or did not answer.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("an http address has a path")
            .pop_if_empty()
            .extend(path.split('/').filter(|part| !part.is_empty()));
        let answer = self.http.post(url).form(fields).send().await;
        let answer = answer.map_err(|cause| self.unreachable(&cause))?;
        let status = answer.status();
        let bytes = gather(answer, MAX_PROBLEM).await?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let mut problem: Problem = serde_json::from_value(value.clone()).unwrap_or_default();
        problem.status = status.as_u16();
        if problem.code.is_empty() {
            (problem.code, problem.detail) = (text("error"), text("error_description"));
        }
        Err(Failure::Refused(problem))
    }

    fn address(&self, path: &[&str], query: Query<'_>) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("an http address has a path")
            .pop_if_empty()
            .extend(self.root.split('/'))
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn unreachable(&self, cause: &reqwest::Error) -> Failure {
        Failure::unreachable(self.name(), cause)
    }
}

/// A page of a list.
#[derive(serde::Deserialize)]
struct Page {
    items: Vec<Value>,
    next: Option<String>,
}

/// Reads a value of an answer.
///
/// # Errors
/// It has another form.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|cause| Failure::Answer(cause.to_string()))
}

/// Reads the values of a list.
///
/// # Errors
/// One has another form.
pub fn read_all<T: DeserializeOwned>(values: &[Value]) -> Result<Vec<T>, Failure> {
    values.iter().cloned().map(read).collect()
}

/// Reads a gateway's address: HTTPS anywhere, plain HTTP on this machine alone.
///
/// # Errors
/// [`Failure::Address`].
pub fn parse_base(text: &str) -> Result<Url, Failure> {
    let wrong = |why| Failure::Address { url: text.to_owned(), why };
    let url = Url::parse(text).map_err(|_| wrong("it should look like https://adit.example"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(Failure::Address {
            url: "this".to_owned(),
            why: "a secret does not belong into an address; set ADIT_TOKEN instead",
        });
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(wrong("a token goes over HTTPS alone, except on this machine itself")),
        _ => Err(wrong("it should begin with https://")),
    }
}

/// Tells whether an address is on this machine.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn load_trust(ca: Option<&Path>) -> Result<Trust, Failure> {
    let Some(path) = ca else { return Ok(Trust::System) };
    let what = format!("reading the authority's certificate from {}", path.display());
    let pem = std::fs::read(path).map_err(Failure::file(&what))?;
    Trust::from_pem(&pem).map_err(|cause| Failure::file(what)(std::io::Error::other(cause)))
}

/// Makes the TLS settings; the system's authorities are read only where TLS is spoken, because that takes longer than a connection.
fn tls(base: &Url, trust: &Trust) -> Result<rustls::ClientConfig, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    match trust {
        Trust::Pinned(certificates) => {
            roots.add_parsable_certificates(certificates.iter().cloned());
        }
        Trust::System if base.scheme() == "https" => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Trust::System => {}
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.3");
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Takes an answer that says yes, and reads the problem of any other.
async fn accepted(answer: Response) -> Result<Response, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let bytes = gather(answer, MAX_PROBLEM).await.unwrap_or_default();
    let mut problem: Problem = serde_json::from_slice(&bytes).unwrap_or_default();
    problem.status = status.as_u16();
    if problem.code.is_empty() {
        problem.code = format!("http.{}", status.as_u16());
    }
    Err(Failure::Refused(problem))
}

/// Reads an answer's body up to a limit.
async fn gather(answer: Response, limit: usize) -> Result<Vec<u8>, Failure> {
    let url = answer.url().origin().ascii_serialization();
    let mut bytes = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|cause| Failure::unreachable(&url, &cause))?;
        if bytes.len() + piece.len() > limit {
            return Err(Failure::Answer(format!("it is longer than {limit} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_travels_in_the_clear() {
        for good in
            ["http://127.0.0.1:7800", "http://[::1]:1", "http://localhost:7800", "https://a"]
        {
            assert!(parse_base(good).is_ok(), "{good}");
        }
        for bad in ["http://10.0.0.1", "http://127.0.0.1.evil.example", "ftp://a", "adit", ""] {
            assert!(parse_base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_in_an_address_is_refused_and_not_repeated() {
        let refusal = parse_base("https://a:hunter2@b").unwrap_err().to_string();
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }

    #[test]
    fn a_name_stays_one_part_of_the_path() {
        let access = Access {
            url: "http://127.0.0.1:1/adit/".to_owned(),
            url_source: super::super::options::Source::Option,
            token: Secret::new("adt_x".to_owned()),
            token_source: super::super::options::Source::Option,
            ca: None,
            ends_at: None,
        };
        let client = Client::of(&access).unwrap();
        let url = client.address(&["machines", "a/../b?c"], &[("q", "x&y")]);
        assert_eq!(url.as_str(), "http://127.0.0.1:1/adit/api/v1/machines/a%2F..%2Fb%3Fc?q=x%26y");
    }
}
