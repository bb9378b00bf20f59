//! A new attempt takes over while a superseded one is reading: no frame is lost, and no reader sleeps for ever.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::record::RecordPosition;
use super::source::{Begun, ReplaySource, ReplayStep};
use crate::ground::sync::Arc;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: StdArc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Yields its pieces. An empty piece stands for a pause, after which the body wakes its reader.
struct Pieces(VecDeque<&'static [u8]>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loom::thread::yield_now();
        match self.0.pop_front() {
            Some([]) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece))))),
            None => Poll::Ready(None),
        }
    }
}

#[derive(Default)]
struct Reader {
    attempt: u32,
    place: RecordPosition,
    read: Vec<u8>,
    flag: StdArc<Flag>,
}

impl Reader {
    /// Reads until it must wait (`None`) or the body is over. Returns whether it ended without an error.
    fn read(&mut self, source: &ReplaySource<Pieces>) -> Option<bool> {
        let waker = Waker::from(StdArc::clone(&self.flag));
        loop {
            match source.poll_frame(self.attempt, &mut self.place, &mut Context::from_waker(&waker)) {
                Poll::Ready(ReplayStep::Frame(frame, _)) => {
                    self.read.extend_from_slice(frame.data_ref().expect("data"))
                }
                Poll::Ready(ReplayStep::End) => return Some(true),
                Poll::Ready(ReplayStep::Failed(_)) => return Some(false),
                Poll::Pending if self.flag.0.swap(false, Ordering::SeqCst) => {}
                Poll::Pending => return None,
            }
        }
    }
}

#[test]
fn loom_newest_attempt_gets_everything_and_is_woken() {
    loom::model(|| {
        let pieces = VecDeque::from([&b"ab"[..], b"", b"cd"]);
        let source = Arc::new(ReplaySource::new(Pieces(pieces), 3));
        let older = loom::thread::spawn({
            let source = Arc::clone(&source);
            move || {
                let mut reader = Reader::default();
                let over = reader.read(&source);
                (over, reader)
            }
        });
        if let Some(Begun { attempt, .. }) = source.begin() {
            let mut reader = Reader { attempt, ..Reader::default() };
            let mut over = reader.read(&source);
            let (older_over, mut older) = older.join().expect("no panic");
            if over.is_none() {
                assert!(reader.flag.0.load(Ordering::SeqCst), "it waits, and the older one is done");
                over = reader.read(&source);
            }
            assert_eq!((over, &reader.read[..]), (Some(true), &b"abcd"[..]));
            if older_over.is_none() {
                assert!(older.flag.0.load(Ordering::SeqCst), "the connection is to let go of it");
                assert_eq!(older.read(&source), Some(false));
            }
            assert!(b"abcd".starts_with(&older.read));
        } else {
            let (over, reader) = older.join().expect("no panic");
            assert_eq!((over, &reader.read[..]), (Some(true), &b"abcd"[..]), "too much had passed already");
        }
    });
}
