//! What the manifests render to, held against the program that they start and against each other: rights, mounts, ports,
//! selectors, configuration. `.ci/manifests` proves that `manifests/rendered` is what they render to, and valid.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails in a helper here fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use agent::config::Settings;
use agent::io::rights;
use probes::declared::host::{RawHost, asks};
use probes::declared::sysctl;
use serde_json::{Value, json};

/// Every rendered file by its name.
fn rendered() -> BTreeMap<String, Vec<Value>> {
    let files = fs::read_dir(repository().join("manifests/rendered")).unwrap();
    let all: BTreeMap<_, _> = files
        .map(|file| {
            let path = file.unwrap().path();
            let objects = serde_saphyr::from_multiple(&fs::read_to_string(&path).unwrap()).unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), objects)
        })
        .collect();
    assert!(all.len() > 5, "{:?}", all.keys());
    all
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn named<'o>(objects: &'o [Value], kind: &str, name: &str) -> Option<&'o Value> {
    of_kind(objects, kind).into_iter().find(|object| object["metadata"]["name"] == name)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn texts(value: &Value) -> BTreeSet<&str> {
    list(value).iter().map(|text| text.as_str().unwrap()).collect()
}

fn pod(daemon_set: &Value) -> &Value {
    &daemon_set["spec"]["template"]["spec"]
}

/// The one container of a DaemonSet's pods.
fn container(daemon_set: &Value) -> &Value {
    let pod = pod(daemon_set);
    assert!(pod.get("initContainers").is_none() && list(&pod["containers"]).len() == 1, "{pod}");
    &pod["containers"][0]
}

/// A DaemonSet's volume by name.
fn volume<'o>(daemon_set: &'o Value, mount: &Value) -> &'o Value {
    let all = list(&pod(daemon_set)["volumes"]);
    all.iter().find(|volume| volume["name"] == mount["name"]).unwrap_or_else(|| panic!("{mount} has no volume"))
}

fn mounts(daemon_set: &Value) -> impl Iterator<Item = &Value> {
    list(&container(daemon_set)["volumeMounts"]).iter()
}

/// The configuration that a DaemonSet's agent starts with, checked as the agent does.
fn settings(objects: &[Value], daemon_set: &Value) -> Settings {
    let arguments = container(daemon_set)["args"].as_array().unwrap();
    assert_eq!(*arguments, ["agent", "--config", "/etc/mtuscope/config.yaml"].map(Value::from));
    let mount = mounts(daemon_set).find(|mount| mount["mountPath"] == "/etc/mtuscope").unwrap();
    let map = volume(daemon_set, mount)["configMap"]["name"].as_str().unwrap();
    let map = named(objects, "ConfigMap", map).unwrap_or_else(|| panic!("no ConfigMap {map}"));
    Settings::parse(map["data"]["config.yaml"].as_str().unwrap(), "n".into())
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object().unwrap();
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A container's port by its name.
fn port(daemon_set: &Value, name: &Value) -> u16 {
    let ports = list(&container(daemon_set)["ports"]);
    let port = ports.iter().find(|port| port["name"] == *name).unwrap_or_else(|| panic!("no port {name}"));
    port["containerPort"].as_u64().unwrap().try_into().unwrap()
}

#[test]
fn capabilities_are_those_that_the_program_uses() {
    let used: Vec<String> = rights::USED.iter().map(|right| right.to_string().to_lowercase()).collect();
    let flag = format!("{}+p", used.join(","));
    for file in ["Dockerfile", ".ci/image", ".ci/full"] {
        let text = fs::read_to_string(repository().join(file)).unwrap();
        assert!(text.contains(&flag), "{file} gives the binary other file capabilities than {flag}");
    }
    let mut granted = BTreeSet::new();
    for (name, objects) in rendered() {
        for set in of_kind(&objects, "DaemonSet") {
            let capabilities = &container(set)["securityContext"]["capabilities"];
            assert_eq!(capabilities["drop"], json!(["ALL"]), "{name}");
            let added = texts(&capabilities["add"]);
            let expected: &[&str] = match (set["metadata"]["name"].as_str().unwrap(), name.as_str()) {
                ("mtuscope", "root-files") => &["NET_RAW", "NET_ADMIN", "DAC_READ_SEARCH"],
                ("mtuscope", _) => &["NET_RAW", "NET_ADMIN"],
                ("mtuscope-pod", _) => &["NET_RAW"],
                (other, _) => panic!("{name}: {other} is new"),
            };
            assert_eq!(added, expected.iter().copied().collect(), "{name}");
            granted.extend(added.into_iter().map(|right| format!("cap_{}", right.to_lowercase())));
        }
    }
    assert_eq!(
        granted,
        used.into_iter().collect(),
        "a capability that is granted and not used, or the other way round"
    );
}

#[test]
fn nobody_is_root_or_can_become_more_than_he_is() {
    for (name, objects) in rendered() {
        assert!(named(&objects, "DaemonSet", "mtuscope").is_some(), "{name}");
        for set in of_kind(&objects, "DaemonSet") {
            let (pod, container) = (pod(set), container(set));
            let of_pod = &pod["securityContext"];
            assert_eq!((&of_pod["runAsNonRoot"], &of_pod["runAsUser"]), (&json!(true), &json!(65532)), "{name}");
            assert_eq!(of_pod["seccompProfile"], json!({ "type": "RuntimeDefault" }), "{name}");
            let own = &container["securityContext"];
            let flags = ["allowPrivilegeEscalation", "privileged", "readOnlyRootFilesystem"].map(|flag| &own[flag]);
            assert_eq!(flags, [&json!(false), &json!(false), &json!(true)], "{name}");
            for key in ["runAsUser", "runAsNonRoot", "seccompProfile", "procMount"] {
                assert!(own.get(key).is_none(), "{name}: {key} of the container stands over the pod's");
            }
            for key in ["hostPID", "hostIPC", "shareProcessNamespace"] {
                assert!(pod.get(key).is_none(), "{name}: {key}");
            }
            assert_eq!(pod.get("hostNetwork").is_some(), set["metadata"]["name"] == "mtuscope", "{name}");
            assert!(mounts(set).all(|mount| mount["readOnly"] == true), "{name}: something is mounted for writing");
            let limits = &container["resources"]["limits"];
            assert!(limits.get("memory").is_some() && limits.get("cpu").is_none(), "{name}");
        }
    }
}

#[test]
fn the_api_may_be_asked_for_endpoint_slices_and_nothing_else() {
    for (name, objects) in rendered() {
        let wide = ["ClusterRole", "ClusterRoleBinding"].map(|kind| of_kind(&objects, kind).len());
        assert_eq!(wide, [0; 2], "{name}");
        let (roles, bindings) = (of_kind(&objects, "Role"), of_kind(&objects, "RoleBinding"));
        let slices = json!([{ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"] }]);
        assert!(roles.iter().all(|role| role["rules"] == slices), "{name}");
        for account in of_kind(&objects, "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
        }
        for set in of_kind(&objects, "DaemonSet") {
            let pod = pod(set);
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            let account = pod["serviceAccountName"].as_str().unwrap();
            assert!(named(&objects, "ServiceAccount", account).is_some(), "{name}: no account {account}");
            let asks = settings(&objects, set).probes.peers.kubernetes;
            assert_eq!(asks, name != "no-api" && name != "least", "{name}");
            let tokens = mounts(set).filter(|mount| volume(set, mount).get("projected").is_some()).count();
            assert_eq!(tokens, usize::from(asks), "{name}: a token exactly where the API is asked");
            let bound = bindings.iter().filter(|binding| {
                let subject = json!([{ "kind": "ServiceAccount", "name": account, "namespace": "mtuscope" }]);
                binding["subjects"] == subject
                    && named(&objects, "Role", binding["roleRef"]["name"].as_str().unwrap()).is_some()
            });
            assert_eq!(bound.count(), usize::from(asks), "{name}: {account} is bound exactly where the API is asked");
        }
    }
}

#[test]
fn what_is_read_of_the_machine_is_mounted_and_nothing_more() {
    // On a machine that merged /usr, /lib leads there; no file that matters is in the /lib of one that did not.
    let is_asked = |top: &&str| *top != "/lib";
    let asked = asks(&RawHost::new()).into_iter().map(|ask| ask.path);
    let paths: Vec<String> =
        asked.chain(sysctl::DIRECTORIES.map(str::to_owned)).chain([sysctl::MAIN.to_owned()]).collect();
    let tops: BTreeSet<&str> =
        paths.iter().map(|path| &path[..path[1..].find('/').map_or(path.len(), |at| at + 1)]).collect();
    let mut tops: BTreeSet<&str> = tops.into_iter().filter(is_asked).collect();
    // Where the runtime finds plugins if its file says nothing.
    tops.insert("/opt");
    for (name, objects) in rendered() {
        for set in of_kind(&objects, "DaemonSet") {
            let root = settings(&objects, set).host_root;
            let of_host = mounts(set).filter_map(|mount| Some((mount, volume(set, mount).get("hostPath")?)));
            let mut mounted = BTreeSet::new();
            for (mount, path) in of_host {
                let path = path["path"].as_str().unwrap();
                assert_eq!(mount["mountPath"], format!("{}{path}", root.display()), "{name}: not below host_root");
                assert_eq!(
                    mount["mountPropagation"], "HostToContainer",
                    "{name}: {path} would pin what is mounted below it"
                );
                mounted.insert(path);
            }
            let expected =
                if set["metadata"]["name"] == "mtuscope" && name != "least" { tops.clone() } else { BTreeSet::new() };
            assert_eq!(mounted, expected, "{name}");
        }
    }
}

#[test]
fn ports_and_selectors_lead_to_the_agents() {
    for (name, objects) in rendered() {
        let sets = of_kind(&objects, "DaemonSet");
        let labels = |set: &Value| set["spec"]["template"]["metadata"]["labels"].clone();
        for set in &sets {
            assert!(matches(&set["spec"]["selector"]["matchLabels"], &labels(set)), "{name}");
            let settings = settings(&objects, set);
            assert_eq!(port(set, &json!("http")), settings.listen.port(), "{name}");
            let health = settings.web.health_listen.map_or(settings.listen, |health| health);
            for (probe, path) in
                [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
            {
                let get = &container(set)[probe]["httpGet"];
                assert_eq!((&get["path"], port(set, &get["port"])), (&json!(path), health.port()), "{name}");
                assert!(get.get("scheme").is_none(), "{name}: health is asked in the clear");
            }
        }
        for service in of_kind(&objects, "Service") {
            let hit: Vec<_> = sets.iter().filter(|set| matches(&service["spec"]["selector"], &labels(set))).collect();
            let [set] = hit[..] else {
                panic!("{name}: {} selects {} DaemonSets", service["metadata"]["name"], hit.len())
            };
            assert_eq!(service["metadata"]["name"], set["metadata"]["name"], "{name}");
            let served = &service["spec"]["ports"][0];
            assert_eq!(json!(port(set, &served["targetPort"])), served["port"], "{name}");
            assert_eq!(service["spec"]["clusterIP"], "None", "{name}");
        }
        for monitor in of_kind(&objects, "PodMonitor") {
            let spec = &monitor["spec"];
            assert_eq!(
                sets.iter().filter(|set| matches(&spec["selector"]["matchLabels"], &labels(set))).count(),
                1,
                "{name}"
            );
            let endpoint = json!([{ "port": "http", "path": "/metrics", "relabelings": [
                { "sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node" }
            ] }]);
            assert_eq!(spec["podMetricsEndpoints"], endpoint, "{name}");
        }
        for set in sets.iter().filter(|_| name == "prometheus") {
            let annotations = &set["spec"]["template"]["metadata"]["annotations"];
            assert_eq!(annotations["prometheus.io/port"], port(set, &json!("http")).to_string());
        }
    }
}

#[test]
fn every_linux_node_has_its_agents() {
    for (name, objects) in rendered() {
        let [quota] = of_kind(&objects, "ResourceQuota")[..] else { panic!("{name}: one quota") };
        let [namespace] = of_kind(&objects, "Namespace")[..] else { panic!("{name}: one namespace") };
        let level = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
        assert_eq!(level, "privileged", "{name}: host network and host folders are refused otherwise");
        let admitted = &quota["spec"]["scopeSelector"]["matchExpressions"][0]["values"];
        for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
            assert_eq!(object["metadata"]["namespace"], namespace["metadata"]["name"], "{name}");
        }
        for set in of_kind(&objects, "DaemonSet") {
            let pod = pod(set);
            assert_eq!(pod["tolerations"], json!([{ "operator": "Exists" }]), "{name}");
            assert_eq!(*admitted, json!([pod["priorityClassName"]]), "{name}: a cloud may refuse the pods otherwise");
            assert_eq!(set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], "10%", "{name}");
            let node = json!([{ "name": "NODE_NAME", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }]);
            assert_eq!(container(set)["env"], node, "{name}");
        }
    }
}

#[test]
fn each_component_changes_what_it_is_for() {
    let all = rendered();
    let of = |name: &str| &all[name];
    assert_eq!(of_kind(of("base"), "DaemonSet").len(), 2);
    for name in ["no-pods", "no-api", "least"] {
        let twin =
            of(name).iter().filter(|object| object["metadata"]["labels"]["app.kubernetes.io/component"] == "pod-agent");
        assert_eq!(twin.count(), 0, "{name}: nothing of the twin is left");
    }
    assert_eq!(of_kind(of("no-pods"), "Service").len(), 1);
    assert_eq!(of_kind(of("no-api"), "Service").len(), 0);
    assert_eq!(of_kind(of("prometheus-operator"), "PodMonitor").len(), 2);
    let [rules] = of_kind(of("prometheus-operator"), "PrometheusRule")[..] else { panic!("one PrometheusRule") };
    assert_eq!(rules["metadata"]["labels"]["app.kubernetes.io/name"], "mtuscope", "selectors go by labels");
    let file = fs::read_to_string(repository().join("manifests/alerts/mtuscope.rules.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&file).unwrap();
    assert_eq!(rules["spec"], file, "kustomize leaves every expression and text as it is");
    // `kubectl apply` keeps the whole object in an annotation, and annotations have 256 KiB.
    assert!(rules.to_string().len() < 250_000, "{} B: too large to be applied", rules.to_string().len());
    let [policy] = of_kind(of("network-policy"), "NetworkPolicy")[..] else { panic!("one NetworkPolicy") };
    let twin = named(of("network-policy"), "DaemonSet", "mtuscope-pod").unwrap();
    let spec = &policy["spec"];
    assert!(matches(&spec["podSelector"]["matchLabels"], &twin["spec"]["template"]["metadata"]["labels"]));
    assert_eq!(texts(&spec["policyTypes"]), BTreeSet::from(["Ingress", "Egress"]));
    assert_eq!((&spec["ingress"], &spec["egress"]), (&json!([{}]), &json!([{}])), "a port would leave ICMP out");
    assert_eq!(policy["metadata"]["labels"]["app.kubernetes.io/component"], "pod-agent", "it goes with the twin");
    for set in of_kind(of("tls"), "DaemonSet") {
        let settings = settings(of("tls"), set);
        let mount = mounts(set).find(|mount| mount["name"] == "tls").unwrap();
        let at = mount["mountPath"].as_str().unwrap();
        let agents = settings.agents.tls.unwrap();
        assert!(agents.ca_file.starts_with(at) && agents.certificate.unwrap().1.starts_with(at));
        let secret = &volume(set, mount)["secret"];
        assert_eq!((&secret["defaultMode"], &pod(set)["securityContext"]["fsGroup"]), (&json!(0o440), &json!(65532)));
        assert_eq!(settings.web.config_file.unwrap(), Path::new("/etc/mtuscope/web.yaml"));
    }
    let maps = of_kind(of("tls"), "ConfigMap");
    assert!(maps.len() == 2 && maps.iter().all(|map| map["data"].get("web.yaml").is_some()));
}
