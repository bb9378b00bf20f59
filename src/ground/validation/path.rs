//! How the path of a field is written: `client.payments.retry.max_attempts`, `headers.also_understood[1]`.

use std::borrow::Cow;
#[cfg(feature = "config")]
use std::fmt::Write;

/// A key, in quotes if it could be mistaken for another path.
pub(super) fn name(key: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !key.is_empty() && key.bytes().all(plain) { Cow::Borrowed(key) } else { Cow::Owned(format!("{key:?}")) }
}

/// The path of the entry `key` in the table at `path`.
#[cfg(feature = "config")]
pub(crate) fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(&name(key));
}

/// The path of the element with this index in the list at `path`.
#[cfg(feature = "config")]
pub(crate) fn push_index(path: &mut String, index: usize) {
    // Writing to a string does not fail.
    let _ = write!(path, "[{index}]");
}
