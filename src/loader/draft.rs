//! Reads a file of any format into a tree, and records faults that the tree cannot hold.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::fault_log::FaultLog;
use super::node::Node;
use crate::ground::validation::path;

/// The deepest nesting. It bounds the recursion of everything that walks a tree.
const MAX_DEPTH: usize = 64;

/// Keys under which a format encodes a value that serde has no type for: the only entry of a table.
const NUMBER_AS_TEXT: &str = "$serde_json::private::Number";
const DATE_AS_TEXT: &str = "$__toml_private_datetime";

/// The content of a file, before it is read as settings: for formats with their own reading function, such as `toml::from_str` or
/// `serde_json::from_reader`.
///
/// ```
/// use seawall::config::Draft;
/// use seawall::error::InvalidConfig;
/// use seawall::retry::RetryConfig;
///
/// # fn main() -> Result<(), InvalidConfig> {
/// let draft: Draft = serde_json::from_str(r#"{ "max_attempts": 5 }"#).map_err(InvalidConfig::unreadable)?;
/// let retry: RetryConfig = draft.load()?;
/// assert_eq!(retry, RetryConfig { max_attempts: 5, ..RetryConfig::default() });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) root: Node,
    pub(super) log: FaultLog,
}

impl<'de> Deserialize<'de> for Draft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut log = FaultLog::default();
        let root = Build { log: &mut log, path: &mut String::new(), depth: 0 }.deserialize(deserializer)?;
        Ok(Self { root, log })
    }
}

/// Builds the node at `path`.
struct Build<'a> {
    log: &'a mut FaultLog,
    path: &'a mut String,
    depth: usize,
}

impl Build<'_> {
    /// Builds a child, with `read`.
    fn child<T, E: Error>(
        &mut self,
        extend: impl FnOnce(&mut String),
        read: impl FnOnce(Build<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return Err(E::custom(format_args!("nested more than {MAX_DEPTH} deep")));
        }
        let outer = self.path.len();
        extend(self.path);
        let child = read(Build { log: self.log, path: self.path, depth });
        self.path.truncate(outer);
        child
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Signed(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Unsigned(value))
    }

    // No setting is that large: a rounded number is enough for the error.
    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Float(value as f64))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Float(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        if value.is_finite() {
            return Ok(Node::Float(value));
        }
        self.log.fault(self.path, format_args!("invalid value: {value}, expected a finite number"));
        self.log.add_gap(self.path);
        Ok(Node::Omitted)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Node, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) =
            self.child(|path| path::push_index(path, elements.len()), |build| list.next_element_seed(build))?
        {
            elements.push(element);
        }
        Ok(Node::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut table: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut keys = HashSet::new();
        while let Some(TableKey(key)) = table.next_key()? {
            if entries.is_empty() {
                match &*key {
                    NUMBER_AS_TEXT => return number(self, &table.next_value::<String>()?),
                    DATE_AS_TEXT => return table.next_value().map(Node::Text),
                    _ => {}
                }
            }
            let value = self.child(|path| path::push_key(path, &key), |build| table.next_value_seed(build))?;
            if keys.insert(key.clone()) {
                entries.push((key, value));
            } else {
                let Self { log, path, .. } = &mut self;
                let outer = path.len();
                path::push_key(path, &key);
                log.fault(path, format_args!("duplicate key `{key}`"));
                path.truncate(outer);
            }
        }
        Ok(Node::Table(entries))
    }

    /// A YAML tag: the variant of an enum with its content.
    fn visit_enum<A: EnumAccess<'de>>(mut self, choice: A) -> Result<Node, A::Error> {
        let (TableKey(name), held) = choice.variant()?;
        let value = self.child(|path| path::push_key(path, &name), |build| held.newtype_variant_seed(build))?;
        Ok(Node::Table(vec![(name, value)]))
    }
}

fn number<E: Error>(build: Build<'_>, text: &str) -> Result<Node, E> {
    if let Ok(value) = text.parse() {
        return Ok(Node::Unsigned(value));
    }
    if let Ok(value) = text.parse() {
        return Ok(Node::Signed(value));
    }
    build.visit_f64(text.parse().map_err(E::custom)?)
}

/// The key of a table. YAML reads `1` and `true` as a number and a boolean; as keys they are names.
struct TableKey(String);

impl<'de> Deserialize<'de> for TableKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = TableKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, key: &str) -> Result<TableKey, E> {
                Ok(TableKey(key.to_owned()))
            }

            fn visit_bool<E>(self, key: bool) -> Result<TableKey, E> {
                Ok(TableKey(key.to_string()))
            }

            fn visit_u64<E>(self, key: u64) -> Result<TableKey, E> {
                Ok(TableKey(key.to_string()))
            }

            fn visit_i64<E>(self, key: i64) -> Result<TableKey, E> {
                Ok(TableKey(key.to_string()))
            }

            fn visit_f64<E>(self, key: f64) -> Result<TableKey, E> {
                Ok(TableKey(key.to_string()))
            }
        }

        deserializer.deserialize_any(Name)
    }
}
