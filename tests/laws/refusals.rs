//! A refusal is cheap, typed and immediate, and its state belongs to the layer value, not to the service behind it.

use std::task::Poll;
use std::time::Duration;

use seawall::error::{Reason, rejection};
use tower::Service;

use crate::drive::{Driven, past_its_deadline};
use crate::inner::{Answer, Difficult, Readiness};
use crate::subject::{Subject, Value, ready};

every_layer!(
    refusal_takes_one_poll,
    call_without_time_left_ends_at_once,
    one_layer_value_has_one_state,
    refusal_releases_a_readied_service,
    refusal_leaves_the_readiness_queue,
    queued_call_releases_a_readied_service,
);

async fn refusal_takes_one_poll(subject: Subject) {
    let value = subject.tight().await;
    let Some(_trouble) = value.exhaust().await else {
        assert!(!subject.refuses);
        return;
    };
    for readiness in [Readiness::AtOnce, Readiness::AfterPolls(1), Readiness::Never, Readiness::Slots] {
        let callee = Difficult::new(readiness, Answer::AtOnce);
        let census = callee.census();
        let mut service = value.around(callee);
        let Poll::Ready(Err(error)) = Driven::new(ready(&mut service).unwrap().call(7)).poll() else {
            panic!("{readiness:?}: the refusal took more than one poll")
        };
        assert!(rejection(&error).is_some(), "{readiness:?}: {error}");
        assert_eq!(census.calls(), 0, "{readiness:?}: nothing is sent");
    }
}

async fn call_without_time_left_ends_at_once(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        let value = subject.tight().await;
        let callee = Difficult::new(readiness, Answer::Never);
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

async fn one_layer_value_has_one_state(subject: Subject) {
    let value = subject.tight().await;
    let untroubled = value.around(Difficult::new(Readiness::AtOnce, Answer::AtOnce));
    // `exhaust` applied the layer anew for each of its calls.
    let trouble = value.exhaust().await;
    assert_eq!(trouble.is_some(), subject.refuses);
    if subject.refuses {
        let again = value.around(Difficult::new(Readiness::AtOnce, Answer::AtOnce));
        for mut service in [untroubled.clone(), untroubled, again] {
            let answer = Driven::new(service.call(7)).poll();
            assert!(matches!(answer, Poll::Ready(Err(_))), "{answer:?}");
        }
        let other = subject.tight().await;
        assert!(other.serves(), "another layer value has its own state");
    }
}

/// A value that refuses the next call, and the calls that keep it in that state.
async fn refusing(subject: &Subject) -> Option<(Value, Vec<Driven<crate::subject::Call>>)> {
    let value = subject.tight().await;
    let trouble = value.exhaust().await?;
    Some((value, trouble))
}

async fn refusal_releases_a_readied_service(subject: Subject) {
    let (value, _trouble) = match refusing(&subject).await {
        Some(refusing) => refusing,
        None => (subject.tight().await, Vec::new()),
    };
    let callee = Difficult::new(Readiness::Slots, Answer::Never);
    let (census, slots) = (callee.census(), callee.slots());
    let mut service = value.around(callee);
    let refused = async move {
        ready(&mut service).unwrap();
        let mut call = Driven::new(service.call(7));
        assert!(call.finish().await.is_err());
        (service, call)
    };
    // A layer that refuses nothing else refuses a call whose deadline has passed.
    let kept = if subject.refuses { refused.await } else { past_its_deadline(refused).await };
    assert_eq!(
        (census.readied(), slots.available_permits()),
        (0, 1),
        "the slot is free while the service still exists"
    );
    drop(kept);
}

async fn refusal_leaves_the_readiness_queue(subject: Subject) {
    let (value, _trouble) = match refusing(&subject).await {
        Some(refusing) => refusing,
        None => (subject.tight().await, Vec::new()),
    };
    let callee = Difficult::new(Readiness::Slots, Answer::Never);
    let slots = callee.slots();
    let taken = slots.clone().try_acquire_owned().unwrap();
    let mut service = value.around(callee);
    let refused = async move {
        // Readiness is requested and pending: the value is in the queue of the inner service.
        ready(&mut service).unwrap();
        let mut call = Driven::new(service.call(7));
        assert!(call.finish().await.is_err());
        (service, call)
    };
    let kept = if subject.refuses { refused.await } else { past_its_deadline(refused).await };
    drop(taken);
    assert_eq!(slots.available_permits(), 1, "the refused service does not take the released slot");
    drop(kept);
}

async fn queued_call_releases_a_readied_service(subject: Subject) {
    let value = subject.tight().await;
    let _other_call = value.occupy();
    let callee = Difficult::new(Readiness::Slots, Answer::Never);
    let (census, slots) = (callee.census(), callee.slots());
    let mut service = value.around(callee);
    ready(&mut service).unwrap();
    let mut call = Driven::new(service.call(7));
    let waits = call.poll().is_pending() && census.calls() == 0;
    let is_there_a_queue = value.gauges().iter().any(|(gauge, _)| *gauge == "waiting");
    assert_eq!(waits, is_there_a_queue);
    if waits {
        assert_eq!((census.readied(), slots.available_permits()), (0, 1), "the slot is free for others meanwhile");
    }
}
