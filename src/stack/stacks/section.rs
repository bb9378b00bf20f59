//! The layers that were made from one section of the settings, by name.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ground::error::InvalidConfig;
use crate::ground::validation::Validation;
use crate::stack::balanced_client::BalancedClientLayer;
use crate::stack::client::ClientLayer;
use crate::stack::config::{BalancedClientConfig, ClientConfig, ServerConfig};
use crate::stack::server::ServerLayer;

/// What [`Stacks`](super::Stacks) does with the layers of a stack after it made them, whatever their protocol.
pub(super) trait StackLayers<C>: Send + Sync {
    fn check_fixed(&self, config: &C, validation: &mut Validation);

    fn reload(&self, config: &C) -> Result<(), InvalidConfig>;

    fn as_any(&self) -> &dyn Any;
}

macro_rules! stack_layers {
    ($layer:ident<$($param:ident),*>, $config:ty) => {
        impl<$($param: Send + Sync + 'static),*> StackLayers<$config> for $layer<$($param),*> {
            fn check_fixed(&self, config: &$config, validation: &mut Validation) {
                $layer::check_fixed(self, config, validation);
            }

            fn reload(&self, config: &$config) -> Result<(), InvalidConfig> {
                $layer::reload(self, config)
            }

            fn as_any(&self) -> &dyn Any {
                self
            }
        }
    };
}

stack_layers!(ClientLayer<C, R, P, L>, ClientConfig);
stack_layers!(BalancedClientLayer<C, R, P, L>, BalancedClientConfig);
stack_layers!(ServerLayer<C, P, A>, ServerConfig);

/// See the module.
pub(super) struct Section<C> {
    name: &'static str,
    layers: BTreeMap<String, Arc<dyn StackLayers<C>>>,
}

impl<C> Section<C> {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, layers: BTreeMap::new() }
    }

    /// The layers with this name, if they were made. They may be of another protocol: that is a fault.
    pub(super) fn get<L: Clone + 'static>(&self, name: &str) -> Option<Result<L, InvalidConfig>> {
        const OTHER_PROTOCOL: &str = "the name is taken by a stack for the other protocol";
        let layers = self.layers.get(name)?.as_any().downcast_ref::<L>();
        Some(layers.cloned().ok_or_else(|| self.fault(name, OTHER_PROTOCOL)))
    }

    /// The settings of this name.
    pub(super) fn settings(&self, settings: &BTreeMap<String, C>, name: &str) -> Result<C, InvalidConfig>
    where
        C: Clone,
    {
        settings.get(name).cloned().ok_or_else(|| self.fault(name, &missing(settings.keys())))
    }

    pub(super) fn insert(&mut self, name: &str, layers: Arc<dyn StackLayers<C>>) {
        self.layers.insert(name.to_owned(), layers);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.layers.keys().cloned().collect()
    }

    /// Reports each name in the settings that has no layers.
    pub(super) fn check_names(&self, settings: &BTreeMap<String, C>, validation: &mut Validation) {
        for name in settings.keys().filter(|name| !self.layers.contains_key(*name)) {
            validation.entry(self.name, name, |validation| {
                let known: Vec<_> = self.layers.keys().map(String::as_str).collect();
                validation.check(false, "", format_args!("no stack has this name, expected {}", one_of(&known)));
            });
        }
    }

    /// Reports names without layers, layers without settings, and settings that cannot change.
    pub(super) fn check(&self, settings: &BTreeMap<String, C>, validation: &mut Validation) {
        self.check_names(settings, validation);
        for (name, layers) in &self.layers {
            validation.entry(self.name, name, |validation| match settings.get(name) {
                Some(config) => layers.check_fixed(config, validation),
                None => validation.check(false, "", missing(settings.keys())),
            });
        }
    }

    pub(super) fn reload(&self, settings: &BTreeMap<String, C>) -> Result<(), InvalidConfig> {
        let pairs = self.layers.iter().filter_map(|(name, layers)| Some((layers, settings.get(name)?)));
        pairs.into_iter().try_for_each(|(layers, config)| layers.reload(config))
    }

    fn fault(&self, name: &str, problem: &str) -> InvalidConfig {
        let invalid = Validation::of(|validation| {
            validation.entry(self.name, name, |validation| validation.check(false, "", problem));
        });
        invalid.err().unwrap_or_else(|| InvalidConfig::unreadable(problem))
    }
}

impl<C> Clone for Section<C> {
    fn clone(&self) -> Self {
        Self { name: self.name, layers: self.layers.clone() }
    }
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
