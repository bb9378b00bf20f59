//! The one file that names a metric, and how what is counted reaches the recorder.
//!
//! Nothing is pushed on a call's path. A layer value counts in atomics of its own, and what has changed since the last time is
//! published now and then, to the recorder that is there then: it may be installed before or after, or be another one, which is
//! seen by its address and is told everything from the beginning. Gauges are read from the state that they show. No lock is held while
//! the recorder runs: it may publish, make and drop layers, and so on.

use std::array;
use std::sync::Arc;

use histogram::Histogram;
use metrics::{Key, Label, Level, Metadata, Recorder, SharedString, Unit};

use super::calls::{self, Calls};
use super::counted::nameless_tally;
use super::events::NAMELESS;
use super::tally::{Count, NotRetried, STATES, Tally};
use super::turns::Turns;
use crate::ground::error::Reason;
use crate::ground::layer_id::LayerKind;
use crate::ground::verdict::Verdict;

const CALL_DURATION: &str = "seawall_call_duration_seconds";
const REJECTED: &str = "seawall_rejected_total";
const RETRIES: &str = "seawall_retries_total";
const RETRIES_REFUSED: &str = "seawall_retries_refused_total";
const TRANSITIONS: &str = "seawall_circuit_breaker_transitions_total";
const BODIES_CUT: &str = "seawall_bodies_cut_total";
const PASSED: &str = "seawall_rate_limit_passed_total";
const RELOADS: &str = "seawall_reloads_total";
const INTERNAL_ERRORS: &str = "seawall_internal_errors_total";

/// What is read from a layer's state when it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gauge {
    BreakerState,
    BreakerOpenKeys,
    BreakerObservesOnly,
    InFlight,
    Waiting,
    Limit,
    ServiceTime,
    RateLimit,
    BudgetLeft,
    SettingsRejected,
}

impl Gauge {
    const ALL: [Self; 10] = [
        Self::BreakerState,
        Self::BreakerOpenKeys,
        Self::BreakerObservesOnly,
        Self::InFlight,
        Self::Waiting,
        Self::Limit,
        Self::ServiceTime,
        Self::RateLimit,
        Self::BudgetLeft,
        Self::SettingsRejected,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::BreakerState => "seawall_circuit_breaker_state",
            Self::BreakerOpenKeys => "seawall_circuit_breaker_open_keys",
            Self::BreakerObservesOnly => "seawall_circuit_breaker_observe_only",
            Self::InFlight => "seawall_in_flight",
            Self::Waiting => "seawall_waiting",
            Self::Limit => "seawall_limit",
            Self::ServiceTime => "seawall_service_time_seconds",
            Self::RateLimit => "seawall_rate_limit_per_second",
            Self::BudgetLeft => "seawall_retry_budget_left",
            Self::SettingsRejected => "seawall_settings_rejected",
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::ServiceTime => Unit::Seconds,
            Self::RateLimit => Unit::CountPerSecond,
            _ => Unit::Count,
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::BreakerState => {
                "0 closed, 1 half-open, 2 open, 3 forced open, 4 disabled; with keys, the worst of all"
            }
            Self::BreakerOpenKeys => "Keys whose circuit breaker is not closed",
            Self::BreakerObservesOnly => "1 if the circuit breaker counts and refuses nothing, else 0",
            Self::InFlight => "Calls at work, or the permits that they hold",
            Self::Waiting => "Calls that wait for their turn",
            Self::Limit => "Permits for each key",
            Self::ServiceTime => "How long a permit is held, waits further in included",
            Self::RateLimit => "Calls a second that the rate limit lets start",
            Self::BudgetLeft => "Retries that could be made now",
            Self::SettingsRejected => "1 while the last settings that were offered are rejected, else 0",
        }
    }

    /// Whether several layers have it, so that a label says which.
    const fn is_shared(self) -> bool {
        matches!(self, Self::InFlight | Self::Waiting | Self::Limit | Self::ServiceTime)
    }
}

fn describe(recorder: &dyn Recorder) {
    let counters = [
        (REJECTED, "Calls that a layer refused or cut"),
        (RETRIES, "Further attempts, by the verdict on the one before"),
        (RETRIES_REFUSED, "Retries that were wanted and not made"),
        (TRANSITIONS, "Changes of a circuit breaker's state"),
        (BODIES_CUT, "Bodies of responses that were kept beyond their time, and cut"),
        (PASSED, "Calls that a rate limit let start"),
        (RELOADS, "New settings that were offered"),
        (INTERNAL_ERRORS, "Answers that do not tell the error behind them"),
    ];
    for (name, description) in counters {
        recorder.describe_counter(name.into(), Some(Unit::Count), description.into());
    }
    for gauge in Gauge::ALL {
        recorder.describe_gauge(gauge.name().into(), Some(gauge.unit()), gauge.description().into());
    }
    recorder.describe_histogram(CALL_DURATION.into(), Some(Unit::Seconds), "Calls that have ended, by verdict".into());
}

const METADATA: Metadata<'static> = Metadata::new("seawall", Level::INFO, Some(module_path!()));

fn key(metric: &'static str, labels: impl IntoIterator<Item = Label>) -> Key {
    Key::from_parts(metric, labels.into_iter().collect::<Vec<_>>())
}

/// The address of the recorder of this thread, for [`Turns::take`].
pub(crate) fn recorder() -> usize {
    metrics::with_recorder(address)
}

/// By its address a recorder is known from the one before.
fn address(recorder: &dyn Recorder) -> usize {
    (&raw const *recorder).cast::<()>() as usize
}

/// Whether a counter is there from the beginning, at zero. Its first increase is worth waking someone for, and Prometheus sees none
/// in a series that begins with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    AtZero,
    WithTheFirst,
}

/// A counter, once there was something to count, and how far it has been told.
#[derive(Default)]
struct Told {
    counter: Option<metrics::Counter>,
    count: u64,
}

impl Told {
    fn tell(&mut self, recorder: &dyn Recorder, count: u64, begins: Begins, key: impl FnOnce() -> Key) {
        if count > self.count || begins == Begins::AtZero && self.counter.is_none() {
            let counter = self.counter.get_or_insert_with(|| recorder.register_counter(&key(), &METADATA));
            counter.increment(count - self.count);
            self.count = count;
        }
    }
}

/// What one layer value has told one recorder.
pub(crate) struct Publication {
    name: SharedString,
    kind: LayerKind,
    recorder: usize,
    told: Vec<Told>,
    histograms: [Option<(metrics::Histogram, Histogram)>; Verdict::COUNT],
    gauges: [Option<metrics::Gauge>; Gauge::ALL.len()],
}

impl Publication {
    pub(crate) fn new(name: &Arc<str>, kind: LayerKind) -> Self {
        Self::of(SharedString::from_shared(Arc::clone(name)), kind)
    }

    fn of(name: SharedString, kind: LayerKind) -> Self {
        Self {
            name,
            kind,
            recorder: 0,
            told: Vec::new(),
            histograms: array::from_fn(|_| None),
            gauges: array::from_fn(|_| None),
        }
    }

    /// Publishes what is new.
    pub(crate) fn publish(
        &mut self,
        tally: &Tally,
        calls: Option<&Calls>,
        gauges: impl IntoIterator<Item = (Gauge, f64)>,
    ) {
        metrics::with_recorder(|recorder| {
            self.begin(recorder);
            self.publish_tally(recorder, tally);
            if let Some(calls) = calls {
                self.publish_calls(recorder, calls);
            }
            for (gauge, value) in gauges {
                self.gauge(recorder, gauge).set(value);
            }
        });
    }

    /// The layer value is gone: nothing of it is at work any more.
    pub(crate) fn close(&mut self) {
        self.gauges.iter_mut().filter_map(Option::take).for_each(|gauge| gauge.set(0.0));
    }

    fn begin(&mut self, recorder: &dyn Recorder) {
        if self.recorder != address(recorder) {
            *self = Self { recorder: address(recorder), ..Self::of(self.name.clone(), self.kind) };
        }
    }

    fn label(&self) -> Label {
        Label::new("name", self.name.clone())
    }

    fn publish_tally(&mut self, recorder: &dyn Recorder, tally: &Tally) {
        let (name, kind) = (self.label(), self.kind.as_str());
        let is_named = self.name.as_ref() != NAMELESS;
        let from_the_beginning = |is: bool| if is && is_named { Begins::AtZero } else { Begins::WithTheFirst };
        let mut told = self.told.iter_mut();
        let mut missing = Vec::new();
        let mut tell = |count: &Count, begins, metric, labels: &[(&'static str, &'static str)]| {
            let key = || key(metric, [name.clone()].into_iter().chain(labels.iter().map(Label::from)));
            match told.next() {
                Some(told) => told.tell(recorder, count.get(), begins, key),
                None => {
                    let mut told = Told::default();
                    told.tell(recorder, count.get(), begins, key);
                    missing.push(told);
                }
            }
        };
        for (count, reason) in tally.refused.iter().zip(Reason::ALL) {
            tell(count, Begins::WithTheFirst, REJECTED, &[("layer", kind), ("reason", reason.as_str())]);
        }
        for (cut, reason) in tally.bodies_cut.iter().zip(Reason::ALL) {
            for (count, held) in cut.iter().zip(["read", "parked"]) {
                let is_usual = self.kind == LayerKind::Deadline && reason == Reason::DeadlineExceeded;
                tell(
                    count,
                    from_the_beginning(is_usual),
                    BODIES_CUT,
                    &[("layer", kind), ("reason", reason.as_str()), ("held", held)],
                );
            }
        }
        for (count, cause) in tally.retried.iter().zip(Verdict::NAMES) {
            tell(count, Begins::WithTheFirst, RETRIES, &[("cause", cause)]);
        }
        for (count, why) in tally.not_retried.iter().zip(NotRetried::NAMES) {
            let begins = from_the_beginning(self.kind == LayerKind::Retry && why == NotRetried::Budget.as_str());
            tell(count, begins, RETRIES_REFUSED, &[("why", why)]);
        }
        for (transitions, from) in tally.transitions.iter().zip(STATES) {
            for (count, to) in transitions.iter().zip(STATES) {
                let opens = self.kind == LayerKind::CircuitBreaker && (from, to) == ("closed", "open");
                tell(count, from_the_beginning(opens), TRANSITIONS, &[("from", from), ("to", to)]);
            }
        }
        tell(&tally.passed, from_the_beginning(self.kind == LayerKind::RateLimit), PASSED, &[]);
        for (count, result) in tally.reloads.iter().zip(["applied", "rejected"]) {
            tell(count, from_the_beginning(true), RELOADS, &[("layer", kind), ("result", result)]);
        }
        self.told.extend(missing);
    }

    fn publish_calls(&mut self, recorder: &dyn Recorder, calls: &Calls) {
        let (name, kind) = (self.label(), self.kind.as_str());
        for (verdict, now) in calls.load() {
            let Some(place) = Verdict::NAMES.iter().position(|name| *name == verdict) else { continue };
            let Some(told) = self.histograms.get_mut(place) else { continue };
            let (histogram, before) = told.get_or_insert_with(|| {
                let labels = [name.clone(), Label::new("layer", kind), Label::new("verdict", verdict)];
                let handle = recorder.register_histogram(&key(CALL_DURATION, labels), &METADATA);
                (handle, Histogram::with_config(&now.config()))
            });
            // Counts only grow.
            let Ok(new) = now.wrapping_sub(before) else { continue };
            for bucket in new.iter().filter(|bucket| bucket.count() > 0) {
                let seconds = calls::middle(&bucket).as_secs_f64();
                histogram.record_many(seconds, usize::try_from(bucket.count()).unwrap_or(usize::MAX));
            }
            *before = now;
        }
    }

    fn gauge(&mut self, recorder: &dyn Recorder, gauge: Gauge) -> &metrics::Gauge {
        let (name, kind) = (self.label(), self.kind.as_str());
        self.gauges[gauge as usize].get_or_insert_with(|| {
            let layer = gauge.is_shared().then(|| Label::new("layer", kind));
            recorder.register_gauge(&key(gauge.name(), [name].into_iter().chain(layer)), &METADATA)
        })
    }
}

/// Publishes what belongs to no layer value in particular.
pub(crate) fn publish_process() {
    static PROCESS: Turns<Process> = Turns::new();
    PROCESS.take(recorder(), Process::publish);
}

struct Process {
    recorder: usize,
    #[cfg(feature = "http")]
    internal_errors: Told,
    nameless: [Publication; LayerKind::ALL.len()],
}

impl Default for Process {
    fn default() -> Self {
        Self {
            recorder: 0,
            #[cfg(feature = "http")]
            internal_errors: Told::default(),
            nameless: LayerKind::ALL.map(|kind| Publication::of(SharedString::const_str(NAMELESS), kind)),
        }
    }
}

impl Process {
    fn publish(&mut self) {
        metrics::with_recorder(|recorder| {
            if self.recorder != address(recorder) {
                *self = Self { recorder: address(recorder), ..Self::default() };
                describe(recorder);
            }
            #[cfg(feature = "http")]
            self.internal_errors.tell(recorder, super::ANSWERED[0].get(), Begins::AtZero, || key(INTERNAL_ERRORS, []));
        });
        for (publication, kind) in self.nameless.iter_mut().zip(LayerKind::ALL) {
            publication.publish(nameless_tally(kind), None, []);
        }
    }
}
