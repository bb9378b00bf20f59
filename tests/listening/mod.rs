//! Runs a tracing subscriber for one thread in a process with several threads.

use std::sync::OnceLock;

use tracing::subscriber::{NoSubscriber, with_default};
use tracing::{Dispatch, Subscriber};

/// Runs `test` with a subscriber for this thread.
///
/// If there is a single subscriber in the process, the thread that first reaches an event decides for all threads
/// whether the event is enabled, and a thread of another test has no subscriber. With two further subscribers, tracing
/// asks every thread's own.
pub(crate) fn listening<T>(subscriber: impl Subscriber + Send + Sync + 'static, test: impl FnOnce() -> T) -> T {
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    OTHERS.get_or_init(|| [(), ()].map(|()| Dispatch::new(NoSubscriber::new())));
    with_default(subscriber, test)
}
