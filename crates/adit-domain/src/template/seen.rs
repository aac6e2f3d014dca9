//! What every job of a template sees of its machine beside what all jobs see.

use std::fmt;
use std::str::FromStr;

use super::path::{AbsolutePath, BadPath};

/// A file or folder that every job of a template sees, read-only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenPath(AbsolutePath);

/// Why a text is no [`SeenPath`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadSeen {
    /// It is no path.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// It would show everything.
    #[error("`/` is the whole machine: list what is needed of it")]
    Everything,
    /// The sandbox has its own, or it holds what belongs to people and to root.
    #[error("`{0}` and what is under it is shown to no job")]
    Never(&'static str),
}

impl SeenPath {
    /// Gives the path.
    pub const fn path(&self) -> &AbsolutePath {
        &self.0
    }
}

impl FromStr for SeenPath {
    type Err = BadSeen;
    fn from_str(text: &str) -> Result<Self, BadSeen> {
        let path = AbsolutePath::prefix(text)?;
        if path.as_str() == "/" {
            return Err(BadSeen::Everything);
        }
        let is_in = |folder: &&&str| {
            let rest = path.as_str().strip_prefix(**folder);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match NEVER.iter().find(is_in) {
            Some(folder) => Err(BadSeen::Never(folder)),
            None => Ok(Self(path)),
        }
    }
}

impl fmt::Display for SeenPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What no template shows; the sandbox hides more of it wherever it lies.
const NEVER: &[&str] = &["/proc", "/dev", "/etc/shadow", "/root", "/home"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_system_are_shown() {
        for fine in ["/var/lib/dpkg", "/sys", "/sys/block", "/etc/machine-id", "/homes", "/devices"]
        {
            assert_eq!(fine.parse::<SeenPath>().map(|path| path.to_string()), Ok(fine.to_owned()));
        }
        assert_eq!("/var/lib/apt/".parse::<SeenPath>().unwrap().path().as_str(), "/var/lib/apt");
    }

    #[test]
    fn what_belongs_to_people_and_the_whole_machine_are_not() {
        // JOB-17
        assert_eq!("/".parse::<SeenPath>(), Err(BadSeen::Everything));
        for never in
            ["/proc", "/proc/1", "/dev/sda", "/etc/shadow", "/root/.ssh", "/home/", "/home/ann"]
        {
            assert!(matches!(never.parse::<SeenPath>(), Err(BadSeen::Never(_))), "{never}");
        }
        for bad in ["", "var", "/var/../etc", "/var//lib"] {
            assert!(matches!(bad.parse::<SeenPath>(), Err(BadSeen::Path(_))), "{bad}");
        }
    }
}
