//! Whom this agent trusts among others, and what it shows of itself.
//!
//! There is no way to take any certificate: whoever cannot be told from another must not be sent a token. Nor are the
//! machine's own authorities asked; agents' certificates are of the cluster, and every public authority would be one more
//! to speak for a node.
//!
//! Agents are called by their addresses, which a certificate for all of them cannot name. `server_name` is what they are
//! made out to instead; where it is not given, the address itself has to be in the certificate.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};

use crate::config::files::Files;
use crate::config::surface::{Agents, AgentsCredentials, AgentsTls};
use crate::io::pem::{chain, private_key, roots, secret};

/// How other agents are spoken to. A clone is as good as the first; two that were read apart are not the same.
#[derive(Clone, Default)]
pub struct Terms(Option<Arc<Inner>>);

struct Inner {
    tls: Option<Tls>,
    authorization: Option<HeaderValue>,
}

/// TLS towards other agents.
#[derive(Clone)]
pub(in crate::io) struct Tls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Tls {
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    pub(super) fn name_of(&self, to: SocketAddr) -> ServerName<'static> {
        self.name.clone().unwrap_or_else(|| ServerName::IpAddress(to.ip().to_canonical().into()))
    }
}

impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Terms {}

/// Secrets are not shown.
impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shows = self.authorization().is_some();
        f.debug_struct("Terms").field("tls", &self.tls().is_some()).field("credentials", &shows).finish()
    }
}

impl Terms {
    /// Terms by the configuration, with what its files hold.
    ///
    /// # Errors
    /// Every problem, with key and file.
    pub fn read(agents: &Agents, files: &mut Files) -> Result<Self, Vec<String>> {
        if *agents == Agents::default() {
            return Ok(Self::default());
        }
        let mut problems = Vec::new();
        let mut note = |problem: String| problems.push(problem);
        let tls = agents.tls.as_ref().and_then(|tls| read_tls(tls, files, &mut note));
        let shown = agents.credentials.as_ref().map(|shown| header(shown, files)).transpose();
        let authorization = shown.map_err(&mut note).ok().flatten();
        if problems.is_empty() { Ok(Self(Some(Arc::new(Inner { tls, authorization })))) } else { Err(problems) }
    }

    /// Terms for a server that is named by a URL. Over `https` its certificate has to be made out to `host`, unless the
    /// configuration says another name. Over `http`, what the configuration has for TLS alone is not shown to anybody.
    ///
    /// # Errors
    /// If `https` is wanted and nobody is trusted.
    pub fn towards(&self, https: bool, host: &str) -> Result<Self, String> {
        let Some(tls) = self.tls() else {
            return match https {
                true => Err("https needs agents.tls.ca_file in the configuration: whose certificates to trust".into()),
                false => Ok(self.clone()),
            };
        };
        if !https {
            return Ok(Self::default());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let own = || ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is no name for a server"));
        let name = tls.name.clone().map_or_else(own, Ok)?;
        let tls = Some(Tls { config: tls.config(), name: Some(name) });
        Ok(Self(Some(Arc::new(Inner { tls, authorization: self.authorization().cloned() }))))
    }

    /// Whether calls go over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls().is_some()
    }

    /// Whether a token or a password is shown where anybody on the way can read it.
    pub fn shows_in_the_clear(&self) -> bool {
        self.authorization().is_some() && !self.is_tls()
    }

    pub(in crate::io) fn tls(&self) -> Option<&Tls> {
        self.0.as_ref()?.tls.as_ref()
    }

    /// The value of the header that says who this is.
    pub(in crate::io) fn authorization(&self) -> Option<&HeaderValue> {
        self.0.as_ref()?.authorization.as_ref()
    }
}

fn read_tls(tls: &AgentsTls, files: &mut Files, note: &mut impl FnMut(String)) -> Option<Tls> {
    let roots = roots("agents.tls.ca_file", &tls.ca_file, files).map_err(&mut *note).ok();
    let own = match &tls.certificate {
        None => Some(None),
        Some((certificate, key)) => {
            let chain = chain("agents.tls.cert_file", certificate, files).map_err(&mut *note).ok();
            let key = private_key("agents.tls.key_file", key, files).map_err(&mut *note).ok();
            chain.zip(key).map(Some)
        }
    };
    let name = tls.server_name.clone().and_then(|name| ServerName::try_from(name).ok());
    let config = client(roots?, own?).map_err(|error| note(format!("agents.tls: {error}"))).ok()?;
    Some(Tls { config: Arc::new(config), name })
}

fn client(
    roots: RootCertStore,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Agents share a name and not their sessions.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn header(credentials: &AgentsCredentials, files: &mut Files) -> Result<HeaderValue, String> {
    let text = match credentials {
        AgentsCredentials::Token(path) => {
            format!("Bearer {}", secret("agents.bearer_token_file", path, files)?)
        }
        AgentsCredentials::User { username, password_file } => {
            let password = secret("agents.basic_auth.password_file", password_file, files)?;
            format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
        }
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| "agents: the token holds what no header can (letters, digits and -._~+/= are good)".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
