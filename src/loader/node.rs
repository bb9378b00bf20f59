//! The tree of a file in any format, and its serde deserializer.
//!
//! Not a ready-made tree such as `serde_json::Value`: those drop duplicate keys and cannot hold a NaN, and both are faults that
//! have to be reported. Nor can they remove a child and keep the indices of the others.

use std::cell::Cell;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::read_error::{ReadError, one_of};
use super::scalar::{self, Number};
use crate::ground::validation::path;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// A faulty value that was recorded, and is read as if it were missing.
    Omitted,
}

impl Node {
    pub(super) fn is_omitted(&self) -> bool {
        matches!(self, Self::Omitted)
    }

    /// Whether there is no content: as root, an empty file.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.trim().is_empty(),
            Self::List(elements) => elements.is_empty(),
            Self::Table(entries) => entries.is_empty(),
            _ => false,
        }
    }

    /// Whether it, or anything in it, was removed.
    pub(super) fn has_gaps(&self) -> bool {
        match self {
            Self::Omitted => true,
            Self::List(elements) => elements.iter().any(Self::has_gaps),
            Self::Table(entries) => entries.iter().any(|(_, node)| node.has_gaps()),
            _ => false,
        }
    }

    /// Whether the entry with this key was removed from a table.
    pub(super) fn has_gap_at(&self, key: &str) -> bool {
        match self {
            Self::Table(entries) => entries.iter().any(|(name, node)| name == key && node.is_omitted()),
            _ => false,
        }
    }

    /// Whether the entry with this index has this key.
    pub(super) fn has_key_at(&self, index: usize, key: &str) -> bool {
        match self {
            Self::Table(entries) => entries.get(index).is_some_and(|(name, _)| name == key),
            _ => false,
        }
    }

    /// The child with this index, whose step is appended to `path`.
    pub(super) fn child(&mut self, index: usize, path: &mut String) -> Option<&mut Self> {
        match self {
            Self::List(elements) => elements.get_mut(index).inspect(|_| path::push_index(path, index)),
            Self::Table(entries) => entries.get_mut(index).map(|(key, node)| {
                path::push_key(path, key);
                node
            }),
            _ => None,
        }
    }

    fn shown(&self) -> Unexpected<'_> {
        match self {
            Self::Null | Self::Omitted => Unexpected::Unit,
            Self::Bool(value) => Unexpected::Bool(*value),
            Self::Signed(value) => Unexpected::Signed(*value),
            Self::Unsigned(value) => Unexpected::Unsigned(*value),
            Self::Float(value) => Unexpected::Float(*value),
            Self::Text(text) => Unexpected::Str(text),
            Self::List(_) => Unexpected::Seq,
            Self::Table(_) => Unexpected::Map,
        }
    }
}

/// Deserializes a node, and counts visits of nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'n> {
    node: &'n Node,
    visits: &'n Cell<u64>,
    /// The steps from here to the point where an earlier reading stopped: everything before it is skipped.
    resume: &'n [usize],
}

impl<'n> Reader<'n> {
    pub(super) fn new(node: &'n Node, visits: &'n Cell<u64>, resume: &'n [usize]) -> Self {
        Self { node, visits, resume }
    }

    /// The reader of the child with this index.
    fn child(self, index: usize, node: &'n Node) -> Self {
        let resume = match self.resume.split_first() {
            Some((first, rest)) if *first == index => rest,
            _ => &[],
        };
        Self { node, resume, ..self }
    }

    /// The index of the first child to be read.
    fn first(self) -> usize {
        self.resume.first().copied().unwrap_or(0)
    }

    fn text(self) -> Option<&'n str> {
        match self.node {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Where a number is expected, numeric text is accepted: values from environment variables are text.
macro_rules! number_or_text {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self.text().and_then(scalar::number) {
                Some(Number::Unsigned(value)) => visitor.visit_u64(value),
                Some(Number::Signed(value)) => visitor.visit_i64(value),
                Some(Number::Float(value)) => visitor.visit_f64(value),
                None => self.deserialize_any(visitor),
            }
        }
    )+};
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node {
            Node::Null | Node::Omitted => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Signed(value) => visitor.visit_i64(*value),
            Node::Unsigned(value) => visitor.visit_u64(*value),
            Node::Float(value) => visitor.visit_f64(*value),
            Node::Text(text) => visitor.visit_str(text),
            Node::List(elements) => {
                visitor.visit_seq(Elements { rest: elements.iter().enumerate().skip(self.first()), of: self })
            }
            Node::Table(entries) => {
                let rest = entries.iter().enumerate().skip(self.first());
                visitor.visit_map(Entries { rest, value: None, of: self })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node {
            Node::Null | Node::Omitted => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    /// Only from a table: serde would also accept a list of the fields in their order, which is too fragile for a file.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.node {
            Node::Table(_) => self.deserialize_any(visitor),
            other => Err(ReadError::invalid_type(other.shown(), &visitor)),
        }
    }

    /// The name of a variant, or a table with that name and its content.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.node {
            Node::Text(name) => visitor.visit_enum(Choice { name, held: None }),
            Node::Table(entries) => {
                let mut present = entries.iter().enumerate().filter(|(_, (_, node))| !node.is_omitted());
                match (present.next(), present.next()) {
                    (Some((index, (name, node))), None) => {
                        let held = Some((index, self.child(index, node)));
                        visitor.visit_enum(Choice { name, held })
                    }
                    _ => Err(ReadError::custom(format_args!("expected exactly one entry, {}", one_of(variants)))),
                }
            }
            other => Err(ReadError::no_variant(other.shown(), variants)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.text().and_then(scalar::boolean) {
            Some(value) => visitor.visit_bool(value),
            None => self.deserialize_any(visitor),
        }
    }

    number_or_text! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier
    }
}

/// Counts a visit, and returns whether the node is present. Removed nodes are skipped, but cost a visit.
fn visit(visits: &Cell<u64>, node: &Node) -> bool {
    visits.set(visits.get().saturating_add(1));
    !node.is_omitted()
}

struct Elements<'n, I> {
    rest: I,
    of: Reader<'n>,
}

impl<'de, 'n, I: Iterator<Item = (usize, &'n Node)>> SeqAccess<'de> for Elements<'n, I> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        match self.rest.find(|(_, node)| visit(self.of.visits, node)) {
            Some((index, node)) => {
                seed.deserialize(self.of.child(index, node)).map(Some).map_err(|error| error.within(index))
            }
            None => Ok(None),
        }
    }
}

struct Entries<'n, I> {
    rest: I,
    value: Option<(usize, &'n Node)>,
    of: Reader<'n>,
}

impl<'de, 'n, I: Iterator<Item = (usize, &'n (String, Node))>> MapAccess<'de> for Entries<'n, I> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        match self.rest.find(|(_, (_, node))| visit(self.of.visits, node)) {
            Some((index, (key, node))) => {
                self.value = Some((index, node));
                seed.deserialize(text(key)).map(Some).map_err(|error| error.within(index))
            }
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (index, node) =
            self.value.take().ok_or_else(|| ReadError::custom("a value was requested before its key"))?;
        seed.deserialize(self.of.child(index, node)).map_err(|error| error.within(index))
    }
}

/// A variant of an enum, with its content.
struct Choice<'n> {
    name: &'n str,
    held: Option<(usize, Reader<'n>)>,
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        Ok((seed.deserialize(text(self.name))?, self))
    }
}

impl Choice<'_> {
    fn held<T>(self, read: impl FnOnce(Reader<'_>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        match self.held {
            Some((index, reader)) => read(reader).map_err(|error| error.within_variant(index)),
            None => Err(ReadError::custom(format_args!("`{}` needs a value: `{{ {0} = ... }}`", self.name))),
        }
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.held {
            None | Some((_, Reader { node: Node::Null, .. })) => Ok(()),
            Some(_) => Err(ReadError::custom(format_args!("`{}` has no value: write {0:?} alone", self.name))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        self.held(|reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.held(|reader| de::Deserializer::deserialize_any(reader, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.held(|reader| de::Deserializer::deserialize_struct(reader, "", fields, visitor))
    }
}

fn text(key: &str) -> StrDeserializer<'_, ReadError> {
    key.into_deserializer()
}
