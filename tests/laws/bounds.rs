//! Every wait has a bound: of its own where there is no deadline, and the deadline where there is one. And nobody spins
//! while he waits.

use std::task::Poll;
use std::time::Duration;

use seawall::deadline::DeadlineLayer;
use seawall::error::rejection;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt};

use crate::drive::Driven;
use crate::inner::{Answer, Hard, Readiness};
use crate::subject::{Subject, ready};

/// What a call of a callee that never says anything may take in polls: some for each layer of a stack and for each
/// attempt of a retry, whatever the time.
const FEW: usize = 24;

every_layer!(
    a_callee_that_is_never_ready_is_not_waited_for_beyond_the_bound,
    a_callee_that_never_answers_is_not_waited_for_beyond_the_bound,
    no_call_of_a_crowd_waits_beyond_the_bound,
    every_wait_ends_at_the_deadline,
    what_is_cut_is_let_go_of_at_once,
    so_many_calls_wait_and_no_more,
    nobody_spins_while_he_waits,
    a_call_that_moves_to_another_task_is_woken_there,
);

async fn a_callee_that_is_never_ready_is_not_waited_for_beyond_the_bound(subject: Subject) {
    ends_within_the_bound(subject, Readiness::Never).await;
}

async fn a_callee_that_never_answers_is_not_waited_for_beyond_the_bound(subject: Subject) {
    ends_within_the_bound(subject, Readiness::AtOnce).await;
}

async fn ends_within_the_bound(subject: Subject, readiness: Readiness) {
    let value = subject.default();
    let before = value.gauges();
    let mut service = value.around(Hard::new(readiness, Answer::Never));
    let mut call = Driven::new(ready(&mut service).unwrap().call(7));
    let error = call.finish().await.unwrap_err();
    assert!(rejection(&error).is_some(), "{error}");
    assert!(call.age() <= subject.longest, "it took {:?}", call.age());
    assert!(call.polls() <= FEW && call.wakes() <= FEW, "{} polls, {} wakes", call.polls(), call.wakes());
    assert_eq!(value.gauges(), before);
}

async fn no_call_of_a_crowd_waits_beyond_the_bound(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        let value = subject.tight().await;
        let before = value.gauges();
        let callee = Hard::new(readiness, Answer::Never);
        let (census, slots) = (callee.census(), callee.slots());
        let service = value.around(callee);
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
        assert!(start.elapsed() <= 20 * subject.longest, "{readiness:?}: it took {:?}", start.elapsed());
        assert_eq!(value.gauges(), before, "{readiness:?}");
        assert_eq!((census.futures(), census.readied(), slots.available_permits()), (0, 0, 1), "{readiness:?}");
    }
}

async fn every_wait_ends_at_the_deadline(subject: Subject) {
    const TIMEOUT: Duration = Duration::from_millis(10);
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        for answer in [Answer::Never, Answer::Fails] {
            let value = subject.tight().await;
            // One call is in our way all the time, and one in the callee's.
            let _company = value.occupy();
            let callee = Hard::new(readiness, answer);
            let _slot = callee.slots().try_acquire_owned();
            let mut service = DeadlineLayer::new(TIMEOUT).unwrap().layer(value.around(callee)).boxed_clone();
            let mut call = Driven::new(ready(&mut service).unwrap().call(7));
            assert!(call.finish().await.is_err());
            assert!(call.age() <= TIMEOUT, "{readiness:?} {answer:?}: it took {:?}", call.age());
        }
    }
}

async fn what_is_cut_is_let_go_of_at_once(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::Slots, Readiness::Never] {
        let value = subject.default();
        let before = value.gauges();
        let callee = Hard::new(readiness, Answer::Never);
        let (census, slots) = (callee.census(), callee.slots());
        let mut service = value.around(callee);
        let mut call = Driven::new(ready(&mut service).unwrap().call(7));
        assert!(call.finish().await.is_err());
        // The caller has his error and keeps the future all the same.
        assert_eq!((census.futures(), census.readied(), slots.available_permits()), (0, 0, 1), "{readiness:?}");
        assert_eq!(value.gauges(), before, "{readiness:?}");
        drop(call);
    }
}

async fn so_many_calls_wait_and_no_more(subject: Subject) {
    let value = subject.default();
    let before = value.gauges();
    let callee = Hard::new(Readiness::Never, Answer::Never);
    let service = value.around(callee.clone());
    let mut rounds = [0, 0];
    for waiting in &mut rounds {
        let mut crowd = Vec::new();
        for request in 0..3000 {
            // There are frameworks that apply a layer anew for each request.
            let mut service = if request % 2 == 0 { service.clone() } else { value.around(callee.clone()) };
            let mut call = Driven::new(service.call(request));
            match call.poll() {
                Poll::Pending => crowd.push(call),
                Poll::Ready(answer) => assert!(rejection(&answer.unwrap_err()).is_some()),
            }
        }
        *waiting = crowd.len();
        drop(crowd);
        if !subject.has_room_again {
            advance(Duration::from_secs(3600)).await;
        }
    }
    assert!(rounds[0] > 0 && rounds[0] < 2000, "{} wait", rounds[0]);
    assert_eq!(rounds[1], rounds[0], "the places of those who have left are free again");
    assert_eq!(value.gauges(), before);
}

async fn nobody_spins_while_he_waits(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        let value = subject.tight().await;
        // Something to wait for in our queues, and in the callee's.
        let _company = value.occupy();
        let callee = Hard::new(readiness, Answer::Never);
        let _slot = callee.slots().try_acquire_owned();
        let mut call = Driven::new(value.around(callee).call(7));
        if call.poll().is_pending() {
            sleep(Duration::from_millis(40)).await;
            // A pooled timer may ring once for the call that it served before.
            assert!(call.wakes() <= 3, "{readiness:?}: woken {} times, and nothing has changed", call.wakes());
        }
    }
}

async fn a_call_that_moves_to_another_task_is_woken_there(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        let value = subject.tight().await;
        let callee = Hard::new(readiness, Answer::Never);
        // In its way for a while are a call in our room, and one in the callee's.
        let company = (value.occupy(), callee.slots().try_acquire_owned());
        let mut call = Driven::new(value.around(callee).call(7));
        if call.poll().is_ready() {
            continue;
        }
        call.move_to_another_task();
        assert!(call.poll().is_pending());
        sleep(Duration::from_millis(5)).await;
        drop(company);
        call.move_to_another_task();
        assert!(call.finish().await.is_err(), "it ends, and nobody has forgotten to wake it");
        assert!(call.age() <= subject.longest + Duration::from_secs(10), "{readiness:?}: it took {:?}", call.age());
    }
}
