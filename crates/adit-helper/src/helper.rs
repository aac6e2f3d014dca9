//! One request: held against the settings, written down, done, written down again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use adit_domain::{Clock, Ids};
use adit_wire::audit::{Outcome, Party};
use rustix::fs::Mode;
use serde_json::Value;

use crate::audit::{Audit, AuditError, Entry};
use crate::certificate::Checked;
use crate::folder::{Content, Folder, Owners};
use crate::program::{Call, Programs};
use crate::request::{Answer, OwnUnit, Refusal, Request, Why};
use crate::settings::Settings;
use crate::unit::{self, Program, Shells};

/// Requests that are answered in a minute; a gateway asks for a few in a month. More would fill the disk with events.
const REQUESTS_A_MINUTE: u32 = 60;

/// Refusals of strangers that are written down in a minute; the rest is counted in the next.
const REFUSALS_A_MINUTE: u32 = 10;

/// The process at the other end, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process id.
    pub pid: i32,
    /// Its account.
    pub user: u32,
}

/// The helper: settings that do not change while it runs, and its log.
pub struct Helper {
    settings: Settings,
    users: Vec<u32>,
    programs: Programs,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    inner: Mutex<Inner>,
}

/// What one request at a time has.
struct Inner {
    audit: Audit,
    requests: Minute,
    refusals: Minute,
    unwritten: u64,
}

/// A count that begins anew each minute.
#[derive(Default)]
struct Minute {
    number: i64,
    count: u32,
}

impl Minute {
    fn has_room(&mut self, clock: &dyn Clock, most: u32) -> bool {
        let now = clock.now().seconds().div_euclid(60);
        if now != self.number {
            *self = Self { number: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= most
    }
}

/// A request whose names are all on the lists and whose contents are checked.
enum Plan<'a> {
    Certificate { name: &'a str, checked: Checked, owners: Owners },
    Program(Call<'a>),
    Unit { unit: OwnUnit, text: String },
}

impl Helper {
    /// Makes one of settings and an open log.
    ///
    /// # Errors
    /// An account of the settings is not there.
    pub fn new(
        settings: Settings,
        programs: Programs,
        audit: Audit,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self, crate::settings::SettingsError> {
        let users = settings.user_ids()?;
        let inner =
            Inner { audit, requests: Minute::default(), refusals: Minute::default(), unwritten: 0 };
        Ok(Self { settings, users, programs, clock, ids, inner: Mutex::new(inner) })
    }

    /// Tells whether a process may ask at all.
    pub fn may_ask(&self, peer: Peer) -> bool {
        self.users.contains(&peer.user)
    }

    /// Writes down that somebody was sent away before a request was understood.
    pub fn note_refusal(&self, peer: Option<Peer>, refusal: &Refusal) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuse(&mut inner, peer, refusal, &[]);
    }

    /// Does what is asked, or says why not. One at a time.
    pub fn answer(&self, peer: Peer, request: &[u8]) -> Answer {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.requests.has_room(&*self.clock, REQUESTS_A_MINUTE) {
            let refusal = Refusal::new(
                Why::Busy,
                "more was asked within a minute than the helper does; wait a minute, and look what asks so often",
            );
            self.refuse(&mut inner, Some(peer), &refusal, &[]);
            return Answer::Refused(refusal);
        }
        let parsed = Request::parse(request);
        let details = parsed.as_ref().map(described).unwrap_or_default();
        match parsed.as_ref().map_err(Clone::clone).and_then(|request| self.plan(request)) {
            Ok(plan) => self.carry_out(&mut inner, peer, &plan, details),
            Err(refusal) => {
                self.refuse(&mut inner, Some(peer), &refusal, &details);
                Answer::Refused(refusal)
            }
        }
    }

    /// Holds a request against the settings.
    fn plan<'a>(&self, request: &'a Request) -> Result<Plan<'a>, Refusal> {
        let listed = &self.settings;
        match request {
            Request::InstallCertificate { name, chain, key } => {
                let place = listed.certificate.get(name);
                let place = place.ok_or_else(|| not_listed(name.as_str(), "[certificate.NAME]"))?;
                let checked = Checked::of(chain, key, self.clock.now())
                    .map_err(|bad| Refusal::new(Why::Certificate, bad.to_string()))?;
                let ids = place.ids().map_err(|bad| Refusal::new(Why::Failed, bad.to_string()))?;
                let owners = Owners { user: ids.0, group: ids.1 };
                Ok(Plan::Certificate { name: name.as_str(), checked, owners })
            }
            Request::ReloadService { unit } if listed.services.contains(unit) => {
                Ok(Plan::Program(Call::Reload(unit)))
            }
            Request::RestartService { unit } if listed.services.contains(unit) => {
                Ok(Plan::Program(Call::Restart(unit)))
            }
            Request::ReloadService { unit } | Request::RestartService { unit } => {
                Err(not_listed(unit.as_str(), "services"))
            }
            Request::TestConfiguration { server } if listed.web_servers.contains(server) => {
                Ok(Plan::Program(Call::Test(*server)))
            }
            Request::TestConfiguration { server } => {
                Err(not_listed(server.as_str(), "web_servers"))
            }
            Request::WriteUnit { unit, port } if listed.units.contains(unit) => {
                self.unit(*unit, *port)
            }
            Request::WriteUnit { unit, .. } => Err(not_listed(unit.as_str(), "units")),
        }
    }

    fn unit(&self, unit: OwnUnit, port: Option<u16>) -> Result<Plan<'static>, Refusal> {
        let program = Program::new(&self.settings.program)
            .map_err(|bad| Refusal::new(Why::Failed, bad.to_string()))?;
        let text = match (unit, port) {
            (OwnUnit::Gateway, port) => unit::gateway(&program, port.unwrap_or_default()),
            (OwnUnit::Agent, None) => unit::agent(&program, Shells::Own),
            (OwnUnit::Agent, Some(_)) => {
                let sentence = "the agent's unit has no port; leave it out";
                return Err(Refusal::new(Why::Request, sentence));
            }
        };
        Ok(Plan::Unit { unit, text })
    }

    fn carry_out(
        &self,
        inner: &mut Inner,
        peer: Peer,
        plan: &Plan<'_>,
        mut details: Vec<(&'static str, Value)>,
    ) -> Answer {
        if let Plan::Certificate { checked, .. } = plan {
            details.push(("sha256", checked.fingerprint.clone().into()));
            details.push(("endsAt", checked.ends_at.to_string().into()));
        }
        let correlation = self.ids.uuid().to_string();
        let entry = |event, outcome, details: &[(&'static str, Value)]| Entry {
            event,
            actor: party(Some(peer)),
            target: Some(plan.target()),
            outcome,
            details: details
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            correlation: Some(correlation.clone()),
        };
        let asked = entry("helper.request", Outcome::Ok, &details);
        if let Err(error) = inner.audit.write(asked, &*self.clock, &*self.ids) {
            return Answer::Refused(not_written(&error, "nothing was done"));
        }
        let done = self.act(plan);
        let (outcome, told) = match &done {
            Ok((sentence, _)) => (Outcome::Ok, sentence),
            Err(refusal) => (Outcome::Failed, &refusal.sentence),
        };
        let ended = entry("helper.result", outcome, &[("sentence", told.clone().into())]);
        if let Err(error) = inner.audit.write(ended, &*self.clock, &*self.ids) {
            return Answer::Refused(not_written(
                &error,
                &format!("what was asked is written down, how it went is not: {told}"),
            ));
        }
        match done {
            Ok((sentence, output)) => Answer::Done { sentence, output },
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    fn act(&self, plan: &Plan<'_>) -> Result<(String, String), Refusal> {
        match plan {
            Plan::Certificate { name, checked, owners } => {
                let failed = |error: crate::folder::FolderError| {
                    Refusal::new(Why::Failed, error.to_string())
                };
                let folder = Folder::open(&self.settings.certificates).map_err(failed)?;
                let key_mode = if owners.group.is_some() { 0o640 } else { 0o600 };
                let contents = [
                    Content {
                        name: "chain.pem",
                        bytes: checked.chain.as_bytes(),
                        mode: Mode::from_raw_mode(0o644),
                    },
                    Content {
                        name: "key.pem",
                        bytes: checked.key.expose().as_bytes(),
                        mode: Mode::from_raw_mode(key_mode),
                    },
                ];
                folder.replace_folder(name, &contents, *owners).map_err(failed)?;
                let place = self.settings.certificates.join(name);
                Ok((
                    format!(
                        "the certificate {} until {} is in {}",
                        checked.fingerprint,
                        checked.ends_at,
                        place.display()
                    ),
                    String::new(),
                ))
            }
            Plan::Program(call) => self.run(*call),
            Plan::Unit { unit, text } => {
                let failed = |error: crate::folder::FolderError| {
                    Refusal::new(Why::Failed, error.to_string())
                };
                let folder = Folder::open(&self.settings.unit_folder).map_err(failed)?;
                let content = Content {
                    name: unit.file(),
                    bytes: text.as_bytes(),
                    mode: Mode::from_raw_mode(0o644),
                };
                folder.replace_file(&content, Owners::default()).map_err(failed)?;
                self.run(Call::DaemonReload)?;
                Ok((
                    format!("{} is written; it counts from the next restart on", unit.file()),
                    String::new(),
                ))
            }
        }
    }

    fn run(&self, call: Call<'_>) -> Result<(String, String), Refusal> {
        let (what, done, not_done) = match call {
            Call::Reload(unit) => (unit.as_str(), "was reloaded", "was not reloaded"),
            Call::Restart(unit) => (unit.as_str(), "was restarted", "was not restarted"),
            Call::DaemonReload => ("systemd", "read its units anew", "did not read its units anew"),
            Call::Test(server) => {
                (server.as_str(), "takes its configuration", "does not take its configuration")
            }
        };
        let failed = |end: &str, output: String| {
            let sentence =
                format!("{what} {not_done} ({end}); mend what it says of that, then ask again");
            Refusal { code: Why::Failed, sentence, output }
        };
        match self.programs.run(call) {
            Ok(ran) if ran.is_good => Ok((format!("{what} {done}"), ran.output)),
            Ok(ran) => Err(failed(&ran.end, ran.output)),
            Err(error) => Err(failed(&error.to_string(), String::new())),
        }
    }

    fn refuse(
        &self,
        inner: &mut Inner,
        peer: Option<Peer>,
        refusal: &Refusal,
        details: &[(&'static str, Value)],
    ) {
        if !inner.refusals.has_room(&*self.clock, REFUSALS_A_MINUTE) {
            inner.unwritten = inner.unwritten.saturating_add(1);
            return;
        }
        let mut details: BTreeMap<String, Value> =
            details.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        details.insert("code".to_owned(), refusal.code.as_str().into());
        details.insert("sentence".to_owned(), refusal.sentence.as_str().into());
        if inner.unwritten > 0 {
            details.insert("unwrittenBefore".to_owned(), inner.unwritten.into());
        }
        let entry = Entry {
            event: "helper.refuse",
            actor: party(peer),
            target: None,
            outcome: Outcome::Denied,
            details,
            correlation: None,
        };
        match inner.audit.write(entry, &*self.clock, &*self.ids) {
            Ok(()) => inner.unwritten = 0,
            Err(error) => {
                inner.unwritten = inner.unwritten.saturating_add(1);
                eprintln!("adit: a refusal could not be written down: {error}");
            }
        }
    }
}

impl Plan<'_> {
    fn target(&self) -> Party {
        let (kind, name) = match self {
            Self::Certificate { name, .. } => ("certificate", *name),
            Self::Program(Call::Reload(unit) | Call::Restart(unit)) => ("service", unit.as_str()),
            Self::Program(Call::Test(server)) => ("web_server", server.as_str()),
            Self::Program(Call::DaemonReload) => ("service", "systemd"),
            Self::Unit { unit, .. } => ("unit", unit.file()),
        };
        Party { kind: kind.to_owned(), id: name.to_owned(), name: name.to_owned() }
    }
}

/// What a request names, for the log: never a certificate's key.
fn described(request: &Request) -> Vec<(&'static str, Value)> {
    let mut details = vec![("operation", Value::from(request.operation()))];
    match request {
        Request::InstallCertificate { name, .. } => details.push(("name", name.as_str().into())),
        Request::ReloadService { unit } | Request::RestartService { unit } => {
            details.push(("name", unit.as_str().into()));
        }
        Request::TestConfiguration { server } => details.push(("name", server.as_str().into())),
        Request::WriteUnit { unit, port } => {
            details.push(("name", unit.as_str().into()));
            details.extend(port.map(|port| ("port", port.into())));
        }
    }
    details
}

fn party(peer: Option<Peer>) -> Party {
    let Some(peer) = peer else {
        return Party { kind: "account".to_owned(), id: String::new(), name: "unknown".to_owned() };
    };
    let user = nix::unistd::User::from_uid(peer.user.into()).ok().flatten();
    let name = user.map_or_else(|| peer.user.to_string(), |user| user.name);
    Party { kind: "account".to_owned(), id: peer.user.to_string(), name }
}

fn not_listed(name: &str, list: &str) -> Refusal {
    let sentence = format!(
        "{name} is not in the helper's settings; root may add it under `{list}` in /etc/adit/helper.toml, then run `adit unit install` and `systemctl stop adit-helper.service`"
    );
    Refusal::new(Why::NotListed, sentence)
}

fn not_written(error: &AuditError, what: &str) -> Refusal {
    Refusal::new(
        Why::Audit,
        format!("{error}; {what}. Make room for it, or look at its owner and mode"),
    )
}
