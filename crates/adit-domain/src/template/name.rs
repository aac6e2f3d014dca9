//! Names of templates and parameters, and of the scopes that a template asks for.

use std::fmt;
use std::str::FromStr;

/// The longest of these names, in characters.
pub const MAX_NAME_CHARS: usize = 64;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $error:ident, $sentence:literal, $fits:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(String);

        impl $name {
            /// Gives the name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        #[doc = concat!("A text that is no [`", stringify!($name), "`].")]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
        #[error($sentence)]
        pub struct $error;

        impl FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                let fits = !text.is_empty() && text.len() <= MAX_NAME_CHARS && $fits(text);
                if fits { Ok(Self(text.to_owned())) } else { Err($error) }
            }
        }
    )*};
}

names! {
    /// A template's name: what a caller runs.
    TemplateName, BadTemplateName,
    "a template's name is 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit", is_template;
    /// A parameter's name, as it stands in `{…}`.
    ParameterName, BadParameterName,
    "a parameter's name is 1 to 64 of A-Z a-z 0-9 _ - and begins with a letter or _", is_parameter;
    /// A scope that whoever runs a template must have, `read:files`. It means what the operator's roles make of it.
    NeededScope, BadNeededScope,
    "a scope is 1 to 64 of A-Z a-z 0-9 . _ - with : between its parts, such as read:files; there is no wildcard", is_scope;
}

fn is_template(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain)
}

fn is_parameter(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn is_scope(text: &str) -> bool {
    text.split(':').all(|part| !part.is_empty() && part.chars().all(is_plain))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_either_server_are_names() {
        for fine in ["read:files", "audit:read", "admin", "system.read:logs:all"] {
            assert_eq!(fine.parse::<NeededScope>().map(|s| s.to_string()), Ok(fine.to_owned()));
        }
        for bad in
            ["", ":", "read:", "*", "read:*", "read files", "re\u{e4}d:files", &"a".repeat(65)]
        {
            assert_eq!(bad.parse::<NeededScope>(), Err(BadNeededScope), "{bad}");
        }
    }

    #[test]
    fn names_that_could_be_something_else_are_refused() {
        for bad in ["", "-rf", "../x", "a b", "a/b", "\u{e9}"] {
            assert!(bad.parse::<TemplateName>().is_err(), "{bad}");
            assert!(bad.parse::<ParameterName>().is_err(), "{bad}");
        }
        assert!("list_files".parse::<TemplateName>().is_ok());
        assert!("path".parse::<ParameterName>().is_ok());
    }
}
