//! All stacks of a process, with the settings of one file.

mod file;
mod status;

use std::collections::BTreeMap;
use std::fmt;

pub use self::file::{Following, SettingsFile};
use self::status::Status;
use super::client::{self, ClientLayer};
use super::config::Config;
use super::server::{self, ServerLayer};
use crate::admission::registry::Registry;
use crate::ground::error::InvalidConfig;
use crate::ground::sync::{Arc, Mutex, lock};
use crate::ground::validation::{Validate, Validation};

/// The fault of a reload that can be tried again.
const BUSY: &str = "another reload is under way";

/// All stacks of a process, made from one [`Config`] and reloaded together.
///
/// A layer is made for a name in the settings and gets this [name](ClientLayer::named). A second request for a name returns the
/// same layer, with shared state. [`reload`](Self::reload) applies new settings to all layers or to none.
/// [`follow`](Self::follow) reloads whenever a file changes.
///
/// A name in the settings without a layer is a fault, and so is a layer whose name is not in the settings. A mistyped name
/// therefore does not become a dependency with default settings.
///
/// In the [registry](crate::registry), and so in metrics, in the log and on the page, the settings are a component of their own:
/// layer `settings`, under the name given to [`new`](Self::new). It counts applied and rejected reloads, and shows the faults of the
/// last rejected one until a reload is applied.
///
/// ```
/// use seawall::config;
/// use seawall::error::InvalidConfig;
/// use seawall::stack::{SettingsFile, Stacks};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("seawall-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("settings.toml");
/// # std::fs::write(&path, "[client.payments]\n[server.inbound]\n")?;
/// let file = SettingsFile::new(&path, |text| {
///     config::load(toml::Deserializer::parse(text).map_err(InvalidConfig::unreadable)?)
/// });
/// let stacks = Stacks::new("settings.toml", file.load()?)?;
/// let payments = stacks.client("payments")?; // a `ClientLayer`
/// let inbound = stacks.server("inbound")?;
/// stacks.check_names()?; // nothing in the file is left without its stack
///
/// let following = stacks.follow(file); // until it is dropped
/// # drop((payments, inbound, following));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Stacks {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    status: Arc<Status>,
    held: Mutex<Held>,
    /// Locked before `held`, and held while a layer is made.
    making: Mutex<()>,
}

/// The settings in force, and the layers that were made from them.
struct Held {
    config: Config,
    clients: BTreeMap<String, AnyClient>,
    servers: BTreeMap<String, AnyServer>,
    /// Whether a reload is under way. Two at once could leave one layer with the settings of the first and another layer with
    /// those of the second.
    reloads: bool,
}

#[cfg(feature = "grpc")]
type GrpcClientLayer = ClientLayer<
    crate::grpc::ByCode,
    crate::grpc::ByCall,
    crate::grpc::propagation::GrpcPropagator,
    crate::grpc::ByTimeout,
>;
#[cfg(feature = "grpc")]
type GrpcServerLayer =
    ServerLayer<crate::grpc::ByCode, crate::grpc::propagation::GrpcPropagator, crate::grpc::respond::WithCode>;

#[derive(Clone)]
enum AnyClient {
    Http(ClientLayer),
    #[cfg(feature = "grpc")]
    Grpc(GrpcClientLayer),
}

#[derive(Clone)]
enum AnyServer {
    Http(ServerLayer),
    #[cfg(feature = "grpc")]
    Grpc(GrpcServerLayer),
}

impl Stacks {
    /// Makes stacks with these settings, named in the registry of the process. `name` identifies the settings, such as the name of
    /// their file.
    ///
    /// # Errors
    /// If a setting is out of its range, or `name` is refused: see [`ClientLayer::named`].
    pub fn new(name: &str, config: Config) -> Result<Self, InvalidConfig> {
        Self::new_in(Registry::global(), name, config)
    }

    /// As [`new`](Self::new), in another registry.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_in(registry: &Registry, name: &str, config: Config) -> Result<Self, InvalidConfig> {
        Validation::of(|validation| {
            config.check(validation);
            check_shared(validation, &config);
        })?;
        let status = Status::named_in(registry, name)?;
        let held = Held { config, clients: BTreeMap::new(), servers: BTreeMap::new(), reloads: false };
        Ok(Self {
            inner: Arc::new(Inner {
                registry: registry.clone(),
                status,
                held: Mutex::new(held),
                making: Mutex::new(()),
            }),
        })
    }

    /// The layers around the HTTP client of the dependency that the settings have under `name`.
    ///
    /// # Errors
    /// If the settings have no such client, or the name is taken by another layer.
    pub fn client(&self, name: &str) -> Result<ClientLayer, InvalidConfig> {
        let made = self.make(
            "client",
            name,
            |held| &mut held.clients,
            |config| &config.client,
            |config, registry| client::client(config)?.named_in(registry, name).map(AnyClient::Http),
        )?;
        match made {
            AnyClient::Http(layer) => Ok(layer),
            #[cfg(feature = "grpc")]
            AnyClient::Grpc(_) => Err(fault("client", name, "is a gRPC client already")),
        }
    }

    /// The layers in front of the HTTP service that the settings have under `name`.
    ///
    /// # Errors
    /// If the settings have no such server, or the name is taken by another layer.
    pub fn server(&self, name: &str) -> Result<ServerLayer, InvalidConfig> {
        let made = self.make(
            "server",
            name,
            |held| &mut held.servers,
            |config| &config.server,
            |config, registry| server::server(config)?.named_in(registry, name).map(AnyServer::Http),
        )?;
        match made {
            AnyServer::Http(layer) => Ok(layer),
            #[cfg(feature = "grpc")]
            AnyServer::Grpc(_) => Err(fault("server", name, "is a gRPC server already")),
        }
    }

    /// The layers around the gRPC client of the dependency that the settings have under `name`.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    #[cfg(feature = "grpc")]
    pub fn grpc_client(&self, name: &str) -> Result<GrpcClientLayer, InvalidConfig> {
        let made = self.make(
            "client",
            name,
            |held| &mut held.clients,
            |config| &config.client,
            |config, registry| super::grpc::client(config)?.named_in(registry, name).map(AnyClient::Grpc),
        )?;
        match made {
            AnyClient::Grpc(layer) => Ok(layer),
            AnyClient::Http(_) => Err(fault("client", name, "is an HTTP client already")),
        }
    }

    /// The layers in front of the gRPC service that the settings have under `name`.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    #[cfg(feature = "grpc")]
    pub fn grpc_server(&self, name: &str) -> Result<GrpcServerLayer, InvalidConfig> {
        let made = self.make(
            "server",
            name,
            |held| &mut held.servers,
            |config| &config.server,
            |config, registry| super::grpc::server(config)?.named_in(registry, name).map(AnyServer::Grpc),
        )?;
        match made {
            AnyServer::Grpc(layer) => Ok(layer),
            AnyServer::Http(_) => Err(fault("server", name, "is an HTTP server already")),
        }
    }

    fn make<C: Clone, M: Clone>(
        &self,
        section: &str,
        name: &str,
        made: fn(&mut Held) -> &mut BTreeMap<String, M>,
        settings: fn(&Config) -> &BTreeMap<String, C>,
        make: impl FnOnce(&C, &Registry) -> Result<M, InvalidConfig>,
    ) -> Result<M, InvalidConfig> {
        // Layers are made one at a time. If two callers made a layer for one name at once, the second would find the name taken.
        let _making = lock(&self.inner.making);
        let config = {
            let mut held = lock(&self.inner.held);
            if let Some(found) = made(&mut held).get(name) {
                return Ok(found.clone());
            }
            let settings = settings(&held.config);
            settings.get(name).cloned().ok_or_else(|| fault(section, name, &missing(settings.keys())))?
        };
        let layer = make(&config, &self.inner.registry)?;
        made(&mut lock(&self.inner.held)).insert(name.to_owned(), layer.clone());
        Ok(layer)
    }

    /// Checks that each name in the settings has a layer. Call it when all layers have been made.
    ///
    /// # Errors
    /// Lists the names without a layer.
    pub fn check_names(&self) -> Result<(), InvalidConfig> {
        Validation::of(|validation| {
            let held = lock(&self.inner.held);
            check_unused(validation, "client", held.config.client.keys(), &held.clients);
            check_unused(validation, "server", held.config.server.keys(), &held.servers);
        })
    }

    /// Applies new settings to all layers, or to none if there is any fault. [`ClientLayer::reload`] and [`ServerLayer::reload`] say
    /// which state of a layer survives.
    ///
    /// Takes the result of reading the settings, so that settings that cannot be read also count as rejected.
    ///
    /// # Errors
    /// The error of the reading. Or all faults by path: values out of their range, a different value of a fixed setting, names
    /// without a layer, layers without a name in the settings. Or if another reload is under way.
    pub fn reload(&self, settings: Result<Config, InvalidConfig>) -> Result<(), InvalidConfig> {
        let result = settings.and_then(|config| self.replace(config));
        self.inner.status.reloaded(&result);
        result
    }

    fn replace(&self, config: Config) -> Result<(), InvalidConfig> {
        let (clients, servers) = {
            let mut held = lock(&self.inner.held);
            if held.reloads {
                return Err(InvalidConfig::unreadable(BUSY));
            }
            held.reloads = true;
            (held.clients.clone(), held.servers.clone())
        };
        let _reloading = Reloading(&self.inner);
        Validation::of(|validation| {
            config.check(validation);
            check_shared(validation, &config);
            check_unused(validation, "client", config.client.keys(), &clients);
            check_unused(validation, "server", config.server.keys(), &servers);
            for (name, layer) in &clients {
                validation.entry("client", name, |validation| match (config.client.get(name), layer) {
                    (None, _) => validation.check(false, "", missing(config.client.keys())),
                    (Some(config), AnyClient::Http(layer)) => layer.check_fixed(config, validation),
                    #[cfg(feature = "grpc")]
                    (Some(config), AnyClient::Grpc(layer)) => layer.check_fixed(config, validation),
                });
            }
            for (name, layer) in &servers {
                validation.entry("server", name, |validation| match (config.server.get(name), layer) {
                    (None, _) => validation.check(false, "", missing(config.server.keys())),
                    (Some(config), AnyServer::Http(layer)) => layer.check_fixed(config, validation),
                    #[cfg(feature = "grpc")]
                    (Some(config), AnyServer::Grpc(layer)) => layer.check_fixed(config, validation),
                });
            }
        })?;
        for (layer, config) in clients.iter().filter_map(|(name, layer)| Some((layer, config.client.get(name)?))) {
            match layer {
                AnyClient::Http(layer) => layer.reload(config)?,
                #[cfg(feature = "grpc")]
                AnyClient::Grpc(layer) => layer.reload(config)?,
            }
        }
        for (layer, config) in servers.iter().filter_map(|(name, layer)| Some((layer, config.server.get(name)?))) {
            match layer {
                AnyServer::Http(layer) => layer.reload(config)?,
                #[cfg(feature = "grpc")]
                AnyServer::Grpc(layer) => layer.reload(config)?,
            }
        }
        lock(&self.inner.held).config = config;
        Ok(())
    }

    /// The settings in force.
    pub fn config(&self) -> Config {
        lock(&self.inner.held).config.clone()
    }
}

struct Reloading<'a>(&'a Inner);

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        lock(&self.0.held).reloads = false;
    }
}

fn check_unused<'a, M>(
    validation: &mut Validation,
    section: &str,
    names: impl Iterator<Item = &'a String>,
    made: &BTreeMap<String, M>,
) {
    for name in names.filter(|name| !made.contains_key(*name)) {
        validation.entry(section, name, |validation| {
            let known: Vec<_> = made.keys().map(String::as_str).collect();
            validation.check(false, "", format_args!("no stack has this name, expected {}", one_of(&known)));
        });
    }
}

/// A client and a server both have a deadline layer, and only one deadline layer may have a name.
fn check_shared(validation: &mut Validation, config: &Config) {
    const SHARED: &str = "a client has this name, too, and a name is taken by one stack: rename one of them";
    for name in config.server.keys().filter(|name| config.client.contains_key(*name)) {
        validation.entry("server", name, |validation| validation.check(false, "", SHARED));
    }
}

fn fault(section: &str, name: &str, problem: &str) -> InvalidConfig {
    let invalid = Validation::of(|validation| {
        validation.entry(section, name, |validation| validation.check(false, "", problem));
    });
    invalid.err().unwrap_or_else(|| InvalidConfig::unreadable(problem))
}

fn missing<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    format!("is missing in the settings, which have {}", one_of(&names))
}

fn one_of(names: &[&str]) -> String {
    const MOST: usize = 10;
    let listed: Vec<_> = names.iter().take(MOST).map(|name| format!("`{}`", name.escape_debug())).collect();
    match (listed.len(), names.len().saturating_sub(MOST)) {
        (0, _) => "none".to_owned(),
        (_, 0) => listed.join(", "),
        (_, more) => format!("{} and {more} more", listed.join(", ")),
    }
}

impl fmt::Debug for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = lock(&self.inner.held);
        let clients: Vec<_> = held.clients.keys().cloned().collect();
        let servers: Vec<_> = held.servers.keys().cloned().collect();
        drop(held);
        f.debug_struct("Stacks").field("clients", &clients).field("servers", &servers).finish_non_exhaustive()
    }
}
