//! Pods by the thousand: veths with a route each, in waves, as a rollout or a drained node makes them.
//!
//! A wave's far ends share one namespace. It goes either link by link, as pods end one by one, or with its namespace, as
//! they end when their sandboxes are torn down, and the kernel then takes all links at once.

use std::fmt::Write as _;

use fastrand::Rng;
use lab::Result;
use lab::namespace::Namespace;
use lab::recipe::Overlay;
use lab::wait::{self, Look};

use crate::storm::{Counts, Storm};

/// Pods in a wave, at most.
const WAVE: usize = 50;

/// Their addresses: a network that no node's block is in.
const NETWORK: u8 = 245;

/// Waves come until all pods are there and go until none is, again and again.
pub(crate) fn churn(storm: &Storm<'_>, mut rng: Rng) -> Result<Counts> {
    let mut crowd =
        Crowd { storm, overlay: storm.cluster.overlay()?, waves: Vec::new(), next: 0, counts: Counts::default() };
    let mut rising = true;
    while storm.stop.pause_between(&mut rng, 20, 300) {
        rising = if rising { crowd.pods() < storm.pods } else { crowd.pods() == 0 };
        // One in five goes against the tide.
        let comes = rising != (rng.u8(0..5) == 0);
        if comes && crowd.pods() < storm.pods {
            crowd.come(&mut rng)?;
        } else if !crowd.waves.is_empty() {
            let wave = rng.usize(..crowd.waves.len());
            crowd.go(wave, rng.bool())?;
        }
    }
    while !crowd.waves.is_empty() {
        crowd.go(0, rng.bool())?;
    }
    crowd.is_gone()?;
    Ok(crowd.counts)
}

struct Crowd<'s> {
    storm: &'s Storm<'s>,
    overlay: Overlay,
    waves: Vec<Wave>,
    next: usize,
    counts: Counts,
}

struct Wave {
    links: Vec<String>,
    ends: Namespace,
}

impl Crowd<'_> {
    fn pods(&self) -> usize {
        self.waves.iter().map(|wave| wave.links.len()).sum()
    }

    fn come(&mut self, rng: &mut Rng) -> Result<()> {
        let ends = Namespace::new("pods of a wave")?;
        let size = rng.usize(1..=WAVE.min(self.storm.pods - self.pods()));
        // One wave in ten was configured for a network without a tunnel.
        let mtu = if rng.u8(0..10) == 0 { 1500 } else { self.overlay.mtu };
        let (mut lines, mut far, mut links) = (String::new(), String::new(), Vec::new());
        for end in 0..size {
            let link = format!("cali{:011x}", self.next);
            let [high, low] = u16::try_from(self.next % 60_000).expect("below 65,536").to_be_bytes();
            let _ = writeln!(
                lines,
                "link add {link} mtu {mtu} type veth peer name eth{end} mtu {mtu} netns {}\nlink set {link} up\n\
                 route add 10.{NETWORK}.{high}.{low} dev {link} scope link",
                ends.path()
            );
            let _ = writeln!(far, "link set eth{end} up");
            links.push(link);
            self.next += 1;
        }
        self.storm.cluster.host(0).feed("ip", &["-batch", "-"], &lines)?;
        ends.feed("ip", &["-batch", "-"], &far)?;
        self.waves.push(Wave { links, ends });
        self.counts.pods_made += size;
        self.counts.most_pods = self.counts.most_pods.max(self.pods());
        Ok(())
    }

    fn go(&mut self, wave: usize, one_by_one: bool) -> Result<()> {
        let Wave { links, ends } = self.waves.swap_remove(wave);
        if one_by_one {
            let lines: String = links.iter().map(|link| format!("link del {link}\n")).collect();
            self.storm.cluster.host(0).feed("ip", &["-batch", "-"], &lines)?;
        }
        drop(ends);
        Ok(())
    }

    /// The kernel takes a namespace down in its own time.
    fn is_gone(&self) -> Result<()> {
        wait::until("the pods' links to be gone", || {
            let routes = self.storm.cluster.host(0).sh("ip -4 route show")?;
            let left = routes.lines().filter(|route| route.starts_with(&format!("10.{NETWORK}."))).count();
            Ok(if left == 0 { Look::There(()) } else { Look::NotYet(format!("{left} routes")) })
        })
    }
}
