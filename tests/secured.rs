//! The surface under those who mean harm, and between agents that speak TLS, in a real cluster.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use lab::cluster::Cluster;
use lab::harness::{self, test};
use lab::http;
use lab::recipe::{REFERENCE, ROUTED};
use lab::report::Report;
use lab::service::{self, Service};
use lab::wait::{self, Look};
use lab::{Error, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

const PORT: u16 = 9747;
const HEALTH: u16 = 9748;
const STALLS: &str = "overlay-transfer-stalls";

/// Many more than one client has places.
const FLOOD: usize = 100;

/// Places of one client.
const EACH: usize = 16;

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            test("transfers pass over TLS, and an agent without it concludes nothing", tls_between_agents),
            test("who is slow takes nothing from health, rounds and other clients", || flood(Served::InTheClear)),
            test("who is slow to agree on TLS takes nothing either", || flood(Served::OverTls)),
        ]
    })
}

/// An authority, and one certificate that all agents share.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Result<Self> {
        let made = || -> std::result::Result<_, rcgen::Error> {
            let mut params = CertificateParams::new(Vec::new())?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            // OpenSSL takes a certificate for its own issuer's where both have the same name.
            params.distinguished_name.push(DnType::CommonName, "lab authority");
            let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
            let key = KeyPair::generate()?;
            let certificate = CertificateParams::new(vec!["mtuscope".to_owned()])?.signed_by(&key, &ca)?;
            Ok([("ca.crt", ca.pem()), ("tls.crt", certificate.pem()), ("tls.key", key.serialize_pem())])
        };
        let files = made().map_err(|error| Error::new("making certificates", error))?;
        let web = "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n  \
                   client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
        let failed = |error| Error::new("writing certificates", error);
        let directory = tempfile::tempdir_in("/run").map_err(failed)?;
        for (name, text) in files.into_iter().chain([("web.yaml", web.to_owned())]) {
            fs::write(directory.path().join(name), text).map_err(failed)?;
        }
        Ok(Self(directory))
    }

    fn path(&self, name: &str) -> String {
        Path::new(self.0.path()).join(name).display().to_string()
    }

    /// What makes an agent serve TLS to those with a certificate.
    fn served(&self) -> String {
        format!("web: {{ config_file: {}, health_listen: \"127.0.0.1:{HEALTH}\" }}\n", self.path("web.yaml"))
    }

    /// What makes it speak TLS to others.
    fn spoken(&self) -> String {
        let [ca, certificate, key] = ["ca.crt", "tls.crt", "tls.key"].map(|name| self.path(name));
        format!(
            "agents:\n  tls: {{ ca_file: {ca}, server_name: mtuscope, cert_file: {certificate}, key_file: {key} }}\n"
        )
    }
}

/// Starts an agent whose health alone can be asked for in the clear.
fn start_served<'c>(cluster: &'c Cluster, node: usize, certificates: &Certificates) -> Result<Service<'c>> {
    let text = service::configuration(cluster, node) + &certificates.served() + &certificates.spoken();
    let mut service = Service::launch(cluster, node, &text, |command, config| {
        command.arg("--config").arg(config);
    })?;
    wait::until("the agent to be ready", || {
        service.check_alive()?;
        Ok(match http::get(cluster.host(node), here(HEALTH), "/readyz", "*/*") {
            Ok(answer) if answer.status == 200 => Look::There(()),
            Ok(answer) => Look::NotYet(answer.body),
            Err(error) => Look::NotYet(error.to_string()),
        })
    })
    .map_err(|error| service.with_log(error))?;
    Ok(service)
}

fn here(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn reasons(report: &Report) -> Vec<&str> {
    report.not_concluded.iter().filter(|row| row.code == STALLS).map(|row| row.reason.as_str()).collect()
}

/// Fails if TLS is not spoken, if the kernel's witness takes it for a stall, or if a roll-out half done raises an alarm.
fn tls_between_agents() -> Result<()> {
    let (cluster, certificates) = (Cluster::build(ROUTED)?, Certificates::new()?);
    let there = start_served(&cluster, 1, &certificates)?;
    let plain = service::configuration(&cluster, 0);
    let mut agent = Service::start_open(&cluster, 0, &plain)?;
    let told = |report: &Report| reasons(report).iter().any(|why| why.contains("this agent needs agents.tls"));
    let report = agent.until("the reason", told)?;
    assert!(!report.has(STALLS), "{report}");
    let since = Timestamp::now();
    let written = fs::write(agent.config(), plain + &certificates.spoken());
    written.map_err(|error| Error::new("changing the configuration", error))?;
    let report = agent.until("a transfer that passes", |report| {
        let path = report.path(cluster.recipe.nodes[1], "overlay");
        let transfer = path.and_then(|path| path.transfer.as_ref());
        transfer.is_some_and(|one| one.result == "passed" && one.at.is_some_and(|at| at >= since))
    })?;
    assert!(!report.has(STALLS), "{report}");
    let [plain, served] = [0, 1].map(|node| cluster.recipe.nodes[node]);
    let clear = ["--from", "http://127.0.0.1:9747"];
    answered(&cluster, 0, (&agent, &clear), [(plain, "report"), (served, "report")])?;
    // It serves TLS itself, and its peer does not: who speaks TLS tells nobody in the clear.
    answered(&cluster, 1, (&there, &[]), [(plain, "tls"), (served, "report")])
}

fn owned((name, answer): (&str, &str)) -> (String, String) {
    (name.to_owned(), answer.to_owned())
}

/// Asks until this came of asking the first two nodes: either may be too busy to answer in time.
fn answered(
    cluster: &Cluster,
    node: usize,
    (agent, more): (&Service<'_>, &[&str]),
    wanted: [(&str, &str); 2],
) -> Result<()> {
    let wanted = wanted.map(owned);
    wait::until(&format!("{wanted:?}"), || {
        let found = asked(cluster, node, agent, more)?;
        Ok(if found == wanted { Look::There(()) } else { Look::NotYet(format!("{found:?}")) })
    })
}

/// What came of asking the first two nodes, as `cluster` shows it in a node with its agent's configuration.
fn asked(cluster: &Cluster, node: usize, agent: &Service<'_>, more: &[&str]) -> Result<[(String, String); 2]> {
    let config = agent.config().display().to_string();
    let all = [&["cluster", "--output", "json", "--fail-on", "never", "--config", &config], more].concat();
    let output = service::run(cluster.host(node), &all)?;
    let failed = |error| Error::new("reading the picture", error).check(String::from_utf8_lossy(&output.stderr));
    let picture: Value = serde_json::from_slice(&output.stdout).map_err(failed)?;
    let answer = |name: &str| {
        let mut rows = picture["nodes"].as_array().into_iter().flatten();
        let row = rows.find(|row| row["name"] == name);
        owned((name, row.and_then(|row| row["answer"].as_str()).unwrap_or_default()))
    };
    Ok([0, 1].map(|node| answer(cluster.recipe.nodes[node])))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    InTheClear,
    OverTls,
}

/// Connections that begin something and do not go on with it.
fn slow(agent: SocketAddr, begun: &[u8]) -> std::io::Result<Vec<TcpStream>> {
    let mut held = Vec::new();
    for _ in 0..FLOOD {
        let mut stream = TcpStream::connect(agent)?;
        // Who is turned away may be so before this is written.
        _ = stream.write_all(begun);
        stream.set_nonblocking(true)?;
        held.push(stream);
    }
    Ok(held)
}

fn is_open(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Fails if one client can take more than its own places, or if anybody else waits for what it took.
fn flood(served: Served) -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let certificates = Certificates::new()?;
    let mut agent = match served {
        Served::InTheClear => Service::start_open(&cluster, 0, &service::configuration(&cluster, 0))?,
        Served::OverTls => start_served(&cluster, 0, &certificates)?,
    };
    let address = SocketAddr::from((REFERENCE.underlay_address(0), PORT));
    let (begun, health): (&[u8], _) = match served {
        Served::InTheClear => (b"GET /report HTTP/1.1\r\nX-Slow: ", here(PORT)),
        Served::OverTls => (&[0x16, 3, 1, 2, 0, 1, 0, 1], here(HEALTH)),
    };
    let since = Timestamp::now();
    let failed = |error| Error::new("flooding", error);
    let held = cluster.host(1).inside(|| slow(address, begun))?.map_err(failed)?;
    wait::until("the flood to be cut down", || {
        let open = held.iter().filter(|stream| is_open(stream)).count();
        Ok(if open <= EACH { Look::There(()) } else { Look::NotYet(format!("{open} of {FLOOD} are open")) })
    })?;
    let livez = http::get(cluster.host(0), health, "/livez", "*/*")?;
    assert_eq!(livez.status, 200);
    match served {
        Served::InTheClear => {
            let other = http::get(cluster.host(2), address, "/report", "application/json")?;
            assert_eq!(other.status, 200, "another client");
            agent.until("a round after the flood", |report| report.measured_since(since) && report.is_well())?;
        }
        Served::OverTls => {
            let mut handshake = cluster.host(2).command("curl");
            let [ca, certificate, key] = ["ca.crt", "tls.crt", "tls.key"].map(|name| certificates.path(name));
            handshake.args([
                "--silent",
                "--fail",
                "--noproxy",
                "*",
                "--cacert",
                &ca,
                "--cert",
                &certificate,
                "--key",
                &key,
            ]);
            let ip: IpAddr = address.ip();
            handshake.args(["--resolve", &format!("mtuscope:{PORT}:{ip}"), &format!("https://mtuscope:{PORT}/report")]);
            let output = handshake.output().map_err(failed)?;
            assert!(output.status.success(), "another client: {output:?}");
        }
    }
    drop(held);
    agent.check_alive()
}
