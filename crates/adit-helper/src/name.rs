//! Names that a caller may say. None of them is a path, an option or more than one word, whatever is done with it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name of a certificate: a folder's name that people type.
const MAX_NAME: usize = 32;

/// The longest name of a unit. Source: systemd.unit(5) allows 255; a third of it is more than any has.
const MAX_UNIT: usize = 80;

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// No name of a certificate.
    #[error(
        "a certificate's name has 1 to {MAX_NAME} of a-z, 0-9 and `-`, and begins with a letter or digit"
    )]
    Certificate,
    /// No name of a service.
    #[error(
        "a service's name is like `nginx.service`: at most {MAX_UNIT} letters, digits and `._@-`, begins with a letter or digit, ends with `.service`"
    )]
    Unit,
}

/// The name of a certificate's place: `[a-z0-9][a-z0-9-]*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// The name of a service: `[A-Za-z0-9][A-Za-z0-9._@-]*.service`, without two dots in a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

impl Name {
    /// Gives it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UnitName {
    /// Gives it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        let is_sign = |sign: u8| sign.is_ascii_lowercase() || sign.is_ascii_digit();
        let begins = text.bytes().next().is_some_and(is_sign);
        let fits = text.len() <= MAX_NAME && text.bytes().all(|sign| is_sign(sign) || sign == b'-');
        if begins && fits { Ok(Self(text)) } else { Err(NotAName::Certificate) }
    }
}

impl TryFrom<String> for UnitName {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        let is_sign = |sign: u8| sign.is_ascii_alphanumeric() || b"._@-".contains(&sign);
        let begins = text.bytes().next().is_some_and(|sign| sign.is_ascii_alphanumeric());
        let ends = text.strip_suffix(".service").is_some_and(|stem| !stem.is_empty());
        let fits = text.len() <= MAX_UNIT && text.bytes().all(is_sign) && !text.contains("..");
        if begins && ends && fits { Ok(Self(text)) } else { Err(NotAName::Unit) }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_name(text: &str) -> bool {
        Name::try_from(text.to_owned()).is_ok()
    }

    fn is_unit(text: &str) -> bool {
        UnitName::try_from(text.to_owned()).is_ok()
    }

    #[test]
    fn a_name_is_one_word() {
        for good in ["nginx", "a", "0", "mail-2"] {
            assert!(is_name(good), "{good}");
        }
        for good in ["nginx.service", "php8.2-fpm.service", "getty@tty1.service"] {
            assert!(is_unit(good), "{good}");
        }
    }

    /// What passed a sudoers `*`, and its like.
    const ATTACKS: &[&str] = &[
        "",
        ".",
        "..",
        "../x",
        "../../etc/cron.d/x",
        "a/../b",
        "/etc/cron.d/x",
        "--pre-hook",
        "-out",
        "-",
        "nginx --pre-hook=x",
        "nginx -out /etc/cron.d/x",
        "nginx;id",
        "$(id)",
        "`id`",
        "a\nb",
        "a\0b",
        "a\tb",
        "a\\b",
        "ä",
        "*",
        "%n",
        "a b",
    ];

    #[test]
    fn a_name_is_no_option_no_path_and_not_two_words() {
        // TIX-72, SUP-03
        for attack in ATTACKS {
            assert!(!is_name(attack), "{attack:?}");
            assert!(!is_unit(attack), "{attack:?}");
            assert!(!is_unit(&format!("{attack}.service")), "{attack:?}");
        }
        assert!(!is_name("A") && !is_name(&"a".repeat(MAX_NAME + 1)));
        for attack in ["nginx", "nginx.socket", "nginx.service.d", "a..service", "reboot.target"] {
            assert!(!is_unit(attack), "{attack:?}");
        }
        assert!(!is_unit(&format!("{}.service", "a".repeat(MAX_UNIT))));
    }

    proptest! {
        #[test]
        fn whatever_is_a_name_has_only_its_signs(text in "\\PC{0,40}|[a-z0-9./@ -]{0,40}(\\.service)?") {
            let bad = |text: &str| text.starts_with(['-', '.']) || text.contains(['/', ' ', '\0', '\n', '*']) || text.contains("..");
            prop_assert!(!(is_name(&text) && bad(&text)));
            prop_assert!(!(is_unit(&text) && bad(&text)));
        }
    }
}
