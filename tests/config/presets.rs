use seawall::config::presets;
use seawall::stack;

use crate::load;

#[test]
fn every_preset_builds_a_client_and_a_server() {
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
fn every_preset_value_has_a_comment() {
    for (name, text) in presets::ALL {
        assert!(text.starts_with("# "), "{name}: the first line says what the preset is for");
        for line in text.lines().filter(|line| line.contains('=')) {
            assert!(line.contains(" # "), "{name}: {line}");
        }
    }
}
