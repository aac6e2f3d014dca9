//! A ticket that is bound to a key opens nothing for whoever copied it.

use std::process::Command;

use adit_link::viewer::Event;
use adit_testkit::{TestGateway, TestViewer, within};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

struct Key(EncodingKey);

impl Key {
    fn new() -> Self {
        Self(EncodingKey::from_ec_der(&rcgen::KeyPair::generate().unwrap().serialize_der()))
    }

    fn public(&self) -> Jwk {
        Jwk::from_encoding_key(&self.0, Algorithm::ES256).unwrap()
    }

    fn thumbprint(&self) -> String {
        self.public().thumbprint(ThumbprintHash::SHA256).unwrap()
    }

    fn proves(&self, ticket: &str) -> String {
        let typ = Some("dpop+jwt".to_owned());
        let header = Header { typ, jwk: Some(self.public()), ..Header::new(Algorithm::ES256) };
        let ath = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, ticket.as_bytes()));
        let htu = "ws://127.0.0.1/ws/terminal";
        let claims = json!({"jti": "1", "htm": "GET", "htu": htu, "iat": 0, "ath": ath});
        jsonwebtoken::encode(&header, &claims, &self.0).unwrap()
    }
}

async fn refused(gateway: &TestGateway, ticket: &str, proof: &str) -> String {
    let mut terminal = gateway.redeem_with(ticket, proof, None).await.unwrap();
    match within("refusal", terminal.next()).await {
        Ok(Event::Ended(ended)) => ended.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_copied_ticket_with_another_key_or_none_is_refused_and_stays_good_for_its_own() {
    // BEY-5
    let gateway = TestGateway::start();
    let (own, thief) = (Key::new(), Key::new());
    let wish = json!({"machine": gateway.machine, "dpopJkt": own.thumbprint()});
    let ticket = gateway.ticket(&gateway.admin, wish).await;
    let older = gateway.ticket(&gateway.admin, json!({"machine": gateway.machine})).await;
    for proof in ["", "x", &thief.proves(&ticket), &own.proves(&older)] {
        assert_eq!(refused(&gateway, &ticket, proof).await, "ticket.invalid");
    }
    let events = gateway.events("ticket.refused").await;
    let mut why: Vec<&str> =
        events.iter().map(|event| event["details"]["proof"].as_str().unwrap()).collect();
    why.sort_unstable();
    assert_eq!(why, ["another key", "another key", "for something else", "no proof"]);

    let terminal = gateway.redeem_with(&ticket, &own.proves(&ticket), None).await.unwrap();
    let viewer = TestViewer::admitted(terminal).await;
    assert_eq!(refused(&gateway, &ticket, &own.proves(&ticket)).await, "ticket.invalid", "once");

    // To join it is bound alike, and so is the token of a spawn.
    let join = json!({"session": viewer.session(), "mode": "view", "dpopJkt": own.thumbprint()});
    let join = gateway.ticket(&gateway.admin, join).await;
    assert_eq!(refused(&gateway, &join, &thief.proves(&join)).await, "ticket.invalid");
    TestViewer::admitted(gateway.redeem_with(&join, &own.proves(&join), None).await.unwrap()).await;
    let spawn = json!({"machineId": gateway.machine, "dpopJkt": own.thumbprint()});
    let spawned = gateway.admin.post("/api/terminal/spawn", spawn).await.ok();
    let token = spawned["token"].as_str().unwrap();
    assert_eq!(refused(&gateway, token, "").await, "ticket.invalid");
    TestViewer::admitted(gateway.redeem_with(token, &own.proves(token), None).await.unwrap()).await;
}

#[tokio::test]
async fn of_a_key_only_the_hash_is_kept() {
    // BEY-5
    let gateway = TestGateway::start();
    let key = Key::new();
    for bad in ["", "x", &key.thumbprint()[1..], &format!("{}=", key.thumbprint())] {
        let wish = json!({"machine": gateway.machine, "dpopJkt": bad});
        let answer = gateway.admin.post("/api/v1/tickets", wish).await;
        assert_eq!(answer.json()["code"], "request.invalid", "{bad}");
    }
    let wish = json!({"machine": gateway.machine, "dpopJkt": key.thumbprint()});
    gateway.ticket(&gateway.admin, wish).await;
    let kept = gateway
        .sql("SELECT lower(hex(key_thumbprint)) FROM tickets WHERE key_thumbprint IS NOT NULL");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(key.thumbprint()).unwrap();
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(kept.trim(), digits);
}

#[tokio::test]
async fn the_command_line_binds_its_tickets() {
    // BEY-5
    let gateway = TestGateway::start();
    let mut exec = Command::new(adit_testkit::binary());
    exec.env("ADIT_URL", &gateway.admin.url).env("ADIT_TOKEN", &gateway.admin.token);
    let output = exec.args(["exec", &gateway.machine, "--", "echo", "here"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "here\n");
    let bound = |event: &Value| event["details"]["boundToKey"] == true;
    let issued = gateway.events("ticket.issue").await;
    assert!(issued.len() == 1 && issued.iter().all(bound), "{issued:?}");
}
