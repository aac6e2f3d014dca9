use adit_domain::SessionId;
use adit_store::{Deletion, FinishedRecording, Paging, RecordingFilter, RecordingState, silent};

use super::on_both;
use super::world::{NOW, World, later};

on_both!(
    a_recording_tells_of_its_session,
    a_recording_is_finished_once,
    a_deleted_recording_leaves_its_hash,
    recordings_are_listed_by_what_is_asked,
    a_start_finds_the_recordings_that_ran,
);

fn finished(state: RecordingState) -> FinishedRecording {
    let hash = Some([7; 32]);
    FinishedRecording { state, bytes: 5_000, length_ms: 61_000, hash, at: later(61_000) }
}

async fn recorded(world: &World) -> SessionId {
    let (ann, web) = (world.user("ann").await, world.machine("web").await);
    world.session(ann, web, NOW).await
}

async fn a_recording_tells_of_its_session(world: World) {
    let id = recorded(&world).await;
    let recording = world.tenant.find_recording(id).await.unwrap().unwrap();
    assert_eq!(recording.principal.name.to_string(), "user:ann");
    assert_eq!(recording.machine_label.as_str(), "web");
    assert_eq!((recording.state, recording.hash), (RecordingState::Running, None));
    let session = world.tenant.find_session(id).await.unwrap().unwrap();
    assert_eq!(session.recorded, Some(RecordingState::Running));
}

async fn a_recording_is_finished_once(world: World) {
    let id = recorded(&world).await;
    let finish =
        async |state| world.tenant.finish_recording(id, finished(state), silent).await.unwrap();
    assert!(finish(RecordingState::Complete).await);
    assert!(!finish(RecordingState::Incomplete).await);
    let recording = world.tenant.find_recording(id).await.unwrap().unwrap();
    assert_eq!((recording.state, recording.bytes), (RecordingState::Complete, 5_000));
    assert_eq!((recording.length_ms, recording.hash), (61_000, Some([7; 32])));
}

async fn a_deleted_recording_leaves_its_hash(world: World) {
    // AUD-18
    let id = recorded(&world).await;
    let deletion = || Deletion { at: later(9), by: "user:root".to_owned() };
    let delete = async || world.tenant.delete_recording(id, deletion(), silent).await.unwrap();
    assert!(!delete().await, "one that runs is not deleted");
    let complete = finished(RecordingState::Complete);
    world.tenant.finish_recording(id, complete, silent).await.unwrap();
    assert!(delete().await);
    assert!(!delete().await);
    let recording = world.tenant.find_recording(id).await.unwrap().unwrap();
    assert_eq!((recording.deleted, recording.hash), (Some(deletion()), Some([7; 32])));
}

async fn recordings_are_listed_by_what_is_asked(world: World) {
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let (web, db) = (world.machine("web").await, world.machine("db").await);
    let mut ids = Vec::new();
    for (number, (user, machine)) in [(ann, web), (ann, db), (bob, db)].into_iter().enumerate() {
        let at = later(number as u64);
        let id = world.session(user, machine, at).await;
        ids.push(id);
    }
    let list = async |filter: RecordingFilter| -> Vec<SessionId> {
        let page = world.tenant.list_recordings(&filter, &Paging::first(10)).await.unwrap();
        page.items.iter().map(|recording| recording.session).collect()
    };
    let all = RecordingFilter::default;
    assert_eq!(list(all()).await, [ids[2], ids[1], ids[0]]);
    assert_eq!(list(RecordingFilter { machine: Some(db), ..all() }).await, [ids[2], ids[1]]);
    assert_eq!(list(RecordingFilter { principal: Some(ann), ..all() }).await, [ids[1], ids[0]]);
}

async fn a_start_finds_the_recordings_that_ran(world: World) {
    // DESK-9
    let id = recorded(&world).await;
    let world = world.reopen().await;
    let running = world.store.list_running_recordings().await.unwrap();
    assert_eq!(running, [(world.tenant.id(), id)]);
    let incomplete = finished(RecordingState::Incomplete);
    world.tenant.finish_recording(id, incomplete, silent).await.unwrap();
    assert_eq!(world.store.list_running_recordings().await.unwrap(), []);
}
