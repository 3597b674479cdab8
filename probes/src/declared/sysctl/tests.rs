//! Cases that an operator can read: files, and what they come to. `golden/*.case`.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::fact::Fact;

const CASES: [(&str, &str); 6] = [
    ("both-readers", include_str!("golden/both-readers.case")),
    ("readers-part", include_str!("golden/readers-part.case")),
    ("debian-12", include_str!("golden/debian-12.case")),
    ("ubuntu-24.04", include_str!("golden/ubuntu-24.04.case")),
    ("systemd-default-and-cilium", include_str!("golden/systemd-default-and-cilium.case")),
    ("proxmox", include_str!("golden/proxmox.case")),
];

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn file(path: &str, text: &str) -> RawFile {
    RawFile { path: path.into(), text: Ok(text.into()) }
}

/// Files as a host has them, of which the readers take those that count.
fn files(all: Vec<RawFile>) -> RawFiles {
    let names = DIRECTORIES.map(|directory| {
        let own = all.iter().filter_map(|file| file.path.strip_prefix(directory)?.strip_prefix('/'));
        own.map(str::to_owned).collect()
    });
    let find = |path: &str| all.iter().find(|file| file.path == path).cloned();
    RawFiles { directories: chosen(&names).iter().filter_map(|path| find(path)).collect(), main: find(MAIN) }
}

/// `/dev/null` says nothing.
fn read(case: &str) -> (RawFiles, &str) {
    let (given, means) = case.split_once("=== means\n").unwrap();
    let file = |block: &str| {
        let (head, text) = block.split_once('\n').unwrap();
        file(head.split(" -> ").next().unwrap(), text)
    };
    (files(given.split("--- ").skip(1).map(file).collect()), means)
}

fn told(lines: &[Line]) -> String {
    let who = |line: &Line| if line.read_by.len() == 2 { "both".to_owned() } else { line.read_by.join(" ") };
    let one = |line: &Line| format!("{} by {} for {}", line.value, line.at, who(line));
    if lines.is_empty() { "nothing".into() } else { lines.iter().map(one).collect::<Vec<_>>().join("; ") }
}

fn names(text: &str) -> Vec<Key> {
    text.split(", ").map(key).collect()
}

#[test]
fn files_mean_what_their_readers_make_of_them() {
    for (name, case) in CASES {
        let (files, means) = read(case);
        let written = Written::new(&files);
        for line in means.lines() {
            let (keys, wanted) = line.split_once(": ").unwrap();
            assert_eq!(told(&written.lines(&names(keys)).unwrap()), wanted, "{name}: {keys}");
        }
    }
}

#[test]
fn of_one_name_the_first_directory_counts_and_names_go_before_directories() {
    let names = |names: [&[&str]; 5]| names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
    let of =
        chosen(&names([&["90-b.conf", "README"], &["10-a.conf"], &[], &["90-b.conf", "50-c.conf"], &["50-c.conf"]]));
    assert_eq!(of, ["/run/sysctl.d/10-a.conf", "/usr/lib/sysctl.d/50-c.conf", "/etc/sysctl.d/90-b.conf"]);
    assert_eq!(chosen(&names([&[".hidden.conf", "x.conf~", "x.bak"], &[], &[], &[], &[]])), [""; 0]);
}

#[test]
fn a_file_that_could_not_be_read_may_say_anything_that_is_not_said_after_it() {
    let unread = Unread::new(Source::SysctlFiles, Reason::Denied { needs: "permission".into() });
    let hole = RawFile { path: "/etc/sysctl.d/50-secret.conf".into(), text: Err(unread.clone()) };
    let before = file("/etc/sysctl.d/10-a.conf", "net.ipv4.ip_forward = 1\nnet.ipv4.tcp_mtu_probing = 1\n");
    let again = "net.ipv4.ip_forward = 1\nnet.ipv4.conf.*.rp_filter = 2\n";
    let after = file("/etc/sysctl.d/99-k8s.conf", again);
    let written = Written::new(&files(vec![before, hole, after]));
    let lines = |text| written.lines(&names(text));
    assert_eq!(told(&lines("net.ipv4.ip_forward").unwrap()), "1 by /etc/sysctl.d/99-k8s.conf:1 for both");
    for unknown in ["net.ipv4.tcp_mtu_probing", "net.ipv4.conf.eth0.rp_filter", "net.ipv4.ip_no_pmtu_disc"] {
        assert_eq!(lines(unknown), Err(unread.clone()), "{unknown}");
    }
}

#[test]
fn an_exclusion_of_systemds_is_taken_back_by_an_assignment() {
    let text = "-net.ipv4.conf.all.rp_filter\nnet.ipv4.conf.*.rp_filter = 2\nnet.ipv4.conf.all.rp_filter = 1\n";
    let written = Written::new(&files(vec![file("/etc/sysctl.d/a.conf", text)]));
    assert_eq!(
        told(&written.lines(&names("net.ipv4.conf.all.rp_filter")).unwrap()),
        "1 by /etc/sysctl.d/a.conf:3 for both"
    );
}

#[test]
fn nothing_is_read_yet_at_first() {
    assert!(matches!(Fact::from(RawSysctls::default().files), Fact::Unread(why) if why.reason == Reason::NotYet));
}

/// Lines that are nearly right, so that what is odd about them is reached.
fn line() -> impl Strategy<Value = String> {
    let name = "-{0,2}[ ]?net[./](ipv4|ipv6|\\*)[./](conf[./](all|eth0|\\*|e\\[a-z\\]h0|eth0/1)[./])?(rp_filter|ip_forward|\\*)";
    let value = "( ?=? ?[0-9]{0,2}\\PC{0,3})?";
    prop_oneof![4 => (name, value).prop_map(|(name, value)| name + &value), 1 => "\\PC{0,20}"]
}

proptest! {
    #[test]
    fn no_text_is_too_odd(texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4)) {
        let file = |(index, bytes): (usize, &Vec<u8>)| file(&format!("/etc/sysctl.d/{index}.conf"), &String::from_utf8_lossy(bytes));
        let written = Written::new(&files(texts.iter().enumerate().map(file).collect()));
        let _ = written.lines(&names("net.ipv4.ip_forward"));
    }

    /// What wins is a line that is there, and gives what it says that it gives.
    #[test]
    fn a_winner_can_be_pointed_at(texts in prop::collection::vec(prop::collection::vec(line(), 0..6), 1..4)) {
        let texts: Vec<String> = texts.into_iter().map(|lines| lines.join("\n")).collect();
        let named = |(index, text): (usize, &String)| file(&format!("/etc/sysctl.d/{index}.conf"), text);
        let all = files(texts.iter().enumerate().map(named).collect());
        let written = Written::new(&all);
        for setting in ["net.ipv4.conf.eth0.rp_filter", "net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter"] {
            for won in written.lines(&names(setting)).unwrap() {
                let (path, number) = won.at.rsplit_once(':').unwrap();
                let text = all.directories.iter().find(|file| file.path == path).unwrap().text.as_ref().unwrap();
                let line = text.lines().nth(number.parse::<usize>().unwrap() - 1).unwrap();
                prop_assert_eq!(line.split_once('=').map(|(_, value)| value.trim()), Some(won.value.as_str()));
            }
        }
    }

    /// Without two names of one setting, repeated assignments or exclusions the readers do not part.
    #[test]
    fn readers_agree_on_plain_files(values in prop::collection::vec((0..4_u8, 0..3_u8), 0..12)) {
        let settings = ["ip_forward", "tcp_mtu_probing", "ip_no_pmtu_disc", "ip_default_ttl"];
        let text: String =
            values.iter().map(|(key, value)| format!("net.ipv4.{} = {value}\n", settings[usize::from(*key)])).collect();
        let written = Written::new(&files(vec![file("/etc/sysctl.d/a.conf", &text)]));
        for setting in settings {
            let lines = written.lines(&names(&format!("net.ipv4.{setting}"))).unwrap();
            let last = values.iter().rev().find(|(key, _)| settings[usize::from(*key)] == setting);
            let agreed = lines.iter().map(|line| line.value.clone()).collect::<BTreeSet<_>>();
            prop_assert_eq!(agreed, last.map(|(_, value)| value.to_string()).into_iter().collect::<BTreeSet<_>>());
        }
    }
}
