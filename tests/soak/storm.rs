//! A storm: four actors at once, each with random numbers of its own, so that a seed gives the same storm again whatever
//! the machine's speed lets them get done.
//!
//! Each heals what it broke before it ends. Actors get in each other's way, as administrators, a CNI and the weather do:
//! an entry cannot be removed from a tunnel that somebody else took down. What cannot be made is counted and let be;
//! what cannot be healed is put back by the cluster's memory after the storm.

use std::fmt;
use std::fs;
use std::iter::Sum;
use std::ops::AddAssign;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use lab::cluster::Cluster;
use lab::fault::{Fault, make_all};
use lab::recipe::Role;
use lab::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::pods;

/// The end of a storm, as its actors learn of it.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    over: Mutex<bool>,
    told: Condvar,
}

impl Stop {
    /// Ends the storm.
    pub(crate) fn now(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.told.notify_all();
    }

    /// Waits, and says whether the storm goes on.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.told.wait_timeout_while(over, time, |over| !*over);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for a time between two, in milliseconds.
    pub(crate) fn pause_between(&self, rng: &mut Rng, least: u64, most: u64) -> bool {
        self.pause(Duration::from_millis(rng.u64(least..=most)))
    }
}

/// What a storm did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) link_faults: usize,
    pub(crate) peer_faults: usize,
    pub(crate) pods_made: usize,
    pub(crate) most_pods: usize,
    pub(crate) rewrites: usize,
    pub(crate) broken_rewrites: usize,
    pub(crate) reloads: usize,
    pub(crate) refused: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.link_faults += other.link_faults;
        self.peer_faults += other.peer_faults;
        self.pods_made += other.pods_made;
        self.most_pods = self.most_pods.max(other.most_pods);
        self.rewrites += other.rewrites;
        self.broken_rewrites += other.broken_rewrites;
        self.reloads += other.reloads;
        self.refused += other.refused;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link_faults, peer_faults, pods_made, most_pods, .. } = self;
        let Self { rewrites, broken_rewrites, reloads, refused, .. } = self;
        write!(f, "{link_faults} link faults, {peer_faults} peer faults, {pods_made} pods come and gone (at most ")?;
        write!(f, "{most_pods} at once), {rewrites} rewrites of the configuration ({broken_rewrites} broken), ")?;
        write!(f, "{reloads} SIGHUPs; {refused} faults got in each other's way")
    }
}

/// What the actors work on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storm<'s> {
    pub(crate) cluster: &'s Cluster,
    pub(crate) stop: &'s Stop,
    pub(crate) config: &'s Path,
    pub(crate) configuration: &'s str,
    pub(crate) agent: u32,
    pub(crate) pods: usize,
}

/// One who takes part in a storm.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Actor {
    Links,
    Peers,
    Rewrites,
    Pods,
}

impl Actor {
    /// Everyone.
    pub(crate) const ALL: [Self; 4] = [Self::Links, Self::Peers, Self::Rewrites, Self::Pods];
}

impl Storm<'_> {
    /// Acts until the storm is over.
    ///
    /// # Errors
    /// If the lab itself is broken.
    pub(crate) fn act(&self, actor: Actor, rng: Rng) -> Result<Counts> {
        match actor {
            Actor::Links => self.links(rng),
            Actor::Peers => self.peers(rng),
            Actor::Rewrites => self.rewrites(rng),
            Actor::Pods => pods::churn(self, rng),
        }
    }

    /// The node's own links: down, or of another MTU; sometimes two at a time.
    fn links(&self, mut rng: Rng) -> Result<Counts> {
        let mut counts = Counts::default();
        while self.stop.pause_between(&mut rng, 100, 2000) {
            let faults: Vec<_> = (0..rng.usize(1..=2)).map(|_| link_fault(&mut rng)).collect();
            self.hold(&faults, &mut rng, 6000, &mut counts);
            counts.link_faults += faults.len();
        }
        Ok(counts)
    }

    /// A peer lost in one of many ways.
    fn peers(&self, mut rng: Rng) -> Result<Counts> {
        let mut counts = Counts::default();
        while self.stop.pause_between(&mut rng, 200, 3000) {
            let fault = self.peer_fault(&mut rng)?;
            self.hold(&[fault], &mut rng, 12_000, &mut counts);
            counts.peer_faults += 1;
        }
        Ok(counts)
    }

    fn hold(&self, faults: &[Fault], rng: &mut Rng, most: u64, counts: &mut Counts) {
        let hold = rng.u64(200..=most);
        match make_all(faults, self.cluster) {
            Ok(broken) => {
                self.stop.pause(Duration::from_millis(hold));
                counts.refused += usize::from(broken.heal().is_err());
            }
            Err(_) => counts.refused += 1,
        }
    }

    fn peer_fault(&self, rng: &mut Rng) -> Result<Fault> {
        let node = rng.usize(1..self.cluster.nodes.len());
        let port = u32::from(self.cluster.overlay()?.tunnels()[0].port).into();
        Ok(match rng.u8(0..8) {
            0 => Fault::PortDown { node },
            1 => Fault::DropAll { node },
            2 => Fault::DropEcho { node },
            3 => Fault::DropUdp { node, port },
            4 => Fault::DropLarger { node, than: rng.u32(600..1500).into() },
            5 => Fault::MissingFdb { node: 0, of: node },
            6 => Fault::MissingNeighbour { node: 0, of: node },
            _ => Fault::LinkDown { node, link: Role::Tunnel },
        })
    }

    /// The configuration: the same, another one, or a broken one, in the ways that files are written.
    fn rewrites(&self, mut rng: Rng) -> Result<Counts> {
        let mut counts = Counts::default();
        while self.stop.pause_between(&mut rng, 500, 5000) {
            let (text, broken) = variant(self.configuration, &mut rng);
            self.write(&text, rng.bool())?;
            counts.rewrites += 1;
            counts.broken_rewrites += usize::from(broken);
            counts.reloads += usize::from(self.hang_up()?);
        }
        self.write(self.configuration, true)?;
        self.hang_up()?;
        Ok(counts)
    }

    /// In place, as an editor may, or by a new file in its stead, as Kubernetes does.
    fn write(&self, text: &str, replace: bool) -> Result<()> {
        let failed = |error| Error::new("rewriting the configuration", error);
        if !replace {
            return fs::write(self.config, text).map_err(failed);
        }
        let beside = self.config.with_extension("new");
        fs::write(&beside, text).and_then(|()| fs::rename(&beside, self.config)).map_err(failed)
    }

    /// SIGHUP, if the agent catches it: it would end one that does not.
    fn hang_up(&self) -> Result<bool> {
        let path = format!("/proc/{}/status", self.agent);
        let status = fs::read_to_string(&path).map_err(|error| Error::new(format!("reading {path}"), error))?;
        if !catches(&status, Signal::SIGHUP) {
            return Ok(false);
        }
        let agent = Pid::from_raw(i32::try_from(self.agent).expect("process ids are small"));
        kill(agent, Signal::SIGHUP).map_err(|errno| Error::new("sending SIGHUP", errno))?;
        Ok(true)
    }
}

fn link_fault(rng: &mut Rng) -> Fault {
    let links = [Role::Nic, Role::Bridge, Role::Tunnel, Role::Pod, Role::Spare, Role::Management];
    let link = links[rng.usize(..links.len())];
    match rng.bool() {
        true => Fault::LinkDown { node: 0, link },
        false => Fault::Mtu { node: 0, link, bytes: rng.u32(700..=1500).into() },
    }
}

/// Another configuration, and whether it is broken.
fn variant(configuration: &str, rng: &mut Rng) -> (String, bool) {
    match rng.u8(0..6) {
        0 => (configuration.to_owned(), false),
        1 => (format!("{configuration}metrics: {{ named_peers: {} }}\n", rng.u8(0..=50)), false),
        2 => (format!("{configuration}expect: {{ underlay_mtu: 1500, overlay_mtu: 1450 }}\n"), false),
        3 => (format!("{configuration}nonsense: true\n"), true),
        4 => (configuration[..rng.usize(1..configuration.len() / 2)].to_owned() + "\n\"", true),
        _ => (configuration.replace("confirm_rounds: 2", "confirm_rounds: 0"), true),
    }
}

fn catches(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_one_bit_of_the_mask() {
        assert!(catches("SigCgt:\t0000000000000001\n", Signal::SIGHUP));
        assert!(!catches("SigCgt:\t0000000000000002\n", Signal::SIGHUP));
        assert!(!catches("", Signal::SIGHUP));
    }

    #[test]
    fn a_seed_gives_the_same_faults_again() {
        let faults = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..50).map(|_| link_fault(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
    }

    #[test]
    fn variants_are_broken_as_they_say() {
        let base = "node: a\npeers:\n  kernel: true\nprobing: { interval: 1s, confirm_rounds: 2 }\n";
        let mut rng = Rng::with_seed(1);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        let mut seen = [false; 2];
        for _ in 0..200 {
            let (text, broken) = variant(base, &mut rng);
            fs::write(&file, &text).unwrap();
            assert_eq!(agent::config::Settings::load(Some(&file)).is_err(), broken, "{text}");
            seen[usize::from(broken)] = true;
        }
        assert_eq!(seen, [true; 2], "good and broken ones");
    }
}
