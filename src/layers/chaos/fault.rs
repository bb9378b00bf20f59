//! The kinds of faults.

use std::time::Duration;

use crate::algorithm::chaos::Delay;
use crate::ground::error::Injected;
use crate::ground::validation::Validation;
#[cfg(feature = "config")]
use crate::loader::{HumanTime, Off};

/// What happens to a call. The [module](super) says what each fault does in which protocol.
///
/// In files, a fault with settings is a table, and one without is a word:
/// `fault = { latency = { fixed = "200ms" } }`, `fault = "hang"`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ChaosFault {
    /// The call is sent after a delay.
    Latency(Delay),
    /// The call is refused, with [`Reason::Injected`](crate::error::Reason::Injected).
    Refuse {
        /// The `retry_after` of the refusal; 100 ms if none is set.
        #[cfg_attr(feature = "config", serde(default, with = "Off::<Duration>"))]
        retry_after: Option<Duration>,
    },
    /// The call is answered with this HTTP status.
    Status {
        /// The status, from 400 to 599.
        status: u16,
        /// The value of `Retry-After`, in whole seconds, rounded up.
        #[cfg_attr(feature = "config", serde(default, with = "Off::<Duration>"))]
        retry_after: Option<Duration>,
    },
    /// The call is answered with this gRPC code, in the head of the response.
    Code {
        /// The number of the code, from 1 to 16: 14 is `UNAVAILABLE`.
        code: u8,
        /// The pushback, `grpc-retry-pushback-ms`.
        #[cfg_attr(feature = "config", serde(default, with = "Off::<Duration>"))]
        pushback: Option<Duration>,
    },
    /// The call is never answered: it ends at its deadline, or after `max_hold` without one.
    Hang,
    /// The call is sent, and fails as if the connection was lost before the response.
    Drop,
    /// The body of the response stops and does not end, after this many bytes, or at its end if it is shorter.
    Stall {
        /// In bytes.
        after: u64,
    },
    /// The body of the response comes in small pieces.
    Drip {
        /// The bytes of a piece, at least 1.
        bytes: u32,
        /// The time between two pieces; more than zero.
        #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
        every: Duration,
    },
    /// The body of the response ends without an error after this many bytes, and without trailers.
    Truncate {
        /// In bytes.
        after: u64,
    },
    /// The body of the response fails after this many bytes, or at its end if it is shorter.
    Reset {
        /// In bytes.
        after: u64,
    },
    /// The body of the response ends without its trailers.
    NoTrailers,
}

impl ChaosFault {
    /// The number of the fault in [`Injected::FAULTS`].
    pub(crate) const fn index(&self) -> usize {
        match self {
            Self::Latency(_) => 0,
            Self::Refuse { .. } => 1,
            Self::Status { .. } => 2,
            Self::Code { .. } => 3,
            Self::Hang => 4,
            Self::Drop => 5,
            Self::Stall { .. } => 6,
            Self::Drip { .. } => 7,
            Self::Truncate { .. } => 8,
            Self::Reset { .. } => 9,
            Self::NoTrailers => 10,
        }
    }

    /// The fault in one word, for metrics and logs.
    pub const fn as_str(&self) -> &'static str {
        Injected::FAULTS[self.index()]
    }

    /// Whether it changes the body of a response, instead of the call.
    pub const fn affects_body(&self) -> bool {
        matches!(
            self,
            Self::Stall { .. } | Self::Drip { .. } | Self::Truncate { .. } | Self::Reset { .. } | Self::NoTrailers
        )
    }

    pub(super) fn check(&self, validation: &mut Validation) {
        match *self {
            Self::Latency(Delay::Fixed(delay)) => validation.bounded("latency", delay),
            Self::Latency(Delay::Uniform { from, to }) => validation.nested("latency", |validation| {
                validation.bounded("to", to);
                validation.check_against(from <= to, "to", &["from"], format_args!("{to:?} is less than from"));
            }),
            Self::Latency(Delay::LogNormal { median, p99 }) => validation.nested("latency", |validation| {
                validation.positive("median", median);
                validation.bounded("p99", p99);
                let problem = format_args!("{p99:?} is less than the median");
                validation.check_against(median <= p99, "p99", &["median"], problem);
            }),
            Self::Refuse { retry_after } => validation.bounded("retry_after", retry_after.unwrap_or_default()),
            Self::Status { status, retry_after } => {
                validation.check(
                    (400..=599).contains(&status),
                    "status",
                    format_args!("invalid value: {status}, must be in [400, 599]"),
                );
                validation.bounded("retry_after", retry_after.unwrap_or_default());
            }
            Self::Code { code, pushback } => {
                validation.check(
                    (1..=16).contains(&code),
                    "code",
                    format_args!("invalid value: {code}, must be in [1, 16]"),
                );
                validation.bounded("pushback", pushback.unwrap_or_default());
            }
            Self::Drip { bytes, every } => {
                validation.at_least_one("bytes", bytes.into());
                validation.positive("every", every);
            }
            Self::Hang
            | Self::Drop
            | Self::Stall { .. }
            | Self::Truncate { .. }
            | Self::Reset { .. }
            | Self::NoTrailers => {}
        }
    }
}
