//! Nodes that no recipe has: two NICs, bridges with several ports, tunnels without a lower link, policy routing, peers
//! behind several NICs, tunnels in tunnels, an IPv6 underlay.
//!
//! On each the agent must know which links matter and what every path should carry, and find nothing. Then one thing is
//! broken, and exactly one finding is loud: the one about it.

use std::fmt::Write as _;
use std::process::ExitCode;

use lab::harness::{self, test};
use lab::report::Report;
use lab::site::Site;
use lab::wait::{self, Look};
use lab::{Error, Result};
use libtest_mimic::Trial;

fn main() -> ExitCode {
    harness::main(|| {
        [
            two_nics(),
            bridge_of_many(),
            unbound(),
            bound_elsewhere(),
            policy(),
            cross_subnet(),
            flooding(),
            learning(),
            multicast(),
            jumbo_with_small_pods(),
            nested(),
            equal_cost(),
            ipv6_underlay(),
            macvlan(),
        ]
        .map(Node::into_test)
        .into()
    })
}

/// What a look at a report says: nothing, or what is wrong.
type Seen = std::result::Result<(), String>;

/// A node, what must be known of it, and one thing to break.
struct Node {
    name: &'static str,
    script: String,
    /// Peers as in the configuration, one a line.
    peers: &'static [&'static str],
    roles: &'static [(&'static str, &'static str)],
    /// Tunnels and the links below them.
    lower: &'static [(&'static str, &'static str)],
    /// Peer, plane, and what the path should carry. Every one of them is clear.
    carries: &'static [(&'static str, &'static str, u32)],
    /// Changes that nobody should be told of.
    harmless: &'static str,
    fault: &'static str,
    /// Code and subject of the one loud finding.
    raises: (&'static str, &'static str),
}

impl Node {
    fn into_test(self) -> Trial {
        test(self.name, move || self.play())
    }

    fn play(&self) -> Result<()> {
        let mut site = Site::default();
        site.run(&self.script)?;
        self.until(&site, "a node that is known and has nothing wrong", |report| self.knows(report))?;
        if !self.harmless.is_empty() {
            site.run(self.harmless)?;
            self.look(&site, |report| self.knows(report)).map_err(|error| error.while_doing("after the harmless"))?;
        }
        site.run(self.fault)?;
        let (code, subject) = self.raises;
        self.until(&site, &format!("{code} about {subject}, and nothing else aloud"), |report| {
            let loud = report.findings.iter().filter(|finding| finding.silenced_by.is_none());
            let loud: Vec<_> = loud.map(|finding| (finding.code.as_str(), finding.subject.as_str())).collect();
            (loud == [self.raises]).then_some(()).ok_or_else(|| format!("{loud:?}"))
        })
    }

    /// The first reports may still see neighbours being resolved.
    fn until(&self, site: &Site, what: &str, look: impl Fn(&Report) -> Seen) -> Result<()> {
        wait::until(what, || {
            Ok(self.look(site, &look).map_or_else(|error| Look::NotYet(error.to_string()), Look::There))
        })
    }

    fn look(&self, site: &Site, look: impl Fn(&Report) -> Seen) -> Result<()> {
        let mut configuration = "node: here\npeers:\n  kernel: true\n  static:\n".to_owned();
        configuration.extend(self.peers.iter().map(|peer| format!("    - {{ {peer} }}\n")));
        let report = site.report("here", &configuration)?;
        look(&report).map_err(|wrong| Error::new(self.name, format!("{wrong}\n{report}")))
    }

    fn knows(&self, report: &Report) -> Seen {
        for &(name, role) in self.roles {
            let link = report.links.iter().find(|link| link.name == name);
            same(name, link.map(|link| link.role.as_str()), Some(role))?;
        }
        for &(name, lower) in self.lower {
            let tunnel = report.tunnels.iter().find(|tunnel| tunnel.link == name);
            same(name, tunnel.and_then(|tunnel| tunnel.lower.as_deref()), Some(lower))?;
        }
        for &(peer, plane, expected) in self.carries {
            let path = report.path(peer, plane).map(|path| (path.verdict.as_str(), path.expected_mtu));
            same(&format!("{peer} {plane}"), path, Some(("clear", Some(expected))))?;
        }
        if report.findings.is_empty() { Ok(()) } else { Err("something is found".into()) }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, wanted: T) -> Seen {
    if seen == wanted { Ok(()) } else { Err(format!("{what}: {seen:?} instead of {wanted:?}")) }
}

/// The last byte of a node's addresses.
fn number(node: &str) -> u8 {
    match node {
        "here" => 11,
        "there" => 12,
        _ => 13,
    }
}

/// A switch in a namespace of its own, with a wire to each node's `nic`.
fn switch(name: &str, nic: &str, mtu: u32, nodes: &[&str]) -> String {
    let mut script = format!("[{name}]\nip link add name switch type bridge\nip link set switch up\n");
    for node in nodes {
        let port = format!("to-{node}");
        let _ = writeln!(
            script,
            "ip link add name {port} mtu {mtu} type veth peer name {nic} mtu {mtu} netns {{{node}}}\n\
             ip link set {port} master switch up\n[{node}]\nip link set {nic} up\n[{name}]"
        );
    }
    script
}

/// Addresses of a network on a link of each node.
fn addresses(network: &str, link: &str, nodes: &[&str]) -> String {
    let line = |node: &&str| format!("[{node}]\nip address add {network}.{}/24 dev {link}\n", number(node));
    nodes.iter().map(line).collect()
}

/// Management: eth0 and the default route of every node.
fn management(nodes: &[&str]) -> String {
    let mut script = switch("office", "eth0", 1500, nodes) + &addresses("192.168.0", "eth0", nodes);
    script += "[office]\nip address add 192.168.0.1/24 dev switch\n";
    script + &nodes.iter().map(|node| format!("[{node}]\nip route add default via 192.168.0.1\n")).collect::<String>()
}

/// A tunnel as Calico programs it, from one node to others. Each end is a node and its address on the network below.
struct Vxlan<'a> {
    name: &'a str,
    mtu: u32,
    /// What the node that is looked at adds to the end of its line.
    options: &'a str,
    vni: u8,
}

impl Vxlan<'_> {
    fn between(&self, ends: &[(&str, &str)]) -> String {
        let Self { name, mtu, options, vni } = self;
        let mac = |node| format!("66:00:00:00:{vni:02}:{}", number(node));
        let mut script = String::new();
        for &(node, local) in ends {
            let own = number(node);
            let options = if node == "here" { options } else { &"" };
            let _ = writeln!(
                script,
                "[{node}]\nset net/ipv4/ip_forward=1\n\
                 ip link add {name} address {} mtu {mtu} type vxlan id {vni} dstport 4789 local {local} nolearning {options}\n\
                 ip link set {name} up\nip address add 10.{vni}.{own}.0/32 dev {name}",
                mac(node)
            );
            for (peer, address) in ends.iter().filter(|(peer, _)| *peer != node) {
                let (mac, far) = (mac(peer), number(peer));
                let _ = writeln!(
                    script,
                    "ip neigh add 10.{vni}.{far}.0 lladdr {mac} dev {name} nud permanent\n\
                     bridge fdb add {mac} dev {name} dst {address} self permanent\n\
                     ip route add 10.{vni}.{far}.0/26 via 10.{vni}.{far}.0 dev {name} onlink proto 80"
                );
            }
        }
        script
    }
}

const CALICO: Vxlan<'static> = Vxlan { name: "vxlan.calico", mtu: 1450, options: "", vni: 44 };

/// A pod on each node, as Calico has it.
fn pods(nodes: &[&str], mtu: u32) -> String {
    let pod = |node: &&str| {
        let own = number(node);
        format!(
            "[pod-{node}]\n[{node}]\n\
             ip link add cali0a1b2c3d4e5 mtu {mtu} type veth peer name eth0 mtu {mtu} netns {{pod-{node}}}\n\
             ip link set cali0a1b2c3d4e5 up\nset net/ipv4/conf/cali0a1b2c3d4e5/proxy_arp=1\n\
             set net/ipv4/neigh/cali0a1b2c3d4e5/proxy_delay=0\nip route add 10.44.{own}.2 dev cali0a1b2c3d4e5 scope link\n\
             [pod-{node}]\nip link set eth0 up\nip address add 10.44.{own}.2/32 dev eth0\n\
             ip route add 169.254.1.1 dev eth0 scope link\nip route add default via 169.254.1.1\n"
        )
    };
    nodes.iter().map(pod).collect()
}

/// A router between networks, one NIC for each: the switches must be there.
fn router(name: &str, networks: &[(&str, &str, u32)]) -> String {
    let mut script = format!("[{name}]\nset net/ipv4/ip_forward=1\n");
    for (switch, network, mtu) in networks {
        let _ = writeln!(
            script,
            "[{switch}]\nip link add name to-{name} mtu {mtu} type veth peer name {switch} mtu {mtu} netns {{{name}}}\n\
             ip link set to-{name} master switch up\n\
             [{name}]\nip link set {switch} up\nip address add {network}.1/24 dev {switch}"
        );
    }
    script
}

const BOTH: [&str; 2] = ["here", "there"];

/// Two nodes with a management NIC of 1,500 and a cluster's NIC of 9,000.
fn two_networks() -> String {
    management(&BOTH) + &switch("cluster", "eth1", 9000, &BOTH) + &addresses("10.0.0", "eth1", &BOTH)
}

const ENDS: [(&str, &str); 2] = [("here", "10.0.0.11"), ("there", "10.0.0.12")];

fn two_nics() -> Node {
    let calico = Vxlan { mtu: 8950, options: "dev eth1", ..CALICO };
    Node {
        name: "two NICs: management has the default route and another MTU",
        script: two_networks() + &calico.between(&ENDS) + &pods(&BOTH, 8950),
        peers: &["name: there, underlay: 10.0.0.12, pod: 10.44.12.2"],
        roles: &[("eth0", "other"), ("eth1", "underlay"), ("vxlan.calico", "tunnel"), ("cali0a1b2c3d4e5", "pod")],
        lower: &[("vxlan.calico", "eth1")],
        carries: &[("there", "underlay", 9000), ("there", "overlay", 8950), ("there", "pod", 8950)],
        harmless: "[here]\nip link set eth0 mtu 1280\nset net/ipv4/conf/eth0/forwarding=1",
        fault: "[here]\nip link set eth1 mtu 8999",
        raises: ("tunnel-no-headroom", "vxlan.calico"),
    }
}

fn bridge_of_many() -> Node {
    let here = "[here]\nip link add name br0 type bridge\nip link set eth1 master br0\nip link set eth2 master br0\n\
                ip link set br0 up\nip address add 10.0.0.11/24 dev br0\n\
                [guest]\n[here]\nip link add name veth101i0 type veth peer name eth0 netns {guest}\n\
                ip link set veth101i0 master br0 up\n[there]\nip address add 10.0.0.12/24 dev eth1\n";
    Node {
        name: "a bridge with two wired ports and a guest's veth",
        script: management(&BOTH)
            + &switch("cluster", "eth1", 1500, &BOTH)
            + &switch("storage", "eth2", 1500, &["here"])
            + here
            + &CALICO.between(&ENDS)
            + &pods(&BOTH, 1450),
        peers: &["name: there, underlay: 10.0.0.12, pod: 10.44.12.2"],
        roles: &[
            ("br0", "bridge"),
            ("eth1", "underlay"),
            ("eth2", "underlay"),
            ("veth101i0", "other"),
            ("eth0", "other"),
            ("cali0a1b2c3d4e5", "pod"),
        ],
        lower: &[("vxlan.calico", "br0")],
        carries: &[("there", "underlay", 1500), ("there", "overlay", 1450), ("there", "pod", 1450)],
        harmless: "[here]\nip link set veth101i0 down\nip link set eth2 down",
        fault: "[here]\nip link set eth1 down",
        raises: ("link-down", "br0"),
    }
}

const THREE: [&str; 3] = ["here", "there", "beyond"];

/// `there` and `beyond` behind a NIC each, everybody known by an address that hangs on no NIC.
fn two_ways() -> String {
    let near = ["here", "there"];
    let far = ["here", "beyond"];
    let loopbacks = THREE.map(|node| format!("[{node}]\nip address add 10.0.0.{}/32 dev lo\n", number(node))).concat();
    management(&THREE)
        + &switch("red", "eth1", 1500, &near)
        + &switch("blue", "eth2", 1500, &far)
        + &addresses("10.1.0", "eth1", &near)
        + &addresses("10.2.0", "eth2", &far)
        + &loopbacks
        + "[here]\nip route add 10.0.0.12 via 10.1.0.12 src 10.0.0.11\nip route add 10.0.0.13 via 10.2.0.13 src 10.0.0.11\n\
           [there]\nip route add 10.0.0.11 via 10.1.0.11 src 10.0.0.12\nip route add 10.0.0.13 via 10.1.0.11 src 10.0.0.12\n\
           [beyond]\nip route add 10.0.0.11 via 10.2.0.11 src 10.0.0.13\nip route add 10.0.0.12 via 10.2.0.11 src 10.0.0.13\n"
}

const THREE_ENDS: [(&str, &str); 3] = [("here", "10.0.0.11"), ("there", "10.0.0.12"), ("beyond", "10.0.0.13")];

fn unbound() -> Node {
    Node {
        name: "a tunnel without a lower link, peers behind two NICs",
        script: two_ways() + &CALICO.between(&THREE_ENDS) + &pods(&THREE, 1450),
        peers: &[
            "name: there, underlay: 10.0.0.12, pod: 10.44.12.2",
            "name: beyond, underlay: 10.0.0.13, pod: 10.44.13.2",
        ],
        roles: &[("eth0", "other"), ("eth1", "underlay"), ("eth2", "underlay")],
        lower: &[("vxlan.calico", "eth1")],
        carries: &[("there", "pod", 1450), ("beyond", "underlay", 1500), ("beyond", "pod", 1450)],
        harmless: "[here]\nip link set eth0 mtu 1400",
        fault: "[here]\nip link set eth2 mtu 1499",
        raises: ("tunnel-no-headroom", "vxlan.calico"),
    }
}

/// A kernel fact: `dev` binds a VXLAN's default destination only, so packets to `beyond` leave by eth2 all the same.
fn bound_elsewhere() -> Node {
    let calico = Vxlan { options: "dev eth1", ..CALICO };
    Node {
        name: "a tunnel bound to one NIC, a peer behind another",
        script: two_ways() + &calico.between(&THREE_ENDS) + &pods(&THREE, 1450),
        peers: &[
            "name: there, underlay: 10.0.0.12, pod: 10.44.12.2",
            "name: beyond, underlay: 10.0.0.13, pod: 10.44.13.2",
        ],
        roles: &[("eth0", "other"), ("eth1", "underlay"), ("eth2", "underlay")],
        lower: &[("vxlan.calico", "eth1")],
        carries: &[("there", "pod", 1450), ("beyond", "pod", 1450)],
        harmless: "[here]\nip link set eth0 mtu 1400",
        fault: "[here]\nip link set eth2 mtu 1499",
        raises: ("tunnel-no-headroom", "vxlan.calico"),
    }
}

/// The cluster's routes stand in a table that only the cluster's address is sent to. Who asks without that source is told
/// of management, which leads to nobody.
fn policy() -> Node {
    let rules = |node: &str, network: &str| {
        let own = number(node);
        format!(
            "[{node}]\nip address add {network}.{own}/24 dev eth1\nip route add default via {network}.1 dev eth1 table 100\n\
             ip rule add from {network}.{own} lookup 100\n"
        )
    };
    let calico = Vxlan { mtu: 8950, ..CALICO };
    Node {
        name: "policy routing: the cluster's network is in a table of its own",
        script: management(&BOTH)
            + &switch("left", "eth1", 9000, &["here"])
            + &switch("right", "eth1", 9000, &["there"])
            + &router("router", &[("left", "10.0.1", 9000), ("right", "10.0.2", 9000)])
            + &rules("here", "10.0.1")
            + &rules("there", "10.0.2")
            + &calico.between(&[("here", "10.0.1.11"), ("there", "10.0.2.12")])
            + &pods(&BOTH, 8950),
        peers: &["name: there, underlay: 10.0.2.12, pod: 10.44.12.2"],
        roles: &[("eth0", "other"), ("eth1", "underlay")],
        lower: &[("vxlan.calico", "eth1")],
        carries: &[("there", "underlay", 9000), ("there", "overlay", 8950), ("there", "pod", 8950)],
        harmless: "[here]\nip link set eth0 mtu 1400",
        fault: "[router]\nip link set right mtu 8999",
        raises: ("path-limited", "there"),
    }
}

/// A neighbour's pods by the NIC, those behind the router by the tunnel.
fn cross_subnet() -> Node {
    let ends = [("here", "10.0.1.11"), ("there", "10.0.1.12"), ("beyond", "10.0.2.13")];
    Node {
        name: "CrossSubnet: pods of some peers by the NIC, of others by the tunnel",
        script: management(&THREE)
            + &switch("left", "eth1", 1500, &["here", "there"])
            + &switch("right", "eth1", 1500, &["beyond"])
            + &router("router", &[("left", "10.0.1", 1500), ("right", "10.0.2", 1500)])
            + &addresses("10.0.1", "eth1", &["here", "there"])
            + &addresses("10.0.2", "eth1", &["beyond"])
            + "[here]\nip route add 10.0.2.0/24 via 10.0.1.1\n[there]\nip route add 10.0.2.0/24 via 10.0.1.1\n\
               [beyond]\nip route add 10.0.1.0/24 via 10.0.2.1\n"
            + &CALICO.between(&ends)
            + "[here]\nip route replace 10.44.12.0/26 via 10.0.1.12 dev eth1 proto 80\n\
               [there]\nip route replace 10.44.11.0/26 via 10.0.1.11 dev eth1 proto 80\n"
            + &pods(&THREE, 1450),
        peers: &[
            "name: there, underlay: 10.0.1.12, pod: 10.44.12.2",
            "name: beyond, underlay: 10.0.2.13, pod: 10.44.13.2",
        ],
        roles: &[("eth0", "other"), ("eth1", "underlay"), ("vxlan.calico", "tunnel")],
        lower: &[("vxlan.calico", "eth1")],
        carries: &[
            ("there", "underlay", 1500),
            ("there", "pod", 1450),
            ("beyond", "underlay", 1500),
            ("beyond", "overlay", 1450),
            ("beyond", "pod", 1450),
        ],
        harmless: "[here]\nip link set eth0 mtu 1400",
        fault: "[here]\nbridge fdb del 66:00:00:00:44:13 dev vxlan.calico dst 10.0.2.13 self",
        raises: ("vtep-incomplete", "beyond"),
    }
}

/// A tunnel that finds peers otherwise: nobody wrote an entry for any of them. `floods` are its lines on either node.
fn without_entries(name: &'static str, options: &'static str, floods: &str) -> Node {
    let end = |node: &str, peer: &str| {
        let (own, far) = (number(node), number(peer));
        format!(
            "[{node}]\nset net/ipv4/ip_forward=1\n\
             ip link add vxlan0 mtu 1450 type vxlan id 9 dstport 4789 local 10.0.0.{own} dev eth1 {options}\n\
             ip link set vxlan0 up\nip address add 10.44.{own}.0/32 dev vxlan0\n{}\
             ip route add 10.44.{far}.0/26 via 10.44.{far}.0 dev vxlan0 onlink\n",
            floods.replace("FAR", &format!("10.0.0.{far}"))
        )
    };
    Node {
        name,
        script: management(&BOTH)
            + &switch("cluster", "eth1", 1500, &BOTH)
            + &addresses("10.0.0", "eth1", &BOTH)
            + &end("here", "there")
            + &end("there", "here")
            + &pods(&BOTH, 1450),
        peers: &["name: there, underlay: 10.0.0.12, overlay: 10.44.12.0, pod: 10.44.12.2"],
        roles: &[("eth0", "other"), ("eth1", "underlay"), ("vxlan0", "tunnel")],
        lower: &[("vxlan0", "eth1")],
        carries: &[("there", "underlay", 1500), ("there", "overlay", 1450), ("there", "pod", 1450)],
        harmless: "[here]\nip neigh flush dev vxlan0",
        fault: "[there]\nip link set eth1 down",
        raises: ("peer-unreachable", "there"),
    }
}

fn flooding() -> Node {
    let floods = "bridge fdb append 00:00:00:00:00:00 dev vxlan0 dst FAR self permanent\n";
    without_entries("a tunnel that floods by an all-zero forwarding entry", "nolearning", floods)
}

fn learning() -> Node {
    let floods = "bridge fdb append 00:00:00:00:00:00 dev vxlan0 dst FAR self permanent\n";
    without_entries("a tunnel that learns", "learning", floods)
}

fn multicast() -> Node {
    without_entries("a tunnel over a multicast group", "group 239.1.1.1", "")
}

fn jumbo_with_small_pods() -> Node {
    let calico = Vxlan { mtu: 8950, options: "dev eth1", ..CALICO };
    Node {
        name: "jumbo frames below, small pods above",
        script: two_networks() + &calico.between(&ENDS) + &pods(&BOTH, 1450),
        peers: &["name: there, underlay: 10.0.0.12, pod: 10.44.12.2"],
        roles: &[("eth0", "other"), ("eth1", "underlay")],
        lower: &[("vxlan.calico", "eth1")],
        carries: &[("there", "underlay", 9000), ("there", "overlay", 8950), ("there", "pod", 1450)],
        harmless: "[here]\nip link set eth0 mtu 1400",
        fault: "[there]\nip link set eth1 down",
        raises: ("peer-unreachable", "there"),
    }
}

fn nested() -> Node {
    let outer = Vxlan { name: "site0", mtu: 1450, options: "dev eth1", vni: 7 };
    let calico = Vxlan { mtu: 1400, ..CALICO };
    Node {
        name: "a tunnel in a tunnel",
        script: management(&BOTH)
            + &switch("cluster", "eth1", 1500, &BOTH)
            + &addresses("10.0.0", "eth1", &BOTH)
            + &outer.between(&ENDS)
            + &calico.between(&[("here", "10.7.11.0"), ("there", "10.7.12.0")])
            + &pods(&BOTH, 1400),
        peers: &["name: there, underlay: 10.7.12.0, pod: 10.44.12.2"],
        roles: &[("eth0", "other"), ("eth1", "underlay"), ("site0", "tunnel"), ("vxlan.calico", "tunnel")],
        lower: &[("vxlan.calico", "site0"), ("site0", "eth1")],
        carries: &[("there", "underlay", 1450), ("there", "overlay", 1400), ("there", "pod", 1400)],
        harmless: "[here]\nip link set eth0 mtu 1400",
        fault: "[here]\nip link set vxlan.calico mtu 1401\n[there]\nip link set vxlan.calico mtu 1401",
        raises: ("tunnel-no-headroom", "vxlan.calico"),
    }
}

fn equal_cost() -> Node {
    let routes = |node: &str, own: u8, far: u8| {
        format!(
            "[{node}]\nip address add 10.0.0.{own}/32 dev lo\nip route add 10.0.0.{far} src 10.0.0.{own} \
             nexthop via 10.1.0.{far} dev eth1 nexthop via 10.2.0.{far} dev eth2\n"
        )
    };
    Node {
        name: "equal-cost routes over two NICs",
        script: management(&BOTH)
            + &switch("red", "eth1", 1500, &BOTH)
            + &switch("blue", "eth2", 1500, &BOTH)
            + &addresses("10.1.0", "eth1", &BOTH)
            + &addresses("10.2.0", "eth2", &BOTH)
            + &routes("here", 11, 12)
            + &routes("there", 12, 11)
            + &CALICO.between(&ENDS)
            + &pods(&BOTH, 1450),
        peers: &["name: there, underlay: 10.0.0.12, pod: 10.44.12.2"],
        roles: &[("eth0", "other"), ("eth1", "underlay"), ("eth2", "underlay")],
        lower: &[("vxlan.calico", "eth1")],
        carries: &[("there", "underlay", 1500), ("there", "overlay", 1450), ("there", "pod", 1450)],
        harmless: "[here]\nip link set eth0 mtu 1400",
        fault: "[here]\nip link set eth2 mtu 1499",
        raises: ("tunnel-no-headroom", "vxlan.calico"),
    }
}

fn ipv6_underlay() -> Node {
    let enable = |node: &&str| {
        let settings = "set net/ipv6/conf/all/disable_ipv6=0\nset net/ipv6/conf/default/disable_ipv6=0\n";
        format!("[{node}]\n{settings}")
    };
    let address = |node: &&str| format!("[{node}]\nip address add fd00::{}/64 dev eth1 nodad\n", number(node));
    let calico = Vxlan { mtu: 1430, options: "dev eth1", ..CALICO };
    Node {
        name: "an IPv4 overlay over IPv6",
        script: BOTH.iter().map(enable).collect::<String>()
            + &management(&BOTH)
            + &switch("cluster", "eth1", 1500, &BOTH)
            + &BOTH.iter().map(address).collect::<String>()
            + &calico.between(&[("here", "fd00::11"), ("there", "fd00::12")])
            + &pods(&BOTH, 1430),
        peers: &["name: there, underlay: \"fd00::12\", pod: 10.44.12.2"],
        roles: &[("eth0", "other"), ("eth1", "underlay"), ("vxlan.calico", "tunnel")],
        lower: &[("vxlan.calico", "eth1")],
        carries: &[("there", "overlay", 1430), ("there", "pod", 1430)],
        harmless: "[here]\nip link set eth0 mtu 1400",
        fault: "[here]\nip link set eth1 mtu 1499",
        raises: ("tunnel-no-headroom", "vxlan.calico"),
    }
}

fn macvlan() -> Node {
    let here = "[here]\nip link add link eth1 name mac0 type macvlan mode bridge\nip link set mac0 up\n\
                ip address add 10.0.0.11/24 dev mac0\n[there]\nip address add 10.0.0.12/24 dev eth1\n";
    Node {
        name: "a macvlan NIC",
        script: management(&BOTH)
            + &switch("cluster", "eth1", 1500, &BOTH)
            + here
            + &CALICO.between(&ENDS)
            + &pods(&BOTH, 1450),
        peers: &["name: there, underlay: 10.0.0.12, pod: 10.44.12.2"],
        roles: &[("eth0", "other"), ("eth1", "underlay"), ("mac0", "underlay"), ("vxlan.calico", "tunnel")],
        lower: &[("vxlan.calico", "mac0")],
        carries: &[("there", "underlay", 1500), ("there", "overlay", 1450), ("there", "pod", 1450)],
        harmless: "[here]\nip link set eth0 mtu 1400",
        fault: "[here]\nip link set eth1 down",
        raises: ("link-down", "eth1"),
    }
}
