//! The templates in force, from many files.

use std::collections::BTreeMap;

use adit_domain::Template;

use crate::file::{self, Placed};
use crate::{Fault, MAX_TEMPLATES, Position};

/// The most files of one set.
pub const MAX_FILES: usize = 1000;

/// The templates in force: of each file the last version without a fault.
#[derive(Default, Debug)]
pub struct Set {
    files: BTreeMap<String, File>,
}

/// One file: what of it is in force, and what is wrong with its newest version.
#[derive(Default, Debug)]
struct File {
    templates: BTreeMap<String, Template>,
    faults: Vec<Fault>,
}

impl Set {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a new version of a file in force, with all of its templates or none.
    ///
    /// # Errors
    /// What is wrong with it, also a template that another file has; then the version before stays in force.
    pub fn replace_file(&mut self, name: &str, text: &str) -> Result<(), Vec<Fault>> {
        let placed = file::read(name, text);
        let outcome = placed.and_then(|placed| self.put(name, placed));
        if let Err(faults) = &outcome {
            self.note(name, faults.clone());
        }
        outcome
    }

    /// Puts new versions of all files in force; a file that is not among them is gone with its templates.
    ///
    /// A template may move from one file to another. What two files want and neither gives up, the one that has it keeps.
    ///
    /// # Errors
    /// What is wrong with any of them; of a file with a fault the version before stays in force.
    pub fn replace_all<'a>(
        &mut self,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), Vec<Fault>> {
        let files: BTreeMap<&str, &str> = files.into_iter().collect();
        self.files.retain(|name, _| files.contains_key(name.as_str()));
        let mut waiting: Vec<(&str, &str)> = files.into_iter().collect();
        loop {
            let before = waiting.len();
            waiting.retain(|(name, text)| self.replace_file(name, text).is_err());
            // Each round puts at least one file in force, or is the last.
            if waiting.is_empty() || waiting.len() == before {
                break;
            }
        }
        let faults: Vec<Fault> = self.faults().cloned().collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Notes that a file could not be read at all; its version before stays in force.
    pub fn refuse_file(&mut self, name: &str, what: &str) {
        self.note(name, vec![fault(name, Position::START, what.to_owned())]);
    }

    /// Takes a file out with its templates.
    pub fn remove_file(&mut self, name: &str) {
        self.files.remove(name);
    }

    /// Finds a template that is in force.
    pub fn find(&self, name: &str) -> Option<&Template> {
        self.files.values().find_map(|file| file.templates.get(name))
    }

    /// Tells which file a template that is in force comes from.
    pub fn find_file(&self, name: &str) -> Option<&str> {
        let found = self.files.iter().find(|(_, file)| file.templates.contains_key(name));
        found.map(|(file, _)| file.as_str())
    }

    /// Lists the templates in force by name.
    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        let all: BTreeMap<&str, &Template> = self
            .files
            .values()
            .flat_map(|file| &file.templates)
            .map(|(name, t)| (name.as_str(), t))
            .collect();
        all.into_values()
    }

    /// Counts the templates in force.
    pub fn len(&self) -> usize {
        self.files.values().map(|file| file.templates.len()).sum()
    }

    /// Tells whether none is in force.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lists what is wrong with the newest versions of the files.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.files.values().flat_map(|file| &file.faults)
    }

    fn put(&mut self, name: &str, placed: Vec<Placed>) -> Result<(), Vec<Fault>> {
        let mut faults = self.find_duplicates(name, &placed);
        let kept = self.files.get(name).map_or(0, |file| file.templates.len());
        if self.len() - kept + placed.len() > MAX_TEMPLATES {
            faults.push(fault(
                name,
                Position::START,
                "with this file there are more than 1000 templates".into(),
            ));
        }
        if !self.files.contains_key(name) && self.files.len() >= MAX_FILES {
            faults.push(fault(name, Position::START, "there are more than 1000 files".into()));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let named = placed.into_iter().map(|one| (one.template.name().to_string(), one.template));
        let file = File { templates: named.collect(), faults: Vec::new() };
        self.files.insert(name.to_owned(), file);
        Ok(())
    }

    fn find_duplicates(&self, name: &str, placed: &[Placed]) -> Vec<Fault> {
        let duplicate = |one: &Placed| {
            let template = one.template.name().as_str();
            let other = self.find_file(template).filter(|other| *other != name)?;
            Some(fault(
                name,
                one.at,
                format!("the template `{template}` stands in {other} already"),
            ))
        };
        placed.iter().filter_map(duplicate).collect()
    }

    /// Keeps the faults of a file beside its last good version. A file too many has neither.
    fn note(&mut self, name: &str, faults: Vec<Fault>) {
        if self.files.contains_key(name) || self.files.len() < MAX_FILES {
            self.files.entry(name.to_owned()).or_default().faults = faults;
        }
    }
}

fn fault(file: &str, at: Position, what: String) -> Fault {
    Fault { file: file.to_owned(), at, what }
}

#[cfg(test)]
#[path = "set/tests.rs"]
mod tests;
