//! The committed schema accepts and rejects the same files as the library.

use seawall::config::{Config, SCHEMA, presets};
use serde_json::{Value, json};

#[test]
fn schema_accepts_valid_and_rejects_invalid_files() {
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let from_toml = |text: &str| -> Value { toml::from_str(text).unwrap() };

    assert!(schema.is_valid(&json!({})));
    assert!(schema.is_valid(&serde_json::to_value(Config::default()).unwrap()));
    let default = "[client.a]\n[server.b]\n";
    let default: Config = toml::from_str(default).unwrap();
    let default = serde_json::to_value(default).unwrap();
    assert!(schema.is_valid(&default), "{:?}", schema.iter_errors(&default).collect::<Vec<_>>());
    for (name, text) in presets::ALL {
        let preset = from_toml(text);
        assert!(schema.is_valid(&preset), "{name}: {:?}", schema.iter_errors(&preset).collect::<Vec<_>>());
    }
    let example = include_str!("../../src/config.md").split("r#\"").nth(1).and_then(|rest| rest.split("\"#").next());
    assert!(schema.is_valid(&from_toml(example.expect("the first file on the page"))));
    for right in [
        "client.a.retry.attempt_timeout = 'off'",
        "client.a.circuit_breaker.slow_rate = 0.5",
        "client.a.circuit_breaker.slow_rate = 'off'",
        "client.a.circuit_breaker.window = { calls = 100 }",
        "client.a.retry.backoff.growth = 'linear'",
        "client.a.deadline.timeout = '1m 1.5s'",
    ] {
        assert!(schema.is_valid(&from_toml(right)), "{right}");
    }
    for wrong in [
        "clients = {}",
        "client.a.retries = {}",
        "client.a.retry.attempt_timeout = 'of'",
        "client.a.retry.attempt_timeout = 5",
        "client.a.retry.max_attempts = 0",
        "client.a.retry.budget.ratio = 1.7",
        "client.a.circuit_breaker.slow_rate = 0",
        "client.a.circuit_breaker.slow_rate = 'on'",
        "client.a.circuit_breaker.consecutive_failures = 0",
        "client.a.circuit_breaker.window = { calls = 0 }",
        "client.a.propagation.headers.timeout = 'two words'",
        "server.a.deadline.body_timeout = false",
        "server.a.load_shed.order = 'random'",
        "server.'' = {}",
    ] {
        assert!(!schema.is_valid(&from_toml(wrong)), "{wrong}");
    }
}
