//! `grpc-status-details-bin`: a `google.rpc.Status` with an `ErrorInfo` and a `RetryInfo` in it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;

use crate::ground::error::Rejected;
use crate::grpc::Code;

/// Whose reasons they are, in `ErrorInfo`.
const DOMAIN: &str = "seawall";

/// In the header's encoding.
pub(super) fn encode(code: Code, message: &str, rejected: &Rejected) -> String {
    // The specification wants binary headers without padding.
    STANDARD_NO_PAD.encode(status(code, message, rejected).encode_to_vec())
}

fn status(code: Code, message: &str, rejected: &Rejected) -> Status {
    let info = ErrorInfo {
        reason: rejected.reason().as_str().to_ascii_uppercase(),
        domain: DOMAIN.to_owned(),
        metadata: BTreeMap::from([("layer".to_owned(), rejected.layer().to_owned())]),
    };
    let mut details = vec![Any::of("google.rpc.ErrorInfo", &info)];
    if let Some(wait) = rejected.retry_after() {
        details.push(Any::of("google.rpc.RetryInfo", &RetryInfo { retry_delay: Some(Delay::of(wait)) }));
    }
    Status { code: code.to_i32(), message: message.to_owned(), details }
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.rpc.ErrorInfo`
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Delay {
    fn of(wait: Duration) -> Self {
        // What Protobuf allows: about ten thousand years.
        let wait = wait.min(Duration::from_secs(315_576_000_000));
        Self { seconds: wait.as_secs() as i64, nanos: wait.subsec_nanos() as i32 }
    }
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl Any {
    fn of(name: &str, message: &impl Message) -> Self {
        Self { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic_types::pb::Status;

    use super::*;
    use crate::ground::error::Reason;
    use crate::ground::telemetry::LayerKind;

    proptest! {
        #[test]
        fn any_message_and_any_wait_are_read_back(message: String, nanos in prop::option::of(any::<u64>())) {
            use prost::Message as _;

            let wait = nanos.map(Duration::from_nanos);
            let rejected = Rejected::nameless(LayerKind::Bulkhead, Reason::QueueFull).with_retry_after(wait);
            let bytes = STANDARD_NO_PAD.decode(encode(Code::Unavailable, &message, &rejected)).unwrap();
            let status = Status::decode(bytes.as_slice()).unwrap();
            prop_assert_eq!((status.code, status.message), (14, message));
            prop_assert_eq!(status.details.len(), 1 + usize::from(wait.is_some()));
        }
    }
}
