//! What each grant does about a question, for whoever runs the gateway.
//!
//! It looks at one grant at a time and puts the verdict together from what it found, so it is no copy of [`super::authorize`]; that
//! both say the same about any policy is a property (`policy/explain/tests.rs`).

use super::{Denial, Facts, GrantFacts, Target, Unmet, attended, job, reach};
use crate::{Capabilities, GrantId, Timestamp};

/// An answer with its reasons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// What is decided.
    pub verdict: Result<(), Denial>,
    /// What each grant does about it, those that give something first.
    pub lines: Vec<Line>,
}

/// What one grant does about a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The grant.
    pub grant: GrantId,
    /// Its role.
    pub role: String,
    /// The team that it is held through.
    pub team: Option<String>,
    /// What it does.
    pub effect: Effect,
}

/// What a grant does about a question.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// It gives what was asked for, or part of it.
    Gives,
    /// It would, if a condition held.
    Would(Unmet),
    /// It would have, before it ended.
    Ended,
    /// It is on this target, for other things.
    OtherCapability,
    /// It is on other targets.
    OtherTarget,
}

impl Effect {
    /// Says it in words.
    pub fn sentence(self) -> String {
        match self {
            Self::Gives => "gives it".to_owned(),
            Self::Would(unmet) => format!("would give it, but {unmet}"),
            Self::Ended => "has expired".to_owned(),
            Self::OtherCapability => "is on this target, for other things".to_owned(),
            Self::OtherTarget => "is on other targets".to_owned(),
        }
    }
}

/// Tells what is decided about a question, and what each grant does about it.
pub fn explain(
    facts: &Facts,
    wanted: Capabilities,
    target: &Target,
    now: Timestamp,
) -> Explanation {
    let effect = |grant: &GrantFacts| effect(grant, facts, wanted, target, now);
    let mut lines: Vec<(Effect, &GrantFacts)> =
        facts.grants.iter().map(|grant| (effect(grant), grant)).collect();
    lines.sort_by_key(|(effect, grant)| (*effect, grant.id));
    let verdict = before_grants(facts, wanted, target)
        .map_or_else(|| of_target(&lines, facts, wanted, target, now), Err);
    let line = |(effect, grant): (Effect, &GrantFacts)| Line {
        grant: grant.id,
        role: grant.role.clone(),
        team: grant.team.as_ref().map(|(_, name)| name.clone()),
        effect,
    };
    Explanation { verdict, lines: lines.into_iter().map(line).collect() }
}

fn effect(
    grant: &GrantFacts,
    facts: &Facts,
    wanted: Capabilities,
    target: &Target,
    now: Timestamp,
) -> Effect {
    let gives = wanted.is_empty() || !grant.capabilities.and(wanted).is_empty();
    let ended = grant.expires_at.is_some_and(|end| now >= end);
    match grant.conditions.met(&facts.circumstances, now) {
        _ if !grant.on.covers(target) => Effect::OtherTarget,
        _ if ended => Effect::Ended,
        _ if !gives => Effect::OtherCapability,
        Err(unmet) => Effect::Would(unmet),
        Ok(()) => Effect::Gives,
    }
}

fn before_grants(facts: &Facts, wanted: Capabilities, target: &Target) -> Option<Denial> {
    let (tenant, gone) = match target {
        Target::Machine(machine) => (machine.tenant, !machine.active),
        Target::Tenant(tenant) => (*tenant, false),
        Target::Gateway => (crate::TenantId::SEED, false),
        Target::Reach(reach) => (reach.tenant, false),
        Target::Job(job) => (job.machine.tenant, !job.machine.active),
    };
    // What a credential is limited to are people's capabilities; a stream between machines asks for none of them.
    let beyond = facts.circumstances.limit.and_then(|limit| wanted.without(limit).iter().next());
    if !facts.active {
        Some(Denial::PrincipalInactive)
    } else if tenant != facts.principal.tenant {
        Some(Denial::OtherTenant)
    } else if gone {
        Some(Denial::TargetInactive)
    } else {
        beyond.map(Denial::ScopeMissing)
    }
}

/// What is decided once nothing before the grants stands against it: between machines by what they hold, on a machine with a person by
/// the person's word.
fn of_target(
    lines: &[(Effect, &GrantFacts)],
    facts: &Facts,
    wanted: Capabilities,
    target: &Target,
    now: Timestamp,
) -> Result<(), Denial> {
    if let Some(decided) = reach::authorize(facts, target, now) {
        return decided.map(drop);
    }
    match attended::authorize(facts, wanted, target, now) {
        Some(decided) => decided.map(drop),
        None => {
            job::fits(target)?;
            of_lines(lines, facts, wanted, target, now)?;
            let counts = |effect: Effect, grant: &GrantFacts| {
                let here = !matches!(effect, Effect::OtherTarget | Effect::Ended);
                here && grant.conditions.met(&facts.circumstances, now).is_ok()
            };
            let giving: Vec<&GrantFacts> = lines
                .iter()
                .filter(|(effect, grant)| counts(*effect, grant))
                .map(|(_, grant)| *grant)
                .collect();
            job::scopes_held(&giving, target)
        }
    }
}

fn of_lines(
    lines: &[(Effect, &GrantFacts)],
    facts: &Facts,
    wanted: Capabilities,
    target: &Target,
    now: Timestamp,
) -> Result<(), Denial> {
    let counts = |grant: &GrantFacts| grant.conditions.met(&facts.circumstances, now).is_ok();
    let here = || lines.iter().filter(|(effect, _)| *effect != Effect::OtherTarget);
    let live = || here().filter(|(effect, _)| *effect != Effect::Ended);
    debug_assert!(here().all(|(_, grant)| grant.on.covers(target)));
    let given = |one| live().any(|(_, grant)| grant.capabilities.has(one) && counts(grant));
    let missing = wanted.iter().find(|one| !given(*one));
    let would = live().filter_map(|(effect, grant)| match effect {
        Effect::Would(unmet) => {
            missing.is_none_or(|one| grant.capabilities.has(one)).then_some(*unmet)
        }
        _ => None,
    });
    match missing {
        None if live().any(|(_, grant)| counts(grant)) => Ok(()),
        _ => Err(match (would.min(), missing) {
            (Some(unmet), _) => Denial::Condition(unmet),
            (None, Some(one)) if live().next().is_some() => Denial::CapabilityMissing(one),
            _ if here().next().is_some() => Denial::GrantExpired,
            _ => Denial::NoGrant,
        }),
    }
}

#[cfg(test)]
#[path = "explain/tests.rs"]
mod tests;
