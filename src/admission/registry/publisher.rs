//! Publishes metrics once a second, in one task of the process.
//!
//! The task starts in the runtime of the first caller that has something to publish. It ends with that runtime, or when no component
//! has a name any more; the next caller that has something to publish starts it again. A runtime may also be idle, so that its tasks
//! do not run. A caller that finds the task overdue starts another one, which supersedes it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;

use super::publications::{ComponentPublication, Publications};
use super::snapshot::{Condition, GateCondition};
use super::table::SharedRegistry;
use crate::admission::timer::Timer;
use crate::ground::sync::global::{Mutex, MutexGuard, lock};
use crate::ground::time::{self, Instant};
use crate::telemetry::{Gauge, STATES, publish_process, recorder};

const EVERY: Duration = Duration::from_secs(1);

/// A task that is this late is assumed not to run.
const LATE: Duration = Duration::from_secs(3);

/// When the task publishes next, in nanoseconds. Of several tasks, the one whose due time this is continues.
static DUE: AtomicU64 = AtomicU64::new(NEVER);

/// There is no task.
const NEVER: u64 = 0;

static REGISTRIES: Mutex<Vec<Weak<SharedRegistry>>> = Mutex::new(Vec::new());

fn registries() -> MutexGuard<'static, Vec<Weak<SharedRegistry>>> {
    lock(&REGISTRIES)
}

/// Adds a registry whose components are published.
pub(super) fn add_registry(registry: &Arc<SharedRegistry>) {
    let mut registries = registries();
    registries.retain(|registry| registry.strong_count() > 0);
    registries.push(Arc::downgrade(registry));
}

/// Ensures that changed counters are published within a second, or as soon as there is a runtime.
#[inline]
pub(crate) fn request_publication() {
    let due = DUE.load(Ordering::Relaxed);
    // The latest clock read is enough here: callers have usually just read the clock.
    if due == NEVER || time::latest().is_some_and(|now| now.since(Instant::from_nanos(due)) > LATE) {
        start(due);
    }
}

#[cold]
fn start(before: u64) {
    let Ok(runtime) = Handle::try_current() else { return };
    let due = time::now() + EVERY;
    if DUE.compare_exchange(before, due.as_nanos(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
        drop(runtime.spawn(PublisherTask { timer: Timer::new(), due }));
    }
}

struct PublisherTask {
    timer: Timer,
    due: Instant,
}

impl Future for PublisherTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let due = self.due;
            ready!(self.timer.poll_until(cx, due));
            let now = time::now();
            if now < due {
                // The runtime is shutting down.
                return Poll::Ready(());
            }
            // A superseded task still publishes this round before it exits. Otherwise a round could be skipped when every task is
            // late.
            let all: Vec<_> = registries().iter().filter_map(Weak::upgrade).collect();
            let nonempty = all.iter().filter(|registry| publish(registry)).count();
            if nonempty == 0 || !self.claim_next(now + EVERY) {
                return Poll::Ready(());
            }
        }
    }
}

impl PublisherTask {
    fn claim_next(&mut self, due: Instant) -> bool {
        let (before, due_at) = (self.due.as_nanos(), due.as_nanos());
        let is_ours = DUE.compare_exchange(before, due_at, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_ours {
            self.due = due;
        }
        is_ours
    }
}

impl Drop for PublisherTask {
    fn drop(&mut self) {
        let _ = DUE.compare_exchange(self.due.as_nanos(), NEVER, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// Publishes the counters of a registry's components, and returns whether it has any. No lock is held while the recorder runs, nor
/// while any part of a component is dropped.
pub(super) fn publish(registry: &Arc<SharedRegistry>) -> bool {
    publish_process();
    registry.publications.publish(recorder(), |publications| publish_all(registry, publications));
    !registry.lock().is_empty()
}

fn publish_all(registry: &Arc<SharedRegistry>, publications: &mut Publications) {
    let (components, now) = (registry.live(), time::now());
    registry.unpublished.move_to(publications);
    let mut there = BTreeMap::new();
    for observed in &components {
        let instruments = observed.instruments();
        let Some(named) = instruments.named() else { continue };
        let id = instruments.layer_id();
        there.insert(id, gauges(&observed.condition(now)));
        publications.entry(id).or_insert_with(|| ComponentPublication::new(id, Arc::clone(&named.counted)));
    }
    // Dropped components first, since another component may have the name now. Calls that a dropped component admitted may still
    // count.
    publications.retain(|id, published| {
        if there.contains_key(id) {
            return true;
        }
        let is_last = Arc::strong_count(&published.counted) == 1;
        published.publish(Vec::new());
        published.publication.close();
        !is_last
    });
    for (id, gauges) in there {
        if let Some(published) = publications.get_mut(&id) {
            published.publish(gauges);
        }
    }
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
        Condition::Deadline(_) | Condition::Fallback(_) | Condition::Quorum(_) => Vec::new(),
        Condition::Balance(balance) => vec![
            (Gauge::InFlight, balance.in_flight as f64),
            (Gauge::Waiting, balance.waiting as f64),
            (Gauge::Limit, f64::from(balance.limit)),
            (Gauge::ServiceTime, balance.service_time.as_secs_f64()),
            (Gauge::Endpoints, balance.endpoints as f64),
            (Gauge::EndpointsOpen, balance.open as f64),
            (Gauge::EndpointsEjected, balance.ejected as f64),
            (Gauge::EndpointsByHand, balance.by_hand as f64),
        ],
        Condition::Retry(retry) => {
            vec![(Gauge::BudgetLeft, f64::from(retry.budget_left)), (Gauge::GrantedShare, retry.granted_share)]
        }
        Condition::Hedge(hedge) => vec![
            (Gauge::HedgeBudgetLeft, f64::from(hedge.budget_left)),
            (Gauge::HedgeDelay, hedge.delay.unwrap_or_default().as_secs_f64()),
        ],
        Condition::Bulkhead(condition) | Condition::LoadShed(condition) => gate(condition),
        Condition::CircuitBreaker(breaker) => {
            let state = STATES.iter().position(|state| *state == breaker.state.as_str()).unwrap_or_default();
            vec![
                (Gauge::BreakerState, state as f64),
                (Gauge::BreakerOpenKeys, breaker.open_keys as f64),
                (Gauge::BreakerObservesOnly, f64::from(u8::from(breaker.observe_only))),
                (Gauge::InFlight, breaker.in_flight as f64),
            ]
        }
        Condition::Quarantine(quarantine) => vec![
            (Gauge::Suspects, quarantine.suspects as f64),
            (Gauge::Quarantined, quarantine.quarantined as f64),
            (Gauge::Waiting, quarantine.waiting as f64),
        ],
        Condition::Chaos(chaos) => {
            vec![(Gauge::ChaosOn, f64::from(u8::from(chaos.is_on))), (Gauge::ChaosActive, f64::from(chaos.active))]
        }
        Condition::Settings(settings) => {
            vec![(Gauge::SettingsRejected, f64::from(u8::from(settings.rejected_for.is_some())))]
        }
        Condition::Throttle(throttle) => vec![(Gauge::ThrottleShare, throttle.share)],
        Condition::RateLimit(limit) => {
            vec![(Gauge::RateLimit, limit.per_second), (Gauge::Waiting, limit.waiting as f64)]
        }
    }
}
