//! Nonce histories: nothing twice, nothing forgotten early, through a restart and a clock that is set back.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use adit_session::{
    Durability, MessageType, NonceFile, NonceHistory, NonceLimits, NonceLog, Opener, Receiver,
    Recovered, Refusal, Remembered, SealError, SpentNonce, seal,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const SKEW: Duration = Duration::from_secs(60);

fn limits(nonces: usize) -> NonceLimits {
    NonceLimits { nonces, sessions: 2, skew: SKEW }
}

fn opener_with<L: NonceLog>(history: NonceHistory<L>) -> Opener<L> {
    Opener::new(Receiver::Machine, MACHINE, secret(), history)
}

fn sealed_at(session_id: Uuid, at: SystemTime) -> Result<String, SealError> {
    let draft = Draft { session_id, ..draft(MessageType::TerminalInput, "{}") };
    seal(&draft, &secret(), at)
}

fn open<L: NonceLog>(opener: &mut Opener<L>, made: SystemTime, now: SystemTime) -> Option<Refusal> {
    let message = sealed_at(SESSION, made).unwrap();
    opener.open(None, message.as_bytes(), now).err()
}

// SES-6
#[test]
fn the_history_holds_what_the_skew_window_needs_whatever_the_limit_says() {
    let mut settings = settings();
    settings.nonce_history_limit = 1;
    let limits = NonceLimits::from_settings(&settings);
    // Burst and rate times twice the skew, for every session that a machine may have.
    assert!(limits.nonces >= limits.sessions * (20 + 100 * 2 * 60));
    settings.nonce_history_limit = 1_500_000;
    assert_eq!(NonceLimits::from_settings(&settings).nonces, 1_500_000);
}

// SES-6
#[test]
fn a_session_at_its_full_rate_for_a_whole_window_never_fills_its_history() {
    let (mut settings, mut at) = (settings(), now());
    settings.nonce_history_limit = 1;
    settings.rate_limit_tokens = 5;
    let limits = NonceLimits { sessions: 1, ..NonceLimits::from_settings(&settings) };
    let needed = usize::try_from(settings.nonces_needed_per_session()).unwrap();
    let limits = NonceLimits { nonces: needed, ..limits };
    let mut opener = opener_with(NonceHistory::new(limits));
    let ahead = SKEW;
    for _ in 0..25 {
        assert_eq!(open(&mut opener, at + ahead, at), None);
    }
    for _ in 0..5 * 400 {
        at += Duration::from_millis(200);
        assert_eq!(open(&mut opener, at + ahead, at), None);
    }
}

// SES-6
#[test]
fn a_full_history_refuses_and_forgets_nothing() {
    let mut opener = opener_with(NonceHistory::new(limits(3)));
    let first = sealed_at(SESSION, now()).unwrap();
    assert!(opener.open(None, first.as_bytes(), now()).is_ok());
    assert_eq!(open(&mut opener, now(), now()), None);
    assert_eq!(open(&mut opener, now(), now()), None);
    assert_eq!(open(&mut opener, now(), now()), Some(Refusal::NonceHistoryFull));
    assert_eq!(opener.open(None, first.as_bytes(), now()).unwrap_err(), Refusal::Replayed);
    let later = now() + SKEW + Duration::from_secs(1);
    assert_eq!(open(&mut opener, later, later), None);
    assert_eq!(opener.history().len(), 1);
}

// SES-6
#[test]
fn a_nonce_is_remembered_as_long_as_its_message_would_be_accepted() {
    for ahead in [-60i64, 0, 60] {
        let mut opener = opener_with(NonceHistory::new(limits(100)));
        let made = if ahead < 0 {
            now() - SKEW
        } else {
            now() + Duration::from_secs(ahead.unsigned_abs())
        };
        let message = sealed_at(SESSION, made).unwrap();
        assert!(opener.open(None, message.as_bytes(), now()).is_ok());
        for second in 0..200 {
            let at = now() + Duration::from_secs(second);
            // Other traffic, which makes the history forget what it may.
            assert_eq!(open(&mut opener, at, at), None);
            let refusal = opener.open(None, message.as_bytes(), at).unwrap_err();
            assert!(matches!(refusal, Refusal::Replayed | Refusal::TimestampOutOfRange));
            assert_eq!(refusal == Refusal::Replayed, at <= made + SKEW, "{ahead} {second}");
        }
    }
}

// TOK-07, TOK-13
#[test]
fn a_clock_that_is_set_back_opens_nothing_a_second_time() {
    let mut opener = opener_with(NonceHistory::new(limits(100)));
    let message = sealed_at(SESSION, now()).unwrap();
    assert!(opener.open(None, message.as_bytes(), now()).is_ok());
    let later = now() + Duration::from_secs(90);
    assert_eq!(open(&mut opener, later, later), None);
    assert_eq!(
        opener.open(None, message.as_bytes(), now()).unwrap_err(),
        Refusal::NonceHistoryClosed
    );
}

// SES-6
#[test]
fn a_clock_that_is_wrong_for_a_moment_makes_nothing_forgotten() {
    let mut opener = opener_with(NonceHistory::new(limits(100)));
    let message = sealed_at(SESSION, now()).unwrap();
    assert!(opener.open(None, message.as_bytes(), now()).is_ok());
    let wrong = now() + Duration::from_secs(86_400);
    assert_eq!(open(&mut opener, now(), wrong), Some(Refusal::TimestampOutOfRange));
    assert_eq!(opener.open(None, message.as_bytes(), now()).unwrap_err(), Refusal::Replayed);
    assert_eq!(open(&mut opener, now(), now()), None);
}

// SES-6
#[test]
fn a_machine_has_so_many_sessions_of_this_form_and_no_more() {
    let mut opener = opener_with(NonceHistory::new(limits(100)));
    let mut open = |session: u128, at| {
        let message = sealed_at(Uuid::from_u128(session), at).unwrap();
        opener.open(None, message.as_bytes(), at).err()
    };
    assert_eq!(open(1, now()), None);
    assert_eq!(open(2, now()), None);
    assert_eq!(open(3, now()), Some(Refusal::TooManySessions));
    assert_eq!(open(2, now()), None);
    let later = now() + Duration::from_secs(62);
    assert_eq!(open(3, later), None);
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("nonces")
    }

    fn create(&self, durability: Durability) -> Opener<NonceFile> {
        let file = NonceFile::create(&self.path(), durability).unwrap();
        opener_with(NonceHistory::with_log(limits(10_000), file, Remembered::default()))
    }

    fn open(&self, durability: Durability) -> Recovered {
        NonceFile::open(&self.path(), durability).unwrap()
    }
}

fn recovered(recovered: Recovered) -> Opener<NonceFile> {
    let closed = recovered.incomplete;
    let history = NonceHistory::with_log(limits(10_000), recovered.file, recovered.remembered);
    opener_with(if closed { history.closed_at_first(now()) } else { history })
}

// TOK-13
#[test]
fn a_message_captured_before_a_kill_is_refused_after_it() {
    for durability in [Durability::Process, Durability::Power] {
        let folder = Folder::new();
        let mut before = folder.create(durability);
        let message = sealed_at(SESSION, now()).unwrap();
        assert!(before.open(None, message.as_bytes(), now()).is_ok());
        // A killed process runs no destructor.
        std::mem::forget(before);

        let found = folder.open(durability);
        assert!(!found.incomplete);
        let mut after = recovered(found);
        assert_eq!(after.open(None, message.as_bytes(), now()).unwrap_err(), Refusal::Replayed);
        assert_eq!(open(&mut after, now(), now()), None);
    }
}

// TOK-13
#[test]
fn a_torn_end_of_the_file_loses_nothing_that_was_accepted() {
    let folder = Folder::new();
    let mut before = folder.create(Durability::Process);
    let messages: Vec<_> = (0..3).map(|_| sealed_at(SESSION, now()).unwrap()).collect();
    for message in &messages[..2] {
        assert!(before.open(None, message.as_bytes(), now()).is_ok());
    }
    let whole = fs::read(folder.path()).unwrap();
    assert!(before.open(None, messages[2].as_bytes(), now()).is_ok());
    let longer = fs::read(folder.path()).unwrap();
    for end in whole.len()..longer.len() {
        fs::write(folder.path(), &longer[..end]).unwrap();
        let found = folder.open(Durability::Process);
        assert_eq!((found.remembered.nonces.len(), found.incomplete), (2, false));
    }
}

// TOK-13
#[test]
fn a_damaged_or_missing_file_refuses_until_nothing_old_can_come() {
    let folder = Folder::new();
    let mut before = folder.create(Durability::Process);
    let message = sealed_at(SESSION, now() + SKEW).unwrap();
    assert!(before.open(None, message.as_bytes(), now()).is_ok());
    let good = fs::read(folder.path()).unwrap();
    let mut damaged: Vec<Option<Vec<u8>>> = (0..good.len())
        .map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            Some(bytes)
        })
        .collect();
    damaged.push(None);
    damaged.push(Some(good[..20].to_vec()));
    for bytes in damaged {
        match &bytes {
            Some(bytes) => fs::write(folder.path(), bytes).unwrap(),
            None => fs::remove_file(folder.path()).unwrap(),
        }
        let found = folder.open(Durability::Process);
        assert!(found.incomplete);
        let mut after = recovered(Recovered { remembered: Remembered::default(), ..found });
        assert_eq!(
            after.open(None, message.as_bytes(), now()).unwrap_err(),
            Refusal::NonceHistoryClosed
        );
        let later = now() + SKEW + Duration::from_secs(1);
        assert_eq!(open(&mut after, later, later), None);
    }
}

// TOK-13
#[test]
fn an_unsynced_file_of_another_start_of_the_host_counts_as_lost() {
    let folder = Folder::new();
    drop(folder.create(Durability::Process));
    let mut bytes = fs::read(folder.path()).unwrap();
    bytes[16..52].copy_from_slice(b"00000000-0000-4000-8000-000000000000");
    fs::write(folder.path(), &bytes).unwrap();
    assert!(folder.open(Durability::Process).incomplete);
    fs::write(folder.path(), &bytes).unwrap();
    assert!(!folder.open(Durability::Power).incomplete);
}

// SES-6
#[test]
fn the_file_is_made_short_and_still_knows_what_counts() {
    let folder = Folder::new();
    let mut opener = folder.create(Durability::Process);
    let mut at = now();
    let mut last = String::new();
    for _ in 0..9000 {
        at += Duration::from_millis(100);
        last = sealed_at(SESSION, at).unwrap();
        assert!(opener.open(None, last.as_bytes(), at).is_ok());
    }
    let records = (fs::metadata(folder.path()).unwrap().len() - 64) / 44;
    assert!(records < 6000, "{records}");
    std::mem::forget(opener);
    let mut after = recovered(folder.open(Durability::Process));
    assert_eq!(after.open(None, last.as_bytes(), at).unwrap_err(), Refusal::Replayed);
}

// TOK-13
#[test]
fn a_clock_that_is_set_back_after_a_restart_opens_nothing_a_second_time() {
    let folder = Folder::new();
    let mut before = folder.create(Durability::Process);
    let message = sealed_at(SESSION, now()).unwrap();
    assert!(before.open(None, message.as_bytes(), now()).is_ok());
    let mut later = now() + Duration::from_secs(90);
    for _ in 0..4200 {
        assert_eq!(open(&mut before, later, later), None);
        later += Duration::from_millis(100);
    }
    std::mem::forget(before);
    let mut after = recovered(folder.open(Durability::Process));
    let refused = after.open(None, message.as_bytes(), now()).unwrap_err();
    assert_eq!(refused, Refusal::NonceHistoryClosed);
}

// SES-26
#[test]
fn the_file_is_its_owners_alone_and_is_not_made_twice() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    drop(folder.create(Durability::Power));
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(NonceFile::create(&folder.path(), Durability::Power).is_err());
    drop(folder.open(Durability::Power));
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

struct BrokenLog;

impl NonceLog for BrokenLog {
    fn append(&mut self, _: &SpentNonce) -> std::io::Result<()> {
        Err(std::io::Error::other("no space"))
    }

    fn compact(&mut self, _: &Remembered) -> std::io::Result<()> {
        Err(std::io::Error::other("no space"))
    }
}

// SES-6, TOK-13
#[test]
fn a_nonce_that_cannot_be_written_is_a_refusal() {
    let mut opener =
        opener_with(NonceHistory::with_log(limits(100), BrokenLog, Remembered::default()));
    assert_eq!(open(&mut opener, now(), now()), Some(Refusal::NonceHistoryUnavailable));
    assert!(opener.history().is_empty());
}

/// One thing that happens to a receiver.
#[derive(Debug, Clone)]
enum Step {
    /// The clock goes on, or is set back.
    Clock { forward_ms: u64, back_ms: u64 },
    /// A message comes whose sender's clock is off by so much.
    Fresh { ahead_ms: i64 },
    /// A message that came before comes again.
    Again { which: prop::sample::Index },
    /// The receiver is killed and started again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u64..40_000, prop_oneof![9 => Just(0u64), 1 => 0u64..200_000])
            .prop_map(|(forward_ms, back_ms)| Step::Clock { forward_ms, back_ms }),
        4 => (-70_000i64..70_000).prop_map(|ahead_ms| Step::Fresh { ahead_ms }),
        4 => any::<prop::sample::Index>().prop_map(|which| Step::Again { which }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // SES-6, TOK-01, TOK-13
    #[test]
    fn whatever_happens_no_message_is_accepted_twice(steps in prop::collection::vec(step(), 1..80)) {
        let folder = Folder::new();
        let (mut opener, mut at) = (folder.create(Durability::Process), now());
        let mut sent: Vec<(String, u32)> = Vec::new();
        for step in steps {
            let which = match step {
                Step::Clock { forward_ms, back_ms } => {
                    at = at + Duration::from_millis(forward_ms) - Duration::from_millis(back_ms);
                    continue;
                }
                Step::Restart => {
                    std::mem::forget(opener);
                    opener = recovered(folder.open(Durability::Process));
                    continue;
                }
                Step::Again { .. } if sent.is_empty() => continue,
                Step::Again { which } => which.index(sent.len()),
                Step::Fresh { ahead_ms } => {
                    let ahead = Duration::from_millis(ahead_ms.unsigned_abs());
                    let made = if ahead_ms < 0 { at - ahead } else { at + ahead };
                    sent.push((sealed_at(SESSION, made).unwrap(), 0));
                    sent.len() - 1
                }
            };
            let (message, accepted) = &mut sent[which];
            *accepted += u32::from(opener.open(None, message.as_bytes(), at).is_ok());
            prop_assert!(*accepted <= 1);
        }
    }
}
