//! Names: the resolver's answers, one that never comes, addresses that nothing leads to.

use std::fs;
use std::path::Path;

use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::harness::test;
use lab::recipe::{DUAL, PLAIN, REFERENCE};
use lab::{Error, Result};
use libtest_mimic::Trial;
use nix::mount::{MsFlags, mount as bind};

use super::{probe, verdicts};

/// What the machine of the lab calls whom. The name server is db-2, which has none.
const HOSTS: &str = "127.0.0.1 localhost\n10.0.0.12 peer.lab\n2001:db8::12 peer.lab\n10.66.0.12 both.lab\n\
                     fd00:66::99 nowhere.lab\n10.0.0.12 twice.lab\n10.0.0.13 twice.lab\nfe80::1 link.lab\n";
const RESOLVER: &str = "nameserver 172.30.2.10\noptions timeout:30 attempts:1\n";
const ORDER: &str = "hosts: files dns\n";

/// Puts these in the place of the machine's own, for this process and what it starts: its mount namespace is its own.
pub(crate) fn mount() -> Result<()> {
    for (file, text) in [("hosts", HOSTS), ("resolv.conf", RESOLVER), ("nsswitch.conf", ORDER)] {
        let (ours, theirs) = (Path::new("/run").join(file), Path::new("/etc").join(file));
        let doing = || format!("putting {} over {}", ours.display(), theirs.display());
        fs::write(&ours, text).map_err(|error| Error::new(doing(), error))?;
        bind(Some(&ours), &theirs, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|errno| Error::new(doing(), errno))?;
    }
    Ok(())
}

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("a name is measured at each of its addresses", every_address),
        test("an address of a name that nothing leads to is left out and said to be", left_out),
        test("a family that is asked for is the only one", one_family),
        test("a name that nobody knows stops no other", unknown_name),
        test("a resolver that never answers stops no other", silent_resolver),
    ]
}

fn every_address() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let (report, code) = probe(cluster.host(0), &["twice.lab", "localhost"])?;
    let seen: Vec<_> = report.paths.iter().map(|path| (path.peer.as_str(), path.address.as_str())).collect();
    let wanted = [("twice.lab", "10.0.0.12"), ("twice.lab", "10.0.0.13"), ("localhost", "127.0.0.1")];
    assert_eq!((seen, code), (wanted.to_vec(), 0), "{report:?}");
    let dead = Fault::DropAll { node: 2 }.make(&cluster)?;
    let (report, code) = probe(cluster.host(0), &["twice.lab"])?;
    let verdicts: Vec<_> = report.paths.iter().map(|path| path.verdict.as_str()).collect();
    assert_eq!((verdicts, code), (vec!["clear", "unreachable"], 1), "the second address is dead: {report:?}");
    dead.heal()
}

fn left_out() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let (report, code) = probe(cluster.host(0), &["peer.lab"])?;
    assert_eq!((verdicts(&report), code), (vec![("peer.lab", "clear", Some(1500))], 0), "{report:?}");
    let left: Vec<_> = report.not_probed.iter().map(|entry| (entry.kind.as_str(), entry.address.as_deref())).collect();
    assert_eq!(left, [("no_route", Some("2001:db8::12"))], "{report:?}");
    let (report, code) = probe(cluster.host(0), &["-6", "peer.lab"])?;
    assert_eq!((verdicts(&report), code), (vec![("peer.lab", "unreachable", None)], 1), "it was asked for: {report:?}");
    Ok(())
}

fn one_family() -> Result<()> {
    let cluster = Cluster::build(DUAL)?;
    let (report, code) = probe(cluster.host(0), &["-4", "both.lab"])?;
    assert_eq!((verdicts(&report), code), (vec![("both.lab", "clear", Some(1500))], 0), "{report:?}");
    let (report, code) = probe(cluster.host(0), &["-6", "both.lab"])?;
    assert_eq!((report.paths.len(), code), (0, 2), "{report:?}");
    let why = report.not_probed.first().map(|entry| entry.why.as_str()).unwrap_or_default();
    assert!(why.contains("only 10.66.0.12"), "{report:?}");
    Ok(())
}

fn unknown_name() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    cluster.host(0).sh("ip route add unreachable 172.30.2.10")?;
    let (report, code) = probe(cluster.host(0), &["nobody.invalid", "twice.lab", "link.lab"])?;
    assert_eq!((report.paths.len(), code), (2, 2), "{report:?}");
    let missing: Vec<_> = report.not_probed.iter().map(|entry| (entry.peer.as_str(), entry.kind.as_str())).collect();
    assert_eq!(missing, [("nobody.invalid", "unresolved"), ("link.lab", "unresolved")], "{report:?}");
    assert!(report.not_probed[1].why.contains("link-local"), "{report:?}");
    Ok(())
}

fn silent_resolver() -> Result<()> {
    let cluster = Cluster::build(PLAIN)?;
    let server = PLAIN.underlay_address(1);
    assert!(RESOLVER.contains(&server.to_string()), "the name server is {server}");
    let silent = Fault::DropUdp { node: 1, port: 53.into() }.make(&cluster)?;
    let (report, code) = probe(cluster.host(0), &["slow.example", &server.to_string()])?;
    assert_eq!((report.paths.len(), code), (1, 2), "{report:?}");
    assert_eq!(report.paths[0].verdict, "clear", "{report:?}");
    let why = report.not_probed.first().map(|entry| entry.why.as_str()).unwrap_or_default();
    assert!(why.contains("did not answer within 5 s"), "{report:?}");
    silent.heal()
}
