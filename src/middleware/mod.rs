//! (middleware)
