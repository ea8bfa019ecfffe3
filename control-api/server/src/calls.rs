//! Calls and CDRs.

use crate::{
    app::{App, Caller, about, accepted},
    failure::Failure,
    flows::may_call_out,
    idempotency,
    params::{Element, JsonBody, Params, Whole, call_id},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use control_api_types::{
    BridgeCall, Call, CallId, CallStatus, CallTimeline, CallTrace, Code, CreateCall, Dtmf, FlowRef, Gather,
    GiveFlow, HangupReason, Mute, Page, Play, PlayStarted, Record, RecordAccepted, Reject, Transfer,
};
use engine_runtime::{CallQuery, CdrQuery};
use ulid::Ulid;

pub(crate) async fn create(
    State(app): State<App>,
    Caller(token): Caller,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    let mut request = CreateCall::from_json(&body)?;
    if request.id.is_none()
        && let Some(key) = idempotency::key(&headers)?
    {
        let reserved = idempotency::reserve_call_id(&app, &token, &key, Ulid::generate().to_string()).await?;
        request.id = Some(call_id(&reserved)?);
    }
    let (call, _) = app.engine.originate(request).await?;
    let id = call.id.clone();
    Ok(accepted(&id, ([(header::LOCATION, format!("/v1/calls/{id}"))], Json(call))))
}

pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Json<Page<Call>>, Failure> {
    let mut params = Params::of(&uri);
    let status = params.text("status").map(|word| CallStatus::from_word(word).ok_or(()));
    if status == Some(Err(())) {
        let words: Vec<_> = CallStatus::ALL.iter().map(|status| status.as_str()).collect();
        params.fault("status", format_args!("must be one of: {}", words.join(", ")));
    }
    let cursor = params.text("cursor").map(str::to_owned);
    let query = CallQuery { status: status.and_then(Result::ok), cursor, limit: params.limit() };
    Ok(Json(app.engine.calls(params.finish(query)?).await?))
}

pub(crate) async fn show(State(app): State<App>, Element(id): Element) -> Result<Json<Call>, Failure> {
    current(&app, &call_id(&id)?).await.map(Json)
}

pub(crate) async fn trace(State(app): State<App>, Element(id): Element) -> Result<Json<CallTrace>, Failure> {
    let id = call_id(&id)?;
    match app.engine.trace(&id).await? {
        Some(trace) => Ok(Json(trace)),
        None => Err(no_trace(&app, &id).await?),
    }
}

pub(crate) async fn trace_pcap(State(app): State<App>, Element(id): Element) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    match app.engine.trace_pcap(&id).await? {
        Some(file) => {
            let kind = HeaderValue::from_static("application/vnd.tcpdump.pcap");
            Ok(([(header::CONTENT_TYPE, kind)], file).into_response())
        }
        None => Err(no_trace(&app, &id).await?),
    }
}

pub(crate) async fn timeline(
    State(app): State<App>,
    Element(id): Element,
) -> Result<Json<CallTimeline>, Failure> {
    let timeline = app.engine.timeline(&call_id(&id)?).await?;
    timeline.map(Json).ok_or_else(|| {
        let reason = "neither events nor SIP messages of this call are kept: those of later calls needed their room, or it \
                      ended before this start of the engine. Its CDR is what GET /v1/calls/{id} answers";
        Failure::new(Code::NotFound, reason.to_owned())
    })
}

/// Why there is none.
async fn no_trace(app: &App, id: &CallId) -> Result<Failure, Failure> {
    current(app, id).await?;
    let reason = "no SIP message of this call is kept: it sent and received none, [sip.trace] is off, or its messages had \
                  to make room for those of later calls (total_bytes)";
    Ok(Failure::new(Code::NotFound, reason.to_owned()))
}

pub(crate) async fn hangup(
    State(app): State<App>,
    Element(id): Element,
    uri: Uri,
) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    let mut params = Params::of(&uri);
    let reason = params.text("reason").map_or(Some(HangupReason::Normal), HangupReason::from_word);
    if reason.is_none() {
        params.fault("reason", "must be one of: normal, busy, rejected");
    }
    let reason = params.finish(reason)?.unwrap_or(HangupReason::Normal);
    let call = app.engine.hangup(&id, reason).await?;
    let status = if call.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(about(&id, (status, Json(call))))
}

pub(crate) async fn play(
    State(app): State<App>,
    Element(id): Element,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    let play_id = app.engine.play(&id, Play::from_json(&body)?).await?;
    Ok(accepted(&id, Json(PlayStarted { play_id })))
}

pub(crate) async fn stop_play(State(app): State<App>, Element(id): Element) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    app.engine.stop_play(&id).await?;
    commanded(&app, &id).await
}

pub(crate) async fn gather(
    State(app): State<App>,
    Element(id): Element,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    app.engine.gather(&id, Gather::from_json(&body)?).await?;
    commanded(&app, &id).await
}

pub(crate) async fn record(
    State(app): State<App>,
    Element(id): Element,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    let recording_id = app.engine.record(&id, Record::from_json(&body)?).await?;
    Ok(accepted(&id, Json(RecordAccepted { recording_id })))
}

pub(crate) async fn dtmf(
    State(app): State<App>,
    Element(id): Element,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    app.engine.dtmf(&id, Dtmf::from_json(&body)?).await?;
    commanded(&app, &id).await
}

pub(crate) async fn answer(State(app): State<App>, Element(id): Element) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    app.engine.answer(&id).await?;
    commanded(&app, &id).await
}

pub(crate) async fn ring(State(app): State<App>, Element(id): Element) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    app.engine.ring(&id).await?;
    commanded(&app, &id).await
}

pub(crate) async fn hold(State(app): State<App>, Element(id): Element) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    app.engine.hold(&id, true).await?;
    commanded(&app, &id).await
}

pub(crate) async fn unhold(State(app): State<App>, Element(id): Element) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    app.engine.hold(&id, false).await?;
    commanded(&app, &id).await
}

pub(crate) async fn bridge(
    State(app): State<App>,
    Element(id): Element,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    app.engine.bridge(&id, BridgeCall::from_json(&body)?).await?;
    commanded(&app, &id).await
}

pub(crate) async fn mute(
    State(app): State<App>,
    Element(id): Element,
    Whole(bytes): Whole,
) -> Result<Response, Failure> {
    muted(&app, &id, &bytes, true).await
}

pub(crate) async fn unmute(
    State(app): State<App>,
    Element(id): Element,
    Whole(bytes): Whole,
) -> Result<Response, Failure> {
    muted(&app, &id, &bytes, false).await
}

async fn muted(app: &App, id: &str, bytes: &[u8], on: bool) -> Result<Response, Failure> {
    let id = call_id(id)?;
    let body = if bytes.is_empty() { serde_json::json!({}) } else { crate::params::json(bytes)? };
    app.engine.mute(&id, Mute::from_json(&body)?.direction, on).await?;
    commanded(app, &id).await
}

pub(crate) async fn flow(
    State(app): State<App>,
    Caller(token): Caller,
    Element(id): Element,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    let given = GiveFlow::from_json(&body)?;
    // Also one that is stored: whoever gives it rules the variables that say whom it calls.
    match &given.flow {
        FlowRef::Inline(flow) => may_call_out(&token, flow)?,
        FlowRef::Name(name) => {
            if let Some(stored) = app.engine.flow(name) {
                may_call_out(&token, &stored.flow)?;
            }
        }
    }
    let call = app.engine.give_flow(&id, given).await?;
    Ok(accepted(&id, Json(call)))
}

pub(crate) async fn transfer(
    State(app): State<App>,
    Element(id): Element,
    JsonBody(body): JsonBody,
) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    app.engine.transfer(&id, Transfer::from_json(&body)?).await?;
    commanded(&app, &id).await
}

pub(crate) async fn reject(
    State(app): State<App>,
    Element(id): Element,
    Whole(bytes): Whole,
) -> Result<Response, Failure> {
    let id = call_id(&id)?;
    let body = if bytes.is_empty() { serde_json::json!({}) } else { crate::params::json(&bytes)? };
    app.engine.reject(&id, Reject::from_json(&body)?.status).await?;
    commanded(&app, &id).await
}

pub(crate) async fn cdrs(State(app): State<App>, uri: Uri) -> Result<Json<Page<Call>>, Failure> {
    let mut params = Params::of(&uri);
    let query = CdrQuery {
        cursor: params.text("cursor").map(str::to_owned),
        from: params.parse("from"),
        to: params.parse("to"),
        limit: params.limit(),
    };
    Ok(Json(app.engine.cdrs(params.finish(query)?).await?))
}

/// The answer to a command on a live call: the call as it is now.
async fn commanded(app: &App, id: &CallId) -> Result<Response, Failure> {
    Ok(accepted(id, Json(current(app, id).await?)).into_response())
}

pub(crate) async fn current(app: &App, id: &CallId) -> Result<Call, Failure> {
    app.engine.call(id).await?.ok_or_else(|| Failure::new(Code::NotFound, format!("there is no call {id}")))
}
