//! Which keys differ between two configurations.
//!
//! Every field is named here, without a rest pattern: a key that is added and forgotten does not compile.

use probes::config::{Config, Expect, Peers, Probing};

use super::surface::{Agents, Web};
use super::{MetricLimits, Settings};

impl Settings {
    /// The keys, as in `probing.interval`, that have another value in `new`.
    pub fn changes(&self, new: &Self) -> Vec<&'static str> {
        let Self { probes, listen, host_root, metrics, kubernetes, web, agents } = self;
        let Config { node, vantage, work: _, peers, probing, expect, port: _ } = probes;
        let Peers { kernel, kubernetes: _, gateway: _, fixed, this_machine: _ } = peers;
        let Probing { interval, confirm_rounds, packets_per_second, transfers, stable_peers, ecmp_ports } = probing;
        let Expect { underlay_mtu, overlay_mtu, underlay_network, sysctls } = expect;
        let MetricLimits { named_peers, findings } = metrics;
        let Web { config_file, bearer_token_files, metrics: web_metrics, health_listen } = web;
        let Agents { tls, credentials } = agents;
        let now = &new.probes;
        let keys = [
            ("node", *node != now.node),
            ("vantage", *vantage != now.vantage),
            ("listen", *listen != new.listen),
            ("host_root", *host_root != new.host_root),
            ("peers.kernel", *kernel != now.peers.kernel),
            ("peers.kubernetes", *kubernetes != new.kubernetes),
            ("peers.static", *fixed != now.peers.fixed),
            ("probing.interval", *interval != now.probing.interval),
            ("probing.confirm_rounds", *confirm_rounds != now.probing.confirm_rounds),
            ("probing.packets_per_second", *packets_per_second != now.probing.packets_per_second),
            ("probing.transfers", *transfers != now.probing.transfers),
            ("probing.stable_peers", *stable_peers != now.probing.stable_peers),
            ("probing.ecmp_ports", *ecmp_ports != now.probing.ecmp_ports),
            ("expect.underlay_mtu", *underlay_mtu != now.expect.underlay_mtu),
            ("expect.overlay_mtu", *overlay_mtu != now.expect.overlay_mtu),
            ("expect.underlay_network", *underlay_network != now.expect.underlay_network),
            ("expect.sysctls", *sysctls != now.expect.sysctls),
            ("metrics.named_peers", *named_peers != new.metrics.named_peers),
            ("metrics.findings", *findings != new.metrics.findings),
            ("web.config_file", *config_file != new.web.config_file),
            ("web.bearer_token_files", *bearer_token_files != new.web.bearer_token_files),
            ("web.metrics", *web_metrics != new.web.metrics),
            ("web.health_listen", *health_listen != new.web.health_listen),
            ("agents.tls", *tls != new.agents.tls),
            ("agents.bearer_token_file, agents.basic_auth", *credentials != new.agents.credentials),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_file_is_seen_to_change() {
        let defaults = Settings::parse("", "here".into()).unwrap();
        let all = Settings::parse(&super::super::every_key(), "here".into()).unwrap();
        let changed = defaults.changes(&all);
        assert_eq!(changed, all.changes(&defaults));
        for key in ["node", "listen", "host_root", "peers.kernel", "peers.static", "expect.sysctls"] {
            assert!(changed.contains(&key), "{key}: {changed:?}");
        }
        assert_eq!(changed.len(), 24 + usize::from(cfg!(feature = "kubernetes")), "{changed:?}");
    }

    #[test]
    fn comments_and_order_are_no_change() {
        let one = Settings::parse("probing: { interval: 5s }\nnode: a\n", "here".into()).unwrap();
        let other = Settings::parse("# the same\nnode: a\nprobing:\n  interval: 5000ms\n", "here".into()).unwrap();
        assert_eq!(one.changes(&other), [""; 0]);
    }
}
