//! Server-sent events.

use super::feed::Feed;
use crate::{app::App, tokens::Token};
use axum::response::{
    IntoResponse, Response,
    sse::{self, Sse},
};
use control_api_types::{CallId, EventData};
use futures_util::{FutureExt as _, stream};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::unconstrained,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

/// How often a quiet stream shows that it lives: proxies close a connection that is quiet for 30 s and more.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(crate) fn keep_alive() -> Interval {
    let mut tick = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// Returns when the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

struct Stream {
    app: App,
    token: Arc<Token>,
    feed: Feed,
    /// The call whose end ends the stream.
    call: Option<CallId>,
    tick: Interval,
    stopping: watch::Receiver<bool>,
    ended: bool,
}

pub(crate) fn respond(app: App, token: Arc<Token>, feed: Feed, call: Option<CallId>) -> Response {
    let stopping = app.stopping.subscribe();
    let stream = Stream { app, token, feed, call, tick: keep_alive(), stopping, ended: false };
    Sse::new(stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    }))
    .into_response()
}

impl Stream {
    async fn next(&mut self) -> Option<sse::Event> {
        if self.ended {
            return None;
        }
        let event = tokio::select! {
            event = self.feed.next() => event?,
            _ = self.tick.tick() => {
                let goes_on = self.app.tokens.is_current(&self.token) && !self.call_is_over().await;
                return goes_on.then(|| sse::Event::default().comment(""));
            }
            // What happened before the server stopped is still told: the ends of its last calls.
            () = stopped(&mut self.stopping) => unconstrained(self.feed.next()).now_or_never()??,
        };
        self.ended = self.call.is_some() && matches!(event.data, EventData::CallEnded(_));
        // Every event can be written as JSON: its maps have text as keys.
        sse::Event::default().id(event.cursor.to_string()).event(event.data.kind()).json_data(&*event).ok()
    }

    /// Whether the call of the stream ended before the stream began.
    async fn call_is_over(&self) -> bool {
        let Some(id) = &self.call else { return false };
        self.app.engine.call(id).await.is_ok_and(|call| call.is_none_or(|call| call.status.is_final()))
    }
}
