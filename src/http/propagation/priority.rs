//! The `x-priority` header.

use ::http::HeaderValue;

use crate::ground::context::Priority;

const NAMED: [(&str, Priority); 4] =
    [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High), ("critical", Priority::Critical)];

/// One of the four names, in any case. Anything else is ignored.
pub(crate) fn parse(value: &[u8]) -> Option<Priority> {
    NAMED.iter().find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes())).map(|(_, priority)| *priority)
}

pub(crate) fn value(priority: Priority) -> HeaderValue {
    HeaderValue::from_static(match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
        Priority::Critical => "critical",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_round_trip_and_nonsense_is_ignored() {
        for (name, priority) in NAMED {
            assert_eq!(value(priority), name);
            assert_eq!(parse(name.to_ascii_uppercase().as_bytes()), Some(priority));
        }
        for nonsense in ["", " high", "high ", "highest", "3", "u=1", "high,low", "\u{212a}", "critical;q=1"] {
            assert_eq!(parse(nonsense.as_bytes()), None, "{nonsense:?}");
        }
    }
}
