//! Endpoints.

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
use control_api_types::{Endpoint, Fault, Page, PutEndpoint};

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<Page<Endpoint>>, Failure> {
    page_by_name(Params::of(&uri), app.engine.endpoints().await?, |endpoint| &endpoint.name).map(Json)
}

pub(crate) async fn show(State(app): State<App>, Element(name): Element) -> Result<Json<Endpoint>, Failure> {
    app.engine.endpoint(&name).await?.map(Json).ok_or_else(|| Failure::not_found("endpoint", &name))
}

pub(crate) async fn create(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Endpoint>), Failure> {
    let put = PutEndpoint::from_json(&body)?;
    let name = put.name.clone().ok_or_else(|| fault("is required"))?;
    Ok((StatusCode::CREATED, Json(app.engine.add_endpoint(name, put).await?)))
}

pub(crate) async fn put(
    State(app): State<App>,
    Element(name): Element,
    JsonBody(body): JsonBody,
) -> Result<Json<Endpoint>, Failure> {
    let put = PutEndpoint::from_json(&body)?;
    if put.name.as_ref().is_some_and(|other| *other != name) {
        return Err(fault("is another than that of the path"));
    }
    let name = new_name("endpoint", &name)?;
    Ok(Json(app.engine.put_endpoint(name, put).await?))
}

pub(crate) async fn delete(State(app): State<App>, Element(name): Element) -> Result<StatusCode, Failure> {
    let found = app.engine.delete_endpoint(&name).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::not_found("endpoint", &name)) }
}

fn fault(detail: &str) -> Failure {
    vec![Fault { pointer: "/name".to_owned(), detail: detail.to_owned() }].into()
}
