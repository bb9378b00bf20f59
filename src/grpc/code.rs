use std::fmt;

/// The result of a gRPC call: the codes of the [status
/// specification](https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
///
/// This crate has its own type, so that it works with any gRPC implementation.
///
/// ```
/// use seawall::grpc::Code;
///
/// assert_eq!(Code::from_i32(14), Some(Code::Unavailable));
/// assert_eq!((Code::Unavailable.to_i32(), Code::Unavailable.as_str()), (14, "UNAVAILABLE"));
/// assert_eq!(Code::from_i32(17), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The call succeeded.
    Ok = 0,
    /// The call was cancelled, usually by the caller.
    Cancelled = 1,
    /// An unknown error; also the code of a call without a status.
    Unknown = 2,
    /// An argument is invalid, whatever the state of the system.
    InvalidArgument = 3,
    /// The deadline passed before the call completed.
    DeadlineExceeded = 4,
    /// The requested entity does not exist.
    NotFound = 5,
    /// The entity to be created exists already.
    AlreadyExists = 6,
    /// The caller does not have permission.
    PermissionDenied = 7,
    /// A resource is exhausted: a quota, a queue, a disk.
    ResourceExhausted = 8,
    /// The system is not in the required state, and a retry does not change that.
    FailedPrecondition = 9,
    /// The call conflicted with a concurrent one. Retry at a higher level.
    Aborted = 10,
    /// The operation was attempted past the valid range.
    OutOfRange = 11,
    /// The service does not implement the method.
    Unimplemented = 12,
    /// An internal error of the service.
    Internal = 13,
    /// The service is unavailable now; another attempt may succeed.
    Unavailable = 14,
    /// Data is lost or corrupted for good.
    DataLoss = 15,
    /// The caller has no valid credentials.
    Unauthenticated = 16,
}

impl Code {
    /// All codes, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code with this number, if there is one.
    pub fn from_i32(number: i32) -> Option<Self> {
        usize::try_from(number).ok().and_then(|number| Self::ALL.get(number)).copied()
    }

    /// The code's number, as it is sent.
    pub const fn to_i32(self) -> i32 {
        self as i32
    }

    /// The code's name in the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_codes_have_numbers() {
        for (number, code) in (0..).zip(Code::ALL) {
            assert_eq!((code.to_i32(), Code::from_i32(number)), (number, Some(code)));
        }
        for number in [-1, 17, i32::MIN, i32::MAX] {
            assert_eq!(Code::from_i32(number), None);
        }
    }
}
