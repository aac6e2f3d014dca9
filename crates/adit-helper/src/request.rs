//! What may be asked, what is answered, and both as bytes.
//!
//! ```text
//! connection  [length: u32 BE][request: JSON]  →  [length: u32 BE][answer: JSON]
//! ```
//!
//! JSON and not protobuf: a process of root takes one form or none. Here a field that is not known, is there twice or is missing is an
//! error, and so is anything after the end; protobuf skips what it does not know and takes the last of two.

use std::io::{self, Read, Write};

use adit_domain::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::{Name, UnitName};

/// The largest request, in bytes: a chain of ten certificates and a key, escaped, have room in half of it.
pub const MAX_REQUEST_BYTES: usize = 128 * 1024;

/// The largest answer, in bytes: a sentence, and the first of what a program said.
pub const MAX_ANSWER_BYTES: usize = 32 * 1024;

/// Everything that may be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Puts a certificate and its key into the place of this name.
    InstallCertificate {
        /// A place of the settings.
        name: Name,
        /// The chain, PEM, the certificate itself first.
        chain: String,
        /// Its key, PEM.
        #[serde(serialize_with = "tell_secret", deserialize_with = "hear_secret")]
        key: Secret<String>,
    },
    /// Has a service read its files anew.
    ReloadService {
        /// A service of the settings.
        unit: UnitName,
    },
    /// Ends a service and starts it again.
    RestartService {
        /// A service of the settings.
        unit: UnitName,
    },
    /// Has a web server look whether its configuration is right.
    TestConfiguration {
        /// A web server of the settings.
        server: WebServer,
    },
    /// Writes a unit of Adit's own from the helper's own template.
    WriteUnit {
        /// A unit of the settings.
        unit: OwnUnit,
        /// The port that the gateway listens on; one below 1024 needs a capability. Nothing for another unit.
        port: Option<u16>,
    },
}

/// A web server whose configuration can be tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebServer {
    /// `nginx -t`.
    Nginx,
    /// `apache2ctl configtest`.
    Apache,
    /// `caddy validate`.
    Caddy,
}

/// A unit that the helper may write: never its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnUnit {
    /// `adit-gateway.service`.
    Gateway,
    /// `adit-agent.service`.
    Agent,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// It was done.
    Done {
        /// What was done.
        sentence: String,
        /// The first of what a program said.
        output: String,
    },
    /// It was not.
    Refused(Refusal),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{sentence}")]
pub struct Refusal {
    /// The stable code.
    pub code: Why,
    /// What happened, why, and what to do next.
    pub sentence: String,
    /// The first of what a program said.
    pub output: String,
}

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The caller is not on the list.
    #[serde(rename = "helper.peer")]
    Peer,
    /// Too many ask at once, or too often.
    #[serde(rename = "helper.busy")]
    Busy,
    /// The bytes are no request.
    #[serde(rename = "helper.request")]
    Request,
    /// What it names is not on the list.
    #[serde(rename = "helper.not_listed")]
    NotListed,
    /// The certificate is none, or the key is another's.
    #[serde(rename = "helper.certificate")]
    Certificate,
    /// The audit cannot be written, so nothing is done.
    #[serde(rename = "helper.audit")]
    Audit,
    /// It was tried and did not succeed.
    #[serde(rename = "helper.failed")]
    Failed,
}

impl Why {
    /// Gives the stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "helper.peer",
            Self::Busy => "helper.busy",
            Self::Request => "helper.request",
            Self::NotListed => "helper.not_listed",
            Self::Certificate => "helper.certificate",
            Self::Audit => "helper.audit",
            Self::Failed => "helper.failed",
        }
    }
}

impl Refusal {
    /// Says why something was not done.
    pub fn new(code: Why, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into(), output: String::new() }
    }
}

impl Request {
    /// Reads a request; takes one form or none.
    ///
    /// # Errors
    /// What is wrong, without a word of what the caller sent.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(bytes).map_err(|error| {
            let sentence = format!(
                "this is no request of this version at byte {}; use the same version on both sides, and names as `adit helper --help` says",
                error.column()
            );
            Refusal::new(Why::Request, sentence)
        })
    }

    /// Gives the operation's name.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::InstallCertificate { .. } => "install-certificate",
            Self::ReloadService { .. } => "reload-service",
            Self::RestartService { .. } => "restart-service",
            Self::TestConfiguration { .. } => "test-configuration",
            Self::WriteUnit { .. } => "write-unit",
        }
    }
}

impl WebServer {
    /// Gives its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache",
            Self::Caddy => "caddy",
        }
    }
}

impl OwnUnit {
    /// Gives its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Agent => "agent",
        }
    }

    /// Gives its file's name.
    pub fn file(self) -> &'static str {
        match self {
            Self::Gateway => "adit-gateway.service",
            Self::Agent => "adit-agent.service",
        }
    }
}

/// Reads a length and as many bytes, which are wiped when they are dropped.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when it is longer than `max`, or what the system said.
pub fn read_frame(from: &mut impl Read, max: usize) -> io::Result<Secret<Vec<u8>>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // Full length from the start: a buffer that grows leaves copies behind that nobody wipes.
    let mut bytes = vec![0; length];
    let read = from.read_exact(&mut bytes);
    let bytes = Secret::new(bytes);
    read.map(|()| bytes)
}

/// Writes a length and the bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] when they are more than `max`, or what the system said.
pub fn write_frame(to: &mut impl Write, bytes: &[u8], max: usize) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= max);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(bytes)?;
    to.flush()
}

fn tell_secret<S: Serializer>(secret: &Secret<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose())
}

fn hear_secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(from).map(Secret::new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_has_one_form() {
        let good = r#"{"reload-service":{"unit":"nginx.service"}}"#;
        assert_eq!(Request::parse(good.as_bytes()).unwrap().operation(), "reload-service");
        for bad in [
            "",
            "null",
            "[]",
            r#""reload-service""#,
            r#"{"reload-service":{}}"#,
            r#"{"reload-service":{"unit":"nginx.service"}} "x""#,
            r#"{"reload-service":{"unit":"nginx.service","now":true}}"#,
            r#"{"reload-service":{"unit":"nginx.service","unit":"ssh.service"}}"#,
            r#"{"reload-service":{"unit":"nginx.service"},"restart-service":{"unit":"ssh.service"}}"#,
            r#"{"run":{"command":"id"}}"#,
            r#"{"reload-service":{"unit":"--pre-hook.service"}}"#,
            r#"{"reload-service":{"unit":"nginx.service\n"}}"#,
            r#"{"reload-service":{"unit":"../nginx.service"}}"#,
            r#"{"test-configuration":{"server":"nginx -g x"}}"#,
            r#"{"write-unit":{"unit":"helper","port":443}}"#,
            r#"{"write-unit":{"unit":"gateway","port":70000}}"#,
            r#"{"install-certificate":{"name":"../x","chain":"","key":""}}"#,
        ] {
            // TIX-72
            let refusal = Request::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(refusal.code, Why::Request, "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_what_was_sent() {
        let sent = r#"{"install-certificate":{"name":"a","chain":"c","key":"hunter2","x":1}}"#;
        let refusal = Request::parse(sent.as_bytes()).unwrap_err();
        assert!(!format!("{refusal:?}").contains("hunter2"));
        let sent = r#"{"install-certificate":{"name":"a","chain":"c","key":"hunter2"}}"#;
        assert!(!format!("{:?}", Request::parse(sent.as_bytes()).unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_frame_over_its_limit_is_refused_before_it_is_read() {
        let mut sent: &[u8] = &u32::MAX.to_be_bytes();
        let refused = read_frame(&mut sent, MAX_REQUEST_BYTES).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(write_frame(&mut Vec::new(), &[0; 9], 8).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Request::parse(&bytes);
            let _ = read_frame(&mut bytes.as_slice(), 64);
        }

        #[test]
        fn a_request_with_one_byte_changed_is_refused_or_names_a_name(at in 0_usize..43, byte in any::<u8>()) {
            let mut bytes = br#"{"reload-service":{"unit":"nginx.service"}}"#.to_vec();
            bytes[at] = byte;
            if let Ok(Request::ReloadService { unit }) = Request::parse(&bytes) {
                prop_assert!(!unit.as_str().contains(['/', ' ']) && !unit.as_str().starts_with('-'));
            }
        }

        #[test]
        fn what_is_written_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut sent = Vec::new();
            write_frame(&mut sent, &bytes, 256).unwrap();
            let read = read_frame(&mut sent.as_slice(), 256).unwrap();
            prop_assert_eq!(read.expose(), &bytes);
        }
    }
}
