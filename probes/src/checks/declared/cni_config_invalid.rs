//! A CNI file that counts and that nobody can use.
//!
//! It is no JSON, or lacks what every network or plugin has; or the runtime loads it and then refuses every pod, for the
//! network's name, the version or a plugin's type is none. containerd takes nothing at all then, even if the next file
//! is whole; CRI-O takes the next. What is wrong with a file that is not looked at hurts nobody.
//!
//! A file that is being written when it is read is looked at again a moment later, before it is called broken.

use schemars::JsonSchema;
use serde::Serialize;

use super::cni::{BrokenFile, CNI, Looks, look, looks, whose};
use crate::checks::{Alert, Area, Check, Class, Confirm, Entry, Judgement, Look, words};
use crate::fact::Unread;
use crate::remedy::{CniBroken, Fix};
use crate::report::Severity;
use crate::snapshot::Snapshot;
use crate::snapshot::setup::Cni;
use crate::subject::Subject;

/// The rule.
#[derive(Debug)]
pub struct CniConfigInvalid;

/// The files, and what is wrong with them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Evidence {
    /// Who looks, and where.
    #[serde(flatten)]
    pub looks: Looks,
    /// The broken ones, in the order in which they are taken.
    pub files: Vec<BrokenFile>,
    /// The file whose network pods get instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// Files that are not looked at.
    pub ignored: Vec<String>,
}

impl Check for CniConfigInvalid {
    const ENTRY: Entry = Entry {
        code: "cni-config-invalid",
        area: Area::Declared,
        severities: &[Severity::Warning, Severity::Critical],
        when: &["the runtime goes on to a file that works", "no network comes of it for new pods"],
        title: "CNI configuration is broken",
        meaning: "The CNI file that the container runtime takes first cannot be used. Running pods keep working; new ones \
                  hang in ContainerCreating, and where the runtime does not even load the file the node is NotReady \
                  (NetworkPluginNotReady). containerd does not go on to the next file; CRI-O does, and new pods get that \
                  network, which may be another one than was meant: a warning.",
        quiet: "a broken file behind the one that counts; names that runtimes pass over, as `.bak` and `.cilium_bak`; a file \
                that is just being written",
        look: &[
            Look {
                run: "ls -la /etc/cni/net.d",
                see: "the first name that ends in `.conf`, `.conflist` or `.json`: containerd takes that one",
            },
            Look { run: "jq . FILE", see: "the line where it is no JSON" },
            Look { run: "crictl info | jq .lastCNILoadStatus", see: "why containerd does not load it" },
            Look { run: "journalctl -u crio | grep 'CNI config'", see: "which files CRI-O passes over, and why" },
        ],
        metrics: &[],
        class: Class::NoNetwork,
        silences: &[],
        confirm: Confirm::AtOnce,
        alert: Alert::Named { name: "MtuscopeCniConfigInvalid", minutes: 2 },
    };
    type Evidence = Evidence;

    fn judge(node: &Snapshot) -> Result<Judgement<Evidence>, Unread> {
        let mut judgement = Judgement::default();
        let Some((runtime, seen)) = look(node)? else { return Ok(judgement) };
        if !seen.broken.is_empty() {
            let severity = seen.severity();
            let evidence =
                Evidence { looks: looks(runtime), files: seen.broken, instead: seen.instead, ignored: seen.ignored };
            judgement.raise(CNI, severity, evidence);
        }
        Ok(judgement)
    }

    fn summary(_: &Subject, evidence: &Evidence) -> String {
        let told = |broken: &BrokenFile| {
            let line = broken.line.map(|line| format!(":{line}")).unwrap_or_default();
            let column = broken.column.map(|column| format!(":{column}")).unwrap_or_default();
            format!("{}{line}{column}: {}", broken.file, broken.why)
        };
        let files: Vec<_> = evidence.files.iter().map(told).collect();
        let runtime = evidence.looks.runtime;
        let follows = match &evidence.instead {
            Some(other) => format!("New pods get the network of {other} instead, if {runtime} passes it over."),
            None if evidence.files.iter().any(|file| file.loads) => {
                format!("{runtime} loads it, and no new pod of this node gets a network.")
            }
            None => format!("{runtime} takes no network from there, so no new pod of this node gets one."),
        };
        format!("{}. {follows}", words::list(&files))
    }

    fn fixes(_: &Subject, evidence: &Evidence) -> Vec<Fix> {
        let known = |path: &str| whose([path]) != Cni::Unknown;
        let (own, others): (Vec<_>, Vec<_>) =
            evidence.files.iter().map(|broken| broken.file.clone()).partition(|path| known(path));
        let behind = evidence.instead.iter().chain(&evidence.ignored);
        let then = behind.map(String::as_str).find(|path| known(path)).map(str::to_owned);
        let of = whose(own.iter().chain(&then).map(String::as_str));
        let broken = CniBroken { own, others, then };
        vec![Fix::CniFile { folder: evidence.looks.folder.clone(), of, broken }]
    }

    fn example() -> (Subject, Severity, Evidence) {
        let looks = Looks { runtime: "containerd", told_by: Vec::new(), folder: "/etc/cni/net.d".into() };
        let broken = BrokenFile {
            file: "/etc/cni/net.d/10-calico.conflist".into(),
            why: "it ends too early".into(),
            line: Some(7),
            column: Some(12),
            loads: false,
        };
        let ignored = vec!["/etc/cni/net.d/87-podman-bridge.conflist".into()];
        (CNI, Severity::Critical, Evidence { looks, files: vec![broken], instead: None, ignored })
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::{Machine, judged};
    use super::*;

    const WHOLE: &str = r#"{"name": "net", "cniVersion": "0.3.1", "plugins": [{"type": "ptp"}]}"#;

    #[test]
    fn a_link_is_broken_only_where_what_it_leads_to_can_be_looked_into() {
        let file = "/etc/cni/net.d/10-net.conflist";
        let dead = Machine::node().dangling(file, "/etc/static/cni/10-net.conflist");
        assert_eq!(
            raised(&dead).unwrap().1.files[0].why,
            "it is a link to /etc/static/cni/10-net.conflist, which is not there"
        );
        assert!(judged::<CniConfigInvalid>(&dead.denied("/etc/static/cni")).is_err());
        let unmounted = Machine::node().dangling(file, "/nix/store/x/10-net.conflist");
        let why = judged::<CniConfigInvalid>(&unmounted).unwrap_err().to_string();
        assert!(why.contains("/nix is not to be seen"), "{why}");
        let part = r#"{"name": "net"}"#;
        let folder = Machine::node().file(file, part).dangling("/etc/cni/net.d/net/10.conf", "/nix/store/10.conf");
        let why = judged::<CniConfigInvalid>(&folder).unwrap_err().to_string();
        assert!(why.contains("/nix is not to be seen"), "{why}");
    }

    fn raised(machine: &Machine) -> Option<(Severity, Evidence)> {
        judged::<CniConfigInvalid>(machine).unwrap().pop()
    }

    fn with(machine: Machine, files: &[(&str, &str)]) -> Machine {
        let machine = machine.plugin("ptp").plugin("loopback");
        files.iter().fold(machine, |machine, (name, text)| machine.file(&format!("/etc/cni/net.d/{name}"), text))
    }

    #[test]
    fn containerd_stops_at_a_broken_first_file_and_does_not_look_at_a_later_one() {
        let (severity, found) =
            raised(&with(Machine::node(), &[("10-a.conflist", "{\n"), ("20-b.conflist", WHOLE)])).unwrap();
        assert_eq!((severity, found.instead), (Severity::Critical, None));
        assert_eq!(found.ignored, ["/etc/cni/net.d/20-b.conflist"]);
        assert_eq!((found.files[0].line, found.files[0].loads), (Some(2), false));
        assert!(raised(&with(Machine::node(), &[("10-a.conflist", WHOLE), ("20-b.conflist", "{")])).is_none());
        let both = "version = 2\nplugins.\"io.containerd.grpc.v1.cri\".cni.max_conf_num = 2\n";
        let both = Machine::node().file("/etc/containerd/config.toml", both);
        assert!(raised(&with(both, &[("10-a.conflist", WHOLE), ("20-b.conflist", "{")])).is_some());
    }

    #[test]
    fn crio_takes_the_next_file_which_is_a_warning_or_nothing_if_there_is_none() {
        let files = [("10-a.conflist", "{"), ("20-b.conflist", WHOLE), ("30-c.conflist", "{")];
        let (severity, found) = raised(&with(Machine::crio(), &files)).unwrap();
        assert_eq!((severity, found.files.len()), (Severity::Warning, 1), "the last one is not looked at");
        assert_eq!(found.instead.as_deref(), Some("/etc/cni/net.d/20-b.conflist"));
        let (severity, found) = raised(&with(Machine::crio(), &[files[0], files[2]])).unwrap();
        assert_eq!((severity, found.files.len(), found.instead), (Severity::Critical, 2, None));
        assert!(raised(&with(Machine::crio(), &[files[1], files[2]])).is_none());
    }

    #[test]
    fn a_leftover_before_the_cnis_own_file_is_moved_and_the_cni_is_left_alone() {
        let told = |machine: &Machine| {
            let (_, found) = raised(machine).unwrap();
            crate::remedy::render(&CniConfigInvalid::fixes(&CNI, &found), crate::snapshot::Setup::default()).join("\n")
        };
        let own = ("10-calico.conflist", WHOLE);
        for machine in [Machine::node(), Machine::crio()] {
            let leftover = told(&with(machine.clone(), &[("00-old.conf", "{"), own]));
            assert!(leftover.contains("mv /etc/cni/net.d/00-old.conf") && !leftover.contains("kubectl"), "{leftover}");
            let broken = told(&with(machine, &[("10-calico.conflist", "{"), ("87-podman.conflist", WHOLE)]));
            assert!(!broken.contains("$ mv") && broken.contains("k8s-app=calico-node"), "{broken}");
        }
        let nobodys = told(&with(Machine::node(), &[("10-net.conflist", "{"), ("87-podman.conflist", WHOLE)]));
        assert!(!nobodys.contains("podman"), "nobody meant its network for pods: {nobodys}");
    }

    #[test]
    fn what_is_loaded_and_then_refuses_pods_says_so() {
        let (_, found) = raised(&with(Machine::node(), &[("a.conf", r#"{"type": "ptp"}"#)])).unwrap();
        assert!(found.files[0].loads && found.files[0].why.contains("no name"), "{found:?}");
        assert!(CniConfigInvalid::summary(&CNI, &found).contains("containerd loads it"));
        let crio = with(Machine::crio(), &[("a.conf", r#"{"type": "ptp"}"#)]);
        assert!(raised(&crio).is_none(), "CRI-O calls it by its file's name");
    }

    #[test]
    fn a_file_that_could_not_be_read_is_not_concluded_and_one_behind_it_does_not_matter() {
        let secret = with(Machine::node(), &[]).denied_file("/etc/cni/net.d/10-a.conflist");
        assert!(judged::<CniConfigInvalid>(&secret).is_err());
        let behind = with(Machine::node(), &[("05-a.conflist", WHOLE)]).denied_file("/etc/cni/net.d/10-a.conflist");
        assert!(raised(&behind).is_none());
    }
}
