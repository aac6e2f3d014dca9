//! The grammar of the client commands, as a reviewer reads it.

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Debug, Parser)]
#[command(name = "adit")]
struct Program {
    #[command(subcommand)]
    command: Command,
}

fn helps(command: &mut clap::Command, path: &str, into: &mut Vec<(String, String)>) {
    let name = format!("{path} {}", command.get_name()).trim().to_owned();
    into.push((name.clone(), command.render_long_help().to_string()));
    for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        helps(inner, &name, into);
    }
}

#[test]
fn the_help_of_each_command_is_as_reviewed() {
    let mut program = Program::command();
    program.build();
    let mut all = Vec::new();
    helps(&mut program, "", &mut all);
    let text: Vec<String> =
        all.into_iter().map(|(name, help)| format!("==== {name}\n{help}")).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn the_grammar_holds_together() {
    Program::command().debug_assert();
}

#[test]
fn every_command_takes_the_gateways_options_after_its_own() {
    for line in [
        "adit ls --json --url http://127.0.0.1:1 --token -",
        "adit sessions ls --json --state all",
        "adit sessions --json show 1 --screen",
        "adit audit verify log.jsonl --key @pub --json",
        "adit grant add user:bob viewer --machine web-1 --expires 12h",
        "adit why user:bob terminal:spawn web-1 --json",
    ] {
        assert!(Program::try_parse_from(line.split(' ')).is_ok(), "{line}");
    }
}

#[test]
fn a_wrong_command_line_is_refused() {
    for line in [
        "adit sessions kill",
        "adit audit verify log.jsonl",
        "adit audit verify --key ab",
        "adit grant add user:bob viewer --expires soon",
        "adit recordings export",
    ] {
        let refused = Program::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(refused.exit_code(), 2, "{line}");
    }
}
