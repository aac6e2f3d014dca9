//! Jobs: templates that somebody runs on a machine. A job is a session with another end: its ticket, its connection, its recording and its
//! events are those of every session.
//!
//! 1. [`Gateway::submit_job`] makes exact arguments of a template and values (`template.rs`), decides, and writes the job down. From its
//!    answer on the job is durable.
//! 2. `dispatch.rs` takes the next from the queue, by turns, and gives it out by one statement; then a ticket is issued and redeemed for it as
//!    for anybody's session, and its machine is told.
//! 3. The machine runs it in its sandbox; what it writes goes into the recording (`output.rs` reads it from there).
//! 4. The end of the session is the end of the job, in one transaction (`session/end.rs`).

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_domain::job::queue::Waiting;
use adit_domain::job::{JobEnd, JobState, Queue};
use adit_domain::policy::{JobTarget, MachineTarget, Permit, Selection, Target};
use adit_domain::template::{NeededScope, Planned, Value};
use adit_domain::{
    Capabilities, Capability, Code, EndReason, JobId, MachineId, PrincipalId, SessionId, TenantId,
    Timestamp,
};
use adit_store::{Asked, Job, JobLimits, Machine, NewJob, Party, QueuedJob, Submitted};
use adit_wire::digest::Digest;
use serde_json::json;
use tokio::sync::{Notify, broadcast};

use crate::Gateway;
use crate::access::{Caller, Refusal, machine_party, target_of};
use crate::audit;
use crate::bus::Change;
use crate::trace;
use template::{Templates, Vetted};

pub use consent::Decision;

mod consent;
mod dispatch;
pub mod output;
mod plan;
mod receipt;
mod spans;
pub mod template;

/// What an operator may set about jobs.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// The folder of templates; none: the built-in ones alone.
    pub templates: Option<PathBuf>,
    /// Whether the built-in templates are there.
    pub built_in: bool,
    /// Jobs that a gateway runs at a time (CMD-22).
    pub at_once: usize,
    /// Jobs of one user that it runs at a time.
    pub at_once_per_user: usize,
    /// How many may wait.
    pub limits: JobLimits,
    /// How long a job waits for its machine.
    pub wait: Duration,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            templates: None,
            built_in: true,
            at_once: 100,
            at_once_per_user: 50,
            limits: JobLimits { queued_per_user: 20_000, queued: 100_000 },
            wait: Duration::from_secs(3600),
        }
    }
}

/// What somebody wants to run.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The template's name.
    pub template: String,
    /// Values for its parameters.
    pub values: BTreeMap<String, Value>,
    /// Where: a machine's id or label.
    pub machine: String,
    /// How long it may run, in seconds, if shorter than the template says.
    pub timeout_s: Option<u32>,
    /// The caller's name for this very wish: sent again, it is the same job.
    pub idempotency_key: Option<String>,
}

/// The longest name of a wish, in bytes: a UUID with room.
const MAX_KEY_BYTES: usize = 128;

/// The longest plan with its arguments, in bytes: it goes to its machine in one message of the link, which holds 64 KiB.
const MAX_PLAN_BYTES: usize = 40 * 1024;

/// The jobs of this gateway.
#[derive(Debug)]
pub struct Jobs {
    /// The templates in force.
    pub templates: Templates,
    state: Mutex<State>,
    wake: Notify,
    moves: broadcast::Sender<JobId>,
}

/// How many moves of jobs a slow follower may fall behind; it then looks at its own.
const BACKLOG: usize = 256;

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    /// What else is to be known of those that wait.
    waiting: HashMap<JobId, Known>,
    running: HashMap<JobId, Running>,
    /// The last job that was read from the database.
    seen: Option<(Timestamp, JobId)>,
}

#[derive(Clone, Debug)]
struct Known {
    tenant: TenantId,
    template: String,
}

#[derive(Clone, Debug)]
struct Running {
    owner: PrincipalId,
    template: String,
}

impl Jobs {
    pub(crate) fn new(settings: &JobSettings) -> Self {
        let templates = Templates::new(settings.templates.clone(), settings.built_in);
        let moves = broadcast::channel(BACKLOG).0;
        Self { templates, state: Mutex::default(), wake: Notify::new(), moves }
    }

    /// Begins to hear which jobs move at this gateway: their session is there, or they are over.
    pub fn moves(&self) -> broadcast::Receiver<JobId> {
        self.moves.subscribe()
    }

    /// Tells who follows a job to look at it.
    pub(crate) fn tell(&self, id: JobId) {
        // Nobody following is fine: the next follower reads the state itself.
        let _ = self.moves.send(id);
    }

    /// Counts the jobs that wait and those that run here.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.queue.len(), state.running.len())
    }

    fn push(&self, job: QueuedJob, template: &str) {
        let mut state = self.lock();
        let known = Known { tenant: job.tenant, template: template.to_owned() };
        state.waiting.insert(job.waiting.id, known);
        state.queue.push(job.waiting);
        drop(state);
        self.wake.notify_one();
    }

    /// Notes that a job runs here: one that was taken up after a restart.
    pub(crate) fn note_running(&self, id: JobId, owner: PrincipalId) {
        let running = Running { owner, template: String::new() };
        self.lock().running.insert(id, running);
    }

    /// Forgets a job that waited and is over.
    pub(crate) fn forget(&self, id: JobId) {
        let mut state = self.lock();
        state.queue.remove(id);
        state.waiting.remove(&id);
        drop(state);
        self.tell(id);
    }

    /// Frees the place of a job that is over.
    pub(crate) fn free(&self, id: JobId) {
        self.lock().running.remove(&id);
        self.tell(id);
        self.wake.notify_one();
    }

    /// Wakes whoever gives jobs out: a machine came.
    pub(crate) fn look(&self) {
        // What waits for it may have been asked for long ago.
        self.lock().seen = None;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Takes a job in. The flag tells whether it is new, or the one that the same wish made before.
    ///
    /// # Errors
    /// [`Refusal::Parameters`] with every bad parameter, [`Code::TemplateUnknown`], policy's reason, [`Code::JobQueueFull`],
    /// [`Code::JobIdempotency`].
    pub async fn submit_job(&self, caller: &Caller, wish: Wish) -> Result<(Job, bool), Refusal> {
        check_key(wish.idempotency_key.as_deref())?;
        let vetted = self.jobs.templates.find(&wish.template);
        let vetted = vetted.ok_or(Refusal::Code(Code::TemplateUnknown))?;
        check_supported(&vetted)?;
        let machine = self.find_machine(caller, &wish.machine).await?;
        self.permit_template(caller, &vetted, &machine).await?;
        let planned = vetted.template.plan(&wish.values).map_err(Refusal::Parameters)?;
        let id = JobId::new(&*self.ids);
        let asked = self.asked(caller, &vetted, (id, &machine), &planned, &wish)?;
        let now = self.clock.now();
        let new =
            NewJob { id, principal: caller.principal.id, machine: machine.id, asked, at: now };
        let event = self
            .event(
                "job.submit",
                &caller.actor(),
                format!(
                    "{} runs {} on {}",
                    caller.principal.name.name(),
                    wish.template,
                    machine.label
                ),
            )
            .on(machine_party(&machine))
            .with("job", json!(id.to_string()))
            .with("template", json!(wish.template))
            .with("version", json!(vetted.version.to_string()))
            .with("argv", json!(planned.argv));
        let refused = event.clone();
        let tell = move |done: &Submitted| match done {
            Submitted::New(_) => event.only(),
            Submitted::Before(_) => vec![],
            Submitted::OtherWish => refused.denied(Code::JobIdempotency).only(),
            Submitted::Full => refused.denied(Code::JobQueueFull).only(),
        };
        let tenant = self.store.tenant(caller.principal.tenant);
        match tenant.submit_job(new, self.settings.jobs.limits, tell).await? {
            Submitted::New(job) => {
                if job.state == JobState::Queued && runs_here(job.machine, &self.hub) {
                    self.jobs.push(queued(&job), &job.asked.template);
                }
                self.bus.tell(job.tenant, Change::Jobs);
                Ok((*job, true))
            }
            Submitted::Before(job) => Ok((*job, false)),
            Submitted::OtherWish => Err(Code::JobIdempotency.into()),
            Submitted::Full => Err(Code::JobQueueFull.into()),
        }
    }

    /// Decides whether a caller may run a template on a machine, and audits that it may not.
    async fn permit_template(
        &self,
        caller: &Caller,
        vetted: &Vetted,
        machine: &Machine,
    ) -> Result<Permit, Refusal> {
        let needs = Needs::of(vetted.template.required_scopes().iter().cloned());
        let on = vetted.template.targets().clone();
        let target = needs.target(machine, on);
        let party = Some(machine_party(machine));
        let refused = self.permit(caller, needs.capabilities, target, party).await;
        refused.map_err(|refusal| needs.name_missing(refusal))
    }

    fn asked(
        &self,
        caller: &Caller,
        vetted: &Vetted,
        (id, machine): (JobId, &Machine),
        planned: &Planned,
        wish: &Wish,
    ) -> Result<Asked, Refusal> {
        let template = &vetted.template;
        let parameters: BTreeMap<&str, &str> =
            planned.values.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let parameters = json!(parameters).to_string();
        let timeout_s = wish.timeout_s.unwrap_or(u32::MAX).clamp(1, template.limits().timeout_s);
        let plan = plan::of(id, template, planned, timeout_s)?;
        let argv_bytes: usize = planned.argv.iter().map(String::len).sum();
        if plan.len() + argv_bytes > MAX_PLAN_BYTES {
            let sentence = "The values together are longer than a machine takes, which is 40 KiB.";
            return Err(Refusal::Said(Code::JobParameters, sentence.to_owned()));
        }
        let needs: Vec<&str> = template.required_scopes().iter().map(NeededScope::as_str).collect();
        // The version is in it, so that a key does not stand for what an operator has changed since.
        let request_hash = Digest::of(
            b"adit job request v1\n",
            &[
                &vetted.version.0,
                parameters.as_bytes(),
                machine.id.as_bytes(),
                &timeout_s.to_be_bytes(),
            ],
        );
        let content = Digest::of(
            CONTENT,
            &[&vetted.version.0, machine.id.as_bytes(), plan.as_bytes(), &timeout_s.to_be_bytes()],
        );
        Ok(Asked {
            credential: caller.credential,
            client: caller.address.map(|address| address.to_string()),
            template: template.name().to_string(),
            version: vetted.version.0,
            needs: needs.join(" "),
            parameters,
            argv: planned.argv.clone(),
            plan,
            output_bytes: template.limits().output_bytes,
            timeout_ms: u64::from(timeout_s) * 1000,
            idempotent: template.is_idempotent(),
            consents: template.approval().others,
            content: content.0,
            idempotency_key: wish.idempotency_key.clone(),
            request_hash: request_hash.0,
            trace: trace::current().map(|context| context.to_string()),
        })
    }

    /// Lists the templates that a caller may run, each with the labels of the machines where.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not answer.
    pub async fn list_templates(
        &self,
        caller: &Caller,
    ) -> Result<Vec<(std::sync::Arc<Vetted>, Vec<String>)>, Refusal> {
        let facts = self.facts_of(caller).await?;
        let now = self.clock.now();
        let machines = self.all_machines(caller.principal.tenant).await?;
        let mut may = Vec::new();
        for vetted in self.jobs.templates.list() {
            let needs = Needs::of(vetted.template.required_scopes().iter().cloned());
            let on = vetted.template.targets();
            let runs = |machine: &&Machine| {
                let target = needs.target(machine, on.clone());
                adit_domain::authorize(&facts, needs.capabilities, &target, now).is_ok()
            };
            let labels: Vec<String> =
                machines.iter().filter(runs).map(|machine| machine.label.to_string()).collect();
            if !labels.is_empty() {
                may.push((vetted, labels));
            }
        }
        Ok(may)
    }

    async fn all_machines(&self, tenant: TenantId) -> Result<Vec<Machine>, Refusal> {
        let tenant = self.store.tenant(tenant);
        let mut paging = adit_store::Paging::first(adit_store::MAX_PAGE);
        let mut machines = Vec::new();
        loop {
            let page = tenant.list_machines(&paging).await?;
            machines.extend(page.items);
            match page.next {
                Some(next) if machines.len() < MAX_LISTED_MACHINES => paging.cursor = Some(next),
                _ => return Ok(machines),
            }
        }
    }

    /// Finds a job that the caller may see: its own, or one on a machine whose jobs it may see.
    ///
    /// # Errors
    /// [`Code::JobUnknown`] alike for one that is not there and one that the caller may not see.
    pub async fn find_job(&self, caller: &Caller, id: JobId) -> Result<Job, Refusal> {
        let unknown = || Refusal::Code(Code::JobUnknown);
        let tenant = self.store.tenant(caller.principal.tenant);
        let job = tenant.find_job(id).await?.ok_or_else(unknown)?;
        if self.may_see_job(caller, &job).await? { Ok(job) } else { Err(unknown()) }
    }

    /// Tells whether a caller may see a job and its output.
    ///
    /// # Errors
    /// [`Refusal`] when the caller is gone or the database does not answer.
    pub async fn may_see_job(&self, caller: &Caller, job: &Job) -> Result<bool, Refusal> {
        if caller.owns(job.principal.id, OWN) {
            return Ok(true);
        }
        let machine = self.store.tenant(job.tenant).find_machine(job.machine).await?;
        let Some(machine) = machine else { return Ok(false) };
        let facts = self.facts_of(caller).await?;
        // What was done on a machine is still to be seen after the machine is gone.
        let target = crate::access::target_of_past(&machine);
        let may = |one| {
            let wanted = Capabilities::of(&[one]);
            adit_domain::authorize(&facts, wanted, &target, self.clock.now()).is_ok()
        };
        // Who is to agree sees what to.
        let is_asked = job.state == JobState::Awaiting && may(Capability::AccessApprove);
        Ok(is_asked || may(Capability::JobView))
    }

    /// Cancels a job with everything that it started: its own user may, and whoever has `job:cancel` on its machine.
    ///
    /// # Errors
    /// [`Code::JobOver`] for one that is over, [`Code::JobUnknown`], or policy's reason.
    pub async fn cancel_job(&self, caller: &Caller, id: JobId) -> Result<(), Refusal> {
        let job = self.find_job(caller, id).await?;
        let cancels = Capabilities::of(&[Capability::JobRun, Capability::JobCancel]);
        if !caller.owns(job.principal.id, cancels) {
            let machine = self.store.tenant(job.tenant).find_machine(job.machine).await?;
            let machine = machine.ok_or(Refusal::Code(Code::TargetUnknown))?;
            let wanted = Capabilities::of(&[Capability::JobCancel]);
            self.permit_machine(caller, wanted, &machine).await?;
        }
        if job.state.is_end() {
            return Err(Code::JobOver.into());
        }
        let sentence = format!(
            "{} cancelled {} on {}",
            caller.principal.name.name(),
            job.asked.template,
            job.machine_label
        );
        let event = self.event("job.cancel", &caller.actor(), sentence).on(job_party(&job));
        let tenant = self.store.tenant(job.tenant);
        let how = JobEnd::because(Code::JobCancelled);
        let tell = |event: audit::Draft| {
            move |found: &Option<Job>| if found.is_some() { event.only() } else { vec![] }
        };
        let now = self.clock.now();
        let waiting = tell(event.clone());
        for from in [JobState::Awaiting, JobState::Queued] {
            let (how, waiting) = (how.clone(), waiting.clone());
            if let Some(ended) = tenant.end_job(id, from, (how, None), now, waiting).await? {
                self.trace_job(&ended);
                self.jobs.forget(id);
                self.bus.tell(job.tenant, Change::Jobs);
                return Ok(());
            }
        }
        // It was given out in the meantime, or before.
        let noted = tenant.note_job_cancelled(id, now, tell(event)).await?;
        let job = noted.ok_or(Refusal::Code(Code::JobOver))?;
        self.end_cancelled(&job).await
    }

    /// Ends the session of a job that was cancelled. One that is not open yet is ended by whoever opens it, who looks after that.
    pub(crate) async fn end_cancelled(&self, job: &Job) -> Result<(), Refusal> {
        let Some(session) = job.session else { return Ok(()) };
        let row = self.store.tenant(job.tenant).find_session(session).await?;
        let Some(row) = row.filter(|row| row.started_at.is_some()) else { return Ok(()) };
        if let Some(other) = self.other_gateway(&row) {
            // One that does not hear it now reads it in the database within a second.
            if let Err(refusal) = self.end_elsewhere(&row, other, Code::JobCancelled).await {
                tracing::debug!(job.id = %job.id, %refusal, "another gateway does not hear that a job is cancelled");
            }
            return Ok(());
        }
        self.sessions.end(session, EndReason::Because(Code::JobCancelled));
        Ok(())
    }

    /// Gives the policy target of a session: of a job's its template on the machine, of any other the machine.
    ///
    /// # Errors
    /// [`Refusal`] when the database does not answer.
    pub(crate) async fn target_of_session(
        &self,
        tenant: TenantId,
        session: (SessionId, Option<JobId>),
        machine: &Machine,
    ) -> Result<Target, Refusal> {
        let Some(id) = session.1 else { return Ok(target_of(machine)) };
        let job = self.store.tenant(tenant).find_job(id).await?;
        let job = job.ok_or(Refusal::Code(Code::JobUnknown))?;
        Ok(Needs::read(&job.asked.needs).target(machine, Selection::All))
    }
}

const CONTENT: &[u8] = b"adit job content v1\n";

/// What a token is good for with which one sees one's own jobs.
const OWN: Capabilities = Capabilities::of(&[Capability::JobRun, Capability::JobView]);

/// The most machines that are looked at for a list of templates.
const MAX_LISTED_MACHINES: usize = 5_000;

/// What a template needs: capabilities among its scopes are asked for as such, the others of the roles that let it run.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    pub(crate) capabilities: Capabilities,
    scopes: Vec<NeededScope>,
}

impl Needs {
    fn of(all: impl IntoIterator<Item = NeededScope>) -> Self {
        let runs = Capabilities::of(&[Capability::JobRun]);
        let mut needs = Self { capabilities: runs, scopes: Vec::new() };
        for scope in all {
            match scope.as_str().parse::<Capability>() {
                Ok(one) => needs.capabilities = needs.capabilities.or(Capabilities::of(&[one])),
                Err(_) => needs.scopes.push(scope),
            }
        }
        needs
    }

    /// Reads what a job's row says; a name that is none asks for what nobody holds.
    pub(crate) fn read(text: &str) -> Self {
        let names = text.split(' ').filter(|name| !name.is_empty());
        // What stands there was a scope when it was written; what cannot be read is asked for as what nobody holds.
        let nobody = || "unreadable".parse().ok();
        Self::of(names.filter_map(|name| name.parse().ok().or_else(nobody)))
    }

    fn target(&self, machine: &Machine, on: Selection) -> Target {
        let machine: MachineTarget = match target_of(machine) {
            Target::Machine(machine) => machine,
            other => return other,
        };
        Target::Job(Box::new(JobTarget { machine, on, scopes: self.scopes.clone() }))
    }

    fn name_missing(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Scope(at) => {
                let name = self.scopes.get(at).map_or("a scope", NeededScope::as_str);
                let sentence = format!(
                    "This template asks for {name}, which no role of yours here holds. Ask an administrator for one that does."
                );
                Refusal::Said(Code::AccessScopeMissing, sentence)
            }
            other => other,
        }
    }
}

/// Names a job in an event.
pub(crate) fn job_party(job: &Job) -> Party {
    audit::party("job", job.id.0, job.machine_label.as_str())
}

fn queued(job: &Job) -> QueuedJob {
    let waiting = Waiting { id: job.id, owner: job.principal.id, machine: job.machine };
    QueuedJob { tenant: job.tenant, waiting }
}

/// A template that demands what is not enforced runs nothing, rather than without it.
fn check_supported(vetted: &Vetted) -> Result<(), Refusal> {
    if vetted.template.sandbox_image().is_none() {
        return Ok(());
    }
    let sentence = "This template asks for a container, which this gateway cannot see to yet, so it runs nothing.";
    Err(Refusal::Said(Code::TemplateUnsupported, sentence.to_owned()))
}

fn check_key(key: Option<&str>) -> Result<(), Refusal> {
    let is_right = key.is_none_or(|key| {
        (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    if is_right {
        return Ok(());
    }
    let sentence = "An idempotency key is 1 to 128 visible ASCII characters, such as a UUID.";
    Err(Refusal::Said(Code::RequestInvalid, sentence.to_owned()))
}

/// Tells where a job may run: its machine is here.
pub(crate) fn runs_here(machine: MachineId, hub: &crate::hub::Hub) -> bool {
    hub.is_here(machine)
}
