//! How gRPC calls are judged, held, settled and detached.

use std::time::Duration;

use ::http::Response;
use bytes::Bytes;
use http_body::Body;
use tower::BoxError;

use crate::ground::verdict::{Classify, Expiry, Guard, Verdict};
use crate::grpc::by_code::{ByCode, of_error};
use crate::grpc::details;
use crate::grpc::settle::Settling;
use crate::grpc::status::{self, Pushback};
use crate::http::held_body::{self, HeldBody, Judge};
use crate::http::propagation::load_report;
use crate::http::{Detaching, SettledBody, retry_after};

impl<B> Classify<Response<B>> for ByCode
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Held<G: Guard> = Response<HeldBody<B, G, Self>>;
    type Settled = Response<SettledBody<B>>;
    type Settling = Settling<B>;
    type Detaching = Detaching<B>;

    fn classify(&self, result: Result<&Response<B>, &BoxError>) -> Verdict {
        match result {
            Ok(response) => self.of_head(response),
            Err(error) => of_error(error),
        }
    }

    fn hold<G: Guard>(&self, response: Response<B>, verdict: Verdict, guard: G) -> Self::Held<G> {
        held_body::hold(response, verdict, guard, self.clone())
    }

    fn settle(&self, response: Response<B>) -> Self::Settling {
        Settling::new(response, self.clone())
    }

    fn retry_after(&self, failed: Result<&Self::Settled, &BoxError>) -> Option<Duration> {
        let response = failed.ok()?;
        let places = [response.body().trailers(), Some(response.headers())];
        places.into_iter().flatten().find_map(|headers| match status::pushback(headers) {
            Pushback::After(wait) => Some(wait),
            Pushback::Silent | Pushback::Never => details::retry_delay(headers).or_else(|| retry_after::parse(headers)),
        })
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
