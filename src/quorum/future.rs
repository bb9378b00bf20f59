use std::fmt;
use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::agreement::Agreement;
use super::flight::{Answered, VoteFlight};
use super::no_quorum::{NoQuorum, Vote};
use super::state::QuorumState;
use crate::admission::timer::Timer;
use crate::algorithm::quorum::{Ballot, VoteTally};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::{FailedVotes, Reason};
use crate::ground::scope::{self, Context};
use crate::ground::sync::foreign;
use crate::ground::time;
use crate::ground::verdict::{Classify, Verdict};
use crate::layers::call::attempted_endpoints::NotedEndpoints;
use crate::layers::call::bound::poll_deadline;
use crate::layers::call::endpoint_keys;
use crate::layers::call::inner::reject;
use crate::layers::core::observed;
use crate::telemetry::Unreported;

/// A call that is sent to several endpoints.
pub struct ResponseFuture<S, Req, C, A>
where
    S: Service<Req>,
    C: Classify<S::Response>,
    A: Agreement<S::Response>,
{
    /// The endpoints, in their order. Empty once the call is over.
    flights: Vec<Pin<Box<VoteFlight<S, Req, A>>>>,
    /// The layer refuses the call.
    refusal: Option<Unreported>,
    /// The failed votes, and the numbers of the answers.
    votes: Vec<Vote>,
    /// The verdicts of the failed votes.
    failed: Vec<Verdict>,
    /// The answers by number: the key, and the first response with it.
    answers: Vec<(A::Key, A::Response)>,
    /// The endpoints that balancers have chosen: of all calls, and of each one.
    endpoints: NotedEndpoints,
    noted: Vec<Option<NonZeroU64>>,
    /// Those that have given a good answer, which is their vote.
    voted: Vec<NonZeroU64>,
    ballot: Ballot,
    needed: usize,
    inherited: Context,
    deadline: CallDeadline,
    timer: Timer,
    polled: bool,
    state: Arc<QuorumState>,
    classifier: C,
    agreement: A,
}

impl<S, Req, C, A> ResponseFuture<S, Req, C, A>
where
    S: Service<Req>,
    C: Classify<S::Response>,
    A: Agreement<S::Response>,
{
    pub(super) fn new(
        flights: Vec<Pin<Box<VoteFlight<S, Req, A>>>>,
        agree: usize,
        state: Arc<QuorumState>,
        deadline: CallDeadline,
        classifier: C,
        agreement: A,
    ) -> Self {
        // A reload may have raised `agree` above the number of services that were given.
        let needed = agree.min(flights.len());
        let votes = flights.iter().map(|_| Vote::Missing).collect();
        let noted = vec![None; flights.len()];
        let ballot = Ballot::new(flights.len(), needed);
        Self {
            flights,
            refusal: None,
            votes,
            failed: Vec::new(),
            answers: Vec::new(),
            endpoints: NotedEndpoints::of_votes(),
            noted,
            voted: Vec::new(),
            ballot,
            needed,
            inherited: scope::current(),
            deadline,
            timer: Timer::new(),
            polled: false,
            state,
            classifier,
            agreement,
        }
    }

    pub(super) fn refused(
        refusal: Unreported,
        state: Arc<QuorumState>,
        deadline: CallDeadline,
        classifier: C,
        agreement: A,
    ) -> Self {
        let mut future = Self::new(Vec::new(), 0, state, deadline, classifier, agreement);
        future.refusal = Some(refusal);
        future
    }
}

/// The endpoints are boxed, and nothing else is pinned.
impl<S, Req, C, A> Unpin for ResponseFuture<S, Req, C, A>
where
    S: Service<Req>,
    C: Classify<S::Response>,
    A: Agreement<S::Response>,
{
}

impl<S, Req, C, A> ResponseFuture<S, Req, C, A>
where
    S: Service<Req>,
    C: Classify<S::Response>,
    A: Agreement<S::Response>,
{
    /// Ends the call: cancels the endpoints that have not voted, and records how the call went.
    fn end(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Abandoned | Verdict::TimedOut => self.flights.clear(),
            _ => scope::cancelling_needless(|| self.flights.clear()),
        }
        self.answers.clear();
        self.timer.disarm();
        let instruments = &self.state.instruments;
        if instruments.named().is_some() && self.polled {
            observed::record(instruments, verdict, time::latest_or_now().since(self.deadline.start()));
        }
    }

    /// Ends the call without a quorum.
    fn fail(&mut self, refusal: Unreported) -> BoxError {
        self.end(refusal.rejected().verdict());
        let rejected = refusal.report();
        observed::request_publication();
        let endpoints = self.noted.iter().map(|noted| noted.and_then(endpoint_keys::find));
        NoQuorum::new(rejected, self.needed, std::mem::take(&mut self.votes), endpoints.collect()).into()
    }

    /// Whether the endpoint that a balancer chose for the call at `index` has its first good answer. A second one would be the same
    /// opinion twice.
    fn is_first_vote(&mut self, index: usize) -> bool {
        let Some(endpoint) = self.noted.get(index).copied().flatten() else { return true };
        let is_first = !self.voted.contains(&endpoint);
        if is_first {
            self.voted.push(endpoint);
        }
        is_first
    }

    /// Counts the vote of the endpoint at `index`.
    fn count(&mut self, index: usize, answered: Answered<A::Key, A::Response>) -> VoteTally {
        let (vote, number) = match answered {
            Ok((key, response)) => {
                let known = foreign(|| self.answers.iter().position(|(other, _)| *other == key));
                let number = known.unwrap_or(self.answers.len());
                if known.is_none() {
                    self.answers.push((key, response));
                }
                match self.is_first_vote(index) {
                    true => (Vote::Answer(number + 1), Some(number)),
                    false => (Vote::SameEndpoint(number + 1), None),
                }
            }
            Err((verdict, vote)) => {
                self.failed.push(verdict);
                (vote, None)
            }
        };
        if let Some(counted) = self.votes.get_mut(index) {
            *counted = vote;
        }
        self.ballot.vote(number)
    }
}

impl<S, Req, C, A> Future for ResponseFuture<S, Req, C, A>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
    A: Agreement<S::Response>,
{
    type Output = Result<A::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(refusal) = this.refusal.take() {
            return Poll::Ready(Err(reject(refusal)));
        }
        if this.flights.is_empty() {
            // Polled after completion, as fused futures may be.
            return Poll::Pending;
        }
        this.polled = true;
        time::forget_latest();
        let layer_id = this.state.instruments.layer_id();
        // The call may have been moved to a task in which no outer layer enforces the deadline, or knows the context.
        let enforced = this.inherited.deadline.is_some_and(|deadline| scope::current().ends_by(deadline));
        let context = this.inherited.with_enforced(enforced);
        let mut waits_locally = true;
        for index in 0..this.flights.len() {
            let Some(flight) = this.flights.get_mut(index).filter(|flight| !flight.is_over()) else { continue };
            let poll = || {
                let _entered = scope::enter(context);
                flight.as_mut().poll(cx, &this.classifier, &this.agreement, layer_id)
            };
            let ((answered, is_local), endpoint) = this.endpoints.noting(|| scope::hiding_local_wait(poll));
            if endpoint.is_some() {
                this.endpoints.avoid_last();
                if let Some(noted) = this.noted.get_mut(index) {
                    *noted = endpoint;
                }
            }
            let Poll::Ready(answered) = answered else {
                waits_locally &= is_local;
                continue;
            };
            match this.count(index, answered) {
                VoteTally::Undecided => {}
                VoteTally::Agreed(number) => {
                    let (_, response) = this.answers.swap_remove(number);
                    this.end(Verdict::Success);
                    return Poll::Ready(Ok(response));
                }
                VoteTally::Impossible => {
                    let failed_votes = FailedVotes::of(&this.failed, this.flights.len());
                    let refusal = this.state.instruments.refuse(Reason::NoQuorum).with_failed_votes(failed_votes);
                    return Poll::Ready(Err(this.fail(refusal)));
                }
            }
        }
        match poll_deadline(&this.deadline, &mut this.timer, cx) {
            Poll::Ready(why) => {
                let refusal = this.state.instruments.refuse(why);
                Poll::Ready(Err(this.fail(refusal)))
            }
            Poll::Pending => {
                if waits_locally {
                    scope::mark_local_wait();
                }
                Poll::Pending
            }
        }
    }
}

impl<S, Req, C, A> Drop for ResponseFuture<S, Req, C, A>
where
    S: Service<Req>,
    C: Classify<S::Response>,
    A: Agreement<S::Response>,
{
    fn drop(&mut self) {
        if !self.flights.is_empty() {
            time::forget_latest();
            self.end(Verdict::Abandoned);
        }
    }
}

impl<S, Req, C, A> fmt::Debug for ResponseFuture<S, Req, C, A>
where
    S: Service<Req>,
    C: Classify<S::Response>,
    A: Agreement<S::Response>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { votes, ballot, deadline, .. } = self;
        f.debug_struct("ResponseFuture")
            .field("votes", votes)
            .field("ballot", ballot)
            .field("deadline", deadline)
            .finish_non_exhaustive()
    }
}
