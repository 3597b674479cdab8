//! Where the API server is, whom to trust there, and who is asking.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use probes::fact::{Reason, Source, Unread};
use tower::BoxError;
use tower::util::MapErrLayer;

use super::words;
use crate::config::Kubernetes;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// After how long without a word the other end's kernel is asked whether it is there; then every half of that.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How often it is asked before the connection is taken for dead.
const KEEP_ALIVE_TRIES: u32 = 3;

/// What the kubelet gives a pod to reach the API with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The directory of the service account's token, authority and namespace.
    pub account: PathBuf,
    /// `KUBERNETES_SERVICE_HOST`.
    pub host: Option<String>,
    /// `KUBERNETES_SERVICE_PORT`.
    pub port: Option<String>,
    /// `POD_NAMESPACE`, which manifests set from the downward API.
    pub namespace: Option<String>,
}

impl Pod {
    /// What this process was given.
    pub fn here() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        Self {
            account: "/var/run/secrets/kubernetes.io/serviceaccount".into(),
            host: variable("KUBERNETES_SERVICE_HOST"),
            port: variable("KUBERNETES_SERVICE_PORT"),
            namespace: variable("POD_NAMESPACE"),
        }
    }

    /// What a pod reaches the API with, and the namespace that it is in.
    fn config(&self) -> Result<(Config, Option<String>), Unread> {
        let Some(host) = &self.host else {
            return Err(failed(
                "finding the API server: KUBERNETES_SERVICE_HOST is not set, as it is in a pod; outside of one, set \
                 peers.kubernetes.kubeconfig",
            ));
        };
        let port = self.port.as_deref().unwrap_or("443");
        let literal = host.parse::<IpAddr>();
        let authority = match literal {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        let url = format!("https://{authority}").parse().map_err(|error| {
            failed(format!("KUBERNETES_SERVICE_HOST and _PORT ({authority}) make no address: {error}"))
        })?;
        let mut config = Config::new(url);
        // Read here only to say what is wrong; the client reads it again, now and whenever it has rotated.
        read(&self.account.join("token"))?;
        let authority = self.account.join("ca.crt");
        read(&authority)?;
        config.auth_info.token_file = Some(self.account.join("token").display().to_string());
        config.root_cert_file = Some(authority);
        let namespace = fs::read_to_string(self.account.join("namespace")).ok().map(|name| name.trim().to_owned());
        Ok((config, namespace.filter(|name| !name.is_empty())))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Unread> {
    fs::read(path).map_err(|error| {
        failed(format!(
            "reading {}: {error}; check that the pod has a service account whose token is mounted \
             (automountServiceAccountToken)",
            path.display()
        ))
    })
}

fn failed(what: impl Into<String>) -> Unread {
    Unread::new(Source::Kubernetes, Reason::Failed { what: what.into() })
}

/// A server that can be asked.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) client: Client,
    /// Where it is, as a URL.
    pub(super) address: String,
    pub(super) namespace: String,
}

impl Server {
    /// By the kubeconfig that is named, else as a pod does.
    pub(super) async fn find(wanted: &Kubernetes, pod: &Pod) -> Result<Self, Unread> {
        let (config, own) = match &wanted.kubeconfig {
            Some(path) => by_file(path).await?,
            None => pod.config()?,
        };
        let namespace = wanted.namespace.clone().or_else(|| pod.namespace.clone()).or(own).ok_or_else(|| {
            failed(format!(
                "finding the namespace: neither peers.kubernetes.namespace nor POD_NAMESPACE is set, and there is no {}",
                pod.account.join("namespace").display()
            ))
        })?;
        let address = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = client(&config).map_err(|error| {
            failed(format!("preparing to ask {address}: {}; check its certificates and token", words::chain(&error)))
        })?;
        Ok(Self { client, address, namespace })
    }
}

async fn by_file(path: &Path) -> Result<(Config, Option<String>), Unread> {
    let named = |error: &KubeconfigError| {
        // What the parser found may be a token: of a file of another kind nothing is said.
        let why = match error {
            KubeconfigError::Parse(_) => "it is no kubeconfig: YAML with clusters, users and contexts".to_owned(),
            error => words::chain(error),
        };
        failed(format!("reading the kubeconfig {}: {why}", path.display()))
    };
    let read = Kubeconfig::read_from(path).map_err(|error| named(&error))?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(read, &options).await.map_err(|error| named(&error))?;
    if config.proxy_url.is_some() {
        return Err(failed(format!("the kubeconfig {} names a proxy; none is supported", path.display())));
    }
    let namespace = config.default_namespace.clone();
    Ok((config, Some(namespace)))
}

/// A client that tries each request once – waiting is decided elsewhere – and notices when the other end is gone.
fn client(config: &Config) -> kube::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(KEEP_ALIVE / 2));
    tcp.set_keepalive_retries(Some(KEEP_ALIVE_TRIES));
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let http = Http::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build::<_, Body>(tls);
    let client = ClientBuilder::new(http, config.default_namespace.clone())
        .with_layer(&MapErrLayer::new(BoxError::from))
        .with_layer(&config.base_uri_layer());
    Ok(match config.auth_layer()? {
        Some(layer) => client.with_layer(&layer).build(),
        None => client.build(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_where_a_kubeconfig_should_be_is_not_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "eyJhbGciOiJSUzI1NiJ9.secret").unwrap();
        let told = by_file(&path).await.unwrap_err().to_string();
        assert!(told.contains("token: it is no kubeconfig") && !told.contains("eyJ"), "{told}");
        let told = by_file(&directory.path().join("none")).await.unwrap_err().to_string();
        assert!(told.contains("No such file"), "{told}");
    }
}
