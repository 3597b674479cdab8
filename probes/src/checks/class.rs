//! Classes of incident: what kind of story a code ends, with public threads that tell it.
//!
//! Threads were read and sorted by root cause, not by symptom: "uploads hang" stands in nearly all of them. Several codes
//! may belong to one class, because one story has several signs. A code that no public thread is known for says so, and
//! why that may be: it is found by hand in a minute, or it hurts in a way that nobody writes about.

/// The kind of incident that a code would have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// "Too big" never reaches the sender.
    BlackHole,
    /// Headers were not subtracted.
    Overhead,
    /// One number in one place, another in the next, or the one of yesterday.
    Mixed,
    /// Software measured the wrong thing.
    Detection,
    /// Answers come in by a link that they may not.
    ReversePath,
    /// A device says that it makes checksums, and does not.
    Offload,
    /// An address that is on two nodes or on none.
    VirtualIp,
    /// The kernel remembers what is no longer true.
    Cache,
    /// Pieces that do not become whole.
    Fragments,
    /// A tunnel's tables know the dead and not the living.
    Entries,
    /// A setting was lost, and packets stop at the node.
    Forwarding,
    /// Headers were subtracted twice.
    Undersized,
    /// Pods find no address left.
    Addresses,
    /// The runtime finds no file or no program that gives pods a network.
    NoNetwork,
    /// An upgrade meets a flag of yesterday.
    Flags,
    /// No public thread is known.
    NoThread {
        /// Why that may be.
        why: &'static str,
    },
}

/// What is known of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Story {
    /// A few words.
    pub title: &'static str,
    /// What happens, again and again.
    pub text: &'static str,
    /// Public threads that tell it, as `owner/repository#number`.
    pub threads: &'static [&'static str],
}

impl Class {
    /// Every class that has a story.
    pub const ALL: [Self; 15] = [
        Self::BlackHole,
        Self::Overhead,
        Self::Mixed,
        Self::Detection,
        Self::ReversePath,
        Self::Offload,
        Self::VirtualIp,
        Self::Cache,
        Self::Fragments,
        Self::Entries,
        Self::Forwarding,
        Self::Undersized,
        Self::Addresses,
        Self::NoNetwork,
        Self::Flags,
    ];

    /// What is known of it; `None` where no public thread is.
    pub const fn story(self) -> Option<Story> {
        Some(match self {
            Self::BlackHole => BLACK_HOLE,
            Self::Overhead => OVERHEAD,
            Self::Mixed => MIXED,
            Self::Detection => DETECTION,
            Self::ReversePath => REVERSE_PATH,
            Self::Offload => OFFLOAD,
            Self::VirtualIp => VIRTUAL_IP,
            Self::Cache => CACHE,
            Self::Fragments => FRAGMENTS,
            Self::Entries => ENTRIES,
            Self::Forwarding => FORWARDING,
            Self::Undersized => UNDERSIZED,
            Self::Addresses => ADDRESSES,
            Self::NoNetwork => NO_NETWORK,
            Self::Flags => FLAGS,
            Self::NoThread { .. } => return None,
        })
    }
}

const BLACK_HOLE: Story = Story {
    title: "\"too big\" never reaches the sender",
    text: "The hop that drops a large packet says so, and the ICMP error goes to another node (ECMP), is eaten by a \
           load balancer, an eBPF program or a firewall, or is never made. Handshakes work, transfers hang.",
    threads: &[
        "cilium/cilium#19720",
        "cilium/cilium#34380",
        "projectcalico/calico#13667",
        "projectcalico/calico#8854",
        "aws/amazon-vpc-cni-k8s#356",
        "ovn-kubernetes/ovn-kubernetes#3762",
    ],
};

const OVERHEAD: Story = Story {
    title: "overhead not subtracted",
    text: "Pods or a tunnel were given the MTU of the network below: 1500 over a tunnel of 1440, VXLAN over \
           WireGuard, an underlay of 1450 taken for 1500.",
    threads: &["easzlab/kubeasz#1444", "kubesphere/kubekey#1572", "kubernetes/kops#7480", "siderolabs/talos#13457"],
};

const MIXED: Story = Story {
    title: "mixed or stale MTU",
    text: "The number was changed in one place. Pods keep the MTU that they were born with, one node of many \
           differs, a cloud's NIC drifts from 1500 to 1450 after a reboot.",
    threads: &[
        "projectcalico/calico#5008",
        "projectcalico/calico#2831",
        "flannel-io/flannel#1999",
        "flannel-io/flannel#1775",
        "cilium/cilium#33258",
    ],
};

const DETECTION: Story = Story {
    title: "autodetection is wrong",
    text: "The CNI looked for the MTU or the address itself and took the wrong NIC: its pattern misses bond0, the \
           minimum counts a NIC that no pod uses, or nothing matches and a default is taken.",
    threads: &[
        "projectcalico/calico#4522",
        "projectcalico/calico#12530",
        "projectcalico/calico#8674",
        "cilium/cilium#14339",
        "k0sproject/k0s#2822",
    ],
};

const REVERSE_PATH: Story = Story {
    title: "reverse-path filter and asymmetric routes",
    text: "A node has two ways to a peer, answers come in by the one that its routes do not name, and strict \
           filtering drops them in silence. The value in force is the larger of `all` and the link's.",
    threads: &[
        "cilium/cilium#13130",
        "kube-vip/kube-vip#1170",
        "projectcalico/calico#4630",
        "ovn-kubernetes/ovn-kubernetes#3006",
    ],
};

const OFFLOAD: Story = Story {
    title: "checksum offload of a tunnel",
    text: "A NIC or tunnel device is trusted to fill in checksums inside the tunnel and does it wrongly. Pings of \
           every size pass; TCP and UDP (DNS before all) are dropped at the receiver.",
    threads: &[
        "projectcalico/calico#9433",
        "projectcalico/calico#4727",
        "projectcalico/calico#11435",
        "flannel-io/flannel#1279",
    ],
};

const VIRTUAL_IP: Story = Story {
    title: "virtual address on two nodes, or on none",
    text: "The control plane's address is held by nobody, or by two nodes at once, and kubectl works now and then.",
    threads: &["kube-vip/kube-vip#1385", "kube-vip/kube-vip#996", "kube-vip/kube-vip#173"],
};

const CACHE: Story = Story {
    title: "path MTU cache poisoned",
    text: "The wire is fine, and the kernel obeys a smaller path MTU that it learned once. It costs speed, or makes \
           probes that set DF fail for days.",
    threads: &["ovn-kubernetes/ovn-kubernetes#5153", "projectcalico/calico#1709", "prometheus/blackbox_exporter#1249"],
};

const FRAGMENTS: Story = Story {
    title: "fragments mishandled",
    text: "Packets are cut on the way, and a load balancer, filter or kernel does not put the pieces together.",
    threads: &["cilium/cilium#8185", "cilium/cilium#29583"],
};

const ENTRIES: Story = Story {
    title: "forwarding, neighbour or route entries are stale",
    text: "A tunnel keeps entries of nodes that are gone and has none for new ones, so some pairs of nodes do not \
           reach each other while all others do.",
    threads: &["projectcalico/calico#7281", "projectcalico/calico#6383", "flannel-io/flannel#654", "k3s-io/k3s#14142"],
};

const FORWARDING: Story = Story {
    title: "forwarding setting lost",
    text: "A network restart, a hardening script or a reboot puts a sysctl back that pods need. The node answers, \
           its pods do not.",
    threads: &["openshift/origin#9931", "kubernetes-sigs/kubespray#1930"],
};

const UNDERSIZED: Story = Story {
    title: "headers subtracted twice",
    text: "Two parts of a set-up each subtract the overhead. Nothing breaks, and every packet is smaller than it \
           could be.",
    threads: &["cloudnativelabs/kube-router#1086"],
};

const ADDRESSES: Story = Story {
    title: "no address left for pods",
    text: "Addresses of pods that are long gone stay taken after a crash or a reboot, or a pool is dealt out. New pods \
           hang in ContainerCreating, old ones run on.",
    threads: &[
        "containernetworking/plugins#697",
        "kubernetes/kubernetes#57280",
        "k3s-io/k3s#5885",
        "cloudnativelabs/kube-router#383",
        "projectcalico/calico#5339",
        "projectcalico/calico#4861",
    ],
};

const NO_NETWORK: Story = Story {
    title: "no network for new pods",
    text: "A change of runtime, an install that was cut short or a cleaned-up folder leaves no CNI file, half of one, or \
           not the program that it names. Pods that run notice nothing; new ones hang in ContainerCreating.",
    threads: &[
        "kubernetes/kubernetes#48798",
        "containerd/containerd#8662",
        "projectcalico/cni-plugin#389",
        "openshift/origin#15210",
        "rancher/rke2#7981",
    ],
};

const FLAGS: Story = Story {
    title: "a flag of yesterday",
    text: "A node is upgraded, and its kubelet ends at once: a file that nobody looked at for years gives it a flag that \
           was taken away.",
    threads: &["kubernetes-sigs/kubespray#8924", "kubernetes/website#34755", "kubernetes/website#36896"],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_class_has_a_title_of_its_own_a_text_and_threads() {
        let stories: Vec<Story> = Class::ALL.iter().map(|class| class.story().unwrap()).collect();
        let titles: BTreeSet<_> = stories.iter().map(|story| story.title).collect();
        assert_eq!(titles.len(), stories.len());
        for story in &stories {
            assert!(story.text.ends_with('.') && !story.threads.is_empty(), "{}", story.title);
        }
        assert_eq!(Class::NoThread { why: "" }.story(), None);
    }

    #[test]
    fn threads_can_be_found_by_what_is_written() {
        for thread in Class::ALL.iter().flat_map(|class| class.story().unwrap().threads) {
            let (repository, number) = thread.split_once('#').unwrap();
            assert!(repository.split('/').count() == 2 && number.parse::<u32>().is_ok(), "{thread}");
        }
    }
}
