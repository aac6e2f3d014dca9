//! The nouns and rules of Adit: ids, capabilities, policy, states and codes.
//!
//! Nothing here does I/O, reads a clock or makes a random number; every function is a computation over its arguments.
//! Read first: [`policy::authorize`], the one place that decides; [`code::Code`], every stable code.

pub mod anomaly;
pub mod capability;
pub mod certificate;
pub mod code;
pub mod id;
pub mod job;
pub mod machine;
pub mod password;
pub mod policy;
pub mod principal;
pub mod reach;
pub mod role;
pub mod scope;
pub mod secret;
pub mod service;
pub mod session;
pub mod support;
pub mod template;
pub mod ticket;
pub mod time;

pub use capability::{Capabilities, Capability};
pub use certificate::CertificateName;
pub use code::Code;
pub use id::{
    AlertId, CertificateId, EventId, FamilyId, GatewayId, GrantId, IdentityId, Ids, InstanceId,
    JobId, KeyId, MachineId, PrincipalId, RequestId, RoleId, SessionId, StreamId, TeamId, TenantId,
    TicketId, TokenId,
};
pub use machine::MachineLabel;
pub use password::Password;
pub use policy::{Denial, Facts, Permit, authorize};
pub use principal::{Principal, PrincipalKind, PrincipalName};
pub use secret::{Payload, Secret};
pub use session::{EndReason, RecordingMode};
pub use support::SupportCode;
pub use template::Template;
pub use time::{Clock, Timestamp};
