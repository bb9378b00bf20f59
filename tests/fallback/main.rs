//! Fallbacks: which failures they answer, how the answer is marked, and what happens if they fail, too.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod answers;
mod cancellation;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;
mod report;
