//! How HTTP calls are judged, held, settled and detached.

use std::future::{Ready, ready};
use std::time::Duration;

use ::http::Response;
use bytes::Bytes;
use http_body::Body;
use tower::BoxError;

use crate::ground::verdict::{Classify, Expiry, Guard, Verdict};
use crate::http::by_status::ByStatus;
use crate::http::held_body::{self, HeldBody, Judge};
use crate::http::propagation::load_report;
use crate::http::settled::{Detaching, SettledBody};
use crate::http::{retry_after, transport};

impl<B> Classify<Response<B>> for ByStatus
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Held<G: Guard> = Response<HeldBody<B, G>>;
    type Settled = Response<SettledBody<B>>;
    type Settling = Ready<(Verdict, Self::Settled)>;
    type Detaching = Detaching<B>;

    fn classify(&self, result: Result<&Response<B>, &BoxError>) -> Verdict {
        match result {
            Ok(response) => self.of_head(response),
            Err(error) => transport::verdict(error),
        }
    }

    fn hold<G: Guard>(&self, response: Response<B>, verdict: Verdict, guard: G) -> Self::Held<G> {
        held_body::hold(response, verdict, guard, self.clone())
    }

    fn settle(&self, response: Response<B>) -> Self::Settling {
        ready((self.of_head(&response), response.map(SettledBody::unread)))
    }

    fn retry_after(&self, failed: Result<&Self::Settled, &BoxError>) -> Option<Duration> {
        retry_after::parse(failed.ok()?.headers())
    }

    fn reported_in_flight(&self, response: &Response<B>) -> Option<u32> {
        load_report::reported_in_flight(response.headers())
    }

    fn detach(&self, response: Self::Settled) -> Self::Detaching {
        Detaching::new(response)
    }

    fn bound(&self, response: Self::Settled, expiry: Expiry) -> Self::Settled {
        SettledBody::bound(response, expiry)
    }
}
