//! What all layers share: recording and reloading.

pub(crate) mod observed;
