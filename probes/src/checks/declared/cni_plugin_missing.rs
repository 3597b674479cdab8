//! A network of pods whose plugins are not all there.
//!
//! A CNI file names programs; the runtime looks for them in its folders, takes the first file of the name, and runs it
//! for each pod. Some run others: an address manager, Flannel's or Multus's delegates. One that is missing, a link that
//! leads nowhere and a file that may not be executed come to the same: no pod. CRI-O looks for the listed ones as it
//! loads a file and passes over one that lacks some; containerd finds out with the first pod, and the node stays Ready.

use schemars::JsonSchema;
use serde::Serialize;

use super::cni::{CNI, Lacking, Looks, look, looks, whose};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct CniPluginMissing;

/// The plugins, and where they were looked for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Who looks, and where.
    #[serde(flatten)]
    pub looks: Looks,
    /// The file that needs them.
    pub file: String,
    /// The network that it gives.
    pub network: String,
    /// What is missing.
    pub plugins: Vec<Lacking>,
    /// Where it was looked for, in this order.
    pub folders: Vec<String>,
    /// The file whose network pods get instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
}

impl Check for CniPluginMissing {
    const ENTRY: Entry = Entry {
        code: "cni-plugin-missing",
        area: Area::Declared,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["CRI-O goes on to a file whose plugins are there", "no new pod gets a network"],
        title: "a CNI plugin is missing",
        meaning: "The network of pods needs a program that is not there or may not be executed. Running pods keep working; \
                  new ones hang in ContainerCreating (failed to find plugin), and pods that end hang in Terminating. With \
                  containerd the node stays Ready all the while; CRI-O passes over such a file, and new pods get the \
                  network of the next one, a warning, or the node is NotReady (NetworkPluginNotReady).",
        quiet: "plugins that no file in use names; address managers that a plugin may not run (Azure, Antrea); delegates that \
                Multus takes from the API; a link into a folder that the agent was not given",
        look: &[
            Look {
                run: "jq '.plugins[] | .type, .ipam.type' FILE",
                see: "the programs that are needed; with Flannel also `bridge` and `host-local`",
            },
            Look { run: "ls -laL /opt/cni/bin", see: "one of them is missing, or has no `x`" },
            Look {
                run: "kubectl get events -A | grep FailedCreatePodSandBox",
                see: "`failed to find plugin`, or `permission denied`",
            },
        ],
        metrics: &[],
        class: Class::NoNetwork,
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeCniPluginMissing", minutes: 2 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        let Some((runtime, seen)) = look(node)? else { return Ok(judgement) };
        let severity = seen.severity();
        if let Some(first) = seen.short.into_iter().next() {
            let evidence = Evidence {
                looks: looks(runtime),
                file: first.file,
                network: first.network,
                plugins: first.plugins,
                folders: first.folders,
                instead: seen.instead,
            };
            judgement.raise(CNI, severity, evidence);
        } else if let Some(why) = seen.unread {
            judgement.unread.push((CNI, why));
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { file, plugins, folders, instead, .. } = evidence;
        let missing: Vec<_> = plugins
            .iter()
            .filter(|plugin| plugin.not_executable.is_none())
            .map(|plugin| plugin.name.as_str())
            .collect();
        let barred: Vec<_> = plugins.iter().filter_map(|plugin| plugin.not_executable.as_deref()).collect();
        let missing =
            (!missing.is_empty()).then(|| format!("{}, not found in {}", words::list(&missing), words::list(folders)));
        let barred = (!barred.is_empty()).then(|| format!("{}, which nobody may execute", words::list(&barred)));
        let needs: Vec<_> = missing.into_iter().chain(barred).collect();
        let follows = match instead {
            Some(other) => format!("New pods get the network of {other} instead."),
            None => "No new pod of this node gets a network.".into(),
        };
        format!("{file} needs {}. {follows}", needs.join(", and "))
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let plugins = || evidence.plugins.iter();
        let folder = evidence.folders.first().cloned().unwrap_or_default();
        let missing = plugins().filter(|plugin| plugin.not_executable.is_none()).map(|plugin| plugin.name.clone());
        vec![Fix::CniPlugins {
            missing: missing.collect(),
            not_executable: plugins().filter_map(|plugin| plugin.not_executable.clone()).collect(),
            folder,
            of: whose(plugins().map(|plugin| plugin.name.as_str()).chain([evidence.file.as_str()])),
        }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let looks = Looks { runtime: "containerd", told_by: Vec::new(), folder: "/etc/cni/net.d".into() };
        let lacking = |name: &str, part: &str| Lacking {
            name: name.into(),
            part: part.into(),
            instead: "nothing".into(),
            not_executable: None,
        };
        let evidence = Evidence {
            looks,
            file: "/etc/cni/net.d/10-calico.conflist".into(),
            network: "k8s-pod-network".into(),
            plugins: vec![
                lacking("calico-ipam", "calico has it give addresses"),
                lacking("portmap", "the network lists it"),
            ],
            folders: vec!["/opt/cni/bin".into()],
            instead: None,
        };
        (CNI, Severity::Critical, evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::{Machine, judged};
    use super::*;

    const CALICO: &str = r#"{"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [
        {"type": "calico", "ipam": {"type": "calico-ipam"}}, {"type": "portmap", "capabilities": {"portMappings": true}}]}"#;
    const FLANNEL: &str = r#"{"name": "cbr0", "plugins": [{"type": "flannel", "delegate": {"hairpinMode": true}}]}"#;

    fn on(machine: Machine, text: &str, plugins: &[&str]) -> Machine {
        let machine = machine.file("/etc/cni/net.d/10-net.conflist", text).folder("/opt/cni/bin");
        plugins.iter().fold(machine, |machine, name| machine.plugin(name))
    }

    fn names(machine: &Machine) -> Vec<String> {
        let raised = judged::<CniPluginMissing>(machine).unwrap();
        raised.into_iter().flat_map(|(_, evidence)| evidence.plugins).map(|plugin| plugin.name).collect()
    }

    #[test]
    fn each_program_that_a_pod_takes_is_looked_for() {
        let calico = ["calico", "calico-ipam", "portmap", "loopback"];
        assert_eq!(names(&on(Machine::node(), CALICO, &calico)), [""; 0]);
        for missing in calico {
            let there: Vec<_> = calico.into_iter().filter(|name| *name != missing).collect();
            assert_eq!(names(&on(Machine::node(), CALICO, &there)), [missing]);
        }
        assert_eq!(names(&on(Machine::node(), FLANNEL, &["flannel", "loopback"])), ["bridge", "host-local"]);
        assert_eq!(names(&on(Machine::crio(), CALICO, &calico[..3])), [""; 0], "CRI-O sets up lo itself");
    }

    #[test]
    fn what_may_not_be_executed_and_what_leads_nowhere_is_as_good_as_missing() {
        let machine = on(Machine::node(), FLANNEL, &["flannel", "bridge", "loopback"]);
        let dead = machine.clone().dangling("/opt/cni/bin/host-local", "/usr/lib/cni/host-local");
        let [(severity, found)] = <[_; 1]>::try_from(judged::<CniPluginMissing>(&dead).unwrap()).unwrap();
        assert_eq!(severity, Severity::Critical);
        assert!(found.plugins[0].instead.contains("/usr/lib/cni/host-local, which is not there"), "{found:?}");
        assert!(
            CniPluginMissing::summary(&CNI, &found).contains("needs host-local, not found in /opt/cni/bin. No new")
        );
        let mounted = machine.clone().dangling("/opt/cni/bin/host-local", "/nix/store/x/host-local");
        let why = judged::<CniPluginMissing>(&mounted).unwrap_err().to_string();
        assert!(why.contains("/nix is not to be seen"), "{why}");
        for to in ["/etc/static/cni/host-local", "../../../etc/./static/cni/host-local"] {
            let linked = machine.clone().dangling("/opt/cni/bin/host-local", to);
            assert_eq!(names(&linked), ["host-local"], "nothing is there");
            let unseen = linked.denied("/etc/static/cni");
            assert!(judged::<CniPluginMissing>(&unseen).is_err(), "what is behind {to} cannot be seen");
        }
        let plain = machine.file("/opt/cni/bin/host-local", "#!/bin/sh\n");
        let (_, found) = judged::<CniPluginMissing>(&plain).unwrap().pop().unwrap();
        assert_eq!(found.plugins[0].not_executable.as_deref(), Some("/opt/cni/bin/host-local"));
        let told = CniPluginMissing::summary(&CNI, &found);
        assert!(told.contains("needs /opt/cni/bin/host-local, which nobody may execute. No new"), "{told}");
    }

    #[test]
    fn the_first_folder_that_has_it_counts() {
        let told =
            "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dirs = ['/opt/cni/bin', '/usr/lib/cni']\n";
        let two = Machine::node().file("/etc/containerd/config.toml", told);
        let machine = on(two, FLANNEL, &["flannel", "bridge", "loopback"]).executable("/usr/lib/cni/host-local");
        assert_eq!(names(&machine), [""; 0]);
        assert_eq!(names(&machine.file("/opt/cni/bin/host-local", "")), ["host-local"], "and hides the other");
    }

    #[test]
    fn crio_goes_on_to_a_file_whose_plugins_are_there() {
        let machine = on(Machine::crio(), CALICO, &["bridge"]);
        let raised = judged::<CniPluginMissing>(&machine).unwrap();
        assert_eq!(raised[0].0, Severity::Critical);
        let other = machine.file("/etc/cni/net.d/87-podman.conf", r#"{"name": "podman", "type": "bridge"}"#);
        let (severity, found) = judged::<CniPluginMissing>(&other).unwrap().pop().unwrap();
        assert_eq!((severity, found.instead.as_deref()), (Severity::Warning, Some("/etc/cni/net.d/87-podman.conf")));
    }

    #[test]
    fn a_link_that_leads_nowhere_does_not_hide_the_next_folder_and_links_are_followed() {
        let told =
            "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dirs = ['/opt/cni/bin', '/usr/lib/cni']\n";
        let two = Machine::node().file("/etc/containerd/config.toml", told);
        let machine = on(two, FLANNEL, &["flannel", "bridge", "loopback"]);
        let dead = machine.dangling("/opt/cni/bin/host-local", "/usr/gone");
        assert_eq!(names(&dead), ["host-local"]);
        assert_eq!(names(&dead.clone().executable("/usr/lib/cni/host-local")), [""; 0]);
        let chain = on(Machine::node(), FLANNEL, &["flannel", "bridge", "loopback"])
            .dangling("/opt/cni/bin/host-local", "other")
            .dangling("/opt/cni/bin/other", "/nix/store/x");
        let why = judged::<CniPluginMissing>(&chain).unwrap_err().to_string();
        assert!(why.contains("/nix is not to be seen"), "it leads there in the end: {why}");
    }

    #[test]
    fn what_is_known_to_be_missing_is_told_whatever_else_could_not_be_looked_for() {
        let machine = on(Machine::node(), FLANNEL, &["flannel", "loopback"]);
        assert_eq!(names(&machine.dangling("/opt/cni/bin/bridge", "/nix/store/x")), ["host-local"]);
        let secret = Machine::node().file("/etc/cni/net.d/10-net.conflist", FLANNEL).denied("/opt");
        let mut all = names(&secret.unseen("/opt/cni"));
        all.sort();
        assert_eq!(
            all,
            ["bridge", "flannel", "host-local", "loopback"],
            "/opt is there, and only its names are secret"
        );
    }

    #[test]
    fn a_broken_file_is_the_one_finding_unless_pods_hang_on_a_plugin() {
        use crate::checks::declared::CniConfigInvalid;
        let both = |machine: &Machine| {
            (judged::<CniConfigInvalid>(machine).unwrap().len(), judged::<CniPluginMissing>(machine).unwrap().len())
        };
        let two = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\nmax_conf_num = 2\n";
        let containerd = on(Machine::node().file("/etc/containerd/config.toml", two), FLANNEL, &[]);
        assert_eq!(both(&containerd), (0, 1));
        assert_eq!(both(&containerd.file("/etc/cni/net.d/20-x.conf", "{")), (1, 0), "containerd stops at it");
        let crio = || Machine::crio().file("/etc/cni/net.d/05-x.conf", "{");
        assert_eq!(both(&on(crio(), CALICO, &[])), (1, 0), "CRI-O loads neither");
        assert_eq!(both(&on(crio(), CALICO, &["calico", "portmap"])), (0, 1), "it loads one, whose pods fail");
    }

    #[test]
    fn a_folder_that_is_not_to_be_seen_is_not_empty() {
        let machine = Machine::node().file("/etc/cni/net.d/10-net.conflist", FLANNEL);
        assert!(judged::<CniPluginMissing>(&machine.clone().denied("/opt/cni/bin")).is_err());
        let why = judged::<CniPluginMissing>(&machine.unseen("/opt")).unwrap_err().to_string();
        assert!(why.contains("mount it below host_root"), "{why}");
    }
}
