//! (circuit breaker)

mod state;
