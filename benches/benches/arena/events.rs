//! What a contestant reports through `tracing` in a run: how many of its events name a text, such as a path.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::server::lock;

/// Runs `run`, and counts the warnings in it that name `text`; one that stands for others counts for those, too.
pub(crate) fn naming<T>(text: &'static str, run: impl FnOnce() -> T) -> (T, u64) {
    let count = Arc::new(Mutex::new(0));
    let counter = Counter { text, count: Arc::clone(&count) };
    let output = tracing::subscriber::with_default(counter, run);
    let count = *lock(&count);
    (output, count)
}

struct Counter {
    text: &'static str,
    count: Arc<Mutex<u64>>,
}

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut seen = Seen { text: String::new(), suppressed: 0 };
        event.record(&mut seen);
        if seen.text.contains(self.text) {
            *lock(&self.count) += 1 + seen.suppressed;
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Seen {
    text: String,
    suppressed: u64,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        _ = write!(self.text, "{}={value:?} ", field.name());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "suppressed" {
            self.suppressed = value;
        }
    }
}
