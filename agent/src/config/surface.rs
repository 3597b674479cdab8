//! What of the configuration bears on who is let in and who is asked: the sections `web` and `agents`.
//!
//! They hold no secrets, only the paths of files that do: a ConfigMap is read by many, a Secret by few.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;

use super::reader::{Reader, Section, text};
use super::tree::{Node, Value};

/// What HTTP asks of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// Certificate, users and headers, in the file format of Prometheus's exporters.
    pub config_file: Option<PathBuf>,
    /// Files with tokens, of which any is as good as a user's password.
    pub bearer_token_files: Vec<PathBuf>,
    /// What `/metrics` asks instead.
    pub metrics: Option<WebMetrics>,
    /// Where health alone is served, in the clear and to everybody.
    pub health_listen: Option<SocketAddr>,
}

/// What `/metrics` asks of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebMetrics {
    /// Users, in the same format.
    pub config_file: Option<PathBuf>,
    /// Files with tokens.
    pub bearer_token_files: Vec<PathBuf>,
    /// Nothing at all.
    pub open: bool,
}

/// How other agents are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agents {
    /// Over TLS.
    pub tls: Option<AgentsTls>,
    /// What is shown of this agent.
    pub credentials: Option<AgentsCredentials>,
}

/// Whom this agent takes for another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentsTls {
    /// By whom their certificates are.
    pub ca_file: PathBuf,
    /// The name that they are made out to; without it, the address that is called.
    pub server_name: Option<String>,
    /// This agent's certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Who this agent says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentsCredentials {
    /// Whoever has this file's token.
    Token(PathBuf),
    /// A user with this file's password.
    User {
        /// The name.
        username: String,
        /// Where the password is.
        password_file: PathBuf,
    },
}

pub(super) fn web(reader: &mut Reader<'_>, top: &Section<'_>, listen: SocketAddr) -> Web {
    let section =
        reader.section("web", top.find("web"), &["config_file", "bearer_token_files", "metrics", "health_listen"]);
    let health_listen =
        reader.parsed(&section, "health_listen", "an address and port such as \"[::]:9748\"", |text| text.parse().ok());
    if let (Some(health), Some(node)) = (health_listen, section.find("health_listen"))
        && SocketAddr::port(&health) == listen.port()
        && health.port() != 0
    {
        reader.refuse(node.at, format!("web.health_listen needs another port than listen ({listen})"));
    }
    Web {
        config_file: path(reader, &section, "config_file"),
        bearer_token_files: paths(reader, &section, "bearer_token_files"),
        metrics: metrics(reader, &section),
        health_listen,
    }
}

fn metrics(reader: &mut Reader<'_>, web: &Section<'_>) -> Option<WebMetrics> {
    let node = web.find("metrics").filter(|node| !matches!(node.value, Value::Empty))?;
    let section = reader.section("web.metrics", Some(node), &["config_file", "bearer_token_files", "open"]);
    let metrics = WebMetrics {
        config_file: path(reader, &section, "config_file"),
        bearer_token_files: paths(reader, &section, "bearer_token_files"),
        open: reader.flag(&section, "open").unwrap_or_default(),
    };
    let given = ["config_file", "bearer_token_files"].iter().any(|key| section.find(key).is_some());
    if metrics.open == given {
        let what = "web.metrics must have either config_file or bearer_token_files, or open: true if anybody may read \
                    metrics; without the section they ask for what everything else does";
        reader.refuse(node.at, what.into());
    }
    Some(metrics)
}

pub(super) fn agents(reader: &mut Reader<'_>, top: &Section<'_>) -> Agents {
    let section = reader.section("agents", top.find("agents"), &["tls", "bearer_token_file", "basic_auth"]);
    let token = path(reader, &section, "bearer_token_file").map(AgentsCredentials::Token);
    let user = user(reader, &section);
    if let (Some(_), Some(node)) = (section.find("bearer_token_file"), section.find("basic_auth")) {
        reader.refuse(node.at, "agents must have one of bearer_token_file and basic_auth, found both".into());
    }
    Agents { tls: tls(reader, &section), credentials: token.or(user) }
}

fn tls(reader: &mut Reader<'_>, agents: &Section<'_>) -> Option<AgentsTls> {
    let node = agents.find("tls")?;
    let section = reader.section("agents.tls", Some(node), &["ca_file", "server_name", "cert_file", "key_file"]);
    if section.find("ca_file").is_none() {
        reader.refuse(node.at, "agents.tls needs ca_file: the certificates that agents' own are signed by".into());
    }
    let certificate = match (path(reader, &section, "cert_file"), path(reader, &section, "key_file")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => None,
    };
    if section.find("cert_file").is_some() != section.find("key_file").is_some() {
        reader.refuse(node.at, "agents.tls needs both of cert_file and key_file, or neither".into());
    }
    let server_name = reader.parsed(&section, "server_name", "a DNS name or an IP address", |text| {
        ServerName::try_from(text).ok().map(|_| text.to_owned())
    });
    Some(AgentsTls { ca_file: path(reader, &section, "ca_file")?, server_name, certificate })
}

fn user(reader: &mut Reader<'_>, agents: &Section<'_>) -> Option<AgentsCredentials> {
    let node = agents.find("basic_auth")?;
    let section = reader.section("agents.basic_auth", Some(node), &["username", "password_file"]);
    for key in ["username", "password_file"] {
        if section.find(key).is_none() {
            reader.refuse(node.at, format!("agents.basic_auth needs {key}"));
        }
    }
    let username = reader.parsed(&section, "username", "a name without a colon", |text| {
        let fits = !text.is_empty() && !text.contains(':') && !text.chars().any(char::is_control);
        fits.then(|| text.to_owned())
    });
    let password_file = path(reader, &section, "password_file");
    Some(AgentsCredentials::User { username: username?, password_file: password_file? })
}

fn path(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Option<PathBuf> {
    reader.parsed(section, key, ABSOLUTE, absolute)
}

const ABSOLUTE: &str = "the absolute path of a file";

fn absolute(text: &str) -> Option<PathBuf> {
    Path::new(text).is_absolute().then(|| PathBuf::from(text))
}

/// A list of paths, or one alone.
fn paths(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Vec<PathBuf> {
    let Some(node) = section.find(key) else { return Vec::new() };
    let nodes: &[Node] = match &node.value {
        Value::List(nodes) => nodes,
        _ => std::slice::from_ref(node),
    };
    if nodes.is_empty() || nodes.iter().all(|node| text(node).is_none_or(str::is_empty)) {
        reader.refuse(
            node.at,
            format!("{} must name at least one file; leave the key out to ask for no token", section.name(key)),
        );
        return Vec::new();
    }
    nodes.iter().filter_map(|node| reader.parsed_at(section, key, node, ABSOLUTE, absolute)).collect()
}
