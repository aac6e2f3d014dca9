//! A gateway that lacks what it takes for granted: a reader of its log, descriptors.

use std::net::TcpStream;
use std::process::Command;

use adit_testkit::{TestGateway, eventually};

use crate::sessions::access::REPEATS;

/// The descriptors that are left.
const LEFT: usize = 40;

/// More connections than that; fewer than would wait for the kernel's queue.
const CONNECTIONS: usize = 100;

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nothing_up() {
    // R48
    let gateway = TestGateway::start_unheard();
    let mut viewer = gateway.open(&gateway.admin, &REPEATS).await;
    viewer.until_text("ready\r\n").await;
    let mut line = 0;
    eventually("lines of the log that were dropped and counted", async || {
        line += 1;
        viewer.write(format!("line {line}\r").as_bytes());
        viewer.until_text(&format!("line {line}\r\n")).await;
        let metrics = gateway.admin.get("/metrics").await.text;
        let dropped = metrics.lines().find(|l| l.starts_with("adit_log_lines_dropped_total"))?;
        (!dropped.ends_with(" 0")).then_some(())
    })
    .await;
    viewer.write(b"and on\r");
    viewer.until_text("and on\r\n").await;
    assert_eq!(gateway.events("terminal_session_start").await.len(), 1, "the audit log is whole");
}

#[tokio::test]
async fn a_gateway_without_descriptors_keeps_its_sessions_and_recovers() {
    // R45
    let gateway = TestGateway::start();
    let mut viewer = gateway.open(&gateway.admin, &REPEATS).await;
    viewer.until_text("ready\r\n").await;
    let pid = gateway.gateway_pid().unwrap();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let limit = format!("--nofile={0}:{0}", open + LEFT);
    let limited = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(limited.unwrap().success());
    let address = gateway.admin.url.strip_prefix("http://").unwrap().to_owned();
    let connections: Vec<TcpStream> =
        (0..CONNECTIONS).map_while(|_| TcpStream::connect(&address).ok()).collect();
    eventually("the last descriptor", async || {
        let open_now = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        viewer.write(b"still here\r");
        viewer.until_text("still here\r\n").await;
        viewer.output.clear();
        viewer.began = None;
        (open_now + 2 >= open + LEFT).then_some(())
    })
    .await;
    drop(connections);
    eventually("a new request is answered", async || {
        let health = reqwest::get(format!("{}/health", gateway.admin.url)).await.ok()?;
        health.status().is_success().then_some(())
    })
    .await;
    viewer.write(b"after it\r");
    viewer.until_text("after it\r\n").await;
}
