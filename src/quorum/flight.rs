//! The call of one endpoint, up to its vote.

use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::agreement::Agreement;
use super::no_quorum::Vote;
use crate::ground::layer_id::LayerId;
use crate::ground::sync::foreign;
use crate::ground::verdict::{self, Classify, Verdict};
use crate::layers::call::inner::Call;

/// See the module.
#[pin_project(project = VoteFlightProj)]
pub(super) enum VoteFlight<S, Req, A>
where
    S: Service<Req>,
    A: Agreement<S::Response>,
{
    /// The call is in flight => Keying | Over
    Calling {
        #[pin]
        call: Call<S, Req, S::Future>,
    },
    /// There is a good answer, whose key is computed => Over
    Keying {
        #[pin]
        keying: A::Keying,
    },
    /// It has voted, or was cancelled.
    Over,
}

/// A good answer with its key, or a failed vote with its verdict.
pub(super) type Answered<K, R> = Result<(K, R), (Verdict, Vote)>;

impl<S, Req, A> VoteFlight<S, Req, A>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    A: Agreement<S::Response>,
{
    pub(super) fn new(call: Call<S, Req, S::Future>) -> Self {
        Self::Calling { call }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Polls the call. One that is over stays pending.
    pub(super) fn poll<C: Classify<S::Response>>(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        classifier: &C,
        agreement: &A,
        layer_id: LayerId,
    ) -> Poll<Answered<A::Key, A::Response>> {
        let failed = |error| (verdict::judge::<S::Response>(classifier, Err(&error)), Vote::Error(error));
        let answered = loop {
            match self.as_mut().project() {
                VoteFlightProj::Calling { call } => match ready!(call.poll(cx, layer_id)) {
                    Ok(response) => match verdict::judge(classifier, Ok(&response)) {
                        Verdict::Success | Verdict::CallerFault => {
                            let keying = foreign(|| agreement.key(response));
                            self.set(Self::Keying { keying });
                        }
                        verdict => break Err((verdict, Vote::Failed(verdict.as_str()))),
                    },
                    Err(error) => break Err(failed(error)),
                },
                VoteFlightProj::Keying { keying } => break ready!(keying.poll(cx)).map_err(failed),
                VoteFlightProj::Over => return Poll::Pending,
            }
        };
        self.set(Self::Over);
        Poll::Ready(answered)
    }
}
