//! Nodes behind nginx, with the configuration files of production.

mod configuration;
mod connections;
mod exactness;
mod faults;
pub mod figures;
