//! The node: trunks, load, limits, drain, health, metrics.

use crate::{
    app::App,
    failure::Failure,
    params::{Element, Params, page_by_name},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use control_api_types::{Drain, Health, Limits, Node, Page, Readiness, Trunk};

pub(crate) async fn trunks(State(app): State<App>, uri: Uri) -> Result<Json<Page<Trunk>>, Failure> {
    page_by_name(Params::of(&uri), app.engine.trunks().await?, |trunk| &trunk.name).map(Json)
}

pub(crate) async fn trunk(State(app): State<App>, Element(name): Element) -> Result<Json<Trunk>, Failure> {
    app.engine.trunk(&name).await?.map(Json).ok_or_else(|| Failure::not_found("trunk", &name))
}

pub(crate) async fn show(State(app): State<App>) -> Result<Json<Node>, Failure> {
    Ok(Json(app.engine.node().await?))
}

pub(crate) async fn limits(State(app): State<App>) -> Result<Json<Limits>, Failure> {
    Ok(Json(app.engine.limits().await?))
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
