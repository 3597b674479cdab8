//! kube-vip in a line or two: which address, on which link, by which means, and whether it is here.

use probes::report::Report;
use probes::report::vip::{LeaseRow, VipLinkRow, VipRow};

use super::style::{Style, clean};

/// A line for each manifest.
pub(super) fn rows(report: &Report, style: Style) -> String {
    if report.vips.is_empty() {
        return String::new();
    }
    let lines = report.vips.iter().map(|row| style.wrap("  ", &clean(&line(row))));
    std::iter::once(style.heading("KUBE-VIP", "the control plane's own address")).chain(lines).collect()
}

pub(in crate::publish) fn line(row: &VipRow) -> String {
    let what = row.address.as_deref().unwrap_or("an address that the manifest does not tell");
    let by = row.mode.map(|mode| format!(" by {}", shown(mode))).unwrap_or_default();
    let on = row.interface.as_ref().map_or_else(|| " on a link of kube-vip's choice".to_owned(), on_link);
    let services = row.services_interface.as_ref().map(|link| format!(", Services{}", on_link(link)));
    let held = match row.held_on.as_slice() {
        [] => "not on this node now".to_owned(),
        links => format!("on this node now ({})", links.join(", ")),
    };
    let lease = row.lease.as_ref().map(|lease| format!("; {}", election(lease))).unwrap_or_default();
    format!("{what}{by}{on}{}; {held}{lease}; {}", services.unwrap_or_default(), row.manifest)
}

fn on_link(link: &VipLinkRow) -> String {
    let state = match (link.present, link.up) {
        (false, _) => "which does not exist here",
        (true, false) => "which is down",
        (true, true) => "which is up",
    };
    format!(" on {}, {state}", link.name)
}

fn shown(mode: &str) -> &str {
    match mode {
        "arp" => "ARP",
        "bgp" => "BGP",
        "table" => "a routing table",
        "wireguard" => "WireGuard",
        other => other,
    }
}

/// `lease plndr-cp-lock (5 s, renewed within 3 s, tried every 1 s)`.
fn election(lease: &LeaseRow) -> String {
    let part = |seconds: Option<u32>, before: &str| seconds.map(|seconds| format!("{before}{seconds} s"));
    let parts = [
        part(lease.duration_seconds, ""),
        part(lease.renew_deadline_seconds, "renewed within "),
        part(lease.retry_period_seconds, "tried every "),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let times = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    format!("lease {}{times}", lease.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> VipRow {
        VipRow {
            manifest: "/etc/kubernetes/manifests/kube-vip.yaml".into(),
            mode: Some("arp"),
            control_plane: true,
            services: false,
            interface: Some(VipLinkRow { name: "vmbr1".into(), present: true, up: true }),
            services_interface: None,
            address: Some("10.0.0.10".into()),
            held_on: vec!["vmbr1".into()],
            lease: Some(LeaseRow {
                name: "plndr-cp-lock".into(),
                duration_seconds: Some(5),
                renew_deadline_seconds: Some(3),
                retry_period_seconds: Some(1),
            }),
        }
    }

    #[test]
    fn one_line_says_it_all() {
        assert_eq!(
            line(&row()),
            "10.0.0.10 by ARP on vmbr1, which is up; on this node now (vmbr1); lease plndr-cp-lock (5 s, renewed within \
             3 s, tried every 1 s); /etc/kubernetes/manifests/kube-vip.yaml"
        );
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let row = VipRow { mode: None, interface: None, address: None, held_on: Vec::new(), lease: None, ..row() };
        let line = line(&row);
        let begins =
            "an address that the manifest does not tell on a link of kube-vip's choice; not on this node now; ";
        assert!(line.starts_with(begins), "{line}");
    }
}
