//! What has been published to a recorder, without a lock held while the recorder runs.
//!
//! A recorder is foreign code: it may publish, create and drop layers, or wait for another thread. So the published state is moved
//! out of its mutex while the recorder runs, and moved back afterwards. A thread that wants to publish to the same recorder
//! meanwhile does not wait: the running publication repeats once more. Another recorder (threads may have their own) gets
//! everything from the beginning, as it does whenever the recorder changes.

use std::mem;
use std::thread::{self, ThreadId};

use crate::ground::sync::foreign;
use crate::ground::sync::global::{Mutex, MutexGuard, lock};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Publisher<T> {
    state: Mutex<PublisherState<T>>,
}

#[derive(Debug, Default)]
struct PublisherState<T> {
    /// None while it is moved out.
    published: Option<T>,
    running: Vec<RunningPublication>,
}

#[derive(Debug)]
struct RunningPublication {
    /// The recorder's address.
    recorder: usize,
    thread: ThreadId,
    again: bool,
}

/// The published state, moved out. Moved back on drop, so that a panic of the recorder loses nothing.
struct Publishing<'a, T> {
    publisher: &'a Publisher<T>,
    recorder: usize,
    published: Option<T>,
    is_done: bool,
}

impl<T> Publisher<T> {
    pub(super) const fn new() -> Self {
        Self { state: Mutex::new(PublisherState { published: None, running: Vec::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, PublisherState<T>> {
        lock(&self.state)
    }

    /// Runs `publish` for the `recorder` of this thread, which is identified by its address. If another thread is publishing to it,
    /// that thread repeats once more. If this thread is, in a call from the recorder, nothing happens.
    pub(crate) fn publish(&self, recorder: usize, mut publish: impl FnMut(&mut T))
    where
        T: Default,
    {
        let Some(mut publishing) = self.begin(recorder) else { return };
        loop {
            foreign(|| publish(publishing.published.get_or_insert_default()));
            if !publishing.is_requested_again() {
                return;
            }
        }
    }

    fn begin(&self, recorder: usize) -> Option<Publishing<'_, T>> {
        let (mut state, thread) = (self.lock(), thread::current().id());
        if let Some(other) = state.running.iter_mut().find(|other| other.recorder == recorder) {
            other.again |= other.thread != thread;
            return None;
        }
        state.running.push(RunningPublication { recorder, thread, again: false });
        Some(Publishing { publisher: self, recorder, published: state.published.take(), is_done: false })
    }
}

impl<T> Publishing<'_, T> {
    /// Whether to publish once more. If not, the state has been moved back.
    fn is_requested_again(&mut self) -> bool {
        let mut state = self.publisher.lock();
        let ours = state.running.iter_mut().find(|running| running.recorder == self.recorder);
        let again = ours.is_some_and(|ours| mem::take(&mut ours.again));
        if !again {
            self.put_back(&mut state);
        }
        again
    }

    /// State that was published to another recorder meanwhile is dropped with `self`, without a lock: it holds foreign code.
    fn put_back(&mut self, state: &mut PublisherState<T>) {
        state.running.retain(|running| running.recorder != self.recorder);
        mem::swap(&mut state.published, &mut self.published);
        self.is_done = true;
    }
}

impl<T> Drop for Publishing<'_, T> {
    fn drop(&mut self) {
        if !self.is_done {
            let publisher = self.publisher;
            self.put_back(&mut publisher.lock());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use metrics_util::debugging::DebuggingRecorder;

    use super::*;
    use crate::telemetry::recorder;

    #[test]
    fn nested_publication_is_skipped() {
        let (publisher, mut rounds) = (Publisher::<u32>::new(), 0);
        publisher.publish(recorder(), |published| {
            rounds += 1;
            *published += 1;
            publisher.publish(recorder(), |_| unreachable!());
        });
        publisher.publish(recorder(), |published| assert_eq!(*published, 1));
        assert_eq!(rounds, 1);
    }

    #[test]
    fn concurrent_publication_repeats_the_running_one() {
        let (publisher, mut rounds) = (Publisher::<u32>::new(), 0);
        publisher.publish(recorder(), |published| {
            *published += 1;
            rounds += 1;
            if rounds == 1 {
                thread::scope(|scope| drop(scope.spawn(|| publisher.publish(recorder(), |_| unreachable!()))));
            }
        });
        publisher.publish(recorder(), |published| assert_eq!(*published, 2));
    }

    #[test]
    fn other_recorder_does_not_wait() {
        let publisher = Publisher::<u32>::new();
        let (first, second) = (DebuggingRecorder::new(), DebuggingRecorder::new());
        metrics::with_local_recorder(&first, || {
            publisher.publish(recorder(), |published| {
                *published = 7;
                metrics::with_local_recorder(&second, || {
                    publisher.publish(recorder(), |published| assert_eq!(mem::replace(published, 1), 0))
                });
            });
            publisher.publish(recorder(), |published| assert_eq!(*published, 7));
        });
    }

    #[test]
    fn panic_of_the_recorder_loses_nothing() {
        let publisher = Publisher::<u32>::new();
        publisher.publish(recorder(), |published| *published = 7);
        assert!(
            catch_unwind(AssertUnwindSafe(|| publisher.publish(recorder(), |_| panic!("of the recorder")))).is_err()
        );
        publisher.publish(recorder(), |published| assert_eq!(*published, 7));
    }
}
