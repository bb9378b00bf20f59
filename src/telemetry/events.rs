//! The names of all trace events and spans.
//!
//! A storm of refusals must not become a storm of log lines: one layer value logs the same event for the same reason at most once a
//! second, with the number of `suppressed` ones.

use std::sync::Arc;
#[cfg(feature = "http")]
use std::time::Duration;

use tracing::field;

#[cfg(feature = "http")]
use super::counted::tally;
#[cfg(feature = "http")]
use super::directory;
use super::instruments::Instruments;
use super::tally::{Count, NoFallback, NotRetried, STATES, Tally};
#[cfg(feature = "http")]
use crate::ground::error::Reason;
use crate::ground::error::{FaultList, InvalidConfig, Numbers, Rejected, TripCause};
use crate::ground::sync::foreign;
use crate::ground::text;
use crate::ground::time;
use crate::ground::verdict::{Cause, Verdict};

/// The name of a layer without a name in logs and metrics.
pub(crate) const NAMELESS: &str = "unnamed";

fn name(instruments: &Instruments) -> &str {
    instruments.name().unwrap_or(NAMELESS)
}

/// Logs an event that `$count` counts, unless the level is disabled or the event has just been logged.
macro_rules! log_event {
    ($level:ident, $count:expr, $($rest:tt)*) => {
        foreign(|| {
            if tracing::enabled!(target: "seawall", tracing::Level::$level) {
                if let Some(suppressed) = $count.due_log(time::now()) {
                    // The field is left out if zero.
                    let suppressed = (suppressed > 0).then_some(suppressed);
                    tracing::event!(target: "seawall", tracing::Level::$level, suppressed, $($rest)*);
                }
            }
        })
    };
}

/// A call was refused or ended by a layer.
pub(super) fn rejected(tally: &Tally, rejected: &Rejected) {
    let (reason, numbers) = (rejected.reason(), rejected.numbers());
    let count = tally.refuse(reason, numbers, time::now());
    log_event!(
        WARN,
        count,
        name = rejected.name().unwrap_or(NAMELESS),
        layer = rejected.layer(),
        reason = reason.as_str(),
        retry_after = rejected.retry_after().map(field::debug),
        time_left = numbers.time_left().map(field::debug),
        expected = numbers.expected().map(field::debug),
        waiting = numbers.waiting(),
        limit = numbers.limit(),
        per = numbers.per().map(field::debug),
        calls = numbers.calls(),
        failures = numbers.failures(),
        slow = numbers.slow(),
        overdue = numbers.overdue(),
        unanswered = numbers.unanswered(),
        opened_by = numbers.opened_by().map(TripCause::as_str),
        open_for = numbers.open_for().map(field::debug),
        breaks = numbers.breaks(),
        next_probe = numbers.next_probe().map(field::debug),
        given = numbers.given().map(field::debug),
        elapsed = numbers.elapsed().map(field::debug),
        endpoints = numbers.endpoints(),
        open = numbers.open(),
        ejected = numbers.ejected(),
        requests = numbers.requests(),
        accepted = numbers.accepted(),
        share = numbers.share(),
        "rejected"
    );
}

/// An attempt failed, and another one follows.
pub(crate) fn retried(instruments: &Instruments, cause: Verdict) {
    let count = &instruments.tally().retried[cause.index()];
    count.add();
    log_event!(DEBUG, count, name = name(instruments), layer = "retry", cause = cause.as_str(), "retried");
}

/// A retryable attempt failed, and no other one follows.
pub(crate) fn not_retried(instruments: &Instruments, why: NotRetried) {
    let count = &instruments.tally().not_retried[why as usize];
    count.add();
    log_event!(DEBUG, count, name = name(instruments), layer = "retry", why = why.as_str(), "not retried");
}

/// What makes a hedge that starts because an attempt is slow, and not because one has failed.
pub(crate) const SLOW: &str = "slow";

/// Another attempt of a hedged call starts, because the verdict on one was `failed`, or because it is slow.
pub(crate) fn hedged(instruments: &Instruments, failed: Option<Verdict>) {
    let tally = instruments.tally();
    let count = failed.map_or(&tally.hedged, |verdict| &tally.retried[verdict.index()]);
    count.add();
    let cause = failed.map_or(SLOW, Verdict::as_str);
    log_event!(DEBUG, count, name = name(instruments), layer = "hedge", cause, "hedged");
}

/// A hedge was in order, and is not made.
pub(crate) fn not_hedged(instruments: &Instruments, why: NotRetried) {
    let count = &instruments.tally().not_retried[why as usize];
    count.add();
    log_event!(DEBUG, count, name = name(instruments), layer = "hedge", why = why.as_str(), "not hedged");
}

/// A fallback answered a failed call.
pub(crate) fn fell_back(instruments: &Instruments, cause: Cause) {
    let count = &instruments.tally().fallbacks[cause.index()];
    count.add();
    log_event!(
        WARN,
        count,
        name = name(instruments),
        layer = "fallback",
        cause = cause.verdict(),
        reason = cause.reason(),
        "answered by fallback"
    );
}

/// A call failed, and its fallback did not answer it. The `error` is the fallback's own.
pub(crate) fn not_fallen_back(
    instruments: &Instruments,
    cause: Cause,
    why: NoFallback,
    error: Option<&tower::BoxError>,
) {
    let count = &instruments.tally().no_fallback[why as usize];
    count.add();
    log_event!(
        WARN,
        count,
        name = name(instruments),
        layer = "fallback",
        cause = cause.verdict(),
        reason = cause.reason(),
        why = why.as_str(),
        error = error.map(|error| field::display(text::one_line_of_error(error.as_ref()))),
        "not answered by fallback"
    );
}

/// A fingerprint is refused from now on for so long.
pub(crate) fn quarantined(instruments: &Instruments, fingerprint: &str, duration: std::time::Duration) {
    let count = &instruments.tally().quarantines;
    count.add();
    log_event!(
        WARN,
        count,
        name = name(instruments),
        layer = "quarantine",
        fingerprint = %text::short_line(fingerprint),
        ?duration,
        "quarantined"
    );
}

/// A fault was injected into a call.
pub(crate) fn injected(instruments: &Instruments, fault: &'static str, index: usize) {
    let Some(count) = instruments.tally().injected.get(index) else { return };
    count.add();
    log_event!(WARN, count, name = name(instruments), layer = "chaos", fault, "fault injected");
}

/// The time of injected faults is over.
pub(crate) fn chaos_over(instruments: &Instruments) {
    let count = &instruments.tally().chaos_over;
    count.add();
    log_event!(WARN, count, name = name(instruments), layer = "chaos", "faults are over");
}

/// The breaker of an endpoint in the log. It has the name of its balancer, and counts with all nameless breakers.
#[derive(Debug)]
pub(crate) struct EndpointLog {
    balancer: Instruments,
    key: Arc<str>,
    /// What was logged, by the new state: many endpoints may fail at once, and each of them is worth a line.
    transitions: [Count; STATES.len()],
}

impl EndpointLog {
    pub(crate) fn new(balancer: Instruments, key: Arc<str>) -> Self {
        Self { balancer, key, transitions: [const { Count::new() }; STATES.len()] }
    }
}

/// A circuit breaker changed its state, with the numbers of the outage, unless it is over.
pub(crate) fn transition(
    instruments: &Instruments,
    endpoint: Option<&EndpointLog>,
    from: &'static str,
    to: &'static str,
    numbers: Numbers,
) {
    let number = |state| STATES.iter().position(|name| *name == state);
    let (Some(from_number), Some(to_number)) = (number(from), number(to)) else { return };
    let mut count: &Count = &instruments.tally().transitions[from_number][to_number];
    count.add();
    if let Some(endpoint) = endpoint {
        count = &endpoint.transitions[to_number];
        count.add();
    }
    log_event!(
        WARN,
        count,
        name = name(endpoint.map_or(instruments, |endpoint| &endpoint.balancer)),
        layer = "circuit_breaker",
        endpoint = endpoint.map(|endpoint| field::display(text::short_line(&*endpoint.key))),
        from,
        to,
        opened_by = numbers.opened_by().map(TripCause::as_str),
        open_for = numbers.open_for().map(field::debug),
        breaks = numbers.breaks(),
        calls = numbers.calls(),
        failures = numbers.failures(),
        slow = numbers.slow(),
        overdue = numbers.overdue(),
        unanswered = numbers.unanswered(),
        "transition"
    );
}

/// The result of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reload {
    Applied,
    Rejected,
}

/// New settings were offered to `layers`, those of one stack or a single one: counted for each, logged once. Nothing is logged if
/// the settings equal the current ones (`is_new` is false).
pub(crate) fn reloaded(layers: &[&Instruments], rejected: Option<&InvalidConfig>, is_new: bool) {
    let reload = if rejected.is_some() { Reload::Rejected } else { Reload::Applied };
    for instruments in layers {
        instruments.tally().reloads[reload as usize].add();
    }
    let Some(first) = layers.first().filter(|_| is_new) else { return };
    let (name, count) = (name(first), &first.tally().reloads[reload as usize]);
    let kinds = || layers.iter().map(|layer| layer.kind().as_str()).collect::<Vec<_>>().join(", ");
    match rejected {
        None => log_event!(INFO, count, name, layer = kinds(), "reloaded"),
        Some(invalid) => {
            log_event!(WARN, count, name, layer = kinds(), faults = %text::short_line(FaultList(invalid)), "reload rejected");
        }
    }
}

/// An operator has moved a named layer by hand. Always logged: commands are rare.
pub(crate) fn controlled(instruments: &Instruments, command: &dyn std::fmt::Debug) {
    let layer = instruments.kind().as_str();
    tracing::warn!(target: "seawall", name = name(instruments), layer, ?command, "moved by hand");
}

/// An operator has changed how an endpoint of a balancer is used. Always logged: commands are rare.
pub(crate) fn endpoint_controlled(instruments: &Instruments, key: &str, mode: &str) {
    let key = text::short_line(key);
    foreign(|| {
        tracing::warn!(target: "seawall", name = name(instruments), layer = "balance", endpoint = %key, mode, "endpoint moved by hand");
    });
}

/// A balancer was offered a set of endpoints with faults, and keeps the former one. It counts as a rejected reload.
pub(crate) fn endpoints_rejected(instruments: &Instruments, invalid: &InvalidConfig) {
    let count = &instruments.tally().reloads[Reload::Rejected as usize];
    count.add();
    let (name, faults) = (name(instruments), text::short_line(FaultList(invalid)));
    log_event!(WARN, count, name, layer = "balance", faults = %faults, "endpoints rejected");
}

/// The active check of an endpoint that gets no calls has ended: it passed, and may have brought the endpoint `back`, or it failed.
pub(crate) fn endpoint_checked(instruments: &Instruments, key: &str, result: Result<bool, &tower::BoxError>) {
    let [passed, failed] = &instruments.tally().endpoint_checks;
    let (name, endpoint) = (name(instruments), text::short_line(key));
    match result {
        Ok(back) => {
            passed.add();
            log_event!(INFO, passed, name, layer = "balance", %endpoint, back, "endpoint check passed");
        }
        Err(error) => {
            failed.add();
            let error = text::one_line_of_error(error.as_ref());
            log_event!(DEBUG, failed, name, layer = "balance", %endpoint, %error, "endpoint check failed");
        }
    }
}

/// An endpoint gets no calls for a while, because it does worse than the others of its tier. Always logged: an endpoint is ejected once
/// in a while, and each of several is worth a line.
pub(crate) fn endpoint_ejected(instruments: &Instruments, key: &str, why: &'static str) {
    let endpoint = text::short_line(key);
    foreign(
        || tracing::info!(target: "seawall", name = name(instruments), layer = "balance", %endpoint, why, "endpoint ejected"),
    );
}

/// The ejection of an endpoint is over.
pub(crate) fn endpoint_restored(instruments: &Instruments, key: &str) {
    let endpoint = text::short_line(key);
    foreign(
        || tracing::info!(target: "seawall", name = name(instruments), layer = "balance", %endpoint, "endpoint restored"),
    );
}

/// A source has more endpoints than the balancer may have, and those beyond `max_endpoints` get no calls.
pub(crate) fn endpoints_exceeded(instruments: &Instruments, max_endpoints: usize) {
    foreign(
        || tracing::warn!(target: "seawall", name = name(instruments), layer = "balance", max_endpoints, "too many endpoints"),
    );
}

/// The source of a balancer's endpoints has ended. The last set stays.
pub(crate) fn discovery_ended(instruments: &Instruments) {
    foreign(|| tracing::warn!(target: "seawall", name = name(instruments), layer = "balance", "discovery ended"));
}

/// A source of a balancer's endpoints has failed. The last set stays.
pub(crate) fn discovery_failed(instruments: &Instruments, error: &(dyn std::error::Error + 'static)) {
    let error = text::one_line_of_error(error);
    foreign(
        || tracing::warn!(target: "seawall", name = name(instruments), layer = "balance", %error, "discovery failed"),
    );
}

/// A name was not resolved. The last set stays.
#[cfg(feature = "dns")]
pub(crate) fn resolution_failed(instruments: &Instruments, host: &str, error: &std::io::Error) {
    let error = text::one_line_of_error(error);
    foreign(
        || tracing::warn!(target: "seawall", name = name(instruments), layer = "balance", ?host, %error, "resolution failed"),
    );
}

/// The hint for a body that is cut while it is read.
#[cfg(feature = "http")]
const LONG_LIVED_HINT: &str = "a response that is meant to last says so: `seawall::http::LongLived` in the request of a client, in the response of a handler";

/// The body of a response was kept beyond its time, and was cut. It was being read until then, unless it was `parked`. The `request` is
/// its method and its path, if a layer knows them. They come from a client, and are logged on one line.
#[cfg(feature = "http")]
pub(crate) fn body_cut(rejected: &Rejected, parked: bool, age: Duration, request: Option<(&str, &str)>) {
    let (layer_id, reason) = (rejected.layer_id(), rejected.reason());
    let held = if parked { "parked" } else { "read" };
    let counted = directory::find(layer_id);
    let count = &tally(counted.as_deref(), layer_id).bodies_cut[reason as usize][usize::from(parked)];
    count.add();
    let layer = rejected.layer();
    let is_by_the_clock = matches!(reason, Reason::DeadlineExceeded | Reason::IdleTimeout | Reason::HoldExceeded);
    let hint = (!parked && is_by_the_clock).then_some(LONG_LIVED_HINT);
    let numbers = rejected.numbers();
    log_event!(
        WARN,
        count,
        name = rejected.name().unwrap_or(NAMELESS),
        layer,
        reason = reason.as_str(),
        held,
        method = request.map(|(method, _)| field::display(text::short_line(method))),
        path = request.map(|(_, path)| field::display(text::short_line(path))),
        ?age,
        given = numbers.given().map(field::debug),
        elapsed = numbers.elapsed().map(field::debug),
        hint,
        "body cut"
    );
}

/// A foreign error is answered. Its cause is logged here, since the answer does not contain it. The cause may hold text of a
/// client, and is logged on one line.
#[cfg(feature = "http")]
pub(crate) fn answered(error: &tower::BoxError, answer: &'static str, is_internal: bool) {
    let error = text::one_line_of_error(error.as_ref());
    let count = &super::ANSWERED[usize::from(!is_internal)];
    count.add();
    log_event!(ERROR, count, layer = "respond", answer, %error, "answered");
}

/// The span of one attempt, if spans are enabled.
#[derive(Debug)]
pub(crate) struct AttemptSpan {
    span: tracing::Span,
}

impl AttemptSpan {
    /// The `number` counts from 1. The names are OpenTelemetry's where it has them: `http.request.resend_count` is the number of
    /// earlier attempts, `error.type` is set if the attempt fails.
    pub(crate) fn new(instruments: &Instruments, number: u32) -> Self {
        let span = tracing::info_span!(
            target: "seawall",
            "attempt",
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            name = name(instruments),
            http.request.resend_count = number.saturating_sub(1),
            error.type = tracing::field::Empty,
        );
        Self { span }
    }

    #[inline]
    pub(crate) fn enter(&self) -> tracing::span::Entered<'_> {
        self.span.enter()
    }

    /// Records the end of the attempt.
    pub(crate) fn end(self, verdict: Verdict) {
        if !matches!(verdict, Verdict::Success | Verdict::CallerFault) {
            self.span.record("otel.status_code", "ERROR");
            self.span.record("error.type", verdict.as_str());
        }
    }
}
