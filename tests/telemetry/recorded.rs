//! What a recorder has received.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// Every metric, as `name{label=value,…}`, with its value; for a histogram, the number of its samples.
pub(crate) type Metrics = BTreeMap<String, f64>;

pub(crate) fn read(snapshotter: &Snapshotter) -> Metrics {
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    let read = metrics.map(|(key, _, _, value)| {
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(samples) => samples.len() as f64,
        };
        (format!("{}{{{}}}", key.key().name(), labels.join(",")), value)
    });
    read.collect()
}

/// Runs `calls` in virtual time, with a recorder of its own.
pub(crate) fn with_recorder<T>(calls: impl AsyncFnOnce(&Snapshotter) -> T) -> T {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || in_virtual_time(calls(&snapshotter)))
}

/// One test at a time: a publisher publishes for the whole process, through the recorder of its own thread.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn in_virtual_time<T>(calls: impl Future<Output = T>) -> T {
    let _turn = turn();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(calls)
}
