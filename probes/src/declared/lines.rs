//! Every place that declares an MTU, line by line: what it says, or why nobody knows, and whether anything heeds it.
//!
//! [`all`](super::all) has the sizes that count and nothing else. A person who looks for a number that was forgotten
//! needs the others too: the file that leaves the size to its CNI, the one that another comes before, the one that could
//! not be read. None of them is ever missing without a word.
//!
//! - Of the CNI's files the first is the network of every pod. What comes after one that can be used is not heeded,
//!   and is told only where it names a size. After one that is broken nobody can tell here: containerd stops at it,
//!   CRI-O goes on.
//! - What of a file has the last word, and what Felix and Flannel wrote, is worked out in [`sizes`](super::sizes).
//! - What a plugin that is not known does with its `mtu` is not known either.

use serde_json::Value;

use super::cni::{ConfigFile, Invalid, Plugin};
use super::sizes::LEAST;
use super::{CALICO, CNI_FILE, Declared, FLANNEL, Files, Network, calico, cni, flannel};
use crate::fact::{Fact, Unread};
use crate::snapshot::Snapshot;
use crate::units::IpSize;

/// Plugins that are known to give their `mtu` to pods.
const GIVERS: [&str; 9] =
    ["calico", "flannel", "bridge", "ptp", "macvlan", "ipvlan", "cilium-cni", "aws-cni", "tuning"];

/// One place that declares an MTU, or could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who declares it.
    pub source: &'static str,
    /// The file on the host; `None` where it is our own configuration.
    pub file: Option<String>,
    /// The key in it, where there is one.
    pub key: Option<String>,
    /// What it is about.
    pub about: Network,
    /// What it says.
    pub says: Says,
    /// Why nothing heeds it; `None` if it counts.
    pub unused: Option<String>,
}

/// What a place says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// This size.
    Mtu(IpSize),
    /// That the size is to be found out: `"mtu": 0`, or none at all.
    Automatic,
    /// Nobody knows, and why.
    Unknown(String),
}

impl Line {
    fn new(source: &'static str, file: &str, says: Says) -> Self {
        Self { source, file: Some(file.to_owned()), key: None, about: Network::Pods, says, unused: None }
    }

    fn at(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The place, as an operator would look for it.
    pub fn written(&self) -> String {
        match (&self.file, &self.key) {
            (Some(file), Some(key)) => format!("{file}: {key}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => self.source.to_owned(),
        }
    }

    /// The size, where it counts.
    pub fn counts(&self) -> Option<IpSize> {
        match self.says {
            Says::Mtu(mtu) if self.unused.is_none() => Some(mtu),
            Says::Mtu(_) | Says::Automatic | Says::Unknown(_) => None,
        }
    }
}

/// Every place: the sizes that count, the operator's first, then what else the files say.
pub fn lines(node: &Snapshot) -> Vec<Line> {
    let mut lines: Vec<Line> = super::all(node).into_iter().map(declared).collect();
    let others: Vec<Line> =
        of_files(&node.tables.declared).into_iter().filter_map(|line| beside(&lines, line)).collect();
    lines.extend(others);
    lines
}

/// What a file says where another number has the last word; nothing where it says what was told.
fn beside(told: &[Line], line: Line) -> Option<Line> {
    match told.iter().find(|told| told.file == line.file) {
        Some(told) if told.key == line.key || line.says == Says::Automatic => None,
        Some(_) if line.counts().is_some() => {
            Some(Line { unused: Some("a plugin behind it has the last word".into()), ..line })
        }
        _ => Some(line),
    }
}

fn declared(declared: Declared) -> Line {
    let (file, key) = match declared.written.split_once(": ") {
        Some((file, key)) => (Some(file.to_owned()), Some(key.to_owned())),
        None if declared.written.starts_with('/') => (Some(declared.written), None),
        None => (None, Some(declared.written)),
    };
    let says = Says::Mtu(declared.mtu);
    Line { source: declared.source, file, key, about: declared.network, says, unused: None }
}

fn of_files(files: &Files) -> Vec<Line> {
    let mut lines = cni_lines(&files.cni);
    let note = |source, file, why| Line::new(source, file, unread(why));
    if let Fact::Unread(why) = &files.calico_mtu {
        lines.push(note(CALICO, calico::MTU, why));
    }
    if let Fact::Unread(why) = &files.flannel {
        lines.push(note(FLANNEL, flannel::SUBNET, why).at("FLANNEL_MTU"));
    }
    lines
}

fn cni_lines(files: &Fact<Vec<ConfigFile>>) -> Vec<Line> {
    let files = match files {
        Fact::Known(files) => files,
        Fact::Absent => return Vec::new(),
        Fact::Unread(why) => return vec![Line::new(CNI_FILE, cni::FOLDER, unread(why))],
    };
    let (mut lines, mut before): (Vec<Line>, Option<Before<'_>>) = (Vec::new(), None);
    for file in files {
        let heeded = !matches!(before, Some(Before::Taken(_)));
        match &file.read {
            Ok(Ok(network)) => {
                let unused = before.as_ref().map(Before::unused);
                let all = network.plugins.iter().enumerate().filter_map(|at| plugin_line(file, at));
                let all = all.filter(|line| heeded || line.says != Says::Automatic);
                lines.extend(all.map(|line| Line { unused: unused.clone().or(line.unused), ..line }));
                before = before.or(Some(Before::Taken(&file.path)));
            }
            Ok(Err(invalid)) if heeded => {
                lines.push(Line::new(CNI_FILE, &file.path, broken(invalid)));
                before = Some(Before::Broken(&file.path, "is broken"));
            }
            Err(why) if heeded => {
                lines.push(Line::new(CNI_FILE, &file.path, unread(why)));
                before = Some(Before::Broken(&file.path, "could not be read"));
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
    lines
}

/// What came before a file.
enum Before<'f> {
    Taken(&'f str),
    Broken(&'f str, &'static str),
}

impl Before<'_> {
    fn unused(&self) -> String {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        match self {
            Self::Taken(path) => format!("{} comes first", name(path)),
            Self::Broken(path, what) => format!("{} comes first and {what}", name(path)),
        }
    }
}

fn unread(why: &Unread) -> Says {
    Says::Unknown(why.to_string())
}

fn broken(Invalid { why, line, .. }: &Invalid) -> Says {
    Says::Unknown(line.map_or_else(|| why.clone(), |line| format!("line {line}: {why}")))
}

/// What a plugin says; of those behind the first only `tuning` changes what it made.
fn plugin_line(file: &ConfigFile, (at, plugin): (usize, &Plugin)) -> Option<Line> {
    if at > 0 && plugin.kind != "tuning" {
        return None;
    }
    let own = if plugin.kind == FLANNEL { "delegate.mtu" } else { "mtu" };
    let key = format!("{own} of {}", plugin.kind);
    let line = |says| Line::new(CNI_FILE, &file.path, says);
    let is_known = GIVERS.contains(&plugin.kind.as_str());
    let unused = || (!is_known).then(|| format!("what {} does with it is not known", plugin.kind));
    match size(plugin) {
        Some(Value::Number(zero)) if zero.as_u64() == Some(0) => (at == 0).then(|| line(Says::Automatic).at(key)),
        Some(value) => Some(Line { unused: unused(), ..line(mtu(plugin, value)).at(key) }),
        None => (at == 0 && plugin.kind != FLANNEL).then(|| line(Says::Automatic)),
    }
}

fn size(plugin: &Plugin) -> Option<&Value> {
    match plugin.kind.as_str() {
        FLANNEL => plugin.field("delegate")?.get("mtu"),
        _ => plugin.field("mtu"),
    }
}

/// A plugin's number; `aws-cni` writes it as text.
fn mtu(plugin: &Plugin, value: &Value) -> Says {
    let text = value.as_str().filter(|_| plugin.kind == "aws-cni");
    let number = value.as_u64().or_else(|| text?.parse().ok()).and_then(|mtu| u32::try_from(mtu).ok());
    number.filter(|&mtu| mtu >= LEAST).map_or_else(
        || Says::Unknown(format!("{} is no MTU", value.to_string().chars().take(40).collect::<String>())),
        |mtu| Says::Mtu(IpSize::new(mtu)),
    )
}

#[cfg(test)]
pub(crate) mod example {
    use super::cni;
    use crate::declared::Files;
    use crate::declared::host::{Entry, EntryKind, Found, RawHost};
    use crate::fact::{Reason, Source, Unread};

    pub(crate) fn denied() -> Unread {
        Unread::new(Source::HostFiles, Reason::Denied { needs: "a right".into() })
    }

    /// A host with these CNI files, by name, and these other files, by path; it has no others.
    pub(crate) fn host(configured: &[(&str, Result<&str, Unread>)], texts: &[(&str, &str)]) -> Files {
        let mut host = RawHost::nothing();
        let entry = |(name, text): &(&str, Result<&str, Unread>)| Entry {
            name: (*name).into(),
            kind: EntryKind::File { executable: false, text: Some(text.clone().map(str::to_owned)) },
        };
        if !configured.is_empty() {
            host.take(cni::FOLDER.into(), Ok(Some(Found::Folder(configured.iter().map(entry).collect()))));
        }
        for (path, text) in texts {
            host.take((*path).into(), Ok(Some(Found::Text((*text).into()))));
        }
        Files::parse(&host.without_more())
    }
}

#[cfg(test)]
mod tests {
    use super::example::{denied, host};
    use super::*;
    use crate::declared::host::RawHost;
    use crate::snapshot::example::Example;

    fn of(files: &Files) -> Vec<Line> {
        let mut node = Example::reference().snapshot();
        node.tables.declared = files.clone();
        lines(&node)
    }

    /// Each on a line: source, place, and what it says.
    fn told(files: &Files) -> Vec<String> {
        let told = |line: &Line| {
            let says = match &line.says {
                Says::Mtu(mtu) => mtu.to_string(),
                Says::Automatic => "automatic".into(),
                Says::Unknown(why) => format!("? {why}"),
            };
            let unused = line.unused.as_ref().map(|why| format!(" (not used: {why})")).unwrap_or_default();
            format!("{} {}: {} {says}{unused}", line.source, line.about.name(), line.written())
        };
        of(files).iter().map(told).collect()
    }

    const CALICO_AUTOMATIC: &str =
        r#"{"name": "k", "plugins": [{"type": "calico", "mtu": 0}, {"type": "portmap", "mtu": 0}]}"#;
    const CALICO_1450: &str = r#"{"name": "k", "plugins": [{"type": "calico", "mtu": 1450}, {"type": "portmap"}]}"#;
    const BRIDGE: &str = r#"{"name": "b", "type": "bridge", "mtu": 9000}"#;

    #[test]
    fn a_machine_with_none_of_the_files_declares_nothing() {
        assert_eq!(lines(&Example::reference().snapshot()), []);
    }

    #[test]
    fn a_file_that_leaves_the_size_open_stands_beside_the_note_that_has_it() {
        let automatic = host(&[("10-calico.conflist", Ok(CALICO_AUTOMATIC))], &[(calico::MTU, "1450")]);
        assert_eq!(
            told(&automatic),
            [
                "calico pods: /var/lib/calico/mtu 1450",
                "cni-file pods: /etc/cni/net.d/10-calico.conflist: mtu of calico automatic"
            ]
        );
        let own = host(&[("10-calico.conflist", Ok(CALICO_1450))], &[(calico::MTU, "1400")]);
        assert_eq!(
            told(&own),
            [
                "cni-file pods: /etc/cni/net.d/10-calico.conflist: mtu of calico 1450",
                "calico tunnel: /var/lib/calico/mtu 1400"
            ]
        );
    }

    #[test]
    fn a_delegate_of_flannels_speaks_with_or_without_a_size() {
        let env = (flannel::SUBNET, "FLANNEL_MTU=1450\n");
        let line = |about: &str| format!("flannel {about}: /run/flannel/subnet.env: FLANNEL_MTU 1450");
        let list = r#"{"name": "cbr0", "plugins": [{"type": "flannel", "delegate": {"hairpinMode": true}}]}"#;
        assert_eq!(told(&host(&[("10-flannel.conflist", Ok(list))], &[env])), [line("pods")]);
        let with = |mtu: &str| {
            let text = format!(r#"{{"name": "f", "type": "flannel", "delegate": {{"mtu": {mtu}}}}}"#);
            told(&host(&[("10-flannel.conf", Ok(&text))], &[env]))
        };
        let file =
            |says: &str| format!("cni-file pods: /etc/cni/net.d/10-flannel.conf: delegate.mtu of flannel {says}");
        assert_eq!(with("1400"), [file("1400"), line("tunnel")]);
        assert_eq!(with("0"), [line("tunnel"), file("automatic")]);
    }

    #[test]
    fn a_number_that_a_plugin_behind_makes_smaller_is_told_and_counts_for_nothing() {
        let list = r#"{"name": "k", "plugins": [{"type": "calico", "mtu": 1450}, {"type": "tuning", "mtu": 1400}]}"#;
        assert_eq!(
            told(&host(&[("10-calico.conflist", Ok(list))], &[])),
            [
                "cni-file pods: /etc/cni/net.d/10-calico.conflist: mtu of tuning 1400".to_owned(),
                "cni-file pods: /etc/cni/net.d/10-calico.conflist: mtu of calico 1450 (not used: a plugin behind it has \
                 the last word)"
                    .to_owned()
            ]
        );
    }

    #[test]
    fn of_a_wrapped_network_the_delegate_alone_is_told() {
        let text = r#"{"name": "m", "type": "multus", "delegates": [{"type": "calico", "mtu": 1450}]}"#;
        let written = "cni-file pods: /etc/cni/net.d/00-multus.conf: mtu of calico 1450";
        assert_eq!(told(&host(&[("00-multus.conf", Ok(text))], &[])), [written]);
    }

    #[test]
    fn what_a_file_comes_before_is_told_only_with_a_size() {
        let files = host(&[("10-calico.conflist", Ok(CALICO_1450)), ("87-podman.conf", Ok(BRIDGE))], &[]);
        assert_eq!(
            told(&files)[1..],
            [
                "cni-file pods: /etc/cni/net.d/87-podman.conf: mtu of bridge 9000 (not used: 10-calico.conflist comes first)"
            ]
        );
        assert_eq!(of(&files).iter().map(Line::counts).collect::<Vec<_>>(), [Some(IpSize::new(1450)), None]);
        let none = r#"{"name": "p", "type": "bridge"}"#;
        for behind in [Ok(none), Ok("{"), Err(denied())] {
            let files = host(&[("10-calico.conflist", Ok(CALICO_1450)), ("87-podman.conf", behind)], &[]);
            assert_eq!(told(&files).len(), 1);
        }
    }

    #[test]
    fn behind_a_file_that_is_broken_or_unread_nothing_counts_for_certain() {
        for (first, why, what) in [
            (Ok("{\n,"), "? line 2: it is no JSON: key must be a string", "is broken"),
            (Err(denied()), "? host_files: denied, needs a right", "could not be read"),
        ] {
            let files = host(&[("05-a.conf", first), ("10-b.conf", Ok(BRIDGE))], &[]);
            let unused = format!("(not used: 05-a.conf comes first and {what})");
            assert_eq!(
                told(&files),
                [
                    format!("cni-file pods: /etc/cni/net.d/05-a.conf {why}"),
                    format!("cni-file pods: /etc/cni/net.d/10-b.conf: mtu of bridge 9000 {unused}"),
                ]
            );
        }
    }

    #[test]
    fn a_size_that_is_none_is_told_as_it_stands() {
        for value in [r#""__CNI_MTU__""#, "-1", "60", "1450.5", "99999999999"] {
            let text = format!(r#"{{"name": "x", "type": "calico", "mtu": {value}}}"#);
            assert_eq!(
                told(&host(&[("10-calico.conf", Ok(&text))], &[])),
                [format!("cni-file pods: /etc/cni/net.d/10-calico.conf: mtu of calico ? {value} is no MTU")]
            );
        }
    }

    #[test]
    fn what_a_plugin_that_is_not_known_does_with_it_is_not_known() {
        let files = host(&[("10-x.conf", Ok(r#"{"name": "x", "type": "weft", "mtu": 1376}"#))], &[]);
        assert_eq!(
            told(&files),
            [
                "cni-file pods: /etc/cni/net.d/10-x.conf: mtu of weft 1376 (not used: what weft does with it is not known)"
            ]
        );
    }

    #[test]
    fn a_number_in_quotes_is_one_to_aws_alone() {
        let list = r#"{"name": "aws-cni", "plugins": [{"type": "aws-cni", "mtu": "9001"}, {"type": "egress-cni", "mtu": "9001"}]}"#;
        let files = host(&[("10-aws.conflist", Ok(list))], &[]);
        assert_eq!(told(&files), ["cni-file pods: /etc/cni/net.d/10-aws.conflist: mtu of aws-cni 9001"]);
        let files = host(&[("10-x.conf", Ok(&BRIDGE.replace("9000", "\"9000\"")))], &[]);
        assert!(told(&files)[0].ends_with("? \"9000\" is no MTU"), "{:?}", told(&files));
    }

    #[test]
    fn a_plugin_behind_the_first_speaks_up_with_a_size_alone() {
        let list = r#"{"name": "x", "plugins": [{"type": "cilium-cni"}, {"type": "tuning", "mtu": 1400}]}"#;
        assert_eq!(
            told(&host(&[("05-cilium.conflist", Ok(list))], &[])),
            [
                "cni-file pods: /etc/cni/net.d/05-cilium.conflist automatic",
                "cni-file pods: /etc/cni/net.d/05-cilium.conflist: mtu of tuning 1400"
            ]
        );
    }

    #[test]
    fn what_could_not_be_read_is_a_line_of_its_own() {
        let why = "? host_files: denied, needs a right";
        assert_eq!(
            told(&Files::parse(&RawHost::unread(denied()))),
            [
                format!("cni-file pods: /etc/cni/net.d {why}"),
                format!("calico pods: /var/lib/calico/mtu {why}"),
                format!("flannel pods: /run/flannel/subnet.env: FLANNEL_MTU {why}"),
            ]
        );
    }

    #[test]
    fn the_operators_sizes_come_first() {
        let mut node = Example::reference().snapshot();
        node.expect.underlay_mtu = Some(IpSize::new(1500));
        node.expect.overlay_mtu = Some(IpSize::new(1450));
        node.tables.declared = host(&[("10-calico.conflist", Ok(CALICO_1450))], &[]);
        let about: Vec<_> = lines(&node).into_iter().map(|line| (line.about.name(), line.written())).collect();
        assert_eq!(
            about,
            [
                ("underlay", "expect.underlay_mtu".to_owned()),
                ("overlay", "expect.overlay_mtu".to_owned()),
                ("pods", "/etc/cni/net.d/10-calico.conflist: mtu of calico".to_owned()),
            ]
        );
    }
}
