//! Settings as somebody wants them: the operator, or the machine's files.

use crate::declared::sysctl::{Key, Setting, number};
use crate::report::SettingRow;
use crate::snapshot::Snapshot;

/// What a setting is to be: as the operator says, else as the machine's files do.
pub(super) fn of(node: &Snapshot, key: &str) -> Option<String> {
    let written = || {
        let names = Setting::with(key).map_or_else(|| Key::parse(key).into_iter().collect(), Setting::keys);
        node.tables.written.known()?.agreed(&names)
    };
    node.expect.sysctls.get(key).cloned().or_else(written)
}

/// What the operator expects beyond the settings that have rows anyway, as far as it is a number.
pub(super) fn others(node: &Snapshot, shown: &[&str]) -> Vec<SettingRow> {
    let row = |(text, wanted): (&String, &String)| {
        let key = Key::parse(text).filter(|key| key.of_link().is_none_or(|(_, name)| name != "rp_filter"))?;
        let value = number(node.tables.values.get(&key)?.known()?)?;
        Some(SettingRow { name: text.clone(), link: String::new(), value, wanted: Some(wanted.clone()) })
    };
    let others = node.expect.sysctls.iter().filter(|(key, _)| !shown.contains(&key.as_str()));
    others.filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declared::sysctl::{RawFile, RawFiles, Written};
    use crate::fact::Fact;
    use crate::snapshot::example::Example;

    #[test]
    fn the_operator_goes_before_the_files_and_adds_rows() {
        let text = "net.ipv4.ip_forward = 0\nnet.ipv4.conf.*.rp_filter = 2\nnet.ipv4.ip_no_pmtu_disc = 0\n";
        let file = RawFile { path: "/etc/sysctl.d/a.conf".into(), text: Ok(text.into()) };
        let mut node = Example::reference().snapshot();
        node.tables.written = Fact::Known(Written::new(&RawFiles { directories: vec![file], main: None }));
        let probing = Key::parse("net.ipv4.tcp_mtu_probing").unwrap();
        node.tables.values.insert(probing.clone(), Fact::Known("0".into()));
        node.expect.sysctls = [("net.ipv4.ip_forward", "1"), ("net.ipv4.tcp_mtu_probing", "2")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let rows = super::super::rows(&node, crate::report::Vantage::Node);
        let of = |name: &str, link: &str| {
            let mut rows = rows.iter().filter(|row| row.name == name && row.link == link);
            let row = rows.next().unwrap();
            assert!(rows.next().is_none(), "one row each: {name}");
            (row.value, row.wanted.as_deref())
        };
        assert_eq!(of("ip_forward", ""), (1, Some("1")));
        assert_eq!(of("ip_no_pmtu_disc", ""), (0, Some("0")));
        assert_eq!(of("rp_filter", "vmbr1"), (0, Some("2")));
        assert_eq!(of("net.ipv4.tcp_mtu_probing", ""), (0, Some("2")));
        assert_eq!(of("bridge-nf-call-iptables", ""), (1, None));
    }
}
