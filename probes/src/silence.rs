//! One broken thing gives one loud finding, with its consequences under it.
//!
//! A finding is silenced if another one lists its code and carries its subject. It names the loud cause at the end of
//! that chain. The cause is as severe as the worst of its consequences; where its entry has no such severity, another
//! cause is looked for, and where there is none the consequence stays loud: what pages must never hide under what does
//! not. A finding that breaks nothing else (a bond that lost its spare) is no cause, whatever its entry lists.
//!
//! Of several causes the first in the catalogue's order is named, so the order in which findings come changes nothing.
//! Entries silence along an order, and a code that silences itself does so only from a lower plane to a higher one.
//! Should two findings explain each other all the same, one of them stays loud.

use crate::checks::{ALL, Causes};
use crate::history::Standing;
use crate::report::Severity;
use crate::snapshot::Snapshot;

/// For each finding, the index of the loud one that causes it; severities of causes are raised in place.
pub fn apply(standing: &mut [Standing], node: &Snapshot) -> Vec<Option<usize>> {
    let order = order(standing);
    let roots = Chains::new(standing, node, &order).roots(&order);
    let mut of_each = vec![None; standing.len()];
    for (&effect, root) in order.iter().zip(roots) {
        of_each[effect] = root;
        if let Some(root) = root {
            let worst = standing[effect].candidate.severity.max(standing[root].candidate.severity);
            standing[root].candidate.severity = worst;
        }
    }
    of_each
}

/// Indices of the findings by the catalogue's order, code and subject.
fn order(standing: &[Standing]) -> Vec<usize> {
    let place = |code| ALL.iter().position(|check| check.entry.code == code);
    let mut order: Vec<usize> = (0..standing.len()).collect();
    order.sort_by_cached_key(|&at| {
        let candidate = &standing[at].candidate;
        (place(candidate.entry.code), candidate.entry.code, candidate.subject.clone())
    });
    order
}

/// Findings and the ends of their chains of causes.
struct Chains<'a> {
    standing: &'a [Standing],
    /// Of each finding what causes it, in the catalogue's order.
    direct: Vec<Vec<usize>>,
    known: Vec<Known>,
}

/// What has come out about a finding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    NotYet,
    /// It is being looked at: who comes by it again has gone in a circle, and it is no cause there.
    UnderWay,
    Loud,
    CausedBy(usize),
}

impl<'a> Chains<'a> {
    fn new(standing: &'a [Standing], node: &Snapshot, order: &[usize]) -> Self {
        let of = |effect| order.iter().copied().filter(|&cause| causes(standing, cause, effect, node)).collect();
        let direct = (0..standing.len()).map(of).collect();
        Self { standing, direct, known: vec![Known::NotYet; standing.len()] }
    }

    /// The loud cause of each finding, in this order.
    fn roots(&mut self, order: &[usize]) -> Vec<Option<usize>> {
        order.iter().map(|&at| self.root(at)).collect()
    }

    /// The loud finding that explains this one.
    fn root(&mut self, effect: usize) -> Option<usize> {
        match self.known[effect] {
            Known::CausedBy(root) => return Some(root),
            Known::Loud | Known::UnderWay => return None,
            Known::NotYet => self.known[effect] = Known::UnderWay,
        }
        let severity = self.standing[effect].candidate.severity;
        let mut found = None;
        for cause in std::mem::take(&mut self.direct[effect]) {
            if self.known[cause] == Known::UnderWay {
                continue;
            }
            let root = self.root(cause).unwrap_or(cause);
            if can_be(&self.standing[root], severity) {
                found = Some(root);
                break;
            }
        }
        self.known[effect] = found.map_or(Known::Loud, Known::CausedBy);
        found
    }
}

/// Whether a cause is as severe, or may be.
fn can_be(cause: &Standing, severity: Severity) -> bool {
    let candidate = &cause.candidate;
    candidate.severity >= severity || candidate.entry.severities.contains(&severity)
}

fn causes(standing: &[Standing], cause: usize, effect: usize, node: &Snapshot) -> bool {
    if cause == effect {
        return false;
    }
    let (cause, effect) = (&standing[cause].candidate, &standing[effect].candidate);
    let carries = || node.carries(&cause.subject, &effect.subject);
    let breaks = || cause.breaks.contains(&effect.subject);
    let able = match cause.causes {
        Causes::All => breaks() || carries(),
        Causes::Codes(codes) => codes.contains(&effect.entry.code) && (breaks() || carries()),
        Causes::Named => breaks(),
        Causes::NamedAnd(codes) => {
            let reached = || cause.subject == effect.subject || carries();
            breaks() || (codes.contains(&effect.entry.code) && reached())
        }
        Causes::Nothing => false,
    };
    able && cause.entry.silences.contains(&effect.entry.code)
}

#[cfg(test)]
mod tests;
