//! The programs that are measured: where they are, which versions, and what to install where one is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use lab::{Error, Result};

use crate::Row;

/// Where programs for administrators live when the search path leaves them out.
const SYSTEM_PATHS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

/// A tool that people use instead.
struct Other {
    program: &'static str,
    package: &'static str,
    asks: &'static str,
    rows: &'static [Row],
}

const OTHERS: [Other; 5] = [
    Other { program: "scamper", package: "scamper", asks: "-v", rows: &[Row::Path, Row::Loss] },
    Other { program: "tracepath", package: "iputils-tracepath", asks: "-V", rows: &[Row::Path] },
    Other { program: "fping", package: "fping", asks: "-v", rows: &[Row::Path, Row::Loss, Row::Many] },
    Other {
        program: "prometheus-blackbox-exporter",
        package: "prometheus-blackbox-exporter",
        asks: "--version",
        rows: &[Row::Path, Row::Loss, Row::Many],
    },
    Other {
        program: "prometheus-node-exporter",
        package: "prometheus-node-exporter",
        asks: "--version",
        rows: &[Row::Scrape],
    },
];

/// The programs.
#[derive(Debug)]
pub(crate) struct Tools {
    /// The product.
    pub(crate) mtuscope: PathBuf,
    versions: Vec<String>,
}

impl Tools {
    /// Finds the program to measure and what these rows compare it with.
    ///
    /// # Errors
    /// If one is missing: which, and how to get it.
    pub(crate) fn find(mtuscope: Option<&Path>, rows: &[Row]) -> Result<Self> {
        let mtuscope = mtuscope.map_or_else(newest_build, |path| Ok(path.to_owned()))?;
        let mtuscope = fs::canonicalize(&mtuscope)
            .map_err(|error| Error::new(format!("looking for {}", mtuscope.display()), error).check(how_to_build()))?;
        let needed: Vec<_> = OTHERS.iter().filter(|other| other.rows.iter().any(|row| rows.contains(row))).collect();
        let missing: Vec<_> = needed.iter().filter(|other| which(other.program).is_none()).collect();
        if !missing.is_empty() {
            let programs: Vec<_> = missing.iter().map(|other| other.program).collect();
            let packages: Vec<_> = missing.iter().map(|other| other.package).collect();
            let install = format!("apt-get install --no-install-recommends {}", packages.join(" "));
            return Err(Error::new(format!("looking for {}", programs.join(", ")), "not installed").check(install));
        }
        let built = format!("{}, {} B", version(&mtuscope, "--version")?, size(&mtuscope)?);
        let others = needed.iter().map(|other| version(Path::new(other.program), other.asks));
        let versions = std::iter::once(Ok(built)).chain(others).collect::<Result<_>>()?;
        Ok(Self { mtuscope, versions })
    }

    /// What is measured, with versions.
    pub(crate) fn versions(&self) -> String {
        self.versions.join("; ")
    }
}

/// The newest of the release builds beside this program: the host's own, or the static one that ships.
fn newest_build() -> Result<PathBuf> {
    let none = || Error::new("looking for a release build of mtuscope", "there is none").check(how_to_build());
    let executable = std::env::current_exe().map_err(|error| Error::new("finding this executable", error))?;
    let target = executable.ancestors().nth(2).ok_or_else(none)?;
    let others = fs::read_dir(target).into_iter().flatten().flatten().map(|entry| entry.path());
    let builds = others.chain([target.to_owned()]).map(|directory| directory.join("release/mtuscope"));
    let dated = builds.filter_map(|path| Some((modified(&path)?, path)));
    dated.max().map(|(_, path)| path).ok_or_else(none)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn how_to_build() -> &'static str {
    "`cargo build --release -p mtuscope` builds it; --mtuscope names another"
}

fn size(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).map_err(|error| Error::new(format!("looking at {}", path.display()), error));
    Ok(metadata?.len())
}

fn which(program: &str) -> Option<PathBuf> {
    search_path().split(':').map(|directory| Path::new(directory).join(program)).find(|path| path.is_file())
}

fn search_path() -> String {
    format!("{}:{SYSTEM_PATHS}", std::env::var("PATH").unwrap_or_default())
}

/// The first line that a program says of itself; some say it on standard error.
fn version(program: &Path, asks: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.arg(asks).env("PATH", search_path()).stdin(Stdio::null());
    let failed = |cause: String| Error::new(format!("asking {} for its version", program.display()), cause);
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let line = text.lines().next().ok_or_else(|| failed("it says nothing".into()))?;
    Ok(line.split(" (branch").next().unwrap_or(line).trim_end_matches(',').to_owned())
}
