//! The programmable switch. It executes a pipeline ([`ir`]) that was pushed to it.
//!
//! The core is plain state machines: bytes and `now` in, packets and events out. Sockets, clocks and threads live in the
//! drivers around it: `worker`, `server`, [`port`], and [`host`], which owns them.
//!
//! How a packet walks:
//!
//! ```text
//!  port ─► worker ─► plane ─► datapath: parser ─► interp (ingress) ─► verdict ─► interp (egress) ─► deparse ─► port
//!                      ▲                              │ state: entries, groups, meters                 │
//!                      └───────────── patch link to another switch ◄───────────────────────────────────┘
//! ```
//!
//! 1. A `worker` thread wakes, and reads frames from a [`port`] into buffers of [`packet`], with the offloads of [`vnet`].
//! 2. [`plane::Plane`] finds the switch, and follows links between switches of this process without a queue.
//! 3. [`datapath::Datapath`] runs a [`program::Program`], which is an [`ir::Pipeline`] checked and lowered, over the
//!    packet; tables are looked up in the [`state::State`].
//! 4. What leaves is segmented and summed ([`segment`], [`checksum`]) where the port does not do it. What does not leave is
//!    counted under a [`drops::DropReason`].
//! 5. Each step is told to an [`observe::Observer`]: nobody, or a [`trace`].
//!
//! How an entry walks: `server` decodes a write, checks who may write, changes a copy of the [`state::State`], and answers
//! when every worker has taken the copy.
//!
//! [`fabric`] is the built-in pipeline, in the same representation as any other.

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
pub mod link;
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
