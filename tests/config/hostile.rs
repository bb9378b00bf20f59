use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;
use seawall::bulkhead::BulkheadConfig;
use seawall::config::{self, Config, Draft};
use seawall::error::InvalidConfig;
use seawall::stack::ServerConfig;
use serde_json::{Value, json};

/// An arbitrary tree, with known names about half of the time.
fn tree() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0.0..2.0).prop_map(Value::from),
        ".*".prop_map(Value::from),
        prop::sample::select(vec!["off", "1s", "0s", "10 parsecs", "fifo", "linear", "x-header"]).prop_map(Value::from),
    ];
    let name = prop_oneof![
        4 => prop::sample::select(vec![
            "client", "server", "a", "", "deadline", "timeout", "retry", "backoff", "growth", "exponential", "base", "cap",
            "budget", "ratio", "circuit_breaker", "window", "calls", "time", "minimum_calls", "propagation", "headers",
            "also_understood", "load_shed", "order", "$serde_json::private::Number", "$__toml_private_datetime",
        ])
        .prop_map(str::to_owned),
        1 => ".*",
    ];
    scalar.prop_recursive(7, 64, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            4 => prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|map: BTreeMap<_, _>| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn rooted() -> impl Strategy<Value = Value> {
    prop_oneof![
        tree(),
        (tree(), tree()).prop_map(|(client, server)| json!({ "client": { "a": client }, "server": { "a": server } })),
    ]
}

proptest! {
    #[test]
    fn no_tree_panics_and_each_fault_is_reported_once(tree in rooted()) {
        if let Err(invalid) = config::load::<Config, _>(tree.clone()) {
            prop_assert!(!invalid.faults().is_empty());
            let listed: Vec<_> = invalid.faults().iter().collect();
            prop_assert!(listed.windows(2).all(|pair| pair[0] != pair[1]), "{listed:?}");
            prop_assert!(listed.windows(2).all(|pair| pair[0].path() <= pair[1].path()), "{listed:?}");
        }
        // A subtree read as another type does not panic either.
        let _ = config::load::<ServerConfig, _>(tree.clone());
        let _ = config::load::<BulkheadConfig, _>(tree);
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = crate::load(&text);
        let _ = serde_json::from_str::<Draft>(&text).map(Draft::load::<Config>);
        let _ = config::load::<Config, _>(yaml_serde::Deserializer::from_str(&text));
    }

    /// The loader returns exactly what serde accepts and validation finds valid.
    #[test]
    fn the_loader_agrees_with_serde(tree in rooted()) {
        let plain = serde_json::from_value::<Config>(tree.clone()).ok().filter(|config| {
            seawall::config::Validate::validate(config).is_ok()
        });
        if let Ok(loaded) = config::load::<Config, _>(tree) {
            prop_assert_eq!(plain, Some(loaded));
        }
    }
}

#[track_caller]
fn refused(json: &str) -> InvalidConfig {
    let draft: Result<Draft, _> = serde_json::from_str(json).map_err(InvalidConfig::unreadable);
    draft.and_then(Draft::load::<Config>).expect_err("the settings are invalid")
}

/// A list of a hundred thousand faults is useless, and must not read the file a hundred thousand times.
#[test]
fn very_many_faults_are_counted() {
    let mut unknown = String::from("{");
    let [mut wrong, mut gone, mut invalid] = ["{\"client\":{"; 3].map(String::from);
    for n in 0..100_000 {
        let comma = if n == 0 { "" } else { "," };
        write!(unknown, "{comma}\"f{n}\":{n}").unwrap();
        write!(wrong, "{comma}\"c{n}\":{{\"retry\":{n}}}").unwrap();
        write!(gone, "{comma}\"c{n}\":{n}").unwrap();
        write!(invalid, "{comma}\"c{n}\":{{\"retry\":{{\"max_attempts\":0}}}}").unwrap();
    }
    let unknown = refused(&(unknown + "}"));
    assert_eq!((unknown.faults().len(), unknown.unlisted()), (100, 99_900));
    assert!(unknown.to_string().ends_with("; and at least 99900 more"));
    let invalid = refused(&(invalid + "}}"));
    assert_eq!((invalid.faults().len(), invalid.unlisted()), (100, 99_900));
    for wrong in [wrong, gone] {
        let wrong = refused(&(wrong + "}}"));
        assert_eq!(wrong.faults().len(), 100);
        assert!(wrong.unlisted() > 0);
    }
}

#[test]
fn deep_nesting_is_refused() {
    for depth in [60, 65, 100, 1_000, 100_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        assert_eq!(refused(&format!("{open}{close}")).faults().len(), 1);
        assert_eq!(crate::faults(&format!("client = {open}{close}")).len(), 1);
        let mut parser = serde_json::Deserializer::from_str(&open);
        assert_eq!(config::load::<Config, _>(&mut parser).unwrap_err().faults().len(), 1);
    }
}

#[test]
fn long_value_is_shortened_in_the_fault() {
    let long = "x".repeat(1_000_000);
    let invalid = refused(&format!(r#"{{ "client": {{ "{long}": "{long}" }} }}"#));
    assert!(invalid.to_string().len() < 2_000);
}
