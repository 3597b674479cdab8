//! Certificates, keys and secrets out of files. What is wrong is told with the key that names the file, the file, and never
//! what it holds.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::files::Files;

/// Most characters of a token or a password.
pub(crate) const SECRET: usize = 4096;

/// The authorities in a file, all of them good.
pub(crate) fn roots(key: &str, path: &Path, files: &mut Files) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(key, path, files)? {
        roots.add(certificate).map_err(|error| format!("{key}: {}: {error}", path.display()))?;
    }
    Ok(roots)
}

/// The certificates in a file, at least one.
pub(crate) fn chain(key: &str, path: &Path, files: &mut Files) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = files.text(path).map_err(|why| format!("{key}: {why}"))?;
    certificates(pem).map_err(|why| format!("{key}: {}: {why}", path.display()))
}

/// The certificates of PEM text, at least one.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if all.is_empty() => Err("holds no certificate (PEM, -----BEGIN CERTIFICATE-----)".into()),
        Ok(all) => Ok(all),
        Err(_) => Err("is no whole PEM".into()),
    }
}

/// The private key in a file.
pub(crate) fn private_key(key: &str, path: &Path, files: &mut Files) -> Result<PrivateKeyDer<'static>, String> {
    let pem = files.text(path).map_err(|why| format!("{key}: {why}"))?;
    key_of(pem).map_err(|why| format!("{key}: {}: {why}", path.display()))
}

/// The private key of PEM text.
pub(crate) fn key_of(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "holds no private key (PEM, -----BEGIN PRIVATE KEY-----, not encrypted)".into())
}

/// The only line of a file, without what ends it.
pub(crate) fn secret<'f>(key: &str, path: &Path, files: &'f mut Files) -> Result<&'f str, String> {
    let text = files.text(path).map_err(|why| format!("{key}: {why}"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.len() > SECRET || line.contains(char::is_control) {
        return Err(format!("{key}: {} must hold one line of 1 to {SECRET} characters", path.display()));
    }
    Ok(line)
}
