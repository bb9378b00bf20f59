//! When a caller drops its call, all tiers drop theirs.

use super::*;

#[tokio::test(start_paused = true)]
async fn dropping_the_first_call_drops_the_last_handler() {
    let (begun, dropped) = (Count::default(), Count::default());
    let (began, drops) = (begun.clone(), dropped.clone());
    let third = tier(move || hang(&began, &drops)).await;
    let second = relay(retrying(RetryLayer::http(retries()).unwrap()), third).await;
    let first = relay(retrying(RetryLayer::http(retries()).unwrap()), second).await;

    let call = tokio::spawn(async move { get(&bare(), first).await.map(|answer| answer.status) });
    eventually("the last tier is reached", || begun.get() == 1).await;
    assert_eq!(dropped.get(), 0);
    call.abort();
    eventually("the last handler is dropped", || dropped.get() == 1).await;
    assert_eq!(begun.get(), 1, "no tier retries for a dropped call");
}
