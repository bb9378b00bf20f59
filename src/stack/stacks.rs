//! All stacks of a process, with the settings of one file.

mod file;
mod section;
mod status;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use self::file::{Following, SettingsFile};
use self::section::{Section, StackLayers};
use self::status::SettingsStatus;
use super::balanced_client::{self, BalancedClientLayer};
use super::client::{self, ClientLayer};
use super::config::{BalancedClientConfig, ClientConfig, Config, ServerConfig};
#[cfg(feature = "grpc")]
use super::grpc;
use super::server::{self, ServerLayer};
use crate::admission::registry::Registry;
use crate::ground::error::InvalidConfig;
use crate::ground::sync::{Mutex, lock};
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
    inner: Arc<SharedStacks>,
}

struct SharedStacks {
    registry: Registry,
    status: Arc<SettingsStatus>,
    held: Mutex<StacksState>,
    /// Locked before `held`, and held while a layer is made.
    making: Mutex<()>,
}

/// The settings in force, and the layers that were made from them.
struct StacksState {
    config: Config,
    sections: Sections,
    /// Whether a reload is under way. Two at once could leave one layer with the settings of the first and another layer with
    /// those of the second.
    reloads: bool,
}

#[derive(Clone)]
struct Sections {
    clients: Section<ClientConfig>,
    balanced_clients: Section<BalancedClientConfig>,
    servers: Section<ServerConfig>,
}

/// A section with its settings.
type Part<'a, C> = (&'a mut Section<C>, &'a BTreeMap<String, C>);

impl StacksState {
    fn clients(&mut self) -> Part<'_, ClientConfig> {
        (&mut self.sections.clients, &self.config.client)
    }

    fn balanced_clients(&mut self) -> Part<'_, BalancedClientConfig> {
        (&mut self.sections.balanced_clients, &self.config.balanced_client)
    }

    fn servers(&mut self) -> Part<'_, ServerConfig> {
        (&mut self.sections.servers, &self.config.server)
    }
}

impl Sections {
    fn check_names(&self, config: &Config, validation: &mut Validation) {
        self.clients.check_names(&config.client, validation);
        self.balanced_clients.check_names(&config.balanced_client, validation);
        self.servers.check_names(&config.server, validation);
    }

    fn check(&self, config: &Config, validation: &mut Validation) {
        self.clients.check(&config.client, validation);
        self.balanced_clients.check(&config.balanced_client, validation);
        self.servers.check(&config.server, validation);
    }

    fn reload(&self, config: &Config) -> Result<(), InvalidConfig> {
        self.clients.reload(&config.client)?;
        self.balanced_clients.reload(&config.balanced_client)?;
        self.servers.reload(&config.server)
    }
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
        let status = SettingsStatus::named_in(registry, name)?;
        let sections = Sections {
            clients: Section::new("client"),
            balanced_clients: Section::new("balanced_client"),
            servers: Section::new("server"),
        };
        let held = StacksState { config, sections, reloads: false };
        Ok(Self {
            inner: Arc::new(SharedStacks {
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
        self.make(name, StacksState::clients, client::client, ClientLayer::named_in)
    }

    /// The layers around the HTTP clients of the dependency with several endpoints that the settings have under `name`. It has no
    /// endpoints until [they are set](BalancedClientLayer::with_endpoints).
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn balanced_client(&self, name: &str) -> Result<BalancedClientLayer, InvalidConfig> {
        self.make(name, StacksState::balanced_clients, balanced_client::balanced_client, BalancedClientLayer::named_in)
    }

    /// The layers in front of the HTTP service that the settings have under `name`.
    ///
    /// # Errors
    /// If the settings have no such server, or the name is taken by another layer.
    pub fn server(&self, name: &str) -> Result<ServerLayer, InvalidConfig> {
        self.make(name, StacksState::servers, server::server, ServerLayer::named_in)
    }

    /// The layers around the gRPC client of the dependency that the settings have under `name`.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    #[cfg(feature = "grpc")]
    pub fn grpc_client(&self, name: &str) -> Result<grpc::ClientLayer, InvalidConfig> {
        self.make(name, StacksState::clients, grpc::client, ClientLayer::named_in)
    }

    /// The layers around the gRPC clients of the dependency with several endpoints that the settings have under `name`.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    #[cfg(feature = "grpc")]
    pub fn balanced_grpc_client(&self, name: &str) -> Result<grpc::BalancedClientLayer, InvalidConfig> {
        self.make(name, StacksState::balanced_clients, grpc::balanced_client, BalancedClientLayer::named_in)
    }

    /// The layers in front of the gRPC service that the settings have under `name`.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    #[cfg(feature = "grpc")]
    pub fn grpc_server(&self, name: &str) -> Result<grpc::ServerLayer, InvalidConfig> {
        self.make(name, StacksState::servers, grpc::server, ServerLayer::named_in)
    }

    fn make<C: Clone, L: StackLayers<C> + Clone + 'static>(
        &self,
        name: &str,
        part: for<'a> fn(&'a mut StacksState) -> Part<'a, C>,
        new: fn(&C) -> Result<L, InvalidConfig>,
        named_in: fn(L, &Registry, &str) -> Result<L, InvalidConfig>,
    ) -> Result<L, InvalidConfig> {
        // Layers are made one at a time. If two callers made a layer for one name at once, the second would find the name taken.
        let _making = lock(&self.inner.making);
        let config = {
            let mut held = lock(&self.inner.held);
            let (section, settings) = part(&mut held);
            if let Some(found) = section.get(name) {
                return found;
            }
            section.settings(settings, name)?
        };
        let layers = named_in(new(&config)?, &self.inner.registry, name)?;
        part(&mut lock(&self.inner.held)).0.insert(name, Arc::new(layers.clone()));
        Ok(layers)
    }

    /// Checks that each name in the settings has a layer. Call it when all layers have been made.
    ///
    /// # Errors
    /// Lists the names without a layer.
    pub fn check_names(&self) -> Result<(), InvalidConfig> {
        Validation::of(|validation| {
            let held = lock(&self.inner.held);
            held.sections.check_names(&held.config, validation);
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
        let sections = {
            let mut held = lock(&self.inner.held);
            if held.reloads {
                return Err(InvalidConfig::unreadable(BUSY));
            }
            held.reloads = true;
            held.sections.clone()
        };
        let _reloading = Reloading(&self.inner);
        Validation::of(|validation| {
            config.check(validation);
            check_shared(validation, &config);
            sections.check(&config, validation);
        })?;
        sections.reload(&config)?;
        lock(&self.inner.held).config = config;
        Ok(())
    }

    /// The settings in force.
    pub fn config(&self) -> Config {
        lock(&self.inner.held).config.clone()
    }
}

struct Reloading<'a>(&'a SharedStacks);

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        lock(&self.0.held).reloads = false;
    }
}

/// All stacks have a deadline layer, and only one deadline layer may have a name.
fn check_shared(validation: &mut Validation, config: &Config) {
    const SHARED: &str = "a client has this name, too, and a name is taken by one stack: rename one of them";
    let Config { client, balanced_client, server } = config;
    let mut check = |section: &str, name: &String, others: &[bool]| {
        let is_shared = others.contains(&true);
        validation.entry(section, name, |validation| validation.check(!is_shared, "", SHARED));
    };
    for name in balanced_client.keys() {
        check("balanced_client", name, &[client.contains_key(name)]);
    }
    for name in server.keys() {
        check("server", name, &[client.contains_key(name), balanced_client.contains_key(name)]);
    }
}

impl fmt::Debug for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = lock(&self.inner.held);
        let Sections { clients, balanced_clients, servers } = &held.sections;
        let names = (clients.names(), balanced_clients.names(), servers.names());
        drop(held);
        f.debug_struct("Stacks")
            .field("clients", &names.0)
            .field("balanced_clients", &names.1)
            .field("servers", &names.2)
            .finish_non_exhaustive()
    }
}
