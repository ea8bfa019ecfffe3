//! `{name}` in the texts of a flow.
//!
//! `{name}` inserts a variable of the call, a call field, or the digits of a gather (`{step.digits}`); `{{` and `}}`
//! stand for the braces themselves. What has no value inserts nothing.

use std::borrow::Cow;

use control_api_types::{Call, MAX_VARIABLES, MAX_VARIABLES_BYTES, Variable};
use serde_json::Value;

/// Longest text that is rendered, bytes; what goes beyond is cut. As long as a variable may be when it is given.
pub(crate) const MAX_TEXT: usize = 4096;

/// Longest data of an event, all its texts together, bytes: twice what the step may say without variables.
const MAX_DATA: usize = 8192;

/// More variables than a call may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

/// Sets variables of a call, all or none.
pub(crate) fn set(call: &mut Call, values: Vec<(String, Variable)>) -> Result<(), TooMany> {
    let known = &call.variables;
    let is_new = |(name, _): &&(String, Variable)| !known.contains_key(name);
    let count = known.len() + values.iter().filter(is_new).count();
    let replaced = |name: &str| known.get(name).map_or(0, |variable| variable.size(name));
    let before: usize = known.iter().map(|(name, variable)| variable.size(name)).sum();
    let added: usize = values.iter().map(|(name, variable)| variable.size(name)).sum();
    let replaced: usize = values.iter().map(|(name, _)| replaced(name)).sum();
    if count > MAX_VARIABLES || before + added - replaced > MAX_VARIABLES_BYTES {
        return Err(TooMany);
    }
    call.variables.extend(values);
    Ok(())
}

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
    render_as(text, call, |rendered, value| rendered.push_str(value))
}

/// The same of a URL: who calls, and what is pressed, chooses no path, query or host. What the text begins with may be a whole
/// URL and stays as it is; all other variables are percent-encoded but for what RFC 3986 section 2.3 leaves unreserved.
pub(crate) fn render_url<'a>(text: &'a str, call: &Call) -> Cow<'a, str> {
    render_as(text, call, |rendered, value| {
        if rendered.is_empty() {
            return rendered.push_str(value);
        }
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    rendered.push(byte.into())
                }
                _ => {
                    let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value)]);
                    rendered.extend(['%', digit(byte >> 4), digit(byte & 15)]);
                }
            }
        }
    })
}

fn render_as<'a>(text: &'a str, call: &Call, put: impl Fn(&mut String, &str)) -> Cow<'a, str> {
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
                            put(&mut rendered, &value.to_string());
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

/// `value` with the variables of all its strings inserted, and cut where they are too much together; the names of members
/// stay.
pub(crate) fn render_value(value: &Value, call: &Call) -> Value {
    render_within(value, call, &mut { MAX_DATA })
}

fn render_within(value: &Value, call: &Call, left: &mut usize) -> Value {
    match value {
        Value::String(text) => {
            let mut text = render(text, call).into_owned();
            text.truncate(text.floor_char_boundary(*left));
            *left -= text.len();
            Value::String(text)
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| render_within(item, call, left)).collect())
        }
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, member)| (name.clone(), render_within(member, call, left))).collect(),
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
    fn data_is_cut_where_its_texts_are_too_much_together() {
        let mut call = call();
        set(&mut call, vec![("x".into(), Variable::Text("é".repeat(MAX_TEXT / 2)))]).unwrap();
        let data = render_value(&json!(["{x}", {"a": "b{x}"}, "{x}", 7]), &call);
        let lengths = [&data[0], &data[1]["a"], &data[2]].map(|text| text.as_str().unwrap().len());
        assert_eq!(lengths, [MAX_TEXT, MAX_TEXT - 1, 0]);
        assert_eq!(data[3], 7);
    }

    #[test]
    fn the_variables_of_a_call_are_bounded_in_number_and_size() {
        let mut call = call();
        call.variables.clear();
        let text = |n: usize| Variable::Text("x".repeat(n));
        for n in 0..15 {
            assert_eq!(set(&mut call, vec![(format!("v{n:03}"), text(4092))]), Ok(()));
        }
        assert_eq!(set(&mut call, vec![("over".into(), text(4093))]), Err(TooMany));
        assert_eq!(set(&mut call, vec![("full".into(), text(4092))]), Ok(()));
        assert_eq!(set(&mut call, vec![("full".into(), text(4092))]), Ok(()), "what is replaced makes room");
        assert_eq!(set(&mut call, vec![("a".into(), text(0)), ("b".into(), text(0))]), Err(TooMany));
        assert_eq!(call.variables.len(), 16, "all or none");
        call.variables.clear();
        let many = |count: usize| (0..count).map(|n| (format!("v{n}"), text(1))).collect::<Vec<_>>();
        assert_eq!(set(&mut call, many(MAX_VARIABLES)), Ok(()));
        assert_eq!(set(&mut call, many(MAX_VARIABLES)), Ok(()));
        assert_eq!(set(&mut call, vec![("one_more".into(), text(1))]), Err(TooMany));
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
