//! Host files that nobody wrote to be read: without permission, huge, binary, in odd encodings, made to grow without end,
//! changing while they are read, and links to what is not the machine's. Each is put in the place of every file that the
//! agent reads.
//!
//! It goes on with the memory that it had, says of what it could not read that it could not, raises nothing that is not so,
//! and never shows what is outside of `host_root`. Whether it has read a file anew is known from what it reads before:
//! the MTU of a NIC that nobody uses is changed, and the report that shows it was made after.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use jiff::SignedDuration;
use lab::cluster::{Cluster, Swaps};
use lab::harness::{self, test};
use lab::recipe::{BRIDGED, HostFile, REFERENCE, Recipe, Role};
use lab::report::Report;
use lab::service::{self, Service};
use lab::{Error, Result};
use probes::declared::host::{Ask, Entry, EntryKind, Found, LIMITS, RawHost, Want, asks};
use rustix::fs::{CWD, FileType, mknodat};
use tempfile::TempDir;

fn main() -> ExitCode {
    harness::main(|| {
        let mut tests = vec![
            test("a CNI file that changes while it is read", changing),
            test("a folder with more names than anybody has", crowded),
            test("a command line that stands for more than a machine has", command_line),
        ];
        let has = |recipe: &Recipe, path: &str| recipe.files(0).iter().any(|file| file.path.starts_with(path));
        for (recipe, other) in [(REFERENCE, None), (BRIDGED, Some(REFERENCE))] {
            // What neither has is tried on the first.
            let here = |path: &str| match other {
                None => has(&recipe, path) || !has(&BRIDGED, path),
                Some(other) => has(&recipe, path) && !has(&other, path),
            };
            tests.extend(read_on(&recipe).into_iter().filter(|(path, _)| here(path)).map(|(path, how)| {
                test(format!("{path} of {} is anything", recipe.name), move || anything(recipe, &path, how))
            }));
        }
        tests
    })
}

/// What stands in files outside of `host_root`.
const SECRET: &str = "c0ffee-not-the-machines";

/// Where CNI files are.
const CNI: &str = "/etc/cni/net.d";

/// Parts of paths on which nothing hangs that an agent could fail to conclude: what is asked of the kubelet's files alone, for
/// a report ([`told`]); a runtime that makes no pods here; and who manages the network, which words a remedy.
const NOT_NEEDED: [&str; 3] = ["kubelet", "/etc/crio", "/etc/network"];

/// How much more memory the agent may have had at once, in KiB, than before: what it reads is a MiB at most.
const MORE_MEMORY: u64 = 48 << 10;

/// How long something has to be wrong between rounds to be raised, and a little.
const SETTLED: SignedDuration = SignedDuration::from_millis(300);

/// How a path is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// As a file of that name.
    File,
    /// As one of the files in a folder.
    Member,
    /// As a folder.
    Folder,
}

/// Files and folders of a recipe that the agent reads, by what it asks for. Of folders, those that the recipe has.
fn read_on(recipe: &Recipe) -> BTreeMap<String, How> {
    let (all, mut read, mut how) = (recipe.files(0), RawHost::new(), BTreeMap::new());
    for _ in 0..LIMITS.rounds {
        for Ask { path, want } in asks(&read) {
            let found = match want {
                Want::Text => {
                    how.insert(path.clone(), How::File);
                    all.iter().find(|file| file.path == path).map(|file| Found::Text(file.text.clone()))
                }
                Want::Folder { texts, .. } => {
                    let entries = entries(&all, &path, texts);
                    if !entries.is_empty() {
                        how.insert(path.clone(), How::Folder);
                    }
                    for entry in
                        entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File { text: Some(_), .. }))
                    {
                        how.entry(format!("{path}/{}", entry.name)).or_insert(How::Member);
                    }
                    (!entries.is_empty()).then_some(Found::Folder(entries))
                }
            };
            read.take(path, Ok(found));
        }
    }
    // The tops of the tree are there on every machine.
    how.retain(|path, _| path.rfind('/') != Some(0));
    how
}

fn entries(all: &[HostFile], folder: &str, texts: &[&str]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for file in all {
        let Some(rest) = file.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let (name, is_folder) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
        if entries.iter().any(|entry| entry.name == name) {
            continue;
        }
        let text = texts.iter().any(|ending| name.ends_with(ending)).then(|| Ok(file.text.clone()));
        let executable = file.mode & 0o111 != 0;
        let kind = if is_folder { EntryKind::Folder(None) } else { EntryKind::File { executable, text } };
        entries.push(Entry { name: name.to_owned(), kind });
    }
    entries
}

/// What is put in the place of something.
struct Odd {
    name: &'static str,
    make: fn(&Path, &Place<'_>) -> io::Result<()>,
    /// Whether it cannot be read at all.
    blind: bool,
    /// Whether that holds in a folder too, where a link to nothing is none of the files.
    anywhere: bool,
}

impl Odd {
    const fn new(name: &'static str, make: fn(&Path, &Place<'_>) -> io::Result<()>) -> Self {
        Self { name, make, blind: false, anywhere: false }
    }

    const fn blind(name: &'static str, make: fn(&Path, &Place<'_>) -> io::Result<()>) -> Self {
        Self { blind: true, anywhere: true, ..Self::new(name, make) }
    }

    const fn blind_alone(name: &'static str, make: fn(&Path, &Place<'_>) -> io::Result<()>) -> Self {
        Self { blind: true, ..Self::new(name, make) }
    }
}

/// Where something odd comes to be.
struct Place<'p> {
    /// The path on the host.
    path: &'p str,
    /// What the file there said.
    said: &'p str,
    /// Where the files are that are not the machine's.
    outside: &'p Path,
}

/// The name of what may not be read.
const DENIED: &str = "without permission";

/// How many of [`FILES`] are tried where there is no file at first.
const OUT_OF_NOTHING: usize = 9;

/// In the place of a file.
const FILES: [Odd; 20] = [
    Odd::blind(DENIED, |new, place| closed(new, place.said)),
    Odd::blind("huge", |new, place| fs::write(new, place.said.to_owned() + &" ".repeat(8 << 20))),
    Odd::blind("a pipe", |new, _| Ok(mknodat(CWD, new, FileType::Fifo, 0o644.into(), 0)?)),
    Odd::blind_alone("a link out", |new, place| symlink(place.outside.join("file"), new)),
    Odd::new("no text", |new, _| fs::write(new, bytes())),
    Odd::new("deep JSON", |new, _| fs::write(new, r#"{"plugins":["#.repeat(5_000))),
    Odd::new("deep YAML", |new, _| fs::write(new, "- ".repeat(30_000))),
    Odd::new("deep TOML", |new, _| fs::write(new, format!("x = {}", "[".repeat(60_000)))),
    Odd::new("a deep key", |new, _| fs::write(new, format!("{}a = 1\n", "a.".repeat(30_000)))),
    Odd::blind("a hole of a GiB", |new, _| fs::File::create(new)?.set_len(1 << 30)),
    Odd::blind_alone("a folder", |new, _| fs::create_dir(new)),
    Odd::blind_alone("a link to itself", |new, place| symlink(place.path, new)),
    Odd::blind_alone("a link out and up", |new, place| symlink(up(&place.outside.join("file")), new)),
    Odd::new("zeros", |new, _| fs::write(new, [0; 4096])),
    Odd::new("UTF-16", |new, place| fs::write(new, utf16(place.said))),
    Odd::new("Latin-1", |new, place| fs::write(new, [b"# caf\xe9\n", place.said.as_bytes()].concat())),
    Odd::new("empty", |new, _| fs::write(new, "")),
    Odd::new("a long line", |new, _| fs::write(new, "x ".repeat(30_000))),
    Odd::new("aliases without end", |new, _| fs::write(new, aliases())),
    Odd::new("lines for DOS", |new, place| fs::write(new, place.said.replace('\n', "\r\n"))),
];

/// In the place of a folder.
const FOLDERS: [Odd; 5] = [
    Odd::blind(DENIED, closed_folder),
    Odd::blind("a file", |new, _| fs::write(new, SECRET)),
    Odd::blind("a link to itself", |new, place| symlink(place.path, new)),
    Odd::blind("a link out", |new, place| symlink(place.outside, new)),
    Odd::blind("a link out and up", |new, place| symlink(up(place.outside), new)),
];

fn closed(new: &Path, said: &str) -> io::Result<()> {
    fs::write(new, said)?;
    fs::set_permissions(new, fs::Permissions::from_mode(0o000))
}

fn closed_folder(new: &Path, _: &Place<'_>) -> io::Result<()> {
    fs::create_dir(new)?;
    fs::set_permissions(new, fs::Permissions::from_mode(0o000))
}

/// The same by enough steps up from wherever a link is.
fn up(path: &Path) -> String {
    format!("{}{}", "../".repeat(20), path.display().to_string().trim_start_matches('/'))
}

fn bytes() -> Vec<u8> {
    (0..=u8::MAX).rev().cycle().take(8192).collect()
}

fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Ten lines that stand for ten thousand million words.
fn aliases() -> String {
    let line = |level: usize| {
        let below = if level == 0 { "word".to_owned() } else { format!("*a{}", level - 1) };
        format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", "))
    };
    (0..10).map(line).collect()
}

/// A cluster with an agent, and files that are not its machine's.
struct Scene<'c> {
    cluster: &'c Cluster,
    service: Service<'c>,
    outside: TempDir,
    memory: u64,
    kicks: u32,
}

impl<'c> Scene<'c> {
    fn new(cluster: &'c Cluster) -> Result<Self> {
        let outside = outside().map_err(|error| Error::new("writing what is not the machine's", error))?;
        let mut service = Service::start(cluster, 0)?;
        service.until("a healthy node", |report| {
            let clear = !report.paths.is_empty() && report.paths.iter().all(|path| path.verdict == "clear");
            clear && findings(report, false).is_empty()
        })?;
        let memory = memory(&service)?;
        let scene = Self { cluster, service, outside, memory, kicks: 0 };
        assert!(scene.sees()?, "all can be read");
        Ok(scene)
    }

    /// Puts something in a path's place.
    fn put(&self, path: &str, odd: &Odd) -> Result<Swaps> {
        let said = fs::read_to_string(self.cluster.files(0).at(path)).unwrap_or_default();
        let place = Place { path, said: &said, outside: self.outside.path() };
        self.cluster.files(0).put(self.cluster.host(0), path, |new| (odd.make)(new, &place))
    }

    /// A report in which what is wrong with what is there now is raised: it was wrong in an earlier one, so long before.
    fn look(&mut self) -> Result<Report> {
        let first = self.glance()?;
        let mut last = self.glance()?;
        while last.generated_at.duration_since(first.generated_at) < SETTLED {
            last = self.glance()?;
        }
        self.check_bounds()?;
        Ok(last)
    }

    /// A report that was made of what is there now.
    fn glance(&mut self) -> Result<Report> {
        self.kicks += 1;
        let (mtu, spare) = (1600 + self.kicks % 1000, self.cluster.link(Role::Spare)?);
        self.cluster.host(0).sh(&format!("ip link set dev {spare} mtu {mtu}"))?;
        let seen = |report: &Report| report.links.iter().any(|link| link.name == spare && link.mtu == mtu);
        self.service.until("the change of a NIC that nobody uses", seen)
    }

    /// That nothing is shown that is not the machine's, and that it costs no more than it may.
    fn check_bounds(&self) -> Result<()> {
        for (path, accept) in
            [("/report", "application/json"), ("/report?format=text", "*/*"), ("/metrics", "text/plain")]
        {
            let body = self.service.get(path, accept)?.body;
            assert!(!body.contains(SECRET), "{path} shows what is outside: {body}");
        }
        assert!(!self.service.log()?.contains(SECRET), "the log shows what is outside");
        let more = memory(&self.service)?.saturating_sub(self.memory);
        assert!(more < MORE_MEMORY, "{more} KiB more");
        Ok(())
    }

    /// Waits until nothing is found any more, and everything read. What came back often takes several rounds to clear.
    fn recovers(&mut self) -> Result<()> {
        self.service.until("nothing to be found", |report| findings(report, false).is_empty())?;
        assert!(self.sees()?, "all can be read again");
        Ok(())
    }

    /// Whether all of the host's files could be read that may be.
    fn sees(&self) -> Result<bool> {
        let metrics = self.service.get("/metrics", "text/plain")?.body;
        let line = metrics.lines().find(|line| line.starts_with(r#"mtuscope_source_success{source="host_files"}"#));
        line.map(|line| line.ends_with(" 1")).ok_or_else(|| Error::new("looking for the source", metrics.clone()))
    }
}

/// What is found. Of a CNI file that is none, that much is found rightly; a table that this machine has once for all of its
/// labs counts for nothing.
fn findings(report: &Report, is_broken_cni: bool) -> Vec<String> {
    let rightly: &[&str] = if is_broken_cni { &["cni-config-invalid", "cni-not-configured"] } else { &[] };
    let counted = |code: &str| !rightly.contains(&code) && code != "neighbour-table-full";
    let wrong = report.findings.iter().filter(|finding| counted(&finding.code));
    wrong.map(|finding| format!("{} {}: {}", finding.code, finding.subject, finding.summary)).collect()
}

/// The most memory that the agent had at once, in KiB.
fn memory(service: &Service<'_>) -> Result<u64> {
    let path = format!("/proc/{}/status", service.id());
    let text = fs::read_to_string(&path).map_err(|error| Error::new(format!("reading {path}"), error))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| Error::new(format!("looking for VmHWM in {path}"), text))
}

/// Files that would be taken for the machine's if a link led there.
fn outside() -> io::Result<TempDir> {
    let outside = tempfile::tempdir_in("/run")?;
    let list = format!(r#"{{"name": "{SECRET}", "plugins": [{{"type": "{SECRET}", "mtu": 1234}}]}}"#);
    for name in ["file", "10-calico.conflist", "10-flannel.conflist", "mtu", "subnet.env", "kube-vip.yaml", SECRET] {
        fs::write(outside.path().join(name), &list)?;
    }
    Ok(outside)
}

fn anything(recipe: Recipe, path: &str, how: How) -> Result<()> {
    let odds = match how {
        How::Folder => &FOLDERS[..],
        _ if recipe.files(0).iter().any(|file| file.path == path) => &FILES[..],
        _ => &FILES[..OUT_OF_NOTHING],
    };
    let cluster = Cluster::build(recipe)?;
    let mut scene = Scene::new(&cluster)?;
    for odd in odds {
        let doing = || format!("{path} is {}", odd.name);
        let swaps = scene.put(path, odd)?;
        let report = scene.look().map_err(|error| error.while_doing(doing()))?;
        let blind = odd.blind && (odd.anywhere || how != How::Member);
        let found = findings(&report, how == How::Member && !blind && path.starts_with(CNI));
        assert!(found.is_empty(), "{}, and it finds {found:?}\n{report}", doing());
        // What it may not read is no failure of reading, and told by the codes that it is needed for.
        let may = odd.name != DENIED;
        assert!(
            !blind || scene.sees()? != may,
            "{}, and its reading is said to go as if it were not: {report}",
            doing()
        );
        let named = report.not_concluded.iter().any(|row| row.reason.contains(path));
        let needed = !NOT_NEEDED.iter().any(|part| path.contains(part));
        assert!(!blind || !needed || named, "{}, and no check names it: {report}", doing());
        swaps.undo()?;
        scene.glance()?;
        scene.recovers().map_err(|error| error.while_doing(format!("after {}", doing())))?;
    }
    scene.service.check_alive()
}

/// Somebody who writes a file in place shows half of it now and then; one who moves it there never does.
fn changing() -> Result<()> {
    let cluster = Cluster::build(BRIDGED)?;
    let mut scene = Scene::new(&cluster)?;
    let path = BRIDGED.cni_file().expect("it has pods");
    let at = cluster.files(0).at(path);
    let failed = |error: io::Error| Error::new(format!("writing {}", at.display()), error);
    let whole = fs::read(&at).map_err(failed)?;
    let ended = AtomicBool::new(false);
    let moved = |turn: usize| {
        let beside = at.with_extension("new");
        fs::write(&beside, [&whole[..], &b" ".repeat(turn % 7)].concat())?;
        fs::rename(&beside, &at)
    };
    let in_place = |turn: usize| fs::write(&at, &whole[..whole.len() * (turn % 3) / 2]);
    let write = |change: &(dyn Fn(usize) -> io::Result<()> + Sync)| {
        let mut turn = 0;
        while !ended.load(Ordering::Relaxed) {
            change(turn)?;
            turn += 1;
        }
        Ok(())
    };
    for (change, quiet) in [(&moved as &(dyn Fn(usize) -> io::Result<()> + Sync), true), (&in_place, false)] {
        ended.store(false, Ordering::Relaxed);
        thread::scope(|scope| {
            let writer = scope.spawn(|| write(change));
            let looked = (0..20).try_for_each(|_| {
                let report = scene.look()?;
                let found = findings(&report, true);
                assert!(found.is_empty(), "{found:?}");
                assert!(!quiet || findings(&report, false).is_empty(), "no reader meets half of it: {report}");
                Ok(())
            });
            ended.store(true, Ordering::Relaxed);
            let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
            looked.and(written.map_err(failed))
        })?;
        moved(0).map_err(failed)?;
        scene.glance()?;
        scene.recovers()?;
    }
    Ok(())
}

fn crowded() -> Result<()> {
    let cluster = Cluster::build(BRIDGED)?;
    let mut scene = Scene::new(&cluster)?;
    let root = cluster.files(0);
    for (folder, names, whole) in [
        ("/opt/cni/bin", 5_000, true),
        ("/opt/cni/bin", LIMITS.names + 1, false),
        ("/var/lib/cni/networks/cbr0", LIMITS.names + 1, false),
        (CNI, LIMITS.names + 1, false),
    ] {
        let at = root.at(folder);
        let path = |number: usize| at.join(format!("zz{number}.conf"));
        let failed = |error: io::Error| Error::new(format!("filling {}", at.display()), error);
        let text = fs::read(root.at(BRIDGED.cni_file().expect("it has pods"))).map_err(failed)?;
        (0..names).try_for_each(|number| fs::write(path(number), &text[..number % 2])).map_err(failed)?;
        let report = scene.look()?;
        assert!(findings(&report, false).is_empty(), "{names} in {folder}: {report}");
        assert!(!whole || scene.sees()?, "{names} in {folder}: {report}");
        (0..names).try_for_each(|number| fs::remove_file(path(number))).map_err(failed)?;
        scene.glance()?;
        scene.recovers()?;
    }
    Ok(())
}

/// Each word of a line that systemd starts may be a variable, and each variable a file full of words.
fn command_line() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut scene = Scene::new(&cluster)?;
    let host = cluster.host(0);
    let put = |path: &str, text: String| cluster.files(0).put(host, path, |new| fs::write(new, text));
    let line = "[Service]\nEnvironmentFile=/var/lib/kubelet/kubeadm-flags.env\nExecStart=/usr/bin/kubelet";
    let unit = put(
        "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
        line.to_owned() + &" $A".repeat(20_000) + "\n",
    )?;
    let flags = put("/var/lib/kubelet/kubeadm-flags.env", format!("A=\"{}\"\n", "--x ".repeat(15_000)))?;
    let report = scene.look()?;
    assert!(findings(&report, false).is_empty(), "{report}");
    flags.undo()?;
    unit.undo()?;
    scene.glance()?;
    scene.recovers()?;
    told(&cluster)
}

/// What a report says that is asked for while nothing of the kubelet's may be read.
fn told(cluster: &Cluster) -> Result<()> {
    let closed = |path: &str| cluster.files(0).put(cluster.host(0), path, |new| closed(new, ""));
    let flags = closed("/var/lib/kubelet/kubeadm-flags.env")?;
    let directory = tempfile::tempdir_in("/run").map_err(|error| Error::new("making a folder", error))?;
    let config = directory.path().join("mtuscope.yaml").display().to_string();
    fs::write(&config, service::configuration(cluster, 0))
        .map_err(|error| Error::new("writing a configuration", error))?;
    let output = service::run(cluster.host(0), &["report", "--output", "json", "--config", &config])?;
    let report = Report::parse(&String::from_utf8_lossy(&output.stdout))?;
    let said = report.not_concluded.iter().any(|row| row.reason.contains("/var/lib/kubelet/kubeadm-flags.env"));
    assert!(said && findings(&report, false).is_empty(), "{report}");
    flags.undo()
}
