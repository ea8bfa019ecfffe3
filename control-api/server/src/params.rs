//! What a request asks in its path, query and body, with every fault reported.

use crate::failure::Failure;
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{Uri, request::Parts},
};
use control_api_types::{CallId, Code, Fault, Faults, InvalidId, Page};
use serde_json::Value;
use std::{borrow::Cow, fmt::Display, str::FromStr};

/// The parameters of a query.
#[derive(Debug)]
pub(crate) struct Params<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    known: Vec<&'static str>,
    faults: Faults,
}

impl<'a> Params<'a> {
    pub(crate) fn of(uri: &'a Uri) -> Self {
        let query = uri.query().unwrap_or_default().as_bytes();
        Self {
            pairs: form_urlencoded::parse(query).take(100).collect(),
            known: Vec::new(),
            faults: Faults::default(),
        }
    }

    /// The parameter `name`, if it is there; the last if it is there twice.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<&str> {
        self.known.push(name);
        self.pairs
            .iter()
            .rev()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_ref())
    }

    /// The parameter `name` read as a `T`.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Option<T> {
        self.known.push(name);
        // What is there and empty is no value of any type.
        let (_, value) = self.pairs.iter().rev().find(|(key, _)| key == name)?;
        match value.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(name, error.to_string());
                None
            }
        }
    }

    pub(crate) fn fault(&mut self, name: &str, detail: impl Display) {
        self.faults.push(format!("?{name}"), detail);
    }

    /// The length of a page.
    pub(crate) fn limit(&mut self) -> u32 {
        let limit = self.parse("limit").unwrap_or(100);
        if !(1..=1000).contains(&limit) {
            self.fault("limit", "must be 1 to 1000");
        }
        limit
    }

    /// `value`, unless something was wrong or unknown.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, Failure> {
        for (name, _) in &self.pairs {
            if !self.known.contains(&name.as_ref()) {
                let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
                self.faults
                    .push(format!("?{name}"), format_args!("unknown parameter; allowed here: {known}"));
            }
        }
        self.faults.into_result(Some(value)).map_err(Failure::from)
    }
}

/// The id of a call in a path. What cannot be an id is nobody's.
pub(crate) fn call_id(text: &str) -> Result<CallId, Failure> {
    CallId::new(text).map_err(|InvalidId| Failure::not_found("call", text))
}

/// A name in a path to be stored under.
pub(crate) fn new_name(kind: &str, text: &str) -> Result<String, Failure> {
    match CallId::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(rule) => {
            Err(vec![Fault { pointer: "/name".to_owned(), detail: format!("a {kind}'s name {rule}") }].into())
        }
    }
}

/// A whole body.
pub(crate) struct Whole(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Failure;
    async fn from_request(request: Request<Body>, state: &S) -> Result<Self, Failure> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(BytesRejection::FailedToBufferBody(error)) if error.status() == 413 => {
                Err(Failure::new(Code::TooLarge, "the body is larger than this path takes (see /docs)"))
            }
            Err(error) => {
                Err(Failure::new(Code::Unparsable, format!("the body did not arrive whole: {error}")))
            }
        }
    }
}

/// A body of JSON, whatever the content type says.
pub(crate) struct JsonBody(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Failure;
    async fn from_request(request: Request<Body>, state: &S) -> Result<Self, Failure> {
        let Whole(bytes) = Whole::from_request(request, state).await?;
        json(&bytes).map(Self)
    }
}

/// A body read as JSON; the problem tells line and column.
pub(crate) fn json(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::new(Code::Unparsable, format!("the body is not JSON: {error}")))
}

/// A page of items that are sorted by name; the cursor is the last name of the page before.
pub(crate) fn page_by_name<T>(
    mut params: Params<'_>,
    items: Vec<T>,
    name: impl Fn(&T) -> &str,
) -> Result<Page<T>, Failure> {
    let limit = params.limit() as usize;
    let after = params.text("cursor").map(str::to_owned).unwrap_or_default();
    params.finish(())?;
    let mut items: Vec<T> =
        items.into_iter().filter(|item| name(item) > after.as_str()).take(limit + 1).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|item| name(item).to_owned());
    Ok(Page { items, next_cursor })
}

/// One element of a path.
pub(crate) struct Element(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Element {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        axum::extract::Path::<String>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(text)| Self(text))
            .map_err(|error| Failure::new(Code::NotFound, format!("the path cannot be read: {error}")))
    }
}

/// Two elements of a path.
pub(crate) struct Pair(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Pair {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        axum::extract::Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path((first, second))| Self(first, second))
            .map_err(|error| Failure::new(Code::NotFound, format!("the path cannot be read: {error}")))
    }
}
