//! Sysctls that files speak of: the line that wins is the one to follow, or to change.

use super::host::SYSCTL_FILES;

/// As the files say.
pub(super) fn as_written(key: &str, value: &str, at: &[String], instead: Option<&str>) -> Vec<String> {
    let at = at.join(" and ");
    let meant = instead.map(|instead| format!(" If {instead} is meant, change that line."));
    vec![
        format!("$ sysctl -w \"{key}={value}\""),
        format!(
            "{at} wins over every other line for it; `sysctl --system` sets all that files say. Find out what set another \
             value since, or before: a CNI, a network restart, a module that was loaded after the files were read.{}",
            meant.unwrap_or_default()
        ),
    ]
}

/// Otherwise than the files say.
pub(super) fn line(key: &str, value: &str, at: &[String], now: bool) -> Vec<String> {
    let set = now.then(|| format!("$ sysctl -w \"{key}={value}\""));
    let lines = match at {
        [one] => format!("Write `{key} = {value}` in place of {one}, the line that wins over every other one for it."),
        several => format!("Write `{key} = {value}` in place of {}, the lines that win.", several.join(" and ")),
    };
    let kept = format!(
        "{lines} Where a package or a hardening script owns that file, give the value in one that sorts later."
    );
    let last = key.rsplit('.').next().unwrap_or(key);
    let look = format!("$ grep -rsn {last} {SYSCTL_FILES}");
    set.into_iter().chain([kept, look]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "/etc/sysctl.d/60-hardening.conf:7";

    #[test]
    fn a_line_that_is_meant_is_followed_and_named() {
        let lines = as_written("net.ipv4.ip_forward", "1", &[AT.into()], Some("0")).join("\n");
        assert!(lines.starts_with("$ sysctl -w \"net.ipv4.ip_forward=1\"\n"), "{lines}");
        assert!(lines.contains(AT) && lines.ends_with("If 0 is meant, change that line."), "{lines}");
        assert!(!as_written("k", "1", &[AT.into()], None).join("\n").contains("is meant"));
    }

    #[test]
    fn a_line_that_is_not_meant_is_changed_and_the_value_set_only_where_it_is_another() {
        let lines = |now| line("net.ipv4.ip_forward", "1", &[AT.into()], now);
        assert!(lines(true)[0].starts_with("$ sysctl -w") && !lines(false)[0].starts_with('$'));
        assert!(lines(false)[0].contains(&format!("in place of {AT}")));
        assert!(!lines(false).iter().any(|line| line.starts_with("$ sysctl --system")), "that would turn it off");
    }
}
