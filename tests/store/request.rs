use adit_domain::policy::Selection;
use adit_domain::{PrincipalId, RequestId};
use adit_store::{Decision, NewRequest, Paging, RequestState, silent};
use uuid::Uuid;

use super::on_both;
use super::world::{NOW, World, later, new_grant, told, verified};

on_both!(
    an_approved_request_is_a_grant,
    nobody_decides_about_themselves,
    a_request_is_decided_once,
    a_request_that_waited_too_long_is_over,
    requests_that_wait_are_bounded,
);

fn request(principal: PrincipalId) -> NewRequest {
    NewRequest {
        id: RequestId(Uuid::now_v7()),
        principal,
        role: "operator".to_owned(),
        labels: vec!["web".to_owned()],
        reason: "The preview is stuck.".to_owned(),
        seconds: 3600,
        expires_at: later(1_000),
        at: NOW,
    }
}

fn yes(by: PrincipalId, to: PrincipalId) -> Decision {
    let grant = Some(new_grant(to, "operator", Selection::All));
    Decision { by, note: Some("Go on.".to_owned()), grant, at: later(1) }
}

async fn an_approved_request_is_a_grant(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let asked = request(ann);
    let id = asked.id;
    assert!(world.tenant.add_request(asked, 5, told("request.add")).await.unwrap());
    let decided =
        world.tenant.decide_request(id, yes(bob, ann), told("request.approve")).await.unwrap();
    let decided = decided.unwrap();
    assert_eq!(decided.state, RequestState::Approved);
    assert_eq!(
        (decided.decided_by.as_deref(), decided.labels),
        (Some("bob"), vec!["web".to_owned()])
    );
    let facts = world.tenant.load_facts(ann).await.unwrap().unwrap();
    assert_eq!(Some(facts.grants[0].id), decided.grant);
    assert_eq!(verified(&world.store).await, ["request.add", "request.approve"]);
}

async fn nobody_decides_about_themselves(world: World) {
    let ann = world.user("ann").await;
    let asked = request(ann);
    let id = asked.id;
    world.tenant.add_request(asked, 5, silent).await.unwrap();
    assert_eq!(world.tenant.decide_request(id, yes(ann, ann), silent).await.unwrap(), None);
    assert_eq!(world.tenant.load_facts(ann).await.unwrap().unwrap().grants.len(), 0);
}

async fn a_request_is_decided_once(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let asked = request(ann);
    let id = asked.id;
    world.tenant.add_request(asked, 5, silent).await.unwrap();
    let no = Decision { grant: None, ..yes(bob, ann) };
    let denied = world.tenant.decide_request(id, no, silent).await.unwrap().unwrap();
    assert_eq!((denied.state, denied.grant), (RequestState::Denied, None));
    assert_eq!(world.tenant.decide_request(id, yes(bob, ann), silent).await.unwrap(), None);
    assert!(!world.tenant.withdraw_request(id, ann, later(2), silent).await.unwrap());
    assert_eq!(world.tenant.load_facts(ann).await.unwrap().unwrap().grants.len(), 0);
}

async fn a_request_that_waited_too_long_is_over(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let asked = request(ann);
    let id = asked.id;
    world.tenant.add_request(asked, 5, silent).await.unwrap();
    let late = Decision { at: later(1_000), ..yes(bob, ann) };
    assert_eq!(world.tenant.decide_request(id, late, silent).await.unwrap(), None);
}

async fn requests_that_wait_are_bounded(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let first = request(ann);
    let id = first.id;
    assert!(world.tenant.add_request(first, 2, silent).await.unwrap());
    assert!(world.tenant.add_request(request(ann), 2, silent).await.unwrap());
    assert!(!world.tenant.add_request(request(ann), 2, silent).await.unwrap());
    assert!(world.tenant.add_request(request(bob), 2, silent).await.unwrap());
    assert!(world.tenant.withdraw_request(id, ann, later(1), silent).await.unwrap());
    assert!(world.tenant.add_request(request(ann), 2, silent).await.unwrap());
    assert_eq!(
        world.tenant.list_requests(Some(ann), &Paging::first(2)).await.unwrap().items.len(),
        2
    );
    assert_eq!(world.tenant.list_requests(None, &Paging::first(9)).await.unwrap().items.len(), 4);
}
