//! Grafana's dashboards: their queries against a real Prometheus that scrapes real agents, the types of their JSON, the
//! linter's rules, and how they get into a cluster.
//!
//! No Grafana takes part: what it would draw is not proven here. [`interpolate`] puts values in the place of variables as
//! Grafana does, and [`asks`] asks Prometheus what Grafana would; [`chosen`] asks of series written by hand.

mod asks;
mod chosen;
mod delivered;
mod interpolate;
mod lint;
mod moves;
mod promql;
mod types;

use std::process::ExitCode;

use lab::harness;

fn main() -> ExitCode {
    harness::main(|| {
        let mut all = vec![moves::test()];
        all.extend(interpolate::tests());
        all.extend(chosen::tests());
        all.extend(promql::tests());
        all.extend(lint::tests());
        all.extend(types::tests());
        all.extend(delivered::tests());
        all
    })
}
