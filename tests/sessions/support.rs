//! Support, through the program itself: a code, a person at a terminal who answers, one session, an end.

use adit_core::token::Hash;
use adit_testkit::{Answer, Api, TestGateway, TestViewer, User, eventually};
use serde_json::{Value, json};

use crate::cli::connect::Terminal;
use crate::http::planes::upgrade;

/// The text of a link key, as a machine would send it.
const LINK_KEY: &str = "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=";

const CTRL_C: &str = "\u{3}";

/// A gateway with a technician and a code.
struct World {
    gateway: TestGateway,
    ann: User,
    code: String,
    id: String,
}

impl World {
    async fn with_code() -> Self {
        Self::with_code_for(json!({})).await
    }

    async fn with_code_for(wish: Value) -> Self {
        let gateway = TestGateway::start();
        let ann = gateway.user("ann", "operator", None).await;
        let made = ann.api.post("/api/v1/support-codes", wish).await.ok();
        let code = made["supportCode"].as_str().unwrap().to_owned();
        let id = made["support"]["id"].as_str().unwrap().to_owned();
        Self { gateway, ann, code, id }
    }

    /// Starts `adit agent support` in a terminal of its own and gives the code when it is asked for.
    fn person(&self) -> Terminal {
        let person = Terminal::start_at(&self.gateway.admin.url, "", &["agent", "support"]);
        person.wait_for("The code that you were given:");
        person.write(&format!("{}\r", self.code.to_lowercase().replace('-', " ")));
        person
    }

    /// The same, up to the question.
    fn asked(&self) -> Terminal {
        let person = self.person();
        person.wait_for("Allow it? [y/N]");
        person
    }

    /// The same, up to a yes.
    async fn agreed(&self) -> (Terminal, String) {
        let person = self.asked();
        person.write("y\r");
        person.wait_for("Waiting for ann");
        let machine = self.support_when("agreed").await["machine"].as_str().unwrap().to_owned();
        eventually("machine online", async || {
            let shown = self.gateway.admin.get(&format!("/api/v1/machines/{machine}")).await.json();
            (shown["status"] == "online").then_some(())
        })
        .await;
        (person, machine)
    }

    /// The same, up to the technician's terminal.
    async fn opened(&self) -> (Terminal, TestViewer) {
        let (person, machine) = self.agreed().await;
        let ticket = self.ann.api.post("/api/v1/tickets", wish(&machine)).await.ok();
        let ticket = ticket["ticket"].as_str().unwrap();
        let viewer = TestViewer::admitted(self.gateway.redeem(ticket, None).await.unwrap()).await;
        (person, viewer)
    }

    async fn support(&self) -> Value {
        self.ann.api.get(&format!("/api/v1/support-codes/{}", self.id)).await.ok()
    }

    async fn support_when(&self, state: &str) -> Value {
        eventually(state, async || {
            let shown = self.support().await;
            (shown["state"] == state).then_some(shown)
        })
        .await
    }

    async fn ended_with(&self, code: &str) {
        let shown = self.support_when("ended").await;
        assert_eq!(shown["end"]["code"], code);
        let machine = shown["machine"].as_str().unwrap();
        let gone = self.gateway.admin.get(&format!("/api/v1/machines/{machine}")).await;
        assert_eq!(gone.status, 404, "the machine's identity goes with the support");
    }

    async fn only_event(&self, name: &str) -> Value {
        let events = self.gateway.events(name).await;
        assert_eq!(events.len(), 1, "{events:?}");
        events[0].clone()
    }
}

fn wish(machine: &str) -> Value {
    json!({"machine": machine, "pty": true})
}

async fn come(api: &Api, code: &str) -> Answer {
    api.post("/api/support", json!({"supportCode": code, "linkKey": LINK_KEY})).await
}

#[tokio::test]
async fn after_a_yes_the_technician_types_and_the_person_ends_it() {
    // DESK-20, DESK-21, BEY-17, DSK-08
    let world = World::with_code().await;
    let (mut person, mut viewer) = world.opened().await;
    viewer.write(b"echo su''pport-$((6*7))\r");
    viewer.until_text("support-42").await;
    person.wait_for("ann has a terminal on this computer now");
    assert_eq!(world.support().await["state"], "live");
    person.write(CTRL_C);
    let (ended, _) = viewer.end().await;
    assert_eq!(ended.code, "support.stopped");
    assert_eq!(person.end(), Some(0));
    assert!(person.everything().contains("You ended it. Nobody has access"));
    world.ended_with("support.stopped").await;
    let recording = format!("/api/v1/recordings/{}", viewer.session());
    eventually("recording", async || {
        let shown = world.gateway.admin.get(&recording).await.json();
        (shown["state"] == "complete").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_person_is_told_who_asks_from_where_for_what_and_how_long() {
    // DESK-20
    let world = World::with_code_for(json!({"lengthSeconds": 1800})).await;
    let person = world.asked();
    let screen = person.wait_for("Allow it?");
    let url = &world.gateway.admin.url;
    for told in [
        "ann asks for a terminal on this computer.",
        &format!("From      127.0.0.1, through {url}"),
        "May       see and type, as you",
        "Longest   30 min",
        "Recorded  yes, what is shown",
        "No answer within 30 s is a no.",
    ] {
        assert!(screen.contains(told), "{told}:\n{screen}");
    }
}

#[tokio::test]
async fn consent_is_evidence() {
    // DESK-21, P11
    let world = World::with_code().await;
    let (mut person, machine) = world.agreed().await;
    person.write(CTRL_C);
    assert_eq!(person.end(), Some(0));
    world.ended_with("support.stopped").await;
    let made = world.only_event("support.code").await;
    assert_eq!(
        (&made["actor"]["name"], &made["details"]["access"]),
        (&json!("ann"), &json!("control"))
    );
    for (name, answer) in [
        ("support.asked", Value::Null),
        ("support.consent", json!("yes")),
        ("support.end", json!("stop")),
    ] {
        let event = world.only_event(name).await;
        assert_eq!(event["actor"]["name"], machine, "{name}");
        assert_eq!(event["details"]["answer"], answer, "{name}");
        assert_eq!(event["details"]["technician"], "user:ann", "{name}");
        assert_eq!(event["details"]["support"], world.id, "{name}");
        assert_eq!(event["details"]["machineAddress"], "127.0.0.1", "{name}");
    }
}

#[tokio::test]
async fn a_no_lets_nobody_in() {
    // DESK-20
    for no in ["n\r", "\r", CTRL_C] {
        let world = World::with_code().await;
        let mut person = world.asked();
        person.write(no);
        assert_eq!(person.end(), Some(0));
        assert!(person.everything().contains("Nobody was let in."));
        world.ended_with("support.declined").await;
        let refused = world.only_event("support.refused").await;
        assert_eq!(
            (&refused["outcome"], &refused["details"]["answer"]),
            (&json!("denied"), &json!("no"))
        );
        assert_eq!(come(&world.gateway.admin, &world.code).await.code(), "support.code_refused");
    }
}

#[tokio::test]
async fn what_was_typed_before_the_question_is_no_answer() {
    // DESK-20
    let world = World::with_code().await;
    let person = Terminal::start_at(&world.gateway.admin.url, "", &["agent", "support"]);
    person.wait_for("The code that you were given:");
    person.write(&format!("{}\ry\ry\ry\r", world.code));
    person.wait_for("Allow it? [y/N]");
    assert_eq!(world.support_when("asked").await["consentedAt"], Value::Null);
    person.write("n\r");
    world.ended_with("support.declined").await;
}

#[tokio::test]
async fn no_answer_in_thirty_seconds_is_a_no() {
    // DESK-20, DSK-06
    let world = World::with_code().await;
    let mut person = world.asked();
    assert_eq!(person.end(), Some(0));
    assert!(person.everything().contains("Nobody answered, which is a no."));
    world.ended_with("support.no_answer").await;
}

#[tokio::test]
async fn a_machine_that_goes_without_an_answer_has_not_agreed() {
    // DESK-20
    let world = World::with_code().await;
    let asked = come(&world.gateway.admin, &world.code).await.ok();
    let long_ago = "UPDATE support_codes SET used_at = used_at - 60000";
    world.gateway.sql(long_ago);
    let key = asked["agentKey"].as_str().unwrap();
    world.ended_with("support.no_answer").await;
    let late = json!({"agentKey": key, "answer": "yes"});
    let late = world.gateway.admin.post("/api/support/answers", late).await;
    assert_eq!(late.status, 401, "{}", late.text);
}

#[tokio::test]
async fn nothing_passes_before_consent() {
    // P10, DSK-06
    let world = World::with_code().await;
    let asked = come(&world.gateway.admin, &world.code).await.ok();
    let key = asked["agentKey"].as_str().unwrap();
    let machine = asked["label"].as_str().unwrap();
    let dialled = upgrade(&world.gateway.admin, "/ws/agent").bearer_auth(key);
    assert_eq!(dialled.send().await.unwrap().status(), 401);
    for api in [&world.ann.api, &world.gateway.admin] {
        let refused = api.post("/api/v1/tickets", wish(machine)).await;
        assert_eq!((refused.status.as_u16(), &*refused.code()), (403, "access.consent"));
    }
    let yes = json!({"agentKey": key, "answer": "yes"});
    world.gateway.admin.post("/api/support/answers", yes).await.ok();
    let dialled = upgrade(&world.gateway.admin, "/ws/agent").bearer_auth(key);
    assert_eq!(dialled.send().await.unwrap().status(), 101);
}

#[tokio::test]
async fn consent_is_for_one_technician_and_for_what_was_asked() {
    // DESK-20, DESK-5
    let world = World::with_code().await;
    let (_person, machine) = world.agreed().await;
    let eve = world.gateway.user("eve", "operator", None).await;
    for api in [&eve.api, &world.gateway.admin] {
        let refused = api.post("/api/v1/tickets", wish(&machine)).await;
        assert_eq!((refused.status.as_u16(), &*refused.code()), (403, "access.consent"));
    }
    let hidden = json!({"machine": machine, "command": ["id"]});
    let refused = world.ann.api.post("/api/v1/tickets", hidden).await;
    assert_eq!((refused.status.as_u16(), &*refused.code()), (403, "access.consent"));
}

#[tokio::test]
async fn nobody_but_the_technician_watches() {
    // DESK-20
    let world = World::with_code().await;
    let (_person, viewer) = world.opened().await;
    let watch = json!({"session": viewer.session(), "mode": "view"});
    let refused = world.gateway.admin.post("/api/v1/tickets", watch).await;
    assert_eq!((refused.status.as_u16(), &*refused.code()), (403, "access.consent"));
}

#[tokio::test]
async fn the_technician_ends_it_at_both_ends() {
    // DESK-21
    let world = World::with_code().await;
    let (mut person, mut viewer) = world.opened().await;
    let ended = world.ann.api.delete(&format!("/api/v1/support-codes/{}", world.id)).await;
    assert_eq!(ended.status, 204);
    assert_eq!(viewer.end().await.0.code, "support.withdrawn");
    assert_eq!(person.end(), Some(0));
    assert!(person.everything().contains("Nobody has access to this computer any more."));
    world.ended_with("support.withdrawn").await;
}

#[tokio::test]
async fn it_ends_with_its_session() {
    // DESK-21
    let world = World::with_code().await;
    let (mut person, mut viewer) = world.opened().await;
    viewer.write(b"exit\r");
    assert_eq!(viewer.end().await.0.code, "session.exited");
    assert_eq!(person.end(), Some(0));
    assert!(person.everything().contains("It is over. The shell ended."));
    world.ended_with("session.exited").await;
}

#[tokio::test]
async fn it_ends_by_itself() {
    // DESK-20
    let world = World::with_code().await;
    let (mut person, mut viewer) = world.opened().await;
    world.gateway.sql("UPDATE support_codes SET ends_at = used_at");
    assert_eq!(viewer.end().await.0.code, "support.expired");
    assert_eq!(person.end(), Some(0));
    world.ended_with("support.expired").await;
}

#[tokio::test]
async fn who_may_not_offer_support_any_more_has_no_session() {
    // DESK-5, TOK-21
    let world = World::with_code().await;
    let (_person, mut viewer) = world.opened().await;
    world.gateway.admin.delete(&format!("/api/v1/grants/{}", world.ann.grant)).await;
    assert_eq!(viewer.end().await.0.code, "access.revoked");
}

#[tokio::test]
async fn a_code_of_one_who_may_not_offer_support_any_more_opens_nothing() {
    // DESK-5
    let world = World::with_code().await;
    world.gateway.admin.delete(&format!("/api/v1/grants/{}", world.ann.grant)).await;
    assert_eq!(come(&world.gateway.admin, &world.code).await.code(), "support.code_refused");
    let viewer = world.gateway.user("vic", "viewer", None).await;
    let refused = viewer.api.post("/api/v1/support-codes", json!({})).await;
    assert_eq!((refused.status.as_u16(), &*refused.code()), (403, "access.capability_missing"));
}

#[tokio::test]
async fn used_expired_revoked_and_wrong_codes_are_refused_alike() {
    // DESK-5, DSK-01
    let world = World::with_code().await;
    let admin = &world.gateway.admin;
    come(admin, &world.code).await.ok();
    let used = come(admin, &world.code).await;
    let made = admin.post("/api/v1/support-codes", json!({})).await.ok();
    let revoked = made["supportCode"].as_str().unwrap();
    let path = format!("/api/v1/support-codes/{}", made["support"]["id"].as_str().unwrap());
    assert_eq!(admin.delete(&path).await.status, 204);
    let made = admin.post("/api/v1/support-codes", json!({})).await.ok();
    let expired = made["supportCode"].as_str().unwrap();
    world.gateway.sql("UPDATE support_codes SET expires_at = 1 WHERE used_at IS NULL");
    for (why, answer) in [
        ("used", used),
        ("revoked", come(admin, revoked).await),
        ("expired", come(admin, expired).await),
        ("wrong", come(admin, "77777-77777").await),
        ("no code at all", come(admin, "hello").await),
    ] {
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (401, "support.code_refused"),
            "{why}"
        );
        let expected = "This support code is used, expired or wrong. Ask for a new one.";
        assert_eq!(answer.json()["detail"], expected, "{why}");
    }
    let denied = world.gateway.events("support.refused").await;
    assert_eq!(denied.len(), 5, "{denied:?}");
}

#[tokio::test]
async fn of_many_that_come_with_a_code_at_once_one_gets_in() {
    // DESK-5, DSK-01
    let world = World::with_code().await;
    let all = (0..20_u8).map(|n| {
        let key = LINK_KEY.replacen("BQ", &format!("{}Q", char::from(b'C' + n)), 1);
        let body = json!({"supportCode": world.code, "linkKey": key});
        let admin = world.gateway.admin.clone();
        tokio::spawn(async move { admin.post("/api/support", body).await.status.as_u16() })
    });
    let mut statuses = Vec::new();
    for one in all.collect::<Vec<_>>() {
        statuses.push(one.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 401 | 429)), "{statuses:?}");
}

#[tokio::test]
async fn who_guesses_waits() {
    // DESK-5
    let world = World::with_code().await;
    let admin = &world.gateway.admin;
    for _ in 0..5 {
        assert_eq!(come(admin, "77777-77777").await.status, 401);
    }
    let slowed = come(admin, &world.code).await;
    assert_eq!((slowed.status.as_u16(), &*slowed.code()), (429, "auth.limited"));
    let wait: u64 = slowed.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(world.support().await["state"], "open", "what comes too early uses nothing up");
    let let_in = eventually("the end of the wait", async || {
        let answer = come(admin, &world.code).await;
        (answer.status != 429).then_some(answer)
    });
    assert_eq!(let_in.await.status, 201);
}

#[tokio::test]
async fn a_code_cannot_be_found_from_the_database() {
    // DESK-5
    let world = World::with_code().await;
    let stored = world.gateway.sql("SELECT lower(hex(hash)) FROM support_codes");
    for form in [world.code.clone(), world.code.replace('-', "")] {
        let plain = Hash::of(&form).0;
        let plain: String = plain.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(stored.trim(), plain);
    }
}

#[tokio::test]
async fn a_code_on_the_command_line_is_not_to_be_seen_in_the_list_of_processes() {
    // DESK-5
    let world = World::with_code().await;
    let arguments = ["agent", "support", &world.code];
    let person = Terminal::start_at(&world.gateway.admin.url, "", &arguments);
    person.wait_for("Allow it? [y/N]");
    let pid = person.child.id();
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let line = String::from_utf8_lossy(&line).into_owned();
    assert!(line.contains("support") && !line.contains(&world.code), "{line}");
}

#[tokio::test]
async fn a_technician_sees_only_own_codes_unless_all_sessions_may_be_listed() {
    // DESK-5
    let world = World::with_code().await;
    let path = format!("/api/v1/support-codes/{}", world.id);
    let eve = world.gateway.user("eve", "viewer", Some(&[&world.gateway.machine])).await;
    assert_eq!(eve.api.get(&path).await.status, 404);
    assert_eq!(eve.api.delete(&path).await.status, 404);
    let listed = eve.api.get("/api/v1/support-codes").await.ok();
    assert_eq!(listed["items"], json!([]));
    let listed = world.gateway.admin.get("/api/v1/support-codes").await.ok();
    assert_eq!(listed["items"][0]["id"], world.id);
}

#[tokio::test]
async fn the_commands_of_a_technician_do_all_of_it() {
    // DESK-21, BEY-17
    let world = World::with_code().await;
    let (url, token) = (&world.gateway.admin.url, &world.ann.api.token);
    let mut made = Terminal::start_at(url, token, &["code", "add"]);
    assert_eq!(made.end(), Some(0));
    let said = made.everything();
    let code = said.lines().next().unwrap().trim().to_owned();
    assert!(said.contains(&format!("adit agent support --gateway {url}")), "{said}");
    let person = Terminal::start_at(url, "", &["agent", "support"]);
    person.wait_for("The code that you were given:");
    person.write(&format!("{code}\r"));
    person.wait_for("Allow it?");
    person.write("yes\r");
    let machine = eventually("machine", async || {
        let listed = world.ann.api.get("/api/v1/support-codes").await.ok();
        let agreed = listed["items"].as_array().unwrap().iter().find(|c| c["state"] == "agreed");
        agreed.map(|code| code["machine"].as_str().unwrap().to_owned())
    })
    .await;
    eventually("machine online", async || {
        let shown = world.gateway.admin.get(&format!("/api/v1/machines/{machine}")).await.json();
        (shown["status"] == "online").then_some(())
    })
    .await;
    let mut technician = Terminal::start_at(url, token, &["connect", &machine]);
    technician.wait_for_prompt();
    technician.write("echo su''pport-$((6*7))\r");
    technician.wait_for("support-42");
    person.wait_for("ann has a terminal on this computer now");
    let mut listed = Terminal::start_at(url, token, &["code", "ls"]);
    assert_eq!(listed.end(), Some(0));
    assert!(listed.everything().contains("live"), "{}", listed.everything());
    person.write(CTRL_C);
    technician.end();
    assert!(technician.everything().contains("support.stopped"), "{}", technician.everything());
}
