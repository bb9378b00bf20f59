//! The verdicts.

use std::time::Duration;

/// What an attempt proves about the dependency. The [module](super) has the table of effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The dependency did what was requested.
    Success,
    /// The request was at fault, which proves the dependency alive: HTTP 404, `INVALID_ARGUMENT`.
    CallerFault,
    /// It did not process the request, for a reason that lies with the caller or the connection; the same request may succeed when
    /// it is sent again: HTTP 408, 421, 425. This proves the dependency alive.
    Unprocessed,
    /// A failure that may be temporary: HTTP 500, a plain 503, `UNAVAILABLE`.
    Transient,
    /// The dependency refused the request explicitly: too many requests, `Retry-After`, `RESOURCE_EXHAUSTED`. This proves the
    /// dependency alive; pacing answers it, not the circuit breaker.
    Overloaded {
        /// The wait that the dependency asked for.
        retry_after: Option<Duration>,
    },
    /// The dependency refused the request, or reports a failure further in, and said that another attempt is not wanted: 502, 503,
    /// 504 or 429 with `x-should-retry: false`, `UNAVAILABLE` with a negative `grpc-retry-pushback-ms`. This proves the dependency
    /// alive. A failure of its own that forbids retries, such as 500 or `INTERNAL`, is [`Failed`](Self::Failed).
    DoNotRetry,
    /// The attempt took longer than it was given.
    TimedOut,
    /// The request was provably not processed: no connection could be made, or the dependency refused it unread.
    Unsent,
    /// The connection died after the request was sent: it may have been executed, and it may be what killed the server.
    Lost,
    /// A permanent failure: `INTERNAL`, `DATA_LOSS`.
    Failed,
    /// The caller gave up before there was an answer.
    Abandoned,
    /// No evidence about the dependency: a layer refused the call before it was sent.
    Ignored,
}

impl Verdict {
    /// The verdict in one word, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The number of verdicts.
    pub(crate) const COUNT: usize = 12;

    /// The verdicts in one word, by [`index`](Self::index).
    pub(crate) const NAMES: [&'static str; Self::COUNT] = [
        "success",
        "caller_fault",
        "transient",
        "overloaded",
        "timed_out",
        "unsent",
        "lost",
        "failed",
        "abandoned",
        "ignored",
        "unprocessed",
        "do_not_retry",
    ];

    #[inline]
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Success => 0,
            Self::CallerFault => 1,
            Self::Transient => 2,
            Self::Overloaded { .. } => 3,
            Self::TimedOut => 4,
            Self::Unsent => 5,
            Self::Lost => 6,
            Self::Failed => 7,
            Self::Abandoned => 8,
            Self::Ignored => 9,
            Self::Unprocessed => 10,
            Self::DoNotRetry => 11,
        }
    }
}
