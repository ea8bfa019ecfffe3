//! A global allocator that counts, for tests and benches that prove a path does not allocate.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: alloc_count::Counting = alloc_count::Counting;
//!
//! let mut buffer = Vec::with_capacity(8);
//! let counts = alloc_count::count(|| buffer.push(1u8));
//! assert_eq!(counts.allocs, 0);
//! assert_eq!(alloc_count::count(|| Box::new(1u64)).allocs, 1);
//! ```
//!
//! Counters are per thread, so tests that run beside each other do not disturb one another. To watch a thread that a
//! test cannot wrap, take [`thread_counter`] on it (in any callback it runs) and read the handle from outside;
//! [`total`] sums up all threads. `realloc` counts as one allocation of the new size. Frees are not counted.
//!
//! It does not count what bypasses the global allocator (`mmap`, thread stacks, C libraries).
#![deny(missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The system allocator, counted. Without it as `#[global_allocator]` every count is zero; see [`is_installed`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// Allocations made, and the bytes asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `alloc`, `alloc_zeroed` and `realloc`.
    pub allocs: u64,
    /// Sum of the sizes asked for.
    pub bytes: u64,
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, earlier: Counts) -> Counts {
        Counts { allocs: self.allocs - earlier.allocs, bytes: self.bytes - earlier.bytes }
    }
}

/// Counts what the calling thread allocates while `f` runs. Its result is dropped after the counting.
pub fn count<R>(f: impl FnOnce() -> R) -> Counts {
    let counter = thread_counter();
    let before = counter.counts();
    let result = black_box(f());
    let counts = counter.counts() - before;
    drop(result);
    counts
}

/// The calling thread's counter, readable from any thread.
///
/// # Panics
/// When the process has started more than 4,095 allocating threads, for then threads share a counter and a count
/// would say nothing.
pub fn thread_counter() -> ThreadCounter {
    let slot = slot();
    assert!(slot != SHARED, "more than {} threads: no counter left for this one", SHARED);
    ThreadCounter { slot }
}

/// What all threads allocated since the process began.
pub fn total() -> Counts {
    let used = NEXT_SLOT.load(Relaxed).min(SHARED);
    SLOTS[..used].iter().chain([&SLOTS[SHARED]]).map(Slot::counts).fold(Counts::default(), |sum, counts| {
        Counts { allocs: sum.allocs + counts.allocs, bytes: sum.bytes + counts.bytes }
    })
}

/// Whether [`Counting`] is this process's global allocator. Assert it where a test relies on a count of zero.
pub fn is_installed() -> bool {
    count(|| Box::new(0u8)).allocs == 1
}

/// Reads one thread's counter; outlives the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadCounter {
    slot: usize,
}

impl ThreadCounter {
    /// What that thread allocated since it began.
    pub fn counts(&self) -> Counts {
        SLOTS[self.slot].counts()
    }
}

/// One thread's counters, alone on their cache line so that counting does not make threads contend.
#[repr(align(64))]
struct Slot {
    allocs: AtomicU64,
    bytes: AtomicU64,
}

impl Slot {
    const fn new() -> Slot {
        Slot { allocs: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    fn counts(&self) -> Counts {
        Counts { allocs: self.allocs.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }
}

/// A slot is never reused: 4,096 slots (256 KiB) are more threads than a test process starts.
static SLOTS: [Slot; SHARED + 1] = [const { Slot::new() }; SHARED + 1];
/// The last slot serves every thread that found no free one.
const SHARED: usize = 4_095;
static NEXT_SLOT: AtomicUsize = AtomicUsize::new(0);
const UNASSIGNED: usize = usize::MAX;

thread_local! {
    /// Constant and without a destructor, so that using it inside the allocator neither allocates nor fails.
    static SLOT: Cell<usize> = const { Cell::new(UNASSIGNED) };
}

fn slot() -> usize {
    SLOT.with(|slot| {
        if slot.get() == UNASSIGNED {
            slot.set(NEXT_SLOT.fetch_add(1, Relaxed).min(SHARED));
        }
        slot.get()
    })
}

fn record(bytes: usize) {
    let slot = &SLOTS[slot()];
    slot.allocs.fetch_add(1, Relaxed);
    slot.bytes.fetch_add(bytes as u64, Relaxed);
}

// SAFETY: every call is passed on unchanged to `System`, which keeps the contract; counting touches atomics and a
// constant thread-local only, so it neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record(layout.size());
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        record(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        record(new_size);
        // SAFETY: `block` came from `System` through this allocator, with this layout.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `System` through this allocator, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    #[test]
    fn counts_allocations_and_bytes_of_the_closure() {
        assert!(is_installed());
        assert_eq!(count(|| Vec::<u8>::with_capacity(100)), Counts { allocs: 1, bytes: 100 });
        assert_eq!(count(|| vec![0u32; 10]), Counts { allocs: 1, bytes: 40 }, "zeroed memory counts");
        assert_eq!(count(|| 1 + 1), Counts::default());
    }

    #[test]
    fn a_growing_vector_counts_as_an_allocation() {
        let mut vector = Vec::<u8>::with_capacity(4);
        assert_eq!(count(|| vector.extend([1, 2, 3, 4])).allocs, 0);
        assert_eq!(count(|| vector.push(5)).allocs, 1);
    }

    #[test]
    fn another_thread_is_watched_from_outside_and_does_not_disturb_this_one() {
        let (handle, handles) = mpsc::sync_channel(1);
        let (go, gate) = mpsc::sync_channel::<()>(1);
        let other = thread::spawn(move || {
            handle.send(thread_counter()).expect("the test waits for it");
            gate.recv().expect("the test opens the gate");
            black_box(vec![0u8; 1 << 20]);
        });
        let counter = handles.recv().expect("the thread sends its counter");
        let (before, total_before) = (counter.counts(), total());
        let mine = count(|| go.send(()).expect("the thread waits"));
        other.join().expect("the thread ends");
        assert!((counter.counts() - before).bytes >= 1 << 20);
        assert!((total() - total_before).bytes >= 1 << 20);
        assert!(mine.bytes < 1 << 20);
    }
}
