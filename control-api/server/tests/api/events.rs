//! Events over SSE and WebSocket, and commands over WebSocket.

use crate::app::{DEAD, SECRET, TestApp};
use control_api_client::{ClientError, EventFilter};
use control_api_types::{Code, CreateCall, Cursor, Event, EventData};
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message},
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn socket(app: &TestApp, secret: &str, query: &str) -> Result<Socket, Error> {
    let address = app.base.replace("http", "ws");
    connect_async(format!("{address}/v1/events?access_token={secret}{query}")).await.map(|(socket, _)| socket)
}

/// The next message that is not a ping.
async fn message(socket: &mut Socket) -> Option<Value> {
    loop {
        match timeout(DEAD, socket.next()).await.unwrap()? {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(other) => panic!("{other:?}"),
        }
    }
}

async fn command(socket: &mut Socket, command: Value) -> Value {
    socket.send(Message::text(command.to_string())).await.unwrap();
    let id = command.get("id").cloned().unwrap_or_default();
    loop {
        let message = message(socket).await.unwrap();
        if message.get("reply_to") == Some(&id) {
            return message;
        }
    }
}

/// A call to nobody and the cursor of its first event.
async fn one_event(app: &TestApp) -> Cursor {
    let mut events = app.client().events(EventFilter::default()).await.unwrap();
    app.client().originate(&CreateCall::to("sip:nobody@127.0.0.1:9")).await.unwrap();
    timeout(DEAD, events.next()).await.unwrap().unwrap().unwrap().cursor
}

#[tokio::test]
async fn a_stream_goes_on_after_its_cursor() {
    let app = TestApp::start().await;
    let first = one_event(&app).await;
    app.client().drain().await.unwrap();
    let filter = EventFilter { types: vec!["engine.*".to_owned()], cursor: Some(first), call_id: None };
    let mut events = app.client().events(filter).await.unwrap();
    let event = timeout(DEAD, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(event.data, EventData::EngineDraining {});
    assert_eq!(events.cursor(), Some(event.cursor));

    let resumed = app.request(Method::GET, "/v1/events?types=call.initiated");
    let before = Cursor(first.0 - 1).to_string();
    let mut response = resumed.header("Last-Event-ID", before).send().await.unwrap();
    let piece = timeout(DEAD, response.chunk()).await.unwrap().unwrap().unwrap();
    let text = String::from_utf8(piece.to_vec()).unwrap();
    assert!(text.starts_with(&format!("id: {first}\nevent: call.initiated\ndata: {{")), "{text}");
    app.stop().await;
}

#[tokio::test]
async fn a_cursor_of_another_life_has_expired() {
    let app = TestApp::start().await;
    app.get("/v1/events?cursor=1").await.problem(410, "cursor-expired");
    app.get("/v1/events?cursor=soon&color=red").await.problem(422, "validation");
    let odd = app.request(Method::GET, "/v1/events").header("Last-Event-ID", "soon");
    app.send(odd).await.problem(410, "cursor-expired");
    let filter = EventFilter { cursor: Some(Cursor(1)), ..EventFilter::default() };
    assert_eq!(app.client().events(filter).await.unwrap_err().code(), Some(Code::CursorExpired));
    let refused = socket(&app, SECRET, "&cursor=1").await.unwrap_err();
    assert!(matches!(refused, Error::Http(response) if response.status() == 410));
    app.stop().await;
}

#[tokio::test]
async fn a_socket_carries_events_and_commands() {
    let app = TestApp::start().await;
    let mut socket = socket(&app, SECRET, "&types=engine.*").await.unwrap();
    let reply = command(&mut socket, json!({"id": "c1", "method": "GET", "path": "/v1/node"})).await;
    assert_eq!((&reply["status"], &reply["body"]["node"]), (&json!(200), &json!("test")));
    let call = json!({"to": "sip:nobody@127.0.0.1:9", "id": "via-socket"});
    let reply =
        command(&mut socket, json!({"id": "c2", "method": "POST", "path": "/v1/calls", "body": call})).await;
    assert_eq!((&reply["status"], &reply["body"]["id"]), (&json!(202), &json!("via-socket")));
    let reply =
        command(&mut socket, json!({"id": "c3", "method": "POST", "path": "/v1/calls", "body": {}})).await;
    assert_eq!((&reply["status"], &reply["body"]["code"]), (&json!(422), &json!("validation")));
    let reply = command(&mut socket, json!({"id": "c4", "method": "GET", "path": "/v1/events"})).await;
    assert_eq!(reply["status"], 422, "a stream has no end to wait for: {reply}");
    let reply = command(&mut socket, json!({"id": "c5", "path": "elsewhere"})).await;
    assert_eq!(reply["status"], 422);
    socket.send(Message::text("{")).await.unwrap();
    let reply = message(&mut socket).await.unwrap();
    assert_eq!((&reply["reply_to"], &reply["status"]), (&Value::Null, &json!(400)));

    app.client().drain().await.unwrap();
    let event: Event = serde_json::from_value(message(&mut socket).await.unwrap()).unwrap();
    assert_eq!(event.data, EventData::EngineDraining {});
    app.stop().await;
}

#[tokio::test]
async fn a_command_needs_its_scope_too() {
    let app = TestApp::start().await;
    let reader = app.token("reader", "read").await;
    let mut socket = socket(&app, &reader, "").await.unwrap();
    let reply = command(&mut socket, json!({"id": "c1", "method": "POST", "path": "/v1/drain"})).await;
    assert_eq!((&reply["status"], &reply["body"]["code"]), (&json!(403), &json!("forbidden")));
    std::fs::remove_file(app.folder.0.join("tokens.toml")).unwrap();
    let gone = async {
        loop {
            let reply = command(&mut socket, json!({"id": "c2", "method": "GET", "path": "/v1/node"})).await;
            if reply["status"] == 401 {
                break;
            }
        }
    };
    timeout(DEAD, gone).await.unwrap();
    app.stop().await;
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let app = TestApp::start().await;
    let mut open = socket(&app, SECRET, "").await.unwrap();
    let stream = app.request(Method::GET, "/v1/events").send().await.unwrap();
    let mut events = app.client().events(EventFilter::default()).await.unwrap();
    app.stop().await;
    assert_eq!(message(&mut open).await, None);
    timeout(DEAD, stream.text()).await.unwrap().unwrap();
    let error = timeout(DEAD, events.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Resync), "{error}");
}
