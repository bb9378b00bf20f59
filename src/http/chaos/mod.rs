//! Injected faults over HTTP and gRPC.

mod body;
mod faults;

pub use self::body::ChaosBody;
pub use self::faults::HttpFaults;
