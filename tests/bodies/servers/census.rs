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
    /// The number of requests that have come.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// The number of answers in progress.
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(SeqCst)
    }

    /// The largest number of answers that were in progress at once.
    pub(crate) fn most_answers(&self) -> usize {
        self.most_answers.load(SeqCst)
    }

    /// The number of open connections, idle ones included.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// The number of connections that were ever accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    pub(super) fn connection(self: &Arc<Self>) -> Open {
        self.accepted.fetch_add(1, SeqCst);
        Open::new(self, |census| &census.connections)
    }

    /// Counts a request. Returns its number and a guard; the answer is open until the guard is dropped.
    pub(super) async fn answer(self: &Arc<Self>) -> (usize, Open) {
        // Everything that the client closed before this request has arrived; let the server see it first.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let open = Open::new(self, |census| &census.answers);
        self.most_answers.fetch_max(self.answers(), SeqCst);
        (self.requests.fetch_add(1, SeqCst), open)
    }
}

/// One more in a count, for as long as this lives.
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
