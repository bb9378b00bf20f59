//! An illegal configuration cannot be built: all faults are found at once, each with the path of its field.

use std::fmt::Debug;
use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule, Delay, Matching};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, Window};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Fault, InvalidConfig};
use seawall::fallback::{self, FallbackLayer};
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer, LearnedDelay};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{Backoff, Budget, BudgetConfig, Growth, RetryConfig, RetryLayer};
use seawall::throttle::{ThrottleConfig, ThrottleLayer};
use tokio::time::timeout;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::inner::{Answer, Difficult, Readiness};

/// A mistaken unit, or an arithmetic error: too long for any wait.
const ABSURD: Duration = Duration::MAX;

/// The paths of all faults.
fn faults<L>(built: Result<L, InvalidConfig>) -> Vec<String> {
    match built {
        Ok(_) => Vec::new(),
        Err(invalid) => {
            assert!(invalid.faults().iter().all(|fault| !fault.problem().is_empty()));
            invalid.faults().iter().map(Fault::path).map(str::to_owned).collect()
        }
    }
}

/// One illegal value among the defaults is one fault, with its path; the defaults have no fault.
fn fault<C, L>(path: &str, layer: fn(C) -> Result<L, InvalidConfig>, spoil: impl Fn(&mut C))
where
    C: Default + Clone + Debug,
{
    assert_eq!(faults(layer(C::default())), [""; 0]);
    let mut config = C::default();
    spoil(&mut config);
    assert_eq!(faults(layer(config.clone())), [path], "{config:?}");
}

#[test]
fn every_fault_of_a_deadline_is_found() {
    assert_eq!(faults(DeadlineLayer::new(Duration::ZERO)), ["timeout"]);
    assert_eq!(faults(DeadlineLayer::new(ABSURD)), ["timeout"]);
    assert_eq!(faults(DeadlineLayer::new(Duration::from_nanos(1))), [""; 0]);
}

#[cfg(feature = "http")]
#[test]
fn every_fault_of_propagation_is_found() {
    use seawall::http::propagation::{ExtractLayer, InjectLayer, PropagationConfig};

    let layers = [|config| InjectLayer::http(config).map(drop), |config| ExtractLayer::http(config).map(drop)];
    for layer in layers {
        fault("headers.attempt", layer, |config: &mut PropagationConfig| {
            config.headers.attempt = config.headers.timeout.clone();
        });
        fault("allowance", layer, |config| config.allowance = ABSURD);
        fault("max_timeout", layer, |config| config.max_timeout = Duration::ZERO);
    }
}

#[test]
fn every_fault_of_a_retry_is_found() {
    let all = RetryConfig {
        enabled: true,
        max_attempts: 0,
        backoff: Backoff {
            growth: Growth::Exponential(f64::NAN),
            base: Duration::ZERO,
            cap: ABSURD,
            ..Backoff::default()
        },
        budget: BudgetConfig { ratio: 1.1, ttl: ABSURD, reserve_per_second: -1.0, reserve_burst: 0 },
        attempt_timeout: Some(Duration::ZERO),
        max_retry_after: ABSURD,
        max_hold: Duration::ZERO,
        attempt_spans: false,
        max_keys: 0,
    };
    let budget = ["ratio", "ttl", "reserve_per_second", "reserve_burst"];
    assert_eq!(faults(Budget::new(all.budget.clone())), budget);
    let mut paths = vec!["max_attempts", "backoff.growth", "backoff.base", "backoff.cap"];
    let nested = budget.map(|field| format!("budget.{field}"));
    paths.extend(nested.iter().map(String::as_str));
    paths.extend(["attempt_timeout", "max_retry_after", "max_hold", "max_keys"]);
    assert_eq!(faults(RetryLayer::new(all)), paths);

    let layer = |config| RetryLayer::new(config);
    fault("max_attempts", layer, |config| config.max_attempts = 0);
    for factor in [0.5, f64::NAN, f64::INFINITY, -2.0] {
        fault("backoff.growth", layer, |config| config.backoff.growth = Growth::Exponential(factor));
    }
    fault("backoff.base", layer, |config| config.backoff.base = Duration::ZERO);
    fault("backoff.cap", layer, |config| config.backoff.cap = config.backoff.base / 2);
    fault("backoff.cap", layer, |config| config.backoff.cap = ABSURD);
    for ratio in [-0.1, 1.01, f64::NAN, f64::INFINITY] {
        fault("budget.ratio", layer, |config| config.budget.ratio = ratio);
    }
    for length in [Duration::ZERO, ABSURD] {
        fault("budget.ttl", layer, |config| config.budget.ttl = length);
        fault("attempt_timeout", layer, |config| config.attempt_timeout = Some(length));
        fault("max_hold", layer, |config| config.max_hold = length);
    }
    for rate in [-1.0, f64::NAN, f64::INFINITY] {
        fault("budget.reserve_per_second", layer, |config| config.budget.reserve_per_second = rate);
    }
    fault("budget.reserve_burst", layer, |config| config.budget.reserve_burst = 0);
    fault("max_retry_after", layer, |config| config.max_retry_after = ABSURD);
    fault("max_keys", layer, |config| config.max_keys = 0);
}

#[test]
fn every_fault_of_a_hedge_is_found() {
    let learned = LearnedDelay {
        quantile: 1.0,
        min_samples: 0,
        half_life: Duration::ZERO,
        min: Duration::from_micros(999),
        max: Duration::from_micros(1),
    };
    let all = HedgeConfig {
        enabled: true,
        max_attempts: 6,
        delay: HedgeDelay::Learned(learned),
        budget: BudgetConfig { ratio: 1.1, ttl: ABSURD, reserve_per_second: -1.0, reserve_burst: 0 },
        time_ratio: f64::NAN,
        max_retry_after: ABSURD,
        max_hold: Duration::ZERO,
        max_keys: 0,
    };
    let learned = ["quantile", "min_samples", "half_life", "min", "max"].map(|field| format!("delay.learned.{field}"));
    let budget = ["ratio", "ttl", "reserve_per_second", "reserve_burst"].map(|field| format!("budget.{field}"));
    let mut paths = vec!["max_attempts"];
    paths.extend(learned.iter().chain(&budget).map(String::as_str));
    paths.extend(["time_ratio", "max_retry_after", "max_hold", "max_keys"]);
    assert_eq!(faults(HedgeLayer::new(all)), paths);

    let layer = |config| HedgeLayer::new(config);
    fault("max_attempts", layer, |config| config.max_attempts = 0);
    for time_ratio in [0.0, -1.0, 5.1] {
        assert_eq!(faults(layer(HedgeConfig { time_ratio, ..HedgeConfig::default() })), ["time_ratio"]);
    }
    fault("delay", layer, |config| config.delay = HedgeDelay::Fixed(ABSURD));
    let learned = |path: &str, break_it: fn(&mut LearnedDelay)| {
        fault(path, layer, |config| {
            let mut learned = LearnedDelay::default();
            break_it(&mut learned);
            config.delay = HedgeDelay::Learned(learned);
        });
    };
    for path in ["quantile", "min_samples", "half_life", "min", "max"].map(|field| format!("delay.learned.{field}")) {
        learned(
            &path,
            match path.as_str() {
                "delay.learned.quantile" => |learned| learned.quantile = f64::NAN,
                "delay.learned.min_samples" => |learned| learned.min_samples = 0,
                "delay.learned.half_life" => |learned| learned.half_life = ABSURD,
                "delay.learned.min" => |learned| learned.min = Duration::ZERO,
                _ => |learned| learned.max = Duration::from_secs(61),
            },
        );
    }
    fault("max_retry_after", layer, |config| config.max_retry_after = ABSURD);
    fault("max_hold", layer, |config| config.max_hold = ABSURD);
}

#[test]
fn every_fault_of_a_circuit_breaker_is_found() {
    let layer = |config| CircuitBreakerLayer::new(config);
    for rate in [0.0, -0.1, 1.01, f64::NAN, f64::INFINITY] {
        fault("failure_rate", layer, |config| config.failure_rate = rate);
        fault("slow_rate", layer, |config| config.slow_rate = Some(rate));
    }
    for factor in [0.5, f64::NAN, f64::INFINITY] {
        fault("slow_factor", layer, |config| config.slow_factor = factor);
        fault("break_growth", layer, |config| config.break_growth = factor);
    }
    for jitter in [-0.1, 1.1, f64::NAN] {
        fault("jitter", layer, |config| config.jitter = jitter);
    }
    for length in [Duration::ZERO, ABSURD] {
        fault("window", layer, |config| config.window = Window::Time(length));
        fault("slow_after", layer, |config| config.slow_after = Some(length));
        fault("slow_floor", layer, |config| config.slow_floor = length);
        fault("max_hold", layer, |config| config.max_hold = length);
    }
    fault("break_duration", layer, |config| config.break_duration = Duration::ZERO);
    fault("max_break", layer, |config| config.max_break = config.break_duration / 2);
    fault("max_break", layer, |config| config.max_break = ABSURD);
    fault("window", layer, |config| config.window = Window::Calls(u32::MAX));
    fault("minimum_calls", layer, |config| config.minimum_calls = 0);
    fault("minimum_calls", layer, |config| config.window = Window::Calls(config.minimum_calls - 1));
    fault("consecutive_failures", layer, |config| config.consecutive_failures = Some(0));
    fault("short_breaks", layer, |config| config.short_breaks = 0);
    fault("half_open_rounds", layer, |config| config.half_open_rounds = 0);
    fault("half_open_rounds", layer, |config| config.half_open_rounds = u32::MAX);
    fault("max_keys", layer, |config| config.max_keys = 0);

    let all = CircuitBreakerConfig {
        failure_rate: f64::NAN,
        break_duration: Duration::ZERO,
        break_growth: 0.0,
        max_break: ABSURD,
        ..CircuitBreakerConfig::default()
    };
    assert_eq!(faults(layer(all)), ["failure_rate", "break_duration", "break_growth", "max_break"]);
}

#[test]
fn every_fault_of_a_bulkhead_is_found() {
    let layer = |config| BulkheadLayer::new(config);
    fault("max_concurrent", layer, |config| config.max_concurrent = 0);
    fault("max_keys", layer, |config| config.max_keys = 0);
    for length in [Duration::ZERO, ABSURD] {
        fault("max_wait", layer, |config| config.max_wait = length);
        fault("max_hold", layer, |config| config.max_hold = length);
    }
    let all =
        BulkheadConfig { max_concurrent: 0, max_wait: ABSURD, max_hold: ABSURD, max_keys: 0, ..Default::default() };
    assert_eq!(faults(layer(all)), ["max_concurrent", "max_wait", "max_hold", "max_keys"]);
}

#[test]
fn every_fault_of_a_rate_limit_is_found() {
    let layer = |config| RateLimitLayer::new(config);
    fault("permits", layer, |config| config.permits = 0);
    fault("permits", layer, |config| config.per = Duration::from_nanos(1));
    fault("per", layer, |config| config.per = Duration::ZERO);
    fault("per", layer, |config| config.per = ABSURD);
    fault("burst", layer, |config| config.burst = Some(0));
    fault("max_wait", layer, |config| config.max_wait = ABSURD);
    for length in [Duration::ZERO, ABSURD] {
        fault("max_hold", layer, |config| config.max_hold = length);
    }
    fault("max_keys", layer, |config| config.max_keys = 0);
    let endless = RateLimitConfig { per: Duration::from_secs(3600), burst: Some(u32::MAX), ..Default::default() };
    assert_eq!(faults(layer(endless)), ["burst"]);
    let all = RateLimitConfig { permits: 0, per: ABSURD, max_wait: ABSURD, max_keys: 0, ..Default::default() };
    assert_eq!(faults(layer(all)), ["permits", "per", "max_wait", "max_keys"]);
}

#[test]
fn every_fault_of_a_throttle_is_found() {
    let layer = |config| ThrottleLayer::new(config);
    for multiplier in [-2.0, 0.0, 1.0, 100.1, f64::NAN, f64::INFINITY] {
        fault("multiplier", layer, |config| config.multiplier = multiplier);
    }
    for share in [-0.1, 0.0, 1.0, f64::NAN] {
        fault("max_share", layer, |config| config.max_share = share);
    }
    for length in [Duration::ZERO, ABSURD] {
        fault("window", layer, |config| config.window = length);
        fault("max_hold", layer, |config| config.max_hold = length);
    }
    for length in [Duration::ZERO, Duration::from_millis(5001)] {
        fault("probe_interval", layer, |config| config.probe_interval = length);
    }
    fault("max_keys", layer, |config| config.max_keys = 0);
    let all = ThrottleConfig { window: ABSURD, multiplier: 1.0, max_share: 1.0, max_keys: 0, ..Default::default() };
    assert_eq!(faults(layer(all)), ["window", "multiplier", "max_share", "max_keys"]);
}

#[test]
fn every_fault_of_a_chaos_layer_is_found() {
    let layer = |config| ChaosLayer::new(config);
    fault("max_active", layer, |config| config.max_active = 0);
    for length in [Duration::ZERO, ABSURD] {
        fault("lasts", layer, |config| config.lasts = Some(length));
        fault("max_hold", layer, |config| config.max_hold = length);
    }
    let rule = |path: &str, rule: ChaosRule| {
        let path = format!("rules[1].{path}");
        fault(&path, layer, |config| config.rules = vec![ChaosRule::new(ChaosFault::Hang), rule.clone()]);
    };
    for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        rule("share", ChaosRule { share, ..ChaosRule::new(ChaosFault::Hang) });
    }
    let second = Duration::from_secs(1);
    let of = |path: &str, fault: ChaosFault| rule(&format!("fault.{path}"), ChaosRule::new(fault));
    of("latency", ChaosFault::Latency(Delay::Fixed(ABSURD)));
    of("latency.to", ChaosFault::Latency(Delay::Uniform { from: second, to: Duration::ZERO }));
    of("latency.median", ChaosFault::Latency(Delay::LogNormal { median: Duration::ZERO, p99: second }));
    of("latency.p99", ChaosFault::Latency(Delay::LogNormal { median: 2 * second, p99: second }));
    of("retry_after", ChaosFault::Refuse { retry_after: Some(ABSURD) });
    for status in [0, 200, 399, 600] {
        of("status", ChaosFault::Status { status, retry_after: None });
    }
    for code in [0, 17] {
        of("code", ChaosFault::Code { code, pushback: None });
    }
    of("bytes", ChaosFault::Drip { bytes: 0, every: second });
    of("every", ChaosFault::Drip { bytes: 1, every: Duration::ZERO });
    let matching = Matching { method: "GET /".into(), ..Matching::default() };
    rule("matching.method", ChaosRule { matching, ..ChaosRule::new(ChaosFault::Hang) });
    assert_eq!(faults(layer(ChaosConfig { max_active: 0, max_hold: ABSURD, ..Default::default() })).len(), 2);
}

#[test]
fn every_fault_of_a_quarantine_is_found() {
    let layer = |config| QuarantineLayer::new(config, |request: &u32| *request);
    for endpoints in [0, 1, 17, u32::MAX] {
        fault("endpoints", layer, |config| config.endpoints = endpoints);
    }
    for length in [Duration::ZERO, ABSURD] {
        fault("window", layer, |config| config.window = length);
        fault("duration", layer, |config| config.duration = length);
        fault("max_turn", layer, |config| config.max_turn = length);
        fault("max_hold", layer, |config| config.max_hold = length);
    }
    fault("max_fingerprints", layer, |config| config.max_fingerprints = 0);
    let all = QuarantineConfig { endpoints: 1, window: ABSURD, max_fingerprints: 0, ..Default::default() };
    assert_eq!(faults(layer(all)), ["endpoints", "window", "max_fingerprints"]);
}

#[test]
fn every_fault_of_a_fallback_is_found() {
    for length in [Duration::ZERO, ABSURD] {
        fault("max_hold", |config| FallbackLayer::new(config, fallback::value(0)), |config| config.max_hold = length);
    }
}

#[test]
fn every_fault_of_a_load_shed_is_found() {
    let layer = |config| LoadShedLayer::new(config);
    fault("max_in_flight", layer, |config| config.max_in_flight = 0);
    fault("max_keys", layer, |config| config.max_keys = 0);
    for ratio in [-1.0, f64::NAN, f64::INFINITY] {
        fault("queue_ratio", layer, |config| config.queue_ratio = ratio);
    }
    for length in [Duration::ZERO, ABSURD] {
        fault("max_wait", layer, |config| config.max_wait = length);
        fault("max_hold", layer, |config| config.max_hold = length);
        fault("max_lag", layer, |config| config.max_lag = Some(length));
    }
    let short = LoadShedConfig { max_lag: Some(Duration::from_micros(999)), ..Default::default() };
    let short = layer(short).unwrap_err();
    assert_eq!(short.faults()[0].to_string(), "max_lag: invalid value: 999µs, must be at least 1ms");
    let all = LoadShedConfig { max_in_flight: 0, queue_ratio: f64::NAN, max_wait: ABSURD, ..Default::default() };
    assert_eq!(faults(layer(all)), ["max_in_flight", "queue_ratio", "max_wait"]);
}

/// The longest durations overflow nothing, whatever the service does.
#[tokio::test(start_paused = true)]
async fn longest_durations_overflow_nothing() {
    const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let retry = RetryConfig {
        max_attempts: u32::MAX,
        backoff: Backoff { cap: LONGEST, ..Backoff::exponential(LONGEST, 1e300) },
        attempt_timeout: Some(LONGEST),
        max_retry_after: LONGEST,
        max_hold: LONGEST,
        ..RetryConfig::default()
    };
    let bulkhead = BulkheadConfig {
        max_concurrent: u32::MAX,
        max_waiting: u32::MAX,
        max_wait: LONGEST,
        max_hold: LONGEST,
        ..BulkheadConfig::default()
    };
    let breaker = CircuitBreakerConfig {
        window: Window::Time(LONGEST),
        minimum_calls: 1,
        slow_factor: f64::MAX,
        slow_floor: LONGEST,
        break_duration: LONGEST,
        break_growth: f64::MAX,
        max_break: LONGEST,
        max_hold: LONGEST,
        ..CircuitBreakerConfig::default()
    };
    let load_shed = LoadShedConfig {
        max_in_flight: u32::MAX,
        queue_ratio: 1000.0,
        max_wait: LONGEST,
        max_hold: LONGEST,
        ..LoadShedConfig::default()
    };
    let rate_limit = RateLimitConfig {
        permits: 1,
        per: LONGEST,
        max_wait: LONGEST,
        max_waiting: u32::MAX,
        max_hold: LONGEST,
        ..RateLimitConfig::default()
    };
    let rate_limit = RateLimitLayer::new(rate_limit).unwrap();
    let (retry, bulkhead) = (RetryLayer::new(retry).unwrap(), BulkheadLayer::new(bulkhead).unwrap());
    let (breaker, load_shed) = (CircuitBreakerLayer::new(breaker).unwrap(), LoadShedLayer::new(load_shed).unwrap());
    let deadline = DeadlineLayer::new(LONGEST).unwrap();
    for answer in [Answer::AtOnce, Answer::AfterPolls(2), Answer::Fails, Answer::Never] {
        let callee = || Difficult::new(Readiness::AfterPolls(1), answer);
        let stack = ServiceBuilder::new()
            .layer(load_shed.clone())
            .layer(deadline.clone())
            .layer(retry.clone())
            .layer(bulkhead.clone())
            .layer(breaker.clone());
        let _ = timeout(DAY, stack.service(callee()).oneshot(7)).await;
        for _ in 0..3 {
            let _ = timeout(DAY, rate_limit.layer(callee()).oneshot(7)).await;
        }
        let _ = timeout(DAY, retry.layer(callee()).oneshot(7)).await;
        let _ = timeout(DAY, bulkhead.layer(callee()).oneshot(7)).await;
        let _ = timeout(DAY, breaker.layer(callee()).oneshot(7)).await;
        let _ = timeout(DAY, load_shed.layer(callee()).oneshot(7)).await;
    }
}
