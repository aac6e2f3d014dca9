//! Who guesses passwords learns nothing, waits, and locks nobody out.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_testkit::{Answer, Api, TestGateway};
use serde_json::json;

use crate::http::sign_in_password::{CHEAP, PASSWORD, sign_in, somebody};

/// Gives the API as a caller on another address of this machine has it.
fn from(api: &Api, last: u8) -> Api {
    let client = reqwest::Client::builder()
        .no_proxy()
        .local_address(IpAddr::from([127, 0, 0, last]))
        .build()
        .unwrap();
    let mut other = api.clone();
    other.client = client;
    other
}

/// Everything of an answer that could tell, but for the time of day.
fn shape(answer: &Answer) -> (u16, String, String) {
    let mut headers = answer.headers.clone();
    // What is every answer's own.
    headers.remove("date");
    headers.remove("traceresponse");
    (answer.status.as_u16(), answer.text.clone(), format!("{headers:?}"))
}

/// Reads a counter of `/metrics`.
async fn counter(api: &Api, name: &str) -> u64 {
    let metrics = api.get("/metrics").await.text;
    let line = metrics.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn a_refused_password_tells_nothing_of_the_user() {
    // BRW-44
    const ROUNDS: u8 = 25;
    let gateway = TestGateway::start();
    somebody(&gateway, "wrong").await;
    let gone = somebody(&gateway, "gone").await;
    gateway.admin.delete(&format!("/api/v1/users/{}", gone.id)).await;
    gateway.user("linked", "operator", None).await;
    let kinds = ["wrong", "gone", "linked", "unknown"];
    let mut times = [const { Vec::new() }; 4];
    let mut shapes = Vec::new();
    let before = counter(&gateway.admin, "adit_passwords_checked_total").await;
    for round in 0..ROUNDS {
        let api = from(&gateway.admin, 2 + round % 12);
        for (kind, times) in kinds.iter().zip(&mut times) {
            let begun = Instant::now();
            let answer = sign_in(&api, kind, "no such password at all").await;
            times.push(begun.elapsed());
            shapes.push(shape(&answer));
        }
    }
    assert_eq!(shapes[0].0, 401);
    assert!(shapes.iter().all(|one| *one == shapes[0]), "{shapes:#?}");
    let after = counter(&gateway.admin, "adit_passwords_checked_total").await;
    assert_eq!(after - before, u64::from(ROUNDS) * 4, "each costs one check by Argon2");
    let medians = times.map(median);
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    assert!(*most < *least * 2, "{medians:?}");
}

#[tokio::test]
async fn who_is_wrong_too_often_waits_and_the_user_gets_in_from_elsewhere() {
    // BRW-45
    let gateway = TestGateway::start_with(CHEAP);
    somebody(&gateway, "ann").await;
    let guesser = from(&gateway.admin, 2);
    for _ in 0..10 {
        assert_eq!(sign_in(&guesser, "ann", "not the password").await.status, 401);
    }
    let limited = sign_in(&guesser, "ann", "not the password").await;
    assert_eq!((limited.status.as_u16(), &*limited.code()), (429, "auth.limited"));
    let wait: u64 = limited.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(sign_in(&guesser, "ann", PASSWORD).await.status, 429, "right or wrong");
    assert_eq!(sign_in(&from(&gateway.admin, 3), "ann", PASSWORD).await.status, 200);
    let told = gateway.events("sign_in.refused").await;
    let told = told.iter().filter(|event| event["details"]["code"] == "auth.limited").count();
    assert_eq!(told, 1, "who knocks on a closed door does not fill the log");
}

#[tokio::test]
async fn one_address_does_not_try_one_password_on_everybody() {
    // BRW-45
    let gateway = TestGateway::start_with(CHEAP);
    somebody(&gateway, "ann").await;
    let guesser = from(&gateway.admin, 2);
    let mut statuses = Vec::new();
    for n in 0..50 {
        statuses.push(sign_in(&guesser, &format!("user{n}"), PASSWORD).await.status.as_u16());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 40, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
    assert_eq!(sign_in(&from(&gateway.admin, 3), "ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn many_addresses_together_do_not_lock_a_user_out_of_a_known_one() {
    // BRW-45
    let gateway = TestGateway::start_with(CHEAP);
    somebody(&gateway, "ann").await;
    let home = from(&gateway.admin, 100);
    assert_eq!(sign_in(&home, "ann", PASSWORD).await.status, 200);
    let mut last = 0;
    for n in 0..60 {
        let guesser = from(&gateway.admin, 2 + n % 10);
        last = sign_in(&guesser, "ann", "not the password").await.status.as_u16();
    }
    assert_eq!(last, 429);
    let stranger = sign_in(&from(&gateway.admin, 90), "ann", "not the password").await;
    assert_eq!(stranger.status, 429);
    assert_eq!(sign_in(&home, "ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_hundred_sign_ins_at_once_leave_the_gateway_quick() {
    // RES-14
    let gateway = TestGateway::start();
    somebody(&gateway, "ann").await;
    let tries: Vec<_> = (0..100)
        .map(|n| {
            let api = gateway.admin.clone();
            let name = format!("user{n}");
            tokio::spawn(async move { sign_in(&api, &name, "no such password at all").await })
        })
        .collect();
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        assert_eq!(gateway.admin.get("/health").await.status, 200);
        times.push(begun.elapsed());
    }
    let mut refused = 0;
    for one in tries {
        let answer = one.await.unwrap();
        match answer.status.as_u16() {
            401 => {}
            429 | 503 => {
                refused += 1;
                assert!(answer.headers.contains_key("retry-after"), "{}", answer.text);
            }
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert!(refused >= 60, "{refused}");
    assert!(median(times.clone()) < Duration::from_millis(200), "{times:?}");
    assert_eq!(json!(gateway.admin.get("/health").await.json()["status"]), "ok");
}
