//! x
pub mod scalar;
