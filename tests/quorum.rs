//! The quorum layer, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use seawall::context;
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection, rejection_in};
use seawall::quorum::{NoQuorum, QuorumConfig, QuorumLayer, Vote};
use seawall::registry::{Condition, Registry};
use seawall::retry::{RetryConfig, RetryLayer};
use seawall::verdict::{self, Verdict};
use tokio::time::{Instant, sleep};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn layer(endpoints: u32, agree: u32) -> QuorumLayer {
    QuorumLayer::new(QuorumConfig { endpoints, agree, ..QuorumConfig::default() }).expect("a valid configuration")
}

/// How an endpoint answers: after how many milliseconds, and with what.
type Answer = (u64, Result<&'static str, &'static str>);

/// Calls that were started, and that were dropped before they ended.
#[derive(Clone, Debug, Default)]
struct Census(Arc<[AtomicUsize; 2]>);

impl Census {
    fn counts(&self) -> [usize; 2] {
        [0, 1].map(|index| self.0[index].load(Ordering::SeqCst))
    }
}

/// Counts a call that is dropped before it ends.
struct Running(Option<Census>);

impl Running {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(census) = &self.0 {
            census.0[1].fetch_add(1, Ordering::SeqCst);
        }
    }
}

type Endpoint = BoxCloneSyncService<(), &'static str, BoxError>;

fn endpoints(census: &Census, answers: &'static [Answer]) -> Vec<Endpoint> {
    let endpoint = |answer: &'static Answer| {
        let census = census.clone();
        BoxCloneSyncService::new(service_fn(move |()| {
            census.0[0].fetch_add(1, Ordering::SeqCst);
            let running = Running(Some(census.clone()));
            async move {
                sleep(millis(answer.0)).await;
                running.end();
                answer.1.map_err(Into::into)
            }
        }))
    };
    answers.iter().map(endpoint).collect()
}

/// The votes of an error, in short.
fn votes(error: &BoxError) -> Vec<String> {
    let error: &NoQuorum = error.downcast_ref().expect("no quorum");
    let vote = |vote: &Vote| match vote {
        Vote::Answer(number) => number.to_string(),
        Vote::Error(error) => error.to_string(),
        Vote::Failed(verdict) => (*verdict).to_owned(),
        Vote::Missing => "missing".to_owned(),
        _ => unreachable!("no other vote"),
    };
    error.votes().iter().map(vote).collect()
}

#[tokio::test(start_paused = true)]
async fn second_equal_answer_decides_and_the_rest_is_cancelled() {
    let census = Census::default();
    let services = endpoints(&census, &[(10, Ok("A")), (20, Ok("B")), (30, Ok("A")), (40, Ok("A"))]);
    let start = Instant::now();
    let answer = layer(4, 2).over(services).unwrap().oneshot(()).await;
    assert_eq!((answer.unwrap(), census.counts()), ("A", [4, 1]));
    assert!((30..=32).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn call_without_a_quorum_lists_every_vote() {
    let cases: [(&[Answer], &[&str], usize); 4] = [
        (&[(10, Ok("A")), (20, Ok("B")), (30, Ok("C"))], &["1", "2", "3"], 0),
        (&[(10, Ok("A")), (20, Err("down")), (30, Err("gone"))], &["1", "down", "gone"], 0),
        // No two can agree any more.
        (&[(10, Err("down")), (20, Err("gone")), (30, Ok("A"))], &["down", "gone", "missing"], 1),
        (&[(30, Ok("B")), (20, Err("gone")), (10, Ok("A"))], &["2", "gone", "1"], 0),
    ];
    for (answers, expected, cancelled) in cases {
        let census = Census::default();
        let error = layer(3, 2).over(endpoints(&census, answers)).unwrap().oneshot(()).await.unwrap_err();
        assert_eq!(
            (votes(&error), census.counts()[1]),
            (expected.iter().map(ToString::to_string).collect(), cancelled)
        );
        let rejected = rejection(&error).expect("a refusal");
        assert_eq!((rejected.layer(), rejected.reason()), ("quorum", Reason::NoQuorum));
        assert_eq!((rejected.verdict(), rejected.retry_after()), (Verdict::Transient, Some(millis(100))));
        assert!(rejection_in(error.as_ref()).is_some());
    }
    let error = layer(3, 2).over(endpoints(&Census::default(), cases[1].0)).unwrap().oneshot(()).await.unwrap_err();
    let text = "too few endpoints gave the same answer (layer `quorum`); retry after 100.0ms; 2 of 3 endpoints have to agree: \
                answer 1, error (down), error (gone)";
    assert_eq!(error.to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn first_good_answer_wins_if_one_is_enough() {
    let census = Census::default();
    let services = endpoints(&census, &[(10, Err("down")), (30, Ok("B")), (20, Ok("A"))]);
    assert_eq!(layer(3, 1).over(services).unwrap().oneshot(()).await.unwrap(), "A");
    assert_eq!(census.counts(), [3, 1]);
}

#[tokio::test(start_paused = true)]
async fn classifier_decides_which_answers_are_votes() {
    let stale = verdict::from_fn(|result: Result<&&str, &BoxError>| match result {
        Ok(&"stale") => Verdict::Transient,
        Ok(_) => Verdict::Success,
        Err(error) => verdict::of_error(error),
    });
    let layer = layer(3, 2).with_classifier(stale);
    let answers: &[Answer] = &[(10, Ok("stale")), (20, Ok("stale")), (30, Ok("A"))];
    let error = layer.over(endpoints(&Census::default(), answers)).unwrap().oneshot(()).await.unwrap_err();
    assert_eq!(votes(&error), ["transient", "transient", "missing"]);
}

/// What is around the quorum must not send again what must not be sent again.
#[tokio::test(start_paused = true)]
async fn verdict_without_a_quorum_follows_the_failed_votes() {
    use Verdict::{DoNotRetry, Ignored, Lost, Transient};
    let by_text = verdict::from_fn(|result: Result<&&str, &BoxError>| {
        match result.map_or_else(ToString::to_string, ToString::to_string).as_str() {
            "ignored" => Ignored,
            "lost" => Lost,
            "unwanted" => DoNotRetry,
            "down" => Transient,
            _ => Verdict::Success,
        }
    });
    let of = |votes: [&'static str; 3], agree| {
        let answers = votes.map(|vote| (10, if vote.len() == 1 || vote == "lost" { Ok(vote) } else { Err(vote) }));
        let services = endpoints(&Census::default(), Box::leak(Box::new(answers)));
        let call = layer(3, agree).with_classifier(by_text).over(services).unwrap().oneshot(());
        async move { verdict::of_error(&call.await.unwrap_err()) }
    };
    for (votes, agree, expected) in [
        (["ignored", "ignored", "ignored"], 1, Ignored),
        (["ignored", "down", "ignored"], 1, Transient),
        (["down", "lost", "unwanted"], 1, Lost),
        (["ignored", "unwanted", "lost"], 1, Lost),
        (["ignored", "down", "unwanted"], 1, DoNotRetry),
        (["down", "down", "down"], 1, Transient),
        (["A", "B", "C"], 2, Transient),
        (["A", "B", "ignored"], 2, Transient),
        (["A", "ignored", "ignored"], 2, Transient),
        (["A", "lost", "B"], 2, Lost),
    ] {
        assert_eq!(of(votes, agree).await, expected, "{votes:?}");
    }
}

/// A call that is polled in a task of its own, where no outer layer restores its context.
#[tokio::test(start_paused = true)]
async fn endpoints_of_a_spawned_call_see_its_context() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let note = move || {
        let context = (context::deadline().is_some(), context::priority(), context::attempt());
        log.lock().unwrap().push(context);
    };
    let replica = service_fn(move |()| {
        note();
        let note = note.clone();
        async move {
            sleep(millis(5)).await;
            note();
            Ok::<_, BoxError>("A")
        }
    });
    let quorum = layer(3, 3).over([replica.clone(), replica.clone(), replica]).unwrap();
    let attempts = Arc::new(AtomicUsize::new(0));
    let spawning = service_fn(move |()| {
        let call = quorum.clone().call(());
        let fails = attempts.fetch_add(1, Ordering::SeqCst) == 0;
        async move { if fails { Err("down".into()) } else { tokio::spawn(call).await? } }
    });
    let retry = RetryLayer::new(RetryConfig::default()).unwrap();
    let service = DeadlineLayer::new(Duration::from_secs(1)).unwrap().layer(retry.layer(spawning));
    context::with_priority(context::Priority::High, service.oneshot(())).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(true, context::Priority::High, 2); 6]);
}

#[tokio::test(start_paused = true)]
async fn closure_decides_which_answers_agree() {
    let layer = layer(3, 2).with_agreement(seawall::quorum::from_fn(|answer: &&str| answer.len()));
    let answers: &[Answer] = &[(10, Ok("four")), (20, Ok("three")), (30, Ok("five"))];
    let answer = layer.over(endpoints(&Census::default(), answers)).unwrap().oneshot(()).await;
    assert_eq!(answer.unwrap(), "four", "the first answer of those that agree");
}

#[tokio::test(start_paused = true)]
async fn call_ends_at_its_bound_with_the_votes_so_far() {
    let answers: &[Answer] = &[(10, Ok("A")), (200_000, Ok("A")), (20, Err("down"))];
    let census = Census::default();
    let config = QuorumConfig { max_hold: millis(50), ..QuorumConfig::default() };
    let layer = QuorumLayer::new(config).unwrap();
    let error = layer.over(endpoints(&census, answers)).unwrap().oneshot(()).await.unwrap_err();
    assert_eq!(votes(&error), ["1", "missing", "down"]);
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::HoldExceeded));
    assert_eq!(census.counts(), [3, 1]);

    let census = Census::default();
    let deadline = DeadlineLayer::new(millis(50)).unwrap();
    let error = deadline.layer(layer.over(endpoints(&census, answers)).unwrap()).oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::DeadlineExceeded));
    assert_eq!(census.counts(), [3, 1]);
}

#[tokio::test(start_paused = true)]
async fn call_dropped_at_any_poll_cancels_all_endpoints() {
    for polls in 0..5usize {
        let census = Census::default();
        let services = endpoints(&census, &[(10, Ok("A")), (20, Ok("B")), (30, Ok("C")), (40, Ok("A"))]);
        let mut call = Box::pin(layer(4, 3).over(services).unwrap().oneshot(()));
        for _ in 0..polls {
            let poll = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
            if poll.is_ready() {
                break;
            }
            sleep(millis(10)).await;
        }
        drop(call);
        let [started, cancelled] = census.counts();
        let ended = polls.saturating_sub(1).min(3);
        assert_eq!((started, cancelled), if polls == 0 { (0, 0) } else { (4, 4 - ended) }, "after {polls} polls");
    }
}

/// Readiness is part of the call.
#[tokio::test(start_paused = true)]
async fn endpoint_that_is_never_ready_delays_only_its_vote() {
    let census = Census::default();
    let closed = || Arc::new(tokio::sync::Semaphore::new(0));
    let limited = |service: Endpoint, permits: Arc<tokio::sync::Semaphore>| {
        BoxCloneSyncService::new(tower::limit::ConcurrencyLimit::with_semaphore(service, permits))
    };
    let mut services = endpoints(&census, &[(10, Ok("A")), (10, Ok("A"))]);
    services.push(limited(endpoints(&census, &[(10, Ok("A"))]).remove(0), closed()));
    let answered = layer(3, 2).over(services).unwrap().oneshot(()).await;
    assert_eq!((answered.unwrap(), census.counts()), ("A", [2, 0]));

    let service = limited(endpoints(&census, &[(10, Ok("A"))]).remove(0), closed());
    let config = QuorumConfig { max_hold: millis(50), ..QuorumConfig::default() };
    let start = Instant::now();
    let error = QuorumLayer::new(config).unwrap().layer(service).oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::HoldExceeded));
    assert!(start.elapsed() <= millis(52), "{:?}", start.elapsed());
}

/// Clones of one service, which may be a load balancer.
#[tokio::test(start_paused = true)]
async fn layer_sends_to_clones_of_one_service() {
    let registry = Registry::new();
    let layer = layer(3, 2).named_in(&registry, "callee").unwrap();
    let census = Census::default();
    let service = layer.layer(endpoints(&census, &[(10, Ok("A"))]).remove(0));
    assert_eq!(service.clone().oneshot(()).await.unwrap(), "A");
    // All three answer at once, and the third is not waited for.
    assert_eq!(census.counts()[0], 3);
    layer.reload(&QuorumConfig { endpoints: 5, agree: 1, ..QuorumConfig::default() }).unwrap();
    service.oneshot(()).await.unwrap();
    assert_eq!(census.counts()[0], 8);
    let snapshot = registry.snapshot();
    let Condition::Quorum(quorum) = &snapshot.components[0].condition else { panic!("{snapshot:?}") };
    assert_eq!((quorum.endpoints, quorum.agree), (5, 1));
    assert_eq!(snapshot.components[0].calls, [("success", 2)].into());
}

/// A call keeps the settings that it began with, and the next call gets the new ones.
#[tokio::test(start_paused = true)]
async fn call_in_flight_keeps_its_settings_in_a_reload() {
    let config = |endpoints, agree| QuorumConfig { endpoints, agree, ..QuorumConfig::default() };
    for (before, after, sent, next) in [
        // The first answer would decide.
        (config(3, 2), config(5, 1), 3, 5),
        // Two answers would not.
        (config(3, 2), config(3, 3), 3, 3),
    ] {
        let layer = QuorumLayer::new(before.clone()).unwrap();
        let census = Census::default();
        // One endpoint has the answer first, and the others only later.
        let turn = Arc::new(AtomicUsize::new(0));
        let service = {
            let census = census.clone();
            service_fn(move |()| {
                census.0[0].fetch_add(1, Ordering::SeqCst);
                let wait = 10 * (1 + turn.fetch_add(1, Ordering::SeqCst) as u64);
                async move {
                    sleep(millis(wait)).await;
                    Ok::<_, BoxError>("A")
                }
            })
        };
        let service = layer.layer(service);
        let start = Instant::now();
        let call = tokio::spawn(service.clone().oneshot(()));
        sleep(millis(5)).await;
        layer.reload(&after).unwrap();
        assert_eq!((call.await.unwrap().unwrap(), census.counts()[0]), ("A", sent));
        assert!((20..=22).contains(&start.elapsed().as_millis()), "two of three: {:?}", start.elapsed());

        service.oneshot(()).await.unwrap();
        assert_eq!(census.counts()[0], sent + next);
        let answered = if after.agree == 1 { 60 } else { 80 };
        assert!((answered..=answered + 2).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }
}

#[test]
fn invalid_numbers_are_faults() {
    let faults = |endpoints, agree| {
        let layer = QuorumLayer::new(QuorumConfig { endpoints, agree, ..QuorumConfig::default() });
        layer.unwrap_err().faults().iter().map(|fault| fault.path().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(faults(0, 0), ["endpoints", "agree"]);
    assert_eq!(faults(33, 1), ["endpoints"]);
    assert_eq!(faults(2, 3), ["agree"]);
    let fault = layer(3, 2).over(endpoints(&Census::default(), &[])).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "invalid configuration: endpoints: invalid value: 3, must be the number of services, 0"
    );
}

#[cfg(feature = "http")]
mod http_bodies {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body::Frame;
    use http_body_util::{BodyExt, Full, StreamBody};
    use seawall::http::ByBody;

    use super::*;

    async fn ask(bodies: [&'static str; 3]) -> Result<Response<Bytes>, BoxError> {
        let config = QuorumConfig::default();
        let layer = QuorumLayer::http(config).unwrap().with_agreement(ByBody::default().with_max_body(8));
        let services = bodies.map(|body| {
            service_fn(
                move |_: Request<()>| async move { Ok::<_, BoxError>(Response::new(Full::new(Bytes::from(body)))) },
            )
        });
        let response = layer.over(services).unwrap().oneshot(Request::new(())).await?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    #[tokio::test(start_paused = true)]
    async fn equal_bodies_agree_up_to_a_bound() {
        assert_eq!(ask(["one", "two", "one"]).await.unwrap().body(), "one");
        assert_eq!(ask(["", "two", ""]).await.unwrap().body(), "");
        assert_eq!(votes(&ask(["one", "two", "three"]).await.unwrap_err()), ["1", "2", "3"]);
        let long = "the body is longer than 8 bytes (max_body), so it cannot be compared";
        assert_eq!(
            votes(&ask(["too long by far", "too long by far", "one"]).await.unwrap_err()),
            [long, long, "missing"]
        );
    }

    /// A service whose body yields this many frames without data, and then a byte.
    fn frames_without_data(
        count: usize,
    ) -> impl Service<
        Request<()>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError>>,
        Error = BoxError,
        Future: Send,
    > + Clone {
        service_fn(move |_: Request<()>| async move {
            let kinds = [|| Frame::data(Bytes::new()), || Frame::trailers(http::HeaderMap::new())];
            let empty = (0..count).map(move |index| kinds[index % 2]());
            let frames = empty.chain([Frame::data(Bytes::from_static(b"1"))]);
            let frames = frames.inspect({
                let mut read = 0_u32;
                move |_| {
                    read += 1;
                    assert!(read < 1_000_000, "it is still being read");
                }
            });
            Ok(Response::new(StreamBody::new(futures::stream::iter(frames.map(Ok)))))
        })
    }

    /// Such a body is never longer than the bound on its bytes, and a reader that finds it always ready never yields.
    #[tokio::test(start_paused = true)]
    async fn body_of_endless_empty_frames_is_a_failed_vote() {
        let layer = QuorumLayer::http(QuorumConfig::default()).unwrap();
        let ask = async |counts: [usize; 3]| {
            let services = counts.map(frames_without_data);
            layer.over(services).unwrap().oneshot(Request::new(())).await.map(|_| ())
        };
        let endless = "the body has more than 1024 frames without data, so it cannot be compared";
        let failed = ask([usize::MAX, usize::MAX, 0]).await.unwrap_err();
        assert_eq!(votes(&failed), [endless, endless, "missing"]);
        ask([usize::MAX, 1024, 0]).await.unwrap();
    }
}
