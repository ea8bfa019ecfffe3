//! `{name}` in the texts of a flow.
//!
//! `{name}` inserts a variable of the call, a call field, or the digits of a gather (`{step.digits}`); `{{` and `}}`
//! stand for the braces themselves. What has no value inserts nothing.

use std::borrow::Cow;

use control_api_types::{Call, Variable};
use serde_json::Value;

/// Longest text that is rendered, bytes; what goes beyond is cut. As long as a variable may be when it is given.
pub(crate) const MAX_TEXT: usize = 4096;

/// A `{` that begins no variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("\"{{\" at character {at} begins no variable; write \"{{{{\" for the brace itself")]
pub(crate) struct BadTemplate {
    at: usize,
}

/// One piece of a text.
enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// Splits off the first piece of a text that is not empty.
fn split(text: &str) -> Result<(Piece<'_>, &str), BadTemplate> {
    match text.find(['{', '}']) {
        None => Ok((Piece::Text(text), "")),
        Some(0) => match (text.get(..2), text.strip_prefix('{')) {
            (Some("{{" | "}}"), _) => Ok((Piece::Text(&text[..1]), &text[2..])),
            (_, Some(after)) => match after.split_once('}') {
                Some((name, rest)) if is_name(name) => Ok((Piece::Variable(name), rest)),
                Some(_) | None => Err(BadTemplate { at: 0 }),
            },
            // A single closing brace stands for itself.
            (_, None) => Ok((Piece::Text(&text[..1]), &text[1..])),
        },
        Some(brace) => Ok((Piece::Text(&text[..brace]), &text[brace..])),
    }
}

/// Names of variables and of steps, the latter with `.digits`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Whether every brace of `text` has a meaning.
pub(crate) fn check(text: &str) -> Result<(), BadTemplate> {
    let mut rest = text;
    while !rest.is_empty() {
        (_, rest) = split(rest).map_err(|_| {
            let before = &text[..text.len() - rest.len()];
            BadTemplate { at: before.chars().count() + 1 }
        })?;
    }
    Ok(())
}

/// Whether `text` stands for itself.
pub(crate) fn is_literal(text: &str) -> bool {
    !text.contains(['{', '}'])
}

/// `text` with its variables inserted. A brace that [`check`] refuses stays as it is.
pub(crate) fn render<'a>(text: &'a str, call: &Call) -> Cow<'a, str> {
    if is_literal(text) {
        return Cow::Borrowed(text);
    }
    let (mut rendered, mut rest) = (String::new(), text);
    while !rest.is_empty() && rendered.len() < MAX_TEXT {
        match split(rest) {
            Ok((piece, after)) => {
                match piece {
                    Piece::Text(literal) => rendered.push_str(literal),
                    Piece::Variable(name) => {
                        if let Some(value) = lookup(call, name) {
                            rendered.push_str(&value.to_string());
                        }
                    }
                }
                rest = after;
            }
            Err(BadTemplate { .. }) => {
                rendered.push('{');
                rest = &rest[1..];
            }
        }
    }
    rendered.truncate(rendered.floor_char_boundary(MAX_TEXT));
    Cow::Owned(rendered)
}

/// `value` with the variables of all its strings inserted; the names of members stay.
pub(crate) fn render_value(value: &Value, call: &Call) -> Value {
    match value {
        Value::String(text) => Value::String(render(text, call).into_owned()),
        Value::Array(items) => Value::Array(items.iter().map(|item| render_value(item, call)).collect()),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, member)| (name.clone(), render_value(member, call))).collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Every string of `value`, with its JSON pointer below `pointer`.
pub(crate) fn strings(value: &Value, pointer: &str, visit: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(pointer, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                strings(item, &format!("{pointer}/{index}"), visit);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                strings(member, &format!("{pointer}/{}", escape(name)), visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The value of a name: a variable, else a field of the call.
pub(crate) fn lookup<'a>(call: &'a Call, name: &str) -> Option<Cow<'a, Variable>> {
    if let Some(variable) = call.variables.get(name) {
        return Some(Cow::Borrowed(variable));
    }
    let field = match name {
        "id" => call.id.as_str(),
        "to" => &call.to,
        "from" => &call.from,
        "direction" => call.direction.as_str(),
        "trunk" => call.trunk.as_deref()?,
        "sip_call_id" => call.sip_call_id.as_deref()?,
        "client_state" => call.client_state.as_deref()?,
        _ => return None,
    };
    Some(Cow::Owned(Variable::from(field)))
}

/// A reference token of a JSON pointer (RFC 6901 §3: "~" is encoded as "~0" and "/" as "~1").
pub(crate) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call() -> Call {
        serde_json::from_value(json!({
            "id": "c1", "status": "in-progress", "direction": "outbound", "to": "+62", "from": "100", "node": "n",
            "created_at": "2026-01-01T00:00:00Z", "variables": {"name": "Ana", "n": 3, "menu-1.digits": "42", "from": "x"},
        }))
        .unwrap()
    }

    #[test]
    fn renders_variables_fields_and_braces() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("Hello {name}!", "Hello Ana!"),
            ("{n}{n}-{menu-1.digits}", "33-42"),
            ("{{name}} }} }", "{name} } }"),
            ("a{missing}b{trunk}c", "abc"),
            ("Chào {name} ✓", "Chào Ana ✓"),
            ("{to} {from} {direction} {id}", "+62 x outbound c1"),
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
            assert_eq!(render(text, &call()), expected, "{text}");
        }
    }

    #[test]
    fn a_brace_without_meaning_is_told_with_its_place() {
        for (text, at) in [("{", 1), ("ab{name", 3), ("{}", 1), ("é{a b}", 2), ("{{{stop:1s}", 3)] {
            assert_eq!(check(text), Err(BadTemplate { at }), "{text}");
        }
        assert_eq!(render("é{a b}{n}", &call()), "é{a b}3");
    }

    #[test]
    fn values_keep_their_shape() {
        let value = json!({"a": ["{name}", 1, true, null], "b/c": {"d{n}": "{{x}}"}});
        assert_eq!(
            render_value(&value, &call()),
            json!({"a": ["Ana", 1, true, null], "b/c": {"d{n}": "{x}"}})
        );
        let mut seen = Vec::new();
        strings(&value, "/data", &mut |pointer, _| seen.push(pointer.to_owned()));
        assert_eq!(seen, ["/data/a/0", "/data/b~1c/d{n}"]);
    }
}
