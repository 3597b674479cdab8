//! The configuration file: YAML in, checked [`Settings`] out.
//!
//! An operator who mends a file wants to hear of every mistake at once, each with its line, what was found and what is
//! allowed. Deserialising into a struct stops at the first, so the file becomes a [`tree`] with positions, [`reader`]
//! takes typed values out of it and collects [`Problem`]s, and [`shape`] says which keys there are. A key that is not
//! there has its default; a key that is there and wrong never falls back to one.
//!
//! While the agent runs, [`watch`] says when the file has changed, and [`changes`] what in it did.

mod changes;
pub mod duration;
pub mod files;
pub mod kubernetes;
mod reader;
mod shape;
pub mod surface;
mod tree;
pub mod watch;
pub(crate) mod web_file;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use probes::config::{Config, PORT};

pub use kubernetes::Kubernetes;
pub(crate) use reader::{nearest, unusable};
use surface::{Agents, Web};
use tree::At;

/// Largest configuration file that is read, in bytes: several thousand static peers fit.
pub const MAX_BYTES: u64 = 1 << 20;

/// Everything that can be set, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the deciding half needs.
    pub probes: Config,
    /// Where HTTP listens.
    pub listen: SocketAddr,
    /// Where the host's `/proc` and `/etc` are mounted.
    pub host_root: PathBuf,
    /// Limits of the metrics.
    pub metrics: MetricLimits,
    /// What HTTP asks of clients.
    pub web: Web,
    /// How other agents are spoken to.
    pub agents: Agents,
    /// Which Kubernetes API to ask for peers, if any.
    pub kubernetes: Option<Kubernetes>,
}

/// How many series and findings leave as metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricLimits {
    /// Most peers with series of their own: 0 to 100.
    pub named_peers: usize,
    /// Most findings with a series of their own: 0 to 500.
    pub findings: usize,
}

impl Default for MetricLimits {
    fn default() -> Self {
        Self { named_peers: 50, findings: 100 }
    }
}

impl Settings {
    /// The defaults for a node of this name.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            probes: Config::new(node),
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)),
            host_root: PathBuf::from("/"),
            metrics: MetricLimits::default(),
            web: Web::default(),
            agents: Agents::default(),
            kubernetes: None,
        }
    }

    /// What the deciding half needs. Peers' agents are taken to listen on this one's port.
    pub fn for_probes(&self) -> Config {
        let port = Some(self.listen.port()).filter(|port| *port != 0).unwrap_or(PORT);
        Config { port, ..self.probes.clone() }
    }

    /// Reads `file`, or takes the defaults if there is none.
    ///
    /// # Errors
    /// Every problem of the file at once; or why it could not be read.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = file else { return Ok(Self::new(node_name())) };
        Self::of(path, &read(path).unwrap_or_else(Err))
    }

    /// Settings from what `path` was found to hold.
    fn of(path: &Path, found: &Found) -> Result<Self, ConfigError> {
        let text =
            found.as_ref().map_err(|what| ConfigError::new(path, vec![Problem { at: None, what: what.clone() }]))?;
        Self::parse(text, node_name()).map_err(|problems| ConfigError::new(path, problems))
    }

    /// Settings from YAML text; `node` is the name that holds where the text gives none.
    ///
    /// # Errors
    /// Every problem of the text, in the order of its lines.
    pub fn parse(text: &str, node: String) -> Result<Self, Vec<Problem>> {
        let root = tree::parse(text).map_err(|problem| vec![problem])?;
        let mut problems = Vec::new();
        let settings = shape::settings(&root, node, &mut problems);
        if problems.is_empty() {
            return Ok(settings);
        }
        problems.sort_by_key(|problem| problem.at);
        Err(problems)
    }
}

/// `$NODE_NAME` (the downward API's `spec.nodeName`), else the host name.
pub fn node_name() -> String {
    let given = std::env::var("NODE_NAME").ok().filter(|name| !name.trim().is_empty());
    given.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    at: Option<At>,
    what: String,
}

/// A configuration that cannot be used: every problem of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: PathBuf,
    problems: Vec<Problem>,
}

impl ConfigError {
    fn new(file: &Path, problems: Vec<Problem>) -> Self {
        Self { file: file.to_owned(), problems }
    }
}

impl ConfigError {
    /// Every problem with its place, a line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let file = self.file.display();
        self.problems.iter().map(move |problem| match problem.at {
            Some(At { line, column }) => format!("{file}:{line}:{column}: {}", problem.what),
            None => format!("{file}: {}", problem.what),
        })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.lines().collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// What a look at the file found: its text, or why there is none.
type Found = Result<String, String>;

/// What the file holds; or why this machine has no means to look, which says nothing of the file.
fn read(path: &Path) -> Result<Found, String> {
    let failed = |doing: &str, error: &io::Error| {
        let what = format!("cannot {doing} the configuration: {error}");
        let lacking = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS].map(Some);
        if lacking.contains(&error.raw_os_error()) { Err(what) } else { Ok(Err(what)) }
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return failed("open", &error),
    };
    if file.metadata().is_ok_and(|about| about.is_dir()) {
        return Ok(Err("is a directory; give the path of a YAML file".into()));
    }
    let mut bytes = Vec::new();
    if let Err(error) = file.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        return failed("read", &error);
    }
    Ok(text(bytes))
}

fn text(bytes: Vec<u8>) -> Found {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("larger than {MAX_BYTES} bytes, the most that a configuration may have"));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("not UTF-8 text: byte {} does not belong to any character", error.utf8_error().valid_up_to())
    })
}

/// A configuration that sets every key that this program takes.
#[cfg(test)]
fn every_key() -> String {
    let text = include_str!("config/every_key.yaml");
    let taken = |line: &&str| cfg!(feature = "kubernetes") || !line.contains("kubernetes:");
    text.lines().filter(taken).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn load(bytes: &[u8]) -> Result<Settings, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let path = file.path().to_owned();
        Settings::load(Some(&path)).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "FILE"))
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(load(b""), Settings::load(None).map_err(|error| error.to_string()));
        assert_eq!(load(b"# all of it\n# commented out\n"), load(b""));
        assert_eq!(load(b"---\n"), load(b""));
    }

    #[test]
    fn peers_agents_are_taken_to_listen_where_this_one_does() {
        let port = |text: &str| load(text.as_bytes()).unwrap().for_probes().port;
        assert_eq!(port("listen: 192.0.2.1:9000"), 9000);
        assert_eq!((port(""), port("listen: '[::]:0'")), (9747, 9747));
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let missing = Settings::load(Some(Path::new("/no/such/file.yaml"))).unwrap_err().to_string();
        assert_eq!(
            missing,
            "/no/such/file.yaml: cannot open the configuration: No such file or directory (os error 2)"
        );
        let directory = tempfile::tempdir().unwrap();
        let error = Settings::load(Some(directory.path())).unwrap_err().to_string();
        assert!(error.ends_with(": is a directory; give the path of a YAML file"), "{error}");
        let error = load(b"node: m\xff").unwrap_err();
        assert_eq!(error, "FILE: not UTF-8 text: byte 7 does not belong to any character");
    }

    #[test]
    fn a_file_without_end_is_refused_at_the_bound() {
        let error = load(&vec![b'#'; MAX_BYTES as usize + 1]).unwrap_err();
        assert_eq!(error, "FILE: larger than 1048576 bytes, the most that a configuration may have");
        assert!(load(&vec![b'#'; MAX_BYTES as usize]).is_ok());
    }
}
