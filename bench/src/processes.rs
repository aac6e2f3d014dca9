//! What processes use: processor time and memory, without the shells that they run for their sessions.

use std::collections::{HashMap, HashSet};
use std::fs;

/// Programs that a session runs and its server does not.
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh"];

/// The roots and all that they started, without shells and far ends.
pub fn tree(roots: &[u32]) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for process in numbers("/proc") {
        if let Some(parent) = parent(process) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = HashSet::new();
    let mut next = roots.to_vec();
    while let Some(process) = next.pop() {
        if !is_of_session(process) && found.insert(process) {
            next.extend(children.get(&process).into_iter().flatten());
        }
    }
    found.into_iter().collect()
}

/// Nanoseconds that each process has had on a processor, over all its threads.
pub fn processor_time(processes: &[u32]) -> HashMap<u32, u64> {
    let time = |process: &u32| {
        let threads = numbers(&format!("/proc/{process}/task")).into_iter();
        let of_thread = |thread: u32| {
            let line =
                fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat")).ok()?;
            line.split(' ').next()?.parse::<u64>().ok()
        };
        (*process, threads.filter_map(of_thread).sum())
    };
    processes.iter().map(time).collect()
}

/// Nanoseconds between two readings, of the processes that were there at the second.
pub fn used_between(before: &HashMap<u32, u64>, after: &HashMap<u32, u64>) -> u64 {
    after
        .iter()
        .map(|(process, time)| time.saturating_sub(*before.get(process).unwrap_or(&0)))
        .sum()
}

/// The memory of processes in KiB; a page that several share counts as a part for each.
pub fn memory(processes: &[u32]) -> u64 {
    let of_process = |process: &u32| {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    processes.iter().filter_map(of_process).sum()
}

/// The numeric names in a folder.
fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(1)?.parse().ok()
}

/// A shell, or this program at a far end.
fn is_of_session(process: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    SHELLS.contains(&name.trim()) || line.split(|byte| *byte == 0).nth(1) == Some(b"far".as_slice())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_shell_of_a_session_is_not_counted_with_its_server() {
        let mut shell = Command::new("/bin/sh").stdin(Stdio::piped()).spawn().expect("a shell");
        let found = tree(&[std::process::id()]);
        assert!(found.contains(&std::process::id()));
        assert!(!found.contains(&shell.id()));
        drop(shell.stdin.take());
        shell.wait().expect("it ends with its input");
    }

    #[test]
    fn time_is_that_between_two_readings() {
        let before = HashMap::from([(1, 100), (2, 50)]);
        let after = HashMap::from([(1, 130), (3, 7)]);
        assert_eq!(used_between(&before, &after), 37);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let own = [std::process::id()];
        assert!(memory(&own) > 0);
        assert!(processor_time(&own)[&own[0]] > 0);
    }
}
