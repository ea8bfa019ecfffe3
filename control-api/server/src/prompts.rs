//! Prompts.

use crate::{
    app::App,
    failure::Failure,
    params::{Element, Params, json, new_name, page_by_name},
    route::MAX_JSON,
};
use axum::{
    Json,
    body::{Bytes, to_bytes},
    extract::{FromRequest, Multipart, Request, State, multipart::MultipartError},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use control_api_types::{Code, Codec, CreatePrompt, Fault, Page, Prompt};

/// Largest audio file: half an hour of stereo WAV at 8 kHz, or two hours of MP3.
pub(crate) const MAX_FILE: usize = 32 * 1024 * 1024;

pub(crate) async fn upload(State(app): State<App>, request: Request) -> Result<Response, Failure> {
    if is_json(request.headers()) {
        return say(&app, request).await;
    }
    let form = Multipart::from_request(request, &()).await.map_err(|error| {
        Failure::new(
            Code::UnsupportedMediaType,
            format!(
                "send multipart/form-data with name and file, or application/json with name and say: {error}"
            ),
        )
    })?;
    let Form { name, file } = read(form).await?;
    let mut faults = Vec::new();
    for (field, missing) in [("name", name.is_none()), ("file", file.is_none())] {
        if missing {
            faults.push(Fault { pointer: format!("/{field}"), detail: "is required".to_owned() });
        }
    }
    let (Some(name), Some(file)) = (name, file) else { return Err(faults.into()) };
    let prompt = app.engine.add_prompt(new_name("prompt", &name)?, file).await?;
    Ok(created(prompt))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// A prompt that is said here.
async fn say(app: &App, request: Request) -> Result<Response, Failure> {
    let body = to_bytes(request.into_body(), MAX_JSON).await.map_err(|_| {
        Failure::new(Code::TooLarge, format!("a body of JSON is at most {} KiB", MAX_JSON >> 10))
    })?;
    let CreatePrompt { name, say } = CreatePrompt::from_json(&json(&body)?)?;
    Ok(created(app.engine.say_prompt(new_name("prompt", &name)?, &say).await?))
}

fn created(prompt: Prompt) -> Response {
    let location = format!("/v1/prompts/{}", prompt.name);
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(prompt)).into_response()
}

#[derive(Default)]
struct Form {
    name: Option<String>,
    file: Option<Bytes>,
}

async fn read(mut fields: Multipart) -> Result<Form, Failure> {
    let mut form = Form::default();
    let mut faults = Vec::new();
    while let Some(field) = fields.next_field().await.map_err(malformed)? {
        match field.name() {
            Some("name") => form.name = Some(field.text().await.map_err(malformed)?),
            Some("file") => form.file = Some(field.bytes().await.map_err(malformed)?),
            other => {
                let pointer = format!("/{}", other.unwrap_or_default());
                faults.push(Fault { pointer, detail: "unknown field; allowed here: name, file".to_owned() });
                if faults.len() > 10 {
                    break;
                }
            }
        }
    }
    if faults.is_empty() { Ok(form) } else { Err(faults.into()) }
}

fn malformed(error: MultipartError) -> Failure {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Failure::new(Code::TooLarge, format!("a prompt's file is at most {} MiB", MAX_FILE >> 20))
    } else {
        Failure::new(Code::Unparsable, format!("the form cannot be read: {}", error.body_text()))
    }
}

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<Page<Prompt>>, Failure> {
    page_by_name(Params::of(&uri), app.engine.prompts(), |prompt| &prompt.name).map(Json)
}

pub(crate) async fn show(State(app): State<App>, Element(id): Element) -> Result<Json<Prompt>, Failure> {
    app.engine.prompt(&id).map(Json).ok_or_else(|| Failure::not_found("prompt", &id))
}

pub(crate) async fn audio(
    State(app): State<App>,
    Element(id): Element,
    uri: Uri,
) -> Result<Response, Failure> {
    let mut params = Params::of(&uri);
    let wanted = params.text("codec").map(str::to_owned);
    if wanted.as_deref() == Some("original") {
        params.finish(Some(()))?;
        let file = app.engine.prompt_file(&id).await?.ok_or_else(|| Failure::not_found("prompt", &id))?;
        // What it is was found out by its content; browsers are not to guess again.
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        return Ok((headers, file).into_response());
    }
    let codec = wanted.map_or(Some(Codec::Pcmu), |name| Codec::named(&name));
    if codec.is_none() {
        let known = Codec::ALL.iter().map(|codec| codec.as_str()).collect::<Vec<_>>().join(", ");
        params.fault("codec", format_args!("must be one of: {known}, original"));
    }
    let codec = params.finish(codec)?.unwrap_or(Codec::Pcmu);
    let wav = app.engine.prompt_audio(&id, codec).await?.ok_or_else(|| Failure::not_found("prompt", &id))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"))], wav).into_response())
}

pub(crate) async fn delete(State(app): State<App>, Element(id): Element) -> Result<StatusCode, Failure> {
    let found = app.engine.delete_prompt(&id).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::not_found("prompt", &id)) }
}
