//! What runtimes make of files.

use proptest::prelude::*;

use super::*;
use crate::checks::declared::machine::Machine;
use crate::declared::runtime::Kind;

const LIST: &str = r#"{"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [
    {"type": "calico", "mtu": 1450, "ipam": {"type": "calico-ipam"}}, {"type": "portmap"}]}"#;

fn on(names: &[(&str, &str)]) -> Vec<ConfigFile> {
    let node = Machine::node().folder(FOLDER);
    let machine = names.iter().fold(node, |machine, (name, text)| machine.file(&format!("{FOLDER}/{name}"), text));
    files(&machine.read()).known().unwrap().clone()
}

fn one(name: &str, text: &str) -> Result<Network, Invalid> {
    on(&[(name, text)]).pop().unwrap().read.unwrap()
}

fn why(name: &str, text: &str) -> String {
    one(name, text).unwrap_err().why
}

#[test]
fn a_list_has_plugins_and_any_other_file_is_one() {
    let list = one("10-calico.conflist", LIST).unwrap();
    let kinds: Vec<_> = list.plugins.iter().map(|plugin| (plugin.kind.as_str(), plugin.mtu())).collect();
    assert_eq!((list.name.as_str(), kinds), ("k8s-pod-network", vec![("calico", Some(1450)), ("portmap", None)]));
    let one = one("10-bridge.conf", r#"{"name": "net", "type": "bridge", "mtu": 0}"#).unwrap();
    assert_eq!((one.plugins[0].kind.as_str(), one.plugins[0].mtu()), ("bridge", None));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cut = one("a.conf", "{\n\"name\": \"x\",\n").unwrap_err();
    assert_eq!((cut.why.as_str(), cut.line, cut.column), ("it ends too early", Some(3), None));
    let comma = one("a.conf", "{\"name\": \"x\",}").unwrap_err();
    assert_eq!((comma.line, comma.column), (Some(1), Some(14)));
    assert_eq!(why("a.conf", " \n"), "it is empty");
    assert!(why("a.conf", "\u{feff}{}").contains("byte order mark"));
    assert!(why("a.conf", "{} {}").contains("it is no JSON"));
    assert_eq!(why("a.conf", "[]"), "it is a list, not an object");
    assert_eq!(why("a.conf", r#"{"name": "x"}"#), "it has no `type`");
    assert!(why("a.conf", LIST).contains("belongs in a file that ends in .conflist"));
    assert_eq!(why("a.conflist", r#"{"name": "x", "type": "bridge"}"#), "it has no `plugins`");
    assert_eq!(why("a.conflist", r#"{"name": "x", "plugins": []}"#), "it lists no plugin");
    assert_eq!(why("a.conflist", r#"{"plugins": [{"type": "ptp"}]}"#), "it has no `name`");
    assert_eq!(why("a.conflist", r#"{"name": 7, "plugins": [{"type": "ptp"}]}"#), "its `name` is a number, not a text");
    assert_eq!(why("a.conflist", r#"{"name": "x", "plugins": [{"type": "ptp"}, {}]}"#), "plugin 2: it has no `type`");
    assert!(why("a.conf", r#"{"name": "x", "type": "ptp", "ipam": "host-local"}"#).contains("`ipam` is a text"));
    assert!(why("a.conf", r#"{"name": "x", "type": "ptp", "ipam": {"type": 1}}"#).contains("`ipam` is an object"));
    assert!(
        why("a.conf", r#"{"name": "x", "type": "ptp", "capabilities": {"dns": "yes"}}"#).contains("`capabilities`")
    );
    assert!(
        why("a.conflist", r#"{"name": "x", "disableCheck": 1, "plugins": [{"type": "ptp"}]}"#).contains("neither true")
    );
}

#[test]
fn a_lists_keys_are_matched_to_the_letter_and_a_plugins_are_not() {
    assert_eq!(why("a.conflist", r#"{"Name": "x", "plugins": [{"type": "ptp"}]}"#), "it has no `name`");
    let loose = one("a.conflist", r#"{"name": "x", "plugins": [{"Type": "ptp", "MTU": 1400, "ipam": null}]}"#).unwrap();
    assert_eq!((loose.plugins[0].kind.as_str(), loose.plugins[0].mtu()), ("ptp", Some(1400)));
    let twice = one("a.conf", r#"{"name": "x", "name": "y", "type": "ptp", "type": "bridge"}"#).unwrap();
    assert_eq!((twice.name.as_str(), twice.plugins[0].kind.as_str()), ("y", "bridge"));
    let spelled = r#"{"name": "x", "disableCheck": "True", "plugins": [{"type": "ptp"}]}"#;
    assert!(one("a.conflist", spelled).is_ok());
}

#[test]
fn what_only_this_reader_refuses_is_not_called_wrong() {
    let deep = format!("{{\"name\": \"x\", \"type\": \"ptp\", \"a\": {}1{}}}", "[".repeat(200), "]".repeat(200));
    let half = r#"{"name": "x", "type": "ptp", "a": "\ud800"}"#;
    for text in [deep.as_str(), half] {
        let file = on(&[("a.conf", text)]).pop().unwrap();
        assert!(matches!(file.read.unwrap_err().reason, Reason::Malformed { .. }), "{text}");
    }
}

#[test]
fn names_end_as_runtimes_want_and_come_by_their_bytes() {
    let files = on(&[
        ("b.conf", "{}"),
        ("a.conf.bak", ""),
        ("B.json", "{}"),
        (".hidden.conflist", "{}"),
        ("README", ""),
        ("x.conf~", ""),
        ("10-a.conflist.cilium_bak", ""),
        ("calico-kubeconfig", ""),
        ("99-x.CONF", ""),
    ]);
    let names: Vec<_> = files.iter().map(|file| file.path.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, [".hidden.conflist", "B.json", "b.conf"]);
}

#[test]
fn more_plugins_of_a_list_may_lie_in_a_folder_of_its_networks_name() {
    let plugins = |text: &str, more: &[(&str, &str)]| {
        let node = Machine::node().file(&format!("{FOLDER}/a.conflist"), text);
        let machine =
            more.iter().fold(node, |machine, (name, text)| machine.file(&format!("{FOLDER}/net/{name}"), text));
        let file = files(&machine.read()).known().unwrap()[0].read.clone().unwrap();
        file.map(|network| network.plugins.into_iter().map(|plugin| plugin.kind).collect::<Vec<_>>())
    };
    let more = [("20.conf", r#"{"type": "tuning"}"#), ("10.conf", r#"{"type": "sbr"}"#), ("30.conflist", "{")];
    let own = r#"{"name": "net", "plugins": [{"type": "ptp"}]}"#;
    assert_eq!(plugins(own, &more).unwrap(), ["ptp", "sbr", "tuning"]);
    assert_eq!(plugins(r#"{"name": "net"}"#, &more).unwrap(), ["sbr", "tuning"]);
    let alone = r#"{"name": "net", "loadOnlyInlinedPlugins": true, "plugins": [{"type": "ptp"}]}"#;
    assert_eq!(plugins(alone, &more).unwrap(), ["ptp"]);
    let broken = plugins(own, &[("10.conf", "{")]).unwrap_err();
    assert!(broken.why.starts_with("/etc/cni/net.d/net/10.conf: "), "{broken:?}");
    assert_eq!(
        plugins(r#"{"name": "../../net"}"#, &more).unwrap_err().why,
        "it has no `plugins`",
        "no name leads elsewhere"
    );
}

#[test]
fn what_refuses_pods_is_told_from_what_does_not() {
    let refused = |text: &str| one("a.conf", text).unwrap().refused();
    for fine in ["", r#""cniVersion": "","#, r#""cniVersion": "9.0.0","#] {
        assert_eq!(refused(&format!(r#"{{{fine} "name": "k8s-pod_network.1", "type": "ptp"}}"#)), None);
    }
    assert!(refused(r#"{"type": "ptp"}"#).unwrap().contains("no name"));
    assert!(refused(r#"{"name": "my net", "type": "ptp"}"#).unwrap().contains("no name for a network"));
    assert!(refused(r#"{"name": "-net", "type": "ptp"}"#).is_some());
    assert!(refused(r#"{"name": "net", "cniVersion": "0.3", "type": "ptp"}"#).unwrap().contains("cniVersion"));
    assert!(refused(r#"{"name": "net", "type": "/opt/cni/bin/ptp"}"#).unwrap().contains("a path"));
}

fn needed(kind: Kind, text: &str) -> Vec<String> {
    let network = one("a.conf", text).unwrap();
    let read = if kind == Kind::Crio { Machine::crio().read() } else { Machine::node().read() };
    let needs = needs(&network, &runtime::of(&read).unwrap());
    needs.into_iter().map(|need| format!("{} {}", need.name, need.folders.join(":"))).collect()
}

#[test]
fn plugins_run_others() {
    let flannel = |delegate: &str| needed(Kind::Crio, &format!(r#"{{"name": "n", "type": "flannel"{delegate}}}"#));
    assert_eq!(flannel(""), ["flannel /opt/cni/bin", "bridge /opt/cni/bin", "host-local /opt/cni/bin"]);
    let other = flannel(r#", "ipam": {"type": "dhcp"}, "delegate": {"type": "ipvlan"}"#);
    assert_eq!(other, ["flannel /opt/cni/bin", "ipvlan /opt/cni/bin", "dhcp /opt/cni/bin"]);
    let ipam =
        |kind: &str| needed(Kind::Crio, &format!(r#"{{"name": "n", "type": "{kind}", "ipam": {{"type": "x"}}}}"#));
    assert_eq!(ipam("bridge"), ["bridge /opt/cni/bin", "x /opt/cni/bin"]);
    assert_eq!(ipam("azure-vnet"), ["azure-vnet /opt/cni/bin"], "it may not run that");
    assert_eq!(
        needed(Kind::Containerd, r#"{"name": "n", "type": "cilium-cni"}"#).last().unwrap(),
        "loopback /opt/cni/bin"
    );
}

#[test]
fn multus_looks_in_its_own_folder_first_and_only_for_what_its_file_names() {
    let multus = |rest: &str| needed(Kind::Crio, &format!(r#"{{"name": "n", "type": "multus", {rest}}}"#));
    let delegates =
        r#""delegates": [{"name": "a", "plugins": [{"type": "ptp", "ipam": {"type": "dhcp"}}, {"type": "portmap"}]}]"#;
    assert_eq!(
        multus(&format!(r#""binDir": "/srv/bin/", {delegates}"#)),
        [
            "multus /opt/cni/bin",
            "ptp /srv/bin:/opt/cni/bin",
            "dhcp /srv/bin:/opt/cni/bin",
            "portmap /srv/bin:/opt/cni/bin"
        ]
    );
    assert_eq!(multus(&format!(r#""clusterNetwork": "kube-system/x", {delegates}"#)), ["multus /opt/cni/bin"]);
    let mut nested = r#"{"type": "end"}"#.to_owned();
    for _ in 0..20 {
        nested = format!(r#"{{"type": "multus", "delegates": [{nested}]}}"#);
    }
    assert!(
        !multus(&format!(r#""delegates": [{nested}]"#)).iter().any(|need| need.starts_with("end")),
        "there is an end to it"
    );
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "(?s).{0,80}", name in "[a-z./]{0,6}(\\.conf|\\.conflist|\\.json)") {
        let _ = parse::file(&name, &text);
    }

    #[test]
    fn no_object_is_too_odd(
        keys in prop::collection::vec("name|type|Type|plugins|ipam|delegate|delegates|cniVersion|dns|binDir", 0..6),
        values in prop::collection::vec("1|null|\"x\"|\\[\\]|\\{\\}|true|\\[\\{\"type\":\"multus\",\"delegates\":\\[1,\\{\\}\\]\\}\\]", 6),
    ) {
        let fields: Vec<_> = keys.iter().zip(&values).map(|(key, value)| format!("\"{key}\": {value}")).collect();
        let text = format!("{{{}}}", fields.join(", "));
        for file in on(&[("a.conf", &text), ("b.conflist", &text)]) {
            if let Ok(Ok(network)) = file.read {
                prop_assert!(network.refused().is_some() || !network.name.is_empty());
                let read = Machine::node().read();
                prop_assert!(!needs(&network, &runtime::of(&read).unwrap()).is_empty());
            }
        }
    }
}

#[test]
fn a_folder_is_no_file_whatever_it_is_called() {
    let machine = Machine::node().folder("/etc/cni/net.d/00-old.conf").file("/etc/cni/net.d/10-net.conf", "{}");
    let files = files(&machine.read());
    let names: Vec<_> = files.known().unwrap().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["/etc/cni/net.d/10-net.conf"]);
}
