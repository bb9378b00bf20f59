//! What has been told to a recorder, without a lock held while it is told more.
//!
//! A recorder is foreign code: it may publish, make layers and drop them, or wait for another thread. So what it has been told is taken
//! out of its mutex for the time in which the recorder is called, and put back afterwards. A thread that wants to tell the same
//! recorder meanwhile does not wait: the one at work does it once more. Another recorder (threads may have their own) is told from the beginning,
//! as it is whenever recorders change.

use std::mem;
use std::thread::{self, ThreadId};

use crate::ground::sync::foreign;
use crate::ground::sync::global::{Mutex, MutexGuard, lock};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Turns<T> {
    kept: Mutex<Kept<T>>,
}

#[derive(Debug, Default)]
struct Kept<T> {
    /// None while it is taken out.
    told: Option<T>,
    at_work: Vec<AtWork>,
}

#[derive(Debug)]
struct AtWork {
    /// The recorder's address.
    recorder: usize,
    thread: ThreadId,
    again: bool,
}

/// What was taken out. Put back on drop, so that a panic of the recorder loses nothing.
struct Turn<'a, T> {
    turns: &'a Turns<T>,
    recorder: usize,
    told: Option<T>,
    is_over: bool,
}

impl<T> Turns<T> {
    pub(super) const fn new() -> Self {
        Self { kept: Mutex::new(Kept { told: None, at_work: Vec::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        lock(&self.kept)
    }

    /// Lets `tell` tell the `recorder` of this thread, which is known by its address, what is new. If another thread is telling that recorder at this moment, it will do so
    /// once more; if it is this very thread, in a call of the recorder's, nothing happens.
    pub(crate) fn take(&self, recorder: usize, mut tell: impl FnMut(&mut T))
    where
        T: Default,
    {
        let Some(mut turn) = self.begin(recorder) else { return };
        loop {
            foreign(|| tell(turn.told.get_or_insert_default()));
            if !turn.is_wanted_again() {
                return;
            }
        }
    }

    fn begin(&self, recorder: usize) -> Option<Turn<'_, T>> {
        let (mut kept, thread) = (self.lock(), thread::current().id());
        if let Some(other) = kept.at_work.iter_mut().find(|other| other.recorder == recorder) {
            other.again |= other.thread != thread;
            return None;
        }
        kept.at_work.push(AtWork { recorder, thread, again: false });
        Some(Turn { turns: self, recorder, told: kept.told.take(), is_over: false })
    }
}

impl<T> Turn<'_, T> {
    /// If not, what was taken out is back.
    fn is_wanted_again(&mut self) -> bool {
        let mut kept = self.turns.lock();
        let ours = kept.at_work.iter_mut().find(|at_work| at_work.recorder == self.recorder);
        let again = ours.is_some_and(|ours| mem::take(&mut ours.again));
        if !again {
            self.put_back(&mut kept);
        }
        again
    }

    /// What was there instead, told to another recorder meanwhile, is dropped with us, unlocked: it has foreign code in it.
    fn put_back(&mut self, kept: &mut Kept<T>) {
        kept.at_work.retain(|at_work| at_work.recorder != self.recorder);
        mem::swap(&mut kept.told, &mut self.told);
        self.is_over = true;
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        if !self.is_over {
            let turns = self.turns;
            self.put_back(&mut turns.lock());
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
    fn turn_within_a_turn_is_left_out() {
        let (turns, mut rounds) = (Turns::<u32>::new(), 0);
        turns.take(recorder(), |told| {
            rounds += 1;
            *told += 1;
            turns.take(recorder(), |_| unreachable!());
        });
        turns.take(recorder(), |told| assert_eq!(*told, 1));
        assert_eq!(rounds, 1);
    }

    #[test]
    fn turn_of_another_thread_is_done_by_the_one_at_work() {
        let (turns, mut rounds) = (Turns::<u32>::new(), 0);
        turns.take(recorder(), |told| {
            *told += 1;
            rounds += 1;
            if rounds == 1 {
                thread::scope(|scope| drop(scope.spawn(|| turns.take(recorder(), |_| unreachable!()))));
            }
        });
        turns.take(recorder(), |told| assert_eq!(*told, 2));
    }

    #[test]
    fn another_recorder_does_not_wait() {
        let turns = Turns::<u32>::new();
        let (first, second) = (DebuggingRecorder::new(), DebuggingRecorder::new());
        metrics::with_local_recorder(&first, || {
            turns.take(recorder(), |told| {
                *told = 7;
                metrics::with_local_recorder(&second, || {
                    turns.take(recorder(), |told| assert_eq!(mem::replace(told, 1), 0))
                });
            });
            turns.take(recorder(), |told| assert_eq!(*told, 7));
        });
    }

    #[test]
    fn panic_of_the_recorder_loses_nothing() {
        let turns = Turns::<u32>::new();
        turns.take(recorder(), |told| *told = 7);
        assert!(catch_unwind(AssertUnwindSafe(|| turns.take(recorder(), |_| panic!("of the recorder")))).is_err());
        turns.take(recorder(), |told| assert_eq!(*told, 7));
    }
}
