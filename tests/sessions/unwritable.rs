//! The audit log cannot be written: nothing is done that would have to stand in it.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use adit_testkit::{Answer, TestGateway, eventually};
use serde_json::json;

/// A foreign process that holds the database's write lock.
struct Lock {
    holder: Child,
    say: ChildStdin,
}

impl Lock {
    async fn on(gateway: &TestGateway) -> Self {
        let held = gateway.data().join("held");
        let mut holder = Command::new("sqlite3");
        holder.args(["-bail", "-interactive"]).arg(gateway.data().join("adit.db"));
        holder.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut holder = holder.spawn().unwrap();
        let mut say = holder.stdin.take().unwrap();
        writeln!(say, ".timeout 10000\nBEGIN IMMEDIATE;\n.shell touch {}", held.display()).unwrap();
        eventually("the lock", async || held.exists().then_some(())).await;
        Self { holder, say }
    }

    fn release(mut self) {
        writeln!(self.say, "ROLLBACK;").unwrap();
        drop(self.say);
        self.holder.wait().unwrap();
    }
}

#[tokio::test]
async fn while_nothing_can_be_audited_nothing_is_done_and_sessions_go_on() {
    // AUD-07
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &[]).await;
    let before = gateway.events("user.add").await.len();
    let lock = Lock::on(&gateway).await;
    let admin = &gateway.admin;
    let user = admin.post("/api/v1/users", json!({"name": "late"}));
    let ticket = admin.post("/api/v1/tickets", json!({"machine": gateway.machine}));
    let code = admin.post("/api/v1/support-codes", json!({}));
    let refused = |answer: &Answer| (answer.status.as_u16(), answer.code());
    let (user, ticket, code) = tokio::join!(user, ticket, code);
    for answer in [user, ticket, code] {
        assert_eq!(refused(&answer), (503, "store.unavailable".to_owned()), "{}", answer.text);
    }
    let health = admin.get("/health").await;
    assert_eq!((health.status.as_u16(), &health.json()["status"]), (503, &json!("degraded")));
    // The path of a key has no commit on it.
    viewer.write(b"echo st''ill here\n");
    viewer.until_text("still here").await;
    lock.release();

    eventually("health", async || (admin.get("/health").await.status == 200).then_some(())).await;
    let users = admin.get("/api/v1/users").await.ok();
    assert!(!users.to_string().contains("late"), "what was refused is not done later: {users}");
    assert_eq!(gateway.events("user.add").await.len(), before);
    admin.post("/api/v1/users", json!({"name": "late"})).await.ok();
    assert_eq!(gateway.events("user.add").await.len(), before + 1);
}
