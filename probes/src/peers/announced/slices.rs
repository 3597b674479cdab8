//! EndpointSlices, folded into endpoints.
//!
//! A Service's endpoints are spread over slices, by address family and a hundred to each. A pod that speaks both families
//! stands in two slices, and while the controller moves endpoints from one slice to another, a watch sees one of them in
//! both or in neither for a moment. So endpoints are put together by pod: addresses are united; it is ready if one of
//! the slices says so; and it is terminating if one does, for no pod ever comes back from that.
//!
//! Left out are endpoints that are terminating – still serving or not, the pod is about to go and its node will have
//! another –, those on no node, addresses that are names (`FQDN`), and addresses that nobody can be probed at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Endpoint;
use super::answers::{Listed, Object};
use crate::report::Vantage;
use crate::units::Family;

/// The label that names a slice's Service.
pub const SERVICE: &str = "kubernetes.io/service-name";

/// The Services whose slices count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// The one of the agents on nodes.
    pub nodes: String,
    /// The one of their twins in pods.
    pub pods: String,
}

impl Services {
    /// What selects their slices and no others.
    pub fn selector(&self) -> String {
        format!("{SERVICE} in ({},{})", self.nodes, self.pods)
    }

    fn vantage(&self, service: &str) -> Option<Vantage> {
        let known = [(&self.nodes, Vantage::Node), (&self.pods, Vantage::Pod)];
        known.into_iter().find(|(name, _)| *name == service).map(|(_, vantage)| vantage)
    }
}

/// Slices by name, each as it was heard last.
#[derive(Clone, Debug, Default)]
pub struct Slices {
    by_name: BTreeMap<Box<str>, Vec<Entry>>,
}

/// What is kept of an endpoint.
#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    addresses: Vec<IpAddr>,
    zone: Option<Box<str>>,
    ready: bool,
    terminating: bool,
}

/// What makes two listed endpoints one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    node: Box<str>,
    vantage: Vantage,
    /// Of a slice that a person wrote there may be none: then the node alone tells.
    pod: Option<Box<str>>,
}

impl Slices {
    /// Takes a slice as it is now. One of another Service is none of ours, whatever it was before.
    pub fn put(&mut self, slice: Object, services: &Services) {
        let label = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE));
        let family = match slice.address_type.as_str() {
            "IPv4" => Some(Family::Ipv4),
            "IPv6" => Some(Family::Ipv6),
            _ => None,
        };
        let Some((vantage, family)) = label.and_then(|label| services.vantage(label)).zip(family) else {
            return self.remove(&slice.metadata.name);
        };
        let listed = slice.endpoints.unwrap_or_default();
        let entries = listed.into_iter().filter_map(|listed| Entry::of(listed, vantage, family)).collect();
        self.by_name.insert(slice.metadata.name.into(), entries);
    }

    /// Forgets a slice.
    pub fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// The endpoints, in order.
    pub fn endpoints(&self) -> Arc<[Endpoint]> {
        let mut pods: BTreeMap<&Key, Together<'_>> = BTreeMap::new();
        for entry in self.by_name.values().flatten() {
            pods.entry(&entry.key).or_default().take(entry);
        }
        let there = pods.into_iter().filter(|(_, pod)| !pod.terminating && !pod.addresses.is_empty());
        let mut endpoints: Vec<_> = there.map(|(key, pod)| pod.into_endpoint(key)).collect();
        endpoints.sort_unstable();
        endpoints.into()
    }
}

impl Entry {
    fn of(listed: Listed, vantage: Vantage, family: Family) -> Option<Self> {
        let node = listed.node_name.filter(|node| !node.is_empty())?;
        let parsed = listed.addresses.unwrap_or_default();
        let parsed = parsed.iter().filter_map(|address| address.parse().ok());
        let addresses = parsed.filter(|address| Family::of(*address) == family && is_usable(*address)).collect();
        let named = |target: super::answers::Target| if target.uid.is_empty() { target.name } else { target.uid };
        let pod = listed.target_ref.map(named).filter(|pod| !pod.is_empty());
        Some(Self {
            key: Key { node: node.into(), vantage, pod: pod.map(Into::into) },
            addresses,
            zone: listed.zone.filter(|zone| !zone.is_empty()).map(Into::into),
            ready: listed.conditions.ready.unwrap_or(true),
            terminating: listed.conditions.terminating.unwrap_or(false),
        })
    }
}

/// Whether a single host can be probed there. The API accepts no other addresses, so this is for who writes slices
/// around it.
fn is_usable(address: IpAddr) -> bool {
    let of_family = match address {
        IpAddr::V4(address) => !address.is_broadcast() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    of_family && !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

/// What the slices say of one pod.
#[derive(Default)]
struct Together<'s> {
    addresses: BTreeSet<IpAddr>,
    zone: Option<&'s str>,
    ready: bool,
    terminating: bool,
}

impl<'s> Together<'s> {
    fn take(&mut self, entry: &'s Entry) {
        self.addresses.extend(&entry.addresses);
        self.zone = self.zone.or(entry.zone.as_deref());
        self.ready |= entry.ready;
        self.terminating |= entry.terminating;
    }

    fn into_endpoint(self, key: &Key) -> Endpoint {
        Endpoint {
            node: key.node.to_string(),
            vantage: key.vantage,
            addresses: self.addresses.into_iter().collect(),
            zone: self.zone.map(ToOwned::to_owned),
            ready: self.ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::answers::{Conditions, Meta, Target};
    use super::*;

    fn services() -> Services {
        Services { nodes: "mtuscope".into(), pods: "mtuscope-pod".into() }
    }

    fn listed(node: &str, addresses: &[&str]) -> Listed {
        Listed {
            addresses: Some(addresses.iter().map(|&address| address.to_owned()).collect()),
            node_name: Some(node.into()),
            target_ref: Some(Target { name: format!("pod-{node}"), uid: format!("uid-{node}") }),
            ..Listed::default()
        }
    }

    fn slice(name: &str, service: &str, kind: &str, endpoints: Vec<Listed>) -> Object {
        let labels = BTreeMap::from([(SERVICE.to_owned(), service.to_owned())]);
        let metadata = Meta { name: name.into(), labels: Some(labels), ..Meta::default() };
        Object { metadata, address_type: kind.into(), endpoints: Some(endpoints) }
    }

    fn folded(slices: Vec<Object>) -> Vec<Endpoint> {
        let mut all = Slices::default();
        slices.into_iter().for_each(|slice| all.put(slice, &services()));
        all.endpoints().to_vec()
    }

    fn endpoint(node: &str, vantage: Vantage, addresses: &[&str]) -> Endpoint {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Endpoint { node: node.into(), vantage, addresses, zone: None, ready: true }
    }

    #[test]
    fn the_service_tells_the_vantage() {
        let seen = folded(vec![
            slice("a", "mtuscope", "IPv4", vec![listed("m", &["10.0.0.12"])]),
            slice("b", "mtuscope-pod", "IPv4", vec![listed("m", &["10.244.2.2"])]),
            slice("c", "other", "IPv4", vec![listed("m", &["10.0.0.99"])]),
        ]);
        let wanted = [endpoint("m", Vantage::Node, &["10.0.0.12"]), endpoint("m", Vantage::Pod, &["10.244.2.2"])];
        assert_eq!(seen, wanted);
    }

    #[test]
    fn both_families_of_a_pod_are_one_endpoint() {
        let mut six = listed("m", &["fd00::12"]);
        six.zone = Some("east".into());
        let seen = folded(vec![
            slice("four", "mtuscope", "IPv4", vec![listed("m", &["10.0.0.12"])]),
            slice("six", "mtuscope", "IPv6", vec![six]),
        ]);
        let mut wanted = endpoint("m", Vantage::Node, &["10.0.0.12", "fd00::12"]);
        wanted.zone = Some("east".into());
        assert_eq!(seen, [wanted]);
    }

    #[test]
    fn an_endpoint_that_is_being_moved_is_named_once() {
        let mut unready = listed("m", &["10.0.0.12"]);
        unready.conditions.ready = Some(false);
        let seen = folded(vec![
            slice("from", "mtuscope", "IPv4", vec![unready]),
            slice("to", "mtuscope", "IPv4", vec![listed("m", &["10.0.0.12"])]),
        ]);
        assert_eq!(seen, [endpoint("m", Vantage::Node, &["10.0.0.12"])]);
    }

    #[test]
    fn readiness_that_is_not_told_is_there_and_one_that_is_false_is_named() {
        let seen = |ready| {
            let mut one = listed("m", &["10.0.0.12"]);
            one.conditions.ready = ready;
            folded(vec![slice("a", "mtuscope", "IPv4", vec![one])])[0].ready
        };
        assert_eq!([seen(None), seen(Some(true)), seen(Some(false))], [true, true, false]);
    }

    #[test]
    fn who_is_about_to_end_is_left_out_in_every_slice() {
        let mut ending = listed("m", &["10.0.0.12"]);
        ending.conditions = Conditions { ready: Some(false), terminating: Some(true) };
        let seen = folded(vec![
            slice("from", "mtuscope", "IPv4", vec![listed("m", &["10.0.0.12"])]),
            slice("to", "mtuscope", "IPv4", vec![ending]),
        ]);
        assert_eq!(seen, []);
    }

    #[test]
    fn a_pod_that_follows_another_on_its_node_is_not_the_one_that_ends() {
        let mut old = listed("m", &["10.244.2.2"]);
        old.conditions.terminating = Some(true);
        old.target_ref = Some(Target { name: "old".into(), uid: "old".into() });
        let seen = folded(vec![slice("a", "mtuscope-pod", "IPv4", vec![old, listed("m", &["10.244.2.3"])])]);
        assert_eq!(seen, [endpoint("m", Vantage::Pod, &["10.244.2.3"])]);
    }

    #[test]
    fn what_cannot_be_probed_is_left_out() {
        let mut nowhere = listed("m", &["10.0.0.12"]);
        nowhere.node_name = None;
        let seen = folded(vec![
            slice("a", "mtuscope", "IPv4", vec![nowhere, listed("n", &["127.0.0.1", "224.0.0.1", "fd00::1", "x"])]),
            slice("b", "mtuscope", "FQDN", vec![listed("o", &["node.example"])]),
        ]);
        assert_eq!(seen, []);
    }

    #[test]
    fn a_slice_that_changes_hands_or_goes_takes_its_endpoints_along() {
        let mut all = Slices::default();
        all.put(slice("a", "mtuscope", "IPv4", vec![listed("m", &["10.0.0.12"])]), &services());
        all.put(slice("b", "mtuscope", "IPv4", vec![listed("n", &["10.0.0.13"])]), &services());
        all.put(slice("a", "other", "IPv4", vec![listed("m", &["10.0.0.12"])]), &services());
        assert_eq!(*all.endpoints(), [endpoint("n", Vantage::Node, &["10.0.0.13"])]);
        all.remove("b");
        assert_eq!(all.endpoints().len(), 0);
    }

    #[test]
    fn the_selector_is_what_the_api_reads() {
        assert_eq!(services().selector(), "kubernetes.io/service-name in (mtuscope,mtuscope-pod)");
    }

    proptest! {
        /// However the controller cuts endpoints into slices, and whichever of them comes first, they are the same.
        #[test]
        fn how_endpoints_are_cut_into_slices_is_all_the_same(
            nodes in proptest::collection::btree_set(0u8..200, 0..40),
            cuts in proptest::collection::vec((0usize..8, 0usize..8), 40),
        ) {
            let mut slices: BTreeMap<usize, Vec<Listed>> = BTreeMap::new();
            for (node, (first, second)) in nodes.iter().zip(&cuts) {
                for at in BTreeSet::from([*first, *second]) {
                    slices.entry(at).or_default().push(listed(&format!("n{node:03}"), &[&format!("10.0.0.{node}")]));
                }
            }
            let mut objects: Vec<Object> =
                slices.into_iter().map(|(at, listed)| slice(&at.to_string(), "mtuscope", "IPv4", listed)).collect();
            objects.reverse();
            let wanted: Vec<Endpoint> = nodes
                .iter()
                .map(|node| endpoint(&format!("n{node:03}"), Vantage::Node, &[&format!("10.0.0.{node}")]))
                .collect();
            prop_assert_eq!(folded(objects), wanted);
        }
    }
}
