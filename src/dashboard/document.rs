//! The document that the page requests each second. It is made once, and shared by all requests.
//!
//! It is made on a blocking thread: it takes milliseconds for hundreds of components, which would delay the calls of the runtime.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value};

use super::config::DashboardConfig;
use super::reading::INTERVAL;
use crate::ground::sync::{Mutex, lock};
use crate::ground::time::{self, Instant};

/// Whether the reader may send commands, and whether it accepts gzip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) controls: bool,
    pub(super) gzip: bool,
}

/// The current documents.
#[derive(Debug, Default)]
pub(super) struct Documents {
    latest: Mutex<Latest>,
    answers: Arc<AtomicUsize>,
    being_made: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Latest {
    made: Option<MadeDocuments>,
    /// How often the documents became stale. A document is not kept if its data was read before the last time.
    changes: u64,
}

#[derive(Debug)]
struct MadeDocuments {
    at: Instant,
    /// By form. Each is made when it is first requested.
    forms: Vec<(Form, Bytes)>,
    live: Arc<Map<String, Value>>,
}

/// How to respond.
pub(super) enum LiveAnswer {
    Ready(Bytes),
    /// Make the document with [`Documents::make`], where it may block.
    ToBeMade(Making),
    /// Too many responses are in flight, or too many documents are being made.
    TooMany,
}

impl Documents {
    pub(super) fn answer(&self, form: Form, config: &DashboardConfig, now: Instant) -> LiveAnswer {
        if self.answers.load(Ordering::Relaxed) >= config.max_responses {
            return LiveAnswer::TooMany;
        }
        let latest = lock(&self.latest);
        if let Some(made) = &latest.made {
            let is_present = now.since(made.at) < INTERVAL;
            // One request makes the next document while the others get the previous one.
            let is_left_to_another = now.since(made.at) < 3 * INTERVAL && self.being_made.load(Ordering::Relaxed) > 0;
            if let Some((_, document)) = made.forms.iter().find(|(made, _)| *made == form) {
                if is_present || is_left_to_another {
                    return LiveAnswer::Ready(self.counted(document));
                }
            }
        }
        drop(latest);
        Making::begin(&self.being_made, config.max_documents_in_progress)
            .map_or(LiveAnswer::TooMany, LiveAnswer::ToBeMade)
    }

    /// Makes the document from the data of this second if there is any, or else from `live`. It can take milliseconds.
    pub(super) fn make(&self, form: Form, _making: Making, live: impl FnOnce() -> Map<String, Value>) -> Bytes {
        let (present, changes) = {
            let latest = lock(&self.latest);
            let present = latest.made.as_ref().filter(|made| time::now().since(made.at) < INTERVAL);
            (present.map(|made| Arc::clone(&made.live)), latest.changes)
        };
        let (live, at) = match present {
            Some(live) => (live, None),
            None => (Arc::new(live()), Some(time::now())),
        };
        let document = Bytes::from(written(&live, form));
        let mut latest = lock(&self.latest);
        let is_stale = latest.changes != changes;
        let before = match (&mut latest.made, at) {
            // A command was applied after the data was read: only this request gets the document.
            _ if is_stale => None,
            (Some(made), None) => {
                made.forms.retain(|(made, _)| *made != form);
                made.forms.push((form, document.clone()));
                None
            }
            (made, at) => {
                let at = at.unwrap_or_else(time::now);
                made.replace(MadeDocuments { at, forms: vec![(form, document.clone())], live })
            }
        };
        drop(latest);
        drop(before);
        self.counted(&document)
    }

    /// Discards the documents: a command has made them stale.
    pub(super) fn forget(&self) {
        let before = {
            let mut latest = lock(&self.latest);
            latest.changes += 1;
            latest.made.take()
        };
        drop(before);
    }

    /// The document, counted as a response in flight until the last of its bytes has been sent.
    fn counted(&self, document: &Bytes) -> Bytes {
        self.answers.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(CountedDocument { document: document.clone(), answers: Arc::clone(&self.answers) })
    }
}

struct CountedDocument {
    document: Bytes,
    answers: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for CountedDocument {
    fn as_ref(&self) -> &[u8] {
        &self.document
    }
}

impl Drop for CountedDocument {
    fn drop(&mut self) {
        self.answers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a document that is being made, or waits for a blocking thread, until this is dropped.
#[derive(Debug)]
pub(super) struct Making(Arc<AtomicUsize>);

impl Making {
    /// `None` if too many documents are being made.
    fn begin(being_made: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let one_more = |made| (made < max).then_some(made + 1);
        being_made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(Arc::clone(being_made)))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn written(live: &Map<String, Value>, form: Form) -> Vec<u8> {
    let mut text = Vec::new();
    // Writing to a vector does not fail, and the keys of the map are strings.
    let _ = serde_json::to_writer(&mut text, live);
    // The closing brace is removed, so that the last entry can follow.
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

    /// The document, and whether it had to be made.
    fn ask(documents: &Documents, form: Form, n: u32) -> Option<(Bytes, bool)> {
        match documents.answer(form, &DashboardConfig::default(), time::now()) {
            LiveAnswer::Ready(bytes) => Some((bytes, false)),
            LiveAnswer::ToBeMade(making) => Some((documents.make(form, making, || live(n)), true)),
            LiveAnswer::TooMany => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn document_is_made_once_a_second_and_shared() {
        let documents = Documents::default();
        let plain = |n| ask(&documents, PLAIN, n).unwrap();
        let of = |n: u32, controls: bool| Bytes::from(format!("{{\"n\":{n},\"controls\":{controls}}}"));
        assert_eq!(plain(1), (of(1, false), true));
        assert_eq!(plain(2), (of(1, false), false));
        let with_controls = ask(&documents, Form { controls: true, ..PLAIN }, 3).unwrap();
        assert_eq!(with_controls, (of(1, true), true), "of the same look");
        tokio::time::advance(INTERVAL).await;
        assert_eq!(plain(4), (of(4, false), true));
        documents.forget();
        assert_eq!(plain(5), (of(5, false), true));
    }

    #[tokio::test(start_paused = true)]
    async fn document_read_before_a_change_is_not_kept() {
        let documents = Documents::default();
        let LiveAnswer::ToBeMade(making) = documents.answer(PLAIN, &DashboardConfig::default(), time::now()) else {
            panic!("there is none")
        };
        documents.make(PLAIN, making, || {
            documents.forget();
            live(1)
        });
        assert_eq!(ask(&documents, PLAIN, 2).unwrap().0, "{\"n\":2,\"controls\":false}");
    }

    #[tokio::test(start_paused = true)]
    async fn unread_answers_are_bounded() {
        let documents = Documents::default();
        let mut kept = Vec::new();
        while let Some((answer, _)) = ask(&documents, PLAIN, 1) {
            kept.push(answer);
        }
        assert_eq!(kept.len(), 128);
        kept.pop();
        assert!(ask(&documents, PLAIN, 1).is_some());
    }

    #[test]
    fn documents_being_made_are_bounded() {
        let documents = Documents::default();
        let mut waiting = Vec::new();
        while let LiveAnswer::ToBeMade(making) = documents.answer(PLAIN, &DashboardConfig::default(), time::now()) {
            waiting.push(making);
        }
        assert_eq!(waiting.len(), 8);
        waiting.pop();
        assert!(matches!(documents.answer(PLAIN, &DashboardConfig::default(), time::now()), LiveAnswer::ToBeMade(_)));
    }
}
