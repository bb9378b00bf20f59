use std::fmt;

/// What a gRPC call came to: the codes of the [status specification](https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
///
/// This crate has a type of its own, so that it works with whatever implements gRPC.
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
    /// It went well.
    Ok = 0,
    /// The call was cancelled, as a rule by the caller.
    Cancelled = 1,
    /// Nobody knows what went wrong; also what a call without a status came to.
    Unknown = 2,
    /// The caller said something that is wrong whatever the state of the callee.
    InvalidArgument = 3,
    /// There was no answer in time.
    DeadlineExceeded = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// What was to be created exists.
    AlreadyExists = 6,
    /// The caller may not do that.
    PermissionDenied = 7,
    /// Something is used up: a quota, a queue, a disk.
    ResourceExhausted = 8,
    /// The callee's state does not allow it, and will not by itself.
    FailedPrecondition = 9,
    /// It clashed with something that went on at the same time; begin again further up.
    Aborted = 10,
    /// Beyond the end of what there is.
    OutOfRange = 11,
    /// The callee does not know the method.
    Unimplemented = 12,
    /// The callee is broken.
    Internal = 13,
    /// The callee cannot answer now; another attempt may succeed.
    Unavailable = 14,
    /// Data are lost or spoilt for good.
    DataLoss = 15,
    /// The caller did not say who it is, or was not believed.
    Unauthenticated = 16,
}

impl Code {
    /// All codes, by their number.
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
    fn every_code_has_its_number_and_no_other_number_has_one() {
        for (number, code) in (0..).zip(Code::ALL) {
            assert_eq!((code.to_i32(), Code::from_i32(number)), (number, Some(code)));
        }
        for number in [-1, 17, i32::MIN, i32::MAX] {
            assert_eq!(Code::from_i32(number), None);
        }
    }
}
