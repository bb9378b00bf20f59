/// The JSON Schema of [`Config`](super::Config), for editors and for checks before a file is shipped: names, types,
/// ranges and defaults of all fields. Contradictions between fields are not in it.
///
/// It is for any format that has the data model of JSON, as TOML and YAML do.
pub const SCHEMA: &str = include_str!("../../../docs/config.schema.json");

#[cfg(test)]
mod tests;
