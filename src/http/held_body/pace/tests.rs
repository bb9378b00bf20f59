#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::collections::VecDeque;

use futures::FutureExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody};

use super::*;

const KIB: usize = 1024;

fn full(bytes: usize) -> Bytes {
    (0..bytes).map(|n| n as u8).collect()
}

fn next<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin>(body: &mut Paced<B>) -> Option<Bytes> {
    body.frame().now_or_never().flatten().and_then(Result::ok).and_then(|frame| frame.into_data().ok())
}

fn frames(sizes: &[usize]) -> StreamBody<impl futures::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Unpin> {
    let frames: Vec<_> = sizes.iter().map(|size| Ok(Frame::data(full(*size)))).collect();
    StreamBody::new(futures::stream::iter(frames))
}

#[tokio::test(start_paused = true)]
async fn large_frame_is_handed_out_as_it_is_written() {
    for (pace, most) in [(Pace::Connection, 2 * PIECE), (Pace::Stream, PIECE)] {
        let all = full(1024 * KIB);
        let mut body = Paced::new(Full::new(all.clone()), pace);
        let (mut out, mut written) = (VecDeque::new(), Vec::new());
        loop {
            assert_eq!(
                body.size_hint().exact(),
                Some((all.len() - written.len() - out.iter().map(Bytes::len).sum::<usize>()) as u64)
            );
            while let Some(piece) = next(&mut body) {
                out.push_back(piece);
            }
            let held: usize = out.iter().map(Bytes::len).sum();
            assert!(held <= most + FREE, "{held}");
            assert!(out.is_empty() || body.is_held_up() || body.is_end_stream());
            let Some(piece) = out.pop_front() else { break };
            written.extend_from_slice(&piece);
        }
        assert!(body.is_end_stream() && written == all);
    }
}

#[tokio::test(start_paused = true)]
async fn small_frames_are_bounded_in_number() {
    let mut body =
        Paced::new(frames(&[16 * KIB, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), Pace::Connection);
    let mut out: Vec<_> = std::iter::from_fn(|| next(&mut body)).collect();
    // The last bytes of the first frame are tracked too.
    assert_eq!(out.len(), 1 + FRAMES);
    drop(out.pop());
    out.extend(next(&mut body));
    assert!(out.len() == 1 + FRAMES && next(&mut body).is_none() && body.is_held_up());
}

#[tokio::test(start_paused = true)]
async fn drop_of_a_piece_wakes_the_reader() {
    let mut body = Paced::new(Full::new(full(256 * KIB)), Pace::Stream);
    let (_free, piece) = (next(&mut body), next(&mut body));
    let mut frame = tokio_test::task::spawn(body.frame());
    assert!(frame.poll().is_pending());
    drop(piece);
    assert!(frame.is_woken() && frame.poll().is_ready());
}

/// Tests and middleware collect whole bodies.
#[tokio::test(start_paused = true)]
async fn collecting_reader_gets_everything_soon() {
    for pace in [Pace::Connection, Pace::Stream] {
        let start = time::now();
        let all = full(8192 * KIB);
        let read = Paced::new(Full::new(all.clone()), pace).collect().await.unwrap().to_bytes();
        assert!(read == all);
        assert!(time::now().since(start) <= 8 * MAX_PIECE_WAIT);
    }
}

/// Like middleware that sends in batches.
#[tokio::test(start_paused = true)]
async fn batching_reader_is_not_held_up() {
    let mut body = Paced::new(Full::new(full(8192 * KIB)), Pace::Connection);
    let (mut batch, mut read) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        batch.push(frame.unwrap().into_data().unwrap());
        if batch.iter().map(Bytes::len).sum::<usize>() > 150 * KIB {
            read += batch.drain(..).map(|bytes| bytes.len()).sum::<usize>();
        }
    }
    assert_eq!(read + batch.iter().map(Bytes::len).sum::<usize>(), 8192 * KIB);
}

/// The window of a stream may close anywhere, but not between two frames of a body that goes on.
#[tokio::test(start_paused = true)]
async fn stream_pieces_do_not_end_at_frame_boundaries() {
    for (size, count) in [(100, 10_000), (4096, 1000), (KIB * 64, 40)] {
        let sizes = vec![size; count];
        let mut body = Paced::new(frames(&sizes), Pace::Stream);
        let (mut read, mut pieces) = (0, 0);
        while let Some(piece) = next(&mut body) {
            (read, pieces) = (read + piece.len(), pieces + 1);
            assert!(read % size != 0 || read <= FREE + size || read == size * count, "after {read} bytes");
        }
        assert_eq!(read, size * count);
        assert!(pieces <= read / 2048 + 300, "{pieces} pieces of {count} frames");
    }
}

#[tokio::test(start_paused = true)]
async fn frame_end_is_not_kept_back_without_a_next_frame() {
    let (mut send, body) = http_body_util::channel::Channel::<Bytes>::new(4);
    let mut body = Paced::new(body, Pace::Stream);
    for size in [20 * KIB, 50, 20 * KIB] {
        send.send_data(full(size)).await.unwrap();
        let read: usize = std::iter::from_fn(|| next(&mut body)).map(|piece| piece.len()).sum();
        assert_eq!(read, size);
    }
    let mut trailers = ::http::HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    send.send_data(full(50)).await.unwrap();
    send.send_trailers(trailers).await.unwrap();
    drop(send);
    assert_eq!(next(&mut body).map(|piece| piece.len()), Some(50));
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    assert!(body.frame().await.is_none());
}

#[test]
fn unpaced_body_is_unchanged() {
    let all = full(1024 * KIB);
    let mut body = Paced::new(Full::new(all.clone()), Pace::Free);
    assert_eq!(next(&mut body), Some(all));
    assert!(body.is_end_stream() && !body.is_held_up());
}

fn large() -> Bytes {
    full(2048 * KIB)
}

/// Like middleware that inspects the beginning of a body and then collects the rest.
#[tokio::test(start_paused = true)]
async fn reader_that_drops_some_and_keeps_the_rest_gets_all_soon() {
    for pace in [Pace::Connection, Pace::Stream] {
        for dropped in [1, 2, 3, 20] {
            let start = time::now();
            let mut body = Paced::new(Full::new(large()), pace);
            let mut read = 0;
            for _ in 0..dropped {
                read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
            }
            read += body.collect().await.unwrap().to_bytes().len();
            assert_eq!(read, large().len());
            assert!(time::now().since(start) <= 8 * MAX_PIECE_WAIT, "{:?} after {dropped}", time::now().since(start));
        }
    }
}

/// The reader drops pieces that it has collected, but not while it waits for another.
#[tokio::test(start_paused = true)]
async fn reader_that_drops_inspected_pieces_gets_the_rest_soon() {
    for pace in [Pace::Connection, Pace::Stream] {
        let start = time::now();
        let mut body = Paced::new(Full::new(large()), pace);
        let mut looked_at = Vec::new();
        while looked_at.iter().map(Bytes::len).sum::<usize>() < 100 * KIB {
            looked_at.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        let read: usize = looked_at.drain(..).map(|piece| piece.len()).sum();
        let rest = body.collect().await.unwrap().to_bytes().len();
        assert_eq!(read + rest, large().len());
        assert!(time::now().since(start) <= 8 * MAX_PIECE_WAIT);
    }
}

/// A connection that has written something and then stalls gets nothing more, however long that takes.
#[tokio::test(start_paused = true)]
async fn reader_that_drops_while_waiting_gets_no_more_than_it_takes() {
    for (pace, most) in [(Pace::Connection, 2 * PIECE), (Pace::Stream, PIECE)] {
        let mut body = Paced::new(Full::new(large()), pace);
        let mut out = Vec::new();
        while let Some(piece) = next(&mut body) {
            out.push(piece);
        }
        out.clear();
        let mut held = 0;
        for _ in 0..100 {
            while let Some(piece) = next(&mut body) {
                held += piece.len();
                out.push(piece);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(held <= most && body.is_held_up(), "{held}");
    }
}

/// The client stops reading while the body is idle. What the connection wrote before that still counts.
#[tokio::test(start_paused = true)]
async fn connection_is_recognised_while_the_body_is_idle() {
    let (mut send, body) = http_body_util::channel::Channel::<Bytes>::new(4);
    let mut body = Paced::new(body, Pace::Connection);
    for _ in 0..3 {
        send.send_data(full(20 * KIB)).await.unwrap();
        let written: Vec<_> = std::iter::from_fn(|| next(&mut body)).collect();
        assert!(!written.is_empty() && !body.is_held_up());
    }
    let mut out = Vec::new();
    for _ in 0..100 {
        let _ = send.try_send(Frame::data(full(20 * KIB)));
        out.extend(std::iter::from_fn(|| next(&mut body)));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(body.is_held_up() && out.iter().map(Bytes::len).sum::<usize>() <= 3 * PIECE);
}

#[test]
fn body_is_not_held_back_outside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for pace in [Pace::Connection, Pace::Stream] {
        let (body, first) = runtime.block_on(async {
            let mut body = Paced::new(Full::new(large()), pace);
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            (body, first)
        });
        let rest = futures::executor::block_on(body.collect()).unwrap().to_bytes();
        assert_eq!(first.len() + rest.len(), large().len());
    }
}

#[tokio::test(start_paused = true)]
async fn small_message_is_one_frame() {
    for size in [1, SEAM, SEAM + 1, 1000, GATHERED] {
        let (mut send, body) = http_body_util::channel::Channel::<Bytes>::new(4);
        let mut body = Paced::new(body, Pace::Stream);
        // Sizes across the end of the free part, and well into the paced part.
        for _ in 0..3 + 2 * FREE / size.max(SEAM) {
            send.send_data(full(size)).await.unwrap();
            assert_eq!(next(&mut body).map(|piece| piece.len()), Some(size));
            assert!(next(&mut body).is_none());
        }
        send.send_data(full(size)).await.unwrap();
        drop(send);
        assert_eq!(next(&mut body).map(|piece| piece.len()), Some(size));
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn large_message_has_no_small_frame_at_its_end() {
    let (mut send, body) = http_body_util::channel::Channel::<Bytes>::new(4);
    let mut body = Paced::new(body, Pace::Stream);
    for size in [FREE, PIECE, PIECE + 1000, 2 * PIECE] {
        send.send_data(full(size)).await.unwrap();
        let pieces: Vec<_> = std::iter::from_fn(|| next(&mut body).map(|piece| piece.len())).collect();
        assert_eq!(pieces.iter().sum::<usize>(), size);
        assert_eq!(pieces.len(), size.div_ceil(PIECE), "{pieces:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn size_hint_counts_kept_back_and_inspected_data() {
    let sizes = vec![5000; 40];
    let mut left = 5000 * sizes.len();
    let mut body = Paced::new(WithLength(sizes.into()), Pace::Stream);
    while let Some(piece) = next(&mut body) {
        left -= piece.len();
        assert_eq!(body.size_hint().exact(), Some(left as u64));
        assert_eq!(body.is_end_stream(), left == 0);
    }
    assert_eq!(left, 0);
}

struct WithLength(VecDeque<usize>);

impl Body for WithLength {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(|size| Ok(Frame::data(full(size)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().sum::<usize>() as u64)
    }
}
