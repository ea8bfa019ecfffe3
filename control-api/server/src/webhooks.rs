//! Webhooks.

use crate::{
    app::App,
    failure::Failure,
    params::{Element, JsonBody, Params, page_by_name},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use control_api_types::{CreateWebhook, Page, Webhook};

/// What receivers have to know.
pub(crate) const DESCRIPTION: &str = "Each event is posted as JSON, as the stream of events has it, with the headers \
    webhook-id (the event's id), webhook-timestamp and webhook-signature of Standard Webhooks. Any 2xx within the timeout \
    takes it; redirects are not followed. Otherwise it is posted again after 5 s and then ever longer, for 24 hours. The \
    events of one call come in order: the next waits for the one before. An event may come twice. When too many wait, \
    further ones are dropped, and events.dropped says how many. 410 disables the webhook.";

pub(crate) async fn create(State(app): State<App>, JsonBody(body): JsonBody) -> Result<Response, Failure> {
    let webhook = app.engine.create_webhook(CreateWebhook::from_json(&body)?).await?;
    let location = [(header::LOCATION, format!("/v1/webhooks/{}", webhook.id))];
    Ok((StatusCode::CREATED, location, Json(webhook)).into_response())
}

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<Page<Webhook>>, Failure> {
    page_by_name(Params::of(&uri), app.engine.webhooks(), |webhook| &webhook.id).map(Json)
}

pub(crate) async fn show(State(app): State<App>, Element(id): Element) -> Result<Json<Webhook>, Failure> {
    app.engine.webhook(&id).map(Json).ok_or_else(|| Failure::not_found("webhook", &id))
}

pub(crate) async fn delete(State(app): State<App>, Element(id): Element) -> Result<StatusCode, Failure> {
    let found = app.engine.delete_webhook(&id).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::not_found("webhook", &id)) }
}
