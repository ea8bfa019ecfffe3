//! One connection: reading messages off it and writing messages to it, at once.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use sip_core::{Frame, FrameError, Framer, FramerLimits, Hop, Input, TransportErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message as WsMessage, Utf8Bytes};

use super::handshake::{Channel, Dial, Failure};
use super::life::{Life, Silence};
use super::{Context, Queued};
use crate::error::kind;
use crate::inbox::{InboxGone, TurnedAway};

/// Read at once: a few messages of common size.
const READ_SIZE: usize = 8_192;

/// How long a stream that cannot be read further stays open for the answer that says so, and how long a farewell to a
/// peer may take.
const LINGER: Duration = Duration::from_secs(1);

const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

/// Both directions of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    hop: Hop,
    /// For pings and the answers to them; weak, so that the table alone keeps the queue open.
    own: mpsc::WeakSender<Queued>,
    outgoing: mpsc::Receiver<Queued>,
    context: Context,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer closed its side, or was silent for too long, or sent what is not SIP, or we are closing down.
    Closed,
    /// It broke.
    Broken(TransportErrorKind),
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's enum grows")]
impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        match error.kind() {
            // A peer that closes TLS without taking leave. Whoever cuts a stream short gains nothing: a message that is
            // not complete is none.
            io::ErrorKind::UnexpectedEof => End::Closed,
            _ => End::Broken(kind(&error)),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enums grow")]
impl From<WsError> for End {
    fn from(error: WsError) -> End {
        match error {
            WsError::Io(error) => error.into(),
            // Browsers that are closed do not take leave.
            _ => End::Closed,
        }
    }
}

impl Connection {
    pub(super) fn new(
        hop: Hop,
        own: mpsc::WeakSender<Queued>,
        outgoing: mpsc::Receiver<Queued>,
        context: Context,
    ) -> Connection {
        Connection { hop, own, outgoing, context }
    }

    /// Runs a connection that a peer opened.
    pub(super) async fn accepted(self, channel: Channel) {
        let life = Life::accepted(Instant::now(), &self.context.limits);
        self.run(channel, life).await;
    }

    /// Opens a connection to the peer and runs it. The failure to open one is returned, for somebody to mend it.
    pub(super) async fn opened(mut self, dial: &Dial) -> Result<(), Failure> {
        let tls = self.context.client_tls.borrow().clone();
        let channel = match dial.open(tls, &self.context.limits).await {
            Ok(channel) => channel,
            Err(failure) => {
                if failure.kind == TransportErrorKind::Handshake {
                    self.context.counters.failed_handshakes.increment();
                }
                self.report(failure.kind, 0).await;
                return Err(failure);
            }
        };
        self.hop.local = channel.stream().local_addr().unwrap_or(self.hop.local);
        let life = Life::opened(Instant::now(), &self.context.limits, random());
        self.run(channel, life).await;
        Ok(())
    }

    async fn run(mut self, channel: Channel, life: Life) {
        self.context.counters.connections.increment();
        let stream = channel.stream();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(hop = ?self.hop, %error, "messages may wait for each other");
        }
        // What the peer's machine does not acknowledge for so long it never will: without this a peer that is switched
        // off shows after a quarter of an hour.
        if let Err(error) =
            socket2::SockRef::from(stream).set_tcp_user_timeout(Some(self.context.limits.write))
        {
            tracing::debug!(hop = ?self.hop, %error, "a dead peer may show late");
        }
        let mut in_hand = 0;
        let end = match channel {
            Channel::Tcp(stream) => self.over_bytes(stream, life, &mut in_hand).await,
            Channel::Tls(stream) => self.over_bytes(stream, life, &mut in_hand).await,
            Channel::Ws(socket) => self.over_frames(*socket, life, &mut in_hand).await,
            Channel::Wss(socket) => self.over_frames(*socket, life, &mut in_hand).await,
        };
        // From here on a send finds the queue closed and opens another connection.
        self.outgoing.close();
        let (hop, intake) = (self.hop, self.context.intake.clone());
        match end {
            End::Broken(kind) => self.report(kind, in_hand).await,
            // RFC 3261 section 17.1.4 asks to tell of failures to send, not of a stream that closes in between: a
            // response may still come by a new one.
            End::Closed if in_hand > 0 || !self.outgoing.is_empty() => {
                self.report(TransportErrorKind::Closed, in_hand).await;
            }
            End::Closed => {}
        }
        // Who registered over it cannot be reached by it any more. Without an inbox there is nobody to tell.
        let _ = intake.deliver(Input::StreamEnded { hop }).await;
    }

    async fn over_bytes<S>(&mut self, stream: S, mut life: Life, in_hand: &mut usize) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (read, write) = tokio::io::split(stream);
        tokio::select! {
            end = self.context.read_bytes(read, self.hop, &self.own, &mut life) => end,
            end = self.context.write_bytes(write, &mut self.outgoing, in_hand) => end,
        }
    }

    async fn over_frames<S>(&mut self, socket: WebSocketStream<S>, life: Life, in_hand: &mut usize) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut life = life.over_web_socket(Instant::now(), &self.context.limits, random());
        let (write, read) = socket.split();
        tokio::select! {
            end = self.context.read_frames(read, self.hop, &self.own, &mut life) => end,
            end = self.context.write_frames(write, &mut self.outgoing, in_hand) => end,
        }
    }

    /// Tells the core that what was on its way to this peer may not arrive: once, for all of it.
    async fn report(mut self, kind: TransportErrorKind, in_hand: usize) {
        self.outgoing.close();
        let mut unsent = in_hand;
        while let Ok(outgoing) = self.outgoing.try_recv() {
            unsent += usize::from(matches!(outgoing, Queued::Message(_)));
        }
        self.context.counters.dropped_sends.add(unsent);
        let Hop { transport, remote, local: _ } = self.hop;
        // Without an inbox there is nobody to tell.
        let _ = self.context.intake.deliver(Input::TransportError { transport, remote, kind }).await;
    }
}

impl Context {
    /// Reads messages until the stream ends, breaks or has been silent for too long.
    async fn read_bytes<S: AsyncRead>(
        &self,
        mut stream: ReadHalf<S>,
        hop: Hop,
        own: &mpsc::WeakSender<Queued>,
        life: &mut Life,
    ) -> End {
        let size = self.limits.message_size;
        let mut framer = Framer::new(FramerLimits { head: size, body: size });
        loop {
            framer.buffer().reserve(READ_SIZE);
            match timeout_at(life.deadline(), stream.read_buf(framer.buffer())).await {
                Ok(Ok(0)) => return End::Closed,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => match self.silence(life, own) {
                    Some(end) => return end,
                    None => continue,
                },
            }
            loop {
                let taken = match framer.next_frame() {
                    Ok(Some(Frame::Message(bytes))) => self.intake.take_frame(hop, bytes).await,
                    Ok(Some(Frame::Ping)) => {
                        put(own, Queued::Pong);
                        life.heard_ping(Instant::now());
                        continue;
                    }
                    Ok(Some(Frame::Pong)) => {
                        life.heard_pong(Instant::now());
                        continue;
                    }
                    Ok(None) => break,
                    Err(FrameError { error, head }) => {
                        self.counters.broken_streams.increment();
                        // Nobody reads the inbox, or the answer to this leaves in a moment; either way we are done.
                        let _ = turn_away(own, self.intake.take_broken(hop, head, error).await);
                        sleep(LINGER).await;
                        return End::Closed;
                    }
                };
                life.heard_message(Instant::now());
                if let Some(end) = turn_away(own, taken) {
                    sleep(LINGER).await;
                    return end;
                }
            }
        }
    }

    /// Writes what is queued until the queue is closed and empty. `in_hand` is 1 while a message is being written.
    async fn write_bytes<S: AsyncWrite>(
        &self,
        mut stream: WriteHalf<S>,
        outgoing: &mut mpsc::Receiver<Queued>,
        in_hand: &mut usize,
    ) -> End {
        while let Some(next) = outgoing.recv().await {
            *in_hand = usize::from(matches!(next, Queued::Message(_)));
            let bytes = match &next {
                Queued::Message(payload) => payload.as_ref(),
                Queued::Ping => PING,
                Queued::Pong => PONG,
            };
            // TLS keeps what it could not write, and writes it with the next message, which may never come.
            let writing = async {
                stream.write_all(bytes).await?;
                stream.flush().await
            };
            match timeout(self.limits.write, writing).await {
                Ok(Ok(())) => self.counters.sent.add(*in_hand),
                Ok(Err(error)) => return error.into(),
                Err(_) => return End::Broken(TransportErrorKind::TimedOut),
            }
            *in_hand = 0;
        }
        // A peer that does not take our leave is left without.
        let _ = timeout(LINGER, stream.shutdown()).await;
        End::Closed
    }

    /// As [`Self::read_bytes`], where RFC 7118 section 4.2 has one message in each frame.
    async fn read_frames<S>(
        &self,
        mut socket: S,
        hop: Hop,
        own: &mpsc::WeakSender<Queued>,
        life: &mut Life,
    ) -> End
    where
        S: Stream<Item = Result<WsMessage, WsError>> + Unpin,
    {
        loop {
            let bytes = match timeout_at(life.deadline(), socket.next()).await {
                Ok(Some(Ok(WsMessage::Text(text)))) => Bytes::from(text),
                Ok(Some(Ok(WsMessage::Binary(bytes)))) => bytes,
                // The library answers it as it reads on.
                Ok(Some(Ok(WsMessage::Ping(_)))) => {
                    life.heard_sign_of_life(Instant::now());
                    continue;
                }
                Ok(Some(Ok(WsMessage::Pong(_)))) => {
                    life.heard_pong(Instant::now());
                    continue;
                }
                Ok(Some(Ok(WsMessage::Close(_) | WsMessage::Frame(_))) | None) => return End::Closed,
                Ok(Some(Err(error))) => {
                    if matches!(error, WsError::Capacity(_) | WsError::Protocol(_) | WsError::Utf8(_)) {
                        self.counters.broken_streams.increment();
                    }
                    return error.into();
                }
                Err(_) => match self.silence(life, own) {
                    Some(end) => return end,
                    None => continue,
                },
            };
            // RFC 7118 section 6 leaves the keepalives of RFC 5626 to those who send them in frames.
            if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                if *bytes == *PING {
                    life.heard_sign_of_life(Instant::now());
                    put(own, Queued::Pong);
                }
                continue;
            }
            life.heard_message(Instant::now());
            if let Some(end) = turn_away(own, self.intake.take_frame(hop, bytes).await) {
                sleep(LINGER).await;
                return end;
            }
        }
    }

    async fn write_frames<S>(
        &self,
        mut socket: S,
        outgoing: &mut mpsc::Receiver<Queued>,
        in_hand: &mut usize,
    ) -> End
    where
        S: Sink<WsMessage, Error = WsError> + Unpin,
    {
        while let Some(next) = outgoing.recv().await {
            *in_hand = usize::from(matches!(next, Queued::Message(_)));
            let frame = match next {
                Queued::Message(payload) => frame(payload),
                Queued::Ping => WsMessage::Ping(Bytes::new()),
                Queued::Pong => frame(Bytes::from_static(PONG)),
            };
            match timeout(self.limits.write, socket.send(frame)).await {
                Ok(Ok(())) => self.counters.sent.add(*in_hand),
                Ok(Err(error)) => return error.into(),
                Err(_) => return End::Broken(TransportErrorKind::TimedOut),
            }
            *in_hand = 0;
        }
        let _ = timeout(LINGER, socket.close()).await;
        End::Closed
    }

    /// Nothing came up to the deadline: whether the connection is over by it.
    fn silence(&self, life: &mut Life, own: &mpsc::WeakSender<Queued>) -> Option<End> {
        match life.silence(Instant::now()) {
            Silence::Ping => {
                put(own, Queued::Ping);
                None
            }
            Silence::Wait => None,
            Silence::Idle => {
                self.counters.idle_closed.increment();
                Some(End::Closed)
            }
            Silence::Dead => {
                self.counters.dead_connections.increment();
                Some(End::Broken(TransportErrorKind::TimedOut))
            }
        }
    }
}

/// RFC 7118 section 4.2 has every peer receive text and binary frames; text is what people read in their browser's tools,
/// and must be UTF-8.
fn frame(payload: Bytes) -> WsMessage {
    match Utf8Bytes::try_from(payload.clone()) {
        Ok(text) => WsMessage::Text(text),
        Err(_) => WsMessage::Binary(payload),
    }
}

/// Answers a message that goes no further, and says whether the stream ends with it, as soon as the answer has left.
fn turn_away(own: &mpsc::WeakSender<Queued>, taken: Result<Option<TurnedAway>, InboxGone>) -> Option<End> {
    match taken {
        Ok(None) => None,
        Ok(Some(TurnedAway { answer, close })) => {
            if let Some(answer) = answer {
                put(own, Queued::Message(answer.payload));
            }
            close.then_some(End::Closed)
        }
        Err(InboxGone) => Some(End::Closed),
    }
}

/// Answers at once what needs nobody else: a ping (RFC 5626 section 4.4.1: "the server … MUST respond by sending a single
/// CRLF"), or a message that goes no further. A peer that sends but does not read gets nothing.
fn put(own: &mpsc::WeakSender<Queued>, outgoing: Queued) {
    if let Some(own) = own.upgrade() {
        let _ = own.try_send(outgoing);
    }
}

/// To spread pings; without the system's randomness they go out together.
fn random() -> u32 {
    getrandom::u32().unwrap_or_default()
}
