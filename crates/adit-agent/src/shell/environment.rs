//! Which variables of the one who connects may reach the shell.

/// Tells whether a variable may be set from outside: language and the terminal's kind, short and printable.
#[must_use]
pub fn is_allowed(name: &str, value: &str) -> bool {
    let named = matches!(name, "LANG" | "TERM" | "COLORTERM")
        || name.strip_prefix("LC_").is_some_and(is_category);
    named && value.len() <= VALUE_BYTES && value.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_category(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Longer than any locale's name.
const VALUE_BYTES: usize = 128;
/// `LC_IDENTIFICATION` is the longest there is.
const NAME_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::is_allowed;

    // AGT-20
    #[test]
    fn language_and_terminal_may_be_set() {
        for (name, value) in [
            ("LANG", "de_DE.UTF-8"),
            ("LC_ALL", "C"),
            ("LC_TIME", "en_GB"),
            ("TERM", "xterm-kitty"),
        ] {
            assert!(is_allowed(name, value), "{name}");
        }
    }

    // AGT-20
    #[test]
    fn what_changes_how_programs_run_may_not_be_set() {
        for name in ["LD_PRELOAD", "PATH", "BASH_ENV", "ENV", "LC_", "LC_x", "HOME", "TERMINFO", ""]
        {
            assert!(!is_allowed(name, "x"), "{name}");
        }
    }

    #[test]
    fn long_and_unprintable_values_may_not_be_set() {
        assert!(!is_allowed("LANG", &"x".repeat(129)));
        assert!(!is_allowed("TERM", "xterm\n"));
        assert!(!is_allowed("TERM", "\u{1b}[2J"));
    }
}
