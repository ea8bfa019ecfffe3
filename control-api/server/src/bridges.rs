//! Bridges.

use crate::{
    app::App,
    failure::Failure,
    params::{Element, JsonBody, Pair, Params, call_id, page_by_name},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use control_api_types::{Bridge, CreateBridge, JoinBridge, Page};

pub(crate) async fn create(State(app): State<App>, JsonBody(body): JsonBody) -> Result<Response, Failure> {
    let bridge = app.engine.create_bridge(CreateBridge::from_json(&body)?).await?;
    let location = [(header::LOCATION, format!("/v1/bridges/{}", bridge.id))];
    Ok((StatusCode::CREATED, location, Json(bridge)).into_response())
}

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<Page<Bridge>>, Failure> {
    let bridges = app.engine.bridges().await?;
    page_by_name(Params::of(&uri), bridges, |bridge| &bridge.id).map(Json)
}

pub(crate) async fn show(State(app): State<App>, Element(id): Element) -> Result<Json<Bridge>, Failure> {
    let bridge = app.engine.bridge_by_id(&id).await?;
    bridge.map(Json).ok_or_else(|| Failure::not_found("bridge", &id))
}

pub(crate) async fn delete(State(app): State<App>, Element(id): Element) -> Result<StatusCode, Failure> {
    let found = app.engine.delete_bridge(&id).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::not_found("bridge", &id)) }
}

pub(crate) async fn join(
    State(app): State<App>,
    Element(id): Element,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Bridge>), Failure> {
    let bridge = app.engine.join_bridge(&id, JoinBridge::from_json(&body)?).await?;
    Ok((StatusCode::ACCEPTED, Json(bridge)))
}

pub(crate) async fn leave(State(app): State<App>, Pair(id, call): Pair) -> Result<StatusCode, Failure> {
    let found = app.engine.leave_bridge(&id, &call_id(&call)?).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::not_found("call of the bridge", &call)) }
}
