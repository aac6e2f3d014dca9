//! Rate limits of a service's sessions.

use std::time::Duration;

use adit_session::{Capabilities, MessageType, Refusal, RetryAfter, SessionToken, seal};

use super::*;

impl World {
    async fn open_session(&self) -> SessionToken {
        self.service.issue_session_token(USER, MACHINE, Capabilities::default()).await.unwrap()
    }

    fn message(&self, session_id: Uuid) -> String {
        let draft = Draft { session_id, ..draft(MessageType::TerminalInput, "{}") };
        seal(&draft, &secret(), now()).unwrap()
    }
}

// SES-30, SES-31, TOK-25
#[tokio::test]
async fn of_two_hundred_messages_at_once_the_first_hundred_and_twenty_are_accepted() {
    let world = World::new();
    let session = world.open_session().await.session_id;
    let mut outcomes = Vec::new();
    for _ in 0..200 {
        outcomes.push(world.receive(session, &world.message(session)).await);
    }
    assert!(outcomes[..120].iter().all(Result::is_ok));
    let limited = Refusal::RateLimited(RetryAfter(Duration::from_millis(10)));
    assert!(outcomes[120..].iter().all(|outcome| *outcome == Err(limited)));
    assert_eq!(limited.peer_code(), "rate_limited");
}

// SES-31
#[tokio::test]
async fn a_message_that_was_rate_limited_is_accepted_when_it_comes_again() {
    let world = World::new();
    let session = world.open_session().await.session_id;
    for _ in 0..120 {
        world.receive(session, &world.message(session)).await.unwrap();
    }
    let held = world.message(session);
    let Err(Refusal::RateLimited(RetryAfter(wait))) = world.receive(session, &held).await else {
        panic!("the limit is reached");
    };
    world.clock.advance(wait);
    assert_eq!(world.receive(session, &held).await, Ok(()));
    world.clock.advance(wait);
    assert_eq!(world.receive(session, &held).await, Err(Refusal::Replayed));
}

// SES-30
#[tokio::test]
async fn the_info_says_what_is_left() {
    let world = World::new();
    let session = world.open_session().await.session_id;
    for _ in 0..123 {
        let _ = world.service.record_message(session, 1).await;
    }
    world.clock.advance(Duration::from_millis(50));
    let info = world.service.get_rate_limit_info(session).await.unwrap().unwrap();
    assert_eq!((info.tokens_available, info.capacity, info.times_exceeded), (5, 120, 3));
    assert_eq!(info.last_refill, now());
}

// SES-32
#[tokio::test]
async fn every_tenth_refusal_is_an_event() {
    let world = World::new();
    let session = world.open_session().await.session_id;
    for _ in 0..120 + 35 {
        let _ = world.service.record_message(session, 1).await;
    }
    let counts: Vec<_> = world
        .events
        .take()
        .into_iter()
        .filter_map(|event| match event {
            adit_session::Event::RateLimitExceeded { times_exceeded, session_id, .. } => {
                assert_eq!(session_id, session);
                Some(times_exceeded)
            }
            _ => None,
        })
        .collect();
    assert_eq!(counts, [10, 20, 30]);
}

// TOK-26
#[tokio::test]
async fn fifty_sessions_of_one_user_do_not_send_fifty_times_as_much() {
    let world = World::new();
    let mut accepted = 0;
    for _ in 0..50 {
        let session = world.open_session().await.session_id;
        for _ in 0..120 {
            accepted += usize::from(world.service.record_message(session, 64).await.is_ok());
        }
    }
    assert_eq!(accepted, 10 * 120);
}

// TOK-26
#[tokio::test]
async fn bytes_are_limited_as_messages_are() {
    let world = World::new();
    let session = world.open_session().await.session_id;
    let mut accepted = 0;
    for _ in 0..50 {
        accepted += usize::from(world.service.record_message(session, 1024 * 1024).await.is_ok());
    }
    assert_eq!(accepted, 8);
}

// SES-30
#[tokio::test]
async fn a_session_that_is_over_its_limit_slows_no_other() {
    let world = World::new();
    let (one, other) = (world.open_session().await, world.open_session().await);
    while world.service.record_message(one.session_id, 1).await.is_ok() {}
    assert_eq!(world.service.record_message(other.session_id, 1).await, Ok(()));
}

// SES-15, SES-30
#[tokio::test]
async fn messages_of_an_expired_or_ended_session_are_refused() {
    let world = World::new();
    let session = world.open_session().await.session_id;
    world.clock.advance(Duration::from_secs(300));
    let refused = world.service.record_message(session, 1).await;
    assert_eq!(refused, Err(Refusal::SessionExpired));
    world.service.end_session(session, adit_session::EndReason::Ended).await.unwrap();
    let refused = world.service.record_message(session, 1).await;
    assert_eq!(refused, Err(Refusal::SessionNotLive));
}
