//! The JSON API: one file a noun. Handlers read a request into typed values, call the gateway, and write the answer.

use adit_domain::{Code, Timestamp};
use adit_store::{Cursor, Paging};
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::ApiError;

pub mod alert;
pub mod audit;
pub mod authorization;
pub mod certificate;
pub mod company;
pub mod enrolment;
pub mod grant;
pub mod invitation;
pub mod listener;
pub mod machine;
pub mod passkey;
pub mod password;
pub mod recording;
pub mod request;
pub mod role;
pub mod second_factor;
pub mod service;
pub mod session;
pub mod sign_in;
pub mod sign_ins;
pub mod signing_key;
pub mod status;
pub mod stream;
pub mod support;
pub mod team;
pub mod tenant;
pub mod terminal;
pub mod ticket;
pub mod user;
pub mod what_ends;

/// A JSON body; what is wrong with it is a problem document.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub struct Body<T>(pub T);

/// Parts of the path; what is wrong with them is a problem document.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Path<T>(pub T);

/// The query; what is wrong with it is a problem document.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status().as_u16() {
            413 => Code::RequestTooLarge,
            415 => Code::RequestMediaType,
            _ => Code::RequestInvalid,
        };
        Self::said(code, rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::said(Code::RequestInvalid, rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::said(Code::RequestInvalid, rejection.body_text())
    }
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Where the page before it ended: its `next`.
    pub cursor: Option<String>,
    /// How many at most, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// How many a page holds unless the caller says.
const PAGE: u32 = 50;

impl PageQuery {
    /// Reads the page.
    ///
    /// # Errors
    /// [`Code::RequestInvalid`] for a cursor that no list gave.
    pub fn paging(&self) -> Result<Paging, ApiError> {
        paging(self.cursor.as_deref(), self.limit)
    }
}

/// Reads which page of a list is wanted.
///
/// # Errors
/// [`Code::RequestInvalid`] for a cursor that no list gave, or a limit out of range.
pub fn paging(cursor: Option<&str>, limit: Option<u32>) -> Result<Paging, ApiError> {
    let bad = |text: &str| ApiError::said(Code::RequestInvalid, text);
    let cursor = cursor
        .map(|text| {
            text.parse::<Cursor>().map_err(|_| bad("The cursor is not one that a list gave."))
        })
        .transpose()?;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=200).contains(&limit) {
        return Err(bad("A page holds 1 to 200."));
    }
    Ok(Paging { cursor, limit })
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T: ToSchema> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T: ToSchema> List<T> {
    /// Makes a page of what the store gave.
    pub fn of(items: Vec<T>, next: Option<Cursor>) -> Self {
        Self { items, next: next.map(|cursor| cursor.to_string()) }
    }
}

/// Somebody or something that an event or a row names.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Named {
    /// What it is: `user`, `machine`, `session`…
    pub kind: String,
    /// Its id, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name.
    pub name: String,
}

impl From<&adit_store::Party> for Named {
    fn from(party: &adit_store::Party) -> Self {
        let id = (!party.id.is_empty()).then(|| party.id.clone());
        Self { kind: party.kind.clone(), id, name: party.name.clone() }
    }
}

impl From<&adit_domain::Principal> for Named {
    fn from(principal: &adit_domain::Principal) -> Self {
        Self::from(&adit_core::audit::party_of(principal))
    }
}

/// Writes a time.
pub fn time(at: Timestamp) -> String {
    at.to_string()
}

/// Reads an id out of a path.
///
/// # Errors
/// `code` for a text that is none: the same as for one that is not there.
pub fn id<T: std::str::FromStr>(text: &str, code: Code) -> Result<T, ApiError> {
    text.parse().map_err(|_| code.into())
}
