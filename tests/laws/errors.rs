//! Answers and errors of the inner service come out unchanged.

use std::time::Duration;

use seawall::fallback::FallbackFailed;
use seawall::quorum::{NoQuorum, Vote};
use tower::{BoxError, Service};

use crate::drive::Driven;
use crate::inner::{Answer, Broken, Difficult, Readiness};
use crate::subject::{Subject, ready};

every_layer!(
    inner_error_is_returned_unchanged,
    inner_readiness_error_is_returned_unchanged,
    answer_is_returned_after_any_number_of_polls,
);

fn broken(error: &BoxError) -> Option<Broken> {
    // The error of a failed fallback holds the inner service's error unchanged.
    let error = error.downcast_ref::<FallbackFailed>().map_or(error, FallbackFailed::inner);
    // The error of a quorum lists the errors of its endpoints unchanged.
    let vote = error.downcast_ref::<NoQuorum>().and_then(|error| {
        let mut errors =
            error.votes().iter().filter_map(|vote| if let Vote::Error(error) = vote { Some(error) } else { None });
        errors.next_back()
    });
    vote.unwrap_or(error).downcast_ref().copied()
}

async fn inner_error_is_returned_unchanged(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::AfterPolls(2), Readiness::Slots] {
        for answer in [Answer::Fails, Answer::FailsAfter(Duration::from_millis(10))] {
            for value in [subject.default(), subject.tight().await] {
                let callee = Difficult::new(readiness, answer);
                let census = callee.census();
                let mut service = value.around(callee);
                let call = ready(&mut service).unwrap().call(7);
                let error = Driven::new(call).finish().await.unwrap_err();
                let Some(Broken::InCall(call)) = broken(&error) else { panic!("{readiness:?} {answer:?}: {error}") };
                // Of several attempts at once, the last ones may be cancelled.
                let (last, cancelled) = (census.calls() - 1, subject.sends - 1);
                assert!((last.saturating_sub(cancelled)..=last).contains(&call), "{readiness:?} {answer:?}: {call}");
            }
        }
    }
}

async fn inner_readiness_error_is_returned_unchanged(subject: Subject) {
    for value in [subject.default(), subject.tight().await] {
        let mut service = value.around(Difficult::new(Readiness::Fails, Answer::AtOnce));
        if subject.readies_ahead {
            let error = ready(&mut service).err().unwrap();
            assert_eq!(broken(&error), Some(Broken::WhenPolledReady), "{error}");
        }
        // Called without being ready, it fails in the same way.
        let error = Driven::new(service.call(7)).finish().await.unwrap_err();
        assert_eq!(broken(&error), Some(Broken::WhenPolledReady), "{error}");
    }
}

async fn answer_is_returned_after_any_number_of_polls(subject: Subject) {
    for readiness in [Readiness::AtOnce, Readiness::AfterPolls(5), Readiness::After(Duration::from_millis(10))] {
        for answer in [Answer::AtOnce, Answer::AfterPolls(5), Answer::After(Duration::from_millis(10))] {
            for value in [subject.default(), subject.tight().await] {
                let callee = Difficult::new(readiness, answer);
                let census = callee.census();
                let mut service = value.around(callee);
                let call = ready(&mut service).unwrap().call(7);
                let answered = Driven::new(call).finish().await;
                assert!(matches!(answered, Ok(7)), "{readiness:?} {answer:?}: {answered:?}");
                assert!((1..=subject.at_once).contains(&census.calls()), "{} attempts", census.calls());
                assert_eq!((census.futures(), census.called_unready()), (0, 0));
            }
        }
    }
}
