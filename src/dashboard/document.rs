//! What the page asks for each second: made once, and shared by all that ask.
//!
//! It is made on a thread for blocking work, since it takes milliseconds for hundreds of components, and the runtime has calls to run.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value};

use super::history::INTERVAL;
use crate::ground::sync::{Mutex, lock};
use crate::ground::time::{self, Instant};

/// So many answers may be on their way at once: readers that take none of it hold its memory.
const MAX_ANSWERS: usize = 128;

/// Whether the reader may move components, and whether it takes gzip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) controls: bool,
    pub(super) gzip: bool,
}

/// The documents of the present second.
#[derive(Debug, Default)]
pub(super) struct Documents {
    latest: Mutex<Option<Made>>,
    is_being_made: AtomicBool,
    answers: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Made {
    at: Instant,
    /// By form, each when it is asked for.
    forms: Vec<(Form, Bytes)>,
    live: Arc<Map<String, Value>>,
}

/// What to answer.
pub(super) enum Answer {
    Ready(Bytes),
    /// Make it with [`Documents::make`], where that may take its time.
    ToBeMade,
    /// Too many answers are on their way.
    TooMany,
}

impl Documents {
    pub(super) fn answer(&self, form: Form, now: Instant) -> Answer {
        if self.answers.load(Ordering::Relaxed) >= MAX_ANSWERS {
            return Answer::TooMany;
        }
        let latest = lock(&self.latest);
        let Some(made) = &*latest else { return Answer::ToBeMade };
        let is_present = now.since(made.at) < INTERVAL;
        // One makes the next while the others get the one before.
        let is_left_to_another = now.since(made.at) < 3 * INTERVAL && self.is_being_made.load(Ordering::Relaxed);
        match made.forms.iter().find(|(made, _)| *made == form) {
            Some((_, document)) if is_present || is_left_to_another => Answer::Ready(self.counted(document)),
            _ => Answer::ToBeMade,
        }
    }

    /// Makes the document out of what `live` says, unless that has been said in this second. Takes its time.
    pub(super) fn make(&self, form: Form, live: impl FnOnce() -> Map<String, Value>) -> Bytes {
        let _making = Making::begin(&self.is_being_made);
        let present = {
            let latest = lock(&self.latest);
            latest.as_ref().filter(|made| time::now().since(made.at) < INTERVAL).map(|made| Arc::clone(&made.live))
        };
        let (live, at) = match present {
            Some(live) => (live, None),
            None => (Arc::new(live()), Some(time::now())),
        };
        let document = Bytes::from(written(&live, form));
        let mut latest = lock(&self.latest);
        let before = match (&mut *latest, at) {
            (Some(made), None) => {
                made.forms.retain(|(made, _)| *made != form);
                made.forms.push((form, document.clone()));
                None
            }
            (latest, at) => {
                let at = at.unwrap_or_else(time::now);
                latest.replace(Made { at, forms: vec![(form, document.clone())], live })
            }
        };
        drop(latest);
        drop(before);
        self.counted(&document)
    }

    /// What was shown is not true any more.
    pub(super) fn forget(&self) {
        let before = lock(&self.latest).take();
        drop(before);
    }

    /// The document, counted as an answer until the last of its bytes has been sent.
    fn counted(&self, document: &Bytes) -> Bytes {
        self.answers.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Counted { document: document.clone(), answers: Arc::clone(&self.answers) })
    }
}

struct Counted {
    document: Bytes,
    answers: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.document
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Making<'a>(&'a AtomicBool);

impl<'a> Making<'a> {
    fn begin(is_being_made: &'a AtomicBool) -> Self {
        is_being_made.store(true, Ordering::Relaxed);
        Self(is_being_made)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn written(live: &Map<String, Value>, form: Form) -> Vec<u8> {
    let mut text = Vec::new();
    // Writing to a vector does not fail, and the keys of a map are text.
    let _ = serde_json::to_writer(&mut text, live);
    // The object is left open for its last entry.
    let end = text.iter().rposition(|byte| *byte == b'}').unwrap_or(text.len());
    text.truncate(end);
    text.extend_from_slice(if form.controls { b",\"controls\":true}" } else { b",\"controls\":false}" });
    if !form.gzip {
        return text;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder.write_all(&text).and_then(|()| encoder.finish());
    compressed.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Form = Form { controls: false, gzip: false };

    fn live(n: u32) -> Map<String, Value> {
        Map::from_iter([("n".to_owned(), json!(n))])
    }

    fn ready(answer: Answer) -> Option<Bytes> {
        match answer {
            Answer::Ready(bytes) => Some(bytes),
            Answer::ToBeMade | Answer::TooMany => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn document_is_made_once_a_second_and_shared() {
        let documents = Documents::default();
        assert!(ready(documents.answer(PLAIN, time::now())).is_none());
        assert_eq!(documents.make(PLAIN, || live(1)), "{\"n\":1,\"controls\":false}");
        assert_eq!(ready(documents.answer(PLAIN, time::now())).unwrap(), "{\"n\":1,\"controls\":false}");
        let controls = Form { controls: true, ..PLAIN };
        assert!(ready(documents.answer(controls, time::now())).is_none());
        let made = documents.make(controls, || unreachable!("it has been looked at in this second"));
        assert_eq!(made, "{\"n\":1,\"controls\":true}");
        tokio::time::advance(INTERVAL).await;
        assert!(ready(documents.answer(PLAIN, time::now())).is_none());
        assert_eq!(documents.make(PLAIN, || live(2)), "{\"n\":2,\"controls\":false}");
        documents.forget();
        assert!(ready(documents.answer(PLAIN, time::now())).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_reads_are_bounded() {
        let documents = Documents::default();
        let mut kept = vec![documents.make(PLAIN, || live(1))];
        while let Some(answer) = ready(documents.answer(PLAIN, time::now())) {
            kept.push(answer);
        }
        assert_eq!(kept.len(), MAX_ANSWERS);
        assert!(matches!(documents.answer(PLAIN, time::now()), Answer::TooMany));
        kept.pop();
        assert!(ready(documents.answer(PLAIN, time::now())).is_some());
    }
}
