use super::*;
use crate::declared::host::{Entry, Found};

const KUBEADM: &str = r#"# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"#;

/// A machine with these texts; a path that ends in `.conf` lies in a folder.
fn host(files: &[(&str, &str)]) -> RawHost {
    let mut read = RawHost::new();
    for _ in 0..3 {
        for ask in asks(&read) {
            let text = files.iter().find(|(path, _)| *path == ask.path).map(|(_, text)| Found::Text((*text).into()));
            let inside = |(path, text): &(&str, &str)| {
                let name = path.strip_prefix(&ask.path)?.strip_prefix('/')?;
                let kind = EntryKind::File { executable: false, text: Some(Ok((*text).into())) };
                Some(Entry { name: name.into(), kind })
            };
            let entries: Vec<_> = files.iter().filter_map(inside).collect();
            let folder = (!entries.is_empty()).then_some(Found::Folder(entries));
            read.take(ask.path, Ok(text.or(folder)));
        }
    }
    read
}

fn told(files: &[(&str, &str)]) -> Vec<String> {
    let flags = flags(&host(files));
    let flags = flags.known().expect("a kubelet");
    assert_eq!(flags.unread, []);
    let value = |flag: &Flag| flag.value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
    let one = |flag: &Flag| format!("{}:{} {}{}", flag.file, flag.line, flag.name, value(flag));
    flags.flags.iter().map(one).collect()
}

const DROP_IN: &str = "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf";
const FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";

#[test]
fn kubeadms_command_line_is_put_together_with_file_and_line() {
    let files = [
        ("/usr/lib/systemd/system/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\n"),
        (DROP_IN, KUBEADM),
        (FLAGS, "KUBELET_KUBEADM_ARGS=\"--network-plugin=cni --network_plugin_mtu 9000\"\n"),
        (
            "/etc/default/kubelet",
            "# mine\nKUBELET_EXTRA_ARGS=--node-ip=10.0.0.11 \\\n  --v=2\nOTHER=--cni-bin-dir=/x\n",
        ),
    ];
    assert_eq!(
        told(&files),
        [
            format!("{DROP_IN}:3 bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"),
            format!("{DROP_IN}:3 kubeconfig=/etc/kubernetes/kubelet.conf"),
            format!("{DROP_IN}:4 config=/var/lib/kubelet/config.yaml"),
            format!("{FLAGS}:1 network-plugin=cni"),
            format!("{FLAGS}:1 network-plugin-mtu=9000"),
            "/etc/default/kubelet:2 node-ip=10.0.0.11".into(),
            "/etc/default/kubelet:3 v=2".into(),
        ]
    );
}

#[test]
fn without_a_unit_the_usual_files_are_taken_at_their_word() {
    assert_eq!(
        told(&[("/etc/sysconfig/kubelet", "KUBELET_EXTRA_ARGS=\"--container-runtime=remote\"\nX=--v=2\n")]),
        ["/etc/sysconfig/kubelet:1 container-runtime=remote"]
    );
    assert_eq!(flags(&host(&[])), Fact::Absent);
    assert!(matches!(flags(&RawHost::default()), Fact::Known(flags) if !flags.unread.is_empty()));
}

#[test]
fn the_operators_folder_and_later_names_win() {
    let unit = |line: &str| format!("[Service]\nExecStart=\nExecStart={line}\n");
    let (first, last) = (unit("kubelet --v=1"), unit("/bin/sh -c \"exec kubelet --v=3 ${MORE}\""));
    let files = [
        (DROP_IN, KUBEADM),
        ("/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", first.as_str()),
        ("/etc/systemd/system/kubelet.service.d/20-mine.conf", last.as_str()),
    ];
    assert_eq!(told(&files), ["/etc/systemd/system/kubelet.service.d/20-mine.conf:3 v=3"]);
}

#[test]
fn the_folder_of_static_pods_is_the_flags_else_the_configurations() {
    let folder = |files: &[(&str, &str)]| static_pods(&host(files));
    let config = "kind: KubeletConfiguration\nstaticPodPath: /srv/pods\n";
    assert_eq!(folder(&[(CONFIG, config)]), Fact::Known("/srv/pods".into()));
    assert_eq!(folder(&[(CONFIG, "kind: KubeletConfiguration\n")]), Fact::Known(String::new()));
    assert_eq!(folder(&[]), Fact::Absent);
    let flag = (FLAGS, "KUBELET_KUBEADM_ARGS=--pod-manifest-path=/flagged\n");
    assert_eq!(folder(&[(CONFIG, config), flag]), Fact::Known("/flagged".into()));
    let other = (FLAGS, "KUBELET_KUBEADM_ARGS=--config=/etc/kubelet.yaml\n");
    assert_eq!(
        folder(&[(CONFIG, config), other, ("/etc/kubelet.yaml", "staticPodPath: /b")]),
        Fact::Known("/b".into())
    );
    let broken = folder(&[(CONFIG, "a: b: c\n")]);
    assert!(matches!(&broken, Fact::Unread(why) if why.to_string().contains("config.yaml:1: not YAML")), "{broken:?}");
}

#[test]
fn a_file_that_may_hold_more_is_noted() {
    let mut read = host(&[(DROP_IN, KUBEADM)]);
    let denied = Unread::new(Source::HostFiles, Reason::Denied { needs: "permission".into() });
    read.take(FLAGS.into(), Err(denied.clone()));
    let flags = flags(&read);
    let flags = flags.known().unwrap();
    assert_eq!((flags.unread.as_slice(), flags.flags.len()), (&[denied][..], 3));
}

/// Could fail by a link that is followed to what nobody can read, or by one that takes nothing away.
#[test]
fn a_drop_in_that_is_masked_takes_away_those_of_its_name_behind() {
    for kind in [EntryKind::Dangling("/dev/null".into()), EntryKind::Other] {
        let mut read = host(&[(DROP_IN, KUBEADM), (FLAGS, "KUBELET_KUBEADM_ARGS=--cni-bin-dir=/x\n")]);
        let masked = Entry { name: "10-kubeadm.conf".into(), kind };
        read.take(format!("{}/{UNIT}.d", UNITS[0]), Ok(Some(Found::Folder(vec![masked]))));
        let flags = flags(&read);
        let told: Vec<_> = flags.known().unwrap().flags.iter().map(|flag| flag.name.as_str()).collect();
        assert_eq!(told, ["cni-bin-dir"], "the usual files at their word, and nothing of the drop-in");
    }
    let mut read = host(&[(DROP_IN, KUBEADM)]);
    let gone = Entry { name: "10-kubeadm.conf".into(), kind: EntryKind::Dangling("/srv/gone.conf".into()) };
    read.take(format!("{}/{UNIT}.d", UNITS[0]), Ok(Some(Found::Folder(vec![gone]))));
    assert_eq!(flags(&read).known().unwrap().flags.len(), 3, "a link that leads nowhere hides nothing");
}

/// Could fail by memory: a word for each of a file's, as often as the line names them.
#[test]
fn a_line_that_names_a_long_variable_often_has_an_end_and_says_so() {
    let unit = format!("[Service]\nEnvironmentFile=/a\nExecStart=kubelet --v=2 {}\n", "$A ".repeat(20_000));
    let long = format!("A={}\n", "x ".repeat(30_000));
    let flags = flags(&host(&[(&format!("{}/{UNIT}", UNITS[0]), &unit), ("/a", &long)]));
    let Flags { flags, unread } = flags.known().unwrap();
    assert_eq!(flags[0].name, "v");
    assert!(unread[0].to_string().contains("longer than"), "{unread:?}");
}

#[test]
fn the_first_folders_unit_counts_and_of_a_flag_the_last() {
    let unit = |line: &str| format!("[Service]\nExecStart=kubelet {line}\n");
    let (own, packages) = (unit("--v=1 --v=2"), unit("--cni-bin-dir=/x"));
    let paths = [0, 4].map(|at| format!("{}/{UNIT}", UNITS[at]));
    let flags = flags(&host(&[(&paths[0], &own), (&paths[1], &packages)]));
    let flags = flags.known().unwrap();
    assert_eq!((flags.flags.len(), flags.value("v"), flags.value("cni-bin-dir")), (2, Some("2"), None));
}
