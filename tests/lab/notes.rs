//! Notes of what is done to a namespace, as the commands that do it.
//!
//! A person who watches a fault wants to know exactly what was changed, and to be able to do it by hand. What runs is the
//! only description that cannot go stale, so it is noted where it runs. Questions change nothing and are left out.

use std::cell::RefCell;

thread_local! {
    static NOTES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Does something on this thread, and yields the changes it made, a line each.
pub fn of<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let before = NOTES.replace(Some(Vec::new()));
    let done = work();
    let notes = NOTES.replace(before);
    (done, notes.unwrap_or_default())
}

/// Notes a change, if anybody wants to know.
pub(crate) fn add(namespace: &str, change: impl FnOnce() -> String) {
    NOTES.with_borrow_mut(|notes| {
        let Some(notes) = notes else { return };
        let change = change();
        if !is_question(&change) {
            notes.push(format!("{namespace}: {change}"));
        }
    });
}

fn is_question(command: &str) -> bool {
    command.split_whitespace().any(|word| word == "show" || word == "get")
}

/// What is fed to a program, as a line: the rules of a filter, the commands of a batch.
pub(crate) fn fed(program: &str, lines: &str) -> String {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    if program != "nft" {
        return lines.map(|line| format!("{program} {line}")).collect::<Vec<_>>().join("; ");
    }
    // On one line, rules need an end of their own.
    let ended = |line: &str| if line.ends_with([';', '{', '}']) { line.to_owned() } else { format!("{line};") };
    format!("nft '{}'", lines.map(ended).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_noted_and_questions_are_not() {
        let ((), notes) = of(|| {
            add("a", || "ip -o link show dev x".into());
            add("a", || "ip link set x mtu 1400".into());
        });
        assert_eq!(notes, ["a: ip link set x mtu 1400"]);
        add("a", || unreachable!("nobody listens"));
    }

    #[test]
    fn a_batch_reads_as_commands() {
        assert_eq!(fed("ip", "link set x up\nroute add y\n"), "ip link set x up; ip route add y");
        assert_eq!(fed("nft", "table t { chain c {\n drop\n}\n}\n"), "nft 'table t { chain c { drop; } }'");
    }
}
