//! SIGTERM and SIGINT end the agent with status 0, whatever it is in the middle of. That it does not take long is by
//! design, since the thread that ends waits for no other; how long it may take here is the lab's patience.

use std::io::Write;
use std::net::TcpStream;

use lab::cluster::Cluster;
use lab::fault::Fault;
use lab::harness::test;
use lab::recipe::REFERENCE;
use lab::service::{self, SERVER, Service};
use lab::{Error, Result};
use libtest_mimic::Trial;

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("it ends while it waits for the next round", between_rounds),
        test("it ends in the middle of a round over a black hole and a dead peer", in_a_round),
        test("it ends before its first round is done", at_the_start),
        test("it ends while clients are slow", with_slow_clients),
    ]
}

fn ends(service: Service<'_>) -> Result<()> {
    let status = service.stop()?;
    assert_eq!(status.code(), Some(0));
    Ok(())
}

fn between_rounds() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let configuration = service::configuration(&cluster, 0).replace("interval: 1s", "interval: 1h");
    ends(Service::start_with(&cluster, 0, &configuration)?)
}

fn in_a_round() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let mut service = Service::start(&cluster, 0)?;
    let hole = Fault::DropLarger { node: 1, than: 1400.into() }.make(&cluster)?;
    let dead = Fault::DropAll { node: 2 }.make(&cluster)?;
    // From here on a round takes seconds and the next follows at once.
    service.until("both to be found", |report| report.has("path-black-hole") && report.has("peer-unreachable"))?;
    ends(service)?;
    hole.heal()?;
    dead.heal()
}

fn at_the_start() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let dead = Fault::DropAll { node: 1 }.make(&cluster)?;
    let configuration = service::configuration(&cluster, 0);
    let mut service = Service::launch(&cluster, 0, &configuration, |command, config| {
        command.arg("--config").arg(config).args(["--listen", &SERVER.to_string()]);
    })?;
    super::until_logged(&mut service, &["mtuscope starts"])?;
    ends(service)?;
    dead.heal()
}

fn with_slow_clients() -> Result<()> {
    let cluster = Cluster::build(REFERENCE)?;
    let service = Service::start(&cluster, 0)?;
    let connect = |request: &'static [u8]| {
        cluster
            .host(0)
            .inside(|| {
                let mut stream = TcpStream::connect(SERVER)?;
                stream.write_all(request)?;
                Ok(stream)
            })?
            .map_err(|error: std::io::Error| Error::new("connecting", error))
    };
    let _half_a_request = connect(b"GET /report HTTP/1.1\r\nHost:")?;
    let _does_not_read = connect(b"GET /report HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let _says_nothing = connect(b"")?;
    ends(service)
}
