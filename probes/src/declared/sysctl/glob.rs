//! Patterns as glob(7) has them, a path's parts one by one: `*`, `?`, `[a-c]`, `[!a]`, and `\` before any of them.

/// Whether a text is a pattern, as both readers tell it.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a path is one of those that a pattern means. No wildcard matches a slash.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let (mut parts, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (parts.next(), names.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if part_matches(part, name) => {}
            _ => return false,
        }
    }
}

/// Greedy with one place to come back to, the last `*`: a part costs at most its length times the name's.
fn part_matches(part: &str, name: &str) -> bool {
    let (part, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < name.len() {
        if part.get(at) == Some(&'*') {
            star = Some((at, seen));
            at += 1;
        } else if let Some(taken) = one(&part[at..], name[seen]) {
            at += taken;
            seen += 1;
        } else if let Some((back, from)) = star {
            at = back + 1;
            seen = from + 1;
            star = Some((back, from + 1));
        } else {
            return false;
        }
    }
    part[at..].iter().all(|&rest| rest == '*')
}

/// How many characters of a pattern stand for this one; `None` if it is not meant.
fn one(pattern: &[char], name: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => match set(pattern, name) {
            Some((meant, taken)) => meant.then_some(taken),
            None => (name == '[').then_some(1),
        },
        '\\' if pattern.len() > 1 => (pattern[1] == name).then_some(2),
        literal => (literal == name).then_some(1),
    }
}

/// Whether a set of characters means this one, and how long it is; `None` where it does not end.
fn set(pattern: &[char], name: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = if negated { 2 } else { 1 };
    // A bracket that stands first is one of the set.
    let end = first + 1 + pattern.get(first + 1..)?.iter().position(|&one| one == ']')?;
    let (mut within, mut at) = (false, first);
    while at < end {
        if at + 2 < end && pattern[at + 1] == '-' {
            within |= (pattern[at]..=pattern[at + 2]).contains(&name);
            at += 3;
        } else {
            within |= pattern[at] == name;
            at += 1;
        }
    }
    Some((within != negated, end + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wildcard_stays_within_its_part() {
        let conf = "net/ipv4/conf/eth0.100/rp_filter";
        for pattern in [
            "net/ipv4/conf/*/rp_filter",
            "net/*/conf/eth*/rp_filter",
            "net/ipv4/conf/e?h0.*/rp_*",
            "net/ipv4/conf/[a-f]th[!1-9].100/rp_filter",
            "net/ipv4/conf/*0*/*",
        ] {
            assert!(matches(pattern, conf), "{pattern}");
        }
        for pattern in
            ["net/*/rp_filter", "net/ipv4/conf/*", "net/ipv4/conf/[!e]*/rp_filter", "*", "", "net/ipv4/conf/*/*/*"]
        {
            assert!(!matches(pattern, conf), "{pattern}");
        }
    }

    #[test]
    fn brackets_and_backslashes_may_be_meant() {
        assert!(matches("a[]b]c", "a]c") && matches("a[", "a[") && matches(r"a\*", "a*"));
        assert!(!matches(r"a\*", "ab") && !matches("a[]b]c", "acc"));
    }

    proptest! {
        #[test]
        fn a_path_is_what_it_says_and_what_a_star_means(path in "[a-z.0-9_]{1,8}(/[a-z.0-9_]{1,8}){0,4}") {
            prop_assert!(matches(&path, &path));
            let stars = path.split('/').map(|_| "*").collect::<Vec<_>>().join("/");
            prop_assert!(matches(&stars, &path));
        }

        #[test]
        fn no_pattern_is_too_odd(pattern in "[-*?!a^\\]\\[\\\\/]{0,24}", path in "[a/\\]*-]{0,24}") {
            let _ = matches(&pattern, &path);
        }
    }
}
