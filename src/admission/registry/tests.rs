use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;
use crate::ground::error::Reason;
use crate::ground::layer_id::LayerKind;
use crate::ground::sync::global::{Mutex, lock};
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;
use crate::telemetry::{self, Instruments};

struct Fake {
    instruments: Instruments,
}

impl Fake {
    fn observed(kind: LayerKind) -> Arc<dyn Observed> {
        Arc::new(Self { instruments: Instruments::new(kind) })
    }
}

impl Observed for Fake {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn condition(&self, _now: Instant) -> Condition {
        Condition::RateLimit(RateLimitCondition { per_second: 1.0, burst: 1, waiting: 0, passed: 0 })
    }
}

fn problem(result: Result<(), InvalidConfig>) -> String {
    result.expect_err("a fault").to_string()
}

#[test]
fn empty_and_too_long_names_are_refused() {
    let registry = Registry::new();
    for name in ["", "  ", "unnamed", &"x".repeat(129)] {
        let observed = Fake::observed(LayerKind::Bulkhead);
        assert!(registry.register(name, &[Arc::clone(&observed)]).is_err());
        assert_eq!(observed.instruments().name(), None);
    }
    assert!(registry.components().is_empty());
}

#[test]
fn name_is_unique_per_kind_while_its_layer_lives() {
    let registry = Registry::new();
    let first = Fake::observed(LayerKind::Bulkhead);
    registry.register("payments", &[Arc::clone(&first)]).expect("it is free");
    registry.register("payments", &[Fake::observed(LayerKind::Retry)]).expect("another kind");
    let second = Fake::observed(LayerKind::Bulkhead);
    let both = [Fake::observed(LayerKind::Deadline), Arc::clone(&second)];
    assert!(
        problem(registry.register("payments", &both)).contains("\"payments\" is already taken by another bulkhead")
    );
    assert_eq!(both[0].instruments().name(), None, "all or none");
    assert!(problem(registry.register("books", &[Arc::clone(&first)])).contains("is already named \"payments\""));
    drop(first);
    registry.register("payments", &[second]).expect("it is free again");
}

/// Lets the test run in the middle of a read of it.
struct LookedAt {
    instruments: Instruments,
    meanwhile: Box<dyn Fn() + Send + Sync>,
}

impl Observed for LookedAt {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn condition(&self, _now: Instant) -> Condition {
        (self.meanwhile)();
        Condition::RateLimit(RateLimitCondition { per_second: 1.0, burst: 1, waiting: 0, passed: 0 })
    }
}

#[test]
fn name_is_free_without_an_owner_despite_readers() {
    let registry = Registry::new();
    let owner: Arc<Mutex<Option<Arc<dyn Observed>>>> = Arc::default();
    let (theirs, dropped) = (Arc::clone(&owner), Arc::clone(&owner));
    let again = registry.clone();
    let is_free = move || again.register("payments", &[Fake::observed(LayerKind::Bulkhead)]);
    let meanwhile = Box::new(move || {
        assert!(problem(is_free()).contains("is already taken"), "there is an owner");
        drop(lock(&dropped).take());
        is_free().expect("the owner is gone, although a reader remains");
    });
    let first: Arc<dyn Observed> = Arc::new(LookedAt { instruments: Instruments::new(LayerKind::Bulkhead), meanwhile });
    registry.register("payments", &[Arc::clone(&first)]).expect("it is free");
    *lock(&theirs) = Some(first);
    let handle = &registry.find("payments")[0].clone();
    assert_eq!(registry.snapshot().components.len(), 1);
    assert_eq!(handle.name(), "payments");
    assert!(lock(&owner).is_none() && registry.find("payments").is_empty());
}

#[test]
fn handle_keeps_the_state_but_not_the_name() {
    let registry = Registry::new();
    let first = Fake::observed(LayerKind::Bulkhead);
    registry.register("payments", &[Arc::clone(&first)]).expect("it is free");
    let handle = registry.find("payments").remove(0);
    let clone = handle.clone();
    drop((first, handle));
    assert!(registry.find("payments").is_empty());
    let second = Fake::observed(LayerKind::Bulkhead);
    registry.register("payments", &[Arc::clone(&second)]).expect("it is free");
    assert_eq!(clone.name(), "payments");
    drop(clone);
    assert_eq!(registry.find("payments").len(), 1, "dropping the first does not remove the second");
    assert!(registry.register("payments", &[Fake::observed(LayerKind::Bulkhead)]).is_err());
}

/// Readers on one thread, owners that come and go on another: a name is taken exactly as long as it has an owner.
#[test]
fn names_are_freed_at_once_under_concurrent_reads() {
    let registry = Registry::new();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    drop((registry.snapshot(), registry.components()));
                }
            });
        }
        let result: Result<(), InvalidConfig> = (0..500).try_for_each(|_| {
            let owner = Fake::observed(LayerKind::Bulkhead);
            registry.register("payments", &[Arc::clone(&owner)])?;
            match registry.register("payments", &[Fake::observed(LayerKind::Bulkhead)]) {
                Ok(()) => panic!("taken from its owner"),
                Err(_) => Ok(()),
            }
        });
        is_over.store(true, Ordering::SeqCst);
        result.expect("free when the owner is gone");
    });
}

#[test]
fn ten_thousand_components_leave_nothing_behind() {
    // Not the global registry: other tests publish that, and would read it.
    let registry = Registry { inner: Arc::default() };
    for round in 0..10 {
        let all: Vec<_> = (0..1000).map(|_| Fake::observed(LayerKind::Bulkhead)).collect();
        for (number, observed) in all.iter().enumerate() {
            registry.register(&format!("dependency {number}"), &[Arc::clone(observed)]).expect("free");
            observed.instruments().record(Verdict::Success, Default::default());
        }
        assert_eq!(registry.snapshot().components.len(), 1000);
        #[cfg(feature = "metrics")]
        registry.publish();
        let layer_ids: Vec<_> = all.iter().map(|observed| observed.instruments().layer_id()).collect();
        drop(all);
        assert!(registry.lock().is_empty(), "round {round}");
        assert!(
            layer_ids
                .into_iter()
                .all(|layer_id| telemetry::refuse(layer_id, Reason::QueueFull).rejected().name().is_none())
        );
        #[cfg(feature = "metrics")]
        {
            registry.publish();
            registry.inner.publications.publish(telemetry::recorder(), |publications| assert!(publications.is_empty()));
        }
    }
}

#[test]
fn replaced_state_keeps_its_registration() {
    let registry = Registry::new();
    let before = Fake::observed(LayerKind::Bulkhead);
    registry.register("payments", &[Arc::clone(&before)]).expect("free");
    let after: Arc<dyn Observed> = Arc::new(Fake { instruments: before.instruments().clone() });
    replace(Arc::clone(&after));
    drop(before);
    assert_eq!(registry.components().len(), 1);
    drop(after);
    assert!(registry.components().is_empty());
}

#[test]
fn unsupported_command_is_an_error() {
    let registry = Registry::new();
    let _deadline = {
        let observed = Fake::observed(LayerKind::Deadline);
        registry.register("payments", &[Arc::clone(&observed)]).expect("free");
        observed
    };
    let [component] = &registry.find("payments")[..] else { panic!("one component") };
    let error = component.apply(Command::ForceOpen).expect_err("a deadline cannot open");
    assert_eq!(error.to_string(), "deadline does not support `force_open`, which applies to circuit_breaker");
    assert!(registry.isolate("payments").is_err() && registry.isolate("unknown").is_err());
}

#[test]
fn refusal_by_a_dropped_layer_counts_as_nameless() {
    let rejected = |layer_id| telemetry::refuse(layer_id, Reason::RateLimited).into_rejected();
    let layer_id = {
        let registry = Registry::new();
        let observed = Fake::observed(LayerKind::RateLimit);
        registry.register("short-lived", &[Arc::clone(&observed)]).expect("free");
        assert_eq!(rejected(observed.instruments().layer_id()).name(), Some("short-lived"));
        observed.instruments().layer_id()
    };
    assert_eq!((rejected(layer_id).name(), rejected(layer_id).layer()), (None, "rate_limit"));
}
