//! Who gives this node's pods their addresses, as the CNI file that counts says.
//!
//! That is the first file that a runtime can use: at a broken one before it containerd stops, which is a finding of its
//! own. In it the first plugin makes the pod's link, and its `ipam` decides, whatever the later ones have (on AWS one has
//! addresses for the way out alone); Flannel's plugin makes one of its own for the plugin that it delegates to. Only two ways leave something on the node to count: files ([`host_local`](super::host_local)), and the
//! routes of Calico's blocks. Others (Cilium, clouds, DHCP) count elsewhere, and that is not the same as enough.

use serde_json::Value;

use super::cni::{self, ConfigFile, Plugin};
use super::host::{Ask, RawHost};
use super::host_local::{self, Pool};
use crate::fact::{Fact, Reason, Source, Unread};

/// Who gives addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipam {
    /// The plugin `host-local`: this is what it has.
    HostLocal(Pool),
    /// Calico's own, in blocks.
    Calico,
}

/// What a file says of it, before what it leads to was read.
enum Named<'a> {
    HostLocal(host_local::Config<'a>),
    Calico,
    Elsewhere(&'a str),
}

pub(super) fn asks(read: &RawHost) -> Vec<Ask> {
    let Fact::Known(files) = cni::files(read) else { return Vec::new() };
    match named(&files) {
        Ok(Some(Named::HostLocal(config))) => host_local::asks(&config),
        _ => Vec::new(),
    }
}

/// Who gives addresses; absent where no CNI file says so.
pub fn ipam(read: &RawHost) -> Fact<Ipam> {
    let files = match cni::files(read) {
        Fact::Known(files) => files,
        Fact::Absent => return Fact::Absent,
        Fact::Unread(unread) => return Fact::Unread(unread),
    };
    match named(&files) {
        Ok(None) => Fact::Absent,
        Ok(Some(Named::Calico)) => Fact::Known(Ipam::Calico),
        Ok(Some(Named::HostLocal(config))) => Fact::from(host_local::pool(&config, read).map(Ipam::HostLocal)),
        Ok(Some(Named::Elsewhere(kind))) => {
            let why = format!("`{kind:.40}` gives pods their addresses, and counts them where a node does not see it");
            Fact::Unread(Unread::new(Source::HostFiles, Reason::Unsupported { why }))
        }
        Err(unread) => Fact::Unread(unread),
    }
}

/// What the file that counts says; none without one.
fn named(files: &[ConfigFile]) -> Result<Option<Named<'_>>, Unread> {
    for file in files {
        match &file.read {
            Ok(Ok(network)) => return Ok(of(file, &network.name, &network.plugins)),
            Ok(Err(_)) => {}
            // It may be the one that counts.
            Err(unread) => return Err(unread.clone()),
        }
    }
    Ok(None)
}

fn of<'a>(file: &'a ConfigFile, network: &'a str, plugins: &'a [Plugin]) -> Option<Named<'a>> {
    let plugin = plugins.first()?;
    let ipam = plugin.field("ipam").and_then(Value::as_object);
    Some(match ipam.and_then(|ipam| cni::folded(ipam, "type")).and_then(Value::as_str) {
        None if plugin.kind != "flannel" => Named::Elsewhere(&plugin.kind),
        None | Some("host-local") => Named::HostLocal(host_local::Config { path: &file.path, network, plugin, ipam }),
        Some("calico-ipam") => Named::Calico,
        Some(other) => Named::Elsewhere(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::host::{Entry, EntryKind, Found};

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

    fn why(ipam: Fact<Ipam>) -> String {
        let Fact::Unread(why) = ipam else { panic!("{ipam:?}") };
        why.to_string()
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
        assert!(why(list(r#"{"type": "aws-cni"}"#)).contains("`aws-cni` gives"));
        assert_eq!(list(CALICO), Fact::Known(Ipam::Calico));
    }

    #[test]
    fn who_counts_elsewhere_is_named_and_no_file_is_none() {
        assert!(why(one(r#"{"name": "cilium", "type": "cilium-cni"}"#)).contains("`cilium-cni` gives"));
        assert!(why(one(r#"{"name": "x", "type": "macvlan", "ipam": {"type": "dhcp"}}"#)).contains("`dhcp` gives"));
        assert!(why(one(r#"{"name": "x", "type": "azure-vnet", "ipam": {}}"#)).contains("`azure-vnet` gives"));
        assert_eq!((of(Vec::new()), one("{")), (Fact::Absent, Fact::Absent));
        assert_eq!(ipam(&RawHost::nothing()), Fact::Absent);
        assert!(matches!(ipam(&RawHost::default()), Fact::Unread(_)));
        assert_eq!(asks(&RawHost::default()), []);
    }
}
