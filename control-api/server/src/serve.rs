//! The router put together, and serving it.

use crate::{
    app::{ApiConfig, App, gate},
    connections::Connections,
    events::Commands,
    failure::{panicked, unknown_method, unknown_path},
    idempotency::InFlight,
    routes,
};
use axum::{Extension, Router, extract::DefaultBodyLimit, middleware::from_fn_with_state};
use engine_runtime::Engine;
use std::{future::Future, io, sync::Arc};
use tokio::{net::TcpListener, sync::watch};
use tower_http::catch_panic::CatchPanicLayer;

/// The API over `engine`.
pub fn router(engine: Engine, config: ApiConfig) -> Router {
    router_of(app(engine, &config), &config)
}

fn app(engine: Engine, config: &ApiConfig) -> App {
    App {
        engine,
        tokens: config.tokens.clone(),
        in_flight: InFlight::default(),
        refusals: Arc::default(),
        reloads: config.reloads.clone(),
        stopping: Arc::new(watch::Sender::new(false)),
    }
}

fn router_of(app: App, config: &ApiConfig) -> Router {
    let mut router = Router::new();
    for route in routes::table(config.metrics_open) {
        let handler = route
            .handler
            .layer(DefaultBodyLimit::max(route.max_body))
            .layer(from_fn_with_state((app.clone(), route.access), gate));
        router = router.route(route.path, handler);
    }
    let router = router
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app);
    // What a WebSocket's commands reach: the same routes, without a way to open another socket.
    let commands = Commands::new(router.clone());
    router.layer(Extension(commands))
}

/// Serves the API on `listener` until `shutdown` is done: then streams end at once, other requests are finished for
/// at most five seconds. The token file is watched meanwhile.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    config: ApiConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = app(engine, &config);
    let stopping = Arc::clone(&app.stopping);
    let connections = Connections::new(router_of(app, &config), config.tls.clone());
    let shutdown = async move {
        shutdown.await;
        stopping.send_replace(true);
    };
    tokio::select! {
        () = connections.serve(listener, shutdown) => Ok(()),
        () = config.tokens.watch() => Ok(()),
    }
}
