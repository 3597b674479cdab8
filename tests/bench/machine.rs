//! What a figure is worth nothing without: when, on what, with which versions.

use std::fs;
use std::thread;

use jiff::Timestamp;
use lab::{Error, Result};

use crate::table::wrapped;
use crate::tools::Tools;

/// One paragraph about machine and tools.
pub(crate) fn describe(tools: &Tools, runs: u32) -> Result<String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| Error::new(format!("reading {path}"), error));
    let cpu = read("/proc/cpuinfo")?;
    let memory = read("/proc/meminfo")?;
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let load = read("/proc/loadavg")?;
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let debug = if cfg!(debug_assertions) { " (without --release: in process means nothing here)" } else { "" };
    Ok(wrapped(&format!(
        "Measured{debug} {} on {cores} cores of {}, {:.0} GiB, {}, Linux {}, load {} before it began. {}. {runs} runs of each tool \
         in each case, one where a run takes more than 20 s; figures are least / median / most.",
        Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"),
        field(&cpu, "model name", ':').unwrap_or("an unnamed CPU"),
        kib(&memory) / 1_048_576.0,
        field(&system, "PRETTY_NAME", '=').unwrap_or("an unnamed system").trim_matches('"'),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
        tools.versions(),
    )))
}

fn field<'t>(text: &'t str, name: &str, separator: char) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(separator)).map(str::trim)
}

fn kib(memory: &str) -> f64 {
    field(memory, "MemTotal", ':').and_then(|value| value.split(' ').next()?.parse().ok()).unwrap_or_default()
}
