//! Connections of the API: so many at once, with TLS or without, and nobody holds one by saying nothing.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{future::Future, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// Most connections at once: a thousand browsers with a few streams each. Others wait in the kernel's queue.
const CONNECTIONS: usize = 4_096;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a request's head may take, and an open connection may be without one: longer than clients keep theirs.
const HEAD: Duration = Duration::from_secs(75);
/// How long open requests may take to end once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Before accepting goes on after a failure: file handles may be free again then.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Certificate and key as they are now; a reload puts others in.
pub type Tls = watch::Receiver<Arc<ServerConfig>>;

/// Takes connections and answers on them.
#[derive(Debug)]
pub(crate) struct Connections {
    router: Router,
    tls: Option<Tls>,
    room: Arc<Semaphore>,
}

impl Connections {
    pub(crate) fn new(router: Router, tls: Option<Tls>) -> Self {
        Self { router, tls, room: Arc::new(Semaphore::new(CONNECTIONS)) }
    }

    /// Serves until `shutdown` is done, and then finishes what is open.
    pub(crate) async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut open = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                stream = self.accept(&listener) => {
                    let (stream, room) = stream;
                    let connection = connection(stream, self.tls.clone(), self.router.clone(), stopped.clone());
                    open.spawn(async move {
                        connection.await;
                        drop(room);
                    });
                }
                Some(ended) = open.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection of the API panicked");
                    }
                }
                () = &mut shutdown => break,
            }
        }
        stop.send_replace(true);
        let finished = async { while open.join_next().await.is_some() {} };
        // What is open after that is closed with the set.
        let _ = tokio::time::timeout(STOP_TIMEOUT, finished).await;
    }

    async fn accept(&self, listener: &TcpListener) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
        loop {
            // The semaphore is never closed.
            let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { continue };
            match listener.accept().await {
                Ok((stream, _)) => {
                    // An event that waits for the acknowledgement of the one before (Nagle) comes up to 40 ms late.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY not set");
                    }
                    return (stream, room);
                }
                Err(error) => {
                    tracing::warn!(%error, "the API cannot take a connection; trying again");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<Tls>, router: Router, stopped: watch::Receiver<bool>) {
    let Some(tls) = tls else { return http(stream, router, stopped).await };
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => http(stream, router, stopped).await,
        Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client of the API"),
        Err(_) => tracing::debug!("a client of the API has not shaken hands in time"),
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut served = pin!(served);
    let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
    let result = tokio::select! {
        result = &mut served => result,
        () = stop => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection of the API ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use rcgen::{CertificateParams, KeyPair};
    use std::net::SocketAddr;

    /// A certificate that vouches for itself, as a server has it and in PEM.
    fn identity() -> (Arc<ServerConfig>, String) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let chain = vec![certificate.der().clone()];
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key.serialize_der().try_into().unwrap())
            .unwrap();
        (Arc::new(config), certificate.pem())
    }

    async fn get_ready(address: SocketAddr, scheme: &str, ca: &str) -> Result<String, reqwest::Error> {
        let ca = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let url = format!("{scheme}://localhost:{}/ready", address.port());
        client.get(url).send().await?.text().await
    }

    #[tokio::test]
    async fn tls_shows_the_certificate_of_the_last_reload() {
        let router = Router::new().route("/ready", get(|| async { "yes" }));
        let ((config, pem), (other_config, other_pem)) = (identity(), identity());
        let (shown, tls) = watch::channel(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving =
            tokio::spawn(Connections::new(router, Some(tls)).serve(listener, async { drop(stopped.await) }));

        assert_eq!(get_ready(address, "https", &pem).await.unwrap(), "yes");
        assert!(get_ready(address, "https", &other_pem).await.is_err(), "that is not who it is");
        assert!(get_ready(address, "http", &pem).await.is_err(), "nothing goes in the clear");
        shown.send_replace(other_config);
        assert_eq!(get_ready(address, "https", &other_pem).await.unwrap(), "yes");
        assert!(get_ready(address, "https", &pem).await.is_err());

        stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(60), serving).await.expect("it ends").unwrap();
        assert!(get_ready(address, "https", &other_pem).await.is_err());
    }
}
