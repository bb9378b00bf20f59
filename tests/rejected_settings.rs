//! The metrics of settings that were rejected. Nothing else runs in this process: where the task of another test publishes to the same
//! recorder, it may do so a moment after `publish` has asked for it, and the counts would be read too early.

#![cfg(all(feature = "config", feature = "http", feature = "metrics"))]

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use seawall::config::{Config, Draft};
use seawall::error::InvalidConfig;
use seawall::registry::Registry;
use seawall::stack::Stacks;

const FILE: &str = "[client.payments]\n[server.inbound]\n";

fn load(text: &str) -> Result<Config, InvalidConfig> {
    toml::from_str::<Draft>(text).map_err(InvalidConfig::unreadable)?.load()
}

#[test]
fn rejected_settings_are_counted_by_file_name() {
    let registry = Registry::new();
    let stacks = Stacks::new_in(&registry, "counted.toml", load(FILE).unwrap()).unwrap();
    let _made = (stacks.client("payments").unwrap(), stacks.server("inbound").unwrap());
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let counted = || {
        let mut counted = [None; 2];
        for (key, _, _, value) in snapshotter.snapshot().into_vec() {
            let labels = key.key().labels().map(|label| label.value().to_owned()).collect::<Vec<_>>().join(",");
            match (key.key().name(), &*labels, value) {
                ("seawall_reloads_total", "counted.toml,settings,rejected", DebugValue::Counter(count)) => {
                    counted[0] = Some(count as f64);
                }
                ("seawall_settings_rejected", "counted.toml", DebugValue::Gauge(value)) => {
                    counted[1] = Some(value.into_inner());
                }
                _ => {}
            }
        }
        counted
    };
    for (settings, rejected) in
        [(Err(InvalidConfig::unreadable("no such file")), 1.0), (load(""), 1.0), (load(FILE), 0.0)]
    {
        let _ = stacks.reload(settings);
        registry.publish();
        assert_eq!(counted(), [Some(rejected); 2], "(rejected since the last read, not in force)");
    }
}
