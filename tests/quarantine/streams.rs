//! Long responses, which restarts of their endpoints cut.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, StreamBody};
use seawall::http::LongLived;
use tower::service_fn;

use super::*;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// Endpoints whose streams go on until their connections break.
#[derive(Clone)]
struct Streams([watch::Sender<usize>; 3]);

impl Streams {
    async fn watch(self, number: usize) -> Result<Response<Body>, BoxError> {
        let mut broken = self.0[number].subscribe();
        sleep(10 * MS).await;
        let frames = futures::stream::once(async move {
            let _ = broken.changed().await;
            Err::<http_body::Frame<Bytes>, _>(BoxError::from("connection reset"))
        });
        Ok(Response::new(StreamBody::new(frames).boxed_unsync()))
    }

    fn service(
        &self,
        layer: &QuarantineLayer<seawall::http::MethodAndPath, seawall::http::ByStatus>,
    ) -> impl Service<
        Request<Empty<Bytes>>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError> + Send + Unpin>,
        Error = BoxError,
        Future: Send,
    > + Clone
    + Send
    + 'static {
        let endpoints = (0..3).map(|number: usize| Endpoint::new(number.to_string()));
        let mut config = BalanceConfig { max_concurrent: 1000, ..BalanceConfig::default() };
        // They would hide what the layer does.
        config.circuit_breaker.enabled = false;
        config.ejection.enabled = false;
        let balance = BalanceLayer::http(config).unwrap().with_endpoints(endpoints).unwrap();
        let streams = self.clone();
        layer.layer(balance.service(move |endpoint| {
            let (streams, number) = (streams.clone(), endpoint.address().parse().unwrap());
            service_fn(move |_: Request<Empty<Bytes>>| streams.clone().watch(number))
        }))
    }
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("http://news.test/watch").body(Empty::new()).unwrap()
}

/// Two instances restart without a graceful shutdown, one after the other. The streams have one fingerprint.
#[tokio::test(start_paused = true)]
async fn streams_that_two_restarts_cut_reconnect_at_once() {
    let streams = Streams([(); 3].map(|()| watch::Sender::new(0)));
    let registry = Registry::new();
    let layer = QuarantineLayer::http(QuarantineConfig::default()).unwrap().named_in(&registry, "news").unwrap();
    let service = streams.service(&layer);
    let (connected, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let watchers = (0..300).map(|_| {
        let (service, connected, refused) = (service.clone(), Arc::clone(&connected), Arc::clone(&refused));
        tokio::spawn(async move {
            loop {
                match service.clone().oneshot(request()).await {
                    Ok(response) => {
                        connected.fetch_add(1, Ordering::SeqCst);
                        assert!(response.into_body().collect().await.is_err());
                        connected.fetch_sub(1, Ordering::SeqCst);
                    }
                    Err(_) => {
                        refused.fetch_add(1, Ordering::SeqCst);
                        sleep(SECOND).await;
                    }
                }
            }
        })
    });
    let watchers: Vec<_> = watchers.collect();
    sleep(30 * SECOND).await;
    for endpoint in [0, 1, 0, 2] {
        assert_eq!(connected.load(Ordering::SeqCst), 300);
        streams.0[endpoint].send_modify(|restarts| *restarts += 1);
        sleep(MS).await;
        assert!(connected.load(Ordering::SeqCst) < 300, "they have streams at all endpoints");
        sleep(50 * MS).await;
        assert_eq!((connected.load(Ordering::SeqCst), condition(&registry).suspects), (300, 0));
        sleep(5 * SECOND).await;
    }
    assert_eq!((refused.load(Ordering::SeqCst), condition(&registry).quarantines), (0, 0));
    watchers.iter().for_each(|watcher| watcher.abort());
}

#[tokio::test(start_paused = true)]
async fn long_lived_response_that_is_lost_makes_no_suspect() {
    let layer = QuarantineLayer::http(QuarantineConfig::default()).unwrap();
    let handle = layer.handle();
    for (is_long_lived, suspects) in [(true, 0), (false, 1)] {
        let service = layer.layer(service_fn(move |_: Request<Empty<Bytes>>| async move {
            let frames = futures::stream::once(async {
                sleep(MS).await;
                Err::<http_body::Frame<Bytes>, _>(BoxError::from("connection reset"))
            });
            let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
            if is_long_lived {
                response.extensions_mut().insert(LongLived::new(60 * SECOND));
            }
            Ok::<_, BoxError>(response)
        }));
        let response = service.oneshot(request()).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
        assert_eq!(handle.suspects(), suspects);
    }
}
