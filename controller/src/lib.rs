//! The controller: what users declare, what it means for each switch, and how it gets there.
//!
//! Cores are pure functions over values (specs, graph, compile, diff); the store, the southbound client and the
//! reconcile loops are the drivers around them.

pub mod compile;
pub mod flow;
pub mod handle;
pub mod model;
pub mod problem;
pub mod quantity;
pub mod spec;
pub mod status;
pub mod store;
