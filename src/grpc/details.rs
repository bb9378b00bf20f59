//! `grpc-status-details-bin`: a `google.rpc.Status` with an `ErrorInfo` and a `RetryInfo` in it, read and written.

use std::collections::BTreeMap;
use std::time::Duration;

use ::http::HeaderMap;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};
use prost::Message;

use crate::ground::error::Rejected;
use crate::grpc::Code;
use crate::grpc::status::DETAILS;

/// The domain of the reasons in `ErrorInfo`.
const DOMAIN: &str = "seawall";

/// Encodes the details as the header's value.
pub(crate) fn encode(code: Code, message: &str, rejected: &Rejected) -> String {
    // The specification requires binary headers without padding.
    STANDARD_NO_PAD.encode(status(code, message, rejected).encode_to_vec())
}

/// The specification requires receivers to accept values with and without padding.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The wait in a `google.rpc.RetryInfo`. Unreadable details are ignored.
pub(crate) fn retry_delay(headers: &HeaderMap) -> Option<Duration> {
    let encoded = headers.get(&DETAILS)?.as_bytes().trim_ascii();
    let status = RpcStatus::decode(ANY_PADDING.decode(encoded).ok()?.as_slice()).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    // A negative delay has passed already: no wait is left.
    let (seconds, nanos) = (u64::try_from(delay.seconds), u32::try_from(delay.nanos));
    Some(match (seconds, nanos) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Duration::new(seconds, nanos),
        _ => Duration::ZERO,
    })
}

fn status(code: Code, message: &str, rejected: &Rejected) -> RpcStatus {
    let info = ErrorInfo {
        reason: rejected.reason().as_str().to_ascii_uppercase(),
        domain: DOMAIN.to_owned(),
        metadata: BTreeMap::from([("layer".to_owned(), rejected.layer().to_owned())]),
    };
    let mut details = vec![Any::of("google.rpc.ErrorInfo", &info)];
    if let Some(wait) = rejected.retry_after() {
        details.push(Any::of("google.rpc.RetryInfo", &RetryInfo { retry_delay: Some(ProtoDuration::of(wait)) }));
    }
    RpcStatus { code: code.to_i32(), message: message.to_owned(), details }
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
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
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl ProtoDuration {
    fn of(wait: Duration) -> Self {
        // The longest duration in Protobuf: about ten thousand years.
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
    use crate::ground::layer_id::LayerKind;

    proptest! {
        #[test]
        fn any_message_and_wait_round_trip(message: String, nanos in prop::option::of(1..u64::MAX)) {
            let wait = nanos.map(Duration::from_nanos);
            // A refusal because of the deadline has no wait.
            let reason = if wait.is_some() { Reason::QueueFull } else { Reason::DeadlineExceeded };
            let rejected = Rejected::nameless(LayerKind::Bulkhead, reason).with_retry_after(wait);
            let encoded = encode(Code::Unavailable, &message, &rejected);
            let status = Status::decode(STANDARD_NO_PAD.decode(&encoded).unwrap().as_slice()).unwrap();
            prop_assert_eq!((status.code, status.message), (14, message));
            prop_assert_eq!(status.details.len(), 1 + usize::from(wait.is_some()));
            let headers = HeaderMap::from_iter([(DETAILS.clone(), encoded.parse().unwrap())]);
            prop_assert_eq!(retry_delay(&headers), wait);
        }

        #[test]
        fn hostile_details_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "[A-Za-z0-9+/=]{0,60}") {
            for text in [STANDARD_NO_PAD.encode(&bytes), text] {
                let headers = HeaderMap::from_iter([(DETAILS.clone(), text.parse().unwrap())]);
                let _ = retry_delay(&headers);
            }
        }
    }

    #[test]
    fn delay_is_read_with_or_without_padding() {
        let of = |seconds, nanos| {
            let info = RetryInfo { retry_delay: Some(ProtoDuration { seconds, nanos }) };
            let other = Any { type_url: "type.googleapis.com/google.rpc.Help".to_owned(), value: vec![1, 2, 3] };
            let details = vec![other, Any::of("google.rpc.RetryInfo", &info)];
            let status = super::RpcStatus { code: 8, message: "quota".to_owned(), details }.encode_to_vec();
            let padded = base64::engine::general_purpose::STANDARD.encode(&status);
            let waits = [padded, STANDARD_NO_PAD.encode(&status)].map(|text| {
                let headers = HeaderMap::from_iter([(DETAILS.clone(), text.parse().unwrap())]);
                retry_delay(&headers)
            });
            assert_eq!(waits[0], waits[1]);
            waits[0]
        };
        assert_eq!(of(7, 500_000_000), Some(Duration::from_millis(7500)));
        assert_eq!(of(0, 0), Some(Duration::ZERO));
        for passed in [(-1, 0), (1, -1), (1, i32::MAX)] {
            assert_eq!(of(passed.0, passed.1), Some(Duration::ZERO), "{passed:?}");
        }
    }
}
