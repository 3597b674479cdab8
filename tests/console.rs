//! What a person has before them at the console of a real node: the ladder, exit statuses, progress, and a README that
//! shows what is printed.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Output, Stdio};

use lab::cluster::Cluster;
use lab::fault::{Broken, Fault, HostFile, Odd, OddFile};
use lab::harness::{self, test};
use lab::recipe::{BRIDGED, JUMBO, PLAIN, REFERENCE, ROUTED, Recipe, Role};
use lab::report::{Declared, Ladder, Report, Rung};
use lab::{Error, Result, service};
use nix::pty::openpty;

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            test("the ladder of a healthy node fits, rung by rung", ladder_fits),
            test("the ladder breaks where a link below the tunnel shrinks", small_nic),
            test("the ladder breaks at a bridge that outgrows its port", small_bridge_port),
            test("the ladder breaks where pods outgrow the tunnel", large_pods),
            test("the ladder breaks at the path where a hop shrinks", small_hop),
            test("the ladder allows for the four bytes that a veth lets through", small_port),
            test("without a tunnel the ladder ends at the link", no_tunnel),
            test("what a node's files declare stands beside what there is", files_agree),
            test("a number that was forgotten in a file marks the ladder and breaks nothing", forgotten_number),
            test("a file that nobody can read is a row, and healing brings back what it says", unreadable_file),
            test("the exit status of probe follows its verdicts", probe_statuses),
            test("report and probe outlive their readers and tell of a full disk", streams),
            test("a progress bar is for terminals", progress),
            test("README shows what is printed", readme),
        ]
    })
}

/// A node's way to run `report`: with every other node named in a configuration.
struct Console<'c> {
    cluster: &'c Cluster,
    config: PathBuf,
    _directory: tempfile::TempDir,
}

impl<'c> Console<'c> {
    fn new(cluster: &'c Cluster) -> Result<Self> {
        let failed = |error: std::io::Error| Error::new("writing a configuration", error);
        let directory = tempfile::tempdir().map_err(failed)?;
        let config = directory.path().join("mtuscope.yaml");
        fs::write(&config, service::configuration(cluster, 0)).map_err(failed)?;
        Ok(Self { cluster, config, _directory: directory })
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let config = self.config.to_string_lossy();
        service::run(self.cluster.host(0), &[&["report", "--config", &config], arguments].concat())
    }

    fn report(&self) -> Result<Report> {
        let output = self.run(&["--output", "json"])?;
        Report::parse(&String::from_utf8_lossy(&output.stdout))
    }

    fn ladder(&self) -> Result<Ladder> {
        let report = self.report()?;
        let first = report.ladders.first().cloned();
        first.ok_or_else(|| Error::new("looking for a ladder", format!("there is none: {report}")))
    }
}

fn sizes(ladder: &Ladder) -> Vec<(&str, &str, Option<u32>)> {
    ladder.rungs.iter().map(|rung| (rung.layer.as_str(), rung.name.as_str(), rung.mtu)).collect()
}

/// The breaks that have to be mended, with what would fit there.
fn breaks(ladder: &Ladder) -> Vec<(&str, Option<u32>)> {
    let causes = ladder.rungs.iter().filter(|rung| rung.verdict == "break" && !rung.follows);
    causes.map(|rung| (rung.layer.as_str(), rung.available)).collect()
}

fn rung<'l>(ladder: &'l Ladder, layer: &str) -> &'l Rung {
    ladder.rungs.iter().find(|rung| rung.layer == layer).unwrap_or_else(|| panic!("no {layer} in {ladder:?}"))
}

fn ladder_fits() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let ladder = Console::new(&cluster)?.ladder()?;
    assert_eq!((ladder.link.as_str(), ladder.verdict.as_str()), ("vxlan.calico", "ok"), "{ladder:?}");
    let layers: Vec<_> = ladder.rungs.iter().map(|rung| (rung.layer.as_str(), rung.mtu)).collect();
    let (outer, inner) = (Some(1500), Some(1450));
    let wanted = [("nic", outer), ("bridge", outer), ("path", outer), ("tunnel", inner), ("route", inner)];
    assert_eq!(layers[..5], wanted, "{ladder:?}");
    assert_eq!(layers[5..], [("inner_path", inner), ("pods", inner)], "{ladder:?}");
    assert_eq!((rung(&ladder, "nic").name.as_str(), rung(&ladder, "bridge").name.as_str()), ("enp5s0", "vmbr1"));
    Ok(())
}

/// What is broken while a fault holds, and after it has healed.
fn broken(recipe: Recipe, fault: &Fault, look: impl FnOnce(&Ladder)) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let console = Console::new(&cluster)?;
    let made: Broken<'_> = fault.make(&cluster)?;
    look(&console.ladder()?);
    made.heal()?;
    let healed = console.ladder()?;
    assert!(breaks(&healed).is_empty(), "after healing: {healed:?}");
    Ok(())
}

fn small_nic() -> Result<()> {
    let fault = Fault::Mtu { node: 0, link: Role::Nic, bytes: 1400.into() };
    broken(REFERENCE, &fault, |ladder| {
        assert_eq!(breaks(ladder), [("tunnel", Some(1350))], "{ladder:?}");
        assert!(rung(ladder, "tunnel").findings.iter().any(|code| code == "tunnel-no-headroom"), "{ladder:?}");
        let inner = rung(ladder, "inner_path");
        assert!(inner.verdict == "break" && inner.follows, "what pods see follows from it: {ladder:?}");
    })
}

fn small_bridge_port() -> Result<()> {
    let fault = |bytes: u32| Fault::PortMtu { node: 0, link: Role::Nic, bytes: bytes.into() };
    broken(REFERENCE, &fault(1495), |ladder| {
        assert_eq!(breaks(ladder).first(), Some(&("bridge", Some(1495))), "{ladder:?}");
        assert!(rung(ladder, "bridge").findings.iter().any(|code| code == "bridge-port-mtu"), "{ladder:?}");
        let path = rung(ladder, "path");
        assert!(path.verdict == "break" && path.follows, "{ladder:?}");
    })?;
    broken(REFERENCE, &fault(1496), |ladder| assert_eq!(ladder.verdict, "ok", "a bridge lets a tag pass: {ladder:?}"))
}

fn large_pods() -> Result<()> {
    let fault = Fault::Mtu { node: 0, link: Role::Pod, bytes: 1500.into() };
    broken(REFERENCE, &fault, |ladder| {
        assert_eq!(breaks(ladder), [("pods", Some(1450))], "{ladder:?}");
        assert_eq!(rung(ladder, "pods").findings, ["pod-mtu-too-large"], "{ladder:?}");
    })
}

fn small_hop() -> Result<()> {
    broken(ROUTED, &Fault::HopMtu { bytes: 1400.into() }, |ladder| {
        assert_eq!(breaks(ladder), [("path", Some(1500)), ("tunnel", Some(1350))], "{ladder:?}");
        assert_eq!(rung(ladder, "path").mtu, Some(1400), "{ladder:?}");
        assert_eq!(rung(ladder, "path").findings, ["path-limited"], "{ladder:?}");
        assert_eq!(rung(ladder, "tunnel").findings, ["overlay-fragmented"], "{ladder:?}");
    })
}

fn small_port() -> Result<()> {
    broken(JUMBO, &Fault::Mtu { node: 1, link: Role::Nic, bytes: 1500.into() }, |ladder| {
        assert_eq!(rung(ladder, "path").mtu, Some(1504), "{ladder:?}");
        assert_eq!(breaks(ladder), [("path", Some(9000)), ("tunnel", Some(1450))], "{ladder:?}");
    })
}

fn no_tunnel() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let ladder = Console::new(&cluster)?.ladder()?;
    assert_eq!(sizes(&ladder), [("nic", "ens3", Some(1500)), ("path", "db-2", Some(1500))]);
    Ok(())
}

/// Rows of what a node's files and its operator declare that count.
fn counting(report: &Report) -> Vec<&Declared> {
    report.declared.iter().filter(|row| row.mtu.is_some() && row.unused.is_none()).collect()
}

/// Would fail if a recipe's own files were held against what they are not about, or a machine without any had noise.
fn files_agree() -> Result<()> {
    for recipe in [REFERENCE, BRIDGED, PLAIN] {
        let cluster = Cluster::build(recipe)?;
        let console = Console::new(&cluster)?;
        let report = console.report()?;
        let rows = counting(&report);
        assert_eq!(rows.is_empty(), recipe.overlay.is_none(), "{}: {:?}", recipe.name, report.declared);
        for row in &rows {
            let whole = !row.kernel.is_empty() && row.measured.is_some();
            assert!(whole && row.kernel.iter().all(|place| !place.differs), "{}: {row:?}", recipe.name);
        }
        let beside: Vec<_> =
            report.ladders.iter().flat_map(|ladder| &ladder.rungs).flat_map(|rung| &rung.declared).collect();
        assert_eq!(beside.is_empty(), rows.is_empty(), "{}: {beside:?}", recipe.name);
        assert!(beside.iter().all(|one| !one.differs), "{}: {beside:?}", recipe.name);
        let text = console.run(&[])?;
        let text = String::from_utf8_lossy(&text.stdout);
        assert_eq!(text.contains("DECLARED"), !rows.is_empty(), "{}: {text}", recipe.name);
    }
    Ok(())
}

/// The CNI's file gives new pods more than their tunnel takes. Nothing that runs is broken by it.
fn forgotten_number() -> Result<()> {
    let (path, text) = ("{cni_file}", r#"{"name": "k", "plugins": [{"type": "calico", "mtu": {= tunnel + 50}}]}"#);
    let fault = Fault::HostFile(HostFile { node: 0, path: path.into(), text: text.into() });
    broken(REFERENCE, &fault, |ladder| {
        assert_eq!((breaks(ladder), ladder.verdict.as_str()), (Vec::new(), "ok"), "{ladder:?}");
        let marked: Vec<_> = ladder.rungs.iter().filter(|rung| rung.declared.iter().any(|one| one.differs)).collect();
        let marked: Vec<_> = marked.iter().map(|rung| (rung.layer.as_str(), rung.mtu, rung.declared[0].mtu)).collect();
        let wanted = ["tunnel", "inner_path", "pods"].map(|layer| (layer, Some(1450), 1500));
        assert_eq!(marked, wanted, "{ladder:?}");
    })
}

fn unreadable_file() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let console = Console::new(&cluster)?;
    let file = "/var/lib/calico/mtu";
    let row = || -> Result<Declared> {
        let row = console.report()?.declared.into_iter().find(|row| row.file.as_deref() == Some(file));
        row.ok_or_else(|| Error::new("looking for a row", format!("there is none of {file}")))
    };
    assert_eq!(row()?.mtu, Some(1450));
    let fault = Fault::OddFile(OddFile { node: 0, path: file.into(), is: Odd::Unreadable });
    let made = fault.make(&cluster)?;
    let unread = row()?;
    assert!(unread.mtu.is_none() && unread.unknown.as_deref().is_some_and(|why| why.contains(file)), "{unread:?}");
    made.heal()?;
    assert_eq!(row()?.mtu, Some(1450));
    Ok(())
}

fn probe_statuses() -> Result<()> {
    let cluster = Cluster::build(ROUTED)?;
    let peer = ROUTED.underlay_address(1).to_string();
    let statuses = |cluster: &Cluster| -> Result<[Option<i32>; 3]> {
        let mut all = [None; 3];
        for (status, level) in all.iter_mut().zip(["critical", "warning", "never"]) {
            *status = service::run(cluster.host(0), &["probe", &peer, "--fail-on", level])?.status.code();
        }
        Ok(all)
    };
    assert_eq!(statuses(&cluster)?, [Some(0); 3], "a clear path");
    for (fault, wanted) in [
        (Fault::HopMtu { bytes: 1400.into() }, [0, 1, 0]),
        (Fault::DropLarger { node: 1, than: 1400.into() }, [1, 1, 0]),
        (Fault::DropAll { node: 1 }, [1, 1, 0]),
        (Fault::DropEcho { node: 1 }, [2, 2, 2]),
    ] {
        let made = fault.make(&cluster)?;
        assert_eq!(statuses(&cluster)?, wanted.map(Some), "{fault:?}");
        made.heal()?;
    }
    Ok(())
}

/// Runs `mtuscope` in node 0 with its standard output somewhere.
fn into(cluster: &Cluster, to: impl Into<Stdio>, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let failed = |error: std::io::Error| Error::new(format!("running {arguments:?}"), error);
    let mut command = service::mtuscope(cluster.host(0))?;
    let child = command.args(arguments).stdout(to).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let output = child.wait_with_output().map_err(failed)?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn streams() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let peer = REFERENCE.underlay_address(1).to_string();
    let commands: [&[&str]; 4] =
        [&["report"], &["report", "--output", "json"], &["probe", &peer], &["probe", "--output", "json", &peer]];
    let leaving = |status: i32, commands: &[&[&str]]| -> Result<()> {
        for arguments in commands {
            let (reader, writer) = std::io::pipe().map_err(|error| Error::new("making a pipe", error))?;
            drop(reader);
            assert_eq!(into(&cluster, writer, arguments)?, (Some(status), String::new()), "{arguments:?}");
        }
        Ok(())
    };
    leaving(0, &commands)?;
    for arguments in commands {
        let full = OpenOptions::new().write(true).open("/dev/full");
        let full = full.map_err(|error| Error::new("opening /dev/full", error))?;
        let (status, said) = into(&cluster, full, arguments)?;
        assert_eq!(status, Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("mtuscope: cannot write to standard output: "), "{arguments:?}: {said}");
    }
    let lost = Fault::MissingFdb { node: 0, of: 1 }.make(&cluster)?;
    leaving(1, &commands[..2])?;
    lost.heal()
}

/// Runs `report` on a node that is sick enough to take seconds, its standard error on a terminal.
fn on_a_terminal(cluster: &Cluster) -> Result<(String, String)> {
    let failed = |error: std::io::Error| Error::new("running `report` on a terminal", error);
    let ends = openpty(None, None).map_err(|errno| Error::new("making a terminal", errno))?;
    let mut command = service::mtuscope(cluster.host(0))?;
    let slave: OwnedFd = ends.slave;
    let child = command.arg("report").env("TERM", "xterm").stdout(Stdio::piped()).stderr(slave).spawn();
    let child = child.map_err(failed)?;
    // The terminal ends when its last writer does, and the command holds one.
    drop(command);
    let mut screen = Vec::new();
    // The end of a terminal whose last writer is gone reads as an error (EIO).
    let _ = File::from(ends.master).read_to_end(&mut screen);
    let output = child.wait_with_output().map_err(failed)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&screen)))
}

fn progress() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let lost = Fault::MissingFdb { node: 0, of: 1 }.make(&cluster)?;
    let (out, screen) = on_a_terminal(&cluster)?;
    assert!(screen.contains("findings to confirm"), "{screen:?}");
    assert!(out.starts_with("CRITICAL ") && !out.contains("findings to confirm"), "{out}");
    let piped = service::run(cluster.host(0), &["report"])?;
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "", "no bar in a log");
    lost.heal()
}

/// What stands above the tables, which say how long a round trip took. `MTUSCOPE_REGENERATE=1` writes it, if this user
/// may.
fn readme() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let sick = Fault::DropLarger { node: 1, than: 1400.into() }.make(&cluster)?;
    let output = Console::new(&cluster)?.run(&[])?;
    sick.heal()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (printed, _) = text.split_once("\nPATHS ").ok_or_else(|| Error::new("looking for the tables", &text))?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("README.md");
    let readme = fs::read_to_string(&path).map_err(|error| Error::new("reading README.md", error))?;
    let parts = || {
        let (before, rest) = readme.split_once("<!-- sick:begin -->")?;
        let (shown, after) = rest.split_once("<!-- sick:end -->")?;
        let (head, block) = shown.split_once("\n```\n")?;
        let (block, tail) = block.split_once("```\n")?;
        Some((format!("{before}<!-- sick:begin -->{head}"), block, format!("{tail}<!-- sick:end -->{after}")))
    };
    let (before, shown, after) = parts().ok_or_else(|| Error::new("reading README.md", "it has no sick node"))?;
    if std::env::var_os("MTUSCOPE_REGENERATE").is_some() {
        let anew = format!("{before}\n```\n{printed}```\n{after}");
        return fs::write(&path, anew).map_err(|error| Error::new("writing README.md", error));
    }
    assert_eq!(shown, printed, "MTUSCOPE_REGENERATE=1 writes it anew");
    Ok(())
}
