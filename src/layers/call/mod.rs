//! What layers share for one call: the readiness of the inner service, the bounds of its waits, the request body.

pub(crate) mod accessors;
pub(crate) mod attempted_endpoints;
pub(crate) mod bound;
pub(crate) mod breaker_ahead;
pub(crate) mod endpoint_keys;
pub(crate) mod inner;
pub(crate) mod upload_waits;
