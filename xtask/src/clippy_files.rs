//! `cargo xtask clippy-files`: writes a `clippy.toml` into every crate.
//!
//! Clippy reads only the file nearest to a crate's manifest and knows no inheritance, so the files are generated from
//! the text below and `cargo xtask tidy` checks that they are up to date.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace::{Crate, Workspace};

/// For every crate: a test may unwrap and print, and nothing may leave `dbg!` behind.
const EVERYWHERE: &str = "\
# Written by `cargo xtask clippy-files`; change xtask/src/clippy_files.rs instead.
allow-unwrap-in-tests = true
allow-expect-in-tests = true
allow-print-in-tests = true
allow-dbg-in-tests = false
";

/// For the cores besides: architecture, invariant 1. "No core reads a clock, opens a socket, spawns, locks or draws
/// its own randomness." A test's virtual clock needs one real instant to start at; it says so with `#[expect]`.
const IN_CORES: &str = r#"
disallowed-methods = [
    { path = "std::time::Instant::now", reason = "time is handed in: take `now: Instant`" },
    { path = "std::time::Instant::elapsed", reason = "reads the clock: subtract from `now`" },
    { path = "std::time::SystemTime::now", reason = "wall clock exists in shells only" },
    { path = "std::time::SystemTime::elapsed", reason = "wall clock exists in shells only" },
    { path = "std::thread::spawn", reason = "threads exist in shells only" },
    { path = "std::thread::scope", reason = "threads exist in shells only" },
    { path = "std::thread::sleep", reason = "a core never waits: set a timer" },
    { path = "std::thread::Builder::spawn", reason = "threads exist in shells only" },
    { path = "std::hash::RandomState::new", reason = "randomness is handed in" },
    { path = "getrandom::fill", reason = "randomness is handed in", allow-invalid = true },
    { path = "getrandom::u32", reason = "randomness is handed in", allow-invalid = true },
    { path = "getrandom::u64", reason = "randomness is handed in", allow-invalid = true },
    { path = "rand::rng", reason = "randomness is handed in", allow-invalid = true },
    { path = "rand::random", reason = "randomness is handed in", allow-invalid = true },
]
disallowed-types = [
    { path = "std::net::UdpSocket", reason = "sockets exist in shells only" },
    { path = "std::net::TcpStream", reason = "sockets exist in shells only" },
    { path = "std::net::TcpListener", reason = "sockets exist in shells only" },
    { path = "std::fs::File", reason = "files exist in shells only" },
    { path = "std::sync::Mutex", reason = "a core is one value behind `&mut`" },
    { path = "std::sync::RwLock", reason = "a core is one value behind `&mut`" },
]
"#;

/// The text of a crate's `clippy.toml`.
pub(crate) fn content(krate: &Crate) -> String {
    if krate.is_sans_io() { format!("{EVERYWHERE}{IN_CORES}") } else { EVERYWHERE.to_owned() }
}

pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    for krate in &workspace.crates {
        let path = workspace.root.join(&krate.folder).join("clippy.toml");
        fs::write(&path, content(krate)).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The crates whose file differs from what would be written.
pub(crate) fn stale(workspace: &Workspace) -> Vec<String> {
    let differs = |folder: &Path, expected: String| {
        fs::read_to_string(workspace.root.join(folder).join("clippy.toml")).ok() != Some(expected)
    };
    workspace
        .crates
        .iter()
        .filter(|krate| differs(&krate.folder, content(krate)))
        .map(|krate| krate.folder.join("clippy.toml").display().to_string())
        .collect()
}
