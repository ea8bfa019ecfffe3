//! Legs on real sockets and threads, on loopback.
#![expect(clippy::unwrap_used, reason = "test")]

mod allocations;
mod bridges;
mod loopback;
mod resources;
mod support;

/// Counts per thread, so the tests beside each other do not disturb the one that looks at it.
#[global_allocator]
static ALLOCATOR: alloc_count::Counting = alloc_count::Counting;
