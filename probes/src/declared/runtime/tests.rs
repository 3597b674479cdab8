//! Which runtime, by what machines have.

use super::*;
use crate::checks::declared::machine::Machine;

fn runtime(machine: &Machine) -> Runtime {
    of(&machine.read()).unwrap()
}

fn unread(machine: &Machine) -> String {
    of(&machine.read()).unwrap_err().to_string()
}

const TWO: &str = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n";
const THREE: &str = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\n";

fn containerd(text: &str) -> Machine {
    Machine::node().file(CONTAINERD, text)
}

#[test]
fn a_node_is_known_by_what_joining_a_cluster_leaves() {
    let is = |machine: &Machine| node(&machine.read());
    assert_eq!(is(&Machine::new()), Fact::Absent);
    assert_eq!(
        is(&Machine::new().folder("/var/lib/kubelet").folder("/etc/kubernetes/manifests")),
        Fact::Absent,
        "a package"
    );
    assert_eq!(is(&Machine::new().folder("/var/lib/kubelet/pods")), Fact::Known("/var/lib/kubelet/pods".into()));
    assert!(matches!(is(&Machine::new().file("/etc/kubernetes/kubelet.conf", "")), Fact::Known(_)));
    assert!(matches!(is(&Machine::new().file(DISTRIBUTIONS[0], "")), Fact::Known(_)));
    let secret = Machine::new().denied("/var/lib/kubelet");
    assert!(matches!(is(&secret), Fact::Unread(_)));
    assert!(
        matches!(is(&secret.file("/etc/kubernetes/kubelet.conf", "")), Fact::Known(_)),
        "one that shows it is enough"
    );
    assert!(matches!(is(&Machine::new().unseen("/var")), Fact::Unread(_)), "what is not mounted is not missing");
}

#[test]
fn containerds_table_is_found_in_every_version_of_its_file() {
    let folder = |text: &str| runtime(&containerd(text)).folder;
    assert_eq!(folder(&format!("{TWO}conf_dir = '/a'")), "/a");
    assert_eq!(folder(&format!("{THREE}conf_dir = '/a/'")), "/a");
    assert_eq!(folder("[plugins.cri.cni]\nconf_dir = '/a'"), "/a");
    assert_eq!(
        folder("version = 3\n[plugins.'io.containerd.grpc.v1.cri'.cni]\nconf_dir = '/a'"),
        FOLDER,
        "not read there"
    );
    assert_eq!(folder(&format!("{TWO}conf_dir = ''")), FOLDER);
    let plugins = |keys: &str| runtime(&containerd(&format!("{THREE}{keys}"))).plugins;
    assert_eq!(plugins("bin_dirs = ['/a', '/b']"), ["/a", "/b"]);
    assert_eq!(plugins("bin_dir = '/a'"), ["/a"]);
    assert_eq!(plugins("bin_dir = '/a'\nbin_dirs = ['/opt/cni/bin']"), ["/a"], "the default gives way");
    let most = |keys: &str| runtime(&containerd(&format!("{THREE}{keys}"))).most;
    assert_eq!((most(""), most("max_conf_num = 0"), most("max_conf_num = 2")), (Some(1), None, Some(2)));
    assert!(!runtime(&containerd(&format!("{THREE}use_internal_loopback = true"))).loopback);
}

#[test]
fn imports_are_taken_after_the_file_that_names_them() {
    let main = format!("imports = ['/etc/containerd/conf.d/*.toml']\n{TWO}conf_dir = '/a'\nbin_dir = '/bin/a'\n");
    let machine = containerd(&main);
    assert_eq!(runtime(&machine).folder, "/a", "a folder that is not there has no files");
    let more = machine.file("/etc/containerd/conf.d/20.toml", &format!("{TWO}conf_dir = '/c'"));
    let more = more.file("/etc/containerd/conf.d/10.toml", &format!("{TWO}conf_dir = '/b'"));
    let found = runtime(&more.file("/etc/containerd/conf.d/README", "not read"));
    assert_eq!((found.folder.as_str(), found.plugins.as_slice()), ("/c", &["/bin/a".to_owned()][..]));
    assert_eq!(found.told_by.len(), 4, "the kubelet's flags and three files");
    let circle =
        containerd("imports = ['/etc/containerd/config.toml', 'other.toml']").file("/etc/containerd/other.toml", THREE);
    assert_eq!(runtime(&circle).folder, FOLDER);
    assert!(
        unread(&containerd("imports = ['/gone.toml']"))
            .contains("/gone.toml, which /etc/containerd/config.toml imports")
    );
    assert!(unread(&containerd("imports = ['/etc/*/x.toml']")).contains("which files that means is not known"));
}

#[test]
fn a_file_that_is_none_is_named_with_its_line() {
    assert!(unread(&containerd("version = 2\n[plugins\n")).contains("/etc/containerd/config.toml:2"));
    assert!(unread(&containerd(&format!("{TWO}conf_dir = 'net.d'"))).contains("is no absolute path"));
    for text in ["\0", "\u{feff}", "[[[[", "a = {a = {a = {a = {", "version = 'x'\nplugins = 3\nimports = 7", "= = ="] {
        let _ = of(&containerd(text).read());
    }
    let deep = "[".repeat(50_000);
    let _ = of(&containerd(&format!("a = {deep}")).read());
}

#[test]
fn crio_adds_the_old_key_to_the_new_one_and_takes_files_by_name() {
    let machine = Machine::crio()
        .file("/etc/crio/crio.conf", "[crio.network]\nnetwork_dir = '/a'\nplugin_dir = '/old'\n")
        .file("/etc/crio/crio.conf.d/00-default", "[crio.network]\nnetwork_dir = '/etc/kubernetes/cni/net.d/'\n")
        .file(
            "/etc/crio/crio.conf.d/10-more.conf",
            "[crio.network]\nplugin_dirs = ['/var/lib/cni/bin', '/usr/libexec/cni']\n",
        );
    let found = runtime(&machine);
    assert_eq!((found.kind, found.folder.as_str(), found.most), (Kind::Crio, "/etc/kubernetes/cni/net.d", None));
    assert_eq!(found.plugins, ["/var/lib/cni/bin", "/usr/libexec/cni", "/old"]);
    assert_eq!(runtime(&Machine::crio()).plugins, [PLUGINS]);
}

#[test]
fn a_distributions_own_containerd_comes_first() {
    let k3s = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n  bin_dir = \"/var/lib/rancher/k3s/data/cni\"\n  \
               conf_dir = \"/var/lib/rancher/k3s/agent/etc/cni/net.d\"\n";
    let machine = Machine::new().file(DISTRIBUTIONS[0], k3s).file(CONTAINERD, &format!("{TWO}conf_dir = '/docker'"));
    assert_eq!(runtime(&machine).folder, "/var/lib/rancher/k3s/agent/etc/cni/net.d");
    assert!(unread(&machine.file(DISTRIBUTIONS[1], k3s)).contains("which of them makes pods is not known"));
    assert!(unread(&Machine::new().denied(DISTRIBUTIONS[0])).contains("permission"));
}

#[test]
fn the_kubelet_says_which_of_two_it_uses_and_else_what_runs_does() {
    let node = || Machine::new().folder("/var/lib/kubelet/pods");
    let both = node().file("/etc/crio/crio.conf", "").file(CONTAINERD, TWO);
    assert!(unread(&both).contains("containerd and CRI-O are both here"));
    assert_eq!(runtime(&both.clone().folder("/run/crio")).kind, Kind::Crio);
    assert_eq!(runtime(&both.clone().folder("/run/containerd")).kind, Kind::Containerd);
    let docker = node().file(CONTAINERD, "disabled_plugins = [\"cri\"]\n").file("/etc/crio/crio.conf", "");
    assert_eq!(runtime(&docker.folder("/run/containerd")).kind, Kind::Crio, "Docker's containerd makes no pods");
    let config = "# kubelet\ncontainerRuntimeEndpoint: \"unix:///var/run/crio/crio.sock\"\n";
    assert_eq!(runtime(&both.clone().file(ENDPOINTS[1], config)).kind, Kind::Crio);
    let other = "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/other.sock --v=2\"";
    assert!(unread(&both.file(ENDPOINTS[0], other)).contains("unix:///run/other.sock of"));
    let nobody = runtime(&Machine::new());
    assert_eq!((nobody.kind, nobody.loopback, nobody.told_by.len()), (Kind::Unknown, false, 0));
}

#[test]
fn cri_dockerd_is_taken_by_its_defaults_also_beside_dockers_own_containerd() {
    let flags = "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock\"";
    let machine = containerd("disabled_plugins = ['cri']\n").folder("/run/containerd").file(ENDPOINTS[0], flags);
    let found = runtime(&machine);
    assert_eq!((found.kind, found.folder.as_str(), found.loopback), (Kind::Unknown, FOLDER, false));
    assert_eq!(found.told_by, [ENDPOINTS[0]]);
}

#[test]
fn what_is_wrong_with_a_runtime_hinders_nobody_on_a_machine_that_is_no_node() {
    let two = Machine::new().file(CONTAINERD, TWO).file("/etc/crio/crio.conf", "");
    for machine in [two, Machine::new().file(CONTAINERD, "= ="), Machine::new().denied(CONTAINERD)] {
        assert_eq!(runtime(&machine).kind, Kind::Unknown);
        assert!(of(&machine.folder("/var/lib/kubelet/pods").read()).is_err(), "a node's makes its pods");
    }
}

#[test]
fn a_file_that_leads_to_a_folder_of_imports_leads_to_the_networks_addresses_all_the_same() {
    use crate::declared::{Files, addresses::Ipam};
    let bridge = r#"{"name": "net", "type": "bridge", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}"#;
    let folder = "/var/lib/rancher/k3s/agent/etc";
    let main = format!("imports = ['{folder}/containerd/config-v3.toml.d/*.toml']\nversion = 3\n");
    let more = format!("imports = ['{folder}/more.toml']\nversion = 3\n");
    let machine = Machine::new()
        .file(DISTRIBUTIONS[0], &main)
        .file(&format!("{folder}/containerd/config-v3.toml.d/a.toml"), &more)
        .file(&format!("{folder}/more.toml"), &format!("{THREE}conf_dir = '{folder}/cni/net.d'"))
        .file(&format!("{folder}/cni/net.d/10-net.conf"), bridge);
    let Fact::Known(Ipam::HostLocal(pool)) = Files::parse(&machine.read()).addresses else { panic!() };
    assert_eq!(pool.config, format!("{folder}/cni/net.d/10-net.conf"));
}

#[test]
fn of_a_flag_that_stands_twice_the_last_counts_and_a_comment_does_not() {
    let config = "# containerRuntimeEndpoint: unix:///run/cri-dockerd.sock\n\
                  containerRuntimeEndpoint: unix:///run/cri-dockerd.sock\n\
                  containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n\
                  #containerRuntimeEndpoint: unix:///run/crio/crio.sock\n";
    assert_eq!(runtime(&Machine::new().file(ENDPOINTS[1], config)).kind, Kind::Containerd);
}

/// Could fail by memory: each plugin of a network has all folders.
#[test]
fn there_is_an_end_to_the_folders_of_plugins() {
    let dirs = |count: usize| {
        let dirs: Vec<_> = (0..count).map(|at| format!("'/bin/{at}'")).collect();
        containerd(&format!("{TWO}bin_dirs = [{}]", dirs.join(", ")))
    };
    assert_eq!(runtime(&dirs(16)).plugins.len(), 16);
    assert!(unread(&dirs(17)).contains("more than 16 folders"));
}

#[test]
fn a_runtimes_folder_that_only_root_may_look_into_is_there() {
    let both = Machine::new().file("/etc/crio/crio.conf", "").file(CONTAINERD, TWO);
    assert_eq!(runtime(&both.denied("/run/crio")).kind, Kind::Crio);
}

#[test]
fn the_kubelets_flag_comes_before_its_configuration() {
    let flags = "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/containerd/containerd.sock\"\n";
    let config = "containerRuntimeEndpoint: unix:///run/crio/crio.sock\n";
    let both = Machine::new().file(ENDPOINTS[0], flags).file(ENDPOINTS[1], config);
    assert_eq!(runtime(&both).kind, Kind::Containerd);
}

#[test]
fn a_network_without_a_name_is_not_asked_for() {
    let network = |name: &str| {
        let text = format!("[crio.network]\ncni_default_network = '{name}'\n");
        runtime(&Machine::crio().file("/etc/crio/crio.conf", &text)).network
    };
    assert_eq!((network(""), network("net")), (None, Some("net".into())));
}
