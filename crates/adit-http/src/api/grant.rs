//! Grants, and why something is allowed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_core::grant::{GrantWish, On, selection_words};
use adit_domain::policy::explain::Effect;
use adit_domain::policy::selection::{Matcher, Selection, TargetKind};
use adit_domain::{Capability, Code, MachineLabel, policy};
use adit_store::HolderName;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{self, Body, List, Named, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

/// A role given to somebody on a selection of machines.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    id: String,
    /// A user, a service or a team.
    principal: Named,
    role: String,
    /// On what, in words.
    on: String,
    /// The machines' labels, where they are listed; absent with `matching`: everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    machines: Option<Vec<String>>,
    /// What the machines are like.
    #[serde(skip_serializing_if = "Option::is_none")]
    matching: Option<Matching>,
    /// When it counts; absent: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<Conditions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    created_at: String,
}

/// What a machine must be like; everything that is said must hold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Matching {
    /// Its label, with `*` for any run of characters.
    #[schema(example = "web-*")]
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Tags that it has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    /// The name of the team that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// What kind of target it is: `machine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
}

/// When a grant counts; everything that is said must hold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conditions {
    /// Days and hours, with an offset from UTC or in UTC.
    #[schema(example = "mon-fri 08:00-18:00 +01:00")]
    #[serde(skip_serializing_if = "Option::is_none")]
    hours: Option<String>,
    /// Networks that the caller comes from, such as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    networks: Vec<String>,
    /// How long ago the second factor may have been shown when a session opens, in seconds.
    #[schema(minimum = 1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor_within_seconds: Option<u64>,
    /// Whether somebody has to approve a request first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    approval: bool,
}

impl Conditions {
    /// Shows conditions; none where there are none.
    pub fn of(conditions: &policy::Conditions) -> Option<Self> {
        let some = *conditions != policy::Conditions::default();
        some.then(|| Self {
            hours: conditions.hours.map(|hours| hours.to_string()),
            networks: conditions.networks.iter().map(ToString::to_string).collect(),
            second_factor_within_seconds: conditions.second_factor_within.map(|d| d.as_secs()),
            approval: conditions.approval,
        })
    }

    fn read(self) -> Result<policy::Conditions, ApiError> {
        if self.networks.len() > MAX_NETWORKS {
            return Err(bad("A grant names at most 32 networks."));
        }
        let networks: Result<Vec<_>, _> = self.networks.iter().map(|text| text.parse()).collect();
        let within = self.second_factor_within_seconds.map(Duration::from_secs);
        Ok(policy::Conditions {
            hours: self.hours.map(|text| text.parse()).transpose().map_err(bad)?,
            networks: networks.map_err(bad)?,
            second_factor_within: within.map(|within| within.min(MAX_FRESH)),
            approval: self.approval,
        })
    }
}

/// The most networks of one grant: what a person can look over.
const MAX_NETWORKS: usize = 32;

/// The longest that a second factor can count as fresh: a sign-in lasts no longer.
const MAX_FRESH: Duration = Duration::from_secs(30 * 86_400);

fn bad(error: impl ToString) -> ApiError {
    ApiError::said(Code::RequestInvalid, error.to_string())
}

fn shown(grant: &adit_store::Grant) -> Grant {
    let matching = match &grant.on {
        Selection::Matching(matcher) => Some(Matching {
            label: matcher.label.as_ref().map(ToString::to_string),
            tags: matcher.tags.iter().cloned().collect(),
            team: matcher.team.as_ref().map(|(_, name)| name.clone()),
            kind: matcher.kind.map(|kind| kind.as_str().to_owned()),
        }),
        Selection::All | Selection::Machines(_) => None,
    };
    Grant {
        id: grant.id.to_string(),
        principal: match &grant.holder {
            HolderName::Principal(principal) => Named::from(principal),
            HolderName::Team(id, name) => {
                Named { kind: "team".into(), id: Some(id.to_string()), name: name.clone() }
            }
        },
        role: grant.role.clone(),
        on: selection_words(grant),
        machines: match grant.on {
            Selection::Machines(_) => Some(grant.machine_labels.clone()),
            Selection::All | Selection::Matching(_) => None,
        },
        matching,
        conditions: Conditions::of(&grant.conditions),
        expires_at: grant.expires_at.map(api::time),
        created_at: api::time(grant.created_at),
    }
}

/// Whose grants.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct GrantQuery {
    /// Only of this one: `user:NAME`, `team:NAME`.
    principal: Option<String>,
    /// Where the page before it ended.
    cursor: Option<String>,
    /// How many at most, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists grants.
#[utoipa::path(get, path = "/api/v1/grants", tag = "access", params(GrantQuery), responses(
    (status = 200, description = "A page of grants", body = List<Grant>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<GrantQuery>,
) -> Result<Json<List<Grant>>, ApiError> {
    app.gateway.permit_tenant(&caller, Capability::AccessManage).await?;
    let of = match &query.principal {
        None => None,
        Some(name) => Some(app.gateway.find_holder(&caller, name).await?.0),
    };
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let page = tenant.list_grants(of, &api::paging(query.cursor.as_deref(), query.limit)?).await?;
    Ok(Json(List::of(page.items.iter().map(shown).collect(), page.next)))
}

/// What is to be granted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewGrant {
    /// To whom.
    #[schema(example = "user:bob")]
    principal: String,
    /// Which role.
    #[schema(example = "viewer")]
    role: String,
    /// On which machines, by label; absent with `matching`: on everything.
    machines: Option<Vec<String>>,
    /// On machines that are like this, also those that come later.
    matching: Option<Matching>,
    /// When it counts; absent: always.
    conditions: Option<Conditions>,
    /// When it ends by itself, in seconds from now.
    #[schema(minimum = 1)]
    expires_in_seconds: Option<u64>,
}

impl NewGrant {
    fn read(self) -> Result<GrantWish, ApiError> {
        let on = match (self.machines, self.matching) {
            (Some(_), Some(_)) => {
                return Err(bad("Say `machines` or `matching`, not both."));
            }
            (Some(list), None) => On::Machines(
                list.iter().map(|text| read_label(text)).collect::<Result<_, ApiError>>()?,
            ),
            (None, Some(matching)) => matching.read()?,
            (None, None) => On::Everything,
        };
        Ok(GrantWish {
            holder: self.principal,
            role: self.role,
            on,
            conditions: self.conditions.map(Conditions::read).transpose()?.unwrap_or_default(),
            life: self.expires_in_seconds.map(Duration::from_secs),
        })
    }
}

impl Matching {
    fn read(self) -> Result<On, ApiError> {
        let kind = match self.kind.as_deref() {
            None => None,
            Some("machine") => Some(TargetKind::Machine),
            Some(_) => return Err(bad("The kind of a target is `machine`.")),
        };
        adit_core::team::check_tags(&self.tags)?;
        let label = self.label.map(|text| text.parse()).transpose().map_err(bad)?;
        let tags = self.tags.into_iter().collect();
        Ok(On::Matching { matcher: Matcher { kind, label, tags, team: None }, team: self.team })
    }
}

/// Gives a role to somebody.
#[utoipa::path(post, path = "/api/v1/grants", tag = "access", request_body = NewGrant, responses(
    (status = 201, description = "The grant", body = Grant), Fails,
))]
pub async fn add(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Body(body): Body<NewGrant>,
) -> Result<(StatusCode, Json<Grant>), ApiError> {
    let grant = app.gateway.add_grant(&caller, body.read()?).await?;
    Ok((StatusCode::CREATED, Json(shown(&grant))))
}

fn read_label(text: &str) -> Result<MachineLabel, ApiError> {
    text.parse().map_err(|error: adit_domain::machine::BadLabel| {
        ApiError::said(Code::RequestInvalid, error.to_string())
    })
}

/// Takes a role away. What it allowed ends within a second.
#[utoipa::path(delete, path = "/api/v1/grants/{grant}", tag = "access",
    params(("grant" = String, Path, description = "Its id")), responses(
    (status = 204, description = "Taken away"), Fails,
))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(grant): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.remove_grant(&caller, api::id(&grant, Code::NotFound)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A question to the policy.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhyQuery {
    /// Who: `user:NAME`.
    principal: String,
    /// May do what: `scope:action`.
    capability: String,
    /// On what: a machine's id or label, or `tenant`.
    target: String,
}

/// The policy's answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Why {
    allowed: bool,
    sentence: String,
    /// The ids of the grants that allow it.
    by: Vec<String>,
    /// What each grant of the principal does about it.
    lines: Vec<WhyLine>,
    /// The code of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// What one grant does about a question.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhyLine {
    grant: String,
    role: String,
    /// The team that it is held through.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// Whether it gives what was asked for.
    gives: bool,
    /// What it does, in words.
    sentence: String,
}

/// Says whether a principal may do something on a target, and by what.
#[utoipa::path(get, path = "/api/v1/why", tag = "access", params(WhyQuery), responses(
    (status = 200, description = "The answer", body = Why), Fails,
))]
pub async fn why(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<WhyQuery>,
) -> Result<Json<Why>, ApiError> {
    let answer =
        app.gateway.why(&caller, &query.principal, &query.capability, &query.target).await?;
    let adit_core::grant::Why { allowed, sentence, by, code, lines } = answer;
    let line = |line: policy::explain::Line| WhyLine {
        grant: line.grant.to_string(),
        gives: line.effect == Effect::Gives,
        sentence: line.effect.sentence(),
        role: line.role,
        team: line.team,
    };
    Ok(Json(Why {
        allowed,
        sentence,
        by: by.iter().map(ToString::to_string).collect(),
        lines: lines.into_iter().map(line).collect(),
        code: code.map(|code: Code| code.as_str().to_owned()),
    }))
}
