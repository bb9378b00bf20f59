//! Bodies that are cut at their bounds.

use super::*;

#[tokio::test(start_paused = true)]
async fn parked_body_is_cut_and_next_poll_is_refused() {
    let scene = Scene::new();
    let mut body = scene.held([data("one"), data("two")]).into_body();
    assert!(body.frame().await.unwrap().is_ok());
    sleep(2 * SECOND - LATE).await;
    assert_eq!((scene.alive(), scene.end()), (1, None));
    sleep(2 * LATE).await;
    assert_eq!((scene.alive(), scene.end()), (0, Some((None, Duration::ZERO))), "abandoned: nobody waited for it");
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().upper(), None);
    let error = body.frame().await.unwrap().unwrap_err();
    let rejected = rejection(&error).unwrap();
    assert_eq!((rejected.layer(), rejected.reason()), ("deadline", Reason::DeadlineExceeded));
    assert!(body.frame().await.is_none());
    drop(body);
    assert!(scene.end().is_some());
}

/// A reader that reads steadily has not parked its body, and its time between two polls is not charged to the
/// dependency.
#[tokio::test(start_paused = true)]
async fn cut_between_two_polls_is_no_timeout() {
    let scene = Scene::new();
    let steps = (0..9).flat_map(|_| [Step::Waits(SECOND / 4), data(".")]);
    let mut body = scene.held(steps).into_body();
    for _ in 0..4 {
        assert!(body.frame().await.unwrap().is_ok());
        sleep(SECOND / 4).await;
    }
    sleep(LATE).await;
    assert_eq!((scene.alive(), scene.end()), (0, Some((None, SECOND))));
    assert!(rejection(&body.frame().await.unwrap().unwrap_err()).is_some());
}

#[tokio::test(start_paused = true)]
async fn cut_wakes_a_waiting_reader_and_is_a_timeout() {
    let scene = Scene::new();
    let mut body = scene.held([data("one"), Step::Waits(60 * SECOND)]).into_body();
    assert!(body.frame().await.unwrap().is_ok());
    sleep(SECOND).await;
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(rejection(&error).is_some());
    assert!(time::now().since(scene.start) < 2 * SECOND + LATE);
    let (verdict, waited) = scene.end().unwrap();
    assert_eq!(verdict, Some(Verdict::TimedOut));
    assert!(SECOND <= waited && waited < SECOND + LATE);
}

#[tokio::test(start_paused = true)]
async fn dripping_body_is_cut_at_the_deadline() {
    let scene = Scene::new();
    let mut body = scene.held((0..1000).flat_map(|_| [data("."), Step::Waits(SECOND / 100)])).into_body();
    let mut frames = 0;
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(_) => frames += 1,
            Err(error) => break error,
        }
    };
    assert!(rejection(&error).is_some());
    assert!((190..=202).contains(&frames), "{frames}");
    assert_eq!(scene.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn idle_dependency_is_cut_and_idle_reader_is_not() {
    let scene = Scene::new();
    let steps = [data("one"), data("two"), Step::Waits(60 * SECOND)];
    let mut body = scene.held_with(Response::new(()), Some(SECOND / 4), ByStatus::default(), steps).into_body();
    assert!(body.frame().await.unwrap().is_ok());
    sleep(SECOND).await;
    assert!(body.frame().await.unwrap().is_ok(), "who does not ask for more is not kept waiting");
    let error = body.frame().await.unwrap().unwrap_err();
    let rejected = rejection(&error).unwrap();
    assert_eq!(rejected.reason(), Reason::IdleTimeout);
    let numbers = rejected.numbers();
    assert!(numbers.given().is_some() && numbers.elapsed() >= numbers.given(), "{rejected}");
    let idle = time::now()
        .since(scene.start)
        .checked_sub(5 * SECOND / 4)
        .expect("a quarter of a second after the second frame");
    assert!(idle < 2 * LATE, "{idle:?}");
    assert_eq!(scene.end().unwrap().0, Some(Verdict::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn drip_faster_than_the_idle_timeout_is_not_idle() {
    let scene = Scene::new();
    let steps = (0..15).flat_map(|_| [Step::Waits(SECOND / 10), data(".")]);
    let body = scene.held_with(Response::new(()), Some(SECOND / 4), ByStatus::default(), steps).into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 15);
}

#[tokio::test(start_paused = true)]
async fn long_lived_response_lasts_for_its_own_timeout() {
    let scene = Scene::new();
    let head = Response::builder().extension(LongLived::new(60 * SECOND)).body(()).unwrap();
    let steps = (0..100).flat_map(|_| [Step::Waits(SECOND), data(".")]);
    let body = scene.held_with(head, Some(SECOND / 4), ByStatus::default(), steps).into_body();
    let error = body.collect().await.unwrap_err();
    assert!(rejection(&error).is_some());
    assert!(time::now().since(scene.start + 60 * SECOND) < LATE);
}
