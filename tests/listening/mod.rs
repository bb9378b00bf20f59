//! Subscribers of one thread, in a process of several.

use std::sync::OnceLock;

use tracing::subscriber::{NoSubscriber, with_default};
use tracing::{Dispatch, Subscriber};

/// Runs `test` with a subscriber for this thread.
///
/// While there is one subscriber in the process, the thread that reaches an event first decides for all threads whether the event is
/// of interest, and a thread of another test has no subscriber. So there are always more: then tracing asks all of them.
pub(crate) fn listening<T>(subscriber: impl Subscriber + Send + Sync + 'static, test: impl FnOnce() -> T) -> T {
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    OTHERS.get_or_init(|| [(), ()].map(|()| Dispatch::new(NoSubscriber::new())));
    with_default(subscriber, test)
}
