//! Publishes metrics once a second, in one task of the process.
//!
//! It is started in the runtime of whoever has something to tell while it does not run, and ends with that runtime, or when no
//! component has a name any more: then the next one to have something to tell starts it again. A runtime may also rest, with
//! nobody in it to run its tasks: who sees that the task is late starts another, and that one finds itself replaced.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;

use super::held::Inner;
use super::publications::{ComponentPublication, Publications};
use super::snapshot::{Condition, GateCondition};
use crate::admission::timer::Timer;
use crate::ground::sync::global::{Mutex, MutexGuard, lock};
use crate::ground::time::{self, Instant};
use crate::telemetry::{Gauge, Publication, STATES, publish_process, recorder};

const EVERY: Duration = Duration::from_secs(1);

/// So much after its time the task is taken for one that does not run.
const LATE: Duration = Duration::from_secs(3);

/// When the task will publish, in nanoseconds: of several tasks the one whose time this is is the one that goes on.
static DUE: AtomicU64 = AtomicU64::new(NEVER);

/// There is no task.
const NEVER: u64 = 0;

static REGISTRIES: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

fn registries() -> MutexGuard<'static, Vec<Weak<Inner>>> {
    lock(&REGISTRIES)
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
    let due = DUE.load(Ordering::Relaxed);
    // Whoever has something to tell has mostly just read the clock.
    if due == NEVER || time::latest().is_some_and(|now| now.since(Instant::from_nanos(due)) > LATE) {
        start(due);
    }
}

#[cold]
fn start(before: u64) {
    let Ok(runtime) = Handle::try_current() else { return };
    let due = time::now() + EVERY;
    if DUE.compare_exchange(before, due.as_nanos(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
        drop(runtime.spawn(Task { timer: Timer::new(), due }));
    }
}

struct Task {
    timer: Timer,
    due: Instant,
}

impl Future for Task {
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
            // One that has been replaced does what it was to do now, and ends: if all are late, nobody would, else.
            let all: Vec<_> = registries().iter().filter_map(Weak::upgrade).collect();
            let inhabited = all.iter().filter(|registry| publish(registry)).count();
            if inhabited == 0 || !self.goes_on(now + EVERY) {
                return Poll::Ready(());
            }
        }
    }
}

impl Task {
    fn goes_on(&mut self, due: Instant) -> bool {
        let (before, due_at) = (self.due.as_nanos(), due.as_nanos());
        let is_ours = DUE.compare_exchange(before, due_at, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_ours {
            self.due = due;
        }
        is_ours
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let _ = DUE.compare_exchange(self.due.as_nanos(), NEVER, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// Publishes what the components of a registry have to tell, and says whether there are any. No lock is held while the recorder
/// runs, nor while anything of a component is dropped.
pub(super) fn publish(registry: &Arc<Inner>) -> bool {
    publish_process();
    registry.publications.publish(recorder(), |publications| publish_all(registry, publications));
    !registry.lock().is_empty()
}

fn publish_all(registry: &Arc<Inner>, publications: &mut Publications) {
    let (components, now) = (registry.look(), time::now());
    let mut there = BTreeMap::new();
    for observed in &components {
        let instruments = observed.instruments();
        let Some(named) = instruments.named() else { continue };
        let id = instruments.layer_id();
        there.insert(id, gauges(&observed.condition(now)));
        publications.entry(id).or_insert_with(|| ComponentPublication {
            counted: Arc::clone(&named.counted),
            publication: Publication::new(&named.counted.name, instruments.kind()),
        });
    }
    // Those that are gone first: another one may have the name. Calls that they let pass may still count.
    publications.retain(|id, told| {
        if there.contains_key(id) {
            return true;
        }
        let is_last = Arc::strong_count(&told.counted) == 1;
        told.publish(Vec::new());
        told.publication.close();
        !is_last
    });
    for (id, gauges) in there {
        if let Some(told) = publications.get_mut(&id) {
            told.publish(gauges);
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
        Condition::Deadline(_) => Vec::new(),
        Condition::Retry(retry) => vec![(Gauge::BudgetLeft, f64::from(retry.budget_left))],
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
        Condition::Settings(settings) => {
            vec![(Gauge::SettingsRejected, f64::from(u8::from(settings.rejected_for.is_some())))]
        }
        Condition::RateLimit(limit) => {
            vec![(Gauge::RateLimit, limit.per_second), (Gauge::Waiting, limit.waiting as f64)]
        }
    }
}
