//! Certificates for tests, made when they run.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SigningKey};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// A certificate for that name.
    pub(crate) fn issue(&self, name: &str) -> Issued {
        self.issue_with(name, |_| ())
    }

    pub(crate) fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let certificate: Certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { certificate: certificate.der().clone(), key }
    }

    /// One that has expired.
    pub(crate) fn issue_expired(&self, name: &str) -> Issued {
        self.issue_with(name, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    }

    /// One as X.509 had them before there were extensions (version 1): the version and the extensions are cut out, and what
    /// is left is signed anew.
    pub(crate) fn issue_v1(&self, name: &str) -> Issued {
        let Issued { certificate, key } = self.issue(name);
        let all = fields(&certificate);
        let [to_be_signed, algorithm, _] = all[..] else { panic!("a certificate has three fields") };
        let kept = fields(to_be_signed).into_iter().filter(|field| ![0xa0, 0xa3].contains(&field[0]));
        let to_be_signed = tagged(0x30, &kept.collect::<Vec<_>>().concat());
        let signature = [vec![0], self.0.key().sign(&to_be_signed).unwrap()].concat();
        let certificate = tagged(0x30, &[&to_be_signed, algorithm, &tagged(0x03, &signature)].concat());
        Issued { certificate: certificate.into(), key }
    }
}

impl Issued {
    /// Writes `NAME.crt` and `NAME.key`.
    pub(crate) fn write(&self, directory: &Path, name: &str) -> [PathBuf; 2] {
        let paths = ["crt", "key"].map(|kind| directory.join(format!("{name}.{kind}")));
        fs::write(&paths[0], pem(&self.certificate)).unwrap();
        fs::write(&paths[1], self.key.serialize_pem()).unwrap();
        paths
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// The fields of a DER value, each with its head.
fn fields(der: &[u8]) -> Vec<&[u8]> {
    let (mut fields, mut rest) = (Vec::new(), content(der));
    while !rest.is_empty() {
        let (field, others) = rest.split_at(rest.len() - after(rest).len());
        fields.push(field);
        rest = others;
    }
    fields
}

/// How long the head is, and what it announces.
fn head(der: &[u8]) -> (usize, usize) {
    match der[1] {
        short @ 0..0x80 => (2, short.into()),
        long => {
            let bytes = usize::from(long & 0x7f);
            (2 + bytes, der[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    }
}

fn content(der: &[u8]) -> &[u8] {
    let (head, length) = head(der);
    &der[head..head + length]
}

fn after(der: &[u8]) -> &[u8] {
    let (head, length) = head(der);
    &der[head + length..]
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len() as u16;
    [&[tag, 0x82], &length.to_be_bytes()[..], content].concat()
}
