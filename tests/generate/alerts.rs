//! Rule files.

use probes::alerts::{Pace, prometheus, rules};

use super::committed;

const HEAD: &str = "# Alert and recording rules of mtuscope, for Prometheus 2.42 or later.\n\
    # Written from the catalogue in the code: MTUSCOPE_REGENERATE=1 cargo test -p mtuscope-tests --test generate\n";

#[test]
fn the_rules_are_committed() {
    committed("manifests/alerts/mtuscope.rules.yaml", &format!("{HEAD}{}", prometheus(&rules(Pace::Shipped))));
}
