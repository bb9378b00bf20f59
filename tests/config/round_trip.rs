use std::time::Duration;

use http::HeaderName;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use seawall::balance::{BalanceConfig, EjectionConfig, SlowStartConfig, TierConfig};
use seawall::bulkhead::{BulkheadConfig, Order};
use seawall::circuit_breaker::{CircuitBreakerConfig, Window};
use seawall::config::{self, Config, Draft};
use seawall::context::Priority;
use seawall::deadline::DeadlineConfig;
use seawall::hedge::{HedgeConfig, HedgeDelay, LearnedDelay};
use seawall::http::propagation::{HeaderNames, PropagationConfig};
use seawall::load_shed::{Limit, LoadShedConfig};
use seawall::quarantine::QuarantineConfig;
use seawall::quorum::QuorumConfig;
use seawall::rate_limit::RateLimitConfig;
use seawall::retry::{Backoff, BudgetConfig, Growth, Jitter, RetryConfig};
use seawall::stack::{BalancedClientConfig, ClientConfig, ServerConfig};
use seawall::throttle::ThrottleConfig;

const TEN_YEARS: u128 = 10 * 365 * 24 * 3600 * 1_000_000_000;

/// From one nanosecond to ten years, with short and long durations equally likely.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..1_000_u64).prop_map(Duration::from_nanos),
        (1..100_000_u64).prop_map(Duration::from_millis),
        (1..=TEN_YEARS).prop_map(|nanos| Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)),
    ]
}

fn count() -> impl Strategy<Value = u32> {
    1..=u32::MAX
}

fn keys() -> impl Strategy<Value = usize> {
    1..=i64::MAX as usize
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Fifo), Just(Order::Lifo)]
}

fn deadline() -> impl Strategy<Value = DeadlineConfig> {
    (duration(), option::of(duration()), option::of(duration()), option::of(duration())).prop_map(
        |(timeout, head_timeout, idle_timeout, body_timeout)| DeadlineConfig {
            timeout,
            head_timeout,
            idle_timeout,
            body_timeout,
        },
    )
}

fn backoff() -> impl Strategy<Value = Backoff> {
    let growth = prop_oneof![
        Just(Growth::Constant),
        Just(Growth::Linear),
        (1.0..1e9).prop_map(Growth::Exponential),
        Just(Growth::Exponential(f64::MAX)),
    ];
    let jitter = prop_oneof![Just(Jitter::None), Just(Jitter::Full), Just(Jitter::Equal), Just(Jitter::Decorrelated)];
    (growth, duration(), duration(), jitter).prop_map(|(growth, one, other, jitter)| Backoff {
        growth,
        base: one.min(other),
        cap: one.max(other),
        jitter,
    })
}

fn budget() -> impl Strategy<Value = BudgetConfig> {
    let ratio = prop_oneof![Just(0.0), Just(1.0), 0.0001..1.0];
    let reserve = prop_oneof![Just(0.0), 0.001..1000.0];
    (ratio, 1_000..=60_000_u64, reserve, 1..=1000_u32).prop_map(|(ratio, ttl, reserve_per_second, reserve_burst)| {
        BudgetConfig { ratio, ttl: Duration::from_millis(ttl), reserve_per_second, reserve_burst }
    })
}

fn retry() -> impl Strategy<Value = RetryConfig> {
    (any::<[bool; 2]>(), count(), backoff(), budget(), option::of(duration()), duration(), duration(), keys()).prop_map(
        |(
            [enabled, attempt_spans],
            max_attempts,
            backoff,
            budget,
            attempt_timeout,
            max_retry_after,
            max_hold,
            max_keys,
        )| {
            RetryConfig {
                enabled,
                max_attempts,
                backoff,
                budget,
                attempt_timeout,
                max_retry_after,
                max_hold,
                attempt_spans,
                max_keys,
            }
        },
    )
}

fn turns() -> impl Strategy<Value = (Order, f64)> {
    (order(), 0.0..=0.5)
}

fn learned() -> impl Strategy<Value = (Limit, Option<Duration>)> {
    let limits = [Limit::Fixed, Limit::Learned, Limit::Aimd, Limit::Gradient, Limit::Vegas];
    (prop::sample::select(limits.to_vec()), option::of(duration()))
}

fn bulkhead() -> impl Strategy<Value = BulkheadConfig> {
    (any::<bool>(), count(), learned(), any::<u32>(), duration(), turns(), duration(), keys()).prop_map(
        |(
            enabled,
            max_concurrent,
            (limit, objective),
            max_waiting,
            max_wait,
            (order, low_priority_share),
            max_hold,
            max_keys,
        )| {
            BulkheadConfig {
                enabled,
                max_concurrent,
                limit,
                objective,
                max_waiting,
                max_wait,
                order,
                low_priority_share,
                max_hold,
                max_keys,
            }
        },
    )
}

fn load_shed() -> impl Strategy<Value = LoadShedConfig> {
    let max_lag = prop::option::of((1..=60_000_u64).prop_map(Duration::from_millis));
    (any::<bool>(), count(), learned(), 0.0..=1000.0, duration(), turns(), duration(), (keys(), max_lag)).prop_map(
        |(
            enabled,
            max_in_flight,
            (limit, objective),
            queue_ratio,
            max_wait,
            (order, low_priority_share),
            max_hold,
            (max_keys, max_lag),
        )| {
            LoadShedConfig {
                enabled,
                max_in_flight,
                limit,
                objective,
                queue_ratio,
                max_wait,
                order,
                low_priority_share,
                max_hold,
                max_keys,
                max_lag,
            }
        },
    )
}

fn hedge() -> impl Strategy<Value = HedgeConfig> {
    let learned = (0.001..0.999_f64, count(), 1..=3600_u64, 1..=30_000_u64, 0..=30_000_u64).prop_map(
        |(quantile, min_samples, half_life, min, more)| {
            let [min, max] = [min, min + more].map(Duration::from_millis);
            HedgeDelay::Learned(LearnedDelay {
                quantile,
                min_samples,
                half_life: Duration::from_secs(half_life),
                min,
                max,
            })
        },
    );
    let fixed = option::of(duration()).prop_map(|delay| HedgeDelay::Fixed(delay.unwrap_or_default()));
    let delay = prop_oneof![learned, fixed, Just(HedgeDelay::OnFailure)];
    (any::<bool>(), 1..=5_u32, delay, budget(), 0.001..=5.0_f64, duration(), duration(), keys()).prop_map(
        |(enabled, max_attempts, delay, budget, time_ratio, max_retry_after, max_hold, max_keys)| HedgeConfig {
            enabled,
            max_attempts,
            delay,
            budget,
            time_ratio,
            max_retry_after,
            max_hold,
            max_keys,
        },
    )
}

fn quorum() -> impl Strategy<Value = QuorumConfig> {
    (1..=32_u32, any::<u32>(), duration()).prop_map(|(endpoints, agree, max_hold)| QuorumConfig {
        endpoints,
        agree: 1 + agree % endpoints,
        max_hold,
    })
}

fn quarantine() -> impl Strategy<Value = QuarantineConfig> {
    (any::<bool>(), 2..=16_u32, [duration(), duration(), duration(), duration()], any::<u32>(), keys()).prop_map(
        |(enabled, endpoints, [window, duration, max_turn, max_hold], max_waiting, max_fingerprints)| {
            QuarantineConfig { enabled, endpoints, window, duration, max_turn, max_waiting, max_fingerprints, max_hold }
        },
    )
}

fn rate_limit() -> impl Strategy<Value = RateLimitConfig> {
    let per = (1..100_000_u64).prop_map(Duration::from_secs);
    (1..1_000_000_u32, per, option::of(1..1_000_u32), option::of(duration()), any::<u32>(), duration(), keys())
        .prop_map(|(permits, per, burst, max_wait, max_waiting, max_hold, max_keys)| RateLimitConfig {
            permits,
            per,
            burst,
            max_wait: max_wait.unwrap_or_default(),
            max_waiting,
            max_hold,
            max_keys,
        })
}

fn throttle() -> impl Strategy<Value = ThrottleConfig> {
    let times = [duration(), duration(), duration()];
    (any::<bool>(), times, 1.001..100.0, 0.001..0.999, keys()).prop_map(
        |(enabled, [window, interval, max_hold], multiplier, max_share, max_keys)| ThrottleConfig {
            enabled,
            window: window.max(Duration::from_nanos(2)),
            multiplier,
            max_share,
            probe_interval: interval.min(window / 2).max(Duration::from_nanos(1)),
            max_hold,
            max_keys,
        },
    )
}

fn circuit_breaker() -> impl Strategy<Value = CircuitBreakerConfig> {
    let rate = || prop_oneof![Just(1.0), 1e-9..1.0];
    let window = prop_oneof![
        duration().prop_map(|length| Window::Time(length.max(Duration::from_millis(10)))),
        (1_u32..=100_000).prop_map(Window::Calls),
    ];
    let opens = (window, 1..=1000_u32, rate(), option::of(rate()), option::of(duration()), option::of(count()));
    let slow = (1.0..1e9, duration(), any::<(bool, bool, bool)>());
    let breaks = (duration(), duration(), count(), 1.0..100.0, 0.0..=1.0, 1..=10_u32);
    (opens, slow, breaks, duration(), keys()).prop_map(|(opens, slow, breaks, max_hold, max_keys)| {
        let (window, minimum_calls, failure_rate, slow_rate, slow_after, consecutive_failures) = opens;
        let (slow_factor, slow_floor, (enabled, observe_only, unready_while_open)) = slow;
        let (one, other, short_breaks, break_growth, jitter, half_open_rounds) = breaks;
        let minimum_calls = match window {
            Window::Calls(calls) => minimum_calls.min(calls),
            _ => minimum_calls,
        };
        CircuitBreakerConfig {
            enabled,
            window,
            minimum_calls,
            failure_rate,
            slow_rate,
            slow_after,
            slow_factor,
            slow_floor,
            consecutive_failures,
            break_duration: one.min(other),
            short_breaks,
            break_growth,
            max_break: one.max(other),
            jitter,
            half_open_rounds,
            observe_only,
            unready_while_open,
            max_hold,
            max_keys,
        }
    })
}

fn propagation() -> impl Strategy<Value = PropagationConfig> {
    let header = |prefix: &'static str| {
        "[a-z0-9!#$%&'*+.^_`|~-]{0,20}"
            .prop_map(move |name: String| HeaderName::try_from(format!("{prefix}{name}")).unwrap())
    };
    let names = (header("t-"), vec(header("u-"), 0..4), header("a-"), header("p-"));
    let priority = prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High, Priority::Critical]);
    (names, option::of(duration()), duration(), priority, any::<bool>()).prop_map(
        |((timeout, also_understood, attempt, priority), allowance, max_timeout, max_priority, report_load)| {
            PropagationConfig {
                headers: HeaderNames { timeout, also_understood, attempt, priority },
                allowance: allowance.unwrap_or_default(),
                max_timeout,
                max_priority,
                report_load,
            }
        },
    )
}

/// The breaker of a stack is always ready.
fn client() -> impl Strategy<Value = ClientConfig> {
    let layers = (deadline(), retry(), throttle(), bulkhead(), circuit_breaker(), propagation());
    (layers, any::<bool>(), any::<u32>()).prop_map(
        |((deadline, retry, throttle, bulkhead, circuit_breaker, propagation), per_authority, max_unready)| {
            ClientConfig {
                deadline,
                retry,
                throttle,
                bulkhead,
                circuit_breaker: CircuitBreakerConfig { unready_while_open: false, ..circuit_breaker },
                propagation,
                per_authority,
                max_unready,
            }
        },
    )
}

fn balance() -> impl Strategy<Value = BalanceConfig> {
    let limits = (count(), any::<u32>(), duration(), turns(), keys());
    let slow_start = (option::of(duration()), 1e-3..1e3, 1e-3..=1.0).prop_map(|(window, aggression, min_weight)| {
        SlowStartConfig { window: window.unwrap_or_default(), aggression, min_weight }
    });
    let ejection = (any::<bool>(), duration(), duration(), duration(), 0..=100_u32).prop_map(
        |(enabled, interval, base_time, max_time, max_percent)| EjectionConfig {
            enabled,
            interval,
            base_time,
            max_time,
            max_percent,
        },
    );
    let tiers = (100..1000_u32, 0..=100_u32)
        .prop_map(|(overprovisioning, panic_below)| TierConfig { overprovisioning, panic_below });
    (circuit_breaker(), limits, slow_start, ejection, tiers).prop_map(
        |(
            circuit_breaker,
            (max_concurrent, max_waiting, max_wait, (order, low_priority_share), max_endpoints),
            slow_start,
            ejection,
            tiers,
        )| {
            BalanceConfig {
                circuit_breaker: CircuitBreakerConfig { unready_while_open: false, ..circuit_breaker },
                max_concurrent,
                max_waiting,
                max_wait,
                order,
                low_priority_share,
                slow_start,
                ejection,
                tiers,
                max_endpoints,
            }
        },
    )
}

fn balanced_client() -> impl Strategy<Value = BalancedClientConfig> {
    (deadline(), retry(), throttle(), hedge(), balance(), propagation(), any::<u32>()).prop_map(
        |(deadline, retry, throttle, hedge, balance, propagation, max_unready)| BalancedClientConfig {
            deadline,
            // In this stack both pay from the budget of the retries, which follow the failures.
            hedge: HedgeConfig {
                budget: retry.budget.clone(),
                delay: match hedge.delay {
                    HedgeDelay::OnFailure => HedgeDelay::default(),
                    delay => delay,
                },
                ..hedge
            },
            retry,
            throttle,
            balance,
            propagation,
            max_unready,
        },
    )
}

fn server() -> impl Strategy<Value = ServerConfig> {
    (propagation(), deadline(), 0.001..=1.0, load_shed(), any::<u32>()).prop_map(
        |(propagation, deadline, request_idle_share, load_shed, max_unready)| ServerConfig {
            propagation,
            deadline,
            request_idle_share,
            load_shed,
            max_unready,
        },
    )
}

fn whole() -> impl Strategy<Value = Config> {
    let name = || prop_oneof!["[a-z][a-z0-9_-]{0,8}", "[^\\s\\p{C}]{1,8}", "[0-9]{1,4}", Just("true".to_owned())];
    (btree_map(name(), client(), 0..3), btree_map(name(), balanced_client(), 0..2), btree_map(name(), server(), 0..3))
        .prop_map(|(client, mut balanced_client, mut server)| {
            balanced_client.retain(|name, _| !client.contains_key(name)); // a name is taken by one stack
            server.retain(|name, _| !client.contains_key(name) && !balanced_client.contains_key(name));
            Config { client, balanced_client, server }
        })
        .prop_filter("settings without any stack are a fault", |config| *config != Config::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn written_settings_are_read_back_unchanged(config in whole()) {
        let json = serde_json::to_string(&config).unwrap();
        let read: Config = serde_json::from_str::<Draft>(&json).unwrap().load().unwrap();
        prop_assert_eq!(&read, &config);
        prop_assert_eq!(&serde_json::from_str::<Config>(&json).unwrap(), &config);

        let toml = toml::to_string(&config).unwrap();
        prop_assert_eq!(&crate::load(&toml).unwrap(), &config, "{}", toml);
        prop_assert_eq!(&toml::from_str::<Config>(&toml).unwrap(), &config);

        let yaml = yaml_serde::to_string(&config).unwrap();
        let read: Config = config::load(yaml_serde::Deserializer::from_str(&yaml)).unwrap();
        prop_assert_eq!(&read, &config, "{}", yaml);
    }

    /// No stack contains these layers, so they are read alone.
    #[test]
    fn written_quarantine_is_read_back_unchanged(config in quarantine()) {
        let toml = toml::to_string(&config).unwrap();
        prop_assert_eq!(&crate::load_as::<QuarantineConfig>(&toml).unwrap(), &config, "{}", toml);
    }

    /// The same.
    #[test]
    fn written_hedge_and_quorum_are_read_back_unchanged(hedge in hedge(), quorum in quorum()) {
        let toml = toml::to_string(&hedge).unwrap();
        prop_assert_eq!(&crate::load_as::<HedgeConfig>(&toml).unwrap(), &hedge, "{}", toml);
        let toml = toml::to_string(&quorum).unwrap();
        prop_assert_eq!(&crate::load_as::<QuorumConfig>(&toml).unwrap(), &quorum, "{}", toml);
    }

    /// No stack contains a rate limit, so it is read alone.
    #[test]
    fn written_rate_limit_is_read_back_unchanged(config in rate_limit()) {
        let toml = toml::to_string(&config).unwrap();
        prop_assert_eq!(&crate::load_as::<RateLimitConfig>(&toml).unwrap(), &config, "{}", toml);
    }
}
