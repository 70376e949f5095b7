//! The controller: what users declare, what it means for each switch, and how it gets there.
//!
//! Cores are pure functions over values (specs, graph, compile, diff); the store, the southbound client and the
//! reconcile loops are the drivers around them.

pub mod audit;
pub mod compile;
pub mod controller;
pub mod expand;
pub mod flow;
pub mod graph;
pub mod group;
pub mod handle;
pub mod load;
pub mod meter;
pub mod model;
pub mod names;
pub mod object;
pub mod origin;
pub mod packets;
pub mod paths;
pub mod pipeline;
pub mod problem;
pub mod quantity;
pub mod raw;
mod reconcile;
pub mod resource;
pub mod schema;
pub mod southbound;
pub mod spec;
pub mod status;
pub mod store;
pub mod trace;
