//! A card as another agent gave it: read as far as it makes sense, and believed in nothing that would be absurd.
//!
//! It comes from another machine, of another version or of nobody's making. A row that cannot be true (an MTU that no link
//! has, a name that is no link's) is passed over, as is what a later version may add. A card of another schema, of a pod,
//! or with more rows than any agent writes is no card. What is wrong with one is never a finding: it is a node that could
//! not be looked at. In words about it this node's own name for the peer stands, never what the card says.

use std::net::IpAddr;

use serde_json::Value;

use super::{ADDRESSES, LINKS, MACS, OTHERS, SCHEMA, TUNNELS};
use crate::kernel::Mac;
use crate::units::{Family, LinkMtu};

/// MTUs that links have: 68 is the least of IPv4 (RFC 791), 65,536 that of `lo`.
const MTUS: std::ops::RangeInclusive<u64> = 68..=65_536;

/// The longest name of a link: `IFNAMSIZ` less its end.
const LONGEST_LINK: usize = 15;

/// The longest name of a node (RFC 1123).
const LONGEST_NODE: usize = 253;

/// How many times as many rows as this version writes a card may have.
const ROOM: usize = 4;

/// What another node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The name that it goes by.
    pub node: String,
    /// Links with addresses that lead to peers or carry tunnels.
    pub links: Vec<ToldLink>,
    /// Tunnels that carry pods' packets.
    pub tunnels: Vec<ToldTunnel>,
    /// Hardware addresses of its own links.
    pub macs: Vec<Mac>,
    /// Addresses of kube-vip that it holds.
    pub held: Vec<IpAddr>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldLink {
    /// Its name there.
    pub name: String,
    /// Device MTU.
    pub mtu: LinkMtu,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldTunnel {
    /// The device there.
    pub link: String,
    /// Its kind.
    pub kind: String,
    /// The family of its outer packets.
    pub family: Option<Family>,
    /// Network identifier.
    pub id: Option<u32>,
    /// UDP port.
    pub port: Option<u16>,
    /// Device MTU.
    pub mtu: Option<LinkMtu>,
}

/// Reads a card.
///
/// # Errors
/// If it is none, in words for whoever wonders why a node was not compared.
pub fn read(bytes: &[u8]) -> Result<Told, String> {
    let card: Value = serde_json::from_slice(bytes).map_err(|error| format!("its card is no JSON: {error}"))?;
    if card["schema"] != SCHEMA {
        return Err(format!("what it gave is no {SCHEMA}"));
    }
    if card["vantage"] != "node" {
        return Err("it speaks for a pod, not for a node".into());
    }
    let node = name(&card["node"], LONGEST_NODE).ok_or("its card has no name")?;
    let held = |vip: &Value| if vip["held"] == true { address(&vip["address"]) } else { None };
    Ok(Told {
        node,
        links: rows(&card, "links", LINKS, link)?,
        tunnels: rows(&card, "tunnels", TUNNELS, tunnel)?,
        macs: rows(&card, "hardware_addresses", MACS, |text| mac(text.as_str()?))?,
        held: rows(&card, "vips", OTHERS, held)?,
    })
}

/// The rows that make sense. None at all is no error: an older or newer version may not have them.
fn rows<T>(card: &Value, key: &str, most: usize, row: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, String> {
    let all = card[key].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.len() > most * ROOM {
        return Err(format!("its card has {} {key}, more than any node's", all.len()));
    }
    Ok(all.iter().filter_map(row).collect())
}

fn link(row: &Value) -> Option<ToldLink> {
    let all = row["addresses"].as_array()?;
    let addresses: Vec<IpAddr> = all.iter().take(ADDRESSES * ROOM).filter_map(address).collect();
    Some(ToldLink { name: name(&row["name"], LONGEST_LINK)?, mtu: mtu(&row["mtu"])?, addresses })
}

fn tunnel(row: &Value) -> Option<ToldTunnel> {
    let family = match row["family"].as_str() {
        Some("ipv4") => Some(Family::Ipv4),
        Some("ipv6") => Some(Family::Ipv6),
        _ => None,
    };
    Some(ToldTunnel {
        link: name(&row["link"], LONGEST_LINK)?,
        kind: name(&row["kind"], LONGEST_LINK)?,
        family,
        id: row["id"].as_u64().and_then(|id| u32::try_from(id).ok()),
        port: row["port"].as_u64().and_then(|port| u16::try_from(port).ok()),
        mtu: mtu(&row["mtu"]),
    })
}

/// A word that may stand in a line of a terminal.
fn name(value: &Value, longest: usize) -> Option<String> {
    let text = value.as_str()?;
    let fit = |c: char| c.is_ascii_graphic();
    (!text.is_empty() && text.len() <= longest && text.chars().all(fit)).then(|| text.to_owned())
}

fn mtu(value: &Value) -> Option<LinkMtu> {
    let bytes = value.as_u64().filter(|bytes| MTUS.contains(bytes))?;
    u32::try_from(bytes).ok().map(LinkMtu::new)
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

/// A hardware address as it is written: `66:00:00:00:00:01`.
fn mac(text: &str) -> Option<Mac> {
    let mut parts = text.split(':').map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2));
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = parts.next()??;
    }
    (parts.next().is_none()).then_some(Mac(mac)).filter(|mac| mac.is_unicast())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn card(change: impl FnOnce(&mut Value)) -> Result<Told, String> {
        let mut card = json!({
            "schema": SCHEMA, "node": "master-2", "vantage": "node",
            "links": [{ "name": "eth0", "role": "underlay", "mtu": 1500, "addresses": ["10.0.0.12", "fd00::12"] }],
            "tunnels": [{ "link": "flannel.1", "kind": "vxlan", "family": "ipv4", "id": 1, "port": 8472, "mtu": 1450 }],
            "hardware_addresses": ["66:00:00:00:00:0c"],
            "vips": [{ "address": "10.0.0.100", "held": true }, { "address": "10.0.0.101", "held": false }],
        });
        change(&mut card);
        read(card.to_string().as_bytes())
    }

    #[test]
    fn a_card_is_read() {
        let told = card(|_| {}).unwrap();
        assert_eq!((told.links[0].mtu, told.links[0].addresses.len()), (LinkMtu::new(1500), 2));
        assert_eq!((told.tunnels[0].id, told.tunnels[0].port), (Some(1), Some(8472)));
        assert_eq!(told.macs, [Mac([0x66, 0, 0, 0, 0, 12])]);
        assert_eq!(told.held, ["10.0.0.100".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn what_cannot_be_true_is_passed_over_and_what_is_new_too() {
        for mtu in
            [json!(0), json!(67), json!(-1500), json!(4_000_000_000_u64), json!("1500"), json!(1.5e300), json!(null)]
        {
            assert_eq!(card(|card| card["links"][0]["mtu"] = mtu.clone()).unwrap().links, [], "{mtu}");
        }
        assert_eq!(card(|card| card["links"][0]["name"] = json!("eth0\u{1b}[31m")).unwrap().links, []);
        assert_eq!(card(|card| card["links"][0]["name"] = json!("a-name-that-no-link-has")).unwrap().links, []);
        assert_eq!(card(|card| card["links"][0]["addresses"] = json!({ "a": 1 })).unwrap().links, []);
        assert_eq!(
            card(|card| card["hardware_addresses"] = json!(["66:0:0:0:0:c", "01:00:5e:00:00:01", 7])).unwrap().macs,
            []
        );
        assert_eq!(card(|card| card["links"][0]["speed"] = json!([])).unwrap(), card(|_| {}).unwrap());
        assert_eq!(card(|card| card["tunnels"] = json!("none")).unwrap().tunnels, []);
    }

    #[test]
    fn what_is_no_card_is_none() {
        for (bytes, why) in
            [(&b"<html>"[..], "no JSON"), (b"", "no JSON"), (b"[]", "no mtuscope.node/v1"), (b"\xff\xfe", "no JSON")]
        {
            assert!(read(bytes).unwrap_err().contains(why), "{bytes:?}");
        }
        assert!(card(|card| card["schema"] = json!("mtuscope.node/v2")).is_err());
        assert!(card(|card| card["vantage"] = json!("pod")).unwrap_err().contains("pod"));
        assert!(card(|card| card["node"] = json!("x".repeat(254))).is_err());
        let many = json!(vec![json!({ "name": "eth0", "mtu": 9000, "addresses": ["10.0.0.12"] }); 10_000]);
        assert!(card(|card| card["links"] = many.clone()).unwrap_err().contains("10000 links"));
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes()).is_err(), "and no stack is exhausted");
    }
}
