use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;
use crate::ground::verdict::Verdict;

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
fn an_empty_name_and_one_that_is_too_long_are_refused() {
    let registry = Registry::new();
    for name in ["", "  ", "unnamed", &"x".repeat(129)] {
        let observed = Fake::observed(LayerKind::Bulkhead);
        assert!(registry.register(name, &[Arc::clone(&observed)]).is_err());
        assert_eq!(observed.instruments().name(), None);
    }
    assert!(registry.components().is_empty());
}

#[test]
fn a_name_belongs_to_one_layer_of_a_kind_for_as_long_as_that_lives() {
    let registry = Registry::new();
    let first = Fake::observed(LayerKind::Bulkhead);
    registry.register("payments", &[Arc::clone(&first)]).expect("it is free");
    registry.register("payments", &[Fake::observed(LayerKind::Retry)]).expect("another kind");
    let second = Fake::observed(LayerKind::Bulkhead);
    let both = [Fake::observed(LayerKind::Deadline), Arc::clone(&second)];
    assert!(problem(registry.register("payments", &both)).contains("\"payments\" is taken by another bulkhead"));
    assert_eq!(both[0].instruments().name(), None, "all or none");
    assert!(problem(registry.register("books", &[Arc::clone(&first)])).contains("is called \"payments\" already"));
    drop(first);
    registry.register("payments", &[second]).expect("it is free again");
}

/// Is looked at until someone registers, and a little longer.
struct LookedAt {
    instruments: Instruments,
    look: Arc<Look>,
}

#[derive(Default)]
struct Look {
    begins: AtomicBool,
    may_end: AtomicBool,
}

impl Observed for LookedAt {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn condition(&self, _now: Instant) -> Condition {
        self.look.begins.store(true, Ordering::SeqCst);
        until(&self.look.may_end);
        (0..100).for_each(|_| thread::yield_now());
        Condition::RateLimit(RateLimitCondition { per_second: 1.0, burst: 1, waiting: 0, passed: 0 })
    }
}

fn until(it_is_so: &AtomicBool) {
    while !it_is_so.load(Ordering::SeqCst) {
        thread::yield_now();
    }
}

#[test]
fn a_name_is_free_though_someone_still_looks_at_who_had_it() {
    let registry = Registry::new();
    let look = Arc::new(Look::default());
    let first = LookedAt { instruments: Instruments::new(LayerKind::Bulkhead), look: Arc::clone(&look) };
    let first: Arc<dyn Observed> = Arc::new(first);
    registry.register("payments", &[Arc::clone(&first)]).expect("it is free");
    thread::scope(|scope| {
        scope.spawn(|| registry.snapshot());
        until(&look.begins);
        let second = Fake::observed(LayerKind::Bulkhead);
        let while_it_lives = registry.register("payments", &[Arc::clone(&second)]);
        drop(first);
        look.may_end.store(true, Ordering::SeqCst);
        assert!(problem(while_it_lives).contains("is taken"));
        registry.register("payments", &[second]).expect("it is free again");
    });
}

#[test]
fn ten_thousand_that_come_and_go_leave_nothing_behind() {
    let registry = Registry::new();
    for round in 0..10 {
        let all: Vec<_> = (0..1000).map(|_| Fake::observed(LayerKind::Bulkhead)).collect();
        for (number, observed) in all.iter().enumerate() {
            registry.register(&format!("dependency {number}"), &[Arc::clone(observed)]).expect("free");
            observed.instruments().record(Verdict::Success, Default::default());
        }
        assert_eq!(registry.snapshot().components.len(), 1000);
        #[cfg(feature = "metrics")]
        registry.publish();
        let sources: Vec<_> = all.iter().map(|observed| observed.instruments().source()).collect();
        drop(all);
        assert!(registry.lock().is_empty(), "round {round}");
        assert!(sources.into_iter().all(|source| source.instruments().name().is_none()));
        #[cfg(feature = "metrics")]
        {
            registry.publish();
            assert!(lock(&registry.inner.publications).is_empty());
        }
    }
}

#[test]
fn a_state_that_is_made_anew_keeps_its_place() {
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
fn what_a_component_cannot_do_it_says() {
    let registry = Registry::new();
    let _deadline = {
        let observed = Fake::observed(LayerKind::Deadline);
        registry.register("payments", &[Arc::clone(&observed)]).expect("free");
        observed
    };
    let [component] = &registry.find("payments")[..] else { panic!("one component") };
    let error = component.apply(Command::ForceOpen).expect_err("a deadline cannot open");
    assert_eq!(error.to_string(), "deadline cannot be forced open; circuit_breaker can");
    assert!(registry.isolate("payments").is_err() && registry.isolate("nobody").is_err());
}

#[test]
fn a_refusal_by_a_layer_that_is_gone_is_counted_with_the_nameless() {
    let source = {
        let registry = Registry::new();
        let observed = Fake::observed(LayerKind::RateLimit);
        registry.register("short-lived", &[Arc::clone(&observed)]).expect("free");
        assert_eq!(observed.instruments().source().instruments().name(), Some("short-lived"));
        observed.instruments().source()
    };
    assert_eq!((source.instruments().name(), source.layer()), (None, "rate_limit"));
}
