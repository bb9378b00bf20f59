use std::collections::BTreeMap;

use super::{BalancedClientConfig, ClientConfig, ServerConfig};
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
    /// The dependencies with several endpoints, by name. A name must not be empty. The endpoints themselves are no setting.
    pub balanced_client: BTreeMap<String, BalancedClientConfig>,
    /// The services that are offered, by name. A name must not be empty.
    pub server: BTreeMap<String, ServerConfig>,
}

impl Validate for Config {
    fn check(&self, validation: &mut Validation) {
        let Self { client, balanced_client, server } = self;
        let is_empty = client.is_empty() && balanced_client.is_empty() && server.is_empty();
        validation.check(!is_empty, "", EMPTY);
        check_section("client", client, validation);
        check_section("balanced_client", balanced_client, validation);
        check_section("server", server, validation);
    }
}

fn check_section<C: Validate>(section: &str, settings: &BTreeMap<String, C>, validation: &mut Validation) {
    for (name, config) in settings {
        validation.entry(section, name, |validation| {
            validation.check(!name.trim().is_empty(), "", "a name must not be empty");
            config.check(validation);
        });
    }
}
