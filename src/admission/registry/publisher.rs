//! Publishes metrics once a second, in one task of the process.
//!
//! It is started in the runtime of whoever has something to tell while it does not run, and ends with that runtime, or when no
//! component has a name any more: then the next one to have something to tell starts it again.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;

use super::Inner;
use super::snapshot::{Condition, GateCondition};
use crate::admission::timer::Timer;
use crate::ground::telemetry::{Gauge, Publication, STATES, publish_process};
use crate::ground::time;

const EVERY: Duration = Duration::from_secs(1);

/// What the components of a registry have told, by the source of each.
pub(super) type Publications = BTreeMap<u64, Publication>;

static RUNS: AtomicBool = AtomicBool::new(false);

static REGISTRIES: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

fn registries() -> MutexGuard<'static, Vec<Weak<Inner>>> {
    REGISTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the components of this registry published, too.
pub(super) fn also_publish(registry: &Arc<Inner>) {
    let mut registries = registries();
    registries.retain(|registry| registry.strong_count() > 0);
    registries.push(Arc::downgrade(registry));
}

/// There is something to tell: sees to it that it is told within a second, or as soon as there is a runtime.
#[inline]
pub(crate) fn stir() {
    if !RUNS.load(Ordering::Relaxed) {
        start();
    }
}

#[cold]
fn start() {
    let Ok(runtime) = Handle::try_current() else { return };
    if !RUNS.swap(true, Ordering::AcqRel) {
        drop(runtime.spawn(Task { timer: Timer::new(), due: None }));
    }
}

struct Task {
    timer: Timer,
    due: Option<time::Instant>,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = *self.due.get_or_insert_with(|| time::now() + EVERY);
            ready!(self.timer.poll_until(cx, due));
            if time::now() < due {
                // The runtime is shutting down.
                return Poll::Ready(());
            }
            self.due = None;
            let all: Vec<_> = registries().iter().filter_map(Weak::upgrade).collect();
            let inhabited = all.iter().filter(|registry| publish(registry)).count();
            if inhabited == 0 {
                return Poll::Ready(());
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        RUNS.store(false, Ordering::Release);
    }
}

/// Publishes what the components of a registry have to tell, and says whether there are any.
pub(super) fn publish(registry: &Inner) -> bool {
    publish_process();
    let components = registry.observed();
    let mut publications = registry.publications.lock().unwrap_or_else(PoisonError::into_inner);
    let now = time::now();
    let mut seen = BTreeSet::new();
    for observed in &components {
        let instruments = observed.instruments();
        let Some(named) = instruments.named() else { continue };
        let id = instruments.source().id();
        seen.insert(id);
        let publication = publications.entry(id).or_insert_with(|| Publication::new(&named.name, instruments.kind()));
        publication.publish(&named.tally, Some(&named.calls), gauges(&observed.condition(now)));
    }
    publications.retain(|id, publication| {
        let is_there = seen.contains(id);
        if !is_there {
            publication.close();
        }
        is_there
    });
    // Before the components, of which one may be the last of its kind.
    drop(publications);
    !components.is_empty()
}

fn gauges(condition: &Condition) -> Vec<(Gauge, f64)> {
    let gate = |gate: &GateCondition| {
        vec![
            (Gauge::InFlight, gate.in_flight as f64),
            (Gauge::Waiting, gate.waiting as f64),
            (Gauge::Limit, f64::from(gate.limit)),
            (Gauge::ServiceTime, gate.service_time.as_secs_f64()),
        ]
    };
    match condition {
        Condition::Deadline(_) => Vec::new(),
        Condition::Retry(retry) => vec![(Gauge::BudgetLeft, f64::from(retry.budget_left))],
        Condition::Bulkhead(condition) | Condition::LoadShed(condition) => gate(condition),
        Condition::CircuitBreaker(breaker) => {
            let state = STATES.iter().position(|state| *state == breaker.state.as_str()).unwrap_or_default();
            vec![
                (Gauge::BreakerState, state as f64),
                (Gauge::BreakerOpenKeys, breaker.open_keys as f64),
                (Gauge::InFlight, breaker.in_flight as f64),
            ]
        }
        Condition::RateLimit(limit) => {
            vec![(Gauge::RateLimit, limit.per_second), (Gauge::Waiting, limit.waiting as f64)]
        }
    }
}
