//! The helper's own audit log: a file that grows by one line an event, each chained to the one before and synced.
//!
//! The lines are those of an exported audit log (`adit_wire::audit::line`), so `adit helper verify` and whoever reads such exports can
//! read them. The chain belongs to a gateway id of its own, which the first event makes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use adit_domain::id::{EventId, GatewayId, TenantId};
use adit_domain::{Clock, Ids};
use adit_wire::audit::{
    AuditEvent, BadRecord, Chain, ChainVerifier, Outcome, Party, line as exported,
};
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde_json::Value;

/// The longest line, in bytes; ours have less than 8 KiB.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The system refused.
    #[error("the helper's audit log {path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is no plain file, or others can read or write it.
    #[error(
        "the helper's audit log {0} is no plain file of this account's own; look who made it, then move it away or `chmod 600` it"
    )]
    NotOurs(PathBuf),
    /// Another helper writes it.
    #[error("another helper writes {0}; end it first")]
    Taken(PathBuf),
    /// It is not as it was written.
    #[error(
        "the helper's audit log {path} is not as it was written: {found}. Keep it, find out who did that, move it away, and start again"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong first.
        found: Broken,
    },
    /// An earlier write failed halfway.
    #[error("the helper's audit log could not be written and was given up; start the helper again")]
    GivenUp,
}

/// What is wrong first in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A line is no event.
    #[error("line {0} is no event")]
    Line(u64),
    /// An event does not hold.
    #[error("{0}")]
    Record(BadRecord),
}

/// What a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose chain it is; nobody's while it is empty.
    pub gateway: Option<GatewayId>,
    /// Its last event.
    pub chain: Chain,
    /// The length of all whole lines, in bytes.
    pub whole_bytes: u64,
    /// What follows them without an end of line: a write that a crash cut.
    pub torn_bytes: u64,
}

/// Why a log could not be looked through to its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not as it was written.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Goes through a log from its first line and says what it holds.
///
/// # Errors
/// [`VerifyError`].
pub fn verify(log: impl Read) -> Result<Held, VerifyError> {
    let mut lines = BufReader::new(log);
    let mut held = Held { gateway: None, chain: Chain::EMPTY, whole_bytes: 0, torn_bytes: 0 };
    let mut verifier: Option<ChainVerifier> = None;
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        (&mut lines).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut bytes)?;
        let Some(text) = bytes.strip_suffix(b"\n") else {
            if bytes.len() >= MAX_LINE_BYTES {
                return Err(Broken::Line(number).into());
            }
            held.torn_bytes = bytes.len() as u64;
            break;
        };
        let record = std::str::from_utf8(text).ok().and_then(|text| exported::parse(text).ok());
        let record = record.ok_or(Broken::Line(number))?;
        let gateway = AuditEvent::decode(&record.bytes).map_err(|_| Broken::Line(number))?.gateway;
        let chain = verifier.get_or_insert_with(|| ChainVerifier::new(gateway));
        chain.check(&record).map_err(Broken::Record)?;
        held.gateway.get_or_insert(gateway);
        held.chain = chain.chain();
        held.whole_bytes += bytes.len() as u64;
    }
    Ok(held)
}

/// A log that is open for writing.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    file: File,
    gateway: GatewayId,
    chain: Chain,
    length: u64,
    given_up: bool,
}

/// What an event says beside its time and place.
#[derive(Debug)]
pub struct Entry {
    /// Its stable name.
    pub event: &'static str,
    /// Who asked.
    pub actor: Party,
    /// For what.
    pub target: Option<Party>,
    /// How it went.
    pub outcome: Outcome,
    /// Everything else that tells.
    pub details: BTreeMap<String, Value>,
    /// The request that it belongs to.
    pub correlation: Option<String>,
}

impl Audit {
    /// Opens the log, makes it where it is not there, and looks through all of it. What a crash left of a line is cut off: nothing
    /// was done on its word.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(path: &Path, ids: &dyn Ids) -> Result<Self, AuditError> {
        let io = |cause: io::Error| AuditError::Io { path: path.to_owned(), cause };
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(file.map_err(|error| io(error.into()))?);
        let about = file.metadata().map_err(io)?;
        let own = rustix::process::geteuid().as_raw();
        if !about.is_file() || about.uid() != own || about.mode() & 0o077 != 0 {
            return Err(AuditError::NotOurs(path.to_owned()));
        }
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| AuditError::Taken(path.to_owned()))?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let held = verify(&file).map_err(|error| match error {
            VerifyError::Io(cause) => io(cause),
            VerifyError::Broken(found) => AuditError::Broken { path: path.to_owned(), found },
        })?;
        if held.torn_bytes > 0 {
            file.set_len(held.whole_bytes).map_err(io)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            gateway: held.gateway.unwrap_or_else(|| GatewayId::new(ids)),
            chain: held.chain,
            length: held.whole_bytes,
            given_up: false,
        })
    }

    /// Writes an event and syncs it. A write that fails leaves no trace, or ends all writing.
    ///
    /// # Errors
    /// [`AuditError::Io`] or [`AuditError::GivenUp`]: the event is not there.
    pub fn write(
        &mut self,
        entry: Entry,
        clock: &dyn Clock,
        ids: &dyn Ids,
    ) -> Result<(), AuditError> {
        if self.given_up {
            return Err(AuditError::GivenUp);
        }
        let event = AuditEvent {
            id: EventId::new(ids),
            at: clock.now(),
            tenant: TenantId::SEED,
            gateway: self.gateway,
            event: entry.event.to_owned(),
            actor: entry.actor,
            target: entry.target,
            outcome: entry.outcome,
            details: entry.details,
            correlation: entry.correlation,
            client: None,
        };
        let mut chain = self.chain;
        let record = chain.append(event.canonical().into_bytes());
        let line = exported::line(&record, &event) + "\n";
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(cause) = written {
            // A line that is there although nobody was told would be followed by another with its number.
            self.given_up = self.file.set_len(self.length).is_err();
            return Err(AuditError::Io { path: self.path.clone(), cause });
        }
        self.chain = chain;
        self.length += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use adit_domain::Timestamp;
    use uuid::Uuid;

    use super::*;

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp(1_795_344_720_123)
        }
    }

    impl Ids for Fixed {
        fn uuid(&self) -> Uuid {
            Uuid::now_v7()
        }

        fn fill(&self, _: &mut [u8]) {}
    }

    fn entry(word: &str) -> Entry {
        let actor = Party { kind: "account".into(), id: "998".into(), name: "adit-gateway".into() };
        let details = BTreeMap::from([("word".to_owned(), Value::from(word))]);
        Entry {
            event: "helper.request",
            actor,
            target: None,
            outcome: Outcome::Ok,
            details,
            correlation: None,
        }
    }

    fn log(words: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut audit = Audit::open(&path, &Fixed).unwrap();
        for word in words {
            audit.write(entry(word), &Fixed, &Fixed).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn events_follow_one_another_through_restarts() {
        let (_folder, path) = log(&["one", "two"]);
        let mut audit = Audit::open(&path, &Fixed).unwrap();
        audit.write(entry("three"), &Fixed, &Fixed).unwrap();
        let held = verify(File::open(&path).unwrap()).unwrap();
        assert_eq!((held.chain.seq, held.torn_bytes), (3, 0));
    }

    #[test]
    fn an_edit_anywhere_is_found_and_the_log_is_not_used() {
        // TIX-72
        let (_folder, path) = log(&["one", "two", "three"]);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let found = Audit::open(&path, &Fixed);
            assert!(matches!(found, Err(AuditError::Broken { .. })), "byte {at}");
        }
        let lines: Vec<&str> = std::str::from_utf8(&good).unwrap().split_inclusive('\n').collect();
        std::fs::write(&path, [lines[0], lines[2]].concat()).unwrap();
        let found = Audit::open(&path, &Fixed).unwrap_err();
        assert!(found.to_string().contains("event 2"), "{found}");
    }

    #[test]
    fn what_a_crash_left_of_a_line_is_cut_off() {
        let (_folder, path) = log(&["one", "two"]);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, &good[..good.len() - 5]).unwrap();
        let mut audit = Audit::open(&path, &Fixed).unwrap();
        audit.write(entry("again"), &Fixed, &Fixed).unwrap();
        assert_eq!(verify(File::open(&path).unwrap()).unwrap().chain.seq, 2);
    }

    #[test]
    fn a_log_that_is_a_link_open_to_others_or_taken_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, path) = log(&["one"]);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(Audit::open(&link, &Fixed), Err(AuditError::Io { .. })));
        let held = Audit::open(&path, &Fixed).unwrap();
        assert!(matches!(Audit::open(&path, &Fixed), Err(AuditError::Taken(_))));
        drop(held);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(Audit::open(&path, &Fixed), Err(AuditError::NotOurs(_))));
    }
}
