//! The contestants: each puts its layers around the wire of a client and around the service of a server.

mod nothing;
mod seawall;
mod settings;
mod tower;
mod tower_resilience;

use ::tower::util::BoxCloneService;
use ::tower::{BoxError, Service, ServiceExt};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};

use crate::body::Body;
use crate::clock::Ms;
use crate::server::Handler;
use crate::wire::Wire;

/// A client with its layers. Clones share their state.
pub(crate) type Client = BoxCloneService<Request<Full<Bytes>>, Response<Body>, BoxError>;
/// A server with its layers.
pub(crate) type ServerStack = BoxCloneService<Request<Full<Bytes>>, Response<Body>, BoxError>;

/// What a user of any library knows about the calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brief {
    /// How long a caller waits in total.
    pub(crate) deadline: Ms,
    /// How many attempts a call should have at most, if the scenario wants a number.
    pub(crate) attempts: Option<u32>,
    /// How long an attempt may take, if the scenario wants a bound.
    pub(crate) attempt_timeout: Option<Ms>,
    /// How many calls a server can work on at once.
    pub(crate) slots: u32,
    /// How long a call usually takes.
    pub(crate) usual_time: Ms,
    /// How many clients there are.
    pub(crate) clients: u32,
}

impl Instance {
    pub(crate) fn active(wire: Wire) -> Self {
        Self { wire, is_standby: false }
    }
}

/// An instance of a dependency.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) wire: Wire,
    pub(crate) is_standby: bool,
}

pub(crate) trait Contestant: Send + Sync {
    fn name(&self) -> &'static str;

    /// What a reader of its row has to know.
    fn note(&self) -> Option<&'static str> {
        None
    }

    /// A client of a dependency with one endpoint.
    fn client(&self, brief: &Brief, wire: Wire) -> Client;

    /// A client of a dependency with several endpoints.
    fn balanced(&self, brief: &Brief, instances: Vec<Instance>) -> Client;

    /// A server. It has to answer every request, as a web framework does.
    fn server(&self, brief: &Brief, handler: Handler) -> ServerStack;
}

/// All contestants, in the order of the report.
pub(crate) fn all() -> Vec<Box<dyn Contestant>> {
    vec![
        Box::new(nothing::Nothing),
        Box::new(tower::Tower),
        Box::new(tower_resilience::TowerResilience),
        Box::new(settings::DEFAULTS),
        Box::new(settings::TUNED),
    ]
}

/// Contestants that show what a part of seawall is worth.
pub(crate) fn variants() -> Vec<Box<dyn Contestant>> {
    settings::variants()
}

/// The service in a box, with its response's body in a box.
fn boxed<S, B>(service: S) -> Client
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    BoxCloneService::new(service.map_err(Into::into).map_response(|response| response.map(BodyExt::boxed_unsync)))
}
