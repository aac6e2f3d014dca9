use super::*;

fn argv(source: &str) -> Vec<String> {
    let command = Command::parse(source).unwrap();
    let rest = command.arguments().iter().map(ToString::to_string);
    std::iter::once(command.program().to_owned()).chain(rest).collect()
}

fn refused(source: &str) -> String {
    Command::parse(source).expect_err(source).to_string()
}

#[test]
fn a_command_is_split_into_words_as_posix_quotes_them() {
    // CMD-4
    for (source, words) in [
        ("ls -la {path}", vec!["ls", "-la", "{path}"]),
        ("  ls   -l  ", vec!["ls", "-l"]),
        ("find {path} -name '*.log'", vec!["find", "{path}", "-name", "*.log"]),
        (r#"grep "a b" 'c "d"' e\ f"#, vec!["grep", "a b", "c \"d\"", "e f"]),
        (r#"printf "\"\\\n" ''"#, vec!["printf", "\"\\\\n", ""]),
        (r"find / \( -name a \)", vec!["find", "/", "(", "-name", "a", ")"]),
        ("stat --format='%n %s' '{path}'", vec!["stat", "--format=%n %s", "{path}"]),
        ("ps -eo pid,comm --sort=-%cpu", vec!["ps", "-eo", "pid,comm", "--sort=-%cpu"]),
        ("cp {a}.{b} /srv/{a}", vec!["cp", "{a}.{b}", "/srv/{a}"]),
    ] {
        assert_eq!(argv(source), words, "{source}");
    }
}

#[test]
fn a_folded_block_is_one_line() {
    assert_eq!(argv("ls -l /tmp\n"), ["ls", "-l", "/tmp"]);
    assert!(Command::parse("ls\nid").is_err());
}

#[test]
fn what_a_shell_alone_understands_is_refused_with_its_place() {
    // CMD-6
    for sign in ["|", "&", ";", "<", ">", "(", ")", "*", "?", "[", "]", "!", "$", "`"] {
        let sentence = refused(&format!("ls a{sign}b"));
        assert!(sentence.contains(&format!("character 5: `{sign}`")), "{sentence}");
    }
    for bad in ["ls ~/x", "ls #x", "ls '$HOME'", "ls \"`id`\"", r"ls \$x"] {
        assert!(matches!(Command::parse(bad), Err(BadCommand::Shell { .. })), "{bad}");
    }
    for fine in ["ls a~", "ls a#b", "ls '~' '#'", "ls 'a;b|c'"] {
        assert!(Command::parse(fine).is_ok(), "{fine}");
    }
}

#[test]
fn control_characters_and_what_is_not_seen_are_refused() {
    for bad in ["ls\t-l", "ls\0", "ls \u{202e}x", "ls \u{200b}", "ls \u{1b}"] {
        assert!(matches!(Command::parse(bad), Err(BadCommand::Text(_))), "{bad:?}");
    }
}

#[test]
fn a_space_that_parts_no_words_is_refused() {
    for bad in ["ls\u{a0}-l", "ls '\u{2003}'", "ls \u{3000}"] {
        assert!(matches!(Command::parse(bad), Err(BadCommand::Space { .. })), "{bad:?}");
    }
}

#[test]
fn a_variable_before_the_program_is_refused() {
    for bad in ["LANG=C ls", "'A=b c' ls"] {
        assert_eq!(Command::parse(bad), Err(BadCommand::Variable), "{bad}");
    }
    assert!(Command::parse("ls a=b").is_ok());
}

#[test]
fn two_dots_are_refused_wherever_they_stand() {
    // CMD-6
    for bad in ["ls ..", "cat /tmp/../etc/shadow", "git log a..b", "ls '..'"] {
        assert_eq!(Command::parse(bad), Err(BadCommand::Dots), "{bad}");
    }
}

#[test]
fn a_program_that_changes_who_runs_it_is_refused() {
    // CMD-6
    for bad in ["sudo ls", "/usr/bin/sudo ls", "su -", "doas ls", "env sudo ls", "pkexec ls"] {
        assert!(matches!(Command::parse(bad), Err(BadCommand::Rises(_))), "{bad}");
    }
    assert!(Command::parse("ls sudoers").is_ok());
}

#[test]
fn a_shell_is_refused_wherever_it_stands() {
    // CMD-4, CMD-6
    for bad in [
        "sh -c id",
        "bash",
        "/bin/bash /opt/x",
        "env bash",
        "find / -exec sh",
        "busybox ls",
        "zsh x",
    ] {
        assert!(matches!(Command::parse(bad), Err(BadCommand::IsShell(_))), "{bad}");
    }
}

#[test]
fn an_interpreter_gets_no_code_from_its_command_line_and_none_from_a_caller() {
    for bad in [
        "python3 -c 'import os'",
        "python3.11 -Ic x",
        "/usr/bin/perl -e x",
        "perl -ne x",
        "node --eval x",
        "php -r x",
        "ruby -e x",
        "perl -E{code}",
        "python3 -",
    ] {
        assert!(matches!(Command::parse(bad), Err(BadCommand::Code(_))), "{bad}");
    }
    for bad in ["python3 {script}", "awk {program} /tmp/x", "sed -n {script}", "perl -w {x}"] {
        assert!(matches!(Command::parse(bad), Err(BadCommand::Chooses(_))), "{bad}");
    }
    for fine in ["python3 /opt/report.py {x}", "sed -n 1,10p {path}", "awk '/x/' {path}"] {
        assert!(Command::parse(fine).is_ok(), "{fine}");
    }
}

#[test]
fn a_caller_does_not_choose_what_another_program_runs() {
    for bad in ["env {x}", "xargs {x}", "timeout 5 {x}", "nice ls {x}", "ssh {host} ls"] {
        assert!(matches!(Command::parse(bad), Err(BadCommand::Chooses(_))), "{bad}");
    }
    let found = Command::parse(r"find /srv -name a -exec {x} \;");
    assert!(matches!(found, Err(BadCommand::Chooses(_))), "{found:?}");
    assert!(Command::parse(r"find {path} -exec /usr/bin/stat \;").is_ok());
    assert!(Command::parse("env").is_ok() && Command::parse("timeout 5 ls").is_ok());
}

#[test]
fn the_program_is_no_parameter_and_no_relative_path() {
    // CMD-4
    for bad in ["{program} x", "/bin/{x}", "l{x}"] {
        assert_eq!(Command::parse(bad), Err(BadCommand::ProgramIsValue), "{bad}");
    }
    for bad in ["./x", "bin/x", "/bin/", "//bin/x", "/bin/./x"] {
        assert_eq!(Command::parse(bad), Err(BadCommand::ProgramRelative), "{bad}");
    }
    assert_eq!(Command::parse("-x"), Err(BadCommand::ProgramIsOption));
    for bad in ["", " ", "''", "\n"] {
        assert_eq!(Command::parse(bad), Err(BadCommand::Empty), "{bad:?}");
    }
}

#[test]
fn a_brace_that_is_no_placeholder_is_refused_with_its_place() {
    for (bad, at) in [
        ("ls {", 4),
        ("ls }", 4),
        ("ls {}", 4),
        ("ls {a b}", 4),
        ("ls {{a}}", 4),
        ("ls x{-a}", 5),
        (r"ls \{a}", 5),
    ] {
        assert_eq!(Command::parse(bad), Err(BadCommand::Brace { at }), "{bad}");
    }
}

#[test]
fn a_quote_without_its_end_is_refused_with_its_place() {
    for (bad, at) in [("ls 'a", 4), ("ls \"a", 4), ("ls a\\", 5), ("ls \"a\\\"", 4)] {
        assert_eq!(Command::parse(bad), Err(BadCommand::Unclosed { at }), "{bad}");
    }
}

#[test]
fn a_command_has_limits() {
    assert!(Command::parse(&format!("ls{}", " a".repeat(127))).is_ok());
    assert_eq!(
        Command::parse(&format!("ls{}", " a".repeat(128))),
        Err(BadCommand::TooLarge("128 arguments"))
    );
    assert!(Command::parse(&format!("ls {}", "{a}".repeat(16))).is_ok());
    assert!(Command::parse(&format!("ls {}", "{a}".repeat(17))).is_err());
    assert!(Command::parse(&format!("ls{}", " {a}".repeat(64))).is_ok());
    assert!(Command::parse(&format!("ls{}", " {a}".repeat(65))).is_err());
    assert!(Command::parse(&format!("ls {}", "a".repeat(4093))).is_ok());
    assert!(Command::parse(&format!("ls {}", "a".repeat(4094))).is_err());
}
