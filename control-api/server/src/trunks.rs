//! Trunks.

use crate::{
    app::App,
    failure::Failure,
    params::{Element, JsonBody, Params, page_by_name},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri},
};
use control_api_types::{Fault, Page, Trunk, TrunkSettings};
use serde_json::Value;

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<Page<Trunk>>, Failure> {
    let mut trunks = app.engine.trunks().await?;
    trunks.sort_by(|a, b| a.name.cmp(&b.name));
    page_by_name(Params::of(&uri), trunks, |trunk| &trunk.name).map(Json)
}

pub(crate) async fn show(State(app): State<App>, Element(name): Element) -> Result<Json<Trunk>, Failure> {
    found(app.engine.trunk(&name).await?, &name)
}

pub(crate) async fn create(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Trunk>), Failure> {
    let trunk = app.engine.create_trunk(TrunkSettings::from_json(&body)?).await?;
    Ok((StatusCode::CREATED, Json(trunk)))
}

pub(crate) async fn put(
    State(app): State<App>,
    Element(name): Element,
    JsonBody(mut body): JsonBody,
) -> Result<Json<Trunk>, Failure> {
    if let Value::Object(members) = &mut body {
        let given = members.entry("name").or_insert_with(|| name.as_str().into());
        if given.as_str() != Some(name.as_str()) {
            let detail = format!("must be {name:?} as in the path, or left out");
            return Err(vec![Fault { pointer: "/name".to_owned(), detail }].into());
        }
    }
    Ok(Json(app.engine.put_trunk(TrunkSettings::from_json(&body)?).await?))
}

pub(crate) async fn delete(State(app): State<App>, Element(name): Element) -> Result<StatusCode, Failure> {
    let found = app.engine.delete_trunk(&name).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::not_found("trunk", &name)) }
}

pub(crate) async fn enable(State(app): State<App>, Element(name): Element) -> Result<Json<Trunk>, Failure> {
    found(app.engine.enable_trunk(&name, true).await?, &name)
}

pub(crate) async fn disable(State(app): State<App>, Element(name): Element) -> Result<Json<Trunk>, Failure> {
    found(app.engine.enable_trunk(&name, false).await?, &name)
}

fn found(trunk: Option<Trunk>, name: &str) -> Result<Json<Trunk>, Failure> {
    trunk.map(Json).ok_or_else(|| Failure::not_found("trunk", name))
}
