use super::*;
use crate::declared::host::{Entry, Found};
use crate::fact::{Reason, Source};

/// As `kube-vip manifest pod --interface vmbr1 --address 10.0.0.10 --controlplane --arp --leaderElection` writes it.
const TODAY: &str = r#"apiVersion: v1
kind: Pod
metadata:
  name: kube-vip
  namespace: kube-system
spec:
  containers:
  - args:
    - manager
    env:
    - name: vip_arp
      value: "true"
    - name: port
      value: "6443"
    - name: vip_nodename
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
    - name: vip_interface
      value: vmbr1
    - name: vip_subnet
      value: "32"
    - name: cp_enable
      value: "true"
    - name: vip_leaderelection
      value: "true"
    - name: vip_leasename
      value: plndr-cp-lock
    - name: vip_leaseduration
      value: "5"
    - name: vip_renewdeadline
      value: "3"
    - name: vip_retryperiod
      value: "1"
    - name: address
      value: 10.0.0.10
    image: ghcr.io/kube-vip/kube-vip:v1.0.0
    name: kube-vip
"#;

fn text(text: &str) -> Given {
    Given::Text(text.into())
}

fn read(text: &str) -> KubeVip {
    manifest("/m/x", text).unwrap().expect("a manifest of kube-vip")
}

/// A manifest whose container has these lines besides its image.
fn with(lines: &str) -> String {
    format!("kind: Pod\nspec:\n  containers:\n  - image: ghcr.io/kube-vip/kube-vip\n    {lines}\n")
}

fn host(folder: &str, files: &[(&str, Result<&str, Unread>)]) -> RawHost {
    let mut read = RawHost::nothing();
    let entry = |(name, text): &(&str, Result<&str, Unread>)| {
        let text = text.clone().map(str::to_owned);
        Entry { name: (*name).into(), kind: EntryKind::File { executable: false, text: Some(text) } }
    };
    read.take(folder.into(), Ok(Some(Found::Folder(files.iter().map(entry).collect()))));
    read
}

#[test]
fn what_kube_vip_writes_today_is_read() {
    let lease = Lease { name: "plndr-cp-lock".into(), seconds: [Some(5), Some(3), Some(1)] };
    let wanted = KubeVip {
        file: "/m/x".into(),
        interface: text("vmbr1"),
        services_interface: Given::Not,
        address: text("10.0.0.10"),
        mode: Some(Mode::Arp),
        control_plane: true,
        services: false,
        may_be_down: false,
        lease: Some(lease),
    };
    assert_eq!(read(TODAY), wanted);
    assert_eq!(read(TODAY).links().collect::<Vec<_>>(), [("vmbr1", false)]);
    let json = serde_json::to_string(&yaml::first(TODAY).unwrap()).unwrap();
    assert_eq!(read(&json), wanted, "a manifest may be JSON");
}

#[test]
fn flags_count_where_the_environment_is_silent() {
    let pod =
        read(&with("args: [manager, --interface, eth0, --address=10.0.0.10, --arp, --controlplane, --services=false]"));
    assert_eq!((pod.interface, pod.address, pod.mode), (text("eth0"), text("10.0.0.10"), Some(Mode::Arp)));
    assert!(pod.control_plane && !pod.services && pod.lease.is_none());
    let both = "args: [manager, --interface, eth0]\n    env: [{name: vip_interface, value: eth1}]";
    assert_eq!(read(&with(both)).interface, text("eth1"));
    let empty = "args: [manager, --interface, eth0]\n    env: [{name: vip_interface}]";
    assert_eq!(read(&with(empty)).interface, text("eth0"));
}

#[test]
fn older_names_are_known() {
    let old = "env: [{name: vip_address, value: 10.0.0.10}, {name: bgp_enable, value: 'true'}]";
    let pod = read(&with(old));
    assert_eq!((pod.address, pod.mode), (text("10.0.0.10"), Some(Mode::Bgp)));
    assert_eq!(read(&with("args: [start, --vip, 10.0.0.10]")).address, text("10.0.0.10"));
}

#[test]
fn what_stands_elsewhere_is_told_from_what_is_not_given() {
    assert_eq!(read(&with("args: [manager]")).interface, Given::Not);
    for lines in [
        "env: [{name: vip_interface, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]",
        "env: [{name: vip_interface, value: $(NIC)}]",
        "env: [{name: config_file, value: /etc/kube-vip.yaml}]",
        "args: [manager, --config-file=/etc/kube-vip.yaml]",
        "envFrom: [{configMapRef: {name: x}}]",
        "command: [sh, -c, '/kube-vip manager --interface eth0']",
    ] {
        assert!(matches!(read(&with(lines)).interface, Given::Elsewhere { .. }), "{lines}");
    }
}

#[test]
fn a_link_that_kube_vip_chooses_is_not_named() {
    for lines in ["env: [{name: vip_interface, value: ''}, {name: vip_servicesinterface, value: auto}]", "args: []"] {
        assert_eq!(read(&with(lines)).links().count(), 0, "{lines}");
    }
}

#[test]
fn a_manifest_is_known_by_its_image() {
    for image in [
        "ghcr.io/kube-vip/kube-vip:v1.0.0",
        "docker.io/plndr/kube-vip:0.3.8",
        "registry:5000/mirror/kube-vip@sha256:0123",
        "kube-vip",
        "rancher/mirrored-kube-vip-kube-vip-iptables:v0.8.7",
    ] {
        assert!(is_kube_vip(image), "{image}");
    }
    for image in ["ghcr.io/kube-vip/kube-vip-cloud-provider:v0.0.10", "kube-vip/other", "haproxy:2", ""] {
        assert!(!is_kube_vip(image), "{image}");
    }
    assert_eq!(manifest("/m/x", "kind: DaemonSet\nspec: {containers: [{image: kube-vip}]}"), Ok(None));
    assert_eq!(manifest("/m/x", ""), Ok(None));
}

#[test]
fn every_file_counts_but_hidden_ones_and_what_is_no_yaml() {
    let denied = Unread::new(Source::HostFiles, Reason::Denied { needs: "permission".into() });
    let files = [
        (".hidden.yaml", Ok(TODAY)),
        ("kube-apiserver.yaml", Err(denied.clone())),
        ("notes", Ok("a: b: c")),
        ("vip.yaml.bak", Ok(TODAY)),
        ("zzz", Ok("a: b: kube-vip")),
    ];
    let pods = static_pods(&host(FOLDER, &files));
    let pods = pods.known().unwrap();
    let names: Vec<_> = pods.kube_vip.iter().map(|pod| pod.file.as_str()).collect();
    assert_eq!(names, ["/etc/kubernetes/manifests/vip.yaml.bak"]);
    let [first, second] = pods.unread.as_slice() else { panic!("{:?}", pods.unread) };
    assert_eq!(first, &denied);
    assert!(second.to_string().contains("/etc/kubernetes/manifests/zzz:1: not YAML"), "{second}");
}

#[test]
fn the_folder_is_the_kubelets_and_without_any_there_is_none() {
    assert_eq!(static_pods(&RawHost::nothing()), Fact::Absent);
    let rke2 = static_pods(&host(OTHERS[1], &[("kube-vip.yaml", Ok(TODAY))]));
    assert_eq!(rke2.known().unwrap().kube_vip.len(), 1);
    let mut moved = host("/srv/pods", &[("kube-vip.yaml", Ok(TODAY))]);
    moved.take("/var/lib/kubelet/config.yaml".into(), Ok(Some(Found::Text("staticPodPath: /srv/pods/\n".into()))));
    assert_eq!(static_pods(&moved).known().unwrap().kube_vip.len(), 1);
    assert_eq!(asks(&moved)[0].path, "/srv/pods");
}

#[test]
fn nothing_is_concluded_where_the_kubelets_folder_is_not_known() {
    let mut read = host(FOLDER, &[]);
    let denied = Unread::new(Source::HostFiles, Reason::Denied { needs: "permission".into() });
    read.take("/var/lib/kubelet/config.yaml".into(), Err(denied.clone()));
    assert_eq!(static_pods(&read).known().unwrap().unread, [denied]);
}

/// Could fail by a link that is passed over: the manifest behind it would be as good as none.
#[test]
fn a_link_into_what_is_not_to_be_seen_may_be_a_manifest() {
    let link = |to: &str| Entry { name: "vip.yaml".into(), kind: EntryKind::Dangling(to.into()) };
    let at = |to: &str| {
        let mut read = host(FOLDER, &[]);
        read.take(FOLDER.into(), Ok(Some(Found::Folder(vec![link(to)]))));
        assert!(asks(&read).contains(&Ask::folder("/srv", &[])));
        read
    };
    let mut read = at("/srv/pods/vip.yaml");
    read.take("/srv".into(), Ok(None));
    let pods = static_pods(&read);
    let [why] = pods.known().unwrap().unread.as_slice() else { panic!("{pods:?}") };
    assert!(why.to_string().contains("/srv is not to be seen"), "{why}");
    read.take("/srv".into(), Ok(Some(Found::Folder(Vec::new()))));
    assert_eq!(static_pods(&read), Fact::Known(StaticPods::default()), "it leads nowhere, for the kubelet too");
}

#[test]
fn a_folder_that_is_no_path_from_the_root_is_not_asked_for() {
    let mut read = RawHost::nothing();
    read.take("/var/lib/kubelet/config.yaml".into(), Ok(Some(Found::Text("staticPodPath: pods\n".into()))));
    assert_eq!(folders(&read), OTHERS);
}

#[test]
fn kube_vip_makes_the_wireguard_link_and_not_the_one_for_services() {
    let pod = read(&with(
        "args: [manager, --wireguard, --interface, wg0]\n    env: [{name: vip_servicesinterface, value: eth1}]",
    ));
    assert_eq!(pod.links().collect::<Vec<_>>(), [("wg0", true), ("eth1", false)]);
}
