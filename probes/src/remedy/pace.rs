//! Rounds that end within the interval: more packets a second, a longer interval, or a processor that is there.

/// What keeps a round from ending in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldUp {
    /// The packets that may leave in a second.
    Packets {
        /// How many would do; `None` if it is more than may be set.
        packets_per_second: Option<u32>,
        /// The interval in seconds that would do; `None` if it is more than may be set.
        interval: Option<u64>,
    },
    /// Reading the kernel's tables.
    Reading {
        /// The interval in seconds that would do.
        interval: Option<u64>,
    },
    /// Neither: a processor that is short, or answers that do not come.
    Other {
        /// The interval in seconds that would do.
        interval: Option<u64>,
    },
    /// Nothing any more: the last round ended in time.
    Nothing,
}

pub(super) fn kept(held: &HeldUp) -> Vec<String> {
    match held {
        HeldUp::Packets { packets_per_second, interval } => {
            let packets = packets_per_second.map(|packets| format!("`probing.packets_per_second` to {packets} or more"));
            vec![
                set(packets.into_iter().chain(longer(*interval))),
                "Trouble takes many packets: a round needs fewer once what is found on paths is mended.".into(),
            ]
        }
        HeldUp::Reading { interval } => vec![
            "See which table takes long to read: mtuscope_source_duration_seconds tells of each. A node of tens of thousands \
             of neighbours, routes or pods' links needs its time."
                .into(),
            set(longer(*interval)),
        ],
        HeldUp::Other { interval } => vec![
            "See that the agent has no CPU limit, under which it is throttled, and that the node has a processor to spare: \
             `avg60` in the line `some` is the part of the time in which somebody waits for one."
                .into(),
            "$ cat /proc/pressure/cpu".into(),
            format!(
                "A peer that does not answer takes ten seconds of a round. Where there are such peers and the interval is \
                 shorter: {}",
                lower_first(&set(longer(*interval)))
            ),
        ],
        HeldUp::Nothing => {
            vec!["The last round ended in time: wait until the peers that are behind have had their turn.".into()]
        }
    }
}

fn longer(interval: Option<u64>) -> Option<String> {
    interval.map(|seconds| format!("`probing.interval` to {seconds}s or more"))
}

fn set(ways: impl IntoIterator<Item = String>) -> String {
    let ways: Vec<_> = ways.into_iter().collect();
    if ways.is_empty() {
        return "Name fewer peers for this agent: no interval and no number of packets that may be set is enough."
            .into();
    }
    format!(
        "Set {} in the agents' configuration: what kustomize applies rolls out, a file edited in place is taken up without \
         a restart.",
        ways.join(", or ")
    )
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_do_is_named_as_far_as_it_may_be_set() {
        let told = |packets_per_second, interval| kept(&HeldUp::Packets { packets_per_second, interval })[0].clone();
        assert_eq!(
            told(Some(400), Some(60)),
            "Set `probing.packets_per_second` to 400 or more, or `probing.interval` to 60s or more in the agents' \
             configuration: what kustomize applies rolls out, a file edited in place is taken up without a restart."
        );
        assert!(!told(Some(400), None).contains("interval"));
        assert!(told(None, None).starts_with("Name fewer peers"));
    }

    #[test]
    fn a_processor_that_is_short_is_looked_for_before_the_interval_is_made_longer() {
        let lines = kept(&HeldUp::Other { interval: Some(20) });
        assert!(lines[0].contains("CPU limit") && lines[1].starts_with("$ cat /proc/pressure"), "{lines:#?}");
        assert!(lines[2].contains("shorter: set `probing.interval` to 20s or more"), "{lines:#?}");
        assert!(kept(&HeldUp::Reading { interval: Some(20) })[0].contains("mtuscope_source_duration_seconds"));
        assert_eq!(kept(&HeldUp::Nothing).len(), 1, "nothing is to be done");
    }
}
