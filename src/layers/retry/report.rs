//! How a call went: told to whoever asks, and to nobody else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;

use crate::ground::scope::attachment::{self, Slot};
use crate::ground::sync::{Mutex, lock};
use crate::ground::verdict::Verdict;
use crate::telemetry::NotRetried;

/// Why no further attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// The last attempt succeeded.
    Succeeded,
    /// The last attempt ended in a way that is not retried; see the table at [`verdict`](crate::verdict).
    Verdict,
    /// The request cannot be made again, or must not be after what happened.
    NotRepeatable,
    /// `max_attempts` were made.
    Attempts,
    /// The callee asked for a pause of more than `max_retry_after`.
    RetryAfter,
    /// There was not enough time left for the wait before another attempt.
    Deadline,
    /// The budget could not pay for another attempt.
    Budget,
    /// The call was dropped, by its caller or at a bound further out.
    Dropped,
}

impl Stop {
    /// The reason in one word, as logs and metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Verdict => "verdict",
            Self::NotRepeatable => "not_repeatable",
            Self::Attempts => "attempts",
            Self::RetryAfter => "retry_after",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
            Self::Dropped => "dropped",
        }
    }

    /// Whether a call that went through `attempts`, the last with the verdict `last`, has failed for good: a tier above that
    /// tries again what this one has spent its retries on, or had none to spend on, multiplies them. Where no other attempt
    /// was to be made in any case, that is left to others.
    pub(super) fn is_final(self, last: Verdict, attempts: u32) -> bool {
        match self {
            Self::RetryAfter | Self::Deadline | Self::Budget => true,
            Self::Attempts | Self::NotRepeatable => attempts > 1,
            Self::Verdict => {
                matches!(last, Verdict::Failed | Verdict::DoNotRetry) || attempts > 1 && last != Verdict::CallerFault
            }
            Self::Succeeded | Self::Dropped => false,
        }
    }

    /// Why another attempt that would have been in order was not to be had, if that is how it was.
    pub(super) const fn not_retried(self) -> Option<NotRetried> {
        match self {
            Self::NotRepeatable => Some(NotRetried::NotRepeatable),
            Self::Attempts => Some(NotRetried::Attempts),
            Self::RetryAfter => Some(NotRetried::RetryAfter),
            Self::Deadline => Some(NotRetried::Deadline),
            Self::Budget => Some(NotRetried::Budget),
            Self::Succeeded | Self::Verdict | Self::Dropped => None,
        }
    }
}

/// How a call went through a retry. See [`report`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many attempts were begun.
    pub attempts: u32,
    /// Why no further one was made.
    pub stopped: Stop,
    /// What each attempt that ended said about the callee, the first one first.
    pub verdicts: Vec<Verdict>,
    /// How long the call took, waits included.
    pub elapsed: Duration,
}

/// Where the report of the present call goes.
#[derive(Debug, Default)]
struct ReportSlot(Mutex<Option<Report>>);

/// Whether anyone wants a report of the present call.
#[inline]
pub(super) fn is_requested() -> bool {
    attachment::is_attached(Slot::Report)
}

/// The last to report is the outermost layer.
pub(super) fn publish(report: Report) {
    if let Some(slot) = attachment::attached::<ReportSlot>(Slot::Report) {
        *lock(&slot.0) = Some(report);
    }
}

/// Runs `future` and says how the call in it went through a [`RetryLayer`](super::RetryLayer): how many attempts it
/// took and why they stopped. The output is the response or the error as it would be without; the report is `None` if
/// no such layer was passed in this very task. Of several calls the last to end is reported, of nested layers the
/// outermost.
///
/// ```
/// use seawall::retry::{RetryConfig, RetryLayer, Stop, report};
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let service = RetryLayer::new(RetryConfig { max_attempts: 2, ..RetryConfig::default() })?
///     .layer(service_fn(|()| async { Err::<(), _>("out of order") }));
///
/// let (result, report) = report(service.oneshot(())).await;
/// assert_eq!(result.unwrap_err().to_string(), "out of order");
/// let report = report.expect("there is a retry layer");
/// assert_eq!((report.attempts, report.stopped), (2, Stop::Attempts));
/// # Ok(())
/// # }
/// ```
pub fn report<F>(future: F) -> Reported<F> {
    Reported { future, slot: Arc::default() }
}

/// A future that reports how the call in it went. See [`report`].
#[pin_project]
#[derive(Debug)]
pub struct Reported<F> {
    #[pin]
    future: F,
    slot: Arc<ReportSlot>,
}

impl<F: Future> Future for Reported<F> {
    type Output = (F::Output, Option<Report>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = {
            let _attached = attachment::attach(Slot::Report, Some(this.slot));
            ready!(this.future.poll(cx))
        };
        let report = lock(&this.slot.0).take();
        Poll::Ready((output, report))
    }
}
