//! The names of all metrics, and how counts reach the recorder.
//!
//! The path of a call pushes nothing. A layer value counts in its own atomics, and changes are published from time to time to the
//! recorder that is installed then. The recorder may be installed before or after, or be replaced: it is identified by its address,
//! and a new one gets everything from the beginning. Gauges are read from the state that they show. No lock is held while the
//! recorder runs: it may publish, create and drop layers.

use std::array;
use std::sync::Arc;

use histogram::Histogram;
use metrics::{Key, Label, Level, Metadata, Recorder, SharedString, Unit};

use super::calls::{self, Calls};
use super::counted::nameless_tally;
use super::events::{NAMELESS, SLOW};
use super::publisher::Publisher;
use super::tally::{Count, NoFallback, NotRetried, STATES, Tally};
use crate::ground::error::{Injected, Reason};
use crate::ground::layer_id::LayerKind;
use crate::ground::verdict::{Cause, Verdict};

const CALL_DURATION: &str = "seawall_call_duration_seconds";
const REJECTED: &str = "seawall_rejected_total";
const RETRIES: &str = "seawall_retries_total";
const RETRIES_REFUSED: &str = "seawall_retries_refused_total";
const HEDGES: &str = "seawall_hedges_total";
const HEDGES_REFUSED: &str = "seawall_hedges_refused_total";
const HEDGES_WON: &str = "seawall_hedges_won_total";
const FALLBACKS: &str = "seawall_fallbacks_total";
const NO_FALLBACK: &str = "seawall_fallbacks_unanswered_total";
const QUARANTINES: &str = "seawall_quarantines_total";
const INJECTED: &str = "seawall_chaos_injected_total";
const SPARED: &str = "seawall_chaos_spared_total";
const TRANSITIONS: &str = "seawall_circuit_breaker_transitions_total";
const BODIES_CUT: &str = "seawall_bodies_cut_total";
const PASSED: &str = "seawall_rate_limit_passed_total";
const RELOADS: &str = "seawall_reloads_total";
const ENDPOINT_CHECKS: &str = "seawall_endpoint_checks_total";
const INTERNAL_ERRORS: &str = "seawall_internal_errors_total";

/// A gauge, which is read from a layer's state when it is published.
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
    ThrottleShare,
    BudgetLeft,
    GrantedShare,
    HedgeBudgetLeft,
    HedgeDelay,
    SettingsRejected,
    Suspects,
    Quarantined,
    ChaosOn,
    ChaosActive,
    Endpoints,
    EndpointsOpen,
    EndpointsEjected,
    EndpointsByHand,
}

impl Gauge {
    const ALL: [Self; 22] = [
        Self::BreakerState,
        Self::BreakerOpenKeys,
        Self::BreakerObservesOnly,
        Self::InFlight,
        Self::Waiting,
        Self::Limit,
        Self::ServiceTime,
        Self::RateLimit,
        Self::ThrottleShare,
        Self::BudgetLeft,
        Self::GrantedShare,
        Self::HedgeBudgetLeft,
        Self::HedgeDelay,
        Self::SettingsRejected,
        Self::Suspects,
        Self::Quarantined,
        Self::ChaosOn,
        Self::ChaosActive,
        Self::Endpoints,
        Self::EndpointsOpen,
        Self::EndpointsEjected,
        Self::EndpointsByHand,
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
            Self::ThrottleShare => "seawall_throttle_share",
            Self::BudgetLeft => "seawall_retry_budget_left",
            Self::GrantedShare => "seawall_retry_granted_share",
            Self::HedgeBudgetLeft => "seawall_hedge_budget_left",
            Self::HedgeDelay => "seawall_hedge_delay_seconds",
            Self::SettingsRejected => "seawall_settings_rejected",
            Self::Suspects => "seawall_quarantine_suspects",
            Self::Quarantined => "seawall_quarantine_refused",
            Self::ChaosOn => "seawall_chaos_on",
            Self::ChaosActive => "seawall_chaos_active",
            Self::Endpoints => "seawall_endpoints",
            Self::EndpointsOpen => "seawall_endpoints_open",
            Self::EndpointsEjected => "seawall_endpoints_ejected",
            Self::EndpointsByHand => "seawall_endpoints_by_hand",
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::ServiceTime | Self::HedgeDelay => Unit::Seconds,
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
            Self::InFlight => "Calls in flight, or the permits that they hold",
            Self::Waiting => "Calls that wait for a permit, a token or their turn",
            Self::Limit => "Permits for each key or endpoint",
            Self::ServiceTime => "How long a permit is held, inner waits included",
            Self::RateLimit => "Calls a second that the rate limit admits",
            Self::ThrottleShare => {
                "The share of the calls that a throttle refuses, from 0 to 1; with keys, the highest"
            }
            Self::BudgetLeft => "Retries that could be made now",
            Self::GrantedShare => {
                "Share of the wanted retries that the budget grants; below 1 if retries have not helped"
            }
            Self::HedgeBudgetLeft => "Hedges that could be made now",
            Self::HedgeDelay => "How long an attempt may take before it is hedged; 0 if none is",
            Self::Suspects => "Fingerprints of which one call at a time is sent",
            Self::Quarantined => "Fingerprints whose calls are refused",
            Self::ChaosOn => "1 while faults are injected, else 0",
            Self::ChaosActive => "Injected faults in progress",
            Self::SettingsRejected => "1 while the last reload is rejected, else 0",
            Self::Endpoints => "Endpoints of the balancer",
            Self::EndpointsOpen => "Endpoints whose circuit breaker lets no call pass",
            Self::EndpointsEjected => "Endpoints that are ejected",
            Self::EndpointsByHand => "Endpoints that are standbys, draining or isolated by hand",
        }
    }

    /// Whether several kinds of layers have it, so that it needs a label.
    const fn is_shared(self) -> bool {
        matches!(self, Self::InFlight | Self::Waiting | Self::Limit | Self::ServiceTime)
    }
}

fn describe(recorder: &dyn Recorder) {
    let counters = [
        (REJECTED, "Calls that a layer refused or cut"),
        (RETRIES, "Retries, by the verdict on the previous attempt"),
        (RETRIES_REFUSED, "Retries that were not made, by reason"),
        (HEDGES, "Hedges, by what makes them: a slow attempt, or the verdict on a failed one"),
        (HEDGES_REFUSED, "Hedges that were not made, by reason"),
        (HEDGES_WON, "Calls that a hedge answered"),
        (FALLBACKS, "Failed calls that a fallback answered, by verdict and reason"),
        (NO_FALLBACK, "Failed calls that a fallback did not answer, by reason"),
        (QUARANTINES, "Fingerprints that were quarantined"),
        (INJECTED, "Calls with an injected fault, by fault"),
        (SPARED, "Calls that got no fault because of max_active"),
        (TRANSITIONS, "Changes of a circuit breaker's state"),
        (BODIES_CUT, "Response bodies that were cut"),
        (PASSED, "Calls that a rate limit admitted"),
        (RELOADS, "Reloads, by result"),
        (ENDPOINT_CHECKS, "Active checks of endpoints that get no calls, by result"),
        (INTERNAL_ERRORS, "Answers that do not contain the error behind them"),
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

/// The address of the recorder of this thread, for [`Publisher::publish`].
pub(crate) fn recorder() -> usize {
    metrics::with_recorder(address)
}

/// The identity of a recorder.
fn address(recorder: &dyn Recorder) -> usize {
    (&raw const *recorder).cast::<()>() as usize
}

/// When a counter's series begins. Series that alerts watch begin at zero: Prometheus sees no increase in a series that begins with
/// its first event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SeriesStart {
    AtZero,
    AtFirstEvent,
}

/// A counter, once its series has begun, and the count published so far.
#[derive(Default)]
struct PublishedCounter {
    counter: Option<metrics::Counter>,
    count: u64,
}

impl PublishedCounter {
    fn publish(&mut self, recorder: &dyn Recorder, count: u64, start: SeriesStart, key: impl FnOnce() -> Key) {
        if count > self.count || start == SeriesStart::AtZero && self.counter.is_none() {
            let counter = self.counter.get_or_insert_with(|| recorder.register_counter(&key(), &METADATA));
            counter.increment(count - self.count);
            self.count = count;
        }
    }
}

/// What one layer value has published to one recorder.
pub(crate) struct Publication {
    name: SharedString,
    kind: LayerKind,
    recorder: usize,
    published: Vec<PublishedCounter>,
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
            published: Vec::new(),
            histograms: array::from_fn(|_| None),
            gauges: array::from_fn(|_| None),
        }
    }

    /// Publishes the changes.
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

    /// Sets the gauges to zero, since the layer value was dropped.
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
        let zero_if = |is: bool| if is && is_named { SeriesStart::AtZero } else { SeriesStart::AtFirstEvent };
        let mut published = self.published.iter_mut();
        let mut missing = Vec::new();
        let mut publish = |count: &Count, start, metric, labels: &[(&'static str, &'static str)]| {
            let key = || key(metric, [name.clone()].into_iter().chain(labels.iter().map(Label::from)));
            match published.next() {
                Some(published) => published.publish(recorder, count.get(), start, key),
                None => {
                    let mut published = PublishedCounter::default();
                    published.publish(recorder, count.get(), start, key);
                    missing.push(published);
                }
            }
        };
        for (count, reason) in tally.refused.iter().zip(Reason::ALL) {
            publish(count, SeriesStart::AtFirstEvent, REJECTED, &[("layer", kind), ("reason", reason.as_str())]);
        }
        for (cut, reason) in tally.bodies_cut.iter().zip(Reason::ALL) {
            for (count, held) in cut.iter().zip(["read", "parked"]) {
                let is_usual = self.kind == LayerKind::Deadline && reason == Reason::DeadlineExceeded;
                publish(
                    count,
                    zero_if(is_usual),
                    BODIES_CUT,
                    &[("layer", kind), ("reason", reason.as_str()), ("held", held)],
                );
            }
        }
        let is_hedge = self.kind == LayerKind::Hedge;
        let (again, not_again) = if is_hedge { (HEDGES, HEDGES_REFUSED) } else { (RETRIES, RETRIES_REFUSED) };
        for (count, cause) in tally.retried.iter().zip(Verdict::NAMES) {
            publish(count, SeriesStart::AtFirstEvent, again, &[("cause", cause)]);
        }
        for (count, why) in tally.not_retried.iter().zip(NotRetried::NAMES) {
            let start = zero_if((is_hedge || self.kind == LayerKind::Retry) && why == NotRetried::Budget.as_str());
            publish(count, start, not_again, &[("why", why)]);
        }
        publish(&tally.hedged, zero_if(is_hedge), HEDGES, &[("cause", SLOW)]);
        publish(&tally.hedges_won, zero_if(is_hedge), HEDGES_WON, &[]);
        for (count, (cause, reason)) in tally.fallbacks.iter().zip(Cause::all()) {
            let labels = [("cause", cause), ("reason", reason.unwrap_or_default())];
            let labels = if reason.is_some() { &labels[..] } else { &labels[..1] };
            publish(count, SeriesStart::AtFirstEvent, FALLBACKS, labels);
        }
        for (count, why) in tally.no_fallback.iter().zip(NoFallback::NAMES) {
            let start = zero_if(self.kind == LayerKind::Fallback && why == NoFallback::Failed.as_str());
            publish(count, start, NO_FALLBACK, &[("why", why)]);
        }
        publish(&tally.quarantines, zero_if(self.kind == LayerKind::Quarantine), QUARANTINES, &[]);
        for (count, fault) in tally.injected.iter().zip(Injected::FAULTS) {
            publish(count, SeriesStart::AtFirstEvent, INJECTED, &[("fault", fault)]);
        }
        publish(&tally.spared, zero_if(self.kind == LayerKind::Chaos), SPARED, &[]);
        for (transitions, from) in tally.transitions.iter().zip(STATES) {
            for (count, to) in transitions.iter().zip(STATES) {
                let opens = self.kind == LayerKind::CircuitBreaker && (from, to) == ("closed", "open");
                publish(count, zero_if(opens), TRANSITIONS, &[("from", from), ("to", to)]);
            }
        }
        publish(&tally.passed, zero_if(self.kind == LayerKind::RateLimit), PASSED, &[]);
        for (count, result) in tally.reloads.iter().zip(["applied", "rejected"]) {
            publish(count, zero_if(true), RELOADS, &[("layer", kind), ("result", result)]);
        }
        for (count, result) in tally.endpoint_checks.iter().zip(["passed", "failed"]) {
            publish(count, zero_if(self.kind == LayerKind::Balance), ENDPOINT_CHECKS, &[("result", result)]);
        }
        self.published.extend(missing);
    }

    fn publish_calls(&mut self, recorder: &dyn Recorder, calls: &Calls) {
        let (name, kind) = (self.label(), self.kind.as_str());
        for (verdict, now) in calls.load() {
            let Some(index) = Verdict::NAMES.iter().position(|name| *name == verdict) else { continue };
            let Some(published) = self.histograms.get_mut(index) else { continue };
            let (histogram, before) = published.get_or_insert_with(|| {
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

/// Publishes the counts that belong to no single layer value.
pub(crate) fn publish_process() {
    static PROCESS: Publisher<Process> = Publisher::new();
    PROCESS.publish(recorder(), Process::publish);
}

struct Process {
    recorder: usize,
    #[cfg(feature = "http")]
    internal_errors: PublishedCounter,
    nameless: [Publication; LayerKind::ALL.len()],
}

impl Default for Process {
    fn default() -> Self {
        Self {
            recorder: 0,
            #[cfg(feature = "http")]
            internal_errors: PublishedCounter::default(),
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
            self.internal_errors
                .publish(recorder, super::ANSWERED[0].get(), SeriesStart::AtZero, || key(INTERNAL_ERRORS, []));
        });
        for (publication, kind) in self.nameless.iter_mut().zip(LayerKind::ALL) {
            publication.publish(nameless_tally(kind), None, []);
        }
    }
}
