//! A receiver of the webhook, which answers as a test wants.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use adit_testkit::within;
use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc};

/// What deliveries are signed with.
pub const SECRET: &str = "a-secret-of-the-webhook-0123456789abcdef";

/// One delivery.
#[derive(Debug)]
pub struct Delivery {
    pub id: String,
    pub body: Value,
    at: String,
    signature: String,
    text: String,
}

impl Delivery {
    /// Checks the signature as a receiver does.
    pub fn is_signed(&self) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let told = self.signature.strip_prefix("v1,").map(|text| STANDARD.decode(text).unwrap());
        let signed = format!("{}.{}.{}", self.id, self.at, self.text);
        told.is_some_and(|tag| hmac::verify(&key, signed.as_bytes(), &tag).is_ok())
    }
}

/// A receiver.
pub struct Receiver {
    url: String,
    folder: TempDir,
    desk: Arc<Desk>,
    got: Mutex<mpsc::Receiver<Delivery>>,
}

struct Desk {
    status: AtomicU16,
    got: mpsc::Sender<Delivery>,
}

impl Receiver {
    /// Starts one that takes what comes.
    pub async fn start() -> Self {
        let (sender, got) = mpsc::channel(64);
        let desk = Arc::new(Desk { status: AtomicU16::new(204), got: sender });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/alerts", listener.local_addr().unwrap());
        let router = Router::new().route("/alerts", post(receive)).with_state(Arc::clone(&desk));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { url, folder, desk, got: Mutex::new(got) }
    }

    /// Gives settings of a gateway that tells it.
    pub fn settings(&self, more: &str) -> String {
        let secret = self.folder.path().join("secret");
        format!(
            "{more}webhook = \"{}\"\nwebhook_allow_private = true\nwebhook_secret_file = \"{}\"\n",
            self.url,
            secret.display()
        )
    }

    /// Answers that it is out of order from now on.
    pub fn refuse(&self) {
        self.desk.status.store(503, Ordering::SeqCst);
    }

    /// Sends everybody elsewhere from now on.
    pub fn redirect(&self) {
        self.desk.status.store(307, Ordering::SeqCst);
    }

    /// Takes what comes from now on.
    pub fn take(&self) {
        self.desk.status.store(204, Ordering::SeqCst);
    }

    /// Waits for a delivery.
    pub async fn next(&self) -> Delivery {
        within("a delivery", async { self.got.lock().await.recv().await.unwrap() }).await
    }

    /// Gives the last delivery that came.
    pub async fn last(&self) -> Delivery {
        let mut last = self.next().await;
        while let Ok(newer) = self.got.lock().await.try_recv() {
            last = newer;
        }
        last
    }
}

async fn receive(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    text: String,
) -> impl IntoResponse {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let delivery = Delivery {
        id: header("webhook-id"),
        at: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: serde_json::from_str(&text).unwrap(),
        text,
    };
    desk.got.send(delivery).await.unwrap();
    let status = StatusCode::from_u16(desk.status.load(Ordering::SeqCst)).unwrap();
    (status, [("location", "http://127.0.0.1:9/")])
}
