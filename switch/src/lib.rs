//! The programmable switch.
//!
//! A switch executes a pipeline program ([`ir`]) that was pushed to it. The core is plain state machines: bytes and
//! `now` in, packets and events out; sockets, clocks and threads live in drivers around it.
//!
//! [`ir::Pipeline`] is checked and compiled to a [`program::Program`]; a [`state::State`] holds its tables' entries; a
//! [`datapath::Datapath`] runs both over packets.

mod bits;
mod capture;
pub mod checksum;
pub mod counters;
pub mod datapath;
mod device;
pub mod drops;
pub mod fabric;
pub mod host;
mod interp;
pub mod ir;
mod limit;
mod meter;
pub mod observe;
mod p4info;
pub mod packet;
mod parser;
pub mod patch;
pub mod pcapng;
pub mod plane;
pub mod port;
pub mod ports;
pub mod program;
pub mod recorder;
pub mod segment;
mod selector;
mod server;
pub mod state;
mod table;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod vnet;
mod worker;

pub use server::apply_updates;
