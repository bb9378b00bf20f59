//! The contract of a layer with tower and with its inner service: readiness, cancellation, pinning, panics.

use std::marker::PhantomPinned;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::TryFutureExt as _;
use pin_project::pin_project;
use seawall::verdict::{AtResponse, Classify, Guard, Verdict};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use super::*;

/// A service that panics when it is called without being ready, and counts its ready values.
#[derive(Debug)]
struct Strict {
    id: usize,
    clones: Arc<AtomicUsize>,
    ready: bool,
    called: Arc<Mutex<Vec<usize>>>,
}

impl Strict {
    fn new() -> Self {
        Self { id: 0, clones: Arc::default(), ready: false, called: Arc::default() }
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        let id = self.clones.fetch_add(1, Ordering::Relaxed) + 1;
        Self { id, clones: Arc::clone(&self.clones), ready: false, called: Arc::clone(&self.called) }
    }
}

impl Service<()> for Strict {
    type Response = ();
    type Error = BoxError;
    type Future = NotUnpin;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> NotUnpin {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.called.lock().unwrap().push(self.id);
        NotUnpin { address: None, pinned: PhantomPinned }
    }
}

/// Fails at its second poll, and panics if it was moved in between.
#[pin_project]
struct NotUnpin {
    address: Option<usize>,
    #[pin]
    pinned: PhantomPinned,
}

impl Future for NotUnpin {
    type Output = Result<(), BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let here = std::ptr::from_ref(this.address).addr();
        match this.address.replace(here) {
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(address) => {
                assert_eq!(address, here, "it was moved");
                Poll::Ready(Err("down".into()))
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_calls_a_service_that_it_readied() {
    let callee = Strict::new();
    let called = Arc::clone(&callee.called);
    let mut service = layer(every_second()).layer(callee);
    service.ready().await.unwrap().call(()).await.unwrap_err();
    let called = called.lock().unwrap();
    assert_eq!((called.len(), called[0]), (3, 0), "{called:?}");
    assert!(called[1..].iter().all(|id| *id != 0), "{called:?}");
}

#[tokio::test(start_paused = true)]
async fn call_dropped_at_any_poll_releases_everything() {
    let slots = Arc::new(Semaphore::new(1));
    let layer = layer(every_second());
    for polls in 0..12 {
        let held = Arc::clone(&slots);
        let service = layer.layer(service_fn(move |()| {
            let held = Arc::clone(&held);
            async move {
                let _slot = held.acquire().await?;
                sleep(millis(10)).await;
                Err::<(), BoxError>("down".into())
            }
        }));
        let mut call = tokio_test::task::spawn(service.oneshot(()));
        for _ in 0..polls {
            if call.poll().is_ready() {
                break;
            }
            tokio::time::advance(millis(600)).await;
        }
        drop(call);
        assert_eq!(slots.available_permits(), 1, "dropped after {polls} polls");
        tokio::time::advance(100 * SECOND).await;
        assert_eq!(layer.budget().balance(), 10, "dropped after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn panic_in_the_callee_leaves_nothing() {
    let panicking = service_fn(|()| async {
        if context::attempt() == 2 {
            panic!("the callee panics");
        }
        Err::<(), BoxError>("down".into())
    });
    let layer = layer(every_second());
    let call = tokio::spawn(layer.layer(panicking).oneshot(()));
    assert!(call.await.unwrap_err().is_panic());
    assert_eq!(context::attempt(), 1);
    sleep(10 * SECOND).await;
    assert_eq!(layer.budget().balance(), 10);
    let log = Log::default();
    let _ = layer.layer(failing(&log)).oneshot(()).await;
    assert_eq!(log.attempts(), [1, 2, 3]);
}

/// A response that holds a slot of the service until it is released, as a response with a body holds its connection.
struct Holding(Option<tokio::sync::OwnedSemaphorePermit>);

#[derive(Clone)]
struct LetsGo;

impl Classify<Holding> for LetsGo {
    type Held<G: Guard> = Holding;
    type Settled = Holding;
    type Settling = std::future::Ready<(Verdict, Holding)>;
    type Detaching = Pin<Box<dyn Future<Output = Holding> + Send>>;

    fn classify(&self, _: Result<&Holding, &BoxError>) -> Verdict {
        Verdict::Transient
    }

    fn hold<G: Guard>(&self, response: Holding, verdict: Verdict, guard: G) -> Holding {
        AtResponse::default().hold(response, verdict, guard)
    }

    fn settle(&self, response: Holding) -> Self::Settling {
        std::future::ready((Verdict::Transient, response))
    }

    fn detach(&self, response: Holding) -> Self::Detaching {
        Box::pin(async move {
            sleep(millis(5)).await;
            drop(response);
            Holding(None)
        })
    }
}

/// Sixty-four failing calls of a service with sixty-four slots: calls in their backoff hold no slot.
#[tokio::test(start_paused = true)]
async fn failed_response_is_released_before_the_backoff() {
    let slots = Arc::new(Semaphore::new(64));
    let free = Arc::clone(&slots);
    let layer = layer(every_second()).with_classifier(LetsGo);
    let service = layer.layer(service_fn(move |()| {
        let slots = Arc::clone(&slots);
        async move { Ok::<_, BoxError>(Holding(Some(slots.acquire_owned().await?))) }
    }));
    let calls: Vec<_> = (0..128).map(|_| tokio::spawn(service.clone().oneshot(()).map_ok(drop))).collect();
    sleep(millis(500)).await;
    assert_eq!(free.available_permits(), 64, "all calls are in their backoff, or have returned");
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}

/// Hangs in one of its futures.
#[derive(Clone)]
struct Hangs {
    settling: bool,
}

impl Classify<u32> for Hangs {
    type Held<G: Guard> = u32;
    type Settled = u32;
    type Settling = Pin<Box<dyn Future<Output = (Verdict, u32)>>>;
    type Detaching = std::future::Pending<u32>;

    fn classify(&self, _: Result<&u32, &BoxError>) -> Verdict {
        Verdict::Transient
    }

    fn hold<G: Guard>(&self, response: u32, verdict: Verdict, guard: G) -> u32 {
        AtResponse::default().hold(response, verdict, guard)
    }

    fn settle(&self, response: u32) -> Self::Settling {
        if self.settling {
            Box::pin(std::future::pending())
        } else {
            Box::pin(async move { (Verdict::Transient, response) })
        }
    }

    fn detach(&self, _: u32) -> Self::Detaching {
        std::future::pending()
    }
}

#[tokio::test(start_paused = true)]
async fn last_response_is_handed_on_whole() {
    let slots = Arc::new(Semaphore::new(1));
    let free = Arc::clone(&slots);
    let service = layer(every_second()).with_classifier(LetsGo).layer(service_fn(move |()| {
        let slots = Arc::clone(&slots);
        async move { Ok::<_, BoxError>(Holding(Some(slots.acquire_owned().await?))) }
    }));
    let last = service.oneshot(()).await.unwrap();
    assert_eq!((last.0.is_some(), free.available_permits()), (true, 0));
}

#[tokio::test(start_paused = true)]
async fn hanging_classifier_is_cut() {
    for settling in [true, false] {
        let log = Log::default();
        let config = RetryConfig { max_hold: 5 * SECOND, ..every_second() };
        let layer = layer(config).with_classifier(Hangs { settling });
        let service = layer.layer(callee(&log, |n| async move { Ok(n) }));
        let start = Instant::now();
        assert!(seawall::error::rejection(&service.oneshot(()).await.unwrap_err()).is_some());
        assert_eq!(start.elapsed(), 5 * SECOND);
        assert_eq!(layer.budget().balance(), 10, "a retry that was paid for and not sent is refunded");
    }
}
