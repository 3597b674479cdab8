//! A control plane for a cluster: an API server that every node and pod reaches, and agents that ask it.
//!
//! It stands where the default route leads, on the management network, and serves TLS to who shows the token. Pods reach
//! it, and the nodes, as they do with Calico and Flannel: under the address of their own node (`natOutgoing`, `ip-masq`).
//! What the API lists of a cluster is written as its own controller writes it: a slice for each of the two Services.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::api::{Api, Endpoint, NODES, PODS, Slice};
use crate::cluster::Cluster;
use crate::family::Family;
use crate::namespace::Namespace;
use crate::service::{self, Service};
use crate::{Error, Result};

/// Where the API server listens.
const PORT: u16 = 6443;

/// The token of the kubeconfig.
pub const TOKEN: &str = "lab";

/// A control plane. It ends with this value.
#[derive(Debug)]
pub struct Control<'c> {
    /// The server.
    pub api: Api,
    cluster: &'c Cluster,
    kubeconfig: PathBuf,
    _directory: TempDir,
}

/// What the API lists: an endpoint for each node's agent, and one for each twin.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Of the agents on nodes.
    pub nodes: Vec<Endpoint>,
    /// Of their twins in pods.
    pub pods: Vec<Endpoint>,
}

impl Listed {
    /// The endpoints of a node, of both kinds.
    pub fn of<'l>(&'l mut self, node: &'l str) -> impl Iterator<Item = &'l mut Endpoint> {
        self.nodes.iter_mut().chain(&mut self.pods).filter(move |endpoint| endpoint.node.as_deref() == Some(node))
    }

    /// Without a node.
    #[must_use]
    pub fn without(mut self, node: &str) -> Self {
        for endpoints in [&mut self.nodes, &mut self.pods] {
            endpoints.retain(|endpoint| endpoint.node.as_deref() != Some(node));
        }
        self
    }
}

/// Every node's agent at the address that `of` it the kubelet reports, and every twin in its pod.
///
/// # Errors
/// If there is no pod network.
pub fn listed(cluster: &Cluster, of: impl Fn(usize) -> IpAddr) -> Result<Listed> {
    let overlay = cluster.overlay()?;
    let names = cluster.recipe.nodes.iter().enumerate();
    let nodes = names.clone().map(|(node, name)| Endpoint::new(name, &of(node).to_string())).collect();
    let pods = names.map(|(node, name)| Endpoint::new(name, &overlay.pod_address(node).to_string())).collect();
    Ok(Listed { nodes, pods })
}

impl<'c> Control<'c> {
    /// Starts the server. It lists nobody yet.
    ///
    /// # Errors
    /// If it cannot listen, or pods cannot be led there.
    pub fn start(cluster: &'c Cluster) -> Result<Self> {
        let failed = |error: std::io::Error| Error::new("starting the control plane", error);
        let address = SocketAddr::new(cluster.recipe.management_gateway(Family::V4), PORT);
        let listener = cluster.switch.inside(|| TcpListener::bind(address))?.map_err(failed)?;
        let api = Api::start_tls(listener, &[&address.ip().to_string()])?;
        api.accept_tokens(&[TOKEN]);
        let directory = tempfile::tempdir_in("/run").map_err(failed)?;
        let kubeconfig = api.kubeconfig(directory.path(), None)?;
        let control = Self { api, cluster, kubeconfig, _directory: directory };
        (0..cluster.nodes.len()).try_for_each(|node| control.masquerade(node))?;
        Ok(control)
    }

    fn masquerade(&self, node: usize) -> Result<()> {
        let [first, second] = self.cluster.overlay()?.network;
        let pods = format!("{first}.{second}.0.0/16");
        let rules = format!(
            "table ip outgoing {{ chain pods {{ type nat hook postrouting priority 100; \
             ip saddr {pods} ip daddr != {pods} masquerade; }}; }}\n"
        );
        self.cluster.host(node).feed("nft", &["-f", "-"], &rules)
    }

    /// The file by which agents find the server.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Lists these, and nothing else.
    pub fn list(&self, listed: &Listed) {
        let slice = |service: &str, endpoints: &[Endpoint]| {
            let all = endpoints.iter().cloned();
            all.fold(Slice::new(&format!("{service}-x7k2p"), service), Slice::with)
        };
        self.api.put_all([slice(NODES, &listed.nodes), slice(PODS, &listed.pods)]);
    }

    /// Starts a node's agent, which knows nobody but by its tables and the API.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn agent(&self, node: usize) -> Result<Service<'c>> {
        let root = self.cluster.files(node).root();
        let text = self.configuration(node, &format!("host_root: {}\n", root.display()), true);
        Service::launch_in(self.cluster.host(node), &text)
    }

    /// Starts a node's agent as a pod's, which finds the server by its environment and the account mounted, and waits until
    /// it is ready.
    ///
    /// # Errors
    /// If it cannot be started, or does not become ready.
    pub fn agent_of_pod(&self, node: usize) -> Result<Service<'c>> {
        let (host, name) = (self.cluster.host(node), self.cluster.recipe.nodes[node]);
        let mut command = service::mtuscope(host)?;
        let (address, port) = (self.api.address().ip().to_string(), self.api.address().port().to_string());
        command.env("KUBERNETES_SERVICE_HOST", address).env("KUBERNETES_SERVICE_PORT", port).env("NODE_NAME", name);
        let root = self.cluster.files(node).root();
        let peers = "peers: { kernel: true, kubernetes: true }\n";
        Service::start_in(host, command, &format!("host_root: {}\n{peers}{}", root.display(), service::PROBING))
    }

    /// Starts a node's twin in its pod, which knows nobody but by the API.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn twin(&self, node: usize) -> Result<Service<'c>> {
        let text = self.configuration(node, "vantage: pod\n", false);
        Service::launch_in(self.pod(node)?, &text)
    }

    /// The pod of a node.
    ///
    /// # Errors
    /// If there is no pod network.
    pub fn pod(&self, node: usize) -> Result<&'c Namespace> {
        self.cluster.nodes[node].pod.as_ref().ok_or_else(|| Error::new("looking for a pod", "the recipe has none"))
    }

    fn configuration(&self, node: usize, more: &str, kernel: bool) -> String {
        let mut text = format!("node: {}\n{more}", self.cluster.recipe.nodes[node]);
        let kubeconfig = self.kubeconfig.display();
        let _ = writeln!(text, "peers: {{ kernel: {kernel}, kubernetes: {{ kubeconfig: {kubeconfig} }} }}");
        text + service::PROBING
    }
}
