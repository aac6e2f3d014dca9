//! How a command finds its gateway and says what it found: the options that all client commands share.

use std::io::Read;
use std::path::{Path, PathBuf};

use adit_domain::Secret;
use clap::Args;

use super::credentials::Credentials;
use super::failure::Failure;
use crate::output::{Form, Output};

/// The longest token that is read from a file or standard input, in bytes; Adit's own have 47.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Where the gateway is and who asks.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Gateway")]
pub struct GatewayOptions {
    /// The gateway's address [default: the one of `adit login`]
    #[arg(long, global = true, value_name = "URL", env = "ADIT_URL", hide_env_values = true)]
    pub url: Option<String>,

    #[command(flatten)]
    pub credential: CredentialOptions,
}

/// Who asks, and whose signature on the gateway's certificate counts.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Gateway")]
pub struct CredentialOptions {
    /// Where the API token is: @FILE, or - for standard input [env: ADIT_TOKEN=]
    #[arg(long, global = true, value_name = "@FILE|-")]
    pub token: Option<String>,

    /// A PEM file of the authority that signed the gateway's certificate [default: the system's]
    #[arg(long, global = true, value_name = "FILE", env = "ADIT_CA", hide_env_values = true)]
    pub ca: Option<PathBuf>,
}

/// How results are printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct OutputOptions {
    /// Print JSON for scripts
    #[arg(long, global = true)]
    pub json: bool,
}

/// Where the gateway is, who asks, and how results are printed.
#[derive(Args, Clone, Debug, Default)]
pub struct ClientOptions {
    #[command(flatten)]
    pub output: OutputOptions,
    #[command(flatten)]
    pub gateway: GatewayOptions,
}

impl OutputOptions {
    /// Looks at standard output.
    pub fn open(self) -> Output {
        Output::of_process(if self.json { Form::Json } else { Form::Person })
    }
}

/// Where something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An option of the command.
    Option,
    /// An environment variable.
    Environment,
    /// The file of `adit login`.
    File,
}

impl Source {
    /// Gives it in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Option => "the command line",
            Self::Environment => "the environment",
            Self::File => "the file of `adit login`",
        }
    }
}

/// A gateway and a token for it.
#[derive(Debug)]
pub struct Access {
    /// The gateway's address.
    pub url: String,
    /// Where the address comes from.
    pub url_source: Source,
    /// The API token.
    pub token: Secret<String>,
    /// Where the token comes from.
    pub token_source: Source,
    /// The authority to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// When the token ends, in Unix seconds, where it is renewed.
    pub ends_at: Option<u64>,
}

impl GatewayOptions {
    /// Finds the gateway and the token: options first, then the environment, then the file of `adit login`.
    ///
    /// # Errors
    /// [`Failure::NoGateway`], [`Failure::NoToken`], or what is wrong with a file that was named.
    pub fn find(&self) -> Result<Access, Failure> {
        let given = self.credential.given_token()?;
        // An empty variable is none, as in a shell.
        let named = self.url.as_ref().filter(|url| !url.is_empty());
        let stored = match (named, &given) {
            (Some(_), Some(_)) => Credentials::default(),
            _ => Credentials::load()?,
        };
        let (url, url_source) = match named {
            Some(url) => (url.clone(), url_source(url)),
            None => (stored.current().ok_or(Failure::NoGateway)?.to_owned(), Source::File),
        };
        let entry = stored.find(&url);
        let (token, token_source) = match given {
            Some(given) => given,
            None => {
                let entry = entry.ok_or_else(|| Failure::NoToken(url.clone()))?;
                (Secret::new(entry.token.clone()), Source::File)
            }
        };
        let ends_at = entry.filter(|_| token_source == Source::File).and_then(|e| e.ends_at);
        let ca = self.credential.ca().cloned();
        let ca = ca.or_else(|| entry.and_then(|entry| entry.ca.clone()));
        Ok(Access { url, url_source, token, token_source, ca, ends_at })
    }
}

impl CredentialOptions {
    /// Gives the authority's file; an empty variable is none.
    pub fn ca(&self) -> Option<&PathBuf> {
        self.ca.as_ref().filter(|path| !path.as_os_str().is_empty())
    }

    /// Reads the token that an option or the environment names.
    ///
    /// # Errors
    /// The token stands on the command line, or its file cannot be read.
    pub fn given_token(&self) -> Result<Option<(Secret<String>, Source)>, Failure> {
        if let Some(place) = &self.token {
            return Ok(Some((read_token(place)?, Source::Option)));
        }
        match std::env::var("ADIT_TOKEN") {
            Ok(token) if token.starts_with('@') => {
                Ok(Some((read_token(&token)?, Source::Environment)))
            }
            Ok(token) if !token.is_empty() => {
                Ok(Some((Secret::new(checked(&token)?), Source::Environment)))
            }
            _ => Ok(None),
        }
    }
}

fn url_source(url: &str) -> Source {
    match std::env::var("ADIT_URL") {
        Ok(value) if value == url => Source::Environment,
        _ => Source::Option,
    }
}

/// Reads a token from `@FILE` or `-`; a literal is refused, because everybody on the machine can read a command line.
fn read_token(place: &str) -> Result<Secret<String>, Failure> {
    if place == "-" {
        return read_all(std::io::stdin().lock(), "standard input");
    }
    let Some(path) = place.strip_prefix('@').map(Path::new) else {
        return Err(Failure::Usage(
            "a token on the command line can be read by everybody on this machine: \
             put it into a file and give --token @FILE, give --token - and pipe it in, \
             or set ADIT_TOKEN"
                .to_owned(),
        ));
    };
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(Failure::file(format!("opening {name}")))?;
    read_all(file, &name)
}

fn read_all(from: impl Read, name: &str) -> Result<Secret<String>, Failure> {
    let mut text = String::new();
    let read = from.take(MAX_TOKEN_BYTES).read_to_string(&mut text);
    let text = Secret::new(text);
    read.map_err(Failure::file(format!("reading the token from {name}")))?;
    checked(text.expose()).map(Secret::new)
}

/// Trims a token and refuses one that could not stand in a header.
pub fn checked(text: &str) -> Result<String, Failure> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::Usage(
            "that is no API token: it is one line that begins with adt_".to_owned(),
        ));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_token_comes_from_a_file_and_never_from_the_command_line() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"adt_abc\n").unwrap();
        let place = format!("@{}", file.path().display());
        assert_eq!(read_token(&place).unwrap().expose(), "adt_abc");
        let refusal = read_token("adt_abc").unwrap_err();
        assert_eq!(refusal.status(), 2);
        assert!(!refusal.to_string().contains("adt_abc"));
    }

    #[test]
    fn a_token_that_would_break_a_header_is_refused() {
        assert_eq!(checked(" adt_x \n").unwrap(), "adt_x");
        for bad in ["", "a b", "a\nb", "ä"] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }
}
