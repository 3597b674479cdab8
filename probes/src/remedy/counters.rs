//! What the kernel's counters tell of: packets that do not pass, and tables that are full.

use crate::snapshot::Setup;
use crate::units::Family;

use super::offload;

/// What a counter or a table of the machine says is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterFault {
    /// Packets too large to be sent on are dropped, and nobody is told.
    DroppedInSilence {
        /// Their family.
        family: Family,
        /// Tunnels of the node.
        tunnels: Vec<String>,
    },
    /// Packets too large to be sent on are dropped, their senders are told, and more keep coming.
    DroppedAndTold {
        /// Their family.
        family: Family,
    },
    /// Fragments never become whole.
    NeverWhole {
        /// Their family.
        family: Family,
        /// Tunnels of the node.
        tunnels: Vec<String>,
    },
    /// Datagrams come with wrong checksums.
    WrongChecksums {
        /// Tunnels of the node.
        tunnels: Vec<String>,
    },
    /// More neighbours have to be kept.
    MoreNeighbours {
        /// Of this family.
        family: Family,
        /// How many.
        most: u64,
    },
    /// More connections have to be tracked.
    MoreConnections {
        /// How many.
        most: u64,
    },
}

pub(super) fn mended(fault: &CounterFault, setup: Setup) -> Vec<String> {
    match fault {
        CounterFault::DroppedInSilence { family, tunnels } => dropped_in_silence(*family, tunnels),
        CounterFault::DroppedAndTold { family } => dropped_and_told(*family),
        CounterFault::NeverWhole { family, tunnels } => never_whole(*family, tunnels),
        CounterFault::WrongChecksums { tunnels } => wrong_checksums(tunnels, setup),
        CounterFault::MoreNeighbours { family, most } => more_neighbours(*family, *most),
        CounterFault::MoreConnections { most } => more_connections(*most),
    }
}

fn dropped_in_silence(family: Family, tunnels: &[String]) -> Vec<String> {
    let mut lines = vec![
        "Find the link that is smaller than what is sent into it:".to_owned(),
        "$ bridge -d link; ip -d link | grep -E 'mtu|bridge'".into(),
        "A bridge drops what is too large for one of its ports: give all of its ports one MTU.".into(),
    ];
    if family == Family::Ipv4 && !tunnels.is_empty() {
        lines.push(format!(
            "A tunnel that sets DF ({}) drops what is too large once wrapped: lower its MTU and that of pods, or raise \
             that of the network below.",
            tunnels.join(", ")
        ));
    }
    lines
}

fn dropped_and_told(family: Family) -> Vec<String> {
    let capture = match family {
        Family::Ipv4 => "$ tcpdump -ni any -c 20 'icmp[0] = 3 and icmp[1] = 4'",
        Family::Ipv6 => "$ tcpdump -ni any -c 20 'icmp6 and ip6[40] = 2'",
    };
    vec![
        "See who is told, again and again:".into(),
        capture.into(),
        "If they are this node's pods, give them the MTU of the way out, and recreate those that were born with more. \
         If they are others, see that this error reaches them: no filter on the way may drop it."
            .into(),
    ]
}

fn never_whole(family: Family, tunnels: &[String]) -> Vec<String> {
    let capture = match family {
        Family::Ipv4 => "$ tcpdump -ni any -c 20 'ip[6:2] & 0x3fff != 0'",
        Family::Ipv6 => "$ tcpdump -ni any -c 20 'ip6[6] = 44'",
    };
    let mut lines = vec!["See whose fragments come, and which parts are missing:".to_owned(), capture.into()];
    let outer =
        if tunnels.is_empty() { String::new() } else { format!(", outer packets of {} too,", tunnels.join(", ")) };
    lines.push(format!(
        "Let nothing on the way drop fragments{outer} or send nothing that has to be cut: an MTU that fits the way."
    ));
    lines
}

/// What this machine's own pods and sockets send has no checksum yet where it is captured: it would look wrong.
fn wrong_checksums(tunnels: &[String], setup: Setup) -> Vec<String> {
    let device = tunnels.first().map_or("NIC", String::as_str);
    let what = if tunnels.is_empty() { "its NIC" } else { "the tunnel device" };
    let mut lines = vec![
        "See which machine sends them, and by which link they come (what this one's own pods send looks the same and is right):".to_owned(),
        "$ tcpdump -Q in -ni any -vv -c 200 udp 2>/dev/null | grep -B1 'bad udp cksum'".into(),
        format!(
            "On that machine, let the kernel make checksums in place of {what}; see whether the counter stands still:"
        ),
        format!("$ ethtool -K {device} tx-checksum-ip-generic off"),
    ];
    if tunnels.is_empty() {
        lines.push("If that helped, update the driver and firmware of that NIC.".into());
    } else {
        lines.extend(offload::kept_off(device, setup));
    }
    lines
}

/// The lower thresholds follow: from `gc_thresh2` on each new entry makes the kernel look for old ones.
fn more_neighbours(family: Family, most: u64) -> Vec<String> {
    let ip = family.name();
    let keys = [(1, most / 8), (2, most / 2), (3, most)].map(|(number, value)| (format!("gc_thresh{number}"), value));
    let mut lines = vec!["Let the machine keep more; this holds for the node and all of its pods:".to_owned()];
    lines.extend(keys.map(|(key, value)| format!("$ sysctl -w net.{ip}.neigh.default.{key}={value}")));
    lines.push("To keep it so: the same three lines in /etc/sysctl.d/99-k8s.conf, then `sysctl --system`.".into());
    lines.push("If there are far fewer machines and pods than entries, somebody scans the network:".into());
    lines.push(format!("$ ip -{} neigh show nud failed | wc -l", if family == Family::Ipv4 { 4 } else { 6 }));
    lines
}

fn more_connections(most: u64) -> Vec<String> {
    vec![
        "See who holds them, and whether that is meant:".into(),
        r"$ conntrack -L 2>/dev/null | sed 's/^[^=]*src=\([^ ]*\).*/\1/' | sort | uniq -c | sort -n | tail".into(),
        "Make room for more; each takes some 300 bytes:".into(),
        format!("$ sysctl -w net.netfilter.nf_conntrack_max={most}"),
        format!(
            "To keep it so: kube-proxy sets this limit when it starts, so `conntrack.min: {most}` in its configuration; \
             without kube-proxy `net.netfilter.nf_conntrack_max = {most}` in /etc/sysctl.d/99-k8s.conf."
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::setup::{Cni, Host};

    impl CounterFault {
        /// Gives it another tunnel.
        pub(in crate::remedy) fn rename(&mut self, to: &str) {
            if let Self::DroppedInSilence { tunnels, .. }
            | Self::NeverWhole { tunnels, .. }
            | Self::WrongChecksums { tunnels } = self
            {
                tunnels.iter_mut().for_each(|tunnel| *tunnel = to.into());
            }
        }
    }

    fn rendered(fault: CounterFault) -> String {
        mended(&fault, Setup { cni: Cni::Flannel, host: Host::Plain }).join("\n")
    }

    #[test]
    fn a_tunnel_is_named_only_where_its_outer_packets_may_set_df() {
        let silence = |family, tunnels: &[&str]| {
            rendered(CounterFault::DroppedInSilence {
                family,
                tunnels: tunnels.iter().map(|&one| one.into()).collect(),
            })
        };
        assert!(silence(Family::Ipv4, &["vxlan.calico"]).contains("vxlan.calico"));
        assert!(!silence(Family::Ipv6, &["vxlan.calico"]).contains("vxlan.calico"));
        assert!(!silence(Family::Ipv4, &[]).contains("tunnel"));
    }

    #[test]
    fn each_family_has_its_own_capture() {
        let told = |family| rendered(CounterFault::DroppedAndTold { family });
        assert!(told(Family::Ipv4).contains("icmp[0] = 3") && told(Family::Ipv6).contains("ip6[40] = 2"));
        let pieces = |family| rendered(CounterFault::NeverWhole { family, tunnels: Vec::new() });
        assert!(pieces(Family::Ipv4).contains("0x3fff") && pieces(Family::Ipv6).contains("ip6[6] = 44"));
    }

    #[test]
    fn checksums_are_made_on_the_device_that_is_there() {
        let device = |tunnels: &[&str]| {
            rendered(CounterFault::WrongChecksums { tunnels: tunnels.iter().map(|&one| one.into()).collect() })
        };
        assert!(device(&["flannel.1"]).contains("ethtool -K flannel.1 tx"));
        assert!(device(&["flannel.1"]).contains("90-mtu.rules"), "it is gone with the device");
        assert!(device(&[]).contains("ethtool -K NIC tx") && !device(&[]).contains("rules"));
    }

    #[test]
    fn thresholds_are_raised_together() {
        let lines = rendered(CounterFault::MoreNeighbours { family: Family::Ipv6, most: 2048 });
        for threshold in ["thresh1=256", "thresh2=1024", "thresh3=2048"] {
            assert!(lines.contains(&format!("net.ipv6.neigh.default.gc_{threshold}")), "{lines}");
        }
    }

    #[test]
    fn a_limit_is_kept_where_it_is_set() {
        assert!(rendered(CounterFault::MoreConnections { most: 524_288 }).contains("conntrack.min: 524288"));
    }
}
