//! CNI files and plugins: whoever wrote them is made to write them again.
//!
//! Each CNI has a DaemonSet whose pod on the node puts both in place as it starts, from the cluster's own settings: that
//! pod needs no pod network to start. What it does not bring are the plugins of the CNI project itself, which come as a
//! package; Debian's goes to another folder than the one that runtimes look in. k3s and RKE2 write their own files.

use crate::snapshot::Setup;
use crate::snapshot::setup::Cni;

use super::{calico, cilium, flannel};

/// Plugins of the CNI project.
const PROJECT: [&str; 18] = [
    "bandwidth",
    "bridge",
    "dhcp",
    "dummy",
    "firewall",
    "host-device",
    "host-local",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "sbr",
    "static",
    "tap",
    "tuning",
    "vlan",
    "vrf",
];

/// Those that a CNI's own pod puts in place.
const fn brings(cni: Cni) -> &'static [&'static str] {
    match cni {
        Cni::Calico => &["calico", "calico-ipam"],
        Cni::Flannel => &["flannel"],
        Cni::Cilium => &["cilium-cni"],
        Cni::Unknown => &[],
    }
}

/// The CNI that a fix is about.
pub(super) const fn or_found(of: Cni, setup: Setup) -> Cni {
    match of {
        Cni::Unknown => setup.cni,
        known => known,
    }
}

pub(super) fn file(folder: &str, cni: Cni, broken: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    if !broken.is_empty() {
        lines.push("See what is wrong, and put a file that nobody wants any more out of the way:".into());
        for path in broken {
            lines.push(format!("$ jq . {path}"));
            lines.push(format!("$ mv {path} {path}.bak"));
        }
    }
    let writes = match cni {
        Cni::Calico => "Calico's file is written by the init container install-cni of calico-node",
        Cni::Flannel => {
            "Flannel's file is written by the init container install-cni of kube-flannel-ds, from the ConfigMap \
             kube-flannel-cfg (cni-conf.json)"
        }
        Cni::Cilium => "Cilium's agent writes its file once it is ready",
        Cni::Unknown => {
            lines.extend(of_nobody(folder));
            return lines;
        }
    };
    lines.push(format!("{writes}. Let it be written again on this node:"));
    lines.extend(again(cni));
    lines.push(format!("It must write to {folder}, where the runtime looks; the runtime loads the file by itself."));
    lines
}

pub(super) fn plugins(missing: &[String], not_executable: &[String], folder: &str, cni: Cni) -> Vec<String> {
    let mut lines: Vec<String> = not_executable.iter().map(|path| format!("$ chmod 0755 {path}")).collect();
    let brought = |name: &&String| brings(cni).contains(&name.as_str());
    let of_project = |name: &&String| PROJECT.contains(&name.as_str());
    let (own, rest): (Vec<_>, Vec<_>) = missing.iter().partition(brought);
    if !own.is_empty() {
        let puts = match cni {
            Cni::Calico => "The init container install-cni of calico-node puts",
            Cni::Flannel => "The init container install-cni-plugin of kube-flannel-ds (image flannel-cni-plugin) puts",
            _ => "The init container install-cni-binaries of ds/cilium puts",
        };
        lines.push(format!("{puts} {} into {folder}. Let it do so again on this node:", joined(&own)));
        lines.extend(again(cni));
    }
    let (project, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(of_project);
    if !project.is_empty() {
        lines.push(format!(
            "These are the CNI project's own: {}. Where Kubernetes's packages are used:",
            joined(&project)
        ));
        lines.push("$ apt-get install --reinstall kubernetes-cni || dnf reinstall kubernetes-cni".into());
        lines.push(format!(
            "Debian's package containernetworking-plugins puts them into /usr/lib/cni, Fedora's into /usr/libexec/cni: name \
             that folder to the runtime as well, or unpack the project's release into {folder}."
        ));
    }
    if !others.is_empty() {
        lines.push(format!(
            "Whoever wrote the CNI file brings these: {}. Restart its DaemonSet's pod on this node, or take out of the file \
             what is no longer used.",
            joined(&others)
        ));
    }
    lines
}

fn joined(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The CNI's pod on this node starts anew.
fn again(cni: Cni) -> Vec<String> {
    let lines = match cni {
        Cni::Calico => calico::restart_here(),
        Cni::Flannel => flannel::restart_here(),
        Cni::Cilium => cilium::restart_here(),
        Cni::Unknown => Vec::new(),
    };
    let command = |line: &String| line.starts_with("$ ") || line.starts_with("Calico installed");
    let mut lines: Vec<_> = lines.into_iter().skip_while(|line| !command(line)).collect();
    if cni == Cni::Calico {
        lines.insert(0, "Calico installed by its operator:".into());
    }
    lines
}

fn of_nobody(folder: &str) -> Vec<String> {
    vec![
        format!("The cluster's CNI writes its file into {folder} as its pod starts on this node. Look why it did not:"),
        "$ kubectl get pods -A -o wide --field-selector spec.nodeName=THIS_NODE".into(),
        "$ kubectl get ds -A".into(),
        "k3s and RKE2 write theirs themselves, as they start:".into(),
        "$ systemctl restart k3s || systemctl restart k3s-agent".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn whoever_wrote_a_file_writes_it_again() {
        let calico = file("/etc/cni/net.d", Cni::Calico, &[]).join("\n");
        insta::assert_snapshot!(calico, @r#"
Calico's file is written by the init container install-cni of calico-node. Let it be written again on this node:
Calico installed by its operator:
$ kubectl -n calico-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
Calico installed by manifest:
$ kubectl -n kube-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
It must write to /etc/cni/net.d, where the runtime looks; the runtime loads the file by itself.
"#);
        let broken = names(&["/etc/cni/net.d/10-flannel.conflist"]);
        insta::assert_snapshot!(file("/etc/cni/net.d", Cni::Flannel, &broken).join("\n"), @r#"
See what is wrong, and put a file that nobody wants any more out of the way:
$ jq . /etc/cni/net.d/10-flannel.conflist
$ mv /etc/cni/net.d/10-flannel.conflist /etc/cni/net.d/10-flannel.conflist.bak
Flannel's file is written by the init container install-cni of kube-flannel-ds, from the ConfigMap kube-flannel-cfg (cni-conf.json). Let it be written again on this node:
$ kubectl -n kube-flannel delete pod -l app=flannel --field-selector spec.nodeName=THIS_NODE
It must write to /etc/cni/net.d, where the runtime looks; the runtime loads the file by itself.
"#);
        insta::assert_snapshot!(file("/etc/cni/net.d", Cni::Cilium, &[]).join("\n"), @r#"
Cilium's agent writes its file once it is ready. Let it be written again on this node:
$ kubectl -n kube-system delete pod -l k8s-app=cilium --field-selector spec.nodeName=THIS_NODE
It must write to /etc/cni/net.d, where the runtime looks; the runtime loads the file by itself.
"#);
        insta::assert_snapshot!(file("/srv/cni", Cni::Unknown, &[]).join("\n"), @r#"
The cluster's CNI writes its file into /srv/cni as its pod starts on this node. Look why it did not:
$ kubectl get pods -A -o wide --field-selector spec.nodeName=THIS_NODE
$ kubectl get ds -A
k3s and RKE2 write theirs themselves, as they start:
$ systemctl restart k3s || systemctl restart k3s-agent
"#);
    }

    #[test]
    fn plugins_come_from_where_they_came_from() {
        let bin = "/opt/cni/bin";
        let lost = names(&["flannel", "host-local", "egress"]);
        insta::assert_snapshot!(plugins(&lost, &[], bin, Cni::Flannel).join("\n"), @r#"
The init container install-cni-plugin of kube-flannel-ds (image flannel-cni-plugin) puts flannel into /opt/cni/bin. Let it do so again on this node:
$ kubectl -n kube-flannel delete pod -l app=flannel --field-selector spec.nodeName=THIS_NODE
These are the CNI project's own: host-local. Where Kubernetes's packages are used:
$ apt-get install --reinstall kubernetes-cni || dnf reinstall kubernetes-cni
Debian's package containernetworking-plugins puts them into /usr/lib/cni, Fedora's into /usr/libexec/cni: name that folder to the runtime as well, or unpack the project's release into /opt/cni/bin.
Whoever wrote the CNI file brings these: egress. Restart its DaemonSet's pod on this node, or take out of the file what is no longer used.
"#);
        insta::assert_snapshot!(plugins(&names(&["calico-ipam"]), &[], bin, Cni::Calico).join("\n"), @r#"
The init container install-cni of calico-node puts calico-ipam into /opt/cni/bin. Let it do so again on this node:
Calico installed by its operator:
$ kubectl -n calico-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
Calico installed by manifest:
$ kubectl -n kube-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
"#);
        let fixed = plugins(&[], &names(&["/opt/cni/bin/cilium-cni"]), bin, Cni::Cilium);
        assert_eq!(fixed, ["$ chmod 0755 /opt/cni/bin/cilium-cni"]);
    }
}
