//! The files of a process, and who else may read them; and what sudo's files say of Adit's accounts.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// More entries of a folder than are looked at; what is private keeps what is in it private.
const MAX_ENTRIES: usize = 4096;

/// How many open files are named.
const NAMED: usize = 5;

/// The longest of sudo's files that is read, in bytes.
const MAX_SUDOERS: u64 = 256 * 1024;

/// A folder, and what in it is open to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Files {
    /// The folder.
    pub folder: PathBuf,
    /// Its mode; nothing where it cannot be looked at.
    pub mode: Option<String>,
    /// Whether others than its owner can get into it.
    pub is_open: bool,
    /// Its owner's id, where that is not the process's account.
    pub foreign_owner: Option<u32>,
    /// Files in it that others may read or write, and would if the folder let them in.
    pub open: Vec<String>,
}

/// Looks at the folder of a process.
pub fn look(folder: &Path, user: u32) -> Files {
    let about = fs::metadata(folder).ok();
    let mode = about.as_ref().map(|about| about.mode() & 0o7777);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_ENTRIES);
    let mut open: Vec<String> = entries
        .filter_map(|entry| {
            let about = entry.metadata().ok().filter(|about| !about.is_symlink())?;
            let mode = about.mode() & 0o7777;
            let name = entry.file_name().to_string_lossy().into_owned();
            (mode & 0o077 != 0).then(|| format!("{name} ({mode:o})"))
        })
        .collect();
    open.sort();
    open.truncate(NAMED);
    Files {
        folder: folder.to_owned(),
        mode: mode.map(|mode| format!("{mode:o}")),
        is_open: mode.is_some_and(|mode| mode & 0o077 != 0),
        foreign_owner: about.map(|about| about.uid()).filter(|owner| *owner != user),
        open,
    }
}

/// A line of sudo's files that names one of Adit's accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The file.
    pub path: PathBuf,
    /// The line.
    pub text: String,
}

/// Gives the rules for Adit's accounts, as far as sudo's files can be read: root can.
pub fn sudoers() -> Vec<Rule> {
    let inner = fs::read_dir("/etc/sudoers.d").into_iter().flatten().flatten();
    let files = inner.map(|entry| entry.path()).chain([PathBuf::from("/etc/sudoers")]);
    files.flat_map(|path| rules(&path, &text(&path))).collect()
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(file) = fs::File::open(path) {
        // What cannot be read to its end is judged as far as it was.
        let _ = file.take(MAX_SUDOERS).read_to_string(&mut text);
    }
    text
}

/// Finds the lines for `adit`, `adit-…` and groups of those names.
fn rules(path: &Path, text: &str) -> Vec<Rule> {
    let text = text.replace("\\\n", " ");
    let is_ours = |line: &&str| {
        let who = line.split_whitespace().next().unwrap_or_default();
        who.split(',').any(|who| {
            let who = who.trim_start_matches('%');
            who == "adit" || who.starts_with("adit-")
        })
    };
    let lines = text.lines().map(str::trim).filter(is_ours);
    lines.map(|line| Rule { path: path.to_owned(), text: line.to_owned() }).collect()
}

/// Gives an account's name, or its number.
pub fn user_name(id: u32) -> String {
    name_in("/etc/passwd", id)
}

/// Gives a group's name, or its number.
pub fn group_name(id: u32) -> String {
    name_in("/etc/group", id)
}

/// Both files have `name:password:id:…`.
fn name_in(file: &str, id: u32) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let wanted = id.to_string();
    let mut lines = text.lines().map(|line| line.split(':'));
    let found = lines.find_map(|mut parts| {
        let name = parts.next()?;
        (parts.nth(1)? == wanted).then(|| name.to_owned())
    });
    found.unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_others_may_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        fs::write(folder.path().join("open.key"), "x").unwrap();
        fs::set_permissions(folder.path().join("open.key"), PermissionsExt::from_mode(0o644))
            .unwrap();
        fs::write(folder.path().join("private.key"), "x").unwrap();
        fs::set_permissions(folder.path().join("private.key"), PermissionsExt::from_mode(0o600))
            .unwrap();
        let found = look(folder.path(), fs::metadata(folder.path()).unwrap().uid());
        assert_eq!(found.open, ["open.key (644)"]);
        assert!(!found.is_open && found.foreign_owner.is_none());
    }

    #[test]
    fn sudos_rules_for_adits_accounts_are_found() {
        // SUP-03
        let text = "root ALL=(ALL) ALL\nadit-gateway ALL=(root) NOPASSWD: \\\n /usr/bin/certbot *\n# adit-x\n%adit ALL=ALL\nreader ALL=ALL\n";
        let found = rules(Path::new("/etc/sudoers"), text);
        let texts: Vec<&str> = found.iter().map(|rule| rule.text.as_str()).collect();
        assert_eq!(
            texts,
            ["adit-gateway ALL=(root) NOPASSWD:   /usr/bin/certbot *", "%adit ALL=ALL"]
        );
    }
}
