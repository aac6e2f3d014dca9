//! The database: SQLite or PostgreSQL, one schema history, one set of verbs.
//!
//! A verb is a method of [`Store`] or [`TenantStore`] and one transaction. Reads go to a pool of connections. Writes go through the
//! process's one writer, which commits everything that waits at once. A verb that changes something takes a closure that tells the
//! audit log of the outcome; its events are in the same transaction, and the verb answers after the commit.
//!
//! Read first: [`Store::open`], then the writer's file.

mod alert;
mod audit;
mod authenticator;
mod certificate;
mod company;
mod credential;
mod enrolment;
mod error;
mod event;
mod gateway;
mod grant;
mod job;
mod machine;
mod machine_key;
mod migrate;
mod oauth;
mod page;
mod passkey;
mod password;
mod postgres;
mod principal;
mod reach;
mod reads;
mod recording;
mod request;
mod role;
mod service;
mod session;
mod setting;
mod sign_in;
mod sql;
mod sqlite;
mod store;
mod support;
mod team;
mod tenant;
mod ticket;
mod tx;
mod writer;

pub use alert::{Advance, Alert, AlertDelivery, Attempt, LogPlace, NewAlert, Watching};
pub use audit::{Checkpoint, EventFilter, NewCheckpoint, StoredEvent};
pub use authenticator::{Authenticator, Factors};
pub use certificate::{Certificate, CertificateFilter, CertificateState, NewCertificate};
pub use company::{
    AskedIdentity, CompanyEntry, CompanyOutcome, CompanySignIn, EndedIdentity, ExternalAccount,
    GroupTeams, Identity, Linked, LogoutOutcome, LogoutWord, MAX_IDENTITIES, NewCompanySignIn,
    Newcomer, SignInCaps, TeamsChanged,
};
pub use credential::{
    Credential, CredentialKind, NewCookie, NewCredential, Origin, SecretHash, Standing,
};
pub use enrolment::{Enrolled, EnrolmentToken, NewEnrolmentToken};
pub use error::{Conflict, StoreError};
pub use event::{NewEvent, silent};
pub use gateway::{ChainHead, ListedGateway};
pub use grant::{Grant, Holder, HolderName, NewGrant};
pub use job::{Asked, Closing, Consented, Job, JobFilter, JobLimits, NewJob, QueuedJob, Submitted};
pub use machine::{Machine, MachineFacts, NewMachine, NewMachineKey};
pub use machine_key::{ListedKey, MachineKey};
pub use migrate::NEWEST as NEWEST_SCHEMA;
pub use oauth::{
    AccessToken, AuthCode, Device, DeviceAnswer, DeviceState, Family, Flow, Issue, NewAccessToken,
    NewCode, NewDevice, NewFamily, NewRefreshToken, NewSigningKey, RefreshToken, SigningKeyRow,
};
pub use page::{Cursor, MAX_PAGE, NotACursor, Page, Paging};
pub use passkey::{NewPasskey, Passkey};
pub use password::StoredPassword;
pub use principal::{Account, FirstAdmin, NewPrincipal};
pub use reach::{
    Assignment, Holding, Instance, IssuedMachineTicket, MachineSession, MachineTicket,
    MachineTicketState, NewInstance, NewMachineTicket, Offered, Opened, Question, ReachCutoffs,
    ReachLimits, ReachTidied, Removed, ScopeAction, StoredScope, Used,
};
pub use recording::{Deletion, FinishedRecording, Recording, RecordingFilter, RecordingState};
pub use request::{AccessRequest, Decision, NewRequest, RequestState};
pub use role::Role;
pub use service::{ClientSecret, NewClientSecret, NewService, Service};
pub use session::{
    NewSession, OpenSession, Opening, Session, SessionBytes, SessionEnd, SessionEvent,
    SessionFilter, SessionKind, SessionNote,
};
pub use sign_in::{NewStep, Proof, SignedIn, Step, StepKind};
pub use store::{Meter, NoMeter, Store, StoreConfig, StoreOptions, TenantStore};
pub use support::{Agreed, NewSupportCode, Support};
pub use team::{LOCAL as LOCAL_MEMBER, Member, Team};
pub use tenant::{Tenant, TenantAdmin};
pub use ticket::{Forgotten, Redemption};

pub use adit_wire::audit::{AuditEvent, Chain, Outcome, Party, Record};
