//! The network that a tunnel is on: chosen by the CNI, by autodetection unless it is told.
//!
//! Every CNI detects on each node by itself, so a rule that holds for all of them is set: the network where it is known,
//! else an address that is reached by the right link, else the link's name.

use std::net::IpAddr;

use crate::snapshot::Setup;
use crate::snapshot::setup::Cni;

use super::{Fix, maker};

/// How the right link is told from the others.
enum Pick<'a> {
    Networks(&'a [String]),
    Reaches(IpAddr),
    Link(&'a str),
}

pub(super) fn tunnel(fix: &Fix, setup: Setup) -> Vec<String> {
    let Fix::TunnelUnderlay { tunnel, link, address, networks, reaches, elsewhere } = fix else { return Vec::new() };
    let pick = match (networks.as_slice(), reaches, link) {
        ([], Some(reaches), _) => Pick::Reaches(*reaches),
        ([], None, link) => Pick::Link(link.as_deref().unwrap_or("LINK")),
        (networks, ..) => Pick::Networks(networks),
    };
    let known: Vec<_> = link.iter().cloned().chain(address.map(|address| format!("({address})"))).collect();
    let place = if known.is_empty() { "the network that is meant".to_owned() } else { known.join(" ") };
    let first = if elsewhere.is_empty() {
        format!("{tunnel} of this node belongs on {place}.")
    } else {
        format!(
            "The nodes behind {} took another NIC; {tunnel} of this node is right, on {place}.",
            elsewhere.join(", ")
        )
    };
    let how = match maker(tunnel, setup) {
        Cni::Calico => calico(&pick),
        Cni::Flannel => flannel(&pick, link.as_deref()),
        Cni::Cilium | Cni::Unknown => vec![
            format!("Whatever made {tunnel} has to make it again, there and with that address; to see what it has:"),
            format!("$ ip -d link show dev {tunnel}; bridge fdb show dev {tunnel}"),
        ],
    };
    std::iter::once(first).chain(how).collect()
}

fn calico(pick: &Pick<'_>) -> Vec<String> {
    let (operator, manifest) = match pick {
        Pick::Networks(networks) => {
            let quoted: Vec<_> = networks.iter().map(|network| format!("\"{network}\"")).collect();
            (format!("\"cidrs\":[{}]", quoted.join(",")), format!("cidr={}", networks.join(",")))
        }
        Pick::Reaches(address) => (format!("\"canReach\":\"{address}\""), format!("can-reach={address}")),
        Pick::Link(link) => (format!("\"interface\":\"^{link}$\""), format!("interface=^{link}$")),
    };
    vec![
        "Tell Calico which network is meant; it holds for all nodes. Calico installed by its operator:".into(),
        format!(
            "$ kubectl patch installation.operator.tigera.io default --type merge \
             -p '{{\"spec\":{{\"calicoNetwork\":{{\"nodeAddressAutodetectionV4\":{{\"firstFound\":null,{operator}}}}}}}}}'"
        ),
        "Calico installed by manifest:".into(),
        format!("$ kubectl -n kube-system set env ds/calico-node 'IP_AUTODETECTION_METHOD={manifest}'"),
    ]
}

fn flannel(pick: &Pick<'_>, link: Option<&str>) -> Vec<String> {
    let argument = match (pick, link) {
        (Pick::Reaches(address), _) => format!("--iface-can-reach={address}"),
        (Pick::Link(link), _) => format!("--iface={link}"),
        (Pick::Networks(_), Some(link)) => format!("--iface={link}"),
        (Pick::Networks(_), None) => "--iface=LINK".into(),
    };
    vec![
        "Tell Flannel which link is meant; give `--iface` once for each name that it has on some node:".into(),
        format!(
            "$ kubectl -n kube-flannel patch ds kube-flannel-ds --type json \
             -p '[{{\"op\":\"add\",\"path\":\"/spec/template/spec/containers/0/args/-\",\"value\":\"{argument}\"}}]'"
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::setup::Host;

    fn lines(tunnel: &str, cni: Cni, networks: &[&str], reaches: Option<&str>) -> Vec<String> {
        let fix = Fix::TunnelUnderlay {
            tunnel: tunnel.into(),
            link: Some("vmbr1".into()),
            address: Some("10.0.0.11".parse().unwrap()),
            networks: networks.iter().map(|&network| network.into()).collect(),
            reaches: reaches.map(|address| address.parse().unwrap()),
            elsewhere: Vec::new(),
        };
        super::tunnel(&fix, Setup { cni, host: Host::Plain })
    }

    #[test]
    fn calico_is_told_the_network_in_both_installations() {
        insta::assert_snapshot!(lines("vxlan.calico", Cni::Calico, &["10.0.0.0/24"], None).join("\n"), @r#"
vxlan.calico of this node belongs on vmbr1 (10.0.0.11).
Tell Calico which network is meant; it holds for all nodes. Calico installed by its operator:
$ kubectl patch installation.operator.tigera.io default --type merge -p '{"spec":{"calicoNetwork":{"nodeAddressAutodetectionV4":{"firstFound":null,"cidrs":["10.0.0.0/24"]}}}}'
Calico installed by manifest:
$ kubectl -n kube-system set env ds/calico-node 'IP_AUTODETECTION_METHOD=cidr=10.0.0.0/24'
"#);
    }

    #[test]
    fn patches_are_json() {
        let all = [
            lines("vxlan.calico", Cni::Calico, &["10.0.0.0/24", "10.0.1.0/24"], None),
            lines("vxlan.calico", Cni::Calico, &[], Some("10.0.0.12")),
            lines("vxlan.calico", Cni::Calico, &[], None),
            lines("flannel.1", Cni::Flannel, &["10.0.0.0/24"], None),
        ];
        let patches = all.iter().flatten().filter_map(|line| line.split_once(" -p '"));
        let patches: Vec<serde_json::Value> =
            patches.map(|(_, patch)| serde_json::from_str(patch.trim_end_matches('\'')).unwrap()).collect();
        let detection =
            |patch: &serde_json::Value| patch["spec"]["calicoNetwork"]["nodeAddressAutodetectionV4"].clone();
        assert_eq!(detection(&patches[0])["cidrs"][1], "10.0.1.0/24");
        assert_eq!(detection(&patches[1])["canReach"], "10.0.0.12");
        assert!(patches[..3].iter().all(|patch| detection(patch)["firstFound"].is_null()), "two methods are refused");
        assert_eq!(patches[3][0]["value"], "--iface=vmbr1");
    }

    #[test]
    fn where_peers_share_no_subnet_the_way_to_one_of_them_is_the_rule() {
        let lines = lines("flannel.1", Cni::Flannel, &[], Some("172.16.2.10")).join("\n");
        assert!(lines.contains("--iface-can-reach=172.16.2.10"), "{lines}");
    }

    #[test]
    fn a_tunnel_of_no_known_maker_is_made_again() {
        assert!(lines("vxlan0", Cni::Calico, &["10.0.0.0/24"], None)[1].starts_with("Whatever made vxlan0"));
    }
}
