//! The templates in force: the built-in ones, and those of the operator's folder, which take the place of built-in ones of the same file name.
//!
//! The folder is looked at every few seconds and at SIGHUP. A file with an error changes nothing: its last good version stays in force, the
//! log says what is wrong with it, and so does `adit templates check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use adit_domain::Template;
use adit_template::{Fault, MAX_FILE_BYTES, Set};
use adit_wire::digest::Digest;

use crate::Gateway;

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The templates that the binary brings.
const BUILT_IN: &[(&str, &str)] = &[
    ("disk.yaml", include_str!("../../../../config/templates/disk.yaml")),
    ("files.yaml", include_str!("../../../../config/templates/files.yaml")),
    ("logs.yaml", include_str!("../../../../config/templates/logs.yaml")),
    ("memory.yaml", include_str!("../../../../config/templates/memory.yaml")),
    ("network.yaml", include_str!("../../../../config/templates/network.yaml")),
    ("packages.yaml", include_str!("../../../../config/templates/packages.yaml")),
    ("processes.yaml", include_str!("../../../../config/templates/processes.yaml")),
    ("system.yaml", include_str!("../../../../config/templates/system.yaml")),
];

/// A template in force, with the hash of its version.
#[derive(Clone, Debug)]
pub struct Vetted {
    /// The template.
    pub template: Template,
    /// SHA-256 over everything about it that matters to what runs.
    pub version: Digest,
    /// The file that it comes from.
    pub file: String,
}

/// The templates in force.
#[derive(Debug)]
pub struct Templates {
    folder: Option<PathBuf>,
    built_in: bool,
    loaded: RwLock<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    set: Set,
    by_name: BTreeMap<String, Arc<Vetted>>,
    /// What the folder looked like when it was read.
    seen: Option<Look>,
}

type Look = BTreeMap<String, (u64, Option<SystemTime>)>;

impl Templates {
    pub(super) fn new(folder: Option<PathBuf>, built_in: bool) -> Self {
        Self { folder, built_in, loaded: RwLock::default() }
    }

    /// Finds a template by its name.
    pub fn find(&self, name: &str) -> Option<Arc<Vetted>> {
        self.read().by_name.get(name).cloned()
    }

    /// Lists the templates by name.
    pub fn list(&self) -> Vec<Arc<Vetted>> {
        self.read().by_name.values().cloned().collect()
    }

    /// Lists what is wrong with the newest versions of the files.
    pub fn faults(&self) -> Vec<Fault> {
        self.read().set.faults().cloned().collect()
    }

    /// Reads the files again if they look otherwise than before. Gives what is wrong with them, if they were read.
    pub fn load(&self) -> Option<Vec<Fault>> {
        let look = self.folder.as_deref().map(look).unwrap_or_default();
        if self.read().seen.as_ref() == Some(&look) {
            return None;
        }
        let (texts, unread) = self.texts(&look);
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let all = texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        // What is wrong is asked for below, with what could not be read.
        let _ = loaded.set.replace_all(all);
        for (name, why) in &unread {
            loaded.set.refuse_file(name, why);
        }
        let vetted = loaded.set.iter().map(|template| {
            let version = Digest::of(b"", &[template.canonical().as_bytes()]);
            let name = template.name().to_string();
            let file = loaded.set.find_file(&name).unwrap_or_default().to_owned();
            (name, Arc::new(Vetted { template: template.clone(), version, file }))
        });
        loaded.by_name = vetted.collect();
        loaded.seen = Some(look);
        Some(loaded.set.faults().cloned().collect())
    }

    /// Gives the texts of all files, and of those that cannot be read, why; the text of these stays what it was.
    fn texts(&self, look: &Look) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let built_in = BUILT_IN.iter().filter(|_| self.built_in);
        let mut texts: BTreeMap<String, String> =
            built_in.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let mut unread = BTreeMap::new();
        let Some(folder) = &self.folder else { return (texts, unread) };
        for (name, (bytes, _)) in look {
            match read_file(&folder.join(name), *bytes) {
                Ok(text) => {
                    texts.insert(name.clone(), text);
                }
                Err(why) => {
                    // An empty file has no templates and no fault of its own; the refusal says what is wrong.
                    texts.entry(name.clone()).or_insert_with(|| "templates:".to_owned());
                    unread.insert(name.clone(), why);
                }
            }
        }
        (texts, unread)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Reads the templates, and looks at their folder as long as the gateway runs.
    pub(crate) async fn watch_templates(&self) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = self.tasks.ending() => return,
                _ = tick.tick() => self.reload_templates().await,
            }
        }
    }

    /// Reads the templates again if their files changed, and logs what is wrong with them.
    pub async fn reload_templates(&self) {
        let Some(gateway) = self.me.upgrade() else { return };
        let loaded = tokio::task::spawn_blocking(move || gateway.jobs.templates.load()).await;
        let Ok(Some(faults)) = loaded else { return };
        for fault in &faults {
            tracing::warn!(%fault, "a file of templates is refused; its last good version stays in force");
        }
        self.note_templates(&faults).await;
    }

    async fn note_templates(&self, faults: &[Fault]) {
        let count = self.jobs.templates.list().len();
        let actor = crate::audit::Actor::gateway(self);
        let sentence = match faults.len() {
            0 => format!("The templates were read: {count} are in force"),
            wrong => format!("The templates were read: {count} are in force, {wrong} errors"),
        };
        let shown: Vec<String> = faults.iter().take(20).map(ToString::to_string).collect();
        let event = self.event("template.load", &actor, sentence);
        let event = event.with("errors", serde_json::json!(shown));
        let event =
            if faults.is_empty() { event } else { event.failed(adit_domain::Code::RequestInvalid) };
        self.note(event).await;
    }
}

/// Says how a folder's files look; one that is not there has none.
fn look(folder: &Path) -> Look {
    let Ok(entries) = std::fs::read_dir(folder) else { return Look::new() };
    let files = entries.filter_map(Result::ok).filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_template = name.ends_with(".yaml") || name.ends_with(".yml");
        let meta = std::fs::metadata(entry.path()).ok()?;
        (is_template && meta.is_file()).then(|| (name, (meta.len(), meta.modified().ok())))
    });
    files.take(adit_template::MAX_FILES).collect()
}

fn read_file(path: &Path, bytes: u64) -> Result<String, String> {
    if bytes > MAX_FILE_BYTES as u64 {
        return Err("the file is longer than 256 KiB".to_owned());
    }
    std::fs::read_to_string(path).map_err(|error| format!("the file cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::write(folder.join(name), text).unwrap();
    }

    const ONE: &str = "templates:\n  up:\n    command: /usr/bin/uptime\n";

    #[test]
    fn the_built_in_templates_are_there_and_sound() {
        let templates = Templates::new(None, true);
        assert_eq!(templates.load(), Some(vec![]));
        assert!(templates.find("list_files").is_some());
        assert!(templates.load().is_none());
    }

    #[test]
    fn a_file_with_an_error_leaves_its_last_good_version_in_force() {
        // CMD-3, JOB-09
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "own.yaml", ONE);
        let templates = Templates::new(Some(folder.path().to_owned()), false);
        assert_eq!(templates.load(), Some(vec![]));
        let before = templates.find("up").unwrap().version;
        write(folder.path(), "own.yaml", "templates:\n  up:\n    comand: /usr/bin/uptime -p\n");
        let faults = templates.load().unwrap();
        let at = |fault: &Fault| (fault.at.line, fault.at.column);
        assert!(faults.iter().any(|fault| at(fault) == (3, 5)), "{faults:?}");
        assert_eq!(templates.find("up").unwrap().version, before);
        write(
            folder.path(),
            "own.yaml",
            "templates:\n  up:\n    command: /usr/bin/uptime --pretty\n",
        );
        assert_eq!(templates.load(), Some(vec![]));
        assert_ne!(templates.find("up").unwrap().version, before);
    }

    #[test]
    fn a_file_of_the_folder_takes_the_place_of_a_built_in_one() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "files.yaml", ONE);
        let templates = Templates::new(Some(folder.path().to_owned()), true);
        assert_eq!(templates.load(), Some(vec![]));
        assert!(templates.find("list_files").is_none() && templates.find("up").is_some());
    }
}
