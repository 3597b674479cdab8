//! Remedies, followed to the letter: what a finding advises is done in the lab, and has to mend the cluster.
//!
//! A remedy is lines of text, and this reads them as an operator does. Every `ip`, `bridge` and `sysctl` command that
//! changes something is run, in order, on the node that the sentence before it names. Commands for what the lab does not
//! have are acted out as far as they touch the kernel: a CNI that is told an MTU gives it to its tunnel on every node and
//! to pods that are born from then on; one that is restarted writes its routes and entries again; so does whatever
//! manages the host's network. Pods that are to be recreated are.

use std::net::IpAddr;

use probes::remedy::INSTEAD;
use serde_json::Value;

use crate::cluster::{Cluster, Memory};
use crate::family::Family;
use crate::{Error, Result};

/// Something that a remedy says to do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A command that changes something in a kernel.
    Run { place: Place, words: Vec<String> },
    /// The CNI is told an MTU for its tunnel and for pods.
    Tell(u32),
    /// The CNI is told an MTU for pods.
    Bear(u32),
    /// The CNI starts again on this node.
    Restart,
    /// The host's network is set up as its files say.
    Reload,
    /// Pods are born again.
    Recreate,
}

/// Where a command is meant to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Here,
    Every,
    /// A node, by its name or one of its addresses.
    On(String),
}

impl Place {
    /// As the sentence before a command has it.
    fn of(sentence: &str) -> Self {
        let named = sentence.strip_prefix("On ").and_then(|rest| rest.split_once(','));
        match named {
            _ if sentence.contains("every node") => Self::Every,
            Some((name, _)) if !name.contains(' ') => Self::On(name.to_owned()),
            _ => Self::Here,
        }
    }

    fn nodes(&self, cluster: &Cluster) -> Result<Vec<usize>> {
        let recipe = &cluster.recipe;
        match self {
            Self::Here => Ok(vec![0]),
            Self::Every => Ok((0..recipe.nodes.len()).collect()),
            Self::On(name) => {
                let address: Option<IpAddr> = name.parse().ok();
                let is = |&node: &usize| {
                    recipe.nodes[node] == name
                        || address.is_some_and(|address| recipe.underlay_addresses(node).contains(&address))
                };
                let node = (0..recipe.nodes.len()).find(is);
                Ok(vec![node.ok_or_else(|| Error::new("following a remedy", format!("no node is `{name}`")))?])
            }
        }
    }
}

/// Follows a remedy: the first of its ways that has something to do in a kernel. `before` is what the nodes' CNI and
/// network managers want.
///
/// # Errors
/// If a command fails, or there is nothing to do.
pub fn follow(remedy: &[String], cluster: &Cluster, before: &Memory<'_>) -> Result<()> {
    let acts =
        |way: &Vec<Step>| way.iter().any(|step| matches!(step, Step::Run { .. } | Step::Tell(_) | Step::Recreate));
    let ways = ways(remedy);
    let way = ways.iter().find(|way| acts(way)).ok_or_else(|| {
        Error::new("following a remedy", format!("it changes nothing in a kernel:\n{}", remedy.join("\n")))
            .check("the scenario says why: `remedy = \"elsewhere: …\"`")
    })?;
    let mut told = None;
    for step in way {
        match step {
            Step::Run { place, words } => run(place, words, cluster)?,
            Step::Tell(mtu) => {
                told = Some(*mtu);
                tell(*mtu, cluster)?;
            }
            Step::Bear(mtu) => told = Some(*mtu),
            Step::Restart => before.tunnels_again(0)?,
            Step::Reload => before.underlay_again(0)?,
            Step::Recreate => (0..cluster.nodes.len()).try_for_each(|node| cluster.recreate_pods(node, told))?,
        }
    }
    Ok(())
}

fn run(place: &Place, words: &[String], cluster: &Cluster) -> Result<()> {
    for node in place.nodes(cluster)? {
        let words = words.iter().map(|word| filled_in(word, cluster, node)).collect::<Result<Vec<_>>>()?;
        let program = words.first().map_or("", String::as_str);
        cluster.host(node).run(program, words[1..].iter().map(String::as_str))?;
    }
    Ok(())
}

/// What only the operator knows.
fn filled_in(word: &str, cluster: &Cluster, node: usize) -> Result<String> {
    let recipe = &cluster.recipe;
    match word {
        "GATEWAY" => {
            let router = recipe.router_in(Family::V4, node).filter(|_| recipe.table.is_none());
            Ok(router.unwrap_or_else(|| recipe.management_gateway(Family::V4)).to_string())
        }
        "NIC" => Ok(recipe.nic.to_owned()),
        _ if is_left_open(word) => Err(Error::new("following a remedy", format!("nobody knows {word}"))),
        _ => Ok(word.to_owned()),
    }
}

fn is_left_open(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
}

/// Felix gives its tunnels the MTU that it is told.
fn tell(mtu: u32, cluster: &Cluster) -> Result<()> {
    for (node, tunnel) in
        (0..cluster.nodes.len()).flat_map(|node| cluster.recipe.tunnels().into_iter().map(move |tunnel| (node, tunnel)))
    {
        cluster.host(node).run("ip", ["link", "set", "dev", tunnel.link, "mtu", &mtu.to_string()])?;
    }
    Ok(())
}

fn ways(remedy: &[String]) -> Vec<Vec<Step>> {
    remedy.split(|line| line == INSTEAD).map(steps).collect()
}

fn steps(lines: &[String]) -> Vec<Step> {
    let (mut steps, mut place) = (Vec::new(), Place::Here);
    for line in lines {
        match line.strip_prefix("$ ") {
            Some(commands) => {
                steps.extend(
                    commands.split("; ").flat_map(|part| part.split(" && ")).filter_map(|one| step(one, &place)),
                );
            }
            None => {
                place = Place::of(line);
                steps.extend(pods_mtu(line).map(Step::Bear));
                steps.extend(line.starts_with("Pods keep their MTU until").then_some(Step::Recreate));
                steps.extend(line.contains("come back once its manager applies its files").then_some(Step::Reload));
            }
        }
    }
    // An operator's installation and a manifest's are told the same.
    steps.dedup_by(|next, step| next == step && !matches!(step, Step::Run { .. }));
    steps
}

fn step(command: &str, place: &Place) -> Option<Step> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let plain = |word: &&str| !word.starts_with('-');
    match *words.first()? {
        "ip" | "bridge" => {
            let verb = *words[1..].iter().filter(|word| plain(word)).nth(1)?;
            let known = !words.contains(&"LINK");
            (known && ["set", "add", "del", "replace", "flush"].contains(&verb)).then(|| run_of(&words, place))
        }
        "sysctl" => (words.contains(&"-w") && !command.contains("LINK")).then(|| run_of(&words, place)),
        "kubectl" | "helm" if words.contains(&"delete") => Some(Step::Restart),
        "kubectl" => mtu_in(command).map(Step::Tell),
        _ => None,
    }
}

fn run_of(words: &[&str], place: &Place) -> Step {
    let words = words.iter().map(|word| word.trim_matches('"').to_owned()).collect();
    Step::Run { place: place.clone(), words }
}

/// What files that the lab does not have are to say.
fn pods_mtu(sentence: &str) -> Option<u32> {
    let (_, after) = sentence.split_once("FLANNEL_MTU is ").or_else(|| sentence.split_once("`\"mtu\": "))?;
    after.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// What a patch tells Calico.
fn mtu_in(command: &str) -> Option<u32> {
    let patch: Value = serde_json::from_str(command.split('\'').nth(1)?).ok()?;
    let of_operator = patch.pointer("/spec/calicoNetwork/mtu").and_then(Value::as_u64);
    let of_manifest = || patch.pointer("/data/veth_mtu")?.as_str()?.parse().ok();
    of_operator.or_else(of_manifest).and_then(|mtu| u32::try_from(mtu).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Vec<Vec<Step>> {
        ways(&lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>())
    }

    fn run(place: Place, command: &str) -> Step {
        Step::Run { place, words: command.split(' ').map(str::to_owned).collect() }
    }

    #[test]
    fn commands_belong_to_the_node_that_the_sentence_before_them_names() {
        let ways = read(&[
            "$ ip link set dev a mtu 1; ip -d link show dev a",
            "A restart reuses them as they are, so on every node:",
            "$ ip link set dev b mtu 2; ip link set dev c mtu 3",
            "On 10.0.0.12, forget:",
            "$ ip -6 route flush cache",
            "See:",
            "$ sysctl net.ipv4.ip_forward; bridge fdb show dev t",
            "$ sysctl -w \"a=1\"",
        ]);
        let expected = [
            run(Place::Here, "ip link set dev a mtu 1"),
            run(Place::Every, "ip link set dev b mtu 2"),
            run(Place::Every, "ip link set dev c mtu 3"),
            run(Place::On("10.0.0.12".into()), "ip -6 route flush cache"),
            run(Place::Here, "sysctl -w a=1"),
        ];
        assert_eq!(ways, [expected]);
    }

    #[test]
    fn a_cni_is_told_once_however_it_was_installed() {
        let ways = read(&[
            r#"$ kubectl patch installation.operator.tigera.io default --type merge -p '{"spec":{"calicoNetwork":{"mtu":1450}}}'"#,
            "Calico installed by manifest:",
            r#"$ kubectl -n kube-system patch cm calico-config --type merge -p '{"data":{"veth_mtu":"1450"}}' && kubectl -n kube-system rollout restart ds/calico-node"#,
            "Pods keep their MTU until they are recreated; restart them, one namespace at a time:",
            "Or, instead of that:",
            "$ ip link set dev a mtu 1500",
        ]);
        let raise = vec![run(Place::Here, "ip link set dev a mtu 1500")];
        assert_eq!(ways, [vec![Step::Tell(1450), Step::Recreate], raise]);
    }

    #[test]
    fn a_file_of_the_cni_says_what_pods_are_born_with() {
        let ways = read(&[
            "Pods take their MTU from FLANNEL_MTU in it: see that FLANNEL_MTU is 1449, and on every node:",
            "$ ip link set dev cni0 mtu 1449",
        ]);
        assert_eq!(ways, [[Step::Bear(1449), run(Place::Every, "ip link set dev cni0 mtu 1449")]]);
        assert_eq!(pods_mtu("Set `\"mtu\": 1500` in the CNI configuration"), Some(1500));
        assert_eq!(pods_mtu("Raise the MTU from the wire upwards"), None);
    }

    #[test]
    fn what_a_remedy_leaves_open_is_told_from_names() {
        assert!(is_left_open("GATEWAY") && is_left_open("THIS_NODE"));
        assert!(!is_left_open("eth0") && !is_left_open("1500") && !is_left_open("A"));
    }
}
