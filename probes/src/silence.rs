//! One broken thing gives one loud finding, with its consequences under it.
//!
//! A finding is silenced if another one lists its code and carries its subject. It names the loud cause at the end of
//! that chain. The cause is as severe as the worst of its consequences; where its entry has no such severity, the
//! consequence stays loud: what pages must never hide under what does not. A finding that breaks nothing else (a bond
//! that lost its spare) is no cause, whatever its entry lists.

use crate::checks::Causes;
use crate::history::Standing;
use crate::report::Severity;
use crate::snapshot::Snapshot;

/// For each finding, the index of the loud one that causes it; severities of causes are raised in place.
pub fn apply(standing: &mut [Standing], node: &Snapshot) -> Vec<Option<usize>> {
    let direct: Vec<Option<usize>> = (0..standing.len())
        .map(|effect| (0..standing.len()).find(|&cause| causes(standing, cause, effect, node)))
        .collect();
    let mut roots = vec![None; standing.len()];
    for effect in 0..standing.len() {
        let Some(root) = root(&direct, effect) else { continue };
        let worst = standing[effect].candidate.severity;
        if lift(&mut standing[root], worst) {
            roots[effect] = Some(root);
        }
    }
    roots
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
        Causes::Nothing => false,
    };
    able && cause.entry.silences.contains(&effect.entry.code)
}

/// The end of the chain of causes. Chains are finite: entries silence along an order, and a code that silences itself
/// does so only from a lower plane to a higher one; the bound guards against an entry that breaks this.
fn root(direct: &[Option<usize>], effect: usize) -> Option<usize> {
    let mut at = direct[effect]?;
    for _ in 0..direct.len() {
        match direct[at] {
            Some(cause) if cause != effect => at = cause,
            _ => break,
        }
    }
    Some(at)
}

/// Makes the cause at least this severe; `false` if its entry has no such severity.
fn lift(cause: &mut Standing, severity: Severity) -> bool {
    let candidate = &mut cause.candidate;
    if candidate.severity >= severity {
        return true;
    }
    let able = candidate.entry.severities.contains(&severity);
    if able {
        candidate.severity = severity;
    }
    able
}

#[cfg(test)]
mod tests;
