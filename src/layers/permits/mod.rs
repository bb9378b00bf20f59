//! Layers that admit a call with a permit: [`bulkhead`] and [`load_shed`], which share one gate.

pub(crate) mod admitted;
pub mod bulkhead;
pub(crate) mod config;
pub(crate) mod gates;
pub(crate) mod handle;
pub(crate) mod hold;
pub(crate) mod limit;
pub mod load_shed;
pub(crate) mod upload;
pub(crate) mod work;
