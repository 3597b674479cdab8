//! Files as CNIs and their installers write them, and what pods get by them.

use std::collections::BTreeMap;

use super::*;
use crate::declared::cni;
use crate::declared::host::{Entry, EntryKind, Found, RawHost};

/// What a machine with these files says; a path of the CNI's folder is one of its files.
pub(crate) fn files(texts: &[(&str, &str)]) -> Files {
    let mut read = RawHost::nothing();
    let mut folder = BTreeMap::new();
    for (path, text) in texts {
        match path.strip_prefix(cni::FOLDER).and_then(|name| name.strip_prefix('/')) {
            Some(name) => {
                let kind = EntryKind::File { executable: false, text: Some(Ok((*text).to_owned())) };
                folder.insert(name, Entry { name: name.into(), kind });
            }
            None => read.take((*path).into(), Ok(Some(Found::Text((*text).into())))),
        }
    }
    if !folder.is_empty() {
        read.take(cni::FOLDER.into(), Ok(Some(Found::Folder(folder.into_values().collect()))));
    }
    Files::parse(&read.without_more())
}

fn told(texts: &[(&str, &str)]) -> Option<(u32, String)> {
    pods(&files(texts)).unwrap().map(|pods| (pods.mtu.bytes(), pods.written))
}

fn by(mtu: u32, written: &str) -> Option<(u32, String)> {
    Some((mtu, written.to_owned()))
}

const CALICO: &str = "/etc/cni/net.d/10-calico.conflist";
const FLANNEL: &str = "/etc/cni/net.d/10-flannel.conflist";

fn calico(mtu: &str) -> String {
    format!(
        r#"{{"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [
            {{"type": "calico", "datastore_type": "kubernetes"{mtu}, "ipam": {{"type": "calico-ipam"}}}},
            {{"type": "portmap", "snat": true}}, {{"type": "bandwidth"}}]}}"#
    )
}

fn flannel(fields: &str) -> String {
    format!(
        r#"{{"name": "cbr0", "cniVersion": "0.3.1", "plugins": [{{"type": "flannel"{fields}}}, {{"type": "portmap"}}]}}"#
    )
}

#[test]
fn calico_leaves_it_to_felix_where_the_file_says_nothing_or_zero() {
    for none in ["", r#", "mtu": 0"#, r#", "mtu": 60"#] {
        let said = told(&[(CALICO, &calico(none)), ("/var/lib/calico/mtu", "1410")]);
        assert_eq!(said, by(1410, "/var/lib/calico/mtu"), "{none}");
        assert_eq!(told(&[(CALICO, &calico(none))]), None, "{none}");
        assert_eq!(is_left_to_felix(&files(&[(CALICO, &calico(none))])), Ok(Some(true)));
    }
    let given = [(CALICO, &calico(r#", "mtu": 1440"#)[..]), ("/var/lib/calico/mtu", "1410")];
    assert_eq!(told(&given), by(1440, "/etc/cni/net.d/10-calico.conflist: mtu of calico"));
    assert_eq!(is_left_to_felix(&files(&given)), Ok(Some(false)));
}

#[test]
fn felixs_number_is_nobodys_where_another_cni_wins() {
    let both =
        [(CALICO, &calico("")[..]), ("/etc/cni/net.d/05-net.conf", r#"{"name": "a", "type": "bridge", "mtu": 1400}"#)];
    let said = told(&[both[0], both[1], ("/var/lib/calico/mtu", "1450")]);
    assert_eq!(said, by(1400, "/etc/cni/net.d/05-net.conf: mtu of bridge"));
    assert_eq!(is_left_to_felix(&files(&both)), Ok(None));
    assert_eq!(told(&[("/var/lib/calico/mtu", "1450")]), None, "no CNI file at all");
}

#[test]
fn flannel_takes_its_own_number_unless_its_delegate_has_one() {
    let env = ("/run/flannel/subnet.env", "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_MTU=1450\n");
    let plain = flannel(r#", "delegate": {"hairpinMode": true, "isDefaultGateway": true}"#);
    assert_eq!(told(&[(FLANNEL, &plain), env]), by(1450, "/run/flannel/subnet.env: FLANNEL_MTU"));
    assert_eq!(told(&[(FLANNEL, &plain)]), None, "Flannel has not started");
    let own = flannel(r#", "delegate": {"mtu": 1400}"#);
    assert_eq!(told(&[(FLANNEL, &own), env]), by(1400, "/etc/cni/net.d/10-flannel.conflist: delegate.mtu of flannel"));
    assert_eq!(told(&[(FLANNEL, &flannel(r#", "delegate": {"mtu": 0}"#)), env]), None, "a number to Flannel");
    assert_eq!(told(&[(FLANNEL, &flannel(r#", "subnetFile": "/elsewhere""#)), env]), None);
    assert_eq!(told(&[(FLANNEL, &flannel(r#", "subnetFile": """#)), env]).map(|(mtu, _)| mtu), Some(1450));
}

#[test]
fn the_bridge_is_the_one_that_the_plugin_is_told_or_cni0() {
    let bridge = |texts: &[(&str, &str)]| pods(&files(texts)).unwrap().unwrap().bridge;
    let env = ("/run/flannel/subnet.env", "FLANNEL_MTU=1450");
    assert_eq!(bridge(&[(FLANNEL, &flannel("")), env]).as_deref(), Some("cni0"));
    assert_eq!(bridge(&[(FLANNEL, &flannel(r#", "delegate": {"bridge": "kbr"}"#)), env]).as_deref(), Some("kbr"));
    assert_eq!(bridge(&[(FLANNEL, &flannel(r#", "delegate": {"type": "ptp"}"#)), env]), None);
    let own = r#"{"name": "n", "type": "bridge", "bridge": "cbr0", "mtu": 1460}"#;
    assert_eq!(bridge(&[("/etc/cni/net.d/a.conf", own)]).as_deref(), Some("cbr0"));
}

#[test]
fn each_plugin_says_it_in_its_own_way_and_strangers_are_not_understood() {
    let one = |kind: &str, mtu: &str| {
        told(&[("/etc/cni/net.d/a.conf", &format!(r#"{{"name": "n", "type": "{kind}", "mtu": {mtu}}}"#))])
    };
    for kind in ["bridge", "ptp", "macvlan", "ipvlan", "cilium-cni"] {
        assert_eq!(one(kind, "1460"), by(1460, &format!("/etc/cni/net.d/a.conf: mtu of {kind}")));
        for none in ["0", "\"1460\"", "-1", "1.5", "null", "99999999999"] {
            assert_eq!(one(kind, none), None, "{kind} {none}");
        }
    }
    assert_eq!(one("aws-cni", "\"9001\"").map(|(mtu, _)| mtu), Some(9001));
    assert_eq!(one("aws-cni", "\"\""), None);
    assert_eq!(one("ovn-k8s-cni-overlay", "1400"), None, "nobody looked at what it does with it");
}

#[test]
fn multus_wraps_the_network_of_every_pod_and_tuning_may_make_the_end_smaller() {
    let list = calico(r#", "mtu": 1450"#);
    let wrapped = format!(r#"{{"name": "multus", "type": "multus", "delegates": [{list}]}}"#);
    assert_eq!(told(&[("/etc/cni/net.d/00-multus.conf", &wrapped)]).map(|(mtu, _)| mtu), Some(1450));
    let one = r#"{"name": "m", "type": "multus", "delegates": [{"type": "ptp", "mtu": 1400}]}"#;
    assert_eq!(told(&[("/etc/cni/net.d/00-multus.conf", one)]).map(|(mtu, _)| mtu), Some(1400));
    let thick = r#"{"name": "m", "type": "multus", "clusterNetwork": "/host/x"}"#;
    assert_eq!(told(&[("/etc/cni/net.d/00-multus.conf", thick)]), None);

    let tuned = |mtu: u32| {
        let list = format!(
            r#"{{"name": "n", "plugins": [{{"type": "ptp", "mtu": 1450}}, {{"type": "tuning", "mtu": {mtu}}}]}}"#
        );
        told(&[("/etc/cni/net.d/a.conflist", &list)])
    };
    assert_eq!(tuned(1400), by(1400, "/etc/cni/net.d/a.conflist: mtu of tuning"));
    assert_eq!(tuned(1500), by(1450, "/etc/cni/net.d/a.conflist: mtu of ptp"), "the node's end binds");
}

#[test]
fn what_could_not_be_read_or_used_is_not_passed_over() {
    let second = ("/etc/cni/net.d/20-net.conf", r#"{"name": "n", "type": "ptp", "mtu": 1400}"#);
    let broken = files(&[(CALICO, "{"), second]);
    let why = pods(&broken).unwrap_err().to_string();
    assert!(why.contains("10-calico.conflist cannot be used"), "{why}");
    let unread = Unread::new(Source::HostFiles, Reason::NotYet);
    let no_mtu = Files { calico_mtu: crate::fact::Fact::Unread(unread.clone()), ..files(&[(CALICO, &calico(""))]) };
    assert_eq!(pods(&no_mtu), Err(unread.clone()));
    let given = Files { calico_mtu: no_mtu.calico_mtu.clone(), ..files(&[(CALICO, &calico(r#", "mtu": 1400"#))]) };
    assert_eq!(pods(&given).unwrap().unwrap().mtu, IpSize::new(1400), "what is not asked for is not missed");
    assert_eq!(pods(&Files::parse(&RawHost::unread(unread.clone()))), Err(unread));
    assert_eq!(pods(&Files::parse(&RawHost::nothing())), Ok(None));
}

/// Could fail by a key that the plugin takes and that is not found: another file would have the last word.
#[test]
fn keys_are_the_plugins_whatever_the_case_of_their_letters() {
    let loud = [(CALICO, &*calico(r#", "MTU": 1400"#)), ("/var/lib/calico/mtu", "1450")];
    assert_eq!(told(&loud), by(1400, &format!("{CALICO}: mtu of calico")));
    assert_eq!(is_left_to_felix(&files(&loud)), Ok(Some(false)));
    let delegate = |key: &str| flannel(&format!(r#", "Delegate": {{"{key}": 1400}}"#));
    let note = ("/run/flannel/subnet.env", "FLANNEL_MTU=1450\n");
    assert_eq!(told(&[(FLANNEL, &delegate("mtu")), note]), by(1400, &format!("{FLANNEL}: delegate.mtu of flannel")));
    assert_eq!(told(&[(FLANNEL, &delegate("MTU")), note]).map(|(mtu, _)| mtu), Some(1450), "that one is a map");
}

/// Could fail by one byte at what a kernel takes.
#[test]
fn the_least_that_a_kernel_takes_is_a_size_and_one_byte_less_is_none() {
    let felix = |mtu: &str| told(&[(CALICO, &calico("")), ("/var/lib/calico/mtu", mtu)]);
    let note = |mtu: &str| told(&[(FLANNEL, &flannel("")), ("/run/flannel/subnet.env", &format!("FLANNEL_MTU={mtu}"))]);
    for (mtu, is) in [("68", true), ("67", false)] {
        let file = told(&[(CALICO, &calico(&format!(r#", "mtu": {mtu}"#)))]);
        assert_eq!([file, felix(mtu), note(mtu)].map(|told| told.is_some()), [is; 3], "{mtu}");
    }
}

#[test]
fn of_several_that_tune_the_last_counts() {
    let list = r#"{"name": "x", "plugins": [{"type": "bridge", "mtu": 1500}, {"type": "tuning", "mtu": 1400},
        {"type": "tuning", "mtu": 1450}]}"#;
    assert_eq!(told(&[(CALICO, list)]), by(1450, &format!("{CALICO}: mtu of tuning")));
}
