//! A page.

mod answer;
mod body;
mod control;
mod future;
mod history;
mod page;
mod reading;
mod sampler;
mod service;

pub use body::Body;
pub use future::ResponseFuture;
pub use service::Dashboard;
