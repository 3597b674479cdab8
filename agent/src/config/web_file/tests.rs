use insta::assert_snapshot;

use super::*;

fn problems(text: &str) -> String {
    match parse(Path::new("/etc/web.yaml"), text) {
        Ok(_) => panic!("a problem: {text}"),
        Err(problems) => problems.join("\n"),
    }
}

#[test]
fn every_problem_is_told_at_once_and_no_secret() {
    let told = problems(include_str!("every_problem.yaml"));
    assert!(!told.contains("my-secret") && !told.contains("X0h1gDs"), "{told}");
    assert_snapshot!(told);
}

#[test]
fn what_looks_safe_and_is_not_is_refused() {
    let with = |rest: &str| format!("tls_server_config:\n  cert_file: a\n  key_file: b\n{rest}");
    for (rest, wanted) in [
        ("  client_ca_file: c\n", "with client_auth_type NoClientCert nobody asks it"),
        ("  client_auth_type: RequireAnyClientCert\n  client_ca_file: c\n", "nobody asks it"),
        ("  client_auth_type: RequireAndVerifyClientCert\n", "needs client_ca_file"),
        ("  client_auth_type: VerifyClientCertIfGiven\n", "needs client_ca_file"),
        ("  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [a]\n", "anybody can claim a name"),
        ("  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: c\n  client_allowed_sans: [a]\n", "or none"),
        ("  client_auth_type: RequireClientcert\n  client_ca_file: c\n", "must be one of NoClientCert, "),
        ("  min_version: TLS10\n", "TLS 1.0 and 1.1 are broken"),
        ("  max_version: TLS11\n", "TLS 1.0 and 1.1 are broken"),
    ] {
        let told = problems(&with(rest));
        assert!(told.contains(wanted) && told.lines().count() == 1, "{rest}: {told}");
    }
    assert!(problems("tls_server_config: { min_version: TLS12 }").contains("needs cert_file (or cert)"));
}

#[test]
fn what_is_left_out_is_as_the_format_has_it() {
    let file = parse(Path::new("/etc/m/web.yaml"), "tls_server_config: { cert_file: tls.crt, key_file: /k/tls.key }\n");
    let Ok(WebFile { tls: Some(tls), headers, users, more_than_users: true }) = file else { panic!("TLS") };
    assert!(matches!(tls.certificate, Pem::File(path) if path == Path::new("/etc/m/tls.crt")));
    assert!(matches!(tls.key, Pem::File(path) if path == Path::new("/k/tls.key")));
    assert!(matches!(tls.clients, Clients::Unasked) && tls.servers_order);
    assert_eq!((tls.versions, tls.suites.len(), tls.curves.len()), ((true, true), 0, 0));
    assert!(headers.is_empty() && users.is_empty());
    for empty in ["", "{}\n", "tls_server_config: {}\nbasic_auth_users: {}\n", "tls_server_config:\n"] {
        let file = parse(Path::new("/etc/web.yaml"), empty);
        assert!(file.is_ok_and(|file| file.tls.is_none() && file.users.is_empty()), "{empty}");
    }
}

#[test]
fn all_of_it_arrives() {
    let text = include_str!("whole.yaml");
    let Ok(file) = parse(Path::new("/etc/mtuscope/web.yaml"), text) else { panic!("it is good") };
    let tls = file.tls.unwrap();
    let Clients::By { optional: false, ca: Pem::File(ca), names } = tls.clients else { panic!("an authority") };
    assert_eq!((ca.to_str(), names.len()), (Some("/etc/mtuscope/ca.crt"), 0));
    assert_eq!(tls.versions, (false, true));
    assert_eq!((tls.suites, tls.curves), (vec![SUITES[1]], vec!["X25519", "CurveP256"]));
    assert!(!tls.servers_order);
    let headers: Vec<_> = file.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(
        headers,
        [
            ("content-security-policy", "default-src 'none'"),
            ("x-frame-options", "deny"),
            ("strict-transport-security", "max-age=31536000")
        ]
    );
    assert_eq!(file.users[0].0, "prometheus");
}

#[test]
fn the_kinds_of_client_are_told_apart() {
    for (policy, ca, wanted) in [
        ("NoClientCert", "", (false, false, false)),
        ("RequestClientCert", "", (true, true, false)),
        ("RequireAnyClientCert", "", (true, false, false)),
        ("RequireClientCert", "", (true, false, false)),
        ("VerifyClientCertIfGiven", ", client_ca_file: c", (true, true, true)),
        ("RequireAndVerifyClientCert", ", client_ca_file: c", (true, false, true)),
    ] {
        let text = format!("tls_server_config: {{ cert_file: a, key_file: b, client_auth_type: {policy}{ca} }}");
        let Ok(WebFile { tls: Some(tls), .. }) = parse(Path::new("/web.yaml"), &text) else { panic!("{policy}") };
        let found = match tls.clients {
            Clients::Unasked => (false, false, false),
            Clients::Any { optional } => (true, optional, false),
            Clients::By { optional, .. } => (true, optional, true),
        };
        assert_eq!(found, wanted, "{policy}");
    }
}
