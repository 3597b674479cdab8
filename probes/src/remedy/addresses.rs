//! Addresses for pods: first those that nobody has, then more of them.
//!
//! A file of `host-local` may go once no sandbox has the address; its first line names the sandbox that it was given to. A
//! sandbox in the making has its file before the runtime lists it, so new pods are kept away, and those of daemon sets,
//! which come all the same, are told from leftovers by a second look. The plugin frees nothing by itself (its newest
//! version has no `GC`). What Kubernetes gave a node as pod subnet stays as it is: the API server refuses to change it,
//! and the mask is that of the controller manager's flag at the time when the node came.
//!
//! Calico's `blockSize` cannot be changed in a pool that exists. `calicoctl` takes a report of leaks only while the
//! datastore is locked, and one made under the lock. It takes `maxBlocksPerHost` only together with `strictAffinity`.

use super::Setup;
use crate::snapshot::setup::Cni;
use crate::units::Family;

/// Why pods get no addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressesFault {
    /// The ranges of `host-local` are given away.
    Ranges {
        /// The folder with a file for each.
        folder: String,
        /// The file that the ranges stand in.
        written: String,
        /// Their family.
        family: Family,
        /// How many no pod has, where that is known.
        left_over: Option<u64>,
    },
    /// Calico has no further block for the node.
    Blocks {
        /// The number of blocks that it gives a node, where that is the reason.
        most: Option<u64>,
    },
}

pub(super) fn enough(fault: &AddressesFault, setup: Setup) -> Vec<String> {
    match fault {
        AddressesFault::Ranges { folder, written, family, left_over } => {
            let mut lines = if *left_over == Some(0) { Vec::new() } else { free(folder, *family) };
            lines.extend(larger(written, setup.cni));
            lines
        }
        AddressesFault::Blocks { most } => blocks(*most),
    }
}

/// Files whose sandbox is gone.
fn free(folder: &str, family: Family) -> Vec<String> {
    let names = match family {
        Family::Ipv4 => "[0-9]*.*.*.*",
        Family::Ipv6 => "*:*",
    };
    vec![
        "Free what no pod has. Keep new pods away meanwhile, and list the files whose sandbox is gone:".into(),
        "$ kubectl cordon THIS_NODE".into(),
        format!(
            "$ P=$(crictl pods -q) && for f in {folder}/{names}; do id=$(head -n1 \"$f\" | tr -d '\\r'); \
             case \"$P\" in *\"$id\"*) ;; *) echo \"$f\";; esac; done"
        ),
        "Remove those that it lists a minute later as well, if no pod has their address (`kubectl get pods -A -o wide \
         --field-selector spec.nodeName=THIS_NODE`), and nothing else there. Then:"
            .into(),
        "$ kubectl uncordon THIS_NODE".into(),
        format!(
            "So that a reboot leaves none behind: the line `r! {folder}/*` in /etc/tmpfiles.d/pod-addresses.conf, by which \
             systemd removes them before pods are started."
        ),
    ]
}

/// More addresses, or fewer pods.
fn larger(written: &str, cni: Cni) -> Vec<String> {
    let of_node = cni == Cni::Flannel || written == crate::declared::flannel::SUBNET;
    let compare = "$ kubectl get node THIS_NODE -o jsonpath='{.spec.podCIDRs} {.status.allocatable.pods}'";
    if of_node {
        return vec![
            "See how many pods the node may have, and of which subnet:".into(),
            compare.into(),
            format!(
                "{written} follows that subnet, and no node gets another one while it exists. Let the node have fewer pods \
                 (`maxPods` in the kubelet's configuration), or give nodes larger subnets \
                 (`--node-cidr-mask-size` of kube-controller-manager) and let this one join anew."
            ),
        ];
    }
    vec![
        format!(
            "More addresses: {written} names the ranges. Another range in the same inner list of `ranges` is used once the \
             first is full; the network has to lead it to this node. Where a template or the node's pod subnet fills that \
             file in, change it there."
        ),
        "Or fewer pods (`maxPods` in the kubelet's configuration). See how many the node may have, and of which subnet:"
            .into(),
        compare.into(),
    ]
}

fn blocks(most: Option<u64>) -> Vec<String> {
    let mut lines = vec![
        "See what the pools have left, and who borrows:".to_owned(),
        "$ calicoctl ipam show --show-blocks".into(),
        "$ calicoctl ipam show --show-borrowed".into(),
        "See whether addresses leaked:".into(),
        "$ calicoctl ipam check --show-problem-ips".into(),
        "If so, lock the datastore (no pod starts or stops meanwhile), and free what a report made under the lock \
         names:"
            .into(),
        "$ calicoctl datastore migrate lock && calicoctl ipam check -o report.json && calicoctl ipam release \
         --from-report report.json; calicoctl datastore migrate unlock"
            .into(),
    ];
    if let Some(most) = most {
        lines.push(format!(
            "If the node is to have more than {most} blocks of a family; without borrowing, which that limit stops anyway:"
        ));
        lines.push(format!(
            "$ calicoctl ipam configure --strictaffinity=true --max-blocks-per-host={}",
            most.saturating_mul(2)
        ));
    }
    lines.push(
        "Or add an IPPool of unused addresses, inside the cluster's pod network where kube-proxy was told one (in \
         `spec.calicoNetwork.ipPools` of the Installation if the operator keeps the pools). A pool's `blockSize` stays as \
         it is: many nodes with few pods waste less in a new pool of smaller blocks."
            .into(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::flannel;

    fn ranges(written: &str, left_over: Option<u64>, cni: Cni) -> String {
        let folder = "/var/lib/cni/networks/cbr0".into();
        let fault = AddressesFault::Ranges { folder, written: written.into(), family: Family::Ipv4, left_over };
        enough(&fault, Setup { cni, ..Setup::default() }).join("\n")
    }

    #[test]
    fn what_nobody_has_is_freed_first_and_only_where_there_may_be_some() {
        let lines = ranges(flannel::SUBNET, Some(9), Cni::Flannel);
        assert!(lines.starts_with("Free what no pod has."), "{lines}");
        assert!(lines.contains("for f in /var/lib/cni/networks/cbr0/[0-9]*.*.*.*; do"), "{lines}");
        assert!(ranges(flannel::SUBNET, None, Cni::Flannel).starts_with("Free"), "nobody looked");
        assert!(ranges(flannel::SUBNET, Some(0), Cni::Flannel).starts_with("See how many pods"));
    }

    #[test]
    fn a_nodes_own_subnet_stays_and_another_file_is_named() {
        let own = ranges(flannel::SUBNET, Some(0), Cni::Calico);
        assert!(own.contains("--node-cidr-mask-size") && !own.contains("inner list"), "Canal: {own}");
        let other = ranges("/etc/cni/net.d/10-bridge.conf", Some(0), Cni::Unknown);
        assert!(other.contains("More addresses: /etc/cni/net.d/10-bridge.conf") && !other.contains("mask"), "{other}");
    }

    #[test]
    fn files_of_both_families_have_a_pattern() {
        let lines = |family| free("/x", family)[2].clone();
        assert!(lines(Family::Ipv4).contains("/x/[0-9]*.*.*.*;") && lines(Family::Ipv6).contains("/x/*:*;"));
    }

    #[test]
    fn calicos_limit_is_raised_only_where_it_is_the_reason() {
        let lines = |most| blocks(most).join("\n");
        assert!(lines(Some(20)).contains("--strictaffinity=true --max-blocks-per-host=40"));
        assert!(!lines(None).contains("max-blocks") && lines(None).contains("add an IPPool"));
        assert!(lines(None).contains("migrate lock && calicoctl ipam check -o report.json"));
    }
}
