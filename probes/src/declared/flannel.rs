//! Flannel's own note for its CNI plugin: `/run/flannel/subnet.env`, written when it starts. The plugin gives pods the
//! `FLANNEL_MTU` of it, unless the CNI file's `delegate` names another.

use std::collections::BTreeMap;

use super::host::{Ask, RawHost};
use crate::fact::{Fact, Reason, Source, Unread};
use crate::units::IpSize;

/// Where it stands.
pub const SUBNET: &str = "/run/flannel/subnet.env";

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnet {
    /// `FLANNEL_MTU`: the MTU of pods.
    pub mtu: Option<IpSize>,
    /// `FLANNEL_NETWORK` and `FLANNEL_IPV6_NETWORK`, as they are written.
    pub networks: Vec<String>,
    /// `FLANNEL_SUBNET` and `FLANNEL_IPV6_SUBNET`, this node's, as they are written.
    pub subnets: Vec<String>,
}

pub(super) fn asks() -> Vec<Ask> {
    vec![Ask::text(SUBNET)]
}

/// What the file says.
pub fn subnet(read: &RawHost) -> Fact<Subnet> {
    match read.text(SUBNET) {
        Ok(Some(text)) => parse(text).into(),
        Ok(None) => Fact::Absent,
        Err(unread) => Fact::Unread(unread),
    }
}

fn parse(text: &str) -> Result<Subnet, Unread> {
    let lines = text.lines().filter_map(|line| line.trim().split_once('='));
    let values: BTreeMap<&str, &str> = lines.collect();
    let both = |kind: &str| {
        let names = [format!("FLANNEL_{kind}"), format!("FLANNEL_IPV6_{kind}")];
        names.iter().filter_map(|name| values.get(name.as_str())).map(|&value| value.to_owned()).collect()
    };
    let mtu = values.get("FLANNEL_MTU").map(|mtu| {
        let malformed = |_| {
            let what = format!("{SUBNET}: FLANNEL_MTU={mtu:.40} is no MTU");
            Unread::new(Source::HostFiles, Reason::Malformed { what })
        };
        mtu.parse::<u32>().map(IpSize::new).map_err(malformed)
    });
    Ok(Subnet { mtu: mtu.transpose()?, networks: both("NETWORK"), subnets: both("SUBNET") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flannel_writes_is_read() {
        let text = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n\
                    FLANNEL_IPV6_NETWORK=fd00:10:244::/56\nFLANNEL_IPV6_SUBNET=fd00:10:244:1::1/64\n\
                    FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        let subnet = parse(text).unwrap();
        assert_eq!(subnet.mtu, Some(IpSize::new(1450)));
        assert_eq!(subnet.networks, ["10.244.0.0/16", "fd00:10:244::/56"]);
        assert_eq!(subnet.subnets, ["10.244.1.1/24", "fd00:10:244:1::1/64"]);
    }

    #[test]
    fn a_file_without_an_mtu_declares_none_and_one_that_is_no_number_is_named() {
        assert_eq!(parse(""), Ok(Subnet::default()));
        let why = parse("FLANNEL_MTU=big").unwrap_err().to_string();
        assert!(why.contains("FLANNEL_MTU=big is no MTU"), "{why}");
    }
}
