//! Host files that nobody wrote to be read: without permission, huge, binary, in odd encodings, made to grow without end,
//! changing while they are read, and links to what is not the machine's. Each is put in the place of every file that the
//! agent reads.
//!
//! It goes on with the memory that it had, says of what it could not read that it could not, raises nothing that is not so,
//! and never shows what is outside of `host_root`. Whether it has read a file anew is known from what it reads before:
//! the MTU of a NIC that nobody uses is changed, and the report that shows it was made after.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

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
        for recipe in [REFERENCE, BRIDGED] {
            let (files, folders) = read_on(&recipe);
            tests.extend(files.into_iter().map(|path| {
                test(format!("{path} of {} is anything", recipe.name), move || anything(recipe, &path, &FILES))
            }));
            tests.extend(folders.into_iter().map(|path| {
                test(format!("{path} of {} is anything", recipe.name), move || anything(recipe, &path, &FOLDERS))
            }));
        }
        tests
    })
}

/// What stands in files outside of `host_root`.
const SECRET: &str = "c0ffee-not-the-machines";

/// How much more memory the agent may have had at once, in KiB, than before: what it reads is a MiB at most.
const MORE_MEMORY: u64 = 48 << 10;

/// Files and folders of a recipe that the agent reads, by what it asks for.
fn read_on(recipe: &Recipe) -> (BTreeSet<String>, BTreeSet<String>) {
    let (all, mut read) = (recipe.files(0), RawHost::new());
    let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..LIMITS.rounds {
        for Ask { path, want } in asks(&read) {
            let found = match want {
                Want::Text => {
                    files.insert(path.clone());
                    all.iter().find(|file| file.path == path).map(|file| Found::Text(file.text.clone()))
                }
                Want::Folder { texts, .. } => {
                    let entries = entries(&all, &path, texts);
                    let with_text =
                        entries.iter().filter(|entry| matches!(entry.kind, EntryKind::File { text: Some(_), .. }));
                    files.extend(with_text.map(|entry| format!("{path}/{}", entry.name)));
                    let found = (!entries.is_empty()).then_some(Found::Folder(entries));
                    folders.extend(found.is_some().then(|| path.clone()));
                    found
                }
            };
            read.take(path, Ok(found));
        }
    }
    (files, folders)
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

/// In the place of a file.
const FILES: [Odd; 18] = [
    Odd { name: "without permission", make: |new, place| closed(new, place.said), blind: true },
    Odd { name: "huge", make: |new, place| fs::write(new, place.said.to_owned() + &" ".repeat(8 << 20)), blind: true },
    Odd { name: "a hole of a GiB", make: |new, _| fs::File::create(new)?.set_len(1 << 30), blind: true },
    Odd { name: "a folder", make: |new, _| fs::create_dir(new), blind: true },
    Odd { name: "a pipe", make: |new, _| Ok(mknodat(CWD, new, FileType::Fifo, 0o644.into(), 0)?), blind: true },
    Odd { name: "a link to itself", make: |new, place| symlink(place.path, new), blind: true },
    Odd { name: "a link out", make: |new, place| symlink(place.outside.join("file"), new), blind: true },
    Odd { name: "a link out and up", make: |new, place| symlink(up(&place.outside.join("file")), new), blind: true },
    Odd { name: "no text", make: |new, _| fs::write(new, bytes()), blind: false },
    Odd { name: "zeros", make: |new, _| fs::write(new, [0; 4096]), blind: false },
    Odd { name: "UTF-16", make: |new, place| fs::write(new, utf16(place.said)), blind: false },
    Odd {
        name: "Latin-1",
        make: |new, place| fs::write(new, [b"# caf\xe9\n", place.said.as_bytes()].concat()),
        blind: false,
    },
    Odd { name: "empty", make: |new, _| fs::write(new, ""), blind: false },
    Odd { name: "a long line", make: |new, _| fs::write(new, "x ".repeat(30_000)), blind: false },
    Odd { name: "deep JSON", make: |new, _| fs::write(new, r#"{"plugins":["#.repeat(5_000)), blind: false },
    Odd { name: "deep YAML", make: |new, _| fs::write(new, "- ".repeat(30_000)), blind: false },
    Odd { name: "aliases without end", make: |new, _| fs::write(new, aliases()), blind: false },
    Odd { name: "lines for DOS", make: |new, place| fs::write(new, place.said.replace('\n', "\r\n")), blind: false },
];

/// In the place of a folder.
const FOLDERS: [Odd; 5] = [
    Odd { name: "without permission", make: closed_folder, blind: true },
    Odd { name: "a file", make: |new, _| fs::write(new, SECRET), blind: true },
    Odd { name: "a link to itself", make: |new, place| symlink(place.path, new), blind: true },
    Odd { name: "a link out", make: |new, place| symlink(place.outside, new), blind: true },
    Odd { name: "a link out and up", make: |new, place| symlink(up(place.outside), new), blind: true },
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
        service.until("a healthy node", Report::is_well)?;
        let memory = memory(&service)?;
        let mut scene = Self { cluster, service, outside, memory, kicks: 0 };
        let report = scene.look()?;
        assert!(scene.sees()?, "all can be read: {report}");
        Ok(scene)
    }

    /// Puts something in a path's place.
    fn put(&self, path: &str, odd: &Odd) -> Result<Swaps> {
        let said = fs::read_to_string(self.cluster.files(0).at(path)).unwrap_or_default();
        let place = Place { path, said: &said, outside: self.outside.path() };
        self.cluster.files(0).put(self.cluster.host(0), path, |new| (odd.make)(new, &place))
    }

    /// A report that was made of what is there now.
    fn look(&mut self) -> Result<Report> {
        self.kicks += 1;
        let (mtu, spare) = (1600 + self.kicks % 1000, self.cluster.link(Role::Spare)?);
        self.cluster.host(0).sh(&format!("ip link set dev {spare} mtu {mtu}"))?;
        let seen = |report: &Report| report.links.iter().any(|link| link.name == spare && link.mtu == mtu);
        let report = self.service.until("the change of a NIC that nobody uses", seen)?;
        for (path, accept) in
            [("/report", "application/json"), ("/report?format=text", "*/*"), ("/metrics", "text/plain")]
        {
            let body = self.service.get(path, accept)?.body;
            assert!(!body.contains(SECRET), "{path} shows what is outside: {body}");
        }
        assert!(!self.service.log()?.contains(SECRET), "the log shows what is outside");
        let more = memory(&self.service)?.saturating_sub(self.memory);
        assert!(more < MORE_MEMORY, "{more} KiB more");
        Ok(report)
    }

    /// Whether all of the host's files could be read.
    fn sees(&self) -> Result<bool> {
        let metrics = self.service.get("/metrics", "text/plain")?.body;
        let line = metrics.lines().find(|line| line.starts_with(r#"mtuscope_source_success{source="host_files"}"#));
        line.map(|line| line.ends_with(" 1")).ok_or_else(|| Error::new("looking for the source", metrics.clone()))
    }

    /// The findings, without those that say of a CNI file just what is the matter with it.
    fn findings(&self, report: &Report, path: &str) -> Vec<String> {
        let told = |code: &str| path.starts_with("/etc/cni") && code.starts_with("cni-config-invalid");
        let wrong = report.findings.iter().filter(|finding| !told(&finding.code));
        wrong.map(|finding| format!("{} {}: {}", finding.code, finding.subject, finding.summary)).collect()
    }
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

fn anything(recipe: Recipe, path: &str, odds: &[Odd]) -> Result<()> {
    let cluster = Cluster::build(recipe)?;
    let mut scene = Scene::new(&cluster)?;
    for odd in odds {
        let doing = || format!("{path} is {}", odd.name);
        let swaps = scene.put(path, odd)?;
        let report = scene.look().map_err(|error| error.while_doing(doing()))?;
        let found = scene.findings(&report, path);
        assert!(found.is_empty(), "{}, and it finds {found:?}\n{report}", doing());
        assert!(!odd.blind || !scene.sees()?, "{}, and it says that it could read it: {report}", doing());
        swaps.undo()?;
        let report = scene.look()?;
        assert!(report.findings.is_empty() && scene.sees()?, "after {}: {report}", doing());
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
                let found = scene.findings(&report, path);
                assert!(found.is_empty(), "{found:?}");
                assert!(!quiet || report.findings.is_empty(), "no reader meets half of it: {report}");
                Ok(())
            });
            ended.store(true, Ordering::Relaxed);
            let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer panicked")));
            looked.and(written.map_err(failed))
        })?;
        moved(0).map_err(failed)?;
        let report = scene.look()?;
        assert!(report.findings.is_empty() && scene.sees()?, "after all: {report}");
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
        ("/etc/cni/net.d", LIMITS.names + 1, false),
    ] {
        let at = root.at(folder);
        let path = |number: usize| at.join(format!("zz{number}.conf"));
        let failed = |error: io::Error| Error::new(format!("filling {}", at.display()), error);
        let text = fs::read(root.at(BRIDGED.cni_file().expect("it has pods"))).map_err(failed)?;
        (0..names).try_for_each(|number| fs::write(path(number), &text[..number % 2])).map_err(failed)?;
        let report = scene.look()?;
        assert!(report.findings.is_empty(), "{names} in {folder}: {report}");
        assert!(!whole || scene.sees()?, "{names} in {folder}: {report}");
        (0..names).try_for_each(|number| fs::remove_file(path(number))).map_err(failed)?;
        let report = scene.look()?;
        assert!(report.findings.is_empty() && scene.sees()?, "{report}");
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
    assert!(report.findings.is_empty(), "{report}");
    flags.undo()?;
    unit.undo()?;
    let report = scene.look()?;
    assert!(report.findings.is_empty() && scene.sees()?, "{report}");
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
    assert!(said && report.findings.is_empty(), "{report}");
    flags.undo()
}
