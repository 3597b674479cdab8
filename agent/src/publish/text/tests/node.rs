//! Nodes for snapshots, built link by link as an administrator would; nothing is found that is not put there.

use std::net::IpAddr;
use std::sync::Arc;

use probes::path::{Limit, Plane, VerdictName};
use probes::report::{
    DeclaredPath, DeclaredPlace, DeclaredRow, Finding, FindingCounts, LinkRow, NotConcluded, PathRow, PlaceKind,
    Report, Role, RouteRow, SettingRow, Severity, Status, TunnelRow, ladder,
};
use probes::units::{IpSize, LinkMtu};
use serde_json::{Value, json};

use super::super::super::example;

pub(super) struct Node(Report);

impl Node {
    pub(super) fn new(name: &str) -> Self {
        let mut report = Arc::unwrap_or_clone(example::published().report);
        report.node = name.into();
        report.links.clear();
        report.tunnels.clear();
        report.paths.clear();
        report.findings.clear();
        report.not_concluded.clear();
        report.declared.clear();
        report.summary.recommended_overlay_mtu = None;
        report.settings =
            vec![SettingRow { name: "ip_forward".into(), link: String::new(), value: 1, wanted: Some("1".into()) }];
        Self(report)
    }

    /// master-1 of the reference cluster: Calico's VXLAN over a bridge, two peers, twelve pods.
    pub(super) fn reference() -> Self {
        Self::new("master-1")
            .link("enp5s0", "device", Role::Underlay, 1500)
            .link("vmbr1", "bridge", Role::Bridge, 1500)
            .port("enp5s0", "vmbr1")
            .vxlan("vxlan.calico", 1450, "vmbr1", 50)
            .pods(12, 1450)
            .peer("master-2", "vmbr1", "10.0.0.12")
            .behind("master-2", "vxlan.calico", "10.244.2.0/26", &["10.244.2.0", "10.244.2.2"])
            .peer("master-3", "vmbr1", "10.0.0.13")
            .behind("master-3", "vxlan.calico", "10.244.3.0/26", &["10.244.3.0", "10.244.3.2"])
    }

    pub(super) fn link(mut self, name: &str, kind: &str, role: Role, mtu: u32) -> Self {
        let (name, kind, mtu) = (name.into(), kind.into(), LinkMtu::new(mtu));
        let (carrier, master, lower, pod) = (Some(true), None, None, None);
        self.0.links.push(LinkRow { name, kind, role, mtu, up: true, carrier, master, lower, pod });
        self
    }

    pub(super) fn port(self, name: &str, master: &str) -> Self {
        self.with(name, |link| link.master = Some(master.into()))
    }

    pub(super) fn with(mut self, name: &str, change: impl FnOnce(&mut LinkRow)) -> Self {
        change(self.0.links.iter_mut().find(|link| link.name == name).unwrap());
        self
    }

    /// Another MTU, in the tunnel's row too.
    pub(super) fn mtu(mut self, name: &str, mtu: u32) -> Self {
        let mtu = LinkMtu::new(mtu);
        for tunnel in &mut self.0.tunnels {
            tunnel.lower_mtu =
                tunnel.lower_mtu.map(|old| if tunnel.lower.as_deref() == Some(name) { mtu } else { old });
            tunnel.mtu = if tunnel.link == name { mtu } else { tunnel.mtu };
        }
        self.with(name, |link| link.mtu = mtu)
    }

    pub(super) fn vxlan(mut self, name: &str, mtu: u32, lower: &str, overhead: u32) -> Self {
        let lower_mtu = self.0.links.iter().find(|link| link.name == lower).map(|link| link.mtu);
        self.0.tunnels.push(TunnelRow {
            link: name.into(),
            kind: "vxlan",
            mtu: LinkMtu::new(mtu),
            overhead: Some(overhead),
            lower: Some(lower.into()),
            lower_mtu,
            headroom: None,
            id: Some(4096),
            port: Some(4789),
            df: None,
            local: None,
            external: false,
            carries_pods: true,
            recommended_mtu: None,
        });
        self.link(name, "vxlan", Role::Tunnel, mtu).with(name, |link| link.lower = Some(lower.into()))
    }

    pub(super) fn pods(self, count: usize, mtu: u32) -> Self {
        let pods = self.0.links.iter().filter(|link| link.role == Role::Pod).count();
        (pods..pods + count).fold(self, |node, pod| node.link(&format!("cali{pod:011x}"), "veth", Role::Pod, mtu))
    }

    /// A peer whose node is reached by a link, clear at what the link takes.
    pub(super) fn peer(mut self, name: &str, link: &str, address: &str) -> Self {
        self.0.paths.push(self.path(name, Plane::Underlay, link, address));
        self
    }

    /// Addresses of a peer to which a route leads by a link: the first is the tunnel's end, the others are pods.
    pub(super) fn behind(mut self, peer: &str, link: &str, to: &str, addresses: &[&str]) -> Self {
        for (plane, address) in [Plane::Overlay].into_iter().chain(std::iter::repeat(Plane::Pod)).zip(addresses) {
            let route = Some(RouteRow { to: to.into(), mtu: None });
            self.0.paths.push(PathRow { route, ..self.path(peer, plane, link, address) });
        }
        self
    }

    fn path(&self, peer: &str, plane: Plane, link: &str, address: &str) -> PathRow {
        let mtu = self.0.links.iter().find(|known| known.name == link).unwrap().mtu.carries();
        PathRow {
            via: self.via(link),
            expected_mtu: Some(mtu),
            ..example::path(peer, plane, address, VerdictName::Clear, mtu.bytes())
        }
    }

    fn via(&self, link: &str) -> Vec<String> {
        let below = |link: &str| {
            let lower = self.0.links.iter().find(|known| known.name == link)?.lower.clone();
            lower.or_else(|| Some(self.0.links.iter().find(|port| port.master.as_deref() == Some(link))?.name.clone()))
        };
        std::iter::successors(Some(link.to_owned()), |link| below(link)).collect()
    }

    /// Changes the paths of a peer on a plane.
    pub(super) fn measured(mut self, peer: &str, plane: Plane, change: impl Fn(&mut PathRow)) -> Self {
        self.0.paths.iter_mut().filter(|path| path.peer == peer && path.plane == plane).for_each(change);
        self
    }

    pub(super) fn finding(mut self, code: &'static str, severity: Severity, subject: &str, told: Told<'_>) -> Self {
        let finding = example::finding(code, severity, subject, told.cause);
        let remedy = told.remedy.iter().map(|line| (*line).to_owned()).collect();
        self.0.findings.push(Finding { summary: told.summary.into(), evidence: told.evidence, remedy, ..finding });
        self
    }

    /// A place that declares something, and what the kernel has of it.
    pub(super) fn declares(mut self, subject: &str, written: &str, kernel: &[DeclaredPlace], says: Says<'_>) -> Self {
        let (file, key) = match written.split_once(": ") {
            Some((file, key)) => (Some(file.to_owned()), Some(key.to_owned())),
            None if written.starts_with('/') => (Some(written.to_owned()), None),
            None => (None, Some(written.to_owned())),
        };
        let planes = if subject == "underlay" { &[Plane::Underlay][..] } else { &[Plane::Overlay, Plane::Pod] };
        let paths = self.0.paths.iter().filter(|path| planes.contains(&path.plane));
        let narrowest = paths.filter_map(|path| Some((path.path_mtu?, path))).min_by_key(|(mtu, _)| *mtu);
        let mut row = DeclaredRow {
            source: if file.is_none() { "configuration".into() } else { "cni-file".into() },
            subject: subject.into(),
            file,
            key,
            kernel: kernel.to_vec(),
            measured: narrowest.map(|(mtu, path)| DeclaredPath { plane: path.plane, peer: path.peer.clone(), mtu }),
            recommended: self.0.summary.recommended_overlay_mtu.filter(|_| subject != "underlay"),
            ..DeclaredRow::default()
        };
        match says {
            Says::Mtu(mtu) => row.mtu = Some(IpSize::new(mtu)),
            Says::Found(mtu, code) => (row.mtu, row.findings) = (Some(IpSize::new(mtu)), vec![code]),
            Says::Unused(mtu, why) => (row.mtu, row.unused) = (Some(IpSize::new(mtu)), Some(why.into())),
            Says::Automatic => row.automatic = true,
            Says::Unknown(why) => row.unknown = Some(why.into()),
        }
        self.0.declared.push(row);
        self
    }

    /// Without the right to probe.
    pub(super) fn blind(mut self) -> Self {
        for path in &mut self.0.paths {
            let unknown = example::path(&path.peer, path.plane, &path.address.to_string(), VerdictName::Unknown, 0);
            let why = Some("probes: denied, needs CAP_NET_RAW".to_owned());
            *path = PathRow { via: path.via.clone(), route: path.route.clone(), why, packets_sent: 0, ..unknown };
        }
        let codes = ["peer-unreachable", "path-black-hole", "path-limited", "overlay-unreachable"];
        let reason = || "probes: denied, needs CAP_NET_RAW".to_owned();
        self.0.not_concluded = codes.map(|code| NotConcluded { code, reason: reason() }).into();
        self
    }

    /// What every tunnel could have.
    pub(super) fn recommends(mut self, mtu: u32) -> Self {
        self.0.summary.recommended_overlay_mtu = Some(IpSize::new(mtu));
        self.0.tunnels.iter_mut().for_each(|tunnel| tunnel.recommended_mtu = Some(IpSize::new(mtu)));
        self
    }

    /// The report, with everything that follows from its rows.
    pub(super) fn report(self) -> Report {
        let mut report = self.0;
        for tunnel in &mut report.tunnels {
            let lower = tunnel.lower_mtu.map(|mtu| i64::from(mtu.bytes()));
            let needed = i64::from(tunnel.mtu.bytes()) + i64::from(tunnel.overhead.unwrap_or_default());
            tunnel.headroom = lower.map(|lower| lower - needed);
        }
        let loud = || report.findings.iter().filter(|finding| finding.silenced_by.is_none());
        let count = |severity| loud().filter(|finding| finding.severity == severity).count();
        let (critical, warning, info) = (count(Severity::Critical), count(Severity::Warning), count(Severity::Info));
        let judged = report.paths.iter().any(|path| path.verdict != VerdictName::Unknown);
        report.summary.status = match (critical, warning) {
            (0, 0) if judged => Status::Healthy,
            (0, 0) => Status::Unknown,
            (0, _) => Status::Warning,
            _ => Status::Critical,
        };
        report.summary.findings = FindingCounts { critical, warning, info };
        report.ladders = ladder::of(&report);
        report
    }
}

/// What a place says.
pub(super) enum Says<'s> {
    Mtu(u32),
    /// A size that a finding is about.
    Found(u32, &'static str),
    Unused(u32, &'s str),
    Automatic,
    Unknown(&'s str),
}

/// Something in the kernel that has a size; `≠` where it differs.
pub(super) fn has(kind: PlaceKind, name: &str, mtu: u32, sign: &str) -> DeclaredPlace {
    let count = if kind == PlaceKind::Pods { 12 } else { 1 };
    DeclaredPlace { kind, name: name.into(), count, mtu: IpSize::new(mtu), differs: sign == "≠" }
}

/// What a finding says.
#[derive(Default)]
pub(super) struct Told<'t> {
    pub(super) summary: &'t str,
    pub(super) evidence: Value,
    pub(super) remedy: &'t [&'t str],
    pub(super) cause: Option<&'t str>,
}

impl<'t> Told<'t> {
    pub(super) fn of(summary: &'t str, remedy: &'t [&'t str]) -> Self {
        Self { summary, evidence: json!({}), remedy, cause: None }
    }

    pub(super) fn seen(self, evidence: Value) -> Self {
        Self { evidence, ..self }
    }

    pub(super) fn caused_by(self, cause: &'t str) -> Self {
        Self { cause: Some(cause), ..self }
    }
}

/// Carries this much, and no more is expected.
pub(super) fn clear(mtu: u32) -> impl Fn(&mut PathRow) {
    move |path| (path.path_mtu, path.expected_mtu) = (Some(IpSize::new(mtu)), Some(IpSize::new(mtu)))
}

/// Larger sizes vanish.
pub(super) fn black_hole(carries: u32) -> impl Fn(&mut PathRow) {
    move |path| {
        path.verdict = VerdictName::BlackHole;
        path.path_mtu = Some(IpSize::new(carries));
        path.why = Some(format!("{} B and more vanish without an error", carries + 1));
    }
}

/// Larger sizes are refused, by a hop or by this machine.
pub(super) fn limited(carries: u32, hop: Option<&str>) -> impl Fn(&mut PathRow) {
    let address: Option<IpAddr> = hop.map(|hop| hop.parse().unwrap());
    move |path| {
        let mtu = Some(IpSize::new(carries));
        path.verdict = VerdictName::Limited;
        path.path_mtu = mtu;
        path.limited_by = Some(Limit { address, reported_mtu: mtu, ttl: None });
    }
}

/// Nothing comes back.
pub(super) fn silent(path: &mut PathRow) {
    path.verdict = VerdictName::Unreachable;
    (path.path_mtu, path.round_trip_seconds, path.loss_ratio) = (None, None, Some(1.0));
    path.why = Some("nothing answers: ICMP, UDP and TCP are silent".into());
}
