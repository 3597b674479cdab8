//! The shipped binary, started as an operator does: statuses and what is said. Its flags are in `usage.rs`, its streams in
//! `streams.rs`, its life as a daemon in `daemon.rs`.
#![allow(clippy::unwrap_used, reason = "what fails in a helper here fails its test")]

mod shipped;

use std::net::TcpListener;

use shipped::finished;

#[test]
fn wrong_usage_and_wrong_configuration_are_status_two_with_empty_output() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "probing: { interval: never }\nnods: x\n").unwrap();
    let path = file.path().to_str().unwrap();
    for (arguments, said) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["report", "--peer", "master-2"], "not an IP address"),
        (&["report", "--config", "/no/such/file"], "/no/such/file: cannot open"),
        (&["agent", "--config", path], ":2:1: unknown key `nods`; did you mean `node`?"),
        (&["checks", "nonsense"], "there is no code `nonsense`"),
        (&["probe", "0.0.0.0"], "argument: `0.0.0.0`: it is the unspecified address"),
        (&["probe", "10.0.0.0/24", "fe80::1%eth0"], "argument: `fe80::1%eth0`: "),
        (&["probe", "-f", "/no/such/list"], "cannot read the targets in /no/such/list: "),
        (&["probe", "-f", path], "`probing: { interval: never }`"),
        (&["probe", "-4", "fd00::2"], "is no ipv4 address"),
        (&["probe", "-6", "-S", "127.0.0.1", "localhost"], "--source names an ipv4 address"),
        (&["probe", "-"], "there is nothing to probe"),
    ] {
        let (status, out, err) = finished(arguments);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
}

#[test]
fn every_mistake_of_a_configuration_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "probing: { interval: never }\nnods: x\nlisten: 1\n").unwrap();
    let (_, _, err) = finished(&["report", "--config", file.path().to_str().unwrap()]);
    for place in [":1:22: ", ":2:1: ", ":3:9: "] {
        assert!(err.contains(place), "{place} in {err}");
    }
}

#[test]
fn the_version_names_the_revision() {
    let (status, out, _) = finished(&["--version"]);
    let revision = option_env!("MTUSCOPE_REVISION").unwrap_or("unknown");
    assert_eq!((status, out), (Some(0), format!("mtuscope {} (revision {revision})\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn the_catalogue_is_text_or_json() {
    let (status, out, _) = finished(&["checks"]);
    assert_eq!(status, Some(0));
    assert!(out.starts_with("LINKS (") && out.contains("\n  link-down "), "{out}");
    let (_, out, _) = finished(&["checks", "--output", "json"]);
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(probes::checks::ALL.len()));
}

#[test]
fn without_net_raw_probe_goes_by_pings_or_says_what_is_missing() {
    let permitted = caps::has_cap(None, caps::CapSet::Permitted, caps::Capability::CAP_NET_RAW).unwrap();
    let child = std::thread::spawn(move || {
        // A root that lacks the capability in its bounding set cannot regain it by starting a program.
        if permitted {
            caps::drop(None, caps::CapSet::Bounding, caps::Capability::CAP_NET_RAW).unwrap();
            caps::clear(None, caps::CapSet::Inheritable).unwrap();
        }
        finished(&["probe", "127.0.0.1"])
    });
    let (status, out, err) = child.join().unwrap();
    if may_ping() {
        return assert_eq!(status, Some(0), "everybody may ping here: {out}{err}");
    }
    assert_eq!((status, out.as_str()), (Some(2), ""), "{err}");
    for way in ["CAP_NET_RAW", "sudo setcap cap_net_raw", "net.ipv4.ping_group_range"] {
        assert!(err.contains(way), "{way}: {err}");
    }
}

/// Whether this process's group is one that may open ping sockets.
fn may_ping() -> bool {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap();
    let bounds: Vec<u32> = range.split_whitespace().map(|bound| bound.parse().unwrap()).collect();
    (bounds[0]..=bounds[1]).contains(&rustix::process::getegid().as_raw())
}

#[test]
fn a_port_in_use_is_status_two() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, _, err) = finished(&["agent", "--listen", &address]);
    assert_eq!(status, Some(2));
    assert!(err.contains(&format!("cannot listen on {address}: ")), "{err}");
}
