//! The issuer of `provider.mjs`, and a gateway whose people it vouches for.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use adit_testkit::{Api, TestGateway};
use serde_json::{Value, json};

use super::browser::{Browser, Page};

/// An issuer; it ends with the test.
#[derive(Debug)]
pub struct Provider {
    process: Child,
    /// Its address.
    pub url: String,
    client: reqwest::Client,
}

impl Provider {
    pub fn start() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("company");
        assert!(folder.join("node_modules").is_dir(), "run `npm ci` in tests/company first");
        let mut node = Command::new("node");
        node.arg(folder.join("provider.mjs")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = node.stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { process, url: line.trim().to_owned(), client }
    }

    /// Changes what the issuer knows.
    pub async fn control(&self, what: &str, body: Value) {
        let url = format!("{}/control/{what}", self.url);
        let answer = self.client.post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }

    /// Makes or changes an account, and puts its owner before the keyboard.
    pub async fn account(&self, sub: &str, claims: Value) {
        let mut account = claims;
        account["sub"] = json!(sub);
        self.control("account", account).await;
        self.control("login", json!({"sub": sub})).await;
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A gateway and its issuer.
#[derive(Debug)]
pub struct World {
    pub provider: Provider,
    pub gateway: TestGateway,
}

impl World {
    /// Starts both, with more lines in the provider's table.
    pub async fn start(lines: &str) -> Self {
        let provider = Provider::start();
        let mut settings = format!(
            "[[sign_in.provider]]\nname = \"work\"\ntitle = \"Work\"\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"adit\"\n",
            provider.url
        );
        if !lines.contains("scopes") {
            settings += "scopes = [\"openid\", \"profile\", \"email\", \"groups\"]\n";
        }
        let gateway = TestGateway::start_with(&format!("{settings}{lines}\n"));
        let callback = format!("{}/auth/company/work/callback", gateway.admin.url);
        let metadata = json!({
            "client_id": "adit",
            "token_endpoint_auth_method": "none",
            "redirect_uris": [callback],
            "backchannel_logout_uri": format!("{}/auth/company/work/logout", gateway.admin.url),
            "backchannel_logout_session_required": true,
        });
        provider.control("client", json!({"metadata": metadata})).await;
        let world = Self { provider, gateway };
        world.provider.account("ann", ann()).await;
        world
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.admin.url)
    }

    /// Presses the button, signs in at the issuer and comes as far as our callback, which is not visited.
    pub async fn come_back(&self, browser: &mut Browser) -> String {
        let callback = self.url("/auth/company/work/callback");
        browser.follow(&self.url("/auth/company/work?back=/sessions"), &callback).await
    }

    /// Signs in; gives where the browser ends.
    pub async fn sign_in(&self, browser: &mut Browser) -> Page {
        let callback = self.come_back(browser).await;
        browser.visit(&callback).await
    }

    /// Signs in somebody whom nothing stands against; gives the API with the browser's cookie.
    pub async fn signed_in(&self, browser: &mut Browser) -> Session {
        let page = self.sign_in(browser).await;
        assert_eq!(page.location, Some(self.url("/ui/sessions")), "{page:?}");
        let cookie = browser.header(&self.url("/"));
        Session { api: self.gateway.admin.clone(), cookie }
    }

    /// Checks that a browser's way back was refused with a code, and got no cookie.
    pub fn refused(&self, page: &Page, code: &str) {
        let place = self.url(&format!("/ui/sign-in#problem={code}"));
        assert_eq!(page.location.as_deref(), Some(&*place), "{page:?}");
        let signed_in = page.cookies.iter().any(|cookie| cookie.starts_with("adit="));
        assert!(!signed_in, "{page:?}");
    }

    /// Gives the reason of the newest refusal.
    pub async fn reason(&self) -> String {
        let events = self.gateway.events("sign_in.refused").await;
        events[0]["details"]["reason"].as_str().unwrap().to_owned()
    }
}

/// The console of somebody who signed in.
#[derive(Clone, Debug)]
pub struct Session {
    pub api: Api,
    pub cookie: String,
}

impl Session {
    pub async fn get(&self, path: &str) -> adit_testkit::Answer {
        let request = self.api.client.get(format!("{}{path}", self.api.url));
        self.api.send(request.header("cookie", &self.cookie)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> adit_testkit::Answer {
        let request = self.api.client.post(format!("{}{path}", self.api.url)).json(&body);
        let request = request.header("cookie", &self.cookie).header("origin", &self.api.url);
        self.api.send(request).await
    }

    pub async fn delete(&self, path: &str) -> adit_testkit::Answer {
        let request = self.api.client.delete(format!("{}{path}", self.api.url));
        let request = request.header("cookie", &self.cookie).header("origin", &self.api.url);
        self.api.send(request).await
    }

    /// Gives the name of who signed in.
    pub async fn name(&self) -> String {
        self.get("/api/v1/me").await.ok()["name"].as_str().unwrap().to_owned()
    }
}

/// What the issuer says of ann.
pub fn ann() -> Value {
    json!({
        "preferred_username": "Ann.Lee",
        "email": "ann@example.org",
        "email_verified": true,
        "groups": ["eng"],
    })
}
