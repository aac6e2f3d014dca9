//! Others' consent to a job before it runs: two people see what would run, exactly, and their word is about that and nothing else.

use adit_domain::job::{JobEnd, JobState};
use adit_domain::template::Approver;
use adit_domain::{Capabilities, Capability, Code, JobId};
use adit_store::{Consented, Job};
use adit_wire::digest::Digest;
use serde_json::json;

use super::{job_party, queued, runs_here};
use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::bus::Change;

/// Somebody's word about a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It may run.
    Approve,
    /// It may not.
    Deny,
}

impl Gateway {
    /// Takes somebody's word about what a job would do. Who said it and about what is in the chain.
    ///
    /// # Errors
    /// [`Code::JobContent`] when the job would do something else than the caller saw, [`Code::JobConsent`] for one's own job, a second word
    /// or a job that awaits none, [`Code::JobUnknown`], or policy's reason.
    pub async fn decide_job(
        &self,
        caller: &Caller,
        id: JobId,
        content: Digest,
        decision: Decision,
    ) -> Result<Job, Refusal> {
        let job = self.find_job(caller, id).await?;
        self.permit_consent(caller, &job).await?;
        if job.state != JobState::Awaiting || job.principal.id == caller.principal.id {
            return Err(Code::JobConsent.into());
        }
        if job.asked.content != content.0 {
            return Err(Code::JobContent.into());
        }
        let (name, verb) = match decision {
            Decision::Approve => ("job.approve", "agreed to"),
            Decision::Deny => ("job.deny", "refused"),
        };
        let sentence = format!(
            "{} {verb} {} of {} on {}",
            caller.principal.name.name(),
            job.asked.template,
            job.principal.name.name(),
            job.machine_label
        );
        let event = self
            .event(name, &caller.actor(), sentence)
            .on(job_party(&job))
            .with("content", json!(content.to_string()))
            .with("argv", json!(job.asked.argv));
        let tenant = self.store.tenant(job.tenant);
        let now = self.clock.now();
        let decided = if decision == Decision::Deny {
            let how = JobEnd::because(Code::JobDenied);
            let tell = move |done: &Option<Job>| if done.is_some() { event.only() } else { vec![] };
            let ended = tenant.end_job(id, JobState::Awaiting, (how, None), now, tell).await?;
            let ended = ended.ok_or(Refusal::Code(Code::JobConsent))?;
            self.trace_job(&ended);
            ended
        } else {
            let tell = move |done: &Consented| match done {
                Consented::Noted(_) | Consented::Enough(_) => event.only(),
                Consented::NotAwaited | Consented::OtherContent => vec![],
            };
            let who = caller.principal.clone();
            match tenant.consent_to_job(id, content.0, who, now, tell).await? {
                Consented::Noted(job) => *job,
                Consented::Enough(job) => {
                    if runs_here(job.machine, &self.hub) {
                        self.jobs.push(queued(&job), &job.asked.template);
                    }
                    *job
                }
                Consented::NotAwaited => return Err(Code::JobConsent.into()),
                Consented::OtherContent => return Err(Code::JobContent.into()),
            }
        };
        self.bus.tell(decided.tenant, Change::Jobs);
        Ok(decided)
    }

    /// Decides whether a caller's word counts: whoever may approve on the machine, and where the template names who, one of these.
    async fn permit_consent(&self, caller: &Caller, job: &Job) -> Result<(), Refusal> {
        let tenant = self.store.tenant(job.tenant);
        let machine = tenant.find_machine(job.machine).await?;
        let machine = machine.ok_or(Refusal::Code(Code::TargetUnknown))?;
        let wanted = Capabilities::of(&[Capability::AccessApprove]);
        self.permit_machine(caller, wanted, &machine).await?;
        // A template that is gone names nobody, and its jobs run no more.
        let vetted = self.jobs.templates.find(&job.asked.template);
        let vetted = vetted.ok_or(Refusal::Code(Code::TemplateUnknown))?;
        let by = &vetted.template.approval().by;
        if by.is_empty() {
            return Ok(());
        }
        for one in by {
            let is_named = match one {
                Approver::Principal(name) => *name == caller.principal.name,
                Approver::Team(team) => {
                    let found = tenant.find_team_named(team).await?;
                    let members = match found {
                        Some(team) => tenant.list_members(team.id).await?,
                        None => Vec::new(),
                    };
                    members.iter().any(|member| member.principal.id == caller.principal.id)
                }
            };
            if is_named {
                return Ok(());
            }
        }
        let sentence = "This template names who agrees to its jobs, and you are not among them.";
        Err(Refusal::Said(Code::AccessApproval, sentence.to_owned()))
    }
}
