//! What kubeadm and kube-vip leave on a node. A cloud's own nodes come from images without kubeadm.

use std::net::IpAddr;
use std::time::Duration;

use probes::node::vips;

use super::HostFile;
use crate::family::Family;
use crate::recipe::{Cni, Overlay, Recipe};

/// Static pods of a control plane, besides kube-vip.
const STATIC_PODS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// The last byte of the control plane's own address.
const VIP: u8 = 100;

/// For how long kube-vip's holder is elected.
const LEASE: Duration = Duration::from_secs(5);

impl Recipe {
    /// Whether a node is one of the control plane: they are named as masters.
    pub fn is_control_plane(&self, node: usize) -> bool {
        self.nodes[node].starts_with("master")
    }

    /// The control plane's own address, which kube-vip holds; `None` where it has none.
    pub fn vip(&self) -> Option<IpAddr> {
        let there = (0..self.nodes.len()).any(|node| self.is_control_plane(node));
        there.then(|| self.underlay_host(Family::V4, VIP))
    }

    /// The node that holds that address at first: in ARP mode the leader alone does. It is not node 0.
    pub fn vip_leader(&self) -> Option<usize> {
        (0..self.nodes.len()).rev().find(|&node| self.is_control_plane(node))
    }

    /// How long a take-over of that address may last: what is seen of it for less says nothing.
    pub fn take_over(&self) -> Duration {
        vips::patience(Some(LEASE))
    }

    /// The link that it is on.
    fn vip_link(&self) -> &'static str {
        self.bridge.unwrap_or(self.nic)
    }

    pub(super) fn kubernetes(&self, overlay: Overlay, node: usize) -> Vec<HostFile> {
        if overlay.by == Cni::Aws {
            return Vec::new();
        }
        let address = self.underlay_address(node);
        let flags = format!(
            "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/containerd/containerd.sock --node-ip={address}\"\n"
        );
        let mut files = vec![
            HostFile::new("/var/lib/kubelet/kubeadm-flags.env", flags),
            HostFile::new("/var/lib/kubelet/config.yaml", KUBELET),
            HostFile::new("/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", DROP_IN),
            HostFile::new("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\n"),
        ];
        if self.is_control_plane(node) {
            files.extend(STATIC_PODS.iter().map(|name| static_pod(name)));
            files.extend(self.vip().map(|vip| kube_vip(vip, self.vip_link())));
        }
        files
    }
}

fn static_pod(name: &str) -> HostFile {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    component: {name}\n    tier: control-plane\n  name: {name}\n  \
         namespace: kube-system\nspec:\n  containers:\n  - command:\n    - {name}\n    name: {name}\n  hostNetwork: true\n\
         status: {{}}\n"
    );
    HostFile::secret(format!("/etc/kubernetes/manifests/{name}.yaml"), text)
}

/// What `kube-vip manifest pod --arp --controlplane --leaderElection` prints.
fn kube_vip(vip: IpAddr, link: &str) -> HostFile {
    let lease = LEASE.as_secs().to_string();
    let text = KUBE_VIP.replace("{vip}", &vip.to_string()).replace("{link}", link).replace("{lease}", &lease);
    HostFile::secret("/etc/kubernetes/manifests/kube-vip.yaml", text)
}

const KUBE_VIP: &str = r#"apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: null
  name: kube-vip
  namespace: kube-system
spec:
  containers:
  - args:
    - manager
    env:
    - name: vip_arp
      value: "true"
    - name: port
      value: "6443"
    - name: vip_nodename
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
    - name: vip_interface
      value: {link}
    - name: vip_subnet
      value: "32"
    - name: dns_mode
      value: first
    - name: cp_enable
      value: "true"
    - name: cp_namespace
      value: kube-system
    - name: vip_leaderelection
      value: "true"
    - name: vip_leasename
      value: plndr-cp-lock
    - name: vip_leaseduration
      value: "{lease}"
    - name: vip_renewdeadline
      value: "3"
    - name: vip_retryperiod
      value: "1"
    - name: address
      value: {vip}
    - name: prometheus_server
      value: :2112
    image: ghcr.io/kube-vip/kube-vip:v0.8.9
    imagePullPolicy: IfNotPresent
    name: kube-vip
    resources: {}
    securityContext:
      capabilities:
        add:
        - NET_ADMIN
        - NET_RAW
    volumeMounts:
    - mountPath: /etc/kubernetes/admin.conf
      name: kubeconfig
  hostAliases:
  - hostnames:
    - kubernetes
    ip: 127.0.0.1
  hostNetwork: true
  volumes:
  - hostPath:
      path: /etc/kubernetes/admin.conf
    name: kubeconfig
status: {}
"#;

const KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\ncgroupDriver: systemd\nclusterDNS:\n- 10.96.0.10\n\
                       clusterDomain: cluster.local\nkind: KubeletConfiguration\nrotateCertificates: true\n\
                       staticPodPath: /etc/kubernetes/manifests\n";

const DROP_IN: &str = "# Note: This dropin only works with kubeadm and kubelet v1.11+\n[Service]\n\
    Environment=\"KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf\"\n\
    Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"\n\
    EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\nEnvironmentFile=-/etc/default/kubelet\nExecStart=\n\
    ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS\n";

#[cfg(test)]
mod tests {
    use crate::recipe::{CLOUD, REFERENCE, ROUTED};

    #[test]
    fn kube_vip_runs_on_the_control_plane_alone_and_its_address_is_on_another_node_than_the_agents() {
        let manifest = |node| REFERENCE.files(node).into_iter().find(|file| file.path.ends_with("kube-vip.yaml"));
        let text = manifest(0).unwrap().text;
        assert!(text.contains("- name: vip_interface\n      value: vmbr1\n"), "{text}");
        assert!(text.contains("- name: address\n      value: 10.0.0.100\n"), "{text}");
        assert!(manifest(1).is_some() && manifest(2).is_none());
        assert_eq!((REFERENCE.vip_leader(), ROUTED.vip_leader(), ROUTED.vip()), (Some(1), None, None));
    }

    #[test]
    fn a_clouds_node_knows_no_kubeadm() {
        let has = |files: Vec<super::HostFile>| files.iter().any(|file| file.path.contains("kubeadm-flags"));
        assert!(has(REFERENCE.files(2)) && has(ROUTED.files(0)) && !has(CLOUD.files(0)));
    }
}
