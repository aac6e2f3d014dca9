//! The spans of a job, made when it is over: of its row, and of how long its machine says that what took.
//!
//! One place for all of them, because the row outlives a gateway: whoever ends the job makes them, also after a restart or when the
//! gateway that gave it out is gone. The machine need not reach the sink, and tells lengths, because its clock may differ.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use adit_domain::{Code, JobId, TenantId};
use adit_store::Job;
use adit_wire::job::{JobReport, JobTimes};

use crate::Gateway;
use crate::trace::{Context, Kind, Span, Value, system_time};

impl Gateway {
    /// Makes the spans of a job that has just ended.
    pub(crate) async fn trace_ended(&self, tenant: TenantId, job: JobId) {
        if !self.settings.traces.is_on() {
            return;
        }
        match self.store.tenant(tenant).find_job(job).await {
            Ok(Some(job)) => self.trace_job(&job),
            Ok(None) => {}
            Err(error) => tracing::debug!(job.id = %job, %error, "a job has no spans"),
        }
    }

    /// Makes the spans of a job that is over, if the trace that asked for it is exported.
    pub(crate) fn trace_job(&self, job: &Job) {
        let asked = job.asked.trace.as_deref().and_then(Context::read);
        let Some(asked) = asked.filter(|asked| asked.is_sampled) else { return };
        let ended = system_time(job.ended_at.unwrap_or_else(|| self.clock.now()));
        let given_out = job.started_at.map(system_time);
        let failed = failure(job);
        let waited = given_out.unwrap_or(ended);
        let mut queue = self.span(asked, "job.queue", (system_time(job.created_at), waited));
        queue.attributes = facts(job);
        queue.failed = failed.clone().filter(|_| given_out.is_none());
        self.settings.traces.record(queue);
        let Some(given_out) = given_out else { return };
        let mut run = self.span(asked, "job.run", (given_out, ended));
        run.kind = Kind::Consumer;
        run.attributes = facts(job);
        run.attributes.extend(
            job.gateway.map(|gateway| ("adit.gateway.id", Value::from(gateway.to_string()))),
        );
        run.failed = failed;
        self.trace_machine(job, &run);
        self.settings.traces.record(run);
    }

    /// Makes the machine's spans. They end when it told, and lie within the job's own whatever it says.
    fn trace_machine(&self, job: &Job, run: &Span) {
        let report = job.report.as_deref().and_then(|text| JobReport::read(text.as_bytes()));
        let Some(report) = report else { return };
        let Some(times) = report.times else { return };
        let at = |us: u64| place(us, &times, (run.start, run.end));
        let ended = at(times.ended_us.unwrap_or(times.told_us));
        let mut sandbox = self.span(run.context, "job.sandbox", (at(0), ended));
        sandbox.attributes = vec![
            ("adit.job.id", job.id.to_string().into()),
            ("host.id", job.machine.to_string().into()),
            ("host.name", job.machine_label.to_string().into()),
        ];
        sandbox.failed = run.failed.clone();
        if let Some(started) = times.started_us {
            let mut process = self.span(sandbox.context, "job.process", (at(started), ended));
            let written = [
                ("adit.job.stdout_bytes", report.stdout.written),
                ("adit.job.stderr_bytes", report.stderr.written),
            ];
            let number = |value: u64| Value::Number(i64::try_from(value).unwrap_or(i64::MAX));
            process.attributes = written.map(|(name, bytes)| (name, number(bytes))).to_vec();
            let first = times.first_byte_us.map(|first| first.saturating_sub(started));
            process.attributes.extend(first.map(|us| ("adit.job.first_byte_us", number(us))));
            process
                .attributes
                .extend(job.exit.map(|code| ("process.exit.code", i64::from(code).into())));
            process.failed = run.failed.clone();
            self.settings.traces.record(process);
        }
        self.settings.traces.record(sandbox);
    }

    fn span(
        &self,
        parent: Context,
        name: &'static str,
        (start, end): (SystemTime, SystemTime),
    ) -> Span {
        let context = parent.below(&*self.ids);
        let (parent, name) = (Some(parent.span), Cow::Borrowed(name));
        let (kind, end) = (Kind::Internal, end.max(start));
        Span { context, parent, name, kind, start, end, attributes: Vec::new(), failed: None }
    }
}

/// What is to be known of a job; nothing of its values.
fn facts(job: &Job) -> Vec<(&'static str, Value)> {
    vec![
        ("adit.job.id", job.id.to_string().into()),
        ("adit.job.template", job.asked.template.as_str().into()),
        ("adit.job.state", job.state.as_str().into()),
        ("host.id", job.machine.to_string().into()),
        ("host.name", job.machine_label.to_string().into()),
        ("user.id", job.principal.id.to_string().into()),
    ]
}

/// Says why a job failed: its reason's code, its signal, or its exit status.
fn failure(job: &Job) -> Option<Cow<'static, str>> {
    let code = job.code.map(|code| Cow::Borrowed(Code::as_str(code)));
    let signal = || job.signal.clone().map(Cow::Owned);
    let exit = || job.exit.filter(|status| *status != 0).map(|status| status.to_string().into());
    code.or_else(signal).or_else(exit)
}

/// Places what a machine tells on this gateway's clock: it told at the end.
fn place(us: u64, times: &JobTimes, (from, until): (SystemTime, SystemTime)) -> SystemTime {
    let before = Duration::from_micros(times.told_us.saturating_sub(us));
    until.checked_sub(before).unwrap_or(from).clamp(from, until.max(from))
}
