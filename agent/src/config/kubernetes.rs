//! `peers.kubernetes`: whether peers come from the Kubernetes API too, and which Services name them.

use std::path::{Path, PathBuf};

use probes::peers::announced::slices::Services;

use super::reader::{Reader, Section};
use super::tree::Value;

/// The Service of the agents on nodes, as the manifests name it.
const NODES: &str = "mtuscope";

/// The Service of their twins in pods.
const PODS: &str = "mtuscope-pod";

/// Longest name of a Service or namespace: a DNS label (RFC 1123).
const LABEL: usize = 63;

/// Where and what to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// The Services' namespace; without it, that of the pod.
    pub namespace: Option<String>,
    /// The Services.
    pub services: Services,
    /// How to reach the API; without it, as a pod does.
    pub kubeconfig: Option<PathBuf>,
}

impl Default for Kubernetes {
    fn default() -> Self {
        let services = Services { nodes: NODES.into(), pods: PODS.into() };
        Self { namespace: None, services, kubeconfig: None }
    }
}

/// Takes the key out of the section `peers`.
pub(super) fn kubernetes(reader: &mut Reader<'_>, peers: &Section<'_>) -> Option<Kubernetes> {
    let node = peers.find("kubernetes")?;
    let wanted = match &node.value {
        Value::Empty => None,
        Value::Map(_) => {
            let keys = ["namespace", "node_service", "pod_service", "kubeconfig"];
            let section = reader.section("peers.kubernetes", Some(node), &keys);
            Some(settings(reader, &section))
        }
        _ => reader
            .flag_or(peers, "kubernetes", "true, false or a map of keys")
            .filter(|on| *on)
            .map(|_| Kubernetes::default()),
    };
    if wanted.is_some() && !cfg!(feature = "kubernetes") {
        reader.refuse(node.at, "peers.kubernetes: this program was built without the Kubernetes client".into());
    }
    wanted
}

fn settings(reader: &mut Reader<'_>, section: &Section<'_>) -> Kubernetes {
    let mut settings = Kubernetes::default();
    let mut name = |key: &str, what: &str| reader.parsed(section, key, what, label);
    settings.namespace = name("namespace", "a namespace such as kube-system");
    if let Some(service) = name("node_service", "the name of a Service") {
        settings.services.nodes = service;
    }
    if let Some(service) = name("pod_service", "the name of a Service") {
        settings.services.pods = service;
    }
    settings.kubeconfig = reader.parsed(section, "kubeconfig", "an absolute path", absolute);
    let given = section.find("pod_service").or_else(|| section.find("node_service"));
    if let Some(given) = given.filter(|_| settings.services.nodes == settings.services.pods) {
        let what = "peers.kubernetes: node_service and pod_service must differ: the Service tells a node from a pod";
        reader.refuse(given.at, what.into());
    }
    settings
}

fn label(text: &str) -> Option<String> {
    let usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = (1..=LABEL).contains(&text.len()) && text.chars().all(usual);
    (fits && !text.starts_with('-') && !text.ends_with('-')).then(|| text.to_owned())
}

fn absolute(text: &str) -> Option<PathBuf> {
    Path::new(text).is_absolute().then(|| PathBuf::from(text))
}

#[cfg(all(test, feature = "kubernetes"))]
mod tests {
    use super::super::Settings;
    use super::*;

    fn parsed(text: &str) -> Result<Option<Kubernetes>, String> {
        let settings = Settings::parse(&format!("peers:\n  kubernetes: {text}\n"), "here".into());
        let settings =
            settings.map_err(|problems| super::super::ConfigError::new(Path::new("f"), problems).to_string());
        settings.map(|settings| {
            assert_eq!(settings.probes.peers.kubernetes, settings.kubernetes.is_some());
            settings.kubernetes
        })
    }

    #[test]
    fn it_is_off_unless_it_is_asked_for() {
        assert_eq!(parsed("false"), Ok(None));
        assert_eq!(parsed(""), Ok(None));
        assert_eq!(Settings::new("here").kubernetes, None);
    }

    #[test]
    fn true_and_an_empty_map_are_the_defaults() {
        assert_eq!(parsed("true"), Ok(Some(Kubernetes::default())));
        assert_eq!(parsed("{}"), Ok(Some(Kubernetes::default())));
    }

    #[test]
    fn every_key_arrives() {
        let text = "{ namespace: net, node_service: a, pod_service: b, kubeconfig: /etc/kubeconfig }";
        let services = Services { nodes: "a".into(), pods: "b".into() };
        let wanted = Kubernetes { namespace: Some("net".into()), services, kubeconfig: Some("/etc/kubeconfig".into()) };
        assert_eq!(parsed(text), Ok(Some(wanted)));
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let text = "\n    namespace: Kube_System\n    node_service: -a\n    pod_service: 7.b\n    kubeconfig: here\n    name: x";
        assert_eq!(
            parsed(text).unwrap_err(),
            "f:3:16: peers.kubernetes.namespace must be a namespace such as kube-system, found `Kube_System`\n\
             f:4:19: peers.kubernetes.node_service must be the name of a Service, found `-a`\n\
             f:5:18: peers.kubernetes.pod_service must be the name of a Service, found `7.b`\n\
             f:6:17: peers.kubernetes.kubeconfig must be an absolute path, found `here`\n\
             f:7:5: unknown key `name` in peers.kubernetes; allowed: namespace, node_service, pod_service, \
             kubeconfig"
        );
        assert_eq!(
            parsed("yes").unwrap_err(),
            "f:2:15: peers.kubernetes must be true, false or a map of keys, found `yes`"
        );
    }

    #[test]
    fn one_service_cannot_be_both() {
        for text in
            ["{ node_service: x, pod_service: x }", "{ node_service: mtuscope-pod }", "{ pod_service: mtuscope }"]
        {
            assert!(parsed(text).unwrap_err().contains("must differ"), "{text}");
        }
    }
}
