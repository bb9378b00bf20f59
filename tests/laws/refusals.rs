//! A refusal is cheap, typed and at once; and what refuses is the layer value, whoever is behind it.

use std::task::Poll;
use std::time::Duration;

use seawall::error::{Reason, rejection};
use tower::Service;

use crate::drive::{Driven, past_its_deadline};
use crate::inner::{Answer, Hard, Readiness};
use crate::subject::{Subject, Value, ready};

every_layer!(
    a_refusal_comes_within_one_poll,
    a_call_without_time_left_is_refused_or_ended_at_once,
    one_layer_value_has_one_state_however_often_it_is_applied,
    a_refusal_lets_go_of_a_readied_callee,
    a_refusal_leaves_the_queue_for_a_callee_s_readiness,
    who_waits_for_us_lets_go_of_a_readied_callee,
);

async fn a_refusal_comes_within_one_poll(subject: Subject) {
    let value = subject.tight().await;
    let Some(_trouble) = value.exhaust().await else {
        assert!(!subject.refuses);
        return;
    };
    for readiness in [Readiness::AtOnce, Readiness::AfterPolls(1), Readiness::Never, Readiness::Slots] {
        let callee = Hard::new(readiness, Answer::AtOnce);
        let census = callee.census();
        let mut service = value.around(callee);
        let Poll::Ready(Err(error)) = Driven::new(ready(&mut service).unwrap().call(7)).poll() else {
            panic!("{readiness:?}: not refused at once")
        };
        assert!(rejection(&error).is_some(), "{readiness:?}: {error}");
        assert_eq!(census.calls(), 0, "{readiness:?}: nothing is sent");
    }
}

async fn a_call_without_time_left_is_refused_or_ended_at_once(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        let value = subject.tight().await;
        let callee = Hard::new(readiness, Answer::Never);
        let (census, slots) = (callee.census(), callee.slots());
        let mut service = value.around(callee);
        let service = past_its_deadline(async move {
            let mut call = Driven::new(ready(&mut service).unwrap().call(7));
            let error = call.finish().await.unwrap_err();
            let reason = rejection(&error).unwrap().reason();
            let expired = [Reason::DeadlineExpired, Reason::DeadlineExceeded];
            assert!(expired.contains(&reason), "{readiness:?}: {reason:?}");
            assert_eq!(call.age(), Duration::ZERO, "{readiness:?}");
            service
        })
        .await;
        assert_eq!((census.futures(), census.readied(), slots.available_permits()), (0, 0, 1), "{readiness:?}");
        drop(service);
    }
}

async fn one_layer_value_has_one_state_however_often_it_is_applied(subject: Subject) {
    let value = subject.tight().await;
    let untroubled = value.around(Hard::new(Readiness::AtOnce, Answer::AtOnce));
    // Every call of the trouble came through an application of its own.
    let trouble = value.exhaust().await;
    assert_eq!(trouble.is_some(), subject.refuses);
    if subject.refuses {
        let again = value.around(Hard::new(Readiness::AtOnce, Answer::AtOnce));
        for mut service in [untroubled.clone(), untroubled, again] {
            let answer = Driven::new(service.call(7)).poll();
            assert!(matches!(answer, Poll::Ready(Err(_))), "{answer:?}");
        }
        let other = subject.tight().await;
        assert!(other.serves(), "another value has a state of its own");
    }
}

/// A value that refuses the next call, and what keeps it in that state.
async fn refusing(subject: &Subject) -> Option<(Value, Vec<Driven<crate::subject::Call>>)> {
    let value = subject.tight().await;
    let trouble = value.exhaust().await?;
    Some((value, trouble))
}

async fn a_refusal_lets_go_of_a_readied_callee(subject: Subject) {
    let (value, _trouble) = match refusing(&subject).await {
        Some(refusing) => refusing,
        None => (subject.tight().await, Vec::new()),
    };
    let callee = Hard::new(Readiness::Slots, Answer::Never);
    let (census, slots) = (callee.census(), callee.slots());
    let mut service = value.around(callee);
    let refused = async move {
        ready(&mut service).unwrap();
        let mut call = Driven::new(service.call(7));
        assert!(call.finish().await.is_err());
        (service, call)
    };
    // What refuses nothing else refuses what is too late.
    let kept = if subject.refuses { refused.await } else { past_its_deadline(refused).await };
    assert_eq!((census.readied(), slots.available_permits()), (0, 1), "the slot is free while the service is kept");
    drop(kept);
}

async fn a_refusal_leaves_the_queue_for_a_callee_s_readiness(subject: Subject) {
    let (value, _trouble) = match refusing(&subject).await {
        Some(refusing) => refusing,
        None => (subject.tight().await, Vec::new()),
    };
    let callee = Hard::new(Readiness::Slots, Answer::Never);
    let slots = callee.slots();
    let taken = slots.clone().try_acquire_owned().unwrap();
    let mut service = value.around(callee);
    let refused = async move {
        // Readiness is asked for, and is not there: the value stands in the callee's queue.
        ready(&mut service).unwrap();
        let mut call = Driven::new(service.call(7));
        assert!(call.finish().await.is_err());
        (service, call)
    };
    let kept = if subject.refuses { refused.await } else { past_its_deadline(refused).await };
    drop(taken);
    assert_eq!(slots.available_permits(), 1, "nobody who was refused takes the slot that comes free");
    drop(kept);
}

async fn who_waits_for_us_lets_go_of_a_readied_callee(subject: Subject) {
    let value = subject.tight().await;
    let _company = value.occupy();
    let callee = Hard::new(Readiness::Slots, Answer::Never);
    let (census, slots) = (callee.census(), callee.slots());
    let mut service = value.around(callee);
    ready(&mut service).unwrap();
    let mut call = Driven::new(service.call(7));
    let waits = call.poll().is_pending() && census.calls() == 0;
    let is_there_a_queue = value.gauges().iter().any(|(gauge, _)| *gauge == "waiting");
    assert_eq!(waits, is_there_a_queue);
    if waits {
        assert_eq!((census.readied(), slots.available_permits()), (0, 1), "others may have the slot meanwhile");
    }
}
