//! `mtuscope cluster`: the whole cluster, as one agent and its peers see it.
//!
//! The agent that is asked does the asking: it knows the others, and may reach them where whoever types this cannot.

use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use probes::cluster::{Matrix, SCHEMA, Summary};
use probes::config::PORT;
use probes::report::Status;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::{ConfigFlag, FailOn, print};
use crate::config::Settings;
use crate::io::call::{self, Failed, Limits, Terms};
use crate::logs;
use crate::outcome::{Colour, Failure, Outcome, Output};
use crate::publish::http::cluster::PATH;
use crate::publish::text;

/// An agent answers within ten seconds, whatever its peers do.
const LIMITS: Limits = Limits { time: Duration::from_secs(20), body: 64 << 20 };

/// What is quicker than this needs no progress bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Arguments of `cluster`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  mtuscope cluster                                 as this node's agent and its peers see it
  mtuscope cluster --from http://10.0.0.12:9747    as another node's does
  mtuscope cluster --config /etc/mtuscope.yaml     with TLS and credentials as the agent has them
  mtuscope cluster --output json | jq '.odd[], .ways[]'
  kubectl -n mtuscope exec ds/mtuscope -- /mtuscope cluster --config /etc/mtuscope/config.yaml

Exit status:
  0 nothing at or above --fail-on, 1 something there, 2 nothing is measured or it could not run;
  cut off and black holes are critical, limits, odd nodes and agents that do not answer a warning")]
pub struct Args {
    #[command(flatten)]
    config: ConfigFlag,
    /// Which agent to ask [default: this machine's, http://127.0.0.1:9747, or as the configuration has it]
    #[arg(long, value_name = "URL", env = "MTUSCOPE_FROM", value_hint = clap::ValueHint::Url)]
    from: Option<From>,
    /// From which severity on what is found makes the exit status 1
    #[arg(long, value_enum, value_name = "LEVEL", env = "MTUSCOPE_FAIL_ON", default_value = "critical")]
    fail_on: FailOn,
    /// How to print the result: text for people, json for programs
    #[arg(long, value_enum, value_name = "FORMAT", env = "MTUSCOPE_OUTPUT", default_value = "text")]
    #[arg(hide_possible_values = true)]
    output: Output,
}

/// Where an agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
struct From {
    url: String,
    https: bool,
    host: String,
    port: u16,
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "not a URL such as http://10.0.0.12:9747".to_owned();
        let url: hyper::Uri = text.parse().map_err(|_| wrong())?;
        let https = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        if !matches!(url.path(), "" | "/" | PATH) || url.query().is_some() {
            return Err(format!("only the address of an agent, without a path: {PATH} is asked for anyway"));
        }
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("no credentials in a URL, which others see: agents.basic_auth in the configuration".to_owned());
        }
        let host = url.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let bare = text.trim_end_matches('/').trim_end_matches(PATH).to_owned();
        Ok(Self { url: bare, https, host, port: url.port_u16().unwrap_or(PORT) })
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args, colour: Colour) -> Result<Outcome, Failure> {
    logs::to_stderr(colour)?;
    let settings = args.config.load()?;
    let terms = args.config.terms(&settings)?;
    let from = args.from.clone().unwrap_or_else(|| From::here(&settings, terms.is_tls()));
    let terms = terms.towards(from.https, &from.host).map_err(|why| from.failed(&why))?;
    let answer = super::runtime()?.block_on(asked(&from, &terms))?;
    let matrix: Matrix = serde_json::from_slice(&answer).map_err(|error| from.says(&format!("garbage: {error}")))?;
    if matrix.schema != SCHEMA {
        return Err(from.says(&format!("`{}`, and this mtuscope understands `{SCHEMA}`", matrix.schema)));
    }
    match args.output {
        Output::Text => print::print(&text::cluster(&matrix, print::style(colour)))?,
        // As it came: what a later version added is not lost.
        Output::Json => print::print(&(String::from_utf8_lossy(&answer).trim_end().to_owned() + "\n"))?,
    }
    Ok(judge(&matrix.summary, args.fail_on))
}

impl From {
    /// Where this machine's agent listens by its configuration. Who speaks TLS to agents is taken to be spoken to so.
    fn here(settings: &Settings, https: bool) -> Self {
        let listens = settings.listen.ip();
        let host = if listens.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listens };
        let port = settings.for_probes().port;
        let scheme = if https { "https" } else { "http" };
        let url = format!("{scheme}://{}", SocketAddr::new(host, port));
        Self { url, https, host: host.to_string(), port }
    }

    fn says(&self, what: &str) -> Failure {
        Failure(format!("{} answers {what}; is that an agent of mtuscope?", self.url))
    }

    fn failed(&self, why: &str) -> Failure {
        Failure(format!("cannot ask {}{PATH}: {why}", self.url))
    }
}

async fn asked(from: &From, terms: &Terms) -> Result<Bytes, Failure> {
    let addresses: Vec<SocketAddr> = match lookup_host((from.host.as_str(), from.port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => return Err(from.failed(&format!("looking up {}: {error}", from.host))),
    };
    let mut failed = from.failed(&format!("{} has no address", from.host));
    for to in addresses {
        match patiently(call::get(to, PATH, "application/json", LIMITS, terms)).await {
            Ok(answer) => return Ok(answer),
            Err(why @ Failed::Broken { .. }) => {
                let check = "; does an agent run there? --from names another";
                failed = from.failed(&format!("{why}{check}"));
            }
            Err(Failed::Refused { status: 404, .. }) => {
                return Err(from.failed("answered 404: it is no agent, or one older than this command"));
            }
            Err(why) => return Err(from.failed(&why.to_string())),
        }
    }
    Err(failed)
}

/// Waits, with a sign of life on a terminal for what takes over a second.
async fn patiently<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = timeout(PATIENCE, &mut work).await {
        return done;
    }
    let bar = io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the template is a constant");
        let bar = ProgressBar::new_spinner().with_style(style).with_message("the agent asks its peers");
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    });
    let done = work.await;
    bar.inspect(ProgressBar::finish_and_clear);
    done
}

fn judge(summary: &Summary, fail_on: FailOn) -> Outcome {
    if summary.status == Status::Unknown {
        return Outcome::Inconclusive;
    }
    if summary.severity().is_some_and(|severity| fail_on.counts(severity)) { Outcome::Found } else { Outcome::Fine }
}

#[cfg(test)]
mod tests {
    use probes::cluster::Counts;

    use super::*;

    fn from(text: &str) -> Result<(String, u16), String> {
        From::from_str(text).map(|from| (from.host, from.port))
    }

    #[test]
    fn an_agent_is_named_by_its_address() {
        for (text, host, port) in [
            ("http://10.0.0.12:9747", "10.0.0.12", 9747),
            ("http://[fd00::12]:80/", "fd00::12", 80),
            ("http://node-1", "node-1", PORT),
            ("http://node-1:9747/cluster", "node-1", 9747),
            ("https://node-1", "node-1", PORT),
        ] {
            assert_eq!(from(text), Ok((host.to_owned(), port)), "{text}");
        }
        for wrong in [
            "10.0.0.12",
            "10.0.0.12:9747",
            "ftp://x",
            "http://",
            "http://x/report",
            "http://x/?a=b",
            "http://a:b@x",
            "",
        ] {
            assert!(from(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_name_it_is_the_agent_of_this_machine() {
        let here = |text: &str, https| From::here(&Settings::parse(text, "here".into()).unwrap(), https).url;
        assert_eq!(here("", false), "http://127.0.0.1:9747");
        assert_eq!(here("listen: 10.0.0.12:80", true), "https://10.0.0.12:80");
        assert_eq!(here("listen: \"[fd00::12]:9747\"", false), "http://[fd00::12]:9747");
    }

    #[test]
    fn the_status_follows_the_level() {
        let judged = |status, fail_on| {
            let cells = Counts::default();
            judge(&Summary { status, agents: 4, answered: 4, standing_still: 0, cells, odd: 0, ways: 0 }, fail_on)
        };
        assert_eq!(judged(Status::Healthy, FailOn::Info), Outcome::Fine);
        assert_eq!(judged(Status::Warning, FailOn::Critical), Outcome::Fine);
        assert_eq!(judged(Status::Warning, FailOn::Warning), Outcome::Found);
        assert_eq!(judged(Status::Critical, FailOn::Critical), Outcome::Found);
        assert_eq!(judged(Status::Critical, FailOn::Never), Outcome::Fine);
        assert_eq!(judged(Status::Unknown, FailOn::Never), Outcome::Inconclusive);
    }
}
