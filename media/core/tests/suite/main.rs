//! Media as a shell sees it: legs on a virtual clock, SDP bodies, and the counting allocator over all of it.
#![expect(clippy::unwrap_used, reason = "test")]

mod alloc;
mod bridge;
mod browser;
mod classifying;
mod dtmf;
mod formats;
mod hearing;
mod leg;
mod pair;
mod pesq;
mod recording;
mod rig;
mod sdp;
mod srtp;

#[global_allocator]
static ALLOCATOR: alloc_count::Counting = alloc_count::Counting;
