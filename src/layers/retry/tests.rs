use std::future::{Future, ready};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tower::{BoxError, Layer, Service, service_fn};

use super::*;
use crate::ground::stopwatch::Stopwatch;
use crate::ground::sync::Arc;
use crate::ground::time;

/// An outer layer must not count our backoff as the dependency's latency.
#[tokio::test(start_paused = true)]
async fn backoff_is_not_dependency_time() {
    let second = Duration::from_secs(1);
    let backoff = Backoff { jitter: Jitter::None, ..Backoff::constant(second) };
    let layer = RetryLayer::new(RetryConfig { backoff, ..RetryConfig::default() }).unwrap();
    let mut service = layer.layer(service_fn(|()| ready(Err::<(), BoxError>("down".into()))));
    let mut watch = Stopwatch::start(time::now());
    let mut call = pin!(service.call(()));
    let mut cx = Context::from_waker(Waker::noop());
    for rests in [true, true, false] {
        assert_eq!(watch.watch(|| call.as_mut().poll(&mut cx)).is_pending(), rests);
        if rests {
            tokio::time::advance(second + Duration::from_millis(1)).await;
        }
    }
    assert_eq!(watch.elapsed(time::now()), Duration::ZERO);
}

/// A budget that is made during a reload, or belongs to another layer value with the same rules.
#[tokio::test(start_paused = true)]
async fn budget_that_no_reload_visits_applies_changed_rules() {
    let visited = Budget::new(BudgetConfig::default()).unwrap();
    let other = Budget::by(Arc::clone(visited.rules()));
    visited.reload(&BudgetConfig { ratio: 1.0, reserve_burst: 3, ..BudgetConfig::default() }).unwrap();
    assert_eq!((visited.balance(), other.balance()), (3, 3));
    other.deposit(time::now());
    assert_eq!((visited.balance(), other.balance()), (3, 4));
}

#[tokio::test(start_paused = true)]
async fn withdrawal_survives_a_reload() {
    let budget = Budget::new(BudgetConfig::default()).unwrap();
    let [sent, unsent] = [true, false].map(|sent| {
        let mut withdrawal = budget.withdraw(time::now()).unwrap();
        withdrawal.mark(sent);
        withdrawal
    });
    assert_eq!(budget.balance(), 8);
    budget.reload(&BudgetConfig { reserve_per_second: 0.5, ..BudgetConfig::default() }).unwrap();
    drop(unsent);
    assert_eq!(budget.balance(), 9);
    drop(sent);
    assert_eq!(budget.balance(), 9);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(budget.balance(), 9, "it grows back at the new rate");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(budget.balance(), 10);
}
