//! What a retry reads behind the head of a response before it decides, and for how long.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use seawall::grpc::ByCode;
use seawall::http::SettledBody;
use seawall::verdict::{Classify, Verdict};
use tokio::time::{Instant, Sleep};

const MILLIS: Duration = Duration::from_millis(1);

#[derive(Debug)]
enum Step {
    Message(&'static str),
    Trailers(&'static str),
    Wait(Duration),
    Fail,
}

struct Script {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    _alive: Arc<()>,
}

impl Body for Script {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            let frame = match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Message(text)) => Frame::data(Bytes::from(text)),
                Some(Step::Trailers(status)) => Frame::trailers(trailers(status)),
                Some(Step::Fail) => return Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into()))),
                Some(Step::Wait(time)) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep(time)));
                    continue;
                }
            };
            return Poll::Ready(Some(Ok(frame)));
        }
    }
}

fn trailers(status: &'static str) -> HeaderMap {
    [("grpc-status".parse().unwrap(), status.parse().unwrap())].into_iter().collect()
}

struct Settled {
    verdict: Verdict,
    after: Duration,
    /// Whether the rest of the response was released.
    whole: bool,
    body: SettledBody<Script>,
}

impl Settled {
    async fn text(self) -> (String, bool) {
        let body = self.body.collect().await.unwrap();
        let has_trailers = body.trailers().is_some();
        (String::from_utf8(body.to_bytes().to_vec()).unwrap(), has_trailers)
    }
}

async fn settle_with(headers: HeaderMap, steps: impl IntoIterator<Item = Step>) -> Settled {
    let alive = Arc::new(());
    let script = Script { steps: steps.into_iter().collect(), sleep: None, _alive: Arc::clone(&alive) };
    let mut response = Response::new(script);
    *response.headers_mut() = headers;
    let start = Instant::now();
    let (verdict, response) = ByCode::new().settle(response).await;
    Settled { verdict, after: start.elapsed(), whole: Arc::strong_count(&alive) == 1, body: response.into_body() }
}

async fn settle(steps: impl IntoIterator<Item = Step>) -> Settled {
    settle_with(HeaderMap::new(), steps).await
}

#[tokio::test(start_paused = true)]
async fn immediate_trailers_decide() {
    for (steps, text) in [
        (vec![Step::Trailers("14")], ""),
        (vec![Step::Message("half"), Step::Message("done"), Step::Trailers("14")], "halfdone"),
    ] {
        let settled = settle(steps).await;
        assert_eq!((settled.verdict, settled.after, settled.whole), (Verdict::Transient, Duration::ZERO, true));
        assert_eq!(settled.text().await, (text.to_owned(), true), "the frames that were read are kept");
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_within_ten_milliseconds_decide() {
    let settled = settle([Step::Wait(5 * MILLIS), Step::Trailers("8")]).await;
    assert_eq!((settled.verdict, settled.after), (Verdict::Overloaded { retry_after: None }, 5 * MILLIS));
    let settled = settle([Step::Wait(5 * MILLIS), Step::Message("late"), Step::Trailers("0")]).await;
    assert_eq!((settled.verdict, settled.after), (Verdict::Success, 5 * MILLIS));
}

#[tokio::test(start_paused = true)]
async fn silent_stream_is_handed_on_after_ten_milliseconds() {
    let settled = settle([Step::Wait(50 * MILLIS), Step::Message("late"), Step::Trailers("14")]).await;
    assert_eq!((settled.verdict, settled.whole), (Verdict::Success, false));
    assert!((10 * MILLIS..=12 * MILLIS).contains(&settled.after), "{:?}", settled.after);
    assert_eq!(settled.text().await, ("late".to_owned(), true), "later frames go to the caller");
}

#[tokio::test(start_paused = true)]
async fn message_ends_the_wait_for_trailers() {
    let settled = settle([Step::Message("first"), Step::Wait(MILLIS), Step::Trailers("14")]).await;
    assert_eq!((settled.verdict, settled.after, settled.whole), (Verdict::Success, Duration::ZERO, false));
    assert_eq!(settled.text().await, ("first".to_owned(), true));
}

#[tokio::test(start_paused = true)]
async fn end_without_status_fails_and_broken_stream_is_lost() {
    let settled = settle([Step::Message("all")]).await;
    assert_eq!((settled.verdict, settled.whole), (Verdict::Failed, true));
    assert_eq!(settled.text().await, ("all".to_owned(), false));

    let mut settled = settle([Step::Message("half"), Step::Fail]).await;
    assert_eq!((settled.verdict, settled.whole), (Verdict::Lost, true));
    assert_eq!(settled.body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    let error = settled.body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref::<std::io::Error>().unwrap().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(settled.body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn deciding_head_is_not_read_further() {
    let settled = settle_with(trailers("14"), [Step::Wait(MILLIS), Step::Message("?")]).await;
    assert_eq!((settled.verdict, settled.after, settled.whole), (Verdict::Transient, Duration::ZERO, false));
}

#[tokio::test(start_paused = true)]
async fn read_ahead_is_bounded() {
    let long: &'static str = "x".repeat(10_000).leak();
    let settled = settle((0..100).map(|_| Step::Message(long)).chain([Step::Trailers("14")])).await;
    assert_eq!((settled.verdict, settled.whole), (Verdict::Success, false));
    assert_eq!(settled.text().await, (long.repeat(100), true));

    let settled = settle((0..100_000).map(|_| Step::Message("")).chain([Step::Trailers("14")])).await;
    assert_eq!((settled.verdict, settled.whole), (Verdict::Success, false), "a bounded number of empty frames");
}

/// Dropped at any await point, it releases the response.
#[tokio::test(start_paused = true)]
async fn drop_during_the_wait_releases_the_response() {
    let alive = Arc::new(());
    let steps = VecDeque::from([Step::Wait(5 * MILLIS), Step::Trailers("0")]);
    let settling = ByCode::new().settle(Response::new(Script { steps, sleep: None, _alive: Arc::clone(&alive) }));
    assert!(tokio::time::timeout(2 * MILLIS, settling).await.is_err());
    assert_eq!(Arc::strong_count(&alive), 1);
}
