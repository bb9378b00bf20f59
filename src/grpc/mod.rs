mod classify;
mod code;
mod status;

pub mod respond;

pub use classify::ByCode;
pub use code::Code;
