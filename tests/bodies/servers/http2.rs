//! HTTP/2 through the `h2` crate, which can reset streams at any point.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Answer, Census, PAUSE, Rest, Script};
use crate::pipes::Stream;

pub(super) async fn serve(stream: Stream, census: Arc<Census>, script: Script) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let (goaway, mut going) = watch::channel(false);
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            Ok(()) = going.changed() => {
                connection.abrupt_shutdown(Reason::NO_ERROR);
                continue;
            }
        };
        let Some(Ok((_, respond))) = accepted else { return };
        let (census, script, goaway) = (Arc::clone(&census), Arc::clone(&script), goaway.clone());
        tokio::spawn(async move {
            let (number, _open) = census.answer().await;
            let _ = answer(respond, &script(number), &goaway).await;
        });
    }
}

async fn answer(
    mut respond: SendResponse<Bytes>,
    answer: &Answer,
    goaway: &watch::Sender<bool>,
) -> Result<(), h2::Error> {
    if matches!(answer.rest, Rest::Silence) {
        poll_fn(|cx| respond.poll_reset(cx)).await?;
        return Ok(());
    }
    let mut head = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        head = head.header(*name, *value);
    }
    if let Rest::Whole(body) = &answer.rest {
        head = head.header("content-length", body.len());
    }
    let empty = matches!(&answer.rest, Rest::Whole(body) if body.is_empty());
    let mut stream = respond.send_response(head.body(()).unwrap(), empty)?;
    if empty {
        return Ok(());
    }
    match &answer.rest {
        Rest::Whole(body) => send(&mut stream, body.clone(), true).await,
        Rest::Trailers(body, (name, value)) => {
            send(&mut stream, body.clone(), false).await?;
            let mut trailers = HeaderMap::new();
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            stream.send_trailers(trailers)
        }
        Rest::Drip(every) => drip(&mut stream, usize::MAX, *every).await,
        Rest::Trickle(bytes, every) => {
            drip(&mut stream, *bytes, *every).await?;
            stream.send_data(Bytes::new(), true)
        }
        Rest::Endless => loop {
            for _ in 0..16 {
                send(&mut stream, Bytes::from_static(&[b'x'; 16 * 1024]), false).await?;
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                end = poll_fn(|cx| stream.poll_reset(cx)) => return end.map(|_| ()),
            }
        },
        Rest::Reset => {
            send(&mut stream, Bytes::from_static(b"x"), false).await?;
            sleep(Duration::from_millis(20)).await;
            stream.send_reset(Reason::INTERNAL_ERROR);
            Ok(())
        }
        Rest::Close => {
            send(&mut stream, Bytes::from_static(b"x"), false).await?;
            sleep(Duration::from_millis(20)).await;
            let _ = goaway.send(true);
            closed(&mut stream).await
        }
        Rest::Stall | Rest::Silence | Rest::Echo => {
            send(&mut stream, Bytes::from_static(b"x"), false).await?;
            closed(&mut stream).await
        }
    }
}

/// Waits until the client has reset the stream.
async fn closed(stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    poll_fn(|cx| stream.poll_reset(cx)).await.map(|_| ())
}

async fn drip(stream: &mut SendStream<Bytes>, bytes: usize, every: Duration) -> Result<(), h2::Error> {
    for _ in 0..bytes {
        tokio::select! {
            () = sleep(every) => stream.send_data(Bytes::from_static(b"x"), false)?,
            end = poll_fn(|cx| stream.poll_reset(cx)) => return end.map(|_| ()),
        }
    }
    Ok(())
}

/// Sends as much at a time as the client's window allows.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, end: bool) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let capacity = poll_fn(|cx| match stream.poll_reset(cx) {
            Poll::Ready(end) => Poll::Ready(Err(end.map_or_else(|error| error, h2::Error::from))),
            Poll::Pending => stream.poll_capacity(cx).map(|capacity| capacity.unwrap_or(Err(Reason::CANCEL.into()))),
        })
        .await?;
        let part = data.split_to(capacity.min(data.len()));
        stream.send_data(part, end && data.is_empty())?;
    }
    Ok(())
}
