//! What drifts, what does not, and what cannot be told.

use super::*;
use crate::declared::sysctl::{Key, MAIN, RawFile, RawFiles, Written};
use crate::fact::{Fact, Reason, Source};
use crate::kernel::{Inet, Link};
use crate::snapshot::example::{Example, failed};
use crate::snapshot::setup::Cni;

/// A machine on which `/etc/sysctl.d/99-k8s.conf` says this.
fn with_file(node: Example, text: &str) -> Snapshot {
    with_files(node, &[("/etc/sysctl.d/99-k8s.conf", text)], None)
}

fn with_files(node: Example, files: &[(&str, &str)], main: Option<&str>) -> Snapshot {
    let mut node = node.snapshot();
    let file = |path: &str, text: &str| RawFile { path: path.into(), text: Ok(text.into()) };
    let directories = files.iter().map(|(path, text)| file(path, text)).collect();
    let files = RawFiles { directories, main: main.map(|text| file(MAIN, text)) };
    node.tables.written = Fact::Known(Written::new(&files));
    node
}

fn reads(mut node: Snapshot, key: &str, value: &str) -> Snapshot {
    node.tables.values.insert(Key::parse(key).unwrap(), Fact::Known(value.into()));
    node
}

fn expects(mut node: Snapshot, key: &str, value: &str) -> Snapshot {
    node.expect.sysctls.insert(key.into(), value.into());
    node
}

fn off(mut node: Example) -> Example {
    node.tables.ip_forward = Fact::Known(0);
    node
}

/// Severity and sentence of all that is raised.
fn told(node: &Snapshot) -> Vec<(Severity, String)> {
    let judgement = SysctlDrift::judge(node).unwrap();
    assert!(judgement.unread.is_empty(), "{judgement:?}");
    let one = |raised: &crate::checks::Raised<Evidence>| {
        (raised.severity, SysctlDrift::summary(&raised.subject, &raised.evidence))
    };
    judgement.raised.iter().map(one).collect()
}

fn only(node: &Snapshot) -> (Severity, String) {
    let [one] = <[_; 1]>::try_from(told(node)).unwrap_or_else(|all| panic!("{all:?}"));
    one
}

fn plain() -> Example {
    Example::empty().device("eth0", "device", 1500).address("eth0", "192.0.2.5", 24).peer("db-2", "eth0", "192.0.2.6")
}

#[test]
fn forwarding_that_files_want_and_the_kernel_lacks() {
    let (severity, says) = only(&with_file(off(Example::reference()), "# for pods\n\nnet.ipv4.ip_forward = 1\n"));
    assert_eq!(says, "net.ipv4.ip_forward is 0, /etc/sysctl.d/99-k8s.conf:3 says 1.");
    assert_eq!(severity, Severity::Warning);
    assert_eq!(told(&with_file(Example::reference(), "net.ipv4.ip_forward = 1\n")), []);
    assert_eq!(told(&with_file(off(Example::reference()), "#net.ipv4.ip_forward = 1\n")), [], "a comment");
    let router = off(plain());
    assert_eq!(only(&with_file(router, "net.ipv4.ip_forward = 1\n")).0, Severity::Info, "no pod needs it");
}

#[test]
fn the_line_that_wins_is_the_one_that_counts() {
    let files = [
        ("/etc/sysctl.d/10-a.conf", "net.ipv4.ip_forward = 1\n"),
        ("/etc/sysctl.d/99-z.conf", "net.ipv4.ip_forward = 0\n"),
    ];
    assert_eq!(told(&with_files(off(Example::reference()), &files, None)), []);
    let other = [files[0], ("/etc/sysctl.d/99-z.conf", "net.ipv4.conf.all.forwarding = 0\n")];
    assert_eq!(told(&with_files(off(Example::reference()), &other, None)), [], "the same setting by another name");
}

#[test]
fn forwarding_that_works_until_files_are_read_again() {
    let node = with_file(Example::reference(), "net.ipv4.ip_forward = 0\n");
    let (severity, says) = only(&node);
    assert_eq!(
        says,
        "net.ipv4.ip_forward is 1, as pods need it, and /etc/sysctl.d/99-k8s.conf:1 says 0: the next `sysctl --system` \
         or boot turns it off."
    );
    assert_eq!(severity, Severity::Warning);
    let judgement = SysctlDrift::judge(&node).unwrap();
    let fixes = SysctlDrift::fixes(&judgement.raised[0].subject, &judgement.raised[0].evidence);
    assert!(matches!(&fixes[..], [Fix::SysctlLine { value, now: false, .. }] if value == "1"), "{fixes:?}");
    let machine = with_file(plain(), "net.ipv4.ip_forward = 0\n");
    let (severity, says) = only(&machine);
    assert_eq!(severity, Severity::Info, "Docker turned it on, and nothing here needs it");
    assert!(!says.contains("pods"), "{says}");
}

#[test]
fn forwarding_of_ipv6_matters_where_pods_speak_it() {
    let off = |node| reads(with_file(node, "net.ipv6.conf.all.forwarding = 1\n"), "net.ipv6.conf.all.forwarding", "0");
    let mut dual = Example::reference();
    dual.peers[0].pods.push("fd00:244:2::2".parse().unwrap());
    assert_eq!(only(&off(dual)).0, Severity::Warning);
    assert_eq!(only(&off(Example::reference())).0, Severity::Info);
}

#[test]
fn a_file_that_one_reader_leaves_aside_is_told_so() {
    let node = with_files(off(Example::reference()), &[], Some("net.ipv4.ip_forward=1\n"));
    let alone = "net.ipv4.ip_forward is 0, /etc/sysctl.conf:1 says 1 to `sysctl --system` alone.";
    assert_eq!(only(&node), (Severity::Info, alone.into()), "Debian 13 does not read it at boot");
    let part = [("/etc/sysctl.d/99-k8s.conf", "net.ipv4.tcp_mtu_probing = 1\n")];
    let part = |value| {
        reads(with_files(plain(), &part, Some("net.ipv4.tcp_mtu_probing=2\n")), "net.ipv4.tcp_mtu_probing", value)
    };
    assert_eq!((told(&part("1")), told(&part("2"))), (Vec::new(), Vec::new()), "either is right");
    let (severity, says) = only(&part("0"));
    assert_eq!(severity, Severity::Info);
    assert!(
        says.ends_with("99-k8s.conf:1 says 1 at boot and /etc/sysctl.conf:1 says 2 to `sysctl --system` alone."),
        "{says}"
    );
}

#[test]
fn the_operators_word_counts_for_any_key() {
    let node = |value| reads(expects(plain().snapshot(), "net.core.rmem_max", "26214400"), "net.core.rmem_max", value);
    let says = "net.core.rmem_max is 212992, expect.sysctls says 26214400.";
    assert_eq!(only(&node("212992")), (Severity::Warning, says.into()));
    assert_eq!(told(&node("26214400")), []);
    let rmem = |value| {
        reads(expects(plain().snapshot(), "net.ipv4.tcp_rmem", "4096 131072 6291456"), "net.ipv4.tcp_rmem", value)
    };
    assert_eq!(told(&rmem("4096\t131072\t6291456")), [], "tabs are no difference");
    assert_eq!(told(&rmem("4096\t87380\t6291456")).len(), 1);
}

#[test]
fn the_operator_goes_before_the_files() {
    let (severity, says) =
        only(&expects(with_file(off(Example::reference()), "net.ipv4.ip_forward = 0\n"), "net.ipv4.ip_forward", "1"));
    assert_eq!(says, "net.ipv4.ip_forward is 0, expect.sysctls says 1, and /etc/sysctl.d/99-k8s.conf:1 says 0.");
    assert_eq!(severity, Severity::Warning);
    let kept = expects(with_file(Example::reference(), "net.ipv4.ip_forward = 0\n"), "net.ipv4.ip_forward", "1");
    assert!(only(&kept).1.contains("turns it off"), "it is as expected, and will not stay so");
}

#[test]
fn a_key_that_the_kernel_does_not_have() {
    let absent = |key: &str, value: &str| {
        let mut node = expects(Example::reference().snapshot(), key, value);
        node.tables.values.insert(Key::parse(key).unwrap(), Fact::Absent);
        (node.tables.bridge_nf_iptables, node.tables.bridge_nf_ip6tables) = (Fact::Absent, Fact::Absent);
        node
    };
    let says = "This kernel has no net.ipv4.nonesuch, which expect.sysctls says is 1.";
    assert_eq!(only(&absent("net.ipv4.nonesuch", "1")), (Severity::Warning, says.into()));
    assert_eq!(told(&absent("net.bridge.bridge-nf-call-iptables", "0")), [], "not loaded is off");
    assert!(only(&absent("net.bridge.bridge-nf-call-iptables", "1")).1.contains("is 0"));
    assert_eq!(told(&absent("net.ipv6.conf.all.disable_ipv6", "1")), [], "no IPv6 at all");
    assert_eq!(told(&absent("net.ipv4.conf.eth7.rp_filter", "2")), [], "another node's link");
    let file = with_file(plain(), "net.netfilter.nf_conntrack_max = 1\n");
    let mut file = reads(file, "net.ipv4.tcp_mtu_probing", "0");
    file.tables.values.insert(Key::parse("net.netfilter.nf_conntrack_max").unwrap(), Fact::Absent);
    assert_eq!(told(&file), [], "its module is not loaded");
}

#[test]
fn filters_of_bridges_matter_where_pods_hang_on_one() {
    let proxmox = "net.bridge.bridge-nf-call-iptables = 0\n";
    assert_eq!(told(&with_file(Example::reference(), proxmox)), [], "Proxmox's firewall turned them on");
    assert!(only(&with_file(Example::flannel(), proxmox)).1.contains("turns it off"));
    let mut lost = Example::flannel();
    lost.tables.bridge_nf_iptables = Fact::Absent;
    let wanted = with_file(lost, "net.bridge.bridge-nf-call-iptables = 1\n");
    assert_eq!(only(&wanted).0, Severity::Warning, "the module came after the files, or never");
}

#[test]
fn a_links_filter_counts_as_it_takes_effect() {
    let own = |value| Example::reference().with("vmbr1", |link| link.inet.as_mut().unwrap().rp_filter = value);
    let defaults = "net.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.all.rp_filter\n-net.ipv4.conf.default.rp_filter\n";
    let raised = |node: Example| told(&with_file(node, defaults)).into_iter().map(|(_, says)| says).collect::<Vec<_>>();
    let says = "net.ipv4.conf.vmbr1.rp_filter is 1, /etc/sysctl.d/99-k8s.conf:1 says 2.";
    assert_eq!(raised(own(1)).first().map(String::as_str), Some(says));
    assert!(!raised(own(2)).iter().any(|says| says.contains("vmbr1")), "as it is written");
    let mut all = own(1);
    all.tables.rp_filter_all = Fact::Known(2);
    assert!(raised(all).is_empty(), "that of all is larger");
    assert!(
        raised(own(1)).iter().all(|says| !says.contains("cali") && !says.contains("enp5s0")),
        "ports and pods have none"
    );
}

#[test]
fn a_filter_that_drops_nothing_is_nobodys_business() {
    let stock = |value| {
        let text =
            "net.ipv4.conf.all.rp_filter = V\nnet.ipv4.conf.default.rp_filter = V\nnet.ipv4.conf.*.rp_filter = V\n";
        text.replace('V', value)
    };
    let node = |all, own| {
        let set = |link: &mut Link| link.inet = Some(Inet { rp_filter: own, ..link.inet.unwrap_or_default() });
        let mut node = plain().with("eth0", set);
        node.tables.rp_filter_all = Fact::Known(all);
        node
    };
    let raised = |all: i64, own, written| {
        let node = with_file(node(all, own), &stock(written));
        told(&reads(node, "net.ipv4.conf.default.rp_filter", &all.to_string())).len()
    };
    assert_eq!(raised(0, 0, "2"), 0, "a container, whose files are its image's");
    assert_eq!(raised(2, 2, "1"), 0, "loosened by a CNI");
    assert_eq!(raised(1, 0, "2"), 3, "strict, where loose is meant");
    assert_eq!(raised(0, 1, "2"), 2, "all is to hold the link open, and does not");
}

#[test]
fn what_others_keep_is_no_drift() {
    let filters = "net.ipv4.conf.all.rp_filter = 2\nnet.ipv4.conf.vmbr1.rp_filter = 2\n";
    let strict = |node: Example| node.with("vmbr1", |link| link.inet.as_mut().unwrap().rp_filter = 1);
    assert_eq!(told(&with_file(strict(Example::reference()), filters)).len(), 2);
    let mut cilium = with_file(strict(Example::reference()), filters);
    cilium.setup.cni = Cni::Cilium;
    assert_eq!(told(&cilium), []);
    let ebpf = strict(Example::reference()).device("bpfin.cali", "veth", 1500);
    assert_eq!(told(&with_file(ebpf, filters)), []);
    assert_eq!(told(&expects(cilium, "net.ipv4.conf.all.rp_filter", "1")).len(), 1, "the operator means it");
    let table = |node| {
        reads(with_file(node, "net.netfilter.nf_conntrack_max = 65536\n"), "net.netfilter.nf_conntrack_max", "131072")
    };
    assert_eq!(told(&table(Example::reference())), [], "kube-proxy's");
    assert_eq!(told(&table(plain())).len(), 1);
}

#[test]
fn files_that_could_not_be_read_hold_what_they_may_speak_of() {
    let mut node = expects(Example::reference().snapshot(), "net.ipv4.ip_forward", "0");
    node.tables.written = Fact::Unread(failed(Source::SysctlFiles));
    let judgement = SysctlDrift::judge(&node).unwrap();
    assert_eq!(judgement.raised.len(), 1, "the operator's word needs no file");
    let held = |key: &str| judgement.unread.iter().any(|(subject, _)| *subject == Subject::Sysctl(key.into()));
    assert!(held("net.ipv4.conf.all.rp_filter") && held("net.ipv4.conf.vmbr1.rp_filter"));
    assert!(!held("net.ipv4.ip_forward"), "judged by the operator's word");
}

#[test]
fn a_value_that_could_not_be_read_is_neither_right_nor_wrong() {
    let mut node = with_file(Example::reference(), "net.ipv4.ip_forward = 1\nnet.ipv4.tcp_mtu_probing = 1\n");
    node.tables.ip_forward = Fact::Unread(failed(Source::Settings));
    let judgement = SysctlDrift::judge(&node).unwrap();
    assert!(judgement.raised.is_empty());
    let unread: Vec<_> =
        judgement.unread.iter().map(|(subject, why)| (subject.to_string(), why.reason.clone())).collect();
    let probing = ("net.ipv4.tcp_mtu_probing".to_owned(), Reason::NotYet);
    assert_eq!(unread, [("net.ipv4.ip_forward".to_owned(), failed(Source::Settings).reason), probing]);
    node.tables.links = Fact::Unread(failed(Source::Links));
    assert_eq!(SysctlDrift::judge(&node).unwrap_err(), failed(Source::Links));
}

#[test]
fn it_stands_under_the_code_that_knows_whom_the_setting_hurts() {
    let node = with_file(off(Example::reference()), "net.ipv4.ip_forward = 1\n");
    let carries = |cause, key: &str| node.carries(&Subject::Setting(cause), &Subject::Sysctl(key.into()));
    assert!(carries("ip_forward", "net.ipv4.ip_forward") && carries("rp_filter", "net.ipv4.conf.vmbr1.rp_filter"));
    assert!(!carries("rp_filter", "net.ipv4.ip_forward"));
}

#[test]
fn a_switch_is_on_at_any_value_and_a_number_is_not() {
    assert_eq!(told(&with_file(Example::reference(), "net.ipv4.ip_forward = 2\n")), []);
    let probing = reads(with_file(plain(), "net.ipv4.tcp_mtu_probing = 2\n"), "net.ipv4.tcp_mtu_probing", "1");
    assert_eq!(told(&probing).len(), 1);
}

#[test]
fn pods_without_a_tunnel_need_forwarding_as_well() {
    let node = off(plain().pod("cali1a2b3c4d5e6", 1500, "10.244.1.2"));
    assert_eq!(only(&with_file(node, "net.ipv4.ip_forward = 1\n")).0, Severity::Warning);
}

#[test]
fn a_links_filter_is_outweighed_by_that_of_all_and_a_bridge_of_pods_is_its_cnis() {
    let mut node = plain();
    node.tables.rp_filter_all = Fact::Known(1);
    assert_eq!(told(&with_file(node, "net.ipv4.conf.eth0.rp_filter = 0\n")), [], "the larger takes effect");
    let bridge = with_file(Example::flannel(), "net.ipv4.conf.cni0.rp_filter = 2\n");
    assert_eq!(told(&bridge), []);
}

#[test]
fn filters_of_bridges_are_needed_where_the_family_is_spoken_and_no_bridge_is_on_by_itself() {
    let with = |change: fn(&mut crate::kernel::BridgeFilter)| {
        let mut node = Example::flannel();
        (node.tables.bridge_nf_iptables, node.tables.bridge_nf_ip6tables) = (Fact::Known(0), Fact::Known(0));
        node.with("cni0", |link| change(link.bridge.get_or_insert_default()))
    };
    let key = "net.bridge.bridge-nf-call-iptables = 1\n";
    assert_eq!(told(&with_file(with(|_| {}), key)).len(), 1);
    assert_eq!(told(&with_file(with(|bridge| bridge.iptables = true), key)), [], "it is on where it matters");
    assert_eq!(told(&with_file(with(|_| {}), "net.bridge.bridge-nf-call-ip6tables = 1\n")), [], "pods of IPv4");
}
