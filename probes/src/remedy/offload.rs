//! A tunnel that breaks TCP: its checksum offload switched off to see whether it is the cause, and kept off.
//!
//! Whoever sends computes the checksum, so the node to change is the one that bytes are lost *from*. A device's features
//! are gone when its CNI makes it again, so what keeps them is the CNI's own setting where it has one, else udev.

use std::net::SocketAddr;

use crate::snapshot::Setup;
use crate::snapshot::setup::Cni;
use crate::transfer::{Direction, PATH};

use super::{Fix, calico, maker};

pub(super) fn tunnel(fix: &Fix, setup: Setup) -> Vec<String> {
    let Fix::TunnelOffload { tunnel, agent, direction, checksums, suspects } = fix else { return Vec::new() };
    let mut lines = match sender(*direction, *checksums) {
        Some(sender) => checksums_off(tunnel, sender, *agent, *direction, setup),
        None => vec![format!(
            "{tunnel} finishes its checksums itself on this node, which sends what is lost \
             (`ethtool -k {tunnel}`: tx-checksum-ip-generic is off): they are not the cause."
        )],
    };
    let again = if lines.len() > 1 { "If it did not, switch it on again. " } else { "" };
    if !suspects.is_empty() {
        lines.push(format!("{again}See whether one of the other offloads is, which are on here, and move bulk again:"));
        lines.extend(suspects.iter().map(|(link, names)| off(link, names)));
        lines.extend(by_hand(*agent, *direction).filter(|_| again.is_empty()));
    }
    let first = if suspects.is_empty() { again } else { "If none of them is, switch them on again. " };
    lines.extend([
        format!(
            "{first}See where segments get lost: `TcpInCsumErrors` that rise on the receiver say that they arrive broken; \
             segments of full size that leave {tunnel} here and never come in there say that something between drops them."
        ),
        format!("$ nstat -az TcpInCsumErrors; tcpdump -ni {tunnel} tcp port {}", agent.port()),
    ]);
    lines
}

/// Who sends what is lost with checksums that are left to others; `None` if nobody does.
fn sender(direction: Direction, checksums: Option<bool>) -> Option<&'static str> {
    match (direction, checksums) {
        (Direction::ToPeer, Some(false)) => None,
        (Direction::ToPeer, _) => Some("this node, which sends what is lost"),
        (Direction::FromPeer, _) => Some("the peer, which sends what is lost"),
        (Direction::Both, Some(false)) => Some("the peer (on this node it is off)"),
        (Direction::Both, _) => Some("both nodes"),
    }
}

fn checksums_off(tunnel: &str, sender: &str, agent: SocketAddr, direction: Direction, setup: Setup) -> Vec<String> {
    let mut lines = vec![
        format!("See whether the tunnel's checksum offload is the cause: switch it off on {sender}:"),
        off(tunnel, &["tx-checksum-ip-generic"]),
        "Then move bulk by hand, from this node; within a second it is to say 65536:".into(),
    ];
    lines.extend(by_hand(agent, direction));
    lines.extend(kept_off(tunnel, setup));
    lines
}

/// A device's features last as long as the device.
pub(super) fn kept_off(tunnel: &str, setup: Setup) -> Vec<String> {
    match maker(tunnel, setup) {
        Cni::Calico => std::iter::once("If that helped, keep it off:".into()).chain(calico::no_offload()).collect(),
        Cni::Flannel | Cni::Cilium | Cni::Unknown => vec![udev(tunnel)],
    }
}

fn off(link: &str, names: &[&str]) -> String {
    names.iter().fold(format!("$ ethtool -K {link}"), |command, name| format!("{command} {name} off"))
}

fn by_hand(agent: SocketAddr, direction: Direction) -> impl Iterator<Item = String> {
    let to = format!("$ head -c 65536 /dev/zero | curl -sm 10 --data-binary @- http://{agent}{PATH}");
    let from = format!("$ curl -sm 10 http://{agent}{PATH} | wc -c");
    let to = (direction != Direction::FromPeer).then_some(to);
    let from = (direction != Direction::ToPeer).then_some(from);
    to.into_iter().chain(from)
}

/// Flannel, alone or in k3s, has no setting for it.
fn udev(tunnel: &str) -> String {
    format!(
        "If that helped, keep it off by a line in /etc/udev/rules.d/90-mtu.rules of every node: `SUBSYSTEM==\"net\", ACTION==\"add\", \
         KERNEL==\"{tunnel}\", RUN+=\"/usr/sbin/ethtool -K {tunnel} tx-checksum-ip-generic off\"`."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::setup::Host;

    fn fix(tunnel: &str, agent: &str, direction: Direction) -> Fix {
        let (tunnel, agent) = (tunnel.into(), agent.parse().unwrap());
        Fix::TunnelOffload { tunnel, agent, direction, checksums: Some(true), suspects: Vec::new() }
    }

    fn text(name: &str, cni: Cni, direction: Direction) -> String {
        tunnel(&fix(name, "10.244.2.0:9747", direction), Setup { cni, host: Host::Plain }).join("\n")
    }

    /// With what is known of this node's links.
    fn knowing(way: Direction, off: bool, on: &[(&str, &[&'static str])]) -> String {
        let mut fix = fix("flannel.1", "10.244.2.0:9747", way);
        let Fix::TunnelOffload { checksums, suspects, .. } = &mut fix else { unreachable!() };
        *checksums = Some(!off);
        *suspects = on.iter().map(|(link, names)| ((*link).to_owned(), names.to_vec())).collect();
        tunnel(&fix, Setup { cni: Cni::Flannel, host: Host::Plain }).join("\n")
    }

    #[test]
    fn what_is_off_already_is_not_switched_off() {
        let off = "ethtool -K flannel.1 tx-checksum-ip-generic off";
        assert!(knowing(Direction::ToPeer, false, &[]).contains(off));
        assert!(!knowing(Direction::ToPeer, true, &[]).contains(off));
        assert!(knowing(Direction::FromPeer, true, &[]).contains(off), "the peer's is another");
        assert!(knowing(Direction::Both, true, &[]).contains("off on the peer (on this node it is off)"));
        insta::assert_snapshot!(knowing(Direction::ToPeer, true, &[("eth0", &["tx-udp_tnl-segmentation"])]), @r#"
flannel.1 finishes its checksums itself on this node, which sends what is lost (`ethtool -k flannel.1`: tx-checksum-ip-generic is off): they are not the cause.
See whether one of the other offloads is, which are on here, and move bulk again:
$ ethtool -K eth0 tx-udp_tnl-segmentation off
$ head -c 65536 /dev/zero | curl -sm 10 --data-binary @- http://10.244.2.0:9747/transfer
If none of them is, switch them on again. See where segments get lost: `TcpInCsumErrors` that rise on the receiver say that they arrive broken; segments of full size that leave flannel.1 here and never come in there say that something between drops them.
$ nstat -az TcpInCsumErrors; tcpdump -ni flannel.1 tcp port 9747
"#);
    }

    #[test]
    fn other_suspects_come_next() {
        let nic: &[(&str, &[&str])] = &[("eth0", &["tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"])];
        let text = knowing(Direction::ToPeer, false, nic);
        let next = text.lines().skip_while(|line| !line.starts_with("If it did not, switch it on again. See whether"));
        let command = "$ ethtool -K eth0 tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off";
        assert_eq!(next.take(2).last(), Some(command), "{text}");
    }

    #[test]
    fn the_sender_is_changed_and_its_direction_is_tried() {
        let to = text("vxlan.calico", Cni::Calico, Direction::ToPeer);
        assert!(to.contains("off on this node") && to.contains("--data-binary") && !to.contains("wc -c"), "{to}");
        let from = text("vxlan.calico", Cni::Calico, Direction::FromPeer);
        assert!(
            from.contains("off on the peer") && !from.contains("--data-binary") && from.contains("wc -c"),
            "{from}"
        );
        let both = text("vxlan.calico", Cni::Calico, Direction::Both);
        assert!(both.contains("both nodes") && both.contains("--data-binary") && both.contains("wc -c"), "{both}");
    }

    #[test]
    fn each_cni_keeps_it_in_its_own_way() {
        assert!(text("vxlan.calico", Cni::Calico, Direction::Both).contains("ChecksumOffloadBroken=true"));
        let flannel = text("flannel.1", Cni::Flannel, Direction::Both);
        assert!(flannel.contains("KERNEL==\"flannel.1\"") && !flannel.contains("felix"), "{flannel}");
        assert!(text("vxlan9", Cni::Calico, Direction::Both).contains("udev"), "not Calico's own");
    }

    #[test]
    fn an_ipv6_agent_is_named_as_a_url_takes_it() {
        let lines = tunnel(&fix("t", "[fd00::2]:9747", Direction::FromPeer), Setup::default());
        assert!(lines.iter().any(|line| line.contains("http://[fd00::2]:9747/transfer")), "{lines:#?}");
    }
}
