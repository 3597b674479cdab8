//! Who gives this node's pods their addresses, as the CNI file that counts says.
//!
//! That is the first file that a runtime can use: at a broken one before it containerd stops, which is a finding of its
//! own. In it the first plugin makes the pod's link, and its `ipam` decides, whatever the later ones have (on AWS one has
//! addresses for the way out alone); Flannel's plugin makes one of its own for the plugin that it delegates to, and Multus
//! makes its first delegate's network. Only two ways leave something on the node to count: files
//! ([`host_local`]), and the routes of Calico's blocks.
//!
//! Others (Cilium, clouds, DHCP) count elsewhere, and so does a plugin that names `host-local` without ranges and runs it
//! out of the runtime's sight (Antrea's), or one whose ranges stand in Kubernetes. No node with these ever sees more, so it
//! is a value and no failure to look.

use serde_json::Value;

use super::cni::{self, ConfigFile, Network};
use super::host::{Ask, RawHost};
use super::host_local::{self, Pool};
use super::sizes;
use crate::fact::{Fact, Unread};

/// Who gives addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipam {
    /// The plugin `host-local`: this is what it has.
    HostLocal(Pool),
    /// Calico's own, in blocks.
    Calico,
    /// Somebody who counts where a node does not see it.
    Elsewhere,
}

/// What a file says of it, before what it leads to was read.
enum Named<'a> {
    HostLocal(host_local::Config<'a>),
    Calico,
    Elsewhere,
}

pub(super) fn asks(read: &RawHost) -> Vec<Ask> {
    let Fact::Known(files) = cni::files(read) else { return Vec::new() };
    let Ok(Some((path, network))) = made(&files) else { return Vec::new() };
    match of(path, &network) {
        Named::HostLocal(config) => host_local::asks(&config),
        Named::Calico | Named::Elsewhere => Vec::new(),
    }
}

/// Who gives addresses; absent where no CNI file says so.
pub fn ipam(read: &RawHost) -> Fact<Ipam> {
    let files = match cni::files(read) {
        Fact::Known(files) => files,
        Fact::Absent => return Fact::Absent,
        Fact::Unread(unread) => return Fact::Unread(unread),
    };
    let (path, network) = match made(&files) {
        Ok(Some(made)) => made,
        Ok(None) => return Fact::Absent,
        Err(unread) => return Fact::Unread(unread),
    };
    match of(path, &network) {
        Named::Calico => Fact::Known(Ipam::Calico),
        Named::HostLocal(config) => {
            Fact::from(host_local::pool(&config, read)).map(|pool| pool.map_or(Ipam::Elsewhere, Ipam::HostLocal))
        }
        Named::Elsewhere => Fact::Known(Ipam::Elsewhere),
    }
}

/// The network that pods get, and the file that counts; none without one.
fn made(files: &[ConfigFile]) -> Result<Option<(&str, Network)>, Unread> {
    for file in files {
        match &file.read {
            Ok(Ok(network)) => return Ok(Some((file.path.as_str(), sizes::run(network)))),
            Ok(Err(_)) => {}
            // It may be the one that counts.
            Err(unread) => return Err(unread.clone()),
        }
    }
    Ok(None)
}

fn of<'a>(path: &'a str, made: &'a Network) -> Named<'a> {
    let Some(plugin) = made.plugins.first() else { return Named::Elsewhere };
    let (kind, ipam) = (plugin.kind.as_str(), plugin.field("ipam").and_then(Value::as_object));
    let has = |key: &str| ipam.and_then(|ipam| cni::folded(ipam, key)).is_some_and(|value| !value.is_null());
    let runs_it = || has("ranges") || has("subnet") || cni::RUN_IPAM.contains(&kind);
    let host_local = || Named::HostLocal(host_local::Config { path, network: &made.name, plugin, ipam });
    match ipam.and_then(|ipam| cni::folded(ipam, "type")).and_then(Value::as_str) {
        None | Some("host-local") if kind == "flannel" => host_local(),
        Some("host-local") if runs_it() => host_local(),
        Some("calico-ipam") => Named::Calico,
        _ => Named::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::host::{Entry, EntryKind, Found};
    use crate::fact::{Reason, Source};

    fn file(name: &str, text: Result<&str, Unread>) -> Entry {
        let text = Some(text.map(str::to_owned));
        Entry { name: name.into(), kind: EntryKind::File { executable: false, text } }
    }

    fn of(entries: Vec<Entry>) -> Fact<Ipam> {
        let mut read = RawHost::new();
        read.take(cni::FOLDER.into(), Ok(Some(Found::Folder(entries))));
        ipam(&read.without_more())
    }

    fn one(text: &str) -> Fact<Ipam> {
        of(vec![file("10-net.conf", Ok(text))])
    }

    const BRIDGE: &str =
        r#"{"name": "net", "type": "bridge", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}"#;
    const CALICO: &str = r#"{"name": "net", "type": "calico", "ipam": {"type": "calico-ipam"}}"#;

    #[test]
    fn the_first_file_that_a_runtime_can_use_says_who() {
        assert_eq!(one(CALICO), Fact::Known(Ipam::Calico));
        assert!(matches!(one(BRIDGE), Fact::Known(Ipam::HostLocal(_))));
        let both = |first| of(vec![file("20-b.conf", Ok(BRIDGE)), file("10-a.conf", first)]);
        assert_eq!(both(Ok(CALICO)), Fact::Known(Ipam::Calico));
        assert!(matches!(both(Ok("{")), Fact::Known(Ipam::HostLocal(_))), "a broken one counts for nothing");
        let denied = Unread::new(Source::HostFiles, Reason::Denied { needs: "permission".into() });
        assert_eq!(both(Err(denied.clone())), Fact::Unread(denied), "it may be the one that counts");
    }

    #[test]
    fn the_first_plugin_decides_whatever_the_later_ones_have() {
        let list = |first: &str| {
            let text = format!(
                r#"{{"name": "net", "plugins": [{first}, {{"type": "egress-cni",
                "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "fd00::ac:00/118"}}]]}}}}]}}"#
            );
            of(vec![file("10-a.conflist", Ok(&text))])
        };
        assert_eq!(list(r#"{"type": "aws-cni"}"#), Fact::Known(Ipam::Elsewhere));
        assert_eq!(list(CALICO), Fact::Known(Ipam::Calico));
    }

    #[test]
    fn multus_makes_its_first_delegates_network_under_that_ones_name() {
        let multus =
            |delegate: &str| one(&format!(r#"{{"name": "multus", "type": "multus", "delegates": [{delegate}]}}"#));
        let Fact::Known(Ipam::HostLocal(pool)) = multus(BRIDGE) else { panic!() };
        assert_eq!(pool.folder, "/var/lib/cni/networks/net");
        let list = format!(r#"{{"name": "k8s", "plugins": [{CALICO}, {{"type": "portmap"}}]}}"#);
        assert_eq!(multus(&list), Fact::Known(Ipam::Calico));
    }

    #[test]
    fn who_counts_elsewhere_is_known_to_and_no_file_is_none() {
        for text in [
            r#"{"name": "cilium", "type": "cilium-cni"}"#,
            r#"{"name": "x", "type": "macvlan", "ipam": {"type": "dhcp"}}"#,
            r#"{"name": "x", "type": "azure-vnet", "ipam": {}}"#,
            r#"{"name": "antrea", "type": "antrea", "ipam": {"type": "host-local"}}"#,
            r#"{"name": "x", "type": "multus-shim", "clusterNetwork": "/host/etc/cni/net.d/10-a.conflist"}"#,
            r#"{"name": "x", "type": "multus", "clusterNetwork": "a"}"#,
        ] {
            assert_eq!(one(text), Fact::Known(Ipam::Elsewhere), "{text}");
        }
        let lacks = one(r#"{"name": "x", "type": "bridge", "ipam": {"type": "host-local"}}"#);
        assert!(matches!(lacks, Fact::Unread(_)), "that one asks for ranges: {lacks:?}");
        let own = r#"{"name": "x", "type": "ours", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}"#;
        assert!(matches!(one(own), Fact::Known(Ipam::HostLocal(_))), "any plugin's ranges are ranges");
        assert_eq!((of(Vec::new()), one("{")), (Fact::Absent, Fact::Absent));
        assert_eq!(ipam(&RawHost::nothing()), Fact::Absent);
        assert!(matches!(ipam(&RawHost::default()), Fact::Unread(_)));
        assert_eq!(asks(&RawHost::default()), []);
    }
}
