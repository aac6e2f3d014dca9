//! `/commands`, `/execute`, `/jobs`: templates and their runs. Paths and fields are those of the original server's clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_core::job::output::{Chunk, Stream};
use adit_core::job::template::Vetted;
use adit_core::job::{Decision, Wish};
use adit_domain::job::JobState;
use adit_domain::{Code, JobId};
use adit_store::JobFilter;
use adit_template::Values;
use adit_wire::job::{JobReport, StreamBytes};
use adit_wire::sandbox::{LayerState, Report, State as LayerIs};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::session::MachineName;
use crate::api::{self, Body, List, Named, Path, Query};
use crate::app::App;
use crate::auth::Authenticated;
use crate::problem::{ApiError, Fails};

mod follow;

/// A template that the caller may run.
#[derive(Debug, Serialize, ToSchema)]
pub struct Command {
    /// Its name: what `POST /execute` takes as `command`.
    #[schema(example = "list_files")]
    name: String,
    /// What it says to people.
    description: String,
    /// Under what it is listed.
    category: String,
    /// SHA-256 of its version, 64 hexadecimal digits.
    version: String,
    /// The program and its arguments, parameters as `{name}`.
    argv: Vec<String>,
    /// Its parameters, JSON Schema (2020-12).
    #[schema(value_type = Object)]
    parameters: serde_json::Value,
    /// The scopes that it asks for.
    required_scopes: Vec<String>,
    /// What a job may use.
    limits: CommandLimits,
    /// How many others must agree before it runs.
    approvals: u8,
    /// The labels of the machines where the caller may run it.
    targets: Vec<String>,
}

/// What a job may use.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandLimits {
    /// Time, in seconds.
    timeout: u32,
    /// Memory, in bytes.
    memory_bytes: u64,
    /// Thousandths of a processor's core.
    cpu_millicores: u32,
    /// Of each stream, in bytes; what follows is counted and not kept.
    output_bytes: u64,
    /// Whether it has the machine's network.
    network: bool,
    /// Whether it may write what its path parameters name.
    file_write: bool,
}

fn command_of((vetted, targets): (Arc<Vetted>, Vec<String>)) -> Command {
    let Vetted { template, version, .. } = &*vetted;
    let limits = template.limits();
    let arguments = template.command().arguments().iter().map(ToString::to_string);
    Command {
        name: template.name().to_string(),
        description: template.description().to_owned(),
        category: template.category().to_owned(),
        version: version.to_string(),
        argv: std::iter::once(template.command().program().to_owned()).chain(arguments).collect(),
        parameters: adit_template::schema(template),
        required_scopes: template.required_scopes().iter().map(ToString::to_string).collect(),
        limits: CommandLimits {
            timeout: limits.timeout_s,
            memory_bytes: limits.memory_bytes,
            cpu_millicores: limits.cpu_millis,
            output_bytes: limits.output_bytes,
            network: limits.allow_network,
            file_write: limits.allow_file_write,
        },
        approvals: template.approval().others,
        targets,
    }
}

/// Lists the templates that the caller may run, by name.
#[utoipa::path(get, path = "/commands", tag = "jobs", responses(
    (status = 200, description = "The templates", body = List<Command>), Fails,
))]
pub async fn commands(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
) -> Result<Json<List<Command>>, ApiError> {
    let templates = app.gateway.list_templates(&caller).await?;
    Ok(Json(List { items: templates.into_iter().map(command_of).collect(), next: None }))
}

/// What to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Execute {
    /// The template's name.
    #[schema(example = "list_files")]
    command: String,
    /// Values for its parameters.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"path": "/var/log"}))]
    parameters: Parameters,
    /// Where: a machine's id or label. It may be left out where the caller may run the template on one machine only.
    #[serde(default)]
    #[schema(example = "web-1")]
    target: Option<String>,
    /// How long it may run, in seconds, if shorter than the template says.
    #[serde(default)]
    #[schema(minimum = 1)]
    timeout: Option<u32>,
    /// Names this very wish: sent again with the same wish it answers the same job, with another it is refused. `Idempotency-Key` says the same.
    #[serde(default)]
    #[schema(max_length = 128)]
    idempotency_key: Option<String>,
}

/// Values as they came.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Parameters(Values);

/// A job that was taken in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// Its id.
    job_id: String,
    /// How it stands.
    #[schema(example = "queued")]
    status: &'static str,
}

/// Runs a template. From the answer on the job is durable: it runs once, or ends with a reason.
#[utoipa::path(post, path = "/execute", tag = "jobs", request_body = Execute, responses(
    (status = 202, description = "It was taken in", body = Accepted), Fails,
))]
pub async fn execute(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    headers: HeaderMap,
    Body(body): Body<Execute>,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    let machine = match body.target {
        Some(target) => target,
        None => only_target(&app, &caller, &body.command).await?,
    };
    // One that is no text is refused below as a name, rather than passed over: two wishes would then be two jobs.
    let in_header = headers.get("idempotency-key").map(|value| value.as_bytes());
    let in_header = in_header.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let wish = Wish {
        template: body.command,
        values: body.parameters.0.0,
        machine,
        timeout_s: body.timeout,
        idempotency_key: body.idempotency_key.or(in_header),
    };
    let (job, _) = app.gateway.submit_job(&caller, wish).await?;
    let accepted = Accepted { job_id: job.id.to_string(), status: job.state.as_str() };
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

async fn only_target(
    app: &App,
    caller: &adit_core::Caller,
    command: &str,
) -> Result<String, ApiError> {
    let all = app.gateway.list_templates(caller).await?;
    let found = all.into_iter().find(|(vetted, _)| vetted.template.name().as_str() == command);
    let (_, mut labels) = found.ok_or(ApiError::from(Code::TemplateUnknown))?;
    if labels.len() == 1 {
        return Ok(labels.remove(0));
    }
    let sentence = format!(
        "Say where: `target` is the label of a machine. You may run this on {} machines.",
        labels.len()
    );
    Err(ApiError::said(Code::RequestInvalid, sentence))
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub struct Job {
    job_id: String,
    /// `awaiting_consent`, `queued`, `running`, `succeeded`, `failed`, `timed_out`, `cancelled` or `lost`.
    status: &'static str,
    /// The template's name.
    command: String,
    /// SHA-256 of the version of the template that runs.
    version: String,
    /// What was filled in, defaults included.
    #[schema(value_type = Object)]
    parameters: serde_json::Value,
    /// What runs, exactly.
    argv: Vec<String>,
    target: MachineName,
    /// Whose it is.
    principal: Named,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// How long it waited, in milliseconds.
    wait_ms: u64,
    /// How long it ran, in milliseconds.
    run_ms: u64,
    /// How long it may run, in seconds.
    timeout: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// The signal that ended it, without SIG.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    /// Why it ended, where it was not its program's own doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<JobReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    /// What held it on its machine.
    layers: Vec<Layer>,
    output: Output,
    /// The session that it was, whose recording has what it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    /// Whether the caller may cancel it.
    cancellable: bool,
    /// SHA-256 of what would run: version, arguments, machine and limits. A word about the job names it.
    content: String,
    /// How many others must agree before it runs.
    consents_needed: u8,
    /// Who agreed, as `user:NAME`; only of a single job.
    consents: Vec<String>,
}

/// Why a job ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobReason {
    #[schema(example = "job.resource_exceeded")]
    code: &'static str,
    /// In a sentence.
    sentence: String,
}

/// What a job used.
#[derive(Debug, Serialize, ToSchema)]
pub struct Resources {
    /// Processor time of its programs, in milliseconds.
    user_ms: u64,
    /// Processor time of the kernel for it, in milliseconds.
    system_ms: u64,
    /// The most memory of one of its processes, in bytes.
    peak_bytes: u64,
    /// From start to end on its machine, in milliseconds.
    elapsed_ms: u64,
}

/// A layer of the sandbox.
#[derive(Debug, Serialize, ToSchema)]
pub struct Layer {
    /// Its name.
    name: String,
    /// `enforced`, `waived` by the template, or `missing` on this machine.
    state: &'static str,
    /// Why it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// How much a job wrote.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Output {
    stdout_bytes: u64,
    /// What of it was not kept.
    stdout_dropped: u64,
    stderr_bytes: u64,
    stderr_dropped: u64,
}

fn shown(app: &App, caller: &adit_core::Caller, job: &adit_store::Job) -> Job {
    let now = app.gateway.clock.now();
    let report = job.report.as_deref().and_then(|text| JobReport::read(text.as_bytes()));
    let report = report.unwrap_or_default();
    let began = job.started_at.or(job.ended_at).unwrap_or(now);
    let over = job.ended_at.unwrap_or(now);
    let ms =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Job {
        job_id: job.id.to_string(),
        status: job.state.as_str(),
        command: job.asked.template.clone(),
        version: hex::encode(job.asked.version),
        parameters: serde_json::from_str(&job.asked.parameters).unwrap_or_default(),
        argv: job.asked.argv.clone(),
        target: MachineName { id: job.machine.to_string(), label: job.machine_label.to_string() },
        principal: Named::from(&job.principal),
        created_at: api::time(job.created_at),
        started_at: job.started_at.map(api::time),
        ended_at: job.ended_at.map(api::time),
        wait_ms: ms(began.since(job.created_at)),
        run_ms: job.started_at.map_or(0, |at| ms(over.since(at))),
        timeout: job.asked.timeout_ms / 1000,
        exit_code: job.exit,
        signal: job.signal.clone(),
        reason: job.code.map(|code| why(code, report.last.as_ref())),
        resources: report.last.as_ref().and_then(resources),
        layers: report.layers.iter().map(layer).collect(),
        output: output(report.stdout, report.stderr),
        session_id: job.session.map(|id| id.to_string()),
        cancellable: !job.state.is_end() && caller.principal.id == job.principal.id,
        content: hex::encode(job.asked.content),
        consents_needed: job.asked.consents,
        consents: Vec::new(),
    }
}

fn why(code: Code, last: Option<&Report>) -> JobReason {
    let more = match last {
        Some(Report::Refused(refusal)) => format!(" {}.", refusal.reason.trim_end_matches('.')),
        Some(Report::Ended {
            end: adit_wire::sandbox::End::ResourceExceeded { resource }, ..
        }) => {
            let word = serde_json::to_value(resource).unwrap_or_default();
            format!(" It was its {}.", word.as_str().unwrap_or_default().replace('_', " "))
        }
        _ => String::new(),
    };
    JobReason { code: code.as_str(), sentence: format!("{}{more}", code.sentence()) }
}

fn resources(last: &Report) -> Option<Resources> {
    let Report::Ended { totals, .. } = last else { return None };
    Some(Resources {
        user_ms: totals.user_ms,
        system_ms: totals.system_ms,
        peak_bytes: totals.peak_bytes,
        elapsed_ms: totals.elapsed_ms,
    })
}

fn layer(layer: &LayerState) -> Layer {
    let name = serde_json::to_value(layer.layer).unwrap_or_default();
    let (state, why) = match &layer.state {
        LayerIs::Enforced => ("enforced", None),
        LayerIs::Waived => ("waived", None),
        LayerIs::Missing { reason } => ("missing", Some(reason.clone())),
    };
    Layer { name: name.as_str().unwrap_or_default().to_owned(), state, why }
}

fn output(stdout: StreamBytes, stderr: StreamBytes) -> Output {
    Output {
        stdout_bytes: stdout.written,
        stdout_dropped: stdout.dropped,
        stderr_bytes: stderr.written,
        stderr_dropped: stderr.dropped,
    }
}

/// Which jobs.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// Only in this state.
    status: Option<String>,
    /// Only on this machine: its id or label.
    target: Option<String>,
    /// Only of this template.
    command: Option<String>,
    /// Only of this principal: `user:NAME`.
    principal: Option<String>,
    /// Where the page before it ended.
    cursor: Option<String>,
    /// How many at most, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists jobs, the newest first: one's own, and those on machines whose jobs one may see.
#[utoipa::path(get, path = "/jobs", tag = "jobs", params(JobQuery), responses(
    (status = 200, description = "A page of jobs", body = List<Job>), Fails,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Query(query): Query<JobQuery>,
) -> Result<Json<List<Job>>, ApiError> {
    let state = query.status.as_deref().map(str::parse::<JobState>).transpose();
    let state = state
        .map_err(|error| ApiError::said(Code::RequestInvalid, format!("`status`: {error}.")))?;
    let machine = match &query.target {
        None => None,
        Some(text) => Some(app.gateway.find_machine(&caller, text).await?.id),
    };
    let principal = match &query.principal {
        None => None,
        Some(name) => Some(app.gateway.find_named(&caller, name).await?.principal.id),
    };
    let filter = JobFilter { state, machine, principal, template: query.command };
    let paging = api::paging(query.cursor.as_deref(), query.limit)?;
    let tenant = app.gateway.store.tenant(caller.principal.tenant);
    let page = tenant.list_jobs(&filter, &paging).await?;
    let mut items = Vec::with_capacity(page.items.len());
    let mut seen: BTreeMap<(adit_domain::MachineId, bool, bool), bool> = BTreeMap::new();
    for job in &page.items {
        let own = job.principal.id == caller.principal.id;
        // The same question for every job of a machine.
        let question = (job.machine, own, job.state == JobState::Awaiting);
        let may = match seen.get(&question) {
            Some(may) => *may,
            None => app.gateway.may_see_job(&caller, job).await?,
        };
        seen.insert(question, may);
        if may {
            items.push(shown(&app, &caller, job));
        }
    }
    Ok(Json(List::of(items, page.next)))
}

/// Shows one job.
#[utoipa::path(get, path = "/jobs/{job_id}", tag = "jobs",
    params(("job_id" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The job", body = Job), Fails,
))]
pub async fn show(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(job): Path<String>,
) -> Result<Json<Job>, ApiError> {
    let job = app.gateway.find_job(&caller, id(&job)?).await?;
    Ok(Json(whole(&app, &caller, &job).await?))
}

async fn whole(
    app: &App,
    caller: &adit_core::Caller,
    job: &adit_store::Job,
) -> Result<Job, ApiError> {
    let mut one = shown(app, caller, job);
    if job.asked.consents > 0 {
        one.consents = app.gateway.store.tenant(job.tenant).list_consents(job.id).await?;
    }
    Ok(one)
}

/// A word about a job.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// What it is about: the job's `content`, 64 hexadecimal digits.
    content: String,
    decision: WordIs,
}

/// What the word is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WordIs {
    /// It may run.
    Approve,
    /// It may not.
    Deny,
}

/// Says yes or no to a job of somebody else that awaits it. The word is about its `content`: a job that would do something else is not
/// meant by it.
#[utoipa::path(post, path = "/jobs/{job_id}/consent", tag = "jobs", request_body = Word,
    params(("job_id" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The job", body = Job), Fails,
))]
pub async fn consent(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(job): Path<String>,
    Body(word): Body<Word>,
) -> Result<Json<Job>, ApiError> {
    let content = word.content.parse().map_err(|_| {
        ApiError::said(Code::RequestInvalid, "`content` is the job's own: 64 hexadecimal digits.")
    })?;
    let decision = match word.decision {
        WordIs::Approve => Decision::Approve,
        WordIs::Deny => Decision::Deny,
    };
    let job = app.gateway.decide_job(&caller, id(&job)?, content, decision).await?;
    Ok(Json(whole(&app, &caller, &job).await?))
}

/// Cancels a job with everything that it started.
#[utoipa::path(delete, path = "/jobs/{job_id}", tag = "jobs",
    params(("job_id" = String, Path, description = "Its id")), responses(
    (status = 202, description = "It is told to end"), Fails,
))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(job): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.gateway.cancel_job(&caller, id(&job)?).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Which output.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OutputQuery {
    /// From this position on, in bytes of both streams together; 0 without.
    #[serde(default)]
    offset: u64,
    /// `stdout` or `stderr` alone; both without.
    stream: Option<String>,
    /// Goes on until the job is over.
    #[serde(default)]
    follow: bool,
}

/// Gives what a job wrote. As `text/event-stream` (`Accept`) each piece is an event `output` with its stream, its position and its bytes in
/// base64, and the last event, `end`, is the job; else the bytes as they are.
#[utoipa::path(get, path = "/jobs/{job_id}/output", tag = "jobs",
    params(("job_id" = String, Path, description = "Its id"), OutputQuery), responses(
    (status = 200, description = "What it wrote", content_type = "application/octet-stream"), Fails,
))]
pub async fn output_of(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(job): Path<String>,
    Query(query): Query<OutputQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let job = app.gateway.find_job(&caller, id(&job)?).await?;
    let only = match query.stream.as_deref() {
        None => None,
        Some("stdout") => Some(Stream::Stdout),
        Some("stderr") => Some(Stream::Stderr),
        Some(_) => {
            return Err(ApiError::said(Code::RequestInvalid, "`stream` is `stdout` or `stderr`."));
        }
    };
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let events = accepts.is_some_and(|accept| accept.contains("text/event-stream"));
    app.gateway.check_output_is_here(&job).await?;
    if query.follow || events {
        let wanted = follow::Wanted { from: query.offset, only, events };
        return Ok(follow::answer(app, caller, job, wanted));
    }
    let chunks = app.gateway.job_output(&job, query.offset).await?;
    let kept = chunks.into_iter().filter(|chunk| only.is_none_or(|one| one == chunk.stream));
    let bytes: Vec<u8> = kept.flat_map(|Chunk { bytes, .. }| bytes).collect();
    let plain = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((plain, bytes).into_response())
}

/// A job's receipt, and that the gateway vouches for it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Receipt {
    /// Ed25519, 128 hexadecimal digits.
    pub signature: String,
    /// What it says: docs/jobs.md tells of its members.
    #[schema(value_type = Object)]
    pub receipt: serde_json::Value,
}

/// Gives a job's receipt, one line: `{"signature":"…","receipt":{…}}`. It says what ran, how it ended and what it wrote; its signature is by
/// the key that signs the audit log's checkpoints, and its digest is in the job's last event. `adit jobs verify` holds it against the key
/// without a gateway.
#[utoipa::path(get, path = "/jobs/{job_id}/receipt", tag = "jobs",
    params(("job_id" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The receipt", body = Receipt), Fails,
))]
pub async fn receipt(
    State(app): State<Arc<App>>,
    Authenticated(caller): Authenticated,
    Path(job): Path<String>,
) -> Result<Response, ApiError> {
    let line = app.gateway.job_receipt(&caller, id(&job)?).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], line + "\n").into_response())
}

fn id(text: &str) -> Result<JobId, ApiError> {
    api::id(text, Code::JobUnknown)
}
