/// The JSON Schema of [`Config`](super::Config), for editors and for checks before a file is shipped: names, types,
/// ranges and defaults of all fields. It does not express contradictions between fields.
///
/// It serves any format with the data model of JSON, such as TOML and YAML.
pub const SCHEMA: &str = include_str!("../../../docs/config.schema.json");

#[cfg(test)]
mod tests;
