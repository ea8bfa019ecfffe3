//! The table of `testbed/sipp/README.md` says what the scenarios say of themselves, and which part of RFC 3665 each plays.
//!
//! `CARILLON_WRITE_TABLE=1 cargo test -p carrier --test e2e table` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use carrier::sipp;

const HEAD: &str = "| scenario | what it does, and when it passes |\n|---|---|\n";

/// RFC 3665: the flows of registration and of calls between two user agents.
const FLOWS: [(&str, &str); 16] = [
    ("2.1", "Successful New Registration"),
    ("2.2", "Update of Contact List"),
    ("2.3", "Request for Current Contact List"),
    ("2.4", "Cancellation of Registration"),
    ("2.5", "Unsuccessful Registration"),
    ("3.1", "Successful Session Establishment"),
    ("3.2", "Session Establishment Through Two Proxies"),
    ("3.3", "Session with Multiple Proxy Authentication"),
    ("3.4", "Successful Session with Proxy Failure"),
    ("3.5", "Session Through a SIP ALG"),
    ("3.6", "Session via Redirect and Proxy Servers with SDP in ACK"),
    ("3.7", "Session with re-INVITE (IP Address Change)"),
    ("3.8", "Unsuccessful No Answer"),
    ("3.9", "Unsuccessful Busy"),
    ("3.10", "Unsuccessful No Response from User Agent"),
    ("3.11", "Unsuccessful Temporarily Unavailable"),
];

/// What each scenario says of itself, by its name.
fn scenarios() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for kind in ["callee", "caller", "phone", "registrar"] {
        for file in sipp::folder().join(kind).read_dir().unwrap() {
            let file = file.unwrap().path();
            let text = std::fs::read_to_string(&file).unwrap();
            let comment = text.split_once("<!--").and_then(|(_, rest)| rest.split_once("-->"));
            let comment = comment.unwrap_or_else(|| panic!("{} does not say what it does", file.display())).0;
            let words: Vec<_> = comment.split_whitespace().collect();
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            found.insert(format!("{kind}/{name}"), words.join(" "));
        }
    }
    found
}

/// The text of every test here.
fn tests(folder: &Path) -> String {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let text = |path: &std::path::PathBuf| {
        if path.is_dir() { tests(path) } else { std::fs::read_to_string(path).unwrap() }
    };
    entries.map(|path| text(&path)).collect()
}

/// The sections of RFC 3665 that a scenario says it plays: "RFC 3665 section 3.1", "RFC 3665 sections 2.1 and 2.4".
fn plays(comment: &str, section: &str) -> bool {
    comment.split("RFC 3665 section").skip(1).any(|rest| {
        let list = rest.split([')', ':', ';']).next().unwrap_or_default();
        list.split([' ', ',']).any(|word| word.trim_end_matches('.') == section)
    })
}

fn table(scenarios: &BTreeMap<String, String>) -> String {
    let mut table = HEAD.to_owned();
    for (name, comment) in scenarios {
        writeln!(table, "| `{name}` | {comment} |").unwrap();
    }
    table += "\n| RFC 3665 | flow | scenarios |\n|---|---|---|\n";
    for (section, flow) in FLOWS {
        let files = scenarios.iter().filter(|(_, comment)| plays(comment, section));
        let files: Vec<_> = files.map(|(name, _)| format!("`{name}`")).collect();
        assert!(!files.is_empty(), "no scenario plays RFC 3665 section {section}");
        writeln!(table, "| {section} | {flow} | {} |", files.join(", ")).unwrap();
    }
    table
}

#[test]
fn the_table_of_scenarios_is_theirs() {
    let file = sipp::folder().join("README.md");
    let readme = std::fs::read_to_string(&file).unwrap();
    let table = table(&scenarios());
    if std::env::var_os("CARILLON_WRITE_TABLE").is_some() {
        let (before, after) = readme.split_once(HEAD).expect("the table's head");
        // The tables end where prose begins.
        let prose = after.split_inclusive('\n').skip_while(|line| line.starts_with('|') || *line == "\n");
        let after: String = prose.collect();
        std::fs::write(&file, format!("{before}{table}\n{after}")).unwrap();
        return;
    }
    let wanted = "write it anew with CARILLON_WRITE_TABLE=1 cargo test -p carrier --test e2e table";
    assert!(readme.contains(&table), "the table of {} is not this; {wanted}\n{table}", file.display());
}

#[test]
fn every_scenario_is_run_by_a_test() {
    let tests = tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    let named = |name: &str| tests.contains(&format!("\"{name}\""));
    let scenarios = scenarios();
    let idle = scenarios.keys().filter(|path| {
        let (_, name) = path.split_once('/').unwrap();
        !named(path) && !named(name)
    });
    assert_eq!(idle.collect::<Vec<_>>(), Vec::<&String>::new(), "run by no test");
}
