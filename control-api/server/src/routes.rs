//! Every route of the API: path, scope, handler, description.

use crate::{
    app::Access,
    bridges, calls, docs, endpoints, events, flows, node, prompts, queues, recordings,
    route::{Route, number, text, word},
    trunks, webhooks,
};
use control_api_types::{
    Bridge, BridgeCall, Call, CallStatus, CallTimeline, CallTrace, Code, Codec, CreateBridge, CreateCall,
    CreatePrompt, CreateWebhook, Drain, Dtmf, Endpoint, Event, FlowResource, FlowSummary, Gather, GiveFlow,
    HangupReason, Health, JoinBridge, Limits, LimitsPatch, Mute, Node, Play, PlayStarted, Prompt,
    PutEndpoint, Queue, QueueResource, QueuedCall, Readiness, Record, RecordAccepted, Recording, Reject,
    Reloaded, Scope, Transfer, Trunk, TrunkSettings, Webhook, flow::Flow,
};
use utoipa::openapi::Schema;

const READ: Access = Access::Token(Scope::Read);
const CONTROL: Access = Access::Token(Scope::Control);
const ORIGINATE: Access = Access::Token(Scope::Originate);
const ADMIN: Access = Access::Token(Scope::Admin);
const STREAM: Access = Access::Stream(Scope::Read);

/// The table. `metrics_open`: `/metrics` needs no token.
pub(crate) fn table(metrics_open: bool) -> Vec<Route> {
    let mut routes = call_routes();
    routes.extend(bridge_routes());
    routes.extend(queue_routes());
    routes.extend(library_routes());
    routes.extend(recording_routes());
    routes.extend(endpoint_routes());
    routes.extend(event_routes());
    routes.extend(webhook_routes());
    routes.extend(node_routes(if metrics_open { Access::Open } else { READ }));
    routes
}

fn page(first: &[(&'static str, Schema, &'static str)]) -> Vec<(&'static str, Schema, &'static str)> {
    let mut parameters = first.to_vec();
    parameters.push(("limit", number(1, 1000, 100), "Most items in the page."));
    parameters.push(("cursor", text(), "Where the page before ended: its next_cursor."));
    parameters
}

fn call_routes() -> Vec<Route> {
    let status = word(CallStatus::ALL.iter().map(|status| status.as_str()));
    let reason = word(HangupReason::ALL.iter().map(|reason| reason.as_str()));
    let time = || crate::route::inline::<control_api_types::Timestamp>();
    let live = [Code::WrongState, Code::Overloaded];
    vec![
        Route::post("/v1/calls", ORIGINATE, calls::create)
            .says("Calls", "createCall", "Places a call")
            .more("Never waits for the network. The same id with the same body answers as before.")
            .body::<CreateCall>()
            .answers::<Call>(
                202,
                "Accepted: the call is in the journal and will end in exactly one call.ended.",
            )
            .problems(&[Code::InUse, Code::QueueFull, Code::Draining, Code::Overloaded]),
        Route::get("/v1/calls", READ, calls::list)
            .says("Calls", "listCalls", "Lists live and recent calls, newest first")
            .query(&page(&[("status", status, "Only calls with this status.")]))
            .pages::<Call>("A page of calls."),
        Route::get("/v1/calls/{id}", READ, calls::show)
            .says("Calls", "getCall", "Shows a call, live or ended")
            .answers::<Call>(200, "The call."),
        Route::delete("/v1/calls/{id}", CONTROL, calls::hangup)
            .says("Calls", "hangupCall", "Ends a call")
            .query(&[("reason", reason, "Why; before the answer it chooses the status of an inbound call.")])
            .answers::<Call>(202, "It is being ended.")
            .answers::<Call>(200, "It had ended already.")
            .problems(&[Code::Overloaded]),
        Route::post("/v1/calls/{id}/play", CONTROL, calls::play)
            .says("Calls", "play", "Plays a prompt, a tone, a URL or a list of these; what plays is stopped")
            .body::<Play>()
            .answers::<PlayStarted>(202, "It will play.")
            .problems(&live),
        Route::post("/v1/calls/{id}/play/stop", CONTROL, calls::stop_play)
            .says("Calls", "stopPlay", "Stops what plays")
            .answers::<Call>(202, "It will stop.")
            .problems(&live),
        Route::post("/v1/calls/{id}/gather", CONTROL, calls::gather)
            .says("Calls", "gather", "Collects digits; the result is call.gather.ended")
            .body::<Gather>()
            .answers::<Call>(202, "It will collect.")
            .problems(&live),
        Route::post("/v1/calls/{id}/record", CONTROL, calls::record)
            .says("Calls", "record", "Begins, pauses, resumes or stops the recording of an answered call")
            .more("One at a time; call.recording.ended tells when its file is whole. What is paused is left out.")
            .body::<Record>()
            .answers::<RecordAccepted>(202, "It will be done.")
            .problems(&live)
            .problems(&[Code::NoSpace]),
        Route::post("/v1/calls/{id}/dtmf", CONTROL, calls::dtmf)
            .says("Calls", "sendDtmf", "Sends digits to the far side")
            .more("What plays waits meanwhile. call.dtmf.sent follows.")
            .body::<Dtmf>()
            .answers::<Call>(202, "They will be sent.")
            .problems(&live),
        Route::post("/v1/calls/{id}/answer", CONTROL, calls::answer)
            .says("Calls", "answerCall", "Answers an inbound call")
            .answers::<Call>(202, "It is being answered.")
            .problems(&live),
        Route::post("/v1/calls/{id}/ring", CONTROL, calls::ring)
            .says("Calls", "ringCall", "Lets an inbound call ring (180)")
            .answers::<Call>(202, "It rings.")
            .problems(&live),
        Route::post("/v1/calls/{id}/hold", CONTROL, calls::hold)
            .says("Calls", "holdCall", "Holds an answered call")
            .more(
                "The far side hears what is played and is not heard. call.held or call.hold_failed follows.",
            )
            .answers::<Call>(202, "It is being held, or was.")
            .problems(&live),
        Route::post("/v1/calls/{id}/unhold", CONTROL, calls::unhold)
            .says("Calls", "unholdCall", "Takes a held call back")
            .more("call.resumed or call.hold_failed follows.")
            .answers::<Call>(202, "It is being taken back, or was.")
            .problems(&live),
        Route::post("/v1/calls/{id}/mute", CONTROL, calls::mute)
            .says("Calls", "muteCall", "Mutes an answered call in its bridge")
            .body_or_none::<Mute>()
            .more("Without a body: what the far side says is heard by nobody.")
            .answers::<Call>(202, "It is muted.")
            .problems(&live),
        Route::post("/v1/calls/{id}/unmute", CONTROL, calls::unmute)
            .says("Calls", "unmuteCall", "Ends that")
            .body_or_none::<Mute>()
            .answers::<Call>(202, "It is not muted any more.")
            .problems(&live),
        Route::post("/v1/calls/{id}/bridge", CONTROL, calls::bridge)
            .says("Calls", "bridgeCall", "Bridges a parked call with another")
            .more(
                "Both hear each other, as it comes where they talk the same codec, otherwise transcoded; call.bridged \
                 tells both. When one ends, on_end says what becomes of the other.",
            )
            .body::<BridgeCall>()
            .answers::<Call>(202, "They are bridged.")
            .problems(&live),
        Route::post("/v1/calls/{id}/flow", CONTROL, calls::flow)
            .says("Calls", "giveCallFlow", "Gives an answered call a flow")
            .more(
                "In the place of the one that it has, from whichever step: what that one plays, gathers, records or dials \
                 ends. Not in a bridge: take the call out first. One with a step dial, transfer or webhook wants the \
                 scope originate, too.",
            )
            .body::<GiveFlow>()
            .answers::<Call>(202, "It has begun.")
            .problems(&live),
        Route::post("/v1/calls/{id}/transfer", ORIGINATE, calls::transfer)
            .says("Calls", "transferCall", "Hands an answered call over (REFER)")
            .more(
                "The far side is asked to call somebody else; call.transfer.progress tells how that goes. When it has \
                 succeeded the call ends, otherwise it goes on. One transfer at a time.",
            )
            .body::<Transfer>()
            .answers::<Call>(202, "The far side is being asked.")
            .problems(&live),
        Route::post("/v1/calls/{id}/reject", CONTROL, calls::reject)
            .says("Calls", "rejectCall", "Refuses an inbound call")
            .body_or_none::<Reject>()
            .more("Without a body: 603.")
            .answers::<Call>(202, "It is refused.")
            .problems(&live),
        Route::get("/v1/calls/{id}/trace", READ, calls::trace)
            .says("Calls", "getCallTrace", "Shows the SIP messages of a call")
            .more(
                "Of live calls and those that ended lately, as far as [sip.trace] has room. Passwords' proofs and media \
                 keys are masked.",
            )
            .answers::<CallTrace>(200, "The messages in the order in which they passed."),
        Route::get("/v1/calls/{id}/trace.pcap", READ, calls::trace_pcap)
            .says("Calls", "getCallTracePcap", "The SIP messages of a call as a capture file")
            .more("For Wireshark: the headers below SIP are made up; what was encrypted is written as plain SIP over TCP.")
            .answers_as(200, "A capture file (libpcap).", &["application/vnd.tcpdump.pcap"]),
        Route::get("/v1/calls/{id}/timeline", READ, calls::timeline)
            .says("Calls", "getCallTimeline", "Shows everything that happened to a call, joined by time")
            .more(
                "Its events, SIP messages, plays and recordings, of live calls and those that ended lately: as long as the events \
                 are among the latest 100,000 of the node, of one call the latest 10,000, and the messages have room in \
                 [sip.trace].",
            )
            .answers::<CallTimeline>(200, "What is kept of it.")
            .problems(&[Code::Overloaded]),
        Route::get("/v1/cdrs", READ, calls::cdrs)
            .says("Calls", "listCdrs", "Lists ended calls in the order of their end")
            .more("Durable: every accepted call appears once. Keep next_cursor to go on from there later.")
            .query(&page(&[("from", time(), "Ended at or after."), ("to", time(), "Ended before.")]))
            .pages::<Call>("A page of ended calls."),
    ]
}

fn bridge_routes() -> Vec<Route> {
    let live = [Code::WrongState, Code::Overloaded];
    vec![
        Route::post("/v1/bridges", CONTROL, bridges::create)
            .says("Bridges", "createBridge", "Makes a bridge of two or more calls, or of those that come later")
            .more(
                "Whoever waits for a second talker hears hold_music. The bridge ends when fewer than two talkers \
                 are left, or nobody of those who waited; calls that are to go on by themselves then join with an on_end.",
            )
            .body::<CreateBridge>()
            .answers::<Bridge>(201, "Made, or made by the same request before.")
            .problems(&[Code::WrongState, Code::InUse, Code::Overloaded]),
        Route::get("/v1/bridges", READ, bridges::list)
            .says("Bridges", "listBridges", "Lists bridges by id")
            .query(&page(&[]))
            .pages::<Bridge>("A page of bridges."),
        Route::get("/v1/bridges/{id}", READ, bridges::show)
            .says("Bridges", "getBridge", "Shows a bridge")
            .answers::<Bridge>(200, "The bridge."),
        Route::delete("/v1/bridges/{id}", CONTROL, bridges::delete)
            .says("Bridges", "deleteBridge", "Ends a bridge; its calls go on as each has agreed (on_end)")
            .answers_empty(204, "Ended."),
        Route::post("/v1/bridges/{id}/calls", CONTROL, bridges::join)
            .says("Bridges", "joinBridge", "Takes a parked call into a bridge, or gives it another role there")
            .more(
                "The answer shows the bridge with the change. A change that leaves fewer than two talkers ends the bridge: \
                 its calls go on as their on_end says.",
            )
            .body::<JoinBridge>()
            .answers::<Bridge>(202, "The bridge.")
            .problems(&live),
        Route::delete("/v1/bridges/{id}/calls/{call_id}", CONTROL, bridges::leave)
            .says("Bridges", "leaveBridge", "Takes a call out of a bridge")
            .more("It goes on by itself: parked, or by its flow after a bridge step.")
            .answers_empty(204, "Out.")
            .problems(&[Code::Overloaded]),
    ]
}

fn queue_routes() -> Vec<Route> {
    vec![
        Route::put("/v1/queues/{name}", CONTROL, queues::put)
            .says("Queues", "putQueue", "Stores a queue, in which the flows' verb enqueue has callers wait")
            .more(
                "What it plays must be there. Calls that wait in it already go on by the settings that they came to, those \
                 who come later have the new ones.",
            )
            .body::<Queue>()
            .answers::<QueueResource>(200, "Stored.")
            .problems(&[Code::Overloaded]),
        Route::get("/v1/queues", READ, queues::list)
            .says("Queues", "listQueues", "Lists queues by name, with how many wait in each")
            .query(&page(&[]))
            .pages::<QueueResource>("A page of queues.")
            .problems(&[Code::Overloaded]),
        Route::get("/v1/queues/{name}", READ, queues::show)
            .says("Queues", "getQueue", "Shows a queue")
            .answers::<QueueResource>(200, "The queue.")
            .problems(&[Code::Overloaded]),
        Route::delete("/v1/queues/{name}", CONTROL, queues::delete)
            .says("Queues", "deleteQueue", "Forgets a queue")
            .more("The flows of those who wait in it go on by the outcome closed.")
            .answers_empty(204, "Forgotten.")
            .problems(&[Code::Overloaded]),
        Route::get("/v1/queues/{name}/calls", READ, queues::calls)
            .says("Queues", "listQueuedCalls", "Lists the calls that wait in a queue, in order of arrival")
            .more(
                "Whoever owns the queue picks one of them and bridges it (POST /v1/calls/{id}/bridge): it leaves the queue at \
                 once, and its flow goes on by ended after the bridge.",
            )
            .query(&page(&[]))
            .pages::<QueuedCall>("A page of calls that wait.")
            .problems(&[Code::Overloaded]),
    ]
}

fn library_routes() -> Vec<Route> {
    let codec = word(Codec::ALL.iter().map(|codec| codec.as_str()).chain(["original"]));
    vec![
        Route::post("/v1/prompts", CONTROL, prompts::upload)
            .says("Prompts", "uploadPrompt", "Stores audio under a name (MP3, WAV, FLAC, or Ogg with Vorbis or Opus), or what is said")
            .form_or_body::<CreatePrompt>(prompts::MAX_FILE + crate::route::MAX_JSON)
            .answers::<Prompt>(201, "Stored; or the same audio was stored under this name before.")
            .problems(&[Code::BadAudio, Code::InUse, Code::Overloaded, Code::NoSpeech]),
        Route::get("/v1/prompts", READ, prompts::list)
            .says("Prompts", "listPrompts", "Lists prompts by name")
            .query(&page(&[]))
            .pages::<Prompt>("A page of prompts."),
        Route::get("/v1/prompts/{id}", READ, prompts::show)
            .says("Prompts", "getPrompt", "Shows a prompt by id or name")
            .answers::<Prompt>(200, "The prompt."),
        Route::get("/v1/prompts/{id}/audio", READ, prompts::audio)
            .says("Prompts", "getPromptAudio", "What a caller hears: mono, 16 bit, 8 or 16 kHz by the codec")
            .query(&[("codec", codec, "The codec of the call, PCMU when it is not said; original: the file as uploaded.")])
            .answers_as(200, "A WAV file, or the file as it was uploaded.", &["audio/wav", "application/octet-stream"]),
        Route::delete("/v1/prompts/{id}", CONTROL, prompts::delete)
            .says("Prompts", "deletePrompt", "Forgets a prompt; calls that play it go on")
            .answers_empty(204, "Forgotten."),
        Route::put("/v1/flows/{name}", CONTROL, flows::put)
            .says("Flows", "putFlow", "Stores a flow; running calls keep the version they started with")
            .more("One with a step dial, transfer or webhook wants the scope originate, too.")
            .body::<Flow>()
            .answers::<FlowSummary>(200, "Stored."),
        Route::get("/v1/flows", READ, flows::list)
            .says("Flows", "listFlows", "Lists flows by name")
            .query(&page(&[]))
            .pages::<FlowSummary>("A page of flows."),
        Route::get("/v1/flows/{name}", READ, flows::show)
            .says("Flows", "getFlow", "Shows a flow")
            .answers::<FlowResource>(200, "The flow."),
        Route::delete("/v1/flows/{name}", CONTROL, flows::delete)
            .says("Flows", "deleteFlow", "Forgets a flow; calls that run it go on")
            .answers_empty(204, "Forgotten."),
        Route::post("/v1/flows/validate", READ, flows::validate)
            .says("Flows", "validateFlow", "Checks a flow without storing it")
            .body::<Flow>()
            .answers::<Flow>(200, "It is right; this is how it would be stored."),
        Route::get("/v1/flows/schema", READ, flows::schema)
            .says("Flows", "getFlowSchema", "The JSON Schema of flows")
            .answers_as(200, "A JSON Schema (2020-12).", &["application/schema+json"]),
        Route::get("/v1/trunks", READ, trunks::list)
            .says("Trunks", "listTrunks", "Lists trunks by name")
            .query(&page(&[]))
            .pages::<Trunk>("A page of trunks."),
        Route::get("/v1/trunks/{name}", READ, trunks::show)
            .says("Trunks", "getTrunk", "Shows a trunk")
            .answers::<Trunk>(200, "The trunk."),
        Route::post("/v1/trunks", ADMIN, trunks::create)
            .says("Trunks", "createTrunk", "Makes a trunk; it is kept across restarts")
            .body::<TrunkSettings>()
            .answers::<Trunk>(201, "Made.")
            .problems(&[Code::InUse]),
        Route::put("/v1/trunks/{name}", ADMIN, trunks::put)
            .says("Trunks", "putTrunk", "Makes a trunk, or changes it; its calls go on")
            .more(
                "The body is the whole trunk; its name may be left out. A registration that was refused for good is tried \
                 again. A trunk of the configuration file changes until the file is read again.",
            )
            .body::<TrunkSettings>()
            .answers::<Trunk>(200, "Made or changed."),
        Route::delete("/v1/trunks/{name}", ADMIN, trunks::delete)
            .says("Trunks", "deleteTrunk", "Forgets a trunk; its calls go on, those in the queue fail")
            .more("A trunk of the configuration file is back when the file is read again.")
            .answers_empty(204, "Forgotten."),
        Route::post("/v1/trunks/{name}/enable", ADMIN, trunks::enable)
            .says("Trunks", "enableTrunk", "Lets a trunk take calls; a refused registration is tried again")
            .answers::<Trunk>(200, "The trunk."),
        Route::post("/v1/trunks/{name}/disable", ADMIN, trunks::disable)
            .says("Trunks", "disableTrunk", "Lets a trunk take no new calls; its calls go on")
            .more("Its registration is taken back. It stays disabled across reloads and restarts.")
            .answers::<Trunk>(200, "The trunk."),
    ]
}

fn endpoint_routes() -> Vec<Route> {
    vec![
        Route::get("/v1/endpoints", READ, endpoints::list)
            .says("Endpoints", "listEndpoints", "Lists endpoints by name, with their contacts")
            .query(&page(&[]))
            .pages::<Endpoint>("A page of endpoints."),
        Route::get("/v1/endpoints/{name}", READ, endpoints::show)
            .says("Endpoints", "getEndpoint", "Shows an endpoint with its contacts")
            .answers::<Endpoint>(200, "The endpoint."),
        Route::post("/v1/endpoints", ADMIN, endpoints::create)
            .says("Endpoints", "createEndpoint", "Makes an endpoint, which may register at once")
            .more("Kept over restarts; of its password only hashes are kept, which hold for the realm of this node.")
            .body::<PutEndpoint>()
            .answers::<Endpoint>(201, "Made.")
            .problems(&[Code::InUse]),
        Route::put("/v1/endpoints/{name}", ADMIN, endpoints::put)
            .says("Endpoints", "putEndpoint", "Makes or changes an endpoint")
            .more("With another password, or fewer rights, its contacts are forgotten.")
            .body::<PutEndpoint>()
            .answers::<Endpoint>(200, "Made or changed.")
            .problems(&[Code::InUse]),
        Route::delete("/v1/endpoints/{name}", ADMIN, endpoints::delete)
            .says("Endpoints", "deleteEndpoint", "Forgets an endpoint and its contacts; its calls go on")
            .answers_empty(204, "Forgotten.")
            .problems(&[Code::InUse]),
    ]
}

fn recording_routes() -> Vec<Route> {
    vec![
        Route::get("/v1/recordings", READ, recordings::list)
            .says("Recordings", "listRecordings", "Lists recordings, newest first")
            .query(&page(&[("call_id", text(), "Only those of this call.")]))
            .pages::<Recording>("A page of recordings."),
        Route::get("/v1/recordings/{id}", READ, recordings::show)
            .says("Recordings", "getRecording", "Shows a recording")
            .answers::<Recording>(200, "The recording."),
        Route::get("/v1/recordings/{id}/audio", READ, recordings::audio)
            .says("Recordings", "getRecordingAudio", "The file of a recording that has ended")
            .header("Range", text(), "One range of bytes.")
            .answers_as(200, "The file: audio/wav, or audio/ogg with Opus.", &["audio/wav", "audio/ogg"])
            .answers_as(206, "The range of it.", &["audio/wav", "audio/ogg"])
            .answers_empty(416, "Nothing of the range is there.")
            .problems(&[Code::WrongState]),
        Route::delete("/v1/recordings/{id}", CONTROL, recordings::delete)
            .says("Recordings", "deleteRecording", "Forgets a recording that has ended, and its file")
            .answers_empty(204, "Forgotten.")
            .problems(&[Code::WrongState]),
    ]
}

fn event_routes() -> Vec<Route> {
    let filters = [
        ("types", text(), "Only these types: a comma list of names or beginnings, call.*,trunk.up."),
        ("cursor", text(), "Events after this one; without it from now."),
        ("access_token", text(), "The token, where headers cannot be sent."),
    ];
    let resume = "SSE: events after this one; cursor, if given, counts.";
    let mut all = filters.to_vec();
    all.push(("call_id", text(), "Only events of this call."));
    vec![
        Route::get("/v1/events", STREAM, events::stream)
            .says("Events", "events", "Streams events: a WebSocket if asked to upgrade, otherwise SSE")
            .more(events::DESCRIPTION)
            .query(&all)
            .header("Last-Event-ID", text(), resume)
            .mentions::<Event>()
            .answers_as(200, "SSE: data is an Event, id its cursor, event its type.", &["text/event-stream"])
            .answers_empty(101, "WebSocket: each text message is an Event or the reply to a command.")
            .problems(&[Code::CursorExpired, Code::Unparsable]),
        Route::get("/v1/calls/{id}/events", STREAM, events::of_call)
            .says("Events", "callEvents", "Streams the events of one call as SSE, up to its end")
            .query(&filters)
            .header("Last-Event-ID", text(), resume)
            .mentions::<Event>()
            .answers_as(200, "SSE: data is an Event, id its cursor, event its type.", &["text/event-stream"])
            .problems(&[Code::CursorExpired]),
    ]
}

fn webhook_routes() -> Vec<Route> {
    vec![
        Route::post("/v1/webhooks", ADMIN, webhooks::create)
            .says("Webhooks", "createWebhook", "Posts events to a web server")
            .more(webhooks::DESCRIPTION)
            .body::<CreateWebhook>()
            .answers::<Webhook>(
                201,
                "Made; with its secret, if the engine has chosen it: it is not shown again.",
            )
            .problems(&[Code::WrongState]),
        Route::get("/v1/webhooks", READ, webhooks::list)
            .says("Webhooks", "listWebhooks", "Lists webhooks, the oldest first, and how their deliveries go")
            .query(&page(&[]))
            .pages::<Webhook>("A page of webhooks."),
        Route::get("/v1/webhooks/{id}", READ, webhooks::show)
            .says("Webhooks", "getWebhook", "Shows a webhook and how its deliveries go")
            .answers::<Webhook>(200, "The webhook."),
        Route::delete("/v1/webhooks/{id}", ADMIN, webhooks::delete)
            .says("Webhooks", "deleteWebhook", "Forgets a webhook and what waits for it")
            .answers_empty(204, "Forgotten."),
    ]
}

fn node_routes(metrics: Access) -> Vec<Route> {
    vec![
        Route::get("/v1/node", READ, node::show)
            .says("Node", "getNode", "This node: version, load, lateness")
            .answers::<Node>(200, "The node."),
        Route::get("/v1/limits", READ, node::limits)
            .says("Node", "getLimits", "What the node may take on")
            .answers::<Limits>(200, "The limits."),
        Route::patch("/v1/limits", ADMIN, node::set_limits)
            .says("Node", "patchLimits", "Changes limits until the configuration is read again")
            .body::<LimitsPatch>()
            .answers::<Limits>(200, "The limits."),
        Route::post("/v1/reload", ADMIN, node::reload)
            .says("Node", "reload", "Reads the configuration file again, as SIGHUP does")
            .more(
                "Trunks, routes, limits, tokens and certificates; calls go on. If anything in the file is wrong nothing \
                 changes, and each error has file:line as its pointer.",
            )
            .answers::<Reloaded>(200, "Taken up."),
        Route::get("/v1/drain", READ, node::draining)
            .says("Node", "getDrain", "Whether the node drains")
            .answers::<Drain>(200, "Whether it drains."),
        Route::post("/v1/drain", ADMIN, node::drain)
            .says("Node", "startDrain", "Takes no new calls; live ones go on")
            .answers::<Drain>(202, "It drains."),
        Route::delete("/v1/drain", ADMIN, node::undrain)
            .says("Node", "stopDrain", "Takes calls again")
            .answers::<Drain>(200, "It takes calls."),
        Route::get("/healthz", Access::Open, node::health)
            .says("Node", "health", "Whether the process runs")
            .answers::<Health>(200, "It runs."),
        Route::get("/readyz", Access::Open, node::ready)
            .says("Node", "ready", "Whether the node takes calls")
            .answers::<Readiness>(200, "It takes calls.")
            .answers::<Readiness>(503, "It does not, and why."),
        Route::get("/metrics", metrics, node::metrics)
            .says("Node", "metrics", "Figures for Prometheus")
            .answers_as(200, "Text exposition format 0.0.4.", &["text/plain"]),
        Route::get("/v1/openapi.json", Access::Open, docs::openapi)
            .says("Documentation", "openapi", "This description")
            .answers_as(200, "OpenAPI 3.1.", &["application/json"]),
        Route::get("/docs", Access::Open, docs::page)
            .says("Documentation", "docs", "This description to read")
            .answers_as(200, "A page.", &["text/html"]),
    ]
}
