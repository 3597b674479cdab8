//! The two readers: which lines they keep, in which order they write them, and which one wins.

use std::collections::{BTreeMap, BTreeSet};

use crate::fact::Unread;

use super::{Key, RawFile, glob, key};

/// Longest value.
const LONGEST: usize = 4095;

/// What a reader would write, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reader {
    steps: Vec<Step>,
    /// Keys that are named: no pattern means them.
    named: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Line(Given),
    /// A file that could not be read.
    Hole(Unread),
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    file: String,
    number: usize,
    /// Key or pattern, with slashes.
    key: String,
    /// None leaves the key out of patterns.
    value: Option<String>,
    pattern: bool,
}

/// The line that wins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Won<'r> {
    given: &'r Given,
    pub(super) value: &'r str,
    pub(super) pattern: bool,
}

impl Won<'_> {
    pub(super) fn at(&self) -> String {
        format!("{}:{}", self.given.file, self.given.number)
    }

    /// Whether two readers were led by one line, be it by two names of its file.
    pub(super) fn is_same_line(&self, other: &Self) -> bool {
        let (one, other) = (self.given, other.given);
        let place = one.file == other.file || other.file == super::MAIN;
        place && one.number == other.number && one.key == other.key && one.value == other.value
    }
}

impl Reader {
    /// A key has one place among the lines: that of its last assignment, unless it only says what was said before.
    pub(super) fn systemd<'f>(files: impl IntoIterator<Item = &'f RawFile>) -> Self {
        let mut steps: Vec<Option<Step>> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for step in read(files) {
            match &step {
                // Whatever it says stands between what came before and what comes.
                Step::Hole(_) => places.clear(),
                Step::Line(given) => {
                    if let Some(&place) = places.get(&given.key) {
                        let said = matches!(&steps[place], Some(Step::Line(before)) if before.value == given.value);
                        if said {
                            continue;
                        }
                        steps[place] = None;
                    }
                    places.insert(given.key.clone(), steps.len());
                }
            }
            steps.push(Some(step));
        }
        Self::of(steps.into_iter().flatten().collect())
    }

    /// Every line has its own place.
    pub(super) fn procps<'f>(files: impl IntoIterator<Item = &'f RawFile>) -> Self {
        Self::of(read(files).collect())
    }

    fn of(steps: Vec<Step>) -> Self {
        let named = |step: &Step| match step {
            Step::Line(given) if !given.pattern => Some(given.key.clone()),
            _ => None,
        };
        let named = steps.iter().filter_map(named).collect();
        Self { steps, named }
    }

    /// The line that is written last of those that mean one of these names.
    pub(super) fn winner(&self, names: &[Key]) -> Result<Option<Won<'_>>, Unread> {
        let mut winner: Option<Won<'_>> = None;
        let mut hole: Option<&Unread> = None;
        for step in &self.steps {
            match step {
                Step::Hole(unread) => hole = Some(unread),
                Step::Line(given) => {
                    let Some(value) = given.value.as_deref().filter(|_| self.means(given, names)) else { continue };
                    winner = Some(Won { given, value, pattern: given.pattern });
                    // A pattern gives way to a name, which the unread file may hold.
                    hole = hole.filter(|_| given.pattern);
                }
            }
        }
        hole.map_or(Ok(winner), |unread| Err(unread.clone()))
    }

    fn means(&self, given: &Given, names: &[Key]) -> bool {
        names.iter().any(|name| {
            if given.pattern {
                !self.named.contains(name.path()) && glob::matches(&given.key, name.path())
            } else {
                given.key == name.path()
            }
        })
    }
}

/// The lines of files, one after the other.
fn read<'f>(files: impl IntoIterator<Item = &'f RawFile>) -> impl Iterator<Item = Step> {
    files.into_iter().flat_map(|file| match &file.text {
        Ok(text) => text.lines().enumerate().filter_map(|(index, line)| given(file, index + 1, line)).collect(),
        Err(unread) => vec![Step::Hole(unread.clone())],
    })
}

/// A line that says something about the network: no other key means one of its settings.
fn given(file: &RawFile, number: usize, line: &str) -> Option<Step> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return None;
    }
    // A minus leaves errors aside where there is a value, and the key itself out of patterns where there is none.
    let bare = line.strip_prefix('-');
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name.strip_prefix('-').unwrap_or(name), Some(value.trim().to_owned())),
        None => (bare?, None),
    };
    let key = key::path(name.trim());
    let pattern = glob::is_pattern(&key);
    if !pattern && Key::parse(&key).is_none() {
        return None;
    }
    // What is empty or longer than a page the kernel refuses.
    if value.as_ref().is_some_and(|value| value.is_empty() || value.len() > LONGEST) {
        return None;
    }
    Some(Step::Line(Given { file: file.path.clone(), number, key, value, pattern }))
}
