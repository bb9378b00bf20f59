//! Responses that are entirely in memory.

use std::sync::{Arc, Weak};

use ::http::response::Parts;
use ::http::{HeaderMap, Response};

/// A response extension that marks a response as entirely in memory. No layer holds anything for it any more. It may be
/// read after the call's time is over, and is usually handed on only then.
///
/// The extension stays in the response for all outer layers, so it may end up beside another body. It must not apply to
/// that body.
#[derive(Clone, Debug)]
pub(crate) struct AllHere {
    body: Weak<()>,
    trailers: Option<HeaderMap>,
}

impl AllHere {
    /// Marks a response whose body ends with these trailers. The body must keep what this returns.
    pub(crate) fn mark(head: &mut Parts, trailers: Option<HeaderMap>) -> Arc<()> {
        let here = Arc::new(());
        head.extensions.insert(Self { body: Arc::downgrade(&here), trailers });
        here
    }

    /// The trailers of `response`, if all of it is in memory.
    pub(super) fn end_of<B>(response: &Response<B>) -> Option<Option<&HeaderMap>> {
        let here = response.extensions().get::<Self>()?;
        (here.body.strong_count() > 0).then_some(here.trailers.as_ref())
    }
}
