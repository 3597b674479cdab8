//! CNI files and plugins: whoever wrote them is made to write them again.
//!
//! Each CNI has a DaemonSet whose pod on the node puts both in place as it starts, from the cluster's own settings: that
//! pod needs no pod network to start. Calico's brings some of the CNI project's own plugins, Cilium's one, Flannel's none;
//! the others come as a package, and Debian's goes to another folder than the one that runtimes look in. k3s and RKE2
//! write their own files.
//!
//! A broken file that is the CNI's own is written over; one that somebody left in front of it only has to go, and whose
//! it is tells its name alone, since there is no reading it.

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
        Cni::Calico => &["calico", "calico-ipam", "flannel", "host-local", "loopback", "portmap", "tuning"],
        Cni::Flannel => &["flannel"],
        Cni::Cilium => &["cilium-cni", "loopback"],
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

/// Files that are broken, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    /// The CNI's own, by their names.
    pub own: Vec<String>,
    /// All others.
    pub others: Vec<String>,
    /// The CNI's own file that counts once `others` are out of the way.
    pub then: Option<String>,
}

pub(super) fn file(folder: &str, cni: Cni, broken: &Broken) -> Vec<String> {
    let mut lines = Vec::new();
    if !broken.others.is_empty() {
        lines.push("See what is wrong, and put a file that nobody wants any more out of the way:".into());
        for path in &broken.others {
            lines.push(format!("$ jq . {path}"));
            lines.push(format!("$ mv {path} {path}.bak"));
        }
        if let (Some(then), []) = (&broken.then, broken.own.as_slice()) {
            lines.push(format!("The runtime then takes {then} by itself."));
            return lines;
        }
    }
    if !broken.own.is_empty() {
        lines.push("See what is wrong:".into());
        lines.extend(broken.own.iter().map(|path| format!("$ jq . {path}")));
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
            Cni::Calico => "The init containers of calico-node put",
            Cni::Flannel => "The init container install-cni-plugin of kube-flannel-ds (image flannel-cni-plugin) puts",
            _ => "The init container install-cni-binaries of ds/cilium puts",
        };
        lines.push(format!("{puts} {} into {folder}. Have that done again on this node:", joined(&own)));
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
        let calico = file("/etc/cni/net.d", Cni::Calico, &Broken::default()).join("\n");
        insta::assert_snapshot!(calico, @r#"
Calico's file is written by the init container install-cni of calico-node. Let it be written again on this node:
Calico installed by its operator:
$ kubectl -n calico-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
Calico installed by manifest:
$ kubectl -n kube-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
It must write to /etc/cni/net.d, where the runtime looks; the runtime loads the file by itself.
"#);
        let broken = Broken { own: names(&["/etc/cni/net.d/10-flannel.conflist"]), ..Broken::default() };
        insta::assert_snapshot!(file("/etc/cni/net.d", Cni::Flannel, &broken).join("\n"), @r#"
See what is wrong:
$ jq . /etc/cni/net.d/10-flannel.conflist
Flannel's file is written by the init container install-cni of kube-flannel-ds, from the ConfigMap kube-flannel-cfg (cni-conf.json). Let it be written again on this node:
$ kubectl -n kube-flannel delete pod -l app=flannel --field-selector spec.nodeName=THIS_NODE
It must write to /etc/cni/net.d, where the runtime looks; the runtime loads the file by itself.
"#);
        insta::assert_snapshot!(file("/etc/cni/net.d", Cni::Cilium, &Broken::default()).join("\n"), @r#"
Cilium's agent writes its file once it is ready. Let it be written again on this node:
$ kubectl -n kube-system delete pod -l k8s-app=cilium --field-selector spec.nodeName=THIS_NODE
It must write to /etc/cni/net.d, where the runtime looks; the runtime loads the file by itself.
"#);
        insta::assert_snapshot!(file("/srv/cni", Cni::Unknown, &Broken::default()).join("\n"), @r#"
The cluster's CNI writes its file into /srv/cni as its pod starts on this node. Look why it did not:
$ kubectl get pods -A -o wide --field-selector spec.nodeName=THIS_NODE
$ kubectl get ds -A
k3s and RKE2 write theirs themselves, as they start:
$ systemctl restart k3s || systemctl restart k3s-agent
"#);
    }

    #[test]
    fn a_file_that_stands_before_the_cnis_own_only_has_to_go() {
        let then = Some("/etc/cni/net.d/10-calico.conflist".into());
        let mut broken = Broken { others: names(&["/etc/cni/net.d/00-old.conf"]), then, ..Broken::default() };
        insta::assert_snapshot!(file("/etc/cni/net.d", Cni::Calico, &broken).join("\n"), @r#"
See what is wrong, and put a file that nobody wants any more out of the way:
$ jq . /etc/cni/net.d/00-old.conf
$ mv /etc/cni/net.d/00-old.conf /etc/cni/net.d/00-old.conf.bak
The runtime then takes /etc/cni/net.d/10-calico.conflist by itself.
"#);
        broken.then = None;
        let written = file("/etc/cni/net.d", Cni::Calico, &broken).join("\n");
        assert!(written.contains("00-old.conf.bak\nCalico's file is written by"), "{written}");
    }

    #[test]
    fn plugins_come_from_where_they_came_from() {
        let bin = "/opt/cni/bin";
        let lost = names(&["flannel", "host-local", "egress"]);
        insta::assert_snapshot!(plugins(&lost, &[], bin, Cni::Flannel).join("\n"), @r#"
The init container install-cni-plugin of kube-flannel-ds (image flannel-cni-plugin) puts flannel into /opt/cni/bin. Have that done again on this node:
$ kubectl -n kube-flannel delete pod -l app=flannel --field-selector spec.nodeName=THIS_NODE
These are the CNI project's own: host-local. Where Kubernetes's packages are used:
$ apt-get install --reinstall kubernetes-cni || dnf reinstall kubernetes-cni
Debian's package containernetworking-plugins puts them into /usr/lib/cni, Fedora's into /usr/libexec/cni: name that folder to the runtime as well, or unpack the project's release into /opt/cni/bin.
Whoever wrote the CNI file brings these: egress. Restart its DaemonSet's pod on this node, or take out of the file what is no longer used.
"#);
        insta::assert_snapshot!(plugins(&names(&["calico-ipam", "portmap"]), &[], bin, Cni::Calico).join("\n"), @r#"
The init containers of calico-node put calico-ipam, portmap into /opt/cni/bin. Have that done again on this node:
Calico installed by its operator:
$ kubectl -n calico-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
Calico installed by manifest:
$ kubectl -n kube-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
"#);
        let fixed = plugins(&[], &names(&["/opt/cni/bin/cilium-cni"]), bin, Cni::Cilium);
        assert_eq!(fixed, ["$ chmod 0755 /opt/cni/bin/cilium-cni"]);
    }
}
