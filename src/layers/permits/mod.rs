//! Layers that admit a call with a permit: the [`bulkhead`] and [`load_shed`], which are two faces of one gate.

pub(crate) mod admitted;
pub mod bulkhead;
pub(crate) mod gates;
pub(crate) mod hold;
pub mod load_shed;
pub(crate) mod upload;
pub(crate) mod work;
