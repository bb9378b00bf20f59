use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::{Response, StatusCode};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use pin_project::pin_project;
use tokio::task::JoinHandle;

use super::answer;
use super::body::Body;
use super::config::DashboardConfig;
use super::control;
use super::document::Form;
use super::sampler::Sampler;
use crate::admission::timer::Timer;
use crate::ground::time::{self, Instant};

/// The response future of the [`Dashboard`](super::Dashboard).
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<B> {
    #[pin]
    state: DashboardFutureState<B>,
}

#[pin_project(project = DashboardFutureStateProj)]
#[derive(Debug)]
enum DashboardFutureState<B> {
    /// The response does not depend on the body. `None` once it was returned.
    Answered(Option<Response<Body>>),
    /// A blocking thread makes the current document.
    Making { made: JoinHandle<Bytes>, form: Form, is_head: bool },
    Reading {
        #[pin]
        body: B,
        read: BytesMut,
        max_bytes: usize,
        until: Instant,
        timer: Timer,
        sampler: Arc<Sampler>,
    },
}

impl<B> ResponseFuture<B> {
    pub(super) fn answered(response: Response<Body>) -> Self {
        Self { state: DashboardFutureState::Answered(Some(response)) }
    }

    pub(super) fn making(made: JoinHandle<Bytes>, form: Form, is_head: bool) -> Self {
        Self { state: DashboardFutureState::Making { made, form, is_head } }
    }

    pub(super) fn reading(body: B, sampler: Arc<Sampler>, config: &DashboardConfig) -> Self {
        let state = DashboardFutureState::Reading {
            body,
            read: BytesMut::new(),
            max_bytes: config.max_command_bytes,
            until: time::now() + config.command_timeout,
            timer: Timer::new(),
            sampler,
        };
        Self { state }
    }
}

impl<B: http_body::Body> Future for ResponseFuture<B> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut body, read, max_bytes, until, timer, sampler) = match self.project().state.project() {
            DashboardFutureStateProj::Answered(response) => {
                return response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)));
            }
            DashboardFutureStateProj::Making { made, form, is_head } => {
                let response = match ready!(Pin::new(made).poll(cx)) {
                    Ok(document) => answer::document(document, form.gzip),
                    Err(_) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, "the page's data could not be made"),
                };
                return Poll::Ready(Ok(if *is_head { answer::head_only(response) } else { response }));
            }
            DashboardFutureStateProj::Reading { body, read, max_bytes, until, timer, sampler } => {
                (body, read, *max_bytes, *until, timer, sampler)
            }
        };
        let fault = loop {
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are ignored.
                    let Ok(data) = frame.into_data() else { continue };
                    if data.remaining() > max_bytes.saturating_sub(read.len()) {
                        break answer::error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
                    }
                    read.put(data);
                }
                Poll::Ready(None) => {
                    let answer = control::apply(sampler.registry(), read);
                    // The command may have changed what the documents show.
                    sampler.documents().forget();
                    return Poll::Ready(Ok(answer));
                }
                Poll::Ready(Some(Err(_))) => break answer::error(StatusCode::BAD_REQUEST, "the body broke off"),
                Poll::Pending => {
                    ready!(timer.poll_until(cx, until));
                    break answer::error(StatusCode::REQUEST_TIMEOUT, "the body took too long");
                }
            }
        };
        Poll::Ready(Ok(fault))
    }
}
