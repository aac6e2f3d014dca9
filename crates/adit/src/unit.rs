//! `adit unit`: gateway, agent and root helper as services of systemd, each with no more than it needs.

mod install;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use adit_helper::name::{Name, NotAName, UnitName};
use adit_helper::request::WebServer;
use adit_helper::unit::{self, ACCOUNTS, GATEWAY_USER, HELPER_SOCKET, Program, Shells};
use adit_helper::{SETTINGS, Settings};
use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};

use crate::config::{Config, listen_address};

/// Run gateway, agent and root helper as services of systemd, each with no more than it needs
#[derive(Debug, clap::Args)]
pub struct Unit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what would be installed; anybody may
    Show {
        /// One of them, as the file is
        #[arg(value_enum)]
        which: Option<Which>,
        #[command(flatten)]
        wish: Wish,
    },
    /// Make the accounts, write units and settings; as root, or for a package into a folder
    Install {
        /// Write files only, below this folder, as a package holds them
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        #[command(flatten)]
        wish: Wish,
    },
    /// Stop the services and remove their units; accounts, settings and data stay
    Remove,
}

/// A file of the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The gateway's unit
    Gateway,
    /// The agent's unit
    Agent,
    /// The root helper's unit
    Helper,
    /// The root helper's socket
    Socket,
    /// The accounts, for systemd-sysusers
    Accounts,
    /// The gateway's settings, where there are none yet
    GatewaySettings,
    /// The root helper's settings, where there are none yet
    HelperSettings,
}

/// What is to be installed.
#[derive(Debug, clap::Args)]
struct Wish {
    /// The port that the gateway listens on; one below 1024 needs a capability [default: that of its settings]
    #[arg(long)]
    port: Option<u16>,
    /// Whose shells the agent opens: its own account's, or any account's, for which it has to be root
    #[arg(long, value_enum, default_value_t = Whose::Own)]
    shells: Whose,
    /// A certificate that the root helper may install, by the name of its place
    #[arg(long, value_name = "NAME", value_parser = name)]
    certificate: Vec<Name>,
    /// A service that the root helper may reload and restart
    #[arg(long, value_name = "UNIT", value_parser = unit_name)]
    service: Vec<UnitName>,
    /// A web server whose configuration the root helper may test
    #[arg(long, value_enum)]
    web_server: Vec<Server>,
    /// This program, as the units start it [default: /usr/bin/adit, or where this one is]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whose {
    /// The agent is not root; `sudo` does not work in its shells
    Own,
    /// The agent is root, as sshd is
    Any,
}

/// A web server, as it is named on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Server {
    Nginx,
    Apache,
    Caddy,
}

/// Reads the name of a certificate's place.
pub fn name(text: &str) -> Result<Name, NotAName> {
    text.to_owned().try_into()
}

/// Reads the name of a service.
pub fn unit_name(text: &str) -> Result<UnitName, NotAName> {
    text.to_owned().try_into()
}

/// Where the gateway's settings are.
const GATEWAY_SETTINGS: &str = "/etc/adit/gateway.toml";

/// Where the gateway's session secret is.
const SESSION_SECRET: &str = "/etc/adit/session.secret";

/// Where packages put the program.
const PACKAGED: &str = "/usr/bin/adit";

impl Unit {
    /// Runs the command.
    ///
    /// # Errors
    /// When it cannot be done, with what to do next.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Show { which, wish } => show(which, &wish),
            Command::Install { root: Some(root), wish } => install::into_folder(&root, &wish),
            Command::Install { root: None, wish } => install::here(&wish),
            Command::Remove => install::remove(),
        }
    }
}

/// One file of the installation: where it is, and what is in it.
struct Planned {
    which: Which,
    /// The folder, from the root.
    folder: &'static str,
    name: &'static str,
    text: String,
}

impl Planned {
    fn path(&self) -> String {
        format!("/{}/{}", self.folder, self.name)
    }

    /// Tells whether what is there already stays: settings are the administrator's.
    fn is_settings(&self) -> bool {
        matches!(self.which, Which::GatewaySettings | Which::HelperSettings)
    }
}

/// Where units and accounts are written: an administrator's folders or a package's.
#[derive(Clone, Copy)]
struct Places {
    units: &'static str,
    accounts: &'static str,
}

const ADMINISTRATORS: Places = Places { units: "etc/systemd/system", accounts: "etc/sysusers.d" };
const PACKAGES: Places = Places { units: "usr/lib/systemd/system", accounts: "usr/lib/sysusers.d" };

/// What settings say that are there already.
struct Known {
    helper: Option<Settings>,
    port: Option<u16>,
}

impl Known {
    const NOTHING: Self = Self { helper: None, port: None };

    /// Reads those of this machine.
    fn here() -> anyhow::Result<Self> {
        let helper = Path::new(SETTINGS);
        let helper = helper.exists().then(|| Settings::load(helper)).transpose()?;
        let gateway = Path::new(GATEWAY_SETTINGS);
        let port = gateway.exists().then(|| lowest_port(gateway)).transpose()?;
        Ok(Self { helper, port })
    }
}

fn lowest_port(path: &Path) -> anyhow::Result<u16> {
    let config = Config::load(path)?;
    let mut lowest = u16::MAX;
    for listen in [&config.listen, &config.machines_listen].into_iter().flatten() {
        lowest = lowest.min(listen_address(listen)?.port());
    }
    Ok(lowest)
}

/// Gives every file of the installation.
fn planned(
    wish: &Wish,
    program: &Program,
    places: Places,
    known: &Known,
) -> anyhow::Result<Vec<Planned>> {
    let fresh = helper_settings(wish, program);
    let settings = match &known.helper {
        Some(settings) => settings.clone(),
        None => toml::from_str(&fresh).context("the helper's settings")?,
    };
    let port = wish.port.or(known.port).unwrap_or_default();
    let shells = match wish.shells {
        Whose::Own => Shells::Own,
        Whose::Any => Shells::Any,
    };
    let file = |which, folder, name, text| Planned { which, folder, name, text };
    Ok(vec![
        file(Which::Accounts, places.accounts, "adit.conf", ACCOUNTS.to_owned()),
        file(Which::Gateway, places.units, "adit-gateway.service", unit::gateway(program, port)),
        file(Which::Agent, places.units, "adit-agent.service", unit::agent(program, shells)),
        file(Which::Helper, places.units, "adit-helper.service", unit::helper(program, &settings)),
        file(Which::Socket, places.units, "adit-helper.socket", HELPER_SOCKET.to_owned()),
        file(Which::GatewaySettings, "etc/adit", "gateway.toml", GATEWAY_TEXT.to_owned()),
        file(Which::HelperSettings, "etc/adit", "helper.toml", fresh),
    ])
}

/// The gateway's first settings.
const GATEWAY_TEXT: &str = "# The gateway's settings; docs/configuration.md has them all. Anything but loopback needs [tls].\n\
    data = \"/var/lib/adit-gateway\"\nlisten = \"127.0.0.1:7800\"\nmachines_listen = \"127.0.0.1:7892\"\n\n\
    [session]\ntoken_secret_file = \"/etc/adit/session.secret\"\n";

/// The helper's first settings. Every word in it is a name of a strict grammar.
fn helper_settings(wish: &Wish, program: &Program) -> String {
    let mut text = format!(
        "# Who may ask the root helper, and for what; root alone may write this file. After a change run `adit unit install` again: the\n\
         # helper's unit follows from it.\nusers = [{GATEWAY_USER:?}]\nprogram = \"{program}\"\n\n"
    );
    let services: Vec<&str> = wish.service.iter().map(UnitName::as_str).collect();
    let servers: Vec<&str> =
        wish.web_server.iter().map(|server| WebServer::from(*server).as_str()).collect();
    // Writing to a text does not fail.
    let _ = writeln!(
        text,
        "# The services that it may reload and restart, such as \"nginx.service\".\nservices = {services:?}\n"
    );
    let _ = writeln!(
        text,
        "# The web servers whose configuration it may test: nginx, apache, caddy.\nweb_servers = {servers:?}\n"
    );
    let _ = writeln!(
        text,
        "# The units of Adit's own that it may write: gateway, agent.\nunits = [\"gateway\"]\n"
    );
    let _ = writeln!(
        text,
        "# Each place of a certificate is a folder below this one, with chain.pem and key.pem.\ncertificates = \"/etc/adit/certificates\"\n"
    );
    let _ = writeln!(
        text,
        "# [certificate.NAME]\n# owner = \"root\"         # whose the files are\n# group = \"ssl-cert\"     # who else may read the key"
    );
    for name in &wish.certificate {
        let _ = writeln!(text, "\n[certificate.{name}]");
    }
    text
}

fn show(which: Option<Which>, wish: &Wish) -> anyhow::Result<()> {
    let program = wish.program.as_deref().unwrap_or(Path::new(PACKAGED));
    let files = planned(wish, &Program::new(program)?, PACKAGES, &Known::NOTHING)?;
    let mut text = String::new();
    for file in files.iter().filter(|file| which.is_none_or(|which| which == file.which)) {
        if which.is_none() {
            let _ = writeln!(text, "# {}", file.path());
        }
        text += &file.text;
        if which.is_none() {
            text.push('\n');
        }
    }
    use std::io::Write as _;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

impl From<Server> for WebServer {
    fn from(server: Server) -> Self {
        match server {
            Server::Nginx => Self::Nginx,
            Server::Apache => Self::Apache,
            Server::Caddy => Self::Caddy,
        }
    }
}
