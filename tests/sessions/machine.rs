//! What a machine must show before a session's bytes go to it, tried by a machine that lies.

use adit_core::random::SystemIds;
use adit_domain::{Secret, SessionId};
use adit_link::connection::{Connection, Event, LinkError};
use adit_link::dial::{
    AgentConnection, BindingRule, Credential, DialError, Dialer, Endpoint, Trust,
};
use adit_link::keys::{Keypair, PublicKey};
use adit_link::socket::Socket;
use adit_testkit::{Api, TestGateway, TestViewer, within};
use adit_wire::agent::v1 as pb;
use adit_wire::frame::Frame;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use serde_json::json;

/// A machine that this test plays, enrolled like any other.
struct Machine {
    keys: Keypair,
    service: PublicKey,
    dialer: Dialer,
}

impl Machine {
    async fn enrol(gateway: &TestGateway, label: &str) -> Self {
        Self::enrol_at(gateway, label, "/ws/agent").await
    }

    async fn enrol_at(gateway: &TestGateway, label: &str, path: &str) -> Self {
        let admin: &Api = &gateway.admin;
        let token = admin.post("/api/v1/enrolment-tokens", json!({})).await.ok();
        let keys = Keypair::generate(&SystemIds);
        let body = json!({"token": token["token"], "linkKey": STANDARD.encode(keys.public().0), "label": label});
        let enrolled = admin.post("/api/enroll", body).await.ok();
        let service = STANDARD.decode(enrolled["sessionServiceKey"].as_str().unwrap()).unwrap();
        let service = PublicKey::try_from(&service[..]).unwrap();
        let dialer = Dialer::new(Endpoint {
            url: gateway.websocket(path),
            trust: Trust::System,
            credential: Credential::Key(Secret::new(
                enrolled["agentKey"].as_str().unwrap().to_owned(),
            )),
            binding: BindingRule::None,
        });
        Self { keys, service, dialer: dialer.unwrap() }
    }

    /// Comes as an agent of its own, told apart from other agents by a number.
    async fn come(&self, instance: u8) -> (AgentConnection, pb::Welcome) {
        let mut control = self.hello(instance).await;
        let welcome = told(&mut control, |message| match message {
            pb::to_agent::Message::Welcome(welcome) => Some(welcome),
            _ => None,
        });
        let welcome = welcome.await;
        (control, welcome)
    }

    async fn hello(&self, instance: u8) -> AgentConnection {
        let mut control = self.dialer.control(&self.keys, self.service).await.unwrap();
        let hello = pb::Hello { instance: vec![instance; 16].into(), ..pb::Hello::default() };
        let message = Some(pb::from_agent::Message::Hello(hello));
        control.send_control(&pb::FromAgent { message }).unwrap();
        control
    }

    /// Links a session.
    async fn link(
        &self,
        session: SessionId,
        warrant: pb::SignedWarrant,
    ) -> Result<AgentConnection, DialError> {
        self.dialer.session(&self.keys, self.service, session, warrant).await
    }

    /// Tells with which code a session's link is refused.
    async fn refused(&self, session: SessionId, warrant: pb::SignedWarrant) -> Option<u16> {
        match self.link(session, warrant).await {
            Err(DialError::Link(LinkError::Closed(code))) => code,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("not refused"),
        }
    }
}

async fn told<S: Socket, T>(
    link: &mut Connection<S>,
    wanted: impl Fn(pb::to_agent::Message) -> Option<T>,
) -> T {
    let ask = async {
        loop {
            let Event::Frame(Frame::Control(bytes)) = link.next().await.unwrap() else { continue };
            let message = pb::ToAgent::decode(bytes).unwrap().message.unwrap();
            if let Some(found) = wanted(message) {
                return found;
            }
        }
    };
    within("message for the machine", ask).await
}

#[tokio::test]
async fn a_session_is_linked_by_its_own_machine_with_its_own_warrant_only() {
    // TOK-24, AGT-10
    let gateway = TestGateway::start();
    let (mallory, eve) =
        (Machine::enrol(&gateway, "mallory").await, Machine::enrol(&gateway, "eve").await);
    let (mut control, _) = mallory.come(1).await;
    let ticket = gateway.ticket(&gateway.admin, json!({"machine": "mallory"})).await;
    let _viewer = TestViewer::admitted(gateway.redeem(&ticket, None).await.unwrap()).await;
    let open = told(&mut control, |message| match message {
        pb::to_agent::Message::Open(open) => Some(open),
        _ => None,
    })
    .await;
    let session = SessionId::from_bytes(&open.session_id).unwrap();
    let warrant = open.warrant.unwrap();
    let mut forged = warrant.clone();
    forged.signature = vec![0; forged.signature.len()].into();
    let refused = Some(1008);
    assert_eq!(mallory.refused(session, forged).await, refused, "a forged warrant");
    assert_eq!(mallory.refused(session, pb::SignedWarrant::default()).await, refused, "none");
    assert_eq!(eve.refused(session, warrant.clone()).await, refused, "another machine");
    let other = gateway.open(&gateway.admin, &["cat"]).await;
    let elsewhere = SessionId(other.session().parse().unwrap());
    assert_eq!(mallory.refused(elsewhere, warrant.clone()).await, refused, "another session");
    let mut link = mallory.link(session, warrant).await.unwrap();
    let hello = pb::from_shell::Message::Hello(pb::ShellHello::default());
    link.send_control(&pb::FromShell { message: Some(hello) }).unwrap();
    let _ = link.flush().await;
    let id = session.to_string();
    gateway.session_when(&id, |shown| shown["state"] == "live").await;
    assert_eq!(gateway.events("machine.wrong_warrant").await.len(), 4);
}

#[tokio::test]
async fn a_machine_is_who_its_key_says() {
    // AGT-03
    let gateway = TestGateway::start();
    let machines = gateway.admin.get("/api/v1/machines").await.ok();
    let other = machines["items"][0]["id"].as_str().unwrap();
    let path = format!("/ws/agent?agent_id={other}&machine_id={other}&label={}", gateway.machine);
    let mallory = Machine::enrol_at(&gateway, "mallory", &path).await;
    let (_control, welcome) = mallory.come(1).await;
    assert_eq!(welcome.label, "mallory");
}

#[tokio::test]
async fn of_two_agents_with_one_key_the_first_stays() {
    // R37
    let gateway = TestGateway::start();
    let mallory = Machine::enrol(&gateway, "mallory").await;
    let (mut first, _) = mallory.come(1).await;
    let mut second = mallory.hello(2).await;
    let closed = within("end of the second", second.next()).await;
    assert!(matches!(closed, Err(LinkError::Closed(Some(_)))), "it is told to go");
    assert_eq!(gateway.events("agent.duplicate").await.len(), 1);
    let heartbeat = pb::from_agent::Message::Heartbeat(pb::Heartbeat::default());
    first.send_control(&pb::FromAgent { message: Some(heartbeat) }).unwrap();
    let answered = |message| matches!(message, pb::to_agent::Message::Heartbeat(_)).then_some(());
    told(&mut first, answered).await;
}

#[tokio::test]
async fn of_two_agents_with_one_key_they_cannot_take_turns() {
    // R37
    let gateway = TestGateway::start();
    let mallory = Machine::enrol(&gateway, "mallory").await;
    let (first, _) = mallory.come(1).await;
    let mut second = mallory.hello(2).await;
    within("end of the second", second.next()).await.unwrap_err();
    let session = gateway.ticket(&gateway.admin, json!({"machine": "mallory"})).await;
    drop(first);
    // The one that was here is away for a moment. The other hopes for its place, and for its sessions.
    let mut second = mallory.hello(2).await;
    within("end of the second", second.next()).await.unwrap_err();
    let (mut first, _) = mallory.come(1).await;
    let mut opening = gateway.redeem(&session, None).await.unwrap();
    let opening = tokio::spawn(async move { while opening.next().await.is_ok() {} });
    let asked = |message| matches!(message, pb::to_agent::Message::Open(_)).then_some(());
    told(&mut first, asked).await;
    opening.abort();
}
