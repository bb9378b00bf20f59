//! How a response says that it is a fallback.

use std::fmt;

use tower::BoxError;

use super::failure::Failure;

/// Makes one type of the inner service's response `T` and of the fallback's response `R`, and marks which of them it is.
///
/// By default ([`AsIs`]) both are of one type, and nothing is marked. HTTP and gRPC have marks of their own: see
/// [`AnsweredByFallback`](super::AnsweredByFallback).
pub trait Mark<T, R>: Clone {
    /// What callers get.
    type Response;

    /// The response of the inner service.
    fn inner(&self, response: T) -> Self::Response;

    /// The response of the fallback, which stands for this failure.
    fn fallback(&self, response: R, failure: Failure<T>) -> Self::Response;

    /// The failed response of the inner service, after the fallback failed with `error`, too.
    fn unanswered(&self, response: T, error: BoxError) -> Self::Response;
}

/// Returns both responses unchanged. A caller cannot distinguish them, and a failed response of the inner service is dropped.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AsIs;

impl<T> Mark<T, T> for AsIs {
    type Response = T;

    fn inner(&self, response: T) -> T {
        response
    }

    fn fallback(&self, response: T, _failure: Failure<T>) -> T {
        response
    }

    fn unanswered(&self, response: T, _error: BoxError) -> T {
        response
    }
}

/// A mark made by a closure: see [`marked_by`](super::FallbackLayer::marked_by).
#[derive(Clone, Copy)]
pub struct MarkedBy<F>(pub(super) F);

impl<F> fmt::Debug for MarkedBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MarkedBy").finish_non_exhaustive()
    }
}

impl<T, R, F> Mark<T, R> for MarkedBy<F>
where
    F: Fn(R, Failure<T>) -> T + Clone,
{
    type Response = T;

    fn inner(&self, response: T) -> T {
        response
    }

    fn fallback(&self, response: R, failure: Failure<T>) -> T {
        (self.0)(response, failure)
    }

    fn unanswered(&self, response: T, _error: BoxError) -> T {
        response
    }
}
