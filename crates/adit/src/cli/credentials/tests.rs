use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn entry(token: &str) -> Entry {
    Entry { token: token.to_owned(), ca: None, ends_at: None, refresh: None }
}

fn filled() -> Credentials {
    let mut credentials = Credentials::default();
    credentials.keep("http://127.0.0.1:7800/", entry("adt_x"));
    credentials
}

fn saved() -> (tempfile::TempDir, PathBuf) {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("adit");
    filled().save_to(&folder).unwrap();
    (base, folder)
}

fn why(result: Result<Credentials, Failure>) -> String {
    result.err().expect("the file is refused").to_string()
}

#[test]
fn a_token_that_was_kept_is_found_again() {
    let (_base, folder) = saved();
    let read = Credentials::load_from(&folder).unwrap();
    assert_eq!(read.current(), Some("http://127.0.0.1:7800"));
    assert_eq!(read.find("http://127.0.0.1:7800").unwrap().token, "adt_x");
    assert!(read.find("http://127.0.0.1:7801").is_none());
}

#[test]
fn the_file_and_its_folder_are_their_owners_alone() {
    // SSH-29
    let (_base, folder) = saved();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.join(NAME)), 0o600);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no draft stays");
}

#[test]
fn a_symbolic_link_is_neither_read_nor_replaced() {
    // SSH-29
    let (base, folder) = saved();
    let elsewhere = base.path().join("elsewhere");
    std::fs::rename(folder.join(NAME), &elsewhere).unwrap();
    symlink(&elsewhere, folder.join(NAME)).unwrap();
    assert!(why(Credentials::load_from(&folder)).contains("symbolic link"));
    assert!(filled().save_to(&folder).is_err());
    assert!(std::fs::symlink_metadata(folder.join(NAME)).unwrap().is_symlink());
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    // SSH-29
    let (_base, folder) = saved();
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(folder.join(NAME), open).unwrap();
    assert!(why(Credentials::load_from(&folder)).contains("chmod 600"));
}

#[test]
fn a_folder_that_others_can_write_into_is_refused() {
    // SSH-29
    let (_base, folder) = saved();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(why(Credentials::load_from(&folder)).contains("chmod 700"));
}

#[test]
fn a_foreign_owner_is_refused() {
    // SSH-29
    let (_base, folder) = saved();
    let file = folder.join(NAME);
    if std::os::unix::fs::chown(&file, Some(65534), None).is_err() {
        // Only root can give a file away; anybody else looks at a file of root's.
        let dir = open_folder(Path::new("/etc"));
        assert!(dir.expect_err("root owns it").to_string().contains("another user"));
        return;
    }
    assert!(why(Credentials::load_from(&folder)).contains("another user owns it"));
    assert!(filled().save_to(&folder).is_err());
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let (_base, folder) = saved();
    std::fs::remove_file(folder.join(NAME)).unwrap();
    std::fs::create_dir(folder.join(NAME)).unwrap();
    assert!(why(Credentials::load_from(&folder)).contains("it is no file"));
}

#[test]
fn no_file_is_an_empty_one() {
    let base = tempfile::tempdir().unwrap();
    assert!(Credentials::load_from(base.path()).unwrap().current().is_none());
}
