//! Paths as callers write them: absolute, with nothing in them that leads elsewhere.
//!
//! Where a path really leads is known on the machine alone, which resolves it again.

use std::fmt;
use std::str::FromStr;

/// An absolute path without empty, `.` or `..` components. `/` is one, `/tmp/` is not.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AbsolutePath(String);

/// Why a text is no [`AbsolutePath`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with `/`.
    #[error("must be an absolute path, which begins with `/`")]
    Relative,
    /// A component is `.` or `..`.
    #[error("must not have a component `.` or `..`")]
    Dots,
    /// Two `/` after one another, or one at the end.
    #[error("must not have `//`, nor `/` at its end")]
    Empty,
}

impl AbsolutePath {
    /// Gives the path's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a prefix as operators write it: a `/` at the end says nothing more.
    ///
    /// # Errors
    /// [`BadPath`].
    pub fn prefix(text: &str) -> Result<Self, BadPath> {
        match text.strip_suffix('/') {
            Some(rest) if !rest.is_empty() => rest.parse(),
            _ => text.parse(),
        }
    }

    /// Tells whether this is `folder` or lies under it, by component: `/tmpevil` is not in `/tmp`.
    pub fn is_in(&self, folder: &Self) -> bool {
        if folder.0 == "/" {
            return true;
        }
        let rest = self.0.strip_prefix(folder.0.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for AbsolutePath {
    type Err = BadPath;
    fn from_str(text: &str) -> Result<Self, BadPath> {
        let Some(rest) = text.strip_prefix('/') else { return Err(BadPath::Relative) };
        if rest.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(BadPath::Dots);
        }
        if !rest.is_empty() && rest.split('/').any(str::is_empty) {
            return Err(BadPath::Empty);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsolutePath {
        text.parse().unwrap()
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        // JOB-06
        for (bad, why) in [
            ("", BadPath::Relative),
            ("tmp", BadPath::Relative),
            ("~/x", BadPath::Relative),
            ("/tmp/../etc/shadow", BadPath::Dots),
            ("/tmp/./..//etc", BadPath::Dots),
            ("/..", BadPath::Dots),
            ("//etc", BadPath::Empty),
            ("/tmp/", BadPath::Empty),
        ] {
            assert_eq!(bad.parse::<AbsolutePath>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn a_folder_holds_itself_and_what_is_under_it_by_component() {
        // CMD-2, JOB-06
        assert!(path("/tmp").is_in(&path("/tmp")) && path("/tmp/a").is_in(&path("/tmp")));
        assert!(path("/anything").is_in(&path("/")) && path("/").is_in(&path("/")));
        assert!(
            !path("/tmpevil").is_in(&path("/tmp")) && !path("/var/log2/x").is_in(&path("/var/log"))
        );
        assert!(!path("/tmp").is_in(&path("/tmp/a")));
    }

    #[test]
    fn percent_signs_mean_themselves() {
        // JOB-06
        assert_eq!(path("/tmp/%2e%2e").as_str(), "/tmp/%2e%2e");
    }

    #[test]
    fn a_prefix_may_end_with_a_slash() {
        assert_eq!(AbsolutePath::prefix("/tmp/"), Ok(path("/tmp")));
        assert_eq!(AbsolutePath::prefix("/"), Ok(path("/")));
        assert_eq!(AbsolutePath::prefix("/tmp//"), Err(BadPath::Empty));
        assert_eq!(AbsolutePath::prefix("/a/.."), Err(BadPath::Dots));
    }
}
