use seawall::config::presets;
use seawall::stack;

use crate::load;

#[test]
fn every_preset_makes_a_client_and_a_server() {
    for (name, text) in presets::ALL {
        let config = load(text).unwrap_or_else(|invalid| panic!("{name}: {invalid}"));
        assert_eq!(config.client.keys().chain(config.server.keys()).collect::<Vec<_>>(), [name, "inbound"]);
        assert!(stack::client(&config.client[name]).is_ok());
        assert!(stack::server(&config.server["inbound"]).is_ok());
        assert_eq!(presets::find(name), Some(text));
    }
    assert_eq!(presets::find("none"), None);
}

#[test]
fn every_value_of_a_preset_has_its_reason() {
    for (name, text) in presets::ALL {
        assert!(text.starts_with("# "), "{name} says what it is for");
        for line in text.lines().filter(|line| line.contains('=')) {
            assert!(line.contains(" # "), "{name}: {line}");
        }
    }
}
