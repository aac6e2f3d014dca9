//! Traces from the API call to the process and back, at a real sink of OTLP.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use adit_testkit::{Answer, Api, TestGateway, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hosts::Ends;
use crate::jobs::{over, put};

/// The version of the sink.
const OTELTAP: &str = "1.0.0";

/// A caller's trace, as the specification's examples have it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn oteltap() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Of tests that begin together one installs it, and the others wait.
    let lock = File::create(folder.join("oteltap.lock")).unwrap();
    lock.lock().unwrap();
    let venv = folder.join(format!("oteltap-{OTELTAP}"));
    let installed = venv.join("installed");
    if !installed.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        let wanted = format!("oteltap=={OTELTAP}");
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", &wanted]));
        fs::write(installed, "").unwrap();
    }
    venv.join("bin/python")
}

fn run(command: &mut Command) {
    let output = command.output();
    let done = output.as_ref().is_ok_and(|output| output.status.success());
    assert!(
        done,
        "oteltap cannot be installed: apt-get install python3-venv, and let pip reach a package index: {output:?}"
    );
}

/// A sink of OTLP over HTTP.
struct Sink {
    port: u16,
    folder: TempDir,
    _process: Ends,
}

impl Sink {
    async fn start() -> Self {
        let (python, port) = (oteltap(), free_port());
        let folder = tempfile::tempdir().unwrap();
        let mut sink = Command::new(python);
        sink.args(["-u", "-m", "oteltap", "--port", &port.to_string()]).stdin(Stdio::null());
        sink.stdout(File::create(folder.path().join("spans")).unwrap());
        sink.stderr(File::create(folder.path().join("log")).unwrap());
        let sink = Self { port, folder, _process: Ends(sink.spawn().unwrap()) };
        eventually("the sink", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
        })
        .await;
        sink
    }

    fn settings(&self) -> String {
        format!("[traces]\nendpoint = \"http://127.0.0.1:{}\"\n", self.port)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.folder.path().join("spans")).unwrap()
    }

    /// Gives the spans of a trace.
    fn spans(&self, trace: &str) -> Vec<Value> {
        let mut spans = Vec::new();
        for line in self.text().lines() {
            collect(&serde_json::from_str(line).unwrap_or_default(), &mut spans);
        }
        spans.retain(|span| id(&span["traceId"]) == trace);
        spans
    }

    /// Waits for a span of a name and gives all of its trace.
    async fn trace_with(&self, trace: &str, name: &str) -> Vec<Value> {
        eventually("the spans", async || {
            let spans = self.spans(trace);
            spans.iter().any(|span| span["name"] == name).then_some(spans)
        })
        .await
    }
}

/// Finds the spans in what the sink prints, whatever it wraps them in.
fn collect(value: &Value, spans: &mut Vec<Value>) {
    match value {
        Value::Object(all) if all.contains_key("spanId") && all.contains_key("name") => {
            spans.push(value.clone());
        }
        Value::Object(all) => all.values().for_each(|value| collect(value, spans)),
        Value::Array(all) => all.iter().for_each(|value| collect(value, spans)),
        _ => {}
    }
}

fn id(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_lowercase()
}

fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    let mut found = spans.iter().filter(|span| span["name"] == name);
    let one = found.next().unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    assert!(found.next().is_none(), "two of {name} in {spans:#?}");
    one
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

const TEMPLATES: &str = "
templates:
  say:
    command: /usr/bin/printf %s {text}
    parameters: {text: {type: string, max_length: 4096}}
  nap:
    command: /usr/bin/sleep {seconds}
    parameters: {seconds: {type: int, default: 30, min_value: 0, max_value: 600}}
";

async fn gateway(settings: &str) -> TestGateway {
    let gateway = TestGateway::start_with(settings);
    put(&gateway, TEMPLATES);
    eventually("the templates", async || {
        let commands = gateway.admin.get("/commands").await.json();
        let items = commands["items"].as_array()?;
        items.iter().any(|one| one["name"] == "say").then_some(())
    })
    .await;
    gateway
}

/// Asks for a job from within a caller's trace.
async fn say(gateway: &TestGateway, text: &str, traceparent: &str) -> Answer {
    let body = json!({"command": "say", "parameters": {"text": text}, "target": gateway.machine});
    let request = gateway.admin.request(Method::POST, "/execute").json(&body);
    let answer = gateway.admin.send(request.header("traceparent", traceparent)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer
}

fn job_of(answer: &Answer) -> String {
    answer.json()["job_id"].as_str().unwrap().to_owned()
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn check_one_job(spans: &[Value]) {
    let [api, queue, run, sandbox, process] =
        ["POST /execute", "job.queue", "job.run", "job.sandbox", "job.process"]
            .map(|name| named(spans, name));
    let parents = [api, queue, run, sandbox, process].map(|span| id(&span["parentSpanId"]));
    let of = |span: &Value| id(&span["spanId"]);
    assert_eq!(parents, [CALLER.to_owned(), of(api), of(api), of(run), of(sandbox)]);
    let time = |span: &Value, name: &str| -> u64 {
        let value = &span[name];
        value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
    };
    for (inner, outer) in [(sandbox, run), (process, sandbox)] {
        assert!(time(inner, "startTimeUnixNano") >= time(outer, "startTimeUnixNano"));
        assert!(time(inner, "endTimeUnixNano") <= time(outer, "endTimeUnixNano"));
    }
    assert!(time(queue, "endTimeUnixNano") <= time(run, "startTimeUnixNano"));
}

#[tokio::test]
async fn a_job_is_one_trace_from_the_call_to_the_process_and_back() {
    // CMD-40
    let sink = Sink::start().await;
    let gateway = gateway(&sink.settings()).await;
    let value = "a-value-that-is-in-no-span";
    let answer = say(&gateway, value, &traceparent("01")).await;
    let told = answer.headers["traceresponse"].to_str().unwrap().to_owned();
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-01"), "{told}");
    assert_eq!(over(&gateway.admin, &job_of(&answer)).await["status"], "succeeded");
    sink.trace_with(TRACE, "POST /execute").await;
    let spans = sink.trace_with(TRACE, "job.run").await;
    check_one_job(&spans);
    assert!(!sink.text().contains(value) && !sink.text().contains(&gateway.admin.token));
}

#[tokio::test]
async fn a_trace_goes_on_when_the_gateway_dies_between_the_answer_and_the_job() {
    // CMD-40, R57
    let sink = Sink::start().await;
    let one = format!("{}[jobs]\nmax_concurrent_jobs = 1\n", sink.settings());
    let gateway = gateway(&one).await;
    let nap = json!({"command": "nap", "parameters": {"seconds": 600}, "target": gateway.machine});
    let nap = gateway.admin.post("/execute", nap).await.ok();
    let nap = format!("/jobs/{}", nap["job_id"].as_str().unwrap());
    eventually("the job before", async || {
        (gateway.admin.get(&nap).await.json()["status"] == "running").then_some(())
    })
    .await;
    let job = job_of(&say(&gateway, "later", &traceparent("01")).await);
    // What the first run has made is exported before it dies.
    sink.trace_with(TRACE, "POST /execute").await;
    gateway.kill_gateway();
    gateway.answers().await;
    gateway.machine_online().await;
    gateway.admin.delete(&nap).await;
    assert_eq!(over(&gateway.admin, &job).await["status"], "succeeded");
    check_one_job(&sink.trace_with(TRACE, "job.run").await);
}

#[tokio::test]
async fn only_who_is_signed_in_has_a_trace_exported_and_a_malformed_one_is_ignored() {
    // CMD-40
    let sink = Sink::start().await;
    let gateway = gateway(&format!("{}sample_ratio = 0\n", sink.settings())).await;
    let outsider = gateway.api("adt_nobody");
    let ask = async |api: &Api, trace: &str| {
        let request = api.request(Method::GET, "/jobs").header("traceparent", trace);
        let answer = api.send(request).await;
        (answer.status.as_u16(), answer.headers["traceresponse"].to_str().unwrap().to_owned())
    };
    let (status, told) = ask(&outsider, &traceparent("01")).await;
    assert!(status == 401 && told.ends_with("-00"), "{status} {told}");
    let (status, told) = ask(&gateway.admin, "00-nonsense-01").await;
    assert!(status == 200 && told.len() == 55 && told.ends_with("-00"), "{status} {told}");
    let other = "a".repeat(32);
    ask(&gateway.admin, &format!("00-{other}-{CALLER}-01")).await;
    sink.trace_with(&other, "GET /jobs").await;
    assert!(sink.spans(TRACE).is_empty());
}

#[tokio::test]
async fn a_dead_sink_costs_spans_and_nothing_else() {
    // CMD-40
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let gateway = gateway(&format!("[traces]\nendpoint = \"http://127.0.0.1:{port}\"\n")).await;
    let began = Instant::now();
    for round in 0..20 {
        let answer = say(&gateway, &format!("round {round}"), &traceparent("01")).await;
        let job = job_of(&answer);
        assert_eq!(over(&gateway.admin, &job).await["status"], "succeeded");
        let output = gateway.admin.get(&format!("/jobs/{job}/output")).await.text;
        assert_eq!(output, format!("round {round}"));
    }
    // One answer of the sink, had anybody waited for it, takes ten seconds.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(silent);
    eventually("the count of what was dropped", async || {
        let metrics = gateway.admin.get("/metrics").await.text;
        metrics.contains("adit_trace_spans_dropped_total{reason=\"sink\"}").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_answer_names_its_trace_also_when_nothing_is_exported() {
    // CMD-40
    let gateway = TestGateway::start();
    let request = gateway.admin.request(Method::GET, "/jobs/none");
    let answer = gateway.admin.send(request.header("traceparent", traceparent("01"))).await;
    let response = answer.headers["traceresponse"].to_str().unwrap();
    let span =
        response.strip_prefix(&format!("00-{TRACE}-")).and_then(|rest| rest.strip_suffix("-00"));
    assert_eq!(span.map(str::len), Some(16), "{response}");
    // Its body is every other's: what is not there and what one may not see answer alike, byte by byte.
    let other = gateway.admin.get("/jobs/none").await;
    assert_eq!((answer.status, answer.text), (other.status, other.text));
}

#[tokio::test]
async fn a_log_line_of_a_request_names_its_trace() {
    // CMD-40
    let folder = tempfile::tempdir().unwrap();
    let (port, machines) = (free_port(), free_port());
    let config = folder.path().join("adit.toml");
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    fs::write(
        &config,
        format!("data = {data:?}\nlisten = \"127.0.0.1:{port}\"\nmachines_listen = \"127.0.0.1:{machines}\"\n"),
    )
    .unwrap();
    let log = folder.path().join("log");
    let mut serve = Command::new(adit_testkit::binary());
    serve.arg("serve").arg("--config").arg(&config).stdout(Stdio::null());
    let secret = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|half| half.simple().to_string());
    serve.env("SESSION_TOKEN_SECRET", secret.concat()).env("ADIT_LOG", "info,adit_http=debug");
    let _ends = Ends(serve.stderr(File::create(&log).unwrap()).spawn().unwrap());
    let line = eventually("a line of the request", async || {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let ask = client.get(format!("http://127.0.0.1:{port}/jobs"));
        ask.header("traceparent", traceparent("01")).send().await.ok()?;
        let text = fs::read_to_string(&log).unwrap();
        text.lines().find(|line| line.contains("a request is answered")).map(str::to_owned)
    })
    .await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["trace_id"], TRACE, "{line}");
    assert_eq!(line["span_id"].as_str().map(str::len), Some(16), "{line}");
}
