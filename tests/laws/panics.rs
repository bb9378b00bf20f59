//! A panic in the inner service or in a classifier leaks nothing of ours.

use std::time::Duration;

use tokio::time::advance;
use tower::Service;

use crate::drive::Driven;
use crate::inner::{Answer, Difficult, Readiness};
use crate::subject::{POISON, Subject, ready};

every_layer!(panic_in_the_inner_service_leaks_nothing, panic_in_a_classifier_leaks_nothing);

async fn panic_in_the_inner_service_leaks_nothing(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::AfterPolls(1), Readiness::Slots] {
        for answer in [Answer::PanicsInCall, Answer::PanicsInPoll] {
            let value = subject.tight().await;
            let before = value.gauges();
            let callee = Difficult::new(readiness, answer);
            let (census, slots) = (callee.census(), callee.slots());
            let mut service = value.around(callee);
            for n in 0..20 {
                let case = format!("{readiness:?} {answer:?}, call {n}");
                let panicked = tokio::spawn({
                    let mut service = service.clone();
                    async move { ready(&mut service).unwrap().call(7).await }
                });
                let ended = panicked.await;
                assert!(ended.is_err() || ended.is_ok_and(|answer| answer.is_err()), "{case}");
                advance(Duration::from_secs(1)).await;
                // The same, with a caller that catches the panic and keeps the future.
                service = value.around(Difficult::new(readiness, answer));
                ready(&mut service).unwrap();
                let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Driven::new(service.call(7))));
                if let Ok(mut call) = called {
                    for _ in 0..3 {
                        let _ = call.poll_panics();
                    }
                }
                assert_eq!(value.gauges(), before, "{case}");
                assert_eq!((census.futures(), census.readied(), slots.available_permits()), (0, 0, 1), "{case}");
                advance(Duration::from_secs(3600)).await;
                assert!(value.serves(), "{case}: later calls are not served");
            }
        }
    }
}

async fn panic_in_a_classifier_leaks_nothing(subject: Subject) {
    if !subject.classifies {
        return;
    }
    for readiness in [Readiness::AtOnce, Readiness::AfterPolls(1), Readiness::Slots] {
        let value = subject.tight().await;
        let before = value.gauges();
        let callee = Difficult::new(readiness, Answer::AtOnce);
        let (census, slots) = (callee.census(), callee.slots());
        let mut service = value.around(callee);
        for n in 0..20 {
            let mut call = Driven::new(ready(&mut service).unwrap().call(POISON));
            let panicked = (0..3).any(|_| call.poll_panics());
            assert!(panicked, "{readiness:?}, call {n}");
            // Unwinding would drop it sooner or later.
            drop(call);
            assert_eq!(value.gauges(), before, "{readiness:?}, call {n}");
            assert_eq!((census.futures(), census.readied(), slots.available_permits()), (0, 0, 1), "{readiness:?}");
            advance(Duration::from_secs(3600)).await;
            assert!(value.serves(), "{readiness:?}, call {n}: later calls are not served");
        }
    }
}
