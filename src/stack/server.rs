use std::sync::Arc;

use tower::Layer;

use super::config::ServerConfig;
use crate::admission::registry::{Observed, Registry};
use crate::ground::error::InvalidConfig;
use crate::ground::settings::Settings;
use crate::ground::validation::{Validate, Validation};
use crate::http::propagation::{Extract, ExtractLayer, HttpPropagator, PropagationConfig};
use crate::http::respond::{Respond, RespondLayer, WithStatus};
use crate::http::{ByExtension, ByStatus, UploadLayer, UploadService};
use crate::layers::core::observed;
use crate::layers::deadline::{Deadline, DeadlineLayer};
use crate::layers::permits::load_shed::{LoadShed, LoadShedHandle, LoadShedLayer};

/// The layers in front of a service. See the [module](super) for their order, and [`server`].
///
/// `C` is the classifier, `P` how deadlines travel, `A` what makes answers of refusals: those of the protocol.
#[derive(Clone, Debug)]
pub struct ServerLayer<C = ByStatus, P = HttpPropagator, A = WithStatus> {
    extract: ExtractLayer<P>,
    respond: RespondLayer<A>,
    deadline: DeadlineLayer<C, ByExtension>,
    upload: UploadLayer,
    load_shed: LoadShedLayer<C>,
    config: Arc<Settings<ServerConfig>>,
}

/// The layers in front of an HTTP service, such as an axum `Router`.
///
/// # Errors
/// If a setting is out of its range; all faults are listed, with the path of the field.
pub fn server(config: &ServerConfig) -> Result<ServerLayer, InvalidConfig> {
    ServerLayer::new(config, ByStatus::default(), ExtractLayer::http, RespondLayer::new())
}

impl<C: Clone, P, A> ServerLayer<C, P, A> {
    pub(super) fn new(
        config: &ServerConfig,
        classifier: C,
        extract: impl FnOnce(PropagationConfig) -> Result<ExtractLayer<P>, InvalidConfig>,
        respond: RespondLayer<A>,
    ) -> Result<Self, InvalidConfig> {
        config.validate()?;
        let ServerConfig { propagation, deadline, request_idle_share, load_shed, max_unready } = config.clone();
        let deadline = DeadlineLayer::new(deadline)?;
        let told_by = deadline.observed().instruments().clone();
        Ok(Self {
            extract: extract(propagation)?,
            respond,
            deadline: deadline.with_classifier(classifier.clone()).with_timing(ByExtension::default()).served(),
            upload: UploadLayer::told_by(request_idle_share, told_by),
            load_shed: LoadShedLayer::new(load_shed)?.with_classifier(classifier).with_max_unready(max_unready),
            config: Arc::new(Settings::new(config.clone())),
        })
    }
}

impl<C, P, A> ServerLayer<C, P, A> {
    /// Lets `classifier` say what answers mean, to every layer: the protocol's own with other verdicts for some, or another.
    #[must_use]
    pub fn with_classifier<D: Clone>(self, classifier: D) -> ServerLayer<D, P, A> {
        ServerLayer {
            extract: self.extract,
            respond: self.respond,
            deadline: self.deadline.with_classifier(classifier.clone()),
            upload: self.upload,
            load_shed: self.load_shed.with_classifier(classifier),
            config: self.config,
        }
    }

    /// Lets `respond` make answers of refusals. The stack's own says the reason in one word; between services of one's own,
    /// [`RespondLayer::verbose`] says the layer, its name and the numbers, too.
    #[must_use]
    pub fn with_respond<B>(self, respond: RespondLayer<B>) -> ServerLayer<C, P, B> {
        let Self { extract, respond: _, deadline, upload, load_shed, config } = self;
        ServerLayer { extract, respond, deadline, upload, load_shed, config }
    }

    /// Gives the layers a name, all the same one, by which they are known in refusals, logs and metrics, and in the
    /// [`registry`](crate::registry) of the process: which service it is.
    ///
    /// ```
    /// use seawall::registry::Registry;
    /// use seawall::stack::{self, ServerConfig};
    ///
    /// # fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// let registry = Registry::new();
    /// let layers = stack::server(&ServerConfig::default())?.named_in(&registry, "inbound")?;
    /// assert_eq!(registry.snapshot().of("inbound").count(), 2);
    /// # drop(layers);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the name is empty or longer than 128 bytes, or the layers have one already, or it is taken by another layer of one of these kinds: by another
    /// service, or a client, which has a deadline too.
    pub fn named(self, name: &str) -> Result<Self, InvalidConfig> {
        self.named_in(Registry::global(), name)
    }

    /// As [`named`](Self::named), in another registry.
    ///
    /// # Errors
    /// As [`named`](Self::named).
    pub fn named_in(self, registry: &Registry, name: &str) -> Result<Self, InvalidConfig> {
        registry.register(name, &self.observed())?;
        Ok(self)
    }

    /// Lets `config` hold from now on, in all layers, for all clones of this value and all services made by it: all of it, or
    /// nothing if it is not valid. What survives, and what calls in flight keep, stands at the `reload` of each layer:
    /// [deadline](DeadlineLayer::reload), [load shed](LoadShedLayer::reload).
    ///
    /// Fixed for as long as the layers live is `propagation.headers`: another value there is a fault.
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new settings.
    ///
    /// # Errors
    /// If a setting is out of its range, or a fixed one is another; all faults are listed, with the path of the field, and
    /// nothing has changed.
    pub fn reload(&self, config: &ServerConfig) -> Result<(), InvalidConfig> {
        let valid = Validation::of(|validation| {
            config.check(validation);
            self.check_fixed(config, validation);
        });
        let layers = self.observed();
        let is_new = valid.is_err() || self.config.get() != *config;
        observed::reload_if_new(layers.iter().map(|layer| layer.instruments()), valid, is_new)?;
        let load_shed = self.config.replace(config.clone(), |_| {
            self.extract.set_most(config.propagation.max_timeout, config.propagation.max_priority);
            self.deadline.apply(&config.deadline);
            self.upload.set_idle_share(config.request_idle_share);
            self.load_shed.set_max_unready(config.max_unready);
            self.load_shed.apply(&config.load_shed)
        });
        // What runs foreign code runs when nothing is locked.
        load_shed();
        Ok(())
    }

    /// Notes what cannot change while the layers are at work.
    pub(super) fn check_fixed(&self, config: &ServerConfig, validation: &mut Validation) {
        config.check_fixed(&self.config.get(), validation);
    }

    /// The configuration that holds now. A limit that was set by hand is not part of it.
    pub fn config(&self) -> ServerConfig {
        self.config.get()
    }

    fn observed(&self) -> [Arc<dyn Observed>; 2] {
        [self.deadline.observed(), self.load_shed.observed()]
    }

    /// Puts the layers in front of a service that names the body type of its requests, such as `Incoming` of hyper: it gets them
    /// with that type.
    ///
    /// A request whose body never comes then holds its place in the shedder until its deadline. A service that takes any body, as
    /// axum's and tonic's do, is better protected by [`layer`](Layer::layer), which is also what `Router::layer`,
    /// `Server::layer` and `ServiceBuilder::layer` call: it hands requests on with an [`UploadBody`](crate::http::UploadBody), and
    /// a call that waits for its client holds no place. A service of one's own gets that, too, if it names
    /// `UploadBody<Incoming>`, or any `B: Body`.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use hyper::body::{Bytes, Incoming};
    /// use seawall::stack::{self, ServerConfig};
    /// use tower::{BoxError, service_fn};
    ///
    /// # fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, BoxError> {
    ///     Ok(Response::new("hello".into()))
    /// }
    /// let service = stack::server(&ServerConfig::default())?.service(service_fn(hello));
    /// # drop(service);
    /// # Ok(())
    /// # }
    /// ```
    pub fn service<S>(&self, service: S) -> KeepsBody<S, C, P, A>
    where
        C: Clone,
        P: Clone,
        A: Clone,
    {
        self.extract.layer(self.respond.layer(self.deadline.layer(self.load_shed.layer(service))))
    }

    /// To look at the shedder, and to change its limit.
    pub fn load_shed(&self) -> LoadShedHandle {
        self.load_shed.handle()
    }
}

/// A service with all its layers, to be named where types have to be: what [`ServerLayer::layer`](Layer::layer) and
/// `ServiceBuilder::service` return.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use hyper::body::{Bytes, Incoming};
/// use seawall::http::UploadBody;
/// use seawall::stack::{self, ServerConfig};
/// use tower::util::BoxCloneSyncService;
/// use tower::{BoxError, Layer};
///
/// type Shop = BoxCloneSyncService<Request<UploadBody<Incoming>>, Response<Full<Bytes>>, BoxError>;
///
/// struct Public {
///     service: stack::Server<Shop>,
/// }
///
/// fn public(shop: Shop) -> Result<Public, seawall::error::InvalidConfig> {
///     Ok(Public { service: stack::server(&ServerConfig::default())?.layer(shop) })
/// }
/// # let _ = (public, |public: Public| public.service);
/// ```
pub type Server<S, C = ByStatus, P = HttpPropagator, A = WithStatus> =
    Extract<Respond<Deadline<UploadService<LoadShed<S, C>>, C, ByExtension>, A>, P>;

/// What [`ServerLayer::service`] returns.
type KeepsBody<S, C, P, A> = Extract<Respond<Deadline<LoadShed<S, C>, C, ByExtension>, A>, P>;

impl<S, C: Clone, P: Clone, A: Clone> Layer<S> for ServerLayer<C, P, A> {
    type Service = Server<S, C, P, A>;

    fn layer(&self, service: S) -> Self::Service {
        let service = self.load_shed.layer(service);
        let service = self.upload.layer(service);
        let service = self.deadline.layer(service);
        let service = self.respond.layer(service);
        self.extract.layer(service)
    }
}
