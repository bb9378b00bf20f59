//! Payloads of random sizes, streams and pauses.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use futures::{Stream, StreamExt, stream};

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// The parts of a message or of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) parts: usize,
    pub(crate) size: usize,
}

impl Plan {
    /// A few parts or many, mostly small ones.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        match rng.u8(..16) {
            0 => Self { parts: rng.usize(1..4), size: rng.usize(..=ZEROS.len()) },
            // Frames in quick succession arrive while earlier frames are read.
            1..8 => Self { parts: rng.usize(16..64), size: rng.usize(..64) },
            _ => Self { parts: rng.usize(1..8), size: rng.usize(..512) },
        }
    }

    pub(crate) fn part(self) -> Bytes {
        Bytes::from_static(&ZEROS[..self.size.min(ZEROS.len())])
    }

    pub(crate) fn total(self) -> usize {
        self.parts * self.size
    }

    /// The parts one by one: some at once, some after a yield, a few after a short sleep.
    pub(crate) fn stream(self) -> impl Stream<Item = Bytes> + Send + 'static {
        stream::iter(0..self.parts).then(move |_| async move {
            pause().await;
            self.part()
        })
    }
}

/// Nothing, a yield to the scheduler, or a few milliseconds.
pub(crate) async fn pause() {
    match fastrand::u8(..64) {
        0 => tokio::time::sleep(Duration::from_millis(fastrand::u64(1..4))).await,
        1..32 => tokio::task::yield_now().await,
        _ => {}
    }
}
