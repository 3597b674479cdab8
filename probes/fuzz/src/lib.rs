//! What the fuzz targets share: messages out of bytes, choices out of bytes, and a limit on memory.
//!
//! Each target says in its head what must hold for every input; that nothing panics goes without saying. `.ci/fuzz`
//! builds them for the toolchain of the gate and runs them; `cargo fuzz run TARGET` does as well where it is installed.

pub mod machine;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use probes::kernel::RawMessage;

/// Counts what is allocated, so that an input of a few bytes that costs megabytes is found.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; only a number is kept beside.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises; it came from `System`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs something that may allocate `each` bytes for each byte of its input, over all, and a little to start with.
pub fn bounded<T>(input: usize, each: usize, run: impl FnOnce() -> T) -> T {
    const START: usize = 64 * 1024;
    let before = ALLOCATED.load(Ordering::Relaxed);
    let done = run();
    let taken = ALLOCATED.load(Ordering::Relaxed).wrapping_sub(before);
    assert!(taken <= START + input * each, "{taken} bytes allocated for {input} bytes of input");
    done
}

/// Cuts bytes into messages as golden files have them: length of the body (32 bits), type (16 bits), body. What is cut
/// short is the last message.
pub fn messages(mut bytes: &[u8]) -> Vec<RawMessage> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(6) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let (body, rest) = rest.split_at(length.min(rest.len()));
        messages.push(RawMessage { kind: u16::from_le_bytes([head[4], head[5]]), body: body.to_vec() });
        bytes = rest;
    }
    messages
}

/// Choices read off the input; zeros where it ends.
pub struct Choices<'a>(pub &'a [u8]);

impl<'a> Choices<'a> {
    /// Whether there is anything left to choose by.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Two bytes.
    pub fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// One of so many.
    pub fn of(&mut self, many: usize) -> usize {
        usize::from(self.word()) % many.max(1)
    }

    /// As many bytes as the next one says.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }
}
