//! What comes before the first SIP message: connecting, TLS, the upgrade to WebSocket (RFC 7118 section 4).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytestring::ByteString;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use sip_core::{Transport, TransportErrorKind};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, error::ProtocolError};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};

use crate::error::kind;
use crate::limits::Limits;
use crate::tls::explain;

/// RFC 7118 section 4.1: the WebSocket subprotocol.
const SUBPROTOCOL: &str = "sip";

/// A connection over which SIP messages can go.
#[derive(Debug)]
pub(super) enum Channel {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Ws(Box<WebSocketStream<TcpStream>>),
    Wss(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

impl Channel {
    /// What is under all of it.
    pub(super) fn stream(&self) -> &TcpStream {
        match self {
            Channel::Tcp(stream) => stream,
            Channel::Tls(stream) => stream.get_ref().0,
            Channel::Ws(socket) => socket.get_ref(),
            Channel::Wss(socket) => socket.get_ref().get_ref().0,
        }
    }
}

/// The certificate shown now: another one after a reload.
pub(super) type ServerTls = watch::Receiver<Arc<ServerConfig>>;

/// What a listener does with those who connect.
#[derive(Debug, Clone)]
pub(crate) enum Welcome {
    Tcp,
    Tls(ServerTls),
    Ws(Gate),
    Wss(ServerTls, Gate),
}

impl Welcome {
    pub(super) fn transport(&self) -> Transport {
        match self {
            Welcome::Tcp => Transport::Tcp,
            Welcome::Tls(_) => Transport::Tls,
            Welcome::Ws(_) => Transport::Ws,
            Welcome::Wss(..) => Transport::Wss,
        }
    }
}

/// Who may upgrade to WebSocket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) path: Option<String>,
    /// Without any every page may.
    pub(crate) origins: Vec<String>,
}

impl Gate {
    /// RFC 7118 section 4.1: the client offers the subprotocol "sip", RFC 6455 section 10.2: a server that is not for every
    /// page checks the Origin, which a page cannot forge.
    fn check(&self, request: &Request) -> Result<(), (StatusCode, &'static str)> {
        if self.path.as_ref().is_some_and(|path| path != request.uri().path()) {
            return Err((StatusCode::NOT_FOUND, "there is nothing at this path"));
        }
        if !offers_sip(request.headers()) {
            return Err((StatusCode::BAD_REQUEST, "Sec-WebSocket-Protocol must offer sip (RFC 7118)"));
        }
        let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        let welcome = |origin: &str| self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin));
        if !self.origins.is_empty() && !origin.is_some_and(welcome) {
            return Err((StatusCode::FORBIDDEN, "this origin is not among those allowed"));
        }
        Ok(())
    }
}

fn offers_sip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(SUBPROTOCOL))
}

/// Why there is no channel: for the core, and in words.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: TransportErrorKind,
    pub(super) reason: String,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure { kind: kind(&error), reason: error.to_string() }
    }
}

fn handshake(reason: impl Into<String>) -> Failure {
    Failure { kind: TransportErrorKind::Handshake, reason: reason.into() }
}

/// The server's side of everything up to the first message.
pub(super) async fn welcome(
    stream: TcpStream,
    welcome: Welcome,
    limits: &Limits,
) -> Result<Channel, Failure> {
    let shaking = async {
        Ok(match welcome {
            Welcome::Tcp => Channel::Tcp(stream),
            Welcome::Tls(config) => Channel::Tls(Box::new(accept_tls(stream, &config).await?)),
            Welcome::Ws(gate) => Channel::Ws(Box::new(upgrade(stream, &gate, limits).await?)),
            Welcome::Wss(config, gate) => {
                let stream = accept_tls(stream, &config).await?;
                Channel::Wss(Box::new(upgrade(stream, &gate, limits).await?))
            }
        })
    };
    timeout(limits.handshake, shaking)
        .await
        .unwrap_or_else(|_| Err(handshake("the handshake was not finished in time")))
}

async fn accept_tls(stream: TcpStream, config: &ServerTls) -> Result<TlsStream<TcpStream>, Failure> {
    let config = config.borrow().clone();
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => Ok(stream.into()),
        Err(error) => Err(handshake(explain(&error, "us"))),
    }
}

async fn upgrade<S>(mut stream: S, gate: &Gate, limits: &Limits) -> Result<WebSocketStream<S>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    #[expect(clippy::result_large_err, reason = "the library's callback has this shape")]
    let check = |request: &Request, mut response: Response| match gate.check(request) {
        Ok(()) => {
            let value = HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
            Ok(response)
        }
        Err((status, reason)) => Err(refusal(status, reason)),
    };
    let shaken = accept_hdr_async_with_config(&mut stream, check, Some(config(limits))).await;
    match shaken {
        Ok(socket) => {
            let config = *socket.get_config();
            drop(socket);
            // Nothing is lost between the two: the handshake refuses bytes behind the request, as no client may send
            // any before it has the response.
            let role = tokio_tungstenite::tungstenite::protocol::Role::Server;
            Ok(WebSocketStream::from_raw_socket(stream, role, Some(config)).await)
        }
        Err(error) => {
            if let Some(answer) = answer(&error) {
                // It is told as far as it can be; the connection ends anyway.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            let _ = stream.shutdown().await;
            Err(handshake(error.to_string()))
        }
    }
}

fn refusal(status: StatusCode, reason: &str) -> ErrorResponse {
    let body = format!("{reason}\n");
    let mut response = ErrorResponse::new(Some(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// The answer to a request that is no upgrade: the library leaves those to us.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enums grow")]
fn answer(error: &WsError) -> Option<String> {
    let status = match error {
        WsError::Protocol(ProtocolError::WrongHttpMethod) => "405 Method Not Allowed\r\nAllow: GET",
        WsError::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            "426 Upgrade Required\r\nSec-WebSocket-Version: 13"
        }
        WsError::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader | ProtocolError::MissingUpgradeWebSocketHeader,
        ) => "426 Upgrade Required\r\nUpgrade: websocket",
        WsError::Protocol(ProtocolError::HandshakeIncomplete) | WsError::Io(_) | WsError::Http(_) => {
            return None;
        }
        _ => "400 Bad Request",
    };
    Some(format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
}

fn config(limits: &Limits) -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(limits.message_size))
        .max_frame_size(Some(limits.message_size))
        // A message is flushed at once; more than one is in hand only while it is.
        .max_write_buffer_size(2 * limits.message_size + WRITE_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
}

/// Bytes of WebSocket frames gathered before the socket is written to.
const WRITE_BUFFER: usize = 8_192;

/// Where a connection of ours leads, and as what.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    pub(super) transport: Transport,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) server_name: Option<ByteString>,
}

impl Dial {
    /// The server as the certificate and the `Host` header field have it.
    pub(super) fn server(&self) -> String {
        match &self.server_name {
            Some(name) => name.to_string(),
            None => self.remote.ip().to_string(),
        }
    }

    /// The client's side of everything up to the first message.
    pub(super) async fn open(&self, tls: Arc<ClientConfig>, limits: &Limits) -> Result<Channel, Failure> {
        let stream = match timeout(limits.connect, connect(self.local, self.remote)).await {
            Ok(connected) => connected?,
            Err(_) => {
                let reason = "no connection in time".to_owned();
                return Err(Failure { kind: TransportErrorKind::TimedOut, reason });
            }
        };
        let shaking = async {
            Ok(match self.transport {
                // A datagram transport has no connections: the table opens none.
                Transport::Udp | Transport::Tcp => Channel::Tcp(stream),
                Transport::Tls => Channel::Tls(Box::new(self.tls(stream, tls).await?)),
                Transport::Ws => Channel::Ws(Box::new(self.web_socket(stream, limits).await?)),
                Transport::Wss => {
                    let stream = self.tls(stream, tls).await?;
                    Channel::Wss(Box::new(self.web_socket(stream, limits).await?))
                }
            })
        };
        timeout(limits.handshake, shaking).await.unwrap_or_else(|_| {
            Err(handshake("it did not finish the handshake in time (is the port right?)"))
        })
    }

    async fn tls(&self, stream: TcpStream, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, Failure> {
        let server = self.server();
        let name = match &self.server_name {
            Some(name) => ServerName::try_from(name.to_string())
                .map_err(|_| handshake(format!("{name:?} is no name that a certificate could have")))?,
            None => ServerName::from(self.remote.ip()),
        };
        match TlsConnector::from(tls).connect(name, stream).await {
            Ok(stream) => Ok(stream.into()),
            Err(error) => Err(handshake(explain(&error, &server))),
        }
    }

    async fn web_socket<S>(&self, stream: S, limits: &Limits) -> Result<WebSocketStream<S>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = match &self.server_name {
            Some(name) => format!("{name}:{}", self.remote.port()),
            None => self.remote.to_string(),
        };
        let scheme = self.transport.name();
        let mut request = format!("{scheme}://{host}/")
            .into_client_request()
            .map_err(|error| handshake(error.to_string()))?;
        let value = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        match client_async_with_config(request, stream, Some(config(limits))).await {
            Ok((socket, _response)) => Ok(socket),
            Err(WsError::Http(response)) => {
                Err(handshake(format!("it refuses WebSocket with {}", response.status())))
            }
            Err(error) => Err(handshake(format!("it does not speak SIP over WebSocket: {error}"))),
        }
    }
}

/// Opens a connection from the listener's address, so that the peer sees the one it may know, by a port of the
/// system's choice.
async fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if !local.ip().is_unspecified() {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    socket.connect(remote).await
}
