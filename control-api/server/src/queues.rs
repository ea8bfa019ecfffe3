//! Queues.

use crate::{
    app::App,
    failure::Failure,
    params::{Element, JsonBody, Params, new_name, page_by_name},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri},
};
use control_api_types::{Page, Queue, QueueResource, QueuedCall};

pub(crate) async fn put(
    State(app): State<App>,
    Element(name): Element,
    JsonBody(body): JsonBody,
) -> Result<Json<QueueResource>, Failure> {
    let name = new_name("queue", &name)?;
    Ok(Json(app.engine.put_queue(name, Queue::from_json(&body)?).await?))
}

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<Page<QueueResource>>, Failure> {
    page_by_name(Params::of(&uri), app.engine.queues().await?, |queue| &queue.name).map(Json)
}

pub(crate) async fn show(
    State(app): State<App>,
    Element(name): Element,
) -> Result<Json<QueueResource>, Failure> {
    app.engine.queue(&name).await?.map(Json).ok_or_else(|| Failure::not_found("queue", &name))
}

pub(crate) async fn delete(State(app): State<App>, Element(name): Element) -> Result<StatusCode, Failure> {
    let found = app.engine.delete_queue(&name).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::not_found("queue", &name)) }
}

pub(crate) async fn calls(
    State(app): State<App>,
    Element(name): Element,
    uri: Uri,
) -> Result<Json<Page<QueuedCall>>, Failure> {
    let mut params = Params::of(&uri);
    let limit = params.limit();
    let cursor = params.text("cursor").map(str::to_owned);
    params.finish(())?;
    let page = app.engine.queued_calls(&name, cursor.as_deref(), limit).await?;
    page.map(Json).ok_or_else(|| Failure::not_found("queue", &name))
}
