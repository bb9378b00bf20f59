//! Dropping is cancelling: at every await point, it releases everything at once.

use std::sync::Arc;
use std::time::Duration;

use seawall::retry::{BudgetConfig, RetryConfig, RetryLayer};
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, Service};

use crate::drive::Driven;
use crate::inner::{Answer, Difficult, Readiness};
use crate::subject::{Subject, ready};

const SOON: Duration = Duration::from_millis(10);

const READINESS: [Readiness; 6] = [
    Readiness::AtOnce,
    Readiness::AfterPolls(2),
    Readiness::After(SOON),
    Readiness::Never,
    Readiness::Slots,
    Readiness::Fails,
];

const ANSWERS: [Answer; 6] = [
    Answer::AtOnce,
    Answer::AfterPolls(2),
    Answer::After(SOON),
    Answer::Never,
    Answer::Fails,
    Answer::FailsAfter(SOON),
];

/// Whether another call occupies the layer, until some time into the tested call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum OtherCall {
    None,
    ForAWhile,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    readiness: Readiness,
    answer: Answer,
    other_call: OtherCall,
}

/// When a call is dropped: right after a poll, or after a wake-up and before the next poll. In the second case it may
/// have been granted something in between.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Polled,
    Woken,
}

every_layer!(
    call_dropped_at_any_poll_releases_everything,
    unpolled_call_releases_everything,
    gauges_show_a_call_while_it_lasts,
);

async fn call_dropped_at_any_poll_releases_everything(subject: Subject) {
    for readiness in READINESS {
        for answer in ANSWERS {
            for other_call in [OtherCall::None, OtherCall::ForAWhile] {
                let case = Case { readiness, answer, other_call };
                for moment in [Moment::Polled, Moment::Woken] {
                    let mut polls = 0;
                    while drop_after(polls, moment, &subject, case).await {
                        polls += 1;
                        assert!(polls < 100, "{case:?} never completes");
                    }
                    assert!(polls > 0, "{case:?} completed before it was polled");
                }
            }
        }
    }
}

/// Drops a call after this many polls and checks that it leaves nothing. Returns false if the call completed before.
async fn drop_after(polls: usize, moment: Moment, subject: &Subject, case: Case) -> bool {
    let Case { readiness, answer, other_call } = case;
    let case = format!("{case:?}, dropped after {polls} polls, when {moment:?}");
    let value = subject.tight().await;
    let alone = value.gauges();
    let callee = Difficult::new(readiness, answer);
    let (census, slots) = (callee.census(), callee.slots());
    let (mut service, _) = subject.bounded(&value, callee);

    // The other call holds the layer's permit, and its slot delays our readiness; both are released after a while.
    let other_call =
        (other_call == OtherCall::ForAWhile).then(|| (value.occupy().0, Arc::clone(&slots).try_acquire_owned()));
    let accompanied = value.gauges();
    let other_call = tokio::spawn(async move {
        if other_call.is_some() {
            sleep(2 * SOON).await;
        }
        drop(other_call);
    });
    tokio::task::yield_now().await;

    let Ok(readied) = ready(&mut service) else {
        // A service that fails to become ready returns the error from `poll_ready`, and there is no call.
        assert_eq!(readiness, Readiness::Fails, "{case}");
        return polls == 0;
    };
    let mut call = Driven::new(readied.call(7));
    let mut over = false;
    for _ in 0..polls {
        over = call.step().await.is_ready();
        if over {
            break;
        }
    }
    if moment == Moment::Woken && !over {
        let _ = timeout(10 * SOON, call.woken()).await;
    }
    let early = call.age() <= 2 * SOON;
    drop(call);
    let before = if other_call.is_finished() { &alone } else { &accompanied };
    assert_eq!(value.gauges(), *before, "{case}");
    assert_eq!((census.futures(), census.readied()), (0, 0), "{case}: futures and readied callees");
    assert_eq!(census.called_unready(), 0, "{case}: calls of a callee that was not ready");

    other_call.abort();
    let _ = other_call.await;
    assert_eq!(value.gauges(), alone, "{case}");
    assert_eq!(slots.available_permits(), 1, "{case}: slots of the callee");
    let says_nothing = early && !over && !matches!(answer, Answer::Fails | Answer::FailsAfter(_));
    if subject.returns_permits && says_nothing {
        assert!(value.serves(), "{case}: the layer has no free permit");
    }
    advance(Duration::from_secs(3600)).await;
    assert!(value.serves(), "{case}: later calls are not served");
    !over
}

async fn unpolled_call_releases_everything(subject: Subject) {
    let value = subject.tight().await;
    let before = value.gauges();
    for _ in 0..100 {
        let callee = Difficult::new(Readiness::AtOnce, Answer::AtOnce);
        let mut service = value.around(callee);
        drop(ready(&mut service).unwrap().call(7));
        assert_eq!(value.gauges(), before);
    }
    advance(Duration::from_secs(3600)).await;
    assert!(value.serves());
}

/// A dropped call pays for the attempts that it sent, and for no more.
#[tokio::test(start_paused = true)]
async fn retry_dropped_before_it_is_sent_costs_nothing() {
    let budget = BudgetConfig { ratio: 0.0, reserve_per_second: 0.001, ..BudgetConfig::default() };
    for readiness in [Readiness::AtOnce, Readiness::AfterPolls(2), Readiness::After(SOON)] {
        for answer in [Answer::Fails, Answer::FailsAfter(SOON), Answer::PanicsInPoll] {
            for polls in 0..20 {
                let layer = RetryLayer::new(RetryConfig { budget: budget.clone(), ..RetryConfig::default() }).unwrap();
                let callee = Difficult::new(readiness, answer);
                let census = callee.census();
                let mut call = Driven::new(layer.layer(callee).call(7));
                for _ in 0..polls {
                    if answer == Answer::PanicsInPoll {
                        call.poll_panics();
                    } else if call.step().await.is_ready() {
                        break;
                    }
                }
                drop(call);
                let retries = census.calls().saturating_sub(1);
                let case = format!("{readiness:?} {answer:?}, dropped after {polls} polls");
                assert_eq!(layer.budget().balance() as usize, 10 - retries, "{case}");
            }
        }
    }
}

async fn gauges_show_a_call_while_it_lasts(subject: Subject) {
    let value = subject.tight().await;
    let before = value.gauges();
    let occupied = [value.occupy(), value.occupy()];
    assert_eq!(value.gauges() == before, before.is_empty(), "{before:?}");
    drop(occupied);
    assert_eq!(value.gauges(), before);
}
