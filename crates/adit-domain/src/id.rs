//! Typed identifiers. All are UUIDs (RFC 9562) that the server makes.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Makes new identifiers and random bytes; an argument everywhere, so that tests can repeat themselves.
pub trait Ids: Send + Sync {
    /// Returns a new time-ordered UUID (version 7).
    fn uuid(&self) -> Uuid;
    /// Fills `bytes` from a cryptographically secure source.
    fn fill(&self, bytes: &mut [u8]);
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a new one.
            pub fn new(ids: &dyn Ids) -> Self {
                Self(ids.uuid())
            }

            /// Reads one from the 16 bytes that the wire carries.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Uuid::from_slice(bytes).ok().map(Self)
            }

            /// Gives the 16 bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// Whose data a row is.
    TenantId;
    /// A user, a service or a machine that acts.
    PrincipalId;
    /// A host that runs the agent.
    MachineId;
    /// A live right in use.
    SessionId;
    /// A vetted command that somebody asked for.
    JobId;
    /// Something out of the ordinary in the audit log.
    AlertId;
    /// The handle of a ticket; never its secret.
    TicketId;
    /// What a machine offers to others for one scope.
    InstanceId;
    /// One stream of bytes of a session between machines.
    StreamId;
    /// One authorization of the OAuth2 server, and every token that was issued by it.
    FamilyId;
    /// A key that signs access tokens: the `kid` of the tokens that it signs.
    KeyId;
    /// The handle of an API token, sign-in code, cookie or enrolment token; never its secret.
    TokenId;
    /// A certificate that the gateway's authority issued.
    CertificateId;
    /// A role given to a principal on a selection of targets.
    GrantId;
    /// An account at a company's issuer that a principal signs in with.
    IdentityId;
    /// A named set of capabilities.
    RoleId;
    /// Principals that hold roles together.
    TeamId;
    /// Somebody's wish for a role, for a time.
    RequestId;
    /// One line of the audit log.
    EventId;
    /// A gateway process's lasting identity; its audit chain is named after it.
    GatewayId;
}

impl TenantId {
    /// The tenant of whoever has only one, so that one-tenant users never see it.
    pub const SEED: Self = Self(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
}
