//! The names that people give to teams, roles and tenants: the same rule for all of them.

use adit_domain::Code;

use crate::access::Refusal;

/// The longest name, in characters: as long as a principal's.
const MAX_NAME: usize = 64;

/// Checks the name of a `what`, such as "team".
///
/// # Errors
/// [`Code::RequestInvalid`] for a name of another length or with other characters.
pub(crate) fn check(what: &str, name: &str) -> Result<(), Refusal> {
    let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if starts && name.len() <= MAX_NAME && name.chars().all(plain) {
        return Ok(());
    }
    let sentence =
        format!("A {what}'s name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit.");
    Err(Refusal::Said(Code::RequestInvalid, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_mean_something_else_is_refused() {
        let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
        for good in ["eng", "0-day", "a.b_c", longest.as_str()] {
            assert!(check("team", good).is_ok(), "{good}");
        }
        for bad in ["", "-eng", ".x", "Eng", "a b", "a/b", "a\u{202e}b", too_long.as_str()] {
            let refused = check("team", bad).unwrap_err();
            assert_eq!(refused.code(), Code::RequestInvalid, "{bad}");
        }
    }
}
