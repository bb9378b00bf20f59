use std::fmt;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserializer, Serializer};

use super::scalar::OFF;

/// Durations in human-readable form, `"250ms"` or `"1m 30s"`: for `#[serde(with = "HumanTime")]`.
///
/// # Why not `humantime-serde`
/// It does the same for valid text. For other text its error is "expected a duration" (1.1), which drops humantime's reason and does
/// not mention a unit. It refuses spaces around the text. `tests/config` holds both.
pub(crate) enum HumanTime {}

impl HumanTime {
    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(DurationVisitor)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, such as \"250ms\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        humantime::parse_duration(text.trim()).map_err(|why| match text.trim() {
            OFF => E::invalid_value(Unexpected::Str(text), &self),
            _ => {
                let expected = "expected a duration with its unit, such as \"250ms\" or \"1m 30s\"";
                E::custom(format_args!("invalid value: string {text:?}, {expected}: {why}"))
            }
        })
    }
}

#[cfg(test)]
impl schemars::JsonSchema for HumanTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A duration with its unit. At most ten years.",
            "pattern": r"^(0|(\s*[0-9]+(\.[0-9]+)?\s*[A-Za-zµ]+\s*)+)$",
            "examples": ["250ms", "10s", "1m 30s"]
        })
    }
}
