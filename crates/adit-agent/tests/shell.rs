//! Shells behind real supervisors.

use adit_agent::shell::{Command, Exit, Shell, Size, SpawnError, Spawner, Stream};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

fn spawner() -> Spawner {
    Spawner::with_program(PathBuf::from(env!("CARGO_BIN_EXE_adit-supervise")))
        .expect("the spawner starts")
}

fn command(script: &str) -> Command {
    let arguments = ["sh", "-c", script].map(str::to_owned).to_vec();
    Command { arguments, ..Command::default() }
}

fn on_terminal(script: &str) -> Command {
    Command { terminal: Some(Size::clamped(80, 24)), ..command(script) }
}

async fn read_until(shell: &mut Shell, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0_u8; 4096];
    let read = async {
        while !text.contains(wanted) {
            let Stream::Terminal(pty) = &mut shell.stream else { panic!("no terminal") };
            let len = pty.read(&mut buffer).await.expect("the terminal is open");
            text.push_str(&String::from_utf8_lossy(&buffer[..len]));
        }
    };
    let read = timeout(LIMIT, read).await;
    assert!(read.is_ok(), "{wanted:?} did not come, but {text:?}");
    text
}

async fn read_rest(shell: &mut Shell) -> String {
    let mut bytes = Vec::new();
    match &mut shell.stream {
        // The last reader's error is the terminal's end.
        Stream::Terminal(pty) => {
            drop(timeout(LIMIT, pty.read_to_end(&mut bytes)).await.expect("the terminal closes"))
        }
        Stream::Pipes { stdout, .. } => {
            let stdout = stdout.as_mut().expect("standard output is open");
            timeout(LIMIT, stdout.read_to_end(&mut bytes))
                .await
                .expect("it closes")
                .expect("it is read");
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The process group that gets what is typed.
fn foreground(shell: &Shell) -> rustix::process::Pid {
    let Stream::Terminal(pty) = &shell.stream else { panic!("no terminal") };
    rustix::termios::tcgetpgrp(pty).expect("a shell is on the terminal")
}

async fn write(shell: &mut Shell, text: &str) {
    let Stream::Terminal(pty) = &mut shell.stream else { panic!("no terminal") };
    pty.write_all(text.as_bytes()).await.expect("the terminal is open");
}

async fn exit(shell: &mut Shell) -> Exit {
    timeout(LIMIT, shell.supervisor.exited()).await.expect("the shell ends")
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn gone(shell: &mut Shell) {
    timeout(LIMIT, shell.supervisor.gone())
        .await
        .expect("everything ends")
        .expect("the supervisor tells");
}

// TERM-1
#[tokio::test]
async fn a_command_on_a_terminal_has_a_terminal() {
    let mut shell =
        spawner().spawn(&on_terminal("tty; stty size; exit 7")).await.expect("it starts");
    let text = read_rest(&mut shell).await;
    assert!(text.contains("/dev/pts/") && text.contains("24 80"), "{text:?}");
    assert_eq!(exit(&mut shell).await, Exit::Status(7));
}

#[tokio::test]
async fn a_command_without_a_terminal_has_its_streams_apart() {
    let mut shell =
        spawner().spawn(&command("cat; echo oops >&2; exit 3")).await.expect("it starts");
    let Stream::Pipes { stdin, stdout, stderr } = &mut shell.stream else { panic!("a terminal") };
    let mut stdin = stdin.take().expect("standard input is open");
    stdin.write_all(b"a\0b\xff").await.expect("it is read");
    drop(stdin);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    stdout.as_mut().expect("open").read_to_end(&mut out).await.expect("it is read");
    stderr.as_mut().expect("open").read_to_end(&mut err).await.expect("it is read");
    assert_eq!((&out[..], &err[..]), (&b"a\0b\xff"[..], &b"oops\n"[..]));
    assert_eq!(exit(&mut shell).await, Exit::Status(3));
}

#[tokio::test]
async fn a_signal_reaches_the_command_by_its_name() {
    let mut shell =
        spawner().spawn(&command("echo ready; kill -TERM $$; sleep 60")).await.expect("it starts");
    assert_eq!(exit(&mut shell).await, Exit::Signal(15));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_refused_by_name() {
    let wanted = Command { arguments: vec!["/no/such/program".to_owned()], ..Command::default() };
    let refused = spawner().spawn(&wanted).await.err().expect("it is refused");
    assert!(
        matches!(&refused, SpawnError::Program(text) if text.contains("/no/such/program")),
        "{refused}"
    );
}

#[tokio::test]
async fn an_unknown_account_is_refused() {
    let wanted = Command { run_as: "nobody-of-that-name".to_owned(), ..command("true") };
    let refused = spawner().spawn(&wanted).await.err().expect("it is refused");
    assert!(refused.to_string().contains("nobody-of-that-name"), "{refused}");
}

// TERM-1
#[tokio::test]
async fn the_login_shell_has_job_control() {
    let wanted = Command { terminal: Some(Size::clamped(80, 24)), ..Command::default() };
    let mut shell = spawner().spawn(&wanted).await.expect("it starts");
    write(&mut shell, "PS1=; echo re''ady\n").await;
    read_until(&mut shell, "ready\r\n").await;
    let at_prompt = foreground(&shell);
    write(&mut shell, "sh -c 'echo s''tarted; exec sleep 1000'\n").await;
    read_until(&mut shell, "started").await;
    write(&mut shell, "\x1a").await;
    read_until(&mut shell, "Stopped").await;
    write(&mut shell, "fg\n").await;
    read_until(&mut shell, "sleep 1000").await;
    // The shell says so before it is so.
    let in_front = async {
        while foreground(&shell) == at_prompt {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, in_front).await.expect("the command is in the foreground again");
    write(&mut shell, "\x03").await;
    write(&mut shell, "echo bac''k; exit 5\n").await;
    read_until(&mut shell, "back").await;
    assert_eq!(exit(&mut shell).await, Exit::Status(5));
}

// AGT-20
#[tokio::test]
async fn a_shell_has_a_fresh_environment_and_three_descriptors() {
    let env = vec![
        ("LANG".to_owned(), "de_DE.UTF-8".to_owned()),
        ("LD_PRELOAD".to_owned(), "/x".to_owned()),
    ];
    let wanted = Command {
        env,
        ..on_terminal("env; echo fds; ls /proc/self/fd; cat /proc/$PPID/environ; umask; pwd")
    };
    let mut shell = spawner().spawn(&wanted).await.expect("it starts");
    let text = read_rest(&mut shell).await;
    let (env, rest) = text.split_once("fds\r\n").expect("both parts");
    let mut names: Vec<&str> =
        env.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    assert_eq!(names, ["COLORTERM", "HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "USER"]);
    assert!(env.contains("LANG=de_DE.UTF-8"), "{env:?}");
    // The fourth is the folder that `ls` itself has open.
    assert!(
        rest.starts_with("0  1  2  3\r\n") || rest.starts_with("0\r\n1\r\n2\r\n3\r\n"),
        "{rest:?}"
    );
    assert!(rest.ends_with("0022\r\n/root\r\n") || !rest.contains("CARGO"), "{rest:?}");
    assert!(!rest.contains("CARGO"), "{rest:?}");
}

// Decision 18, SES-15
#[tokio::test]
async fn everything_that_a_shell_started_ends_with_it() {
    let script = "nohup sleep 1001 >/dev/null 2>&1 & echo pid $!; \
                  setsid sleep 1002 >/dev/null 2>&1 & echo pid $!; \
                  (setsid sh -c 'sleep 1003 & echo pid $!; trap \"\" HUP TERM; wait' &) ; sleep 0.3; echo all; cat";
    let mut shell = spawner().spawn(&on_terminal(script)).await.expect("it starts");
    let text = read_until(&mut shell, "all\r\n").await;
    let pids: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("pid ")).collect();
    assert_eq!(pids.len(), 3, "{text:?}");
    assert!(pids.iter().all(|pid| is_alive(pid)));
    shell.supervisor.end();
    exit(&mut shell).await;
    gone(&mut shell).await;
    assert!(!pids.iter().any(|pid| is_alive(pid)), "{pids:?}");
}

// R02, decision 18
#[tokio::test]
async fn the_agents_death_ends_everything() {
    let mut shell = spawner()
        .spawn(&on_terminal("setsid sleep 1004 & echo pid $!; cat"))
        .await
        .expect("it starts");
    let text = read_until(&mut shell, "\n").await;
    let pid =
        text.lines().find_map(|line| line.trim().strip_prefix("pid ")).expect("a pid").to_owned();
    // A dropped control socket is all that a supervisor sees of an agent that was killed.
    drop(shell);
    let died = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while is_alive(&pid) {
            ticks.tick().await;
        }
    };
    timeout(LIMIT, died).await.expect("the child dies");
}

// Decision 18: who forks faster than it is killed.
#[tokio::test]
async fn a_process_that_forks_on_and_on_does_not_get_away() {
    let script = "trap '' HUP; f() { f & }; f; f; echo go; wait";
    let mut shell = spawner().spawn(&on_terminal(script)).await.expect("it starts");
    read_until(&mut shell, "go").await;
    shell.supervisor.end();
    gone(&mut shell).await;
}

// R46
#[tokio::test]
async fn a_spawner_that_dies_is_an_error_and_no_shell() {
    let spawner = Spawner::with_program(PathBuf::from("/bin/true")).expect("it starts");
    for _ in 0..3 {
        let refused = spawner.spawn(&command("true")).await.err().expect("there is no shell");
        assert!(matches!(refused, SpawnError::Spawner(_) | SpawnError::Exhausted(_)), "{refused}");
    }
}

// R02
#[tokio::test]
async fn a_killed_supervisor_takes_its_shell_along() {
    let spawner = spawner();
    let mut shell = spawner
        .spawn(&on_terminal("setsid sleep 1005 & echo pid $! $PPID; cat"))
        .await
        .expect("it starts");
    let text = read_until(&mut shell, "\n").await;
    let line =
        text.lines().find_map(|line| line.trim().strip_prefix("pid ")).expect("pids").to_owned();
    let (child, supervisor) = line.split_once(' ').expect("two pids");
    let supervisor =
        rustix::process::Pid::from_raw(supervisor.parse().expect("a pid")).expect("a pid");
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).expect("it lives");
    assert_eq!(exit(&mut shell).await, Exit::Lost);
    let died = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while is_alive(child) {
            ticks.tick().await;
        }
    };
    timeout(LIMIT, died).await.expect("the child dies");
    spawner.spawn(&command("true")).await.expect("others start");
}

/// The memory that only this process has, in KiB.
fn private_kib(pid: &str) -> u64 {
    let rollup =
        std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the process lives");
    let of = |name: &str| {
        let line = rollup.lines().find(|line| line.starts_with(name)).expect("the kernel tells");
        line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number")
    };
    of("Private_Clean:") + of("Private_Dirty:")
}

// The bar for an idle session is 160 KiB with everything.
#[tokio::test]
async fn a_supervisor_has_less_than_100_kib_of_its_own() {
    let spawner = spawner();
    let mut shells = Vec::new();
    for _ in 0..4 {
        shells.push(spawner.spawn(&on_terminal("echo $PPID; cat")).await.expect("it starts"));
    }
    let mut most = 0;
    for shell in &mut shells {
        let text = read_until(shell, "\n").await;
        most = most.max(private_kib(text.trim()));
    }
    assert!(most < 100, "{most} KiB");
}

// AGT-21
#[tokio::test]
async fn a_shell_has_exactly_the_rights_of_its_account() {
    assert!(
        rustix::process::geteuid().is_root(),
        "run this test as root: only root can take on another account"
    );
    let wanted = Command {
        run_as: "nobody".to_owned(),
        ..on_terminal("id -u; id -g; id -G; umask; tty | xargs stat -c %U; id -un")
    };
    let mut shell = spawner().spawn(&wanted).await.expect("it starts");
    let text = read_rest(&mut shell).await;
    let expected = std::process::Command::new("sh")
        .args([
            "-c",
            "id -u nobody; id -g nobody; id -G nobody; echo 0022; echo nobody; echo nobody",
        ])
        .output()
        .expect("id is there");
    assert_eq!(text.replace("\r\n", "\n"), String::from_utf8_lossy(&expected.stdout));
}

// TERM-1: what a starter of the agent ignores is not ignored in a shell.
#[tokio::test]
async fn a_shell_ignores_and_blocks_no_signal() {
    let mut shell = spawner()
        .spawn(&on_terminal("grep -E 'Sig(Blk|Ign)' /proc/self/status"))
        .await
        .expect("it starts");
    let text = read_rest(&mut shell).await;
    let masks: Vec<u64> = text
        .lines()
        .filter_map(|line| u64::from_str_radix(line.split_once(':')?.1.trim(), 16).ok())
        .map(|mask| mask & STANDARD_SIGNALS)
        .collect();
    assert_eq!(masks, [0, 0], "{text:?}");
}

/// 1 to 31; those above belong to the C library.
const STANDARD_SIGNALS: u64 = 0x7fff_ffff;
