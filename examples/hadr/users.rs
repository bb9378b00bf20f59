//! The users: a closed loop. Each one thinks, calls the router, and waits for the answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::Error;
use crate::predictor::NODE;
use crate::topology::{Pace, node_name};

/// A client with a pool of kept-alive connections, for users and router alike.
pub(crate) fn http_client<B>() -> Client<HttpConnector, B>
where
    B: axum::body::HttpBody + Send,
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(64).build(connector)
}

/// One call of a user.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Its start, counted from the start of the run.
    pub(crate) at: Duration,
    pub(crate) latency: Duration,
    /// Whether it must not be sent twice.
    pub(crate) is_post: bool,
    /// The predictor that answered, or what the user got instead.
    pub(crate) answer: Result<usize, String>,
}

impl Call {
    pub(crate) fn end(&self) -> Duration {
        self.at + self.latency
    }
}

/// The users of one run.
#[derive(Debug)]
pub(crate) struct Users {
    user: User,
    tasks: JoinSet<()>,
    leave: watch::Sender<bool>,
}

#[derive(Clone, Debug)]
struct User {
    client: Client<HttpConnector, Empty<Bytes>>,
    router: SocketAddr,
    pace: Pace,
    /// The share of the calls that must not be sent twice.
    posts: f64,
    start: Instant,
    calls: Arc<Mutex<Vec<Call>>>,
    leaves: watch::Receiver<bool>,
}

impl Users {
    /// Users of this router; none yet.
    pub(crate) fn new(router: SocketAddr, pace: Pace) -> Self {
        let (leave, leaves) = watch::channel(false);
        let (client, calls, start) = (http_client(), Arc::default(), Instant::now());
        let user = User { client, router, pace, posts: 0.0, start, calls, leaves };
        Self { user, tasks: JoinSet::new(), leave }
    }

    /// Of the calls, this share must not be sent twice.
    pub(crate) fn with_posts(mut self, share: f64) -> Self {
        self.user.posts = share;
        self
    }

    /// The time since the start of the run.
    pub(crate) fn now(&self) -> Duration {
        self.user.start.elapsed()
    }

    pub(crate) async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep_until(self.user.start + at).await;
    }

    /// Lets further users come, as if each of them had been there for a while.
    pub(crate) fn come(&mut self, users: usize) {
        for _ in 0..users {
            self.tasks.spawn(self.user.clone().live(self.tasks.len() as u64));
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Looks at the calls that have ended so far.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&[Call]) -> T) -> T {
        look(&self.user.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets all users leave after the calls that are under way, and returns all calls in the order of their starts.
    pub(crate) async fn leave(mut self) -> Result<Vec<Call>, Error> {
        self.leave.send(true)?;
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        let mut calls = self.look(<[Call]>::to_vec);
        calls.sort_by_key(|call| call.at);
        Ok(calls)
    }
}

impl User {
    async fn live(mut self, seed: u64) {
        let mut chance = fastrand::Rng::with_seed(seed);
        // A user that has been there for a while may call at any time.
        let mut think = self.pace.times(4.0 * chance.f64());
        loop {
            tokio::select! {
                () = sleep(think) => {}
                _ = self.leaves.wait_for(|leaves| *leaves) => return,
            }
            let is_post = self.posts > 0.0 && chance.f64() < self.posts;
            let at = self.start.elapsed();
            // Far beyond the router's own deadline: a router that does not answer is a failure too.
            let answer = timeout(self.pace.times(10.0), self.ask(is_post)).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer".into()));
            let call = Call { at, latency: self.start.elapsed() - at, is_post, answer };
            self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
            think = self.pace.times(1.0 + 4.0 * chance.f64());
        }
    }

    async fn ask(&self, is_post: bool) -> Result<usize, String> {
        let (status, node, text) = self.exchange(is_post).await.map_err(|error| error.to_string())?;
        match (status, node) {
            (StatusCode::OK, Some(node)) => Ok(node),
            _ => Err(format!("{status}: {text}")),
        }
    }

    async fn exchange(&self, is_post: bool) -> Result<(StatusCode, Option<usize>, String), Error> {
        let method = if is_post { Method::POST } else { Method::GET };
        let uri = format!("http://{}/", self.router);
        let request = Request::builder().method(method).uri(uri).body(Empty::new())?;
        let response = self.client.request(request).await?;
        let (status, header) = (response.status(), response.headers().get(NODE));
        let node = header.and_then(|name| (0..3).find(|node| *name == node_name(*node)));
        let body = Body::new(response.into_body()).collect().await?.to_bytes();
        Ok((status, node, String::from_utf8_lossy(&body).into_owned()))
    }
}
