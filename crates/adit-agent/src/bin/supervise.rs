//! The spawner and supervisors alone, for the tests of this crate.

fn main() -> std::process::ExitCode {
    adit_agent::supervise::main();
    std::process::ExitCode::from(2)
}
