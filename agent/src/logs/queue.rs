//! Lines on their way to standard error, bounded in bytes.
//!
//! Whoever logs puts a line in and goes on. Where the queue is full the line is lost and counted: an agent that waits
//! for its log reader would stop probing exactly when something is wrong enough to be logged a lot.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most bytes that wait: some thousand lines.
const MOST: usize = 256 << 10;

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    lost: u64,
    /// Whether lines that were taken out are still being written.
    writing: bool,
}

/// What was taken out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Lines in their order.
    pub(super) lines: VecDeque<Vec<u8>>,
    /// Lines that found no room since the last time.
    pub(super) lost: u64,
}

impl Queue {
    fn put(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.bytes + line.len() > MOST {
            state.lost += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        drop(state);
        self.changed.notify_all();
    }

    /// Everything that waits, as soon as there is something, or at `until`.
    pub(super) fn take(&self, until: Option<Instant>) -> Taken {
        let mut state = self.lock();
        while state.lines.is_empty() {
            state = match until {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.writing = true;
        state.bytes = 0;
        Taken { lines: std::mem::take(&mut state.lines), lost: std::mem::take(&mut state.lost) }
    }

    /// What was taken out is written.
    pub(super) fn written(&self) {
        self.lock().writing = false;
        self.changed.notify_all();
    }

    /// Waits until nothing waits any more, for so long at most.
    pub(super) fn flush(&self, patience: Duration) {
        let busy = |state: &mut State| state.writing || !state.lines.is_empty();
        _ = self.changed.wait_timeout_while(self.lock(), patience, busy);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each call is one line: the subscriber writes a line whole.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn lines_come_out_in_order() {
        let queue = Queue::default();
        queue.put(b"one\n");
        queue.put(b"two\n");
        let taken = queue.take(None);
        assert_eq!((taken.lines, taken.lost), ([b"one\n".to_vec(), b"two\n".to_vec()].into(), 0));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nobody_waits() {
        let queue = Queue::default();
        let line = vec![b'x'; 1 << 10];
        for _ in 0..(MOST >> 10) + 7 {
            queue.put(&line);
        }
        let taken = queue.take(None);
        assert_eq!((taken.lines.len(), taken.lost), (MOST >> 10, 7));
        queue.put(&line);
        assert_eq!(queue.take(None).lines.len(), 1, "there is room again, and the loss is told once");
    }

    #[test]
    fn a_deadline_ends_the_wait_for_a_line() {
        assert_eq!(Queue::default().take(Some(Instant::now())), Taken::default());
    }

    #[test]
    fn a_flush_waits_for_what_is_being_written_and_not_for_ever() {
        let queue = Arc::new(Queue::default());
        queue.put(b"line\n");
        queue.take(None);
        queue.flush(Duration::from_millis(1));
        assert!(queue.lock().writing, "it gave up on a writer that hangs");
        let writer = Arc::clone(&queue);
        let written = thread::spawn(move || writer.written());
        queue.flush(Duration::MAX);
        assert!(!queue.lock().writing);
        written.join().unwrap();
    }
}
