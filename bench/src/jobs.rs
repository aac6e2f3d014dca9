//! Jobs: from the call of the API to the first byte of `/bin/echo x` in the full sandbox, beside bubblewrap's own run of it; and jobs a second.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::Options;
use crate::adit::{Adit, Operator};
use crate::table::{median, percentile};

/// The template that is measured.
const TEMPLATES: &str = "templates:\n  echo:\n    command: /bin/echo x\n";

/// Clients that run jobs at once for the rate.
const CLIENTS: usize = 16;

/// Jobs of one measurement of the rate.
const JOBS: usize = 400;

/// Measures and prints.
pub fn measure(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let settings = "[jobs]\nqueued_per_user = 100_000\n";
    std::fs::create_dir_all(data.join("templates"))?;
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700))?;
    std::fs::write(data.join("templates/bench.yaml"), TEMPLATES)?;
    let adit = Adit::start_with(&options.adit, &data, settings)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let operator = adit.operator()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        eprintln!("jobs: round {} of {}", round + 1, options.rounds);
        for _ in 0..RUNS {
            ours.push(runtime.block_on(first_byte(&operator))?);
            theirs.push(bubblewrap()?);
        }
    }
    let (own, floor) = (median(&ours), median(&theirs));
    println!("job, call to first byte: p50 {own:.1} ms, p99 {:.1} ms", percentile(&ours, 0.99));
    println!("bubblewrap, start to first byte: p50 {floor:.1} ms ({:.1} times)", own / floor);
    let rate = runtime.block_on(rate(&adit))?;
    println!("jobs, asked for to ended: {rate:.0}/s with {CLIENTS} clients");
    Ok(())
}

/// Jobs of a round, each beside one run of bubblewrap.
const RUNS: usize = 20;

async fn first_byte(operator: &Operator) -> Result<f64> {
    let began = Instant::now();
    let job = submit(operator).await?;
    let mut output = operator.get(&format!("/jobs/{job}/output?follow=true")).await?;
    let first = output.chunk().await?.context("the job wrote nothing")?;
    let took = began.elapsed();
    if first[..] != *b"x\n" {
        bail!("the job wrote {first:?}");
    }
    while output.chunk().await?.is_some() {}
    Ok(took.as_secs_f64() * 1e3)
}

async fn submit(operator: &Operator) -> Result<String> {
    let answer = operator.post("/execute", &json!({"command": "echo"})).await?;
    let accepted: Value = answer.json().await?;
    Ok(accepted["job_id"].as_str().with_context(|| format!("it said {accepted}"))?.to_owned())
}

/// Runs `/bin/echo x` as bubblewrap confines it with the same namespaces; gives milliseconds to the first byte.
fn bubblewrap() -> Result<f64> {
    let began = Instant::now();
    let mut child = Command::new("bwrap")
        .args(["--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr"])
        .args([
            "--symlink",
            "usr/bin",
            "/bin",
            "--symlink",
            "usr/lib",
            "/lib",
            "--symlink",
            "usr/lib64",
            "/lib64",
        ])
        .args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/echo", "x"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("bubblewrap runs (install it: apt-get install bubblewrap)")?;
    let mut output = child.stdout.take().context("its output is a pipe")?;
    let mut first = [0];
    output.read_exact(&mut first)?;
    let took = began.elapsed();
    child.wait()?;
    Ok(took.as_secs_f64() * 1e3)
}

async fn rate(adit: &Adit) -> Result<f64> {
    let left = Arc::new(AtomicUsize::new(JOBS));
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        let (left, operator) = (Arc::clone(&left), adit.operator()?);
        tasks.push(tokio::spawn(async move {
            let take = |left: usize| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                let job = submit(&operator).await?;
                let mut output = operator.get(&format!("/jobs/{job}/output?follow=true")).await?;
                while output.chunk().await?.is_some() {}
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(JOBS as f64 / began.elapsed().as_secs_f64())
}
