//! The callers. Half of them read their response at once. The responses of the other half go into a queue with one
//! reader.
//!
//! So both kinds of leaked bodies occur. A caller that reads a stalled body waits for its next frame: the body is
//! polled. The reader of the queue waits in the same way, and the responses behind the present one are parked: kept,
//! and never polled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;

use super::client::Client;
use crate::Error;
use crate::load::Pulse;
use std::time::Duration;

/// The callers of one run.
#[derive(Clone)]
pub(crate) struct Callers {
    pub(crate) client: Client,
    pub(crate) dependency: SocketAddr,
    pub(crate) pulse: Arc<Pulse>,
}

impl Callers {
    /// Starts each call at its time. Does not wait for its end, since a stalled body may never end.
    pub(crate) async fn call(self, start: Instant, arrivals: Vec<Duration>) {
        let mut calls = JoinSet::new();
        let (queue, queued) = unbounded_channel();
        calls.spawn(self.clone().read_in_turn(queued));
        for (number, intended) in arrivals.into_iter().enumerate() {
            sleep_until(start + intended).await;
            let (callers, queue) = (self.clone(), queue.clone());
            calls.spawn(async move { callers.one(number, &queue).await });
        }
        while calls.join_next().await.is_some() {}
    }

    async fn one(self, number: usize, queue: &UnboundedSender<Response<Body>>) {
        let answer = self.ask(number).await;
        self.pulse.answered.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(response) if number % 2 == 0 => self.read(response).await,
            // The reader lives as long as the run.
            Ok(response) => drop(queue.send(response)),
            Err(_) => {}
        }
    }

    async fn ask(&self, number: usize) -> Result<Response<Body>, Error> {
        let request = Request::get(format!("http://{}/{number}", self.dependency)).body(Empty::new())?;
        self.client.clone().oneshot(request).await
    }

    async fn read_in_turn(self, mut queued: UnboundedReceiver<Response<Body>>) {
        while let Some(response) = queued.recv().await {
            self.read(response).await;
        }
    }

    async fn read(&self, response: Response<Body>) {
        let good = response.status().is_success() && response.into_body().collect().await.is_ok();
        self.pulse.good.fetch_add(usize::from(good), Ordering::Relaxed);
    }
}
