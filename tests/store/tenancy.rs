use std::collections::BTreeMap;

use adit_domain::policy::Selection;
use adit_domain::session::State;
use adit_domain::{Code, EndReason};
use adit_store::{
    CredentialKind, Deletion, EventFilter, Paging, RecordingFilter, SessionBytes, SessionEnd,
    SessionFilter, TenantStore, silent,
};

use super::on_both;
use super::world::{NOW, World, event, new_grant, new_key, user_name, user_of};

on_both!(
    one_tenant_sees_nothing_of_another,
    one_tenant_changes_nothing_of_another,
    both_tenants_may_use_the_same_names,
    every_table_says_whose_row_it_is,
    recordings_and_events_outlive_what_they_tell_of,
);

async fn one_tenant_sees_nothing_of_another(world: World) {
    // DESK-7
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let session = world.session(ann, web, NOW).await;
    let grant = new_grant(ann, "admin", Selection::All);
    world.tenant.add_grant(grant.clone(), silent).await.unwrap();
    world.tenant.append_events(vec![event("e")]).await.unwrap();
    world.tenant.set_setting("theme", "dark", NOW, silent).await.unwrap();
    assert_eq!(seen(&world.tenant).await, 6);
    let other = world.other_tenant().await;
    assert_eq!(seen(&other).await, 0);
    assert_eq!(other.find_principal(ann).await.unwrap(), None);
    assert_eq!(other.find_principal_named(&user_name("ann")).await.unwrap(), None);
    assert!(other.load_facts(ann).await.unwrap().is_none());
    assert_eq!(other.find_grant(grant.id).await.unwrap(), None);
    assert_eq!(other.find_machine(web).await.unwrap(), None);
    assert_eq!(other.find_machine_labelled(&"web".parse().unwrap()).await.unwrap(), None);
    assert_eq!(other.find_session(session).await.unwrap(), None);
    assert_eq!(other.list_live_sessions_of(ann).await.unwrap(), []);
    assert_eq!(other.list_session_events(session).await.unwrap(), []);
    assert_eq!(other.find_recording(session).await.unwrap(), None);
    assert_eq!(other.find_setting("theme").await.unwrap(), None);
}

/// Counts what a tenant sees in its lists.
async fn seen(tenant: &TenantStore) -> usize {
    let paging = Paging::first(100);
    let kind = CredentialKind::ApiToken;
    let people = tenant.list_principals(&paging).await.unwrap().items;
    let mut credentials = 0;
    for account in &people {
        let list = tenant.list_credentials(account.principal.id, kind, &paging).await.unwrap();
        credentials += list.items.len();
    }
    people.len()
        + credentials
        + tenant.list_grants(None, &paging).await.unwrap().items.len()
        + tenant.list_machines(&paging).await.unwrap().items.len()
        + tenant.list_sessions(&SessionFilter::default(), &paging).await.unwrap().items.len()
        + tenant.list_recordings(&RecordingFilter::default(), &paging).await.unwrap().items.len()
        + tenant.list_events(&EventFilter::default(), &paging).await.unwrap().items.len()
}

async fn one_tenant_changes_nothing_of_another(world: World) {
    // DESK-7
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let session = world.session(ann, web, NOW).await;
    let grant = new_grant(ann, "admin", Selection::All);
    world.tenant.add_grant(grant.clone(), silent).await.unwrap();
    let other = world.other_tenant().await;
    let reason = EndReason::Because(Code::SessionKilled);
    let end = other.end_session(session, reason, NOW, SessionBytes::default(), silent).await;
    assert_eq!(end.unwrap(), SessionEnd::Unknown);
    assert!(!other.mark_session(session, State::Live, NOW, silent).await.unwrap());
    assert!(!other.deactivate_principal(ann, NOW, silent).await.unwrap());
    assert_eq!(other.remove_grant(grant.id, NOW, silent).await.unwrap(), None);
    assert_eq!(other.remove_machine(web, NOW, silent).await.unwrap(), None);
    assert!(!other.describe_machine(web, &BTreeMap::new(), None, silent).await.unwrap());
    assert!(!other.add_machine_key(web, new_key(), NOW, silent).await.unwrap());
    assert_eq!(other.revoke_tickets_of(session, NOW, silent).await.unwrap(), 0);
    assert_eq!(other.revoke_credentials_of(ann, NOW, silent).await.unwrap(), 0);
    let deletion = Deletion { at: NOW, by: "user:eve".to_owned() };
    assert!(!other.delete_recording(session, deletion, silent).await.unwrap());
    assert!(other.add_grant(new_grant(ann, "admin", Selection::All), silent).await.is_err());
    assert_eq!(seen(&world.tenant).await, 5);
    assert_eq!(seen(&other).await, 0);
}

async fn both_tenants_may_use_the_same_names(world: World) {
    let other = world.other_tenant().await;
    let (ours, theirs) = (world.user("ann").await, user_of(&other, "ann").await);
    assert_ne!(ours, theirs);
    assert_eq!(world.store.list_tenants().await.unwrap(), [world.tenant.id(), other.id()]);
}

async fn every_table_says_whose_row_it_is(world: World) {
    // DESK-7 DESK-8
    let sqlite = "SELECT name FROM sqlite_schema s WHERE type = 'table' AND name NOT LIKE 'sqlite%' \
         AND NOT EXISTS (SELECT 1 FROM pragma_table_info(s.name) c WHERE c.name = 'tenant_id') ORDER BY name";
    let postgres = "SELECT table_name FROM information_schema.tables t WHERE table_schema = 'public' AND NOT EXISTS \
         (SELECT 1 FROM information_schema.columns c WHERE c.table_name = t.table_name AND c.column_name = 'tenant_id') ORDER BY 1";
    let without = match world.database {
        super::database::Database::Sqlite(_) => world.database.tamper(sqlite),
        _ => world.database.tamper(postgres),
    };
    assert_eq!(without, "schema_steps\ntenants");
}

async fn recordings_and_events_outlive_what_they_tell_of(world: World) {
    // DESK-8
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    let session = world.session(ann, web, NOW).await;
    world.tenant.append_events(vec![event("e")]).await.unwrap();
    let on = match world.database {
        super::database::Database::Sqlite(_) => "PRAGMA foreign_keys = ON; ",
        _ => "",
    };
    world.database.tamper(&format!("{on}DELETE FROM principals; DELETE FROM machines"));
    assert_eq!(world.tenant.find_session(session).await.unwrap(), None);
    assert!(world.tenant.find_recording(session).await.unwrap().is_some());
    assert_eq!(world.verified().await, ["e"]);
    for emptied in ["sessions", "session_events", "tickets", "machine_keys"] {
        assert_eq!(world.database.tamper(&format!("SELECT count(*) FROM {emptied}")), "0");
    }
}
