//! A tunnel that breaks TCP: its checksum offload switched off to see whether it is the cause, and kept off.
//!
//! Whoever sends computes the checksum, so the node to change is the one that bytes are lost *from*. A device's features
//! are gone when its CNI makes it again, so what keeps them is the CNI's own setting where it has one, else udev.

use std::net::SocketAddr;

use crate::snapshot::Setup;
use crate::snapshot::setup::Cni;
use crate::transfer::{Direction, PATH};

use super::{calico, maker};

pub(super) fn tunnel(tunnel: &str, agent: SocketAddr, direction: Direction, setup: Setup) -> Vec<String> {
    let sender = match direction {
        Direction::ToPeer => "this node, which sends what is lost",
        Direction::FromPeer => "the peer, which sends what is lost",
        Direction::Both => "both nodes",
    };
    let mut lines = vec![
        format!("See whether the tunnel's checksum offload is the cause: switch it off on {sender}:"),
        format!("$ ethtool -K {tunnel} tx-checksum-ip-generic off"),
        "Then move bulk by hand, from this node; within a second it is to say 65536:".into(),
    ];
    lines.extend(by_hand(agent, direction));
    match maker(tunnel, setup) {
        Cni::Calico => {
            lines.push("If that helped, keep it off:".into());
            lines.extend(calico::no_offload());
        }
        Cni::Flannel | Cni::Cilium | Cni::Unknown => lines.push(udev(tunnel)),
    }
    lines.extend([
        format!(
            "If it did not, switch it on again and see where segments get lost: `TcpInCsumErrors` that rise on the \
             receiver say that they arrive broken; segments of full size that leave {tunnel} here and never come in \
             there say that something between drops them."
        ),
        format!("$ nstat -az TcpInCsumErrors; tcpdump -ni {tunnel} tcp port {}", agent.port()),
    ]);
    lines
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

    fn text(name: &str, cni: Cni, direction: Direction) -> String {
        tunnel(name, "10.244.2.0:9747".parse().unwrap(), direction, Setup { cni, host: Host::Plain }).join("\n")
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
        let lines = tunnel("t", "[fd00::2]:9747".parse().unwrap(), Direction::FromPeer, Setup::default());
        assert!(lines.iter().any(|line| line.contains("http://[fd00::2]:9747/transfer")), "{lines:#?}");
    }
}
