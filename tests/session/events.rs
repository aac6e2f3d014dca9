//! What bad messages leave behind: one event for many, no secret, and at last the end of the session.

use std::future::Future;

use adit_session::{
    BAD_RUN_MAX, Capabilities, Capability, EndReason, Event, EventLost, Events, IssueError,
    MachineSecret, MessageType, NonceHistory, NonceLimits, Refusal, Remembered, SessionToken,
    TokenRefusal, seal,
};

use super::*;

async fn session(world: &World) -> SessionToken {
    let token =
        world.service.issue_session_token(USER, MACHINE, Capabilities::default()).await.unwrap();
    world.events.take();
    token
}

fn of(token: &SessionToken, kind: MessageType, payload: &str) -> String {
    let draft = Draft { session_id: token.session_id, ..draft(kind, payload) };
    seal(&draft, &secret(), now()).unwrap()
}

// SES-25, TOK-01
#[tokio::test]
async fn each_kind_of_bad_message_has_its_event_and_the_session_goes_on() {
    let world = World::new();
    let token = session(&world).await;
    let input = |payload| of(&token, MessageType::TerminalInput, payload);

    let replayed = input("{}");
    world.receive(token.session_id, &replayed).await.unwrap();
    assert_eq!(world.receive(token.session_id, &replayed).await, Err(Refusal::Replayed));
    assert_eq!(world.names(), ["SecureMessageReplayDetected"]);

    for (message, event) in [
        (input("{}").replace("\"{}\"", "\"[]\""), "SecureMessageHmacValidationFailed"),
        (input("{}").replace("2026-11-22", "2026-11-23"), "SecureMessageTimestampOutOfRange"),
        ("{}".to_owned(), "message.refused"),
    ] {
        let world = World::new();
        let token = session(&world).await;
        let message = message.replace(&input_session(&message), &token.session_id.to_string());
        assert!(world.receive(token.session_id, &message).await.is_err());
        assert_eq!(world.names(), [event]);
        let good = of(&token, MessageType::TerminalInput, "{}");
        assert_eq!(world.receive(token.session_id, &good).await, Ok(()));
    }
}

/// The session id that stands in a message, or what stands nowhere.
fn input_session(message: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(message).unwrap();
    json["data"]["sessionId"].as_str().unwrap_or("nowhere").to_owned()
}

// SES-25
#[tokio::test]
async fn a_run_of_bad_messages_ends_the_session_and_few_events_tell_of_it() {
    let world = World::new();
    let token = session(&world).await;
    for _ in 0..BAD_RUN_MAX {
        assert!(world.receive(token.session_id, "{}").await.is_err());
    }
    let good = of(&token, MessageType::TerminalInput, "{}");
    assert_eq!(world.receive(token.session_id, &good).await, Err(Refusal::SessionNotLive));
    let events = world.events.take();
    let names: Vec<_> = events.iter().map(Event::name).collect();
    assert_eq!(names, ["message.refused", "message.refused", "terminal_session_end"]);
    assert!(matches!(events[2], Event::TerminalSessionEnd { reason: EndReason::BadMessages, .. }));
}

// SES-12, TOK-18
#[tokio::test]
async fn who_may_not_type_keeps_watching_however_often_they_try() {
    let world = World::new();
    let view = Capabilities::new([Capability::VIEW]).unwrap();
    let token = world.service.issue_session_token(USER, MACHINE, view).await.unwrap();
    for kind in
        [MessageType::TerminalInput, MessageType::TerminalResize, MessageType::ExecuteCommand]
    {
        for _ in 0..=BAD_RUN_MAX {
            let refused = world.receive(token.session_id, &of(&token, kind, "{}")).await;
            assert_eq!(refused, Err(Refusal::CapabilityMissing));
        }
    }
    assert!(world.service.validate_session_token(&token).await.is_ok());
}

// TOK-04, TOK-23
#[tokio::test]
async fn the_connection_says_whose_message_it_is_and_the_message_does_not() {
    let world = World::new();
    let (mine, theirs) = (session(&world).await, session(&world).await);
    let message = of(&theirs, MessageType::TerminalInput, "{}");
    assert_eq!(world.receive(mine.session_id, &message).await, Err(Refusal::SessionMismatch));
    assert_eq!(world.receive(theirs.session_id, &message).await, Ok(()));
}

// TOK-23, TOK-24
#[tokio::test]
async fn a_token_in_a_message_must_be_the_sessions_own() {
    let world = World::new();
    let (mine, theirs) = (session(&world).await, session(&world).await);
    let with = |token: &SessionToken| {
        let draft = Draft {
            session_id: mine.session_id,
            session_token: Some(token),
            ..draft(MessageType::TerminalInput, "{}")
        };
        seal(&draft, &secret(), now()).unwrap()
    };
    assert_eq!(world.receive(mine.session_id, &with(&mine)).await, Ok(()));
    assert_eq!(world.receive(mine.session_id, &with(&theirs)).await, Err(Refusal::SessionMismatch));
    let mut forged = mine.clone();
    forged.capabilities = all();
    assert_eq!(world.receive(mine.session_id, &with(&forged)).await, Err(Refusal::TokenInvalid));
}

// SES-22, SES-25
#[tokio::test]
async fn validating_a_message_answers_valid_or_why_not_and_tells_of_the_first_and_each_tenth() {
    let world = World::new();
    let message = sealed("{}");
    let first = world.check(&message).await;
    assert_eq!((first.valid, first.reason), (true, None));
    for _ in 0..25 {
        let again = world.check(&message).await;
        assert_eq!((again.valid, again.reason), (false, Some(Refusal::Replayed)));
    }
    let counts: Vec<_> = world
        .events
        .take()
        .into_iter()
        .map(|event| match event {
            Event::SecureMessageReplayDetected(facts) => facts.count,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [1, 10, 20]);
    assert_eq!(world.service.counts().replayed, 25);
}

// SES-25, SES-26
#[tokio::test]
async fn no_event_holds_a_payload_or_a_secret() {
    let world = World::new();
    let token = session(&world).await;
    let message = of(&token, MessageType::TerminalInput, r#"{"data":"hunter2"}"#);
    world.receive(token.session_id, &message).await.unwrap();
    world.receive(token.session_id, &message).await.unwrap_err();
    let other = MachineSecret::new("another secret of this machine").unwrap();
    world.service.validate_secure_message(message.as_bytes(), MACHINE, &other).await;
    let shown = format!("{:?}", world.events.take());
    assert!(shown.contains("HmacValidationFailed") && shown.contains("ReplayDetected"));
    for hidden in ["hunter2", MACHINE_SECRET, "another secret", "nonce", "8f4c2b9e"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

// TOK-13
#[tokio::test]
async fn a_service_keeps_the_nonces_of_a_machine_where_it_is_told() {
    let (folder, message) = (tempfile::tempdir().unwrap(), sealed("{}"));
    let path = folder.path().join("nonces");
    let limits = NonceLimits::from_settings(&settings());
    let file = adit_session::NonceFile::create(&path, adit_session::Durability::Process).unwrap();
    let before = World::new();
    before.service.keep_nonces(
        MACHINE,
        NonceHistory::with_log(limits, Box::new(file), Remembered::default()),
    );
    assert_eq!(before.check(&message).await.reason, None);

    let found = adit_session::NonceFile::open(&path, adit_session::Durability::Process).unwrap();
    let after = World::new();
    let history = NonceHistory::with_log(limits, Box::new(found.file) as Box<_>, found.remembered);
    after.service.keep_nonces(MACHINE, history);
    assert_eq!(after.check(&message).await.reason, Some(Refusal::Replayed));
}

// TOK-01
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_copies_at_the_same_moment_one_is_accepted() {
    let world = Arc::new(World::new());
    for _ in 0..50 {
        let message = sealed("{}");
        let copies: Vec<_> = (0..8)
            .map(|_| {
                let (world, message) = (Arc::clone(&world), message.clone());
                tokio::spawn(async move { world.check(&message).await.valid })
            })
            .collect();
        let mut accepted = 0;
        for copy in copies {
            accepted += u32::from(copy.await.unwrap());
        }
        assert_eq!(accepted, 1);
    }
}

// SES-14, SES-16
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_ends_at_the_same_moment_one_is_audited() {
    let world = Arc::new(World::new());
    let token = session(&world).await;
    let ends: Vec<_> = (0..16)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                world.service.end_session(token.session_id, EndReason::Killed).await
            })
        })
        .collect();
    for end in ends {
        end.await.unwrap().unwrap();
    }
    assert_eq!(world.names(), ["terminal_session_end"]);
}

struct NoEvents;

impl Events for NoEvents {
    fn record(&self, _: Event) -> impl Future<Output = Result<(), EventLost>> + Send {
        std::future::ready(Err(EventLost))
    }
}

// SES-11
#[tokio::test]
async fn without_its_audit_event_no_session_begins() {
    let world = World::new();
    let service = SessionService::new(
        settings(),
        Arc::clone(&world.access),
        Arc::clone(&world.clock),
        Arc::clone(&world.store),
        NoEvents,
    );
    let refused = service.issue_session_token(USER, MACHINE, Capabilities::default()).await;
    assert_eq!(refused, Err(IssueError::Event(EventLost)));
    assert!(service.get_active_sessions(None).await.unwrap().is_empty());
    service.validate_secure_message(b"{}", MACHINE, &secret()).await;
    assert_eq!(service.events_lost(), 1);
    let nothing = service.check_capability(SESSION, &Capability::INPUT).await;
    assert_eq!(nothing, Err(TokenRefusal::NotLive));
}
