//! The agent's own process, from `/proc/self`, under the names that every Prometheus client uses.

use std::path::Path;

use super::{Family, glossary};

/// Clock ticks per second in `/proc/<pid>/stat`: `USER_HZ`, part of the kernel's ABI on every architecture that we
/// build for.
const USER_HZ: f64 = 100.0;

/// What `/proc/self` says. What it does not say is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    cpu_seconds: Option<f64>,
    start_time: Option<f64>,
    resident: Option<u64>,
    virtual_size: Option<u64>,
    open_fds: Option<usize>,
    max_fds: Option<u64>,
}

impl Process {
    /// Reads `/proc/self` below `proc`.
    pub fn read(proc: &Path) -> Self {
        let own = proc.join("self");
        let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let mut process = Self::parse(
            &text(&own.join("stat")),
            &text(&own.join("status")),
            &text(&own.join("limits")),
            &text(&proc.join("stat")),
        );
        // The directory's own descriptor is among those that it lists.
        process.open_fds = std::fs::read_dir(own.join("fd")).ok().map(|list| list.count().saturating_sub(1));
        process
    }

    fn parse(stat: &str, status: &str, limits: &str, machine: &str) -> Self {
        let ticks = |field: usize| stat_field(stat, field).map(|ticks| ticks as f64 / USER_HZ);
        let kilobytes = |name: &str| line(status, name)?.split_whitespace().next()?.parse::<u64>().ok();
        let booted = line(machine, "btime").and_then(|seconds| seconds.trim().parse::<f64>().ok());
        Self {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| user + system),
            start_time: booted.zip(ticks(22)).map(|(booted, after)| booted + after),
            resident: kilobytes("VmRSS:").map(|kilobytes| kilobytes * 1024),
            virtual_size: kilobytes("VmSize:").map(|kilobytes| kilobytes * 1024),
            open_fds: None,
            max_fds: line(limits, "Max open files").and_then(|rest| rest.split_whitespace().next()?.parse().ok()),
        }
    }
}

/// Field `number` of `/proc/<pid>/stat` as proc(5) counts them. The second is the program's name in brackets, which may
/// itself hold spaces and brackets.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3)?.parse().ok()
}

fn line<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

/// The `process_*` families.
pub(super) fn families(process: &Process) -> Vec<Family> {
    use glossary::{PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT_MEMORY, PROCESS_VIRTUAL_MEMORY};
    vec![
        Family::of(glossary::PROCESS_CPU).with_known(process.cpu_seconds),
        Family::of(glossary::PROCESS_START_TIME).with_known(process.start_time),
        Family::of(PROCESS_RESIDENT_MEMORY).with_known(process.resident),
        Family::of(PROCESS_VIRTUAL_MEMORY).with_known(process.virtual_size),
        Family::of(PROCESS_OPEN_FDS).with_known(process.open_fds),
        Family::of(PROCESS_MAX_FDS).with_known(process.max_fds),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_shifts_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 3 0 12345 1000 20 18446744073709551615";
        let status = "Name:\tx\nVmSize:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let limits = "Max cpu time  unlimited unlimited seconds\nMax open files            1024   524288   files\n";
        let process = Process::parse(stat, status, limits, "cpu 1 2\nbtime 1700000000\n");
        let wanted = Process {
            cpu_seconds: Some(4.0),
            start_time: Some(1_700_000_123.45),
            resident: Some(1 << 20),
            virtual_size: Some(2 << 20),
            open_fds: None,
            max_fds: Some(1024),
        };
        assert_eq!(process, wanted);
    }

    #[test]
    fn what_is_not_there_is_absent() {
        let process = Process::read(Path::new("/nonexistent"));
        assert_eq!(process, Process::default());
        assert!(families(&process).iter().all(|family| family.samples.is_empty()));
    }

    #[test]
    fn this_process_is_read() {
        let process = Process::read(Path::new("/proc"));
        assert!(process.resident.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.open_fds.is_some_and(|count| count >= 3), "{process:?}");
        assert!(process.start_time.is_some_and(|at| at > 1.6e9), "{process:?}");
    }
}
