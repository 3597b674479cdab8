//! One ladder, built from the wire up.

use crate::overhead::VLAN_HLEN;
use crate::report::{LinkRow, PathRow, RouteRow, TunnelRow};
use crate::units::IpSize;

use super::bound::Bound;
use super::facts::Facts;
use super::{Fit, Ladder, Layer, Rung, measured};

pub(super) struct Climb<'f, 'r> {
    facts: &'f Facts<'r>,
    rungs: Vec<Rung>,
    /// The smallest size so far, in bytes of a packet on top of it.
    room: Option<Bound>,
}

impl<'f, 'r> Climb<'f, 'r> {
    /// To the pods behind a tunnel.
    pub(super) fn to_tunnel(facts: &'f Facts<'r>, tunnel: &'r TunnelRow) -> Ladder {
        let mut climb = Self { facts, rungs: Vec::new(), room: None };
        if let Some(link) = facts.link(&tunnel.link) {
            climb.links(link);
        }
        let own = Bound::new(tunnel.mtu.carries(), format!("{} takes", tunnel.link));
        let loose = climb.room.clone().map(|room| Bound { firm: false, ..room });
        let takes = if tunnel.external { loose } else { Some(own) };
        climb.on_top(facts.inner(&tunnel.link), takes, tunnel.carries_pods);
        climb.finish(&tunnel.link)
    }

    /// To the pods, or only to the nodes, behind a link.
    pub(super) fn to_link(facts: &'f Facts<'r>, link: &'r LinkRow) -> Ladder {
        let mut climb = Self { facts, rungs: Vec::new(), room: None };
        climb.links(link);
        climb.measured(Layer::Path, &facts.direct(&link.name), Some(&Bound::of(link)));
        climb.on_top(facts.inner(&link.name), Some(Bound::of(link)), true);
        climb.finish(&link.name)
    }

    fn links(&mut self, top: &'r LinkRow) {
        let chain = self.facts.chain(top);
        for link in &chain {
            match self.facts.tunnel(&link.name) {
                Some(tunnel) => self.tunnel(tunnel, link),
                None => self.link(link, &chain),
            }
        }
    }

    fn link(&mut self, link: &LinkRow, chain: &[&LinkRow]) {
        let below = self.facts.below(link);
        let available = below.iter().map(|below| Bound::of(below)).min_by_key(|bound| bound.size);
        let mut rung = Rung::new(layer(link, below.is_empty()), &link.name);
        rung.mtu = Some(link.mtu.carries());
        rung.hold_against(available.as_ref());
        if link.kind == "bridge" {
            rung.forgive_a_tag();
        }
        if let Some(down) = down(link) {
            let spare = self.spare(link, chain);
            rung.verdict = if spare.is_some() { rung.verdict } else { Fit::Break };
            rung.follows = link.up && below.iter().any(|below| self::down(below).is_some());
            rung.why = Some(spare.map_or_else(|| down.to_owned(), |other| format!("{down}; {other} carries")));
        }
        self.rungs.push(rung);
        self.narrow(Bound::of(link));
    }

    /// Another link beside this one that does its work while it is down.
    fn spare(&self, link: &LinkRow, chain: &[&LinkRow]) -> Option<&'r str> {
        let beside = chain.iter().map(|above| self.facts.below(above));
        let beside = beside.filter(|below| below.iter().any(|one| one.name == link.name)).flatten();
        beside.filter(|other| other.name != link.name && down(other).is_none()).map(|other| other.name.as_str()).next()
    }

    fn tunnel(&mut self, tunnel: &TunnelRow, link: &LinkRow) {
        let lower = tunnel.lower.as_deref().and_then(|lower| self.facts.link(lower));
        if let (Some(paths), Some(lower)) = (self.facts.outer(tunnel), lower) {
            self.outer(&paths, lower);
        }
        let mut rung = Rung::new(Layer::Tunnel, &tunnel.link);
        rung.overhead = tunnel.overhead;
        rung.mtu = (!tunnel.external).then(|| tunnel.mtu.carries());
        rung.available = tunnel.overhead.and_then(|overhead| self.room.as_ref().map(|room| room.size.less(overhead)));
        let (verdict, why) = self.sum(tunnel, rung.available);
        (rung.verdict, rung.why) = match down(link) {
            Some(down) => (Fit::Break, Some(down.to_owned())),
            None => (verdict, Some(why)),
        };
        let carries = rung.available.into_iter().chain(rung.mtu).min();
        self.room = carries.map(|size| Bound::new(size, format!("{} gets through", tunnel.link)));
        self.rungs.push(rung);
    }

    fn outer(&mut self, paths: &[&PathRow], lower: &LinkRow) {
        if paths.is_empty() {
            let mut rung = Rung::new(Layer::Path, &lower.name);
            rung.verdict = Fit::Unknown;
            rung.why = Some(format!("no path by {} to the nodes behind it was measured", lower.name));
            self.rungs.push(rung);
        }
        self.measured(Layer::Path, paths, Some(&Bound::of(lower)));
    }

    /// Whether a tunnel's full packet, wrapped, fits what is below.
    fn sum(&self, tunnel: &TunnelRow, available: Option<IpSize>) -> (Fit, String) {
        let (Some(overhead), Some(room), Some(available)) = (tunnel.overhead, &self.room, available) else {
            let what = if self.room.is_none() { "which link carries it" } else { "how much it adds" };
            return (Fit::Unknown, format!("{what} is not known"));
        };
        if tunnel.external {
            return (Fit::Ok, format!("+ {overhead} headers; routes and pods keep the size, {available} would fit"));
        }
        let mtu = tunnel.mtu.carries();
        let full = mtu.plus(overhead);
        let sum = format!("+ {overhead} headers = {full}");
        match mtu.cmp(&available) {
            std::cmp::Ordering::Equal => (Fit::Ok, sum),
            std::cmp::Ordering::Less => (Fit::Ok, format!("{sum}; could be {available}")),
            std::cmp::Ordering::Greater => (Fit::Break, format!("{sum}, {}: {available} would fit", more(full, room))),
        }
    }

    /// Every path measured outweighs what links below say: some let a little more through. Not so through a tunnel, which
    /// may take its packets to pieces.
    fn measured(&mut self, layer: Layer, paths: &[&PathRow], takes: Option<&Bound>) {
        if paths.is_empty() {
            return;
        }
        let broken = self.rungs.iter().any(|rung| rung.verdict == Fit::Break);
        let proven = measured::whole(paths) && self.rungs.iter().all(|rung| rung.layer != Layer::Tunnel);
        let rung = measured::rung(layer, paths, takes, self.room.as_ref().filter(|_| broken));
        match (measured::narrowest(paths), &self.room) {
            (Some(mtu), Some(room)) if proven && mtu.size > room.size => self.room = Some(mtu),
            (Some(mtu), _) => self.narrow(mtu),
            (None, _) => {}
        }
        self.rungs.push(rung);
    }

    /// Routes, what was measured along them, and the pods that use them.
    fn on_top(&mut self, paths: &[&PathRow], takes: Option<Bound>, pods: bool) {
        let allowed = self.routes(paths, takes.clone());
        self.measured(Layer::InnerPath, paths, takes.as_ref());
        if pods && !self.facts.pods.is_empty() {
            self.pods(allowed.as_ref(), takes.as_ref());
        }
    }

    /// The worst route, and what all of them leave for the pods.
    fn routes(&mut self, paths: &[&PathRow], takes: Option<Bound>) -> Option<Bound> {
        let mut routes: Vec<&RouteRow> = paths.iter().filter_map(|path| path.route.as_ref()).collect();
        routes.sort();
        routes.dedup();
        let size = |route: &RouteRow| route.mtu.or(takes.as_ref().map(|bound| bound.size));
        let narrow = routes.iter().copied().min_by_key(|route| size(route));
        let wide = routes.iter().copied().max_by_key(|route| size(route));
        let too_wide = |route: &&RouteRow| takes.as_ref().is_some_and(|bound| size(route) > Some(bound.size));
        let Some(worst) = wide.filter(too_wide).or(narrow) else { return takes };
        let mut rung = Rung::new(Layer::Route, &worst.to);
        (rung.count, rung.mtu) = (routes.len(), size(worst));
        rung.share = routes.iter().filter(|route| size(route) == rung.mtu).count();
        rung.hold_against(takes.as_ref());
        self.rungs.push(rung);
        let own = narrow.and_then(|route| Some((route.mtu?, &route.to)));
        let own = own.filter(|(mtu, _)| takes.as_ref().is_none_or(|bound| *mtu < bound.size));
        let loose = |(size, to)| Bound { size, who: format!("the route to {to} takes"), firm: false };
        own.map(loose).or(takes)
    }

    fn pods(&mut self, allowed: Option<&Bound>, takes: Option<&Bound>) {
        let size = |link: &LinkRow| link.pod.map_or(link.mtu, |pod| pod.mtu).carries();
        let Some(largest) = self.facts.pods.iter().copied().min_by_key(|link| std::cmp::Reverse(size(link))) else {
            return;
        };
        let mut rung = Rung::new(Layer::Pods, &largest.name);
        rung.count = self.facts.pods.len();
        rung.mtu = Some(size(largest));
        rung.hold_against(allowed);
        let limit = allowed.filter(|_| rung.verdict == Fit::Break);
        let counts = |link: &&&LinkRow| limit.map_or(size(link) == size(largest), |limit| size(link) > limit.size);
        rung.share = self.facts.pods.iter().filter(counts).count();
        let firm = takes.filter(|bound| bound.firm && size(largest) > bound.size);
        if rung.verdict == Fit::Break && firm.is_none() {
            rung.verdict = Fit::Unknown;
            rung.why = rung.why.map(|why| format!("{why}, unless the pods' own routes keep within it"));
        }
        self.rungs.push(rung);
    }

    fn narrow(&mut self, bound: Bound) {
        if self.room.as_ref().is_none_or(|room| bound.size < room.size) {
            self.room = Some(bound);
        }
    }

    fn finish(self, link: &str) -> Ladder {
        let verdict = self.rungs.iter().map(|rung| rung.verdict).max().unwrap_or(Fit::Unknown);
        Ladder { link: link.to_owned(), verdict, rungs: self.rungs }
    }
}

impl Rung {
    pub(super) fn new(layer: Layer, name: &str) -> Self {
        Self {
            layer,
            name: name.to_owned(),
            count: 1,
            share: 1,
            mtu: None,
            overhead: None,
            available: None,
            verdict: Fit::Ok,
            follows: false,
            why: None,
            findings: Vec::new(),
            declared: Vec::new(),
        }
    }

    /// Judges a configured size by what is below it.
    fn hold_against(&mut self, bound: Option<&Bound>) {
        self.available = bound.map(|bound| bound.size);
        let (Some(mtu), Some(bound)) = (self.mtu, bound) else { return };
        if mtu > bound.size {
            (self.verdict, self.why) = (Fit::Break, Some(more(mtu, bound)));
        } else if mtu < bound.size {
            self.why = Some(format!("could be {}", bound.size));
        }
    }
}

impl Rung {
    /// A bridge lets a packet out by a port that is too small by no more than a VLAN tag. Where its filters do not, the
    /// paths were measured to carry less, and that is a break of theirs.
    fn forgive_a_tag(&mut self) {
        let excess = self.mtu.zip(self.available).map(|(mtu, available)| mtu.bytes().saturating_sub(available.bytes()));
        if excess.is_some_and(|excess| excess > 0 && excess <= VLAN_HLEN) {
            self.verdict = Fit::Ok;
            self.why = self.why.take().map(|why| format!("{why}, which a bridge lets pass"));
        }
    }
}

/// By how much a size is too large.
fn more(size: IpSize, bound: &Bound) -> String {
    format!("{} more than the {} that {}", size.bytes() - bound.size.bytes(), bound.size, bound.who)
}

fn layer(link: &LinkRow, lowest: bool) -> Layer {
    match link.kind.as_str() {
        "bridge" => Layer::Bridge,
        _ if lowest => Layer::Nic,
        "bond" | "team" => Layer::Bond,
        "vlan" => Layer::Vlan,
        _ => Layer::Link,
    }
}

/// Why a link does not work, if it does not.
fn down(link: &LinkRow) -> Option<&'static str> {
    match (link.up, link.carrier) {
        (false, _) => Some("down"),
        (true, Some(false)) => Some("no carrier"),
        (true, _) => None,
    }
}
