//! The kubelet is given a flag that newer ones do not know: they print `unknown flag` and end.
//!
//! It was harmless until an upgrade. `--network-plugin-mtu` is why this is here: it gave dockershim's pods their MTU, and
//! went with dockershim in Kubernetes 1.24; who finds it in a file believes that it is in force. Only flags that no
//! supported kubelet takes are told, each with the release whose notes say that it was taken away. The version is in the
//! evidence, because the machine does not say which kubelet it has: an older one takes the flag and runs. So it is a
//! warning, and nothing about the network. Left out on purpose are `--pod-infra-container-image` (gone in 1.35), which
//! kubeadm itself wrote until then, and `--make-iptables-util-chains`, which is deprecated and still taken when its two
//! companions, the bits of marks, are not.
//!
//! It is judged in a report that somebody asks for on the host ([`Judged::Reports`]): an agent runs in a pod of this
//! kubelet, which then did start, and sees none of these files.
//!
//! What counts is the command line that systemd puts together. A flag in a variable that the command line does not name
//! is in force nowhere, and quiet.

use schemars::JsonSchema;
use serde::Serialize;

use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judged, Judgement, Look, words};
use crate::fact::Unread;
use crate::remedy::Fix;
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// Flags, and the version of Kubernetes that does not know them any more.
const GONE: [(&str, &str); 13] = [
    ("network-plugin-mtu", "1.24"),
    ("network-plugin", "1.24"),
    ("cni-conf-dir", "1.24"),
    ("cni-bin-dir", "1.24"),
    ("cni-cache-dir", "1.24"),
    ("docker-endpoint", "1.24"),
    ("image-pull-progress-deadline", "1.24"),
    ("non-masquerade-cidr", "1.24"),
    ("experimental-dockershim-root-directory", "1.24"),
    ("container-runtime", "1.27"),
    ("keep-terminated-pod-volumes", "1.31"),
    ("iptables-masquerade-bit", "1.31"),
    ("iptables-drop-bit", "1.31"),
];

/// The rule.
#[derive(Debug)]
pub struct KubeletFlagRemoved;

/// Flags of the kubelet that newer ones do not know.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// The flags, in the order of the command line.
    pub flags: Vec<Removed>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Removed {
    /// The flag, as in `--network-plugin-mtu`.
    pub flag: String,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The file that gives it.
    pub file: String,
    /// The line in it.
    pub line: usize,
    /// The version of Kubernetes that does not know it any more.
    pub gone_since: &'static str,
}

impl Check for KubeletFlagRemoved {
    const JUDGED: Judged = Judged::Reports;
    const ENTRY: Entry = Entry {
        code: "kubelet-flag-removed",
        area: Area::Declared,
        severities: &[Severity::Warning],
        when: &["a kubelet of the version that is named, or a newer one, does not start with it"],
        title: "kubelet flag that newer versions refuse",
        meaning: "The files that start the kubelet give it a flag that newer versions do not know: those end with \
                  `unknown flag`. `--network-plugin-mtu` set the MTU of pods until Kubernetes 1.24; since then that is \
                  the CNI's.",
        quiet: "a flag in a variable that the command line does not name; one that kubeadm itself still wrote for a \
                supported version",
        look: &[
            Look { run: "systemctl cat kubelet", see: "the command line, and the files that it takes variables from" },
            Look { run: "cat /var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet", see: "the flag" },
            Look { run: "journalctl -u kubelet -n 20", see: "`unknown flag: --FLAG`" },
            Look { run: "kubelet --version", see: "a version that does not know it any more" },
        ],
        metrics: &[],
        class: Class::Flags,
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::None { why: "it is judged in reports that somebody asks for, not by agents" },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        let Some(kubelet) = node.tables.declared.kubelet.read()? else { return Ok(judgement) };
        let removed = |flag: &crate::declared::kubelet::Flag| {
            let (name, gone_since) = GONE.into_iter().find(|(name, _)| *name == flag.name)?;
            let (flag, value, file) = (format!("--{name}"), flag.value.clone(), flag.file.clone());
            Some((flag, value, file, gone_since))
        };
        let found = kubelet.flags.iter().filter_map(|flag| Some((removed(flag)?, flag.line)));
        let flags: Vec<_> = found
            .map(|((flag, value, file, gone_since), line)| Removed { flag, value, file, line, gone_since })
            .collect();
        match (flags.is_empty(), kubelet.unread.first()) {
            (true, Some(why)) => return Err(why.clone()),
            (true, None) => {}
            (false, _) => judgement.raise(Subject::Setting(KUBELET), Severity::Warning, Evidence { flags }),
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let one = |flag: &Removed| format!("{} ({}:{}, gone in {})", flag.flag, flag.file, flag.line, flag.gone_since);
        let flags: Vec<_> = evidence.flags.iter().map(one).collect();
        format!("The kubelet is given {}; one that does not know it does not start.", words::list(&flags))
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let place = |flag: &Removed| (flag.flag.clone(), format!("{}:{}", flag.file, flag.line));
        vec![Fix::KubeletFlags { flags: evidence.flags.iter().map(place).collect() }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let flags = vec![Removed {
            flag: "--network-plugin-mtu".into(),
            value: Some("9000".into()),
            file: "/var/lib/kubelet/kubeadm-flags.env".into(),
            line: 1,
            gone_since: "1.24",
        }];
        (Subject::Setting(KUBELET), Severity::Warning, Evidence { flags })
    }
}

const KUBELET: &str = "kubelet";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::kubelet::{Flag, Flags};
    use crate::fact::{Fact, Reason, Source};
    use crate::snapshot::example::Example;

    fn judged(names: &[&str], unread: &[Unread]) -> Result<Judgement<Evidence>, Unread> {
        let mut node = Example::reference();
        let flag = |name: &&str| Flag { name: (*name).into(), value: None, file: "/f".into(), line: 2 };
        let flags = Flags { flags: names.iter().map(flag).collect(), unread: unread.to_vec() };
        node.tables.declared.kubelet = Fact::Known(flags);
        KubeletFlagRemoved::judge(&node.snapshot())
    }

    #[test]
    fn flags_that_are_gone_are_one_finding_and_others_are_none() {
        let judgement = judged(&["v", "network-plugin-mtu", "container-runtime"], &[]).unwrap();
        let [raised] = judgement.raised.as_slice() else { panic!("{judgement:?}") };
        let told = KubeletFlagRemoved::summary(&raised.subject, &raised.evidence);
        let wanted = "The kubelet is given --network-plugin-mtu (/f:2, gone in 1.24) and --container-runtime (/f:2, \
                      gone in 1.27); one that does not know it does not start.";
        assert_eq!(told, wanted);
        let fine = [
            "container-runtime-endpoint",
            "node-ip",
            "pod-infra-container-image",
            "config",
            "network-plugin-mt",
            "make-iptables-util-chains",
        ];
        assert!(judged(&fine, &[]).unwrap().raised.is_empty());
    }

    #[test]
    fn a_file_that_may_hold_one_is_named_unless_one_is_found_anyhow() {
        let denied = Unread::new(Source::HostFiles, Reason::Denied { needs: "permission".into() });
        assert_eq!(judged(&["v"], std::slice::from_ref(&denied)).unwrap_err(), denied);
        assert_eq!(judged(&["cni-bin-dir"], &[denied]).unwrap().raised.len(), 1);
    }

    #[test]
    fn a_machine_without_a_kubelet_is_quiet() {
        assert!(KubeletFlagRemoved::judge(&Example::reference().snapshot()).unwrap().raised.is_empty());
    }

    #[test]
    fn every_flag_stands_once() {
        let mut names: Vec<_> = GONE.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), GONE.len());
    }
}
