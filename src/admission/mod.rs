//! Runtime-aware pieces that several layers share.

pub(crate) mod timer;
