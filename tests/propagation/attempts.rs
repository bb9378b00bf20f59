//! Which attempt number travels, and how it affects the budget of the receiving tier.

use std::sync::{Arc, Mutex};

use seawall::retry::{Budget, BudgetConfig};

use super::*;

/// A tier that always fails, and the attempt numbers that it received.
async fn failing() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&numbers);
    let address = tier(move |headers: HeaderMap| async move {
        let number = headers.get("x-envoy-attempt-count").map_or("none", |value| value.to_str().unwrap());
        seen.lock().unwrap().push(number.to_owned());
        StatusCode::INTERNAL_SERVER_ERROR
    })
    .await;
    (address, numbers)
}

#[tokio::test(start_paused = true)]
async fn attempt_numbers_continue_from_the_tier_above() {
    let (last, numbers) = failing().await;
    let above = relay(retrying(RetryLayer::http(retries()).unwrap()), last).await;
    send(&bare(), above, &[]).await.unwrap();
    assert_eq!(std::mem::take(&mut *numbers.lock().unwrap()), ["none", "2", "3"]);
    send(&bare(), above, &[("x-envoy-attempt-count", "2")]).await.unwrap();
    assert_eq!(*numbers.lock().unwrap(), ["2", "3", "4"], "all of them repeat the first attempt of the tier above");
}

#[tokio::test(start_paused = true)]
async fn tier_without_a_retry_passes_on_the_number() {
    let (last, numbers) = failing().await;
    let above = relay(injecting(), last).await;
    send(&bare(), above, &[("x-envoy-attempt-count", "3")]).await.unwrap();
    send(&bare(), above, &[]).await.unwrap();
    assert_eq!(*numbers.lock().unwrap(), ["3", "none"]);
}

#[tokio::test(start_paused = true)]
async fn larger_existing_attempt_number_stays() {
    let (last, numbers) = failing().await;
    let client = retrying(RetryLayer::http(RetryConfig { max_attempts: 2, ..retries() }).unwrap());
    send(&client, last, &[("x-envoy-attempt-count", "2")]).await.unwrap();
    assert_eq!(*numbers.lock().unwrap(), ["2", "2"]);
}

#[tokio::test(start_paused = true)]
async fn attempt_of_another_tier_earns_no_retries() {
    let fine = tier(|| async { "fine" }).await;
    let budget = Budget::new(BudgetConfig { reserve_per_second: 0.0, ..BudgetConfig::default() }).unwrap();
    let above = relay(retrying(RetryLayer::http(retries()).unwrap().with_budget(budget.clone())), fine).await;
    for _ in 0..20 {
        assert_eq!(send(&bare(), above, &[("x-envoy-attempt-count", "2")]).await.unwrap().status, 200);
    }
    assert_eq!(budget.balance(), 0);
    for _ in 0..20 {
        assert_eq!(send(&bare(), above, &[("x-envoy-attempt-count", "1")]).await.unwrap().status, 200);
    }
    assert_eq!(budget.balance(), 2);
}
