//! The units of systemd that run Adit with no more than it needs, from templates inside the program.
//!
//! What is put into a template is a program's path of a strict grammar and words of this file; never a text of a caller.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::request::WebServer;
use crate::settings::Settings;

const GATEWAY: &str = include_str!("../units/adit-gateway.service");
const AGENT_OWN: &str = include_str!("../units/adit-agent-own.service");
const AGENT_ANY: &str = include_str!("../units/adit-agent-any.service");
const HELPER: &str = include_str!("../units/adit-helper.service");

/// The helper's socket, which is the same everywhere.
pub const HELPER_SOCKET: &str = include_str!("../units/adit-helper.socket");

/// The accounts, for systemd-sysusers.
pub const ACCOUNTS: &str = include_str!("../units/adit.sysusers");

/// The account of the gateway.
pub const GATEWAY_USER: &str = "adit-gateway";

/// The account of an agent that is not root.
pub const AGENT_USER: &str = "adit-agent";

/// The ports below this one need a capability. Source: ip(7), `ip_unprivileged_port_start`.
const FIRST_FREE_PORT: u16 = 1024;

/// The path of the program that units start: absolute, of signs that systemd and shells leave as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(PathBuf);

/// Why a path cannot stand in a unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} cannot stand in a unit: it has to begin with / and have only letters, digits and `._-/`, without `..`; put the program at such a place, as /usr/local/bin/adit"
)]
pub struct NotAProgram(PathBuf);

impl Program {
    /// Takes a path.
    ///
    /// # Errors
    /// [`NotAProgram`].
    pub fn new(path: &Path) -> Result<Self, NotAProgram> {
        let is_sign = |sign: u8| sign.is_ascii_alphanumeric() || b"._-/".contains(&sign);
        let fits = path.to_str().is_some_and(|text| {
            text.starts_with('/')
                && !text.ends_with('/')
                && text.bytes().all(is_sign)
                && !text.split('/').any(|part| part == "..")
        });
        if fits { Ok(Self(path.to_owned())) } else { Err(NotAProgram(path.to_owned())) }
    }

    /// Gives the path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Whose shells an agent opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shells {
    /// Those of its own account, and no others: it is not root.
    Own,
    /// Those of any account that a warrant names: it is root.
    Any,
}

/// The gateway's unit. It has no capability, but for a port below 1024.
pub fn gateway(program: &Program, port: u16) -> String {
    // A user namespace of its own has no say about ports.
    let (capabilities, users) = match port {
        0 | FIRST_FREE_PORT.. => ("", "PrivateUsers=yes\n"),
        _ => ("CAP_NET_BIND_SERVICE", ""),
    };
    filled(GATEWAY, program)
        .replace("@CAPABILITIES@", capabilities)
        .replace("@PRIVATE_USERS@", users)
}

/// The agent's unit.
pub fn agent(program: &Program, shells: Shells) -> String {
    match shells {
        Shells::Own => filled(AGENT_OWN, program),
        Shells::Any => filled(AGENT_ANY, program),
    }
}

/// The helper's unit: what it may write and do follows from its settings.
pub fn helper(program: &Program, settings: &Settings) -> String {
    let mut capabilities = Vec::new();
    let mut writes = Vec::new();
    if !settings.certificate.is_empty() {
        writes.push(settings.certificates.display().to_string());
        capabilities.push("CAP_CHOWN");
    }
    if !settings.units.is_empty() {
        writes.push(settings.unit_folder.display().to_string());
    }
    let tests = settings.web_servers.as_slice();
    for server in tests {
        writes.extend(writes_of(*server).iter().map(|path| format!("-{path}")));
    }
    if !tests.is_empty() {
        // A web server's own test opens its logs, which are another's, and its ports.
        capabilities.extend(["CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"]);
    }
    let network = match tests {
        [] => "PrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\n",
        _ => "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n",
    };
    filled(HELPER, program)
        .replace("@CAPABILITIES@", &capabilities.join(" "))
        .replace("@WRITES@", &writes.join(" "))
        .replace("@NETWORK@", network)
}

/// What a web server's test of its configuration writes: it opens logs and the file of its process id.
fn writes_of(server: WebServer) -> &'static [&'static str] {
    match server {
        WebServer::Nginx => &["/var/log/nginx", "/var/lib/nginx", "/run/nginx.pid"],
        WebServer::Apache => &["/var/log/apache2", "/run/apache2", "/run/lock/apache2"],
        WebServer::Caddy => &["/var/log/caddy", "/var/lib/caddy"],
    }
}

fn filled(template: &str, program: &Program) -> String {
    template.replace("@PROGRAM@", &program.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_a_plain_path() {
        assert!(Program::new(Path::new("/usr/local/bin/adit-0.1_x")).is_ok());
        for bad in [
            "",
            "adit",
            "/",
            "/usr/bin/",
            "/a b",
            "/a\nExecStartPre=/x",
            "/a;b",
            "/a/../b",
            "/a%n",
            "/a$b",
            "/\u{e4}",
        ] {
            assert!(Program::new(Path::new(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_gateway_has_a_capability_for_a_low_port_only() {
        let program = Program::new(Path::new("/usr/bin/adit")).unwrap();
        for (port, expected) in [(0, ""), (7800, ""), (1024, ""), (443, "CAP_NET_BIND_SERVICE")] {
            let unit = gateway(&program, port);
            let bounding = unit.lines().find(|line| line.starts_with("CapabilityBoundingSet="));
            assert_eq!(bounding, Some(format!("CapabilityBoundingSet={expected}").as_str()));
        }
    }

    #[test]
    fn no_place_of_a_template_is_left_open() {
        let program = Program::new(Path::new("/usr/bin/adit")).unwrap();
        let settings: Settings = toml::from_str("users = [\"a\"]").unwrap();
        for unit in [
            gateway(&program, 443),
            agent(&program, Shells::Own),
            agent(&program, Shells::Any),
            helper(&program, &settings),
        ] {
            let open =
                unit.lines().find(|line| line.contains('@') && !line.starts_with(['#', 'S']));
            assert_eq!(open, None);
        }
    }
}
