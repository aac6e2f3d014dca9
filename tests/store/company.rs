use adit_domain::{IdentityId, PrincipalId, TeamId, Timestamp, TokenId};
use adit_store::{
    CompanyEntry, CompanyOutcome, CredentialKind, ExternalAccount, GroupTeams, Linked,
    LogoutOutcome, LogoutWord, NewCompanySignIn, NewCookie, Newcomer, Origin, SecretHash,
    SignInCaps, silent,
};
use uuid::Uuid;

use super::on_both;
use super::world::{NOW, World, later, some_hash, told, user_name};

on_both!(
    a_sign_in_on_its_way_comes_back_once_and_in_time,
    sign_ins_on_their_way_are_capped,
    an_account_makes_one_user_and_finds_it_again,
    a_removed_users_account_signs_nobody_in,
    an_account_is_linked_to_one_user_and_taken_away,
    an_account_is_asked_about_by_one_and_ends_with_its_sign_ins,
    a_word_of_logout_ends_what_it_names_and_counts_once,
    teams_follow_groups_and_leave_other_memberships,
);

const CAPS: SignInCaps = SignInCaps { client: 2, all: 3 };

fn departure(state: SecretHash, client: Option<&str>) -> NewCompanySignIn {
    NewCompanySignIn {
        state,
        browser: SecretHash([1; 32]),
        provider: "work".to_owned(),
        nonce: SecretHash([2; 32]),
        verifier: vec![3, 4],
        link: None,
        back: Some("/sessions".to_owned()),
        client: client.map(str::to_owned),
        at: NOW,
        expires_at: later(1_000),
    }
}

fn account(subject: &str) -> ExternalAccount {
    ExternalAccount {
        id: IdentityId(Uuid::now_v7()),
        provider: "work".to_owned(),
        subject: subject.to_owned(),
        name: subject.to_owned(),
        email: None,
        refresh: Some(vec![9]),
        sid: Some(format!("sid of {subject}")),
    }
}

/// Signs somebody in; gives the outcome and the cookie's hash.
async fn sign_in(
    world: &World,
    account: ExternalAccount,
    names: &[&str],
) -> (CompanyOutcome, SecretHash) {
    let hash = some_hash();
    let cookie = NewCookie {
        id: TokenId(Uuid::now_v7()),
        hash,
        prefix: "adc_abcd".to_owned(),
        name: "console".to_owned(),
        expires_at: later(1_000_000),
        origin: Origin::default(),
    };
    let names: Vec<_> = names.iter().map(|name| user_name(name)).collect();
    let id = PrincipalId(Uuid::now_v7());
    let newcomer = (!names.is_empty()).then_some(Newcomer { id, names });
    let entry = CompanyEntry { account, newcomer, cookie, teams: None };
    let outcome = world.tenant.sign_in_with_company(entry, NOW, told("sign_in")).await.unwrap();
    (outcome, hash)
}

async fn made(world: &World, subject: &str) -> (PrincipalId, SecretHash) {
    match sign_in(world, account(subject), &[subject]).await {
        (CompanyOutcome::Made(who, _), hash) => (who.id, hash),
        other => panic!("{other:?}"),
    }
}

async fn works(world: &World, cookie: SecretHash) -> bool {
    let found = world.store.find_credential(CredentialKind::Cookie, cookie, NOW).await;
    found.unwrap().is_some()
}

async fn a_sign_in_on_its_way_comes_back_once_and_in_time(world: World) {
    // BRW-26
    let (one, late) = (some_hash(), some_hash());
    for state in [one, late] {
        assert!(
            world.tenant.begin_company_sign_in(departure(state, None), CAPS, silent).await.unwrap()
        );
    }
    let take = async |provider, state, now: Timestamp| {
        world.tenant.take_company_sign_in(provider, state, now).await.unwrap()
    };
    assert!(take("other", one, NOW).await.is_none(), "another provider's");
    let other = world.other_tenant().await;
    assert!(other.take_company_sign_in("work", one, NOW).await.unwrap().is_none());
    let taken = take("work", one, NOW).await.unwrap();
    assert_eq!((taken.browser, taken.nonce), (SecretHash([1; 32]), SecretHash([2; 32])));
    assert_eq!((taken.verifier, taken.back.as_deref()), (vec![3, 4], Some("/sessions")));
    assert!(take("work", one, NOW).await.is_none(), "used");
    assert!(take("work", late, later(1_000)).await.is_none(), "too late");
}

async fn sign_ins_on_their_way_are_capped(world: World) {
    // BRW-45
    let begin = async |client, at| {
        let new = NewCompanySignIn { at, ..departure(some_hash(), client) };
        world.tenant.begin_company_sign_in(new, CAPS, silent).await.unwrap()
    };
    let (ann, bob) = (Some("192.0.2.1"), Some("192.0.2.2"));
    assert!(begin(ann, NOW).await && begin(ann, NOW).await);
    assert!(!begin(ann, NOW).await, "the cap of an address");
    assert!(begin(bob, NOW).await);
    assert!(!begin(None, NOW).await, "the cap of all");
    assert!(begin(ann, later(1_000)).await, "what ran out does not count");
}

async fn an_account_makes_one_user_and_finds_it_again(world: World) {
    // BRW-23
    world.user("ann").await;
    assert_eq!(sign_in(&world, account("s"), &[]).await.0, CompanyOutcome::Unknown);
    assert_eq!(sign_in(&world, account("s"), &["ann"]).await.0, CompanyOutcome::NamesTaken);
    let (outcome, cookie) = sign_in(&world, account("s"), &["ann", "ann-2"]).await;
    let CompanyOutcome::Made(who, _) = outcome else { panic!("{outcome:?}") };
    assert_eq!(who.name.name(), "ann-2");
    assert!(works(&world, cookie).await);
    let (again, _) = sign_in(&world, account("s"), &["ann-3"]).await;
    assert!(matches!(again, CompanyOutcome::Known(known, _) if known.id == who.id));
    let listed = world.tenant.list_identities(who.id).await.unwrap();
    assert_eq!((listed.len(), listed[0].last_used_at), (1, Some(NOW)));
    assert_eq!(world.verified().await.len(), 4);
}

async fn a_removed_users_account_signs_nobody_in(world: World) {
    // BRW-25
    let (who, cookie) = made(&world, "ann").await;
    world.tenant.deactivate_principal(who, NOW, silent).await.unwrap();
    assert!(!works(&world, cookie).await);
    let (outcome, cookie) = sign_in(&world, account("ann"), &["ann"]).await;
    assert!(matches!(outcome, CompanyOutcome::Inactive(known) if known.id == who));
    assert!(!works(&world, cookie).await);
}

async fn an_account_is_linked_to_one_user_and_taken_away(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let link = async |to| world.tenant.link_identity(to, account("s"), NOW, silent).await.unwrap();
    assert_eq!(link(ann).await, Linked::Linked);
    assert_eq!(link(ann).await, Linked::Already);
    assert_eq!(link(bob).await, Linked::Taken);
    let (_, cookie) = sign_in(&world, account("s"), &[]).await;
    let id = world.tenant.list_identities(ann).await.unwrap()[0].id;
    let other = world.other_tenant().await;
    assert!(other.unlink_identity(id, NOW, silent).await.unwrap().is_none());
    let gone = world.tenant.unlink_identity(id, NOW, silent).await.unwrap().unwrap();
    assert_eq!(gone.principal.id, ann);
    assert!(!works(&world, cookie).await);
    assert_eq!(link(bob).await, Linked::Linked);
}

async fn an_account_is_asked_about_by_one_and_ends_with_its_sign_ins(world: World) {
    let (_, cookie) = made(&world, "ann").await;
    let take = async |before, now| {
        world.tenant.take_identities_to_ask("work", before, now, 10).await.unwrap()
    };
    assert!(take(NOW - std::time::Duration::from_secs(1), NOW).await.is_empty(), "asked just now");
    let due = take(NOW, later(1)).await;
    assert_eq!((due.len(), &*due[0].subject, &due[0].refresh), (1, "ann", &vec![9]));
    assert!(take(NOW, later(1)).await.is_empty(), "somebody asks already");
    let kept = world.tenant.keep_identity(due[0].id, Some(vec![8]), None, NOW, silent).await;
    assert_eq!(kept.unwrap().unwrap().0.name.name(), "ann");
    assert_eq!(take(later(1), later(2)).await[0].refresh, vec![8]);
    let ended = world.tenant.end_identity(due[0].id, NOW, silent).await.unwrap().unwrap();
    assert_eq!(ended.sign_ins, 1);
    assert!(!works(&world, cookie).await);
    assert!(take(later(9), later(9)).await.is_empty(), "there is nothing to ask with");
}

async fn a_word_of_logout_ends_what_it_names_and_counts_once(world: World) {
    let (_, ann) = made(&world, "ann").await;
    let (_, bob) = made(&world, "bob").await;
    let say = async |provider: &str, subject: Option<&str>, sid: Option<&str>, hash: u8| {
        let word = LogoutWord {
            provider: provider.to_owned(),
            subject: subject.map(str::to_owned),
            sid: sid.map(str::to_owned),
            hash: SecretHash([hash; 32]),
            remembered_until: later(10),
        };
        world.tenant.end_company_sign_ins(word, NOW, silent).await.unwrap()
    };
    assert_eq!(say("other", Some("ann"), None, 1).await, LogoutOutcome::Ended(0));
    assert_eq!(say("work", Some("ann"), Some("sid of bob"), 2).await, LogoutOutcome::Ended(0));
    assert_eq!(say("work", Some("ann"), None, 3).await, LogoutOutcome::Ended(1));
    assert_eq!(say("work", Some("bob"), None, 3).await, LogoutOutcome::Repeated);
    assert!(!works(&world, ann).await && works(&world, bob).await);
    assert_eq!(say("work", None, Some("sid of bob"), 4).await, LogoutOutcome::Ended(1));
    assert!(!works(&world, bob).await);
}

async fn teams_follow_groups_and_leave_other_memberships(world: World) {
    // TERM-22
    let (ann, _) = made(&world, "ann").await;
    let id = world.tenant.list_identities(ann).await.unwrap()[0].id;
    let follow = async |names: &[&str], make| {
        let wanted = names.iter().map(|name| ((*name).to_owned(), TeamId(Uuid::now_v7())));
        let teams = Some(GroupTeams { wanted: wanted.collect(), make });
        let kept = world.tenant.keep_identity(id, None, teams, NOW, silent).await;
        kept.unwrap().unwrap().1
    };
    assert!(follow(&["eng"], false).await.joined.is_empty(), "no team is made");
    let changed = follow(&["eng", "ops"], true).await;
    assert_eq!((changed.made.len(), changed.joined), (2, vec!["eng".to_owned(), "ops".to_owned()]));
    let eng = world.tenant.find_team_named("eng").await.unwrap().unwrap().id;
    world.tenant.add_member(eng, ann, NOW, silent).await.unwrap();
    assert_eq!(follow(&["ops"], true).await.left, ["eng"]);
    let members = world.tenant.list_members(eng).await.unwrap();
    assert_eq!((members.len(), &*members[0].source), (1, "local"));
    let ended = world.tenant.end_identity(id, NOW, silent).await.unwrap().unwrap();
    assert_eq!(ended.teams.left, ["ops"]);
}
