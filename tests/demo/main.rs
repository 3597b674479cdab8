//! The lab for people: a whole cluster on one machine, one fault of your choice, and an agent in every node to ask.
//!
//! ```sh
//! cargo run -p mtuscope-tests --bin lab -- --fault path-black-hole
//! ```
//!
//! It is the lab that the tests play in, with a door: an address on this machine's loopback for every agent
//! ([`forward`]), and a Prometheus with the rules that ship ([`alerts`]). The faults are the tests' scenarios ([`choice`]), so whatever can be found can be watched being found
//! ([`session`]). When it ends, by Ctrl-C or otherwise, nothing is left: every process is its child, every namespace and
//! mount is held by them alone, and every file is in a file system that goes with them.

mod alerts;
mod choice;
mod follow;
mod forward;
mod screen;
mod session;

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use agent::config::duration;
use clap::Parser;
use lab::interrupt::Interrupts;
use lab::{Result, harness, namespace};

use choice::Choice;
use screen::Screen;
use session::{Doors, Event};

/// Exit status of a lab that could not be had.
const COULD_NOT_RUN: u8 = 2;

/// Builds a small cluster on this machine, breaks it, and shows what mtuscope says.
#[derive(Debug, Parser)]
#[command(
    name = "lab",
    after_help = "Example:
  cargo run -p mtuscope-tests --bin lab -- --fault path-black-hole

It needs no root. While it runs: h Enter heals, b Enter breaks again, q Enter or Ctrl-C ends."
)]
struct Args {
    /// What to break; without it, nothing is
    #[arg(long, value_name = "NAME")]
    fault: Option<String>,
    /// The cluster; without it, the first that the fault can be made on
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,
    /// Show faults and clusters, and end
    #[arg(long)]
    list: bool,
    /// Let agents reach each other, as in a real cluster, whatever the fault needs: they make transfers, hold their nodes
    /// against each other, and any of them tells of all; other codes may then be found, or explain the one looked for
    #[arg(long)]
    together: bool,
    /// Heal after this time, once
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    heal_after: Option<Duration>,
    /// The first node's port on 127.0.0.1; the others follow, and Prometheus after them
    #[arg(long, value_name = "PORT", default_value_t = 9751)]
    port: u16,
    /// Start no Prometheus, and show no alerts
    #[arg(long)]
    no_prometheus: bool,
}

fn main() -> ExitCode {
    harness::agent_or(|| {
        let args = Args::parse();
        match run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                harness::report(&format!("lab: {error}"));
                ExitCode::from(COULD_NOT_RUN)
            }
        }
    })
}

fn run(args: &Args) -> Result<()> {
    let mut screen = Screen::new();
    if args.list {
        screen.line(&choice::list()?);
        return Ok(());
    }
    let mut choice = Choice::of(args.fault.as_deref(), args.recipe.as_deref())?;
    choice.together |= args.together;
    // Opened before the namespaces are entered, so they stay this machine's.
    let watched = !args.no_prometheus && is_installed(&mut screen);
    let mut doors = forward::open(choice.recipe.nodes.len() + usize::from(watched), args.port)?;
    let door_of_alerts = if watched { doors.pop() } else { None };
    let interrupts = Interrupts::hold()?;
    namespace::enter()?;
    let events = listen(interrupts);
    let doors = Doors { nodes: doors, alerts: door_of_alerts };
    session::run(&choice, &doors, args.heal_after, &events, screen)
}

/// Whether alerts can be shown; says what brings them if not.
fn is_installed(screen: &mut Screen) -> bool {
    let found = namespace::find(alerts::PROGRAM).is_some();
    if !found {
        screen.line("no alerts are shown, for there is no `prometheus` here: Debian's package of that name brings it");
    }
    found
}

/// Everything that a person can do, in one place.
fn listen(interrupts: Interrupts) -> Receiver<Event> {
    let (tell, events) = mpsc::channel();
    let end = tell.clone();
    // Nobody hears it only if the lab is ending already.
    interrupts.listen(move || drop(end.send(Event::End)));
    thread::spawn(move || read_commands(&tell));
    events
}

/// The end of standard input is no command: a lab may run without a terminal.
fn read_commands(tell: &Sender<Event>) {
    for line in io::stdin().lock().lines().map_while(io::Result::ok) {
        if tell.send(Event::Typed(line.trim().to_owned())).is_err() {
            return;
        }
    }
}
