//! The pods' ends of their links, read from the node on a real kernel while pods come and go.
//!
//! Every pod has an MTU that only its own link's name tells, so an end that is taken for another's shows at once: numbers of
//! namespaces are given away again as soon as a pod is gone, and every pod's device has the same number in its own.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io, thread};

use agent::io::netlink::Netlink;
use lab::harness::{self, AGENT, test};
use lab::namespace::Namespace;
use lab::wait::{self, Look};
use lab::{Error, Result};
use probes::fact::Source;
use probes::kernel::RawFacts;
use probes::tables::Tables;
use serde_json::Value;

fn main() -> ExitCode {
    harness::main(|| {
        vec![
            test("an end is its own link's, whatever comes and goes meanwhile", pods_that_come_and_go),
            test("ends of another user's namespaces are unread, and the others are read", somebody_elses),
            test("addresses are kept, and those of a new pod are its own", addresses),
        ]
    })
}

/// A pod whose MTU and address say its number.
struct Pod {
    number: u8,
    /// It goes with this.
    _namespace: Namespace,
}

impl Pod {
    fn new(host: &Namespace, number: u8) -> Result<Self> {
        let namespace = Namespace::new(format!("pod {number}"))?;
        let (link, mtu) = (name(number), mtu(number));
        let wire =
            format!("ip link add {link} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}", namespace.path());
        host.sh(&wire)?;
        host.sh(&format!("ip link set {link} up"))?;
        namespace.sh(&format!("ip address add 10.244.1.{number}/32 dev eth0"))?;
        namespace.sh("ip link set eth0 up")?;
        Ok(Self { number, _namespace: namespace })
    }
}

fn name(number: u8) -> String {
    format!("cali{number:011x}")
}

fn mtu(number: u8) -> u32 {
    1300 + u32::from(number)
}

const READ: &[Source] = &[Source::Links, Source::PodEnds];

/// Reads again and again with one agent's sockets, until told that it is enough.
fn read<T: Send>(host: &Namespace, work: impl FnOnce(&dyn Fn() -> RawFacts) -> Result<T> + Send) -> Result<T> {
    let failed = |error: io::Error| Error::new("starting a runtime", error);
    host.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let entered = runtime.enter();
        let netlink = Netlink::open().map_err(|unread| Error::new("opening rtnetlink", unread))?;
        drop(entered);
        work(&|| runtime.block_on(netlink.tables(READ)))
    })?
}

/// MTU and addresses of the ends by the numbers of their pods.
fn ends(facts: &RawFacts) -> Result<BTreeMap<u8, (u32, Vec<String>)>> {
    let tables = Tables::decode(facts);
    let failed = |what: String| Error::new("reading pods' ends", what);
    let mut ends = BTreeMap::new();
    for link in tables.links() {
        let Some(number) = link.name.strip_prefix("cali").and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            continue;
        };
        if let Some(end) = tables.pod_end(link.index).map_err(|unread| failed(unread.to_string()))? {
            let addresses = end.addresses.iter().map(ToString::to_string).collect();
            ends.insert(number, (end.mtu.bytes(), addresses));
        }
    }
    if tables.malformed.is_empty() { Ok(ends) } else { Err(failed(format!("{:?}", tables.malformed))) }
}

fn pods_that_come_and_go() -> Result<()> {
    let host = Namespace::new("node")?;
    let _standing: Vec<_> = (1..=20).map(|number| Pod::new(&host, number)).collect::<Result<_>>()?;
    let over = AtomicBool::new(false);
    let (readings, strangers) = thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let come_and_go = || (100..200).try_for_each(|number| Pod::new(&host, number).map(drop));
            let done = come_and_go();
            over.store(true, Ordering::Release);
            done
        });
        let seen = read(&host, |read| {
            let (mut readings, mut strangers) = (0, 0);
            while !over.load(Ordering::Acquire) {
                let ends = ends(&read())?;
                for (&number, (bytes, _)) in &ends {
                    assert_eq!(*bytes, mtu(number), "the end of another pod");
                }
                assert!((1..=20).all(|number| ends.contains_key(&number)), "a pod that stays is read always: {ends:?}");
                readings += 1;
                strangers += usize::from(ends.keys().any(|number| *number >= 100));
            }
            Ok((readings, strangers))
        });
        churn.join().expect("it does not panic")?;
        seen
    })?;
    assert!(readings > 20 && strangers > 0, "{readings} readings, {strangers} of them with a pod that went");
    Ok(())
}

fn addresses() -> Result<()> {
    let host = Namespace::new("node")?;
    let first = Pod::new(&host, 1)?;
    read(&host, |read| {
        let own = |number: u8| vec![format!("10.244.1.{number}")];
        for _ in 0..2 {
            assert_eq!(ends(&read())?, BTreeMap::from([(1, (mtu(1), own(1)))]));
        }
        // Its namespace's number is free for the next one.
        host.sh(&format!("ip link del {}", name(first.number)))?;
        drop(first);
        let _second = Pod::new(&host, 2)?;
        assert_eq!(ends(&read())?, BTreeMap::from([(2, (mtu(2), own(2)))]));
        Ok(())
    })
}

/// A process that holds namespaces open: it ends with this value.
struct Holder(Child);

impl Holder {
    /// `program` is to make namespaces and then read its standard input to the end.
    fn start(mut program: Command) -> Result<Self> {
        let failed = |error: io::Error| Error::new("holding a namespace", error);
        Ok(Self(program.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(failed)?))
    }

    fn own(&self, kind: &str) -> Result<()> {
        let read = |of: String| fs::read_link(format!("/proc/{of}/ns/{kind}"));
        wait::until("a namespace of its own", || match (read(self.0.id().to_string()), read("self".into())) {
            (Ok(its), Ok(ours)) if its != ours => Ok(Look::There(())),
            seen => Ok(Look::NotYet(format!("{seen:?}"))),
        })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Both fail only if it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node that is itself a container of another user: its NIC's other end is the machine's, and its pods are its own.
fn somebody_elses() -> Result<()> {
    let machine = Namespace::new("machine")?;
    let mut node = machine.command("unshare");
    node.args(["--user", "--map-root-user", "--net", "cat"]);
    let node = Holder::start(node)?;
    node.own("user")?;
    node.own("net")?;
    let id = node.0.id().to_string();
    let inside = |program: &str| {
        let mut command = machine.command("nsenter");
        command.args(["--target", &id, "--user", "--net", "--preserve-credentials", program]);
        command
    };
    let mut pod = inside("unshare");
    pod.args(["--net", "cat"]);
    let pod = Holder::start(pod)?;
    let (pod_id, host_net) = (pod.0.id().to_string(), format!("/proc/{id}/ns/net"));
    wait::until("the pod's namespace", || {
        let its = fs::read_link(format!("/proc/{pod_id}/ns/net"));
        let (hosts, ours) = (fs::read_link(&host_net), fs::read_link("/proc/self/ns/net"));
        let apart = matches!((&its, &hosts, &ours), (Ok(its), Ok(hosts), Ok(ours)) if its != hosts && its != ours);
        Ok(if apart { Look::There(()) } else { Look::NotYet(format!("{its:?} {hosts:?}")) })
    })?;
    machine.sh(&format!("ip link add wire type veth peer name eth0 netns {id}"))?;
    machine.sh("ip link set wire up")?;
    for line in [
        "link set eth0 up".to_owned(),
        format!("link add cali1 mtu 1450 type veth peer name eth0 mtu 1500 netns {pod_id}"),
        "link set cali1 up".to_owned(),
    ] {
        said(inside("ip").args(line.split(' ')))?;
    }
    let mut up = machine.command("nsenter");
    up.args(["--target", &pod_id, "--user", "--net", "--preserve-credentials", "ip", "link", "set", "eth0", "up"]);
    said(&mut up)?;
    let failed = |error: io::Error| Error::new("starting a report", error);
    let directory = tempfile::tempdir().map_err(failed)?;
    let program = directory.path().join(AGENT);
    symlink(std::env::current_exe().map_err(failed)?, &program).map_err(failed)?;
    let text = said(inside(&program.to_string_lossy()).args(["report", "--output", "json", "--fail-on", "never"]))?;
    let report: Value = serde_json::from_str(&text).map_err(|error| Error::new("reading a report", error))?;
    let link = |name: &str| report["links"].as_array().and_then(|links| links.iter().find(|link| link["name"] == name));
    assert_eq!(link("cali1").map(|link| &link["pod"]["mtu"]), Some(&Value::from(1500)), "{text}");
    assert_eq!(link("eth0").map(|link| link.get("pod")), Some(None), "it is another user's: {text}");
    assert_eq!(report["checks"]["veth-ends-differ"], "found", "{text}");
    Ok(())
}

fn said(command: &mut Command) -> Result<String> {
    let doing = format!("{command:?}");
    let output = command.output().map_err(|error| Error::new(doing.clone(), error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::new(doing, String::from_utf8_lossy(&output.stderr).into_owned()))
}
