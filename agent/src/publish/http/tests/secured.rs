//! TLS and credentials, with clients that speak for themselves.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion, crypto, version};
use tempfile::TempDir;

use super::*;
use crate::config::files::Files;
use crate::config::surface::{Web, WebMetrics};
use crate::io::pki::{Authority, Issued};

/// Files for a web configuration: `ca.crt`, `tls.crt`, `tls.key`.
struct Place {
    directory: TempDir,
    ca: Authority,
}

impl Place {
    fn new() -> Self {
        let (directory, ca) = (tempfile::tempdir().unwrap(), Authority::new());
        fs::write(directory.path().join("ca.crt"), ca.pem()).unwrap();
        ca.issue("mtuscope.test").write(directory.path(), "tls");
        Self { directory, ca }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// What a web configuration with this in its TLS section comes to.
    fn surface(&self, rest: &str) -> Surface {
        let text = format!("tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n{rest}");
        let web = Web { config_file: Some(self.write("web.yaml", &text)), ..Web::default() };
        read(&web)
    }

    fn serving(&self, rest: &str) -> Running {
        let server = serving();
        server.surface.send_replace(self.surface(rest));
        server
    }

    fn client(&self, own: Option<&Issued>) -> Arc<ClientConfig> {
        self.client_of(own, &[&version::TLS13, &version::TLS12])
    }

    fn client_of(&self, own: Option<&Issued>, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(self.ca.roots());
        Arc::new(match own {
            // Not looked at here, or what is bad would not even be shown.
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(
                vec![own.certificate.clone()],
                crypto::ring::sign::any_supported_type(&own.private_key()).unwrap(),
            )))),
            None => builder.with_no_client_auth(),
        })
    }
}

fn read(web: &Web) -> Surface {
    Surface::read(web, &mut Files::default()).unwrap()
}

fn problems(web: &Web) -> String {
    Surface::read(web, &mut Files::default()).unwrap_err().join("\n")
}

fn serving() -> Running {
    let server = start(Bounds { per_client: 64, ..Bounds::default() });
    server.publish.send_replace(Some(Arc::new(example::published())));
    server
}

/// The status of an answer over TLS; `None` if there is none.
fn asked(server: &Running, client: &Arc<ClientConfig>, path: &str) -> Option<String> {
    let answer = over_tls(server, client, path)?;
    Some(status(&answer).to_owned())
}

fn over_tls(server: &Running, client: &Arc<ClientConfig>, path: &str) -> Option<String> {
    let name = ServerName::try_from("mtuscope.test").unwrap();
    let connection = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(server.address).unwrap());
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok().filter(|read| *read > 0)?;
    Some(answer)
}

#[test]
fn over_tls_all_is_served_and_in_the_clear_nothing() {
    let place = Place::new();
    let server = place.serving("http_server_config: { headers: { X-Frame-Options: deny } }\n");
    let client = place.client(None);
    for path in ["/livez", "/report", "/metrics"] {
        assert_eq!(asked(&server, &client, path).as_deref(), Some("200"), "{path}");
    }
    assert!(over_tls(&server, &client, "/").unwrap().contains("\r\nx-frame-options: deny\r\n"));
    for garbage in ["GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}garbage", "\r\n\r\n\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(garbage.as_bytes()).unwrap();
        _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer);
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{garbage:?}");
    }
    assert_eq!(asked(&server, &Place::new().client(None), "/livez"), None, "whom the client does not trust");
}

#[test]
fn versions_are_those_that_are_wanted() {
    let place = Place::new();
    let [old, new] = [&version::TLS12, &version::TLS13].map(|version| place.client_of(None, &[version]));
    for (rest, wanted) in [
        ("", (true, true)),
        ("  min_version: TLS13\n", (false, true)),
        ("  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n", (true, false)),
        ("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n", (false, true)),
        ("  curve_preferences: [CurveP384]\n", (true, true)),
    ] {
        let server = place.serving(rest);
        let served = [&old, &new].map(|client| asked(&server, client, "/livez").is_some());
        assert_eq!((served[0], served[1]), wanted, "{rest}");
    }
}

#[test]
fn each_policy_lets_in_those_that_it_should() {
    let (place, foreign) = (Place::new(), Authority::new());
    let clients = [
        None,
        Some(place.ca.issue("client.test")),
        Some(foreign.issue("client.test")),
        Some(place.ca.issue_expired("client.test")),
        Some(place.ca.issue_v1("client.test")),
    ]
    .map(|own| place.client(own.as_ref()));
    for (policy, wanted) in [
        ("NoClientCert", [true, true, true, true, true]),
        ("RequestClientCert", [true, true, true, true, false]),
        ("RequireAnyClientCert", [false, true, true, true, false]),
        ("VerifyClientCertIfGiven\n  client_ca_file: ca.crt", [true, true, false, false, false]),
        ("RequireAndVerifyClientCert\n  client_ca_file: ca.crt", [false, true, false, false, false]),
    ] {
        let server = place.serving(&format!("  client_auth_type: {policy}\n"));
        let served = clients.each_ref().map(|client| asked(&server, client, "/report").is_some());
        assert_eq!(served, wanted, "{policy}: none, good, foreign, expired, version 1");
    }
}

#[test]
fn a_name_that_is_not_allowed_sees_health_and_nothing_else() {
    let place = Place::new();
    let server = place.serving(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: [prometheus.test]\n",
    );
    let [good, other] = ["prometheus.test", "other.test"].map(|name| place.client(Some(&place.ca.issue(name))));
    assert_eq!(asked(&server, &good, "/metrics").as_deref(), Some("200"));
    for (path, wanted) in [("/metrics", "403"), ("/report", "403"), ("/nothing", "403"), ("/livez", "200")] {
        assert_eq!(asked(&server, &other, path).as_deref(), Some(wanted), "{path}");
    }
}

#[test]
fn who_is_connected_is_served_while_certificates_turn() {
    let place = Place::new();
    let server = place.serving("");
    let client = place.client(None);
    let turns = thread::scope(|scope| {
        let asking = scope.spawn(|| (0..40).all(|_| asked(&server, &client, "/report").as_deref() == Some("200")));
        let mut turns = 0;
        while !asking.is_finished() {
            place.ca.issue("mtuscope.test").write(place.path(), "tls");
            server.surface.send_replace(place.surface(""));
            turns += 1;
        }
        assert!(asking.join().unwrap(), "every one of them");
        turns
    });
    assert!(turns > 1, "{turns}");
}

fn basic(user: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(user))
}

/// `alice` and her password, at the least cost.
fn alice() -> String {
    format!("basic_auth_users:\n  alice: {}\n", bcrypt::hash("secret", 4).unwrap())
}

#[test]
fn metrics_have_a_door_of_their_own() {
    let place = Place::new();
    let rest = place.write("web.yaml", &alice());
    let tokens = place.write("tokens", "prometheus-token-1\n\nprometheus-token-2\n");
    let only = |metrics| Web { config_file: Some(rest.clone()), metrics, ..Web::default() };
    let token = "Authorization: Bearer prometheus-token-2\r\n".to_owned();
    let (nobody, user) = (String::new(), basic("alice:secret"));
    let by_token = WebMetrics { bearer_token_files: vec![tokens], ..WebMetrics::default() };
    let open = WebMetrics { open: true, ..WebMetrics::default() };
    for (metrics, shown, wanted) in [
        (None, &nobody, ["401", "401"]),
        (None, &user, ["200", "200"]),
        (Some(by_token.clone()), &nobody, ["401", "401"]),
        (Some(by_token.clone()), &user, ["401", "200"]),
        (Some(by_token), &token, ["200", "401"]),
        (Some(open), &nobody, ["200", "401"]),
    ] {
        let server = serving();
        server.surface.send_replace(read(&only(metrics)));
        let found = ["/metrics", "/report"].map(|path| status(&request(&server, "GET", path, shown)).to_owned());
        assert_eq!(found, wanted, "{shown}");
        for path in pages::HEALTH {
            assert_eq!(status(&request(&server, "GET", path, "")), "200", "{path} is everybody's");
        }
    }
}

#[test]
fn a_refusal_tells_nothing() {
    let place = Place::new();
    let server = serving();
    server.surface.send_replace(read(&Web { config_file: Some(place.write("web.yaml", &alice())), ..Web::default() }));
    let refused = request(&server, "GET", "/report", "");
    assert!(refused.contains("\r\nwww-authenticate: Basic realm=\"mtuscope\", charset=\"UTF-8\"\r\n"), "{refused}");
    let without_date =
        |answer: &str| answer.lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n");
    for (path, shown) in [
        ("/report", basic("alice:wrong")),
        ("/report", basic("nobody:secret")),
        ("/nothing", basic("alice:wrong")),
        ("/transfer", String::new()),
        ("/report", "Authorization: Bearer secret\r\n".into()),
        ("/report", format!("{}{}", basic("alice:secret"), basic("alice:secret"))),
        ("//livez", String::new()),
        ("/livez/../report", String::new()),
        ("/metrics/", String::new()),
    ] {
        let answer = request(&server, "GET", path, &shown);
        assert_eq!(without_date(&answer), without_date(&refused), "{path} {shown}");
    }
    assert_eq!(status(&request(&server, "GET", "/nothing", &basic("alice:secret"))), "404");
    assert_eq!(status(&send(&server, "GET http://livez/report HTTP/1.1\r\nHost: livez\r\n\r\n")), "401");
}

#[test]
fn what_is_wrong_with_the_files_is_told_at_once() {
    let place = Place::new();
    let web = Web {
        config_file: Some(place.write(
            "web.yaml",
            "tls_server_config: { cert_file: none.crt, key_file: ca.crt, client_auth_type: RequireAndVerifyClientCert, client_ca_file: tls.key }\n",
        )),
        bearer_token_files: vec![place.write("tokens", "long-enough-it-is\nshort\nwith spaces in it\n"), place.write("none", "\n")],
        metrics: Some(WebMetrics { config_file: Some(place.write("metrics.yaml", "http_server_config: {}\n")), ..WebMetrics::default() }),
        health_listen: None,
    };
    let told = problems(&web);
    for wanted in [
        "web.yaml: tls_server_config.cert_file: ",
        "none.crt: cannot be read: No such file",
        "web.yaml: tls_server_config.key_file: ",
        "ca.crt: holds no private key",
        "web.yaml: tls_server_config.client_ca_file: ",
        "tls.key: holds no certificate",
        "tokens:2: is no token",
        "tokens:3: is no token",
        "none: holds no token",
        "metrics.yaml: only basic_auth_users can differ for /metrics",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    assert!(!told.contains("with spaces") && told.lines().count() == 7, "{told}");
    let open = place.write("metrics.yaml", "basic_auth_users: {}\n");
    let metrics = Some(WebMetrics { config_file: Some(open), ..WebMetrics::default() });
    assert!(problems(&Web { metrics, ..Web::default() }).contains("say web.metrics.open: true"));
    place.ca.issue("mtuscope.test").write(place.path(), "other");
    let text = "tls_server_config: { cert_file: tls.crt, key_file: other.key }\n";
    let mixed = problems(&Web { config_file: Some(place.write("web.yaml", text)), ..Web::default() });
    assert!(mixed.contains("cert_file and key_file: keys may not be consistent"), "{mixed}");
}

fn run(program: &str, place: &Place, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    let output = command.current_dir(place.path()).env_clear().args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; .ci/packages installs it"))
}

#[test]
fn promtool_takes_what_is_taken_here() {
    let place = Place::new();
    let readme = include_str!("../../../../../README.md");
    let example = readme.split("```").find_map(|block| block.strip_prefix("yaml\n# web.yaml\n"));
    for text in [include_str!("../../../config/web_file/whole.yaml"), example.expect("README has an example")] {
        place.write("web.yaml", text);
        let checked = run("promtool", &place, &["check", "web-config", "web.yaml"]);
        assert!(checked.status.success(), "{checked:?}");
        read(&Web { config_file: Some(place.path().join("web.yaml")), ..Web::default() });
    }
    place.write("web.yaml", "tls_server_config: { cert_file: none }\n");
    assert!(!run("promtool", &place, &["check", "web-config", "web.yaml"]).status.success(), "or it looks at nothing");
}

#[test]
fn curl_is_served() {
    let place = Place::new();
    let users = bcrypt::hash("secret", 4).unwrap();
    let server = place.serving(&format!(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\nbasic_auth_users:\n  alice: {users}\n"
    ));
    place.ca.issue("client.test").write(place.path(), "client");
    let port = server.address.port();
    let (resolve, url) = (format!("mtuscope.test:{port}:127.0.0.1"), format!("https://mtuscope.test:{port}/report"));
    let curl = |more: &[&str]| {
        let always = [
            "--silent",
            "--noproxy",
            "*",
            "--cacert",
            "ca.crt",
            "--resolve",
            &resolve,
            "--write-out",
            "%{http_code}",
            "--output",
            "answer",
        ];
        let output = run("curl", &place, &[&always[..], more, &[&url]].concat());
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let own = ["--cert", "client.crt", "--key", "client.key"];
    assert_eq!(curl(&[&own[..], &["--user", "alice:secret"]].concat()), (true, "200".into()));
    assert_eq!(curl(&[&own[..], &["--user", "alice:guess"]].concat()), (true, "401".into()));
    assert_eq!(curl(&["--user", "alice:secret"]), (false, "000".into()));
}
