//! The path MTU of one peer, behind two routers.
//!
//! A tool that names sizes is right if it names the largest that passes. A tool that says yes or no is right if it says
//! whether 1,500 B pass; how much does it cannot say.

use std::net::IpAddr;
use std::process::Command;

use lab::Result;
use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::recipe::{PLAIN, Role};
use lab::report::ProbeReport;

use crate::bed::{self, Bed, Done};
use crate::blackbox::Blackbox;
use crate::jail::Jail;
use crate::measure::{Millis, Record, Run, Series};
use crate::note;
use crate::table::{Goal, Section};
use crate::tools::Tools;

const ROW: &str = "path";

/// What stands in the way.
struct Case {
    name: &'static str,
    fault: Option<Fault>,
    verdict: &'static str,
    mtu: u32,
    /// The most packets that mtuscope may take.
    packets: f64,
}

fn cases() -> [Case; 3] {
    let hop = Fault::HopMtu { bytes: 1400.into() };
    let hole = Fault::DropLarger { node: 1, than: 1400.into() };
    [
        Case { name: "clean, 1500", fault: None, verdict: "clear", mtu: 1500, packets: 2.0 },
        Case { name: "frag-needed, 1400", fault: Some(hop), verdict: "limited", mtu: 1400, packets: 3.0 },
        Case { name: "black hole, 1400", fault: Some(hole), verdict: "black_hole", mtu: 1400, packets: 60.0 },
    ]
}

/// A tool and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contestant {
    Mtuscope,
    Scamper,
    QuickScamper,
    Tracepath,
    Fping,
    Blackbox,
}

impl Contestant {
    const ALL: [Self; 6] =
        [Self::Mtuscope, Self::Scamper, Self::QuickScamper, Self::Tracepath, Self::Fping, Self::Blackbox];

    const fn name(self) -> &'static str {
        match self {
            Self::Mtuscope => "mtuscope probe",
            Self::Scamper => "scamper trace -M",
            Self::QuickScamper => "scamper -O epoll -p 10000 trace -M -q 1 -w 1",
            Self::Tracepath => "tracepath -n",
            Self::Fping => "fping -M -b 1472",
            Self::Blackbox => "blackbox exporter",
        }
    }
}

/// The tools, the jail and the exporter on one bed.
struct Field<'b> {
    tools: &'b Tools,
    bed: &'b Bed<'b>,
    jail: Jail,
    blackbox: Blackbox<'b>,
    peer: IpAddr,
}

/// Plays all tools in all cases.
///
/// # Errors
/// If the network cannot be built, or a tool does not run.
pub(crate) fn measure(tools: &Tools, record: &mut Record) -> Result<Section> {
    let cluster = bed::network()?;
    let peer = PLAIN.underlay_address(1);
    let bed = Bed::new(cluster.host(0), cluster.link(Role::Nic)?, &peer.to_string())?;
    let field = Field { tools, bed: &bed, jail: Jail::new()?, blackbox: Blackbox::start(&bed)?, peer };
    let mut results = Vec::new();
    for case in cases() {
        results.push(field.play(&case, &cluster, record)?);
    }
    Ok(Section {
        title: "One peer",
        how: "Behind two routers, whole process: what each tool says the path carries, the packets that it sent, and how \
              long it took. A yes or no is about 1,500 B. The exporter runs already and waits a second for an answer."
            .into(),
        heads: std::iter::once("tool").chain(cases().iter().map(|case| case.name)).collect(),
        rows: (0..Contestant::ALL.len()).map(|at| row(at, &results)).collect(),
        goals: goals(&results),
    })
}

impl Field<'_> {
    /// All tools in one case, in the order of [`Contestant::ALL`].
    fn play(&self, case: &Case, cluster: &Cluster, record: &mut Record) -> Result<Vec<Series>> {
        let broken = case.fault.as_ref().map(|fault| fault.make(cluster)).transpose()?;
        let play = |contestant: Contestant| {
            note(&format!("{ROW}: {}: {}", case.name, contestant.name()));
            record.repeat(ROW, case.name, contestant.name(), || self.run(contestant, case))
        };
        let series = Contestant::ALL.into_iter().map(play).collect();
        broken.map_or(Ok(()), lab::fault::Broken::heal)?;
        series
    }

    fn run(&self, contestant: Contestant, case: &Case) -> Result<Run> {
        let passes = case.mtu == 1500;
        let (answer, right, wall_ms, packets) = if contestant == Contestant::Blackbox {
            let asked = self.blackbox.ask(&[self.peer], 1)?;
            let yes = asked.refused == 0;
            (yes_or_no(yes), yes == passes, asked.wall_ms, asked.packets)
        } else {
            let done = self.bed.run(self.command(contestant))?;
            let (answer, right) = judge(contestant, &done, case)?;
            (answer, right, done.wall_ms, done.packets)
        };
        let wrong = Some(usize::from(!right));
        Ok(Run { answer: Some(answer), wrong, packets: Some(packets), wall_ms: Some(wall_ms), ..Run::default() })
    }

    fn command(&self, contestant: Contestant) -> Command {
        let peer = self.peer.to_string();
        let with = |mut command: Command, arguments: &[&str]| {
            command.args(arguments);
            command
        };
        let node = self.bed.node;
        match contestant {
            Contestant::Mtuscope => with(node.command(&self.tools.mtuscope), &["probe", "--output", "json", &peer]),
            Contestant::Scamper => with(self.jail.scamper(node), &["-c", "trace -M", "-i", &peer]),
            Contestant::QuickScamper => {
                let settings = ["-O", "epoll", "-O", "text", "-p", "10000", "-c", "trace -M -q 1 -w 1", "-i", &peer];
                with(self.jail.scamper(node), &settings)
            }
            Contestant::Tracepath => with(node.command("tracepath"), &["-n", &peer]),
            Contestant::Fping | Contestant::Blackbox => with(node.command("fping"), &["-M", "-b", "1472", &peer]),
        }
    }
}

/// What a tool says, and whether it is right.
fn judge(contestant: Contestant, done: &Done, case: &Case) -> Result<(String, bool)> {
    let size = match contestant {
        Contestant::Mtuscope => {
            let report = ProbeReport::parse(&done.text).map_err(|error| error.check(done.errors.trim()))?;
            let path = report.paths.first().ok_or_else(|| done.unfit("mtuscope"))?;
            if path.verdict != case.verdict {
                return Ok((path.verdict.clone(), false));
            }
            path.path_mtu
        }
        Contestant::Scamper | Contestant::QuickScamper => last_hop_mtu(&done.text),
        Contestant::Tracepath => resumed_mtu(&done.text),
        Contestant::Fping | Contestant::Blackbox => {
            let yes = done.text.contains("is alive");
            return Ok((yes_or_no(yes), yes == (case.mtu == 1500)));
        }
    };
    let size = size.ok_or_else(|| done.unfit(contestant.name()))?;
    Ok((size.to_string(), size == case.mtu))
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

/// What scamper says of the last hop: `[mtu: 1400]`, or `[*mtu: 1400]` where it had to find it out by itself.
pub(crate) fn last_hop_mtu(text: &str) -> Option<u32> {
    let hop = text.lines().rfind(|line| line.contains("mtu: "))?;
    hop.rsplit_once("mtu: ")?.1.trim_end_matches(']').parse().ok()
}

/// `Resume: pmtu 1400 hops 3 back 3`.
fn resumed_mtu(text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.contains("Resume:"))?;
    line.split_whitespace().skip_while(|word| *word != "pmtu").nth(1)?.parse().ok()
}

fn row(at: usize, results: &[Vec<Series>]) -> Vec<String> {
    let name = format!("`{}`", Contestant::ALL[at].name());
    std::iter::once(name).chain(results.iter().map(|case| cell(&case[at]))).collect()
}

fn cell(series: &Series) -> String {
    let mut answers: Vec<&str> = series.0.iter().filter_map(|run| run.answer.as_deref()).collect();
    answers.sort_unstable();
    answers.dedup();
    let mut text = answers.join(" or ");
    match (series.wrong(), series.len()) {
        (0, _) => {}
        (wrong, runs) if wrong == runs => text += " (**wrong**)",
        (wrong, runs) => text += &format!(" (**wrong** {wrong} times of {runs})"),
    }
    let packets = series.packets_said();
    let wall = series.wall().map(|wall| Millis(wall).to_string()).unwrap_or_default();
    let once = if series.len() == 1 { ", once" } else { "" };
    format!("{text}; {packets}; {wall}{once}")
}

fn goals(results: &[Vec<Series>]) -> Vec<Goal> {
    let of = |case: usize, contestant| {
        let at = Contestant::ALL.iter().position(|one| *one == contestant).expect("all are listed");
        &results[case][at]
    };
    let median = |case, contestant| of(case, contestant).wall().map(|wall| wall.median);
    let mut goals = Vec::new();
    for (at, case) in cases().iter().enumerate() {
        let ours = of(at, Contestant::Mtuscope);
        let right = format!("right {} times of {}", ours.len() - ours.wrong(), ours.len());
        goals.push(Goal::new(format!("{}: always right", case.name), right, ours.wrong() == 0));
        let packets = ours.packets().map(|packets| packets.most);
        goals.push(Goal::at_most(format!("{}: packets", case.name), packets, case.packets, |count| format!("{count}")));
        let theirs = [Contestant::Scamper, Contestant::QuickScamper].into_iter().filter_map(|one| median(at, one));
        let third = theirs.fold(f64::INFINITY, f64::min) / 3.0;
        let what = format!("{}: a third of scamper's time at its quickest", case.name);
        goals.push(Goal::at_most(what, median(at, Contestant::Mtuscope), third, ms));
    }
    let hundredth = median(2, Contestant::Tracepath).map_or(0.0, |wall| wall / 100.0);
    let what = "black hole: a hundredth of tracepath's time";
    goals.push(Goal::at_most(what, median(2, Contestant::Mtuscope), hundredth, ms));
    goals
}

fn ms(wall: f64) -> String {
    format!("{wall:.1} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_print_is_read() {
        let scamper = "traceroute from 172.30.1.10 to 172.30.2.10\n 1  172.30.1.1  0.09 ms [mtu: 1500]\n \
                       2  172.30.2.10  0.05 ms [*mtu: 1400]\n";
        assert_eq!(last_hop_mtu(scamper), Some(1400));
        assert_eq!(last_hop_mtu("traceroute from 172.30.1.10 to 172.30.2.10\n"), None);
        let tracepath =
            " 1?: [LOCALHOST]    pmtu 1500\n 2:  172.30.1.1   0.01ms pmtu 1400\n     Resume: pmtu 1400 hops 3\n";
        assert_eq!(resumed_mtu(tracepath), Some(1400));
        assert_eq!(resumed_mtu(" 1?: [LOCALHOST]    pmtu 1500\n"), None);
    }
}
