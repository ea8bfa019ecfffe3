//! The API's own description: OpenAPI for programs, a page for people.

use crate::{app::Access, route::inline, routes, tokens::hex};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use control_api_types::{Code, flow::Flow};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::LazyLock};
use utoipa::{
    ToSchema,
    openapi::{
        ComponentsBuilder, InfoBuilder, License, OpenApiBuilder, PathsBuilder, RefOr, Schema,
        path::PathItem,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// The document, made once.
static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
/// The JSON Schema of flows, made once.
static FLOW_SCHEMA: LazyLock<Value> = LazyLock::new(make_flow_schema);
/// The page; `NONCE` is replaced each time.
const PAGE: &str = include_str!("docs.html");

pub(crate) async fn openapi() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

/// The page loads nothing from elsewhere and runs only its own script.
pub(crate) async fn page() -> Response {
    let mut random = [0; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        return crate::failure::Failure::internal(&error).into_response();
    }
    let nonce = hex(&random);
    let policy = format!(
        "default-src 'none'; connect-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = PAGE.replace("NONCE", &nonce);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    (StatusCode::OK, [(header::CONTENT_TYPE, kind)], [(header::CONTENT_SECURITY_POLICY, policy)], page)
        .into_response()
}

pub(crate) fn flow_schema() -> &'static Value {
    &FLOW_SCHEMA
}

fn document() -> Value {
    let mut paths = PathsBuilder::new();
    let mut schemas: BTreeMap<String, RefOr<Schema>> = BTreeMap::new();
    for route in routes::table(false) {
        let (method, path, access) = (route.method.clone(), route.path, route.access);
        let (mut operation, used) = route.describe();
        if let Access::Token(scope) | Access::Stream(scope) = access {
            let scope = format!("Scope: `{scope}`.");
            operation.description = Some(match operation.description.take() {
                Some(text) => format!("{text}\n\n{scope}"),
                None => scope,
            });
        }
        paths = paths.path(path, PathItem::new(method, operation));
        schemas.extend(used);
    }
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "`Authorization: Bearer SECRET`; made by `carillon token new`. On event streams also `?access_token=`.",
    ));
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme("token", SecurityScheme::Http(bearer.build()))
        .build();
    let info = InfoBuilder::new()
        .title("Carillon control API")
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(License::new("Apache-2.0")))
        .description(Some(
            "Calls, prompts, flows, trunks and events of one engine node. Errors are problems (RFC 9457); times are \
             RFC 3339 in UTC with milliseconds; lists are pages of `items` with `next_cursor`.",
        ));
    let document =
        OpenApiBuilder::new().info(info.build()).paths(paths.build()).components(Some(components)).build();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    close_steps(&mut document["components"]["schemas"]);
    document["x-problem-codes"] = Code::ALL
        .iter()
        .map(|code| {
            json!({"code": code, "status": code.status(), "title": code.title(), "retryable": code.retryable()})
        })
        .collect();
    document
}

fn make_flow_schema() -> Value {
    let mut schemas = Vec::new();
    Flow::schemas(&mut schemas);
    let mut parts = serde_json::to_value(schemas.into_iter().collect::<BTreeMap<_, _>>()).unwrap_or_default();
    close_steps(&mut parts);
    let mut schema = serde_json::to_value(inline::<Flow>()).unwrap_or_default();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Flow".into();
    schema["$defs"] = parts;
    move_references(&mut schema);
    schema
}

/// A step is a verb and its targets; only the two together know all its fields.
fn close_steps(schemas: &mut Value) {
    if let Some(step) = schemas.get_mut("Step") {
        step["unevaluatedProperties"] = false.into();
    }
}

/// From where OpenAPI keeps schemas to where JSON Schema does.
fn move_references(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, value) in members.iter_mut() {
                match value.as_str().and_then(|text| text.strip_prefix("#/components/schemas/")) {
                    Some(name) if key == "$ref" => *value = format!("#/$defs/{name}").into(),
                    Some(_) | None => move_references(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` in `value`.
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn the_document_is_complete() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        let mut ids = Vec::new();
        for route in routes::table(false) {
            let method = serde_json::to_value(&route.method).unwrap();
            let operation = &document["paths"][route.path][method.as_str().unwrap()];
            assert!(operation["summary"].is_string(), "{} is not described", route.path);
            assert!(operation["responses"]["500"].is_object());
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count, "operation ids are unique");
    }

    #[test]
    fn only_what_has_no_default_is_required() {
        let schemas = &document()["components"]["schemas"];
        for (schema, required) in [
            ("CreateCall", json!(["to"])),
            ("Play", Value::Null),
            ("Gather", json!(["max"])),
            ("Reject", Value::Null),
            ("Transfer", json!(["to"])),
            ("Flow", json!(["start", "steps"])),
        ] {
            assert_eq!(schemas[schema].get("required").unwrap_or(&Value::Null), &required, "{schema}");
        }
    }

    #[test]
    fn the_flow_schema_stands_alone() {
        let schema = make_flow_schema();
        let mut found = Vec::new();
        references(&schema, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(
                schema.pointer(reference.strip_prefix('#').unwrap()).is_some(),
                "{reference} leads nowhere"
            );
        }
    }

    #[test]
    fn the_page_uses_nothing_from_elsewhere() {
        for word in ["http://", "https://", "//cdn", "innerHTML", "document.write"] {
            assert!(!PAGE.contains(word), "{word}");
        }
    }
}
