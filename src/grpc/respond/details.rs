//! `grpc-status-details-bin`: a `google.rpc.Status` with an `ErrorInfo` and a `RetryInfo` in it.
//!
//! Four messages with a handful of fields are written here by hand, which is less than the code that would be generated.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::ground::error::Rejected;
use crate::grpc::Code;

/// Whose reasons they are, in `ErrorInfo`.
const DOMAIN: &str = "seawall";

/// In the header's encoding.
pub(super) fn encode(code: Code, message: &str, rejected: &Rejected) -> String {
    // The specification wants binary headers without padding.
    STANDARD_NO_PAD.encode(status(code, message, rejected).0)
}

/// `Status { int32 code = 1; string message = 2; repeated Any details = 3; }`
fn status(code: Code, message: &str, rejected: &Rejected) -> Message {
    let mut status = Message::default().number(1, code.to_i32().unsigned_abs().into()).text(2, message);
    status = status.message(3, &any("google.rpc.ErrorInfo", &error_info(rejected)));
    match rejected.retry_after() {
        Some(wait) => status.message(3, &any("google.rpc.RetryInfo", &retry_info(wait))),
        None => status,
    }
}

/// `Any { string type_url = 1; bytes value = 2; }`
fn any(name: &str, value: &Message) -> Message {
    Message::default().text(1, &format!("type.googleapis.com/{name}")).message(2, value)
}

/// `ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }`
fn error_info(rejected: &Rejected) -> Message {
    let metadata = Message::default().text(1, "layer").text(2, rejected.layer());
    Message::default().text(1, &rejected.reason().as_str().to_ascii_uppercase()).text(2, DOMAIN).message(3, &metadata)
}

/// `RetryInfo { Duration retry_delay = 1; }`, `Duration { int64 seconds = 1; int32 nanos = 2; }`
fn retry_info(wait: Duration) -> Message {
    // What Protobuf allows in a `Duration`: about ten thousand years.
    let wait = wait.min(Duration::from_secs(315_576_000_000));
    let delay = Message::default().number(1, wait.as_secs()).number(2, wait.subsec_nanos().into());
    Message::default().message(1, &delay)
}

/// A Protobuf message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// An `int32` or `int64` that is not negative; zero is the default and is not sent.
    fn number(mut self, field: u8, value: u64) -> Self {
        if value != 0 {
            self.0.push(field << 3);
            self.varint(value);
        }
        self
    }

    fn text(self, field: u8, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u8, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// Whatever has a length before it.
    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        self.0.push(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic_types::pb::Status;

    use super::*;
    use crate::ground::error::Reason;

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        assert_eq!(Message::default().number(1, 150).0, [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().number(1, 0).0, [0; 0]);
        assert_eq!(Message::default().text(2, "testing").0, b"\x12\x07testing");
    }

    proptest! {
        #[test]
        fn any_message_and_any_wait_are_read_back(message: String, nanos in prop::option::of(any::<u64>())) {
            use prost::Message as _;

            let wait = nanos.map(Duration::from_nanos);
            let rejected = Rejected::new("bulkhead", Reason::QueueFull).with_retry_after(wait);
            let bytes = STANDARD_NO_PAD.decode(encode(Code::Unavailable, &message, &rejected)).unwrap();
            let status = Status::decode(bytes.as_slice()).unwrap();
            prop_assert_eq!((status.code, status.message), (14, message));
            prop_assert_eq!(status.details.len(), 1 + usize::from(wait.is_some()));
        }
    }
}
