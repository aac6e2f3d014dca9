//! A helper that serves a folder of its own.

#![allow(dead_code, reason = "each program of tests uses a part")]

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_domain::{Clock, Ids, Secret, Timestamp};
use adit_helper::audit::{Audit, verify};
use adit_helper::client::{AskError, Done};
use adit_helper::program::Programs;
use adit_helper::request::{MAX_REQUEST_BYTES, Why, read_frame, write_frame};
use adit_helper::serve::{Limits, serve};
use adit_helper::{Answer, Client, Helper, Request, Settings};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use uuid::Uuid;

pub struct Real;

impl Clock for Real {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp(since.as_millis().try_into().unwrap())
    }
}

impl Ids for Real {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn fill(&self, _: &mut [u8]) {}
}

/// A helper that serves a folder of its own, until it is dropped.
pub struct Served {
    pub folder: TempDir,
    end: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// Says its arguments and its environment into a file, then ends as a file beside it says.
pub const PROGRAM: &str = "#!/bin/sh\nhere=${0%/*}\necho \"${0##*/} $*\" >> $here/calls\nenv > $here/environment\n\
    [ -e $here/hangs ] && exec cat $here/hangs\n[ -e $here/fails ] && { echo 'line 7 is wrong' >&2; exit 1; }\nexit 0\n";

pub fn own_account() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap();
    user.expect("this account has a name").name
}

impl Served {
    pub fn start() -> Self {
        Self::start_with(&format!("users = [{:?}]", own_account()), Limits::default())
    }

    pub fn start_with(users: &str, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        for name in ["certificates", "units", "bin"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["systemctl", "nginx", "apache2ctl", "caddy"] {
            fs::write(at("bin").join(name), PROGRAM).unwrap();
            fs::set_permissions(at("bin").join(name), PermissionsExt::from_mode(0o755)).unwrap();
        }
        let settings = format!(
            "{users}\naudit = {:?}\ncertificates = {:?}\nunit_folder = {:?}\nservices = [\"nginx.service\"]\n\
             web_servers = [\"nginx\"]\nunits = [\"gateway\"]\n[certificate.web]\n",
            at("audit.jsonl"),
            at("certificates"),
            at("units"),
        );
        fs::write(at("helper.toml"), settings).unwrap();
        let settings = Settings::load(&at("helper.toml")).unwrap();
        let audit = Audit::open(&settings.audit, &Real).unwrap();
        let programs = Programs {
            systemctl: at("bin/systemctl"),
            nginx: at("bin/nginx"),
            apache: at("bin/apache2ctl"),
            caddy: at("bin/caddy"),
            within: Duration::from_secs(30),
        };
        let helper =
            Helper::new(settings, programs, audit, Arc::new(Real), Arc::new(Real)).unwrap();
        let listener = UnixListener::bind(at("socket")).unwrap();
        // As the unit has it: whoever may connect is told who may ask.
        fs::set_permissions(at("socket"), PermissionsExt::from_mode(0o666)).unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (end, ends) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            serve(&listener, &helper, limits, Some(ends.as_fd())).unwrap();
        });
        Self { folder, end: Some(end), thread: Some(thread) }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    pub fn ask(&self, request: &Request) -> Result<Done, AskError> {
        Client::new(&self.at("socket")).ask(request)
    }

    pub fn refused(&self, request: &Request) -> (Why, String) {
        refusal(self.ask(request))
    }

    pub fn connect(&self) -> UnixStream {
        UnixStream::connect(self.at("socket")).unwrap()
    }

    /// Sends bytes as a request and gives the answer.
    pub fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        write_frame(&mut stream, bytes, usize::MAX).unwrap();
        answer(&mut stream)
    }

    pub fn calls(&self) -> String {
        fs::read_to_string(self.at("bin/calls")).unwrap_or_default()
    }

    /// Ends the helper and gives its log's events as (event, outcome, code), once the log holds.
    pub fn events(&mut self) -> Vec<(String, String, String)> {
        self.stop();
        verify(fs::File::open(self.at("audit.jsonl")).unwrap()).unwrap();
        let log = fs::read_to_string(self.at("audit.jsonl")).unwrap();
        assert!(!log.contains("PRIVATE"), "no key is in the log");
        let lines =
            log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        lines
            .map(|line| {
                let event = &line["event"];
                (text(&event["event"]), text(&event["outcome"]), text(&event["details"]["code"]))
            })
            .collect()
    }

    pub fn stop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn answer(stream: &mut UnixStream) -> Answer {
    let bytes = read_frame(stream, MAX_REQUEST_BYTES).unwrap();
    serde_json::from_slice(bytes.expose()).unwrap()
}

pub fn refusal(asked: Result<Done, AskError>) -> (Why, String) {
    match asked {
        Err(AskError::Refused(refusal)) => (refusal.code, refusal.sentence),
        other => panic!("{other:?}"),
    }
}

pub fn code(answer: &Answer) -> Why {
    match answer {
        Answer::Refused(refusal) => refusal.code,
        Answer::Done { sentence, .. } => panic!("done: {sentence}"),
    }
}

pub fn certificate(name: &str) -> Request {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["web.example".to_owned()]).unwrap();
    let chain = params.self_signed(&key).unwrap().pem();
    install(name, chain, key.serialize_pem())
}

pub fn install(name: &str, chain: String, key: String) -> Request {
    let name = name.to_owned().try_into().unwrap();
    Request::InstallCertificate { name, chain, key: Secret::new(key) }
}

pub fn reload(unit: &str) -> Request {
    Request::ReloadService { unit: unit.to_owned().try_into().unwrap() }
}
