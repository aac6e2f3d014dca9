use adit_domain::session::State;
use adit_domain::{Capabilities, Capability, Code, EndReason, PrincipalId, SessionId};
use adit_store::{Opening, Paging, SessionBytes, SessionEnd, SessionFilter, SessionNote, silent};
use futures_util::future::join_all;
use uuid::Uuid;

use super::on_both;
use super::world::{GATEWAY, NOW, World, later, open_session, told};

on_both!(
    of_ten_sessions_at_once_three_open,
    a_session_opens_once_with_the_rights_of_today,
    a_session_goes_the_way_of_its_states,
    the_first_end_counts,
    every_kind_of_end_reads_back,
    a_refresh_changes_the_rights_of_a_live_session,
    a_start_finds_the_sessions_that_lived,
    sessions_are_listed_by_what_is_asked,
);

const BYTES: SessionBytes = SessionBytes { input: 10, output: 2_000 };

async fn of_ten_sessions_at_once_three_open(world: World) {
    // TERM-6
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let mut reserved = Vec::new();
    for _ in 0..10 {
        reserved.push(world.ticket(ann, web).await.1);
    }
    let attempts = reserved.iter().map(|id| {
        let (tenant, open) = (world.tenant.clone(), open_session(*id, Some(3), NOW));
        tokio::spawn(async move { tenant.open_session(open, told("open")).await.unwrap() })
    });
    let outcomes: Vec<Opening> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    let opened = outcomes.iter().filter(|o| matches!(o, Opening::Opened(_))).count();
    let full = outcomes.iter().filter(|o| matches!(o, Opening::Full(live) if live.len() == 3));
    assert_eq!((opened, full.count()), (3, 7));
    let live = world.tenant.list_live_sessions_of(ann).await.unwrap();
    assert_eq!(live.len(), 3);
    let killed = EndReason::Because(Code::SessionKilled);
    world.tenant.end_session(live[0], killed, NOW, BYTES, silent).await.unwrap();
    let next = *reserved.iter().find(|id| !live.contains(id)).unwrap();
    let opened = world.tenant.open_session(open_session(next, Some(3), NOW), silent).await.unwrap();
    assert!(matches!(opened, Opening::Opened(_)), "a place that was freed is taken");
    let bob = world.user("bob").await;
    let (_, of_bob) = world.ticket(bob, web).await;
    let opened = world.tenant.open_session(open_session(of_bob, Some(3), NOW), silent).await;
    assert!(matches!(opened, Ok(Opening::Opened(_))), "another user's places are others");
}

async fn a_session_opens_once_with_the_rights_of_today(world: World) {
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let (_, id) = world.ticket(ann, web).await;
    let mut open = open_session(id, None, later(3));
    open.capabilities = Capabilities::of(&[Capability::TerminalView]);
    let opened = world.tenant.open_session(open.clone(), told("open")).await.unwrap();
    let Opening::Opened(session) = opened else { panic!("{opened:?}") };
    assert_eq!((session.state, session.started_at), (State::Opening, Some(later(3))));
    assert_eq!((session.capabilities, &session.grants), (open.capabilities, &open.grants));
    assert_eq!(session.command, ["sh", "-c", "echo \"a b\""]);
    assert_eq!(session.env, [("LANG".to_owned(), "C.UTF-8".to_owned())]);
    assert_eq!((session.gateway, session.cols, session.rows), (Some(GATEWAY), 80, 24));
    assert_eq!(session.principal.name.to_string(), "user:ann");
    assert_eq!(session.machine_label.as_str(), "web");
    assert_eq!(world.tenant.find_session(id).await.unwrap().as_ref(), Some(&*session));
    assert_eq!(world.tenant.open_session(open, silent).await.unwrap(), Opening::Gone);
    let nobody = open_session(SessionId(Uuid::nil()), None, NOW);
    assert_eq!(world.tenant.open_session(nobody, silent).await.unwrap(), Opening::Gone);
}

async fn a_session_goes_the_way_of_its_states(world: World) {
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let (_, id) = world.ticket(ann, web).await;
    let mark = async |state| world.tenant.mark_session(id, state, NOW, silent).await.unwrap();
    assert!(!mark(State::Live).await, "reserved is not opened by a link");
    world.tenant.open_session(open_session(id, None, NOW), silent).await.unwrap();
    assert!(!mark(State::Away).await);
    assert!(mark(State::Live).await);
    assert!(!mark(State::Live).await);
    assert!(mark(State::Away).await);
    assert!(mark(State::Live).await);
    assert!(!mark(State::Ended).await && !mark(State::Reserved).await);
    world.tenant.end_session(id, EndReason::Exited(0), NOW, BYTES, silent).await.unwrap();
    assert!(!mark(State::Live).await, "an end is final");
    let events = world.tenant.list_session_events(id).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["opened", "live", "away", "live", "ended"]);
    assert_eq!(events[4].detail, "The shell ended.");
}

async fn the_first_end_counts(world: World) {
    // R68
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let id = world.session(ann, web, NOW).await;
    let attempts = (0..20).map(|status| {
        let tenant = world.tenant.clone();
        tokio::spawn(async move {
            let reason = EndReason::Exited(status);
            tenant.end_session(id, reason, later(9), BYTES, told("session.ended")).await.unwrap()
        })
    });
    let outcomes: Vec<SessionEnd> =
        join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    let first: Vec<_> = outcomes
        .iter()
        .filter_map(|o| if let SessionEnd::First(session) = o { Some(session) } else { None })
        .collect();
    assert_eq!(first.len(), 1);
    let reason = first[0].reason.clone().unwrap();
    let before = outcomes.iter().filter(|o| **o == SessionEnd::Before(reason.clone())).count();
    assert_eq!(before, 19);
    assert_eq!(
        (first[0].ended_at, first[0].bytes_out, first[0].env.len()),
        (Some(later(9)), 2_000, 0)
    );
    let unknown = SessionId(Uuid::nil());
    let nobody = world.tenant.end_session(unknown, reason, NOW, BYTES, silent).await.unwrap();
    assert_eq!(nobody, SessionEnd::Unknown);
}

async fn every_kind_of_end_reads_back(world: World) {
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    for reason in [
        EndReason::Exited(0),
        EndReason::Exited(-1),
        EndReason::Signalled("KILL".to_owned()),
        EndReason::Because(Code::AccessRevoked),
        EndReason::Because(Code::SessionLostAgent),
    ] {
        let id = world.session(ann, web, NOW).await;
        world.tenant.end_session(id, reason.clone(), NOW, BYTES, silent).await.unwrap();
        let session = world.tenant.find_session(id).await.unwrap().unwrap();
        assert_eq!((session.state, session.reason), (State::Ended, Some(reason)));
    }
}

async fn a_refresh_changes_the_rights_of_a_live_session(world: World) {
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let id = world.session(ann, web, NOW).await;
    let less = Capabilities::of(&[Capability::TerminalView]);
    let refresh = async |rights| {
        world.tenant.refresh_session(id, (rights, vec![]), later(77), NOW, silent).await.unwrap()
    };
    assert!(refresh(less).await);
    let note = SessionNote { bytes: BYTES, cols: 132, rows: 50 };
    world.tenant.note_session(id, note).await.unwrap();
    let session = world.tenant.find_session(id).await.unwrap().unwrap();
    assert_eq!((session.capabilities, session.ends_at), (less, Some(later(77))));
    assert_eq!((session.grants.len(), session.cols, session.bytes_in), (0, 132, 10));
    let reason = EndReason::Exited(0);
    world.tenant.end_session(id, reason, NOW, SessionBytes::default(), silent).await.unwrap();
    assert!(!refresh(Capabilities::all()).await);
    let session = world.tenant.find_session(id).await.unwrap().unwrap();
    assert_eq!((session.capabilities, session.bytes_out), (less, 2_000));
}

async fn a_start_finds_the_sessions_that_lived(world: World) {
    // DESK-9
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let (opening, live) =
        (world.session(ann, web, NOW).await, world.session(ann, web, later(1)).await);
    let over = world.session(ann, web, later(2)).await;
    world.ticket(ann, web).await;
    world.tenant.mark_session(live, State::Live, NOW, silent).await.unwrap();
    world.tenant.end_session(over, EndReason::Exited(0), NOW, BYTES, silent).await.unwrap();
    let world = world.reopen().await;
    let found = world.store.list_unended_sessions().await.unwrap();
    let found: Vec<_> = found.into_iter().map(|session| (session.id, session.state)).collect();
    assert_eq!(found, [(opening, State::Opening), (live, State::Live)]);
}

async fn sessions_are_listed_by_what_is_asked(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let (web, db) = (world.machine("web").await, world.machine("db").await);
    let mut ids = Vec::new();
    for (number, (user, machine)) in
        [(ann, web), (ann, db), (bob, web), (bob, db)].into_iter().enumerate()
    {
        ids.push(world.session(user, machine, later(number as u64)).await);
    }
    world.ticket(ann, web).await;
    world.tenant.end_session(ids[3], EndReason::Exited(0), NOW, BYTES, silent).await.unwrap();
    let list = async |filter: SessionFilter| -> Vec<SessionId> {
        let page = world.tenant.list_sessions(&filter, &Paging::first(10)).await.unwrap();
        page.items.iter().map(|session| session.id).collect()
    };
    let all = SessionFilter::default;
    let of = |user: PrincipalId| SessionFilter { principal: Some(user), ..all() };
    assert_eq!(list(all()).await, [ids[3], ids[2], ids[1], ids[0]]);
    assert_eq!(list(SessionFilter { live: Some(true), ..all() }).await, [ids[2], ids[1], ids[0]]);
    assert_eq!(list(SessionFilter { live: Some(false), ..all() }).await, [ids[3]]);
    assert_eq!(list(SessionFilter { machine: Some(web), ..all() }).await, [ids[2], ids[0]]);
    assert_eq!(list(of(ann)).await, [ids[1], ids[0]]);
    assert_eq!(list(SessionFilter { live: Some(true), ..of(bob) }).await, [ids[2]]);
    let first = world.tenant.list_sessions(&all(), &Paging::first(3)).await.unwrap();
    let rest = Paging { cursor: first.next, limit: 3 };
    let second = world.tenant.list_sessions(&all(), &rest).await.unwrap();
    assert_eq!((second.items.len(), second.items[0].id, second.next), (1, ids[0], None));
}
