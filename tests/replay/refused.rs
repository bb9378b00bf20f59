//! HTTP/2 can prove that a request was not processed. Then it is retried, whatever its method.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::Reason;
use http::{Method, Response};
use http_body_util::Full;
use seawall::verdict::Verdict;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::Layer;

use crate::{Protocol, call, client, request, retry};

/// What the server does with the first request.
#[derive(Clone, Copy, Debug)]
enum First {
    Reset(Reason),
    /// `GOAWAY` with the last processed stream, and then the connection is closed.
    GoAway(u32),
}

/// Answers all requests but the first, and counts them.
async fn server(first: First) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                match first {
                    First::GoAway(last) if count.load(Ordering::SeqCst) == 0 => {
                        count.fetch_add(1, Ordering::SeqCst);
                        return go_away(&mut stream, last).await;
                    }
                    _ => {}
                }
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    match first {
                        First::Reset(reason) if number == 0 => respond.send_reset(reason),
                        _ => drop(respond.send_response(Response::new(()), true)),
                    }
                }
            });
        }
    });
    (address, requests)
}

/// Written by hand, because h2 reports every stream that it has seen as processed.
async fn go_away(stream: &mut TcpStream, last: u32) {
    const HEADERS: u8 = 1;
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&SETTINGS).await.unwrap();
    stream.read_exact(&mut [0; 24]).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        if head[3] == HEADERS {
            break;
        }
    }
    let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
    frame.extend(last.to_be_bytes());
    frame.extend([0; 4]);
    stream.write_all(&frame).await.unwrap();
    stream.shutdown().await.unwrap();
    // Reads everything that is still sent, so that the connection ends cleanly.
    let _ = tokio::io::copy(stream, &mut tokio::io::sink()).await;
}

#[tokio::test]
async fn post_is_retried_only_if_provably_not_processed() {
    let unsent = [(First::Reset(Reason::REFUSED_STREAM), Verdict::Unsent), (First::GoAway(0), Verdict::Unsent)];
    let lost = [(First::Reset(Reason::CANCEL), Verdict::Lost), (First::GoAway(1), Verdict::Lost)];
    let calmed = [(First::Reset(Reason::ENHANCE_YOUR_CALM), Verdict::Overloaded { retry_after: None })];
    for (first, verdict) in unsent.into_iter().chain(lost).chain(calmed) {
        let (address, requests) = server(first).await;
        let request = request(Method::POST, address, Full::<Bytes>::from("pay"));
        let (answer, report) = call(retry().layer(client(Protocol::Http2)), request).await;
        assert_eq!(report.verdicts[0], verdict, "{first:?}: {answer:?}");
        assert_eq!(answer.is_ok(), verdict == Verdict::Unsent, "{first:?}");
        assert_eq!(requests.load(Ordering::SeqCst), if answer.is_ok() { 2 } else { 1 }, "{first:?}");
    }
}
