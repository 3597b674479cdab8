//! One file a command, and what they share: flags, printing, one-off rounds.

pub mod agent;
pub mod checks;
pub mod cluster;
pub mod completions;
pub mod man;
pub(crate) mod print;
pub mod probe;
pub mod report;
mod rounds;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use probes::report::Severity;

use crate::config::files::Files;
use crate::config::watch::Watched;
use crate::config::{self, ConfigError, Settings, duration};
use crate::io::call::Terms;
use crate::outcome::Failure;

/// From which severity on a finding makes the exit status 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Critical findings only.
    Critical,
    /// Warnings and worse.
    Warning,
    /// Any finding.
    Info,
    /// None.
    Never,
}

impl FailOn {
    /// Whether a finding of this severity counts.
    fn counts(self, severity: Severity) -> bool {
        match self {
            Self::Critical => severity >= Severity::Critical,
            Self::Warning => severity >= Severity::Warning,
            Self::Info => true,
            Self::Never => false,
        }
    }
}

/// The flag that names the configuration.
#[derive(Debug, clap::Args)]
pub struct ConfigFlag {
    /// Configuration (YAML); without it, everything has its default
    #[arg(long, value_name = "FILE", env = CONFIG, value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
}

impl ConfigFlag {
    fn load(&self) -> Result<Settings, Failure> {
        Settings::load(self.config.as_deref()).map_err(|error| self.bad(&error))
    }

    /// The settings, and the file that they are from if it can be read again.
    fn watch(&self) -> Result<(Settings, Option<Watched>), Failure> {
        match &self.config {
            Some(path) => Watched::open(path).map_err(|error| self.bad(&error)),
            None => Ok((self.load()?, None)),
        }
    }

    /// How other agents are spoken to by those settings.
    fn terms(&self, settings: &Settings) -> Result<Terms, Failure> {
        let read = Terms::read(&settings.agents, &mut Files::default());
        read.map_err(|problems| Failure(format!("bad configuration\n{}", problems.join("\n"))))
    }

    /// A file that a variable names is found in no command line, so the variable is named.
    fn bad(&self, error: &ConfigError) -> Failure {
        let named = std::env::var_os(CONFIG).is_some_and(|named| self.config.as_deref() == Some(Path::new(&named)));
        let by = if named { format!(", named by the environment variable {CONFIG}") } else { String::new() };
        Failure(format!("bad configuration{by}\n{error}"))
    }
}

/// The variable that names the configuration.
const CONFIG: &str = "MTUSCOPE_CONFIG";

/// A literal address that a packet can be sent to.
fn address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr =
        text.parse().map_err(|_| "not an IP address such as 10.0.0.12 (names are not looked up)".to_owned())?;
    match config::unusable(address) {
        Some(why) => Err(why.to_owned()),
        None => Ok(address),
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address and port such as [::]:9747 or 127.0.0.1:9747".to_owned())
}

/// Longest `--wait`.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

fn wait(text: &str) -> Result<Duration, String> {
    duration::parse(text).and_then(|wait| match wait {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        _ if wait > LONGEST_WAIT => Err("must be an hour or less".to_owned()),
        _ => Ok(wait),
    })
}

/// What probing needs, which of it is missing, and the ways to get it.
fn lacks_net_raw(file_lacks: bool) -> String {
    let program = std::env::current_exe().map_or_else(|_| "mtuscope".into(), |path| path.display().to_string());
    let missing = if file_lacks {
        "It may be held here, but the program's file does not have it: a container's image that was copied without its \
         file capabilities looks like this."
    } else {
        "It is not granted here."
    };
    format!(
        "measuring paths needs the capability CAP_NET_RAW. {missing}\n  Run it with sudo, or give the program the right \
         once: sudo setcap cap_net_raw,cap_net_admin+p {program}\n  In Kubernetes: \
         securityContext.capabilities.add: [NET_RAW], and an image whose program has it\n  Less is seen, but no right is \
         needed, where everybody may ping: sudo sysctl -w net.ipv4.ping_group_range=\"0 2147483647\""
    )
}

/// A runtime on this thread.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure(format!("cannot start the event loop: {error}; check the limit on open files")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_include_what_is_worse() {
        let counted = |level: FailOn| Severity::ALL.into_iter().filter(|severity| level.counts(*severity)).count();
        let levels = [FailOn::Critical, FailOn::Warning, FailOn::Info, FailOn::Never];
        assert_eq!(levels.map(counted), [1, 2, 3, 0]);
    }

    #[test]
    fn the_missing_capability_is_named_with_the_ways_to_get_it() {
        for (file_lacks, why) in [(true, "the program's file does not have it"), (false, "not granted")] {
            let message = lacks_net_raw(file_lacks);
            for part in
                ["CAP_NET_RAW", why, "sudo", "setcap cap_net_raw,cap_net_admin+p", "[NET_RAW]", "ping_group_range"]
            {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
