//! The requests.

use crate::{ClientError, EventFilter, Events};
use control_api_types::{
    BridgeCall, Call, CallId, CallStatus, CallTimeline, CallTrace, CreateCall, CreatePrompt, Drain, Dtmf,
    Endpoint, FlowSummary, Gather, GiveFlow, HangupReason, Limits, Node, Page, Play, PlayId, PlayStarted,
    Prompt, PutEndpoint, Queue, QueueResource, QueuedCall, Readiness, Record, RecordAccepted, Recording,
    RecordingId, Reject, Timestamp, Transfer, Trunk, flow::Flow,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode, multipart};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc, time::Duration};

/// Longest wait for an answer: decoding a long prompt takes seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
/// As much of a foreign answer as is shown.
const SHOWN: usize = 200;

/// A client of one engine. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Arc<str>,
    token: Arc<str>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Which calls to list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CallFilter {
    /// Only those with this status.
    pub status: Option<CallStatus>,
    /// Most in the page, 1 to 1,000.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// Which ended calls to list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CdrFilter {
    /// Ended at or after.
    pub from: Option<Timestamp>,
    /// Ended before.
    pub to: Option<Timestamp>,
    /// Most in the page, 1 to 1,000.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl Client {
    /// A client of the engine at `base`, `http://host:port`, with the secret of a token.
    pub fn new(base: &str, token: &str) -> Result<Self, ClientError> {
        let address = || ClientError::Address { address: base.to_owned() };
        let url = reqwest::Url::parse(base).map_err(|_| address())?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(address());
        }
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').into(), token: token.into() })
    }

    /// Places a call. With an id of your own this may be repeated without placing a second call.
    pub async fn originate(&self, call: &CreateCall) -> Result<Call, ClientError> {
        self.send(self.request(Method::POST, &["v1", "calls"])?.json(call)).await
    }

    /// Shows a call, live or ended.
    pub async fn call(&self, id: &CallId) -> Result<Call, ClientError> {
        self.get(&["v1", "calls", id.as_str()]).await
    }

    /// Lists live and recent calls, newest first.
    pub async fn calls(&self, filter: &CallFilter) -> Result<Page<Call>, ClientError> {
        self.send(self.request(Method::GET, &["v1", "calls"])?.query(filter)).await
    }

    /// Ends a call; of an ended one shows how it ended.
    pub async fn hangup(&self, id: &CallId, reason: HangupReason) -> Result<Call, ClientError> {
        let request = self.request(Method::DELETE, &["v1", "calls", id.as_str()])?;
        self.send(request.query(&[("reason", reason.as_str())])).await
    }

    /// Plays a prompt.
    pub async fn play(&self, id: &CallId, play: &Play) -> Result<PlayId, ClientError> {
        let started: PlayStarted = self.act(id, &["play"], Some(play)).await?;
        Ok(started.play_id)
    }

    /// Stops what plays.
    pub async fn stop_play(&self, id: &CallId) -> Result<Call, ClientError> {
        self.act(id, &["play", "stop"], None::<&()>).await
    }

    /// Collects digits; the result is `call.gather.ended`.
    pub async fn gather(&self, id: &CallId, gather: &Gather) -> Result<Call, ClientError> {
        self.act(id, &["gather"], Some(gather)).await
    }

    /// Sends digits to the far side; `call.dtmf.sent` tells when they are sent.
    pub async fn dtmf(&self, id: &CallId, dtmf: &Dtmf) -> Result<Call, ClientError> {
        self.act(id, &["dtmf"], Some(dtmf)).await
    }

    /// Answers an inbound call.
    pub async fn answer(&self, id: &CallId) -> Result<Call, ClientError> {
        self.act(id, &["answer"], None::<&()>).await
    }

    /// Lets an inbound call ring.
    pub async fn ring(&self, id: &CallId) -> Result<Call, ClientError> {
        self.act(id, &["ring"], None::<&()>).await
    }

    /// Holds an answered call.
    pub async fn hold(&self, id: &CallId) -> Result<Call, ClientError> {
        self.act(id, &["hold"], None::<&()>).await
    }

    /// Takes a held call back.
    pub async fn unhold(&self, id: &CallId) -> Result<Call, ClientError> {
        self.act(id, &["unhold"], None::<&()>).await
    }

    /// Gives an answered call a flow, in the place of the one that it has.
    pub async fn give_flow(&self, id: &CallId, given: &GiveFlow) -> Result<Call, ClientError> {
        self.act(id, &["flow"], Some(given)).await
    }

    /// Hands an answered call over; `call.transfer.progress` tells how that goes.
    pub async fn transfer(&self, id: &CallId, transfer: &Transfer) -> Result<Call, ClientError> {
        self.act(id, &["transfer"], Some(transfer)).await
    }

    /// Bridges a parked call with another.
    pub async fn bridge(&self, id: &CallId, bridge: &BridgeCall) -> Result<Call, ClientError> {
        self.act(id, &["bridge"], Some(bridge)).await
    }

    /// Refuses an inbound call with a SIP status.
    pub async fn reject(&self, id: &CallId, status: u16) -> Result<Call, ClientError> {
        self.act(id, &["reject"], Some(&Reject { status })).await
    }

    /// Lists ended calls in the order of their end.
    pub async fn cdrs(&self, filter: &CdrFilter) -> Result<Page<Call>, ClientError> {
        self.send(self.request(Method::GET, &["v1", "cdrs"])?.query(filter)).await
    }

    /// Stores audio under a name.
    pub async fn upload_prompt(&self, name: &str, file: Vec<u8>) -> Result<Prompt, ClientError> {
        let part = multipart::Part::bytes(file).file_name(name.to_owned());
        let form = multipart::Form::new().text("name", name.to_owned()).part("file", part);
        self.send(self.request(Method::POST, &["v1", "prompts"])?.multipart(form)).await
    }

    /// Has a text said once and for all, under a name.
    pub async fn say_prompt(&self, prompt: &CreatePrompt) -> Result<Prompt, ClientError> {
        self.send(self.request(Method::POST, &["v1", "prompts"])?.json(prompt)).await
    }

    /// Every prompt, by name.
    pub async fn prompts(&self) -> Result<Vec<Prompt>, ClientError> {
        self.all(&["v1", "prompts"]).await
    }

    /// Forgets a prompt, by id or name.
    pub async fn delete_prompt(&self, id_or_name: &str) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &["v1", "prompts", id_or_name])?).await
    }

    /// The SIP messages of a call.
    pub async fn trace(&self, id: &CallId) -> Result<CallTrace, ClientError> {
        self.get(&["v1", "calls", id.as_str(), "trace"]).await
    }

    /// Everything that happened to a call, joined by time.
    pub async fn timeline(&self, id: &CallId) -> Result<CallTimeline, ClientError> {
        self.get(&["v1", "calls", id.as_str(), "timeline"]).await
    }

    /// Begins, pauses, resumes or stops the recording of an answered call.
    pub async fn record(&self, id: &CallId, record: &Record) -> Result<RecordingId, ClientError> {
        let accepted: RecordAccepted = self.act(id, &["record"], Some(record)).await?;
        Ok(accepted.recording_id)
    }

    /// Every recording, newest first.
    pub async fn recordings(&self) -> Result<Vec<Recording>, ClientError> {
        self.all(&["v1", "recordings"]).await
    }

    /// A recording.
    pub async fn recording(&self, id: &RecordingId) -> Result<Recording, ClientError> {
        self.get(&["v1", "recordings", id.as_str()]).await
    }

    /// The file of a recording that has ended.
    pub async fn recording_audio(&self, id: &RecordingId) -> Result<Vec<u8>, ClientError> {
        let request = self.open(Method::GET, &["v1", "recordings", id.as_str(), "audio"])?;
        Ok(accept(request.send().await?).await?.bytes().await?.to_vec())
    }

    /// Forgets a recording that has ended, and its file.
    pub async fn delete_recording(&self, id: &RecordingId) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &["v1", "recordings", id.as_str()])?).await
    }

    /// Stores a flow.
    pub async fn put_flow(&self, name: &str, flow: &Flow) -> Result<FlowSummary, ClientError> {
        self.send(self.request(Method::PUT, &["v1", "flows", name])?.json(flow)).await
    }

    /// Every flow, by name.
    pub async fn flows(&self) -> Result<Vec<FlowSummary>, ClientError> {
        self.all(&["v1", "flows"]).await
    }

    /// Forgets a flow.
    pub async fn delete_flow(&self, name: &str) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &["v1", "flows", name])?).await
    }

    /// Takes a call out of a bridge; it goes on by itself.
    pub async fn leave_bridge(&self, bridge: &str, call: &CallId) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &["v1", "bridges", bridge, "calls", call.as_str()])?).await
    }

    /// Stores a queue.
    pub async fn put_queue(&self, name: &str, queue: &Queue) -> Result<QueueResource, ClientError> {
        self.send(self.request(Method::PUT, &["v1", "queues", name])?.json(queue)).await
    }

    /// Every queue, by name, with how many wait in it.
    pub async fn queues(&self) -> Result<Vec<QueueResource>, ClientError> {
        self.all(&["v1", "queues"]).await
    }

    /// One queue.
    pub async fn queue(&self, name: &str) -> Result<QueueResource, ClientError> {
        self.get(&["v1", "queues", name]).await
    }

    /// Who waits in a queue, in order of arrival.
    pub async fn queued_calls(&self, name: &str) -> Result<Vec<QueuedCall>, ClientError> {
        self.all(&["v1", "queues", name, "calls"]).await
    }

    /// Forgets a queue; the flows of those who wait in it go on by `closed`.
    pub async fn delete_queue(&self, name: &str) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &["v1", "queues", name])?).await
    }

    /// Every trunk, by name.
    pub async fn trunks(&self) -> Result<Vec<Trunk>, ClientError> {
        self.all(&["v1", "trunks"]).await
    }

    /// One trunk.
    pub async fn trunk(&self, name: &str) -> Result<Trunk, ClientError> {
        self.get(&["v1", "trunks", name]).await
    }

    /// Every endpoint with its contacts, by name.
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>, ClientError> {
        self.all(&["v1", "endpoints"]).await
    }

    /// One endpoint.
    pub async fn endpoint(&self, name: &str) -> Result<Endpoint, ClientError> {
        self.get(&["v1", "endpoints", name]).await
    }

    /// Makes an endpoint.
    pub async fn create_endpoint(&self, endpoint: &PutEndpoint) -> Result<Endpoint, ClientError> {
        self.send(self.request(Method::POST, &["v1", "endpoints"])?.json(endpoint)).await
    }

    /// Makes or changes an endpoint.
    pub async fn put_endpoint(&self, name: &str, endpoint: &PutEndpoint) -> Result<Endpoint, ClientError> {
        self.send(self.request(Method::PUT, &["v1", "endpoints", name])?.json(endpoint)).await
    }

    /// Forgets an endpoint.
    pub async fn delete_endpoint(&self, name: &str) -> Result<(), ClientError> {
        self.done(self.request(Method::DELETE, &["v1", "endpoints", name])?).await
    }

    /// The node: version, load, lateness.
    pub async fn node(&self) -> Result<Node, ClientError> {
        self.get(&["v1", "node"]).await
    }

    /// What the node may take on.
    pub async fn limits(&self) -> Result<Limits, ClientError> {
        self.get(&["v1", "limits"]).await
    }

    /// Lets the node take no new calls.
    pub async fn drain(&self) -> Result<Drain, ClientError> {
        self.send(self.request(Method::POST, &["v1", "drain"])?).await
    }

    /// Lets it take calls again.
    pub async fn undrain(&self) -> Result<Drain, ClientError> {
        self.send(self.request(Method::DELETE, &["v1", "drain"])?).await
    }

    /// Whether it drains.
    pub async fn draining(&self) -> Result<Drain, ClientError> {
        self.get(&["v1", "drain"]).await
    }

    /// Whether the process runs.
    pub async fn health(&self) -> Result<(), ClientError> {
        self.done(self.request(Method::GET, &["healthz"])?).await
    }

    /// Whether the node takes calls, and if not, why.
    pub async fn ready(&self) -> Result<Readiness, ClientError> {
        let response = self.request(Method::GET, &["readyz"])?.send().await?;
        match response.status() {
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => {
                Ok(serde_json::from_slice(&response.bytes().await?)?)
            }
            _ => Err(refusal(response).await),
        }
    }

    /// Figures in the text format of Prometheus.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let response = accept(self.request(Method::GET, &["metrics"])?.send().await?).await?;
        Ok(response.text().await?)
    }

    /// Subscribes to events; when this returns, nothing that happens is missed.
    pub async fn events(&self, filter: EventFilter) -> Result<Events, ClientError> {
        Events::open(self.clone(), filter).await
    }

    pub(crate) fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, ClientError> {
        Ok(self.open(method, path)?.timeout(TIMEOUT))
    }

    /// A request that may take for ever.
    pub(crate) fn open(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, ClientError> {
        let address = || ClientError::Address { address: self.base.to_string() };
        let mut url = reqwest::Url::parse(&self.base).map_err(|_| address())?;
        url.path_segments_mut().map_err(|()| address())?.pop_if_empty().extend(path);
        Ok(self.http.request(method, url).bearer_auth(&self.token))
    }

    pub(crate) async fn act<T: DeserializeOwned>(
        &self,
        id: &CallId,
        action: &[&str],
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let path: Vec<&str> = ["v1", "calls", id.as_str()].iter().chain(action).copied().collect();
        let request = self.request(Method::POST, &path)?;
        self.send(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.send(self.request(Method::GET, path)?).await
    }

    /// Every item of a list, page after page.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Vec<T>, ClientError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let request = self.request(Method::GET, path)?.query(&[("limit", "1000")]);
            let request = request.query(&cursor.as_ref().map(|cursor| [("cursor", cursor)]));
            let page: Page<T> = self.send(request).await?;
            items.extend(page.items);
            match page.next_cursor {
                // A server that stays where it is must not keep us here.
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                Some(_) | None => return Ok(items),
            }
        }
    }

    pub(crate) async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = accept(request.send().await?).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    }

    pub(crate) async fn done(&self, request: RequestBuilder) -> Result<(), ClientError> {
        accept(request.send().await?).await.map(drop)
    }
}

/// The response, unless it is a refusal.
pub(crate) async fn accept(response: Response) -> Result<Response, ClientError> {
    if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
}

async fn refusal(response: Response) -> ClientError {
    let status = response.status().as_u16();
    let bytes = match response.bytes().await {
        Ok(bytes) => bytes,
        Err(error) => return error.into(),
    };
    match serde_json::from_slice(&bytes) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(_) => {
            let text = String::from_utf8_lossy(&bytes).chars().take(SHOWN).collect();
            ClientError::Foreign { status, text }
        }
    }
}
