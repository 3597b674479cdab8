//! What the plugin `host-local` gives away, and what it has given.
//!
//! It keeps a file for each address that it has given, named by the address (an IPv6 one in its usual short form, colons
//! and all), in `dataDir` or `/var/lib/cni/networks`, below the network's name; `lock` and `last_reserved_ip.N` lie beside
//! them. The file is all that makes an address taken: one whose pod went without the plugin being called (a crash, a
//! reboot) stays taken until somebody removes it. Ranges stand in `ranges`, and before those one may stand beside them
//! (`subnet` and its like, the old form).
//!
//! Whose ranges stand elsewhere: Flannel's plugin takes them from `/run/flannel/subnet.env`, whatever the file says.
//! Calico's takes the node's own for `usePodCidr` and `usePodCidrIPv6`; those stand in Kubernetes, and on a node with
//! Flannel beside (Canal) in that same file.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::cni::{Plugin, folded};
use super::flannel;
use super::host::{Ask, Entry, RawHost};
use super::ranges::{Range, RangeSet};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::units::Family;

/// Where it keeps what it has given, unless told otherwise.
pub const FOLDER: &str = "/var/lib/cni/networks";

/// Plugins whose pods hang on a veth, the node's end of which says who is there.
const BY_VETH: [&str; 3] = ["bridge", "ptp", "calico"];

/// What it has, and what it gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The CNI file that names it.
    pub config: String,
    /// The file that the ranges stand in.
    pub written: String,
    /// The folder of what it has given.
    pub folder: String,
    /// Sets of ranges: a pod gets one address of each.
    pub sets: Vec<RangeSet>,
    /// Every address that has a file.
    pub given: Vec<IpAddr>,
    /// Whether pods hang on veths, so that the node sees who has which.
    pub by_veth: bool,
}

/// Where its configuration is.
#[derive(Clone, Copy)]
pub(super) struct Config<'a> {
    pub(super) path: &'a str,
    pub(super) network: &'a str,
    pub(super) plugin: &'a Plugin,
    pub(super) ipam: Option<&'a Map<String, Value>>,
}

pub(super) fn asks(config: &Config<'_>) -> Vec<Ask> {
    config.folder().map(|folder| Ask::folder(folder, &[])).into_iter().collect()
}

/// What it has and what it gave; none where its ranges stand in Kubernetes only.
///
/// # Errors
/// If the ranges are not known or not to be used, or the files could not be listed.
pub(super) fn pool(config: &Config<'_>, read: &RawHost) -> Result<Option<Pool>, Unread> {
    let folder = config.folder()?;
    if config.stands_elsewhere(read)? {
        return Ok(None);
    }
    let (written, sets) = config.sets(read)?;
    // Without the folder it gave none yet: it makes it with the first.
    let given = read.folder(&folder)?.map(given).unwrap_or_default();
    Ok(Some(Pool { config: config.path.to_owned(), written, folder, sets, given, by_veth: config.by_veth() }))
}

impl Config<'_> {
    fn is_flannels(&self) -> bool {
        self.plugin.kind == "flannel"
    }

    /// The folder of what it has given.
    fn folder(&self) -> Result<String, Unread> {
        let named = self.ipam.and_then(|ipam| folded(ipam, "dataDir"));
        let named = match named.map(|named| named.as_str()) {
            None | Some(Some("")) => FOLDER,
            Some(Some(named)) => named.trim_end_matches('/'),
            Some(None) => return Err(self.wrong("dataDir is no text")),
        };
        let clean = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains('\0');
        if !named.strip_prefix('/').is_some_and(|rest| rest.split('/').all(clean)) {
            return Err(self.wrong(&format!("dataDir {:?} is no plain path from the root", short(named))));
        }
        if !is_name(self.network) {
            return Err(self.wrong(&format!("{:?} is no name of a network", short(self.network))));
        }
        Ok(format!("{named}/{}", self.network))
    }

    /// Its sets of ranges, and the file that they stand in.
    fn sets(&self, read: &RawHost) -> Result<(String, Vec<RangeSet>), Unread> {
        if self.is_flannels() {
            let set = |subnet: String| RangeSet::new(vec![Range::subnet(&subnet)?]);
            let sets = self.of_flannel(read)?.into_iter().map(set).collect::<Result<_, _>>();
            let sets = sets.map_err(|why| malformed(flannel::SUBNET, &why))?;
            return Ok((flannel::SUBNET.to_owned(), sets));
        }
        let Some(ipam) = self.ipam else { return Err(self.wrong("it has no ipam")) };
        let mut written = self.path.to_owned();
        let mut range = |object: &Map<String, Value>| {
            let subnet = folded(object, "subnet").and_then(Value::as_str).unwrap_or_default();
            let subnet = match self.of_node(subnet) {
                None => subnet.to_owned(),
                Some(family) => {
                    flannel::SUBNET.clone_into(&mut written);
                    self.node_subnet(family, read)?.unwrap_or_else(|| subnet.to_owned())
                }
            };
            Range::of(object, &subnet).map_err(|why| self.wrong(&why))
        };
        let mut sets = Vec::new();
        if folded(ipam, "subnet").is_some() {
            sets.push(vec![range(ipam)?]);
        }
        let lists = match folded(ipam, "ranges") {
            None => &[][..],
            Some(lists) => lists.as_array().ok_or_else(|| self.wrong("its ranges are no list"))?,
        };
        for list in lists {
            let list = list.as_array().ok_or_else(|| self.wrong("its ranges are no list of lists"))?;
            let object = |value: &Value| range(value.as_object().ok_or_else(|| self.wrong("a range is no object"))?);
            sets.push(list.iter().map(object).collect::<Result<_, _>>()?);
        }
        if sets.is_empty() {
            return Err(self.wrong("it gives no ranges"));
        }
        let sets = sets.into_iter().map(RangeSet::new).collect::<Result<_, _>>().map_err(|why| self.wrong(&why))?;
        Ok((written, sets))
    }

    /// The family whose subnet of the node stands for a word of Calico's.
    fn of_node(&self, subnet: &str) -> Option<Family> {
        let is = |word: &str| self.plugin.kind == "calico" && subnet.eq_ignore_ascii_case(word);
        match () {
            () if is("usePodCidr") => Some(Family::Ipv4),
            () if is("usePodCidrIPv6") => Some(Family::Ipv6),
            () => None,
        }
    }

    /// Whether it takes the node's own pod subnet, and no file on the node says which that is.
    fn stands_elsewhere(&self, read: &RawHost) -> Result<bool, Unread> {
        let subnet = |object: &Value| self.of_node(object.get("subnet")?.as_str()?);
        let lists = self.ipam.and_then(|ipam| ipam.get("ranges")?.as_array()).into_iter().flatten();
        let ranges = lists.filter_map(Value::as_array).flatten().filter_map(subnet);
        let own = self.ipam.and_then(|ipam| self.of_node(ipam.get("subnet")?.as_str()?));
        for family in own.into_iter().chain(ranges) {
            if self.node_subnet(family, read)?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn node_subnet(&self, family: Family, read: &RawHost) -> Result<Option<String>, Unread> {
        let colon = family == Family::Ipv6;
        let subnets = flannel::subnet(read).read()?.map(|subnet| subnet.subnets.clone()).unwrap_or_default();
        Ok(subnets.iter().find(|subnet| subnet.contains(':') == colon).map(|subnet| masked(subnet)))
    }

    fn of_flannel(&self, read: &RawHost) -> Result<Vec<String>, Unread> {
        if let Some(other) = self.plugin.field("subnetFile").and_then(Value::as_str)
            && !["", flannel::SUBNET].contains(&other)
        {
            let why = format!("{} takes its ranges from {}, which is not read", self.path, short(other));
            return Err(Unread::new(Source::HostFiles, Reason::Unsupported { why }));
        }
        let subnets = match flannel::subnet(read) {
            Fact::Known(subnet) => subnet.subnets,
            Fact::Absent => Vec::new(),
            Fact::Unread(unread) => return Err(unread),
        };
        if subnets.is_empty() {
            let what = format!("{} names no subnet of this node: Flannel has not started", flannel::SUBNET);
            return Err(Unread::new(Source::HostFiles, Reason::Failed { what }));
        }
        Ok(subnets.iter().map(|subnet| masked(subnet)).collect())
    }

    fn by_veth(&self) -> bool {
        let delegate = || self.plugin.field("delegate").and_then(|delegate| delegate.get("type"));
        let kind = match self.is_flannels() {
            true => delegate().and_then(Value::as_str).unwrap_or("bridge"),
            false => &self.plugin.kind,
        };
        BY_VETH.contains(&kind)
    }

    fn wrong(&self, why: &str) -> Unread {
        malformed(self.path, why)
    }
}

/// Flannel writes the node's first address where its plugin wants the subnet's own.
fn masked(subnet: &str) -> String {
    let network = || {
        let (address, prefix) = subnet.split_once('/')?;
        let prefix: u32 = prefix.parse().ok()?;
        Some(match address.parse().ok()? {
            IpAddr::V4(address) => {
                let hosts = u32::MAX.checked_shr(prefix).unwrap_or(0);
                format!("{}/{prefix}", std::net::Ipv4Addr::from(u32::from(address) & !hosts))
            }
            IpAddr::V6(address) => {
                let hosts = u128::MAX.checked_shr(prefix).unwrap_or(0);
                format!("{}/{prefix}", std::net::Ipv6Addr::from(u128::from(address) & !hosts))
            }
        })
    };
    network().unwrap_or_else(|| subnet.to_owned())
}

/// A name that makes a plain folder, as runtimes demand of networks.
fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric()) && name.bytes().all(inner)
}

fn given(entries: &[Entry]) -> Vec<IpAddr> {
    // Any other spelling of an address takes nothing: the plugin asks for the file by its own.
    let address = |entry: &Entry| entry.name.parse().ok().filter(|address: &IpAddr| address.to_string() == entry.name);
    entries.iter().filter_map(address).collect()
}

fn malformed(path: &str, why: &str) -> Unread {
    Unread::new(Source::HostFiles, Reason::Malformed { what: format!("{path}: {why}") })
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::addresses::{self, Ipam};
    use crate::declared::cni;
    use crate::declared::host::{EntryKind, Found};

    const AT: &str = "/etc/cni/net.d/10-net.conflist";

    /// A node with one CNI file, a note of Flannel's, and these names in a network's folder.
    fn of(plugins: &str, flannel: Option<&str>, folder: &str, names: &[&str]) -> Fact<Ipam> {
        let text = format!(r#"{{"name": "net", "plugins": [{plugins}]}}"#);
        let note = flannel.map(|text| Found::Text(text.into()));
        let entry = |name: &str, text| Entry { name: name.into(), kind: EntryKind::File { executable: false, text } };
        let mut read = RawHost::new();
        let files = vec![entry("10-net.conflist", Some(Ok(text)))];
        read.take(cni::FOLDER.into(), Ok(Some(Found::Folder(files))));
        read.take(flannel::SUBNET.into(), Ok(note));
        let names: Vec<Entry> = names.iter().map(|name| entry(name, None)).collect();
        read.take(format!("{folder}/net"), Ok(Some(Found::Folder(names))));
        addresses::ipam(&read.without_more())
    }

    fn pool(plugins: &str, names: &[&str]) -> Pool {
        known(of(plugins, None, FOLDER, names))
    }

    fn known(ipam: Fact<Ipam>) -> Pool {
        let Fact::Known(Ipam::HostLocal(pool)) = ipam else { panic!("{ipam:?}") };
        pool
    }

    fn why(ipam: Fact<Ipam>) -> String {
        let Fact::Unread(why) = ipam else { panic!("{ipam:?}") };
        why.to_string()
    }

    fn bridge(ipam: &str) -> String {
        format!(r#"{{"type": "bridge", "ipam": {{"type": "host-local", {ipam}}}}}"#)
    }

    fn shown(pool: &Pool) -> Vec<String> {
        pool.sets.iter().map(|set| set.shown().join(" ")).collect()
    }

    #[test]
    fn what_is_given_away_is_a_file_named_by_the_address() {
        let names = ["10.1.0.2", "10.1.0.3", "lock", "last_reserved_ip.0", "10.1.0.03", "fd00::5", "fd00:0::6"];
        let pool = pool(&bridge(r#""subnet": "10.1.0.0/24""#), &names);
        let given: Vec<_> = pool.given.iter().map(ToString::to_string).collect();
        assert_eq!(given, ["10.1.0.2", "10.1.0.3", "fd00::5"]);
        assert_eq!((pool.folder.as_str(), pool.written.as_str()), ("/var/lib/cni/networks/net", AT));
        assert!(pool.by_veth);
    }

    #[test]
    fn the_old_form_stands_before_the_lists() {
        let both =
            bridge(r#""subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "ranges": [[{"subnet": "fd00::/64"}]]"#);
        assert_eq!(shown(&pool(&both, &[])), ["10.1.0.9-10.1.0.254", "fd00::/64"]);
        let lists = bridge(r#""ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.2.0/24"}]]"#);
        assert_eq!(shown(&pool(&lists, &[])), ["10.1.0.0/24 10.1.2.0/24"]);
    }

    #[test]
    fn another_folder_is_followed_only_where_it_is_a_plain_path() {
        let kind = bridge(r#""dataDir": "/run/cni-ipam-state/", "ranges": [[{"subnet": "10.1.0.0/24"}]]"#);
        let pool = known(of(&kind, None, "/run/cni-ipam-state", &["10.1.0.7"]));
        assert_eq!((pool.folder.as_str(), pool.given.len()), ("/run/cni-ipam-state/net", 1));
        for odd in ["run", "/run/../etc", "/run//x", "/./x", "..", "/"] {
            let text = bridge(&format!(r#""dataDir": "{odd}", "subnet": "10.1.0.0/24""#));
            assert!(why(of(&text, None, FOLDER, &[])).contains("is no plain path"), "{odd}");
        }
        assert!(why(of(&bridge(r#""dataDir": 7, "subnet": "10.1.0.0/24""#), None, FOLDER, &[])).contains("is no text"));
        assert!(!is_name("../etc") && !is_name("") && !is_name(".x") && !is_name("a/b") && is_name("k8s_net-1.x"));
    }

    const NOTE: &str = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n\
                        FLANNEL_IPV6_SUBNET=fd00:10:244:1::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    #[test]
    fn flannels_plugin_takes_the_nodes_subnets_whatever_the_file_says() {
        let delegate = r#"{"type": "flannel", "delegate": {"isDefaultGateway": true}}"#;
        let pool = known(of(delegate, Some(NOTE), FOLDER, &["10.244.1.5"]));
        assert_eq!(shown(&pool), ["10.244.1.0/24", "fd00:10:244:1::/64"]);
        assert_eq!((pool.written.as_str(), pool.config.as_str(), pool.given.len()), (flannel::SUBNET, AT, 1));
        assert!(pool.by_veth);
        let by_macvlan = r#"{"type": "flannel", "delegate": {"type": "macvlan"}}"#;
        assert!(!known(of(by_macvlan, Some(NOTE), FOLDER, &[])).by_veth);
        assert!(why(of(delegate, None, FOLDER, &[])).contains("Flannel has not started"));
        let other = r#"{"type": "flannel", "subnetFile": "/run/other.env"}"#;
        assert!(why(of(other, Some(NOTE), FOLDER, &[])).contains("/run/other.env, which is not read"));
        let odd = "FLANNEL_SUBNET=10.244.1.1/99\n";
        assert!(why(of(delegate, Some(odd), FOLDER, &[])).contains("10.244.1.1/99 is no subnet"));
        assert_eq!(["x/1", "10.0.0.1", "10.9.9.9/0"].map(masked), ["x/1", "10.0.0.1", "0.0.0.0/0"]);
    }

    #[test]
    fn the_nodes_own_subnet_is_known_beside_flannel_only() {
        let canal = r#"{"type": "calico", "ipam": {"type": "host-local", "ranges": [[{"subnet": "usePodCIDR"}],
            [{"subnet": "usePodCidrIPv6"}]]}}"#;
        let pool = known(of(canal, Some(NOTE), FOLDER, &[]));
        assert_eq!(shown(&pool), ["10.244.1.0/24", "fd00:10:244:1::/64"]);
        assert_eq!(pool.written, flannel::SUBNET);
        assert_eq!(of(canal, None, FOLDER, &[]), Fact::Known(Ipam::Elsewhere));
        let one = "FLANNEL_SUBNET=10.244.1.1/24\n";
        assert_eq!(of(canal, Some(one), FOLDER, &[]), Fact::Known(Ipam::Elsewhere), "IPv6's stands in Kubernetes");
        assert!(matches!(of(canal, Some("FLANNEL_MTU=x\n"), FOLDER, &[]), Fact::Unread(_)), "that may say it");
        let by_bridge = bridge(r#""subnet": "usePodCidr""#);
        assert!(
            why(of(&by_bridge, Some(NOTE), FOLDER, &[])).contains("usePodCidr is no subnet"),
            "Calico's word alone"
        );
    }

    #[test]
    fn what_the_plugin_refuses_is_not_concluded_and_names_the_file() {
        for (ipam, told) in [
            (r#""ranges": []"#, "it gives no ranges"),
            (r#""ranges": [[]]"#, "a list of ranges is empty"),
            (r#""ranges": [{"subnet": "10.1.0.0/24"}]"#, "no list of lists"),
            (r#""ranges": [["10.1.0.0/24"]]"#, "a range is no object"),
            (r#""ranges": "10.1.0.0/24""#, "its ranges are no list"),
            (r#""subnet": "10.1.0.9/24""#, "bits behind its prefix"),
        ] {
            let why = why(of(&bridge(ipam), None, FOLDER, &[]));
            assert!(why.contains(told) && why.contains(AT), "{ipam}: {why}");
        }
    }

    #[test]
    fn keys_are_found_whatever_the_case_of_their_letters() {
        let loud = r#"{"type": "bridge", "IPAM": {"Type": "host-local", "Ranges": [[{"Subnet": "10.1.0.0/24",
            "RangeStart": "10.1.0.9", "GATEWAY": "10.1.0.10"}]], "DataDir": "/srv"}}"#;
        let pool = known(of(loud, None, "/srv", &["10.1.0.11"]));
        assert_eq!((shown(&pool), pool.given.len()), (vec!["10.1.0.9-10.1.0.254".into()], 1));
        assert_eq!(pool.sets[0].size(), 245, "its own gateway is in it");
    }

    #[test]
    fn names_that_could_not_be_listed_are_no_empty_folder() {
        let failed = || Unread::new(Source::HostFiles, Reason::Failed { what: "too many".into() });
        let text = bridge(r#""subnet": "10.1.0.0/24""#);
        let plugin: Value = serde_json::from_str(&text).unwrap();
        let plugin = Plugin { kind: "bridge".into(), fields: plugin.as_object().unwrap().clone() };
        let ipam = plugin.fields["ipam"].as_object();
        let config = Config { path: AT, network: "net", plugin: &plugin, ipam };
        let mut read = RawHost::new();
        read.take("/var/lib/cni/networks/net".into(), Err(failed()));
        assert_eq!(super::pool(&config, &read), Err(failed()));
        let elsewhere = Config { network: "../../etc", ..config };
        assert_eq!(asks_of(&elsewhere), [""; 0]);
        assert!(super::pool(&elsewhere, &read).unwrap_err().to_string().contains("is no name of a network"));
        assert_eq!(asks_of(&config), ["/var/lib/cni/networks/net"]);
    }

    fn asks_of(config: &Config<'_>) -> Vec<String> {
        asks(config).into_iter().map(|ask| ask.path).collect()
    }
}
