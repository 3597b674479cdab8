//! What repeats is said once and counted.
//!
//! A line is known by its call site and its fields; the words of its message may differ. The first is written. Those that
//! follow within [`WINDOW`] are counted, and the count is said when the window is over; a fault that goes on is then
//! counted anew, so that it is heard of once in every window and never more often. A window without a repetition is the
//! end: the next such line is written again. Whoever wants a line written each time gives it a field that says which
//! time it is.
//!
//! Numbered or not, one call site writes [`MOST`] different lines in a window; of the rest it is said how many there
//! were. So neither a thousand peers nor a careless field makes a flood. Debugging is for whoever asks for it and goes
//! through untouched.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// For so long a line that was written is not written again.
pub(super) const WINDOW: Duration = Duration::from_secs(600);

/// Most different lines of one call site within a window.
pub(super) const MOST: u32 = 100;

/// Most bytes of a line that are kept for saying how often it repeated.
const KEPT: usize = 400;

/// What was written and what was not.
#[derive(Debug)]
pub(super) struct Ledger<S> {
    lines: HashMap<(S, String), Line>,
    sites: HashMap<S, Site>,
}

/// A line that was written.
#[derive(Debug)]
struct Line {
    level: Level,
    text: String,
    from: Instant,
    last: Instant,
    times: u64,
}

/// What one call site wrote.
#[derive(Debug)]
struct Site {
    level: Level,
    text: String,
    from: Instant,
    written: u32,
    unsaid: u64,
}

/// What was not written, to be said in a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsaid {
    level: Level,
    /// How often.
    times: u64,
    /// The time that it is about.
    over: Duration,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// This line again.
    Same { text: String, last: Duration },
    /// More lines like this one.
    Like { text: String },
}

impl<S> Default for Ledger<S> {
    fn default() -> Self {
        Self { lines: HashMap::new(), sites: HashMap::new() }
    }
}

impl<S: Clone + Eq + Hash> Ledger<S> {
    /// Whether to write this line.
    fn write(&mut self, site: S, said: Said, level: Level, now: Instant) -> bool {
        if let Some(line) = self.lines.get_mut(&(site.clone(), said.fields.clone())) {
            line.times += 1;
            line.last = now;
            return false;
        }
        let text = said.text();
        if !self.admit(&site, level, &text, 1, now) {
            return false;
        }
        self.lines.insert((site, said.fields), Line { level, text, from: now, last: now, times: 0 });
        true
    }

    /// Whether the site may write one more line; if not, these `times` are counted.
    fn admit(&mut self, site: &S, level: Level, text: &str, times: u64, now: Instant) -> bool {
        let fresh = || Site { level, text: text.to_owned(), from: now, written: 0, unsaid: 0 };
        let known = self.sites.entry(site.clone()).or_insert_with(fresh);
        if known.written < MOST {
            known.written += 1;
            return true;
        }
        known.unsaid += times;
        false
    }

    /// What was not written and is to be told by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Unsaid> {
        let mut told = Vec::new();
        let over = |from: Instant| now.saturating_duration_since(from) >= WINDOW;
        self.sites.retain(|_, site| {
            if over(site.from) && site.unsaid > 0 {
                let what = What::Like { text: site.text.clone() };
                told.push(Unsaid { level: site.level, times: site.unsaid, over: now - site.from, what });
            }
            !over(site.from)
        });
        let ended: Vec<_> =
            self.lines.extract_if(|_, line| over(line.from)).filter(|(_, line)| line.times > 0).collect();
        for (key, line) in ended {
            if !self.admit(&key.0, line.level, &line.text, line.times, now) {
                continue;
            }
            let what = What::Same { text: line.text.clone(), last: now.saturating_duration_since(line.last) };
            told.push(Unsaid { level: line.level, times: line.times, over: now - line.from, what });
            self.lines.insert(key, Line { from: now, times: 0, ..line });
        }
        told
    }

    /// When [`Self::due`] has something to tell or to forget.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let lines = self.lines.values().map(|line| line.from);
        lines.chain(self.sites.values().map(|site| site.from)).min().map(|from| from + WINDOW)
    }
}

/// Lines about lines are not counted themselves: there is one for each at most.
const ABOUT_LINES: &str = "agent::logs::unsaid";

/// Says what was not written.
pub(super) fn say(unsaid: &Unsaid) {
    let Unsaid { level, times, .. } = *unsaid;
    let message = unsaid.to_string();
    match level {
        Level::ERROR => tracing::error!(target: ABOUT_LINES, times, "{message}"),
        Level::WARN => tracing::warn!(target: ABOUT_LINES, times, "{message}"),
        _ => tracing::info!(target: ABOUT_LINES, times, "{message}"),
    }
}

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { times, over, .. } = self;
        let minutes = over.as_secs() / 60;
        match &self.what {
            What::Same { text, last } => {
                write!(f, "again {times} times in {minutes} min, last {} s ago: {text}", last.as_secs())
            }
            What::Like { text } => write!(f, "{times} more lines in {minutes} min like: {text}"),
        }
    }
}

/// The words of an event.
#[derive(Debug, Default)]
struct Said {
    message: String,
    fields: String,
}

impl Said {
    fn text(&self) -> String {
        let mut text = format!("{}{}", self.message, self.fields);
        if text.len() > KEPT {
            text.truncate(text.floor_char_boundary(KEPT));
            text.push('…');
        }
        text
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// The rule as part of a subscriber.
pub(super) struct Repeats {
    ledger: Arc<Mutex<Ledger<Identifier>>>,
}

impl Repeats {
    pub(super) fn new(ledger: Arc<Mutex<Ledger<Identifier>>>) -> Self {
        Self { ledger }
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == ABOUT_LINES {
            return true;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.write(metadata.callsite(), said, *metadata.level(), Instant::now())
    }
}

#[cfg(test)]
impl Unsaid {
    /// A line that repeated three times.
    pub(super) fn example() -> Self {
        let what = What::Same { text: "it fails".into(), last: Duration::ZERO };
        Self { level: Level::WARN, times: 3, over: WINDOW, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str, fields: &str) -> Said {
        Said { message: message.into(), fields: fields.into() }
    }

    /// A ledger and its clock, in seconds.
    struct Log {
        ledger: Ledger<&'static str>,
        start: Instant,
    }

    impl Log {
        fn new() -> Self {
            Self { ledger: Ledger::default(), start: Instant::now() }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn write(&mut self, seconds: u64, site: &'static str, fields: &str) -> bool {
            let now = self.at(seconds);
            self.ledger.write(site, said("it fails", fields), Level::WARN, now)
        }

        fn due(&mut self, seconds: u64) -> Vec<String> {
            let now = self.at(seconds);
            self.ledger.due(now).iter().map(ToString::to_string).collect()
        }
    }

    #[test]
    fn a_line_that_repeats_is_written_once_and_counted() {
        let mut log = Log::new();
        assert!(log.write(0, "accept", " error=EMFILE"));
        assert!(!(1..=30).any(|second| log.write(second, "accept", " error=EMFILE")));
        assert_eq!(log.due(599), [""; 0], "the window is not over");
        assert_eq!(log.due(600), ["again 30 times in 10 min, last 570 s ago: it fails error=EMFILE"]);
    }

    #[test]
    fn other_fields_and_other_sites_are_other_lines() {
        let mut log = Log::new();
        assert!(log.write(0, "accept", " error=EMFILE"));
        assert!(log.write(0, "accept", " error=ENFILE"));
        assert!(log.write(0, "receive", " error=EMFILE"));
        assert!(!log.ledger.write("accept", said("other words", " error=EMFILE"), Level::WARN, log.at(1)));
    }

    #[test]
    fn a_fault_that_goes_on_is_heard_of_once_in_every_window_and_is_news_after_it_ended() {
        let mut log = Log::new();
        assert!(log.write(0, "accept", ""));
        assert!(!log.write(300, "accept", ""));
        assert_eq!(log.due(600), ["again 1 times in 10 min, last 300 s ago: it fails"]);
        assert!(!log.write(900, "accept", ""), "it goes on");
        assert_eq!(log.due(1200).len(), 1);
        assert_eq!(log.due(1800), [""; 0], "nothing repeated in this window");
        assert!(log.write(1801, "accept", ""), "it is news again");
    }

    #[test]
    fn one_site_never_floods_whatever_its_fields() {
        let mut log = Log::new();
        let written = (0..10_000).filter(|number| log.write(1, "raised", &format!(" subject={number}"))).count();
        assert_eq!(written, MOST as usize);
        assert_eq!(log.due(601), ["9900 more lines in 10 min like: it fails subject=0"]);
        assert!(log.write(602, "raised", " subject=10001"), "a new window");
    }

    #[test]
    fn counts_of_many_lines_are_no_flood_either_and_memory_is_given_back() {
        let mut log = Log::new();
        for window in 0..5 {
            let from = window * 600;
            // Each window brings other lines than the last, and all of them go on.
            for number in 0..1_000 {
                log.write(from, "raised", &format!(" subject={}", window * 1_000 + number));
            }
            let known: Vec<_> = log.ledger.lines.keys().map(|(_, fields)| fields.clone()).collect();
            known.iter().for_each(|fields| _ = log.write(from + 1, "raised", fields));
            assert!(log.due(from + 600).len() <= MOST as usize + 1, "window {window}");
            assert!(log.ledger.lines.len() <= 2 * MOST as usize, "{}", log.ledger.lines.len());
        }
        log.due(4_000);
        log.due(5_000);
        assert_eq!((log.ledger.lines.len(), log.ledger.sites.len(), log.ledger.next_due()), (0, 0, None));
    }

    #[test]
    fn it_is_woken_when_a_window_ends() {
        let mut log = Log::new();
        assert_eq!(log.ledger.next_due(), None);
        log.write(5, "accept", "");
        log.write(9, "receive", "");
        assert_eq!(log.ledger.next_due(), Some(log.at(605)));
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let long = said(&"é".repeat(KEPT), "");
        assert!(long.text().len() <= KEPT + '…'.len_utf8());
    }
}
