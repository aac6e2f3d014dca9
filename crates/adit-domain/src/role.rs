//! Roles: named sets of capabilities. The four built-in ones need no row.

use crate::capability::{Capabilities, Capability as C};
use crate::policy::Scopes;

/// A role that every gateway knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BuiltInRole {
    /// May do everything.
    Admin,
    /// Opens, joins and ends sessions and plays their recordings.
    Operator,
    /// Watches.
    Viewer,
    /// Reads the audit log and plays recordings.
    Auditor,
}

impl BuiltInRole {
    /// Every built-in role, the strongest first.
    pub const ALL: &[Self] = &[Self::Admin, Self::Operator, Self::Viewer, Self::Auditor];

    /// Gives the role's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Auditor => "auditor",
        }
    }

    /// Finds the role of a name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.as_str() == name)
    }

    /// Gives the templates' scopes that the role holds: whoever may open a shell may run whatever is vetted.
    pub fn scopes(self) -> Scopes {
        match self {
            Self::Admin | Self::Operator => Scopes::All,
            Self::Viewer | Self::Auditor => Scopes::default(),
        }
    }

    /// Gives what the role allows.
    pub const fn capabilities(self) -> Capabilities {
        match self {
            Self::Admin => Capabilities::all(),
            Self::Operator => Capabilities::of(&[
                C::TerminalSpawn,
                C::TerminalInput,
                C::TerminalResize,
                C::TerminalExec,
                C::TerminalView,
                C::SessionList,
                C::SessionEnd,
                C::RecordingView,
                C::MachineView,
                C::SupportOffer,
                C::TicketView,
                C::TicketManage,
                C::JobRun,
                C::JobView,
                C::JobCancel,
            ]),
            Self::Viewer => Capabilities::of(&[
                C::TerminalView,
                C::SessionList,
                C::RecordingView,
                C::MachineView,
                C::TicketView,
                C::JobView,
            ]),
            Self::Auditor => Capabilities::of(&[
                C::AuditRead,
                C::SessionList,
                C::RecordingView,
                C::MachineView,
                C::TicketView,
                C::JobView,
            ]),
        }
    }
}
