//! A request body with the least capabilities: neither `Clone` nor `Sync`, read once, and counted while it lives.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Nothing comes until the gate is opened.
    Gate(oneshot::Receiver<()>),
    /// Nothing comes until the next poll.
    Pause,
    Error,
}

#[derive(Default)]
pub(crate) struct Upload {
    pieces: VecDeque<Piece>,
    length: Option<u64>,
    live: Option<Arc<()>>,
    _not_sync: PhantomData<Cell<()>>,
}

impl Upload {
    pub(crate) fn new(pieces: impl IntoIterator<Item = Piece>) -> Self {
        Self { pieces: pieces.into_iter().collect(), ..Self::default() }
    }

    pub(crate) fn of(pieces: &[&'static str]) -> Self {
        Self::new(pieces.iter().map(|piece| Piece::Data(Bytes::from_static(piece.as_bytes()))))
    }

    pub(crate) fn with(mut self, piece: Piece) -> Self {
        self.pieces.push_back(piece);
        self
    }

    pub(crate) fn with_trailer(self, name: &'static str, value: &'static str) -> Self {
        let trailers = [(name.parse().expect("a name"), value.parse().expect("a value"))];
        self.with(Piece::Trailers(HeaderMap::from_iter(trailers)))
    }

    /// Reports its exact length.
    pub(crate) fn exact(mut self) -> Self {
        let data = self.pieces.iter().map(|piece| if let Piece::Data(data) = piece { data.len() } else { 0 });
        self.length = Some(data.sum::<usize>() as u64);
        self
    }

    /// `live` has one more owner while this body exists.
    pub(crate) fn counted(mut self, live: &Arc<()>) -> Self {
        self.live = Some(Arc::clone(live));
        self
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            return match self.pieces.pop_front() {
                Some(Piece::Data(data)) => {
                    self.length = self.length.map(|length| length - data.len() as u64);
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Some(Piece::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Some(Piece::Gate(mut gate)) => {
                    if Future::poll(Pin::new(&mut gate), cx).is_ready() {
                        continue;
                    }
                    self.pieces.push_front(Piece::Gate(gate));
                    Poll::Pending
                }
                Some(Piece::Pause) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Piece::Error) => Poll::Ready(Some(Err(io::Error::other("the disk is gone")))),
                None => Poll::Ready(None),
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}
