//! Reports how a call went, if a report was requested.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;

use crate::algorithm::budget::NotGranted;
use crate::ground::scope::attachment::{self, AttachmentSlot};
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
    /// The request cannot be sent again, or must not be after this verdict.
    NotRepeatable,
    /// `max_attempts` were made.
    Attempts,
    /// The dependency asked for a pause of more than `max_retry_after`.
    RetryAfter,
    /// Too little time was left for the wait before another attempt.
    Deadline,
    /// The budget could not pay for another attempt.
    Budget,
    /// The budget granted no other attempt, because recent retries have not helped. See [`Budget`](super::Budget).
    NotHelping,
    /// The call was dropped, by its caller or at an outer bound.
    Dropped,
}

impl Stop {
    /// The reason in one word, as in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Verdict => "verdict",
            Self::NotRepeatable => "not_repeatable",
            Self::Attempts => "attempts",
            Self::RetryAfter => "retry_after",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
            Self::NotHelping => "not_helping",
            Self::Dropped => "dropped",
        }
    }

    /// Whether a tier above must not retry a call that made `attempts`, the last one with the verdict `last`. A tier that retries
    /// what this one has already retried, or could not afford to retry, multiplies the attempts. If this tier would not have retried
    /// in any case, the decision is left to the tiers above.
    pub(crate) fn is_final(self, last: Verdict, attempts: u32) -> bool {
        match self {
            Self::RetryAfter | Self::Deadline | Self::Budget | Self::NotHelping => true,
            Self::Attempts | Self::NotRepeatable => attempts > 1,
            Self::Verdict => {
                matches!(last, Verdict::Failed | Verdict::DoNotRetry) || attempts > 1 && last != Verdict::CallerFault
            }
            Self::Succeeded | Self::Dropped => false,
        }
    }

    /// Why a retry that was in order was not made; `None` if none was in order.
    pub(crate) const fn not_retried(self) -> Option<NotRetried> {
        match self {
            Self::NotRepeatable => Some(NotRetried::NotRepeatable),
            Self::Attempts => Some(NotRetried::Attempts),
            Self::RetryAfter => Some(NotRetried::RetryAfter),
            Self::Deadline => Some(NotRetried::Deadline),
            Self::Budget => Some(NotRetried::Budget),
            Self::NotHelping => Some(NotRetried::NotHelping),
            Self::Succeeded | Self::Verdict | Self::Dropped => None,
        }
    }
}

impl From<NotGranted> for Stop {
    fn from(refused: NotGranted) -> Self {
        match refused {
            NotGranted::Exhausted => Self::Budget,
            NotGranted::NotHelping => Self::NotHelping,
        }
    }
}

/// How a call went through a retry layer. See [`report`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many attempts were started, without those of a [hedge](crate::hedge) inside.
    pub attempts: u32,
    /// Why no further attempt was made.
    pub stopped: Stop,
    /// The verdicts of the attempts that ended, in order.
    pub verdicts: Vec<Verdict>,
    /// How long the call took, waits included.
    pub elapsed: Duration,
    /// The keys of the endpoints that the [balancers](crate::balance) inside have chosen, one for each attempt and each hedge, in order.
    /// Empty without a balancer. At most the first 64 of all calls in the future.
    pub endpoints: Vec<Arc<str>>,
    /// Why a [fallback](crate::fallback) answered: the cause in one word, as in [`Failure::cause`](crate::fallback::Failure::cause).
    /// `None` if none did. A fallback around the retry answered the call, one inside an attempt. The other fields are those of the
    /// call that failed.
    pub fallback: Option<&'static str>,
}

/// Where the report of the current call is stored.
#[derive(Debug, Default)]
struct ReportSlot {
    reports: Mutex<Reports>,
    endpoints: Mutex<Vec<Arc<str>>>,
}

#[derive(Debug, Default)]
struct Reports {
    last: Option<Report>,
    /// How many were published.
    published: u64,
    /// Why a fallback answered inside an attempt whose retry has not reported yet.
    fallback: Option<&'static str>,
}

/// How many endpoints a report lists: a future may make any number of calls.
const MAX_ENDPOINTS: usize = 64;

/// Whether a report of the current call was requested.
#[inline]
pub(crate) fn is_requested() -> bool {
    attachment::is_attached(AttachmentSlot::Report)
}

/// Stores the report. The outermost layer reports last, so its report is the one that is kept.
pub(crate) fn publish(report: Report) {
    if let Some(slot) = attachment::attached::<ReportSlot>(AttachmentSlot::Report) {
        let mut reports = lock(&slot.reports);
        let fallback = reports.fallback.take();
        reports.last = Some(Report { fallback, ..report });
        reports.published += 1;
    }
}

/// How many reports were published so far, if a report was requested.
#[inline]
pub(crate) fn published() -> u64 {
    if is_requested() { count_published() } else { 0 }
}

#[cold]
fn count_published() -> u64 {
    attachment::attached::<ReportSlot>(AttachmentSlot::Report).map_or(0, |slot| lock(&slot.reports).published)
}

/// Notes that a fallback answered. `before` is what [`published`] returned when its call began: a report of before is that of another
/// call. `is_attempt` says that a retry further out will report.
pub(crate) fn note_fallback(cause: &'static str, before: u64, is_attempt: bool) {
    if let Some(slot) = attachment::attached::<ReportSlot>(AttachmentSlot::Report) {
        let mut reports = lock(&slot.reports);
        if reports.published > before {
            reports.last.iter_mut().for_each(|report| report.fallback = Some(cause));
        }
        if is_attempt {
            reports.fallback = Some(cause);
        }
    }
}

/// Notes the endpoint to which an attempt is sent, if a report was requested.
#[inline]
pub(crate) fn note_endpoint(key: &Arc<str>) {
    if is_requested() {
        keep_endpoint(key);
    }
}

#[cold]
fn keep_endpoint(key: &Arc<str>) {
    if let Some(slot) = attachment::attached::<ReportSlot>(AttachmentSlot::Report) {
        let mut endpoints = lock(&slot.endpoints);
        if endpoints.len() < MAX_ENDPOINTS {
            endpoints.push(Arc::clone(key));
        }
    }
}

/// Runs `future` and reports how the call in it went through a [`RetryLayer`](super::RetryLayer): how many attempts it made and why
/// they stopped. The output is the response or the error as it would be without the report. The report is `None` if the call passed no
/// such layer in this very task. If a fallback around such a layer answered, the report says so; if it answered without one, only its
/// [mark](crate::fallback) does. Of several calls
/// the last to end is reported, of nested layers the outermost. So around a [`quorum`](crate::quorum) it may be that of a call that was no
/// longer needed, with [`Stop::Dropped`].
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
            let _attached = attachment::attach(AttachmentSlot::Report, Some(this.slot));
            ready!(this.future.poll(cx))
        };
        let endpoints = std::mem::take(&mut *lock(&this.slot.endpoints));
        let report = std::mem::take(&mut *lock(&this.slot.reports)).last;
        Poll::Ready((output, report.map(|report| Report { endpoints, ..report })))
    }
}
