//! A Kubernetes node whose container runtime finds no CNI file.
//!
//! The runtime has no network to give to pods and says so to the kubelet. It looks in one folder, which its own file may
//! name; a file anywhere else, or with another ending, is none. CRI-O may be told to want a network by name: then files
//! of other networks are none to it. A machine that is no Kubernetes node wants none.
//!
//! A file that may not be read is one all the same: hardened nodes keep theirs for root, and containerd takes whatever the
//! first one says. Only CRI-O passes over some for what is in them.

use schemars::JsonSchema;
use serde::Serialize;

use super::cni::{CNI, Looks, look, looks, takes_any, whose};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::remedy::{CniBroken, Fix};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct CniNotConfigured;

/// Where nothing was found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Who looks, and where.
    #[serde(flatten)]
    pub looks: Looks,
    /// Whether there is such a folder.
    pub folder_exists: bool,
    /// A few other names in it, which runtimes pass over.
    pub passed_over: Vec<String>,
    /// The network that is wanted by name, where there are files of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wants: Option<String>,
}

impl Check for CniNotConfigured {
    const ENTRY: Entry = Entry {
        code: "cni-not-configured",
        area: Area::Declared,
        severities: &[Severity::Critical],
        when: &["on a Kubernetes node"],
        title: "no CNI configuration",
        meaning: "The container runtime finds no CNI file, so it has no network for pods. Running pods keep working; new \
                  ones hang in ContainerCreating, and the node is NotReady (NetworkPluginNotReady). On a new node that is \
                  so until the cluster's CNI has come up.",
        quiet: "a machine that is no Kubernetes node; a runtime that was told to look in another folder and finds a file there",
        look: &[
            Look { run: "ls -la /etc/cni/net.d", see: "no name that ends in `.conf`, `.conflist` or `.json`" },
            Look {
                run: "crictl info | jq '.config.cni.confDir, .lastCNILoadStatus'",
                see: "the folder that containerd looks in, and `no network config found`",
            },
            Look {
                run: "kubectl describe node NODE | grep NetworkPluginNotReady",
                see: "`cni plugin not initialized`, or CRI-O's `no CNI configuration file`",
            },
        ],
        metrics: &[],
        class: Class::NoNetwork,
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeCniNotConfigured", minutes: 5 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        if takes_any(node) {
            return Ok(judgement);
        }
        let Some((runtime, seen)) = look(node)? else { return Ok(judgement) };
        if seen.nothing {
            let declared = &node.tables.declared;
            let files = declared.cni.known().is_some_and(|files| !files.is_empty());
            let evidence = Evidence {
                looks: looks(runtime),
                folder_exists: declared.cni.known().is_some(),
                passed_over: declared.cni_others.clone(),
                wants: runtime.network.clone().filter(|_| files),
            };
            judgement.raise(CNI, Severity::Critical, evidence);
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { looks: Looks { runtime, folder, .. }, folder_exists, passed_over, wants } = evidence;
        let found = match wants {
            Some(name) => format!("{runtime} wants the CNI network {name}, which no usable file in {folder} has"),
            None if !folder_exists => format!("{runtime} looks for CNI files in {folder}, which does not exist"),
            None if passed_over.is_empty() => format!("{runtime} finds no CNI file: {folder} is empty"),
            None => format!("{runtime} finds no CNI file in {folder}: it passes over {}", words::list(passed_over)),
        };
        format!("{found}. No new pod of this node gets a network.")
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let names = evidence.passed_over.iter().chain(&evidence.wants).map(String::as_str);
        vec![Fix::CniFile { folder: evidence.looks.folder.clone(), of: whose(names), broken: CniBroken::default() }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let looks = Looks { runtime: "containerd", told_by: Vec::new(), folder: "/etc/cni/net.d".into() };
        let passed_over = vec!["10-calico.conflist.bak".into(), "calico-kubeconfig".into()];
        (CNI, Severity::Critical, Evidence { looks, folder_exists: true, passed_over, wants: None })
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::{Machine, judged};
    use super::*;

    fn raised(machine: &Machine) -> Vec<Evidence> {
        judged::<CniNotConfigured>(machine).unwrap().into_iter().map(|(_, evidence)| evidence).collect()
    }

    #[test]
    fn a_node_without_a_file_has_no_network_for_pods_and_any_file_that_counts_is_one() {
        let empty = Machine::node().folder("/etc/cni/net.d");
        let [found] = <[_; 1]>::try_from(raised(&empty)).unwrap();
        assert!(found.folder_exists && found.passed_over.is_empty() && found.looks.runtime == "containerd");
        assert!(!raised(&Machine::node())[0].folder_exists);
        for name in
            ["10-calico.conflist.bak", "05-cilium.conflist.cilium_bak", "calico-kubeconfig", ".10-a.conflist.swp"]
        {
            let machine = empty.clone().file(&format!("/etc/cni/net.d/{name}"), "{}");
            assert_eq!(raised(&machine)[0].passed_over, [name], "{name}");
        }
        for name in ["10-a.conf", "10-a.conflist", "10-a.json", ".conf", ".a.conf"] {
            let machine = empty.clone().file(&format!("/etc/cni/net.d/{name}"), "{}");
            assert_eq!(raised(&machine).len(), 0, "{name} is taken, whatever it says");
        }
    }

    #[test]
    fn a_machine_that_is_no_node_wants_none_and_one_that_cannot_be_told_is_not_concluded() {
        assert_eq!(judged::<CniNotConfigured>(&Machine::new()).unwrap().len(), 0);
        let hidden = Machine::new().denied("/var/lib/kubelet");
        assert!(judged::<CniNotConfigured>(&hidden).is_err());
        let secret = Machine::node().denied("/etc/cni/net.d");
        assert!(judged::<CniNotConfigured>(&secret).unwrap_err().to_string().contains("permission"));
        let root = |node: Machine| node.denied_file("/etc/cni/net.d/10-calico.conflist");
        assert_eq!(judged::<CniNotConfigured>(&root(Machine::node())).unwrap().len(), 0, "there is one");
        assert!(judged::<CniNotConfigured>(&root(Machine::crio())).is_err(), "that may pass over it");
        let odd = Machine::new().file("/var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\n");
        let why = judged::<CniNotConfigured>(&odd).unwrap_err().to_string();
        assert!(why.contains("no container runtime left a trace"), "{why}");
    }

    #[test]
    fn the_folder_is_the_one_that_the_runtime_was_told() {
        let told = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"/srv/cni\"\n";
        let machine = Machine::node().file("/etc/containerd/config.toml", told).folder("/srv");
        let usual = machine.file("/etc/cni/net.d/10-a.conf", r#"{"name": "a", "type": "bridge"}"#);
        assert_eq!(raised(&usual)[0].looks.folder, "/srv/cni");
        assert!(CniNotConfigured::summary(&CNI, &raised(&usual)[0]).contains("/srv/cni, which does not exist"));
        assert_eq!(raised(&usual.file("/srv/cni/10-a.conf", r#"{"name": "a", "type": "bridge"}"#)).len(), 0);
    }

    #[test]
    fn crio_may_want_a_network_by_name() {
        let wants = "[crio.network]\ncni_default_network = \"ours\"\n";
        let machine = Machine::crio().file("/etc/crio/crio.conf.d/10-net", wants).plugin("bridge").plugin("host-local");
        let other = machine.clone().file("/etc/cni/net.d/10-a.conf", r#"{"name": "theirs", "type": "bridge"}"#);
        assert_eq!(raised(&other)[0].wants.as_deref(), Some("ours"));
        let ours = other.file("/etc/cni/net.d/20-b.conf", r#"{"name": "ours", "type": "bridge"}"#);
        assert_eq!(raised(&ours).len(), 0);
    }
}
