//! Text of any bytes in place of what stands below `/proc` and in sysctl files. A zero byte parts one file from the next.
//!
//! - What is read stands in the text, and is the same each time.
//! - The order of columns, or of lines that name what they say, means nothing: a value belongs to its name.
//! - What cannot be read is told in a few words, whatever the text's length, and never read as zero.
//! - What sysctl files say of a setting stands where it is said to stand, and nothing is said of it behind a file that
//!   could not be read.
//! - YAML of any bytes is read in bounded memory, or refused by a line that is there. What is read and written as JSON
//!   reads as the same.
//! - A flag of the kubelet stands in a file and line that there is.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use harness::bounded;
use libfuzzer_sys::fuzz_target;
use probes::declared::host::{Entry, EntryKind, Found, RawHost};
use probes::declared::sysctl::{self, KNOWN, Key, RawFile, RawFiles, Written, alike};
use probes::declared::{host, kubelet, kubevip, yaml};
use probes::fact::{Fact, Reason, Source, Unread};
use probes::kernel::{Counters, conntrack, proc, socket};
use probes::units::Family;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let parts: Vec<&str> = text.split('\0').collect();
    let (first, second) = (parts[0], parts.get(1).copied().unwrap_or_default());
    bounded(bytes.len(), 512, || {
        counters(first, &PAIRS);
        counters(first, &LIST);
        number(first);
        modules(first, second);
        connections(first, second);
    });
    sockets(first);
    per_processor(first);
    files(&parts);
    // Aliases may stand for a mebibyte, whatever the input's length, and be built more than once on the way.
    bounded(bytes.len() + 32_768, 512, || document(first));
    manifests(&parts);
    flags(first, second);
});

/// How a file that counts is read, what it names, and the same file the other way round.
struct Counting {
    read: fn(&str, &mut Counters) -> Result<(), Unread>,
    names: fn(&str) -> Vec<(&str, &str)>,
    turned: fn(&str) -> String,
}

const PAIRS: Counting = Counting {
    read: |text, counters| proc::pairs("/proc/net/snmp", text, counters),
    names: |text| {
        let lines = text.lines().filter(|line| !line.trim().is_empty()).step_by(2);
        let named = lines.filter_map(|line| line.split_once(':'));
        named.flat_map(|(section, names)| names.split_whitespace().map(move |name| (section, name))).collect()
    },
    turned: reversed_pairs,
};

const LIST: Counting = Counting {
    read: proc::list,
    names: |text| text.lines().filter_map(|line| Some(("", line.split_whitespace().next()?))).collect(),
    turned: |text| text.lines().rev().collect::<Vec<_>>().join("\n"),
};

fn counters(text: &str, how: &Counting) {
    let of = |text: &str| {
        let mut counters = Counters::new();
        (how.read)(text, &mut counters).map(|()| counters)
    };
    match of(text) {
        Ok(counters) => {
            assert_eq!(of(text).as_ref(), Ok(&counters));
            for (name, value) in &counters {
                assert!(text.contains(&value.to_string()), "{name} is {value}, which stands nowhere");
            }
            let names = (how.names)(text);
            // Of what is named twice the last word counts, and turned that is another one.
            if names.iter().collect::<BTreeSet<_>>().len() == names.len() {
                assert_eq!(of(&(how.turned)(text)), Ok(counters), "turned, it says something else");
            }
        }
        Err(unread) => short(&unread.to_string()),
    }
}

/// Each line's columns from the last to the first, its section before them.
fn reversed_pairs(text: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some((section, rest)) => {
            let columns: Vec<_> = rest.split_whitespace().rev().collect();
            format!("{section}: {}\n", columns.join(" "))
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn number(text: &str) {
    match (proc::number(text), proc::flag(text)) {
        (Ok(number), Ok(flag)) => {
            assert!(text.contains(&number.unsigned_abs().to_string()), "{number}");
            assert_eq!(flag, i64::from(number != 0));
        }
        (Err(unread), Err(_)) => short(&unread.to_string()),
        (number, flag) => panic!("{number:?} and yet {flag:?}"),
    }
}

fn modules(text: &str, name: &str) {
    assert!(!proc::has_module(text, name) || (text.contains(name) && !name.is_empty()));
}

fn connections(count: &str, max: &str) {
    match conntrack::table(count, max) {
        Ok(table) => {
            assert!(count.contains(&table.entries.to_string()) && max.contains(&table.limit.to_string()), "{table:?}");
        }
        Err(unread) => short(&unread.to_string()),
    }
}

/// A line of names and one of numbers for each processor: two more of the same kind count twice as much more.
fn per_processor(text: &str) {
    let of = |text: &str| {
        let mut counters = Counters::new();
        conntrack::counters(text, &mut counters).map(|()| counters)
    };
    let counters = match of(text) {
        Ok(counters) => counters,
        Err(unread) => return short(&unread.to_string()),
    };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let names: Vec<_> = lines.next().into_iter().flat_map(str::split_whitespace).collect();
    let count = names.len();
    if names.iter().collect::<BTreeSet<_>>().len() < count {
        return;
    }
    let another: Vec<_> = (1..=count).map(|place| format!("{place:x}0")).collect();
    let more = of(&format!("{text}\n{}\n", another.join(" "))).expect("one more line of as many numbers");
    let ours = [
        ("drop", "conntrack_drops"),
        ("early_drop", "conntrack_early_drops"),
        ("insert_failed", "conntrack_insertions_failed"),
    ];
    for (theirs, ours) in ours {
        let place = names.iter().position(|name| *name == theirs).map(|place| (place as u64 + 1) * 16);
        let before = counters.get(ours).copied().unwrap_or_default();
        assert_eq!(more.get(ours).copied(), place.map(|more| before.saturating_add(more)), "{ours}");
    }
}

static EVERY: LazyLock<BTreeSet<u16>> = LazyLock::new(|| (0..=u16::MAX).collect());

fn sockets(text: &str) {
    let upper = text.to_uppercase();
    let used: BTreeSet<u16> = [4789, 8472, 6081, 0].into();
    for family in [Family::Ipv4, Family::Ipv6] {
        match (socket::bound(family, text, &used), socket::bound(family, text, &EVERY)) {
            (Ok(used_ones), Ok(every)) => {
                let ours: Vec<_> = every.iter().copied().filter(|one| used.contains(&one.port)).collect();
                assert_eq!(used_ones, ours);
                assert!(every.len() < text.lines().count().max(1), "the first line names the columns");
                for one in every {
                    assert_eq!(one.family, family);
                    assert!(
                        upper.contains(&format!("{:X}", one.port)) && text.contains(&one.uid.to_string()),
                        "{one:?}"
                    );
                }
            }
            (Err(unread), Err(_)) => short(&unread.to_string()),
            (one, other) => panic!("{one:?} and yet {other:?}"),
        }
    }
}

/// The last part is `/etc/sysctl.conf`, one that begins with `!` could not be read, and a key is asked for by name.
fn files(parts: &[&str]) {
    let denied = || Unread::new(Source::SysctlFiles, Reason::Denied { needs: "permission".into() });
    let file = |(number, text): (usize, &&str)| RawFile {
        path: format!("/etc/sysctl.d/{number:02}.conf"),
        text: if text.starts_with('!') { Err(denied()) } else { Ok((*text).to_owned()) },
    };
    let mut raw = RawFiles { directories: parts.iter().take(8).enumerate().map(file).collect(), main: None };
    if raw.directories.len() > 1 {
        raw.main = raw.directories.pop().map(|last| RawFile { path: sysctl::MAIN.into(), ..last });
    }
    let texts: BTreeMap<_, _> = raw
        .directories
        .iter()
        .chain(&raw.main)
        .filter_map(|file| Some((&file.path, file.text.as_ref().ok()?)))
        .collect();
    let written = Written::new(&raw);
    let blind = {
        let mut raw = raw.clone();
        raw.directories.push(RawFile { path: "/etc/sysctl.d/99.conf".into(), text: Err(denied()) });
        raw.main = None;
        Written::new(&raw)
    };
    let asked = parts.iter().filter_map(|part| Key::parse(part.trim()));
    let names = KNOWN.iter().map(sysctl::Setting::keys).chain(asked.map(|key| vec![key]));
    for names in names {
        for key in &names {
            assert_eq!(Key::parse(&key.to_string()).as_ref(), Some(key), "shown, it is another");
            assert!(
                key.path().starts_with("net/") && key.path().split('/').all(|part| !matches!(part, "" | "." | ".."))
            );
        }
        assert!(blind.lines(&names).is_err(), "behind a file that could not be read");
        let Ok(lines) = written.lines(&names) else { continue };
        assert!(lines.len() <= 2 && lines.iter().map(|line| line.read_by.len()).sum::<usize>() <= 2, "{lines:?}");
        for line in &lines {
            let (path, number) = line.at.rsplit_once(':').expect("a file and a line");
            let number: usize = number.parse().expect("a line's number");
            let text = texts
                .get(&path.to_owned())
                .and_then(|text| text.lines().nth(number - 1))
                .expect("a line that is there");
            let value = text.split_once('=').expect("an assignment").1.trim();
            assert!(value == line.value && !value.is_empty(), "{line:?} is {text:?}");
            assert!(!line.pattern || text.contains(['*', '?', '[']), "{line:?}");
            assert!(alike(value, value));
        }
        let agreed = written.agreed(&names);
        assert!(agreed.is_none_or(|agreed| lines.len() == 1 && lines[0].value == agreed));
    }
    for key in sysctl::to_read(Ok(&raw), []) {
        assert!(KNOWN.iter().any(|setting| setting.keys().contains(&key)), "{key}");
    }
}

fn document(text: &str) {
    match yaml::first(text) {
        Ok(value) => {
            let json = value.to_string();
            assert!(json.len() < 16 << 20, "{} bytes", json.len());
            // JSON's own escapes of characters that YAML has no place for are left aside.
            if json.len() < 4096 && json.bytes().all(|byte| byte.is_ascii() && byte != b'\\') {
                assert_eq!(yaml::first(&json).as_ref(), Ok(&value), "{json}");
            }
        }
        Err(broken) => {
            assert!(broken.why.len() < 400 && broken.line <= text.split(['\n', '\r']).count() + 1, "{broken:?}");
        }
    }
}

/// A machine on which every ask is answered by `found`.
fn machine(found: impl Fn(&str) -> Option<Found>) -> RawHost {
    let mut read = RawHost::new();
    for round in 0.. {
        let asks = host::asks(&read);
        if asks.is_empty() {
            break;
        }
        assert!(round < 4 && asks.len() < 256, "{} asks in round {round}", asks.len());
        for ask in asks {
            assert!(ask.path.starts_with('/'), "{}", ask.path);
            let found = found(&ask.path);
            read.take(ask.path, Ok(found));
        }
    }
    read
}

/// Each part is a file among the static pods, the first one the kubelet's configuration too.
fn manifests(parts: &[&str]) {
    let entry = |(number, text): (usize, &&str)| {
        let kind = EntryKind::File { executable: false, text: Some(Ok((*text).to_owned())) };
        Entry { name: format!("{number}"), kind }
    };
    let read = machine(|path| match path {
        "/etc/kubernetes/manifests" => Some(Found::Folder(parts.iter().take(8).enumerate().map(entry).collect())),
        "/var/lib/kubelet/config.yaml" => Some(Found::Text(parts[0].to_owned())),
        _ => None,
    });
    let Fact::Known(pods) = kubevip::static_pods(&read) else { return };
    for pod in &pods.kube_vip {
        assert!(pod.links().count() <= 2 && pod.addresses().len() <= parts.concat().len());
    }
    for unread in pods.unread {
        short(&unread.to_string());
    }
}

/// The first text is a drop-in, the second the file of variables that kubeadm writes.
fn flags(unit: &str, variables: &str) {
    const FILE: &str = "/var/lib/kubelet/kubeadm-flags.env";
    const PART: &str = "/etc/systemd/system/kubelet.service.d";
    let read = machine(|path| match path {
        FILE => Some(Found::Text(variables.to_owned())),
        PART => {
            let kind = EntryKind::File { executable: false, text: Some(Ok(unit.to_owned())) };
            Some(Found::Folder(vec![Entry { name: "1.conf".into(), kind }]))
        }
        _ => None,
    });
    let Fact::Known(flags) = kubelet::flags(&read) else { return };
    for flag in flags.flags {
        let text = if flag.file == FILE { variables } else { unit };
        assert!(flag.line >= 1 && flag.line <= text.lines().count().max(1), "{flag:?}");
        assert!(!flag.name.contains('_') && !flag.name.contains('='), "{flag:?}");
    }
}

/// Forty characters of a line and of a section's name are quoted, each of which may be shown as an escape.
fn short(message: &str) {
    assert!(message.len() < 1000, "{} bytes", message.len());
}
