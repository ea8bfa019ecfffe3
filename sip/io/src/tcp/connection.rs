//! One TCP connection: reading messages off it and writing messages to it, at once.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use sip_core::{Frame, FrameError, Framer, FramerLimits, Hop, Input, Transport, TransportErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Context;
use crate::error::kind;
use crate::inbox::{InboxGone, TurnedAway};

/// Read at once: a few messages of common size.
const READ_SIZE: usize = 8_192;

/// How long a stream that cannot be read further stays open for the answer that says so.
const LINGER: Duration = Duration::from_secs(1);

/// Both directions of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    hop: Hop,
    /// For answering keepalives; weak, so that the table alone keeps the queue open.
    pong: mpsc::WeakSender<Bytes>,
    outgoing: mpsc::Receiver<Bytes>,
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

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Broken(kind(&error))
    }
}

impl Connection {
    pub(super) fn new(
        hop: Hop,
        pong: mpsc::WeakSender<Bytes>,
        outgoing: mpsc::Receiver<Bytes>,
        context: Context,
    ) -> Connection {
        Connection { hop, pong, outgoing, context }
    }

    /// Runs a connection that a peer opened. It has to show that it means SIP before it may stay idle.
    pub(super) async fn accepted(self, stream: TcpStream) {
        let until = Instant::now() + self.context.limits.first_message.min(self.context.limits.idle);
        self.run(stream, until).await;
    }

    /// Opens a connection to the peer and runs it.
    pub(super) async fn opened(mut self) {
        let connecting = connect(self.hop.local, self.hop.remote);
        let stream = match timeout(self.context.limits.connect, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.report(kind(&error), 0).await,
            Err(_) => return self.report(TransportErrorKind::TimedOut, 0).await,
        };
        self.hop.local = stream.local_addr().unwrap_or(self.hop.local);
        let until = Instant::now() + self.context.limits.idle;
        self.run(stream, until).await;
    }

    async fn run(mut self, mut stream: TcpStream, silent_until: Instant) {
        self.context.counters.connections.increment();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(hop = ?self.hop, %error, "messages may wait for each other");
        }
        let (read, write) = stream.split();
        let mut in_hand = 0;
        let end = tokio::select! {
            end = self.context.read(read, self.hop, &self.pong, silent_until) => end,
            end = self.context.write(write, &mut self.outgoing, &mut in_hand) => end,
        };
        // From here on a send finds the queue closed and opens another connection.
        self.outgoing.close();
        match end {
            End::Broken(kind) => self.report(kind, in_hand).await,
            // RFC 3261 section 17.1.4 asks to tell of failures to send, not of a stream that closes in between: a
            // response may still come by a new one.
            End::Closed if in_hand > 0 || !self.outgoing.is_empty() => {
                self.report(TransportErrorKind::Closed, in_hand).await;
            }
            End::Closed => {}
        }
    }

    /// Tells the core that what was on its way to this peer may not arrive: once, for all of it.
    async fn report(mut self, kind: TransportErrorKind, in_hand: usize) {
        self.outgoing.close();
        self.context.counters.dropped_sends.add(self.outgoing.len() + in_hand);
        let remote = self.hop.remote;
        // Without an inbox there is nobody to tell.
        let _ = self
            .context
            .intake
            .deliver(Input::TransportError { transport: Transport::Tcp, remote, kind })
            .await;
    }
}

impl Context {
    /// Reads messages until the stream ends, breaks or has been silent for too long.
    async fn read(
        &self,
        mut stream: ReadHalf<'_>,
        hop: Hop,
        outgoing: &mpsc::WeakSender<Bytes>,
        mut silent_until: Instant,
    ) -> End {
        let size = self.limits.message_size;
        let mut framer = Framer::new(FramerLimits { head: size, body: size });
        loop {
            framer.buffer().reserve(READ_SIZE);
            match timeout_at(silent_until, stream.read_buf(framer.buffer())).await {
                Ok(Ok(0)) => return End::Closed,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => {
                    self.counters.idle_closed.increment();
                    return End::Closed;
                }
            }
            loop {
                let taken = match framer.next_frame() {
                    Ok(Some(Frame::Message(bytes))) => self.intake.take_frame(hop, bytes).await,
                    Ok(Some(Frame::Ping)) => {
                        // RFC 5626 section 4.4.1: "the server … MUST respond by sending a single CRLF".
                        answer(outgoing, Some(Bytes::from_static(b"\r\n")));
                        silent_until = Instant::now() + self.limits.idle;
                        continue;
                    }
                    Ok(Some(Frame::Pong)) => continue,
                    Ok(None) => break,
                    Err(FrameError { error, head }) => {
                        self.counters.broken_streams.increment();
                        // Nobody reads the inbox, or the answer to this leaves in a moment; either way we are done.
                        if let Ok(Some(refused)) = self.intake.take_broken(hop, head, error).await {
                            answer(outgoing, refused.answer.map(|answer| answer.payload));
                        }
                        sleep(LINGER).await;
                        return End::Closed;
                    }
                };
                silent_until = Instant::now() + self.limits.idle;
                match taken {
                    Ok(None) => {}
                    Ok(Some(TurnedAway { answer: refusal, close })) => {
                        answer(outgoing, refusal.map(|answer| answer.payload));
                        if close {
                            sleep(LINGER).await;
                            return End::Closed;
                        }
                    }
                    Err(InboxGone) => return End::Closed,
                }
            }
        }
    }

    /// Writes what is queued until the queue is closed and empty. `in_hand` is 1 while a message is being written.
    async fn write(
        &self,
        mut stream: WriteHalf<'_>,
        outgoing: &mut mpsc::Receiver<Bytes>,
        in_hand: &mut usize,
    ) -> End {
        while let Some(payload) = outgoing.recv().await {
            *in_hand = 1;
            match timeout(self.limits.write, stream.write_all(&payload)).await {
                Ok(Ok(())) => self.counters.sent.increment(),
                Ok(Err(error)) => return error.into(),
                Err(_) => return End::Broken(TransportErrorKind::TimedOut),
            }
            *in_hand = 0;
        }
        End::Closed
    }
}

/// Answers at once what needs nobody else: a ping, or a message that goes no further. A peer that sends but does not read
/// gets nothing.
fn answer(outgoing: &mpsc::WeakSender<Bytes>, payload: Option<Bytes>) {
    if let (Some(outgoing), Some(payload)) = (outgoing.upgrade(), payload) {
        let _ = outgoing.try_send(payload);
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
