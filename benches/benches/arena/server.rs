//! A simulated server: a number of slots, a queue in order of arrival, and service times from the trace.
//!
//! - An attempt that is dropped in the queue leaves the queue. An attempt that is dropped in service holds its slot until its work
//!   would have ended: a server that has begun a query or a computation does not stop because the client has gone.
//! - A refusal by the layers in front of the server costs 1 % of the mean service time: the next attempt that starts pays it with its
//!   slot's time.
//! - A scenario makes it slow, failing or dead by the [`Effect`] of an instant.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{BoxError, Service};

use crate::body::Answer;
use crate::clock::{Clock, Ms};
use crate::trace::{Attempt, Law, Trace, whole};

pub(crate) const CALL: &str = "x-arena-call";
pub(crate) const ATTEMPT: &str = "x-arena-attempt";

/// What a server does with an attempt that starts at an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    /// What the service time is multiplied by.
    pub(crate) factor: f64,
    /// Whether the response is a 500.
    pub(crate) fails: bool,
}

impl Effect {
    pub(crate) const NORMAL: Self = Self { factor: 1.0, fails: false };

    pub(crate) fn slower(factor: f64) -> Self {
        Self { factor, ..Self::NORMAL }
    }

    pub(crate) fn failing(fails: bool) -> Self {
        Self { fails, ..Self::NORMAL }
    }
}

type Effects = Arc<dyn Fn(Ms, Attempt) -> Effect + Send + Sync>;

/// A simulated server. Clones are handles of the same one.
#[derive(Clone)]
pub(crate) struct Server {
    clock: Clock,
    trace: Trace,
    law: Law,
    id: u32,
    slots: Arc<Semaphore>,
    has_queue: bool,
    effects: Effects,
    /// What refusals have cost and no attempt has paid, in hundredths of a millisecond.
    debt: Arc<AtomicU64>,
    work: Arc<Mutex<Vec<Work>>>,
}

/// The time of a slot that an attempt took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) call: u32,
    pub(crate) time: Ms,
}

impl Server {
    pub(crate) fn new(clock: Clock, trace: Trace, law: Law, slots: usize) -> Self {
        let (slots, effects) = (Arc::new(Semaphore::new(slots)), Arc::new(|_, _| Effect::NORMAL));
        Self { clock, trace, law, id: 0, slots, has_queue: true, effects, debt: Arc::default(), work: Arc::default() }
    }

    pub(crate) fn with_id(self, id: u32) -> Self {
        Self { id, ..self }
    }

    /// It answers 503 at once if no slot is free.
    pub(crate) fn without_queue(self) -> Self {
        Self { has_queue: false, ..self }
    }

    pub(crate) fn with_effects(self, effects: impl Fn(Ms, Attempt) -> Effect + Send + Sync + 'static) -> Self {
        Self { effects: Arc::new(effects), ..self }
    }

    /// The work of one attempt, from the queue to the head of the response.
    pub(crate) async fn serve(&self, head: &Head) -> Response<Answer> {
        // The queue: dropped here, the attempt leaves it.
        let slots = Arc::clone(&self.slots);
        let slot = if self.has_queue { slots.acquire_owned().await.ok() } else { slots.try_acquire_owned().ok() };
        if slot.is_none() {
            self.charge_refusal();
            return answer(StatusCode::SERVICE_UNAVAILABLE);
        }
        let attempt = Attempt { call: head.call, number: head.attempt, server: self.id };
        let Effect { factor, fails } = (self.effects)(self.clock.now(), attempt);
        let debt = self.debt.fetch_update(Relaxed, Relaxed, |debt| Some(debt % 100)).unwrap_or_default() / 100;
        let time = whole(self.trace.service(self.law, attempt) * factor) + debt;
        lock(&self.work).push(Work { call: head.call, time });
        let mut busy = Busy { clock: self.clock, until: self.clock.now() + time, slot };
        self.clock.sleep_until(busy.until).await;
        busy.slot = None;
        answer(if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK })
    }

    /// Charges a refusal by the layers in front of the server.
    pub(crate) fn charge_refusal(&self) {
        self.debt.fetch_add(whole(self.law.mean()), Relaxed);
    }

    /// The slot time that each attempt took so far.
    pub(crate) fn work(&self) -> Vec<Work> {
        lock(&self.work).clone()
    }

    /// The service behind the server's layers.
    pub(crate) fn handler(&self) -> Handler {
        let server = self.clone();
        Handler::new(move |head| {
            let server = server.clone();
            async move { Ok(server.serve(&head).await) }
        })
    }
}

/// A slot whose work has begun. If the attempt is dropped, the work goes on without it.
struct Busy {
    clock: Clock,
    until: Ms,
    slot: Option<OwnedSemaphorePermit>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let (clock, until) = (self.clock, self.until);
        // At the end of a run there is no runtime, and nothing to simulate.
        if let (Some(slot), Ok(runtime)) = (self.slot.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                clock.sleep_until(until).await;
                drop(slot);
            });
        }
    }
}

/// What a server sees of a request.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) call: u32,
    pub(crate) attempt: u32,
    pub(crate) path: String,
}

/// A mark in the extensions of a request: set when it reaches the handler. A request that does not was refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached(pub(crate) Arc<AtomicBool>);

type Handling = Pin<Box<dyn Future<Output = Result<Response<Answer>, BoxError>> + Send>>;

/// The service of a server, around which contestants put their layers.
#[derive(Clone)]
pub(crate) struct Handler(Arc<Mutex<dyn FnMut(Head) -> Handling + Send>>);

impl Handler {
    pub(crate) fn new<F>(mut handle: impl FnMut(Head) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Response<Answer>, BoxError>> + Send + 'static,
    {
        Self(Arc::new(Mutex::new(move |head| -> Handling { Box::pin(handle(head)) })))
    }
}

impl<B> Service<Request<B>> for Handler {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = Handling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if let Some(Reached(reached)) = request.extensions().get() {
            reached.store(true, Relaxed);
        }
        let (call, attempt) = (number(request.headers(), CALL), number(request.headers(), ATTEMPT));
        let path = request.uri().path().to_owned();
        (lock(&self.0))(Head { call, attempt, path })
    }
}

/// A response with a short body.
pub(crate) fn answer(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::whole());
    *response.status_mut() = status;
    response
}

pub(crate) fn number(headers: &HeaderMap<HeaderValue>, name: &str) -> u32 {
    headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default()
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
