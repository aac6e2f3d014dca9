//! Why a value is refused.

use super::KindName;
use crate::template::path::BadPath;
use crate::template::text::BadText;

/// Why a value is refused. With the parameter's name before it, it is a sentence.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Reason {
    /// The template has no such parameter.
    #[error("is no parameter of this template")]
    Unknown,
    /// It must be given.
    #[error("is required")]
    Missing,
    /// It is required, and empty.
    #[error("must not be empty")]
    Empty,
    /// It has another type.
    #[error("must be {}", .0.expected())]
    WrongType(KindName),
    /// It is NaN or an infinity.
    #[error("must be a finite number")]
    NotFinite,
    /// It holds what no argument holds.
    #[error("{0}")]
    Text(BadText),
    /// It is none of the listed values.
    #[error("is none of the allowed values")]
    NotListed,
    /// It does not match as a whole.
    #[error("does not match the pattern as a whole")]
    Pattern,
    /// It has too few characters.
    #[error("must have at least {0} characters")]
    TooShort(u32),
    /// It has too many characters.
    #[error("must have at most {0} characters")]
    TooLong(u32),
    /// It is too small.
    #[error("must be at least {0}")]
    TooSmall(String),
    /// It is too large.
    #[error("must be at most {0}")]
    TooLarge(String),
    /// It is no path of the form that is taken.
    #[error("{0}")]
    Path(BadPath),
    /// A text has `..` between slashes.
    #[error("must not have `..` as a component of a path")]
    Climbs,
    /// It lies outside of what is allowed.
    #[error("lies outside of the allowed paths")]
    Outside,
    /// It lies in what is forbidden.
    #[error("lies in a forbidden path")]
    Forbidden,
    /// It would be read as an option.
    #[error("must not begin with `-` here: it would be read as an option")]
    LooksLikeOption,
}

impl Reason {
    /// Gives the stable word for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::WrongType(_) => "wrong_type",
            Self::NotFinite => "not_finite",
            Self::Text(_) => "bad_text",
            Self::NotListed => "not_allowed",
            Self::Pattern => "pattern",
            Self::TooShort(_) => "too_short",
            Self::TooLong(_) => "too_long",
            Self::TooSmall(_) => "too_small",
            Self::TooLarge(_) => "too_large",
            Self::Path(_) | Self::Climbs => "bad_path",
            Self::Outside => "path_not_allowed",
            Self::Forbidden => "path_forbidden",
            Self::LooksLikeOption => "looks_like_option",
        }
    }
}
