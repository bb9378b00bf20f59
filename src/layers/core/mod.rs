//! What all layers do alike: recording, reloading.

pub(crate) mod observed;
