//! Names of headers in files, as plain text: for `#[serde(with = "...")]`.

use std::fmt;

use ::http::HeaderName;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(name: &HeaderName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderName, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = HeaderName;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of a header")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<HeaderName, E> {
            // Names are compared without regard to case, and HTTP/2 wants them small.
            text.parse().map_err(|_| E::custom(format_args!("{text:?} is no name of a header")))
        }
    }

    deserializer.deserialize_str(Text)
}

/// The same for a list of them.
pub(super) mod list {
    use super::*;

    pub(in crate::http) fn serialize<S: Serializer>(names: &[HeaderName], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names.iter().map(HeaderName::as_str))
    }

    pub(in crate::http) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<HeaderName>, D::Error> {
        let names = Vec::<Written>::deserialize(deserializer)?;
        Ok(names.into_iter().map(|Written(name)| name).collect())
    }

    struct Written(HeaderName);

    impl<'de> Deserialize<'de> for Written {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            super::deserialize(deserializer).map(Self)
        }
    }
}
