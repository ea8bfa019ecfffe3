//! Faults of a configuration, as a person reads them.

use std::fmt;
use std::ops::Range;
use std::path::Path;

/// Where faults are located.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

/// A well-formed value that is wrong, and where it stands in the text.
#[derive(Debug)]
pub(super) struct SpanFault {
    pub(super) span: Range<usize>,
    pub(super) reason: String,
}

/// One or more lines `file:line: reason`.
#[derive(Debug)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    pub(super) fn whole_file(path: &Path, error: &std::io::Error) -> Faults {
        Faults(vec![format!("{}: cannot be read: {error}", path.display())])
    }

    pub(super) fn from_toml(source: Source<'_>, error: &toml::de::Error) -> Faults {
        Faults(vec![line(source, error.span(), error.message())])
    }

    pub(super) fn from_environment(source: Source<'_>, reasons: Vec<String>) -> Faults {
        Faults(reasons.into_iter().map(|reason| format!("{}: {reason}", source.path.display())).collect())
    }

    pub(super) fn at_spans(source: Source<'_>, faults: Vec<SpanFault>) -> Faults {
        Faults(faults.into_iter().map(|fault| line(source, Some(fault.span), &fault.reason)).collect())
    }
}

fn line(source: Source<'_>, span: Option<Range<usize>>, reason: &str) -> String {
    // serde's messages may span lines (a list of the known keys); a fault is one line.
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    match span.filter(|span| !span.is_empty()) {
        Some(span) => {
            let before = source.text.get(..span.start).unwrap_or(source.text);
            format!("{}:{}: {reason}", source.path.display(), before.matches('\n').count() + 1)
        }
        // A value from the environment, or something missing altogether, stands on no line.
        None => format!("{}: {reason}", source.path.display()),
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}
