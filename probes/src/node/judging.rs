//! The end of a round or of a look: judge, remember, silence, publish.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::card::Card;
use crate::checks::{self, Confirm, Outcome};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::history::{Occasion, Standing};
use crate::kernel::{LinkIndex, NeighbourState};
use crate::path::{Unreachable, Verdict};
use crate::peers::Peer;
use crate::peers::announced::Agent;
use crate::remedy;
use crate::report::{
    Conclusion, Finding, FindingCounts, NotConcluded, Published, Report, SCHEMA, Severity, Status, Summary, ladder, vip,
};
use crate::silence;
use crate::snapshot::Snapshot;
use crate::snapshot::topology::TunnelView;
use crate::subject::Subject;
use crate::telemetry::ErrorKind;
use crate::units::{IpSize, Now};

use super::turns::Turns;
use super::{Node, Output, beside, declared, rows, settings};

impl Node {
    pub(super) fn judge(&mut self, occasion: Occasion, now: Now) {
        excuse_gateway(&mut self.snapshot);
        match occasion {
            Occasion::Round => self.cache.judge(&mut self.snapshot, self.cache_read),
            Occasion::Look | Occasion::Transfers => self.cache.recall(&mut self.snapshot),
        }
        self.mark_transfers();
        if occasion == Occasion::Round {
            self.start_transfers(now);
            self.tap_tunnels();
            self.start_sweeps(now.mono);
            self.ask_cards(now);
            self.ask_vips();
            self.end_pacing(now);
        }
        let outcomes = checks::judge_from(self.config.vantage, &self.snapshot, self.config.work);
        let not_concluded = not_concluded(&outcomes, &self.snapshot, &self.turns);
        let conclusions = outcomes.iter().map(conclusion).collect();
        self.forget_lost_peers();
        let moved = self.new_transfers();
        let was_measured = |confirm, subject: &Subject| match confirm {
            Confirm::AtOnce => true,
            Confirm::Rounds => self.turns.cover(subject),
            Confirm::Transfers => moved.contains(subject),
            Confirm::Sweeps => self.sweeps.tell_of(subject),
        };
        self.history.update(outcomes, occasion, was_measured, now);
        if occasion == Occasion::Round {
            self.sweeps.judged();
        }
        if occasion != Occasion::Look {
            self.judged_transfers();
        }
        self.finish_telemetry(occasion, now);
        let report = self.report(not_concluded, conclusions, now);
        self.wanted.push_back(Output::Publish(Arc::new(Published {
            report: Arc::new(report),
            telemetry: self.telemetry.clone(),
            watching: self.snapshot.windows.is_filling(),
            pending: self.history.pending() + self.open_transfers(),
            guests: self.transfers.guests(),
            card: Arc::new(Card::of(&self.snapshot, &self.config, &self.version, now)),
            agents: self.agents(),
        })));
    }

    /// Who can be asked: peers' agents, and the twin of this one.
    fn agents(&self) -> Vec<Agent> {
        let peers = self.snapshot.peers.iter().flat_map(Peer::agents);
        peers.chain(self.directory.twin(&self.config.node)).collect()
    }

    /// Peers that left take their findings along. Where the tables that name peers could not be read, nobody left.
    fn forget_lost_peers(&mut self) {
        let Snapshot { tables, paths, .. } = &self.snapshot;
        if tables.links.known().is_none() || tables.routes.known().is_none() {
            return;
        }
        let there: BTreeSet<Subject> = paths.keys().map(Subject::path).collect();
        self.history.forget(|subject| matches!(subject, Subject::Path { .. }) && !there.contains(subject));
    }

    fn finish_telemetry(&mut self, occasion: Occasion, now: Now) {
        let of_packets = self.prober.errors().iter().filter(|(kind, _)| **kind != ErrorKind::NetlinkMalformed);
        self.telemetry.errors.extend(of_packets);
        let lookups = self.snapshot.lookups.values();
        let whole = lookups.into_iter().all(|route| !matches!(route, Fact::Unread(_)));
        let sources = &mut self.telemetry.sources;
        sources.entry(Source::Lookup).and_modify(|known| known.1 = whole).or_insert((Default::default(), whole));
        if occasion != Occasion::Round {
            return;
        }
        let round = now.mono.since(self.round_started);
        sources.insert(Source::Probes, (round, self.probing.is_ok()));
        self.telemetry.round = Some(round);
        self.telemetry.round_ended = Some(now.wall);
    }

    fn report(&self, not_concluded: Vec<NotConcluded>, checks: BTreeMap<String, Conclusion>, now: Now) -> Report {
        let node = &self.snapshot;
        let findings = findings(self.history.standing().collect(), node);
        let recommended = recommended(node);
        let paths = rows::paths(node);
        let summary = Summary {
            status: status(&findings, node),
            findings: counts(&findings),
            not_concluded: not_concluded.len(),
            peers: node.peers.len(),
            recommended_overlay_mtu: recommended.values().copied().min(),
        };
        let mut report = Report {
            schema: SCHEMA,
            node: self.config.node.clone(),
            vantage: self.config.vantage,
            version: self.version.clone(),
            generated_at: now.wall,
            summary,
            addresses: rows::addresses(node),
            links: rows::links(node),
            tunnels: rows::tunnels(node, &recommended),
            paths,
            schedule: self.turns.row(),
            node_addresses: beside::rows(node),
            ladders: Vec::new(),
            settings: settings::rows(node, self.config.vantage),
            neighbours: rows::neighbours(node),
            declared: declared::rows(node, &recommended, &findings),
            vips: vip::rows(node),
            conntrack: rows::conntrack(node),
            counters: rows::counters(node),
            findings,
            not_concluded,
            checks,
        };
        report.ladders = ladder::of(&report);
        report
    }
}

/// A gateway that is taken for want of a peer need not answer anybody: many do not. As long as its hardware address
/// resolves it is there, and its silence says nothing about the network.
fn excuse_gateway(node: &mut Snapshot) {
    let gateways: BTreeSet<_> = node.peers.iter().filter(|peer| peer.gateway).map(|peer| peer.name.clone()).collect();
    for (key, path) in &mut node.paths {
        let Fact::Known(measured) = &mut path.measured else { continue };
        let silent = matches!(measured.verdict, Verdict::Unreachable { why: Unreachable::Silent });
        let mut entries = node.tables.neighbours.known().into_iter().flatten();
        let failed = entries.any(|entry| entry.address == key.address && entry.state == NeighbourState::Failed);
        if silent && !failed && gateways.contains(&key.peer) {
            let why = "the default gateway answers neither ICMP, UDP nor TCP, as many do not: name a peer with --peer";
            measured.verdict = Verdict::Unknown { why: why.into() };
        }
    }
}

fn conclusion(outcome: &Outcome) -> (String, Conclusion) {
    let conclusion = match &outcome.result {
        Ok(looked) if !looked.raised.is_empty() => Conclusion::Found,
        Ok(looked) if looked.unread.is_empty() => Conclusion::Quiet,
        Ok(_) | Err(_) => Conclusion::NotConcluded,
    };
    (outcome.entry.code.to_owned(), conclusion)
}

fn not_concluded(outcomes: &[Outcome], node: &Snapshot, turns: &Turns) -> Vec<NotConcluded> {
    let mut all = BTreeSet::new();
    for outcome in outcomes {
        let code = outcome.entry.code;
        match &outcome.result {
            Err(unread) => {
                all.insert(NotConcluded { code, reason: unread.to_string() });
            }
            Ok(looked) => {
                let (waiting, others): (Vec<_>, Vec<_>) =
                    looked.unread.iter().partition(|(subject, unread)| turns.keep_waiting(subject, unread));
                all.extend(
                    others.into_iter().map(|(subject, unread)| NotConcluded { code, reason: about(subject, unread) }),
                );
                let reason = format!("paths that wait for their first turn to be measured: {}", waiting.len());
                all.extend((!waiting.is_empty()).then_some(NotConcluded { code, reason }));
            }
        }
        all.extend(node.tables.malformed.iter().filter(|(source, _)| reads(code, *source)).map(|(source, line)| {
            let unread = Unread::new(*source, Reason::Malformed { what: line.clone() });
            NotConcluded { code, reason: unread.to_string() }
        }));
    }
    all.into_iter().collect()
}

fn about(subject: &Subject, unread: &Unread) -> String {
    match subject {
        Subject::Path { peer, plane, .. } => format!("{} path to {peer}: {}", plane.name(), unread.reason),
        // A file that could not be read may speak of many settings, and is named.
        Subject::Sysctl(_) => unread.to_string(),
        other => format!("{other}: {}", unread.reason),
    }
}

/// Every rule stands on the links; a link that could not be read may be the one that is wrong.
fn reads(code: &str, source: Source) -> bool {
    source == Source::Links && checks::by_code(code).is_some_and(|check| check.entry.area == checks::Area::Links)
}

fn findings(mut standing: Vec<Standing>, node: &Snapshot) -> Vec<Finding> {
    let place = |standing: &Standing| {
        let code = standing.candidate.entry.code;
        checks::ALL.iter().position(|check| check.entry.code == code)
    };
    standing.sort_by_key(|one| (place(one), one.candidate.subject.clone()));
    let roots = silence::apply(&mut standing, node);
    let name = |root: usize| {
        let cause: &Standing = &standing[root];
        format!("{} {}", cause.candidate.entry.code, cause.candidate.subject)
    };
    let mut findings: Vec<_> =
        standing.iter().zip(&roots).map(|(one, root)| finding(one, root.map(name), node)).collect();
    findings.sort_by_key(|finding| (finding.silenced_by.is_some(), std::cmp::Reverse(finding.severity)));
    findings
}

fn finding(standing: &Standing, silenced_by: Option<String>, node: &Snapshot) -> Finding {
    let candidate = &standing.candidate;
    Finding {
        code: candidate.entry.code,
        severity: candidate.severity,
        subject: candidate.subject.to_string(),
        summary: candidate.summary.clone(),
        evidence: candidate.evidence.clone(),
        remedy: remedy::render(&candidate.fixes, node.setup),
        since: standing.since,
        silenced_by,
    }
}

fn counts(findings: &[Finding]) -> FindingCounts {
    let count = |severity| loud(findings).filter(|finding| finding.severity == severity).count();
    FindingCounts {
        critical: count(Severity::Critical),
        warning: count(Severity::Warning),
        info: count(Severity::Info),
    }
}

fn status(findings: &[Finding], node: &Snapshot) -> Status {
    let judged = node.paths.values().any(|path| path.verdict().is_ok());
    match loud(findings).map(|finding| finding.severity).max() {
        Some(Severity::Critical) => Status::Critical,
        Some(Severity::Warning) => Status::Warning,
        _ if judged => Status::Healthy,
        _ => Status::Unknown,
    }
}

fn loud(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.silenced_by.is_none())
}

/// For each tunnel the MTU that it can have on its lower link and on every underlay path that carries what it should.
/// A path that carries less is blamed by a finding and left out, so that one bad hop does not shrink the cluster; but
/// where every path is blamed, the smaller size is what the network is.
fn recommended(node: &Snapshot) -> BTreeMap<String, IpSize> {
    let fits = |tunnel: &TunnelView| {
        let carries = carries_below(node, tunnel.link)?;
        let lower = tunnel.lower_link.as_ref().map_or(carries, |(_, mtu)| mtu.carries());
        Some((tunnel.name.clone(), lower.min(carries).less(tunnel.overhead?)))
    };
    node.topology.tunnels().iter().filter(|tunnel| !tunnel.external).filter_map(fits).collect()
}

/// The smallest size that the underlay paths of the tunnel's outer family carry.
fn carries_below(node: &Snapshot, tunnel: LinkIndex) -> Option<IpSize> {
    let verdicts = || node.paths_below(tunnel).filter_map(|(_, path)| path.verdict().ok());
    let clear = verdicts().filter(|verdict| matches!(verdict, Verdict::Clear { .. })).filter_map(Verdict::path_mtu);
    clear.min().or_else(|| verdicts().filter_map(Verdict::path_mtu).min())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::Example;

    #[test]
    fn a_tunnel_on_top_of_a_tunnel_does_not_bound_the_lower_one() {
        let node = Example::flannel()
            .vxlan("nest", 1400, Some("flannel.1"), "10.42.0.0")
            .peer("inside", "flannel.1", "10.42.1.0")
            .behind_tunnel("inside", "nest", "10.9.2.0", &[]);
        let sizes: Vec<_> = recommended(&node.snapshot()).into_iter().collect();
        assert_eq!(sizes, [("flannel.1".into(), IpSize::new(1450)), ("nest".into(), IpSize::new(1400))]);
    }

    #[test]
    fn a_tunnel_is_bounded_by_the_paths_of_its_outer_family() {
        let node = Example::two_tunnels().verdict_at("fd00::12", Verdict::Clear { mtu: IpSize::new(1400) });
        let sizes: Vec<_> = recommended(&node.snapshot()).into_iter().collect();
        let fit = |name: &str, mtu| (name.to_owned(), IpSize::new(mtu));
        assert_eq!(sizes, [fit("vxlan-v6.calico", 1330), fit("vxlan.calico", 1450)]);
    }

    #[test]
    fn a_tunnel_beside_a_tunnel_does_not_bound_it() {
        let node = Example::flannel().vxlan("beside", 1450, Some("eth0"), "172.20.0.2").peer(
            "inside",
            "flannel.1",
            "10.42.1.0",
        );
        let sizes: Vec<_> = recommended(&node.snapshot()).into_iter().collect();
        assert_eq!(sizes, [("beside".into(), IpSize::new(1450)), ("flannel.1".into(), IpSize::new(1450))]);
    }
}
