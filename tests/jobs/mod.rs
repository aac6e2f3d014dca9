//! Vetted commands: templates, jobs, and what ends them.

mod consent;
pub mod crash;
mod receipt;
mod refused;
mod rights;
mod run;

use adit_testkit::{Api, TestGateway, eventually};
use serde_json::{Value, json};

/// Templates that tests need beside the built-in ones.
pub const OWN: &str = "
templates:
  say:
    description: Writes one argument.
    command: /usr/bin/printf %s {text}
    parameters: {text: {type: string, max_length: 4096}}
  nap:
    description: Waits.
    command: /usr/bin/sleep {seconds}
    parameters: {seconds: {type: int, default: 30, min_value: 0, max_value: 600}}
    timeout: 600
  count:
    description: Counts.
    command: /usr/bin/seq {n}
    parameters: {n: {type: int}}
  slowly:
    description: Writes a line, waits, writes another.
    command: /usr/bin/tail --lines=+1 --follow=name --sleep-interval=0.1 {path}
    parameters: {path: {type: path, allowed_paths: [/tmp]}}
    timeout: 600
  fails:
    command: /usr/bin/false
  missing:
    command: /usr/bin/no-such-program
  hungry:
    command: /usr/bin/tail /dev/zero
    memory_limit: 32m
    timeout: 60
  scoped:
    command: /usr/bin/true
    permissions: {required_scopes: [read:this, read:that]}
  elsewhere:
    command: /usr/bin/true
    targets: {label: 'db-*'}
  once:
    command: /usr/bin/sleep {seconds}
    parameters: {seconds: {type: int, default: 1}}
    concurrency: {per_template: 1}
";

/// Starts a gateway with these templates.
pub async fn start(settings: &str) -> TestGateway {
    let gateway = TestGateway::start_with(settings);
    put(&gateway, OWN);
    eventually("the templates", async || {
        let commands = gateway.admin.get("/commands").await.json();
        let items = commands["items"].as_array()?;
        items.iter().any(|one| one["name"] == "nap").then_some(())
    })
    .await;
    gateway
}

/// Writes a file of templates into the gateway's folder.
pub fn put(gateway: &TestGateway, text: &str) {
    let folder = gateway.data().join("templates");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("own.yaml"), text).unwrap();
}

/// Asks for a job and gives its id.
pub async fn execute(api: &Api, gateway: &TestGateway, command: &str, parameters: Value) -> String {
    let body = json!({"command": command, "parameters": parameters, "target": gateway.machine});
    let answer = api.post("/execute", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let accepted = answer.json();
    assert_eq!(accepted["status"], "queued");
    accepted["job_id"].as_str().unwrap().to_owned()
}

/// Waits until a job is as wanted.
pub async fn job_when(api: &Api, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/jobs/{id}");
    eventually("job as wanted", async || {
        let request = api.request(reqwest::Method::GET, &path);
        let shown = api.try_send(request).await.ok()?.json();
        wanted(&shown).then_some(shown)
    })
    .await
}

/// Waits until a job is over.
pub async fn over(api: &Api, id: &str) -> Value {
    job_when(api, id, |job| {
        job["status"].is_string()
            && !["awaiting_consent", "queued", "running"].contains(&job["status"].as_str().unwrap())
    })
    .await
}

/// Runs a job to its end.
pub async fn run(gateway: &TestGateway, command: &str, parameters: Value) -> Value {
    let id = execute(&gateway.admin, gateway, command, parameters).await;
    over(&gateway.admin, &id).await
}

/// Finds the processes whose command line holds a text.
pub fn processes(text: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
    })
    .collect()
}
