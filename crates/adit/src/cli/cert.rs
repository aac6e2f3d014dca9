//! `adit cert`: certificates of machines and operators. Keys are made here and stay here.

mod files;
mod gateway;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use rcgen::{CertificateParams, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, read, read_all};
use super::failure::Failure;
use super::options::ClientOptions;
use super::{Ended, when};
use crate::output::{Cell, Output, Table, Tone, escape};
use files::Bundle;

/// More certificates than a person reads.
const MAX_LISTED: usize = 10_000;

/// Works on certificates.
#[derive(Args, Debug)]
pub struct Cert {
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    action: Action,
}

/// What to do with certificates.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key here and get a certificate for it
    Issue {
        /// Whom it names: agent:LABEL, admin or plugin-agent:DELEGATOR:NAME
        name: String,
        #[command(flatten)]
        into: Out,
        /// What its holder may do where tickets are asked for, as scope:action
        #[arg(long = "capability", value_name = "CAPABILITY")]
        capabilities: Vec<String>,
        /// How long it counts, such as 30d [default: the gateway's]
        #[arg(long, value_parser = when::parse_length, value_name = "LENGTH")]
        expires: Option<u64>,
    },
    /// List certificates and warn of those that end soon
    Ls {
        /// Those that admit this machine
        #[arg(long)]
        machine: Option<String>,
        /// Those of this name
        #[arg(long, conflicts_with = "machine")]
        name: Option<String>,
    },
    /// Show one certificate
    Show {
        /// Its id or serial number, of `adit cert ls`
        certificate: String,
    },
    /// Revoke a certificate: it stops counting within a second
    Revoke {
        /// Its id or serial number, of `adit cert ls`
        certificate: String,
    },
    /// Make a new key here and get a certificate of the same name for it
    Renew {
        /// The id or serial number of the certificate before
        certificate: String,
        #[command(flatten)]
        into: Out,
    },
    /// The authority that signs certificates
    #[command(subcommand)]
    Ca(CaAction),
    /// The certificates that the gateway itself shows
    #[command(subcommand)]
    Gateway(gateway::Action),
}

/// What to do with the authority.
#[derive(Debug, Subcommand)]
enum CaAction {
    /// List the root and the issuing authorities
    Ls,
    /// Make a new issuing authority; what the ones before it signed stays good
    Rotate,
}

/// Where a certificate and its key are put.
#[derive(Args, Debug)]
struct Out {
    /// The folder for cert.pem, key.pem and ca.pem
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A file with the password for bundle.p12, which is made beside them
    #[arg(long, value_name = "FILE")]
    p12_password_file: Option<PathBuf>,
}

/// A certificate as the gateway tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listed {
    id: String,
    serial: String,
    fingerprint: String,
    name: String,
    status: String,
    capabilities: Vec<String>,
    issued_by: String,
    issuer: String,
    issued_at: String,
    not_after: String,
    renew_at: String,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
    certificate: String,
    ca: String,
}

/// An authority as the gateway tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Authority {
    name: String,
    not_after: String,
    signs: bool,
}

impl Cert {
    /// Works on certificates.
    pub async fn run(self) -> Ended {
        let client = Client::open(&self.client.gateway)?;
        let output = self.client.output.open();
        match self.action {
            Action::Issue { name, into, capabilities, expires } => {
                let mut body = json!({ "name": name, "capabilities": capabilities });
                if let Some(seconds) = expires {
                    body["expiresInSeconds"] = Value::from(seconds);
                }
                get(&client, output, &["certificates"], body, into).await
            }
            Action::Ls { machine, name } => list(&client, output, machine, name).await,
            Action::Show { certificate } => {
                let id = find(&client, &certificate).await?;
                show(&client, output, &id).await
            }
            Action::Revoke { certificate } => {
                let id = find(&client, &certificate).await?;
                client.remove(&["certificates", &id]).await?;
                output.done(&json!({ "revoked": id }), "The certificate is revoked.")?;
                Ok(ExitCode::SUCCESS)
            }
            Action::Renew { certificate, into } => {
                let id = find(&client, &certificate).await?;
                get(&client, output, &["certificates", &id, "renew"], json!({}), into).await
            }
            Action::Ca(CaAction::Ls) => authorities(&client, output).await,
            Action::Ca(CaAction::Rotate) => rotate(&client, output).await,
            Action::Gateway(action) => action.run(&client, output).await,
        }
    }
}

/// Makes a key, gets a certificate for it, and keeps both.
async fn get(client: &Client, output: Output, path: &[&str], mut body: Value, into: Out) -> Ended {
    // Everything that can go wrong here goes wrong before the gateway has signed anything.
    let place = files::Place::open(&into.out, into.p12_password_file.as_deref())?;
    let failed = |cause: rcgen::Error| {
        Failure::file("making a key")(std::io::Error::other(cause.to_string()))
    };
    let key = KeyPair::generate().map_err(failed)?;
    let csr = CertificateParams::default().serialize_request(&key).map_err(failed)?;
    body["csr"] = Value::from(csr.pem().map_err(failed)?);
    let value = client.create(path, &body).await?;
    let made: Listed = read(value.clone())?;
    let bundle = Bundle { chain: &made.certificate, key: &key, ca: &made.ca, name: &made.name };
    let written = place.keep(&bundle)?;
    if output.is_json() {
        let mut value = value;
        value["files"] = json!(written);
        output.json(&value)?;
    } else {
        for path in &written {
            output.line(&path.display().to_string())?;
        }
        let until = when::ago(&made.not_after, when::now());
        eprintln!("{} has a certificate; it ends {}.", escape(&made.name), escape(&until));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(
    client: &Client,
    output: Output,
    machine: Option<String>,
    name: Option<String>,
) -> Ended {
    let mut query = Vec::new();
    query.extend(machine.as_deref().map(|machine| ("machine", machine)));
    query.extend(name.as_deref().map(|name| ("name", name)));
    let items = client.list(&["certificates"], &query, MAX_LISTED).await?;
    let mut table = Table::new(&["NAME", "STATUS", "ENDS", "LAST USED", "ISSUED BY", "SERIAL"]);
    let now = when::now();
    let listed = read_all::<Listed>(&items)?;
    for one in &listed {
        let tone = match one.status.as_str() {
            "valid" => Tone::Good,
            "expiring" => Tone::Warning,
            "expired" => Tone::Bad,
            _ => Tone::Faint,
        };
        let used = one.last_used_at.as_ref().map_or("never".to_owned(), |at| when::ago(at, now));
        table.row([
            (&one.name).into(),
            Cell::toned(&one.status, tone),
            when::ago(&one.not_after, now).into(),
            used.into(),
            (&one.issued_by).into(),
            (&one.serial).into(),
        ]);
    }
    output.list(
        &items,
        &table,
        "No certificates. Get one with `adit cert issue NAME --out DIR`.",
    )?;
    let soon = listed.iter().filter(|one| one.status == "expiring").count();
    if soon > 0 && !output.is_json() {
        eprintln!(
            "{soon} end soon. Agents renew theirs by themselves; `adit cert renew` is for the others."
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(client: &Client, output: Output, id: &str) -> Ended {
    let value = client.fetch(&["certificates", id], &[]).await?;
    let one: Listed = read(value.clone())?;
    let clock = |at: &Option<String>| at.as_ref().map(|at| when::clock(at)).unwrap_or_default();
    let facts = [
        ("certificate", one.name),
        ("id", one.id),
        ("serial", one.serial),
        ("sha-256", one.fingerprint),
        ("status", one.status),
        ("carries", one.capabilities.join(" ")),
        ("signed by", one.issuer),
        ("issued by", one.issued_by),
        ("issued", when::clock(&one.issued_at)),
        ("renewed from", when::clock(&one.renew_at)),
        ("ends", when::clock(&one.not_after)),
        ("last used", clock(&one.last_used_at)),
        ("revoked", clock(&one.revoked_at)),
    ];
    output.facts(&value, &facts)?;
    Ok(ExitCode::SUCCESS)
}

/// Gives the id of a certificate that is named by its id or its serial number.
async fn find(client: &Client, wanted: &str) -> Result<String, Failure> {
    if wanted.contains('-') {
        return Ok(wanted.to_owned());
    }
    let items = client.list(&["certificates"], &[], MAX_LISTED).await?;
    let found = read_all::<Listed>(&items)?.into_iter().find(|one| one.serial == wanted);
    found.map(|one| one.id).ok_or_else(|| {
        Failure::Usage(format!(
            "there is no certificate with the serial number {wanted}; `adit cert ls` lists them"
        ))
    })
}

async fn authorities(client: &Client, output: Output) -> Ended {
    let items = client.list(&["authorities"], &[], MAX_LISTED).await?;
    let mut table = Table::new(&["AUTHORITY", "SIGNS", "ENDS"]);
    for one in read_all::<Authority>(&items)? {
        let signs = if one.signs { "now" } else { "" };
        let ends = when::ago(&one.not_after, when::now());
        table.row([(&one.name).into(), signs.into(), ends.into()]);
    }
    output.list(&items, &table, "No authority.")?;
    Ok(ExitCode::SUCCESS)
}

async fn rotate(client: &Client, output: Output) -> Ended {
    let value = client.create(&["authorities", "rotate"], &json!({})).await?;
    let made: Authority = read(value.clone())?;
    output.done(&value, &format!("{} signs from now on.", made.name))?;
    Ok(ExitCode::SUCCESS)
}
