//! Readiness reserves nothing of ours and refuses nothing, and the service that was readied is the one that is called.

use std::task::Poll;
use std::time::Duration;

use tokio::time::advance;
use tower::Service;

use crate::drive::Driven;
use crate::inner::{Answer, Difficult, Readiness};
use crate::subject::{Subject, ready};

every_layer!(
    idle_readied_clones_hold_nothing,
    poll_ready_never_waits_and_never_refuses,
    readied_service_is_the_one_that_is_called,
    clones_start_unready,
    unreadied_service_can_be_called,
    one_service_serves_many_calls,
);

async fn idle_readied_clones_hold_nothing(subject: Subject) {
    let value = subject.tight().await;
    let before = value.gauges();
    let service = value.around(Difficult::new(Readiness::AtOnce, Answer::AtOnce));
    let mut idle = vec![service; 100];
    for clone in &mut idle {
        assert!(ready(clone).is_ok());
    }
    assert_eq!(value.gauges(), before);
    assert!(value.serves());
}

async fn poll_ready_never_waits_and_never_refuses(subject: Subject) {
    let value = subject.tight().await;
    let mut service = value.around(Difficult::new(Readiness::Never, Answer::Never));
    assert!(ready(&mut service).is_ok(), "the wait for inner readiness is in the call");
    let trouble = value.exhaust().await;
    assert_eq!(trouble.is_some(), subject.refuses);
    for readiness in [Readiness::AtOnce, Readiness::Never, Readiness::Slots] {
        let mut service = value.around(Difficult::new(readiness, Answer::Never));
        assert!(ready(&mut service).is_ok(), "refusals come from the call");
    }
}

async fn readied_service_is_the_one_that_is_called(subject: Subject) {
    let value = subject.default();
    let callee = Difficult::new(Readiness::Slots, Answer::AtOnce);
    let (census, slots) = (callee.census(), callee.slots());
    let mut service = value.around(callee);
    ready(&mut service).unwrap();
    assert_eq!(slots.available_permits(), usize::from(!subject.readies_ahead), "the readied service holds its slot");
    if subject.sends > 1 {
        return;
    }
    // The readied value holds the only slot, so any other value would wait.
    let answer = Driven::new(service.call(7)).poll();
    assert!(matches!(answer, Poll::Ready(Ok(7))), "{answer:?}");
    assert_eq!((census.polled_ready(), census.called_unready()), (1, 0));
}

async fn clones_start_unready(subject: Subject) {
    let value = subject.default();
    let callee = Difficult::new(Readiness::Slots, Answer::AtOnce);
    let (census, slots) = (callee.census(), callee.slots());
    slots.add_permits(1);
    let mut service = value.around(callee);
    ready(&mut service).unwrap();
    let mut clone = service.clone();
    let held = usize::from(subject.readies_ahead);
    assert_eq!(slots.available_permits(), 2 - held, "a clone has no slot yet");
    ready(&mut clone).unwrap();
    assert_eq!(slots.available_permits(), 2 - 2 * held, "the clone gets its own slot");
    assert_eq!(Driven::new(clone.call(1)).finish().await.unwrap(), 1);
    assert_eq!(Driven::new(service.call(2)).finish().await.unwrap(), 2);
    assert_eq!((subject.may_send(2, census.calls()), census.called_unready()), (true, 0));
    assert_eq!(slots.available_permits(), 2);
}

async fn unreadied_service_can_be_called(subject: Subject) {
    let value = subject.default();
    for readiness in [Readiness::AtOnce, Readiness::AfterPolls(3), Readiness::Slots] {
        let callee = Difficult::new(readiness, Answer::AtOnce);
        let census = callee.census();
        let mut service = value.around(callee);
        assert_eq!(Driven::new(service.call(7)).finish().await.unwrap(), 7, "{readiness:?}");
        assert_eq!(census.called_unready(), 0, "{readiness:?}");
    }
}

async fn one_service_serves_many_calls(subject: Subject) {
    let value = subject.tight().await;
    let before = value.gauges();
    for readiness in [Readiness::AtOnce, Readiness::AfterPolls(1), Readiness::Slots] {
        let callee = Difficult::new(readiness, Answer::AfterPolls(1));
        let (census, slots) = (callee.census(), callee.slots());
        let mut service = value.around(callee);
        for request in 0..10 {
            let call = ready(&mut service).unwrap().call(request);
            assert_eq!(Driven::new(call).finish().await.unwrap(), request, "{readiness:?}");
            advance(Duration::from_secs(1)).await;
        }
        let (sent, unready) = (census.calls(), census.called_unready());
        assert_eq!((subject.may_send(10, sent), unready), (true, 0), "{readiness:?}: {sent} calls");
        assert_eq!((census.futures(), census.readied(), slots.available_permits()), (0, 0, 1), "{readiness:?}");
    }
    assert_eq!(value.gauges(), before);
}
