//! `adit connect`, in a terminal of its own.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;

use crate::cli::person::add;
use crate::cli::world::{LIMIT, World, binary, send};

const COLS: u16 = 80;
const ROWS: u16 = 24;

/// What a terminal got and shows.
struct Shown {
    bytes: Vec<u8>,
    text: String,
    screen: avt::Terminal,
    ended: bool,
}

/// A command in a terminal.
pub struct Terminal {
    pty: Arc<pty_process::blocking::Pty>,
    pub child: Child,
    shown: Arc<(Mutex<Shown>, Condvar)>,
}

impl Terminal {
    /// Starts a command of the administrator's.
    pub fn start(world: &World, arguments: &[&str]) -> Self {
        Self::start_as(world, &world.token, arguments)
    }

    /// Starts a command of whoever has a token.
    pub fn start_as(world: &World, token: &str, arguments: &[&str]) -> Self {
        Self::start_at(&world.url, token, arguments)
    }

    /// Starts a command that asks a gateway.
    pub fn start_at(url: &str, token: &str, arguments: &[&str]) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(ROWS, COLS)).unwrap();
        let command = pty_process::blocking::Command::new(binary())
            .args(arguments)
            .env("ADIT_URL", url)
            .env("ADIT_TOKEN", token)
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm-256color");
        let child = command.spawn(pts).unwrap();
        let screen = avt::Terminal::new(COLS.into(), ROWS.into()).unwrap();
        let shown = Shown { bytes: Vec::new(), text: String::new(), screen, ended: false };
        let shown = Arc::new((Mutex::new(shown), Condvar::new()));
        let pty = Arc::new(pty);
        let (from, to) = (pty.clone(), shown.clone());
        std::thread::spawn(move || read(&from, &to));
        Self { pty, child, shown }
    }

    /// Types.
    pub fn write(&self, text: &str) {
        (&*self.pty).write_all(text.as_bytes()).unwrap();
    }

    /// Waits until what is shown is as wanted, and gives the screen's text.
    pub fn wait(&self, what: &str, wanted: impl Fn(&str, &str) -> bool) -> String {
        let (lock, changed) = &*self.shown;
        let began = Instant::now();
        let mut shown = lock.lock().unwrap();
        loop {
            let screen = shown.screen.screen().text().join("\n");
            if wanted(&screen, &shown.text) {
                return screen;
            }
            let left = LIMIT.checked_sub(began.elapsed());
            assert!(left.is_some() && !shown.ended, "no {what}; the screen is:\n{screen}");
            shown = changed.wait_timeout(shown, left.unwrap()).unwrap().0;
        }
    }

    /// Waits until the screen holds a text.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen, _| screen.contains(text))
    }

    /// Waits for the prompt of `/bin/sh`.
    pub fn wait_for_prompt(&self) {
        self.wait("prompt", |screen, _| screen.trim_end().ends_with(['$', '#']));
    }

    /// Gives everything that the terminal got.
    pub fn everything(&self) -> String {
        self.shown.0.lock().unwrap().text.clone()
    }

    /// Waits for the command's end and gives its status.
    pub fn end(&mut self) -> Option<i32> {
        let status = self.child.wait().unwrap().code();
        let (lock, changed) = &*self.shown;
        let mut shown = lock.lock().unwrap();
        while !shown.ended {
            let (now, late) = changed.wait_timeout(shown, LIMIT).unwrap();
            assert!(!late.timed_out(), "the terminal stays open");
            shown = now;
        }
        status
    }

    fn echoes(&self) -> bool {
        tcgetattr(self.pty.as_fd()).unwrap().local_modes.contains(LocalModes::ECHO)
    }
}

fn read(pty: &pty_process::blocking::Pty, shown: &(Mutex<Shown>, Condvar)) {
    let mut buffer = [0; 65536];
    loop {
        let read = (&*pty).read(&mut buffer).unwrap_or(0);
        let mut now = shown.0.lock().unwrap();
        now.ended = read == 0;
        now.bytes.extend_from_slice(&buffer[..read]);
        let whole = match std::str::from_utf8(&now.bytes) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let bytes: Vec<u8> = now.bytes.drain(..whole).collect();
        let text = String::from_utf8(bytes).unwrap();
        now.screen.feed(text.as_str());
        now.text.push_str(&text);
        shown.1.notify_all();
        if now.ended {
            return;
        }
    }
}

#[test]
fn a_shell_is_as_good_as_a_local_one() {
    // TERM-1
    let world = World::start();
    let mut terminal = Terminal::start(&world, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    terminal.write("echo $((6*7)); stty size; tty\r");
    terminal.wait_for("42\n24 80\n/dev/pts/");
    terminal.pty.resize(pty_process::Size::new(30, 100)).unwrap();
    terminal.write("stty size\r");
    terminal.wait("new size", |_, all| all.contains("30 100"));
    terminal.write("exit 5\r");
    assert_eq!(terminal.end(), Some(5));
    assert!(terminal.everything().contains("[session.exited]"));
}

#[test]
fn vim_runs_and_leaves_the_terminal_as_it_was() {
    // TERM-1
    let world = World::start();
    let path = world.folder().join("letter");
    let mut terminal = Terminal::start(&world, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    terminal.write(&format!("vim -u NONE -N {}\r", path.display()));
    terminal.wait("vim (install it: apt-get install vim)", |screen, _| screen.contains("~\n~\n"));
    terminal.write("iDear world,\x1b");
    terminal.wait_for("Dear world,");
    terminal.write(":wq\r");
    terminal.wait_for_prompt();
    terminal.write("exit\r");
    assert_eq!(terminal.end(), Some(0));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "Dear world,\n");
    assert!(terminal.echoes(), "the terminal is no longer raw");
}

#[test]
fn a_detached_session_goes_on_and_is_joined_again() {
    // TERM-5
    let world = World::start();
    let mut terminal = Terminal::start(&world, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    terminal.write("mark=left-behind; echo $mark\r");
    terminal.wait_for("\nleft-behind");
    terminal.write("\r~d");
    assert_eq!(terminal.end(), Some(0));
    assert!(terminal.everything().contains("sessions join"));
    let live = world.wait_for(&["sessions", "ls"], |live| live["items"][0]["state"] == "detached");
    let id = live["items"][0]["id"].as_str().unwrap();
    let mut again = Terminal::start(&world, &["sessions", "join", id]);
    again.wait_for("left-behind");
    again.write("echo again: $mark\r");
    again.wait_for("again: left-behind");
    again.write("exit\r");
    assert_eq!(again.end(), Some(0));
}

#[test]
fn a_client_that_is_killed_leaves_the_shell_to_come_back_to() {
    // R04
    let world = World::start();
    let mut terminal = Terminal::start(&world, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    terminal.write("mark=survived\r");
    terminal.wait_for("mark=survived");
    terminal.child.kill().unwrap();
    terminal.end();
    let live = world.wait_for(&["sessions", "ls"], |live| live["items"][0]["state"] == "detached");
    let id = live["items"][0]["id"].as_str().unwrap();
    let mut again = Terminal::start(&world, &["sessions", "join", id]);
    again.write("echo the shell $mark\r");
    again.wait_for("the shell survived");
    again.write("exit\r");
    assert_eq!(again.end(), Some(0));
}

#[test]
fn an_escape_ends_the_session() {
    let world = World::start();
    let mut terminal = Terminal::start(&world, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    terminal.write("~?");
    terminal.wait_for("ends the session");
    terminal.write("~.");
    assert_eq!(terminal.end(), Some(0));
    assert!(terminal.everything().contains("[session.closed]"));
    assert_eq!(world.sessions("live"), Vec::<Value>::new());
}

#[test]
fn every_byte_comes_once_and_in_order_when_the_gateway_dies() {
    // R01, TERM-5, BEY-1
    let world = World::start();
    let mut terminal = Terminal::start(&world, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    terminal.write("i=0; while [ $i -lt 300 ]; do echo \"<$i>\"; i=$((i+1)); sleep 0.01; done\r");
    terminal.wait("line 30", |_, all| all.contains("<30>"));
    world.kill_gateway();
    terminal.wait("last line", |_, all| all.contains("<299>\r\n"));
    terminal.wait_for_prompt();
    terminal.write("echo still $((1+1))\r");
    terminal.wait_for("still 2");
    terminal.write("exit\r");
    assert_eq!(terminal.end(), Some(0));
    let all = terminal.everything();
    let numbers: Vec<&str> = all
        .split('<')
        .filter_map(|part| part.split_once(">\r\n").map(|(number, _)| number))
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_session_that_is_killed_says_so() {
    // SES-15
    let world = World::start();
    let token = add(&world, "bob", "operator");
    let mut terminal = Terminal::start_as(&world, &token, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    let id = world.sessions("live")[0]["id"].as_str().unwrap().to_owned();
    assert!(world.run(&["sessions", "kill", &id]).status.success());
    assert_eq!(terminal.end(), Some(125));
    assert!(terminal.everything().contains("[session.killed]"), "{}", terminal.everything());
    assert!(terminal.echoes(), "the terminal is no longer raw");
    let shown = world.wait_for(&["sessions", "show", &id], |shown| shown["state"] == "ended");
    assert_eq!(shown["reason"]["code"], "session.killed", "{shown}");
}

#[test]
fn a_client_that_is_terminated_restores_its_terminal() {
    let world = World::start();
    let mut terminal = Terminal::start(&world, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    assert!(!terminal.echoes(), "the terminal is raw");
    send(terminal.child.id(), "TERM");
    assert_eq!(terminal.end(), Some(143));
    assert!(terminal.echoes(), "the terminal is no longer raw");
}

#[test]
fn a_recording_is_paused_and_sought_by_keys() {
    // TERM-41
    let world = World::start();
    let path = world.folder().join("slow.cast");
    let cast = "{\"version\":2,\"width\":80,\"height\":24}\n[0,\"o\",\"first \"]\n[5,\"o\",\"second \"]\n[5000,\"o\",\"third\"]\n";
    std::fs::write(&path, cast).unwrap();
    let mut terminal = Terminal::start(&world, &["play", path.to_str().unwrap()]);
    terminal.wait_for("first");
    terminal.write("\x1b[C");
    terminal.wait_for("first second");
    terminal.write("q");
    assert_eq!(terminal.end(), Some(0));
    assert!(!terminal.everything().contains("third"));
    assert!(terminal.echoes(), "the terminal is no longer raw");
}

#[test]
fn a_big_paste_arrives_whole_and_in_order() {
    // SES-31
    let world = World::start();
    let path = world.folder().join("pasted");
    let mut terminal = Terminal::start(&world, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    let take = format!(
        "stty -echo; echo re\"ady\"; cat > {}; stty echo; echo pas\"ted\"\r",
        path.display()
    );
    terminal.write(&take);
    // Until then the shell reads the terminal raw, and a return stays one.
    terminal.wait_for("ready\n");
    let lines: String =
        (0..8000).map(|number| format!("a line with the number {number}\r")).collect();
    terminal.write(&lines);
    terminal.write("\x04");
    terminal.wait_for("pasted\n");
    terminal.write("exit\r");
    assert_eq!(terminal.end(), Some(0));
    let arrived = std::fs::read_to_string(path).unwrap();
    assert!(arrived == lines.replace('\r', "\n"), "{} of {} bytes", arrived.len(), lines.len());
}

/// A client that stands still, as on a laptop that sleeps, with a command in its terminal that nobody may run later. Its connection is
/// cut meanwhile.
struct Asleep {
    world: World,
    terminal: Terminal,
    session: String,
    file: std::path::PathBuf,
}

impl Asleep {
    fn begin(world: World, terminal: Terminal) -> Self {
        let session = world.sessions("live")[0]["id"].as_str().unwrap().to_owned();
        let file = world.folder().join("typed-asleep");
        send(terminal.child.id(), "STOP");
        terminal.write(&format!("touch {}\r", file.display()));
        world.kill_gateway();
        Self { world, terminal, session, file }
    }

    fn wake(&self) {
        send(self.terminal.child.id(), "CONT");
    }
}

const SHORT_GRACE: &str = "[session]\ngrace_seconds = 5\n";

#[test]
fn a_client_that_slept_beyond_the_grace_says_that_its_session_is_over() {
    // R31
    let world = World::start_with(SHORT_GRACE);
    let terminal = Terminal::start(&world, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    let mut asleep = Asleep::begin(world, terminal);
    asleep.world.wait_until_up();
    let show = ["sessions", "show", &asleep.session];
    asleep.world.wait_for(&show, |session| session["state"] == "ended");
    asleep.wake();
    assert_eq!(asleep.terminal.end(), Some(125));
    let said = asleep.terminal.everything();
    assert!(said.contains("[session."), "{said}");
    assert!(asleep.terminal.echoes(), "the terminal is no longer raw");
    assert!(!asleep.file.exists(), "what was typed asleep was run");
}

#[test]
fn keys_that_were_typed_while_the_client_slept_are_not_run_when_it_comes_back() {
    // R31
    let world = World::start_with(SHORT_GRACE);
    let terminal = Terminal::start(&world, &["connect", &world.machine]);
    terminal.wait_for_prompt();
    let session = world.sessions("live")[0]["id"].as_str().unwrap().to_owned();
    let mut awake = Terminal::start(&world, &["sessions", "join", &session]);
    awake.wait_for_prompt();
    let mut asleep = Asleep::begin(world, terminal);
    // The shell says when more than the grace has passed.
    awake.write("sleep 8; echo $((50+2)) later\r");
    awake.wait_for("52 later");
    asleep.wake();
    asleep.terminal.wait("word of it", |_, all| all.contains("were too old and were dropped"));
    asleep.terminal.write("echo $((40+2)) again\r");
    asleep.terminal.wait_for("42 again");
    assert!(!asleep.file.exists(), "what was typed asleep was run");
    asleep.terminal.write("exit\r");
    assert_eq!((asleep.terminal.end(), awake.end()), (Some(0), Some(0)));
}
