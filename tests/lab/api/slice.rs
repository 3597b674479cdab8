//! EndpointSlices as tests write them and as the API shows them.

use serde_json::{Value, json};

use super::NAMESPACE;

/// `addressType` of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `IPv4`.
    Ipv4,
    /// `IPv6`.
    Ipv6,
    /// `FQDN`.
    Name,
}

/// An EndpointSlice.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Its name.
    pub name: String,
    /// The Service that it belongs to.
    pub service: String,
    /// What its addresses are.
    pub kind: Kind,
    /// Its endpoints; none at all are shown as `null`, as by servers written in Go.
    pub endpoints: Vec<Endpoint>,
}

impl Slice {
    /// A slice of IPv4 without endpoints.
    pub fn new(name: &str, service: &str) -> Self {
        Self { name: name.into(), service: service.into(), kind: Kind::Ipv4, endpoints: Vec::new() }
    }

    /// With addresses of another kind.
    #[must_use]
    pub fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// With one more endpoint.
    #[must_use]
    pub fn with(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// The object as it is served.
    pub(super) fn to_json(&self, version: u64) -> Value {
        let endpoints: Vec<Value> = self.endpoints.iter().map(|endpoint| endpoint.to_json(&self.service)).collect();
        let kind = match self.kind {
            Kind::Ipv4 => "IPv4",
            Kind::Ipv6 => "IPv6",
            Kind::Name => "FQDN",
        };
        json!({
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "name": self.name,
                "generateName": format!("{}-", self.service),
                "namespace": NAMESPACE,
                "uid": format!("00000000-0000-4000-8000-{version:012x}"),
                "resourceVersion": version.to_string(),
                "generation": 1,
                "creationTimestamp": "2026-11-22T00:00:00Z",
                "labels": {
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                    "kubernetes.io/service-name": self.service,
                    "service.kubernetes.io/headless": "",
                },
                "annotations": { "endpoints.kubernetes.io/last-change-trigger-time": "2026-11-22T00:00:00Z" },
                "managedFields": [{ "manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {} }],
            },
            "addressType": kind,
            "endpoints": if endpoints.is_empty() { Value::Null } else { Value::from(endpoints) },
            "ports": [{ "name": "http", "port": 9747, "protocol": "TCP" }],
        })
    }
}

/// One endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The node that it is on.
    pub node: Option<String>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its zone.
    pub zone: Option<String>,
    /// The name of its pod, where that is not after its Service and node.
    pub pod: Option<String>,
    /// `conditions.ready`.
    pub ready: Option<bool>,
    /// `conditions.serving`.
    pub serving: Option<bool>,
    /// `conditions.terminating`.
    pub terminating: Option<bool>,
}

impl Endpoint {
    /// A ready one.
    pub fn new(node: &str, address: &str) -> Self {
        Self {
            node: Some(node.into()),
            addresses: vec![address.into()],
            zone: None,
            pod: None,
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
        }
    }

    /// In a zone.
    #[must_use]
    pub fn zone(self, zone: &str) -> Self {
        Self { zone: Some(zone.into()), ..self }
    }

    /// Not ready.
    #[must_use]
    pub fn unready(self) -> Self {
        Self { ready: Some(false), serving: Some(false), ..self }
    }

    /// Still serving, but about to end.
    #[must_use]
    pub fn terminating(self) -> Self {
        Self { ready: Some(false), terminating: Some(true), ..self }
    }

    fn to_json(&self, service: &str) -> Value {
        let mut conditions = json!({});
        for (name, condition) in [("ready", self.ready), ("serving", self.serving), ("terminating", self.terminating)] {
            if let Some(holds) = condition {
                conditions[name] = holds.into();
            }
        }
        let mut endpoint = json!({ "addresses": self.addresses, "conditions": conditions });
        if let Some(node) = &self.node {
            endpoint["nodeName"] = node.as_str().into();
            let pod = self.pod.clone().unwrap_or_else(|| format!("{service}-{node}"));
            endpoint["targetRef"] =
                json!({ "kind": "Pod", "namespace": NAMESPACE, "name": pod, "uid": format!("uid-of-{pod}") });
        }
        if let Some(zone) = &self.zone {
            endpoint["zone"] = zone.as_str().into();
        }
        endpoint
    }
}
