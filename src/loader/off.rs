use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::Error as ValueError;
use serde::de::{Deserialize, Error, IntoDeserializer, Unexpected, Visitor};
use serde::{Deserializer, Serializer};

use super::duration::HumanTime;
use super::scalar::{self, Number, OFF};
use crate::ground::time::CalendarTime;

/// Settings that can be switched off: `None` is written as `"off"`, for `#[serde(with = "Off::<u32>")]`.
///
/// TOML has no null, and a missing field takes its default, which may be a value: so `None` needs a word.
pub(crate) struct Off<T>(PhantomData<T>);

impl<T: Scalar> Off<T> {
    pub(crate) fn serialize<S: Serializer>(setting: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match setting {
            Some(value) => value.write(serializer),
            None => serializer.serialize_str(OFF),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        deserializer.deserialize_any(Self(PhantomData))
    }

    /// The found value, read as the setting.
    fn read<'a, E: Error>(found: impl IntoDeserializer<'a, ValueError>, shown: Unexpected<'_>) -> Result<Option<T>, E> {
        T::read(found.into_deserializer()).map(Some).map_err(|_| E::invalid_value(shown, &T::OR_OFF))
    }
}

/// A value that can be switched off.
pub(crate) trait Scalar: Sized {
    /// The expected value, including `"off"`.
    const OR_OFF: &'static str;

    /// Whether numeric text is read as a number.
    const IS_NUMBER: bool;

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl Scalar for u32 {
    const OR_OFF: &'static str = "a whole number from 0 to 4294967295, or \"off\"";
    const IS_NUMBER: bool = true;

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(*self)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl Scalar for f64 {
    const OR_OFF: &'static str = "a number or \"off\"";
    const IS_NUMBER: bool = true;

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(*self)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl Scalar for Duration {
    const OR_OFF: &'static str = "a duration with its unit, such as \"250ms\", or \"off\"";
    const IS_NUMBER: bool = false;

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        HumanTime::serialize(self, serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        HumanTime::deserialize(deserializer)
    }
}

impl Scalar for CalendarTime {
    const OR_OFF: &'static str = "an instant in UTC, such as \"2030-01-31T12:00:00Z\", or \"off\"";
    const IS_NUMBER: bool = false;

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.trim().parse().map_err(D::Error::custom)
    }
}

impl<T: Scalar> Visitor<'_> for Off<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::OR_OFF)
    }

    fn visit_str<E: Error>(self, found: &str) -> Result<Option<T>, E> {
        match scalar::number(found) {
            _ if found.trim() == OFF => Ok(None),
            Some(number) if T::IS_NUMBER => match number {
                Number::Unsigned(value) => Self::read(value, Unexpected::Str(found)),
                Number::Signed(value) => Self::read(value, Unexpected::Str(found)),
                Number::Float(value) => Self::read(value, Unexpected::Str(found)),
            },
            _ => Self::read(found, Unexpected::Str(found)),
        }
    }

    fn visit_u64<E: Error>(self, found: u64) -> Result<Option<T>, E> {
        Self::read(found, Unexpected::Unsigned(found))
    }

    fn visit_i64<E: Error>(self, found: i64) -> Result<Option<T>, E> {
        Self::read(found, Unexpected::Signed(found))
    }

    fn visit_f64<E: Error>(self, found: f64) -> Result<Option<T>, E> {
        Self::read(found, Unexpected::Float(found))
    }

    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator};

    use super::{Duration, HumanTime, Off};

    /// The schema of an option: `"off"` is added for all of them at once.
    macro_rules! like_an_option {
        ($($value:ty as $written:ty),+) => {$(
            impl JsonSchema for Off<$value> {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    Option::<$written>::schema_name()
                }

                fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                    Option::<$written>::json_schema(generator)
                }
            }
        )+};
    }

    like_an_option!(u32 as u32, f64 as f64, Duration as HumanTime);
}
