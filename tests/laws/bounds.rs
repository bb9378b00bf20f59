//! Every wait has a bound: the deadline, or the layer's own bound if there is no deadline. A layer without one of its own
//! waits as long as the service. No wait spins.

use std::task::Poll;
use std::time::Duration;

use seawall::deadline::DeadlineLayer;
use seawall::error::rejection;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt};

use crate::drive::Driven;
use crate::inner::{Answer, Difficult, Readiness};
use crate::layers::chaos_delayed;
use crate::subject::{Subject, ready};

/// The number of polls that a call of a silent service may take: some for each layer of a stack and for each attempt
/// of a retry, however long it waits.
const FEW: usize = 24;

every_layer!(
    wait_for_readiness_ends_within_the_bound,
    wait_for_the_answer_ends_within_the_bound,
    call_without_a_bound_waits_as_long_as_the_service,
    all_of_many_calls_end_within_the_bound,
    every_wait_ends_at_the_deadline,
    cut_call_releases_everything_at_once,
    number_of_waiting_calls_is_bounded,
    waiting_call_is_not_woken_needlessly,
    call_moved_to_another_task_is_woken_there,
);

/// The chaos layer bounds calls with a fault, and no others.
#[tokio::test(start_paused = true)]
async fn call_with_a_fault_is_bounded() {
    wait_for_readiness_ends_within_the_bound(chaos_delayed()).await;
    wait_for_the_answer_ends_within_the_bound(chaos_delayed()).await;
    all_of_many_calls_end_within_the_bound(chaos_delayed()).await;
    every_wait_ends_at_the_deadline(chaos_delayed()).await;
    cut_call_releases_everything_at_once(chaos_delayed()).await;
    number_of_waiting_calls_is_bounded(chaos_delayed()).await;
    waiting_call_is_not_woken_needlessly(chaos_delayed()).await;
    call_moved_to_another_task_is_woken_there(chaos_delayed()).await;
}

async fn wait_for_readiness_ends_within_the_bound(subject: Subject) {
    ends_within_the_bound(subject, Readiness::Never).await;
}

async fn wait_for_the_answer_ends_within_the_bound(subject: Subject) {
    ends_within_the_bound(subject, Readiness::AtOnce).await;
}

async fn ends_within_the_bound(subject: Subject, readiness: Readiness) {
    let value = subject.default();
    let before = value.gauges();
    let (mut service, longest) = subject.bounded(&value, Difficult::new(readiness, Answer::Never));
    let mut call = Driven::new(ready(&mut service).unwrap().call(7));
    let error = call.finish().await.unwrap_err();
    assert!(rejection(&error).is_some(), "{error}");
    assert!(call.age() <= longest, "the call took {:?}", call.age());
    assert!(call.polls() <= FEW && call.wakes() <= FEW, "{} polls, {} wakes", call.polls(), call.wakes());
    assert_eq!(value.gauges(), before);
}

async fn call_without_a_bound_waits_as_long_as_the_service(subject: Subject) {
    if subject.longest.is_some() {
        return;
    }
    let value = subject.default();
    for readiness in [Readiness::AtOnce, Readiness::Never] {
        let mut call = Driven::new(value.around(Difficult::new(readiness, Answer::Never)).call(7));
        assert!(call.poll().is_pending());
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(call.wakes(), 0, "{readiness:?}: nothing is timed");
    }
}

async fn all_of_many_calls_end_within_the_bound(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        let value = subject.tight().await;
        let before = value.gauges();
        let callee = Difficult::new(readiness, Answer::Never);
        let (census, slots) = (callee.census(), callee.slots());
        let (service, longest) = subject.bounded(&value, callee);
        let start = Instant::now();
        let mut crowd = Vec::new();
        for request in 0..20 {
            let mut call = Driven::new(service.clone().call(request));
            if call.poll().is_pending() {
                crowd.push(tokio::spawn(async move { (call.finish().await, call.polls()) }));
            }
        }
        for call in crowd {
            let (answer, polls) = call.await.unwrap();
            assert!(answer.is_err());
            assert!(polls <= FEW, "{readiness:?}: {polls} polls");
        }
        assert!(start.elapsed() <= 20 * longest, "{readiness:?}: the calls took {:?}", start.elapsed());
        assert_eq!(value.gauges(), before, "{readiness:?}");
        assert_eq!((census.futures(), census.readied(), slots.available_permits()), (0, 0, 1), "{readiness:?}");
    }
}

async fn every_wait_ends_at_the_deadline(subject: Subject) {
    const TIMEOUT: Duration = Duration::from_millis(10);
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        for answer in [Answer::Never, Answer::Fails] {
            let value = subject.tight().await;
            // One call holds the permit of the layer all the time, and one holds the slot of the service.
            let _other_call = value.occupy();
            let callee = Difficult::new(readiness, answer);
            let _slot = callee.slots().try_acquire_owned();
            let mut service = DeadlineLayer::new(TIMEOUT).unwrap().layer(value.around(callee)).boxed_clone();
            let mut call = Driven::new(ready(&mut service).unwrap().call(7));
            assert!(call.finish().await.is_err());
            assert!(call.age() <= TIMEOUT, "{readiness:?} {answer:?}: the call took {:?}", call.age());
        }
    }
}

async fn cut_call_releases_everything_at_once(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::Slots, Readiness::Never] {
        let value = subject.default();
        let before = value.gauges();
        let callee = Difficult::new(readiness, Answer::Never);
        let (census, slots) = (callee.census(), callee.slots());
        let (mut service, _) = subject.bounded(&value, callee);
        let mut call = Driven::new(ready(&mut service).unwrap().call(7));
        assert!(call.finish().await.is_err());
        // The caller has the error and still keeps the future.
        assert_eq!((census.futures(), census.readied(), slots.available_permits()), (0, 0, 1), "{readiness:?}");
        assert_eq!(value.gauges(), before, "{readiness:?}");
        drop(call);
    }
}

async fn number_of_waiting_calls_is_bounded(subject: Subject) {
    let value = subject.default();
    let before = value.gauges();
    let callee = Difficult::new(Readiness::Never, Answer::Never);
    let service = value.around(callee.clone());
    let mut rounds = [0, 0];
    for waiting in &mut rounds {
        let mut crowd = Vec::new();
        for request in 0..3000 {
            // Some frameworks apply a layer again for each request.
            let mut service = if request % 2 == 0 { service.clone() } else { value.around(callee.clone()) };
            let mut call = Driven::new(service.call(request));
            match call.poll() {
                Poll::Pending => crowd.push(call),
                Poll::Ready(answer) => assert!(rejection(&answer.unwrap_err()).is_some()),
            }
        }
        *waiting = crowd.len();
        drop(crowd);
        if !subject.returns_permits {
            advance(Duration::from_secs(3600)).await;
        }
    }
    assert!(rounds[0] > 0 && rounds[0] < 2000, "{} wait", rounds[0]);
    assert_eq!(rounds[1], rounds[0], "dropped calls have released their places in the queue");
    assert_eq!(value.gauges(), before);
}

async fn waiting_call_is_not_woken_needlessly(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        let value = subject.tight().await;
        // There is a wait in our queues, and one for the service.
        let _other_call = value.occupy();
        let callee = Difficult::new(readiness, Answer::Never);
        let _slot = callee.slots().try_acquire_owned();
        let mut call = Driven::new(value.around(callee).call(7));
        if call.poll().is_pending() {
            sleep(Duration::from_millis(40)).await;
            // A pooled timer may wake once for the call that it served before.
            assert!(call.wakes() <= 3, "{readiness:?}: woken {} times, and nothing has changed", call.wakes());
        }
    }
}

async fn call_moved_to_another_task_is_woken_there(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        let value = subject.tight().await;
        let callee = Difficult::new(readiness, Answer::Never);
        // For a while, one call holds the permit of the layer and one holds the slot of the service.
        let other_call = (value.occupy(), callee.slots().try_acquire_owned());
        let (mut service, longest) = subject.bounded(&value, callee);
        let mut call = Driven::new(service.call(7));
        if call.poll().is_ready() {
            continue;
        }
        call.move_to_another_task();
        assert!(call.poll().is_pending());
        sleep(Duration::from_millis(5)).await;
        drop(other_call);
        call.move_to_another_task();
        assert!(call.finish().await.is_err(), "the call is woken and ends");
        assert!(call.age() <= longest + Duration::from_secs(10), "{readiness:?}: the call took {:?}", call.age());
    }
}
