//! What to ask the API, and when: told what was answered, asked for the next step, with no I/O of its own.
//!
//! 1. **The whole** first. A streamed list (`sendInitialEvents`) costs a server the least: it is served from its cache,
//!    object by object, and the connection goes on as the watch. Servers before 1.32, or with the feature off, refuse it,
//!    mostly by 422; whoever refuses with a status that no waiting mends is asked for a list in chunks of [`CHUNK`]
//!    slices instead, and so is one that begins to stream and never comes to the end of it. The list asks for no version,
//!    so it is never older than what is held already: a deleted peer does not rise again from a stale cache.
//! 2. **Changes** from the version of that on. A watch that ends, whether in order or by a broken connection, is resumed
//!    from the version heard last; a bookmark moves it on where nothing changes. A version that is gone (410, as a status
//!    or as an event), or that the server has never come to, takes the whole again.
//! 3. **Waits** between failures as [`super::pace`] draws them. A watch that ended in order is resumed at once, unless it
//!    ended so soon that something between here and the server must be ending it.
//!
//! Until a new whole is complete, the old one holds: no answer that is cut short takes a peer away. Nothing ages here
//! either. Endpoints stay, however long the API is not heard; how long that is can be seen by [`Announced::heard`], which
//! counts what only a living server tells: a list that is complete, an event, a bookmark, a watch that it ended when its
//! time was up. A connection that was made is none of these.

use std::sync::Arc;
use std::time::Duration;

use super::answers::{Event, Object, Page, Status};
use super::pace::Pace;
use super::slices::{Services, Slices};
use super::{Announced, Endpoint};
use crate::fact::Unread;
use crate::units::Mono;

/// Slices in a chunk of a list. Each has a hundred endpoints: a chunk is about a megabyte.
pub const CHUNK: u32 = 50;

/// How long a watch lasts that ended in order, at least. The servers' own limit is minutes.
const IN_ORDER: Duration = Duration::from_secs(20);

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// All objects as events, and then what happens to them.
    Stream,
    /// A chunk of a list: the first, or where the one before said that it goes on.
    List(Option<String>),
    /// What happens after this version.
    Watch(String),
}

impl Query {
    /// The verb that RBAC has for it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::List(_) => "list",
            Self::Stream | Self::Watch(_) => "watch",
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for this.
    Ask(Query),
    /// Nothing before then.
    Wait(Mono),
}

/// Why a query came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What it means for what is asked next.
    pub kind: Kind,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// In words.
    pub unread: Unread,
}

/// What a failure means for what is asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The version or the token is not to be had.
    Gone,
    /// The server said no, by this status.
    Status(u16),
    /// Nothing came for so long that nobody is taken to be there.
    Silent,
    /// There was no connection, it broke, or what came by it meant nothing.
    Broken,
}

impl Kind {
    /// What the API's own word means.
    pub fn of(status: &Status) -> Self {
        if status.code == 410 || status.is_ahead() { Self::Gone } else { Self::Status(status.code) }
    }
}

/// Statuses that say that the server will not stream lists, as against not now.
const REFUSALS: [u16; 9] = [400, 403, 404, 405, 406, 415, 416, 422, 501];

/// The course of asking.
#[derive(Debug)]
pub struct Course {
    services: Services,
    pace: Pace,
    next: Next,
    not_before: Mono,
    streams: bool,
    held: Slices,
    /// A whole that is not complete yet.
    coming: Slices,
    /// The version of what is held, from a watch's point of view.
    version: String,
    /// When the running watch was taken, and whether it has moved on since.
    opened: Mono,
    moved: bool,
    changed: bool,
    endpoints: Option<Arc<[Endpoint]>>,
    heard: u64,
    failing: Option<Unread>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    Whole,
    Chunk(String),
    Changes,
}

impl Course {
    /// Begins with nothing. `chance` is another for each agent; signs of life are counted on from `heard`.
    pub fn new(services: Services, chance: u64, heard: u64) -> Self {
        Self {
            services,
            pace: Pace::new(chance),
            next: Next::Whole,
            not_before: Mono::new(Duration::ZERO),
            streams: true,
            held: Slices::default(),
            coming: Slices::default(),
            version: String::new(),
            opened: Mono::new(Duration::ZERO),
            moved: false,
            changed: false,
            endpoints: None,
            heard,
            failing: None,
        }
    }

    /// What to do now.
    pub fn next(&self, now: Mono) -> Step {
        if now < self.not_before {
            return Step::Wait(self.not_before);
        }
        Step::Ask(match &self.next {
            Next::Whole if self.streams => Query::Stream,
            Next::Whole => Query::List(None),
            Next::Chunk(token) => Query::List(Some(token.clone())),
            Next::Changes => Query::Watch(self.version.clone()),
        })
    }

    /// How long a watch may last, by chance: so many agents do not all ask again at once.
    pub fn watch_time(&mut self) -> Duration {
        self.pace.between(Duration::from_secs(300), Duration::from_secs(600))
    }

    /// A watch was taken.
    pub fn on_open(&mut self, now: Mono) {
        (self.opened, self.moved) = (now, false);
        if self.next == Next::Changes {
            self.failing = None;
        }
        self.coming = Slices::default();
    }

    /// A chunk of a list came.
    pub fn on_page(&mut self, page: Page) {
        if self.next == Next::Whole {
            self.coming = Slices::default();
        }
        for object in page.items.unwrap_or_default() {
            self.coming.put(object, &self.services);
        }
        match page.metadata.go_on.filter(|token| !token.is_empty()) {
            Some(token) => self.next = Next::Chunk(token),
            None => self.on_whole(page.metadata.resource_version),
        }
    }

    fn on_whole(&mut self, version: String) {
        self.held = std::mem::take(&mut self.coming);
        (self.version, self.next, self.changed) = (version, Next::Changes, true);
        self.on_heard();
    }

    fn on_heard(&mut self) {
        self.heard += 1;
        self.failing = None;
    }

    /// Whether the running watch is worth more than its beginning: then the next failure is a first one. A whole alone is
    /// not, or a server that takes no watch would be asked for all there is again and again.
    fn is_steady(&self, now: Mono) -> bool {
        self.next == Next::Changes && (self.moved || now.since(self.opened) >= IN_ORDER)
    }

    /// An event of the running watch. An error is the end of it.
    ///
    /// # Errors
    /// The status by which the server ends the watch.
    pub fn on_event(&mut self, event: Event, now: Mono) -> Result<(), Status> {
        let whole = self.next != Next::Changes;
        let slices = if whole { &mut self.coming } else { &mut self.held };
        let version = match event {
            Event::Error(status) => return Err(status),
            Event::Bookmark(Object { metadata, .. }) if whole => {
                if metadata.ends_initial_events() {
                    self.on_whole(metadata.resource_version);
                }
                return Ok(());
            }
            Event::Bookmark(object) => object.metadata.resource_version,
            Event::Added(object) | Event::Modified(object) => {
                let version = object.metadata.resource_version.clone();
                slices.put(object, &self.services);
                self.changed |= !whole;
                version
            }
            Event::Deleted(object) => {
                slices.remove(&object.metadata.name);
                self.changed |= !whole;
                object.metadata.resource_version
            }
        };
        if !whole {
            if !version.is_empty() && version != self.version {
                (self.version, self.moved) = (version, true);
            }
            self.on_heard();
            if self.is_steady(now) {
                self.pace.reset();
            }
        }
        Ok(())
    }

    /// The running watch ended as servers end them.
    pub fn on_end(&mut self, now: Mono) {
        if self.next == Next::Changes && now.since(self.opened) >= IN_ORDER {
            self.on_heard();
        }
        match self.is_steady(now) {
            true => self.pace.reset(),
            false => self.not_before = now + self.pace.wait(None),
        }
    }

    /// The query came to nothing, or its answer was cut short.
    pub fn on_failed(&mut self, failed: Failed, now: Mono) {
        let streamed = self.next == Next::Whole && self.streams;
        let refused = matches!(failed.kind, Kind::Status(code) if REFUSALS.contains(&code));
        if streamed && (refused || failed.kind == Kind::Silent) {
            self.streams = false;
            return;
        }
        if failed.kind == Kind::Gone || matches!(self.next, Next::Chunk(_)) {
            self.next = Next::Whole;
        }
        // That a version is gone is an answer, and what follows from it is the way of things.
        if failed.kind != Kind::Gone {
            self.failing = Some(failed.unread);
        }
        self.not_before = now + self.pace.wait(failed.retry_after);
    }

    /// What selects the slices.
    pub fn selector(&self) -> String {
        self.services.selector()
    }

    /// Whether a watch has not come to the end of a streamed list yet.
    pub fn is_whole_coming(&self) -> bool {
        self.next == Next::Whole
    }

    /// Another server is spoken to from now on, which may stream lists.
    pub fn on_other_server(&mut self) {
        self.streams = true;
    }

    /// What the API announces, as it stands.
    pub fn announced(&mut self) -> Announced {
        if std::mem::take(&mut self.changed) {
            let endpoints = self.held.endpoints();
            if self.endpoints.as_ref() != Some(&endpoints) {
                self.endpoints = Some(endpoints);
            }
        }
        Announced { endpoints: self.endpoints.clone(), heard: self.heard, failing: self.failing.clone() }
    }
}

#[cfg(test)]
mod tests;
