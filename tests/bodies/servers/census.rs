use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What a server has accepted and has not seen closed.
#[derive(Debug, Default)]
pub(crate) struct Census {
    requests: AtomicUsize,
    answers: AtomicUsize,
    most_answers: AtomicUsize,
    connections: AtomicUsize,
    accepted: AtomicUsize,
}

impl Census {
    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// How many answers are going on.
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(SeqCst)
    }

    /// How many answers were going on at once at most.
    pub(crate) fn most_answers(&self) -> usize {
        self.most_answers.load(SeqCst)
    }

    /// How many connections are open, idle ones included.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    pub(super) fn connection(self: &Arc<Self>) -> Open {
        self.accepted.fetch_add(1, SeqCst);
        Open::new(self, |census| &census.connections)
    }

    /// A request has come, the number of which is returned: its answer is open until the other is dropped.
    pub(super) async fn answer(self: &Arc<Self>) -> (usize, Open) {
        // What the client closed before it sent this has arrived; let it be seen before this is counted.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let open = Open::new(self, |census| &census.answers);
        self.most_answers.fetch_max(self.answers(), SeqCst);
        (self.requests.fetch_add(1, SeqCst), open)
    }
}

/// One more in a count, for as long as it lives.
#[derive(Debug)]
pub(super) struct Open(Arc<Census>, fn(&Census) -> &AtomicUsize);

impl Open {
    fn new(census: &Arc<Census>, count: fn(&Census) -> &AtomicUsize) -> Self {
        count(census).fetch_add(1, SeqCst);
        Self(Arc::clone(census), count)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, SeqCst);
    }
}
