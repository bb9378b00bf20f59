use std::{env, fs};

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::SCHEMA;
use crate::stack::config::Config;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.schema.json");

#[test]
fn committed_schema_matches_the_structs() {
    let schema = generated();
    if env::var_os("SEAWALL_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        fs::write(FILE, text).unwrap();
        return;
    }
    let committed: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(
        committed == schema,
        "docs/config.schema.json is stale: SEAWALL_BLESS=1 cargo test --all-features --lib stack::config::schema"
    );
}

fn generated() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    AsWritten.transform(&mut schema);
    let title = "Settings of seawall's layers: its clients and servers by name";
    schema.insert("title".to_owned(), title.into());
    for named in ["client", "balanced_client", "server"] {
        if let Some(Value::Object(map)) = schema.pointer_mut(&format!("/properties/{named}")) {
            map.insert("propertyNames".to_owned(), json!({ "pattern": r"\S" }));
        }
    }
    schema.into()
}

/// Turns the schema of the structs into that of the files: an unset option is `off`, and a description says nothing about the
/// code.
struct AsWritten;

impl Transform for AsWritten {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let off = || [json!({ "const": "off" }), json!({ "type": "null" })];
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            let null = json!({ "type": "null" });
            if let Some(at) = choices.iter().position(|choice| *choice == null) {
                choices.splice(at..=at, off());
            }
        }
        if let Some(Value::Array(types)) = schema.get("type").cloned() {
            let mut set = json_schema!({ "type": types[0] });
            for key in ["format", "minimum", "maximum", "exclusiveMinimum"] {
                if let Some(value) = schema.remove(key) {
                    set.insert(key.to_owned(), value);
                }
            }
            schema.remove("type");
            let [word, none] = off();
            schema.insert("anyOf".to_owned(), json!([set, word, none]));
        }
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = plain(text);
        }
    }
}

/// A doc comment without its example, without text that concerns only Rust, and without links that only rustdoc can follow.
fn plain(text: &str) -> String {
    let text = ["```", "Write `..Default::default()`"]
        .iter()
        .fold(text, |text, end| text.split(*end).next().unwrap_or_default());
    let text = text.trim_end();
    let text = text.replace("`None`", "`\"off\"`").replace("\n\n", "\u{0}").replace('\n', " ").replace('\u{0}', "\n\n");
    let mut out = String::new();
    let mut rest = &*text;
    while let Some((before, link)) = rest.split_once('[') {
        out.push_str(before);
        let Some((label, after)) = link.split_once(']') else {
            rest = link;
            break;
        };
        out.push_str(label);
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    out + rest
}
