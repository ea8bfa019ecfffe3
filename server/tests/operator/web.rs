//! A web server of the test: what it is asked, and what it answers.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::support::DEAD;

/// What was posted to it; `null` for a GET.
type Asked = mpsc::UnboundedReceiver<Value>;
/// The body of its answer to what was posted; none at all, and it never answers.
type Respond = Arc<dyn Fn(&Value) -> Option<Vec<u8>> + Send + Sync>;

pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    asked: Asked,
}

impl Web {
    pub(crate) async fn start(
        tls: Option<TlsAcceptor>,
        respond: impl Fn(&Value) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let respond: Respond = Arc::new(respond);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, respond, tell) = (tls.clone(), Arc::clone(&respond), tell.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, respond, tell).await,
                        Some(tls) => serve(tls.accept(stream).await.unwrap(), respond, tell).await,
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// What it was asked next.
    pub(crate) async fn asked(&mut self) -> Value {
        tokio::time::timeout(DEAD, self.asked.recv()).await.expect("it is asked").unwrap()
    }
}

/// One request, one answer.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    respond: Respond,
    tell: mpsc::UnboundedSender<Value>,
) {
    let mut request = Vec::new();
    let body = loop {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "a whole request");
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        if body.len() >= length.unwrap_or(0) {
            break serde_json::from_str(body).unwrap_or_default();
        }
    };
    let answer = respond(&body);
    // The test may be over.
    let _ = tell.send(body);
    match answer {
        Some(body) => {
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            let _ = stream.shutdown().await;
        }
        // Until whoever asks has given up.
        None => while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {},
    }
}
