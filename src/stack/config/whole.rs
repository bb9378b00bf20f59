use std::collections::BTreeMap;

use super::{ClientConfig, ServerConfig};
use crate::ground::validation::{Validate, Validation};
use crate::loader::EMPTY;

/// The settings of a process: of its clients and its services, each under a name.
///
/// See the [module](crate::config) for how to read them from a file.
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The dependencies that are called, by name. A name must not be empty.
    pub client: BTreeMap<String, ClientConfig>,
    /// The services that are offered, by name. A name must not be empty.
    pub server: BTreeMap<String, ServerConfig>,
}

impl Validate for Config {
    fn check(&self, validation: &mut Validation) {
        validation.check(!self.client.is_empty() || !self.server.is_empty(), "", EMPTY);
        for (name, client) in &self.client {
            validation.entry("client", name, |validation| {
                check_name(validation, name);
                client.check(validation);
            });
        }
        for (name, server) in &self.server {
            validation.entry("server", name, |validation| {
                check_name(validation, name);
                server.check(validation);
            });
        }
    }
}

fn check_name(validation: &mut Validation, name: &str) {
    validation.check(!name.trim().is_empty(), "", "a name must not be empty");
}
