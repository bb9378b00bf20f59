use std::sync::Arc;

use tower::Layer;

use super::config::ServerConfig;
use super::reload::reload;
use crate::admission::registry::{Observed, Registry};
use crate::ground::error::InvalidConfig;
use crate::ground::settings::Settings;
use crate::ground::validation::{Validate, Validation};
use crate::http::propagation::{Extract, ExtractLayer, HttpPropagator, PropagationConfig};
use crate::http::respond::{Respond, RespondLayer, WithStatus};
use crate::http::{ByExtension, ByStatus, UploadLayer, UploadService};
use crate::layers::deadline::{Deadline, DeadlineLayer};
use crate::layers::permits::load_shed::{LoadShed, LoadShedLayer, PermitsHandle};

/// The layers in front of a service. See the [module](super) for their order, and [`server`].
///
/// The type parameters depend on the protocol: `C` is the classifier, `P` propagates deadlines, and `A` turns refusals into
/// responses.
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
/// If a setting is out of its range. The error lists all faults, each with the path of its field.
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
        let instruments = deadline.core.observed().instruments().clone();
        Ok(Self {
            extract: extract(propagation)?,
            respond,
            deadline: deadline.with_classifier(classifier.clone()).with_timing(ByExtension::default()).served(),
            upload: UploadLayer::with_instruments(request_idle_share, instruments),
            load_shed: LoadShedLayer::new(load_shed)?.with_classifier(classifier).with_max_unready(max_unready),
            config: Arc::new(Settings::new(config.clone())),
        })
    }
}

impl<C, P, A> ServerLayer<C, P, A> {
    /// Sets the classifier of every layer: the protocol's own with other verdicts for some responses, or a different one.
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

    /// Sets the layer that turns refusals into responses. The default states the reason in one word. Between your own services,
    /// [`RespondLayer::verbose`] also states the layer, its name and the numbers.
    #[must_use]
    pub fn with_respond<B>(self, respond: RespondLayer<B>) -> ServerLayer<C, P, B> {
        let Self { extract, respond: _, deadline, upload, load_shed, config } = self;
        ServerLayer { extract, respond, deadline, upload, load_shed, config }
    }

    /// Gives all layers one name. It identifies the service in refusals, logs and metrics, and in the
    /// [`registry`](crate::registry) of the process.
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
    /// If the name is empty or longer than 128 bytes, if the layers already have a name, or if another layer of one of these kinds
    /// has this name: a layer of another service, or of a client, which has a deadline layer too.
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

    /// Applies `config` to all layers, for all clones of this value and all services made by it. An invalid config changes nothing.
    /// The page of each layer says which state survives and what calls in flight keep:
    /// [deadline](crate::deadline#reload), [load shed](crate::load_shed#reload).
    ///
    /// `propagation.headers` is fixed for the lifetime of the layers: a different value is a fault.
    ///
    /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new settings.
    ///
    /// # Errors
    /// If a setting is out of its range, or a fixed setting has a different value. The error lists all faults, each with the path of
    /// its field. Nothing has changed then.
    pub fn reload(&self, config: &ServerConfig) -> Result<(), InvalidConfig> {
        let valid = Validation::of(|validation| {
            config.check(validation);
            self.check_fixed(config, validation);
        });
        reload(&self.config, &self.observed(), config, valid, || {
            self.extract.set((&config.propagation).into());
            self.upload.set_idle_share(config.request_idle_share);
            self.load_shed.core.set_max_unready(config.max_unready);
            [self.deadline.core.apply(&config.deadline), self.load_shed.core.apply(&config.load_shed)]
        })
    }

    /// Reports each setting that differs and cannot change while the layers are in use.
    pub(super) fn check_fixed(&self, config: &ServerConfig, validation: &mut Validation) {
        config.check_fixed(&self.config.get(), validation);
    }

    /// Returns the config in force. It does not include a limit that was set by hand.
    pub fn config(&self) -> ServerConfig {
        self.config.get()
    }

    fn observed(&self) -> [Arc<dyn Observed>; 2] {
        [self.deadline.core.observed(), self.load_shed.core.observed()]
    }

    /// Puts the layers in front of a service that names the body type of its requests, such as hyper's `Incoming`. The service gets
    /// requests with that type.
    ///
    /// A request whose body never arrives then holds its permit of the shedder until its deadline. A service that takes any body, as
    /// axum's and tonic's do, is better protected by [`layer`](Layer::layer), which `Router::layer`, `Server::layer` and
    /// `ServiceBuilder::layer` also call. It passes requests on with an [`UploadBody`](crate::http::UploadBody), and a call that
    /// waits for its client holds no permit. Your own service gets the same protection if it names `UploadBody<Incoming>` or any
    /// `B: Body`.
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

    /// Returns a handle that shows the shedder and can change its limit.
    pub fn load_shed(&self) -> PermitsHandle {
        self.load_shed.handle()
    }
}

/// The type of a service with all its layers, for places that need a type. [`ServerLayer::layer`](Layer::layer) and
/// `ServiceBuilder::service` return it.
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

/// The type that [`ServerLayer::service`] returns.
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
