//! What hedges cost, and which budget pays.

use std::future::pending;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::retry::{Budget, RetryConfig, RetryLayer, Stop, report};
use tokio::time::timeout;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

#[tokio::test(start_paused = true)]
async fn exhausted_budget_makes_no_hedge() {
    let layer = layer(HedgeConfig { budget: reserve(1), ..fixed() });
    for attempts in [2, 1, 1] {
        let log = Log::default();
        assert_eq!(layer.layer(taking(&log, &[50])).oneshot(()).await.unwrap(), 1);
        assert_eq!(log.attempts().len(), attempts);
    }
    let log = Log::default();
    let failing = callee(&log, |_| async { Err("down".into()) });
    let (answer, told) = report(layer.layer(failing).oneshot(())).await;
    assert_eq!((answer.unwrap_err().to_string().as_str(), log.attempts().len()), ("down", 1));
    assert_eq!(told.map(|told| told.stopped), Some(Stop::Budget));
}

#[tokio::test(start_paused = true)]
async fn retries_and_hedges_pay_from_one_budget() {
    let budget = Budget::new(reserve(10)).unwrap();
    let retry = RetryLayer::new(RetryConfig { max_attempts: 2, ..RetryConfig::default() }).unwrap();
    let log = Log::default();
    let slow_failure = callee(&log, |attempt| async move {
        tokio::time::sleep(millis(15 + u64::from(attempt))).await;
        Err("down".into())
    });
    let service = ServiceBuilder::new()
        .layer(retry.with_budget(budget.clone()))
        .layer(layer(fixed()).with_budget(budget.clone()))
        .service(slow_failure);
    assert_eq!(service.oneshot(()).await.unwrap_err().to_string(), "down");
    assert_eq!((log.attempts(), budget.balance()), (vec![1, 2, 1, 2], 7), "a retry and two hedges");
}

/// Otherwise a retry and a hedge of one call would earn twice the ratio.
#[tokio::test(start_paused = true)]
async fn shared_budget_gets_one_deposit_a_call() {
    let earning = BudgetConfig { ratio: 0.5, reserve_per_second: 0.0, ..BudgetConfig::default() };
    let calls = async |retries: bool| {
        let budget = Budget::new(earning.clone()).unwrap();
        let config = RetryConfig { enabled: retries, ..RetryConfig::default() };
        let service = ServiceBuilder::new()
            .layer(RetryLayer::new(config).unwrap().with_budget(budget.clone()))
            .layer(layer(fixed()).with_budget(budget.clone()))
            .service(taking(&Log::default(), &[0; 2]));
        for _ in 0..20 {
            service.clone().oneshot(()).await.unwrap();
        }
        budget.balance()
    };
    assert_eq!((calls(true).await, calls(false).await), (10, 10));
}

/// A hedge that waits in a queue of ours when the first attempt answers was never sent.
#[tokio::test(start_paused = true)]
async fn unsent_hedge_is_refunded() {
    let layer = layer(HedgeConfig { budget: reserve(10), ..fixed() });
    let bulkhead = BulkheadConfig { max_concurrent: 1, max_wait: SECOND, ..BulkheadConfig::default() };
    let log = Log::default();
    let service =
        ServiceBuilder::new().layer(&layer).layer(BulkheadLayer::new(bulkhead).unwrap()).service(taking(&log, &[50]));
    assert_eq!(service.oneshot(()).await.unwrap(), 1);
    assert_eq!((log.attempts(), layer.budget().balance()), (vec![1], 10));
}

/// A hedge of a call that waits in a queue of ours would only lengthen the queue.
#[tokio::test(start_paused = true)]
async fn call_that_was_not_sent_is_not_hedged() {
    let layer = layer(HedgeConfig { budget: reserve(10), ..fixed() });
    let bulkhead =
        BulkheadLayer::new(BulkheadConfig { max_concurrent: 1, max_wait: 10 * SECOND, ..BulkheadConfig::default() });
    let bulkhead = bulkhead.unwrap();
    let occupied = tokio::spawn(timeout(SECOND, bulkhead.layer(callee(&Log::default(), |_| pending())).oneshot(())));
    tokio::task::yield_now().await;
    let log = Log::default();
    let service = ServiceBuilder::new().layer(&layer).layer(&bulkhead).service(taking(&log, &[5]));
    assert_eq!(service.oneshot(()).await.unwrap(), 1);
    assert_eq!((log.attempts(), layer.budget().balance()), (vec![1], 10));
    assert!(occupied.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn hedges_stay_within_the_ratio() {
    let budget = BudgetConfig { ratio: 0.1, reserve_per_second: 0.0, ..BudgetConfig::default() };
    let log = Log::default();
    let service = layer(HedgeConfig { budget, ..fixed() }).layer(taking(&log, &[12, 12]));
    for _ in 0..1000 {
        service.clone().oneshot(()).await.unwrap();
    }
    let hedges = log.attempts().len() - 1000;
    assert!((95..=100).contains(&hedges), "{hedges}");
}

/// A hedge that wins has helped, and one that fails has not. One that loses the race says nothing: the first attempt was not as slow as
/// it seemed.
#[tokio::test(start_paused = true)]
async fn hedges_that_fail_become_rare() {
    let share = async |first: u64, hedge: Result<u64, &'static str>| {
        let budget = Budget::new(BudgetConfig { ratio: 1.0, ..BudgetConfig::default() }).unwrap();
        let service =
            layer(fixed()).with_budget(budget.clone()).layer(callee(&Log::default(), move |attempt| async move {
                match hedge {
                    _ if attempt == 1 => tokio::time::sleep(millis(first)).await,
                    Ok(takes) => tokio::time::sleep(millis(takes)).await,
                    Err(failure) => return Err(failure.into()),
                }
                Ok(attempt)
            }));
        for _ in 0..3000 {
            service.clone().oneshot(()).await.unwrap();
        }
        budget.granted_share()
    };
    assert!((share(50, Ok(1)).await - 1.0).abs() < 1e-9);
    assert!((share(50, Ok(1000)).await - 1.0).abs() < 1e-9);
    assert!((share(50, Err("down")).await - 0.05).abs() < 1e-9);
}
