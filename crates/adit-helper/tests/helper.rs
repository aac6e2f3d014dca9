//! The helper behind its socket, as a caller meets it: real sockets, real files, real processes.
//!
//! Whoever runs this is the account that may ask; files are in a folder of the test. Where root runs it, a second account is a real one.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod served;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use adit_helper::audit::Audit;
use adit_helper::client::AskError;
use adit_helper::program::{Call, Programs};
use adit_helper::request::{MAX_REQUEST_BYTES, OwnUnit, WebServer, Why, read_frame};
use adit_helper::serve::Limits;
use adit_helper::{Answer, Request};
use rcgen::KeyPair;
use served::{
    PROGRAM, Real, Served, answer, certificate, code, install, own_account, refusal, reload,
};

fn pair(events: &[(String, String, String)]) -> Vec<(&str, &str)> {
    events.iter().map(|(event, outcome, _)| (event.as_str(), outcome.as_str())).collect()
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).unwrap().next().is_none()
}

#[test]
fn a_certificate_is_installed_and_both_events_are_in_the_log() {
    // TIX-72
    let mut served = Served::start();
    served.ask(&certificate("web")).unwrap();
    let done = served.ask(&certificate("web")).unwrap();
    assert!(done.sentence.contains("certificates/web"), "{}", done.sentence);
    let mode = |name: &str| fs::metadata(served.at(name)).unwrap().mode() & 0o777;
    assert_eq!(mode("certificates/web/chain.pem"), 0o644);
    assert_eq!(mode("certificates/web/key.pem"), 0o600);
    let once = [("helper.request", "ok"), ("helper.result", "ok")];
    assert_eq!(pair(&served.events()), once.repeat(2));
}

#[test]
fn a_service_is_reloaded_and_restarted_with_fixed_arguments_and_an_empty_environment() {
    // TIX-72
    let served = Served::start();
    served.ask(&reload("nginx.service")).unwrap();
    let unit = "nginx.service".to_owned().try_into().unwrap();
    served.ask(&Request::RestartService { unit }).unwrap();
    served.ask(&Request::TestConfiguration { server: WebServer::Nginx }).unwrap();
    assert_eq!(
        served.calls(),
        "systemctl --no-ask-password reload -- nginx.service\nsystemctl --no-ask-password restart -- nginx.service\nnginx -t -q\n"
    );
    let environment = fs::read_to_string(served.at("bin/environment")).unwrap();
    let mut names: Vec<_> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    // The shell of the program adds its own.
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["LC_ALL", "PATH"]);
}

#[test]
fn a_unit_is_written_from_the_helpers_own_template() {
    // TIX-72
    let served = Served::start();
    served.ask(&Request::WriteUnit { unit: OwnUnit::Gateway, port: Some(443) }).unwrap();
    let unit = fs::read_to_string(served.at("units/adit-gateway.service")).unwrap();
    assert!(unit.contains("\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"), "{unit}");
    assert!(served.calls().ends_with("systemctl --no-ask-password daemon-reload\n"));
}

#[test]
fn what_a_program_says_is_passed_on_when_it_fails() {
    let mut served = Served::start();
    fs::write(served.at("bin/fails"), "").unwrap();
    let asked = served.ask(&Request::TestConfiguration { server: WebServer::Nginx });
    let Err(AskError::Refused(refused)) = asked else { panic!("{asked:?}") };
    assert_eq!((refused.code, refused.output.as_str()), (Why::Failed, "line 7 is wrong\n"));
    let events = served.events();
    assert_eq!(pair(&events), [("helper.request", "ok"), ("helper.result", "failed")]);
}

#[test]
fn what_is_not_on_the_list_is_refused_and_written_down() {
    // TIX-72
    let mut served = Served::start();
    let requests = [
        certificate("mail"),
        reload("ssh.service"),
        Request::TestConfiguration { server: WebServer::Apache },
        Request::WriteUnit { unit: OwnUnit::Agent, port: None },
    ];
    for request in &requests {
        assert_eq!(served.refused(request).0, Why::NotListed);
    }
    assert!(served.calls().is_empty() && is_empty(&served.at("certificates")));
    let events = served.events();
    let expected =
        ("helper.refuse".to_owned(), "denied".to_owned(), "helper.not_listed".to_owned());
    assert_eq!(events, vec![expected; requests.len()]);
}

#[test]
fn what_passes_a_wildcard_of_sudoers_is_no_request() {
    // TIX-72, SUP-03
    let mut served = Served::start();
    let names = [
        "--pre-hook",
        "nginx.service --pre-hook=/tmp/x",
        "-out /etc/cron.d/x",
        "../../etc/cron.d/x",
        "/etc/cron.d/x",
        "nginx.service\\n[Service]",
        "nginx\\u0000.service",
        "nginx.service;id",
        "*.service",
    ];
    for name in names {
        for request in [
            format!("{{\"reload-service\":{{\"unit\":\"{name}\"}}}}"),
            format!(
                "{{\"install-certificate\":{{\"name\":\"{name}\",\"chain\":\"\",\"key\":\"\"}}}}"
            ),
            format!("{{\"write-unit\":{{\"unit\":\"{name}\",\"port\":1}}}}"),
        ] {
            assert_eq!(code(&served.send(request.as_bytes())), Why::Request, "{request}");
        }
    }
    assert!(served.calls().is_empty() && is_empty(&served.at("certificates")));
    assert!(is_empty(&served.at("units")));
    let events = served.events();
    assert!(events.iter().all(|(event, ..)| event == "helper.refuse"));
}

#[test]
fn a_flood_of_refusals_does_not_fill_the_log() {
    let mut served = Served::start();
    for _ in 0..40 {
        assert_eq!(code(&served.send(b"{}")), Why::Request);
    }
    // Ten a minute, and a minute may end meanwhile.
    assert!((10..=20).contains(&served.events().len()));
}

#[test]
fn more_requests_than_a_minute_has_are_refused() {
    let served = Served::start();
    let answers: Vec<_> = (0..125).map(|_| served.ask(&reload("nginx.service"))).collect();
    let busy = answers.into_iter().filter(Result::is_err).map(refusal).map(|(code, _)| code);
    let busy: Vec<_> = busy.collect();
    assert!(!busy.is_empty() && busy.iter().all(|code| *code == Why::Busy), "{busy:?}");
}

#[test]
fn bytes_that_are_no_request_are_refused_and_the_next_is_served() {
    let mut served = Served::start();
    for garbage in [&b""[..], b"\0\0\0\0", b"\xff\xfe", b"{", b"[[[[[[[[", &[b'['; 100_000]] {
        assert_eq!(code(&served.send(garbage)), Why::Request);
    }
    served.ask(&reload("nginx.service")).unwrap();
    assert_eq!(served.events().len(), 8);
}

#[test]
fn a_request_over_the_limit_is_refused_before_it_is_read() {
    // TIX-72
    let served = Served::start();
    let mut stream = served.connect();
    let length = u32::try_from(MAX_REQUEST_BYTES).unwrap() + 1;
    stream.write_all(&length.to_be_bytes()).unwrap();
    assert_eq!(code(&answer(&mut stream)), Why::Request);
    let long = "x".repeat(MAX_REQUEST_BYTES);
    assert!(matches!(served.ask(&install("web", long, String::new())), Err(AskError::Long)));
}

#[test]
fn half_a_request_holds_up_nobody_and_its_time_ends() {
    // TIX-72
    let users = format!("users = [{:?}]", own_account());
    let limits = Limits { within: Duration::from_millis(500), ..Limits::default() };
    let served = Served::start_with(&users, limits);
    let mut half = served.connect();
    half.write_all(&[0, 0, 1]).unwrap();
    served.ask(&reload("nginx.service")).unwrap();
    assert_eq!(code(&answer(&mut half)), Why::Request);
    assert_eq!(half.read(&mut [0; 1]).unwrap(), 0, "the connection is closed");
}

#[test]
fn more_connections_than_it_takes_are_told_to_come_again() {
    let users = format!("users = [{:?}]", own_account());
    let limits = Limits { within: Duration::from_secs(30), connections: 2, idle: None };
    let served = Served::start_with(&users, limits);
    let held = [served.connect(), served.connect()];
    assert_eq!(code(&answer(&mut served.connect())), Why::Busy);
    drop(held);
}

#[test]
fn a_program_that_does_not_end_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("nginx");
    fs::write(&program, PROGRAM).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    // Reading from a pipe that nobody writes to lasts for ever.
    let fifo = folder.path().join("hangs");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let programs =
        Programs { nginx: program, within: Duration::from_millis(200), ..Programs::system() };
    let ran = programs.run(Call::Test(WebServer::Nginx)).unwrap();
    assert!(!ran.is_good && ran.end.contains("killed"), "{ran:?}");
}

#[test]
fn a_key_that_is_anothers_changes_nothing() {
    // TIX-72
    let mut served = Served::start();
    served.ask(&certificate("web")).unwrap();
    let before = fs::read(served.at("certificates/web/key.pem")).unwrap();
    let (Request::InstallCertificate { chain, .. }, key) =
        (certificate("web"), KeyPair::generate().unwrap())
    else {
        unreachable!()
    };
    let (code, sentence) = served.refused(&install("web", chain, key.serialize_pem()));
    assert_eq!(code, Why::Certificate, "{sentence}");
    assert_eq!(fs::read(served.at("certificates/web/key.pem")).unwrap(), before);
    assert_eq!(served.events().last().unwrap().2, "helper.certificate");
}

#[test]
fn a_link_at_the_destination_is_not_followed() {
    // TIX-72
    let served = Served::start();
    let other = tempfile::tempdir().unwrap();
    symlink(other.path(), served.at("certificates/web")).unwrap();
    let (code, sentence) = served.refused(&certificate("web"));
    assert_eq!(code, Why::Failed);
    assert!(sentence.contains("a link"), "{sentence}");
    assert!(is_empty(other.path()));
    symlink("/dev/null", served.at("units/adit-gateway.service")).unwrap();
    let request = Request::WriteUnit { unit: OwnUnit::Gateway, port: None };
    assert_eq!(served.refused(&request).0, Why::Failed);
}

#[test]
fn a_log_that_was_edited_keeps_the_helper_from_starting() {
    // TIX-72
    let mut served = Served::start();
    served.ask(&reload("nginx.service")).unwrap();
    served.stop();
    let path = served.at("audit.jsonl");
    let edited = fs::read_to_string(&path).unwrap().replace("nginx.service", "apache.service");
    fs::write(&path, edited).unwrap();
    let refused = Audit::open(&path, &Real).unwrap_err().to_string();
    assert!(refused.contains("event 1"), "{refused}");
}

#[test]
fn another_account_is_refused_and_written_down() {
    // TIX-72, DSK-10
    let mut served = if nix::unistd::Uid::effective().is_root() {
        // Root asks, and then an account that is not on the list does.
        Served::start()
    } else {
        // Without root nobody can be another: the list has another, and this account is not on it.
        Served::start_with("users = [\"root\"]", Limits::default())
    };
    let request = br#"{"reload-service":{"unit":"nginx.service"}}"#;
    let mut sent = u32::try_from(request.len()).unwrap().to_be_bytes().to_vec();
    sent.extend(request);
    let refused = if nix::unistd::Uid::effective().is_root() {
        as_nobody(&served.at("socket"), &sent)
    } else {
        let mut stream = served.connect();
        stream.write_all(&sent).unwrap();
        answer(&mut stream)
    };
    assert_eq!(code(&refused), Why::Peer);
    assert!(served.calls().is_empty());
    let expected = ("helper.refuse".to_owned(), "denied".to_owned(), "helper.peer".to_owned());
    assert_eq!(served.events(), [expected]);
}

/// Sends bytes to a socket as the account `nobody`, and gives the answer.
fn as_nobody(socket: &Path, sent: &[u8]) -> Answer {
    const SENDS: &str = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
        s.sendall(bytes.fromhex(sys.argv[2]))\nf=s.makefile('rb')\nhead=f.read(4)\n\
        sys.stdout.buffer.write(head+f.read(int.from_bytes(head,'big')))";
    let hex: String = sent.iter().map(|byte| format!("{byte:02x}")).collect();
    let output = Command::new("setpriv")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c", SENDS])
        .arg(socket)
        .arg(hex)
        .output()
        .expect("`apt-get install util-linux python3` brings what this needs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = read_frame(&mut output.stdout.as_slice(), MAX_REQUEST_BYTES).unwrap();
    serde_json::from_slice(bytes.expose()).unwrap()
}
