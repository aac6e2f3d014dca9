//! A log that cannot grow: a program of its own, because what ends its growth ends that of every file.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod served;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use adit_helper::request::Why;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use served::{Served, certificate, reload};

#[test]
fn nothing_is_done_while_the_log_cannot_be_written() {
    // TIX-72
    let mut served = Served::start();
    served.ask(&reload("nginx.service")).unwrap();
    let log = fs::metadata(served.at("audit.jsonl")).unwrap().len();
    let before = getrlimit(Resource::Fsize);
    // Without a handler the signal would end this program, where a full disk gives an error.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))
        .unwrap();
    setrlimit(Resource::Fsize, Rlimit { current: Some(log + 10), ..before }).unwrap();
    let refused = served.refused(&certificate("web"));
    setrlimit(Resource::Fsize, before).unwrap();
    assert_eq!(refused.0, Why::Audit, "{}", refused.1);
    assert!(!served.at("certificates/web").exists());
    assert_eq!(fs::metadata(served.at("audit.jsonl")).unwrap().len(), log, "no part of a line");
    served.ask(&certificate("web")).unwrap();
    assert_eq!(served.events().len(), 4);
}
