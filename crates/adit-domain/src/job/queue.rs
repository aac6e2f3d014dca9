//! Whose job is next. Users take turns, so that one with ten thousand delays another's first by no more than one job.
//!
//! The queue holds ids only; whether a job still waits is the database's to say when it is taken.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::{JobId, MachineId, PrincipalId};

/// What the queue knows of a job that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Which job.
    pub id: JobId,
    /// Whose.
    pub owner: PrincipalId,
    /// Where it is to run.
    pub machine: MachineId,
}

/// The jobs that wait at one gateway.
#[derive(Debug, Default)]
pub struct Queue {
    /// Each user's jobs, the oldest first.
    lines: HashMap<PrincipalId, VecDeque<Waiting>>,
    /// Whose turn it is: by how often a user was served, then by when the user came.
    turns: BTreeMap<(u64, u64), PrincipalId>,
    /// Where a user stands in `turns`.
    places: HashMap<PrincipalId, (u64, u64)>,
    known: HashSet<JobId>,
    arrivals: u64,
    /// How often the user whose turn it last was had been served: who comes new begins there, and not before everybody else.
    served: u64,
}

impl Queue {
    /// Lets a job wait; one that waits already does not wait twice.
    pub fn push(&mut self, job: Waiting) {
        if !self.known.insert(job.id) {
            return;
        }
        self.lines.entry(job.owner).or_default().push_back(job);
        if !self.places.contains_key(&job.owner) {
            self.stand(job.owner, self.served);
        }
    }

    /// Takes the next job that may run now: of the users who have such a job, of the one who was served least.
    pub fn take(&mut self, mut may_run: impl FnMut(&Waiting) -> bool) -> Option<Waiting> {
        let found = self.turns.iter().find_map(|(place, owner)| {
            let at = self.lines.get(owner)?.iter().position(&mut may_run)?;
            Some((*place, *owner, at))
        });
        let (place, owner, at) = found?;
        let line = self.lines.get_mut(&owner)?;
        let job = line.remove(at)?;
        self.known.remove(&job.id);
        let is_empty = line.is_empty();
        self.turns.remove(&place);
        self.places.remove(&owner);
        self.served = self.served.max(place.0);
        if is_empty {
            self.lines.remove(&owner);
        } else {
            self.stand(owner, place.0 + 1);
        }
        Some(job)
    }

    /// Takes a job out that is not to run any more. Tells whether it was here.
    pub fn remove(&mut self, id: JobId) -> bool {
        if !self.known.remove(&id) {
            return false;
        }
        let owner = self.lines.iter_mut().find_map(|(owner, line)| {
            let at = line.iter().position(|job| job.id == id)?;
            line.remove(at);
            Some((*owner, line.is_empty()))
        });
        if let Some((owner, true)) = owner {
            self.lines.remove(&owner);
            if let Some(place) = self.places.remove(&owner) {
                self.turns.remove(&place);
            }
        }
        true
    }

    /// Counts the jobs that wait.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Tells whether none waits.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn stand(&mut self, owner: PrincipalId, served: u64) {
        self.arrivals += 1;
        let place = (served, self.arrivals);
        self.turns.insert(place, owner);
        self.places.insert(owner, place);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn job(id: u128, owner: u128) -> Waiting {
        Waiting {
            id: JobId(Uuid::from_u128(id)),
            owner: PrincipalId(Uuid::from_u128(owner)),
            machine: MachineId(Uuid::from_u128(1)),
        }
    }

    #[test]
    fn ten_thousand_of_one_user_delay_anothers_first_by_one() {
        // CMD-22
        let mut queue = Queue::default();
        for id in 0..10_000 {
            queue.push(job(id, 1));
        }
        for _ in 0..500 {
            queue.take(|_| true);
        }
        queue.push(job(20_000, 2));
        let next = [queue.take(|_| true).unwrap(), queue.take(|_| true).unwrap()];
        assert!(next.contains(&job(20_000, 2)));
    }

    #[test]
    fn a_job_whose_machine_is_away_holds_nobody_up() {
        let mut queue = Queue::default();
        queue.push(job(1, 1));
        queue.push(job(2, 1));
        let away = JobId(Uuid::from_u128(1));
        assert_eq!(queue.take(|one| one.id != away), Some(job(2, 1)));
        assert_eq!(queue.take(|one| one.id != away), None);
        assert_eq!(queue.take(|_| true), Some(job(1, 1)));
    }

    #[test]
    fn a_job_that_is_taken_out_does_not_come() {
        let mut queue = Queue::default();
        queue.push(job(1, 1));
        queue.push(job(2, 1));
        assert!(queue.remove(JobId(Uuid::from_u128(1))));
        assert!(!queue.remove(JobId(Uuid::from_u128(1))));
        assert_eq!(queue.take(|_| true), Some(job(2, 1)));
        assert!(queue.is_empty() && queue.take(|_| true).is_none());
        queue.push(job(3, 1));
        assert!(queue.remove(JobId(Uuid::from_u128(3))) && queue.turns.is_empty());
    }

    #[test]
    fn a_job_waits_once() {
        let mut queue = Queue::default();
        queue.push(job(1, 1));
        queue.push(job(1, 1));
        assert_eq!(queue.len(), 1);
    }

    proptest! {
        #[test]
        fn users_who_all_wait_are_served_within_one_of_each_other(
            counts in prop::collection::vec(5_u128..20, 2..6), takes in 1_usize..20,
        ) {
            let mut queue = Queue::default();
            for (owner, count) in counts.iter().enumerate() {
                for at in 0..*count {
                    queue.push(job(owner as u128 * 1000 + at, owner as u128 + 1));
                }
            }
            let takes = takes.min(counts.len() * 5);
            let mut served: HashMap<PrincipalId, u32> = HashMap::new();
            for _ in 0..takes {
                *served.entry(queue.take(|_| true).unwrap().owner).or_default() += 1;
            }
            let most = served.values().copied().max().unwrap_or(0);
            let least = if served.len() == counts.len() { served.values().copied().min().unwrap_or(0) } else { 0 };
            prop_assert!(most - least <= 1);
        }

        #[test]
        fn everybody_who_waits_comes_once(jobs in prop::collection::vec((0_u128..40, 1_u128..5), 0..60)) {
            let mut queue = Queue::default();
            let mut first: HashMap<JobId, Waiting> = HashMap::new();
            for (id, owner) in jobs {
                queue.push(job(id, owner));
                first.entry(JobId(Uuid::from_u128(id))).or_insert(job(id, owner));
            }
            let mut taken = Vec::new();
            while let Some(one) = queue.take(|_| true) {
                taken.push(one);
            }
            prop_assert_eq!(taken.len(), first.len());
            prop_assert!(taken.iter().all(|one| first.get(&one.id) == Some(one)));
            prop_assert!(queue.is_empty());
        }
    }
}
