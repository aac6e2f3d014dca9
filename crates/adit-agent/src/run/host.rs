//! What a machine says of itself.

use adit_wire::agent::v1::Hello;

/// Describes this machine; sessions, instance and time are the caller's.
pub(super) fn describe() -> Hello {
    let uname = rustix::system::uname();
    let memory = rustix::system::sysinfo();
    Hello {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        os: system().unwrap_or_else(|| uname.sysname().to_string_lossy().into_owned()),
        arch: uname.machine().to_string_lossy().into_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cores: std::thread::available_parallelism()
            .map_or(0, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        memory_bytes: u64::from(memory.mem_unit).saturating_mul(memory.totalram),
        ..Hello::default()
    }
}

/// The system's name for people, as os-release(5) has it.
fn system() -> Option<String> {
    let release = std::fs::read_to_string("/etc/os-release").ok()?;
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}
