//! What stands between a client and the pages: TLS, and who may see what.
//!
//! Health is open to everybody, since the kubelet shows no credentials and health tells nothing. `/metrics` asks for its
//! own credentials if there are any, and everything else, also what does not exist, for the others. Who is refused is told
//! the scheme and nothing else: neither what was wrong nor whether there is such a page.
//!
//! A certificate by an authority that is trusted, made out to a name that is not allowed, gets 403 instead of a broken
//! handshake: whoever is in charge of that client reads the reason.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

use super::credentials::{Checks, Credentials, Verdict};
use super::pages::{HEALTH, plain};
use super::tls;
use crate::config::files::Files;
use crate::config::surface::Web;
use crate::config::web_file::{self, Clients, WebFile};
use crate::io::pem::SECRET;

/// Fewest characters of a token.
const TOKEN: usize = 16;

/// All of it, checked. The default lets everybody in, in the clear.
#[derive(Clone, Default)]
pub struct Surface(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tls: Option<Arc<ServerConfig>>,
    /// Names of clients, if not every certificate of the authority will do.
    names: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    metrics: Option<Arc<Credentials>>,
    rest: Option<Arc<Credentials>>,
}

impl std::fmt::Debug for Surface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner { tls, metrics, rest, .. } = &*self.0;
        let mut shown = f.debug_struct("Surface");
        shown.field("tls", &tls.is_some()).field("metrics", &metrics.is_some()).field("rest", &rest.is_some()).finish()
    }
}

impl Surface {
    /// What the configuration wants, with what its files hold.
    ///
    /// # Errors
    /// Every problem, with file and line or key.
    pub fn read(web: &Web, files: &mut Files) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let checks = Arc::new(Checks::default());
        let file = web_file(web.config_file.as_deref(), files, &mut problems);
        let tokens = tokens("web.bearer_token_files", &web.bearer_token_files, files, &mut problems);
        let config = file.tls.as_ref().and_then(|tls| match tls::server(tls, files) {
            Ok(config) => Some(Arc::new(config)),
            Err(more) => {
                problems.extend(more.into_iter().map(|why| format!("{}: {why}", shown(web.config_file.as_deref()))));
                None
            }
        });
        let metrics = web.metrics.as_ref().map(|metrics| {
            let file = metrics_file(metrics.config_file.as_deref(), files, &mut problems);
            let tokens =
                self::tokens("web.metrics.bearer_token_files", &metrics.bearer_token_files, files, &mut problems);
            (file.users, tokens)
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let door = |users: &[_], tokens: &[_]| {
            let credentials = Credentials::new(users, tokens, &checks).map_err(|why| vec![why])?;
            Ok::<_, Vec<String>>(credentials.map(Arc::new))
        };
        let rest = door(&file.users, &tokens)?;
        let metrics = metrics.map_or_else(|| Ok(rest.clone()), |(users, tokens)| door(&users, &tokens))?;
        let names = match file.tls.map(|tls| tls.clients) {
            Some(Clients::By { names, .. }) => names,
            _ => Vec::new(),
        };
        Ok(Self(Arc::new(Inner { tls: config, names, headers: file.headers, metrics, rest })))
    }

    /// How to speak TLS, if that is wanted.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.0.tls.clone()
    }

    /// Whether a client with this certificate may connect, as far as names go.
    pub(super) fn knows(&self, certificate: Option<&CertificateDer<'_>>) -> bool {
        let names = &self.0.names;
        names.is_empty() || certificate.is_some_and(|certificate| tls::is_made_out_to(certificate, names))
    }

    /// Lets a request in, or says what to answer instead. `known` is what [`Self::knows`] said of the connection.
    pub(super) async fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        from: IpAddr,
        known: bool,
    ) -> Result<(), Response> {
        if HEALTH.contains(&path) {
            return Ok(());
        }
        if !known {
            return Err(plain(
                StatusCode::FORBIDDEN,
                "this certificate is not made out to a name that is allowed here\n",
            ));
        }
        let door = if path == "/metrics" { &self.0.metrics } else { &self.0.rest };
        let Some(door) = door else { return Ok(()) };
        // Of several, which one counts could be read in two ways.
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let shown = shown.next().filter(|_| shown.next().is_none());
        match door.look(shown, from).await {
            Verdict::Good => Ok(()),
            Verdict::Bad => Err(unauthorized(door)),
            Verdict::Busy => {
                let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "too many passwords wait to be checked\n");
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                Err(response)
            }
        }
    }

    /// Adds the headers that are wanted.
    pub(super) fn dress(&self, response: &mut Response) {
        for (name, value) in &self.0.headers {
            response.headers_mut().insert(name, value.clone());
        }
    }
}

fn unauthorized(door: &Credentials) -> Response {
    let mut response = plain(StatusCode::UNAUTHORIZED, "credentials are needed\n");
    for scheme in door.schemes() {
        response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    response
}

fn shown(path: Option<&Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn web_file(path: Option<&Path>, files: &mut Files, problems: &mut Vec<String>) -> WebFile {
    let Some(path) = path else { return WebFile::default() };
    let read = files.text(path).map_err(|why| vec![format!("web.config_file: {why}")]);
    read.and_then(|text| web_file::parse(path, text)).unwrap_or_else(|more| {
        problems.extend(more);
        WebFile::default()
    })
}

/// Both doors are in the same wall: what the connection is like cannot be said for one page.
fn metrics_file(path: Option<&Path>, files: &mut Files, problems: &mut Vec<String>) -> WebFile {
    let before = problems.len();
    let file = web_file(path, files, problems);
    if path.is_some() && problems.len() == before {
        let name = shown(path);
        if file.more_than_users {
            problems.push(format!(
                "{name}: only basic_auth_users can differ for /metrics; tls_server_config and http_server_config belong in \
                 web.config_file"
            ));
        } else if file.users.is_empty() {
            problems.push(format!(
                "{name}: has no basic_auth_users; if anybody may read metrics, say web.metrics.open: true"
            ));
        }
    }
    file
}

/// The tokens in some files, one a line.
fn tokens(key: &str, paths: &[std::path::PathBuf], files: &mut Files, problems: &mut Vec<String>) -> Vec<String> {
    let mut tokens = Vec::new();
    for path in paths {
        let before = tokens.len();
        let mut refuse = |why: String| problems.push(format!("{key}: {}{why}", path.display()));
        match files.text(path) {
            Err(why) => {
                problems.push(format!("{key}: {why}"));
                continue;
            }
            Ok(text) => {
                for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
                    if is_token(line) {
                        tokens.push(line.to_owned());
                    } else {
                        refuse(format!(":{number}: is no token: {TOKEN} to {SECRET} letters, digits and -._~+/="));
                    }
                }
                if text.lines().all(str::is_empty) && tokens.len() == before {
                    refuse(": holds no token, one a line".into());
                }
            }
        }
    }
    tokens
}

/// As RFC 6750 has it (section 2.1, `b64token`), and too long to be guessed.
fn is_token(line: &str) -> bool {
    let usual = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    (TOKEN..=SECRET).contains(&line.len()) && line.chars().all(usual)
}
