//! What a job of a template may use, what must hold it in, and who must agree.

use std::fmt;
use std::str::FromStr;

use crate::PrincipalName;

/// What a job may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long it runs, in seconds.
    pub timeout_s: u32,
    /// How much memory it has, in bytes.
    pub memory_bytes: u64,
    /// How much of the processors, in thousandths of one.
    pub cpu_millis: u32,
    /// Whether it has a network.
    pub allow_network: bool,
    /// Whether it may write files.
    pub allow_file_write: bool,
    /// How much of each of its two streams is kept, in bytes.
    pub output_bytes: u64,
}

/// The longest time, in seconds: a day.
pub const MAX_TIMEOUT_S: u32 = 86_400;

/// The least memory that a process starts in.
pub const MIN_MEMORY_BYTES: u64 = 1 << 20;

/// The most memory: more than a machine has that Adit is for.
pub const MAX_MEMORY_BYTES: u64 = 1 << 40;

/// The least of a processor.
pub const MIN_CPU_MILLIS: u32 = 10;

/// The most processors: more than a machine has that Adit is for.
pub const MAX_CPU_MILLIS: u32 = 1_024_000;

/// The most of one stream that is kept: it lies in the database.
pub const MAX_OUTPUT_BYTES: u64 = 64 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout_s: 300,
            memory_bytes: 512 << 20,
            cpu_millis: 500,
            allow_network: false,
            allow_file_write: false,
            output_bytes: 1 << 20,
        }
    }
}

/// What is wrong with a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadLimit {
    /// The time.
    #[error("a time is 1 to 86400 whole seconds")]
    Timeout,
    /// The memory.
    #[error("memory is bytes, or a number with k, m or g after it, from 1m to 1024g: `512m`")]
    Memory,
    /// The processors.
    #[error("processors are 0.01 to 1024, with at most three digits after the point: `0.5`")]
    Cpu,
    /// The output.
    #[error("output is bytes, or a number with k or m after it, from 1 to 64m: `1m`")]
    Output,
    /// The jobs at a time.
    #[error("jobs at a time are 1 to 1000")]
    Concurrency,
    /// The number of others who agree.
    #[error("0, 1 or 2 others consent")]
    Others,
    /// The image.
    #[error(
        "an image is 1 to 255 of A-Z a-z 0-9 . _ - / : @ and begins with a letter or digit: `debian:12`"
    )]
    Image,
}

/// Reads a time in seconds.
///
/// # Errors
/// [`BadLimit::Timeout`].
pub fn read_timeout(text: &str) -> Result<u32, BadLimit> {
    let seconds = plain_number(text).and_then(|number| u32::try_from(number).ok());
    seconds.filter(|s| (1..=MAX_TIMEOUT_S).contains(s)).ok_or(BadLimit::Timeout)
}

/// Reads memory as container engines write it: `512m` is 512 × 1024 × 1024 bytes.
///
/// # Errors
/// [`BadLimit::Memory`].
pub fn read_memory(text: &str) -> Result<u64, BadLimit> {
    let bytes = read_bytes(text);
    bytes.filter(|b| (MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES).contains(b)).ok_or(BadLimit::Memory)
}

/// Reads how much of a stream is kept.
///
/// # Errors
/// [`BadLimit::Output`].
pub fn read_output(text: &str) -> Result<u64, BadLimit> {
    read_bytes(text).filter(|b| (1..=MAX_OUTPUT_BYTES).contains(b)).ok_or(BadLimit::Output)
}

/// Reads processors, in thousandths of one.
///
/// # Errors
/// [`BadLimit::Cpu`].
pub fn read_cpu(text: &str) -> Result<u32, BadLimit> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = part.len();
    let part = plain_number(part).filter(|_| digits <= MILLI_DIGITS).ok_or(BadLimit::Cpu)?;
    let scale = (digits..MILLI_DIGITS).fold(1, |scale, _| scale * 10);
    let whole = plain_number(whole).and_then(|whole| whole.checked_mul(1000));
    let millis = whole.and_then(|whole| whole.checked_add(part * scale));
    let millis = millis.and_then(|millis| u32::try_from(millis).ok());
    millis.filter(|m| (MIN_CPU_MILLIS..=MAX_CPU_MILLIS).contains(m)).ok_or(BadLimit::Cpu)
}

/// A thousandth has three digits.
const MILLI_DIGITS: usize = 3;

fn read_bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix("ib").or(text.strip_suffix('b')).unwrap_or(&text);
    let (number, shift) = match text.chars().last()? {
        'k' => (text.strip_suffix('k')?, 10),
        'm' => (text.strip_suffix('m')?, 20),
        'g' => (text.strip_suffix('g')?, 30),
        _ => (text, 0),
    };
    plain_number(number)?.checked_mul(1 << shift)
}

fn plain_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

macro_rules! layers {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// A layer of the sandbox that a template may demand.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Layer {
            $($(#[$doc])* $name,)*
        }

        impl Layer {
            /// Every layer.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Gives the word for it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

layers! {
    /// Namespaces of its own: users, mounts, processes, network, IPC, host name.
    Namespaces = "namespaces";
    /// A read-only root of chosen paths.
    Root = "root";
    /// An allow-list of system calls.
    Seccomp = "seccomp";
    /// Landlock's rules for paths.
    Landlock = "landlock";
    /// Limits of a process (`setrlimit`).
    Rlimits = "rlimits";
    /// A cgroup that counts memory, processes and processors.
    Cgroup = "cgroup";
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a layer is namespaces, root, seccomp, landlock, rlimits or cgroup")]
pub struct UnknownLayer;

impl FromStr for Layer {
    type Err = UnknownLayer;
    fn from_str(text: &str) -> Result<Self, UnknownLayer> {
        Self::ALL.iter().copied().find(|layer| layer.as_str() == text).ok_or(UnknownLayer)
    }
}

/// The name of a container image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image(String);

/// The longest name of an image, in characters: that of a repository and a digest.
const MAX_IMAGE_CHARS: usize = 255;

impl Image {
    /// Gives the name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Image {
    type Err = BadLimit;
    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
        let fits = text.len() <= MAX_IMAGE_CHARS
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(BadLimit::Image) }
    }
}

/// How many jobs of a template run at a time; none: as many as the gateway lets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Concurrency {
    /// Of everybody.
    pub per_template: Option<u16>,
    /// Of one principal.
    pub per_user: Option<u16>,
}

/// The most jobs at a time that a template may say.
const MAX_CONCURRENCY: u64 = 1000;

/// Reads a number of jobs.
///
/// # Errors
/// [`BadLimit::Concurrency`].
pub fn read_concurrency(text: &str) -> Result<u16, BadLimit> {
    let number = plain_number(text).filter(|n| (1..=MAX_CONCURRENCY).contains(n));
    number.and_then(|n| u16::try_from(n).ok()).ok_or(BadLimit::Concurrency)
}

/// Whose consent a job needs before it runs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Approval {
    /// How many others consent: 0 to 2.
    pub others: u8,
    /// Who may; empty: whoever may approve requests on the target.
    pub by: Vec<Approver>,
}

/// The most others who consent.
const MAX_OTHERS: u64 = 2;

/// Reads how many others consent.
///
/// # Errors
/// [`BadLimit::Others`].
pub fn read_others(text: &str) -> Result<u8, BadLimit> {
    let number = plain_number(text).filter(|n| *n <= MAX_OTHERS);
    number.and_then(|n| u8::try_from(n).ok()).ok_or(BadLimit::Others)
}

/// Somebody who may consent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Approver {
    /// A principal.
    Principal(PrincipalName),
    /// Anybody of a team, by its name.
    Team(String),
}

/// A text that names nobody who may consent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("who consents is written user:NAME, service:NAME or team:NAME")]
pub struct BadApprover;

/// The longest name of a team, in characters.
const MAX_TEAM_CHARS: usize = 64;

impl FromStr for Approver {
    type Err = BadApprover;
    fn from_str(text: &str) -> Result<Self, BadApprover> {
        let Some(team) = text.strip_prefix("team:") else {
            let name: PrincipalName = text.parse().map_err(|_| BadApprover)?;
            let is_machine = text.starts_with("machine:");
            return if is_machine { Err(BadApprover) } else { Ok(Self::Principal(name)) };
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let fits = !team.is_empty() && team.len() <= MAX_TEAM_CHARS && team.chars().all(plain);
        if fits { Ok(Self::Team(team.to_owned())) } else { Err(BadApprover) }
    }
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(name) => write!(f, "{name}"),
            Self::Team(name) => write!(f, "team:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_container_engines_write_it() {
        // CMD-1
        for (text, bytes) in [
            ("512m", 512 << 20),
            ("1G", 1 << 30),
            ("2048k", 2 << 20),
            ("1048576", 1 << 20),
            ("512MB", 512 << 20),
            ("512MiB", 512 << 20),
        ] {
            assert_eq!(read_memory(text), Ok(bytes), "{text}");
        }
        for bad in ["", "m", "-1m", "1.5g", "512 m", "1025g", "1k", "18446744073709551615g", "512t"]
        {
            assert_eq!(read_memory(bad), Err(BadLimit::Memory), "{bad}");
        }
    }

    #[test]
    fn processors_are_read_without_rounding() {
        // CMD-1
        for (text, millis) in
            [("0.5", 500), ("2", 2000), ("0.125", 125), ("1.05", 1050), ("0.01", 10)]
        {
            assert_eq!(read_cpu(text), Ok(millis), "{text}");
        }
        for bad in
            ["", "0", "0.0001", ".5", "1.", "1e3", "-1", "2000", "nan", "99999999999999999999"]
        {
            assert_eq!(read_cpu(bad), Err(BadLimit::Cpu), "{bad}");
        }
    }

    #[test]
    fn limits_hold_at_their_ends() {
        assert_eq!((read_timeout("1"), read_timeout("86400")), (Ok(1), Ok(86_400)));
        for bad in ["0", "86401", "5m", "1.5", "-1", "+1"] {
            assert_eq!(read_timeout(bad), Err(BadLimit::Timeout), "{bad}");
        }
        assert_eq!((read_output("64m"), read_output("65m")), (Ok(64 << 20), Err(BadLimit::Output)));
        assert_eq!((read_others("2"), read_others("3")), (Ok(2), Err(BadLimit::Others)));
        assert_eq!(read_concurrency("0"), Err(BadLimit::Concurrency));
        assert_eq!(read_concurrency("1000"), Ok(1000));
    }

    #[test]
    fn an_image_is_a_name_and_nothing_else() {
        assert!("registry.local:5000/tools/curl@sha256:abc".parse::<Image>().is_ok());
        for bad in ["", "-v", "a b", "debian;id", "../x"] {
            assert_eq!(bad.parse::<Image>(), Err(BadLimit::Image), "{bad}");
        }
    }

    #[test]
    fn those_who_consent_are_people_services_or_teams() {
        for fine in ["user:ann", "service:ci", "team:dba"] {
            assert_eq!(fine.parse::<Approver>().map(|a| a.to_string()), Ok(fine.to_owned()));
        }
        for bad in ["ann", "machine:web-1", "team:", "team:a b", "*"] {
            assert_eq!(bad.parse::<Approver>(), Err(BadApprover), "{bad}");
        }
    }
}
