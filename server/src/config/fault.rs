//! Faults of a configuration, as a person reads them.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use control_api_types::Fault;

/// Where values come from, and so faults.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    /// The variables that may have set values beside the text.
    pub(super) environment: &'a [(String, String)],
}

impl Source<'_> {
    /// Where a value set by the n-th variable stands: after the text, one place each.
    pub(super) fn place_of_variable(self, index: usize) -> Range<usize> {
        let at = self.text.len() + 1 + index;
        at..at + 1
    }

    fn variable_at(&self, span: &Range<usize>) -> Option<&str> {
        let index = span.start.checked_sub(self.text.len() + 1)?;
        self.environment.get(index).map(|(name, _)| name.as_str())
    }
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
        // A default is nowhere in the text, and its span is empty.
        let span = |fault: &SpanFault| Some(fault.span.clone()).filter(|span| !span.is_empty());
        Faults(faults.into_iter().map(|fault| line(source, span(&fault), &fault.reason)).collect())
    }
}

impl Faults {
    /// Each with its place as the pointer.
    pub(crate) fn located(self) -> Vec<Fault> {
        let fault = |line: String| match line.split_once(": ") {
            Some((place, reason)) => Fault { pointer: place.to_owned(), detail: reason.to_owned() },
            None => Fault { pointer: String::new(), detail: line },
        };
        self.0.into_iter().map(fault).collect()
    }
}

fn line(source: Source<'_>, span: Option<Range<usize>>, reason: &str) -> String {
    // serde's messages may span lines (a list of the known keys); a fault is one line.
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    match span {
        Some(span) => {
            if let Some(name) = source.variable_at(&span) {
                return format!("{}: environment variable {name}: {reason}", source.path.display());
            }
            let before = source.text.get(..span.start).unwrap_or(source.text);
            format!("{}:{}: {reason}", source.path.display(), before.matches('\n').count() + 1)
        }
        // Something missing altogether stands on no line.
        None => format!("{}: {reason}", source.path.display()),
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}
