//! The server's side of TLS, as a web configuration wants it.
//!
//! Nothing of a session is kept for later: connections are few, and who was let in under an authority that has been
//! replaced since has to show a certificate again.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{self, CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, IpAddr as SanAddress, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    SupportedCipherSuite, version,
};
use webpki::EndEntityCert;

use crate::config::files::Files;
use crate::config::web_file::{CURVES, Clients, Pem, SUITES, TlsServer};
use crate::io::pem;

/// A configuration for connections.
///
/// # Errors
/// Every problem of the files that it names.
pub(super) fn server(tls: &TlsServer, files: &mut Files) -> Result<ServerConfig, Vec<String>> {
    let mut problems = Vec::new();
    let mut note = |why: String| problems.push(format!("tls_server_config.{why}"));
    let chain = chain("cert_file", &tls.certificate, files).map_err(&mut note);
    let key = key(&tls.key, files).map_err(&mut note);
    let roots = match &tls.clients {
        Clients::By { ca, .. } => authority(ca, files).map_err(&mut note).map(Some),
        _ => Ok(None),
    };
    if let (Ok(chain), Ok(key), Ok(roots)) = (chain, key, roots) {
        match build(tls, chain, key, roots) {
            Ok(config) => return Ok(config),
            Err(why) => note(format!("cert_file and key_file: {why}")),
        }
    }
    Err(problems)
}

/// Whether one of `names` is in a certificate that has been verified.
pub(super) fn is_made_out_to(certificate: &CertificateDer<'_>, names: &[String]) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
    let mut words = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    let address = |name: &String| {
        SanAddress::try_from(name.as_str())
            .is_ok_and(|address| certificate.verify_is_valid_for_subject_name(&ServerName::IpAddress(address)).is_ok())
    };
    words.any(|word| names.iter().any(|name| name == word)) || names.iter().any(address)
}

fn chain(key: &str, pem: &Pem, files: &mut Files) -> Result<Vec<CertificateDer<'static>>, String> {
    match pem {
        Pem::File(path) => pem::chain(key, path, files),
        Pem::Text(text) => pem::certificates(text).map_err(|why| format!("{}: {why}", key.trim_end_matches("_file"))),
    }
}

fn key(pem: &Pem, files: &mut Files) -> Result<PrivateKeyDer<'static>, String> {
    match pem {
        Pem::File(path) => pem::private_key("key_file", path, files),
        Pem::Text(text) => pem::key_of(text).map_err(|why| format!("key: {why}")),
    }
}

fn authority(ca: &Pem, files: &mut Files) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain("client_ca_file", ca, files)? {
        roots.add(certificate).map_err(|error| format!("client_ca_file: {error}"))?;
    }
    Ok(roots)
}

fn build(
    tls: &TlsServer,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Option<RootCertStore>,
) -> Result<ServerConfig, String> {
    let provider = Arc::new(provider(tls));
    let versions: &[_] = match tls.versions {
        (true, true) => &[&version::TLS13, &version::TLS12],
        (true, false) => &[&version::TLS12],
        (false, _) => &[&version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = match verifier(&tls.clients, roots, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = tls.servers_order;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn verifier(
    clients: &Clients,
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    Ok(match (clients, roots) {
        (Clients::By { optional, .. }, Some(roots)) => {
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let builder = if *optional { builder.allow_unauthenticated() } else { builder };
            Some(builder.build().map_err(|error| error.to_string())?)
        }
        (Clients::Any { optional }, _) => Some(Arc::new(Anybody { optional: *optional, provider })),
        _ => None,
    })
}

/// The suites and curves that are wanted, in their order. Those of TLS 1.3 are all good and cannot be left out.
fn provider(tls: &TlsServer) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !tls.suites.is_empty() {
        let of_13 = ring::ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_some());
        provider.cipher_suites = of_13.copied().chain(tls.suites.iter().filter_map(|name| suite(name))).collect();
    }
    if !tls.curves.is_empty() {
        let [x25519, p256, p384] = [ring::kx_group::X25519, ring::kx_group::SECP256R1, ring::kx_group::SECP384R1];
        let known = CURVES.into_iter().zip([x25519, p256, p384]);
        let group = |curve: &&str| known.clone().find(|(name, _)| name == curve).map(|(_, group)| group);
        provider.kx_groups = tls.curves.iter().filter_map(group).collect();
    }
    provider
}

/// A suite of TLS 1.2 by the name that Go has for it.
fn suite(name: &str) -> Option<SupportedCipherSuite> {
    use ring::cipher_suite::*;
    let suites = [
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    SUITES.into_iter().zip(suites).find(|(known, _)| *known == name).map(|(_, suite)| suite)
}

/// Takes any certificate whose key the client has, which says nothing of who it is.
#[derive(Debug)]
struct Anybody {
    optional: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.optional
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_and_curve_that_can_be_named_is_had() {
        for name in SUITES {
            let suite = suite(name).unwrap().suite();
            assert_eq!(suite.as_str(), Some(name));
        }
        let tls = TlsServer {
            certificate: Pem::Text(String::new()),
            key: Pem::Text(String::new()),
            clients: Clients::Unasked,
            versions: (true, true),
            suites: vec![SUITES[3]],
            curves: vec![CURVES[2], CURVES[0]],
            servers_order: true,
        };
        let provider = provider(&tls);
        assert_eq!(provider.cipher_suites.len(), 4, "three of TLS 1.3, and the one");
        let groups: Vec<_> = provider.kx_groups.iter().map(|group| format!("{:?}", group.name())).collect();
        assert_eq!(groups, ["secp384r1", "X25519"]);
    }

    #[test]
    fn a_certificate_is_held_against_names_addresses_and_uris() {
        use rcgen::{CertificateParams, KeyPair, SanType};
        let mut params = CertificateParams::new(vec!["a.test".into(), "*.b.test".into(), "10.0.0.12".into()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://c/ns/d".try_into().unwrap()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        for (name, wanted) in [
            ("a.test", true),
            ("10.0.0.12", true),
            ("spiffe://c/ns/d", true),
            ("x.b.test", false),
            ("10.0.0.13", false),
            ("spiffe://c/ns", false),
            ("test", false),
        ] {
            assert_eq!(is_made_out_to(certificate.der(), &[name.to_owned()]), wanted, "{name}");
        }
        assert!(!is_made_out_to(certificate.der(), &[]));
    }
}
