//! The sandbox, tried by breaking out of it: each test runs the real program, and most of them a job that attempts something.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[path = "sandbox/calls.rs"]
mod calls;
#[path = "sandbox/ending.rs"]
mod ending;
#[path = "sandbox/files.rs"]
mod files;
#[path = "sandbox/identity.rs"]
mod identity;
#[path = "sandbox/job.rs"]
mod job;
#[path = "sandbox/left_over.rs"]
mod left_over;
#[path = "sandbox/limits.rs"]
mod limits;
#[path = "sandbox/network.rs"]
mod network;
#[path = "sandbox/parameter.rs"]
mod parameter;
#[path = "sandbox/processes.rs"]
mod processes;
#[path = "sandbox/refusal.rs"]
mod refusal;
#[path = "sandbox/shipped.rs"]
mod shipped;
#[path = "sandbox/spawner.rs"]
mod spawner;
