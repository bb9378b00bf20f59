//! Bodies that are counted while they live, and whose readers are interrupted at random.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// How many bodies of one setup have not been dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bodies(Arc<()>);

impl Bodies {
    pub(crate) fn held(&self) -> usize {
        Arc::weak_count(&self.0)
    }

    pub(crate) fn counted<B>(&self, body: B) -> Counted<B> {
        Counted { body, _held: Arc::downgrade(&self.0) }
    }
}

#[pin_project]
#[derive(Debug)]
pub(crate) struct Counted<B> {
    #[pin]
    body: B,
    _held: Weak<()>,
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        preempt(32);
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        preempt(8);
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        preempt(8);
        self.body.size_hint()
    }
}

/// Yields to other threads one time in `times`, as the operating system may at any point: the caller keeps whatever it
/// holds meanwhile.
fn preempt(times: u32) {
    if fastrand::u32(..times) == 0 {
        std::thread::sleep(Duration::from_micros(fastrand::u64(..100)));
    }
}
