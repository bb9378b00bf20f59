//! The clients of the endpoints: when they are made, and made anew.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use futures::FutureExt;
use seawall::balance::BalanceHandle;
use seawall::deadline::DeadlineLayer;
use seawall::error::Reason;
use tower::Layer;

use super::refusals::refused;
use super::*;

/// A client whose `poll_ready` fails for good once it is broken, as that of a buffer without its worker does.
#[derive(Clone, Default)]
struct Breakable(Arc<AtomicBool>);

impl Breakable {
    fn set_broken(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Service<u32> for Breakable {
    type Response = usize;
    type Error = BoxError;
    type Future = std::future::Ready<Result<usize, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(if self.0.load(Ordering::SeqCst) { Err("closed".into()) } else { Ok(()) })
    }

    fn call(&mut self, _: u32) -> Self::Future {
        std::future::ready(Ok(0))
    }
}

/// A service over one endpoint, and the clients that it has made.
fn breakable() -> (BalanceLayer, Balance<Breakable>, Arc<Mutex<Vec<Breakable>>>) {
    let mut config = BalanceConfig::default();
    config.circuit_breaker.enabled = false;
    let layer = BalanceLayer::new(config).unwrap().with_endpoints([Endpoint::new("0")]).unwrap();
    let made = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&made);
    let service = layer.service(move |_: &Endpoint| {
        let client = Breakable::default();
        record.lock().unwrap().push(client.clone());
        client
    });
    (layer, service, made)
}

#[tokio::test(start_paused = true)]
async fn client_that_failed_for_good_is_replaced_once() {
    let (layer, mut service, made) = breakable();
    let made_now = || made.lock().unwrap().len();
    service.clone().oneshot(0).await.unwrap();
    for broken in 1..4 {
        sleep(SECOND).await;
        made.lock().unwrap().last().unwrap().set_broken();
        // All of them have the client before the first one fails.
        let calls: Vec<_> = (0..5).map(|_| service.call(0)).collect();
        for call in calls {
            assert_eq!(call.await.unwrap_err().to_string(), "closed");
        }
        assert_eq!(made_now(), broken, "no call has come since");
        for _ in 0..3 {
            assert_eq!(service.clone().oneshot(0).await.unwrap(), 0);
        }
        assert_eq!(made_now(), broken + 1);
    }
    layer.handle().set_endpoints([Endpoint::new("0"), Endpoint::new("1")]).unwrap();
    layer.handle().set_endpoints([Endpoint::new("0")]).unwrap();
    service.oneshot(0).await.unwrap();
    assert_eq!(made_now(), 4, "the endpoint has stayed");
}

#[tokio::test(start_paused = true)]
async fn client_that_fails_at_once_is_replaced_once_a_second() {
    let (_layer, service, made) = breakable();
    for _ in 0..500 {
        made.lock().unwrap().last().unwrap().set_broken();
        let _ = service.clone().oneshot(0).await;
        sleep(10 * MS).await;
    }
    let made = made.lock().unwrap().len();
    assert!((4..=6).contains(&made), "{made} in 5 s");
}

/// A refusal because of the bound of the wait, or a failed call, says nothing about the client.
#[tokio::test(start_paused = true)]
async fn client_whose_calls_fail_is_kept() {
    let servers = Servers::new([Behaviour::Fails(MS)]);
    let made = Arc::new(AtomicUsize::new(0));
    let (clients, record) = (servers.clone(), Arc::clone(&made));
    let service = servers.layer(BalanceConfig::default()).service(move |endpoint: &Endpoint| {
        record.fetch_add(1, Ordering::SeqCst);
        clients.client(endpoint)
    });
    for _ in 0..50 {
        let _ = call(&service).await;
        sleep(SECOND).await;
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

/// The worker of a buffer ends when its service fails. Its `poll_ready` fails from then on.
#[tokio::test(start_paused = true)]
async fn buffer_without_its_worker_is_replaced() {
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().with_endpoints([Endpoint::new("0")]).unwrap();
    let made = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&made);
    let service = layer.service(move |_: &Endpoint| {
        let client = Breakable::default();
        record.lock().unwrap().push(client.clone());
        tower::buffer::Buffer::new(client, 8)
    });
    service.clone().oneshot(0).await.unwrap();
    sleep(SECOND).await;
    made.lock().unwrap()[0].set_broken();
    let mut failed = 0;
    while service.clone().oneshot(0).await.is_err() {
        failed += 1;
        assert!(failed < 5, "it has its worker back");
    }
    assert!(failed > 0 && made.lock().unwrap().len() == 2);
}

/// Three endpoints join. The call needs a client of one.
#[tokio::test(start_paused = true)]
async fn call_makes_the_client_that_it_needs() {
    let servers = Servers::answering(4, MS);
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().with_endpoints([Endpoint::new("0")]).unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let (clients, record) = (servers.clone(), Arc::clone(&made));
    let service = layer.service(move |endpoint: &Endpoint| {
        record.fetch_add(1, Ordering::SeqCst);
        clients.client(endpoint)
    });
    assert_eq!(made.load(Ordering::SeqCst), 1, "the first set has its clients at once");
    layer.handle().set_endpoints(servers.endpoints().into_iter().skip(1)).unwrap();
    call(&service).await.unwrap();
    assert_eq!(made.load(Ordering::SeqCst), 2);
    for _ in 0..50 {
        call(&service).await.unwrap();
    }
    assert_eq!(made.load(Ordering::SeqCst), 4);
}

/// The set changes, and another call comes, while the client of the first new endpoint is made.
#[tokio::test(start_paused = true)]
async fn connect_that_changes_the_set_runs_once_for_each_endpoint() {
    let servers = Servers::answering(3, MS);
    let layer = servers.layer(BalanceConfig::default());
    let handle = layer.handle();
    let made = Arc::new(Mutex::new(Vec::new()));
    let own = Arc::new(Mutex::new(None::<(BalanceHandle, Balance<Client>)>));
    let (clients, record, nested) = (servers.clone(), Arc::clone(&made), Arc::clone(&own));
    handle.set_endpoints([Endpoint::new("0")]).unwrap();
    let service = layer.service(move |endpoint: &Endpoint| {
        record.lock().unwrap().push(endpoint.key().to_owned());
        let changes = nested.lock().unwrap().take();
        if let Some((handle, service)) = changes {
            handle.set_endpoints([Endpoint::new("1"), Endpoint::new("2")]).unwrap();
            for _ in 0..20 {
                let _ = call(&service).now_or_never();
            }
        }
        clients.client(endpoint)
    });
    *own.lock().unwrap() = Some((handle.clone(), service.clone()));
    handle.set_endpoints([Endpoint::new("1")]).unwrap();
    assert_eq!(call(&service).await.unwrap(), 1);
    for _ in 0..20 {
        call(&service).await.unwrap();
    }
    let mut made = made.lock().unwrap().clone();
    made.sort();
    assert_eq!(made, ["0", "1", "2"]);
}

/// Another thread makes the client and is slow. This call waits for it, within its bound.
#[tokio::test(start_paused = true)]
async fn call_waits_for_the_client_that_another_call_makes() {
    let servers = Servers::answering(2, MS);
    let layer = servers.layer(BalanceConfig::default());
    let handle = layer.handle();
    handle.set_endpoints([Endpoint::new("0")]).unwrap();
    let ((begun, has_begun), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel::<bool>());
    let (clients, gate) = (servers.clone(), Mutex::new((begun, may_go_on)));
    let service = layer.service(move |endpoint: &Endpoint| {
        if endpoint.key() == "1" {
            let (begun, may_go_on) = &*gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            begun.send(()).unwrap();
            assert!(may_go_on.recv().unwrap(), "it cannot be made");
        }
        clients.client(endpoint)
    });
    handle.set_endpoints([Endpoint::new("1")]).unwrap();
    let slow = service.clone();
    let maker = std::thread::spawn(move || drop(slow.clone().call(0)));
    has_begun.recv().unwrap();
    let short = DeadlineLayer::new(50 * MS).unwrap().layer(service.clone());
    assert_eq!(refused(short.oneshot(0).await).reason(), Reason::DeadlineExceeded);
    let mut waiting = tokio_test::task::spawn(service.clone().oneshot(0));
    tokio_test::assert_pending!(waiting.poll());
    // The one that makes it panics: this call makes it.
    go_on.send(false).unwrap();
    assert!(maker.join().is_err());
    assert!(waiting.is_woken());
    go_on.send(true).unwrap();
    assert_eq!(waiting.await.unwrap(), 1);
    assert_eq!(call(&service).await.unwrap(), 1, "it is kept");
    assert_eq!((handle.in_flight(), has_begun.try_iter().count()), (0, 1));
}
