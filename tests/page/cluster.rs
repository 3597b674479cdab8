//! `/cluster` as HTML: four agents, one of which gets behind a hole; and two hundred nodes.

use lab::Result;
use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::recipe::{REFERENCE, Recipe};
use lab::service::{self, SERVER, Service};
use serde_json::json;

use crate::Reader;
use crate::crowd::{self, Crowd};
use crate::node::url;

/// The reference cluster with a node more: of three, one that is bad touches most pairs.
const FOUR: Recipe = Recipe { nodes: &["master-1", "master-2", "master-3", "app-worker"], ..REFERENCE };

fn picture() -> String {
    url(SERVER) + "cluster"
}

pub(crate) fn follows() -> Result<()> {
    let cluster = Cluster::build(FOUR)?;
    let start = |node| Service::start_open(&cluster, node, &service::configuration(&cluster, node));
    let _agents: Vec<Service<'_>> = (0..4).map(start).collect::<Result<_>>()?;
    let mut reader = Reader::in_place(cluster.host(0))?;
    let page = picture();
    reader.sees("pictured", &json!({ "url": page, "headline": "healthy", "nodes": FOUR.nodes }));
    reader.sees("manners", &json!({ "url": page, "says": ["HEALTHY", "master-1", "app-worker", "1500"] }));
    reader.sees("follow", &json!({ "as": "reader", "url": page }));
    let hole = Fault::DropLarger { node: 2, than: 1400.into() }.make(&cluster)?;
    reader.sees("turns", &json!({ "as": "reader", "headline": "critical", "says": ["master-3", "1400"] }));
    reader.sees("manners", &json!({ "url": page, "says": ["CRITICAL", "master-3", "1400"] }));
    reader.sees("pair", &json!({ "url": page, "from": "master-1", "to": "master-3", "size": "1400" }));
    hole.heal()?;
    reader.sees("turns", &json!({ "as": "reader", "headline": "healthy", "says": [] }));
    reader.ends()
}

pub(crate) fn large() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    // And the one that asks.
    let crowd = Crowd::gather(&cluster, 199, SERVER.port())?;
    let mut agent = Service::start_with(&cluster, 0, &crowd.configuration())?;
    agent.until("all of them to be measured", |report| {
        report.paths.len() == 199 && report.paths.iter().all(|path| path.probed_at.is_some())
    })?;
    let mut reader = Reader::in_place(cluster.host(0))?;
    let page = picture();
    let sick = crowd::name(crowd::SICK);
    reader.sees("deviationsFirst", &json!({ "url": page, "sick": sick, "nodes": crowd.names() }));
    reader.sees("manners", &json!({ "url": page, "says": [sick, "1400"] }));
    reader.ends()
}
