//! The web configuration of Prometheus's exporters: <https://github.com/prometheus/exporter-toolkit>.
//!
//! Operators have such files and tools for them (`promtool check web-config`), so its keys and their meaning are kept. What
//! it allows and this agent cannot do, or what would look safe and not be, is refused by its line and never passed over:
//! TLS before 1.2 and its cipher suites, HTTP/2, names of clients whose certificates nobody verifies, an authority that has
//! no say. A `rate_limit` is refused too: how much a client may take is bounded without.
//!
//! Nothing of a hash, a certificate or a key is repeated in a problem.

use std::path::{Path, PathBuf};

use axum::http::{HeaderName, HeaderValue};
use base64::Engine;

use super::reader::{Reader, Section, text};
use super::tree::{self, Node, Value};
use super::{ConfigError, Problem};

/// Least and most that a bcrypt hash may cost: the most takes about a second.
const COSTS: std::ops::RangeInclusive<u32> = 4..=14;

/// What a file says.
#[derive(Default)]
pub(crate) struct WebFile {
    pub(crate) tls: Option<TlsServer>,
    /// Added to each answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Names, each with a bcrypt hash.
    pub(crate) users: Vec<(String, String)>,
    /// Whether it says anything but users.
    pub(crate) more_than_users: bool,
}

/// What the server shows, and what it asks for.
pub(crate) struct TlsServer {
    pub(crate) certificate: Pem,
    pub(crate) key: Pem,
    pub(crate) clients: Clients,
    /// TLS 1.2, TLS 1.3.
    pub(crate) versions: (bool, bool),
    /// Of TLS 1.2; empty means all.
    pub(crate) suites: Vec<&'static str>,
    /// Empty means all.
    pub(crate) curves: Vec<&'static str>,
    pub(crate) servers_order: bool,
}

/// Where PEM is.
pub(crate) enum Pem {
    File(PathBuf),
    Text(String),
}

/// What is asked of clients.
pub(crate) enum Clients {
    /// Nothing.
    Unasked,
    /// A certificate, whoever it is by.
    Any {
        /// Whether they can do without.
        optional: bool,
    },
    /// A certificate by this authority.
    By {
        /// Whether they can do without.
        optional: bool,
        /// The authority.
        ca: Pem,
        /// If not empty, one of these has to be in it.
        names: Vec<String>,
    },
}

/// Cipher suites of TLS 1.2 that there are, by the names that Go has for them.
pub(crate) const SUITES: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Those of TLS 1.3, which are always had.
const SUITES_13: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Curves that there are.
pub(crate) const CURVES: [&str; 3] = ["X25519", "CurveP256", "CurveP384"];

const POLICIES: [&str; 5] = [
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
];

const TLS_KEYS: [&str; 13] = [
    "cert_file",
    "key_file",
    "cert",
    "key",
    "client_auth_type",
    "client_ca_file",
    "client_ca",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];

/// Headers that can be added, and what they may say; nothing means anything.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

/// What `text`, the content of `path`, says. Files that it names are found from its own directory.
pub(crate) fn parse(path: &Path, text: &str) -> Result<WebFile, Vec<String>> {
    let mut problems = Vec::new();
    let file = match tree::parse(text) {
        Ok(root) => file(&mut Reader::new(&mut problems), &root, path.parent().unwrap_or(path)),
        Err(problem) => {
            problems.push(problem);
            WebFile::default()
        }
    };
    if problems.is_empty() {
        return Ok(file);
    }
    problems.sort_by_key(|problem: &Problem| problem.at);
    Err(ConfigError::new(path, problems).lines().collect())
}

fn file(reader: &mut Reader<'_>, root: &Node, directory: &Path) -> WebFile {
    let keys = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];
    let top = reader.section("", Some(root), &keys);
    if let Some(node) = top.find("rate_limit") {
        reader.refuse(node.at, "rate_limit cannot be had: what a client may take is bounded without it".into());
    }
    WebFile {
        tls: tls(reader, &top, directory),
        headers: http(reader, &top),
        users: users(reader, &top),
        more_than_users: keys[..2].iter().any(|key| top.find(key).is_some()),
    }
}

fn tls(reader: &mut Reader<'_>, top: &Section<'_>, directory: &Path) -> Option<TlsServer> {
    let node = top.find("tls_server_config")?;
    let section = reader.section("tls_server_config", Some(node), &TLS_KEYS);
    if TLS_KEYS.iter().all(|key| section.find(key).is_none()) {
        return None;
    }
    let certificate = pem(reader, &section, ["cert_file", "cert"], directory);
    let key = pem(reader, &section, ["key_file", "key"], directory);
    for (key, inline) in [("cert_file", "cert"), ("key_file", "key")] {
        if section.find(key).is_none() && section.find(inline).is_none() {
            reader.refuse(node.at, format!("tls_server_config needs {key} (or {inline})"));
        }
    }
    let clients = clients(reader, &section, directory);
    let servers_order = reader.flag(&section, "prefer_server_cipher_suites").unwrap_or(true);
    let versions = versions(reader, &section);
    let suites = chosen(reader, &section, "cipher_suites", &SUITES, &SUITES_13);
    let curves = chosen(reader, &section, "curve_preferences", &CURVES, &[]);
    Some(TlsServer { certificate: certificate?, key: key?, clients, versions, suites, curves, servers_order })
}

/// A file, or the same in place.
fn pem(reader: &mut Reader<'_>, section: &Section<'_>, keys: [&str; 2], directory: &Path) -> Option<Pem> {
    let [file, inline] = keys.map(|key| section.find(key));
    if let (Some(_), Some(node)) = (file, inline) {
        reader.refuse(node.at, format!("{} and {} exclude each other", section.name(keys[0]), section.name(keys[1])));
    }
    let path = |text: &str| (!text.is_empty()).then(|| Pem::File(directory.join(text)));
    if file.is_some() {
        return reader.parsed(section, keys[0], "the path of a file", path);
    }
    let node = inline?;
    match text(node).filter(|text| text.contains("-----BEGIN ")) {
        Some(text) => Some(Pem::Text(text.to_owned())),
        None => {
            reader.refuse(node.at, format!("{} must be PEM (-----BEGIN …)", section.name(keys[1])));
            None
        }
    }
}

fn clients(reader: &mut Reader<'_>, section: &Section<'_>, directory: &Path) -> Clients {
    let allowed = format!("one of {}", POLICIES.join(", "));
    let policy = reader.parsed(section, "client_auth_type", &allowed, |text| match text {
        "" => Some("NoClientCert"),
        "RequireClientCert" => Some("RequireAnyClientCert"),
        _ => POLICIES.into_iter().find(|policy| *policy == text),
    });
    if policy.is_none() && section.find("client_auth_type").is_some() {
        // What belongs to which policy is not guessed at.
        return Clients::Unasked;
    }
    let policy = policy.unwrap_or(POLICIES[0]);
    let verified = matches!(policy, "VerifyClientCertIfGiven" | "RequireAndVerifyClientCert");
    let ca = pem(reader, section, ["client_ca_file", "client_ca"], directory);
    let authority = section.find("client_ca_file").or(section.find("client_ca"));
    let names = names(reader, section);
    match (verified, authority) {
        (false, Some(node)) => {
            let what =
                format!("client_ca_file says who may connect, and with client_auth_type {policy} nobody asks it");
            reader.refuse(node.at, what);
        }
        (true, None) => {
            let what =
                format!("client_auth_type {policy} needs client_ca_file; the machine's own authorities are not asked");
            section.find("client_auth_type").into_iter().for_each(|node| reader.refuse(node.at, what.clone()));
        }
        _ => {}
    }
    if let Some(node) = section.find("client_allowed_sans")
        && policy != "RequireAndVerifyClientCert"
    {
        let what = format!(
            "client_allowed_sans needs client_auth_type RequireAndVerifyClientCert; with {policy} anybody can claim a name, \
             or none"
        );
        reader.refuse(node.at, what);
    }
    let optional = matches!(policy, "RequestClientCert" | "VerifyClientCertIfGiven");
    match ca {
        Some(ca) if verified => Clients::By { optional, ca, names },
        _ if policy == "NoClientCert" => Clients::Unasked,
        _ => Clients::Any { optional },
    }
}

fn names(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<String> {
    let key = "client_allowed_sans";
    let items = list(reader, section, key);
    let name = |text: &str| (!text.is_empty() && !text.contains('@')).then(|| text.to_owned());
    let allowed = "a DNS name, an IP address or a URI (e-mail addresses are not looked at)";
    items.iter().filter_map(|node| reader.parsed_at(section, key, node, allowed, name)).collect()
}

fn versions(reader: &mut Reader<'_>, section: &Section<'_>) -> (bool, bool) {
    let mut version =
        |key: &str| {
            reader.parsed(section, key, "TLS12 or TLS13 (TLS 1.0 and 1.1 are broken and cannot be had)", |text| {
                match text {
                    "TLS12" => Some(2),
                    "TLS13" => Some(3),
                    _ => None,
                }
            })
        };
    let (least, most) = (version("min_version").unwrap_or(2), version("max_version").unwrap_or(3));
    if let (true, Some(node)) = (least > most, section.find("min_version")) {
        reader.refuse(node.at, "min_version must be no later than max_version".into());
    }
    (least == 2, most == 3)
}

/// Names out of those that there are. What is `always` had can be named too.
fn chosen(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    known: &'static [&'static str],
    always: &[&str],
) -> Vec<&'static str> {
    let allowed = format!("one of {}", known.join(", "));
    let mut chosen = Vec::new();
    for node in list(reader, section, key) {
        if text(node).is_some_and(|text| always.contains(&text)) {
            continue;
        }
        let one = reader.parsed_at(section, key, node, &allowed, |text| known.iter().find(|one| **one == text));
        chosen.extend(one);
    }
    chosen
}

fn list<'t>(reader: &mut Reader<'_>, section: &Section<'t>, key: &str) -> &'t [Node] {
    match section.find(key).map(|node| (node.at, &node.value)) {
        None | Some((_, Value::Empty)) => &[],
        Some((_, Value::List(nodes))) => nodes,
        Some((at, _)) => {
            reader.refuse(at, format!("{} must be a list", section.name(key)));
            &[]
        }
    }
}

fn http(reader: &mut Reader<'_>, top: &Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let section = reader.section("http_server_config", top.find("http_server_config"), &["http2", "headers"]);
    if let (Some(true), Some(node)) = (reader.flag(&section, "http2"), section.find("http2")) {
        reader.refuse(node.at, "http2 must be false or left out: HTTP/1.1 is what is served".into());
    }
    let names = HEADERS.map(|(name, _)| name);
    let headers = reader.section("http_server_config.headers", section.find("headers"), &names);
    let mut all = Vec::new();
    for (name, words) in HEADERS {
        let allowed = if words.is_empty() { "one line of text".to_owned() } else { words.join(" or ") };
        let value = reader.parsed(&headers, name, &allowed, |text| {
            let known = words.is_empty() || text.is_empty() || words.iter().any(|word| word.eq_ignore_ascii_case(text));
            if known { HeaderValue::from_str(text).ok() } else { None }
        });
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        all.extend(name.zip(value.filter(|value| !value.is_empty())));
    }
    all
}

fn users(reader: &mut Reader<'_>, top: &Section<'_>) -> Vec<(String, String)> {
    let mut users = Vec::new();
    for entry in reader.map("basic_auth_users", top.find("basic_auth_users")) {
        let name = &entry.key;
        if name.is_empty() || name.contains(':') || name.contains(char::is_control) {
            reader.refuse(entry.at, "a user's name must be neither empty nor hold a colon".into());
        }
        match text(&entry.value).ok_or("no text").and_then(|text| check_hash(text).map(|()| text)) {
            Ok(hash) => users.push((name.clone(), hash.to_owned())),
            Err(why) => {
                let what = format!(
                    "the password of `{}` must be a bcrypt hash of cost {} to {} ($2y$10$…, as htpasswd -nBC 10 makes it): {why}",
                    name.escape_debug(),
                    COSTS.start(),
                    COSTS.end()
                );
                reader.refuse(entry.value.at, what);
            }
        }
    }
    users
}

fn check_hash(hash: &str) -> Result<(), &'static str> {
    let parts: Vec<_> = hash.split('$').collect();
    let ["", "2a" | "2b" | "2y", cost, rest] = parts.as_slice() else { return Err("it does not look like one") };
    let cost = cost.parse().ok().filter(|_| cost.len() == 2).ok_or("it has no cost")?;
    if !COSTS.contains(&cost) {
        return Err("its cost is another");
    }
    let (salt, sum) = rest.split_at_checked(22).filter(|(_, sum)| sum.len() == 31).ok_or("its length is another")?;
    let read = |text| bcrypt::BASE_64.decode(text).map_err(|_| "it is misspelt");
    read(salt).and(read(sum)).map(|_| ())
}

#[cfg(test)]
mod tests;
