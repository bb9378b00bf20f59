//! The code of a key may panic, and may call the layer that it is a key of: neither breaks the layer.

use std::cell::Cell;
use std::future::ready;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{RetryConfig, RetryLayer};
use tower::{BoxError, Layer, Service, service_fn};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Nothing,
    Hash,
    Eq,
    Drop,
}

thread_local! {
    static PANICS: Cell<Code> = const { Cell::new(Code::Nothing) };
}

fn run(code: Code) {
    if PANICS.get() == code && !std::thread::panicking() {
        panic!("a bug in user code");
    }
}

/// All keys have one hash, which is legal.
#[derive(Clone)]
struct Key(u32);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        run(Code::Eq);
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, _: &mut H) {
        run(Code::Hash);
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        run(Code::Drop);
    }
}

/// Makes calls with each kind of panic, between reloads to fewer and to more keys, and then checks that eight keys
/// work as new.
fn survives_panics<S>(service: S, reload: impl Fn(usize))
where
    S: Service<u32, Response = u32, Error = BoxError> + Clone,
{
    for key in 0..4 {
        drop(service.clone().call(key));
    }
    for code in [Code::Hash, Code::Eq, Code::Drop] {
        for max_keys in [3, 4] {
            PANICS.set(code);
            let _ = catch_unwind(AssertUnwindSafe(|| reload(max_keys)));
            for key in 0..8 {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(service.clone().call(key))));
            }
            PANICS.set(Code::Nothing);
            for key in (0..8).cycle().take(24) {
                drop(service.clone().call(key));
            }
        }
    }
}

#[test]
fn panicking_key_leaves_every_layer_whole() {
    let callee = service_fn(|key: u32| ready(Ok::<_, BoxError>(key)));
    let by = |key: &u32| Key(*key);

    let config = |max_keys| RateLimitConfig { max_keys, ..Default::default() };
    let layer = RateLimitLayer::new(config(4)).unwrap().keyed_by(by);
    survives_panics(layer.layer(callee), |max_keys| layer.reload(&config(max_keys)).unwrap());

    let config = |max_keys| BulkheadConfig { max_keys, ..Default::default() };
    let layer = BulkheadLayer::new(config(4)).unwrap().keyed_by(by);
    survives_panics(layer.layer(callee), |max_keys| layer.reload(&config(max_keys)).unwrap());

    let config = |max_keys| LoadShedConfig { max_keys, ..Default::default() };
    let layer = LoadShedLayer::new(config(4)).unwrap().keyed_by(by);
    survives_panics(layer.layer(callee), |max_keys| layer.reload(&config(max_keys)).unwrap());

    let config = |max_keys| CircuitBreakerConfig { max_keys, ..Default::default() };
    let layer = CircuitBreakerLayer::new(config(4)).unwrap().keyed_by(by);
    survives_panics(layer.layer(callee), |max_keys| layer.reload(&config(max_keys)).unwrap());

    let config = |max_keys| RetryConfig { max_keys, ..Default::default() };
    let layer = RetryLayer::new(config(4)).unwrap().keyed_by(by);
    survives_panics(layer.layer(callee), |max_keys| layer.reload(&config(max_keys)).unwrap());
}

thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
static CALL: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Calls the layer again from each part of the key's code.
fn call_back() {
    if DEPTH.get() == 0 {
        DEPTH.set(1);
        if let Some(call) = CALL.get() {
            call();
        }
        DEPTH.set(0);
    }
}

struct Caller(Arc<u32>);

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        call_back();
        self.0 == other.0
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        call_back();
        self.0.hash(state);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        call_back();
    }
}

#[test]
fn key_that_calls_its_own_layer_does_not_deadlock() {
    let config = |max_keys| CircuitBreakerConfig { max_keys, ..Default::default() };
    let layer = CircuitBreakerLayer::new(config(4)).unwrap().keyed_by(|key: &u32| Caller(Arc::new(*key)));
    let service = layer.layer(service_fn(|key: u32| ready(Ok::<_, BoxError>(key))));
    let again = (service.clone(), layer.clone());
    let _ = CALL.set(Box::new(move || {
        drop(again.0.clone().call(7));
        drop(again.0.clone().call(1));
        let _ = again.1.handle().snapshots();
        let _ = again.1.reload(&config(3));
    }));
    for key in 0..100 {
        drop(service.clone().call(key % 10));
        layer.reload(&config(if key % 2 == 0 { 2 } else { 4 })).unwrap();
    }
    assert!(layer.handle().snapshots().len() > 1);
}
