//! Remedies: what must become true, rendered into commands that work today on the set-up that was found.
//!
//! A check says *what* ([`Fix`]); how that is done on a Calico or Flannel cluster, on Proxmox or a plain host, stands
//! in one file each, so that a command that a new version refuses is mended in one place.
//!
//! A line that starts with `$ ` is a command, every other one is a sentence. Values that were observed are filled in;
//! what only the operator knows is in capitals (`NAMESPACE`). A CNI's own knob is named only for the CNI's own tunnel:
//! a `wg0` that an operator made is changed like any other device, whatever CNI runs beside it.

mod addresses;
mod alike;
mod calico;
mod cilium;
mod cni;
mod counters;
mod delivery;
mod flannel;
#[cfg(test)]
mod golden;
mod host;
mod keep;
mod kubernetes;
mod network;
mod offload;
mod pace;
mod pods;
mod queues;
mod sysctl;
mod tunnel;
mod underlay;
mod vtep;

use std::net::{IpAddr, SocketAddr};

use crate::path::Hole;
use crate::snapshot::Setup;
use crate::snapshot::setup::Cni;
use crate::transfer::Direction;
use crate::units::{IpSize, LinkMtu};

pub use addresses::AddressesFault;
pub use cni::Broken as CniBroken;
pub use counters::CounterFault;
pub use delivery::DeliveryFault;
pub use kubernetes::VipHeld;
pub use pace::HeldUp;
pub use vtep::{PortAt, VtepEntry};

/// Something that must become true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// The Kubernetes API is heard.
    ApiHeard {
        /// Why it is not, as far as that is told.
        why: Option<String>,
    },
    /// Rounds end within the interval.
    Pace(HeldUp),
    /// Pods get addresses on this node.
    Addresses(AddressesFault),
    /// What a counter or a table of the machine tells of is no more.
    Counted(CounterFault),
    /// A link is set up and has carrier.
    LinkUp {
        /// The link.
        link: String,
        /// Whether it is up but has no carrier: then the cable or the other end is the matter.
        no_carrier: bool,
        /// The bridge or bond that it is a port of.
        master: Option<String>,
        /// Whether it is a tunnel device, which its CNI keeps.
        tunnel: bool,
    },
    /// A host link has this MTU.
    LinkMtu {
        /// The link.
        link: String,
        /// The device MTU that it has.
        from: LinkMtu,
        /// Device MTU.
        mtu: LinkMtu,
    },
    /// The CNI's tunnel, and the pods over it, have this MTU.
    OverlayMtu {
        /// The tunnel device.
        tunnel: String,
        /// Device MTU.
        mtu: LinkMtu,
        /// Bytes that the tunnel adds.
        overhead: u32,
    },
    /// Calico looks for its MTU at the link that carries its packets.
    CalicoSearch {
        /// The link.
        link: String,
        /// What pods get then.
        mtu: LinkMtu,
    },
    /// Every node has room for a larger tunnel.
    RoomOnEveryNode {
        /// What the tunnel has.
        has: LinkMtu,
        /// What this node has room for.
        room: LinkMtu,
    },
    /// A NIC spreads what it takes in over several processors.
    Queues {
        /// The NIC.
        link: String,
        /// How many queues it is to have.
        queues: u32,
        /// Whether it has no more than the one: then the hypervisor is to give it more.
        at_hypervisor: bool,
    },
    /// Pods have this MTU.
    PodMtu {
        /// The tunnel that their packets to other nodes leave by, if they leave by one.
        tunnel: Option<String>,
        /// Device MTU.
        mtu: LinkMtu,
    },
    /// Pods are recreated: they keep the MTU that they were born with.
    RecreatePods,
    /// Both ends of pods' links have one MTU.
    PodLinkEnds {
        /// The node's ends that can follow, and what the pods' ends have.
        links: Vec<(String, LinkMtu)>,
        /// Node's ends that are ports of a bridge and larger: there the pod's end has to follow.
        ports: Vec<String>,
        /// Addresses of the pods.
        pods: Vec<IpAddr>,
    },
    /// A route has this MTU.
    RouteMtu {
        /// Its destination.
        to: String,
        /// The link that it leaves by.
        link: String,
        /// What it has.
        from: IpSize,
        /// What it is to have.
        mtu: IpSize,
    },
    /// What is written is what there is.
    Declaration {
        /// Where it is written.
        written: String,
        /// What there is.
        mtu: IpSize,
    },
    /// A sysctl has this value, also after a reboot.
    Sysctl {
        /// Key, as in `net.ipv4.ip_forward`.
        key: String,
        /// Value.
        value: String,
    },
    /// A sysctl has the value that the machine's files give it.
    SysctlAsWritten {
        /// Key.
        key: String,
        /// The value that is written.
        value: String,
        /// The lines that win.
        at: Vec<String>,
        /// The value that it has, where there is such a setting.
        instead: Option<String>,
    },
    /// The line that wins for a sysctl gives it this value.
    SysctlLine {
        /// Key.
        key: String,
        /// Value.
        value: String,
        /// The lines that win.
        at: Vec<String>,
        /// Whether the setting has another value now.
        now: bool,
    },
    /// Settings of pods' links have this value, which the CNI gave them when it made the pods.
    PodSettings {
        /// Keys, of a few of the links.
        keys: Vec<String>,
        /// Value.
        value: String,
    },
    /// A bridge has a port that leads to the wire.
    BridgePort {
        /// The bridge.
        bridge: String,
        /// NICs that are ports of nothing.
        free: Vec<String>,
    },
    /// The node has a default route, or one that covers this address.
    DefaultRoute {
        /// The address.
        covers: IpAddr,
        /// The link that leads to other nodes, where one is known.
        link: Option<String>,
    },
    /// A kernel module is loaded, also after a reboot.
    Module {
        /// Its name.
        name: &'static str,
    },
    /// The kernel forgets the path MTUs that it has cached.
    FlushPathMtus,
    /// The path to an address carries this size.
    PathCarries {
        /// The far end.
        to: IpAddr,
        /// The size that it should carry.
        size: IpSize,
        /// What a tunnel adds to that on the wire; 0 where none is crossed.
        overhead: u32,
        /// What it carries.
        carries: IpSize,
        /// How larger packets get lost.
        lost: Lost,
    },
    /// The way back from a peer carries this size.
    WayBackCarries {
        /// The peer's name.
        peer: String,
        /// The address that was probed.
        to: IpAddr,
        /// This node's address on that path, where known: what the peer has to probe.
        here: Option<IpAddr>,
        /// The size that it should carry.
        size: IpSize,
        /// What a tunnel adds to that on the wire; 0 where none is crossed.
        overhead: u32,
        /// Whether larger packets vanish, rather than come in fragments.
        silent: bool,
    },
    /// The path to an address loses nothing.
    PathKeeps {
        /// The far end.
        to: IpAddr,
        /// The peer's name.
        peer: String,
        /// The links that packets leave by, the tunnel first.
        links: Vec<String>,
    },
    /// All paths of equal cost to an address carry this size.
    EqualPathsCarry {
        /// The far end.
        to: IpAddr,
        /// The UDP port there that was asked.
        port: u16,
        /// The size that each should carry.
        size: IpSize,
        /// A source port whose path does.
        good: u16,
        /// A source port whose path does not.
        bad: u16,
        /// Hops that say so, and the MTU that they report.
        hops: Vec<(IpAddr, Option<IpSize>)>,
        /// Whether some paths lose it with nobody saying so.
        silent: bool,
    },
    /// The kernel forgets the path MTU that it has cached for an address, and does not learn it again.
    ForgetPathMtu {
        /// The address.
        to: IpAddr,
        /// Whether less was claimed than the least that the kernel takes.
        locked: bool,
    },
    /// A peer answers.
    PeerAnswers {
        /// Its name.
        peer: String,
        /// Its address.
        address: IpAddr,
        /// The link towards it, where known.
        link: Option<String>,
        /// Whether its neighbour entry is resolved; `None` where that is not known.
        resolved: Option<bool>,
    },
    /// Pods on a peer answer.
    PodsAnswer {
        /// The peer's name.
        peer: String,
        /// One of the pods.
        pod: IpAddr,
    },
    /// A route of this node leads to a peer's pods.
    PodsRouted {
        /// The peer's name.
        peer: String,
        /// One of the pods.
        pod: IpAddr,
        /// The tunnel that it should lead into.
        tunnel: Option<String>,
    },
    /// A tunnel delivers to a peer.
    TunnelDelivers {
        /// The tunnel device; `None` where no route leads into one.
        tunnel: Option<String>,
        /// Its kind, as in `vxlan`.
        kind: Option<&'static str>,
        /// UDP port of its outer packets.
        port: Option<u16>,
        /// The peer's tunnel address.
        overlay: IpAddr,
        /// The peer's node address.
        underlay: Option<IpAddr>,
        /// What is known to be wrong.
        fault: DeliveryFault,
    },
    /// A tunnel has the entries that lead to a peer.
    VtepEntries {
        /// The tunnel device.
        tunnel: String,
        /// Those that are missing or wrong.
        entries: Vec<VtepEntry>,
    },
    /// A tunnel keeps no entries of nobody.
    VtepForgotten {
        /// The tunnel device.
        tunnel: String,
        /// Commands that take away what nothing uses.
        remove: Vec<String>,
        /// Prefixes with several routes.
        routes: Vec<String>,
    },
    /// A tunnel's port is open.
    TunnelPort {
        /// The tunnel device; `None` where no route leads into one.
        tunnel: Option<String>,
        /// Its UDP port.
        port: Option<u16>,
        /// Where it is closed.
        at: PortAt,
    },
    /// A tunnel carries TCP.
    TunnelOffload {
        /// The tunnel device.
        tunnel: String,
        /// The peer's agent, through the tunnel.
        agent: SocketAddr,
        /// Which way bytes are lost.
        direction: Direction,
        /// Whether this node's tunnel leaves checksums to others, where that is known.
        checksums: Option<bool>,
        /// Other offloads of this node's links that are on and may be the cause.
        suspects: Vec<(String, Vec<&'static str>)>,
    },
    /// A tunnel is on the network of its far ends.
    TunnelUnderlay {
        /// The tunnel device.
        tunnel: String,
        /// This node's link on that network, where it is known.
        link: Option<String>,
        /// This node's address there.
        address: Option<IpAddr>,
        /// The networks that ends are to be on; none where it is not known.
        networks: Vec<String>,
        /// An address that is reached by the right link.
        reaches: Option<IpAddr>,
        /// The ends that are wrong; none if it is this node's.
        elsewhere: Vec<String>,
    },
    /// A tunnel is made as on most nodes.
    TunnelLikeOthers {
        /// The tunnel device.
        tunnel: String,
        /// What it is to have, in words, and the value.
        most: Vec<(&'static str, String)>,
    },
    /// One machine has kube-vip's address.
    VipHeldOnce(VipHeld),
    /// kube-vip is told a link that this node has.
    VipInterface {
        /// Its manifest.
        manifest: String,
        /// The link that it is told.
        interface: String,
        /// Links whose network the address is of.
        candidates: Vec<String>,
    },
    /// The kubelet is not given these flags.
    KubeletFlags {
        /// Each flag, and the file and line that gives it.
        flags: Vec<(String, String)>,
    },
    /// The runtime's folder has a CNI file that can be used.
    CniFile {
        /// The folder.
        folder: String,
        /// Whose file it is; that of the CNI that was recognised where it does not say.
        of: Cni,
        /// Files in it that are broken.
        broken: CniBroken,
    },
    /// CNI plugins are there and run.
    CniPlugins {
        /// Those that are not there.
        missing: Vec<String>,
        /// Those that nobody may execute, by path.
        not_executable: Vec<String>,
        /// Where they belong.
        folder: String,
        /// Whose network needs them; the CNI that was recognised where it does not say.
        of: Cni,
    },
    /// These instead of what stands before.
    Instead(Vec<Fix>),
}

/// How a path loses what is larger than it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Somebody says so.
    Told {
        /// The hop; none if it is a link of this machine.
        by: Option<IpAddr>,
    },
    /// Nobody does.
    Silently {
        /// Between which hops, where that is known.
        hole: Option<Hole>,
    },
}

impl Fix {
    /// The CNI whose nodes alone ever need it; `None` for what any node may need.
    pub fn cni(&self) -> Option<Cni> {
        matches!(self, Self::CalicoSearch { .. }).then_some(Cni::Calico)
    }
}

/// The line between two ways of making something true.
pub const INSTEAD: &str = "Or, instead of that:";

/// The lines that make every fix true, in order.
pub fn render(fixes: &[Fix], setup: Setup) -> Vec<String> {
    steps(fixes, setup).concat()
}

/// The same step by step. There are as many in every set-up; one that says nothing there is empty.
pub fn steps(fixes: &[Fix], setup: Setup) -> Vec<Vec<String>> {
    let together = |a: &Fix, b: &Fix| matches!((a, b), (Fix::LinkMtu { .. }, Fix::LinkMtu { .. }));
    let within = |group: &[Fix]| match group {
        [Fix::Instead(others)] => steps(others, setup),
        _ => Vec::new(),
    };
    let step = |group: &[Fix]| std::iter::once(lines(group, setup)).chain(within(group)).collect::<Vec<_>>();
    fixes.chunk_by(together).flat_map(step).collect()
}

fn lines(group: &[Fix], setup: Setup) -> Vec<String> {
    match &group[0] {
        Fix::LinkUp { link, tunnel: true, .. } => tunnel::up(link, setup),
        Fix::LinkUp { link, no_carrier, master, .. } => host::link_up(link, *no_carrier, master.as_deref(), setup.host),
        Fix::LinkMtu { .. } => host::link_mtus(group, setup.host),
        Fix::OverlayMtu { tunnel, mtu, overhead } => tunnel::mtu(tunnel, *mtu, *overhead, setup),
        Fix::CalicoSearch { link, mtu } => calico::search(link, *mtu),
        Fix::RoomOnEveryNode { has, room } => network::room_on_every_node(*has, *room),
        Fix::Queues { link, queues, at_hypervisor: true } => queues::from_hypervisor(link, *queues),
        Fix::Queues { link, queues, at_hypervisor: false } => queues::here(link, *queues),
        Fix::PodMtu { tunnel, mtu } => tunnel::pod_mtu(tunnel.as_deref(), *mtu, setup),
        Fix::RecreatePods => pods::recreate(),
        Fix::PodLinkEnds { links, ports, pods } => pods::ends(links, ports, pods),
        Fix::RouteMtu { to, link, from, mtu } => network::route_mtu(to, link, *from, *mtu),
        Fix::Declaration { written, mtu } => {
            vec![format!("If {mtu} B is what is meant, write that at `{written}`, on every node.")]
        }
        Fix::Sysctl { key, value } => host::sysctl(key, value, setup),
        Fix::SysctlAsWritten { key, value, at, instead } => sysctl::as_written(key, value, at, instead.as_deref()),
        Fix::SysctlLine { key, value, at, now } => sysctl::line(key, value, at, *now),
        Fix::PodSettings { keys, value } => host::pod_settings(keys, value),
        Fix::BridgePort { bridge, free } => host::bridge_port(bridge, free, setup.host),
        Fix::DefaultRoute { covers, link } => host::default_route(*covers, link.as_deref(), setup.host),
        Fix::Module { name } => host::module(name),
        Fix::FlushPathMtus => host::flush_path_mtus(),
        Fix::PathCarries { .. } => network::path_carries(&group[0]),
        Fix::WayBackCarries { .. } => network::way_back_carries(&group[0]),
        Fix::PathKeeps { to, peer, links } => network::path_keeps(*to, peer, links),
        Fix::EqualPathsCarry { .. } => network::equal_paths_carry(&group[0]),
        Fix::ForgetPathMtu { to, locked } => network::forget_path_mtu(*to, *locked),
        Fix::PodsAnswer { peer, pod } => delivery::pods_answer(peer, *pod, setup),
        Fix::PodsRouted { peer, pod, tunnel } => delivery::pods_routed(peer, *pod, tunnel.as_deref(), setup),
        Fix::PeerAnswers { peer, address, link, resolved } => {
            network::peer_answers(peer, *address, link.as_deref(), *resolved)
        }
        Fix::TunnelDelivers { .. } => delivery::tunnel_delivers(&group[0], setup),
        Fix::TunnelOffload { .. } => offload::tunnel(&group[0], setup),
        Fix::VtepEntries { tunnel, entries } => vtep::entries(tunnel, entries, setup),
        Fix::VtepForgotten { tunnel, remove, routes } => vtep::forgotten(tunnel, remove, routes, setup),
        Fix::TunnelPort { tunnel, port, at } => vtep::port(tunnel.as_deref(), *port, at, setup),
        Fix::TunnelUnderlay { .. } => underlay::tunnel(&group[0], setup),
        Fix::TunnelLikeOthers { tunnel, most } => alike::tunnel(tunnel, most, setup),
        Fix::VipHeldOnce(held) => kubernetes::vip_held_once(held),
        Fix::Counted(fault) => counters::mended(fault, setup),
        Fix::ApiHeard { why } => kubernetes::api_heard(why.as_deref()),
        Fix::Pace(held) => pace::kept(held),
        Fix::VipInterface { manifest, interface, candidates } => {
            kubernetes::vip_interface(manifest, interface, candidates)
        }
        Fix::KubeletFlags { flags } => kubernetes::kubelet_flags(flags),
        Fix::Addresses(fault) => addresses::enough(fault, setup),
        Fix::CniFile { folder, of, broken } => cni::file(folder, cni::or_found(*of, setup), broken),
        Fix::CniPlugins { missing, not_executable, folder, of } => {
            cni::plugins(missing, not_executable, folder, cni::or_found(*of, setup))
        }
        // What it is instead has steps of its own.
        Fix::Instead(_) => vec![INSTEAD.to_owned()],
    }
}

/// The CNI that made a tunnel device, if one did.
fn maker(tunnel: &str, setup: Setup) -> Cni {
    let made = match setup.cni {
        Cni::Calico => tunnel.ends_with(".calico") || tunnel.ends_with(".cali") || tunnel == "tunl0",
        Cni::Flannel => tunnel.starts_with("flannel"),
        Cni::Cilium => tunnel.starts_with("cilium_"),
        Cni::Unknown => false,
    };
    if made { setup.cni } else { Cni::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::setup::Host;

    fn text(fix: Fix, cni: Cni) -> String {
        render(&[fix], Setup { cni, host: Host::Plain }).join("\n")
    }

    fn overlay(tunnel: &str) -> Fix {
        Fix::OverlayMtu { tunnel: tunnel.into(), mtu: LinkMtu::new(1450), overhead: 50 }
    }

    #[test]
    fn every_change_of_an_overlay_says_that_pods_keep_their_mtu() {
        for (tunnel, cni) in [
            ("vxlan.calico", Cni::Calico),
            ("flannel.1", Cni::Flannel),
            ("cilium_vxlan", Cni::Cilium),
            ("vxlan0", Cni::Unknown),
        ] {
            assert!(text(overlay(tunnel), cni).contains("Pods keep their MTU until they are recreated"), "{tunnel}");
        }
    }

    #[test]
    fn a_cnis_knob_is_only_for_its_own_tunnel() {
        assert!(text(overlay("vxlan.calico"), Cni::Calico).contains("veth_mtu"));
        let own = text(overlay("wg0"), Cni::Calico);
        assert!(!own.contains("veth_mtu") && own.contains("$ ip link set dev wg0 mtu 1450"), "{own}");
    }

    #[test]
    fn the_other_way_is_set_apart() {
        let link = |mtu| Fix::LinkMtu { link: "eth0".into(), from: LinkMtu::new(1500), mtu: LinkMtu::new(mtu) };
        let lines = render(&[Fix::RecreatePods, Fix::Instead(vec![link(1550)])], Setup::default());
        let at = lines.iter().position(|line| line == "Or, instead of that:").unwrap();
        assert!(at == 2 && lines[at + 1].starts_with("Raise"), "{lines:#?}");
    }

    #[test]
    fn no_line_advises_what_current_versions_refuse() {
        let setups = [Cni::Calico, Cni::Flannel, Cni::Cilium, Cni::Unknown];
        for check in crate::checks::ALL {
            for cni in setups {
                let lines = render(&check.example().fixes, Setup { cni, host: Host::Proxmox });
                let all = lines.into_iter().filter(|line| !line.starts_with("Delete ")).collect::<Vec<_>>().join("\n");
                for refused in ["vxlanMTU", "FELIX_", "network-plugin-mtu", "ifdown"] {
                    assert!(!all.contains(refused), "{}: {refused}", check.entry.code);
                }
            }
        }
    }
}
