//! One machine reaching another: six things that must hold, looked at when a ticket is asked for and each time its session is heard of.

use super::{Denial, Facts, Permit, Target};
use crate::reach::{Health, Reach, Unreachable};
use crate::{Capabilities, Timestamp};

/// Decides about a stream between machines; `None` for anything else, which grants decide.
pub(super) fn authorize(
    facts: &Facts,
    target: &Target,
    now: Timestamp,
) -> Option<Result<Permit, Denial>> {
    let Target::Reach(reach) = target else { return None };
    Some(match check(reach, now) {
        Err(why) => Err(Denial::Unreachable(why)),
        Ok(()) => Ok(Permit {
            principal: facts.principal.clone(),
            capabilities: Capabilities::NONE,
            target: target.clone(),
            grants: Vec::new(),
            at: now,
            until: None,
        }),
    })
}

/// The six: both ends count and hold the capability, the source owns an instance that is alive, the ends differ, the target is
/// assigned to it.
fn check(reach: &Reach, now: Timestamp) -> Result<(), Unreachable> {
    let need = |holds: bool, why: Unreachable| if holds { Ok(()) } else { Err(why) };
    need(reach.source.active, Unreachable::SourceRevoked)?;
    need(reach.source.capable, Unreachable::SourceIncapable)?;
    need(reach.target.active, Unreachable::TargetRevoked)?;
    need(reach.target.capable, Unreachable::TargetIncapable)?;
    let offer = reach.offer.as_ref().filter(|offer| offer.scope == reach.scope);
    let offer = offer.ok_or(Unreachable::Gone)?;
    need(offer.owner == reach.source.name, Unreachable::NotOwner)?;
    need(reach.source.name != reach.target.name, Unreachable::Itself)?;
    need(offer.assigned, Unreachable::Unassigned)?;
    match Health::of(offer.heard_at, now) {
        Health::Active => Ok(()),
        Health::Stale => Err(Unreachable::Stale),
        Health::Dead => Err(Unreachable::Gone),
    }
}

#[cfg(test)]
#[path = "reach/tests.rs"]
mod tests;
