//! Strings of a plan that cannot be wrong.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// Why a string of a plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// A job's name is 1 to 64 of `a-z`, `A-Z`, `0-9` and `-`.
    #[error("a job's name has 1 to 64 letters, digits and hyphens")]
    Job,
    /// A path begins at the root, has no `.` or `..` and at most 4,096 bytes.
    #[error("a path must be absolute, without `.`, `..` and NUL, and at most 4,096 bytes long")]
    Path,
    /// A command has a program and at most 1,024 arguments, none with NUL.
    #[error("a command has 1 to 1,024 arguments, without NUL, and its program is not empty")]
    Argv,
    /// A variable's name is letters, digits and `_`, and not one that changes how programs are loaded.
    #[error("the environment has a variable that is not allowed or holds NUL")]
    Environment,
}

/// The name of a job, fit to be part of a file's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(String);

impl JobName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobName {
    type Error = BadName;

    fn try_from(name: String) -> Result<Self, BadName> {
        let right = (1..=JOB_NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        right.then_some(Self(name)).ok_or(BadName::Job)
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0
    }
}

/// A path from the root, each of whose components is a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AbsolutePath(String);

impl AbsolutePath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl TryFrom<String> for AbsolutePath {
    type Error = BadName;

    fn try_from(path: String) -> Result<Self, BadName> {
        let has_dots = path.split('/').any(|part| part == "." || part == "..");
        let right = path.starts_with('/')
            && path.len() <= PATH_BYTES_MAX
            && !path.contains('\0')
            && !has_dots
            && Path::new(&path)
                .components()
                .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        right.then_some(Self(path)).ok_or(BadName::Path)
    }
}

impl From<AbsolutePath> for String {
    fn from(path: AbsolutePath) -> Self {
        path.0
    }
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Argv(Vec<String>);

impl Argv {
    /// The program's name, and all arguments with it.
    #[must_use]
    pub fn split(&self) -> (&str, &[String]) {
        (self.0.first().map_or("", String::as_str), &self.0)
    }
}

impl TryFrom<Vec<String>> for Argv {
    type Error = BadName;

    fn try_from(argv: Vec<String>) -> Result<Self, BadName> {
        let right = (1..=ARGUMENTS_MAX).contains(&argv.len())
            && argv.first().is_some_and(|program| !program.is_empty())
            && argv.iter().all(|argument| !argument.contains('\0'));
        right.then_some(Self(argv)).ok_or(BadName::Argv)
    }
}

impl From<Argv> for Vec<String> {
    fn from(argv: Argv) -> Self {
        argv.0
    }
}

/// The few variables that a job has beside the fixed ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl TryFrom<BTreeMap<String, String>> for Environment {
    type Error = BadName;

    fn try_from(variables: BTreeMap<String, String>) -> Result<Self, BadName> {
        let right = variables.len() <= VARIABLES_MAX
            && variables.iter().all(|(name, value)| is_allowed(name) && !value.contains('\0'));
        right.then_some(Self(variables)).ok_or(BadName::Environment)
    }
}

impl From<Environment> for BTreeMap<String, String> {
    fn from(environment: Environment) -> Self {
        environment.0
    }
}

/// What a dynamic loader or a shell obeys before the program does is not a template's to set.
fn is_allowed(name: &str) -> bool {
    let word = !name.is_empty()
        && name.len() <= VARIABLE_NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let loader = name.starts_with("LD_") || name.starts_with("GLIBC_") || name == "GCONV_PATH";
    let shell = matches!(name, "IFS" | "ENV" | "BASH_ENV" | "SHELLOPTS" | "BASHOPTS" | "PATH");
    word && !loader && !shell
}

/// A UUID has 36.
const JOB_NAME_BYTES_MAX: usize = 64;

/// `PATH_MAX` of Linux.
const PATH_BYTES_MAX: usize = 4096;

/// Far more than a vetted command has; a list of files is a path parameter.
const ARGUMENTS_MAX: usize = 1024;

/// "Few": a job is told things by its arguments.
const VARIABLES_MAX: usize = 64;

/// No variable of any program known has a longer name.
const VARIABLE_NAME_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_dots_or_without_a_root_is_refused() {
        // JOB-06
        for path in ["", "etc", "/tmp/../etc/shadow", "/tmp/./x", "./x", "/a\0b", "/..", "/x/.."] {
            assert_eq!(AbsolutePath::try_from(path.to_owned()), Err(BadName::Path), "{path:?}");
        }
        assert!(AbsolutePath::try_from("/var/log/..x".to_owned()).is_ok());
    }

    #[test]
    fn a_variable_that_changes_how_programs_are_loaded_is_refused() {
        // JOB-29
        for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "BASH_ENV", "", "A=B", "GCONV_PATH"] {
            let variables = BTreeMap::from([(name.to_owned(), String::new())]);
            assert_eq!(Environment::try_from(variables), Err(BadName::Environment), "{name:?}");
        }
    }

    #[test]
    fn a_jobs_name_is_no_path() {
        for name in ["", "a/b", "..", "a.b", "x y"] {
            assert_eq!(JobName::try_from(name.to_owned()), Err(BadName::Job), "{name:?}");
        }
    }

    #[test]
    fn a_command_without_a_program_is_refused() {
        for argv in [vec![], vec![String::new()], vec!["a".to_owned(), "b\0".to_owned()]] {
            assert_eq!(Argv::try_from(argv), Err(BadName::Argv));
        }
    }
}
