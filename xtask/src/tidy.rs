//! `cargo xtask tidy`: house rules that neither the compiler nor clippy checks.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::clippy_files;
use crate::workspace::Workspace;

/// A file of more lines serves more than one purpose.
const MOST_LINES: usize = 1_000;

/// From here on it is worth thinking where to split.
const MANY_LINES: usize = 800;

/// Two screens: what it is, two commands, a picture, where to read on.
const MOST_README_LINES: usize = 120;

/// What must not stay in the sources, and why. Split, so that this file does not contain them itself.
const UNFINISHED: &[(&str, &str)] = &[
    (concat!("todo", "!("), "unfinished code"),
    (concat!("unimplemented", "!("), "unfinished code"),
    (concat!("dbg", "!("), "a trace left behind"),
    (concat!("#[", "ignore"), "an ignored test: mend it, or assert the known wrong result and say why"),
    (concat!("#[", "allow("), "an exception without reason: #[expect(lint, reason = \"…\")]"),
];

/// Words of one developer's machine and tools, in any case. The tree is for everybody.
const WORKPLACE: &[&str] =
    &[concat!("/wo", "rk/"), concat!("sub", "agent"), concat!("bash_", "jobs"), concat!("/ho", "me/")];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    place: String,
    what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Fault,
    Warning,
}

impl Finding {
    fn fault(place: impl fmt::Display, what: impl fmt::Display) -> Finding {
        Finding { severity: Severity::Fault, place: place.to_string(), what: what.to_string() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Fault => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{kind}: {}: {}", self.place, self.what)
    }
}

/// Everything untidy in the files that git knows or would take in.
pub(crate) fn findings(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in files(&workspace.root)? {
        // What is not text has no lines.
        let Ok(text) = fs::read_to_string(workspace.root.join(&path)) else { continue };
        findings.extend(in_file(&path, &text));
    }
    for krate in &workspace.crates {
        let library = workspace.root.join(&krate.folder).join("src/lib.rs");
        if fs::read_to_string(library).is_ok_and(|text| !text.starts_with("//!")) {
            findings
                .push(Finding::fault(krate.folder.join("src/lib.rs").display(), "no crate documentation"));
        }
    }
    for path in clippy_files::stale(workspace) {
        findings.push(Finding::fault(path, "not up to date: run `cargo xtask clippy-files`"));
    }
    findings.extend(unused_dependencies(workspace)?);
    Ok(findings)
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("running git")?;
    ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).context("a file name that is not UTF-8")?;
    Ok(names.split_terminator('\0').map(PathBuf::from).collect())
}

fn in_file(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place = path.display();
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    let lines = text.lines().count();
    if is_rust && lines > MOST_LINES {
        findings.push(Finding::fault(&place, format_args!("{lines} lines; at most {MOST_LINES}")));
    } else if is_rust && lines > MANY_LINES {
        let what = format!("{lines} lines; think of splitting beyond {MANY_LINES}");
        findings.push(Finding { severity: Severity::Warning, place: place.to_string(), what });
    }
    if path == Path::new("README.md") && lines > MOST_README_LINES {
        findings.push(Finding::fault(&place, format_args!("{lines} lines; at most {MOST_README_LINES}")));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if is_rust {
            for (pattern, why) in UNFINISHED.iter().filter(|(pattern, _)| line.contains(pattern)) {
                findings.push(Finding::fault(
                    format_args!("{place}:{number}"),
                    format_args!("`{pattern}`: {why}"),
                ));
            }
        }
        let lower = line.to_ascii_lowercase();
        for word in WORKPLACE.iter().filter(|word| lower.contains(*word)) {
            let what = format_args!("`{word}`: a word of one developer's machine");
            findings.push(Finding::fault(format_args!("{place}:{number}"), what));
        }
    }
    findings
}

/// `[workspace.dependencies]` that no crate uses, and a crate's dependencies that its sources do not name.
fn unused_dependencies(workspace: &Workspace) -> Result<Vec<Finding>> {
    let read = |path: PathBuf| -> Result<toml::Table> {
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        text.parse().with_context(|| format!("reading {}", path.display()))
    };
    let root = read(workspace.root.join("Cargo.toml"))?;
    let mut declared: Vec<&String> = root
        .get("workspace")
        .and_then(|table| table.get("dependencies"))
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(|table| table.keys())
        .collect();

    let mut findings = Vec::new();
    for krate in &workspace.crates {
        let folder = workspace.root.join(&krate.folder);
        let manifest = read(folder.join("Cargo.toml"))?;
        let sources = rust_sources(&folder)?;
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for name in manifest
                .get(section)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flat_map(|table| table.keys())
            {
                declared.retain(|declared| *declared != name);
                if !names(&sources, name) {
                    let place = krate.folder.join("Cargo.toml");
                    findings.push(Finding::fault(place.display(), format_args!("`{name}` is not used")));
                }
            }
        }
    }
    let unused = declared.into_iter().map(|name| {
        Finding::fault("Cargo.toml", format_args!("no crate uses `{name}` of [workspace.dependencies]"))
    });
    findings.extend(unused);
    Ok(findings)
}

/// All Rust text of a crate, tests and examples included.
fn rust_sources(folder: &Path) -> Result<String> {
    let mut text = String::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(
                    &fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?,
                );
            }
        }
    }
    Ok(text)
}

/// Whether the sources name a package's library: its name in snake case, as a word. Some call their library otherwise.
fn names(sources: &str, package: &str) -> bool {
    let library = match package {
        "md-5" => "md5".to_owned(),
        "rustls-webpki" => "webpki".to_owned(),
        package => package.replace('-', "_"),
    };
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    sources.match_indices(&library).any(|(at, found)| {
        !sources[..at].ends_with(is_part) && !sources[at + found.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let found: Vec<String> = in_file(Path::new(path), text).iter().map(Finding::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn long_files_are_faults_and_longish_ones_warnings() {
        check("a.rs", &"\n".repeat(800), &[]);
        check("a.rs", &"\n".repeat(801), &["warning: a.rs: 801 lines; think of splitting beyond 800"]);
        check("a.rs", &"\n".repeat(1_001), &["error: a.rs: 1001 lines; at most 1000"]);
        check("vectors.txt", &"\n".repeat(5_000), &[]);
        check("README.md", &"\n".repeat(121), &["error: README.md: 121 lines; at most 120"]);
    }

    #[test]
    fn unfinished_code_is_found_with_its_line() {
        let text = format!("fn f() {{\n    {}\"later\")\n}}", concat!("todo", "!("));
        let pattern = concat!("todo", "!(");
        check("src/a.rs", &text, &[&format!("error: src/a.rs:2: `{pattern}`: unfinished code")]);
        check("notes.md", &text, &[]);
    }

    #[test]
    fn words_of_the_workplace_are_found_anywhere() {
        let word = concat!("/ho", "me/");
        let found = format!("error: a.md:1: `{word}`: a word of one developer's machine");
        check("a.md", &format!("see {word}me/x"), &[&found]);
    }

    #[test]
    fn a_package_is_used_when_its_library_is_named_as_a_word() {
        assert!(names("use rand_core::Rng;", "rand-core"));
        assert!(names("md5::Md5::new()", "md-5"));
        assert!(!names("use rand_core_shim::Rng;", "rand-core"));
        assert!(!names("let strand_core = 1;", "rand-core"));
    }
}
