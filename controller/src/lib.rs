//! The controller: what users declare, what it means for each switch, and how it gets there.
//!
//! How a declared flow walks:
//!
//! ```text
//!  Handle ─► writer ─► Draft ─► store ─► mailbox of each switch ─► reconcile task ─► southbound ─► switch
//!              │ compile: flow, group, meter, raw; fabric from the model and the links that are up
//!              └─ status ◄──────────────────────────────────────────── what the switch confirmed
//! ```
//!
//! 1. [`handle::Handle`] is the way in, for the API, the command line and tests.
//! 2. The one writer (`controller/writer`) checks conditions and owners, and compiles the [`resource`] by its kind:
//!    [`flow`], [`group`], [`meter`] or [`raw`], each typed by the switch's [`pipeline`]. It stores it in one transaction
//!    ([`store`]), and its revision is the answer.
//! 3. `reconcile` holds what one switch must hold and what it holds. Its task writes the difference through [`southbound`],
//!    and tells of it in [`status`]; [`audit`] believes neither and compares anew.
//!
//! How a file walks: [`load`] reads it to a [`spec`], or to a [`problem`] with its place; [`expand`] decides everything that
//! was left open and yields a [`model`]; [`mod@compile`] makes of it the fabric's entries for each switch. [`graph`] and [`paths`]
//! answer which ways there are, [`trace`] what became of a packet, by its names.
//!
//! Cores are pure functions over values: specs, expansion, graph, compile, diff. The store, the southbound client and the
//! tasks are the drivers around them.

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
