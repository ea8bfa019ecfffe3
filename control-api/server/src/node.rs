//! The node: load, limits, drain, reload, health, metrics.

use crate::{app::App, failure::Failure, params::JsonBody};
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use control_api_types::{Drain, Health, Limits, LimitsPatch, Node, Readiness, Reloaded};

pub(crate) async fn show(State(app): State<App>) -> Result<Json<Node>, Failure> {
    Ok(Json(app.engine.node().await?))
}

pub(crate) async fn limits(State(app): State<App>) -> Result<Json<Limits>, Failure> {
    Ok(Json(app.engine.limits().await?))
}

pub(crate) async fn set_limits(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<Json<Limits>, Failure> {
    Ok(Json(app.engine.set_limits(LimitsPatch::from_json(&body)?).await?))
}

pub(crate) async fn reload(State(app): State<App>) -> Result<Json<Reloaded>, Failure> {
    Ok(Json(app.reloads.ask().await?))
}

pub(crate) async fn draining(State(app): State<App>) -> Result<Json<Drain>, Failure> {
    Ok(Json(app.engine.draining().await?))
}

pub(crate) async fn drain(State(app): State<App>) -> Result<(StatusCode, Json<Drain>), Failure> {
    Ok((StatusCode::ACCEPTED, Json(app.engine.drain().await?)))
}

pub(crate) async fn undrain(State(app): State<App>) -> Result<Json<Drain>, Failure> {
    Ok(Json(app.engine.undrain().await?))
}

pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

pub(crate) async fn ready(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let reasons = app.engine.unready().await;
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reasons }))
}

pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Failure> {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], app.engine.metrics().await?).into_response())
}
