//! A nonce history in a file, so that a receiver which is killed and started again refuses what it accepted before.
//!
//! `[magic 16][boot id 36][forgotten until ms u64 BE][check 4]` and then, for each nonce, `[nonce 16][session 16][until ms u64 BE][check 4]`.
//! A check is the beginning of the SHA-256 of what stands before it, without the boot id.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use uuid::Uuid;

use crate::nonces::{NonceLog, Remembered, SpentNonce};

/// What a nonce in the file survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process: the file is written, not synced. After a restart of the host the file counts as lost.
    Process,
    /// A loss of power too: each nonce is synced before its message is accepted.
    Power,
}

/// The file that nonces are appended to; it is made short when most of it is old.
#[derive(Debug)]
pub struct NonceFile {
    path: PathBuf,
    file: File,
    durability: Durability,
    boot_id: [u8; BOOT_ID_BYTES],
}

/// What a file still knew.
#[derive(Debug)]
pub struct Recovered {
    /// The file, ready for more.
    pub file: NonceFile,
    /// What is in it.
    pub remembered: Remembered,
    /// Whether nonces may be missing; the history must then be [`closed_at_first`](crate::NonceHistory::closed_at_first).
    pub incomplete: bool,
}

impl NonceFile {
    /// Makes the file of a machine that never received a message, readable by its owner alone.
    ///
    /// # Errors
    /// There is one already, or it cannot be written.
    pub fn create(path: &Path, durability: Durability) -> io::Result<Self> {
        let boot_id = boot_id();
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&header(&boot_id, 0))?;
        file.sync_all()?;
        sync_folder(path)?;
        Ok(Self { path: path.to_owned(), file, durability, boot_id })
    }

    /// Opens the file of a machine again.
    ///
    /// A file that is missing, damaged, or of another start of the host and not synced, is incomplete and made anew.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn open(path: &Path, durability: Durability) -> io::Result<Recovered> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map(drop)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let boot_id = boot_id();
        let (remembered, damaged) = read(&bytes);
        let same_start = bytes.get(16..52) == Some(&boot_id[..]) && boot_id != UNKNOWN_BOOT;
        let incomplete = damaged || (durability == Durability::Process && !same_start);
        let file = replace(path, &boot_id, &remembered)?;
        Ok(Recovered {
            file: Self { path: path.to_owned(), file, durability, boot_id },
            remembered,
            incomplete,
        })
    }
}

impl NonceLog for NonceFile {
    fn append(&mut self, spent: &SpentNonce) -> io::Result<()> {
        self.file.write_all(&record(spent))?;
        match self.durability {
            Durability::Process => Ok(()),
            Durability::Power => self.file.sync_data(),
        }
    }

    fn compact(&mut self, remembered: &Remembered) -> io::Result<()> {
        self.file = replace(&self.path, &self.boot_id, remembered)?;
        Ok(())
    }
}

/// Writes a whole new file beside the old one and puts it in its place.
fn replace(
    path: &Path,
    boot_id: &[u8; BOOT_ID_BYTES],
    remembered: &Remembered,
) -> io::Result<File> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&beside)?;
    let mut bytes = header(boot_id, remembered.forgotten_until_ms);
    remembered.nonces.iter().for_each(|spent| bytes.extend_from_slice(&record(spent)));
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(path)?;
    Ok(file)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Reads what a file knows, and says whether any of it may be missing.
///
/// A torn record at the end is none: its message was not accepted.
fn read(bytes: &[u8]) -> (Remembered, bool) {
    let Some((forgotten_until_ms, rest)) = read_header(bytes) else {
        return (Remembered::default(), true);
    };
    let records = rest.chunks_exact(RECORD_BYTES);
    let count = records.len();
    let nonces: Vec<_> = records.filter_map(parse).collect();
    let damaged = nonces.len() < count || bytes.len() as u64 >= FILE_BYTES_MAX;
    (Remembered { nonces, forgotten_until_ms }, damaged)
}

fn read_header(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let boot_id = head.get(16..52)?.try_into().ok()?;
    let forgotten_until_ms = u64::from_be_bytes(head.get(52..60)?.try_into().ok()?);
    (header(boot_id, forgotten_until_ms) == head).then_some((forgotten_until_ms, rest))
}

fn record(spent: &SpentNonce) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..16].copy_from_slice(&spent.nonce);
    bytes[16..32].copy_from_slice(spent.session_id.as_bytes());
    bytes[32..40].copy_from_slice(&spent.until_ms.to_be_bytes());
    let check = digest::digest(&digest::SHA256, &bytes[..40]);
    bytes[40..].copy_from_slice(&check.as_ref()[..4]);
    bytes
}

fn parse(bytes: &[u8]) -> Option<SpentNonce> {
    let nonce = bytes.get(..16)?.try_into().ok()?;
    let session_id = Uuid::from_slice(bytes.get(16..32)?).ok()?;
    let until_ms = u64::from_be_bytes(bytes.get(32..40)?.try_into().ok()?);
    let spent = SpentNonce { nonce, session_id, until_ms };
    (record(&spent)[..] == *bytes).then_some(spent)
}

fn header(boot_id: &[u8; BOOT_ID_BYTES], forgotten_until_ms: u64) -> Vec<u8> {
    let until = forgotten_until_ms.to_be_bytes();
    let check = digest::digest(&digest::SHA256, &[&MAGIC[..], &until].concat());
    [&MAGIC[..], boot_id, &until, &check.as_ref()[..4]].concat()
}

/// Names this start of the host; where there is no such name every start counts as another.
fn boot_id() -> [u8; BOOT_ID_BYTES] {
    let read = fs::read("/proc/sys/kernel/random/boot_id").ok();
    read.and_then(|text| text.get(..BOOT_ID_BYTES)?.try_into().ok()).unwrap_or(UNKNOWN_BOOT)
}

const MAGIC: &[u8; 16] = b"adit nonces v1\n\n";
const BOOT_ID_BYTES: usize = 36;
const UNKNOWN_BOOT: [u8; BOOT_ID_BYTES] = [b'-'; BOOT_ID_BYTES];
const HEADER_BYTES: usize = 64;
const RECORD_BYTES: usize = 44;
/// Chosen: three times the largest history; a longer file is damaged.
const FILE_BYTES_MAX: u64 = 6_000_000 * RECORD_BYTES as u64;
