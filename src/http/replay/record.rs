//! What has passed of a body, up to a bound.

use std::mem;

use ::http::HeaderMap;
use bytes::Bytes;
use http_body::Frame;

/// Smaller frames are copied together. A frame that is kept as it is keeps its whole buffer alive, whose size is
/// unknown.
const SMALL: usize = 1024;

/// The data and the trailers that have passed. The record keeps the order of the frames, but not their boundaries.
#[derive(Debug)]
pub(super) struct BodyRecord {
    pieces: Vec<RecordedPiece>,
    trailers: Option<HeaderMap>,
    size: usize,
    max: usize,
    is_open: bool,
    complete: bool,
}

#[derive(Debug)]
enum RecordedPiece {
    /// A frame's own buffer.
    Whole(Bytes),
    /// Small frames, copied into one buffer.
    Gathered(Vec<u8>),
}

/// How far an attempt has sent a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordPosition {
    piece: usize,
    offset: usize,
    trailers: bool,
}

/// What a record has discarded. Drop it without holding a lock: a buffer may have a user-defined destructor.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Discarded {
    _pieces: Vec<RecordedPiece>,
    _trailers: Option<HeaderMap>,
}

impl BodyRecord {
    pub(super) fn new(max: usize) -> Self {
        Self { pieces: Vec::new(), trailers: None, size: 0, max, is_open: true, complete: true }
    }

    /// Whether the record holds everything that has passed.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The place at which everything has been sent.
    pub(super) fn end(&self) -> RecordPosition {
        let piece = self.pieces.len().saturating_sub(1);
        RecordPosition {
            piece,
            offset: self.pieces.last().map_or(0, RecordedPiece::len),
            trailers: self.trailers.is_some(),
        }
    }

    /// Records what passes. Once the bound is exceeded, the record discards everything.
    pub(super) fn push(&mut self, frame: &Frame<Bytes>) -> Discarded {
        if !self.complete {
            return Discarded::default();
        }
        match size(frame).and_then(|size| self.size.checked_add(size)) {
            Some(size) if size <= self.max() => self.append(frame),
            _ => self.discard(),
        }
    }

    fn max(&self) -> usize {
        if self.is_open { self.max } else { 0 }
    }

    /// Records a frame whatever its size: it has not been sent and is stored nowhere else.
    pub(super) fn push_unsent(&mut self, frame: &Frame<Bytes>) -> Discarded {
        if self.complete { self.append(frame) } else { Discarded::default() }
    }

    /// Records nothing more, unless it is opened again before something passes. What is recorded stays until the current attempt has
    /// sent it.
    pub(super) fn close(&mut self) {
        self.is_open = false;
    }

    /// Records what passes from now on.
    pub(super) fn open(&mut self) {
        self.is_open = true;
    }

    /// The next frame at `place`. Advances `place`.
    pub(super) fn next(&self, place: &mut RecordPosition) -> Option<Frame<Bytes>> {
        while let Some(piece) = self.pieces.get(place.piece) {
            if let Some(rest) = piece.after(place.offset) {
                place.offset += rest.len();
                return Some(Frame::data(rest));
            }
            // The last piece may still grow.
            if place.piece + 1 == self.pieces.len() {
                break;
            }
            *place = RecordPosition { piece: place.piece + 1, offset: 0, ..*place };
        }
        match &self.trailers {
            Some(trailers) if !place.trailers => {
                place.trailers = true;
                Some(Frame::trailers(trailers.clone()))
            }
            _ => None,
        }
    }

    fn append(&mut self, frame: &Frame<Bytes>) -> Discarded {
        self.size = self.size.saturating_add(size(frame).unwrap_or(0));
        // If a body has trailers twice, the last ones count.
        let replaced = frame.trailers_ref().and_then(|trailers| self.trailers.replace(trailers.clone()));
        match frame.data_ref() {
            Some(data) if data.len() >= SMALL => self.pieces.push(RecordedPiece::Whole(data.clone())),
            Some(data) if !data.is_empty() => match self.pieces.last_mut() {
                Some(RecordedPiece::Gathered(gathered)) => gathered.extend_from_slice(data),
                _ => self.pieces.push(RecordedPiece::Gathered(data.to_vec())),
            },
            _ => {}
        }
        Discarded { _pieces: Vec::new(), _trailers: replaced }
    }

    fn discard(&mut self) -> Discarded {
        self.complete = false;
        Discarded { _pieces: mem::take(&mut self.pieces), _trailers: self.trailers.take() }
    }
}

impl RecordedPiece {
    fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Gathered(bytes) => bytes.len(),
        }
    }

    /// The data after the first `offset` bytes, if there are any.
    fn after(&self, offset: usize) -> Option<Bytes> {
        let rest = match self {
            Self::Whole(bytes) if offset == 0 => bytes.clone(),
            Self::Whole(bytes) => Bytes::copy_from_slice(bytes.get(offset..)?),
            Self::Gathered(bytes) => Bytes::copy_from_slice(bytes.get(offset..)?),
        };
        (!rest.is_empty()).then_some(rest)
    }
}

/// `None` for a frame of an unknown kind, which cannot be rebuilt.
fn size(frame: &Frame<Bytes>) -> Option<usize> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Some(data.len()),
        (_, Some(trailers)) => Some(trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(byte: u8, len: usize) -> Frame<Bytes> {
        Frame::data(Bytes::from(vec![byte; len]))
    }

    fn replay(record: &BodyRecord) -> Vec<u8> {
        let mut place = RecordPosition::default();
        let mut all = Vec::new();
        while let Some(frame) = record.next(&mut place) {
            all.extend_from_slice(&frame.into_data().unwrap());
        }
        assert_eq!(place, record.end());
        all
    }

    #[test]
    fn small_frames_are_gathered_and_large_ones_kept_whole() {
        let mut record = BodyRecord::new(10_000);
        for (byte, len) in [(1, 10), (2, 20), (3, 5000), (4, 1), (5, 0), (6, 1)] {
            let _ = record.push(&data(byte, len));
        }
        assert_eq!(record.pieces.len(), 3);
        let expected = [vec![1; 10], vec![2; 20], vec![3; 5000], vec![4], vec![6]].concat();
        assert_eq!(replay(&record), expected);
    }

    #[test]
    fn place_at_the_end_yields_later_frames() {
        let mut record = BodyRecord::new(100);
        let mut place = RecordPosition::default();
        for byte in 1..5 {
            let _ = record.push(&data(byte, 3));
            let frame = record.next(&mut place).and_then(|frame| frame.into_data().ok()).expect("a frame");
            assert_eq!((frame, record.next(&mut place).is_none()), (Bytes::from(vec![byte; 3]), true));
            assert_eq!(place, record.end());
        }
    }

    #[test]
    fn bound_covers_data_and_trailers_together() {
        let mut record = BodyRecord::new(10);
        let _ = record.push(&data(0, 5));
        let trailers = HeaderMap::from_iter([(::http::header::AGE, ::http::HeaderValue::from_static("12"))]);
        let _ = record.push(&Frame::trailers(trailers.clone()));
        assert!(record.is_complete(), "5 + 3 + 2");
        assert_eq!(
            record.next(&mut RecordPosition { piece: 0, offset: 5, trailers: false }).unwrap().into_trailers().unwrap(),
            trailers
        );
        let _ = record.push(&data(0, 1));
        assert!(!record.is_complete());
        assert!(record.next(&mut RecordPosition::default()).is_none());
    }
}
