//! Session tokens: issue, validate, refresh, end.

use std::time::Duration;

use adit_session::{
    AccessRefusal, BadToken, Capabilities, Capability, EndReason, Event, IssueError, SecretKey,
    SessionToken, TokenRefusal, ValidSession,
};

use super::*;

impl World {
    async fn issue(&self) -> SessionToken {
        self.service.issue_session_token(USER, MACHINE, Capabilities::default()).await.unwrap()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn validate(&self, token: &SessionToken) -> Result<ValidSession, TokenRefusal> {
        let plain = self.service.validate_session_token(token).await;
        let json = self.service.validate_session_token_json(token.to_json().as_bytes()).await;
        assert_eq!(plain.as_ref().err(), json.as_ref().err());
        json
    }
}

// SES-10
#[tokio::test]
async fn a_token_says_who_where_until_when_and_what() {
    let token = World::new().issue().await;
    assert_eq!((token.user_id, token.machine_id), (USER, MACHINE));
    assert_eq!((token.issued_at, token.expires_at), (NOW_SECONDS, NOW_SECONDS + 300));
    let names: Vec<_> = token.capabilities.iter().map(Capability::as_str).collect();
    assert_eq!(names, ["spawn", "input", "resize"]);
    assert_eq!(token.session_id.get_version_num(), 4);
}

// SES-11
#[tokio::test]
async fn without_access_nothing_is_made_and_the_refusal_is_audited() {
    let world = World::new();
    let stranger = Uuid::from_u128(77);
    let watcher = Uuid::from_u128(78);
    world.access.grant(watcher, MACHINE, Capabilities::new([Capability::VIEW]).unwrap());
    world.access.grant(stranger, OTHER_MACHINE, all());
    let gone = Uuid::from_u128(79);
    world.access.grant(gone, MACHINE, all());
    world.access.deactivate(gone);
    let cases = [
        (USER, Uuid::from_u128(5), AccessRefusal::UnknownMachine),
        (gone, MACHINE, AccessRefusal::InactiveUser),
        (watcher, MACHINE, AccessRefusal::ViewerRole),
        (stranger, MACHINE, AccessRefusal::NoGrant),
    ];
    for (user, machine, reason) in cases {
        let refused =
            world.service.issue_session_token(user, machine, Capabilities::default()).await;
        assert_eq!(refused, Err(IssueError::Access(reason)));
        let audited = Event::SessionRefused {
            user_id: user,
            machine_id: machine,
            session_id: None,
            reason,
            at: NOW_SECONDS,
        };
        assert_eq!(world.events.take(), [audited]);
    }
    assert!(world.service.get_active_sessions(None).await.unwrap().is_empty());
}

// SES-12, TOK-18
#[tokio::test]
async fn a_session_does_what_it_may_and_nothing_else() {
    let world = World::new();
    let view = Capabilities::new([Capability::VIEW, Capability::RESIZE]).unwrap();
    let token = world.service.issue_session_token(USER, MACHINE, view).await.unwrap();
    for (capability, may) in [
        (Capability::VIEW, true),
        (Capability::RESIZE, true),
        (Capability::INPUT, false),
        (Capability::SPAWN, false),
        (Capability::EXEC, false),
    ] {
        let outcome = world.service.check_capability(token.session_id, &capability).await.map(drop);
        assert_eq!(outcome, if may { Ok(()) } else { Err(TokenRefusal::CapabilityMissing) });
    }
}

// SES-13, TOK-20
#[tokio::test]
async fn a_token_is_good_for_its_time_and_not_a_second_more() {
    let world = World::new();
    let token = world.issue().await;
    world.pass(239);
    assert_eq!(world.validate(&token).await.unwrap().refreshed, None);
    world.pass(62);
    assert_eq!(world.validate(&token).await, Err(TokenRefusal::Expired));
    let outcome = world.service.check_capability(token.session_id, &Capability::INPUT).await;
    assert_eq!(outcome, Err(TokenRefusal::Expired));
}

// SES-7, SES-13, TOK-20
#[tokio::test]
async fn an_active_user_gets_a_newer_token_when_sixty_seconds_are_left() {
    let world = World::new();
    let token = world.issue().await;
    world.pass(240);
    let newer = world.validate(&token).await.unwrap().refreshed.unwrap();
    assert_eq!(newer.expires_at, NOW_SECONDS + 240 + 300);
    assert_eq!((newer.session_id, newer.issued_at), (token.session_id, token.issued_at));
    world.pass(61);
    assert_eq!(world.validate(&token).await, Err(TokenRefusal::Expired));
    assert_eq!(world.validate(&newer).await.unwrap().refreshed, None);
}

// SES-13, TOK-20, TOK-21
#[tokio::test]
async fn a_refresh_asks_for_the_access_again_and_a_no_ends_the_session() {
    let world = World::new();
    let token = world.issue().await;
    world.access.revoke(USER, MACHINE);
    world.pass(240);
    let refused = world.service.validate_session_token(&token).await;
    assert_eq!(refused, Err(TokenRefusal::AccessLost(AccessRefusal::NoGrant)));
    assert_eq!(world.validate(&token).await, Err(TokenRefusal::NotLive));
    assert_eq!(
        world.names(),
        ["terminal_session_start", "session.refused", "terminal_session_end"]
    );
}

// TOK-20
#[tokio::test]
async fn no_refresh_goes_past_the_longest_length() {
    let mut settings = settings();
    settings.session_length_max = Duration::from_secs(1000);
    let world = World::with(settings);
    let mut token = world.issue().await;
    for _ in 0..3 {
        world.pass(250);
        token = world.validate(&token).await.unwrap().refreshed.unwrap();
    }
    assert_eq!(token.expires_at, NOW_SECONDS + 1000);
    world.pass(249);
    assert_eq!(world.validate(&token).await.unwrap().refreshed, None);
    world.pass(1);
    assert!(world.validate(&token).await.is_err());
    assert!(world.service.resume_session(token.session_id, USER).await.is_err());
    world.service.end_expired_sessions().await.unwrap();
    let ended = world.events.take().pop().unwrap();
    assert!(matches!(
        ended,
        Event::TerminalSessionEnd { reason: EndReason::LengthLimit, length_seconds: 1000, .. }
    ));
}

// TOK-24
#[tokio::test]
async fn a_changed_token_is_refused_in_both_forms() {
    let world = World::new();
    let json = world.issue().await.to_json();
    let changes = [
        json.replace(&(NOW_SECONDS + 300).to_string(), &(NOW_SECONDS + 900).to_string()),
        json.replace("\"input\"", "\"exec\""),
        json.replace("\"spawn\",", ""),
        json.replace(&USER.to_string(), &Uuid::from_u128(1).to_string()),
        json.replace(&MACHINE.to_string(), &OTHER_MACHINE.to_string()),
    ];
    for changed in changes {
        assert_ne!(changed, json);
        let token = SessionToken::from_json(changed.as_bytes()).unwrap();
        assert_eq!(world.validate(&token).await, Err(TokenRefusal::BadSignature));
    }
    for shapeless in ["", "{}", "null", &json[..json.len() - 1], &json.replace("signature", "sig")]
    {
        assert_eq!(SessionToken::from_json(shapeless.as_bytes()), Err(BadToken));
        let refused = world.service.validate_session_token_json(shapeless.as_bytes()).await;
        assert_eq!(refused, Err(TokenRefusal::BadSignature));
    }
}

// TOK-24
#[tokio::test]
async fn a_token_of_another_tenant_or_another_secret_is_refused() {
    let world = World::new();
    let token = world.issue().await;
    let other = |tenant: u128, settings| {
        SessionService::for_tenant(
            Uuid::from_u128(tenant),
            settings,
            Arc::clone(&world.access),
            Arc::clone(&world.clock),
            Arc::clone(&world.store),
            Arc::clone(&world.events),
        )
    };
    assert!(other(0, settings()).validate_session_token(&token).await.is_ok());
    let refused = other(7, settings()).validate_session_token(&token).await;
    assert_eq!(refused, Err(TokenRefusal::BadSignature));
    let stolen = Settings::new(SecretKey::generate().unwrap());
    let refused = other(0, stolen).validate_session_token(&token).await;
    assert_eq!(refused, Err(TokenRefusal::BadSignature));
}

// SES-14
#[tokio::test]
async fn sessions_are_found_by_id_and_by_user() {
    let world = World::new();
    let other = Uuid::from_u128(5);
    world.access.grant(other, MACHINE, all());
    let (mine, token) = (world.issue().await, world.issue().await);
    let theirs = world.service.issue_session_token(other, MACHINE, all()).await.unwrap();
    assert_eq!(world.service.get_session_token(token.session_id).await.unwrap(), Some(token));
    assert_eq!(world.service.get_session_token(Uuid::from_u128(1)).await.unwrap(), None);
    assert_eq!(world.service.get_active_sessions(None).await.unwrap().len(), 3);
    let listed = world.service.get_active_sessions(Some(other)).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.session_id).collect::<Vec<_>>(), [theirs.session_id]);
    assert!(world.service.get_rate_limit_info(mine.session_id).await.unwrap().is_some());
    assert_eq!(world.service.get_rate_limit_info(Uuid::from_u128(1)).await.unwrap(), None);
}

// SES-14, SES-15, SES-16
#[tokio::test]
async fn ending_twice_or_ending_nothing_is_no_error_and_one_event() {
    let world = World::new();
    let token = world.issue().await;
    world.events.take();
    world.pass(42);
    assert!(world.service.end_session(token.session_id, EndReason::Killed).await.unwrap());
    assert!(!world.service.end_session(token.session_id, EndReason::Ended).await.unwrap());
    assert!(!world.service.end_session(Uuid::from_u128(1), EndReason::Ended).await.unwrap());
    assert_eq!(world.validate(&token).await, Err(TokenRefusal::NotLive));
    let ended = Event::TerminalSessionEnd {
        session_id: token.session_id,
        user_id: USER,
        machine_id: MACHINE,
        reason: EndReason::Killed,
        length_seconds: 42,
        at: NOW_SECONDS + 42,
    };
    assert_eq!(world.events.take(), [ended]);
}

// SES-15
#[tokio::test]
async fn an_expired_session_ends_after_its_grace() {
    let world = World::new();
    let token = world.issue().await;
    world.pass(359);
    assert!(world.service.end_expired_sessions().await.unwrap().is_empty());
    world.pass(1);
    assert!(world.service.get_active_sessions(None).await.unwrap().is_empty());
    let ended = world.service.end_expired_sessions().await.unwrap();
    assert_eq!(ended[0].session_id, token.session_id);
    assert!(world.service.end_expired_sessions().await.unwrap().is_empty());
    assert_eq!(world.names(), ["terminal_session_start", "terminal_session_end"]);
}

// SES-13
#[tokio::test]
async fn who_comes_back_within_the_grace_gets_a_new_token_of_the_same_session() {
    let world = World::new();
    let token = world.issue().await;
    world.pass(350);
    assert_eq!(world.validate(&token).await, Err(TokenRefusal::Expired));
    let stranger = world.service.resume_session(token.session_id, Uuid::from_u128(5)).await;
    assert_eq!(stranger, Err(TokenRefusal::NotLive));
    let newer = world.service.resume_session(token.session_id, USER).await.unwrap();
    assert_eq!(newer.session_id, token.session_id);
    assert!(world.validate(&newer).await.is_ok());
    world.access.revoke(USER, MACHINE);
    let refused = world.service.resume_session(token.session_id, USER).await;
    assert_eq!(refused, Err(TokenRefusal::AccessLost(AccessRefusal::NoGrant)));
}

// SES-13
#[tokio::test]
async fn a_clock_set_back_does_not_bring_tokens_from_the_future() {
    let world = World::new();
    let token = world.issue().await;
    world.clock.set_wall(now() - Duration::from_secs(60));
    assert!(world.validate(&token).await.is_ok());
    world.clock.set_wall(now() - Duration::from_secs(61));
    assert_eq!(world.validate(&token).await, Err(TokenRefusal::FromTheFuture));
}

// SES-13, TOK-21
#[tokio::test]
async fn a_token_seen_before_is_refused_as_soon_as_its_session_ends() {
    let world = World::new();
    let json = world.issue().await.to_json();
    for _ in 0..3 {
        assert!(world.service.validate_session_token_json(json.as_bytes()).await.is_ok());
    }
    let id = SessionToken::from_json(json.as_bytes()).unwrap().session_id;
    world.service.end_session(id, EndReason::Killed).await.unwrap();
    let refused = world.service.validate_session_token_json(json.as_bytes()).await;
    assert_eq!(refused, Err(TokenRefusal::NotLive));
}
