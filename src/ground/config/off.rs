//! Settings that can be switched off: `None` is written `"off"`, for `#[serde(with = "...")]`.
//!
//! TOML has no null, and what is left out of a file takes its default, which may be a value: so there is a word for none.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::Error as Misfit;
use serde::de::{Deserialize, Error, IntoDeserializer, Visitor};
use serde::{Deserializer, Serialize, Serializer};

/// The word. A null means the same where there is one.
const OFF: &str = "off";

pub(crate) fn serialize<T: Serialize, S: Serializer>(setting: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match setting {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_str(OFF),
    }
}

pub(crate) fn deserialize<'de, T: Scalar, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(OffOr(PhantomData))
}

/// What can be switched off.
pub(crate) trait Scalar: for<'a> Deserialize<'a> {
    /// What else is expected beside the word.
    const EXPECTED: &'static str;
}

impl Scalar for u32 {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295, or \"off\"";
}

impl Scalar for f64 {
    const EXPECTED: &'static str = "a number, or \"off\"";
}

impl Scalar for super::duration::Written {
    const EXPECTED: &'static str = "a duration with its unit, such as \"250ms\", or \"off\"";
}

struct OffOr<T>(PhantomData<T>);

impl<T: Scalar> OffOr<T> {
    /// What was found, as the setting itself reads it.
    fn read<'a, E: Error>(
        self,
        found: impl IntoDeserializer<'a, Misfit>,
        shown: impl fmt::Display,
    ) -> Result<Option<T>, E> {
        T::deserialize(found.into_deserializer())
            .map(Some)
            .map_err(|_| E::custom(format_args!("expected {}, and found {shown}", T::EXPECTED)))
    }
}

impl<T: Scalar> Visitor<'_> for OffOr<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, found: &str) -> Result<Option<T>, E> {
        if found == OFF { Ok(None) } else { self.read(found, format_args!("{found:?}")) }
    }

    fn visit_u64<E: Error>(self, found: u64) -> Result<Option<T>, E> {
        self.read(found, found)
    }

    fn visit_i64<E: Error>(self, found: i64) -> Result<Option<T>, E> {
        self.read(found, found)
    }

    fn visit_f64<E: Error>(self, found: f64) -> Result<Option<T>, E> {
        self.read(found, format_args!("{found:?}"))
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
}

/// The same for a duration.
pub(crate) mod duration {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    use crate::ground::config::duration::Written;

    pub(crate) fn serialize<S: Serializer>(setting: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(&setting.map(Written), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(|setting| setting.map(|Written(duration)| duration))
    }
}
