//! A remedy as each set-up wants it, told once where all want the same.
//!
//! A fix is worded for the CNI and for the host's network files. Whoever reads the catalogue has not been recognised
//! yet, so every wording is shown, under the set-ups that it is for: of eight there are two or three different ones.

use probes::remedy::{self, Fix};
use probes::snapshot::Setup;
use probes::snapshot::setup::{Cni, Host};
use serde::Serialize;

/// CNIs as a reader looks for them; what is left comes last.
const CNIS: [(Cni, &str); 4] =
    [(Cni::Calico, "Calico"), (Cni::Flannel, "Flannel"), (Cni::Cilium, "Cilium"), (Cni::Unknown, "any other CNI")];

/// Hosts in the same way.
const HOSTS: [(Host, &str); 2] = [(Host::Proxmox, "Proxmox VE"), (Host::Plain, "any other host")];

/// A set-up.
type Pair = (Cni, Host);

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its wordings: one, or those of different set-ups.
    pub variants: Vec<Variant>,
}

/// One wording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// The set-ups that it is for; none if it is for all.
    pub setup: Option<String>,
    /// What to do, line by line.
    pub lines: Vec<String>,
}

/// Every wording of a remedy under the set-ups that it is for. What is for all says so where it follows one that is not.
pub fn headed(steps: &[Step]) -> Vec<(Option<&str>, &[String])> {
    let all = steps.iter().flat_map(|step| &step.variants);
    let before = std::iter::once(None).chain(all.clone().map(|variant| variant.setup.as_deref()));
    let headed = all.zip(before).map(|(variant, before)| {
        let everywhere = before.map(|_| "everywhere");
        (variant.setup.as_deref().or(everywhere), &variant.lines[..])
    });
    headed.collect()
}

/// The steps of a remedy, in order. One that only a certain CNI's nodes ever need has no wording for others.
pub(super) fn by_setup(fixes: &[Fix]) -> Vec<Step> {
    let all = setups(fixes);
    let worded: Vec<(Pair, Vec<Vec<String>>)> =
        all.iter().map(|&(cni, host)| ((cni, host), remedy::steps(fixes, Setup { cni, host }))).collect();
    let steps = worded.iter().map(|(_, steps)| steps.len()).max().unwrap_or_default();
    let wordings =
        |nth: usize| worded.iter().map(move |(setup, steps)| (*setup, steps.get(nth).cloned().unwrap_or_default()));
    (0..steps).map(|nth| Step { variants: variants(wordings(nth)) }).filter(|step| !step.variants.is_empty()).collect()
}

/// The set-ups that a remedy can be needed on.
fn setups(fixes: &[Fix]) -> Vec<Pair> {
    let only = fixes.iter().find_map(Fix::cni);
    let cnis = CNIS.into_iter().map(|(cni, _)| cni).filter(|&cni| only.is_none_or(|only| only == cni));
    cnis.flat_map(|cni| HOSTS.map(|(host, _)| (cni, host))).collect()
}

fn variants(wordings: impl Iterator<Item = (Pair, Vec<String>)>) -> Vec<Variant> {
    let mut groups: Vec<(Vec<String>, Vec<Pair>)> = Vec::new();
    let mut all = 0;
    for (setup, lines) in wordings {
        all += 1;
        match groups.iter_mut().find(|(known, _)| *known == lines) {
            Some((_, setups)) => setups.push(setup),
            None => groups.push((lines, vec![setup])),
        }
    }
    let told = groups.into_iter().filter(|(lines, _)| !lines.is_empty());
    told.map(|(lines, setups)| Variant { setup: name(&setups).filter(|_| setups.len() < all), lines }).collect()
}

/// The set-ups in words: `Calico, Flannel`, `Proxmox VE`, `Calico on Proxmox VE`; nothing if it is all.
fn name(setups: &[Pair]) -> Option<String> {
    let cnis: Vec<&str> = CNIS.iter().filter(|(cni, _)| setups.iter().any(|(of, _)| of == cni)).map(second).collect();
    let hosts: Vec<&str> =
        HOSTS.iter().filter(|(host, _)| setups.iter().any(|(_, of)| of == host)).map(second).collect();
    if setups.len() < cnis.len() * hosts.len() {
        let each: Vec<String> = setups.iter().filter_map(|&setup| name(&[setup])).collect();
        return Some(each.join(", "));
    }
    match (cnis.len() < CNIS.len(), hosts.len() < HOSTS.len()) {
        (true, true) => Some(format!("{} on {}", cnis.join(", "), hosts.join(", "))),
        (true, false) => Some(cnis.join(", ")),
        (false, true) => Some(hosts.join(", ")),
        (false, false) => None,
    }
}

fn second<T>((_, name): &(T, &'static str)) -> &'static str {
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn told(by: impl Fn(Cni, Host) -> &'static str) -> Vec<(Option<String>, String)> {
        let lines = |cni, host| Some(by(cni, host)).filter(|line| !line.is_empty()).map(str::to_owned);
        let setups = CNIS.into_iter().flat_map(|(cni, _)| HOSTS.map(|(host, _)| (cni, host)));
        let wordings = setups.map(|(cni, host)| ((cni, host), lines(cni, host).into_iter().collect()));
        variants(wordings).into_iter().map(|one| (one.setup, one.lines.concat())).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(Option<String>, String)> {
        let pair = |(setup, line): &(&str, &str)| (Some(setup.to_string()).filter(|s| !s.is_empty()), line.to_string());
        of.iter().map(pair).collect()
    }

    #[test]
    fn what_is_the_same_everywhere_is_told_once_and_for_nobody_in_particular() {
        assert_eq!(told(|_, _| "do"), pairs(&[("", "do")]));
        assert_eq!(told(|_, _| ""), []);
    }

    #[test]
    fn wordings_are_told_under_the_set_ups_that_want_them() {
        let by_cni = |cni, _| if cni == Cni::Calico { "patch" } else { "edit" };
        assert_eq!(told(by_cni), pairs(&[("Calico", "patch"), ("Flannel, Cilium, any other CNI", "edit")]));
        let by_host = |_, host| if host == Host::Proxmox { "ifreload" } else { "" };
        assert_eq!(told(by_host), pairs(&[("Proxmox VE", "ifreload")]));
        let both = |cni, host| match (cni, host) {
            (Cni::Flannel, Host::Proxmox) => "a",
            (Cni::Flannel, Host::Plain) | (Cni::Cilium, Host::Proxmox) => "b",
            _ => "",
        };
        let b = "Flannel on any other host, Cilium on Proxmox VE";
        assert_eq!(told(both), pairs(&[("Flannel on Proxmox VE", "a"), (b, "b")]));
    }

    #[test]
    fn what_is_for_all_says_so_behind_what_is_for_some() {
        let one =
            |setup: Option<&str>, line: &str| Variant { setup: setup.map(str::to_owned), lines: vec![line.to_owned()] };
        let steps = [
            Step { variants: vec![one(None, "a")] },
            Step { variants: vec![one(Some("Calico"), "b"), one(Some("Flannel"), "c")] },
            Step { variants: vec![one(None, "d")] },
            Step { variants: vec![one(None, "e")] },
        ];
        let heads: Vec<_> = headed(&steps).into_iter().map(|(head, lines)| (head, lines.concat())).collect();
        let told = [(None, "a"), (Some("Calico"), "b"), (Some("Flannel"), "c"), (Some("everywhere"), "d"), (None, "e")];
        assert_eq!(heads, told.map(|(head, line)| (head, line.to_owned())));
    }

    /// Fails where what a CNI wants and what a host wants come in one step: both would be told for every pair.
    #[test]
    fn no_line_is_told_twice_for_one_cni() {
        let port = probes::checks::by_code("bridge-port-mtu").unwrap();
        let told = by_setup(&port.example().fixes);
        let patches = told.iter().flat_map(|step| &step.variants).flat_map(|one| &one.lines);
        assert_eq!(patches.filter(|line| line.contains("calicoNetwork")).count(), 1, "{told:#?}");
        let setups = told.iter().flat_map(|step| &step.variants).filter_map(|one| one.setup.as_deref());
        assert!(setups.into_iter().all(|setup| !setup.contains(" on ")), "{told:#?}");
    }

    #[test]
    fn steps_are_the_remedy_of_each_set_up() {
        for check in probes::checks::ALL {
            let fixes = check.example().fixes;
            let steps = by_setup(&fixes);
            for (cni, host) in setups(&fixes) {
                let setup = Setup { cni, host };
                let rendered = remedy::render(&fixes, setup);
                let told: BTreeSet<&String> =
                    steps.iter().flat_map(|step| &step.variants).flat_map(|variant| &variant.lines).collect();
                assert!(rendered.iter().all(|line| told.contains(line)), "{} {setup:?}", check.entry.code);
            }
        }
    }

    #[test]
    fn what_only_calico_needs_is_not_worded_for_flannel() {
        let wrong = probes::checks::by_code("calico-mtu-autodetected-wrong").unwrap();
        let told: Vec<Variant> = by_setup(&wrong.example().fixes).into_iter().flat_map(|step| step.variants).collect();
        assert!(told.iter().all(|one| one.setup.is_none()), "{told:?}");
        assert!(told.iter().flat_map(|one| &one.lines).any(|line| line.contains("calicoNetwork")));
    }
}
