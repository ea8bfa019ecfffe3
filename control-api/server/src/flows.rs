//! Flows.

use crate::{
    app::{App, Caller},
    docs,
    failure::Failure,
    params::{Element, JsonBody, Params, new_name, page_by_name},
    tokens::Token,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use control_api_types::{Code, FlowResource, FlowSummary, Page, Scope, flow::Flow};

/// Whether a token may have calls do this: one that may not place calls may not by a flow either.
pub(crate) fn may_call_out(token: &Token, flow: &Flow) -> Result<(), Failure> {
    if flow.calls_out() && !token.scopes.contains(Scope::Originate) {
        let detail = format!(
            "the token {:?} lacks the scope originate, and the flow has a step dial, transfer or webhook, which may \
             place calls",
            token.name
        );
        return Err(Failure::new(Code::Forbidden, detail));
    }
    Ok(())
}

pub(crate) async fn put(
    State(app): State<App>,
    Caller(token): Caller,
    Element(name): Element,
    JsonBody(body): JsonBody,
) -> Result<Json<FlowSummary>, Failure> {
    let name = new_name("flow", &name)?;
    let flow = Flow::from_json(&body)?;
    may_call_out(&token, &flow)?;
    let stored = app.engine.put_flow(name, flow).await?;
    let steps = u32::try_from(stored.flow.steps.len()).unwrap_or(u32::MAX);
    Ok(Json(FlowSummary { name: stored.name, version: stored.version, updated_at: stored.updated_at, steps }))
}

pub(crate) async fn validate(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<Json<Flow>, Failure> {
    let flow = Flow::from_json(&body)?;
    app.engine.check_flow(flow.clone()).await?;
    Ok(Json(flow))
}

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<Page<FlowSummary>>, Failure> {
    page_by_name(Params::of(&uri), app.engine.flows(), |flow| &flow.name).map(Json)
}

pub(crate) async fn show(
    State(app): State<App>,
    Element(name): Element,
) -> Result<Json<FlowResource>, Failure> {
    app.engine.flow(&name).map(Json).ok_or_else(|| Failure::not_found("flow", &name))
}

pub(crate) async fn delete(State(app): State<App>, Element(name): Element) -> Result<StatusCode, Failure> {
    let found = app.engine.delete_flow(&name).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::not_found("flow", &name)) }
}

pub(crate) async fn schema() -> Response {
    let kind = HeaderValue::from_static("application/schema+json");
    ([(header::CONTENT_TYPE, kind)], Json(docs::flow_schema())).into_response()
}
