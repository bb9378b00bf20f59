//! The bytes on the wire are the same as without the layers.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::deadline::DeadlineLayer;
use seawall::http::respond::RespondLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceBuilder;

use crate::serving::{Reader, serve};

fn app() -> Router {
    let layers = ServiceBuilder::new()
        .layer(RespondLayer::new())
        .layer(LoadShedLayer::http(LoadShedConfig::default()).unwrap())
        .layer(DeadlineLayer::http(Duration::from_secs(300)).unwrap())
        .layer(BulkheadLayer::http(BulkheadConfig::default()).unwrap());
    let with_trailers = || async {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "17".parse().unwrap());
        let frames = [Frame::data(Bytes::from("well")), Frame::trailers(trailers)];
        let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, std::convert::Infallible>)));
        Response::builder().header("trailer", "x-checksum").body(Body::new(body)).unwrap()
    };
    Router::new()
        .route("/", get(|| async { "well" }))
        .route("/empty", get(|| async {}))
        .route("/none", get(|| async { StatusCode::NO_CONTENT }))
        .route("/trailers", get(with_trailers))
        .layer(layers)
}

async fn wire(path: &str) -> String {
    let bytes = Reader::get(serve(app()).await, path).await.rest().await;
    String::from_utf8(bytes).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn known_length_is_sent_without_chunks() {
    let wire = wire("/").await;
    assert!(
        wire.contains("content-length: 4\r\n") && !wire.contains("chunked") && wire.ends_with("\r\n\r\nwell"),
        "{wire}"
    );
}

#[tokio::test]
async fn empty_body_stays_empty() {
    let empty = wire("/empty").await;
    assert!(empty.contains("content-length: 0\r\n") && !empty.contains("chunked"), "{empty}");
    let none = wire("/none").await;
    assert!(none.starts_with("http/1.1 204") && !none.contains("chunked") && none.ends_with("\r\n\r\n"), "{none}");
}

#[tokio::test]
async fn trailers_are_sent() {
    let mut stream = TcpStream::connect(serve(app()).await).await.unwrap();
    let request = b"GET /trailers HTTP/1.1\r\nhost: server\r\nte: trailers\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut wire = String::new();
    stream.read_to_string(&mut wire).await.unwrap();
    assert!(wire.ends_with("4\r\nwell\r\n0\r\nx-checksum: 17\r\n\r\n"), "{wire}");
}
