//! The entries of a tunnel: made by hand as far as their values are known, until the CNI makes them again.

use std::net::IpAddr;

use crate::snapshot::Setup;

use super::delivery::{made_again, port_closed, routes};

/// An entry that must be there, or be another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VtepEntry {
    /// A route into the tunnel.
    Route {
        /// To this address.
        to: IpAddr,
    },
    /// A neighbour entry.
    Neighbour {
        /// Of this address.
        gateway: IpAddr,
        /// With this hardware address, where it is known.
        mac: Option<String>,
    },
    /// A forwarding entry.
    Forwarding {
        /// For this hardware address, where it is known.
        mac: Option<String>,
        /// To this node, where it is known.
        to: Option<IpAddr>,
    },
}

/// Where a port is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortAt {
    /// On this node: another program has it.
    Here,
    /// On a peer.
    Peer {
        /// Its node address, where it is known.
        node: Option<IpAddr>,
    },
    /// On the way.
    Between {
        /// Who rejects it.
        by: Option<IpAddr>,
        /// The peer's node address, where it is known.
        node: Option<IpAddr>,
    },
}

pub(super) fn entries(tunnel: &str, entries: &[VtepEntry], setup: Setup) -> Vec<String> {
    let by_hand: Vec<String> = entries.iter().filter_map(|entry| by_hand(tunnel, entry)).collect();
    let mut lines = Vec::new();
    if !by_hand.is_empty() {
        lines.push("At once, by hand:".into());
        lines.extend(by_hand);
    }
    let shows: Vec<_> = entries.iter().map(|entry| show(tunnel, entry)).collect();
    lines.extend(made_again(&format!("$ {}", shows.join("; ")), tunnel, setup));
    lines
}

fn by_hand(tunnel: &str, entry: &VtepEntry) -> Option<String> {
    match entry {
        VtepEntry::Route { .. } => None,
        VtepEntry::Neighbour { gateway, mac } => {
            let mac = mac.as_ref()?;
            Some(format!("$ ip neigh replace {gateway} lladdr {mac} dev {tunnel} nud permanent"))
        }
        VtepEntry::Forwarding { mac, to } => {
            let (mac, to) = (mac.as_ref()?, to.as_ref()?);
            Some(format!("$ bridge fdb replace {mac} dev {tunnel} dst {to} self permanent"))
        }
    }
}

fn show(tunnel: &str, entry: &VtepEntry) -> String {
    match entry {
        VtepEntry::Route { to } => routes(*to).trim_start_matches("$ ").to_owned(),
        VtepEntry::Neighbour { .. } => format!("ip neigh show dev {tunnel}"),
        VtepEntry::Forwarding { .. } => format!("bridge fdb show dev {tunnel}"),
    }
}

pub(super) fn forgotten(tunnel: &str, remove: &[String], routes: &[String], setup: Setup) -> Vec<String> {
    let mut lines = Vec::new();
    if !remove.is_empty() {
        lines.push("If the node that they belonged to is gone, take them away:".into());
        lines.extend(remove.iter().map(|command| format!("$ {command}")));
    }
    if !routes.is_empty() {
        let show: Vec<_> = routes.iter().map(|to| format!("ip route show to exact {to} table all")).collect();
        let show = format!("$ {}", show.join("; "));
        lines.push(format!(
            "Ask the CNI which node {} belongs to, and take the other route away: `ip route del` and the whole line that \
             this shows:",
            routes.join(", ")
        ));
        lines.push(show.clone());
        lines.extend(made_again(&show, tunnel, setup));
    }
    lines
}

pub(super) fn port(tunnel: Option<&str>, port: Option<u16>, at: &PortAt, setup: Setup) -> Vec<String> {
    let device = tunnel.unwrap_or("TUNNEL");
    let number = port.map_or_else(|| "PORT".into(), |port| port.to_string());
    let known = |node: Option<IpAddr>| node.map_or_else(|| "PEER".into(), |node| node.to_string());
    match at {
        PortAt::Here => {
            let lines = [
                format!("See which program has UDP {number}; stop it, or give it another port:"),
                format!("$ ss -lunp 'sport = :{number}'"),
                "Then set the tunnel up:".into(),
                format!("$ ip link set dev {device} up"),
            ];
            lines
                .into_iter()
                .chain(made_again(&format!("$ ip route show dev {device}; ip neigh show dev {device}"), device, setup))
                .collect()
        }
        PortAt::Peer { node } => port_closed(&known(*node), device, port),
        PortAt::Between { by, node } => {
            vec![format!("Let UDP {number} to {} pass {}, both ways; it rejects it.", known(*node), known(*by))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::setup::{Cni, Host};

    const CALICO: Setup = Setup { cni: Cni::Calico, host: Host::Plain };
    const UNKNOWN: Setup = Setup { cni: Cni::Unknown, host: Host::Plain };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn forwarding(to: Option<&str>) -> VtepEntry {
        VtepEntry::Forwarding { mac: Some("66:00:00:00:00:02".into()), to: to.map(ip) }
    }

    #[test]
    fn what_is_known_is_written_by_hand_and_the_cni_made_to_write_it() {
        insta::assert_snapshot!(entries("vxlan.calico", &[forwarding(Some("10.0.0.12"))], CALICO).join("\n"), @r#"
At once, by hand:
$ bridge fdb replace 66:00:00:00:00:02 dev vxlan.calico dst 10.0.0.12 self permanent
Let Calico set its tunnel up again on this node. Calico installed by its operator:
$ kubectl -n calico-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
Calico installed by manifest:
$ kubectl -n kube-system delete pod -l k8s-app=calico-node --field-selector spec.nodeName=THIS_NODE
See that the peer's Node has a projectcalico.org VXLAN or IPIP tunnel address; then look at the entries again:
$ bridge fdb show dev vxlan.calico
"#);
    }

    #[test]
    fn what_is_not_known_is_left_to_the_cni() {
        let told = entries("vxlan0", &[forwarding(None), VtepEntry::Route { to: ip("fd00::2") }], UNKNOWN).join("\n");
        insta::assert_snapshot!(told, @r#"
See that whatever programs the tunnel knows the peer; then look at the entries again:
$ bridge fdb show dev vxlan0; ip route get fd00::2; ip -6 route show table all
"#);
        let neighbour = VtepEntry::Neighbour { gateway: ip("10.244.2.0"), mac: None };
        assert!(!entries("vxlan0", &[neighbour], UNKNOWN).join("\n").contains("replace"));
    }

    #[test]
    fn what_is_left_over_goes_and_what_contradicts_is_written_again() {
        let remove = ["ip neigh del 10.244.9.0 dev vxlan0".to_owned()];
        insta::assert_snapshot!(forgotten("vxlan0", &remove, &["10.244.2.0/26".into()], UNKNOWN).join("\n"), @r#"
If the node that they belonged to is gone, take them away:
$ ip neigh del 10.244.9.0 dev vxlan0
Ask the CNI which node 10.244.2.0/26 belongs to, and take the other route away: `ip route del` and the whole line that this shows:
$ ip route show to exact 10.244.2.0/26 table all
See that whatever programs the tunnel knows the peer; then look at the entries again:
$ ip route show to exact 10.244.2.0/26 table all
"#);
    }

    #[test]
    fn a_port_is_opened_where_it_is_closed() {
        insta::assert_snapshot!(port(Some("vxlan0"), Some(4789), &PortAt::Here, UNKNOWN).join("\n"), @r#"
See which program has UDP 4789; stop it, or give it another port:
$ ss -lunp 'sport = :4789'
Then set the tunnel up:
$ ip link set dev vxlan0 up
See that whatever programs the tunnel knows the peer; then look at the entries again:
$ ip route show dev vxlan0; ip neigh show dev vxlan0
"#);
        let peer = PortAt::Peer { node: Some(ip("10.0.0.12")) };
        assert!(port(Some("vxlan0"), Some(4789), &peer, UNKNOWN)[0].starts_with("On 10.0.0.12, vxlan0 must be up"));
        let between = PortAt::Between { by: Some(ip("10.0.0.1")), node: Some(ip("10.0.0.12")) };
        assert!(port(None, None, &between, UNKNOWN)[0].contains("pass 10.0.0.1"));
    }
}
