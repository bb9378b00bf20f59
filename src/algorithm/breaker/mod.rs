//! (breaker)
