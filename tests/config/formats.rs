use std::time::Duration;

use seawall::circuit_breaker::Window;
use seawall::config::{self, Config, Draft, presets};
use seawall::error::InvalidConfig;
use serde_json::Value;

use crate::listed;

fn from_json(json: &str) -> Result<Config, InvalidConfig> {
    serde_json::from_str::<Draft>(json).map_err(InvalidConfig::unreadable)?.load()
}

fn from_yaml(yaml: &str) -> Result<Config, InvalidConfig> {
    config::load(yaml_serde::Deserializer::from_str(yaml))
}

#[test]
fn malformed_json_is_a_fault_with_its_place() {
    for (json, place) in [("{ \"client\": [", "line 1 column 13"), ("{}\n}", "line 2 column 1")] {
        let listed = listed(&from_json(json).unwrap_err());
        assert!(listed.len() == 1 && listed[0].ends_with(place), "{listed:?}");
    }
}

/// A parser that allows a key twice lets the last one win, and the first is lost silently.
#[test]
fn duplicate_keys_are_faults() {
    let listed = listed(
        &from_json(
            r#"{
                "client": { "a": { "per_authority": true, "per_authority": false }, "b": {}, "b": { "retry": 7 } },
                "client": {}
            }"#,
        )
        .unwrap_err(),
    );
    assert_eq!(
        listed,
        [
            "client: duplicate key `client`",
            "client.a.per_authority: duplicate key `per_authority`",
            "client.b: duplicate key `b`",
        ]
    );
    let toml = crate::faults("[client.a]\n[client.a]\n");
    assert!(toml.len() == 1 && toml[0].contains("duplicate key"), "{toml:?}");
    let yaml = from_yaml("client: {a: {}, b: {}, a: {}}").unwrap_err();
    assert_eq!(yaml.faults()[0].path(), "client.a");
}

#[test]
fn yaml_tags_and_plain_values_are_read() {
    let window = |config: Result<Config, InvalidConfig>| config.unwrap().client["a"].circuit_breaker.window;
    let ten = Window::Time(Duration::from_secs(10));
    assert_eq!(window(from_yaml("client: {a: {circuit_breaker: {window: {time: 10s}}}}")), ten);
    assert_eq!(window(from_yaml("client: {a: {circuit_breaker: {window: !time 10s}}}")), ten);
    assert_eq!(window(from_yaml("client: {a: {circuit_breaker: {slow_rate: off}}}")), ten);
    assert!(from_yaml("client: {1: {}, true: {}}").unwrap().client.contains_key("true"));

    let listed = listed(&from_yaml("client:\n  a: {bulkhead: {max_concurrent: .nan}}\n").unwrap_err());
    assert_eq!(listed, ["client.a.bulkhead.max_concurrent: invalid value: NaN, expected a finite number"]);
}

#[test]
fn tree_of_another_crate_is_loaded() {
    let tree = serde_json::json!({ "client": { "a": { "per_authority": true, "retry": { "max_attempts": 0 } } } });
    let invalid = config::load::<Config, _>(tree).unwrap_err();
    assert_eq!(listed(&invalid), ["client.a.retry.max_attempts: must be at least 1"]);
}

/// With the feature `arbitrary_precision`, which any crate can enable for all others, numbers arrive as tables.
#[test]
fn numbers_of_arbitrary_precision_are_read() {
    let hidden = |number: &str| format!(r#"{{ "$serde_json::private::Number": "{number}" }}"#);
    let json = format!(
        r#"{{ "client": {{ "a": {{ "retry": {{ "max_attempts": {}, "budget": {{ "ratio": {} }} }} }} }} }}"#,
        hidden("5"),
        hidden("0.25")
    );
    let retry = &from_json(&json).unwrap().client["a"].retry;
    assert_eq!((retry.max_attempts, retry.budget.ratio), (5, 0.25));
    assert!(
        from_json(&hidden("1e999")).unwrap_err().to_string().contains("invalid value: inf, expected a finite number")
    );
}

/// A tree that layers environment variables over a file has text where the file has numbers and booleans.
#[test]
fn numbers_booleans_and_durations_are_read_from_text() {
    fn as_text(tree: &mut Value) {
        match tree {
            Value::Number(number) => *tree = Value::String(number.to_string()),
            Value::Bool(truth) => *tree = Value::String(truth.to_string()),
            Value::Array(elements) => elements.iter_mut().for_each(as_text),
            Value::Object(entries) => entries.values_mut().for_each(as_text),
            Value::Null | Value::String(_) => {}
        }
    }
    for (_, preset) in presets::ALL {
        let config = crate::load(preset).unwrap();
        let mut tree = serde_json::to_value(&config).unwrap();
        as_text(&mut tree);
        assert_eq!(config::load::<Config, _>(tree).unwrap(), config);
    }
}

#[test]
fn environment_variables_are_layered_over_a_file() {
    let read = |name: &str, value: &str| {
        let variables = [(format!("APP__CLIENT__PAYMENTS__{name}"), value.to_owned())].into();
        let variables =
            ::config::Environment::with_prefix("APP").prefix_separator("__").separator("__").source(Some(variables));
        let tree = ::config::Config::builder().add_source(variables).build().unwrap();
        config::load::<Config, _>(tree).map(|mut config| config.client.remove("payments").unwrap())
    };
    assert_eq!(read("BULKHEAD__MAX_CONCURRENT", "8").unwrap().bulkhead.max_concurrent, 8);
    assert_eq!(read("DEADLINE__TIMEOUT", " 2s ").unwrap().deadline.timeout, Duration::from_secs(2));
    assert_eq!(read("CIRCUIT_BREAKER__SLOW_RATE", "0.5").unwrap().circuit_breaker.slow_rate, Some(0.5));
    assert_eq!(read("CIRCUIT_BREAKER__SLOW_RATE", "off").unwrap().circuit_breaker.slow_rate, None);
    assert_eq!(read("CIRCUIT_BREAKER__WINDOW__CALLS", "200").unwrap().circuit_breaker.window, Window::Calls(200));
    assert!(read("PER_AUTHORITY", "yes").unwrap().per_authority);
    for (name, value, fault) in [
        ("BULKHEAD__MAX_CONCURRENT", "-8", "client.payments.bulkhead.max_concurrent: invalid value: integer `-8`"),
        ("BULKHEAD__MAX_CONCURRENT", "many", "client.payments.bulkhead.max_concurrent: invalid type: string \"many\""),
        (
            "CIRCUIT_BREAKER__SLOW_RATE",
            "NaN",
            "client.payments.circuit_breaker.slow_rate: invalid value: string \"NaN\"",
        ),
        ("PER_AUTHORITY", "perhaps", "client.payments.per_authority: invalid type: string \"perhaps\""),
    ] {
        let listed = listed(&read(name, value).unwrap_err());
        assert!(listed.len() == 1 && listed[0].starts_with(fault), "{listed:?}");
    }
}
