//! Every fix on every set-up in one text, for a reader, and what each of its commands was checked against.

use std::collections::BTreeMap;

use super::{AddressesFault, Fix, PortAt, render};
use crate::snapshot::Setup;
use crate::snapshot::setup::{Cni, Host};
use crate::units::{IpSize, LinkMtu};

const CALICO_OPERATOR: &str = "operator api/v1/installation_types.go";
const CALICO_MANIFEST: &str = "calico manifests/calico-vxlan.yaml";
const CALICOCTL: &str = "calico calicoctl/calicoctl/commands/ipam_command.go";
const FLANNEL_MANIFEST: &str = "flannel Documentation/kube-flannel.yml";
const CILIUM_DAEMON: &str = "cilium install/kubernetes/cilium/templates/cilium-agent/daemonset.yaml";
const KUBECTL_RESTART: &str = "kubernetes staging/src/k8s.io/kubectl/pkg/cmd/rollout/rollout_restart.go";
const KUBECTL_GET: &str = "kubernetes staging/src/k8s.io/kubectl/pkg/cmd/get/get.go";
const QM: &str = "qemu-server src/PVE/QemuServer/Network.pm, src/PVE/CLI/qm.pm";

/// Versions that were read: a release where one was at hand, else the commit.
const OPERATOR: &str = "1.45 (40788b9b6)";
const CALICO: &str = "3.34 (87c15906f2)";
const FLANNEL: &str = "0.28.9";
const CILIUM: &str = "main (7d65d926b9, 002c6fff44)";
const KUBECTL: &str = "master (3e4a7900d7)";
const PROXMOX: &str = "master (20c91f7f3a)";
const NETPLAN: &str = "1.2.2";
const SYSTEMD: &str = "252";
const MANAGER: &str = "main (176f1928d4)";

const CNIS: [Cni; 4] = [Cni::Calico, Cni::Flannel, Cni::Cilium, Cni::Unknown];
const HOSTS: [Host; 7] = [
    Host::Proxmox,
    Host::Netplan,
    Host::Ifupdown { two: true },
    Host::Ifupdown { two: false },
    Host::NetworkManager,
    Host::Networkd,
    Host::Plain,
];

/// What a line or sentence must hold, what proves that it works today (a project's file), and the version that was read.
/// `ip`, `bridge` and `sysctl` are proven by the lab, which runs them.
const PROOF: &[(&str, &str, &str)] = &[
    ("kubectl patch installation.operator.tigera.io default", CALICO_OPERATOR, OPERATOR),
    ("\"calicoNetwork\":{\"mtu\":", CALICO_OPERATOR, OPERATOR),
    (
        "\"nodeAddressAutodetectionV4\":{\"firstFound\":null,",
        "operator pkg/controller/installation/validation.go",
        OPERATOR,
    ),
    ("kubectl -n calico-system delete pod -l k8s-app=calico-node", "operator pkg/render/node.go", OPERATOR),
    ("kubectl -n kube-system patch cm calico-config", CALICO_MANIFEST, CALICO),
    ("\"veth_mtu\":\"", CALICO_MANIFEST, CALICO),
    ("kubectl -n kube-system rollout restart ds/calico-node", CALICO_MANIFEST, CALICO),
    (
        "kubectl -n kube-system set env ds/calico-node",
        "calico node/pkg/lifecycle/startup/autodetection/autodetection_methods.go",
        CALICO,
    ),
    ("kubectl -n kube-system delete pod -l k8s-app=calico-node", CALICO_MANIFEST, CALICO),
    ("kubectl -n kube-system get lease ", KUBECTL_GET, KUBECTL),
    ("kubectl get --raw /readyz", KUBECTL_GET, KUBECTL),
    ("kubectl get service kubernetes", KUBECTL_GET, KUBECTL),
    ("kubectl -n mtuscope get services,endpointslices", KUBECTL_GET, KUBECTL),
    ("kubectl auth can-i watch endpointslices.discovery.k8s.io", "kubectl pkg/cmd/auth/cani.go", KUBECTL),
    (
        "kubectl patch felixconfiguration default",
        "calico libcalico-go/config/crd/crd.projectcalico.org_felixconfigurations.yaml",
        CALICO,
    ),
    (
        "\"featureDetectOverride\":\"ChecksumOffloadBroken=true\"",
        "calico felix/environment/feature_detect_common.go",
        CALICO,
    ),
    ("kubectl -n kube-flannel rollout restart ds/kube-flannel-ds", FLANNEL_MANIFEST, FLANNEL),
    ("kubectl -n kube-flannel delete pod -l app=flannel", FLANNEL_MANIFEST, FLANNEL),
    ("kubectl -n kube-flannel patch ds kube-flannel-ds --type json", FLANNEL_MANIFEST, FLANNEL),
    ("/spec/template/spec/containers/0/args/-", FLANNEL_MANIFEST, FLANNEL),
    ("--iface=", "flannel main.go", FLANNEL),
    ("`\"Backend\": {\"MTU\": ", "flannel pkg/backend/vxlan/vxlan.go, pkg/backend/vxlan/device.go", FLANNEL),
    (
        "helm -n kube-system upgrade cilium cilium/cilium --reuse-values --set MTU=",
        "cilium install/kubernetes/cilium/values.yaml",
        CILIUM,
    ),
    (
        "kubectl -n kube-system patch cm cilium-config",
        "cilium install/kubernetes/cilium/templates/cilium-configmap.yaml",
        CILIUM,
    ),
    ("\"mtu\":\"", "cilium install/kubernetes/cilium/templates/cilium-configmap.yaml", CILIUM),
    ("kubectl -n kube-system rollout restart ds/cilium", CILIUM_DAEMON, CILIUM),
    ("kubectl -n kube-system delete pod -l k8s-app=cilium", CILIUM_DAEMON, CILIUM),
    ("kubectl -n NAMESPACE rollout restart deployment,statefulset,daemonset", KUBECTL_RESTART, KUBECTL),
    ("kubectl get pods --all-namespaces -o wide", KUBECTL_GET, KUBECTL),
    ("kubectl get networkpolicy --all-namespaces", KUBECTL_GET, KUBECTL),
    ("kubectl get pods -A -o wide --field-selector spec.nodeName=THIS_NODE", KUBECTL_GET, KUBECTL),
    ("kubectl get node THIS_NODE -o jsonpath=", KUBECTL_GET, KUBECTL),
    ("kubectl cordon THIS_NODE", "kubernetes staging/src/k8s.io/kubectl/pkg/cmd/drain/drain.go", KUBECTL),
    ("kubectl uncordon THIS_NODE", "kubernetes staging/src/k8s.io/kubectl/pkg/cmd/drain/drain.go", KUBECTL),
    ("\"mtuIfacePattern\":\"", "calico felix/config/config_params.go", CALICO),
    ("calicoctl ipam show --show-blocks", CALICOCTL, CALICO),
    ("calicoctl ipam show --show-borrowed", CALICOCTL, CALICO),
    ("calicoctl ipam check --show-problem-ips", CALICOCTL, CALICO),
    ("calicoctl ipam check -o report.json", CALICOCTL, CALICO),
    ("calicoctl ipam release --from-report report.json", CALICOCTL, CALICO),
    ("calicoctl ipam configure --strictaffinity=true --max-blocks-per-host=", CALICOCTL, CALICO),
    ("calicoctl datastore migrate lock", "calico calicoctl/calicoctl/commands/datastore_command.go", CALICO),
    ("calicoctl datastore migrate unlock", "calico calicoctl/calicoctl/commands/datastore_command.go", CALICO),
    ("qm config", QM, PROXMOX),
    ("qm set ID --netN LINE,mtu=1", QM, PROXMOX),
    ("qm set ID --netN LINE,queues=", QM, PROXMOX),
    ("ifreload -a", "ifupdown2 man.rst/ifreload.8.rst", "3"),
    ("netplan apply", "netplan doc/netplan-apply.md", NETPLAN),
    ("`mtu: ", "netplan doc/netplan-yaml.md: mtu, macaddress", NETPLAN),
    ("`activation-mode: off`", "netplan doc/netplan-yaml.md: activation-mode", NETPLAN),
    ("`MTUBytes=", "systemd man/systemd.network.xml", SYSTEMD),
    ("`ActivationPolicy=down`", "systemd man/systemd.network.xml", SYSTEMD),
    ("`CombinedChannels=", "systemd man/systemd.link.xml", SYSTEMD),
    ("networkctl reload", "systemd man/networkctl.xml", SYSTEMD),
    ("networkctl reconfigure ", "systemd man/networkctl.xml", SYSTEMD),
    ("networkctl status ", "systemd man/networkctl.xml", SYSTEMD),
    ("nmcli device reapply ", "NetworkManager man/nmcli.xml", MANAGER),
    ("nmcli device show", "NetworkManager man/nmcli.xml", MANAGER),
    (
        "nmcli connection modify CONNECTION 802-3-ethernet.mtu ",
        "NetworkManager src/libnm-core-impl/nm-setting-wired.c",
        MANAGER,
    ),
    (
        "nmcli connection modify CONNECTION master ",
        "NetworkManager src/libnm-core-impl/nm-setting-connection.c",
        MANAGER,
    ),
    (
        "nmcli connection modify CONNECTION ipv4.gateway ",
        "NetworkManager src/libnm-core-impl/nm-setting-ip-config.c",
        MANAGER,
    ),
    (
        "nmcli connection modify CONNECTION connection.autoconnect ",
        "NetworkManager src/libnm-core-impl/nm-setting-connection.c",
        MANAGER,
    ),
];

fn setups() -> impl Iterator<Item = Setup> {
    CNIS.into_iter().flat_map(|cni| HOSTS.map(|host| Setup { cni, host }))
}

/// The tunnel that a CNI makes.
const fn tunnel(cni: Cni) -> &'static str {
    match cni {
        Cni::Calico => "vxlan.calico",
        Cni::Flannel => "flannel.1",
        Cni::Cilium => "cilium_vxlan",
        Cni::Unknown => "vxlan0",
    }
}

/// Every fix of every example, and those besides, by itself on every set-up, with the set-up's own tunnel in it.
fn matrix() -> Vec<(String, BTreeMap<String, Vec<Setup>>)> {
    let mut all: Vec<Fix> = Vec::new();
    let examples = crate::checks::ALL.iter().flat_map(|check| check.example().fixes);
    for fix in examples.chain(besides()) {
        let parts = if let Fix::Instead(parts) = fix { parts } else { vec![fix] };
        all.extend(parts.into_iter().filter(|part| !all.contains(part)).collect::<Vec<_>>());
    }
    let of = |fix: &Fix| {
        let mut texts: BTreeMap<String, Vec<Setup>> = BTreeMap::new();
        for setup in setups() {
            let mut fix = fix.clone();
            fix.rename(tunnel(setup.cni));
            let text = render(&[fix], setup).join("\n  ").replace("vxlan.calico", tunnel(setup.cni));
            texts.entry(text).or_default().push(setup);
        }
        let name = format!("{fix:?}");
        (name.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned(), texts)
    };
    let mut matrix: Vec<_> = all.iter().map(of).collect();
    matrix.sort();
    matrix.dedup();
    matrix
}

/// Fixes, and forms of them, that no check's example has.
fn besides() -> Vec<Fix> {
    let (vxlan, eth0) = (|| "vxlan.calico".to_owned(), || "eth0".to_owned());
    let address = |text: &str| text.parse().expect("an address");
    let up = |link: String, tunnel| Fix::LinkUp { link, no_carrier: false, master: None, tunnel };
    let entry = |at| Fix::TunnelPort { tunnel: Some(vxlan()), port: Some(4789), at };
    vec![
        up(eth0(), false),
        up(vxlan(), true),
        Fix::LinkUp { link: eth0(), no_carrier: true, master: None, tunnel: false },
        Fix::LinkMtu { link: eth0(), from: LinkMtu::new(9000), mtu: LinkMtu::new(1500) },
        Fix::Queues { link: eth0(), queues: 8, at_hypervisor: false },
        Fix::PodMtu { tunnel: None, mtu: LinkMtu::new(1500) },
        Fix::RouteMtu { to: "10.244.2.0/24".into(), link: vxlan(), from: IpSize::new(1400), mtu: IpSize::new(1450) },
        Fix::PodsRouted { peer: "b".into(), pod: address("10.244.2.2"), tunnel: Some(vxlan()) },
        Fix::BridgePort { bridge: "br0".into(), free: Vec::new() },
        entry(PortAt::Here),
        entry(PortAt::Between { by: Some(address("10.0.0.1")), node: None }),
        Fix::TunnelUnderlay {
            tunnel: vxlan(),
            link: None,
            address: None,
            networks: Vec::new(),
            reaches: Some(address("10.0.0.12")),
            elsewhere: vec!["10.0.0.13".into()],
        },
        Fix::Addresses(AddressesFault::Blocks { most: Some(20) }),
        Fix::SysctlLine {
            key: "net.ipv4.ip_forward".into(),
            value: "1".into(),
            at: vec!["/etc/sysctl.d/60-hardening.conf:7".into()],
            now: true,
        },
    ]
}

/// Set-ups in few words: most remedies depend on the CNI or on the host, and few on both.
fn named(setups: &[Setup]) -> String {
    let hosts = |cni| setups.iter().filter(|setup| setup.cni == cni).map(|setup| setup.host).collect::<Vec<_>>();
    let of_hosts = |hosts: &[Host]| {
        let names: Vec<_> = hosts.iter().map(|host| format!("{host:?}")).collect();
        if hosts.len() == HOSTS.len() { "any host".to_owned() } else { names.join(", ") }
    };
    let first = hosts(CNIS[0]);
    if CNIS.iter().all(|&cni| hosts(cni) == first) {
        return format!("any CNI on {}", of_hosts(&first));
    }
    let there = CNIS.into_iter().filter(|&cni| !hosts(cni).is_empty());
    there.map(|cni| format!("{cni:?} on {}", of_hosts(&hosts(cni)))).collect::<Vec<_>>().join("; ")
}

fn lines() -> impl Iterator<Item = String> {
    let texts = matrix().into_iter().flat_map(|(_, texts)| texts.into_keys());
    texts.flat_map(|text| text.lines().map(|line| line.trim_start().to_owned()).collect::<Vec<_>>())
}

#[test]
fn every_fix_is_worded_for_every_set_up() {
    let of = |(fix, texts): (String, BTreeMap<String, Vec<Setup>>)| {
        let mut texts: Vec<_> = texts.into_iter().map(|(text, setups)| (named(&setups), text)).collect();
        texts.sort();
        let texts: String = texts.into_iter().map(|(setups, text)| format!("- {setups}\n  {text}\n")).collect();
        format!("{fix}\n{texts}")
    };
    let text = matrix().into_iter().map(of).collect::<Vec<_>>().join("\n");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/remedy/snapshots");
    insta::with_settings!({ snapshot_path => directory, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("every_set_up", text);
    });
}

/// Programs that the lab does not have: what they take was looked up.
const PROGRAMS: [&str; 8] = ["kubectl ", "calicoctl ", "helm ", "qm ", "ifreload", "netplan ", "networkctl ", "nmcli "];

#[test]
fn every_command_was_checked_against_its_project() {
    let proven = |text: &str| PROOF.iter().any(|(words, ..)| text.starts_with(words));
    for line in lines() {
        for program in PROGRAMS {
            for (at, _) in line.match_indices(program) {
                let starts = line[..at].chars().next_back().is_none_or(|before| matches!(before, ' ' | '`'));
                let named = line[..at].ends_with(['`', '$'])
                    || line[..at].ends_with("$ ")
                    || line[..at].ends_with("&& ")
                    || line[..at].ends_with("; ");
                assert!(!starts || !named || proven(&line[at..]), "nothing proves `{}`", &line[at..]);
            }
        }
    }
}

#[test]
fn what_is_proven_is_still_said() {
    let lines: Vec<_> = lines().collect();
    for (words, by, version) in PROOF {
        assert!(!by.is_empty() && !version.is_empty());
        assert!(lines.iter().any(|line| line.contains(words)), "no remedy says `{words}`");
    }
}

#[test]
fn every_patch_is_json() {
    let (mut merges, mut lists) = (0, 0);
    for line in lines().filter(|line| line.starts_with("$ ")) {
        for patch in line.split(" -p '").skip(1) {
            let patch = patch.split('\'').next().unwrap_or_default();
            match serde_json::from_str(patch).unwrap_or_else(|error| panic!("{line}: {error}")) {
                serde_json::Value::Object(_) => merges += 1,
                serde_json::Value::Array(_) => lists += 1,
                other => panic!("{line}: {other} is no patch"),
            }
        }
    }
    assert!(merges > 0 && lists > 0);
}

impl Fix {
    /// Gives it another tunnel.
    pub(crate) fn rename(&mut self, to: &str) {
        match self {
            Self::OverlayMtu { tunnel, .. } | Self::PodMtu { tunnel: Some(tunnel), .. } => *tunnel = to.into(),
            Self::LinkUp { link, tunnel: true, .. } => *link = to.into(),
            Self::PodsRouted { tunnel: Some(tunnel), .. } => *tunnel = to.into(),
            Self::TunnelDelivers { tunnel: Some(tunnel), .. } => *tunnel = to.into(),
            Self::VtepEntries { tunnel, .. } | Self::VtepForgotten { tunnel, .. } => *tunnel = to.into(),
            Self::TunnelPort { tunnel: Some(tunnel), .. } => *tunnel = to.into(),
            Self::TunnelLikeOthers { tunnel, .. } => *tunnel = to.into(),
            Self::TunnelUnderlay { tunnel, .. } | Self::TunnelOffload { tunnel, .. } => *tunnel = to.into(),
            Self::Counted(fault) => fault.rename(to),
            Self::Instead(fixes) => fixes.iter_mut().for_each(|fix| fix.rename(to)),
            _ => {}
        }
    }
}
