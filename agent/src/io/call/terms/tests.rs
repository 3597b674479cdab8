//! Calls over real TLS, to servers that are right, wrong, or none.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::super::{Failed, Limits, get};
use super::*;
use crate::io::pki::{Authority, Issued};

const LIMITS: Limits = Limits { time: Duration::from_secs(10), body: 100 };

/// Files with an authority, a certificate by it, and its key.
struct Site {
    directory: TempDir,
    ca: Authority,
}

impl Site {
    fn new() -> Self {
        let (directory, ca) = (tempfile::tempdir().unwrap(), Authority::new());
        fs::write(directory.path().join("ca.crt"), ca.pem()).unwrap();
        Self { directory, ca }
    }

    fn issue(&self, name: &str) -> Issued {
        let issued = self.ca.issue(name);
        issued.write(self.directory.path(), "tls");
        issued
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn agents(&self, server_name: Option<&str>, own: bool) -> Agents {
        let certificate = own.then(|| (self.path("tls.crt"), self.path("tls.key")));
        let tls = AgentsTls { ca_file: self.path("ca.crt"), server_name: server_name.map(Into::into), certificate };
        Agents { tls: Some(tls), credentials: None }
    }

    /// A server with a certificate for `name` that answers every request with what was asked.
    fn serve(&self, name: &str, asks: bool) -> SocketAddr {
        let issued = self.issue(name);
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let roots = Arc::new(self.ca.roots());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
        let builder = if asks { builder.with_client_cert_verifier(verifier) } else { builder.with_no_client_auth() };
        let config = builder.with_single_cert(vec![issued.certificate.clone()], issued.private_key()).unwrap();
        echo(Some(TlsAcceptor::from(Arc::new(config))))
    }
}

fn echo(tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        run(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream).await;
                    }
                }
                None => answer(stream).await,
            }
        });
    });
    to
}

async fn answer(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") && stream.read_buf(&mut asked).await.unwrap_or_default() > 0 {
        // A client that speaks TLS to a server that does not is answered as web servers do.
        if asked.first() == Some(&22) {
            _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
            return;
        }
    }
    let text = String::from_utf8(asked).unwrap();
    let shown = text.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("nothing");
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{shown}", shown.len());
    _ = stream.write_all(answer.as_bytes()).await;
    _ = stream.shutdown().await;
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn read(agents: &Agents) -> Terms {
    Terms::read(agents, &mut Files::default()).unwrap()
}

fn called(to: SocketAddr, terms: &Terms) -> Result<String, String> {
    match run(get(to, "/report", "*/*", LIMITS, terms)) {
        Ok(body) => Ok(String::from_utf8(body.to_vec()).unwrap()),
        Err(Failed::Broken { why } | Failed::NoTls { why }) => Err(why),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn an_agent_is_known_by_its_name_or_by_its_address() {
    let site = Site::new();
    let named = read(&site.agents(Some("mtuscope.test"), false));
    assert_eq!(called(site.serve("mtuscope.test", false), &named), Ok("nothing".into()));
    let unnamed = read(&site.agents(None, false));
    assert_eq!(called(site.serve("127.0.0.1", false), &unnamed), Ok("nothing".into()));
    let other = called(site.serve("other.test", false), &named).unwrap_err();
    assert!(other.contains("made out to another name; see agents.tls.server_name"), "{other}");
    let other = called(site.serve("127.0.0.2", false), &unnamed).unwrap_err();
    assert!(other.contains("made out to another name"), "{other}");
}

#[test]
fn an_authority_that_is_not_named_is_not_trusted() {
    let (site, foreign) = (Site::new(), Site::new());
    let terms = read(&site.agents(Some("mtuscope.test"), false));
    let why = called(foreign.serve("mtuscope.test", false), &terms).unwrap_err();
    assert!(why.contains("its certificate is by nobody in agents.tls.ca_file"), "{why}");
}

#[test]
fn who_is_asked_for_a_certificate_shows_its_own() {
    let site = Site::new();
    let to = site.serve("mtuscope.test", true);
    let with = read(&site.agents(Some("mtuscope.test"), true));
    assert_eq!(called(to, &with), Ok("nothing".into()));
    let without = read(&site.agents(Some("mtuscope.test"), false));
    let why = called(site.serve("mtuscope.test", true), &without).unwrap_err();
    assert!(why.contains("CertificateRequired"), "{why}");
}

#[test]
fn agents_that_are_not_configured_alike_say_so() {
    let site = Site::new();
    let why = called(echo(None), &read(&site.agents(Some("mtuscope.test"), false))).unwrap_err();
    assert!(why.contains("it does not speak TLS; has it a web.config_file?"), "{why}");
    let why = called(site.serve("mtuscope.test", false), &Terms::default()).unwrap_err();
    assert!(why.contains("if it serves TLS, this agent needs agents.tls"), "{why}");
}

#[test]
fn a_token_or_a_password_is_shown_and_never_printed() {
    let site = Site::new();
    fs::write(site.path("token"), "c2VjcmV0\n").unwrap();
    let token = Agents { credentials: Some(AgentsCredentials::Token(site.path("token"))), ..Agents::default() };
    let terms = read(&token);
    assert_eq!(called(echo(None), &terms), Ok("Bearer c2VjcmV0".into()));
    assert!(terms.shows_in_the_clear() && !format!("{terms:?}").contains("c2Vj"));
    let user = AgentsCredentials::User { username: "agent".into(), password_file: site.path("token") };
    let both = Agents { credentials: Some(user), ..site.agents(Some("mtuscope.test"), false) };
    let terms = read(&both);
    assert_eq!(called(site.serve("mtuscope.test", false), &terms), Ok("Basic YWdlbnQ6YzJWamNtVjA=".into()));
    assert!(!terms.shows_in_the_clear());
}

#[test]
fn every_file_that_is_not_good_is_told_by_its_key() {
    let site = Site::new();
    site.issue("mtuscope.test");
    let mut agents = site.agents(None, true);
    fs::write(site.path("ca.crt"), "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(site.path("tls.key"), "nothing of the kind").unwrap();
    fs::write(site.path("token"), "one\ntwo\n").unwrap();
    agents.credentials = Some(AgentsCredentials::Token(site.path("token")));
    let problems = Terms::read(&agents, &mut Files::default()).unwrap_err();
    let starts = ["agents.tls.ca_file: ", "agents.tls.key_file: ", "agents.bearer_token_file: "];
    assert_eq!(problems.len(), starts.len(), "{problems:?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start) && problem.contains(site.directory.path().to_str().unwrap()), "{problem}");
        assert!(!problem.contains("nothing of the kind") && !problem.contains("two"), "{problem}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let site = Site::new();
    site.issue("mtuscope.test");
    fs::write(site.path("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let problems = Terms::read(&site.agents(None, true), &mut Files::default()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("agents.tls: keys may not be consistent"), "{problems:?}");
}

#[test]
fn terms_towards_a_url_are_never_weaker_than_the_url() {
    let site = Site::new();
    fs::write(site.path("token"), "c2VjcmV0").unwrap();
    let agents = Agents { credentials: Some(AgentsCredentials::Token(site.path("token"))), ..site.agents(None, false) };
    let terms = read(&agents);
    let https = terms.towards(true, "mtuscope.test").unwrap();
    assert_eq!(called(site.serve("mtuscope.test", false), &https), Ok("Bearer c2VjcmV0".into()));
    let http = terms.towards(false, "mtuscope.test").unwrap();
    assert_eq!(called(echo(None), &http), Ok("nothing".into()), "what is meant for TLS stays there");
    assert!(Terms::default().towards(true, "mtuscope.test").is_err());
    assert!(terms.towards(true, "no name").is_err() && terms.towards(true, "[::1]").is_ok());
}
