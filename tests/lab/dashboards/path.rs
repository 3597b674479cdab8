//! One path: what passes against what should, each way and from each end, how long it takes and what is lost.

use super::Trouble::{BlackHole, Misconfigured, NicDown, Slow};
use super::grafana::Dashboard;
use super::panels::{Layout, New, column, graph, heat, query, stat, table, timeline};
use super::words::EVERYTHING;
use super::{PATH, Proof, variables, words};

/// The dashboard.
pub(super) fn dashboard() -> Dashboard {
    let description = "Paths from a node to its peers: the largest packet that passes against the one that should. A path \
                       has series of its own in clusters of up to a hundred peers, and beyond that while something is wrong \
                       with it.";
    let choice = vec![variables::peer(), variables::plane(), variables::family()];
    Layout::of(variables::dashboard_of_a_node(PATH, "mtuscope / Path", description, choice))
        .row("Now", 4, [(8, reached()), (8, carries()), (8, short())])
        .row("What passes", 9, [(12, sizes()), (12, from_there())])
        .more(8, [(12, each_way()), (12, reached_over_time())])
        .row("How it passes", 9, [(8, quantiles()), (8, round_trips()), (8, loss())])
        .more(7, [(24, sent())])
        .row("All paths of this node, the worst first", 11, [(24, peers())])
        .done()
}

const EACH: &str = "WHO, peer, plane, family";
const NAMES: &str = "{{peer}} {{plane}} {{family}}";

/// The paths that were chosen.
const CHOSEN: &str = "SCOPE, PATH";

/// By how much paths fall short: by [`EVERYTHING`] where nothing passes. What should pass is not always known then: with a
/// link goes the route over it, and what that promised.
fn short_by(of: &str) -> String {
    format!(
        "mtuscope_path_expected_mtu_bytes{{{of}}} - mtuscope_path_mtu_bytes{{{of}}} \
         or {EVERYTHING} + (mtuscope_path_up{{{of}}} == 0)"
    )
}

/// Of twenty paths at most, those that fall short by most: a path of 1480 that should carry 1500 comes before one of 1450
/// that carries what it should.
fn worst(metric: &str) -> String {
    let rank = format!("{} or 0 * mtuscope_path_up{{{CHOSEN}}}", short_by(CHOSEN));
    format!("min by ({EACH}) ({metric}{{{CHOSEN}}}) and on ({EACH}) topk(20, max by ({EACH}) ({rank}))")
}

/// As [`worst`], over time: those that fell short by most on average. One rank for all of the range and all queries of a
/// panel, or lines would come and go, and what passes would be drawn of other paths than what should. An average, since an
/// agent that came up too early finds everything unreachable for a moment, which would hide what is wrong since.
fn worst_in_time(metric: &str, of: &str) -> String {
    let mean = |name| format!("avg_over_time(mtuscope_path_{name}{{{of}}}[$__range] @ end())");
    let (gone, expected, mtu) =
        (format!("{EVERYTHING} * (1 - {})", mean("up")), mean("expected_mtu_bytes"), mean("mtu_bytes"));
    format!(
        "min by ({EACH}) ({metric}{{{of}}}) \
         and on ({EACH}) topk(20, max by ({EACH}) ({gone} + ({expected} - {mtu}) or {gone}))"
    )
}

fn reached() -> New {
    let description =
        "Whether the peer can be reached with a packet of any size. Not known where nothing was concluded.";
    let up = query(&format!("bottomk(20, min by ({EACH}) (mtuscope_path_up{{{CHOSEN}}}))"), Proof::differs(NicDown));
    stat("Reached", description, [up.named(NAMES)]).words(words::either("unreachable", "reached"))
}

fn carries() -> New {
    let description = "The largest IP packet, header included, that was confirmed to pass.";
    let mtu = query(&worst("mtuscope_path_mtu_bytes"), Proof::differs(BlackHole));
    stat("Path MTU", description, [mtu.named(NAMES)]).words(words::unknown())
}

fn short() -> New {
    let description = "By how many bytes the path falls short of what route and device promise; by everything where the \
                       peer is not reached.";
    let missing = query(&format!("topk(20, max by ({EACH}) ({}))", short_by(CHOSEN)), Proof::differs(BlackHole));
    stat("Short by", description, [missing.named(NAMES)])
        .words(words::short())
        .colours(words::above(1.0, words::WARNING))
}

fn sizes() -> New {
    let description = "What passes, and what should by route and device, of the twenty paths that were short by most. A \
                       path that is not reached has no size.";
    let mtu = query(&worst_in_time("mtuscope_path_mtu_bytes", CHOSEN), Proof::differs(BlackHole));
    let expected = query(&worst_in_time("mtuscope_path_expected_mtu_bytes", CHOSEN), Proof::differs(Misconfigured));
    graph(
        "Path MTU against expected",
        description,
        [mtu.named("passes: {{peer}} {{plane}} {{family}}"), expected.named("expected: {{peer}} {{plane}} {{family}}")],
    )
}

fn from_there() -> New {
    let description = "The same paths as the peer's own agent measures them, so that a way that differs shows. It needs \
                       targets with a label node that is the name of the peer.";
    let choice = "cluster=~\"$cluster\", job=~\"$job\", node=~\"$peer\", peer=~\"$node\", plane=~\"$plane\", \
                  family=~\"$family\"";
    let mtu = query(&worst_in_time("mtuscope_path_mtu_bytes", choice), Proof::differs(BlackHole).by_node());
    graph("From the other end", description, [mtu.named("{{node}} to {{peer}}, {{plane}} {{family}}")])
}

fn each_way() -> New {
    let description = "The two ways apart, where they were told apart. The way back is a lower bound. Nothing is shown of \
                       a path that carries its size both ways and has no series for them.";
    let of = |metric: &str| query(&worst_in_time(metric, CHOSEN), Proof::differs(BlackHole).either());
    let (forward, reverse) = (of("mtuscope_path_forward_mtu_bytes"), of("mtuscope_path_reverse_mtu_bytes"));
    graph(
        "Each way",
        description,
        [forward.named("there: {{peer}} {{plane}} {{family}}"), reverse.named("back: {{peer}} {{plane}} {{family}}")],
    )
    .rows_when_wrong()
}

fn reached_over_time() -> New {
    let description = "Whether the peer was reached with any size, of the twenty paths that were worst. A gap is not \
                       known: no agent, or nothing concluded.";
    let up = query(&worst_in_time("mtuscope_path_up", CHOSEN), Proof::differs(NicDown));
    timeline("Reached over time", description, [up.named(NAMES)]).words(words::either("unreachable", "reached"))
}

const TIMES: &str = "mtuscope_path_round_trip_seconds_bucket{SCOPE, plane=~\"$plane\", family=~\"$family\"}";

fn quantiles() -> New {
    let description = "Round trips of small reference probes to all peers of this node: the histogram has no peers.";
    let quantile = |of: f64| {
        let expr = format!("histogram_quantile({of}, sum by (le, plane) (rate({TIMES}[$__rate_interval])))");
        query(&expr, Proof::fewer(NicDown))
    };
    let queries = [
        quantile(0.5).named("median, {{plane}}"),
        quantile(0.9).named("90 %, {{plane}}"),
        quantile(0.99).named("99 %, {{plane}}"),
    ];
    graph("Round trip", description, queries).unit("s")
}

fn round_trips() -> New {
    let description = "How many round trips took how long, over all peers of this node.";
    let buckets = query(&format!("sum by (le) (rate({TIMES}[$__rate_interval]))"), Proof::below(NicDown, 0.01));
    heat("Round trips by duration", description, buckets.named("{{le}}"))
}

fn loss() -> New {
    let description = "Share of small reference probes to all peers of this node that got no answer.";
    let of = |what: &str| {
        format!(
            "sum by (plane) (rate(mtuscope_probe_packets_{what}_total{{SCOPE, plane=~\"$plane\", family=~\"$family\"}}\
             [$__rate_interval]))"
        )
    };
    let share = query(&format!("{} / {}", of("lost"), of("sent")), Proof::above(NicDown, 0.5));
    graph("Loss", description, [share.named("{{plane}}")]).share()
}

fn sent() -> New {
    let description = "Packets of path-MTU searches: a path that changed is searched anew.";
    let rate = query(
        "sum by (plane, family) (rate(mtuscope_search_packets_total{SCOPE, plane=~\"$plane\", family=~\"$family\"}\
         [$__rate_interval]))",
        Proof::below(Slow, 0.1),
    );
    graph("Search packets", description, [rate.named("{{plane}} {{family}}")]).unit("pps")
}

/// All paths of a few nodes that have series of their own.
pub(super) fn peers() -> New {
    let description = "Each named path: whether it is reached, what passes, what should, and what is missing, which is \
                       everything where it is not reached.";
    let of = |metric: &str, proof| query(&format!("min by ({EACH}) ({metric}{{SCOPE}}) FEW"), proof);
    // The rows are in its order: also where what should pass is not known.
    let everything = f64::from(EVERYTHING);
    let missing =
        query(&format!("max by ({EACH}) ({}) FEW", short_by("SCOPE")), Proof::above(NicDown, everything - 1.0));
    let queries = [
        of("mtuscope_path_up", Proof::differs(NicDown)),
        of("mtuscope_path_mtu_bytes", Proof::differs(BlackHole)),
        of("mtuscope_path_expected_mtu_bytes", Proof::differs(Misconfigured)),
        missing,
    ];
    table("Paths", description, queries).columns([
        column("peer", "Peer").leads_to(variables::to_path()),
        column("plane", "Plane"),
        column("family", "Family"),
        column("Value #A", "Reached").words(words::either("unreachable", "reached")),
        column("Value #B", "Passes"),
        column("Value #C", "Expected"),
        column("Value #D", "Short by").words(words::short()).colours(words::above(1.0, words::WARNING)).largest_first(),
        column("node", "Node"),
        column("instance", "Instance"),
        column("job", "Job"),
        column("cluster", "Cluster"),
    ])
}
