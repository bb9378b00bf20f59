use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tower::BoxError;

use crate::ground::error::Rejected;

/// The error of a call whose endpoints did not agree in time: it lists every vote.
///
/// [`rejection`](crate::error::rejection) finds its refusal: [`Reason::NoQuorum`](crate::error::Reason::NoQuorum) if the votes can no
/// longer agree, otherwise the reason for which the call ended.
#[derive(Debug)]
pub struct NoQuorum {
    rejected: Box<Rejected>,
    needed: usize,
    votes: Vec<Vote>,
    endpoints: Vec<Option<Arc<str>>>,
}

/// What one endpoint has answered.
#[derive(Debug)]
#[non_exhaustive]
pub enum Vote {
    /// A good answer. Answers that agree have the same number, from 1.
    Answer(usize),
    /// A good answer of an endpoint that has voted already, with the number that it would have. It does not count.
    SameEndpoint(usize),
    /// An answer that is no vote, by its verdict in one word.
    Failed(&'static str),
    /// An error.
    Error(BoxError),
    /// The call ended before there was an answer.
    Missing,
}

impl NoQuorum {
    pub(super) fn new(
        rejected: Box<Rejected>,
        needed: usize,
        votes: Vec<Vote>,
        endpoints: Vec<Option<Arc<str>>>,
    ) -> Self {
        Self { rejected, needed, votes, endpoints }
    }

    /// The refusal.
    pub fn rejected(&self) -> &Rejected {
        &self.rejected
    }

    /// The vote of each call, in the order of the endpoints that were given.
    pub fn votes(&self) -> &[Vote] {
        &self.votes
    }

    /// The keys of the endpoints that [balancers](crate::balance) have chosen for these calls, in the same order. `None` for a call that has
    /// not passed a balancer, and for an endpoint that has left since. If a call has made several attempts it is the last one.
    pub fn endpoints(&self) -> &[Option<Arc<str>>] {
        &self.endpoints
    }
}

impl fmt::Display for NoQuorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rejected, needed, votes, endpoints } = self;
        write!(f, "{rejected}; {needed} of {} endpoints have to agree: ", votes.len())?;
        for (index, vote) in votes.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match vote {
                Vote::Answer(number) => write!(f, "{comma}answer {number}")?,
                Vote::SameEndpoint(number) => write!(f, "{comma}answer {number} (same endpoint)")?,
                Vote::Failed(verdict) => write!(f, "{comma}{verdict}")?,
                Vote::Error(error) => write!(f, "{comma}error ({error})")?,
                Vote::Missing => write!(f, "{comma}none")?,
            }
            if let Some(Some(endpoint)) = endpoints.get(index) {
                write!(f, " at `{endpoint}`")?;
            }
        }
        Ok(())
    }
}

impl Error for NoQuorum {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.rejected)
    }
}
