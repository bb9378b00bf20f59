//! Reads all components once a second, for as long as there is a dashboard.

use std::future::poll_fn;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::document::Documents;
use super::history::History;
use super::reading::{INTERVAL, Reading};
use crate::admission::registry::Registry;
use crate::admission::timer::Timer;
use crate::ground::sync::{Mutex, lock};
use crate::ground::time;

/// Shared by all clones of a dashboard; dropping it ends the task.
#[derive(Debug)]
pub(super) struct Sampler {
    watched: Arc<WatchedRegistry>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
struct WatchedRegistry {
    registry: Registry,
    history: Mutex<History>,
    documents: Documents,
}

impl Sampler {
    pub(super) fn new(registry: Registry) -> Self {
        let watched =
            Arc::new(WatchedRegistry { registry, history: Mutex::default(), documents: Documents::default() });
        let sampler = Self { watched, task: Mutex::new(None) };
        sampler.run();
        sampler
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.watched.registry
    }

    pub(super) fn documents(&self) -> &Documents {
        &self.watched.documents
    }

    /// Starts the task if there is none, or if its runtime has ended. Does nothing outside a runtime.
    pub(super) fn run(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if lock(&self.task).as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        // Without the lock: a runtime may run hooks when it spawns a task, and drops the task if it is shutting down.
        let spawned = runtime.spawn(Arc::clone(&self.watched).watch()).abort_handle();
        let former = lock(&self.task).replace(spawned);
        // Another thread may have started one meanwhile.
        if let Some(former) = former {
            former.abort();
        }
    }

    /// All components now, each with its last minute.
    pub(super) fn live(&self) -> Map<String, Value> {
        let snapshot = self.watched.registry.snapshot();
        let mut components: Vec<Value> = snapshot.components.iter().map(|component| json!(component)).collect();
        {
            let history = lock(&self.watched.history);
            for (shown, component) in components.iter_mut().zip(&snapshot.components) {
                if let Some(shown) = shown.as_object_mut() {
                    shown.insert("last_minute".to_owned(), history.of(&component.name, component.layer));
                }
            }
        }
        Map::from_iter([
            ("unix_ms".to_owned(), json!(snapshot.unix_ms)),
            ("components".to_owned(), Value::Array(components)),
        ])
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        let task = lock(&self.task).take();
        if let Some(task) = task {
            task.abort();
        }
    }
}

impl WatchedRegistry {
    async fn watch(self: Arc<Self>) {
        let mut timer = Timer::new();
        let mut next = time::now();
        loop {
            let now = time::now();
            let watched = Arc::clone(&self);
            // Reading many components takes long enough to delay the calls of the runtime.
            if tokio::task::spawn_blocking(move || watched.look(now)).await.is_err() {
                return;
            }
            // Missed ticks are skipped.
            next = (next + INTERVAL).max(now + INTERVAL / 2);
            poll_fn(|cx| timer.poll_until(cx, next)).await;
        }
    }

    fn look(&self, now: time::Instant) {
        let readings = self.registry.components().into_iter().map(|component| {
            let snapshot = component.snapshot();
            let reading = Reading::of(&snapshot, component.successes());
            ((snapshot.name, snapshot.layer), reading)
        });
        let readings = readings.collect();
        lock(&self.history).record(now, readings);
    }
}
