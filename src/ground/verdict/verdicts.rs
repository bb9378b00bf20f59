//! The verdicts.

use std::time::Duration;

/// What an attempt says about the dependency. The [module](super) has the table of what follows from each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It did what it was asked to.
    Success,
    /// The request was at fault, which proves the dependency alive: HTTP 404, `INVALID_ARGUMENT`.
    CallerFault,
    /// It did not process the request, for a reason that lies with the caller or the connection; the same request may succeed when
    /// it is sent again: HTTP 408, 421, 425. This proves the dependency alive.
    Unprocessed,
    /// It failed in a way that may pass: HTTP 500, a 503 that says nothing more, `UNAVAILABLE`.
    Transient,
    /// It refused the request by name: too many requests, `Retry-After`, `RESOURCE_EXHAUSTED`. This proves the dependency alive;
    /// pacing answers it, not the circuit breaker.
    Overloaded {
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// It refused the request, or speaks for what failed further in, and said that another attempt is not wanted: 502, 503, 504 or 429
    /// with `x-should-retry: false`, `UNAVAILABLE` with a negative `grpc-retry-pushback-ms`. This proves the dependency alive. A failure
    /// of its own that forbids retries, as 500 or `INTERNAL`, is [`Failed`](Self::Failed).
    DoNotRetry,
    /// It took longer than it was given.
    TimedOut,
    /// The request provably never got there: no connection could be made, or the dependency turned it away unread.
    Unsent,
    /// The connection died after the request was sent: it may have been executed, and it may be what killed the server.
    Lost,
    /// It failed in a way that does not pass: `INTERNAL`, `DATA_LOSS`.
    Failed,
    /// The caller gave up before there was an answer.
    Abandoned,
    /// It says nothing about the dependency: refused by a layer of ours before it got there.
    Ignored,
}

impl Verdict {
    /// The verdict in one word, as logs and metrics have it.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// How many there are.
    pub(crate) const COUNT: usize = 12;

    /// Each in one word, by [`index`](Self::index).
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
