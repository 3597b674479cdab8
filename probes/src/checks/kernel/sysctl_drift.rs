//! A kernel setting that is not what somebody wrote that it is to be.
//!
//! Two places say what a setting is to be: `expect.sysctls` of our own configuration, which is the operator's word and
//! counts for any key, and the machine's sysctl files in their real precedence ([`crate::declared::sysctl`]), which count
//! for the settings that packets hang on ([`KNOWN`](crate::declared::sysctl::KNOWN)). Something undoes them: a network restart, a script, a setting that
//! came before its kernel module.
//!
//! - Files that agree with each other and not with the kernel are a warning where pods need the setting, else an info.
//!   Where the files' two readers part, whichever of them the kernel obeys is right; if neither is, it is an info.
//! - Forwarding that pods need and that is on, while files say that it is off, works until somebody reads the files again:
//!   then all pods are cut off at once. Hardening scripts leave such a line, and the container runtime outdoes it.
//! - Nobody needs the filters of bridges where no pod hangs on one: Proxmox's own file has them off, and its firewall turns
//!   them on.
//! - What somebody else keeps is no drift: Cilium sets `rp_filter`, Calico does where it runs on eBPF, and kube-proxy sets
//!   `nf_conntrack_max` on every node that has pods. Links of pods, tunnels and the bridges of pods are their CNI's.
//! - `rp_filter` of a link is compared as it takes effect, the larger of the link's and that of `all`, and told only where
//!   it is strict: what is off or loose drops nothing, whatever files say. Distributions' files speak of every link, a
//!   container has its image's files and none of their values, and clouds' CNIs loosen the NIC.
//! - A setting that the kernel does not have is no drift from a file: its module is not loaded, or it is the machine's and
//!   not the namespace's. A missing filter of bridges is off, missing IPv6 is disabled. The operator is told all the same.
//!
//! A code about the setting itself (`ip-forward-off`) knows whom it hurts, and silences this one, which tells it why.

mod judged;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::declared::sysctl::{BOOT, Line, SYSTEM};
use crate::fact::Unread;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct SysctlDrift;

/// The setting: what it is, and who says what else.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Its key.
    pub key: String,
    /// What it is; absent where the kernel has no such setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What the operator expects, where it is not that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The lines that win in the machine's files: none where no file speaks of it, two where the readers part.
    pub lines: Vec<Line>,
    /// Whether pods need it as it is, so that they are cut off when the files are read again.
    pub at_risk: bool,
}

/// The place where the operator's word stands.
const EXPECT: &str = "expect.sysctls";

impl Check for SysctlDrift {
    const ENTRY: Entry = Entry {
        code: "sysctl-drift",
        area: Area::Kernel,
        severities: &[Severity::Info, Severity::Warning],
        when: &[
            "nobody is hurt by it now, or the files contradict each other",
            "pods need the setting, or the operator asked for it",
        ],
        title: "a setting is not what is written",
        meaning: "The kernel has another value than the configuration or the machine's sysctl files say. Either \
                  something changed it since, and what was meant is not in force, or the files will take a value back \
                  that works now, at the next boot or `sysctl --system`.",
        quiet: "what the CNI or kube-proxy keeps is no drift; a setting that the kernel does not have is none from a \
                file",
        look: &[
            Look { run: "sysctl KEY", see: "another value than was written" },
            Look {
                run: "grep -rsn KEY /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d",
                see: "the last file in lexical order wins, of whatever folder; /etc/sysctl.conf is read last by \
                      `sysctl --system`",
            },
            Look { run: "systemd-analyze cat-config sysctl.d", see: "what systemd applies at boot, in its order" },
        ],
        metrics: &["mtuscope_setting"],
        class: Class::Forwarding,
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeSysctlDrift", minutes: 15 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        judged::all(node)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let Evidence { key, value, expected, lines, at_risk } = evidence;
        let says = |line: &Line| format!("{} says {}", line.at, line.value);
        let files = words::list(&lines.iter().map(|line| says(line) + alone(line)).collect::<Vec<_>>());
        match (value, expected) {
            (None, Some(expected)) => format!("This kernel has no {key}, which {EXPECT} says is {expected}."),
            (Some(value), Some(expected)) if lines.is_empty() => {
                format!("{key} is {value}, {EXPECT} says {expected}.")
            }
            (Some(value), Some(expected)) => format!("{key} is {value}, {EXPECT} says {expected}, and {files}."),
            (Some(value), None) if *at_risk => {
                format!("{key} is {value}, as pods need it, and {files}: {} turns it off.", when(lines))
            }
            (value, None) => format!("{key} is {}, {files}.", value.as_deref().unwrap_or("not there")),
        }
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let Evidence { key, value, expected, lines, at_risk } = evidence;
        let (key, at) = (key.clone(), lines.iter().map(|line| line.at.clone()).collect::<Vec<_>>());
        let other = |wanted: &str| lines.iter().any(|line| line.value != wanted);
        match (expected, value) {
            (Some(wanted), _) if lines.is_empty() => vec![Fix::Sysctl { key, value: wanted.clone() }],
            (Some(wanted), _) if other(wanted) => {
                vec![Fix::SysctlLine { key, value: wanted.clone(), at, now: true }]
            }
            (None, Some(works)) if *at_risk => {
                vec![Fix::SysctlLine { key, value: works.clone(), at, now: false }]
            }
            _ => {
                let wanted = lines.first().map(|line| line.value.clone()).unwrap_or_default();
                vec![Fix::SysctlAsWritten { key, value: wanted, at, instead: value.clone() }]
            }
        }
    }

    fn example() -> (Subject, Severity, Evidence) {
        let line = Line {
            at: "/etc/sysctl.d/99-k8s.conf:3".into(),
            value: "1".into(),
            read_by: vec![BOOT, SYSTEM],
            pattern: false,
        };
        let evidence = Evidence {
            key: "net.ipv4.ip_forward".into(),
            value: Some("0".into()),
            expected: None,
            lines: vec![line],
            at_risk: false,
        };
        (Subject::Sysctl(evidence.key.clone()), Severity::Warning, evidence)
    }
}

/// Who alone heeds a line.
fn alone(line: &Line) -> &'static str {
    match line.read_by.as_slice() {
        [BOOT] => " at boot",
        [SYSTEM] => " to `sysctl --system` alone",
        _ => "",
    }
}

/// When lines take effect.
fn when(lines: &[Line]) -> &'static str {
    let heeded = |reader| lines.iter().any(|line| line.read_by.contains(&reader));
    match (heeded(BOOT), heeded(SYSTEM)) {
        (true, false) => "the next boot",
        (false, true) => "the next `sysctl --system`",
        _ => "the next `sysctl --system` or boot",
    }
}
