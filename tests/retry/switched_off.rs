//! Retries that are switched off by a setting, with the layer still in place.

use std::future::pending;

use seawall::error::{Reason, rejection};
use seawall::registry::{Condition, Registry};
use seawall::retry::{BudgetConfig, Stop, report};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use super::*;

fn off() -> RetryConfig {
    let budget = BudgetConfig { ratio: 1.0, reserve_per_second: 0.0, ..BudgetConfig::default() };
    RetryConfig { enabled: false, attempt_timeout: Some(millis(50)), budget, ..every_second() }
}

#[tokio::test(start_paused = true)]
async fn disabled_retry_makes_one_attempt_without_its_timeout() {
    let log = Log::default();
    let layer = layer(off());
    let (answer, told) = report(layer.layer(failing(&log)).oneshot(())).await;
    assert_eq!((answer.unwrap_err().to_string(), log.attempts()), ("failure 1".to_owned(), vec![1]));
    assert_eq!(told.map(|told| (told.attempts, told.stopped)), Some((1, Stop::Attempts)));
    let slow = callee(&log, |n| async move {
        sleep(SECOND).await;
        Ok(n)
    });
    assert_eq!(layer.layer(slow).oneshot(()).await.unwrap(), 1);
    assert_eq!(layer.budget().balance(), 0, "calls deposit nothing");
}

/// Every wait has a bound, with or without retries.
#[tokio::test(start_paused = true)]
async fn call_without_a_deadline_ends_at_max_hold() {
    let hanging = service_fn(|()| pending::<Result<(), BoxError>>());
    let config = RetryConfig { max_hold: 5 * SECOND, ..off() };
    let error = layer(config).layer(hanging).oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::HoldExceeded));
}

/// The attempt number comes from the retry layer that makes attempts.
#[tokio::test(start_paused = true)]
async fn outer_retry_numbers_the_attempts() {
    let log = Log::default();
    let inner = layer(off());
    let service = layer(every_second()).layer(inner.layer(failing(&log)));
    assert_eq!(service.oneshot(()).await.unwrap_err().to_string(), "failure 3");
    assert_eq!(log.attempts(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn reload_switches_retries_on_and_off() {
    let registry = Registry::new();
    let layer = layer(RetryConfig { enabled: false, ..every_second() }).named_in(&registry, "payments").unwrap();
    let is_on = || match &registry.snapshot().components[0].condition {
        Condition::Retry(retry) => (retry.enabled, retry.max_attempts),
        other => panic!("{other:?}"),
    };
    for (enabled, attempts) in [(false, 1), (true, 3), (false, 1)] {
        layer.reload(&RetryConfig { enabled, ..every_second() }).unwrap();
        assert_eq!((layer.config().enabled, is_on()), (enabled, (enabled, attempts)));
        let log = Log::default();
        let _ = layer.layer(failing(&log)).oneshot(()).await;
        assert_eq!(log.attempts().len(), attempts as usize);
    }
    let Condition::Retry(retry) = &registry.snapshot().components[0].condition.clone() else { panic!("a retry") };
    assert_eq!(retry.not_retried.get("attempts"), Some(&1), "no retry was wanted while retries were off");
}
