//! `adit exec`: streams, exit status, signals.

use std::fs::File;
use std::process::Stdio;

use crate::cli::world::{Running, World, feed, send, stderr, stdout};

#[test]
fn streams_and_status_pass_through() {
    // SES-16
    let world = World::start();
    let path = world.folder().join("input");
    std::fs::write(&path, "one\ntwo").unwrap();
    let script = "cat; echo beside >&2; exit 7";
    let mut command = world.command(&["exec", &world.machine, "--", "sh", "-c", script]);
    let output = command.stdin(File::open(&path).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(stdout(&output), "one\ntwo");
    assert_eq!(stderr(&output), "beside\n");
}

#[test]
fn five_mebibytes_of_anything_come_back_as_they_went() {
    // SES-16, SES-31
    let world = World::start();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let input: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(5 * 1024 * 1024 / 8)
    .flatten()
    .collect();
    let output = feed(&mut world.command(&["exec", &world.machine, "--", "cat"]), &input);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout == input, "{} of {} bytes", output.stdout.len(), input.len());
}

#[test]
fn there_is_a_terminal_only_when_it_is_asked_for() {
    let world = World::start();
    let ask = ["--", "sh", "-c", "test -t 0 && echo yes || echo no"];
    let without = world.run(&[&["exec", &world.machine][..], &ask].concat());
    assert_eq!(stdout(&without), "no\n", "{}", stderr(&without));
    let with = world.run(&[&["exec", &world.machine, "-t"][..], &ask].concat());
    assert!(stdout(&with).contains("yes\r\n"), "{}", stderr(&with));
}

#[test]
fn a_death_by_signal_is_told_as_a_shell_tells_it() {
    let world = World::start();
    let output = world.run(&["exec", &world.machine, "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(output.status.code(), Some(137), "{}", stderr(&output));
}

#[test]
fn a_signal_reaches_the_command() {
    let world = World::start();
    let script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let running =
        Running::start(&mut world.command(&["exec", &world.machine, "--", "sh", "-c", script]));
    running.line_with("ready");
    send(running.child.id(), "TERM");
    running.line_with("got it");
    assert_eq!(running.end().0, Some(9));
}

#[test]
fn a_variable_is_set_for_the_command() {
    let world = World::start();
    let output =
        world.run(&["exec", &world.machine, "-e", "FRUIT=a pear", "--", "printenv", "FRUIT"]);
    assert_eq!(stdout(&output), "a pear\n", "{}", stderr(&output));
}

#[test]
fn the_end_of_input_ends_the_command() {
    let world = World::start();
    let output = world.run(&["exec", &world.machine, "--", "wc", "-c"]);
    assert_eq!(stdout(&output).trim(), "0", "{}", stderr(&output));
}

#[test]
fn a_refusal_is_one_sentence_and_125() {
    let world = World::start();
    for arguments in [["exec", "nowhere", "--", "true"], ["sessions", "kill", "nothing", "--json"]]
    {
        let output = world.run(&arguments);
        assert_eq!(output.status.code(), Some(125));
        let said = stderr(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("adit: ") && said.trim_end().ends_with(']'), "{said}");
    }
}

#[test]
fn a_wrong_command_line_is_2() {
    let world = World::start();
    for arguments in [&["exec", "x"][..], &["ls", "--nonsense"], &["ls", "--token", "adt_literal"]]
    {
        let output = world.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!stderr(&output).contains("adt_literal"));
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command() {
    let world = World::start();
    let mut command = world.command(&["exec", &world.machine, "--", "yes"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(141));
    world.wait_for(&["sessions", "ls"], |live| live["items"] == serde_json::json!([]));
}

#[test]
fn output_is_whole_and_in_order_when_the_gateway_dies() {
    // R01, TERM-5
    let world = World::start();
    let script = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); sleep 0.01; done; exit 3";
    let running =
        Running::start(&mut world.command(&["exec", &world.machine, "--", "sh", "-c", script]));
    running.line_with("line 20");
    world.kill_gateway();
    for number in 21..400 {
        assert_eq!(running.line().as_deref(), Some(format!("line {number}").as_str()));
    }
    assert_eq!(running.line(), None);
    assert_eq!(running.end().0, Some(3));
}

#[test]
fn a_command_whose_agent_dies_says_so() {
    // R02
    let world = World::start();
    let script = "echo ready; exec sleep 1000";
    let running =
        Running::start(&mut world.command(&["exec", &world.machine, "--", "sh", "-c", script]));
    running.line_with("ready");
    world.kill_agent();
    let (status, said) = running.end();
    assert_eq!(status, Some(125), "{said}");
    assert!(said.contains("[session.lost_agent]"), "{said}");
}

#[test]
fn a_script_on_standard_input_runs_in_the_login_shell() {
    let world = World::start();
    let output = feed(&mut world.command(&["connect", &world.machine]), b"echo $((6*7))\nexit 4\n");
    assert!(stdout(&output).contains("42"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(4));
}
