//! A recorder and a subscriber may call back into the library, from their own thread or from another thread that they
//! wait for.

use std::cell::Cell;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures::FutureExt;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::registry::{Command, Registry};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tracing::{Event, Metadata as TraceMetadata, Subscriber, span};

use crate::recorded::turn;

type Callback = Arc<dyn Fn() + Send + Sync>;

/// Calls back from each of its methods.
#[derive(Clone)]
struct CallsBack(Callback);

impl CallsBack {
    fn new(callback: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }

    fn call_back(&self) {
        thread_local!(static IS_AT_IT: Cell<bool> = const { Cell::new(false) });
        if !IS_AT_IT.replace(true) {
            (self.0)();
            IS_AT_IT.set(false);
        }
    }
}

impl Drop for CallsBack {
    fn drop(&mut self) {
        self.call_back();
    }
}

impl CounterFn for CallsBack {
    fn increment(&self, _: u64) {
        self.call_back();
    }

    fn absolute(&self, _: u64) {}
}

impl GaugeFn for CallsBack {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, _: f64) {
        self.call_back();
    }
}

impl HistogramFn for CallsBack {
    fn record(&self, _: f64) {
        self.call_back();
    }
}

impl Recorder for CallsBack {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.call_back();
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.call_back();
        Counter::from_arc(Arc::new(self.clone()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        self.call_back();
        Gauge::from_arc(Arc::new(self.clone()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        self.call_back();
        Histogram::from_arc(Arc::new(self.clone()))
    }
}

impl Subscriber for CallsBack {
    fn enabled(&self, _: &TraceMetadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        self.call_back();
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {
        self.call_back();
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.call_back();
    }

    fn enter(&self, _: &span::Id) {
        self.call_back();
    }

    fn exit(&self, _: &span::Id) {}
}

/// Everything that may be called from a callback; values that were kept until then are dropped.
fn call_everything(registry: &Registry, kept: &Mutex<Option<BulkheadLayer>>) {
    let kept = kept.lock().unwrap().take();
    drop(kept);
    registry.publish();
    let layer = BulkheadLayer::new(BulkheadConfig::default()).unwrap();
    if let Ok(layer) = layer.named_in(registry, "from within") {
        registry.snapshot();
        registry.components();
        layer.reload(&BulkheadConfig::default()).unwrap();
        drop(layer.layer(service_fn(serve)).oneshot(false).now_or_never());
    }
    Registry::new().publish();
}

/// Runs it here, and then in another thread, which is waited for.
fn on_both_threads(work: impl Fn() + Send + Sync + 'static) -> impl Fn() + Send + Sync {
    let work = Arc::new(work);
    move || {
        work();
        let (work, (done, is_done)) = (Arc::clone(&work), mpsc::channel());
        thread::spawn(move || {
            work();
            let _ = done.send(());
        });
        is_done.recv_timeout(Duration::from_secs(300)).expect("a lock is held");
    }
}

async fn serve(fails: bool) -> Result<(), BoxError> {
    if fails { Err("down".into()) } else { Ok(()) }
}

/// Calls with every outcome that is reported: a success, failures, an open breaker, a refusal, a reload, a command.
fn calls(registry: &Registry) {
    let config = CircuitBreakerConfig { consecutive_failures: Some(2), ..Default::default() };
    let layer = CircuitBreakerLayer::new(config.clone()).unwrap().named_in(registry, "payments").unwrap();
    let service = layer.layer(service_fn(serve));
    for fails in [false, true, true, true] {
        drop(service.clone().oneshot(fails).now_or_never());
    }
    layer.reload(&config).unwrap();
    for component in registry.find("payments") {
        component.apply(Command::Reset).unwrap();
    }
    registry.publish();
}

#[test]
fn recorder_that_calls_back_does_not_deadlock() {
    let _turn = turn();
    let registry = Registry::new();
    let layer = BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(&registry, "dropped within").unwrap();
    let (kept, within) = (Mutex::new(Some(layer)), registry.clone());
    let recorder = CallsBack::new(on_both_threads(move || call_everything(&within, &kept)));
    metrics::with_local_recorder(&recorder, || {
        calls(&registry);
        calls(&registry);
    });
}

#[test]
fn subscriber_that_calls_back_does_not_deadlock() {
    let _turn = turn();
    let registry = Registry::new();
    let layer = BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(&registry, "dropped within").unwrap();
    let (kept, within) = (Mutex::new(Some(layer)), registry.clone());
    crate::listening::listening(CallsBack::new(on_both_threads(move || call_everything(&within, &kept))), || {
        calls(&registry)
    });
}
