//! Looks at all components once a second, for as long as somebody has the page.

use std::future::poll_fn;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::history::{History, INTERVAL};
use super::reading::Reading;
use super::source::Source;
use crate::admission::timer::Timer;
use crate::ground::sync::{Mutex, lock};
use crate::ground::time;

/// Shared by all clones of a dashboard; dropping it ends the task.
#[derive(Debug)]
pub(super) struct Sampler {
    watched: Arc<Watched>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
struct Watched {
    source: Source,
    history: Mutex<History>,
}

impl Sampler {
    pub(super) fn new(source: Source) -> Self {
        let watched = Arc::new(Watched { source, history: Mutex::default() });
        let sampler = Self { watched, task: Mutex::new(None) };
        sampler.run();
        sampler
    }

    pub(super) fn source(&self) -> &Source {
        &self.watched.source
    }

    /// Starts the task if there is none, or if its runtime has ended; not outside a runtime.
    pub(super) fn run(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut task = lock(&self.task);
        if task.as_ref().is_none_or(AbortHandle::is_finished) {
            *task = Some(runtime.spawn(Arc::clone(&self.watched).watch()).abort_handle());
        }
    }

    /// All components now, each with its last minute.
    pub(super) fn live(&self) -> Map<String, Value> {
        let Value::Object(mut live) = self.watched.source.snapshot() else { return Map::new() };
        let history = lock(&self.watched.history);
        for component in live.get_mut("components").and_then(Value::as_array_mut).into_iter().flatten() {
            let last_minute = Reading::of(component).map(|(key, _)| history.of(&key));
            if let (Some(component), Some(last_minute)) = (component.as_object_mut(), last_minute) {
                component.insert("last_minute".to_owned(), last_minute);
            }
        }
        live
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

impl Watched {
    async fn watch(self: Arc<Self>) {
        let mut timer = Timer::new();
        let mut next = time::now();
        loop {
            let now = time::now();
            let components = self.source.snapshot();
            let components = components.get("components").and_then(Value::as_array);
            let readings = components.into_iter().flatten().filter_map(Reading::of).collect();
            lock(&self.history).record(now, readings);
            // Ticks that were missed are not made up for.
            next = (next + INTERVAL).max(now + INTERVAL / 2);
            poll_fn(|cx| timer.poll_until(cx, next)).await;
        }
    }
}
